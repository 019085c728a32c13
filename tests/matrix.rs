//! Every TPACKET version, with and without link-level headers, receiving, transmitting and both
//! at once: 100,000 frames of mixed sizes go many times round a small ring and must come out
//! byte for byte and in order. The other end of the wire is never this library.

mod common;

use common::frames::{self, HEADER};
use common::{data, ring, small_ring, Pktring, LIMIT_MS, METHODS};
use netns::{isolated, link, PlainSocket, Tap};
use pktring::capi::geometry::{
    pktring_ring, PKTRING_DGRAM, PKTRING_RAW, PKTRING_RX, PKTRING_TX, PKTRING_V1, PKTRING_V2,
    PKTRING_V3,
};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Frames moved in each direction.
const TOTAL: u64 = 100_000;

/// Frames that may be under way at once, which is what the small rings hold.
const WINDOW: u64 = 64;

const LIMIT: Duration = Duration::from_millis(LIMIT_MS as u64);

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
        let start = Instant::now();
        loop {
            let limit = (self.0.load(Ordering::Acquire) + WINDOW).min(TOTAL);
            if limit > sent {
                return limit;
            }
            // The other side has said why it gave up.
            assert!(start.elapsed() < 2 * LIMIT, "frame {sent} may not be sent");
            thread::yield_now();
        }
    }

    /// The same, but does not wait behind the last frame.
    fn limit_or_end(&self, sent: u64) -> u64 {
        match sent {
            TOTAL => TOTAL,
            sent => self.limit(sent),
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
    configured_on("vb", version, mode)
}

fn configured_on(device: &str, version: u32, mode: u32) -> Pktring {
    Pktring::open(device)
        .version(version)
        .mode(mode)
        .filter(&frames::own_only())
}

/// Transmits all frames, as far as they may go, and sees every one of them completed in order.
fn transmit(handle: &Pktring, mode: u32, arrived: &Arrived) {
    let (mut sent, mut completed) = (0, 0);
    while completed < TOTAL {
        let limit = arrived.limit_or_end(sent);
        while sent < limit {
            let frame = frames::frame(sent);
            if !handle.put(seen(mode, &frame), sent).unwrap() {
                break;
            }
            sent += 1;
        }
        handle.flush(0).unwrap();
        for completion in handle.completions() {
            let length = seen(mode, &frames::frame(completed)).len() as u32;
            assert_eq!((completion.user_data, completion.error), (completed, 0));
            assert_eq!(completion.length, length);
            completed += 1;
        }
        if sent < limit {
            // The kernel holds every slot: nothing is sent before it gives one back.
            assert_eq!(handle.wait(PKTRING_TX, LIMIT_MS), Ok(PKTRING_TX));
        }
    }
    assert_eq!(handle.flush(LIMIT_MS), Ok(0));
    let stats = handle.stats();
    let bytes: usize = (0..TOTAL)
        .map(|n| seen(mode, &frames::frame(n)).len())
        .sum();
    assert_eq!((stats.tx_frames, stats.tx_bytes), (TOTAL, bytes as u64));
    assert_eq!((stats.tx_refused, stats.tx_in_flight), (0, 0));
}

/// Takes all frames from the other end of the wire and compares them whole.
fn receive_plainly(mut next: impl FnMut() -> Vec<u8>, arrived: &Arrived) {
    for due in 0..TOTAL {
        let mut frame = next();
        while !frames::is_own(&frame) {
            frame = next();
        }
        // Compared first, because the numbers say what happened in shorter words.
        assert_eq!(frames::number(&frame), due);
        assert_eq!(frame, frames::frame(due), "frame {due}");
        arrived.set(due + 1);
    }
}

fn from_socket(device: &str) -> impl FnMut() -> Vec<u8> {
    let socket = PlainSocket::open(device).unwrap();
    move || socket.recv(LIMIT).unwrap().expect("a frame").data
}

/// A transmit ring of as many slots, in pages of their own, as a lap is to have.
fn transmit_ring(version: u32) -> pktring_ring {
    match version {
        PKTRING_V3 => ring(4096, 16, 2048),
        _ => ring(8192, 8, 2048),
    }
}

/// Lets a handle without link-level headers send the very frames that one with them sends.
fn address_frames(handle: &Pktring, device: &str) {
    link::set_mac(device, frames::FROM).unwrap();
    handle.destination(frames::TO, frames::EXPERIMENT);
}

fn transmits(version: u32, mode: u32) {
    for (method, _) in METHODS {
        transmits_by(version, mode, method);
    }
}

fn transmits_by(version: u32, mode: u32, method: u32) {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let receiver = from_socket("va");
        let handle = configured(version, mode)
            .ring(PKTRING_TX, &transmit_ring(version))
            .tx_method(method)
            .activate();
        address_frames(&handle, "vb");
        let arrived = Arrived::default();
        thread::scope(|scope| {
            scope.spawn(|| receive_plainly(receiver, &arrived));
            transmit(&handle, mode, &arrived);
        });
        assert_eq!(handle.close(), 0);
    });
}

