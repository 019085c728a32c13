//! The status words: the only place where ownership of ring memory changes hands.
//!
//! | who | does | pairs with |
//! |---|---|---|
//! | consumer | load-acquire of a receive status | the kernel's `smp_wmb`/`smp_mb` before it sets USER |
//! | consumer | store-release of 0 | the kernel's load of the status before it refills the slot |
//! | producer | store-release of SEND_REQUEST | the kernel's load of the status before it reads the frame |
//! | producer | load-acquire of a transmit status | the kernel's `smp_wmb` before it sets AVAILABLE |

use super::map::View;
use crate::sys::layout::v1;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// How a status word is read: whatever the other side wrote before it handed the memory over is
/// visible after this load. tests/ordering.rs shows that nothing weaker will do.
pub const TAKE: Ordering = Ordering::Acquire;

/// How a status word is written: whatever this program did with the memory happens before the
/// other side touches it again. tests/ordering.rs shows that nothing weaker will do.
pub const GIVE: Ordering = Ordering::Release;

/// Width of a status word: TPACKET_V1 uses an `unsigned long`, V2 and V3 a 32-bit word.
pub trait Word {
    /// Reads the status at `at`, or `None` when it would lie outside of `view`.
    fn load(view: &View, at: usize) -> Option<u32>;
    /// Writes the status at `at`; false when it would lie outside of `view`.
    fn store(view: &View, at: usize, status: u32) -> bool;
}

/// The 32-bit status of V2 frames, V3 frames and V3 blocks.
pub enum Word32 {}

/// The `unsigned long` status of V1 frames. All defined bits fit 32 bits.
pub enum WordLong {}

/// The address of the status word of `len` bytes at `at`, if it lies inside and is aligned.
#[inline(always)]
fn word(view: &View, at: usize, len: usize) -> Option<NonNull<u8>> {
    if at % len != 0 {
        return None;
    }
    view.pointer(at, len)
}

impl Word for Word32 {
    #[inline(always)]
    fn load(view: &View, at: usize) -> Option<u32> {
        let word = word(view, at, 4)?.cast::<AtomicU32>();
        // SAFETY: `word` checked that the four bytes lie inside the mapping, which lives as long
        // as `view`, and that they are aligned. The kernel writes this word concurrently, which
        // is why it is an atomic.
        // TAKE: pairs with the kernel's write barrier before it hands the slot to user space.
        Some(unsafe { word.as_ref() }.load(TAKE))
    }

    #[inline(always)]
    fn store(view: &View, at: usize, status: u32) -> bool {
        let word = match word(view, at, 4) {
            Some(word) => word.cast::<AtomicU32>(),
            None => return false,
        };
        // SAFETY: as in `load`.
        // GIVE: pairs with the kernel's read of the status.
        unsafe { word.as_ref() }.store(status, GIVE);
        true
    }
}

impl Word for WordLong {
    #[inline(always)]
    fn load(view: &View, at: usize) -> Option<u32> {
        let word = word(view, at, v1::STATUS_LEN)?.cast::<AtomicUsize>();
        // SAFETY: as for Word32, with the width of `unsigned long`, which is that of usize.
        // TAKE: pairs with the kernel's barrier before it sets TP_STATUS_USER.
        Some(unsafe { word.as_ref() }.load(TAKE) as u32)
    }

    #[inline(always)]
    fn store(view: &View, at: usize, status: u32) -> bool {
        let word = match word(view, at, v1::STATUS_LEN) {
            Some(word) => word.cast::<AtomicUsize>(),
            None => return false,
        };
        // SAFETY: as in `load`.
        // GIVE: pairs with the kernel's read of the status before it reuses the slot.
        unsafe { word.as_ref() }.store(status as usize, GIVE);
        true
    }
}
