//! What was sent, readable from any thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counted from the status words, or from what was copied. One thread writes, any thread reads.
#[derive(Debug, Default)]
pub struct Counters {
    frames: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
    in_flight: AtomicU64,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that the kernel took and gave back.
    pub frames: u64,
    /// Bytes of those frames.
    pub bytes: u64,
    /// Frames that could not be sent.
    pub refused: u64,
    /// Frames handed to the kernel and not yet given back.
    pub in_flight: u64,
}

/// Adds without a locked instruction. Relaxed: each counter stands alone, and no other memory is
/// read on the strength of its value.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed) + n, Ordering::Relaxed);
}

impl Counters {
    /// The counters now.
    pub fn read(&self) -> Counts {
        Counts {
            frames: self.frames.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
        }
    }

    /// `frames` frames of together `bytes` bytes were sent. One thread alone may call this.
    pub fn sent(&self, frames: u64, bytes: u64) {
        add(&self.frames, frames);
        add(&self.bytes, bytes);
    }

    /// One frame was refused. As [`Counters::sent`], for one thread.
    pub fn refused(&self) {
        add(&self.refused, 1);
    }

    /// So many frames are in flight now.
    pub fn set_in_flight(&self, frames: u64) {
        self.in_flight.store(frames, Ordering::Relaxed);
    }
}
