//! Timestamps of received and of sent frames.

mod options;

use netns::{isolated, link, throttle, PlainSocket, Throttle};
use options::{frame, Ring, LIMIT};
use pktring::capi::config::*;
use pktring::capi::geometry::*;
use pktring::capi::option::pktring_set_loss;
use pktring::capi::rx::PKTRING_STATUS_TS_SOFTWARE;
use pktring::capi::timestamp::*;
use pktring::capi::tx::*;
use pktring::frame::Completion;
use std::mem::{size_of, MaybeUninit};
use std::ptr::null_mut;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const VERSIONS: [u32; 3] = [PKTRING_V1, PKTRING_V2, PKTRING_V3];

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_nanos() as u64
}

fn set(ring: &Ring, direction: u32, sources: u32) -> i32 {
    // SAFETY: an open handle.
    unsafe { pktring_set_timestamp(ring.0, direction, sources) }
}

/// An active handle that sends through a ring of 1024 slots.
fn transmitter(device: &str, version: u32, sources: u32) -> Ring {
    let ring = Ring::open(device);
    ring.version(version);
    let request = pktring_ring {
        size: size_of::<pktring_ring>(),
        block_size: 16384,
        block_count: 128,
        frame_size: 2048,
        ..Default::default()
    };
    // SAFETY: an open handle, and a struct with its size.
    ring.must(unsafe { pktring_set_ring(ring.0, PKTRING_TX, &request) });
    ring.must(set(&ring, PKTRING_TX, sources));
    ring.activate();
    ring
}

/// Commits the frame with this number; false while the ring is full.
fn commit(ring: &Ring, bytes: &[u8], number: u32) -> bool {
    let mut slot = MaybeUninit::<pktring_slot>::uninit();
    // SAFETY: an open handle; the slot is used when it was written, and has room for the frame.
    unsafe {
        let reserved = pktring_tx_reserve(ring.0, slot.as_mut_ptr());
        ring.must(reserved);
        if reserved == 0 {
            return false;
        }
        let slot = slot.assume_init_mut();
        assert!(slot.capacity as usize >= bytes.len());
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), slot.data, bytes.len());
        slot.user_data = number.into();
        ring.must(pktring_tx_commit(ring.0, slot, bytes.len() as u32));
    }
    true
}

fn flush(ring: &Ring, timeout_ms: i32) -> i32 {
    // SAFETY: an open handle.
    unsafe { pktring_tx_flush(ring.0, timeout_ms) }
}

fn completions(ring: &Ring) -> Vec<Completion> {
    let mut all = vec![Completion::default(); 2000];
    // SAFETY: an open handle, and room for as many.
    let count = unsafe { pktring_tx_complete(ring.0, all.as_mut_ptr(), 2000) };
    ring.must(count);
    all.truncate(count as usize);
    all
}

#[test]
fn a_frame_tells_when_it_came_and_by_which_clock() {
    for version in VERSIONS {
        isolated(|| {
            link::veth("va", "vb").unwrap();
            let sender = PlainSocket::sender("va").unwrap();
            let ring = Ring::open("vb");
            ring.version(version);
            ring.activate();
            let stamped = |number| {
                // V1 stamps have microseconds.
                let before = now() / 1000 * 1000;
                sender.send(&frame(number)).unwrap();
                let seen = ring.next_own(LIMIT).expect("the frame");
                assert_eq!(seen.number(), number);
                let range = before..=now();
                assert!(range.contains(&seen.timestamp), "{seen:?} not in {range:?}");
                seen.status & PKTRING_STATUS_TS_SOFTWARE != 0
            };
            stamped(0);
            ring.must(set(&ring, PKTRING_RX, PKTRING_TIMESTAMP_SOFTWARE));
            // The stack begins some time later.
            let end = Instant::now() + LIMIT;
            while !stamped(1) {
                assert!(Instant::now() < end, "no software stamp");
            }
            ring.must(set(
                &ring,
                PKTRING_RX,
                PKTRING_TIMESTAMP_SOFTWARE | PKTRING_TIMESTAMP_HARDWARE,
            ));
            assert!(stamped(2), "without hardware the software stamp stays");
            ring.must(set(&ring, PKTRING_RX, 0));
            stamped(3);
        });
    }
}

