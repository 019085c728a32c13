//! TPACKET_V3: blocks that hold frames of any size, chained by offsets.

use super::{Fault, Step};
use crate::error::{Error, Result};
use crate::frame::{Address, Block, Frame, FRAME_RXHASH};
use crate::ring::geometry::Ring;
use crate::ring::map::View;
use crate::ring::status::{Word, Word32};
use crate::stats::RxCounters;
use crate::sys::layout::{block, v3, SLL_LEN};
use std::mem::MaybeUninit;

/// How far ahead of the reader cache lines are asked for. The headers of a block form a linked
/// list, so with frames of varying size each one is a cache miss that the hardware cannot
/// foresee; sweeping over the bytes ahead of the reader hides it.
const SWEEP: usize = 2048;

/// Sweeping fetches every line, payload included. Beyond this mean frame size, most of that is
/// payload that nobody may read, and the fixed stride of full-size frames needs no help.
const SWEEP_MEAN: u32 = 1024;

const LINE: usize = 64;

/// What the cursor knows of a block that is not with the kernel.
#[derive(Clone, Copy, Default)]
struct Held {
    /// Number of its first frame.
    first: u64,
    /// Frames in it; 0 = the block is with the kernel.
    count: u32,
    /// Frames at or behind the release point that were given back out of order, or that nobody
    /// ever got. Their header has no USER bit any more.
    gone: u32,
    /// Taken as a whole.
    whole: bool,
}

impl Held {
    fn end(&self) -> u64 {
        self.first.wrapping_add(u64::from(self.count))
    }

    fn has(&self, number: u64) -> bool {
        number.wrapping_sub(self.first) < u64::from(self.count)
    }
}

/// The cursor.
pub struct BlockRing {
    /// The block being read.
    block: View,
    /// Offset in it of the next frame's header.
    at: usize,
    /// Frames in it that were not looked at yet.
    left: u32,
    flags: u16,
    /// Byte offset of that block in the ring.
    block_start: u64,
    /// Cache lines before this offset have been asked for; up to `sweep_end` they will be.
    swept: usize,
    sweep_end: usize,
    /// Number of the next frame to hand out.
    next: u64,
    /// Release point: number of the oldest frame that is still held.
    release: u64,
    /// Releases up to here (exclusive) need no bookkeeping beyond the release point.
    release_stop: u64,

    ring: View,
    block_size: usize,
    held: Box<[Held]>,
    /// Blocks that are not with the kernel.
    held_blocks: usize,
    /// The one that the release point is in.
    oldest: usize,
    /// The one to read next.
    next_block: usize,
    private_size: u32,
    fault: Fault,
}

impl BlockRing {
    pub fn new(ring: View, geometry: &Ring, base: u64) -> BlockRing {
        let mut flags = 0;
        if geometry.features & libc::TP_FT_REQ_FILL_RXHASH != 0 {
            flags |= FRAME_RXHASH;
        }
        BlockRing {
            block: ring.clone(),
            at: 0,
            left: 0,
            flags,
            block_start: 0,
            swept: 0,
            sweep_end: 0,
            next: base,
            release: base,
            release_stop: base,
            ring,
            block_size: geometry.block_size as usize,
            held: vec![Held::default(); geometry.block_count as usize].into_boxed_slice(),
            held_blocks: 0,
            oldest: 0,
            next_block: 0,
            private_size: geometry.private_size,
            fault: Fault::NONE,
        }
    }

    pub(super) fn fault(&self) -> Fault {
        self.fault
    }

    #[inline(always)]
    pub fn next(&mut self, out: &mut MaybeUninit<Frame>, counters: &RxCounters) -> Step {
        if self.left == 0 {
            return self.next_in_new_block(out, counters);
        }
        self.take(out, counters)
    }

    #[cold]
    #[inline(never)]
    fn next_in_new_block(&mut self, out: &mut MaybeUninit<Frame>, counters: &RxCounters) -> Step {
        match self.open_block() {
            Step::Ready => self.take(out, counters),
            other => other,
        }
    }

