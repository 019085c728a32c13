//! TPACKET_V1 and V2: a ring of slots of one size. The versions differ in their headers only.

use super::{Fault, Step};
use crate::frame::{Address, Frame};
use crate::ring::geometry::Ring;
use crate::ring::map::{Header, View};
use crate::ring::status::Word;
use crate::stats::RxCounters;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// What one version's slots look like.
pub trait Format {
    /// Width of the status word, which is the first field of the header.
    type Status: Word;
    /// Offset of the `sockaddr_ll`.
    const SLL: usize;
    /// Nanoseconds in one unit of the sub-second field.
    const SUBSEC_NS: u64;
    /// Reads the header at `at`, whose status has been read before.
    fn header(view: &View, at: usize, status: u32) -> Option<Header>;
}

/// A place in the ring that moves from slot to slot.
#[derive(Clone, Copy)]
struct Place {
    /// Byte offset of the slot.
    at: usize,
    /// Index of the slot.
    index: u32,
    /// Slots left in its block, itself included.
    left_in_block: u32,
}

/// The cursor.
pub struct SlotRing<F> {
    ring: View,
    frame_size: usize,
    frame_count: u32,
    per_block: u32,
    /// Bytes behind the last slot of a block.
    gap: usize,
    /// Number and place of the next frame to hand out.
    next: u64,
    reader: Place,
    /// Number and place of the oldest frame that is still held.
    release: u64,
    releaser: Place,
    /// Frames behind the release point that are back already.
    gone: u32,
    geometry: Ring,
    fault: Fault,
    format: PhantomData<F>,
}

impl<F: Format> SlotRing<F> {
    pub fn new(ring: View, geometry: &Ring, base: u64) -> SlotRing<F> {
        let per_block = geometry.frames_per_block();
        let start = Place {
            at: 0,
            index: 0,
            left_in_block: per_block,
        };
        SlotRing {
            ring,
            frame_size: geometry.frame_size as usize,
            frame_count: geometry.frame_count,
            per_block,
            gap: (geometry.block_size - per_block * geometry.frame_size) as usize,
            next: base,
            reader: start,
            release: base,
            releaser: start,
            gone: 0,
            geometry: *geometry,
            fault: Fault::NONE,
            format: PhantomData,
        }
    }

    pub(super) fn fault(&self) -> Fault {
        self.fault
    }

    #[inline(always)]
    fn advance(&self, place: &mut Place) {
        place.at += self.frame_size;
        place.index += 1;
        place.left_in_block -= 1;
        if place.left_in_block == 0 {
            place.left_in_block = self.per_block;
            place.at += self.gap;
            if place.index == self.frame_count {
                place.index = 0;
                place.at = 0;
            }
        }
    }

    /// The status of the next slot if it is the reader's.
    #[inline(always)]
    fn look(&self) -> Result<u32, Step> {
        if self.next.wrapping_sub(self.release) >= u64::from(self.frame_count) {
            return Err(Step::Held);
        }
        match F::Status::load(&self.ring, self.reader.at) {
            Some(status) if status & libc::TP_STATUS_USER != 0 => Ok(status),
            _ => Err(Step::Empty),
        }
    }

    /// Whether a frame can be taken.
    pub fn peek(&mut self) -> Step {
        self.look().err().unwrap_or(Step::Ready)
    }

    #[inline(always)]
    pub fn next(&mut self, out: &mut MaybeUninit<Frame>, counters: &RxCounters) -> Step {
        let status = match self.look() {
            Ok(status) => status,
            Err(step) => return step,
        };
        let at = self.reader.at;
        let header = match F::header(&self.ring, at, status) {
            Some(header) => header,
            None => return self.corrupt("slot offset", at as u64, counters),
        };
        // A slot with no room for data is given a mac offset behind its end.
        let mac = match header.snaplen {
            0 => usize::from(header.mac).min(self.frame_size),
            _ => usize::from(header.mac),
        };
        let end = mac + header.snaplen as usize;
        if end > self.frame_size {
            return self.corrupt("frame end", end as u64, counters);
        }
        let (data, addr) = match (
            self.ring.pointer(at + mac, 0),
            self.ring.pointer(at + F::SLL, 0),
        ) {
            (Some(data), Some(addr)) => (data, addr),
            _ => return self.corrupt("frame end", end as u64, counters),
        };
        out.write(Frame {
            data: data.as_ptr(),
            timestamp: u64::from(header.sec) * 1_000_000_000
                + u64::from(header.subsec) * F::SUBSEC_NS,
            caplen: header.snaplen,
            len: header.len,
            status,
            rxhash: 0,
            vlan_tci: header.vlan_tci,
            vlan_tpid: header.vlan_tpid,
            net_offset: header.net.wrapping_sub(header.mac),
            flags: 0,
            addr: addr.as_ptr() as *const Address,
            number: self.next,
            slot: at as u64,
        });
        let mut reader = self.reader;
        self.advance(&mut reader);
        self.reader = reader;
        self.next = self.next.wrapping_add(1);
        counters.frames.add(1);
        counters.bytes.add(header.snaplen.into());
        Step::Ready
    }

    /// Gives the slot under the reader back unread.
    #[cold]
    #[inline(never)]
    fn corrupt(&mut self, what: &'static str, value: u64, counters: &RxCounters) -> Step {
        let number = self.next;
        self.fault = Fault {
            what,
            value,
            index: self.reader.index,
            skipped: 1,
        };
        let mut reader = self.reader;
        self.advance(&mut reader);
        self.reader = reader;
        self.next = number.wrapping_add(1);
        counters.corrupt.add(1);
        self.give_back(number);
        Step::Corrupt
    }

    #[inline(always)]
    pub fn release(&mut self, number: u64, _slot: u64, counters: &RxCounters) -> bool {
        let back = self.give_back(number);
        if back {
            counters.released.add(1);
        }
        back
    }

    /// Hands the slot of frame `number` to the kernel; false when it is not held.
    #[inline(always)]
    fn give_back(&mut self, number: u64) -> bool {
        if number != self.release || number == self.next {
            return self.give_back_out_of_order(number);
        }
        let at = self.releaser.at;
        let mut releaser = self.releaser;
        self.advance(&mut releaser);
        self.releaser = releaser;
        self.release = number.wrapping_add(1);
        if self.gone != 0 {
            self.skip_gone();
        }
        // Last: from here on the kernel may fill this slot and, behind it, those just skipped.
        F::Status::store(&self.ring, at, libc::TP_STATUS_KERNEL)
    }

    /// Moves the release point over slots that are back. Their status is 0 for certain, because
    /// the kernel cannot get past the slot at the old release point, which it does not have yet.
    #[cold]
    #[inline(never)]
    fn skip_gone(&mut self) {
        while self.gone != 0 && F::Status::load(&self.ring, self.releaser.at) == Some(0) {
            let mut releaser = self.releaser;
            self.advance(&mut releaser);
            self.releaser = releaser;
            self.release = self.release.wrapping_add(1);
            self.gone -= 1;
        }
    }

    #[cold]
    #[inline(never)]
    fn give_back_out_of_order(&mut self, number: u64) -> bool {
        let ahead = number.wrapping_sub(self.release);
        if ahead >= self.next.wrapping_sub(self.release) {
            return false;
        }
        let index = (u64::from(self.releaser.index) + ahead) % u64::from(self.frame_count);
        let at = self.geometry.slot_offset(index as u32);
        match F::Status::load(&self.ring, at) {
            Some(status) if status != 0 => {}
            _ => return false,
        }
        self.gone += 1;
        F::Status::store(&self.ring, at, libc::TP_STATUS_KERNEL)
    }
}
