//! The transmit ring against a played kernel.

use super::fake::{Fake, BAD, JAM};
use super::flush::Halt;
use super::*;
use crate::ring::map::Mapping;
use crate::sys::layout::{v1, v2, v3};
use libc::{TP_STATUS_AVAILABLE, TP_STATUS_SENDING, TP_STATUS_SEND_REQUEST};
use std::io::IoSlice;

const VERSIONS: [Version; 3] = [Version::V1, Version::V2, Version::V3];
const BASE: u64 = 0x1234_5678_9abc_def0;

const LIMITS: Limits = Limits {
    header: 14,
    mtu: 1500,
    vlan: true,
    vnet_header: 0,
};

/// Slots of 1584 bytes in blocks of 4096: two a block, and a gap behind them.
fn ring(blocks: u32) -> Ring {
    Ring {
        block_size: 4096,
        block_count: blocks,
        frame_size: 1584,
        ..Ring::default()
    }
}

fn config(version: Version, ring: Ring) -> Config {
    Config {
        version,
        mode: Mode::Raw,
        ring,
        copied: false,
        placed: false,
        stamped: None,
        limits: LIMITS,
        base: BASE,
    }
}

fn pair_of(config: &Config) -> (Transmitter, Fake) {
    let len = config.ring.bytes() as usize;
    let mapping = Mapping::of_bytes(&vec![0; len]);
    let view = View::new(&mapping, 0, len).unwrap();
    let mut kernel = Fake::new(view.clone(), config.ring, config.version);
    kernel.placed = config.placed;
    (Transmitter::new(view, config).unwrap(), kernel)
}

/// A transmit ring of `2 * blocks` slots and its kernel.
fn pair(version: Version, blocks: u32) -> (Transmitter, Fake) {
    pair_of(&config(version, ring(blocks)))
}

/// The same, and one whose frames are copied.
fn pairs(version: Version, blocks: u32) -> impl Iterator<Item = (Transmitter, Fake)> {
    let of = move |copied| Config {
        copied,
        ..config(version, ring(blocks))
    };
    [false, true]
        .into_iter()
        .map(move |copied| pair_of(&of(copied)))
}

/// The frame number `n`, its length and bytes all its own.
fn frame(n: u64) -> Vec<u8> {
    let length = 14 + (n * 37 % 1500) as usize;
    (0..length)
        .map(|i| ((n * 7 + i as u64 * 3) % 0xb0) as u8)
        .collect()
}

fn frames(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range.map(frame).collect()
}

fn fill(kernel: &Fake, slot: &Slot, at: u32, bytes: &[u8]) {
    let base = kernel.view.pointer(0, 0).unwrap().as_ptr() as usize;
    let offset = slot.data.as_ptr() as usize - base;
    assert!(kernel.view.write(offset + at as usize, bytes));
}

fn commit(
    tx: &mut Transmitter,
    kernel: &mut Fake,
    slot: &Slot,
    bytes: &[u8],
    n: u64,
) -> Result<()> {
    fill(kernel, slot, 0, bytes);
    tx.commit(kernel, slot.reference, bytes.len() as u32, 0, n)
}

/// Reserves and commits.
fn put(tx: &mut Transmitter, kernel: &mut Fake, bytes: &[u8], n: u64) {
    let slot = tx.reserve().expect("a free slot");
    commit(tx, kernel, &slot, bytes, n).expect("a valid frame");
}

fn completions(tx: &mut Transmitter) -> Vec<Completion> {
    let mut out = [Completion::default(); 64];
    let n = tx.complete(&mut out);
    out[..n].to_vec()
}

/// (user_data, error) of all completions that are ready.
fn results(tx: &mut Transmitter) -> Vec<(u64, i32)> {
    let done = completions(tx);
    done.iter().map(|c| (c.user_data, c.error)).collect()
}

fn counts(tx: &Transmitter) -> (u64, u64, u64) {
    let counts = tx.counters().read();
    (counts.frames, counts.refused, counts.in_flight)
}

/// All orders of 0..n.
fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in orders(n - 1) {
        for at in 0..n {
            let mut order = shorter.clone();
            order.insert(at, n - 1);
            all.push(order);
        }
    }
    all
}

#[test]
fn frames_go_round_the_ring_many_times_unchanged_and_in_order() {
    for version in VERSIONS {
        for (mut tx, mut kernel) in (1..4).flat_map(|blocks| pairs(version, blocks)) {
            let mut bytes = 0;
            for n in 0..200 {
                put(&mut tx, &mut kernel, &frame(n), n);
                bytes += frame(n).len() as u64;
                if n % 3 != 1 {
                    assert_eq!(tx.flush(&mut kernel, 0).unwrap(), u64::from(n % 3 == 1));
                }
            }
            tx.flush(&mut kernel, 0).unwrap();
            assert_eq!(kernel.wire, frames(0..200));
            let counts = tx.counters().read();
            assert_eq!((counts.frames, counts.bytes), (200, bytes));
            assert_eq!((counts.refused, counts.in_flight), (0, 0));
        }
    }
}

#[test]
fn every_order_of_commit_and_abort_sends_the_longest_prefix() {
    const OPEN: usize = 4;
    for version in VERSIONS {
        for start in 0..6 {
            for order in orders(OPEN) {
                for aborted in 0..1 << OPEN {
                    for pair in pairs(version, 3) {
                        prefix(pair, start, &order, aborted);
                    }
                }
            }
        }
    }
}

