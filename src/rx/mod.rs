//! The receive side: one cursor per TPACKET version over the mapped ring.
//!
//! A cursor hands out frames in the kernel's order and takes them back in any order. It numbers
//! every frame; the number is what tells a frame that is held from one that was given back, from
//! one of an earlier lap and from one of another handle. Frames up to the *release point* are
//! back with the kernel; the reader never goes further than one lap beyond it.

#![forbid(unsafe_code)]

mod held;
mod slots;
mod v1;
mod v2;
mod v3;

use crate::error::{Error, Result};
use crate::filter::recheck::Recheck;
use crate::frame::{Address, Block, Frame};
use crate::ring::geometry::{Ring, Version};
use crate::ring::map::View;
use crate::stats::RxCounters;
pub use held::HeldFrame;
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
    /// The contents cannot be right; [`Receiver::error`] tells what. The cursor stands behind it.
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

/// The receive side of a handle.
pub struct Receiver {
    /// The V3 ring. Without one it never has a frame, so that the way to a plain V3 frame, the
    /// one that counts, needs no look at the version.
    blocks: BlockRing,
    kind: Kind,
}

#[repr(u8)]
enum Kind {
    /// No receive ring. 0, which is what a forked child finds in the handle.
    None,
    V1(SlotRing<v1::V1>),
    V2(SlotRing<v2::V2>),
    V3,
}

impl Receiver {
    /// No receive ring.
    pub fn none() -> Receiver {
        Receiver {
            blocks: BlockRing::none(),
            kind: Kind::None,
        }
    }

    /// The cursor over the freshly mapped ring `view` of geometry `ring`. Frames are numbered
    /// from where `counters` were started.
    pub fn new(view: View, version: Version, ring: &Ring, counters: &RxCounters) -> Receiver {
        let kind = match version {
            Version::V1 => Kind::V1(SlotRing::new(view, ring)),
            Version::V2 => Kind::V2(SlotRing::new(view, ring)),
            Version::V3 => {
                return Receiver {
                    blocks: BlockRing::new(view, ring, counters.next.get()),
                    kind: Kind::V3,
                }
            }
        };
        Receiver {
            blocks: BlockRing::none(),
            kind,
        }
    }

    /// Takes the next frame if it is a plain one of the V3 block being read. Otherwise changes
    /// nothing; [`Receiver::next`] knows more.
    #[inline(always)]
    pub fn next_plain(&mut self, out: &mut MaybeUninit<Frame>, counters: &RxCounters) -> bool {
        self.blocks.next_plain(out, counters)
    }

    /// [`Receiver::next_plain`] for a caller who has looked at [`Receiver::plain_end`], which `end`
    /// is not beyond.
    #[inline(always)]
    pub fn next_before(
        &mut self,
        end: u64,
        out: &mut MaybeUninit<Frame>,
        counters: &RxCounters,
    ) -> bool {
        self.blocks.next_before(end, out, counters)
    }

    /// [`Receiver::next_plain`] for V2 rings.
    #[inline(always)]
    pub fn next_common(&mut self, out: &mut MaybeUninit<Frame>, counters: &RxCounters) -> bool {
        match &mut self.kind {
            Kind::V2(ring) => ring.next_plain(out, counters),
            _ => false,
        }
    }

    /// [`Receiver::next_plain`] for blocks of large frames.
    #[inline(always)]
    pub fn next_scouted(&mut self, out: &mut MaybeUninit<Frame>, counters: &RxCounters) -> bool {
        self.blocks.next_scouted(out, counters)
    }

    /// Takes the next frame. `out` is written for [`Step::Ready`] only.
    #[inline(never)]
    pub fn next(&mut self, out: &mut MaybeUninit<Frame>, counters: &RxCounters) -> Step {
        match &mut self.kind {
            Kind::V3 => self.blocks.next(out, counters),
            Kind::V2(ring) => ring.next(out, counters),
            Kind::V1(ring) => ring.next(out, counters),
            Kind::None => Step::Empty,
        }
    }

    /// Takes the next frame, by the shortest way there is.
    #[inline(always)]
    pub fn take(&mut self, out: &mut MaybeUninit<Frame>, counters: &RxCounters) -> Step {
        match self.next_plain(out, counters) {
            true => Step::Ready,
            false => self.take_longer(out, counters),
        }
    }

    #[inline(never)]
    fn take_longer(&mut self, out: &mut MaybeUninit<Frame>, counters: &RxCounters) -> Step {
        match self.next_common(out, counters) || self.next_scouted(out, counters) {
            true => Step::Ready,
            false => self.next(out, counters),
        }
    }