    /// Takes the next frame of the current block, in which at least one is left.
    #[inline(always)]
    fn take(&mut self, out: &mut MaybeUninit<Frame>, counters: &RxCounters) -> Step {
        let at = self.at;
        self.sweep(at);
        let header = match self.block.v3_header(at) {
            Some(header) => header,
            None => return self.corrupt("frame offset", at as u64, counters),
        };
        if header.status & libc::TP_STATUS_USER == 0 {
            return self.skip_phantom(header.next, out, counters);
        }
        let mac = usize::from(header.mac);
        // At least the headers: an offset of 0 would deliver the same frame again.
        let end = (mac + header.snaplen as usize).max(v3::SLL + SLL_LEN);
        if (header.next as usize) < end && self.left != 1 {
            return self.corrupt("next frame offset", header.next.into(), counters);
        }
        let (data, addr) = match (
            self.block.pointer(at, end),
            self.block.pointer(at + v3::SLL, 0),
        ) {
            (Some(start), Some(addr)) => (start.as_ptr().wrapping_add(mac), addr),
            _ => return self.corrupt("frame end", end as u64, counters),
        };
        out.write(Frame {
            data,
            timestamp: u64::from(header.sec) * 1_000_000_000 + u64::from(header.subsec),
            caplen: header.snaplen,
            len: header.len,
            status: header.status,
            rxhash: header.rxhash,
            vlan_tci: header.vlan_tci,
            vlan_tpid: header.vlan_tpid,
            net_offset: header.net.wrapping_sub(header.mac),
            flags: self.flags,
            addr: addr.as_ptr() as *const Address,
            number: self.next,
            slot: self.block_start + at as u64,
        });
        self.at = at + header.next as usize;
        self.left -= 1;
        self.next = self.next.wrapping_add(1);
        counters.frames.add(1);
        counters.bytes.add(header.snaplen.into());
        Step::Ready
    }

    /// Asks for the cache lines up to [`SWEEP`] bytes ahead of `at`.
    #[inline(always)]
    fn sweep(&mut self, at: usize) {
        let target = (at + SWEEP).min(self.sweep_end);
        let mut swept = self.swept;
        while swept < target {
            self.block.prefetch(swept);
            swept += LINE;
        }
        self.swept = swept;
    }

    /// Makes the next block with frames current. Blocks without any go straight back.
    fn open_block(&mut self) -> Step {
        loop {
            let index = self.next_block;
            if self.held[index].count != 0 {
                return Step::Held;
            }
            let start = index * self.block_size;
            match Word32::load(&self.ring, start + block::STATUS) {
                Some(status) if status & libc::TP_STATUS_USER != 0 => {}
                _ => return Step::Empty,
            }
            if !self.block.aim(start, self.block_size) {
                return Step::Empty;
            }
            self.next_block = if index + 1 == self.held.len() {
                0
            } else {
                index + 1
            };
            let header = match self.block.block_header() {
                Some(header) if header.num_pkts != 0 => header,
                _ => {
                    Word32::store(&self.ring, start + block::STATUS, libc::TP_STATUS_KERNEL);
                    continue;
                }
            };
            self.hold(index, header.num_pkts);
            self.at = header.first_pkt as usize;
            self.left = header.num_pkts;
            self.block_start = start as u64;
            self.swept = self.at;
            let length = header.len.min(self.block_size as u32);
            self.sweep_end = if length / header.num_pkts <= SWEEP_MEAN {
                length as usize
            } else {
                0
            };
            return Step::Ready;
        }
    }

    /// Notes that block `index` with `count` frames is ours.
    fn hold(&mut self, index: usize, count: u32) {
        self.held[index] = Held {
            first: self.next,
            count,
            ..Held::default()
        };
        self.held_blocks += 1;
        if self.held_blocks == 1 {
            self.oldest = index;
            self.release = self.next;
        }
        self.set_release_stop();
    }

