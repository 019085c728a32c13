//! TPACKET_V3: blocks that hold frames of any size, chained by offsets.

use super::{Fault, Step};
use crate::error::{Error, Result};
use crate::filter::interpret::Packet;
use crate::filter::recheck::Recheck;
use crate::frame::{Address, Block, Frame};
use crate::ring::geometry::Ring;
use crate::ring::map::{View, Walk};
use crate::ring::status::{Word, Word32};
use crate::stats::RxCounters;
use crate::sys::layout::{block, v3, SLL_LEN};
use std::mem::MaybeUninit;

/// Bytes of the smallest frame in a block, headers alone.
const LEAST_FRAME: u32 = (v3::SLL + SLL_LEN) as u32;

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
    /// The block being read, and the place in it.
    walk: Walk,
    /// Frames up to here (exclusive) can be taken by [`BlockRing::next_plain`]: those of the block
    /// being read but the last one, behind which there is more to do. 0: none.
    plain_end: u64,
    /// Number of the first frame that is not in the block being read. Equal to the next number
    /// when that is read to its end.
    end: u64,

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
    recheck: Option<Recheck>,
    /// Blocks that were opened while frames were asked about.
    rechecked: u64,
    fault: Fault,
}

impl BlockRing {
    pub fn new(ring: View, geometry: &Ring, first: u64) -> BlockRing {
        BlockRing {
            walk: Walk::new(ring.clone()),
            plain_end: 0,
            end: first,
            ring,
            block_size: geometry.block_size as usize,
            held: vec![Held::default(); geometry.block_count as usize].into_boxed_slice(),
            held_blocks: 0,
            oldest: 0,
            next_block: 0,
            private_size: geometry.private_size,
            recheck: None,
            rechecked: 0,
            fault: Fault::NONE,
        }
    }

    /// A cursor that never has a frame, for handles without such a ring.
    pub fn none() -> BlockRing {
        BlockRing::new(View::empty(), &Ring::default(), 0)
    }

    pub(super) fn view(&self) -> &View {
        &self.ring
    }

    pub(super) fn fault(&self) -> Fault {
        self.fault
    }

    /// See [`BlockRing::plain_end`], the field.
    #[inline(always)]
    pub fn plain_end(&self) -> u64 {
        self.plain_end
    }

    /// Takes the next frame of the current block if it is not the last one and nothing about it
    /// is out of the ordinary. Otherwise changes nothing, and [`BlockRing::next`] finds out.
    #[inline(always)]
    pub fn next_plain(&mut self, out: &mut MaybeUninit<Frame>, counters: &RxCounters) -> bool {
        self.next_before(self.plain_end, out, counters)
    }

    /// The same where frames are large, every few of which there is somebody to look ahead.
    #[inline(always)]
    pub fn next_scouted(&mut self, out: &mut MaybeUninit<Frame>, counters: &RxCounters) -> bool {
        counters.next.get() < self.plain_end && self.walk.scout() && self.next_plain(out, counters)
    }

    /// The same for a caller who has looked at [`BlockRing::plain_end`], which `end` is not beyond.
    #[inline(always)]
    pub fn next_before(
        &mut self,
        end: u64,
        out: &mut MaybeUninit<Frame>,
        counters: &RxCounters,
    ) -> bool {
        let number = counters.next.get();
        if number >= end {
            return false;
        }
        match self.walk.take(number, out) {
            Some(caplen) => {
                counters.next.raise();
                counters.bytes.add(caplen.into());
                true
            }
            None => false,
        }
    }

    /// Takes the next frame, whatever stands before it.
    pub fn next(&mut self, out: &mut MaybeUninit<Frame>, counters: &RxCounters) -> Step {
        loop {
            if self.left(counters) == 0 {
                match self.open_block(counters) {
                    Step::Ready => {}
                    other => return other,
                }
            }
            let (at, block) = (self.walk.offset(), &self.walk.block);
            let header = match block.v3_header(at) {
                Some(header) => header,
                None => return self.corrupt("frame offset", at as u64, counters),
            };
            let last = self.left(counters) == 1;
            if header.status & libc::TP_STATUS_USER == 0 {
                if header.next < LEAST_FRAME && !last {
                    return self.corrupt("next frame offset", header.next.into(), counters);
                }
                self.skip_phantom(header.next, counters);
                continue;
            }
            let end = u64::from(header.mac) + u64::from(header.snaplen);
            if end > (block.len() - at) as u64 {
                return self.corrupt("frame end", end, counters);
            }
            if !last && (u64::from(header.next) < end || header.next < LEAST_FRAME) {
                return self.corrupt("next frame offset", header.next.into(), counters);
            }
            let number = counters.next.get();
            match block.frame(at, v3::SLL, &header, number) {
                Some(frame) => out.write(frame),
                None => return self.corrupt("frame offset", at as u64, counters),
            };
            self.walk.set_offset(beyond(at, header.next as usize));
            counters.next.set(number.wrapping_add(1));
            counters.bytes.add(header.snaplen.into());
            if last {
                self.let_release_pass(counters);
            }
            return Step::Ready;
        }
    }