/// Opens reservations and closes them in `order`; those in the set `aborted` are given up.
fn prefix(pair: (Transmitter, Fake), start: u64, order: &[usize], aborted: u32) {
    let (mut tx, mut kernel) = pair;
    for n in 0..start {
        put(&mut tx, &mut kernel, &frame(n), n);
        tx.flush(&mut kernel, 0).unwrap();
    }
    results(&mut tx);
    let slots: Vec<Slot> = order.iter().map(|_| tx.reserve().unwrap()).collect();
    let mut closed = vec![false; order.len()];
    for &i in order {
        let n = start + i as u64;
        // Written first, to see that a frame that moves overwrites no other.
        fill(&kernel, &slots[i], 0, &frame(n));
        if aborted & 1 << i != 0 {
            tx.abort(slots[i].reference).unwrap();
        } else {
            let length = frame(n).len() as u32;
            tx.commit(&mut kernel, slots[i].reference, length, 0, n)
                .unwrap();
        }
        closed[i] = true;
        let prefix = closed.iter().take_while(|&&closed| closed).count();
        let expected: Vec<u64> = (0..start)
            .chain(
                (0..prefix as u32)
                    .filter(|i| aborted & 1 << i == 0)
                    .map(|i| start + u64::from(i)),
            )
            .collect();
        assert_eq!(tx.flush(&mut kernel, 0).unwrap(), 0);
        let wire: Vec<_> = expected.iter().map(|&n| frame(n)).collect();
        assert_eq!(
            kernel.wire,
            wire,
            "{:?} {} {start} {order:?} {aborted:b}",
            kernel.version,
            tx.copies()
        );
    }
    let sent = start + u64::from(order.len() as u32 - aborted.count_ones());
    assert_eq!(counts(&tx), (sent, 0, 0));
    let done = (0..order.len() as u32).filter(|i| aborted & 1 << i == 0);
    let expected: Vec<_> = done.map(|i| (start + u64::from(i), 0)).collect();
    assert_eq!(results(&mut tx), expected);
    for _ in 0..6 {
        assert!(tx.reserve().is_some(), "{order:?} {aborted:b}");
    }
    assert!(tx.reserve().is_none());
}

#[test]
fn a_full_ring_gives_nothing_until_a_frame_is_done() {
    for version in VERSIONS {
        let (mut tx, mut kernel) = pair(version, 2);
        kernel.slow = true;
        for n in 0..4 {
            put(&mut tx, &mut kernel, &frame(n), n);
        }
        assert!(tx.reserve().is_none() && !tx.ready() && tx.waits_for_kick());
        assert_eq!(tx.flush(&mut kernel, 0).unwrap(), 4);
        assert!(tx.reserve().is_none() && !tx.ready() && !tx.waits_for_kick());
        kernel.finish(0, 0, (0, 0));
        assert!(tx.ready());
        put(&mut tx, &mut kernel, &frame(4), 4);
        assert!(tx.reserve().is_none());
        kernel.finish_all();
        tx.flush(&mut kernel, 0).unwrap();
        assert_eq!(kernel.wire, frames(0..5));
    }
}

#[test]
fn a_slot_that_is_still_being_sent_is_not_given_out_when_later_ones_are_done() {
    let (mut tx, mut kernel) = pair(Version::V2, 2);
    kernel.slow = true;
    for n in 0..4 {
        put(&mut tx, &mut kernel, &frame(n), n);
    }
    tx.flush(&mut kernel, 0).unwrap();
    kernel.finish(1, 0, (0, 0));
    kernel.finish(2, 0, (0, 0));
    assert!(tx.reserve().is_none());
    assert_eq!(results(&mut tx), []);
    kernel.finish(0, 0, (0, 0));
    assert_eq!(results(&mut tx), [(0, 0), (1, 0)]);
    kernel.finish(0, 0, (0, 0));
    assert_eq!(results(&mut tx), [(2, 0), (3, 0)]);
}

#[test]
fn a_reference_is_good_once_and_for_its_own_handle() {
    let (mut tx, mut kernel) = pair(Version::V3, 2);
    let (mut other, _) = pair_of(&Config {
        base: BASE + (1 << 56),
        ..config(Version::V3, ring(2))
    });
    let foreign = other.reserve().unwrap();
    let refused = |result: Result<()>| matches!(result, Err(Error::NotHeld(_)));
    let first = tx.reserve().unwrap();
    for reference in [
        foreign.reference,
        0,
        first.reference + 1,
        first.reference + 4,
    ] {
        assert!(refused(tx.commit(&mut kernel, reference, 60, 0, 0)));
        assert!(refused(tx.abort(reference)));
    }
    commit(&mut tx, &mut kernel, &first, &frame(0), 0).unwrap();
    assert!(refused(tx.commit(&mut kernel, first.reference, 60, 0, 9)));
    assert!(refused(tx.abort(first.reference)));
    let second = tx.reserve().unwrap();
    tx.abort(second.reference).unwrap();
    assert!(refused(tx.commit(&mut kernel, second.reference, 60, 0, 9)));
    // The same slot and record again: the stale reference must not fit.
    let third = tx.reserve().unwrap();
    assert_eq!(third.data, second.data);
    assert!(refused(tx.abort(second.reference)));
    commit(&mut tx, &mut kernel, &third, &frame(1), 1).unwrap();
    tx.flush(&mut kernel, 0).unwrap();
    assert_eq!(kernel.wire, frames(0..2));
}

#[test]
fn a_frame_of_wrong_length_stays_with_the_caller() {
    let (mut tx, mut kernel) = pair(Version::V2, 2);
    let slot = tx.reserve().unwrap();
    assert_eq!(slot.capacity, 1518);
    let mut long = vec![1; 1518];
    for length in [0, 1, 13, 1515, 1518, 1519, 1 << 31, u32::MAX] {
        fill(&kernel, &slot, 0, &long);
        let error = tx.commit(&mut kernel, slot.reference, length, 0, 0);
        assert!(matches!(error, Err(Error::FrameLength { .. })), "{length}");
    }
    assert_eq!(tx.flush(&mut kernel, 0).unwrap(), 0);
    assert_eq!(kernel.kicks, 0);
    long[12..14].copy_from_slice(&[0x88, 0xa8]);
    assert!(commit(&mut tx, &mut kernel, &slot, &long, 0).is_err());
    long[12..14].copy_from_slice(&[0x81, 0x00]);
    commit(&mut tx, &mut kernel, &slot, &long, 0).unwrap();
    put(&mut tx, &mut kernel, &frame(0)[..14], 1);
    put(&mut tx, &mut kernel, &long[..1514], 2);
    kernel.mtu = 1504;
    tx.flush(&mut kernel, 0).unwrap();
    let lengths: Vec<usize> = kernel.wire.iter().map(Vec::len).collect();
    assert_eq!(lengths, [1518, 14, 1514]);
}

#[test]
fn a_raised_mtu_is_noticed_by_the_first_frame_that_needs_it() {
    let (mut tx, mut kernel) = pair(Version::V2, 2);
    tx.set_limits(Limits { mtu: 100, ..LIMITS });
    let slot = tx.reserve().unwrap();
    commit(&mut tx, &mut kernel, &slot, &vec![1; 1514], 0).unwrap();
    assert_eq!(tx.limits().mtu, 1500);
}

