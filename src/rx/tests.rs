//! The receive cursors over memory that only the test maps: against a small kernel that plays by
//! the rules, in every order of holding and releasing, and over contents that no kernel writes.
//!
//! Not a part of `rx` for the compiler, because taking a frame out of `MaybeUninit` is unsafe,
//! which `rx` forbids.

use crate::filter::recheck::Recheck;
use crate::filter::DROP_ALL;
use crate::frame::{Block, Frame};
use crate::program::Program;
use crate::ring::geometry::{Ring, Version};
use crate::ring::map::{Mapping, View};
use crate::ring::status::{Word, Word32, WordLong};
use crate::rx::{Receiver, Step};
use crate::stats::RxCounters;
use crate::sys::layout::{block, v1, v2, v3, ALIGNMENT};
use libc::{TP_STATUS_KERNEL, TP_STATUS_USER};
use std::collections::VecDeque;
use std::mem::MaybeUninit;

const VERSIONS: [Version; 3] = [Version::V1, Version::V2, Version::V3];
const SLOT: u32 = 128;
const BLOCK: u32 = 512;
/// Frames carry their number, twice.
const DATA: usize = 16;
/// Frame numbers run over from the lower half of 64 bits, where they start, to the upper one.
const BASE: u64 = u64::MAX / 2 - 5;

/// A ring and both ends of it.
struct Bench {
    version: Version,
    ring: Ring,
    view: View,
    receiver: Receiver,
    counters: RxCounters,
}

impl Bench {
    /// `places` slots, in blocks of three, or blocks.
    fn new(version: Version, places: u32) -> Bench {
        let mut ring = Ring {
            block_size: BLOCK,
            block_count: places,
            frame_size: SLOT,
            frame_count: places * 4,
            ..Ring::default()
        };
        if version != Version::V3 {
            assert_eq!(places % 3, 0);
            // 512 / 160 is 3: with a gap at the end of each block.
            ring.frame_size = 160;
            ring.block_count = places / 3;
            ring.frame_count = places;
        }
        let mapping = Mapping::of_bytes(&vec![0; ring.bytes() as usize]);
        let view = View::new(&mapping, 0, ring.bytes() as usize).unwrap();
        let counters = RxCounters::default();
        counters.start(BASE);
        Bench {
            version,
            ring,
            receiver: Receiver::new(view.clone(), version, &ring, &counters),
            view,
            counters,
        }
    }

    fn places(&self) -> usize {
        match self.version {
            Version::V3 => self.ring.block_count as usize,
            _ => self.ring.frame_count as usize,
        }
    }

    /// Where place `index` starts.
    fn place(&self, index: usize) -> usize {
        match self.version {
            Version::V3 => index * BLOCK as usize,
            _ => self.ring.slot_offset(index as u32),
        }
    }

    fn status(&self, index: usize) -> u32 {
        let at = self.place(index);
        match self.version {
            Version::V1 => WordLong::load(&self.view, at),
            Version::V2 => Word32::load(&self.view, at),
            Version::V3 => Word32::load(&self.view, at + block::STATUS),
        }
        .unwrap()
    }

    fn set_status(&self, index: usize, status: u32) {
        let at = self.place(index);
        assert!(match self.version {
            Version::V1 => WordLong::store(&self.view, at, status),
            Version::V2 => Word32::store(&self.view, at, status),
            Version::V3 => Word32::store(&self.view, at + block::STATUS, status),
        });
    }

    /// Fills slot `index` as the kernel does, all but the status.
    fn write_slot(&self, index: usize, number: u64) {
        let (at, view) = (self.place(index), &self.view);
        let (snaplen, len, mac, net) = match self.version {
            Version::V1 => (v1::SNAPLEN, v1::LEN, v1::MAC, v1::NET),
            _ => (v2::SNAPLEN, v2::LEN, v2::MAC, v2::NET),
        };
        view.set_u32(at + snaplen, DATA as u32);
        view.set_u32(at + len, DATA as u32);
        view.set_u16(at + mac, 66);
        view.set_u16(at + net, 80);
        self.write_data(at + 66, number);
    }

    fn write_data(&self, at: usize, number: u64) {
        assert!(self.view.write(at, &number.to_ne_bytes()));
        assert!(self.view.write(at + 8, &number.to_ne_bytes()));
    }

