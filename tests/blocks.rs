//! Whole V3 blocks: what their descriptor says, and what happens to them.

mod common;

use common::frames;
use common::{data, ring, Pktring, LIMIT_MS};
use netns::{isolated, link, PlainSocket};
use pktring::capi::geometry::{pktring_ring, PKTRING_RX, PKTRING_V2, PKTRING_V3};
use pktring::frame::Block;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const BLOCK: u32 = 16 << 10;

fn capture(ring: &pktring_ring) -> Pktring {
    Pktring::open("vb")
        .version(PKTRING_V3)
        .filter(&frames::own_only())
        .ring(PKTRING_RX, ring)
        .activate()
}

/// Blocks that only a full one ends: the timeout is too long to matter.
fn patient_ring(blocks: u32) -> pktring_ring {
    pktring_ring {
        retire_timeout_ms: 60_000,
        ..ring(BLOCK, blocks, 2048)
    }
}

fn quick_ring(blocks: u32) -> pktring_ring {
    pktring_ring {
        retire_timeout_ms: 1,
        ..ring(BLOCK, blocks, 2048)
    }
}

/// A 32-bit field of the kernel's at an offset of a block.
fn field(block: &Block, at: u32) -> u32 {
    assert!(at + 4 <= block.size);
    // SAFETY: inside a block that is held.
    unsafe { block.base.add(at as usize).cast::<u32>().read_volatile() }
}

/// The frames of a block, walked by the kernel's layout: the offset to the next header comes
/// first in each header, snaplen at 12, mac at 24.
fn walk(block: &Block) -> Vec<Vec<u8>> {
    let mut at = block.first_offset;
    (0..block.frame_count)
        .map(|_| {
            let (length, mac) = (field(block, at + 12), field(block, at + 24) & 0xffff);
            let start = at + mac;
            assert!(start + length <= block.length, "{block:?}");
            at += field(block, at);
            // SAFETY: inside a block that is held.
            unsafe { std::slice::from_raw_parts(block.base.add(start as usize), length as usize) }
                .to_vec()
        })
        .collect()
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_nanos() as u64
}

#[test]
fn blocks_come_in_sequence_with_their_frames_times_and_length() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        let handle = capture(&quick_ring(64));
        let (mut due, mut sequence, mut last) = (0, 0, now() - 1_000_000_000);
        while due < 3000 {
            let end = due + 40;
            let batch: Vec<_> = (due..end).map(frames::frame).collect();
            sender.send_all(&batch).unwrap();
            while due < end {
                let block = handle.take_block();
                sequence += 1;
                assert_eq!(block.sequence, sequence);
                assert_ne!(block.frame_count, 0);
                assert!(block.length <= block.size && block.size == BLOCK);
                assert!(last <= block.first_timestamp, "{last} {block:?}");
                // Frames may have been stamped before the block was begun.
                assert!(block.first_timestamp <= block.last_timestamp + 1_000_000_000);
                assert!(block.last_timestamp <= now() + 1_000_000_000);
                last = block.first_timestamp;
                assert_eq!(
                    (block.private_size, block.private_area.is_null()),
                    (0, true)
                );
                let mut bytes = 48;
                for frame in walk(&block) {
                    assert_eq!(frame, frames::frame(due));
                    bytes += frame.len() as u32 + 82;
                    due += 1;
                }
                assert!(block.length >= bytes, "{block:?}: {bytes}");
                handle.release_block(&block).unwrap();
            }
        }
        let stats = handle.stats();
        assert_eq!((stats.frames, stats.dropped, stats.held), (3000, 0, 0));
    });
}

#[test]
fn a_block_begins_before_its_first_frame_comes() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        let handle = capture(&quick_ring(8));
        let idle = Duration::from_millis(200);
        std::thread::sleep(idle);
        let sent = now();
        sender.send(&frames::frame(0)).unwrap();
        let block = handle.take_block();
        assert!(u128::from(sent - block.first_timestamp) >= idle.as_nanos());
        handle.release_block(&block).unwrap();
    });
}