#[test]
fn a_slot_smaller_than_the_mtu_limits_the_frame() {
    let small = Ring {
        frame_size: 256,
        ..ring(1)
    };
    for version in VERSIONS {
        let (mut tx, mut kernel) = pair_of(&config(version, small));
        let room = 256 - version.tx_data_offset() as u32;
        let slot = tx.reserve().unwrap();
        assert_eq!(slot.capacity, room);
        assert!(tx
            .commit(&mut kernel, slot.reference, room + 1, 0, 0)
            .is_err());
        commit(&mut tx, &mut kernel, &slot, &vec![5; room as usize], 0).unwrap();
        tx.flush(&mut kernel, 0).unwrap();
        assert_eq!(kernel.wire, [vec![5; room as usize]]);
    }
}

#[test]
fn a_frame_may_be_placed_anywhere_in_its_slot_and_moves_with_its_place() {
    for version in VERSIONS {
        let placed = Config {
            placed: true,
            ..config(version, ring(2))
        };
        let (mut tx, mut kernel) = pair_of(&placed);
        let hole = tx.reserve().unwrap();
        let slot = tx.reserve().unwrap();
        let room = 1584 - version.tx_data_offset() as u32;
        assert_eq!(slot.capacity, room);
        assert!(tx
            .commit(&mut kernel, slot.reference, 100, room - 99, 0)
            .is_err());
        assert!(tx
            .commit(&mut kernel, slot.reference, 100, u32::MAX, 0)
            .is_err());
        fill(&kernel, &slot, room - 100, &[7; 100]);
        tx.commit(&mut kernel, slot.reference, 100, room - 100, 0)
            .unwrap();
        tx.abort(hole.reference).unwrap();
        put(&mut tx, &mut kernel, &frame(1), 1);
        tx.flush(&mut kernel, 0).unwrap();
        assert_eq!(kernel.wire, [vec![7; 100], frame(1)]);
    }
    let (mut tx, mut kernel) = pair(Version::V2, 1);
    let slot = tx.reserve().unwrap();
    let error = tx.commit(&mut kernel, slot.reference, 100, 1, 0);
    assert!(matches!(error, Err(Error::Invalid(_))));
}

#[test]
fn a_refused_frame_is_reported_and_the_ring_goes_on() {
    for version in VERSIONS {
        for bad in 0..4u64 {
            let starts = (0..6).flat_map(|start| pairs(version, 3).map(move |pair| (start, pair)));
            for (start, (mut tx, mut kernel)) in starts {
                for n in 0..start {
                    put(&mut tx, &mut kernel, &frame(n), n);
                    tx.flush(&mut kernel, 0).unwrap();
                }
                results(&mut tx);
                for n in 0..4 {
                    let bytes = if n == bad {
                        vec![BAD; 60]
                    } else {
                        frame(100 + n)
                    };
                    put(&mut tx, &mut kernel, &bytes, n);
                }
                assert_eq!(tx.flush(&mut kernel, 0).unwrap(), 0);
                let good = (0..4).filter(|&n| n != bad);
                let wire: Vec<_> = (0..start)
                    .map(frame)
                    .chain(good.map(|n| frame(100 + n)))
                    .collect();
                assert_eq!(kernel.wire, wire);
                let expected: Vec<_> = (0..4)
                    .map(|n| (n, if n == bad { -libc::EINVAL } else { 0 }))
                    .collect();
                assert_eq!(results(&mut tx), expected);
                assert_eq!(counts(&tx), (start + 3, 1, 0));
            }
        }
    }
}

#[test]
fn a_refused_frame_waits_for_its_turn_among_the_completions() {
    let (mut tx, mut kernel) = pair(Version::V3, 2);
    kernel.slow = true;
    put(&mut tx, &mut kernel, &frame(0), 0);
    put(&mut tx, &mut kernel, &[BAD; 60], 1);
    put(&mut tx, &mut kernel, &frame(2), 2);
    assert_eq!(tx.flush(&mut kernel, 0).unwrap(), 2);
    assert_eq!(results(&mut tx), []);
    kernel.finish(1, 0, (0, 0));
    assert_eq!(results(&mut tx), []);
    kernel.finish(0, 0, (0, 0));
    assert_eq!(results(&mut tx), [(0, 0), (1, -libc::EINVAL), (2, 0)]);
}

#[test]
fn a_lowered_mtu_refuses_all_long_frames_in_one_pass() {
    for (mut tx, mut kernel) in pairs(Version::V2, 32) {
        for n in 0..64 {
            let length = if n % 4 == 3 { 100 } else { 1514 };
            put(&mut tx, &mut kernel, &vec![n as u8; length], n);
        }
        kernel.mtu = 1000;
        assert_eq!(tx.flush(&mut kernel, 0).unwrap(), 0);
        assert_eq!(kernel.wire.len(), 16);
        assert!(kernel.kicks <= 4, "{} system calls", kernel.kicks);
        assert_eq!(counts(&tx), (16, 48, 0));
        for (n, (user_data, error)) in results(&mut tx).into_iter().enumerate() {
            let expected = if n % 4 == 3 { 0 } else { -libc::EMSGSIZE };
            assert_eq!((user_data, error), (n as u64, expected));
        }
        let slot = tx.reserve().unwrap();
        assert_eq!(slot.capacity, 1018);
    }
}

#[test]
fn a_lowered_mtu_leaves_open_reservations_and_their_order_alone() {
    for (mut tx, mut kernel) in pairs(Version::V1, 3) {
        put(&mut tx, &mut kernel, &[1; 1514], 0);
        put(&mut tx, &mut kernel, &[2; 100], 1);
        let open = tx.reserve().unwrap();
        put(&mut tx, &mut kernel, &[4; 1514], 3);
        put(&mut tx, &mut kernel, &[5; 100], 4);
        kernel.mtu = 1000;
        tx.flush(&mut kernel, 0).unwrap();
        assert_eq!(kernel.wire, [vec![2; 100]]);
        commit(&mut tx, &mut kernel, &open, &[3; 100], 2).unwrap();
        tx.flush(&mut kernel, 0).unwrap();
        assert_eq!(kernel.wire, [vec![2; 100], vec![3; 100], vec![5; 100]]);
        let long = -libc::EMSGSIZE;
        assert_eq!(
            results(&mut tx),
            [(0, long), (1, 0), (2, 0), (3, long), (4, 0)]
        );
    }
}

