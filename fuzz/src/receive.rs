//! The receive cursors of every version, over a kernel that is honest until it is not.
//!
//! While the kernel is honest, every frame must come once, whole and in order, and every release
//! must be accepted once. As soon as it has written something no kernel would, all that is left
//! to demand is that nothing outside of the slot or block is handed out or touched and that
//! nothing panics.

use super::arena::{Arena, Memory};
use arbitrary::{Result, Unstructured};
use pktring::frame::{Block, Frame};
use pktring::ring::geometry::{Ring, Version};
use pktring::ring::map::View;
use pktring::rx::{Receiver, Step};
use pktring::stats::RxCounters;
use pktring::sys::layout::{block, v1, v2, v3, SLL_LEN};
use std::collections::VecDeque;
use std::mem::MaybeUninit;

const USER: u32 = libc::TP_STATUS_USER;

/// Plays the happenings that `data` stands for.
pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    if let Ok(mut stage) = Stage::new(&mut input) {
        while !input.is_empty() && stage.act(&mut input).is_ok() {}
        stage.finish();
    }
}

struct Stage {
    receiver: Receiver,
    counters: RxCounters,
    version: Version,
    ring: Ring,
    memory: Memory,
    /// Where the library sees the ring.
    base: *const u8,
    /// Whether the kernel has done nothing but its duty.
    honest: bool,
    /// Next slot or block that the kernel fills.
    head: usize,
    planted: u32,
    /// Number of each frame in the ring that was not taken yet.
    due: VecDeque<u32>,
    held: Vec<Frame>,
    blocks: Vec<Block>,
    released: Vec<Frame>,
    /// Where the kernel has put headers, to be spoilt.
    headers: Vec<usize>,
}

impl Stage {
    fn new(input: &mut Unstructured) -> Result<Stage> {
        let version = *input.choose(&[Version::V3, Version::V2, Version::V1])?;
        let ring = geometry(version, input)?;
        let (view, memory) = Arena::of(ring.bytes() as usize).ring();
        let base = address(&view);
        // Numbers that run over into the upper half are as good as any.
        let first = *input.choose(&[1, u64::MAX / 2 - 1, 0x9e37_79b9_7f4a_7c15 >> 1])?;
        let counters = RxCounters::default();
        counters.start(first);
        Ok(Stage {
            receiver: Receiver::new(view, version, &ring, &counters),
            counters,
            version,
            ring,
            memory,
            base,
            honest: true,
            head: 0,
            planted: 0,
            due: VecDeque::new(),
            held: Vec::new(),
            blocks: Vec::new(),
            released: Vec::new(),
            headers: Vec::new(),
        })
    }

    fn act(&mut self, input: &mut Unstructured) -> Result<()> {
        match input.int_in_range(0..=11u8)? {
            0 | 1 => self.plant(input)?,
            2 => (0..input.int_in_range(1..=8u8)?).for_each(|_| self.next()),
            3 => self.release(input)?,
            4 => self.release_again(input)?,
            5 => self.release_unknown(input)?,
            6 => self.look(),
            7 => self.next_block(),
            8 => self.release_block(input)?,
            9 => self.scribble(input)?,
            10 => self.spoil_header(input)?,
            _ => self.spoil_status(input)?,
        }
        Ok(())
    }

    // The kernel.

    /// Fills the next slot or block if it is free.
    fn plant(&mut self, input: &mut Unstructured) -> Result<()> {
        let at = self.at(self.head);
        if self.memory.u32(at + self.status_offset()) != 0 {
            return Ok(());
        }
        match self.version {
            Version::V3 => self.plant_block(at, input)?,
            _ => self.plant_slot(at, input)?,
        }
        self.head = (self.head + 1) % self.places();
        Ok(())
    }

    fn plant_slot(&mut self, at: usize, input: &mut Unstructured) -> Result<()> {
        let (sll, subsec) = match self.version {
            Version::V1 => (v1::SLL, v1::USEC),
            _ => (v2::SLL, v2::NSEC),
        };
        let mac = sll + 34;
        let room = (self.ring.frame_size as usize).saturating_sub(mac);
        let snaplen = usize::from(input.arbitrary::<u16>()?) % (room + 1);
        let number = self.number();
        let (len, snap, mac_at, net_at, sec) = match self.version {
            Version::V1 => (v1::LEN, v1::SNAPLEN, v1::MAC, v1::NET, v1::SEC),
            _ => (v2::LEN, v2::SNAPLEN, v2::MAC, v2::NET, v2::SEC),
        };
        self.memory.set_u32(at + len, snaplen as u32 + 4);
        self.memory.set_u32(at + snap, snaplen as u32);
        self.memory.set_u16(at + mac_at, mac as u16);
        self.memory.set_u16(at + net_at, mac as u16 + 14);
        self.memory.set_u32(at + sec, number);
        self.memory.set_u32(at + subsec, 999_999);
        self.due.push_back(number);
        self.headers.push(at);
        self.memory.set_u32(at, USER);
        Ok(())
    }