/// A handle with both rings on `device`, small as they may be.
fn with_both_rings(device: &str, version: u32, mode: u32, method: u32) -> Pktring {
    let handle = configured_on(device, version, mode)
        .ring(PKTRING_RX, &small_ring(version, WINDOW as u32 + 2))
        .ring(PKTRING_TX, &transmit_ring(version))
        .tx_method(method)
        .activate();
    address_frames(&handle, device);
    handle
}

/// Receives on one thread and transmits on another, with one handle, while the two given do the
/// opposite at the other end of the wire.
fn both_ways(
    handle: Pktring,
    mode: u32,
    send: impl FnOnce(&Arrived) + Send,
    receive_frame: impl FnMut() -> Vec<u8> + Send,
) {
    let (there, here) = (Arrived::default(), Arrived::default());
    thread::scope(|scope| {
        scope.spawn(|| receive_plainly(receive_frame, &there));
        scope.spawn(|| send(&here));
        scope.spawn(|| transmit(&handle, mode, &there));
        receive(&handle, mode, &here);
    });
    check_receive_statistics(&handle);
    assert_eq!(handle.close(), 0);
}

fn receives_and_transmits_at_once(version: u32, mode: u32) {
    for (method, _) in METHODS {
        receives_and_transmits_by(version, mode, method);
    }
}

fn receives_and_transmits_by(version: u32, mode: u32, method: u32) {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let receiver = from_socket("va");
        let handle = with_both_rings("vb", version, mode, method);
        both_ways(
            handle,
            mode,
            |arrived| send_plainly("va", arrived),
            receiver,
        );
    });
}

/// The same with a TAP device, whose other end is no packet socket either.
fn a_tap_device_as_the_other_end(version: u32) {
    for (method, _) in METHODS {
        a_tap_device_by(version, method);
    }
}

fn a_tap_device_by(version: u32, method: u32) {
    isolated(|| {
        let tap = match Tap::new("tap0") {
            Ok(tap) => tap,
            Err(error) => return netns::skip(error),
        };
        let handle = with_both_rings("tap0", version, PKTRING_RAW, method);
        let send = |arrived: &Arrived| {
            for number in 0..TOTAL {
                arrived.limit(number);
                tap.write(&frames::frame(number)).unwrap();
            }
        };
        let receive_frame = || tap.read(LIMIT).unwrap().expect("a frame");
        both_ways(handle, PKTRING_RAW, send, receive_frame);
    });
}

#[test]
fn v1_with_a_tap_device_as_the_other_end() {
    a_tap_device_as_the_other_end(PKTRING_V1);
}

#[test]
fn v2_with_a_tap_device_as_the_other_end() {
    a_tap_device_as_the_other_end(PKTRING_V2);
}

#[test]
fn v3_with_a_tap_device_as_the_other_end() {
    a_tap_device_as_the_other_end(PKTRING_V3);
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

            #[test]
            fn transmits() {
                super::transmits($version, $mode);
            }

            #[test]
            fn receives_and_transmits_at_once() {
                super::receives_and_transmits_at_once($version, $mode);
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
