//! Every system call of waiting, sending, flushing and closing made to fail in turn, with every
//! errno value that it can give: the caller is told or the call does its work all the same, no
//! frame is lost or sent twice, the handle goes on, and of a closed one nothing is left.
//! tests/unwind.rs does the same with what comes before.

mod common;
mod inject;

use common::{frames, ring, small_ring, Failure, Pktring, METHODS, VERSIONS};
use inject::{fail, watch, Possessions};
use libc::*;
use netns::{isolated, link, throttle, unthrottle, PlainSocket, Throttle};
use pktring::capi::config::PKTRING_TX_METHOD_RING;
use pktring::capi::geometry::{PKTRING_RX, PKTRING_TX, PKTRING_V2, PKTRING_V3};
use pktring::capi::tx::{pktring_buffer, pktring_inject, pktring_inject_batch};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// One test at a time: what they compare is the process's.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The errno values that a call of this name is known to give.
fn errnos(call: &str) -> &'static [c_int] {
    match call {
        // What a transmit ring and what a plain packet can be answered.
        "sendto" | "sendmsg" | "sendmmsg" => &[
            EAGAIN,
            ENOBUFS,
            EINTR,
            ETIMEDOUT,
            ENETDOWN,
            ENXIO,
            ENODEV,
            EMSGSIZE,
            EINVAL,
            EFAULT,
            EPERM,
            ENOMEM,
            ENETUNREACH,
        ],
        "epoll_wait" => &[EINTR, EBADF, EFAULT, EINVAL, ENOMEM],
        "epoll_ctl" => &[ENOMEM, ENOSPC, EPERM],
        "getsockopt" => &[ENOBUFS, EINVAL, EFAULT],
        "getsockname" => &[ENOBUFS],
        "ioctl" => &[ENODEV, EPERM],
        "recvmsg" => &[EAGAIN, ENOMEM],
        "close" => &[EINTR, EIO],
        "munmap" => &[ENOMEM, EINTR],
        "nanosleep" => &[EINTR],
        "read" | "write" => &[EAGAIN, EINTR],
        // None with these arguments; where a filter of system calls denies it, EPERM.
        "clock_gettime" => &[EPERM],
        other => panic!("no errno values are known for {other}"),
    }
}

/// Runs `step` once as it is and then with each of its system calls failing in each way. `judge`
/// gets the name, the errno value and what `step` returned.
fn sweep<T>(mut step: impl FnMut() -> T, mut judge: impl FnMut(&'static str, c_int, T)) -> usize {
    let (_, calls) = watch(&mut step);
    let mut failures = 0;
    for (at, call) in calls.iter().enumerate() {
        for errno in errnos(call) {
            // How often a loop runs may differ; a call that was not made cannot fail.
            if let Some(result) = fail_if_made(at, *errno, &mut step) {
                judge(call, *errno, result);
                failures += 1;
            }
        }
    }
    failures
}

fn fail_if_made<T>(at: usize, errno: c_int, step: impl FnOnce() -> T) -> Option<T> {
    let (result, made) = inject::try_fail(at, errno, step);
    made.then_some(result)
}

/// A text that names the call.
fn is_told(failure: &Failure, errno: c_int, call: &str, text: &str) {
    assert_eq!(failure.errno, errno, "{call}: {failure:?}");
    assert!(failure.text.contains(text), "{call}: {failure:?}");
}

/// The time, in what is watched.
fn now() -> Instant {
    inject::unwatched(Instant::now)
}

#[test]
fn whatever_call_of_a_wait_fails_it_is_told_or_the_wait_goes_on() {
    let _alone = alone();
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        for (version, name) in VERSIONS {
            let handle = Pktring::open("vb")
                .version(version)
                .filter(&frames::own_only())
                .ring(PKTRING_RX, &small_ring(version, 64))
                .ring(PKTRING_TX, &ring(16384, 4, 2048))
                .activate();
            let mut number = 0;
            // The first wait makes a call more than those after it.
            assert_eq!(handle.wait_rx(0), Ok(0));
            let failures = sweep(
                || (now(), handle.wait_rx(30)),
                |call, errno, (start, result)| {
                    match (call, result) {
                        ("epoll_wait", Err(failure)) if errno != EINTR => {
                            is_told(&failure, errno, call, "epoll_wait");
                        }
                        (_, result) => assert_eq!(result, Ok(0), "{name}: {call}"),
                    }
                    assert!(start.elapsed() < Duration::from_secs(2), "{name}: {call}");
                    // The handle goes on.
                    sender.send(&frames::frame(number)).unwrap();
                    let frame = handle.take_own();
                    assert_eq!(common::data(&frame), frames::frame(number));
                    handle.release(&frame).unwrap();
                    number += 1;
                },
            );
            println!("{name}: {failures} failures");
            assert!(failures >= 6, "{failures}");
        }
    });
}