    fn plant_block(&mut self, at: usize, input: &mut Unstructured) -> Result<()> {
        let first = block::HDRLEN + (self.ring.private_size as usize + 7) / 8 * 8;
        let size = self.ring.block_size as usize;
        let (mut packet, mut count, mut last) = (first, 0, None);
        for _ in 0..input.int_in_range(0..=12u8)? {
            let snaplen = usize::from(input.arbitrary::<u8>()?) * 2;
            let phantom = input.ratio(1, 8u8)?;
            let length = (82 + snaplen + 7) / 8 * 8;
            if packet + length > size {
                break;
            }
            self.plant_packet(at + packet, snaplen as u32, length as u32, phantom);
            last = Some(at + packet);
            packet += length;
            count += 1;
        }
        if let Some(last) = last {
            self.memory.set_u32(last + v3::NEXT, 0);
        }
        self.memory.set_u32(at + 4, block::HDRLEN as u32);
        self.memory.set_u32(at + block::NUM_PKTS, count);
        self.memory.set_u32(at + block::FIRST_PKT, first as u32);
        self.memory.set_u32(at + block::LEN, packet as u32);
        self.memory.set_u32(at + block::STATUS, USER);
        Ok(())
    }

    fn plant_packet(&mut self, at: usize, snaplen: u32, next: u32, phantom: bool) {
        let number = match phantom {
            true => 0,
            false => self.number(),
        };
        self.memory.set_u32(at + v3::NEXT, next);
        self.memory.set_u32(at + v3::SEC, number);
        self.memory.set_u32(at + v3::NSEC, 999_999_999);
        self.memory.set_u32(at + v3::SNAPLEN, snaplen);
        self.memory.set_u32(at + v3::LEN, snaplen + 4);
        self.memory.set_u16(at + v3::MAC, 82);
        self.memory.set_u16(at + v3::NET, 96);
        self.memory
            .set_u32(at + v3::STATUS, if phantom { 0 } else { USER });
        self.headers.push(at);
        if !phantom {
            self.due.push_back(number);
        }
    }

    fn number(&mut self) -> u32 {
        self.planted += 1;
        self.planted
    }

    /// Writes anything anywhere.
    fn scribble(&mut self, input: &mut Unstructured) -> Result<()> {
        self.honest = false;
        let at = input.int_in_range(0..=self.memory.len as u32 - 1)? as usize;
        let len = input.int_in_range(1..=64usize)?.min(input.len());
        self.memory.write(at, input.bytes(len)?);
        Ok(())
    }

    /// Writes a value that hurts into a field of a header.
    fn spoil_header(&mut self, input: &mut Unstructured) -> Result<()> {
        self.honest = false;
        let at = match self.headers.is_empty() {
            true => self.at(self.head),
            false => *input.choose(&self.headers)?,
        };
        let field = usize::from(input.int_in_range(0..=11u8)?) * 4;
        self.memory.set_u32(at + field, value(input)?);
        Ok(())
    }

    /// The same with the descriptor of a block or the status of a slot.
    fn spoil_status(&mut self, input: &mut Unstructured) -> Result<()> {
        self.honest = false;
        let at = self.at(input.int_in_range(0..=self.places() as u32 - 1)? as usize);
        let field = match self.version {
            Version::V3 => usize::from(input.int_in_range(1..=5u8)?) * 4,
            _ => 0,
        };
        self.memory.set_u32(at + field, value(input)?);
        Ok(())
    }

    // The program.

    fn next(&mut self) {
        let mut out = MaybeUninit::<Frame>::uninit();
        match self.receiver.take(&mut out, &self.counters) {
            Step::Ready => {
                // SAFETY: Ready says that it was written.
                let frame = unsafe { out.assume_init() };
                self.inspect(&frame);
                self.held.push(frame);
            }
            Step::Corrupt if self.honest => panic!("{:?}", self.receiver.error(Step::Corrupt)),
            Step::Empty if self.honest => assert!(self.due.is_empty(), "a frame was overlooked"),
            _ => {}
        }
    }