#[test]
fn a_source_before_activation_holds_from_the_first_frame() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        let ring = Ring::open("vb");
        ring.must(set(&ring, PKTRING_RX, PKTRING_TIMESTAMP_SOFTWARE));
        ring.activate();
        // Time for the stack to begin.
        std::thread::sleep(Duration::from_millis(500));
        sender.send(&frame(0)).unwrap();
        let seen = ring.next_own(LIMIT).unwrap();
        assert_ne!(seen.status & PKTRING_STATUS_TS_SOFTWARE, 0);
    });
}

#[test]
fn a_sent_frame_tells_when_it_was_sent() {
    for version in VERSIONS {
        isolated(|| {
            link::veth("va", "vb").unwrap();
            let ring = transmitter("va", version, PKTRING_TIMESTAMP_SOFTWARE);
            for number in 0..300 {
                let before = now();
                assert!(commit(&ring, &frame(number), number));
                assert_eq!(flush(&ring, 1000), 0);
                let range = before..=now();
                let done = completions(&ring);
                assert_eq!(done.len(), 1);
                let done = done[0];
                assert_eq!((done.user_data, done.error), (number.into(), 0));
                assert!(range.contains(&done.timestamp), "{done:?} not in {range:?}");
                assert_eq!(done.status, PKTRING_STATUS_TS_SOFTWARE);
            }
        });
    }
}

#[test]
fn a_whole_ring_at_once_has_a_stamp_for_every_frame() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let ring = transmitter("va", PKTRING_V2, PKTRING_TIMESTAMP_SOFTWARE);
        let mut latest = now();
        for round in 0..5 {
            for i in 0..1024 {
                assert!(commit(&ring, &frame(i), round * 1024 + i));
            }
            assert_eq!(flush(&ring, 1000), 0);
            let done = completions(&ring);
            assert_eq!(done.len(), 1024);
            for (i, done) in done.iter().enumerate() {
                assert_eq!(done.user_data, u64::from(round) * 1024 + i as u64);
                assert!(done.timestamp >= latest, "{done:?} before {latest}");
                latest = done.timestamp;
            }
        }
        assert!(latest <= now());
    });
}

#[test]
fn without_a_source_no_time_is_told() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        // Hardware stamps, which a veth does not make.
        let ring = transmitter("va", PKTRING_V2, PKTRING_TIMESTAMP_HARDWARE);
        assert!(commit(&ring, &frame(1), 1));
        assert_eq!(flush(&ring, 1000), 0);
        let done = completions(&ring);
        assert_eq!((done.len(), done[0].user_data), (1, 1));
        let hardware = pktring::capi::rx::PKTRING_STATUS_TS_RAW_HARDWARE;
        assert_eq!(done[0].status & hardware, 0);
    });
}

/// Checks each frame's time of sending against its time of arrival at the other end.
fn compare(done: &[Completion], receiver: &Ring, apart: u64) -> usize {
    let mut compared = 0;
    let mut arrived = std::collections::BTreeMap::new();
    while let Some(seen) = receiver.next_own(options::QUIET) {
        arrived.insert(u64::from(seen.number()), seen.timestamp);
    }
    for done in done.iter().filter(|done| done.timestamp != 0) {
        let arrival = arrived[&done.user_data];
        let apart_now = arrival.abs_diff(done.timestamp);
        assert!(apart_now < apart, "{done:?} arrived at {arrival}");
        compared += 1;
    }
    compared
}

#[test]
fn stamps_stay_with_their_frames_when_the_queue_refuses_some() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let receiver = Ring::active("vb");
        let ring = transmitter("va", PKTRING_V2, PKTRING_TIMESTAMP_SOFTWARE);
        // A frame of 60 bytes every 20 ms; two or three of them may wait.
        throttle(
            "va",
            Throttle {
                rate: 3000,
                burst: 100,
                waiting: 200,
            },
        )
        .unwrap();
        for number in 0..30 {
            assert!(commit(&ring, &frame(number), number));
        }
        let mut refused = 0;
        let end = Instant::now() + LIMIT;
        loop {
            match flush(&ring, 0) {
                0 => break,
                code if code == -libc::EAGAIN => refused += 1,
                code => ring.must(code),
            }
            assert!(Instant::now() < end);
            std::thread::sleep(Duration::from_millis(3));
        }
        assert!(refused > 0, "the queue was never full");
        let done = completions(&ring);
        assert_eq!(done.len(), 30);
        // One off would be 20 ms apart.
        assert_eq!(compare(&done, &receiver, 8_000_000), 30);
    });
}

