//! Waiting, being interrupted, and the callback interface.

mod common;

use common::frames;
use common::process::thread_cpu_time;
use common::signals::{break_target, do_nothing, with_signals, SetTarget};
use common::{data, small_ring, Pktring, LIMIT_MS, VERSIONS};
use netns::{isolated, link, PlainSocket};
use pktring::capi::geometry::{PKTRING_RX, PKTRING_TX, PKTRING_V2, PKTRING_V3};
use pktring::capi::handle::Handle;
use pktring::frame::Frame;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn capture(version: u32) -> Pktring {
    Pktring::open("vb")
        .version(version)
        .filter(&frames::own_only())
        .ring(PKTRING_RX, &small_ring(version, 32))
        .activate()
}

fn for_each_version(test: impl Fn(&Pktring, &PlainSocket, &str)) {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        for (version, name) in VERSIONS {
            test(&capture(version), &sender, name);
        }
    });
}

fn send(sender: &PlainSocket, numbers: std::ops::Range<u64>) {
    let all: Vec<_> = numbers.map(frames::frame).collect();
    sender.send_all(&all).unwrap();
}

const CANCELED: i32 = libc::ECANCELED;

fn errno<T: std::fmt::Debug>(result: Result<T, common::Failure>) -> i32 {
    result.unwrap_err().errno
}

#[test]
fn a_timeout_is_a_timeout_on_an_idle_link() {
    for_each_version(|handle, _, name| {
        for timeout in [0, 1, 50, 300] {
            let start = Instant::now();
            assert_eq!(handle.wait_rx(timeout), Ok(0), "{name}");
            let took = start.elapsed();
            assert!(
                took >= Duration::from_millis(timeout as u64),
                "{name}: {took:?}"
            );
            assert!(took < Duration::from_secs(5), "{name}: {took:?}");
            let start = Instant::now();
            assert_eq!(
                handle.dispatch(0, timeout, |_| panic!("a frame")),
                Ok(0),
                "{name}"
            );
            assert!(
                start.elapsed() >= Duration::from_millis(timeout as u64),
                "{name}"
            );
        }
    });
}

#[test]
fn waiting_while_the_newest_frame_is_held_does_not_spin() {
    for_each_version(|handle, sender, name| {
        send(sender, 0..2);
        let held = [handle.take(), handle.take()];
        // The kernel's own poll() returns at once now, every time.
        let mut ready = libc::pollfd {
            fd: handle.fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        for _ in 0..3 {
            // SAFETY: the kernel reads and writes one pollfd.
            assert_eq!(unsafe { libc::poll(&mut ready, 1, 0) }, 1, "{name}");
        }
        let (cpu, wakeups) = (thread_cpu_time(), handle.stats().wakeups);
        let start = Instant::now();
        assert_eq!(handle.wait_rx(500), Ok(0), "{name}");
        assert!(start.elapsed() >= Duration::from_millis(500), "{name}");
        let cpu = thread_cpu_time() - cpu;
        assert!(
            cpu < Duration::from_millis(100),
            "{name}: {cpu:?} of processor time"
        );
        let wakeups = handle.stats().wakeups - wakeups;
        assert!(wakeups < 20, "{name}: {wakeups} wakeups");
        println!("{name}: a wait of 500 ms with the newest frame held: {cpu:?}, {wakeups} wakeups");
        // It still wakes up for the next frame.
        send(sender, 2..3);
        let frame = handle.take();
        assert_eq!(data(&frame), frames::frame(2), "{name}");
        for frame in held.iter().chain([&frame]) {
            handle.release(frame).unwrap();
        }
    });
}

#[test]
fn a_breakloop_before_a_wait_ends_it_and_is_reported_once() {
    for_each_version(|handle, _, name| {
        for times in [1, 2, 10] {
            for _ in 0..times {
                handle.breakloop();
            }
            assert_eq!(errno(handle.wait_rx(-1)), CANCELED, "{name}");
            assert_eq!(handle.wait_rx(20), Ok(0), "{name}: once");
            handle.breakloop();
            assert_eq!(errno(handle.dispatch(0, -1, |_| ())), CANCELED, "{name}");
            assert_eq!(handle.dispatch(0, 20, |_| ()), Ok(0), "{name}: once");
            handle.breakloop();
            assert_eq!(errno(handle.looped(0, |_| ())), CANCELED, "{name}");
            assert_eq!(handle.wait_rx(0), Ok(0), "{name}: once");
        }
    });
}

#[test]
fn a_breakloop_from_another_thread_is_never_lost() {
    const ROUNDS: u32 = 3000;
    for_each_version(|handle, _, name| {
        let reported = AtomicU32::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..ROUNDS {
                    handle.breakloop();
                    // A lost one would leave the other thread asleep, and this one here.
                    let start = Instant::now();
                    while reported.load(Ordering::Acquire) == round {
                        assert!(start.elapsed() < Duration::from_secs(20), "{name}: {round}");
                        std::hint::spin_loop();
                    }
                }
            });
            for round in 0..ROUNDS {
                let result = match round % 3 {
                    0 => handle.wait_rx(LIMIT_MS).map(|ready| ready as i32),
                    1 => handle.dispatch(0, LIMIT_MS, |_| ()),
                    _ => handle.looped(0, |_| ()),
                };
                reported.store(round + 1, Ordering::Release);
                assert_eq!(errno(result), CANCELED, "{name}");
            }
        });
        assert_eq!(handle.wait_rx(20), Ok(0), "{name}: each once");
    });
}

