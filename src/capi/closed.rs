//! The memory of handles that were closed.
//!
//! A thread that waits or dispatches in a loop comes back once more after another thread has
//! closed the handle. The memory of the handle itself, a few kilobytes, is therefore kept until
//! as many others have been closed since: such a late call is answered instead of ending the
//! program.

use crate::sys::call;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

/// So many closed handles are still known for what they are.
const KEPT: usize = 32;

struct Closed {
    /// Addresses; 0 for none yet.
    places: [usize; KEPT],
    oldest: usize,
}

static CLOSED: Mutex<Closed> = Mutex::new(Closed {
    places: [0; KEPT],
    oldest: 0,
});

/// Keeps the `len` bytes at `place`, which nobody owns any more, and frees those kept for longest.
/// All have the same length.
pub(super) fn keep(place: NonNull<u8>, len: usize) {
    let mut closed = CLOSED.lock().unwrap_or_else(PoisonError::into_inner);
    let oldest = closed.oldest;
    let freed = std::mem::replace(&mut closed.places[oldest], place.as_ptr() as usize);
    closed.oldest = (oldest + 1) % KEPT;
    if let Some(freed) = NonNull::new(freed as *mut u8) {
        call::unmap(freed, len);
    }
}