    /// Gives frame `number` back if that is the oldest one held, of a V2 ring or a V3 block, and
    /// nothing else has to be done about it. Otherwise changes nothing; [`Receiver::release`] knows
    /// more. What most releases of V3 frames come to is [`crate::stats::ReleasePoint::pass`].
    #[inline(always)]
    pub fn release_common(&mut self, number: u64, counters: &RxCounters) -> bool {
        match &mut self.kind {
            Kind::V3 => self.blocks.release_oldest(number, counters),
            Kind::V2(ring) => ring.release_plain(number, counters),
            _ => false,
        }
    }

    /// Gives back the frame `number` with its address at `addr`, by the shortest way there is;
    /// false when it is not held.
    #[inline(always)]
    pub fn give(&mut self, number: u64, addr: *const Address, counters: &RxCounters) -> bool {
        counters.release.pass(number) || self.give_longer(number, addr, counters)
    }

    #[inline(never)]
    fn give_longer(&mut self, number: u64, addr: *const Address, counters: &RxCounters) -> bool {
        self.release_common(number, counters) || self.release(number, addr, counters)
    }

    /// Gives back frame `number` with its address at `addr`; false when it is not held.
    #[inline(never)]
    pub fn release(&mut self, number: u64, addr: *const Address, counters: &RxCounters) -> bool {
        match &mut self.kind {
            Kind::V3 => self.blocks.release(number, addr, counters),
            Kind::V2(ring) => ring.release(number, counters),
            Kind::V1(ring) => ring.release(number, counters),
            Kind::None => false,
        }
    }

    /// Number of the first frame that [`Receiver::next_plain`] cannot take.
    #[inline(always)]
    pub fn plain_end(&self) -> u64 {
        self.blocks.plain_end()
    }

    /// Whether [`Receiver::next`] would find a frame.
    pub fn peek(&mut self, counters: &RxCounters) -> Step {
        match &mut self.kind {
            Kind::V3 => self.blocks.peek(counters),
            Kind::V2(ring) => ring.peek(counters),
            Kind::V1(ring) => ring.peek(counters),
            Kind::None => Step::Empty,
        }
    }

    /// Takes the next whole block.
    pub fn next_block(
        &mut self,
        out: &mut MaybeUninit<Block>,
        counters: &RxCounters,
    ) -> Result<Step> {
        match self.kind {
            Kind::V3 => self.blocks.next_block(out, counters),
            _ => Err(Error::State("whole blocks need a TPACKET_V3 receive ring")),
        }
    }

    /// Gives back a whole block; false when it is not held.
    pub fn release_block(&mut self, number: u64, slot: u64, counters: &RxCounters) -> bool {
        match self.kind {
            Kind::V3 => self.blocks.release_block(number, slot, counters),
            _ => false,
        }
    }

    /// The error for a [`Step`] that is not a frame; `None` for [`Step::Empty`].
    pub fn error(&self, step: Step) -> Option<Error> {
        match step {
            Step::Ready | Step::Empty => None,
            Step::Held => Some(Error::Held(match self.kind {
                Kind::V3 => "block",
                _ => "frame",
            })),
            Step::Corrupt => {
                let fault = match &self.kind {
                    Kind::V3 => self.blocks.fault(),
                    Kind::V2(ring) => ring.fault(),
                    Kind::V1(ring) => ring.fault(),
                    Kind::None => Fault::NONE,
                };
                Some(Error::Corrupt {
                    what: fault.what,
                    value: fault.value,
                    index: fault.index,
                    skipped: fault.skipped,
                })
            }
        }
    }

    /// The place in the ring of frame `number`, whose address is at `addr`; `None` when it is not
    /// held. Frames of whole blocks count.
    pub fn held(
        &self,
        number: u64,
        addr: *const Address,
        counters: &RxCounters,
    ) -> Option<HeldFrame<'_>> {
        let release = counters.release.get();
        if number.wrapping_sub(release) >= counters.next.get().wrapping_sub(release) {
            return None;
        }
        let version = match &self.kind {
            Kind::V1(_) => Version::V1,
            Kind::V2(_) => Version::V2,
            _ => Version::V3,
        };
        HeldFrame::find(self.view()?, version, addr)
    }

    /// The memory of the whole ring.
    pub fn view(&self) -> Option<&View> {
        match &self.kind {
            Kind::V1(ring) => Some(ring.view()),
            Kind::V2(ring) => Some(ring.view()),
            Kind::V3 => Some(self.blocks.view()),
            Kind::None => None,
        }
    }

    /// Has every frame asked about that came through a filter before the present one; `None`: not
    /// any more.
    pub fn set_recheck(&mut self, recheck: Option<Recheck>, counters: &RxCounters) {
        match &mut self.kind {
            Kind::V3 => self.blocks.set_recheck(recheck, counters),
            Kind::V2(ring) => ring.set_recheck(recheck, counters),
            Kind::V1(ring) => ring.set_recheck(recheck, counters),
            Kind::None => {}
        }
    }

    /// Whether there is a ring at all.
    pub fn exists(&self) -> bool {
        !matches!(self.kind, Kind::None)
    }
}
