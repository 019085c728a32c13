//! Which frame a timestamp from the error queue belongs to.
//!
//! The kernel numbers the frames that it prepares for sending, and a timestamp names that number.
//! It is counted along here. A frame that the kernel prepared and then could not queue used up a
//! number, too; where it cannot be told whether one was used up, frames get no timestamp until
//! none is in flight and the numbering can be started again.

use super::kernel::Kernel;
use super::record::{Records, State};
use super::slots::Stamp;
use crate::sys::stamp::SendStamp;
use libc::{TP_STATUS_TS_RAW_HARDWARE, TP_STATUS_TS_SOFTWARE};

/// Frames that the kernel may be handed at once: their timestamps must fit the error queue, which
/// holds about 250 by default.
pub const BURST: u64 = 64;

/// What was given to the kernel and what came back.
pub struct Stamps {
    /// Frames that the kernel may be handed at once.
    pub burst: u64,
    /// The kernel's number of the next frame.
    next: u32,
    /// Whether that is certain.
    sure: bool,
    /// For the newest frames, at their number modulo the capacity.
    given: Box<[Given]>,
}

#[derive(Clone, Copy, Default)]
struct Given {
    key: u32,
    sequence: u64,
    stamp: Option<Stamp>,
}

impl Stamps {
    pub fn new(capacity: u64, burst: u64) -> Stamps {
        Stamps {
            burst,
            next: 0,
            sure: true,
            given: vec![Given::default(); capacity as usize].into_boxed_slice(),
        }
    }

    fn index(&self, number: u64) -> usize {
        (number % self.given.len() as u64) as usize
    }

    /// The kernel took the frames of the records from `from` to `to`.
    pub fn took(&mut self, records: &Records, from: u64, to: u64) {
        for sequence in from..to {
            if !matches!(records[sequence].state, State::Published { .. }) {
                continue;
            }
            let at = self.index(sequence);
            // Records and numbers are kept apart: either may be ahead.
            self.given[at].stamp = None;
            if self.sure {
                let at = self.index(self.next.into());
                self.given[at].key = self.next;
                self.given[at].sequence = sequence;
                self.next = self.next.wrapping_add(1);
            }
        }
    }

    /// The kernel numbered a frame and could not queue it.
    pub fn skipped(&mut self) {
        self.next = self.next.wrapping_add(1);
    }

    /// It is not known whether the kernel numbered a frame.
    pub fn lost_count(&mut self) {
        self.sure = false;
    }

    /// Begins to count again, if need be. To be called while no frame is in flight.
    pub fn recover<K: Kernel>(&mut self, kernel: &mut K) {
        if !self.sure && kernel.renumber() {
            // Late ones of the old numbering must not be taken for new ones.
            while kernel.stamp().is_some() {}
            self.next = 0;
            self.sure = true;
        }
    }

    /// Notes every timestamp that has come; `oldest` is the oldest record that is still known.
    pub fn collect<K: Kernel>(&mut self, kernel: &mut K, oldest: u64) {
        while let Some(stamp) = kernel.stamp() {
            self.note(stamp, oldest);
        }
    }

    fn note(&mut self, stamp: SendStamp, oldest: u64) {
        let age = self.next.wrapping_sub(stamp.key);
        let given = self.given[self.index(stamp.key.into())];
        let known = age != 0 && u64::from(age) <= self.given.len() as u64;
        if !known || given.key != stamp.key || given.sequence < oldest {
            return;
        }
        let clock = match stamp.hardware {
            true => TP_STATUS_TS_RAW_HARDWARE,
            false => TP_STATUS_TS_SOFTWARE,
        };
        let at = self.index(given.sequence);
        self.given[at].stamp = Some(Stamp::new(clock, stamp.time));
    }

    /// The timestamp of the frame of record `sequence`, once.
    pub fn take(&mut self, sequence: u64) -> Option<Stamp> {
        let at = self.index(sequence);
        self.given[at].stamp.take()
    }
}