#[test]
fn frames_behind_a_refused_one_are_in_flight_even_if_the_kernel_takes_few() {
    let (mut tx, mut kernel) = pair(Version::V2, 16);
    kernel.slow = true;
    kernel.buffer = 1;
    put(&mut tx, &mut kernel, &[BAD; 60], 99);
    for n in 0..31 {
        put(&mut tx, &mut kernel, &frame(n), n);
    }
    assert_eq!(tx.flush(&mut kernel, 0).unwrap(), 31);
    assert_eq!(counts(&tx), (0, 1, 31));
    assert_eq!(tx.flush(&mut kernel, -1).unwrap(), 0);
    assert_eq!(kernel.wire, frames(0..31));
}

#[test]
fn a_ring_of_malformed_frames_costs_one_system_call_and_few_moves_each() {
    for (mut tx, mut kernel) in pairs(Version::V2, 128) {
        kernel.count_shown = true;
        for n in 0..256 {
            put(&mut tx, &mut kernel, &[BAD; 60], n);
        }
        assert_eq!(tx.flush(&mut kernel, 0).unwrap(), 0);
        assert!(kernel.kicks <= 257, "{}", kernel.kicks);
        // What is not shown again need not be moved again.
        assert!(kernel.shown_again <= 16, "{}", kernel.shown_again);
        assert_eq!(counts(&tx), (0, 256, 0));
        put(&mut tx, &mut kernel, &frame(0), 0);
        tx.flush(&mut kernel, 0).unwrap();
        assert_eq!(kernel.wire, frames(0..1));
    }
}

#[test]
fn a_latched_error_is_tried_again_and_the_frame_sent_once() {
    for (mut tx, mut kernel) in pairs(Version::V2, 2) {
        put(&mut tx, &mut kernel, &frame(0), 0);
        kernel.answers.push_back(libc::ENETDOWN);
        assert_eq!(tx.flush(&mut kernel, 0).unwrap(), 0);
        assert_eq!(kernel.wire, frames(0..1));
        assert_eq!(kernel.kicks, 2);
    }
}

#[test]
fn an_error_that_the_kernel_hides_behind_frames_it_sent_does_not_stop_the_rest() {
    for after in 1..4 {
        for (mut tx, mut kernel) in pairs(Version::V2, 2) {
            for n in 0..4 {
                put(&mut tx, &mut kernel, &frame(n), n);
            }
            kernel.flap_after = Some(after);
            assert_eq!(tx.flush(&mut kernel, 0).unwrap(), 0);
            assert_eq!(kernel.wire, frames(0..4));
        }
    }
}

#[test]
fn frames_stay_while_the_interface_is_down_and_after_it_is_gone() {
    for (mut tx, mut kernel) in pairs(Version::V3, 2) {
        put(&mut tx, &mut kernel, &frame(0), 0);
        kernel.answers.extend([libc::ENETDOWN, libc::ENETDOWN]);
        assert!(matches!(
            tx.flush(&mut kernel, -1),
            Err(Error::InterfaceDown)
        ));
        kernel.answers.push_back(libc::ENXIO);
        assert!(matches!(
            tx.flush(&mut kernel, -1),
            Err(Error::InterfaceGone)
        ));
        kernel.answers.push_back(libc::EBADF);
        assert!(matches!(
            tx.flush(&mut kernel, -1),
            Err(Error::System {
                errno: libc::EBADF,
                ..
            })
        ));
        assert_eq!(counts(&tx), (0, 0, 1));
        tx.flush(&mut kernel, 0).unwrap();
        assert_eq!(kernel.wire, frames(0..1));
    }
}

#[test]
fn a_full_send_buffer_is_waited_for() {
    let (mut tx, mut kernel) = pair(Version::V2, 3);
    kernel.slow = true;
    kernel.buffer = 2;
    for n in 0..6 {
        put(&mut tx, &mut kernel, &frame(n), n);
    }
    assert_eq!(tx.kick(&mut kernel).unwrap(), Halt::Buffer);
    assert_eq!(kernel.wire.len(), 2);
    assert_eq!(tx.flush(&mut kernel, -1).unwrap(), 0);
    assert_eq!(kernel.wire, frames(0..6));
    assert_eq!(kernel.waits, 6);
}

#[test]
fn a_rejected_frame_is_tried_until_the_queue_takes_it() {
    for (mut tx, mut kernel) in pairs(Version::V2, 2) {
        for n in 0..3 {
            put(&mut tx, &mut kernel, &frame(n), n);
        }
        kernel.rejections = 20;
        assert!(matches!(tx.flush(&mut kernel, 0), Err(Error::QueueFull)));
        assert!(matches!(tx.flush(&mut kernel, 5), Err(Error::QueueFull)));
        assert_eq!(tx.flush(&mut kernel, 1000).unwrap(), 0);
        assert_eq!(kernel.wire, frames(0..3));
        assert_eq!(counts(&tx), (3, 0, 0));
        assert!(kernel.clock < 300_000_000, "{}", kernel.clock);
    }
}

#[test]
fn polling_tells_the_kernel_only_when_that_can_help_and_pauses_when_it_does_not() {
    let (mut tx, mut kernel) = pair(Version::V2, 2);
    assert!(tx.poll(&mut kernel).unwrap());
    for n in 0..4 {
        assert!(tx.poll(&mut kernel).unwrap());
        put(&mut tx, &mut kernel, &frame(n), n);
    }
    assert_eq!((kernel.kicks, kernel.pauses), (0, 0));
    kernel.rejections = 20;
    kernel.slow = true;
    for _ in 0..20 {
        let before = kernel.clock;
        assert!(!tx.poll(&mut kernel).unwrap());
        assert!((100_000..=1_000_000).contains(&(kernel.clock - before)));
    }
    assert_eq!((kernel.kicks, kernel.pauses), (20, 20));
    for _ in 0..3 {
        assert!(!tx.poll(&mut kernel).unwrap());
    }
    assert_eq!((kernel.kicks, kernel.pauses), (21, 20));
    kernel.finish(0, 0, (0, 0));
    assert!(tx.poll(&mut kernel).unwrap());
    assert_eq!(kernel.kicks, 21);
}

