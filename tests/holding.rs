//! Frames and blocks that the caller holds: released in any order, never overwritten, never
//! walked onto, and only ever released by whom they belong to.

mod common;

use common::frames::{self, mixed};
use common::{data, ring, small_ring, Pktring, LIMIT_MS, VERSIONS};
use netns::{isolated, link, PlainSocket};
use pktring::capi::geometry::{pktring_ring, PKTRING_V1, PKTRING_V2, PKTRING_V3};
use pktring::frame::Frame;

/// Slots, or blocks of one frame each, in the rings of these tests.
const ROOM: u32 = 8;

/// A ring in which exactly ROOM frames have room: slots, or blocks that are handed over before
/// the next frame is sent.
fn tiny_ring(version: u32) -> pktring_ring {
    match version {
        PKTRING_V3 => pktring_ring {
            retire_timeout_ms: 1,
            ..ring(4096, ROOM, 2048)
        },
        _ => ring(4096, ROOM / 2, 2048),
    }
}

fn capture(version: u32, ring: &pktring_ring) -> Pktring {
    Pktring::open("vb")
        .version(version)
        .filter(&frames::own_only())
        .ring(pktring::capi::geometry::PKTRING_RX, ring)
        .activate()
}

/// Sends a frame and takes it, so that with V3 it has a block of its own.
fn pass(sender: &PlainSocket, handle: &Pktring, number: u64) -> Frame {
    sender.send(&frames::frame(number)).unwrap();
    let frame = handle.take();
    assert_eq!(data(&frame), frames::frame(number));
    frame
}

fn in_network(test: impl Fn(u32, &str, PlainSocket)) {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        for (version, name) in VERSIONS {
            test(version, name, PlainSocket::sender("va").unwrap());
        }
    });
}

#[test]
fn frames_held_and_released_in_any_order_stay_whole_for_many_laps() {
    const TOTAL: u64 = 5000;
    const SLOTS: u32 = 32;
    in_network(|version, name, sender| {
        let handle = capture(version, &small_ring(version, SLOTS + 2));
        let mut held: Vec<(u64, Frame)> = Vec::new();
        let (mut sent, mut taken) = (0, 0);
        for seed in 0.. {
            let draw = |which: u64| mixed(seed * 4 + which);
            // The kernel fills the ring in order, up to the oldest frame that is held.
            let oldest = held
                .iter()
                .map(|(number, _)| *number)
                .min()
                .unwrap_or(taken);
            let room = (oldest + u64::from(SLOTS)).min(TOTAL) - sent;
            for _ in 0..room.min(draw(0) % 8) {
                sender.send(&frames::frame(sent)).unwrap();
                sent += 1;
            }
            for _ in 0..(sent - taken).min(draw(1) % 8) {
                held.push((taken, handle.take()));
                taken += 1;
            }
            while !held.is_empty() && (held.len() > 20 || draw(2) % 3 != 0 || taken == TOTAL) {
                let pick = mixed(draw(3) + held.len() as u64) as usize % held.len();
                let (number, frame) = held.swap_remove(pick);
                assert_eq!(data(&frame), frames::frame(number), "{name} frame {number}");
                handle.release(&frame).unwrap();
                if draw(3) % 5 == 0 {
                    break;
                }
            }
            assert_eq!(handle.stats().held, held.len() as u64);
            if taken == TOTAL && held.is_empty() {
                break;
            }
        }
        let stats = handle.stats();
        assert_eq!(
            (stats.frames, stats.dropped, stats.corrupt),
            (TOTAL, 0, 0),
            "{name}"
        );
    });
}

#[test]
fn the_reader_never_walks_onto_a_frame_that_is_held_and_drops_are_reported() {
    in_network(|version, name, sender| {
        let handle = capture(version, &tiny_ring(version));
        let first: Vec<_> = (0..u64::from(ROOM))
            .map(|n| pass(&sender, &handle, n))
            .collect();
        // All held: nothing can arrive, and nothing is there.
        for number in 100..106 {
            sender.send(&frames::frame(number)).unwrap();
        }
        for _ in 0..3 {
            let failure = handle.next().unwrap_err();
            assert_eq!(failure.errno, libc::EBUSY, "{name}");
            assert!(failure.text.contains("held"), "{}", failure.text);
            assert_eq!(
                handle.wait_rx(LIMIT_MS).unwrap_err().errno,
                libc::EBUSY,
                "{name}"
            );
        }
        let stats = handle.stats();
        assert_eq!((stats.held, stats.dropped), (u64::from(ROOM), 6), "{name}");
        assert_eq!(stats.received, u64::from(ROOM) + 6, "{name}");
        // All but the oldest released: still nothing can arrive, because the kernel is there.
        for frame in &first[1..] {
            handle.release(frame).unwrap();
        }
        sender.send(&frames::frame(106)).unwrap();
        assert_eq!(handle.next().unwrap_err().errno, libc::EBUSY, "{name}");
        assert_eq!(handle.stats().dropped, 7, "{name}");
        assert_eq!(
            data(&first[0]),
            frames::frame(0),
            "{name}: held for the whole time"
        );
        // The oldest released: the ring goes on with whatever arrives from now on.
        handle.release(&first[0]).unwrap();
        for number in 200..200 + 5 * u64::from(ROOM) {
            let frame = pass(&sender, &handle, number);
            handle.release(&frame).unwrap();
        }
        let stats = handle.stats();
        assert_eq!(
            (stats.held, stats.dropped, stats.corrupt),
            (0, 7, 0),
            "{name}"
        );
    });
}

