//! Faults that no other test provokes; docs/reliability.md has the whole list.

mod common;
mod inject;

use common::{frames, process::thread_cpu_time, ring, small_ring, Pktring};
use netns::{isolated, link, throttle, PlainSocket, Throttle};
use pktring::capi::geometry::{PKTRING_RX, PKTRING_TX, PKTRING_V2, PKTRING_V3};
use pktring::capi::handle::Handle;
use pktring::capi::wait::pktring_wait;
use std::cell::Cell;
use std::ptr::null_mut;
use std::time::Duration;

#[test]
fn a_flooded_error_queue_neither_ends_a_wait_nor_makes_it_spin() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let handle = Pktring::open("vb")
            .version(PKTRING_V2)
            .filter(&frames::own_only())
            .ring(PKTRING_RX, &small_ring(PKTRING_V2, 64))
            .ring(PKTRING_TX, &ring(16384, 16, 2048))
            .activate();
        // Every frame sent from here on puts its timestamp on the error queue, unread.
        let on = libc::SOF_TIMESTAMPING_TX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;
        // SAFETY: an int.
        let set = unsafe {
            let on: *const libc::c_uint = &on;
            libc::setsockopt(
                handle.fd(),
                libc::SOL_SOCKET,
                libc::SO_TIMESTAMPING,
                on.cast(),
                4,
            )
        };
        assert_eq!(set, 0);
        for number in 0..500 {
            assert!(handle
                .put(&frames::frame_of_length(number, 100), number)
                .unwrap());
            if number % 50 == 0 {
                assert_eq!(handle.flush(1000), Ok(0));
            }
        }
        assert_eq!(handle.flush(1000), Ok(0));
        let before = thread_cpu_time();
        assert_eq!(handle.wait_rx(400), Ok(0));
        let took = thread_cpu_time() - before;
        assert!(
            took < Duration::from_millis(100),
            "{took:?} of processor time"
        );
        PlainSocket::sender("va")
            .unwrap()
            .send(&frames::frame(1))
            .unwrap();
        let frame = handle.take_own();
        handle.release(&frame).unwrap();
        assert_eq!(handle.stats().tx_frames, 500);
    });
}

#[test]
fn statistics_go_on_where_32_bits_end() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        for version in [PKTRING_V2, PKTRING_V3] {
            let handle = Pktring::capture("vb", version, &small_ring(version, 64));
            let (packets, drops) = (u32::MAX, u32::MAX - 1);
            for reads in 1..=3 {
                let stats = inject::with_statistics(packets, drops, || handle.stats());
                assert_eq!(stats.received, reads * u64::from(packets));
                assert_eq!(stats.dropped, reads * u64::from(drops));
            }
        }
    });
}

#[test]
fn a_frame_that_was_committed_is_the_kernels_and_no_longer_the_callers() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let there = PlainSocket::open("va").unwrap();
        for version in [PKTRING_V2, PKTRING_V3] {
            let handle = Pktring::open("vb")
                .version(version)
                .ring(PKTRING_TX, &ring(16384, 4, 2048))
                .activate();
            let slot = handle.reserve().unwrap().unwrap();
            common::write(&slot, &frames::frame_of_length(7, 100));
            handle.commit(&slot, 100).unwrap();
            assert_eq!(handle.commit(&slot, 60).unwrap_err().errno, libc::EINVAL);
            assert_eq!(handle.abort(&slot).unwrap_err().errno, libc::EINVAL);
            assert_eq!(handle.flush(1000), Ok(0));
            assert_eq!(handle.commit(&slot, 60).unwrap_err().errno, libc::EINVAL);
            let sent = loop {
                let packet = there
                    .recv(Duration::from_secs(5))
                    .unwrap()
                    .expect("a frame");
                if frames::is_own(&packet.data) {
                    break packet.data;
                }
            };
            assert_eq!(sent, frames::frame_of_length(7, 100));
            assert_eq!(handle.stats().tx_frames, 1);
        }
    });
}

/// Leaves the handle with an event whose request is gone: between the mark and the event of a
/// breakloop, a wait sees the mark and takes it.
fn leave_a_stale_event(handle: &Pktring, direction: u32) {
    thread_local!(static WHERE: Cell<(*mut Handle, u32)> = const { Cell::new((null_mut(), 0)) });
    fn take_the_request() {
        let (handle, direction) = WHERE.get();
        // SAFETY: the handle is open.
        let code = unsafe { pktring_wait(handle, direction, 0) };
        assert_eq!(code, -libc::ECANCELED);
    }
    WHERE.set((handle.raw(), direction));
    inject::before_write(take_the_request, || handle.breakloop());
}

/// Times that the sleep of `body` ended.
fn sleeps<T>(body: impl FnOnce() -> T) -> (T, usize) {
    let (result, calls) = inject::watch(body);
    let sleeps = calls.iter().filter(|call| **call == "epoll_wait").count();
    (result, sleeps)
}

#[test]
fn a_breakloop_event_whose_request_was_taken_before_does_not_make_a_wait_spin() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let handle = Pktring::capture("vb", PKTRING_V2, &small_ring(PKTRING_V2, 64));
        leave_a_stale_event(&handle, PKTRING_RX);
        let (code, sleeps) = sleeps(|| handle.wait_rx(300));
        assert_eq!(code, Ok(0));
        assert!((1..20).contains(&sleeps), "{sleeps} sleeps");
    });
}

#[test]
fn a_breakloop_event_whose_request_was_taken_before_does_not_make_a_flush_spin() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        // Lets out one frame of this length at once, the next a second later.
        let one_a_second = Throttle {
            rate: 1000,
            burst: 1600,
            waiting: 200_000,
        };
        throttle("vb", one_a_second).unwrap();
        let handle = Pktring::open("vb")
            .version(PKTRING_V2)
            .ring(PKTRING_TX, &ring(16384, 4, 2048))
            .activate();
        for number in 0..3 {
            let frame = frames::frame_of_length(number, 1000);
            assert!(handle.put(&frame, number).unwrap());
        }
        leave_a_stale_event(&handle, PKTRING_TX);
        let (left, sleeps) = sleeps(|| handle.flush(300));
        assert_eq!(left, Ok(2));
        assert!((1..20).contains(&sleeps), "{sleeps} sleeps");
        netns::unthrottle("vb").unwrap();
        assert_eq!(handle.flush(1000), Ok(0));
    });
}