    /// A frame that the kernel counted but could not fill: it carries no USER bit.
    #[cold]
    #[inline(never)]
    fn skip_phantom(
        &mut self,
        next_offset: u32,
        out: &mut MaybeUninit<Frame>,
        counters: &RxCounters,
    ) -> Step {
        if (next_offset as usize) < v3::SLL && self.left != 1 {
            return self.corrupt("next frame offset", next_offset.into(), counters);
        }
        let (at, number, current) = (self.at, self.next, self.current());
        self.at = at + next_offset as usize;
        self.left -= 1;
        self.next = number.wrapping_add(1);
        self.held[current].gone += 1;
        if self.release == number {
            self.skip_gone(at);
        } else {
            self.set_release_stop();
        }
        self.next(out, counters)
    }

    /// Gives up the rest of the current block.
    #[cold]
    #[inline(never)]
    fn corrupt(&mut self, what: &'static str, value: u64, counters: &RxCounters) -> Step {
        let current = self.current();
        self.fault = Fault {
            what,
            value,
            index: current as u32,
            skipped: self.left,
        };
        counters.corrupt.add(self.left.into());
        let held = &mut self.held[current];
        held.count -= self.left;
        let empty = held.count == 0;
        self.left = 0;
        if empty {
            // Nothing of it was handed out.
            self.held[current].count = 1;
            self.give_back(current);
        } else if current == self.oldest && self.release == self.held[current].end() {
            self.give_back(current);
        } else {
            self.set_release_stop();
        }
        Step::Corrupt
    }

    /// Index of the block being read.
    fn current(&self) -> usize {
        match self.next_block {
            0 => self.held.len() - 1,
            next => next - 1,
        }
    }

    #[inline(always)]
    pub fn release(&mut self, number: u64, slot: u64, counters: &RxCounters) -> bool {
        let after = number.wrapping_add(1);
        if number == self.release && after != self.release_stop && number != self.next {
            self.release = after;
            counters.released.add(1);
            return true;
        }
        self.release_slow(number, slot, counters)
    }

    /// The last frame of a block, frames out of order, and what is not held at all.
    #[cold]
    #[inline(never)]
    fn release_slow(&mut self, number: u64, slot: u64, counters: &RxCounters) -> bool {
        let index = (slot / self.block_size as u64) as usize;
        let start = index * self.block_size;
        let at = (slot % self.block_size as u64) as usize;
        let held = match self.held.get(index) {
            Some(held) if held.has(number) && !held.whole => *held,
            _ => return false,
        };
        let delivered = number.wrapping_sub(held.first) < self.next.wrapping_sub(held.first);
        let released = index == self.oldest
            && number.wrapping_sub(held.first) < self.release.wrapping_sub(held.first);
        let status = self.ring.u32(start + at + v3::STATUS).unwrap_or(0);
        let user = status & libc::TP_STATUS_USER != 0;
        if !delivered || released || !user || at + v3::HDRLEN > self.block_size {
            return false;
        }
        // The mark that tells a second release, and `skip_gone`, that this one is back.
        self.ring.set_u32(start + at + v3::STATUS, 0);
        self.held[index].gone += 1;
        counters.released.add(1);
        if number == self.release {
            self.skip_gone(at);
        } else {
            self.set_release_stop();
        }
        true
    }

    /// Moves the release point over frames that are back, from the one at offset `at` of the
    /// oldest block on, and over whole blocks.
    fn skip_gone(&mut self, mut at: usize) {
        loop {
            let index = self.oldest;
            let held = self.held[index];
            if held.count == 0 || held.whole || held.gone == 0 || self.release == self.next {
                break;
            }
            let header = index * self.block_size + at;
            let status = self.ring.u32(header + v3::STATUS).unwrap_or(0);
            if status & libc::TP_STATUS_USER != 0 {
                break;
            }
            self.held[index].gone -= 1;
            self.release = self.release.wrapping_add(1);
            if self.release == held.end() {
                at = match self.give_back(index) {
                    Some(first) => first,
                    None => return,
                };
            } else {
                at += self.ring.u32(header + v3::NEXT).unwrap_or(0) as usize;
            }
        }
        self.set_release_stop();
    }

