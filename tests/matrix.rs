//! Every TPACKET version, with and without link-level headers, receiving, transmitting and both
//! at once: 100,000 frames of mixed sizes go many times round a small ring and must come out
//! byte for byte and in order. The other end of the wire is never this library.

mod common;

use common::frames::{self, HEADER};
use common::{data, small_ring, Pktring};
use netns::{isolated, link, PlainSocket};
use pktring::capi::geometry::{
    PKTRING_DGRAM, PKTRING_RAW, PKTRING_RX, PKTRING_V1, PKTRING_V2, PKTRING_V3,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Frames moved in each direction.
const TOTAL: u64 = 100_000;

/// Frames that may be under way at once, which is what the small rings hold.
const WINDOW: u64 = 64;

/// What has arrived so far, which lets the sender go on: nothing may be dropped for want of
/// room, because then the test could not tell it from a fault.
#[derive(Default)]
struct Arrived(AtomicU64);

impl Arrived {
    fn set(&self, count: u64) {
        self.0.store(count, Ordering::Release);
    }

    /// The number behind the last frame that may be sent now, once that is more than `sent`.
    fn limit(&self, sent: u64) -> u64 {
        loop {
            let limit = (self.0.load(Ordering::Acquire) + WINDOW).min(TOTAL);
            if limit > sent {
                return limit;
            }
            thread::yield_now();
        }
    }
}

/// The bytes that a handle of that mode delivers, or is given, of a whole frame.
fn seen(mode: u32, frame: &[u8]) -> &[u8] {
    match mode {
        PKTRING_RAW => frame,
        _ => &frame[HEADER..],
    }
}

/// Sends all frames from a plain socket, as far as they may go.
fn send_plainly(device: &str, arrived: &Arrived) {
    let socket = PlainSocket::sender(device).unwrap();
    let mut sent = 0;
    while sent < TOTAL {
        let limit = arrived.limit(sent);
        let batch: Vec<_> = (sent..limit).map(frames::frame).collect();
        socket.send_all(&batch).unwrap();
        sent = limit;
    }
}

/// Takes all frames from the library and compares them.
fn receive(handle: &Pktring, mode: u32, arrived: &Arrived) {
    for due in 0..TOTAL {
        let frame = handle.take();
        let expected = frames::frame(due);
        assert_eq!(data(&frame), seen(mode, &expected), "frame {due}");
        assert_eq!(frame.len, frame.caplen, "frame {due}");
        handle.release(&frame).unwrap();
        arrived.set(due + 1);
    }
}

fn check_receive_statistics(handle: &Pktring) {
    let stats = handle.stats();
    assert_eq!((stats.received, stats.frames), (TOTAL, TOTAL));
    assert_eq!((stats.dropped, stats.held, stats.corrupt), (0, 0, 0));
}

/// A handle on `vb` that sees the frames of the test alone.
fn configured(version: u32, mode: u32) -> Pktring {
    Pktring::open("vb")
        .version(version)
        .mode(mode)
        .filter(&frames::own_only())
}

fn receives(version: u32, mode: u32) {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let handle = configured(version, mode)
            .ring(PKTRING_RX, &small_ring(version, WINDOW as u32 + 2))
            .activate();
        let arrived = Arrived::default();
        thread::scope(|scope| {
            scope.spawn(|| send_plainly("va", &arrived));
            receive(&handle, mode, &arrived);
        });
        check_receive_statistics(&handle);
        assert_eq!(handle.close(), 0);
    });
}

macro_rules! matrix {
    ($($name:ident $version:ident $mode:ident;)*) => {
        $(mod $name {
            use super::*;

            #[test]
            fn receives() {
                super::receives($version, $mode);
            }
        })*
    };
}

matrix! {
    v1_raw PKTRING_V1 PKTRING_RAW;
    v1_dgram PKTRING_V1 PKTRING_DGRAM;
    v2_raw PKTRING_V2 PKTRING_RAW;
    v2_dgram PKTRING_V2 PKTRING_DGRAM;
    v3_raw PKTRING_V3 PKTRING_RAW;
    v3_dgram PKTRING_V3 PKTRING_DGRAM;
}