    /// Fills block `index` with these frames, `None` being one that the kernel counted and could
    /// not fill, all but the status.
    fn write_block(&self, index: usize, frames: &[Option<u64>]) {
        let (start, view) = (self.place(index), &self.view);
        view.set_u32(start + block::NUM_PKTS, frames.len() as u32);
        view.set_u32(start + block::FIRST_PKT, block::HDRLEN as u32);
        let mut at = block::HDRLEN;
        for (nth, frame) in frames.iter().enumerate() {
            let header = start + at;
            let last = nth + 1 == frames.len();
            view.set_u32(header + v3::NEXT, if last { 0 } else { FRAME as u32 });
            view.set_u32(header + v3::SNAPLEN, DATA as u32);
            view.set_u32(header + v3::LEN, DATA as u32);
            view.set_u16(header + v3::MAC, 82);
            view.set_u16(header + v3::NET, 96);
            let user = if frame.is_some() { TP_STATUS_USER } else { 0 };
            view.set_u32(header + v3::STATUS, user);
            self.write_data(header + 82, frame.unwrap_or(u64::MAX));
            at += FRAME;
        }
        view.set_u32(start + block::LEN, at as u32);
    }

    fn next(&mut self) -> Result<Frame, Step> {
        let mut frame = MaybeUninit::uninit();
        match self.receiver.take(&mut frame, &self.counters) {
            Step::Ready => {}
            step => return Err(step),
        }
        // SAFETY: the cursor said that it has written the frame.
        let frame = unsafe { frame.assume_init() };
        self.assert_inside(&frame);
        Ok(frame)
    }

    /// Whatever the ring says, what is delivered lies inside of it.
    fn assert_inside(&self, frame: &Frame) {
        let data = self.view.offset_of(frame.data);
        assert!(self.view.pointer(data, frame.caplen as usize).is_some());
        let addr = self.view.offset_of(frame.addr.cast());
        assert!(self.view.aligned(addr, 20).is_some() || addr % 8 != 0);
        assert!(self.view.pointer(addr, 20).is_some());
    }

    /// The number that a frame's bytes tell, both times.
    fn read(&self, frame: &Frame) -> u64 {
        assert_eq!(frame.caplen as usize, DATA);
        let at = self.view.offset_of(frame.data);
        let word = |at| self.view.u32(at).unwrap().to_ne_bytes();
        let number = |at| {
            let mut bytes = [0; 8];
            bytes[..4].copy_from_slice(&word(at));
            bytes[4..].copy_from_slice(&word(at + 4));
            u64::from_ne_bytes(bytes)
        };
        assert_eq!(number(at), number(at + 8));
        number(at)
    }

    fn release(&mut self, frame: &Frame) -> bool {
        self.receiver.give(frame.number, frame.addr, &self.counters)
    }