#[test]
fn a_frame_that_the_queue_never_takes_is_refused_after_a_second() {
    for (mut tx, mut kernel) in pairs(Version::V3, 3) {
        for n in 0..6 {
            let bytes = if n == 2 { vec![JAM; 60] } else { frame(n) };
            put(&mut tx, &mut kernel, &bytes, n);
        }
        // However often it is tried, a second must pass.
        for _ in 0..1000 {
            assert!(matches!(tx.flush(&mut kernel, 0), Err(Error::QueueFull)));
        }
        assert_eq!(tx.flush(&mut kernel, -1).unwrap(), 0);
        assert!((1_000_000_000..1_100_000_000).contains(&kernel.clock));
        let good = [0, 1, 3, 4, 5].iter().map(|&n| frame(n));
        assert_eq!(kernel.wire, good.collect::<Vec<_>>());
        let nobufs = -libc::ENOBUFS;
        assert_eq!(
            results(&mut tx),
            [(0, 0), (1, 0), (2, nobufs), (3, 0), (4, 0), (5, 0)]
        );
    }
}

#[test]
fn a_frame_is_not_given_up_before_it_was_tried_often() {
    for (mut tx, mut kernel) in pairs(Version::V2, 1) {
        put(&mut tx, &mut kernel, &[JAM; 60], 0);
        for _ in 0..15 {
            kernel.clock += 1_000_000_000;
            assert!(matches!(tx.flush(&mut kernel, 0), Err(Error::QueueFull)));
        }
        assert_eq!(tx.flush(&mut kernel, 0).unwrap(), 0);
        assert_eq!(results(&mut tx), [(0, -libc::ENOBUFS)]);
    }
}

#[test]
fn each_frame_has_the_queues_patience_anew() {
    for (mut tx, mut kernel) in pairs(Version::V2, 4) {
        for n in 0..8 {
            put(&mut tx, &mut kernel, &frame(n), n);
            // Tried for 0.9 s, most of the time that a frame has.
            kernel.rejections = 95;
            assert_eq!(tx.flush(&mut kernel, -1).unwrap(), 0);
        }
        assert!(kernel.clock > 6_000_000_000);
        assert_eq!(kernel.wire, frames(0..8));
    }
}

#[test]
fn a_ring_of_frames_that_the_queue_never_takes_comes_to_an_end() {
    for (mut tx, mut kernel) in pairs(Version::V2, 64) {
        for n in 0..128 {
            put(&mut tx, &mut kernel, &[JAM; 60], n);
        }
        assert_eq!(tx.flush(&mut kernel, -1).unwrap(), 0);
        assert_eq!(counts(&tx), (0, 128, 0));
        assert!(kernel.clock < 4_000_000_000, "{}", kernel.clock);
    }
}

#[test]
fn flush_returns_when_time_is_out_and_when_it_is_told_to() {
    let (mut tx, mut kernel) = pair(Version::V2, 2);
    kernel.slow = true;
    kernel.buffer = 1;
    put(&mut tx, &mut kernel, &frame(0), 0);
    kernel.stop_after = Some(1000);
    assert_eq!(tx.flush(&mut kernel, 250).unwrap(), 1);
    assert_eq!((kernel.clock, kernel.waits), (250_000_001, 3));
    kernel.stop_after = Some(4);
    assert!(matches!(tx.flush(&mut kernel, -1), Err(Error::Broken)));
    assert_eq!(counts(&tx), (0, 0, 1));
}

#[test]
fn nothing_to_send_costs_no_system_call() {
    for (mut tx, mut kernel) in pairs(Version::V2, 2) {
        let open = tx.reserve().unwrap();
        put(&mut tx, &mut kernel, &frame(1), 1);
        assert_eq!(tx.flush(&mut kernel, -1).unwrap(), 0);
        assert_eq!((kernel.kicks, kernel.waits), (0, 0));
        tx.abort(open.reference).unwrap();
        tx.flush(&mut kernel, -1).unwrap();
        assert_eq!(kernel.kicks, 1);
        assert_eq!(kernel.wire, [frame(1)]);
    }
}

#[test]
fn timestamps_come_with_the_clock_that_took_them() {
    for version in VERSIONS {
        let (mut tx, mut kernel) = pair(version, 2);
        kernel.slow = true;
        for n in 0..3 {
            put(&mut tx, &mut kernel, &frame(n), n);
        }
        tx.flush(&mut kernel, 0).unwrap();
        kernel.finish(0, libc::TP_STATUS_TS_SOFTWARE, (7, 5));
        kernel.finish(0, libc::TP_STATUS_TS_RAW_HARDWARE, (8, 6));
        kernel.finish(0, 0, (9, 9));
        let unit = if version == Version::V1 { 1000 } else { 1 };
        let done = completions(&mut tx);
        let seen: Vec<_> = done.iter().map(|c| (c.timestamp, c.status)).collect();
        assert_eq!(
            seen,
            [
                (7_000_000_000 + 5 * unit, libc::TP_STATUS_TS_SOFTWARE),
                (8_000_000_000 + 6 * unit, libc::TP_STATUS_TS_RAW_HARDWARE),
                (0, 0),
            ]
        );
        assert_eq!(done[1].length as usize, frame(1).len());
    }
}

#[test]
fn the_kernel_is_handed_no_more_than_timestamps_have_room() {
    let config = Config {
        stamped: Some(4),
        ..config(Version::V2, ring(10))
    };
    let (mut tx, mut kernel) = pair_of(&config);
    kernel.count_shown = true;
    for round in 0..3 {
        for n in 0..20 {
            put(&mut tx, &mut kernel, &frame(n), n);
        }
        assert_eq!(tx.flush(&mut kernel, 1000).unwrap(), 0);
        assert_eq!(kernel.kicks, 5 * (round + 1));
    }
    assert!(kernel.shown_again <= 4, "{}", kernel.shown_again);
    assert_eq!(
        kernel.wire,
        [frames(0..20), frames(0..20), frames(0..20)].concat()
    );
}

