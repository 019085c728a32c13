//! What is known about each frame from its reservation until its completion is collected.
//!
//! Records are numbered in the order of reservation, apart from the slots: a frame that moves to
//! another slot, or leaves the ring because it was refused, keeps its record and so its turn.

use std::ops::{Index, IndexMut};

/// How far a frame has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The caller writes into the slot at `offset`.
    Reserved { offset: usize },
    /// Complete in the slot at `offset`; not yet shown to the kernel.
    Committed {
        offset: usize,
        start: u16,
        length: u32,
    },
    /// Given up by the caller.
    Aborted,
    /// In the hands of the kernel, in the slot at `offset`.
    Published {
        offset: usize,
        start: u16,
        length: u32,
    },
    /// Given back by the kernel. `clock` holds the timestamp bits of the status.
    Sent {
        clock: u8,
        length: u32,
        timestamp: u64,
    },
    /// Not sent, for the reason `errno`.
    Refused { errno: i32, length: u32 },
}

/// One frame.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// The reference of the reservation; from the commit on the caller's own number.
    pub tag: u64,
    pub state: State,
}

const _: () = assert!(std::mem::size_of::<usize>() != 8 || std::mem::size_of::<Record>() == 24);

/// The records of the newest frames, by sequence number.
pub struct Records {
    ring: Box<[Record]>,
    mask: u64,
}

impl Records {
    /// Room for at least `least` records; the only allocation.
    pub fn new(least: u64) -> Records {
        let capacity = least.next_power_of_two();
        let record = Record {
            tag: 0,
            state: State::Aborted,
        };
        Records {
            ring: vec![record; capacity as usize].into_boxed_slice(),
            mask: capacity - 1,
        }
    }

    /// How many records are kept.
    #[inline(always)]
    pub fn capacity(&self) -> u64 {
        self.mask + 1
    }

    /// Where the record `sequence` is kept.
    #[inline(always)]
    pub fn index(&self, sequence: u64) -> u64 {
        sequence & self.mask
    }
}

impl Index<u64> for Records {
    type Output = Record;

    #[inline(always)]
    fn index(&self, sequence: u64) -> &Record {
        &self.ring[(sequence & self.mask) as usize]
    }
}

impl IndexMut<u64> for Records {
    #[inline(always)]
    fn index_mut(&mut self, sequence: u64) -> &mut Record {
        &mut self.ring[(sequence & self.mask) as usize]
    }
}