#[test]
fn whatever_call_fails_when_the_link_goes_down_under_a_wait_it_is_told_and_the_handle_resumes() {
    let _alone = alone();
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        let handle = Pktring::open("vb")
            .version(PKTRING_V2)
            .filter(&frames::own_only())
            .ring(PKTRING_RX, &small_ring(PKTRING_V2, 64))
            .activate();
        let mut number = 0;
        // The first wait makes a call more than those after it.
        assert_eq!(handle.wait_rx(0), Ok(0));
        let failures = sweep(
            || {
                inject::unwatched(|| link::set_down("vb").unwrap());
                handle.wait_rx(50)
            },
            |call, errno, result| {
                match (call, result.map_err(|failure| failure.errno)) {
                    (_, Err(ENETDOWN)) => {}
                    // Without the time, the wait cannot know that it is not over.
                    ("clock_gettime", Ok(0)) => {}
                    // Told instead, and the error is not lost.
                    ("epoll_wait" | "getsockopt", Err(code)) => assert_eq!(code, errno, "{call}"),
                    (_, other) => panic!("{call} with errno {errno}: {other:?}"),
                }
                link::set_up("vb").unwrap();
                link::wait_up("vb").unwrap();
                link::wait_up("va").unwrap();
                // Whatever of it was not told yet is told now, at most once.
                assert!(matches!(
                    handle.wait_rx(0),
                    Ok(0)
                        | Err(Failure {
                            errno: ENETDOWN,
                            ..
                        })
                ));
                sender.send(&frames::frame(number)).unwrap();
                let frame = handle.take_own();
                assert_eq!(common::data(&frame), frames::frame(number));
                handle.release(&frame).unwrap();
                number += 1;
            },
        );
        println!("{failures} failures");
        assert!(failures >= 8, "{failures}");
    });
}

/// What an attempt to send that found the frame in the ring may answer to an error of the
/// kernel's that left it there.
fn is_answer(errno: c_int, result: &Result<i32, Failure>) -> bool {
    let code = result.as_ref().map_err(|failure| failure.errno);
    match errno {
        // Tried again, within the call or with the next.
        EINTR | ENETDOWN => code == Ok(&0),
        EAGAIN => matches!(code, Ok(0 | 1)),
        ENOBUFS | ENOMEM => matches!(code, Ok(0) | Err(EAGAIN)),
        ENXIO | ENODEV => code == Err(ENODEV),
        other => code == Err(other),
    }
}

/// A sending handle on va, and the socket that hears it.
fn transmitter(version: u32, method: u32) -> (Pktring, PlainSocket) {
    let handle = Pktring::open("va")
        .version(version)
        .tx_method(method)
        .ring(PKTRING_TX, &ring(16384, 4, 2048))
        .activate();
    (handle, PlainSocket::open("vb").unwrap())
}

/// Exactly the frame of this number comes out of the wire next.
fn receives(there: &PlainSocket, number: u64, what: &str) {
    loop {
        let packet = there.recv(Duration::from_secs(5)).unwrap();
        let packet = packet.unwrap_or_else(|| panic!("frame {number} is lost: {what}"));
        if frames::is_own(&packet.data) {
            assert_eq!(frames::number(&packet.data), number, "{what}");
            return;
        }
    }
}