    /// Checks where a frame lies and reads its ends.
    fn inspect(&mut self, frame: &Frame) {
        let sll = match self.version {
            Version::V1 => v1::SLL,
            Version::V2 => v2::SLL,
            Version::V3 => v3::SLL,
        };
        let slot = (frame.addr as usize).wrapping_sub(self.base as usize) - sll;
        let (start, end) = self.bounds(slot);
        let inside = |p: *const u8, len: usize| {
            let at = (p as usize).wrapping_sub(self.base as usize);
            at >= start && at <= end && len <= end - at
        };
        assert!(inside(frame.data, frame.caplen as usize), "{frame:?}");
        assert!(inside(frame.addr.cast(), SLL_LEN), "{frame:?}");
        if frame.caplen != 0 {
            // SAFETY: checked to lie inside the ring.
            unsafe {
                frame.data.read_volatile();
                frame.data.add(frame.caplen as usize - 1).read_volatile();
            }
        }
        if self.honest {
            let due = self.due.pop_front().expect("a frame out of nothing");
            assert_eq!(frame.timestamp / 1_000_000_000, u64::from(due));
            assert_eq!(frame.len, frame.caplen + 4);
        }
    }

    fn release(&mut self, input: &mut Unstructured) -> Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let i = input.int_in_range(0..=self.held.len() as u32 - 1)?;
        let frame = self.held.remove(i as usize);
        let back = self.release_one(&frame);
        assert!(back || !self.honest, "a frame that is held can be released");
        self.released.push(frame);
        Ok(())
    }

    fn release_one(&mut self, frame: &Frame) -> bool {
        self.receiver.give(frame.number, frame.addr, &self.counters)
    }

    fn release_again(&mut self, input: &mut Unstructured) -> Result<()> {
        if !self.released.is_empty() {
            let frame = *input.choose(&self.released)?;
            self.refuse(&frame);
        }
        Ok(())
    }

    /// Releases what nobody was given: a frame of another handle, whose numbers are far away, or
    /// a descriptor that was tampered with.
    fn release_unknown(&mut self, input: &mut Unstructured) -> Result<()> {
        let mut frame = match self.held.last().or(self.released.last()) {
            Some(frame) => *frame,
            None => return Ok(()),
        };
        if input.arbitrary()? {
            frame.number = frame.number.wrapping_add(1 << 40);
        } else {
            self.honest = false;
            frame.number = frame.number.wrapping_add(u64::from(value(input)?));
        }
        if input.arbitrary()? {
            let off = value(input)? as usize;
            frame.addr = frame.addr.cast::<u8>().wrapping_add(off).cast();
        }
        self.refuse(&frame);
        Ok(())
    }

    /// A release that an honest ring has to refuse.
    fn refuse(&mut self, frame: &Frame) {
        let before = self.honest.then(|| self.words());
        let back = self.release_one(frame);
        if let Some(before) = before {
            assert!(!back, "{frame:?} is not held");
            assert_eq!(before, self.words(), "a refusal leaves the ring alone");
        }
    }

    /// The words of the ring that a release may change.
    fn words(&self) -> Vec<u32> {
        let places = (0..self.places()).map(|place| self.at(place) + self.status_offset());
        let headers = self.headers.iter().map(|header| match self.version {
            Version::V3 => header + v3::STATUS,
            _ => *header,
        });
        places
            .chain(headers)
            .map(|at| self.memory.u32(at))
            .collect()
    }

    fn look(&mut self) {
        let step = self.receiver.peek(&self.counters);
        if self.honest && step == Step::Empty {
            assert!(self.due.is_empty(), "a frame was overlooked");
        }
    }

    fn next_block(&mut self) {
        let mut out = MaybeUninit::<Block>::uninit();
        if let Ok(Step::Ready) = self.receiver.next_block(&mut out, &self.counters) {
            // SAFETY: Ready says that it was written.
            let block = unsafe { out.assume_init() };
            self.inspect_block(&block);
            self.blocks.push(block);
        }
    }

    fn inspect_block(&mut self, found: &Block) {
        let at = (found.base as usize).wrapping_sub(self.base as usize);
        assert_eq!(at, found.slot as usize * self.ring.block_size as usize);
        assert!(at < self.memory.len && found.length <= found.size);
        assert_eq!(found.size, self.ring.block_size);
        assert!(found.first_offset as usize + v3::HDRLEN <= found.size as usize);
        if !found.private_area.is_null() {
            let private = found.private_area as usize - found.base as usize;
            assert!(private + found.private_size as usize <= found.size as usize);
        }
        if self.honest {
            self.walk(at, found);
        }
    }

    /// Takes the frames of an honest block off the list.
    fn walk(&mut self, start: usize, found: &Block) {
        let mut at = start + found.first_offset as usize;
        for _ in 0..found.frame_count {
            if self.memory.u32(at + v3::STATUS) & USER != 0 {
                let due = self.due.pop_front();
                assert_eq!(due, Some(self.memory.u32(at + v3::SEC)));
            }
            at += self.memory.u32(at + v3::NEXT) as usize;
        }
    }

    fn release_block(&mut self, input: &mut Unstructured) -> Result<()> {
        if self.blocks.is_empty() {
            return Ok(());
        }
        let i = input.int_in_range(0..=self.blocks.len() as u32 - 1)?;
        let found = self.blocks.remove(i as usize);
        let mut release = || {
            self.receiver
                .release_block(found.number, found.slot, &self.counters)
        };
        let (first, second) = (release(), release());
        if self.honest {
            assert!(first && !second, "a block is released exactly once");
        }
        Ok(())
    }

    /// Gives everything back and, if the kernel was honest, finds the ring empty.
    fn finish(mut self) {
        for frame in std::mem::take(&mut self.held) {
            let back = self.release_one(&frame);
            assert!(back || !self.honest);
        }
        if self.honest {
            let blocks = self.blocks.iter().map(|b| u64::from(b.frame_count));
            assert_eq!(self.counters.held(), blocks.sum::<u64>());
        }
        for found in std::mem::take(&mut self.blocks) {
            self.receiver
                .release_block(found.number, found.slot, &self.counters);
        }
        if !self.honest {
            return;
        }
        while !self.due.is_empty() {
            self.next();
            let frame = self.held.pop().expect("everything due can be taken");
            assert!(self.release_one(&frame));
        }
        self.next();
        for place in 0..self.places() {
            let status = self.memory.u32(self.at(place) + self.status_offset());
            assert_eq!(status, 0, "the kernel got every slot back");
        }
        assert_eq!(self.counters.held(), 0);
        assert_eq!(self.counters.corrupt.get(), 0);
    }

    // Geometry.

    fn places(&self) -> usize {
        match self.version {
            Version::V3 => self.ring.block_count as usize,
            _ => self.ring.frame_count as usize,
        }
    }

    fn at(&self, place: usize) -> usize {
        match self.version {
            Version::V3 => place * self.ring.block_size as usize,
            _ => self.ring.slot_offset(place as u32),
        }
    }

    fn status_offset(&self) -> usize {
        match self.version {
            Version::V3 => block::STATUS,
            _ => 0,
        }
    }

    /// What a frame in `slot` must not leave.
    fn bounds(&self, slot: usize) -> (usize, usize) {
        let size = match self.version {
            Version::V3 => self.ring.block_size as usize,
            _ => return (slot, slot + self.ring.frame_size as usize),
        };
        let start = slot / size * size;
        (start, start + size)
    }
}