#[test]
fn uncollected_completions_give_way_to_newer_ones_but_stay_counted() {
    for (mut tx, mut kernel) in pairs(Version::V2, 2) {
        for n in 0..10 {
            put(&mut tx, &mut kernel, &frame(n), n);
            tx.flush(&mut kernel, 0).unwrap();
        }
        assert_eq!(results(&mut tx), [(6, 0), (7, 0), (8, 0), (9, 0)]);
        assert_eq!(counts(&tx), (10, 0, 0));
    }
}

#[test]
fn reserving_and_giving_up_pushes_out_no_completion() {
    for (mut tx, mut kernel) in pairs(Version::V2, 2) {
        put(&mut tx, &mut kernel, &frame(0), 0);
        tx.flush(&mut kernel, 0).unwrap();
        for _ in 0..100 {
            let a = tx.reserve().unwrap();
            let b = tx.reserve().unwrap();
            tx.abort(a.reference).unwrap();
            tx.abort(b.reference).unwrap();
        }
        assert_eq!(results(&mut tx), [(0, 0)]);
    }
}

#[test]
fn a_slot_given_up_behind_an_open_reservation_is_free_at_once() {
    for (mut tx, mut kernel) in pairs(Version::V2, 2) {
        let open = tx.reserve().unwrap();
        for _ in 0..100 {
            let slot = tx.reserve().unwrap();
            let next = tx.reserve().unwrap();
            assert!(tx
                .reserve()
                .map_or(false, |last| tx.abort(last.reference).is_ok()));
            tx.abort(slot.reference).unwrap();
            tx.abort(next.reference).unwrap();
        }
        commit(&mut tx, &mut kernel, &open, &frame(0), 0).unwrap();
        put(&mut tx, &mut kernel, &frame(1), 1);
        tx.flush(&mut kernel, 0).unwrap();
        assert_eq!(kernel.wire, frames(0..2));
    }
}

#[test]
fn a_frame_that_moved_down_leaves_its_slot_free_at_once() {
    for (mut tx, mut kernel) in pairs(Version::V2, 2) {
        let hole = tx.reserve().unwrap();
        let slot = tx.reserve().unwrap();
        tx.abort(hole.reference).unwrap();
        commit(&mut tx, &mut kernel, &slot, &frame(0), 0).unwrap();
        for _ in 0..3 {
            assert!(tx.reserve().is_some());
        }
        assert!(tx.reserve().is_none());
    }
}

#[test]
fn frames_committed_out_of_order_leave_with_one_system_call() {
    for (mut tx, mut kernel) in pairs(Version::V2, 2) {
        let slots: Vec<Slot> = (0..3).map(|_| tx.reserve().unwrap()).collect();
        for n in [2, 1, 0] {
            commit(&mut tx, &mut kernel, &slots[n], &frame(n as u64), 0).unwrap();
        }
        assert_eq!(counts(&tx), (0, 0, 3));
        tx.flush(&mut kernel, 0).unwrap();
        assert_eq!(kernel.kicks, 1);
        assert_eq!(kernel.wire, frames(0..3));
    }
}

#[test]
fn leftovers_in_a_header_do_no_harm() {
    for version in VERSIONS {
        let (mut tx, mut kernel) = pair(version, 2);
        let slot = tx.reserve().unwrap();
        fill(&kernel, &slot, 0, &frame(0));
        for at in (0..version.tx_data_offset()).step_by(4) {
            let is_status = match version {
                Version::V1 => at < v1::STATUS_LEN,
                Version::V2 => at == v2::STATUS,
                Version::V3 => at == v3::STATUS,
            };
            assert!(is_status || kernel.view.set_u32(at, 0x0505_0505));
        }
        let length = frame(0).len() as u32;
        tx.commit(&mut kernel, slot.reference, length, 0, 0)
            .unwrap();
        tx.flush(&mut kernel, 0).unwrap();
        assert_eq!(kernel.wire, frames(0..1));
        assert_eq!(completions(&mut tx)[0].timestamp, 0);
    }
}

#[test]
fn an_injected_frame_goes_through_the_ring_in_its_turn() {
    let (mut tx, mut kernel) = pair(Version::V3, 1);
    for n in 0..20 {
        put(&mut tx, &mut kernel, &frame(2 * n), 1);
        assert_eq!(
            tx.inject(&mut kernel, &frame(2 * n + 1)).unwrap(),
            frame(2 * n + 1).len()
        );
    }
    put(&mut tx, &mut kernel, &frame(40), 40);
    put(&mut tx, &mut kernel, &frame(41), 41);
    assert!(tx.reserve().is_none());
    tx.inject(&mut kernel, &frame(42)).unwrap();
    assert_eq!(kernel.wire, frames(0..43));
    for bad in [vec![1; 13], vec![1; 1515], vec![1; 100_000]] {
        let error = tx.inject(&mut kernel, &bad);
        assert!(matches!(error, Err(Error::FrameLength { .. })));
    }
    let error = tx.inject(&mut kernel, &[BAD; 60]);
    assert!(matches!(
        error,
        Err(Error::System {
            errno: libc::EINVAL,
            ..
        })
    ));
    let open = tx.reserve().unwrap();
    assert!(matches!(
        tx.inject(&mut kernel, &frame(0)),
        Err(Error::State(_))
    ));
    tx.abort(open.reference).unwrap();
    kernel.slow = true;
    tx.inject(&mut kernel, &frame(43)).unwrap();
    tx.inject(&mut kernel, &frame(44)).unwrap();
    assert!(matches!(
        tx.inject(&mut kernel, &frame(45)),
        Err(Error::QueueFull)
    ));
    assert_eq!(kernel.wire, frames(0..45));
}

fn inject_batch(tx: &mut Transmitter, kernel: &mut Fake, frames: &[Vec<u8>]) -> Result<usize> {
    let slices: Vec<_> = frames.iter().map(|bytes| IoSlice::new(bytes)).collect();
    tx.inject_batch(kernel, &slices)
}