#[test]
fn a_breakloop_from_a_signal_handler_ends_a_wait_without_limit() {
    for_each_version(|handle, _, name| {
        let _target = SetTarget::new(handle);
        for _ in 0..3 {
            with_signals(break_target, Duration::from_millis(20), || {
                assert_eq!(errno(handle.wait_rx(-1)), CANCELED, "{name}");
                assert_eq!(errno(handle.looped(0, |_| ())), CANCELED, "{name}");
            });
        }
    });
}

#[test]
fn other_signals_do_not_end_a_wait() {
    for_each_version(|handle, sender, name| {
        with_signals(do_nothing, Duration::from_millis(5), || {
            let start = Instant::now();
            assert_eq!(handle.wait_rx(200), Ok(0), "{name}");
            assert!(start.elapsed() >= Duration::from_millis(200), "{name}");
            send(sender, 0..1);
            assert_eq!(handle.wait_rx(LIMIT_MS), Ok(PKTRING_RX), "{name}");
        });
    });
}

#[test]
fn dispatch_hands_over_what_is_ready_and_no_more_than_asked_for() {
    for_each_version(|handle, sender, name| {
        send(sender, 0..10);
        // The timeout of a V3 block may split them in two.
        let mut seen = Vec::new();
        let mut note = |frame: &pktring::frame::Frame| seen.push(frames::number(data(frame)));
        assert_eq!(handle.dispatch(1, LIMIT_MS, &mut note), Ok(1), "{name}");
        let mut handled = 1;
        while handled < 4 {
            let got = handle.dispatch(4 - handled, LIMIT_MS, &mut note).unwrap();
            assert!(got > 0 && got <= 4 - handled, "{name}");
            handled += got;
        }
        while handled < 10 {
            handled += handle
                .dispatch(if handled % 2 == 0 { 0 } else { -1 }, LIMIT_MS, &mut note)
                .unwrap();
        }
        assert_eq!(handle.dispatch(0, 0, &mut note), Ok(0), "{name}");
        assert_eq!(seen, (0..10).collect::<Vec<_>>(), "{name}");
        assert_eq!(
            handle.stats().held,
            0,
            "{name}: released behind the callback"
        );
    });
}

#[test]
fn loop_ends_after_the_count_and_by_breakloop_in_the_callback() {
    for_each_version(|handle, sender, name| {
        send(sender, 0..7);
        let mut seen = 0;
        assert_eq!(handle.looped(5, |_| seen += 1), Ok(0), "{name}");
        assert_eq!(seen, 5, "{name}");
        let result = handle.looped(0, |_| {
            seen += 1;
            if seen == 7 {
                handle.breakloop();
            }
        });
        assert_eq!((errno(result), seen), (CANCELED, 7), "{name}");
        assert_eq!(handle.stats().held, 0, "{name}");
    });
}

#[test]
fn dispatch_stops_at_a_breakloop_with_its_count_and_the_next_call_reports_it() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        let handle = capture(PKTRING_V2);
        send(&sender, 0..6);
        let mut seen = 0;
        let handled = handle.dispatch(0, LIMIT_MS, |_| {
            seen += 1;
            if seen == 2 {
                handle.breakloop();
            }
        });
        assert_eq!(handled, Ok(2));
        assert_eq!(errno(handle.dispatch(0, LIMIT_MS, |_| ())), CANCELED);
        assert_eq!(handle.dispatch(0, LIMIT_MS, |_| ()), Ok(4));
    });
}

#[test]
fn closing_in_a_callback_is_refused_and_harmless() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        let handle = capture(PKTRING_V3);
        send(&sender, 0..1);
        handle
            .dispatch(1, LIMIT_MS, |_| {
                // SAFETY: the handle is open; the call must refuse.
                let code = unsafe { pktring::capi::lifecycle::pktring_close(handle.raw()) };
                assert_eq!(code, -libc::EBUSY);
            })
            .unwrap();
        send(&sender, 1..2);
        assert_eq!(handle.dispatch(1, LIMIT_MS, |_| ()), Ok(1));
        assert_eq!(handle.close(), 0);
    });
}

