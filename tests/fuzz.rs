//! The fuzz targets of fuzz/ over their committed corpus and a few thousand inputs made from it,
//! and what they found once. `make fuzz` runs them for long, with AddressSanitizer.

#[path = "../fuzz/src/lib.rs"]
#[allow(dead_code)]
mod harness;

use harness::arena::{Arena, Memory};
use harness::mutate::{corpus, Mutator};
use pktring::frame::Frame;
use pktring::ring::geometry::{Ring, Version};
use pktring::rx::{Receiver, Step};
use pktring::stats::RxCounters;
use std::mem::MaybeUninit;
use std::path::PathBuf;

const EXECUTIONS: u32 = 20_000;

fn directory(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target)
}

fn play(target: &str, run: impl Fn(&[u8])) {
    let directory = directory(target);
    let inputs = corpus(&directory);
    assert!(inputs.len() > 50, "the corpus of {target} is not there");
    inputs.iter().for_each(|input| run(input));
    let mut mutator = Mutator::new(&directory, 1);
    (0..EXECUTIONS).for_each(|_| run(mutator.next()));
}

#[test]
fn receive_cursors_stand_what_the_fuzzer_found() {
    play("receive", harness::receive::run);
}

#[test]
fn every_call_in_any_order_is_answered() {
    play("calls", harness::calls::run);
    let map = include_str!("../pkgconfig/pktring.map").lines();
    let exported = map.filter_map(|line| line.trim().strip_suffix(';'));
    let never: Vec<_> = exported
        .filter(|name| *name != "*" && *name != "}" && !harness::calls::called().contains(name))
        .collect();
    assert!(never.is_empty(), "no input calls {never:?}");
}

/// A V2 ring of four slots and its kernel's side.
fn four_slots() -> (Receiver, RxCounters, Memory) {
    let ring = Ring {
        block_size: 4096,
        block_count: 1,
        frame_size: 1024,
        frame_count: 4,
        ..Ring::default()
    };
    let counters = RxCounters::default();
    counters.start(1);
    let (view, memory) = Arena::of(4096).ring();
    let receiver = Receiver::new(view, Version::V2, &ring, &counters);
    (receiver, counters, memory)
}

fn fill(memory: &Memory, slot: usize) {
    memory.set_u16(slot * 1024 + 12, 80);
    memory.set_u32(slot * 1024, libc::TP_STATUS_USER);
}

#[test]
fn a_slot_that_comes_to_life_again_never_takes_the_ring_past_the_reader() {
    let (mut receiver, counters, memory) = four_slots();
    let mut frames = Vec::new();
    for slot in 0..3 {
        fill(&memory, slot);
        let mut frame = MaybeUninit::<Frame>::uninit();
        assert_eq!(receiver.next(&mut frame, &counters), Step::Ready);
        // SAFETY: Ready says that it was written.
        frames.push(unsafe { frame.assume_init() });
    }
    let mut release = |i: usize| receiver.release(frames[i].number, frames[i].addr, &counters);
    assert!(release(1));
    memory.set_u32(1024, libc::TP_STATUS_USER);
    assert!(
        release(1),
        "the only mark of a slot that is back is its status"
    );
    assert!(release(2) && release(0));
    fill(&memory, 3);
    let mut frame = MaybeUninit::<Frame>::uninit();
    assert_eq!(receiver.next(&mut frame, &counters), Step::Ready);
}