#[test]
fn the_timeout_flag_tells_a_block_that_was_not_full() {
    const TIMEOUT: u32 = 1 << 5;
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        let handle = capture(&patient_ring(8));
        let mut sent = 0;
        let block = loop {
            sender.send(&frames::frame(sent)).unwrap();
            sent += 1;
            if let Some(block) = handle.next_block().unwrap() {
                break block;
            }
        };
        // The frame that did not fit is in the next one.
        assert_eq!(u64::from(block.frame_count), sent - 1);
        assert_eq!(block.status & TIMEOUT, 0, "full");
        drop(handle);

        let handle = capture(&quick_ring(8));
        sender.send(&frames::frame(0)).unwrap();
        let block = handle.take_block();
        assert_eq!(block.frame_count, 1);
        assert_eq!(block.status & TIMEOUT, TIMEOUT, "timed out");
    });
}

#[test]
fn the_private_area_is_the_callers_lap_after_lap() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        for size in [1, 100, 4001] {
            const BLOCKS: u64 = 4;
            let handle = capture(&pktring_ring {
                private_size: size,
                ..quick_ring(BLOCKS as u32)
            });
            for number in 0..3 * BLOCKS {
                sender.send(&frames::frame(number)).unwrap();
                let block = handle.take_block();
                assert_eq!(block.private_size, size);
                assert_eq!(walk(&block), [frames::frame(number)]);
                // SAFETY: private_size bytes of a block that is held.
                let area =
                    unsafe { std::slice::from_raw_parts_mut(block.private_area, size as usize) };
                match number.checked_sub(BLOCKS) {
                    None => assert!(area.iter().all(|byte| *byte == 0)),
                    Some(earlier) => assert!(area.iter().all(|byte| *byte == earlier as u8 + 1)),
                }
                area.fill(number as u8 + 1);
                handle.release_block(&block).unwrap();
            }
        }
    });
}

#[test]
fn a_block_is_released_once_and_by_its_own_handle() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        let (mine, other) = (capture(&quick_ring(4)), capture(&quick_ring(4)));
        let mut old: Vec<Block> = Vec::new();
        for number in 0..12 {
            sender.send(&frames::frame(number)).unwrap();
            let (a, b) = (mine.take_block(), other.take_block());
            assert_eq!(mine.release_block(&b).unwrap_err().errno, libc::EINVAL);
            for old in &old {
                assert_eq!(mine.release_block(old).unwrap_err().errno, libc::EINVAL);
            }
            assert_eq!((mine.stats().held, other.stats().held), (1, 1));
            mine.release_block(&a).unwrap();
            assert_eq!(mine.release_block(&a).unwrap_err().errno, libc::EINVAL);
            other.release_block(&b).unwrap();
            old.push(a);
        }
    });
}

#[test]
fn blocks_are_held_and_released_in_any_order_and_the_ring_waits_for_the_oldest() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        let handle = capture(&quick_ring(4));
        let pass = |number| {
            sender.send(&frames::frame(number)).unwrap();
            handle.take_block()
        };
        let held: Vec<_> = (0..4).map(pass).collect();
        assert_eq!(handle.next_block().unwrap_err().errno, libc::EBUSY);
        assert_eq!(handle.wait_rx(LIMIT_MS).unwrap_err().errno, libc::EBUSY);
        for index in [2, 1, 3] {
            handle.release_block(&held[index]).unwrap();
        }
        sender.send(&frames::frame(99)).unwrap();
        assert_eq!(handle.next_block().unwrap_err().errno, libc::EBUSY);
        assert_eq!(handle.stats().dropped, 1);
        assert_eq!(walk(&held[0]), [frames::frame(0)]);
        handle.release_block(&held[0]).unwrap();
        for number in 10..30 {
            let block = pass(number);
            assert_eq!(walk(&block), [frames::frame(number)]);
            handle.release_block(&block).unwrap();
        }
    });
}