#[test]
fn a_frame_is_released_once() {
    in_network(|version, name, sender| {
        let handle = capture(version, &tiny_ring(version));
        for number in 0..3 * u64::from(ROOM) {
            let a = pass(&sender, &handle, 2 * number);
            let b = pass(&sender, &handle, 2 * number + 1);
            let (first, second) = match number % 2 {
                0 => (&a, &b),
                _ => (&b, &a),
            };
            for frame in [first, second] {
                handle.release(frame).unwrap();
                let failure = handle.release(frame).unwrap_err();
                assert_eq!(failure.errno, libc::EINVAL, "{name}");
                assert!(failure.text.contains("not held"), "{}", failure.text);
            }
        }
        assert_eq!(handle.stats().held, 0, "{name}");
    });
}

#[test]
fn a_frame_of_an_earlier_lap_is_refused_while_its_slot_is_held_again() {
    in_network(|version, name, sender| {
        let handle = capture(version, &tiny_ring(version));
        let old: Vec<_> = (0..u64::from(ROOM))
            .map(|n| pass(&sender, &handle, n))
            .collect();
        for frame in &old {
            handle.release(frame).unwrap();
        }
        let new: Vec<_> = (100..100 + u64::from(ROOM))
            .map(|n| pass(&sender, &handle, n))
            .collect();
        for (old, new) in old.iter().zip(&new) {
            assert_eq!(old.addr, new.addr, "{name}: the same place");
            assert_eq!(
                handle.release(old).unwrap_err().errno,
                libc::EINVAL,
                "{name}"
            );
        }
        assert_eq!(handle.stats().held, u64::from(ROOM), "{name}");
        // Nothing was given to the kernel by that: it still has no room.
        sender.send(&frames::frame(500)).unwrap();
        assert_eq!(handle.stats().dropped, 1, "{name}");
        for (number, frame) in (100..).zip(&new) {
            assert_eq!(data(frame), frames::frame(number), "{name}");
            handle.release(frame).unwrap();
        }
    });
}

#[test]
fn a_frame_of_another_handle_or_of_nobody_is_refused() {
    in_network(|version, name, sender| {
        let mine = capture(version, &tiny_ring(version));
        let other = capture(version, &tiny_ring(version));
        for number in 0..2 * u64::from(ROOM) {
            sender.send(&frames::frame(number)).unwrap();
            let (a, b) = (mine.take(), other.take());
            assert_eq!(mine.release(&b).unwrap_err().errno, libc::EINVAL, "{name}");
            assert_eq!(other.release(&a).unwrap_err().errno, libc::EINVAL, "{name}");
            for seed in 0..50 {
                let invented = Frame {
                    number: a
                        .number
                        .wrapping_add(mixed(seed) >> (seed % 64))
                        .max(a.number + 1),
                    ..a
                };
                let refused = mine.release(&invented).unwrap_err();
                assert_eq!(refused.errno, libc::EINVAL, "{name}: {invented:?}");
            }
            assert_eq!((mine.stats().held, other.stats().held), (1, 1), "{name}");
            mine.release(&a).unwrap();
            other.release(&b).unwrap();
        }
    });
}

#[test]
fn a_descriptor_that_nothing_was_written_to_is_refused() {
    in_network(|version, name, sender| {
        let handle = capture(version, &small_ring(version, 32));
        let all: Vec<_> = (0..4).map(frames::frame).collect();
        sender.send_all(&all).unwrap();
        let refuse_garbage = |held| {
            for byte in [0x00u8, 0xff, 0x7f, 0x80, 0xa5] {
                // SAFETY: any bytes make a descriptor.
                let garbage: Frame = unsafe { std::mem::transmute([byte; size_of::<Frame>()]) };
                let refused = handle.release(&garbage).unwrap_err();
                assert_eq!(refused.errno, libc::EINVAL, "{name}: bytes {byte:#x}");
                assert_eq!(handle.stats().held, held, "{name}: bytes {byte:#x}");
            }
        };
        refuse_garbage(0);
        for _ in &all {
            let frame = handle.take();
            refuse_garbage(1);
            handle.release(&frame).unwrap();
            refuse_garbage(0);
        }
        assert_eq!(handle.stats().frames, all.len() as u64, "{name}");
    });
}