    /// Hands block `index` to the kernel and, if it was the oldest, moves on to the next one
    /// that is held. Returns the offset of that one's first frame, if there is one.
    fn give_back(&mut self, index: usize) -> Option<usize> {
        self.held[index].count = 0;
        self.held_blocks -= 1;
        let status = index * self.block_size + block::STATUS;
        Word32::store(&self.ring, status, libc::TP_STATUS_KERNEL);
        if index != self.oldest {
            return None;
        }
        if self.held_blocks == 0 {
            self.oldest = self.next_block;
            self.release = self.next;
            self.set_release_stop();
            return None;
        }
        while self.held[self.oldest].count == 0 {
            self.oldest = (self.oldest + 1) % self.held.len();
        }
        self.release = self.held[self.oldest].first;
        self.set_release_stop();
        let first = self.oldest * self.block_size + block::FIRST_PKT;
        Some(self.ring.u32(first).unwrap_or(0) as usize)
    }

    /// Sets how far releases may run without bookkeeping: to the end of the oldest block, or
    /// not at all while frames in it were given back out of order.
    fn set_release_stop(&mut self) {
        let held = &self.held[self.oldest];
        self.release_stop = if held.gone == 0 && !held.whole {
            held.end()
        } else {
            self.release.wrapping_add(1)
        };
    }

    /// Whether a frame can be taken, opening the next block if need be.
    pub fn peek(&mut self) -> Step {
        if self.left != 0 {
            return Step::Ready;
        }
        self.open_block()
    }

    pub fn next_block(
        &mut self,
        out: &mut MaybeUninit<Block>,
        counters: &RxCounters,
    ) -> Result<Step> {
        if self.left != 0 {
            // A block that only wait() has looked into is still whole.
            let untouched = self.next == self.held[self.current()].first;
            if !untouched {
                return Err(Error::State(
                    "the current block is being read frame by frame; read it to its end before \
                     taking whole blocks",
                ));
            }
        } else {
            match self.open_block() {
                Step::Ready => {}
                other => return Ok(other),
            }
        }
        let index = self.current();
        let header = match self.block.block_header() {
            Some(header) => header,
            None => return Ok(Step::Empty),
        };
        let count = self.held[index].count;
        let private_at = header.priv_offset as usize;
        let private = match self.private_size {
            0 => None,
            size => self.block.pointer(private_at, size as usize),
        };
        let (base, first) = match (
            self.block.pointer(0, self.block_size),
            self.block.pointer(header.first_pkt as usize, v3::HDRLEN),
        ) {
            (Some(base), Some(_)) => (base, header.first_pkt),
            _ => {
                let offset = header.first_pkt.into();
                return Ok(self.corrupt("first frame offset", offset, counters));
            }
        };
        out.write(Block {
            base: base.as_ptr(),
            private_area: private.map_or(std::ptr::null_mut(), |p| p.as_ptr()),
            first_timestamp: nanoseconds(header.first_sec, header.first_nsec),
            last_timestamp: nanoseconds(header.last_sec, header.last_nsec),
            sequence: header.seq_num,
            length: header.len.min(self.block_size as u32),
            frame_count: count,
            status: header.status,
            private_size: private.map_or(0, |_| self.private_size),
            first_offset: first,
            size: self.block_size as u32,
            number: self.next,
            slot: index as u64,
        });
        self.held[index].whole = true;
        self.left = 0;
        self.next = self.next.wrapping_add(count.into());
        self.set_release_stop();
        counters.frames.add(count.into());
        Ok(Step::Ready)
    }

    pub fn release_block(&mut self, number: u64, slot: u64, counters: &RxCounters) -> bool {
        let index = slot as usize;
        match self.held.get(index) {
            Some(held) if held.whole && held.count != 0 && held.first == number => {
                counters.released.add(held.count.into());
            }
            _ => return false,
        }
        if let Some(first) = self.give_back(index) {
            self.skip_gone(first);
        }
        true
    }
}

fn nanoseconds(sec: u32, nsec: u32) -> u64 {
    u64::from(sec) * 1_000_000_000 + u64::from(nsec)
}