#[test]
fn an_injected_batch_takes_a_system_call_for_each_ring_full() {
    for version in VERSIONS {
        let (mut tx, mut kernel) = pair(version, 4);
        put(&mut tx, &mut kernel, &frame(0), 7);
        let sent = inject_batch(&mut tx, &mut kernel, &frames(1..30)).unwrap();
        assert_eq!((sent, kernel.kicks), (29, 4));
        assert_eq!(kernel.wire, frames(0..30));
        assert_eq!(counts(&tx), (30, 0, 0));
        assert_eq!(inject_batch(&mut tx, &mut kernel, &[]).unwrap(), 0);
        let open = tx.reserve().unwrap();
        let behind = inject_batch(&mut tx, &mut kernel, &frames(0..2));
        assert!(matches!(behind, Err(Error::State(_))));
        tx.abort(open.reference).unwrap();
        kernel.slow = true;
        let waiting = inject_batch(&mut tx, &mut kernel, &frames(30..40));
        assert_eq!((waiting.unwrap(), tx.in_flight()), (8, 8));
        let full = inject_batch(&mut tx, &mut kernel, &frames(38..40));
        assert!(matches!(full, Err(Error::QueueFull)));
        assert_eq!(kernel.wire, frames(0..38));
    }
}

#[test]
fn an_injected_batch_ends_at_the_first_frame_that_fails() {
    // Refused by the library, and by the kernel.
    for (bad, errno) in [
        (vec![1; 1515], libc::EMSGSIZE),
        (vec![BAD; 60], libc::EINVAL),
    ] {
        for at in 0..12 {
            for before in 0..3 {
                let (mut tx, mut kernel) = pair(Version::V3, 3);
                for n in 0..before {
                    put(&mut tx, &mut kernel, &frame(n), n);
                }
                let mut batch = frames(before..before + 12);
                batch[at] = bad.clone();
                let result = inject_batch(&mut tx, &mut kernel, &batch);
                match at {
                    0 => assert_eq!(result.unwrap_err().errno(), errno),
                    _ => assert_eq!(result.unwrap(), at),
                }
                // Nor is any of those behind it sent later.
                put(&mut tx, &mut kernel, &frame(99), 99);
                assert_eq!(tx.flush(&mut kernel, 0).unwrap(), 0);
                let mut wire = frames(0..before + at as u64);
                wire.push(frame(99));
                assert_eq!(kernel.wire, wire, "{at} {before}");
                let told = results(&mut tx);
                let failed = told.iter().filter(|(_, error)| *error != 0);
                assert_eq!(failed.count() as u64, tx.counters().read().refused);
                assert_eq!(counts(&tx).2, 0);
            }
        }
    }
}

#[test]
fn frames_behind_a_lowered_mtu_are_not_sent_by_a_batch_that_tells_so() {
    let (mut tx, mut kernel) = pair(Version::V2, 4);
    put(&mut tx, &mut kernel, &[1; 1514], 1);
    put(&mut tx, &mut kernel, &[2; 100], 2);
    kernel.mtu = 1000;
    let batch = [vec![3; 100], vec![4; 1514], vec![5; 100]];
    assert_eq!(inject_batch(&mut tx, &mut kernel, &batch).unwrap(), 1);
    assert_eq!(tx.flush(&mut kernel, 0).unwrap(), 0);
    assert_eq!(kernel.wire, [vec![2; 100], vec![3; 100]]);
    let long = -libc::EMSGSIZE;
    assert_eq!(results(&mut tx)[..3], [(1, long), (2, 0), (0, 0)]);
    assert_eq!(tx.limits().mtu, 1000);
}

#[test]
fn an_injected_frame_that_could_not_be_sent_is_not_sent_later() {
    for version in VERSIONS {
        let (mut tx, mut kernel) = pair(version, 3);
        put(&mut tx, &mut kernel, &frame(0), 0);
        for batch in [frames(1..2), frames(1..4), frames(1..20)] {
            kernel.answers.extend([libc::ENETDOWN, libc::ENETDOWN]);
            let result = inject_batch(&mut tx, &mut kernel, &batch);
            assert!(matches!(result, Err(Error::InterfaceDown)));
            kernel.answers.push_back(libc::ENXIO);
            let result = tx.inject(&mut kernel, &batch[0]);
            assert!(matches!(result, Err(Error::InterfaceGone)));
            assert_eq!(counts(&tx), (0, 0, 1));
        }
        tx.flush(&mut kernel, 0).unwrap();
        assert_eq!(kernel.wire, frames(0..1));
        assert_eq!(results(&mut tx), [(0, 0)]);
        for _ in 0..6 {
            assert!(tx.reserve().is_some());
        }
        assert!(tx.reserve().is_none());
    }
}

#[test]
fn a_batch_counts_what_was_taken_before_the_interface_went_down() {
    let (mut tx, mut kernel) = pair(Version::V2, 4);
    put(&mut tx, &mut kernel, &frame(0), 0);
    kernel.flap_after = Some(3);
    kernel.answers_after_flap = [libc::ENETDOWN, libc::ENETDOWN].into();
    assert_eq!(
        inject_batch(&mut tx, &mut kernel, &frames(1..6)).unwrap(),
        2
    );
    assert_eq!(tx.flush(&mut kernel, 0).unwrap(), 0);
    assert_eq!(kernel.wire, frames(0..3));
    assert_eq!(counts(&tx), (3, 0, 0));
}

/// A small pseudo-random sequence (xorshift), the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What a frame of the model is meant to become.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    Open,
    Sent,
    Refused,
    Aborted,
}

/// The transmit ring beside the plainest description of it: a list of frames.
struct Model {
    tx: Transmitter,
    kernel: Fake,
    fates: Vec<Fate>,
    open: Vec<(usize, Slot)>,
    collected: Vec<(u64, i32)>,
}

impl Model {
    fn new(version: Version, blocks: u32, stamped: Option<u64>, copied: bool) -> Model {
        let config = Config {
            stamped,
            copied,
            ..config(version, ring(blocks))
        };
        let (tx, mut kernel) = pair_of(&config);
        kernel.slow = !copied;
        Model {
            tx,
            kernel,
            fates: Vec::new(),
            open: Vec::new(),
            collected: Vec::new(),
        }
    }

    fn reserve(&mut self) {
        // Collect first, so that no completion is pushed out.
        self.collect();
        let ready = self.tx.ready();
        let slot = self.tx.reserve();
        assert_eq!(slot.is_some(), ready);
        if let Some(slot) = slot {
            let number = self.fates.len();
            // Noise, to be seen on the wire should it ever get there.
            fill(&self.kernel, &slot, 0, &[0xee; 1514]);
            self.open.push((number, slot));
            self.fates.push(Fate::Open);
        }
    }

