//! TPACKET_V1 and V2: a ring of slots of one size. The versions differ in their headers only.

use super::{Fault, Step};
use crate::filter::interpret::Packet;
use crate::filter::recheck::Recheck;
use crate::frame::Frame;
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
    /// Offset of the captured length.
    const SNAPLEN: usize;
    /// Reads the header at `at`, whose status has been read before.
    fn header(view: &View, at: usize, status: u32) -> Option<Header>;
    /// Reads the slot of `size` bytes at `at` into `out` if nothing about it is out of the
    /// ordinary, and returns the captured length. Versions without a short way say no.
    #[inline(always)]
    fn frame(
        _view: &View,
        _at: usize,
        _size: usize,
        _status: u32,
        _number: u64,
        _out: &mut MaybeUninit<Frame>,
    ) -> Option<u32> {
        None
    }
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
    /// Slots that the reader may run ahead of the release point: all, or none while every frame
    /// has to be looked at more closely.
    room: u32,
    recheck: Option<Recheck>,
    per_block: u32,
    /// Bytes behind the last slot of a block.
    gap: usize,
    /// Place of the next frame to hand out.
    reader: Place,
    /// Place of the oldest frame that is still held.
    releaser: Place,
    geometry: Ring,
    fault: Fault,
    format: PhantomData<F>,
}