    fn next_block(&mut self) -> Result<Block, Step> {
        let mut block = MaybeUninit::uninit();
        match self.receiver.next_block(&mut block, &self.counters) {
            // SAFETY: the cursor said that it has written the block.
            Ok(Step::Ready) => Ok(unsafe { block.assume_init() }),
            Ok(step) => Err(step),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Bytes from one V3 frame header to the next.
const FRAME: usize = 104;

/// What the test knows of a slot or block.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Frames that it was filled with.
    count: usize,
    /// Those that the reader has not had yet.
    unread: usize,
    /// Those that the reader holds.
    held: usize,
}

impl Place {
    fn in_use(&self) -> bool {
        self.unread != 0 || self.held != 0
    }
}

/// A kernel that plays by the rules, the caller, and what must be true of the cursor.
struct World {
    bench: Bench,
    /// Where the kernel writes next.
    head: usize,
    places: Vec<Place>,
    /// Frames to be read, in order, and their places.
    due: VecDeque<(u64, usize)>,
    sent: u64,
    dropped: u64,
    held: Vec<(u64, usize, Frame)>,
    /// Released before; every one must be refused from then on.
    gone: VecDeque<Frame>,
}

impl World {
    fn new(version: Version, places: u32) -> World {
        let bench = Bench::new(version, places);
        World {
            places: vec![Place::default(); bench.places()],
            bench,
            head: 0,
            due: VecDeque::new(),
            sent: 0,
            dropped: 0,
            held: Vec::new(),
            gone: VecDeque::new(),
        }
    }

    /// The kernel fills the next place: with one frame, or a block of these (`false`: phantom).
    fn deliver(&mut self, real: &[bool]) {
        let index = self.head;
        if self.bench.status(index) != TP_STATUS_KERNEL {
            self.dropped += 1;
            return;
        }
        let real = match self.bench.version {
            Version::V3 => real,
            _ => &real[..1],
        };
        assert!(!self.places[index].in_use(), "given back too early");
        let frames: Vec<Option<u64>> = real
            .iter()
            .map(|real| {
                self.sent += u64::from(*real);
                real.then_some(self.sent)
            })
            .collect();
        let numbers = frames.iter().flatten();
        let count = numbers.clone().count();
        self.places[index] = Place {
            count,
            unread: count,
            held: 0,
        };
        self.due.extend(numbers.map(|number| (*number, index)));
        match self.bench.version {
            Version::V3 => self.bench.write_block(index, &frames),
            _ => self.bench.write_slot(index, frames[0].unwrap()),
        }
        self.bench.set_status(index, TP_STATUS_USER);
        self.head = (index + 1) % self.places.len();
    }

    /// The caller takes a frame, which must be the very next one.
    fn take(&mut self) {
        match self.bench.next() {
            Ok(frame) => {
                let (number, index) = self.due.pop_front().expect("no frame is there");
                assert_eq!(self.bench.read(&frame), number, "the next frame in order");
                self.places[index].unread -= 1;
                self.places[index].held += 1;
                self.held.push((number, index, frame));
            }
            Err(Step::Empty) => assert!(self.due.is_empty()),
            Err(Step::Held) => {
                assert!(self.due.is_empty());
                assert!(self.places.iter().any(|place| place.held != 0));
            }
            Err(step) => panic!("{step:?}"),
        }
    }

    /// The caller releases the `nth` of the frames it holds.
    fn release(&mut self, nth: usize) {
        if self.held.is_empty() {
            return;
        }
        let (number, index, frame) = self.held.remove(nth % self.held.len());
        assert_eq!(
            self.bench.read(&frame),
            number,
            "overwritten while it was held"
        );
        assert!(self.bench.release(&frame));
        self.places[index].held -= 1;
        assert!(!self.bench.release(&frame), "released twice");
        self.gone.push_back(frame);
        if self.gone.len() > 8 {
            self.gone.pop_front();
        }
    }

    /// What must be true after every step.
    fn check(&mut self) {
        for frame in self.gone.clone() {
            assert!(!self.bench.release(&frame), "a stale frame was taken back");
        }
        for (index, place) in self.places.iter().enumerate() {
            if place.in_use() {
                assert_eq!(
                    self.bench.status(index),
                    TP_STATUS_USER,
                    "not ours to give back"
                );
            } else if self.bench.version != Version::V3 {
                assert_eq!(self.bench.status(index), TP_STATUS_KERNEL, "kept back");
            }
        }
        assert_eq!(self.bench.counters.held(), self.held.len() as u64);
    }

    /// Whatever happened, once all is read and released the whole ring is the kernel's again.
    fn finish(&mut self) {
        while !self.due.is_empty() || !self.held.is_empty() {
            self.take();
            self.release(0);
            self.check();
        }
        self.take();
        for index in 0..self.places.len() {
            assert_eq!(self.bench.status(index), TP_STATUS_KERNEL, "place {index}");
        }
        let counters = &self.bench.counters;
        assert_eq!((counters.frames(), counters.corrupt.get()), (self.sent, 0));
        assert_eq!((counters.held(), counters.gone.get()), (0, 0));
    }
}

/// A well-mixed function of a number (the finaliser of SplitMix64).
pub(crate) fn mixed(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[test]
fn every_short_order_of_arrival_reading_and_release_keeps_the_rules() {
    const STEPS: u32 = 7;
    for version in VERSIONS {
        for sequence in 0..4u32.pow(STEPS) {
            let mut world = World::new(version, 3);
            let mut rest = sequence;
            for step in 0..STEPS {
                match rest % 4 {
                    0 => world.deliver(&[true; 2][..1 + (step as usize % 2)]),
                    1 => world.take(),
                    2 => world.release(0),
                    _ => world.release(usize::MAX),
                }
                world.check();
                rest /= 4;
            }
            world.finish();
        }
    }
}

#[test]
fn long_random_orders_keep_the_rules_lap_after_lap() {
    for version in VERSIONS {
        for seed in 0..60u64 {
            let mut world = World::new(version, 3 * (1 + (seed % 4) as u32));
            // Some callers hold few frames, some hoard them.
            let hoard = seed % 5;
            for step in 0..3000u64 {
                let draw = |which: u64| mixed(seed << 40 | step << 8 | which);
                match draw(0) % (6 + hoard) {
                    0 | 1 => {
                        let real: Vec<bool> = (0..1 + draw(1) % 4)
                            .map(|n| version != Version::V3 || draw(10 + n) % 6 != 0)
                            .collect();
                        world.deliver(&real);
                    }
                    2 if version == Version::V3 && draw(2) % 8 == 0 => world.deliver(&[]),
                    2 | 3 => world.release(draw(3) as usize),
                    4 => world.release(0),
                    _ => world.take(),
                }
                world.check();
            }
            world.finish();
            assert!(world.sent > 100, "{version:?} {seed}");
        }
    }
}

#[test]
fn blocks_and_frames_taken_in_turn_keep_the_rules() {
    for seed in 0..200u64 {
        let mut world = World::new(Version::V3, 4);
        let mut blocks: Vec<(Block, usize)> = Vec::new();
        for step in 0..600u64 {
            let draw = |which: u64| mixed(seed << 40 | step << 8 | which);
            let index = world.due.front().map(|(_, index)| *index);
            // A block that was begun frame by frame has to be read to its end.
            let begun = index.map_or(false, |index| {
                world.places[index].unread != world.places[index].count
            });
            // To look at a block is not to begin it.
            if draw(9) % 3 == 0 {
                world.bench.receiver.peek(&world.bench.counters);
            }
            match draw(0) % 6 {
                0 | 1 => world.deliver(&vec![true; 1 + draw(1) as usize % 4]),
                2 if !begun => match (world.bench.next_block(), index) {
                    (Ok(block), Some(index)) => {
                        let place = &mut world.places[index];
                        assert_eq!(block.frame_count as usize, place.count);
                        (place.unread, place.held) = (0, place.count);
                        world.due.drain(..block.frame_count as usize);
                        blocks.push((block, index));
                    }
                    (Err(_), None) => {}
                    (got, index) => panic!("{got:?}, while {index:?} is next"),
                },
                3 if !blocks.is_empty() => {
                    let (block, index) = blocks.swap_remove(draw(2) as usize % blocks.len());
                    let counters = &world.bench.counters;
                    let receiver = &mut world.bench.receiver;
                    assert!(receiver.release_block(block.number, block.slot, counters));
                    assert!(!receiver.release_block(block.number, block.slot, counters));
                    world.places[index] = Place::default();
                    assert_eq!(world.bench.status(index), TP_STATUS_KERNEL);
                }
                4 => world.release(draw(3) as usize),
                _ if draw(4) % 2 == 0 => world.take(),
                _ => {}
            }
            let whole: u64 = blocks
                .iter()
                .map(|(block, _)| u64::from(block.frame_count))
                .sum();
            let held = world.held.len() as u64 + whole;
            assert_eq!(world.bench.counters.held(), held);
            for (index, place) in world.places.iter().enumerate() {
                if place.in_use() {
                    assert_eq!(world.bench.status(index), TP_STATUS_USER);
                }
            }
        }
        for (block, index) in blocks.drain(..) {
            let counters = &world.bench.counters;
            let receiver = &mut world.bench.receiver;
            assert!(receiver.release_block(block.number, block.slot, counters));
            world.places[index] = Place::default();
        }
        world.finish();
    }
}

/// A V3 ring with three good frames in each of two blocks, all but one field of which is right.
fn with_fault(at: usize, value: &[u8]) -> Bench {
    let bench = Bench::new(Version::V3, 3);
    bench.write_block(0, &[Some(1), Some(2), Some(3)]);
    bench.write_block(1, &[Some(4), Some(5), Some(6)]);
    assert!(bench.view.write(at, value));
    bench.set_status(0, TP_STATUS_USER);
    bench.set_status(1, TP_STATUS_USER);
    bench
}

/// Reads all there is and releases it; returns the numbers read and the faults reported.
fn read_all(bench: &mut Bench) -> (Vec<u64>, usize) {
    let (mut numbers, mut faults, mut held) = (Vec::new(), 0, Vec::new());
    for _ in 0..100 {
        match bench.next() {
            Ok(frame) => {
                if frame.caplen as usize == DATA {
                    numbers.push(bench.read(&frame));
                }
                held.push(frame);
            }
            Err(Step::Corrupt) => faults += 1,
            Err(Step::Empty) | Err(Step::Held) => break,
            Err(Step::Ready) => unreachable!(),
        }
    }
    // Newest first, the harder order.
    for frame in held.iter().rev() {
        assert!(bench.release(frame));
    }
    assert_eq!(bench.next().err(), Some(Step::Empty));
    for index in 0..bench.places() {
        assert_eq!(bench.status(index), TP_STATUS_KERNEL, "block {index}");
    }
    assert_eq!(bench.counters.held(), 0);
    (numbers, faults)
}

#[test]
fn a_corrupt_v3_header_costs_the_rest_of_its_block_and_no_more() {
    let first = block::HDRLEN;
    let second = first + FRAME;
    let outside = BLOCK.to_ne_bytes();
    let huge = u32::MAX.to_ne_bytes();
    let cases: [(&str, usize, &[u8], &[u64]); 14] = [
        (
            "first offset beyond the block",
            block::FIRST_PKT,
            &outside,
            &[],
        ),
        ("first offset huge", block::FIRST_PKT, &huge, &[]),
        (
            "first offset odd",
            block::FIRST_PKT,
            &49u32.to_ne_bytes(),
            &[],
        ),
        (
            "first offset near the end",
            block::FIRST_PKT,
            &0x1f0u32.to_ne_bytes(),
            &[],
        ),
        ("next of the first is 0", first + v3::NEXT, &[0; 4], &[]),
        (
            "next points into the header",
            first + v3::NEXT,
            &8u32.to_ne_bytes(),
            &[],
        ),
        (
            "next points into the data",
            first + v3::NEXT,
            &96u32.to_ne_bytes(),
            &[],
        ),
        ("next is odd", first + v3::NEXT, &105u32.to_ne_bytes(), &[1]),
        ("next is beyond the block", first + v3::NEXT, &outside, &[1]),
        ("next is huge", first + v3::NEXT, &huge, &[1]),
        (
            "snaplen beyond the block",
            second + v3::SNAPLEN,
            &outside,
            &[1],
        ),
        ("snaplen huge", second + v3::SNAPLEN, &huge, &[1]),
        (
            "mac beyond the block",
            second + v3::MAC,
            &[0xff, 0xff],
            &[1],
        ),
        (
            "snaplen over the next frame",
            second + v3::SNAPLEN,
            &23u32.to_ne_bytes(),
            &[1],
        ),
    ];
    for (what, at, value, before) in cases {
        let mut bench = with_fault(at, value);
        let (numbers, faults) = read_all(&mut bench);
        let expected: Vec<u64> = before.iter().copied().chain([4, 5, 6]).collect();
        assert_eq!((numbers, faults), (expected, 1), "{what}");
        let lost = 3 - before.len() as u64;
        assert_eq!(bench.counters.corrupt.get(), lost, "{what}");
    }
}

#[test]
fn a_block_that_claims_more_frames_than_it_has_ends_where_they_end() {
    for count in [4, 5, 100, u32::MAX] {
        let mut bench = with_fault(block::NUM_PKTS, &count.to_ne_bytes());
        // The third frame says that none follows.
        let (numbers, faults) = read_all(&mut bench);
        assert_eq!((numbers, faults), (vec![1, 2, 4, 5, 6], 1), "{count}");
    }
}

#[test]
fn a_block_that_claims_fewer_frames_or_a_wrong_length_is_read_as_it_says() {
    let mut bench = with_fault(block::NUM_PKTS, &1u32.to_ne_bytes());
    assert_eq!(read_all(&mut bench), (vec![1, 4, 5, 6], 0));
    for length in [0, 1, 47, BLOCK, BLOCK + 1, u32::MAX] {
        let mut bench = with_fault(block::LEN, &length.to_ne_bytes());
        assert_eq!(read_all(&mut bench), ((1..=6).collect(), 0), "{length}");
    }
}

#[test]
fn a_block_of_phantoms_and_one_without_frames_go_back_unseen() {
    let mut bench = Bench::new(Version::V3, 4);
    bench.write_block(0, &[None, None]);
    bench.write_block(1, &[]);
    bench.write_block(2, &[None, Some(1), None]);
    bench.write_block(3, &[Some(2)]);
    (0..4).for_each(|index| bench.set_status(index, TP_STATUS_USER));
    assert_eq!(read_all(&mut bench), (vec![1, 2], 0));
    let counters = &bench.counters;
    assert_eq!((counters.frames(), counters.corrupt.get()), (2, 0));
}

#[test]
fn a_phantom_that_points_into_itself_costs_the_rest_of_its_block() {
    for next in [0u32, 8, 67, BLOCK, u32::MAX] {
        let mut bench = Bench::new(Version::V3, 3);
        bench.write_block(0, &[None, Some(1), Some(2)]);
        bench.write_block(1, &[Some(3)]);
        bench.view.set_u32(block::HDRLEN + v3::NEXT, next);
        bench.set_status(0, TP_STATUS_USER);
        bench.set_status(1, TP_STATUS_USER);
        assert_eq!(read_all(&mut bench), (vec![3], 1), "{next}");
    }
}

#[test]
fn a_corrupt_whole_block_is_reported_and_passed_over() {
    let mut bench = with_fault(block::FIRST_PKT, &BLOCK.to_ne_bytes());
    assert_eq!(bench.next_block().err(), Some(Step::Corrupt));
    assert_eq!(bench.status(0), TP_STATUS_KERNEL);
    let second = bench.next_block().unwrap();
    assert_eq!(second.frame_count, 3);
    let counters = &bench.counters;
    assert!(bench
        .receiver
        .release_block(second.number, second.slot, counters));
    assert_eq!(counters.corrupt.get(), 3);
    assert_eq!(counters.held(), 0);
}

#[test]
fn a_slot_that_is_filled_before_the_one_in_front_of_it_waits_for_its_turn() {
    // Two processors fill slots side by side, and the second is done first.
    for version in [Version::V1, Version::V2] {
        let mut bench = Bench::new(version, 6);
        for lap in 0..4 {
            for pair in 0..3 {
                let number = lap * 10 + pair as u64 * 2;
                let (first, second) = (pair * 2, pair * 2 + 1);
                bench.write_slot(first, number);
                bench.write_slot(second, number + 1);
                bench.set_status(second, TP_STATUS_USER);
                assert_eq!(bench.next().err(), Some(Step::Empty));
                bench.set_status(first, TP_STATUS_USER);
                for due in [number, number + 1] {
                    let frame = bench.next().unwrap();
                    assert_eq!(bench.read(&frame), due, "{version:?}");
                    assert!(bench.release(&frame));
                }
            }
        }
    }
}

#[test]
fn a_corrupt_slot_costs_its_frame_and_no_more() {
    for version in [Version::V1, Version::V2] {
        let (snaplen, mac) = match version {
            Version::V1 => (v1::SNAPLEN, v1::MAC),
            _ => (v2::SNAPLEN, v2::MAC),
        };
        let huge: &[u8] = &u32::MAX.to_ne_bytes();
        // 66 and 94 are 160, the size of a slot.
        let cases: [(&str, usize, &[u8]); 4] = [
            ("snaplen one beyond the slot", snaplen, &95u32.to_ne_bytes()),
            ("snaplen huge", snaplen, huge),
            ("mac beyond the slot", mac, &145u16.to_ne_bytes()),
            ("mac huge", mac, &[0xff, 0xff]),
        ];
        for (what, at, value) in cases {
            let mut bench = Bench::new(version, 6);
            for index in 0..5 {
                bench.write_slot(index, index as u64 + 1);
                bench.set_status(index, TP_STATUS_USER);
            }
            let place = bench.place(2);
            assert!(bench.view.write(place + at, value));
            let found = read_all(&mut bench);
            assert_eq!(found, (vec![1, 2, 4, 5], 1), "{version:?} {what}");
            assert_eq!(bench.counters.corrupt.get(), 1);
        }
        // At the limit it is a frame like any other, if not one of ours.
        let mut bench = Bench::new(version, 6);
        bench.write_slot(0, 1);
        assert!(bench.view.write(snaplen, &94u32.to_ne_bytes()));
        bench.set_status(0, TP_STATUS_USER);
        assert_eq!(bench.next().unwrap().caplen, 94);
    }
}

#[test]
fn a_slot_without_room_for_data_is_a_frame_of_no_bytes_inside_the_slot() {
    // What the kernel writes with slots of 64 bytes: nothing kept, mac behind the slot's end.
    for version in [Version::V1, Version::V2] {
        let mut bench = Bench::new(version, 6);
        let (snaplen, mac) = match version {
            Version::V1 => (v1::SNAPLEN, v1::MAC),
            _ => (v2::SNAPLEN, v2::MAC),
        };
        bench.write_slot(5, 1);
        let place = bench.place(5);
        assert!(bench.view.write(place + snaplen, &[0; 4]));
        assert!(bench.view.write(place + mac, &[0xff, 0xff]));
        for index in 0..5 {
            bench.write_slot(index, index as u64);
            bench.set_status(index, TP_STATUS_USER);
        }
        bench.set_status(5, TP_STATUS_USER);
        let last = (0..6).map(|_| bench.next().unwrap()).last().unwrap();
        assert_eq!(last.caplen, 0);
        assert!(bench.view.offset_of(last.data) <= place + 160);
        assert_eq!(bench.place(5) % ALIGNMENT, 0);
    }
}

impl Bench {
    /// The kernel hands over place `index`: with frame `index`, in a block twice.
    fn fill(&self, index: usize) {
        let number = index as u64;
        match self.version {
            Version::V3 => self.write_block(index, &[Some(number), Some(number)]),
            _ => self.write_slot(index, number),
        }
        self.set_status(index, TP_STATUS_USER);
    }

    /// A new filter takes nothing, and the kernel is done with what met the one before.
    fn reject_what_is_there(&mut self) {
        let recheck = Recheck::done(Program::Classic(DROP_ALL.to_vec()));
        self.receiver.set_recheck(Some(recheck), &self.counters);
    }
}

#[test]
fn what_comes_behind_the_frames_of_an_old_filter_is_not_asked_about() {
    for version in [Version::V1, Version::V2] {
        let mut bench = Bench::new(version, 6);
        bench.fill(0);
        bench.fill(1);
        let held = bench.next().unwrap();
        // Slot 2 is being filled by another processor than slot 3, and ready later.
        bench.fill(3);
        bench.reject_what_is_there();
        bench.fill(2);
        bench.fill(4);
        assert_eq!(bench.read(&held), 0, "held before");
        let next = bench.next().unwrap();
        assert_eq!(bench.read(&next), 4, "{version:?}");
        assert_eq!(bench.counters.filtered.get(), 3);
        bench.fill(5);
        assert_eq!(bench.next().unwrap().number, next.number + 1);
        assert_eq!(bench.next().err(), Some(Step::Held), "all are in use");
    }
}

#[test]
fn an_empty_ring_has_nothing_to_ask_about() {
    for version in [Version::V1, Version::V2] {
        let mut bench = Bench::new(version, 6);
        bench.reject_what_is_there();
        bench.fill(0);
        let frame = bench.next().unwrap();
        assert_eq!(bench.read(&frame), 0, "{version:?}");
    }
}

#[test]
fn a_ring_that_is_full_is_asked_about_once_round() {
    for version in VERSIONS {
        let mut bench = Bench::new(version, 6);
        for index in 0..6 {
            bench.fill(index);
        }
        let held = bench.next().unwrap();
        bench.reject_what_is_there();
        assert!(bench.next().is_err());
        let frames = bench.counters.filtered.get();
        assert_eq!(frames, if version == Version::V3 { 11 } else { 5 });
        assert!(bench.release(&held));
        // The block that the kernel would have had open counts as well, if there was one.
        for index in 0..2 {
            bench.fill(index);
        }
        let next = bench.next().unwrap();
        assert_eq!(bench.read(&next), u64::from(version == Version::V3));
    }
}

#[test]
fn blocks_are_asked_about_up_to_the_one_that_the_kernel_had_open() {
    let mut bench = Bench::new(Version::V3, 6);
    for index in 0..3 {
        bench.fill(index);
    }
    let held = bench.next().unwrap();
    bench.reject_what_is_there();
    for index in 3..5 {
        bench.fill(index);
    }
    let next = bench.next().unwrap();
    assert_eq!((bench.read(&held), bench.read(&next)), (0, 4));
    assert_eq!(bench.counters.filtered.get(), 1 + 3 * 2);
}