/// Flushes with `timeout_ms` after each commit, with each call failing.
fn flushes(timeout_ms: i32) {
    let _alone = alone();
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let ways = METHODS.map(|(method, how)| VERSIONS.map(|(version, _)| (version, method, how)));
        for (version, method, name) in ways.concat() {
            let (handle, there) = transmitter(version, method);
            let mut number = 0;
            let mut refusals = 0;
            let next = std::cell::Cell::new(0);
            let failures = sweep(
                || {
                    let frame = frames::frame_of_length(next.get(), 300);
                    let put = || assert!(handle.put(&frame, next.get()).unwrap());
                    inject::unwatched(put);
                    next.set(next.get() + 1);
                    handle.flush(timeout_ms)
                },
                |call, errno, result| {
                    let what = format!("{name}: {call} with errno {errno}: {result:?}");
                    // Without a ring of the kernel's, this is what it says of a frame.
                    let refused = call == "sendmmsg" && matches!(errno, EMSGSIZE | EINVAL);
                    refusals += u64::from(refused);
                    match call {
                        "sendto" | "sendmmsg" if !refused => {
                            assert!(is_answer(errno, &result), "{what}");
                        }
                        _ => assert_eq!(result, Ok(0), "{what}"),
                    }
                    if let Err(failure) = &result {
                        assert!(failure.text.len() > 15, "{what}");
                    }
                    // The frame is in the ring or on the wire, and comes out once.
                    let stats = handle.stats();
                    assert_eq!(stats.tx_refused, refusals, "{what}");
                    let known = stats.tx_frames + stats.tx_in_flight + refusals;
                    assert_eq!(known, next.get(), "{what}");
                    assert_eq!(handle.flush(1000), Ok(0), "{what}");
                    while number < next.get() - u64::from(refused) {
                        receives(&there, number, &what);
                        number += 1;
                    }
                    number = next.get();
                },
            );
            println!("{name}: {failures} failures");
            assert!(failures >= 13, "{failures}");
            let errors = handle.completions();
            let errors = errors.iter().filter(|done| done.error != 0);
            assert_eq!(errors.count() as u64, refusals);
            assert_eq!(handle.stats().tx_frames + refusals, next.get());
            assert_eq!(handle.close(), 0);
        }
    });
}

#[test]
fn whatever_call_of_a_flush_that_does_not_wait_fails_no_frame_is_lost_or_sent_twice() {
    flushes(0);
}

#[test]
fn whatever_call_of_a_flush_that_waits_fails_no_frame_is_lost_or_sent_twice() {
    flushes(500);
}

/// Lets out one frame of 1000 bytes at once, the next after longer than any of this takes.
const ONE_FRAME: Throttle = Throttle {
    rate: 10,
    burst: 1600,
    waiting: 200_000,
};

#[test]
fn whatever_call_fails_of_a_flush_that_sleeps_it_is_told_and_the_frames_stay() {
    let _alone = alone();
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let (handle, _there) = transmitter(PKTRING_V2, PKTRING_TX_METHOD_RING);
        throttle("va", ONE_FRAME).unwrap();
        for number in 0..3 {
            let frame = frames::frame_of_length(number, 1000);
            assert!(handle.put(&frame, number).unwrap());
        }
        assert_eq!(handle.flush(0), Ok(2));
        let failures = sweep(
            || (now(), handle.flush(20)),
            |call, errno, (start, result)| {
                match (call, result) {
                    ("epoll_wait" | "epoll_ctl", Err(failure)) if errno != EINTR => {
                        is_told(&failure, errno, call, call);
                    }
                    (_, result) => assert_eq!(result, Ok(2), "{call} with errno {errno}"),
                }
                assert!(start.elapsed() < Duration::from_secs(2), "{call}");
                assert_eq!(handle.stats().tx_in_flight, 2);
            },
        );
        println!("{failures} failures");
        assert!(failures >= 6, "{failures}");
        unthrottle("va").unwrap();
        assert_eq!(handle.flush(1000), Ok(0));
    });
}

