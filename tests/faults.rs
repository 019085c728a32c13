//! Faults that no other test provokes; docs/reliability.md has the whole list.

mod common;
mod inject;

use common::{data, frames, process::thread_cpu_time, ring, small_ring, Pktring, VERSIONS};
use netns::{isolated, link, throttle, PlainSocket, Throttle};
use pktring::capi::geometry::{PKTRING_RX, PKTRING_TX, PKTRING_V1, PKTRING_V2, PKTRING_V3};
use pktring::capi::handle::Handle;
use pktring::capi::stats::PKTRING_UNAVAILABLE;
use pktring::capi::wait::pktring_wait;
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};
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
        rests("to receive", || {
            assert_eq!(handle.wait_rx(400), Ok(0));
        });
        // While it goes on, too: each frame wakes the sleeper, and none ends the wait.
        let timestamps = std::iter::repeat_with(|| {
            // SAFETY: nothing is read into no buffer.
            unsafe { libc::recv(handle.fd(), null_mut(), 0, libc::MSG_ERRQUEUE) }
        });
        let unread = timestamps.take_while(|read| *read >= 0).count();
        assert!((100..500).contains(&unread), "the queue held {unread}");
        let wakeups = handle.stats().wakeups;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 500..700 {
                    let frame = frames::frame_of_length(number, 100);
                    assert!(handle.put(&frame, number).unwrap());
                    assert_eq!(handle.flush(1000), Ok(0));
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            rests("while frames are sent", || {
                assert_eq!(handle.wait_rx(400), Ok(0));
            });
        });
        let wakeups = handle.stats().wakeups - wakeups;
        println!("{wakeups} wakeups by 200 frames");
        assert!((10..=210).contains(&wakeups), "{wakeups} wakeups");
        let slots: Vec<_> = std::iter::from_fn(|| handle.reserve().unwrap()).collect();
        rests("for room to send", || {
            assert_eq!(handle.wait(PKTRING_TX, 400), Ok(0));
        });
        slots.iter().for_each(|slot| drop(handle.abort(slot)));
        PlainSocket::sender("va")
            .unwrap()
            .send(&frames::frame(1))
            .unwrap();
        let frame = handle.take_own();
        handle.release(&frame).unwrap();
        assert_eq!(handle.stats().tx_frames, 700);
    });
}

/// Runs a wait of 400 ms, which must not spin.
fn rests(what: &str, wait: impl FnOnce()) {
    let before = thread_cpu_time();
    wait();
    let took = thread_cpu_time() - before;
    println!("a wait {what} of 400 ms: {took:?} of processor time");
    assert!(took < Duration::from_millis(100), "{what}: {took:?}");
}

#[test]
fn statistics_go_on_where_32_bits_end() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        for (version, name) in VERSIONS {
            let handle = Pktring::capture("vb", version, &small_ring(version, 64));
            let counters = [u32::MAX, u32::MAX - 1, u32::MAX - 2];
            for reads in 1..=3 {
                let stats = inject::with_statistics(counters, || handle.stats());
                let [packets, drops, freezes] = counters.map(|count| reads * u64::from(count));
                assert_eq!((stats.received, stats.dropped), (packets, drops), "{name}");
                match version {
                    PKTRING_V3 => assert_eq!(stats.freezes, freezes),
                    _ => assert_eq!(stats.freezes, PKTRING_UNAVAILABLE, "{name}"),
                }
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

#[test]
fn a_jumbo_frame_is_cut_at_the_slot_and_tells_its_length() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        for end in ["va", "vb"] {
            link::set_mtu(end, 9000).unwrap();
        }
        let sender = PlainSocket::sender("va").unwrap();
        for (version, name) in VERSIONS {
            // The space behind the headers of a slot of 2 KiB, or of a block of 4 KiB.
            let room = match version {
                PKTRING_V3 => 4096 - 48 - 82,
                _ => 2048 - 66,
            };
            let handle = Pktring::open("vb")
                .version(version)
                .filter(&frames::own_only())
                .ring(PKTRING_RX, &small_ring(version, 16))
                .activate();
            for (number, length) in (0..).zip([9014, 60, room + 1, room, room - 1].repeat(20)) {
                let sent = frames::frame_of_length(number, length);
                sender.send(&sent).unwrap();
                let frame = handle.take();
                assert_eq!(frame.len as usize, length, "{name}");
                assert_eq!(frame.caplen as usize, length.min(room), "{name}");
                assert!(data(&frame) == &sent[..length.min(room)], "{name}");
                handle.release(&frame).unwrap();
            }
            let stats = handle.stats();
            assert_eq!((stats.frames, stats.dropped, stats.corrupt), (100, 0, 0));
        }
    });
}