#[test]
fn frames_and_blocks_are_taken_in_turn_but_never_mixed_in_one_block() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        let handle = capture(&quick_ring(8));
        let mut number = 0;
        for _ in 0..20 {
            let batch = [frames::frame(number), frames::frame(number + 1)];
            sender.send_all(&batch).unwrap();
            let first = handle.take();
            assert_eq!(data(&first), batch[0]);
            // The second frame may have come in the same block, or in one of its own.
            match handle.next_block() {
                Err(failure) => {
                    assert_eq!(failure.errno, libc::EBUSY);
                    assert!(failure.text.contains("frame by frame"), "{}", failure.text);
                    let second = handle.take();
                    handle.release(&second).unwrap();
                }
                Ok(Some(block)) => handle.release_block(&block).map(drop).unwrap(),
                Ok(None) => {
                    let block = handle.take_block();
                    handle.release_block(&block).unwrap();
                }
            }
            handle.release(&first).unwrap();
            sender.send(&frames::frame(number + 2)).unwrap();
            let block = handle.take_block();
            assert_eq!(walk(&block), [frames::frame(number + 2)]);
            handle.release_block(&block).unwrap();
            number += 3;
        }
        assert_eq!(handle.stats().held, 0);
    });
}

#[test]
fn a_block_without_frames_goes_back_unseen() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        link::set_mtu("va", 9000).unwrap();
        link::set_mtu("vb", 9000).unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        // A frame that no block can hold closes the present one, empty as it is.
        let handle = capture(&pktring_ring {
            retire_timeout_ms: 60_000,
            ..ring(4096, 4, 2048)
        });
        let mut sequences = Vec::new();
        for number in 0..20 {
            let long = frames::frame_of_length(number, 9000);
            sender.send(&long).unwrap();
            if let Some(block) = handle.next_block().unwrap() {
                sequences.push(block.sequence);
                assert_ne!(block.frame_count, 0);
                handle.release_block(&block).unwrap();
            }
        }
        // The kernel closed its first block without a frame in it.
        assert_eq!(
            sequences,
            (2..=sequences.len() as u64 + 1).collect::<Vec<_>>()
        );
        assert!(sequences.len() > 10, "{sequences:?}");

        // Frame by frame they are not noticed at all.
        let handle = capture(&pktring_ring {
            retire_timeout_ms: 1,
            ..ring(4096, 4, 2048)
        });
        for number in 0..50 {
            let long = frames::frame_of_length(number, 9000);
            sender.send(&long).unwrap();
            let frame = handle.take();
            assert_eq!(frame.len, 9000);
            assert!(frame.caplen > 3000 && frame.caplen < 4096);
            assert_eq!(data(&frame), &long[..frame.caplen as usize]);
            handle.release(&frame).unwrap();
        }
        let stats = handle.stats();
        assert_eq!((stats.dropped, stats.corrupt, stats.held), (0, 0, 0));
    });
}

#[test]
fn blocks_need_a_v3_ring() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let handle = Pktring::capture("vb", PKTRING_V2, &ring(4096, 4, 2048));
        let failure = handle.next_block().unwrap_err();
        assert_eq!(failure.errno, libc::EBUSY);
        assert!(failure.text.contains("TPACKET_V3"), "{}", failure.text);
    });
}

#[test]
fn a_ring_of_one_block_drops_while_that_is_held_and_goes_on_when_it_is_back() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        let handle = capture(&quick_ring(1));
        for round in 0..20 {
            sender.send(&frames::frame(round)).unwrap();
            let block = handle.take_block();
            assert_eq!(walk(&block), [frames::frame(round)]);
            for number in 100..103 {
                sender.send(&frames::frame(number)).unwrap();
            }
            assert_eq!(handle.next_block().unwrap_err().errno, libc::EBUSY);
            assert_eq!(handle.stats().dropped, 3 * (round + 1));
            assert_eq!(walk(&block), [frames::frame(round)]);
            handle.release_block(&block).unwrap();
        }
    });
}
