//! Every system call of the set-up and of reading made to fail in turn, with every errno value
//! that it can give: the caller gets that error and a text, nothing is left behind, and the handle
//! works when the reason is gone. tests/failing_calls.rs does the same with what comes after.

mod inject;
mod options;

use inject::{fail, pages, unwatched, watch, Possessions};
use libc::*;
use netns::{isolated, link, PlainSocket};
use options::{frame, Ring, LIMIT};
use pktring::capi::config::*;
use pktring::capi::error::PKTRING_ERRBUF_SIZE;
use pktring::capi::geometry::*;
use pktring::capi::lifecycle::*;
use pktring::capi::membership::*;
use pktring::capi::stats::*;
use pktring::capi::wait::*;
use std::ffi::CStr;
use std::mem::size_of;
use std::sync::{Mutex, MutexGuard};

/// One test at a time: what they compare is the process's.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The errno values that a call of this name is known to give.
fn errnos(call: &str) -> &'static [c_int] {
    match call {
        "socket" => &[
            EPERM,
            EACCES,
            EMFILE,
            ENFILE,
            ENOBUFS,
            ENOMEM,
            EAFNOSUPPORT,
            EINVAL,
        ],
        "ioctl" => &[ENODEV, EPERM, EINVAL],
        "setsockopt" => &[EINVAL, EBUSY, ENOMEM, ENOBUFS, ENODEV, EPERM, EFAULT],
        "getsockopt" => &[EINVAL, ENOPROTOOPT, EFAULT],
        "mmap" => &[EAGAIN, ENOMEM, EINVAL, ENFILE],
        "madvise" => &[EINVAL, ENOMEM, EAGAIN],
        "bind" => &[EINVAL, ENODEV, ENOMEM],
        "epoll_create1" => &[EMFILE, ENFILE, ENOMEM],
        "epoll_ctl" => &[ENOMEM, ENOSPC],
        "eventfd" => &[EMFILE, ENFILE, ENOMEM, ENODEV],
        "getsockname" => &[ENOBUFS],
        other => panic!("no errno values are known for {other}"),
    }
}

/// What the caller gets for an errno value of the kernel.
fn told(errno: c_int) -> c_int {
    match errno {
        EACCES => EPERM,
        other => other,
    }
}

/// Whether this is how a refused filter is told: EPERM means there that it is locked.
fn is_locked_filter(call: &str, errno: c_int, code: c_int, text: &str) -> bool {
    (call, errno, code) == ("setsockopt", EPERM, -EBUSY) && text.contains("locked")
}

/// A small ring, for speed.
fn ring(version: u32, direction: u32) -> pktring_ring {
    let _ = (version, direction);
    pktring_ring {
        size: size_of::<pktring_ring>(),
        block_size: 1 << 16,
        block_count: 2,
        frame_size: 2048,
        ..Default::default()
    }
}

/// A handle on vb that was told what to be.
fn configured(version: u32, directions: &[u32], everything: bool) -> Ring {
    let handle = Ring::open("vb");
    handle.version(version);
    for direction in directions {
        let ring = ring(version, *direction);
        // SAFETY: the handle is open, the struct has its size; so in what follows.
        handle.must(unsafe { pktring_set_ring(handle.0, *direction, &ring) });
    }
    if everything {
        // SAFETY: as above; a program of one instruction, an address of six bytes.
        unsafe {
            let accept = pktring_insn {
                code: 6,
                jt: 0,
                jf: 0,
                k: u32::MAX,
            };
            handle.must(pktring_set_filter(handle.0, &accept, 1));
            handle.must(pktring_set_snaplen(handle.0, 96));
            handle.must(pktring_set_promisc(handle.0, 1));
            let address = [1, 0, 0x5e, 0, 0, 1];
            let kind = PKTRING_MEMBERSHIP_MULTICAST;
            handle.must(pktring_add_membership(handle.0, kind, address.as_ptr(), 6));
        }
    }
    handle
}

