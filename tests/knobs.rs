//! What only V3 rings have: retire timeout, flow hash, freeze count.

mod handle;

use handle::{numbered, ring, Opened, LIMIT};
use netns::{isolated, link, PlainSocket};
use pktring::capi::geometry::*;
use pktring::capi::{block::*, rx::*, wait::*};
use pktring::frame::Block;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

fn veth() -> PlainSocket {
    link::veth("va", "vb").unwrap();
    PlainSocket::sender("va").unwrap()
}

/// The next block with frames, which must come.
fn next_block(handle: &Opened) -> Block {
    let mut block = MaybeUninit::<Block>::uninit();
    let end = Instant::now() + LIMIT;
    // SAFETY: the handle is open; the block is read only when it was written.
    unsafe {
        while Instant::now() < end {
            handle.must(pktring_wait(handle.0, PKTRING_RX, 1000));
            if handle.must(pktring_next_block(handle.0, block.as_mut_ptr())) == 1 {
                return block.assume_init();
            }
        }
    }
    panic!("no block came");
}

fn release(handle: &Opened, block: &Block) {
    // SAFETY: the handle is open, the block one of its own.
    handle.must(unsafe { pktring_release_block(handle.0, block) });
}

fn knobs(retire_timeout_ms: u32, features: u32, block_size: u32, count: u32) -> pktring_ring {
    pktring_ring {
        retire_timeout_ms,
        features,
        ..ring(block_size, count, 2048)
    }
}

#[test]
fn the_retire_timeout_bounds_how_long_a_frame_waits() {
    isolated(|| {
        let sender = veth();
        let handle = Opened::active("vb", PKTRING_V3, knobs(400, 0, 1 << 20, 4));
        // The timer runs on by itself, so a single wait is anything up to the timeout; of several
        // right behind each other all but the first are nearly all of it.
        let waits: Vec<_> = (0..3)
            .map(|number| {
                let start = Instant::now();
                sender.send(&numbered(number, 60)).unwrap();
                let block = next_block(&handle);
                assert_ne!(block.status & PKTRING_STATUS_BLK_TMO, 0);
                release(&handle, &block);
                start.elapsed()
            })
            .collect();
        let longest = *waits.iter().max().unwrap();
        assert!(longest > Duration::from_millis(200), "{waits:?}");
        assert!(longest < Duration::from_millis(2000), "{waits:?}");

        let handle = Opened::active("vb", PKTRING_V3, knobs(1, 0, 1 << 20, 4));
        let quickest = (0..10).map(|number| {
            let start = Instant::now();
            sender.send(&numbered(number, 60)).unwrap();
            release(&handle, &next_block(&handle));
            start.elapsed()
        });
        assert!(quickest.min().unwrap() < Duration::from_millis(100));
    });
}

#[test]
fn a_block_that_is_full_does_not_wait_for_the_timeout() {
    isolated(|| {
        let sender = veth();
        let handle = Opened::active("vb", PKTRING_V3, knobs(60_000, 0, 4096, 8));
        let start = Instant::now();
        let frames: Vec<_> = (0..12).map(|number| numbered(number, 1000)).collect();
        sender.send_all(&frames).unwrap();
        let block = next_block(&handle);
        assert!(start.elapsed() < Duration::from_secs(30));
        assert_eq!(block.status & PKTRING_STATUS_BLK_TMO, 0);
        assert_eq!(block.frame_count, 3);
        release(&handle, &block);
    });
}

#[test]
fn times_that_the_ring_was_full_are_counted() {
    isolated(|| {
        let sender = veth();
        let handle = Opened::active("vb", PKTRING_V3, knobs(5, 0, 4096, 2));
        let frames: Vec<_> = (0..20).map(|number| numbered(number, 1000)).collect();
        assert_eq!(handle.stats().freezes, 0);
        for round in 1..=2 {
            sender.send_all(&frames).unwrap();
            let held = [next_block(&handle), next_block(&handle)];
            let stats = handle.stats();
            assert_eq!(stats.freezes, round, "{stats:?}");
            assert!(stats.dropped >= 10 * round, "{stats:?}");
            for block in &held {
                release(&handle, block);
            }
            // Thaws, and hands over what comes from now on.
            sender.send(&numbered(99, 60)).unwrap();
            assert_eq!(handle.own().number(), 99);
        }
        let handle = Opened::active("vb", PKTRING_V2, ring(4096, 2, 2048));
        assert_eq!(handle.stats().freezes, u64::MAX, "not available");
    });
}

/// A UDP frame from that port.
fn datagram(port: u16) -> Vec<u8> {
    let mut frame = numbered(0, 60);
    frame[12..42].copy_from_slice(&[
        8, 0, 0x45, 0, 0, 46, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0, 0, 0, 9, 0,
        26, 0, 0,
    ]);
    frame[34..36].copy_from_slice(&port.to_be_bytes());
    frame
}

#[test]
fn frames_of_one_flow_have_one_hash_and_flows_differ() {
    isolated(|| {
        let sender = veth();
        let handle = Opened::active("vb", PKTRING_V3, knobs(5, PKTRING_RXHASH, 1 << 16, 4));
        let hash = |port| {
            sender.send(&datagram(port)).unwrap();
            handle.typed(0x0800).frame.rxhash
        };
        let hashes: Vec<_> = (1000..1016).map(hash).collect();
        let again: Vec<_> = (1000..1016).map(hash).collect();
        assert_eq!(hashes, again);
        assert!(hashes.iter().all(|hash| *hash != 0), "{hashes:?}");
        let different: std::collections::BTreeSet<_> = hashes.iter().collect();
        assert!(different.len() > 12, "{hashes:?}");

        let handle = Opened::active("vb", PKTRING_V3, knobs(5, 0, 1 << 16, 4));
        sender.send(&datagram(1000)).unwrap();
        assert_eq!(handle.typed(0x0800).frame.rxhash, 0, "not asked for");
    });
}
