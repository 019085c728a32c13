//! Every system call of the set-up and of reading made to fail in turn, with every errno value
//! that it can give: the caller gets that error and a text, nothing is left behind, and the handle
//! works when the reason is gone. tests/failing_calls.rs does the same with what comes after.

mod inject;
mod options;

use inject::{fail, pages, unwatched, watch, Possessions};
use libc::*;
use netns::{isolated, link, PlainSocket};
use options::{frame, Ring, LIMIT};
use pktring::capi::error::PKTRING_ERRBUF_SIZE;
use pktring::capi::{config::*, fanout::*, filter::*, geometry::*, lifecycle::*, membership::*};
use pktring::capi::{option::*, stats::*, timestamp::*, tuning::*, wait::*};
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
        inject::BUFFER => &[EPERM],
        "setsockopt" => &[EINVAL, EBUSY, ENOMEM, ENOBUFS, ENODEV, EPERM, EFAULT],
        "getsockopt" => &[EINVAL, ENOPROTOOPT, EFAULT],
        "mmap" => &[EAGAIN, ENOMEM, EINVAL, ENFILE],
        "madvise" => &[EINVAL, ENOMEM, EAGAIN],
        "bind" => &[EINVAL, ENODEV, ENOMEM],
        "epoll_create1" => &[EMFILE, ENFILE, ENOMEM],
        "epoll_ctl" => &[ENOMEM, ENOSPC],
        "eventfd" => &[EMFILE, ENFILE, ENOMEM, ENODEV],
        "getsockname" => &[ENOBUFS],
        // To ask netlink which retire timeout the kernel chose.
        "sendto" => &[ENOBUFS, ENOMEM, EPERM],
        "recv" => &[ENOBUFS, ENOMEM],
        // To have processors stay awake.
        "open64" => &[EACCES, EPERM, ENOENT, ENODEV, EMFILE, ENFILE, ENOMEM],
        "write" => &[EINVAL],
        "close" => &[EINTR, EIO],
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

/// Whether this is how an errno value that means something else here is told.
fn is_translated(call: &str, errno: c_int, code: c_int, text: &str) -> bool {
    let (told, word) = match (call, errno) {
        ("setsockopt", EPERM) => (EBUSY, "locked"),
        ("setsockopt", ENOMEM) => (ENOSPC, "every fanout group number is in use"),
        ("getsockopt", ENOPROTOOPT) => (EOPNOTSUPP, "needs Linux"),
        ("setsockopt", EINVAL) => (EOPNOTSUPP, "timestamps of sent frames needs Linux"),
        _ => return false,
    };
    code == -told && text.contains(word)
}

/// A small ring, for speed.
fn ring() -> pktring_ring {
    pktring_ring {
        size: size_of::<pktring_ring>(),
        block_size: 1 << 16,
        block_count: 2,
        frame_size: 2048,
        ..Default::default()
    }
}

/// A handle on vb that was told what to be.
fn configured(version: u32, directions: &[u32]) -> Ring {
    let handle = Ring::open("vb");
    handle.version(version);
    for direction in directions {
        // SAFETY: the handle is open, the struct has its size; so in what follows.
        handle.must(unsafe { pktring_set_ring(handle.0, *direction, &ring()) });
    }
    handle
}

/// A program of one instruction that lets everything pass.
const ACCEPT: pktring_insn = pktring_insn {
    code: 6,
    jt: 0,
    jf: 0,
    k: u32::MAX,
};

/// A handle for both directions with every option that a socket of this version can have.
fn with_every_option(version: u32) -> Ring {
    let handle = configured(version, &[PKTRING_RX, PKTRING_TX]);
    let h = handle.0;
    let must = |code| handle.must(code);
    // SAFETY: as above; a program of one instruction, an address of six bytes.
    unsafe {
        must(pktring_set_filter(h, &ACCEPT, 1));
        must(pktring_lock_filter(h));
        must(pktring_set_snaplen(h, 96));
        must(pktring_set_promisc(h, 1));
        let address = [1, 0, 0x5e, 0, 0, 1];
        let kind = PKTRING_MEMBERSHIP_MULTICAST;
        must(pktring_add_membership(h, kind, address.as_ptr(), 6));
        must(pktring_set_reserve(h, 16));
        must(pktring_set_vnet_header(h, 12));
        must(pktring_set_tx_offset(h, 1));
        must(pktring_set_qdisc_bypass(h, 1));
        must(pktring_set_ignore_outgoing(h, 1));
        must(pktring_set_original_device(h, 1));
        must(pktring_set_buffer(h, PKTRING_RX, 100_000));
        must(pktring_set_buffer(h, PKTRING_TX, 100_000));
        must(pktring_set_incoming_cpu(h, 0));
        must(pktring_set_memory(h, PKTRING_MEMORY_POPULATE));
        // Refused to an ordinary user, which tests/switches.rs sees.
        let path = "/dev/cpu_dma_latency";
        if std::fs::File::options().write(true).open(path).is_ok() {
            must(pktring_set_wake_latency(h, i32::MAX));
        }
        let software = PKTRING_TIMESTAMP_SOFTWARE;
        must(pktring_set_timestamp(h, PKTRING_RX, software));
        match version {
            PKTRING_V3 => {
                let kernel = pktring_ring {
                    retire_timeout_ms: PKTRING_RETIRE_KERNEL,
                    ..ring()
                };
                must(pktring_set_ring(h, PKTRING_RX, &kernel));
                must(pktring_set_timestamp(h, PKTRING_TX, software));
            }
            _ => {
                must(pktring_set_copies(h, 1));
                // These two do not go with each other.
                must(pktring_set_loss(h, 1));
            }
        }
    }
    handle
}