fn activate(handle: &Ring) -> c_int {
    // SAFETY: the handle is open.
    unsafe { pktring_activate(handle.0) }
}

/// Fails each call of the activation in turn; returns how many failures that were.
fn sweep(configure: impl Fn() -> Ring) -> usize {
    let handle = configure();
    let (code, calls) = watch(|| activate(&handle));
    handle.must(code);
    drop(handle);
    let mut failures = 0;
    for (at, call) in calls.iter().enumerate() {
        for errno in errnos(call) {
            let handle = configure();
            let before = Possessions::now();
            let code = fail(at, *errno, || activate(&handle));
            let what = format!("{call} (call {at} of {calls:?}) with errno {errno}");
            let locked = is_locked_filter(call, *errno, code, &handle.error());
            assert!(
                code == -told(*errno) || locked,
                "{what}: {}",
                handle.error()
            );
            assert!(handle.error().len() > 15, "{what}: {:?}", handle.error());
            assert_eq!(Possessions::now(), before, "{what}");
            if *errno == errnos(call)[0] {
                handle.activate();
                assert_ne!(Possessions::now(), before);
            }
            failures += 1;
        }
    }
    failures
}

fn sweeps(versions: &[u32], directions: &[u32], everything: bool) {
    let _alone = alone();
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let nothing = Possessions::now();
        for version in versions {
            let failures = sweep(|| configured(*version, directions, everything));
            println!("V{}: {failures} failures", version + 1);
            assert!(failures > 40);
        }
        assert_eq!(Possessions::now(), nothing);
    });
}

#[test]
fn whatever_call_of_the_activation_fails_it_is_told_and_undone_to_receive() {
    sweeps(&[PKTRING_V1, PKTRING_V2, PKTRING_V3], &[PKTRING_RX], false);
}

#[test]
fn whatever_call_of_the_activation_fails_it_is_told_and_undone_to_transmit() {
    sweeps(&[PKTRING_V2], &[PKTRING_TX], false);
}

#[test]
fn whatever_call_of_the_activation_fails_it_is_told_and_undone_with_every_option() {
    sweeps(&[PKTRING_V3], &[PKTRING_RX, PKTRING_TX], true);
}

/// Fails each call of a function that opens; it must return NULL and leave nothing.
fn sweep_open(open: impl Fn(*mut c_char) -> bool) {
    let _alone = alone();
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let mut text = [0; PKTRING_ERRBUF_SIZE];
        let (opened, calls) = watch(|| open(text.as_mut_ptr()));
        assert!(opened);
        let before = Possessions::now();
        let mut size = Vec::new();
        for _ in 0..4 {
            for (at, call) in calls.iter().enumerate() {
                for errno in errnos(call) {
                    text[0] = 0;
                    let opened = fail(at, *errno, || open(text.as_mut_ptr()));
                    let code = std::io::Error::last_os_error().raw_os_error();
                    // SAFETY: the buffer holds a string in any case.
                    let said = unsafe { CStr::from_ptr(text.as_ptr()) }.to_str().unwrap();
                    let what = format!("{call} (call {at}) with errno {errno}: '{said}'");
                    // Keeping the handle from children is a precaution that old kernels lack.
                    if *call == "madvise" && at < 3 {
                        assert!(opened, "{what}");
                        continue;
                    }
                    assert!(!opened, "{what}");
                    let locked = is_locked_filter(call, *errno, -code.unwrap(), said);
                    assert!(code == Some(told(*errno)) || locked, "{what}");
                    assert!(said.len() > 15, "{what}");
                    assert_eq!(Possessions::now(), before, "{what}");
                }
            }
            size.push(pages());
        }
        // A page left by each failure would be more than this.
        assert!(size[3] < size[0] + 3 * 8, "memory is left behind: {size:?}");
    });
}