fn geometry(version: Version, input: &mut Unstructured) -> Result<Ring> {
    let block_size = *input.choose(&[4096, 8192])?;
    let block_count = input.int_in_range(1..=4)?;
    let frame_size = match version {
        Version::V3 => block_size,
        _ => input.int_in_range(4..=block_size / 16)? * 16,
    };
    let private_size = match version {
        Version::V3 => *input.choose(&[0, 1, 8, 1000, 3800])?,
        _ => 0,
    };
    Ok(Ring {
        block_size,
        block_count,
        frame_size,
        frame_count: block_size / frame_size * block_count,
        retire_timeout: 0,
        private_size,
        features: 0,
    })
}

/// Numbers near which mistakes are made.
fn value(input: &mut Unstructured) -> Result<u32> {
    let near = *input.choose(&[
        0,
        1,
        48,
        68,
        82,
        4096,
        8192,
        0x8000,
        0xffff,
        0x1_0000,
        0x7fff_ffff,
        0xffff_ffff,
    ])?;
    Ok(match input.arbitrary::<i8>()? {
        i8::MIN => input.arbitrary()?,
        off => u32::wrapping_add(near, off as u32),
    })
}

fn address(view: &View) -> *const u8 {
    view.pointer(0, 0).unwrap().as_ptr()
}