/// A member of a fanout group with a program.
fn in_a_group() -> Ring {
    let handle = configured(PKTRING_V3, &[PKTRING_RX]);
    let group = pktring_fanout {
        size: size_of::<pktring_fanout>(),
        mode: PKTRING_FANOUT_CBPF,
        flags: PKTRING_FANOUT_FLAG_UNIQUEID,
        ..Default::default()
    };
    // SAFETY: as above.
    unsafe {
        handle.must(pktring_set_filter(handle.0, &ACCEPT, 1));
        handle.must(pktring_set_fanout(handle.0, &group));
        handle.must(pktring_set_fanout_program(handle.0, &ACCEPT, 1));
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
            let nothing = Possessions::now();
            let handle = configure();
            let before = Possessions::now();
            let code = fail(at, *errno, || activate(&handle));
            let what = format!("{call} (call {at} of {calls:?}) with errno {errno}");
            // Without the right to force a buffer, the library asks for it; a descriptor is closed
            // whatever close() says.
            if [inject::BUFFER, "close"].contains(call) {
                assert_eq!(code, 0, "{what}: {}", handle.error());
                drop(handle);
                assert_eq!(Possessions::now(), nothing, "{what}");
                continue;
            }
            let translated = is_translated(call, *errno, code, &handle.error());
            assert!(
                code == -told(*errno) || translated,
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

/// The same for several configurations.
fn sweeps(configurations: &[&dyn Fn() -> Ring]) {
    let _alone = alone();
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let nothing = Possessions::now();
        for configure in configurations {
            let failures = sweep(configure);
            println!("{failures} failures");
            assert!(failures > 40);
        }
        assert_eq!(Possessions::now(), nothing);
    });
}

#[test]
fn whatever_call_of_the_activation_fails_it_is_told_and_undone_to_receive() {
    sweeps(&[
        &|| configured(PKTRING_V1, &[PKTRING_RX]),
        &|| configured(PKTRING_V2, &[PKTRING_RX]),
        &|| configured(PKTRING_V3, &[PKTRING_RX]),
    ]);
}

#[test]
fn whatever_call_of_the_activation_fails_it_is_told_and_undone_to_transmit() {
    sweeps(&[&|| configured(PKTRING_V2, &[PKTRING_TX])]);
}

#[test]
fn whatever_call_of_the_activation_fails_it_is_told_and_undone_with_every_option() {
    sweeps(&[&|| with_every_option(PKTRING_V2), &|| {
        with_every_option(PKTRING_V3)
    }]);
}

#[test]
fn whatever_call_of_the_activation_fails_it_is_told_and_undone_in_a_fanout_group() {
    sweeps(&[&in_a_group]);
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
        let (mut size, mut failures) = (Vec::new(), 0);
        for _ in 0..4 {
            for (at, call) in calls.iter().enumerate() {
                for errno in errnos(call) {
                    text[0] = 0;
                    failures += 1;
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
                    let translated = is_translated(call, *errno, -code.unwrap(), said);
                    assert!(code == Some(told(*errno)) || translated, "{what}");
                    assert!(said.len() > 15, "{what}");
                    assert_eq!(Possessions::now(), before, "{what}");
                }
            }
            size.push(pages());
        }
        println!("{failures} failures");
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
        let handle = configured(PKTRING_V2, &[PKTRING_RX]);
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
        let handle = configured(PKTRING_V2, &[PKTRING_RX]);
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
        let handle = configured(PKTRING_V2, &[PKTRING_RX]);
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

#[test]
fn an_option_that_the_kernel_accepts_and_ignores_is_told_and_all_undone() {
    let _alone = alone();
    isolated(|| {
        link::veth("va", "vb").unwrap();
        // Each is the opposite of what the kernel starts with.
        for option in [
            PACKET_VERSION,
            PACKET_RESERVE,
            PACKET_TX_HAS_OFF,
            PACKET_QDISC_BYPASS,
            PACKET_IGNORE_OUTGOING,
            PACKET_ORIGDEV,
        ] {
            let handle = with_every_option(PKTRING_V3);
            let before = Possessions::now();
            let code = inject::ignoring(SOL_PACKET, option, || activate(&handle));
            assert_eq!(code, -EBUSY, "option {option}");
            let said = handle.error();
            assert!(said.contains("accepted an option and ignored"), "{said}");
            assert_eq!(Possessions::now(), before, "option {option}");
            handle.activate();
        }
    });
}