/// A call inside would take frames from under the one around it, and end what that is known by.
#[test]
fn dispatching_in_a_callback_is_refused_and_harmless() {
    for_each_version(|handle, sender, name| {
        send(sender, 0..3);
        let mut seen = 0;
        let outer = |frame: &Frame| {
            for inner in [handle.dispatch(1, 0, |_| ()), handle.looped(1, |_| ())] {
                let failure = inner.unwrap_err();
                assert_eq!(failure.errno, libc::EBUSY, "{name}");
                assert!(failure.text.contains("callback"), "{}", failure.text);
            }
            assert_eq!(data(frame), frames::frame(seen), "{name}");
            seen += 1;
        };
        handle.looped(3, outer).unwrap();
        assert_eq!(seen, 3, "{name}");
        assert_eq!(handle.dispatch(0, 0, |_| ()), Ok(0), "{name}");
    });
}

#[test]
fn a_wait_in_another_thread_ends_when_the_handle_is_closed() {
    for_each_version(|handle, _, name| {
        let raw = handle.raw() as usize;
        let other = Pktring::open("vb").activate();
        let raw_other = other.raw() as usize;
        assert_ne!(raw, raw_other);
        thread::scope(|scope| {
            let waiter = scope.spawn(move || {
                // SAFETY: open until the wait has returned, as close promises.
                unsafe {
                    pktring::capi::wait::pktring_wait(raw_other as *mut Handle, PKTRING_RX, -1)
                }
            });
            thread::sleep(Duration::from_millis(50));
            assert_eq!(other.close(), 0, "{name}");
            assert_eq!(waiter.join().unwrap(), -libc::ESHUTDOWN, "{name}");
        });
    });
}

#[test]
fn a_wait_for_both_directions_tells_which_is_ready() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        for (version, name) in VERSIONS {
            let handle = Pktring::open("vb")
                .version(version)
                .filter(&frames::own_only())
                .ring(PKTRING_RX, &small_ring(version, 32))
                .ring(PKTRING_TX, &common::ring(4096, 1, 2048))
                .activate();
            let both = PKTRING_RX | PKTRING_TX;
            assert_eq!(handle.wait(both, LIMIT_MS), Ok(PKTRING_TX), "{name}");
            let slots = [handle.reserve().unwrap(), handle.reserve().unwrap()];
            assert_eq!(
                handle.wait(both, 50),
                Ok(0),
                "{name}: both slots are reserved"
            );
            send(&sender, 0..1);
            assert_eq!(handle.wait(both, LIMIT_MS), Ok(PKTRING_RX), "{name}");
            for slot in slots.iter().flatten() {
                handle.abort(slot).unwrap();
            }
            assert_eq!(handle.wait(both, LIMIT_MS), Ok(both), "{name}");
        }
    });
}

#[test]
fn events_must_be_known_and_have_a_ring() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let handle = capture(PKTRING_V3);
        for events in [0, 4, 7, u32::MAX] {
            assert_eq!(errno(handle.wait(events, 0)), libc::EINVAL);
        }
        assert_eq!(errno(handle.wait(PKTRING_TX, 0)), libc::EBUSY);
        assert_eq!(errno(handle.wait(PKTRING_TX | PKTRING_RX, 0)), libc::EBUSY);
        let inactive = Pktring::open("vb");
        assert_eq!(errno(inactive.wait_rx(0)), libc::EBUSY);
        assert_eq!(errno(inactive.next()), libc::EBUSY);
        assert_eq!(errno(inactive.dispatch(0, 0, |_| ())), libc::EBUSY);
    });
}

/// How many epoll instances of this process listen to `fd`.
fn listeners(fd: i32) -> usize {
    let infos = std::fs::read_dir("/proc/self/fdinfo").unwrap();
    infos
        // Other tests open and close descriptors meanwhile.
        .filter_map(|info| std::fs::read_to_string(info.ok()?.path()).ok())
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some("tfd:") && words.next() == Some(&fd.to_string())
        })
        .count()
}

#[test]
fn frames_that_are_sent_wake_nobody_when_nobody_waits() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        for (version, name) in VERSIONS {
            let handle = Pktring::open("va")
                .version(version)
                .ring(PKTRING_RX, &small_ring(version, 32))
                .ring(PKTRING_TX, &common::ring(4096, 16, 2048))
                .activate();
            assert_eq!(listeners(handle.fd()), 0, "{name}: active");
            assert!(handle.put(&frames::frame(0), 0).unwrap());
            handle.flush(LIMIT_MS).unwrap();
            assert_eq!(
                listeners(handle.fd()),
                0,
                "{name}: after a flush that waits"
            );
            assert_eq!(handle.wait_rx(1), Ok(0), "{name}");
            // Whoever waited to receive once is woken for what comes from then on.
            assert_eq!(
                listeners(handle.fd()),
                1,
                "{name}: after waiting to receive"
            );
            while handle.reserve().unwrap().is_some() {}
            let failure = handle.wait(PKTRING_RX | PKTRING_TX, 20);
            assert_eq!(failure, Ok(0), "{name}");
            assert_eq!(listeners(handle.fd()), 1, "{name}: after waiting for both");
        }
    });
}