    fn commit(&mut self, which: usize, bad: bool) {
        let (number, slot) = self.open.remove(which);
        let n = number as u64;
        let bytes = if bad { vec![BAD; 60] } else { frame(n) };
        commit(&mut self.tx, &mut self.kernel, &slot, &bytes, n).unwrap();
        self.fates[number] = if bad { Fate::Refused } else { Fate::Sent };
    }

    fn abort(&mut self, which: usize) {
        let (number, slot) = self.open.remove(which);
        self.tx.abort(slot.reference).unwrap();
        self.fates[number] = Fate::Aborted;
    }

    fn collect(&mut self) {
        self.collected.extend(results(&mut self.tx));
    }

    fn step(&mut self, op: u64, pick: u64) {
        let which = (pick as usize) % self.open.len().max(1);
        match op {
            0 | 1 => self.reserve(),
            2 if !self.open.is_empty() => self.commit(which, false),
            3 if !self.open.is_empty() => self.commit(which, pick % 5 == 0),
            4 if !self.open.is_empty() => self.abort(which),
            5 => drop(self.tx.kick(&mut self.kernel).unwrap()),
            6 if !self.kernel.sending.is_empty() => {
                let nth = pick as usize % self.kernel.sending.len();
                self.kernel.finish(nth, 0, (0, 0));
            }
            7 if self.tx.copies() => self.kernel.buffer = [0, usize::MAX][pick as usize % 2],
            7 => self.kernel.buffer = [1, 2, usize::MAX][pick as usize % 3],
            _ => {}
        }
        self.check();
    }

    /// The frames before the first open one, which are all that may be out.
    fn closed(&self) -> &[Fate] {
        let closed = self.fates.iter().take_while(|&&fate| fate != Fate::Open);
        &self.fates[..closed.count()]
    }

    fn check(&self) {
        let good: Vec<u64> = (0..)
            .zip(self.closed())
            .filter(|(_, fate)| **fate == Fate::Sent)
            .map(|(n, _)| n)
            .collect();
        let wire = &self.kernel.wire;
        assert!(wire.len() <= good.len());
        if let Some(last) = wire.last() {
            assert_eq!(last, &frame(good[wire.len() - 1]));
        }
        // Where frames are copied from, there are no status words.
        if !self.tx.copies() {
            self.check_ring();
        }
    }

    /// What the kernel may look at is one run of slots that ends where nothing waits.
    fn check_ring(&self) {
        let ring = &self.kernel.ring;
        let slots = ring.frames_per_block() * ring.block_count;
        let status: Vec<u32> = (0..slots)
            .map(|i| self.kernel.status(ring.slot_offset(i)))
            .collect();
        let waiting = status.iter().filter(|&&s| s == TP_STATUS_SEND_REQUEST);
        let sending = status.iter().filter(|&&s| s == TP_STATUS_SENDING);
        let starts = (0..status.len())
            .filter(|&i| {
                let before = status[(i + status.len() - 1) % status.len()];
                status[i] == TP_STATUS_SEND_REQUEST && before != TP_STATUS_SEND_REQUEST
            })
            .count();
        assert!(starts <= 1, "{status:?}");
        let most = status.len() - self.open.len();
        assert!(waiting.count() + sending.count() <= most);
    }

    /// Closes everything and compares the outcome.
    fn end(mut self) {
        while !self.open.is_empty() {
            self.commit(0, false);
        }
        self.kernel.buffer = usize::MAX;
        while self.tx.flush(&mut self.kernel, 0).unwrap() > 0 {
            self.kernel.finish_all();
        }
        self.collect();
        let expected: Vec<(u64, i32)> = (0..)
            .zip(&self.fates)
            .filter_map(|(n, fate)| match fate {
                Fate::Sent => Some((n, 0)),
                Fate::Refused => Some((n, -libc::EINVAL)),
                _ => None,
            })
            .collect();
        assert_eq!(self.collected, expected);
        let good: Vec<_> = expected.iter().filter(|(_, error)| *error == 0).collect();
        let wire: Vec<_> = good.iter().map(|(n, _)| frame(*n)).collect();
        assert_eq!(self.kernel.wire, wire);
        let refused = expected.len() - good.len();
        let counted = counts(&self.tx);
        assert_eq!(counted, (good.len() as u64, refused as u64, 0));
        let ring = self.kernel.ring;
        for i in 0..ring.frames_per_block() * ring.block_count {
            let status = self.kernel.status(ring.slot_offset(i));
            assert!(self.tx.copies() || status == TP_STATUS_AVAILABLE);
            assert!(self.tx.reserve().is_some());
        }
        assert!(self.tx.reserve().is_none());
    }
}

#[test]
fn whatever_the_caller_and_the_kernel_do_every_frame_comes_out_once_and_in_order() {
    for version in VERSIONS {
        for blocks in 1..=4 {
            for seed in 1..=80 {
                let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ seed);
                // Every second time with what timestamps demand.
                let stamped = (seed % 2 == 0).then_some(2);
                let copied = seed % 4 < 2;
                let mut model = Model::new(version, blocks, stamped, copied);
                for _ in 0..150 {
                    let (op, pick) = (dice.roll(8), dice.roll(1 << 20));
                    model.step(op, pick);
                }
                model.end();
            }
        }
    }
}

#[test]
fn every_short_sequence_of_operations_on_a_ring_of_two_slots_is_right() {
    const LENGTH: u32 = 5;
    // (operation, which frame of those it could be)
    const OPERATIONS: [(u64, u64); 8] = [
        (0, 0), // reserve
        (2, 0), // commit the oldest
        (2, 1), // commit the next
        (3, 0), // commit the oldest, malformed
        (4, 0), // abort the oldest
        (4, 1), // abort the next
        (5, 0), // kick
        (6, 1), // one of the frames being sent is done
    ];
    let operations = OPERATIONS.len() as u32;
    for number in 0..2 * operations.pow(LENGTH) {
        // Two reservations first: without them most sequences do nothing.
        let mut model = Model::new(Version::V2, 1, None, number % 2 == 0);
        model.step(0, 0);
        model.step(0, 0);
        let mut rest = number / 2;
        for _ in 0..LENGTH {
            let (op, pick) = OPERATIONS[(rest % operations) as usize];
            model.step(op, pick);
            rest /= operations;
        }
        model.end();
    }
}