#[test]
fn a_batch_with_one_frame_that_is_not_held_releases_the_others() {
    in_network(|version, name, sender| {
        let handle = capture(version, &small_ring(version, 32));
        let all: Vec<_> = (0..10).map(frames::frame).collect();
        sender.send_all(&all).unwrap();
        let mut taken = Vec::new();
        while taken.len() < 10 {
            assert_eq!(handle.wait_rx(LIMIT_MS), Ok(1));
            taken.extend(handle.next_batch(4).unwrap());
        }
        assert_eq!(handle.next_batch(4).unwrap().len(), 0);
        for (number, frame) in (0..).zip(&taken) {
            assert_eq!(data(frame), frames::frame(number), "{name}");
        }
        handle.release_batch(&taken[..3]).unwrap();
        let mut mixed = vec![taken[4], taken[0], taken[3], taken[4]];
        assert_eq!(
            handle.release_batch(&mixed).unwrap_err().errno,
            libc::EINVAL,
            "{name}"
        );
        assert_eq!(handle.stats().held, 5, "{name}");
        mixed = taken[5..].to_vec();
        mixed.reverse();
        handle.release_batch(&mixed).unwrap();
        handle.release_batch(&[]).unwrap();
        assert_eq!(handle.stats().held, 0, "{name}");
    });
}

#[test]
fn statistics_read_by_two_threads_add_up() {
    const TOTAL: u64 = 20_000;
    in_network(|version, name, sender| {
        let handle = capture(version, &small_ring(version, 20));
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let mut last = handle.stats();
                        let mut reads = 0u32;
                        while !done.load(std::sync::atomic::Ordering::Acquire) {
                            let now = handle.stats();
                            assert!(now.received >= last.received && now.frames >= last.frames);
                            assert!(now.dropped >= last.dropped && now.held <= 1, "{now:?}");
                            last = now;
                            reads += 1;
                        }
                        reads
                    })
                })
                .collect();
            // Some are dropped, since nothing holds the sender back.
            let mut sent = 0;
            while sent < TOTAL {
                let batch: Vec<_> = (sent..sent + 100).map(frames::frame).collect();
                sender.send_all(&batch).unwrap();
                sent += 100;
                while let Some(frame) = handle.next().unwrap() {
                    handle.release(&frame).unwrap();
                }
            }
            // The last block of a V3 ring comes with its timeout.
            while handle.wait_rx(200) == Ok(1) {
                let frame = handle.next().unwrap().unwrap();
                handle.release(&frame).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Release);
            for reader in readers {
                assert!(reader.join().unwrap() > 10);
            }
        });
        let stats = handle.stats();
        assert_eq!(stats.received, TOTAL, "{name}");
        assert_eq!(stats.frames + stats.dropped, TOTAL, "{name}");
        assert!(stats.dropped > 0, "{name}: 100 frames at once do not fit");
        assert_eq!(stats.freezes != u64::MAX, version == PKTRING_V3, "{name}");
    });
}

#[test]
fn a_release_gives_the_kernel_a_status_of_exactly_0() {
    in_network(|version, name, sender| {
        let handle = capture(version, &tiny_ring(version));
        for lap in 0..3 {
            for number in 0..u64::from(ROOM) {
                let frame = pass(&sender, &handle, 100 * lap + number);
                let status = status_of(version, &frame);
                assert_ne!(read(version, status) & 1, 0, "{name}: the frame is ours");
                handle.release(&frame).unwrap();
                assert_eq!(read(version, status), 0, "{name}");
            }
        }
    });
}

/// The status word that decides whose the frame is: its own, or that of its V3 block.
fn status_of(version: u32, frame: &Frame) -> *const u8 {
    let address = frame.addr.cast::<u8>();
    match version {
        PKTRING_V1 | PKTRING_V2 => address.wrapping_sub(32),
        // The rings of these tests have blocks of one page.
        _ => ((address as usize & !4095) + 8) as *const u8,
    }
}

fn read(version: u32, status: *const u8) -> u64 {
    // SAFETY: an aligned word of the ring, which is mapped as long as the handle is open.
    unsafe {
        match version {
            PKTRING_V1 => std::ptr::read_volatile(status.cast::<usize>()) as u64,
            _ => std::ptr::read_volatile(status.cast::<u32>()).into(),
        }
    }
}