    /// Frames of the current block that were not looked at yet.
    fn left(&self, counters: &RxCounters) -> u32 {
        self.end.wrapping_sub(counters.next.get()) as u32
    }

    /// Makes the next block with frames current. Blocks without any go straight back.
    fn open_block(&mut self, counters: &RxCounters) -> Step {
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
            if !self.walk.open(start, self.block_size) {
                return Step::Empty;
            }
            self.next_block = if index + 1 == self.held.len() {
                0
            } else {
                index + 1
            };
            let header = match self.walk.block.block_header() {
                Some(header) if header.num_pkts != 0 => header,
                _ => {
                    Word32::store(&self.ring, start + block::STATUS, libc::TP_STATUS_KERNEL);
                    continue;
                }
            };
            // More frames than fit are as wrong as an offset outside, and are found the same way:
            // at the first header that cannot be.
            let count = header
                .num_pkts
                .min(self.block_size as u32 / LEAST_FRAME + 1);
            self.hold(index, count, counters);
            self.walk.set_offset(header.first_pkt as usize);
            self.walk.expect(header.len, count);
            if self.recheck.is_some() {
                self.recheck_block(counters);
            }
            return Step::Ready;
        }
    }

    /// Has every frame that came through an earlier filter asked about.
    pub fn set_recheck(&mut self, recheck: Option<Recheck>, counters: &RxCounters) {
        self.recheck = recheck;
        let end = self.rechecked.wrapping_add(self.blocks_begun());
        if let Some(recheck) = &mut self.recheck {
            recheck.limit(end);
        }
        self.recheck_rest(counters);
    }

    /// Blocks ahead that the kernel has filled, and the one that it is filling.
    fn blocks_begun(&self) -> u64 {
        let blocks = self.held.len();
        let filled = (0..blocks).take_while(|ahead| {
            let index = (self.next_block + ahead) % blocks;
            let status = Word32::load(&self.ring, index * self.block_size + block::STATUS);
            self.held[index].count == 0
                && matches!(status, Some(status) if status & libc::TP_STATUS_USER != 0)
        });
        filled.count() as u64 + 1
    }

    /// Asks about the frames of a block that was just opened.
    #[cold]
    #[inline(never)]
    fn recheck_block(&mut self, counters: &RxCounters) {
        let lap = self.held.len() as u64;
        let covered = match &mut self.recheck {
            Some(recheck) => recheck.covers(self.rechecked, lap),
            None => false,
        };
        self.rechecked = self.rechecked.wrapping_add(1);
        match covered {
            true => self.recheck_rest(counters),
            false => self.recheck = None,
        }
    }

    /// Takes the USER bit off the frames of the current block, from the next one on, that the
    /// present filter rejects. Whoever walks the block passes them then, as it does those that
    /// the kernel counted and could not fill.
    fn recheck_rest(&mut self, counters: &RxCounters) {
        let recheck = match &self.recheck {
            Some(recheck) => recheck,
            None => return,
        };
        let (mut at, block) = (self.walk.offset(), &self.walk.block);
        for _ in 0..self.left(counters) {
            let header = match block.v3_header(at) {
                // An offset that leads back would have no end.
                Some(header) if header.next >= LEAST_FRAME || header.next == 0 => header,
                _ => return,
            };
            if header.status & libc::TP_STATUS_USER != 0 {
                let packet = Packet {
                    view: block,
                    at,
                    header: &header,
                    sll: v3::SLL,
                };
                let keep = recheck.verdict(&packet);
                if keep == 0 {
                    block.set_u32(at + v3::STATUS, 0);
                    counters.filtered.add(1);
                } else if keep < header.snaplen {
                    block.set_u32(at + v3::SNAPLEN, keep);
                }
            }
            if header.next == 0 {
                return;
            }
            at = beyond(at, header.next as usize);
        }
    }

    /// Notes that block `index` with `count` frames is ours.
    fn hold(&mut self, index: usize, count: u32, counters: &RxCounters) {
        let first = counters.next.get();
        self.held[index] = Held {
            first,
            count,
            ..Held::default()
        };
        self.end = self.held[index].end();
        self.plain_end = self.end - 1;
        self.held_blocks += 1;
        if self.held_blocks == 1 {
            self.oldest = index;
            counters.release.set(first);
        }
        self.let_release_pass(counters);
    }

    /// Passes a frame that the kernel counted but could not fill: it carries no USER bit.
    fn skip_phantom(&mut self, next_offset: u32, counters: &RxCounters) {
        let (at, number, current) = (self.walk.offset(), counters.next.get(), self.current());
        self.walk.set_offset(beyond(at, next_offset as usize));
        counters.skipped.add(1);
        self.mark_gone(current, counters);
        counters.next.set(number.wrapping_add(1));
        if counters.release.get() == number {
            self.skip_gone(at, counters);
        } else {
            self.let_release_pass(counters);
        }
    }

    /// Notes one more frame of block `index` that is back before its turn.
    fn mark_gone(&mut self, index: usize, counters: &RxCounters) {
        self.held[index].gone += 1;
        counters.add_gone(1);
    }

    /// Gives up the rest of the current block.
    fn corrupt(&mut self, what: &'static str, value: u64, counters: &RxCounters) -> Step {
        let (current, left) = (self.current(), self.left(counters));
        self.fault = Fault {
            what,
            value,
            index: current as u32,
            skipped: left,
        };
        counters.corrupt.add(left.into());
        self.end = counters.next.get();
        self.plain_end = 0;
        let held = &mut self.held[current];
        held.count -= left;
        let read_up = current == self.oldest && counters.release.get() == held.end();
        if held.count == 0 || read_up {
            // Nothing of it is with the caller.
            self.give_back(current, counters);
        } else {
            self.let_release_pass(counters);
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

    /// Gives back frame `number` if it is the oldest one held and not the last of its block.
    /// Otherwise changes nothing, and [`BlockRing::release`] finds out.
    #[inline(always)]
    pub fn release_oldest(&mut self, number: u64, counters: &RxCounters) -> bool {
        let plain = match self.held.get(self.oldest) {
            Some(held) => {
                let last = held.end().wrapping_sub(1);
                held.gone == 0 && !held.whole && number != last && held.has(number)
            }
            None => false,
        };
        let plain = plain && number == counters.release.get() && number != counters.next.get();
        if plain {
            counters.release.set(number.wrapping_add(1));
            self.let_release_pass(counters);
        }
        plain
    }

    /// Gives back frame `number`, whose `sockaddr_ll` is at `addr`.
    pub fn release(&mut self, number: u64, addr: *const Address, counters: &RxCounters) -> bool {
        let place = self.ring.offset_of(addr.cast()).wrapping_sub(v3::SLL);
        let index = place / self.block_size.max(1);
        let start = index * self.block_size;
        let at = place - start;
        let held = match self.held.get(index) {
            Some(held) if held.has(number) && !held.whole => *held,
            _ => return false,
        };
        let ahead = number.wrapping_sub(held.first);
        let delivered = ahead < counters.next.get().wrapping_sub(held.first);
        let release = counters.release.get();
        let released = index == self.oldest && ahead < release.wrapping_sub(held.first);
        let status = self.ring.u32(place + v3::STATUS).unwrap_or(0);
        let user = status & libc::TP_STATUS_USER != 0;
        if !delivered || released || !user || at + v3::HDRLEN > self.block_size {
            return false;
        }
        // The mark that tells a second release, and `skip_gone`, that this one is back.
        self.ring.set_u32(place + v3::STATUS, 0);
        self.mark_gone(index, counters);
        if number == release {
            self.skip_gone(at, counters);
        } else {
            self.let_release_pass(counters);
        }
        true
    }

    /// Moves the release point over frames that are back, from the one at offset `at` of the
    /// oldest block on, and from there into the blocks behind it.
    fn skip_gone(&mut self, mut at: usize, counters: &RxCounters) {
        loop {
            let index = self.oldest;
            let held = self.held[index];
            let release = counters.release.get();
            if held.whole || held.gone == 0 || release == counters.next.get() {
                break;
            }
            let header = beyond(index * self.block_size, at);
            let status = self.ring.u32(header + v3::STATUS).unwrap_or(0);
            if status & libc::TP_STATUS_USER != 0 {
                break;
            }
            self.held[index].gone -= 1;
            counters.release.set(release.wrapping_add(1));
            counters.pass_gone(1);
            if counters.release.get() == held.end() {
                at = match self.give_back(index, counters) {
                    Some(first) => first,
                    None => return,
                };
            } else {
                let next = self.ring.u32(header + v3::NEXT).unwrap_or(0);
                at = beyond(at, next as usize);
            }
        }
        self.let_release_pass(counters);
    }

    /// Hands block `index` to the kernel and, if it was the oldest, moves on to the next one
    /// that is held. Returns the offset of that one's first frame, if there is one.
    fn give_back(&mut self, index: usize, counters: &RxCounters) -> Option<usize> {
        let block = std::mem::take(&mut self.held[index]);
        self.held_blocks -= 1;
        let status = index * self.block_size + block::STATUS;
        Word32::store(&self.ring, status, libc::TP_STATUS_KERNEL);
        if index != self.oldest {
            // Back before its turn: all of it is gone until the release point has passed it.
            counters.add_gone(u64::from(block.count).wrapping_sub(block.gone.into()));
            return None;
        }
        let release = if self.held_blocks == 0 {
            self.oldest = self.next_block;
            counters.next.get()
        } else {
            while self.held[self.oldest].count == 0 {
                self.oldest = (self.oldest + 1) % self.held.len();
            }
            self.held[self.oldest].first
        };
        counters.release.set(release);
        counters.pass_gone(
            release
                .wrapping_sub(block.end())
                .wrapping_add(block.gone.into()),
        );
        self.let_release_pass(counters);
        if self.held_blocks == 0 {
            return None;
        }
        let first = self.oldest * self.block_size + block::FIRST_PKT;
        Some(self.ring.u32(first).unwrap_or(0) as usize)
    }

    /// Says whether frames can be released by moving the release point alone: as long as the
    /// oldest block is being read, and the last frame of it not handed out.
    fn let_release_pass(&self, counters: &RxCounters) {
        let (held, release) = (&self.held[self.oldest], counters.release.get());
        let in_order = held.count != 0 && held.gone == 0 && !held.whole;
        let being_read = self.oldest == self.current() && counters.next.get() != self.end;
        match in_order && being_read {
            true => counters.release.let_pass(),
            false => counters.release.set(release),
        }
    }

    /// Whether a frame can be taken, opening the next block if need be.
    pub fn peek(&mut self, counters: &RxCounters) -> Step {
        loop {
            if self.left(counters) == 0 {
                match self.open_block(counters) {
                    Step::Ready => {}
                    other => return other,
                }
            }
            if !self.rest_is_phantom(counters) {
                return Step::Ready;
            }
            while self.left(counters) != 0 {
                let next = self.walk.block.u32(self.walk.offset() + v3::NEXT);
                self.skip_phantom(next.unwrap_or(0), counters);
            }
        }
    }

    /// Whether the current block has no frame any more that anybody would get.
    fn rest_is_phantom(&self, counters: &RxCounters) -> bool {
        let mut at = self.walk.offset();
        for left in (1..=self.left(counters)).rev() {
            match self.walk.block.v3_header(at) {
                Some(header)
                    if header.status & libc::TP_STATUS_USER == 0
                        && (header.next >= LEAST_FRAME || left == 1) =>
                {
                    at = beyond(at, header.next as usize);
                }
                // A frame, or what `next` will report.
                _ => return false,
            }
        }
        true
    }

    pub fn next_block(
        &mut self,
        out: &mut MaybeUninit<Block>,
        counters: &RxCounters,
    ) -> Result<Step> {
        if self.left(counters) != 0 {
            // A block that only wait() has looked into is still whole.
            let untouched = counters.next.get() == self.held[self.current()].first;
            if !untouched {
                return Err(Error::State(
                    "the current block is being read frame by frame; read it to its end before \
                     taking whole blocks",
                ));
            }
        } else {
            match self.open_block(counters) {
                Step::Ready => {}
                other => return Ok(other),
            }
        }
        let index = self.current();
        let block = &self.walk.block;
        let header = match block.block_header() {
            Some(header) => header,
            None => return Ok(Step::Empty),
        };
        let count = self.held[index].count;
        let private_at = header.priv_offset as usize;
        let private = match self.private_size {
            0 => None,
            size => block.pointer(private_at, size as usize),
        };
        let (base, first) = match (
            block.pointer(0, self.block_size),
            block.pointer(header.first_pkt as usize, v3::HDRLEN),
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
            number: counters.next.get(),
            slot: index as u64,
        });
        self.held[index].whole = true;
        counters.next.set(self.end);
        self.let_release_pass(counters);
        Ok(Step::Ready)
    }

    pub fn release_block(&mut self, number: u64, slot: u64, counters: &RxCounters) -> bool {
        let index = slot as usize;
        match self.held.get(index) {
            Some(held) if held.whole && held.count != 0 && held.first == number => {}
            _ => return false,
        }
        if let Some(first) = self.give_back(index, counters) {
            self.skip_gone(first, counters);
        }
        true
    }
}

/// The offset `next` bytes behind `at`. One that no ring has where addresses have 32 bits and the
/// sum has more.
fn beyond(at: usize, next: usize) -> usize {
    at.saturating_add(next).min(isize::MAX as usize)
}

fn nanoseconds(sec: u32, nsec: u32) -> u64 {
    u64::from(sec) * 1_000_000_000 + u64::from(nsec)
}
