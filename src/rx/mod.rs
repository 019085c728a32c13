//! The receive side: one cursor per TPACKET version over the mapped ring.
//!
//! A cursor hands out frames in the kernel's order and takes them back in any order. It numbers
//! every frame; the number is what tells a frame that is held from one that was given back, from
//! one of an earlier lap and from one of another handle. Frames up to the *release point* are
//! back with the kernel; the reader never goes further than one lap beyond it.

#![forbid(unsafe_code)]

mod slots;
mod v1;
mod v2;
mod v3;

use crate::error::{Error, Result};
use crate::frame::{Block, Frame};
use crate::ring::geometry::{Ring, Version};
use crate::ring::map::View;
use crate::stats::RxCounters;
use slots::SlotRing;
use std::mem::MaybeUninit;
use v3::BlockRing;

/// What a look at the next slot found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A frame, or a block.
    Ready,
    /// The kernel has not filled the next slot yet.
    Empty,
    /// The next slot is still held by the caller.
    Held,
    /// The contents cannot be right; [`Receiver::fault`] tells what. The cursor stands behind it.
    Corrupt,
}

/// Ring contents that cannot be right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub what: &'static str,
    pub value: u64,
    pub index: u32,
    pub skipped: u32,
}

impl Fault {
    const NONE: Fault = Fault {
        what: "nothing",
        value: 0,
        index: 0,
        skipped: 0,
    };
}

/// The receive ring of a handle.
pub enum Receiver {
    V3(BlockRing),
    V2(SlotRing<v2::V2>),
    V1(SlotRing<v1::V1>),
    /// No receive ring.
    None,
}

/// Runs `$body` with `$ring` bound to whichever cursor there is, or yields `$none`.
macro_rules! with_ring {
    ($self:ident, $ring:ident => $body:expr, $none:expr) => {
        match $self {
            Receiver::V3($ring) => $body,
            Receiver::V2($ring) => $body,
            Receiver::V1($ring) => $body,
            Receiver::None => $none,
        }
    };
}

impl Receiver {
    /// The cursor over the freshly mapped ring `view` of geometry `ring`, numbering frames from
    /// `base`.
    pub fn new(view: View, version: Version, ring: &Ring, base: u64) -> Receiver {
        match version {
            Version::V1 => Receiver::V1(SlotRing::new(view, ring, base)),
            Version::V2 => Receiver::V2(SlotRing::new(view, ring, base)),
            Version::V3 => Receiver::V3(BlockRing::new(view, ring, base)),
        }
    }

    /// Takes the next frame. `out` is written for [`Step::Ready`] only.
    #[inline(always)]
    pub fn next(&mut self, out: &mut MaybeUninit<Frame>, counters: &RxCounters) -> Step {
        with_ring!(self, ring => ring.next(out, counters), Step::Empty)
    }

    /// Gives back the frame with number `number` in `slot`; false when it is not held.
    #[inline(always)]
    pub fn release(&mut self, number: u64, slot: u64, counters: &RxCounters) -> bool {
        with_ring!(self, ring => ring.release(number, slot, counters), false)
    }

    /// Whether [`Receiver::next`] would find a frame.
    pub fn peek(&mut self) -> Step {
        with_ring!(self, ring => ring.peek(), Step::Empty)
    }

    /// Takes the next whole block.
    pub fn next_block(
        &mut self,
        out: &mut MaybeUninit<Block>,
        counters: &RxCounters,
    ) -> Result<Step> {
        match self {
            Receiver::V3(ring) => ring.next_block(out, counters),
            _ => Err(Error::State("whole blocks need a TPACKET_V3 receive ring")),
        }
    }

    /// Gives back a whole block; false when it is not held.
    pub fn release_block(&mut self, number: u64, slot: u64, counters: &RxCounters) -> bool {
        match self {
            Receiver::V3(ring) => ring.release_block(number, slot, counters),
            _ => false,
        }
    }

    /// The error for a [`Step`] that is not a frame; `None` for [`Step::Empty`].
    pub fn error(&self, step: Step) -> Option<Error> {
        match step {
            Step::Ready | Step::Empty => None,
            Step::Held => Some(Error::Held(match self {
                Receiver::V3(_) => "block",
                _ => "frame",
            })),
            Step::Corrupt => {
                let fault = with_ring!(self, ring => ring.fault(), Fault::NONE);
                Some(Error::Corrupt {
                    what: fault.what,
                    value: fault.value,
                    index: fault.index,
                    skipped: fault.skipped,
                })
            }
        }
    }

    /// Whether there is a ring at all.
    pub fn exists(&self) -> bool {
        !matches!(self, Receiver::None)
    }
}