#[test]
fn whatever_call_of_an_injection_fails_it_is_told_or_the_frames_are_sent() {
    let _alone = alone();
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let handle = Pktring::open("va")
            .version(PKTRING_V2)
            .ring(PKTRING_RX, &small_ring(PKTRING_V2, 4))
            .activate();
        let there = PlainSocket::open("vb").unwrap();
        let frame = frames::frame_of_length(5, 300);
        let buffer = pktring_buffer {
            data: frame.as_ptr().cast(),
            length: frame.len(),
        };
        for batch in [false, true] {
            // SAFETY: the handle is open; one frame of that length.
            let inject = || unsafe {
                match batch {
                    false => pktring_inject(handle.raw(), buffer.data, buffer.length),
                    true => pktring_inject_batch(handle.raw(), &buffer, 1),
                }
            };
            let sent = if batch { 1 } else { frame.len() as c_int };
            let failures = sweep(inject, |call, errno, code| {
                let what = format!("{call} with errno {errno}: {code}, {}", handle.error());
                match code {
                    code if code < 0 => {
                        let told = match errno {
                            ENOBUFS => [EAGAIN, ENOBUFS],
                            ENXIO => [ENODEV, ENXIO],
                            other => [other; 2],
                        };
                        assert!(told.contains(&-code), "{what}");
                        assert!(handle.error().len() > 15, "{what}");
                    }
                    code => {
                        assert_eq!(code, sent, "{what}");
                        receives(&there, 5, &what);
                    }
                }
            });
            println!("{failures} failures");
            assert!(failures >= 13, "{failures}");
            // The one that failed in no way.
            receives(&there, 5, "unharmed");
            assert_eq!(inject(), sent);
            receives(&there, 5, "afterwards");
        }
    });
}

#[test]
fn whatever_call_of_a_close_fails_nothing_of_the_handle_is_left() {
    let _alone = alone();
    isolated(|| {
        link::veth("va", "vb").unwrap();
        for (version, name) in VERSIONS {
            let there = PlainSocket::open("vb").unwrap();
            let nothing = Possessions::now();
            let next = std::cell::Cell::new(0);
            let handle = || {
                let handle = Pktring::open("va")
                    .version(version)
                    .filter(&frames::own_only())
                    .ring(PKTRING_RX, &small_ring(version, 64))
                    .ring(PKTRING_TX, &ring(16384, 4, 2048))
                    .activate();
                let frame = frames::frame_of_length(next.get(), 300);
                assert!(handle.put(&frame, 0).unwrap());
                assert_ne!(Possessions::now(), nothing);
                next.set(next.get() + 1);
                handle
            };
            let failures = sweep(
                || inject::unwatched(handle).close(),
                |call, errno, left| {
                    let what = format!("{name}: {call} with errno {errno}: {left}");
                    assert_eq!(Possessions::now(), nothing, "{what}");
                    // Only what was not sent is left, and only for reasons that keep it.
                    match left {
                        0 => {}
                        1 => assert_eq!(call, "sendto", "{what}"),
                        _ => panic!("{what}"),
                    }
                    let sent = || there.recv(Duration::from_secs(5)).unwrap().unwrap().data;
                    let first = next.get() == 2;
                    if first {
                        assert!(frames::is_own(&sent()));
                    }
                    if left == 0 {
                        assert_eq!(frames::number(&sent()), next.get() - 1, "{what}");
                    }
                },
            );
            println!("{name}: {failures} failures");
            assert!(failures >= 20, "{failures}");
        }
    });
}

#[test]
fn a_ring_that_is_stuck_in_a_queue_is_closed_whatever_call_fails() {
    let _alone = alone();
    isolated(|| {
        link::veth("va", "vb").unwrap();
        throttle("va", ONE_FRAME).unwrap();
        let nothing = Possessions::now();
        let close = |at: Option<(usize, c_int)>| {
            let (handle, _there) = transmitter(PKTRING_V3, PKTRING_TX_METHOD_RING);
            for number in 0..3 {
                let frame = frames::frame_of_length(number, 1000);
                assert!(handle.put(&frame, number).unwrap());
            }
            match at {
                None => watch(|| handle.close()),
                Some((at, errno)) => (fail(at, errno, || handle.close()), Vec::new()),
            }
        };
        let (left, calls) = close(None);
        assert!((1..=3).contains(&left), "{left}");
        assert_eq!(Possessions::now(), nothing);
        // The first of each kind; a second of waiting has hundreds.
        for call in ["sendto", "nanosleep", "clock_gettime"] {
            let at = calls.iter().position(|name| *name == call).unwrap();
            let start = Instant::now();
            let (left, _) = close(Some((at, errnos(call)[0])));
            assert!((0..=3).contains(&left), "{call}: {left}");
            assert_eq!(Possessions::now(), nothing, "{call}");
            assert!(start.elapsed() < Duration::from_secs(3), "{call}");
        }
    });
}