#[test]
fn whatever_call_of_open_fails_it_is_told_and_undone() {
    sweep_open(|text| {
        // SAFETY: a string and a buffer of the documented size; closed at once.
        unsafe {
            let handle = pktring_open(c"vb".as_ptr(), text);
            let opened = !handle.is_null();
            if opened {
                unwatched(|| pktring_close(handle));
            }
            opened
        }
    });
}

#[test]
fn whatever_call_of_open_capture_fails_it_is_told_and_undone() {
    sweep_open(|text| {
        // SAFETY: as above.
        unsafe {
            let handle = pktring_open_capture(c"vb".as_ptr(), 96, 1, text);
            let opened = !handle.is_null();
            if opened {
                unwatched(|| pktring_close(handle));
            }
            opened
        }
    });
}

#[test]
fn a_pending_error_that_cannot_be_read_is_told() {
    let _alone = alone();
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let handle = configured(PKTRING_V2, &[PKTRING_RX], false);
        handle.activate();
        // SAFETY: the handle is open and active.
        let wait = |ms| unsafe { pktring_wait(handle.0, PKTRING_RX, ms) };
        // The first wait makes a call more than those after it.
        assert_eq!(wait(0), 0);
        link::set_down("vb").unwrap();
        let (code, calls) = watch(|| wait(50));
        assert_eq!(code, -ENETDOWN);
        link::set_up("vb").unwrap();
        link::wait_up("vb").unwrap();
        link::wait_up("va").unwrap();
        PlainSocket::sender("va").unwrap().send(&frame(1)).unwrap();
        assert_eq!(handle.numbers(1), [1]);
        let at = calls.iter().position(|call| *call == "getsockopt").unwrap();
        link::set_down("vb").unwrap();
        assert_eq!(fail(at, ENOBUFS, || wait(50)), -ENOBUFS);
        assert!(handle.error().contains("SO_ERROR"), "{}", handle.error());
        link::set_up("vb").unwrap();
        link::wait_up("vb").unwrap();
        link::wait_up("va").unwrap();
        PlainSocket::sender("va").unwrap().send(&frame(2)).unwrap();
        assert_eq!(handle.numbers(1), [2], "the handle goes on");
    });
}

#[test]
fn statistics_that_cannot_be_read_lose_nothing() {
    let _alone = alone();
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let handle = configured(PKTRING_V2, &[PKTRING_RX], false);
        handle.activate();
        let sender = PlainSocket::sender("va").unwrap();
        (0..5).for_each(|number| sender.send(&frame(number)).unwrap());
        assert_eq!(handle.numbers(5), [0, 1, 2, 3, 4]);
        let mut stats = pktring_stats {
            size: size_of::<pktring_stats>(),
            ..Default::default()
        };
        for errno in errnos("getsockopt") {
            // SAFETY: the handle is open; the struct has its size.
            let code = fail(0, *errno, || unsafe { pktring_stats(handle.0, &mut stats) });
            assert_eq!(code, -errno);
            assert!(handle.error().contains("PACKET_STATISTICS"));
        }
        assert_eq!(handle.stats().received, 5);
    });
}

#[test]
fn a_filter_that_cannot_be_attached_leaves_the_old_one() {
    let _alone = alone();
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let handle = configured(PKTRING_V2, &[PKTRING_RX], false);
        handle.activate();
        let nothing = pktring_insn {
            code: 6,
            jt: 0,
            jf: 0,
            k: 0,
        };
        // SAFETY: the handle is open; a program of one instruction.
        let filter = || unsafe { pktring_set_filter(handle.0, &nothing, 1) };
        for errno in [EINVAL, ENOMEM, EFAULT] {
            assert_eq!(fail(0, errno, filter), -errno, "{}", handle.error());
        }
        PlainSocket::sender("va").unwrap().send(&frame(3)).unwrap();
        assert_eq!(handle.next_own(LIMIT).unwrap().number(), 3);
    });
}