impl<F: Format> SlotRing<F> {
    pub fn new(ring: View, geometry: &Ring) -> SlotRing<F> {
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
            room: geometry.frame_count,
            recheck: None,
            per_block,
            gap: (geometry.block_size - per_block * geometry.frame_size) as usize,
            reader: start,
            releaser: start,
            geometry: *geometry,
            fault: Fault::NONE,
            format: PhantomData,
        }
    }

    pub(super) fn view(&self) -> &View {
        &self.ring
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
    fn look(&mut self, counters: &RxCounters) -> Result<u32, Step> {
        let ahead = counters.next.get().wrapping_sub(counters.release.get());
        if ahead >= u64::from(self.room) {
            return self.look_closely(counters);
        }
        self.status()
    }

    #[inline(always)]
    fn status(&self) -> Result<u32, Step> {
        self.status_at(self.reader.at)
    }

    #[inline(always)]
    fn status_at(&self, at: usize) -> Result<u32, Step> {
        match F::Status::load(&self.ring, at) {
            Some(status) if status & libc::TP_STATUS_USER != 0 => Ok(status),
            _ => Err(Step::Empty),
        }
    }

    /// The status of the next slot with a frame that the present filter accepts, if it is the
    /// reader's. Others are given back on the way.
    #[cold]
    #[inline(never)]
    fn look_closely(&mut self, counters: &RxCounters) -> Result<u32, Step> {
        loop {
            let number = counters.next.get();
            let ahead = number.wrapping_sub(counters.release.get());
            if ahead >= u64::from(self.frame_count) {
                return Err(Step::Held);
            }
            let status = self.status()?;
            let lap = u64::from(self.frame_count);
            let covered = self
                .recheck
                .as_mut()
                .map_or(false, |recheck| recheck.covers(number, lap));
            if !covered {
                self.set_recheck(None, counters);
                return Ok(status);
            }
            if self.is_wanted(status) {
                return Ok(status);
            }
            counters.filtered.add(1);
            self.pass(counters);
        }
    }

    /// Whether the present filter accepts the frame under the reader. One that it wants less of
    /// is cut.
    fn is_wanted(&self, status: u32) -> bool {
        let at = self.reader.at;
        let (header, recheck) = match (F::header(&self.ring, at, status), &self.recheck) {
            (Some(header), Some(recheck)) => (header, recheck),
            // Of a slot like that, `next` will say what is wrong.
            _ => return true,
        };
        let packet = Packet {
            view: &self.ring,
            at,
            header: &header,
            sll: F::SLL,
        };
        let keep = recheck.verdict(&packet);
        if keep < header.snaplen {
            self.ring.set_u32(at + F::SNAPLEN, keep);
        }
        keep != 0
    }

    /// Has every frame that came through an earlier filter asked about.
    pub fn set_recheck(&mut self, mut recheck: Option<Recheck>, counters: &RxCounters) {
        if let Some(recheck) = &mut recheck {
            recheck.limit(self.filled_end(counters));
        }
        self.room = match recheck {
            Some(_) => 0,
            None => self.frame_count,
        };
        self.recheck = recheck;
    }

    /// Number of the first frame behind all that the kernel has filled in. Between those there
    /// may be slots that it is still filling: processors do that side by side.
    fn filled_end(&self, counters: &RxCounters) -> u64 {
        let (next, mut place) = (counters.next.get(), self.reader);
        let held = next.wrapping_sub(counters.release.get());
        let mut end = next;
        for ahead in 1..=u64::from(self.frame_count).saturating_sub(held) {
            if self.status_at(place.at).is_ok() {
                end = next.wrapping_add(ahead);
            }
            self.advance(&mut place);
        }
        end
    }

    /// Whether a frame can be taken.
    pub fn peek(&mut self, counters: &RxCounters) -> Step {
        self.look(counters).err().unwrap_or(Step::Ready)
    }

    #[inline(always)]
    pub fn next(&mut self, out: &mut MaybeUninit<Frame>, counters: &RxCounters) -> Step {
        let status = match self.look(counters) {
            Ok(status) => status,
            Err(step) => return step,
        };
        let at = self.reader.at;
        let mut header = match F::header(&self.ring, at, status) {
            Some(header) => header,
            None => return self.corrupt("slot offset", at as u64, counters),
        };
        if header.snaplen == 0 {
            // A slot with no room for data is given a mac offset behind its end.
            header.mac = header
                .mac
                .min(self.frame_size.min(usize::from(u16::MAX)) as u16);
        }
        let end = u64::from(header.mac) + u64::from(header.snaplen);
        let number = counters.next.get();
        match self.ring.frame(at, F::SLL, &header, number) {
            Some(frame) if end <= self.frame_size as u64 => out.write(frame),
            _ => return self.corrupt("frame end", end, counters),
        };
        self.advance_reader();
        counters.next.set(number.wrapping_add(1));
        counters.bytes.add(header.snaplen.into());
        Step::Ready
    }

    #[inline(always)]
    fn advance_reader(&mut self) {
        let mut reader = self.reader;
        self.advance(&mut reader);
        self.reader = reader;
    }

    #[inline(always)]
    fn advance_releaser(&mut self) {
        let mut releaser = self.releaser;
        self.advance(&mut releaser);
        self.releaser = releaser;
    }

    /// Takes the next frame if it is there and nothing about it is out of the ordinary.
    /// Otherwise changes nothing, and [`SlotRing::next`] finds out.
    #[inline(always)]
    pub fn next_plain(&mut self, out: &mut MaybeUninit<Frame>, counters: &RxCounters) -> bool {
        let (at, number) = (self.reader.at, counters.next.get());
        // No further look: that may pass over frames which an earlier filter let in.
        if number.wrapping_sub(counters.release.point()) >= u64::from(self.room) {
            return false;
        }
        let caplen = match self.status() {
            Ok(status) => F::frame(&self.ring, at, self.frame_size, status, number, out),
            Err(_) => None,
        };
        match caplen {
            Some(caplen) => {
                self.advance_reader();
                counters.next.set(number.wrapping_add(1));
                counters.bytes.add(caplen.into());
                true
            }
            None => false,
        }
    }

    /// Gives frame `number` back if it is the oldest held, and all behind it are held, too.
    /// Otherwise changes nothing, and [`SlotRing::release`] finds out.
    #[inline(always)]
    pub fn release_plain(&mut self, number: u64, counters: &RxCounters) -> bool {
        let oldest = number == counters.release.point() && number != counters.next.get();
        if !oldest || counters.gone.get() != 0 {
            return false;
        }
        let at = self.releaser.at;
        self.advance_releaser();
        counters.release.set_point(number.wrapping_add(1));
        F::Status::store(&self.ring, at, libc::TP_STATUS_KERNEL)
    }

    /// Gives the slot under the reader back unread.
    #[cold]
    #[inline(never)]
    fn corrupt(&mut self, what: &'static str, value: u64, counters: &RxCounters) -> Step {
        self.fault = Fault {
            what,
            value,
            index: self.reader.index,
            skipped: 1,
        };
        counters.corrupt.add(1);
        self.pass(counters);
        Step::Corrupt
    }

    /// Gives the slot under the reader back, which nobody will have held.
    fn pass(&mut self, counters: &RxCounters) {
        let (at, number) = (self.reader.at, counters.next.get());
        let after = number.wrapping_add(1);
        self.advance_reader();
        counters.skipped.add(1);
        counters.add_gone(1);
        counters.next.set(after);
        if counters.release.get() == number {
            self.advance_releaser();
            counters.release.set(after);
            counters.pass_gone(1);
        }
        // Last: from here on the kernel may fill the slot.
        F::Status::store(&self.ring, at, libc::TP_STATUS_KERNEL);
    }

    /// Hands the slot of frame `number` to the kernel; false when it is not held.
    #[inline(always)]
    pub fn release(&mut self, number: u64, counters: &RxCounters) -> bool {
        if number != counters.release.get() || number == counters.next.get() {
            return self.release_out_of_order(number, counters);
        }
        let at = self.releaser.at;
        self.advance_releaser();
        counters.release.set(number.wrapping_add(1));
        if counters.gone.get() != 0 {
            self.skip_gone(counters);
        }
        // Last: from here on the kernel may fill this slot and, behind it, those just skipped.
        F::Status::store(&self.ring, at, libc::TP_STATUS_KERNEL)
    }

    /// Moves the release point over slots that are back. Their status is 0 for certain, because
    /// the kernel cannot get past the slot at the old release point, which it does not have yet.
    /// Should somebody else write to the ring, so that a slot is back twice, it stays behind the
    /// reader all the same.
    #[cold]
    #[inline(never)]
    fn skip_gone(&mut self, counters: &RxCounters) {
        while counters.gone.get() != 0
            && counters.release.get() != counters.next.get()
            && F::Status::load(&self.ring, self.releaser.at) == Some(libc::TP_STATUS_KERNEL)
        {
            self.advance_releaser();
            counters.release.set(counters.release.get().wrapping_add(1));
            counters.pass_gone(1);
        }
    }

    #[cold]
    #[inline(never)]
    fn release_out_of_order(&mut self, number: u64, counters: &RxCounters) -> bool {
        let release = counters.release.get();
        let ahead = number.wrapping_sub(release);
        if ahead >= counters.next.get().wrapping_sub(release) {
            return false;
        }
        let index = (u64::from(self.releaser.index) + ahead) % u64::from(self.frame_count);
        let at = self.geometry.slot_offset(index as u32);
        match F::Status::load(&self.ring, at) {
            Some(status) if status != libc::TP_STATUS_KERNEL => {}
            _ => return false,
        }
        counters.add_gone(1);
        F::Status::store(&self.ring, at, libc::TP_STATUS_KERNEL)
    }
}