#[test]
fn after_a_frame_that_is_too_long_no_stamp_is_wrong_and_they_come_again() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let receiver = Ring::active("vb");
        let ring = transmitter("va", PKTRING_V2, PKTRING_TIMESTAMP_SOFTWARE);
        let mut long = vec![0; 1014];
        long[..60].copy_from_slice(&frame(1));
        assert!(commit(&ring, &frame(0), 0));
        assert!(commit(&ring, &long, 1));
        assert!(commit(&ring, &frame(2), 2));
        // Two bytes too long. Kernels differ in whether they number it before they notice.
        link::set_mtu("va", 998).unwrap();
        assert_eq!(flush(&ring, 1000), 0);
        let mut all = completions(&ring);
        assert_eq!(all.len(), 3);
        assert_eq!(all[1].error, -libc::EMSGSIZE);
        assert_ne!(all[0].timestamp, 0, "sent before");
        for number in 3..10 {
            std::thread::sleep(Duration::from_millis(10));
            assert!(commit(&ring, &frame(number), number));
            assert_eq!(flush(&ring, 1000), 0);
            let done = completions(&ring);
            assert_ne!(done[0].timestamp, 0, "{done:?}");
            all.extend(done);
        }
        assert!(compare(&all, &receiver, 5_000_000) >= 8);
    });
}

#[test]
fn bad_settings_are_refused_and_named() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let ring = Ring::open("vb");
        ring.must_fail(set(&ring, PKTRING_RX, 1), libc::EINVAL, "0x1");
        ring.must_fail(set(&ring, 3, 0), libc::EINVAL, "direction");
        ring.must(set(&ring, PKTRING_TX, PKTRING_TIMESTAMP_SOFTWARE));
        let (errno, text) = ring.refused();
        assert_eq!(errno, libc::EINVAL);
        assert!(text.contains("transmit ring"), "{text}");
        ring.must(set(&ring, PKTRING_TX, 0));
        ring.activate();
        let late = set(&ring, PKTRING_TX, PKTRING_TIMESTAMP_SOFTWARE);
        ring.must_fail(late, libc::EBUSY, "before");

        let copied = Ring::open("vb");
        // SAFETY: an open handle; NULL stands for the defaults.
        unsafe {
            copied.must(pktring_set_ring(copied.0, PKTRING_TX, std::ptr::null()));
            copied.must(pktring_set_tx_method(copied.0, PKTRING_TX_METHOD_COPY));
        }
        copied.must(set(&copied, PKTRING_TX, PKTRING_TIMESTAMP_SOFTWARE));
        let (errno, text) = copied.refused();
        assert_eq!(errno, libc::EINVAL);
        assert!(text.contains("PKTRING_TX_METHOD_RING"), "{text}");

        let lossy = Ring::open("vb");
        // SAFETY: an open handle; NULL stands for the defaults.
        unsafe {
            lossy.must(pktring_set_ring(lossy.0, PKTRING_TX, std::ptr::null()));
            lossy.must(pktring_set_loss(lossy.0, 1));
        }
        lossy.must(set(&lossy, PKTRING_TX, PKTRING_TIMESTAMP_SOFTWARE));
        let (errno, text) = lossy.refused();
        assert_eq!(errno, libc::EINVAL);
        assert!(text.contains("pktring_set_loss"), "{text}");
    });
}

#[test]
fn an_interface_without_hardware_stamps_says_so() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let ring = Ring::open("vb");
        let mut config = pktring_hwtstamp {
            size: size_of::<pktring_hwtstamp>(),
            tx_type: 1,
            rx_filter: 1,
            ..Default::default()
        };
        // SAFETY: open handles, and structs with their size; NULL is what is tested.
        unsafe {
            let early = pktring_set_hwtstamp(ring.0, &mut config);
            ring.must_fail(early, libc::EBUSY, "not active");
            ring.activate();
            let none = pktring_set_hwtstamp(ring.0, &mut config);
            ring.must_fail(none, libc::EOPNOTSUPP, "no hardware timestamps");
            let none = pktring_get_hwtstamp(ring.0, &mut config);
            ring.must_fail(none, libc::EOPNOTSUPP, "no hardware timestamps");
            let null = pktring_get_hwtstamp(ring.0, null_mut());
            assert_eq!(null, -libc::EFAULT);
            let everywhere = Ring::active("any");
            let any = pktring_get_hwtstamp(everywhere.0, &mut config);
            everywhere.must_fail(any, libc::EINVAL, "all interfaces");
            config.reserved = 1;
            let unknown = pktring_set_hwtstamp(ring.0, &mut config);
            ring.must_fail(unknown, libc::EINVAL, "reserved");
        }
    });
}