#[test]
fn slots_without_room_for_data_tell_the_length_of_frames_alone() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        for version in [PKTRING_V1, PKTRING_V2] {
            // The kernel puts the data of a frame at byte 66.
            let handle = Pktring::open("vb")
                .version(version)
                .filter(&frames::own_only())
                .ring(PKTRING_RX, &ring(4096, 2, 64))
                .activate();
            for number in 0..500 {
                let sent = frames::frame(number);
                sender.send(&sent).unwrap();
                let frame = handle.take();
                assert_eq!((frame.len as usize, frame.caplen), (sent.len(), 0));
                handle.release(&frame).unwrap();
            }
            let stats = handle.stats();
            assert_eq!((stats.frames, stats.dropped, stats.corrupt), (500, 0, 0));
        }
    });
}

#[test]
fn what_several_processors_put_into_the_ring_at_once_comes_once_and_in_the_order_of_each() {
    const EACH: u64 = 20_000;
    const SENDERS: u64 = 3;
    isolated(|| {
        link::veth("va", "vb").unwrap();
        for (version, name) in VERSIONS {
            let handle = Pktring::open("vb")
                .version(version)
                .filter(&frames::own_only())
                .ring(PKTRING_RX, &small_ring(version, 512))
                .activate();
            // What the virtual wire itself loses never reaches the handle.
            let wire = || {
                let [va, vb] = ["va", "vb"].map(|end| link::counters(end).unwrap());
                va.tx_dropped + vb.rx_dropped
            };
            let (done, lost) = (AtomicU64::new(0), wire());
            let mut next = [0; SENDERS as usize];
            let mut delivered = 0;
            std::thread::scope(|scope| {
                for sender in 0..SENDERS {
                    let done = &done;
                    scope.spawn(move || {
                        let socket = PlainSocket::sender("va").unwrap();
                        for first in (0..EACH).step_by(20) {
                            let numbers = (first..first + 20).map(|n| n * SENDERS + sender);
                            let batch: Vec<_> = numbers
                                .map(|number| frames::frame_of_length(number, 100))
                                .collect();
                            socket.send_all(&batch).unwrap();
                        }
                        done.fetch_add(1, Ordering::Release);
                    });
                }
                loop {
                    let over = done.load(Ordering::Acquire) == SENDERS;
                    if handle.wait_rx(20).unwrap() == 0 && over {
                        break;
                    }
                    while let Some(frame) = handle.next().unwrap() {
                        let number = frames::number(data(&frame));
                        assert!(
                            data(&frame) == frames::frame_of_length(number, 100),
                            "{name}"
                        );
                        let due = &mut next[(number % SENDERS) as usize];
                        assert!(number >= *due, "{name}: {number} after {due}");
                        *due = number + 1;
                        delivered += 1;
                        handle.release(&frame).unwrap();
                    }
                }
            });
            let stats = handle.stats();
            println!("{name}: {delivered} delivered, {} dropped", stats.dropped);
            let sent = EACH * SENDERS - (wire() - lost);
            assert_eq!(delivered + stats.dropped, sent, "{name}");
            assert_eq!((stats.frames, stats.corrupt), (delivered, 0), "{name}");
        }
    });
}
