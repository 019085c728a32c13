//! What the library may do with how little: CAP_NET_RAW and nothing else to open, nothing at all
//! once it is open, and a short list of system calls while packets flow.

// The crate that makes the seccomp filters knows machines of 64 bits alone.
#![cfg(target_pointer_width = "64")]

mod common;

use caps::{CapSet, Capability, CapsHashSet};
use common::{data, frames, process, ring, small_ring, Pktring, LIMIT_MS, VERSIONS};
use netns::{isolated, link, PlainSocket};
use pktring::capi::geometry::{PKTRING_RX, PKTRING_TX, PKTRING_V2, PKTRING_V3};
use pktring::capi::wait::pktring_breakloop;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use std::os::unix::process::CommandExt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::process::Command;
use std::thread;
use std::time::Duration;

const NOBODY: u32 = 65534;

/// Runs `body` in a thread that has these capabilities alone. It stays in this network.
fn with_only<R: Send>(capabilities: &[Capability], body: impl FnOnce() -> R + Send) -> R {
    let namespace = netns::Netns::current().unwrap();
    thread::scope(|scope| {
        let limited = scope.spawn(|| {
            namespace.enter().unwrap();
            let set: CapsHashSet = capabilities.iter().copied().collect();
            caps::set(None, CapSet::Effective, &set).unwrap();
            caps::set(None, CapSet::Permitted, &set).unwrap();
            assert_eq!(caps::read(None, CapSet::Effective).unwrap(), set);
            body()
        });
        limited.join().unwrap()
    })
}

/// A handle with everything that asks the kernel for something.
fn full(version: u32) -> Pktring {
    Pktring::open("vb")
        .version(version)
        .promisc(true)
        .snaplen(1000)
        .filter(&frames::own_only())
        .ring(PKTRING_RX, &small_ring(version, 64))
        .ring(PKTRING_TX, &ring(16384, 4, 2048))
}

/// Moves frames both ways.
fn exercise(handle: &Pktring, sender: &PlainSocket) {
    for number in 0..100 {
        sender.send(&frames::frame_of_length(number, 100)).unwrap();
        let frame = handle.take_own();
        assert_eq!(frames::number(data(&frame)), number);
        handle.release(&frame).unwrap();
        assert!(handle
            .put(&frames::frame_of_length(number, 200), number)
            .unwrap());
        assert_eq!(handle.flush(LIMIT_MS), Ok(0));
    }
}

#[test]
fn cap_net_raw_alone_is_enough() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        for (version, _) in VERSIONS {
            with_only(&[Capability::CAP_NET_RAW], || {
                let handle = full(version).activate();
                exercise(&handle, &sender);
                assert_eq!(handle.close(), 0);
            });
        }
    });
}

/// Has an ordinary user, as root of a user namespace of its own, run tests of this file.
#[test]
fn an_ordinary_user_may_do_all_of_it_in_a_user_namespace() {
    if !nix::unistd::Uid::effective().is_root() {
        // The tests beside this one show it.
        return;
    }
    let tests = [
        "cap_net_raw_alone_is_enough",
        "once_active_a_handle_needs_no_privilege_at_all",
        "the_hot_path_needs_no_system_call_beyond_the_list",
        "a_ring_is_not_charged_to_the_limit_of_locked_memory",
        "when_descriptors_run_out_that_is_told_and_nothing_is_left",
    ];
    let mut command = Command::new("/proc/self/exe");
    command.args(tests).arg("--exact").arg("--test-threads=1");
    command.gid(NOBODY).uid(NOBODY).current_dir("/");
    let output = netns::launch::tie(&mut command).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("result: ok. 5 passed"), "{said}");
}

#[test]
fn without_cap_net_raw_the_error_says_how_to_get_it() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        with_only(&[], || {
            let handle = full(PKTRING_V3);
            let failure = handle.try_activate().unwrap_err();
            assert_eq!(failure.errno, libc::EPERM);
            for word in ["CAP_NET_RAW", "root", "setcap", "unshare -Urn"] {
                assert!(failure.text.contains(word), "{}", failure.text);
            }
        });
        assert_eq!(process::packet_sockets(), 0);
    });
}

#[test]
fn once_active_a_handle_needs_no_privilege_at_all() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        for (version, name) in VERSIONS {
            let handle = full(version).activate();
            with_only(&[], || {
                exercise(&handle, &sender);
                handle.set_filter(&frames::own_only()).unwrap();
                let stats = handle.stats();
                assert_eq!((stats.frames, stats.tx_frames), (100, 100), "{name}");
                assert_eq!(handle.close(), 0);
            });
        }
    });
}

#[test]
fn a_program_that_starts_as_root_reads_its_first_packet_as_nobody() {
    if !nix::unistd::Uid::effective().is_root() {
        // There is no other user in a namespace of one's own.
        return netns::skip("only root can become another user");
    }
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        for (version, name) in VERSIONS {
            let status = in_child(|| {
                let handle = full(version).activate();
                sender.send(&frames::frame_of_length(1, 100)).unwrap();
                // SAFETY: numbers only; the child has one thread.
                unsafe {
                    assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
                    assert_eq!(libc::setgid(NOBODY), 0);
                    assert_eq!(libc::setuid(NOBODY), 0);
                }
                assert!(Pktring::open("vb").try_activate().is_err(), "root for ever");
                let frame = handle.take_own();
                assert_eq!(frames::number(data(&frame)), 1);
                handle.release(&frame).unwrap();
                exercise(&handle, &sender);
                assert_eq!(handle.close(), 0);
            });
            assert_eq!(status, 0, "{name}");
        }
    });
}

/// Every system call of an active handle, as docs/reliability.md lists them.
const HOT_PATH: &[i64] = &[
    // pktring_wait, pktring_dispatch, pktring_loop
    #[cfg(not(target_arch = "aarch64"))]
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_ctl,
    libc::SYS_getsockopt,
    libc::SYS_getsockname,
    // pktring_breakloop, and the wait that it ends
    libc::SYS_read,
    libc::SYS_write,
    // pktring_tx_flush, pktring_inject
    libc::SYS_sendto,
    libc::SYS_sendmmsg,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_ioctl,
    // where the clock is a system call
    libc::SYS_clock_gettime,
    // several threads at one handle
    libc::SYS_futex,
    // pktring_close
    libc::SYS_munmap,
    libc::SYS_close,
    // and in a debug build, Rust's check that what is closed is open
    libc::SYS_fcntl,
];

/// Allows the calling thread the hot path, the end, and nothing else: another system call kills
/// the process.
fn lock_down() {
    let ours = HOT_PATH.iter().chain(&[libc::SYS_exit_group]);
    let filter = SeccompFilter::new(
        ours.map(|call| (*call, vec![])).collect(),
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        TargetArch::try_from(std::env::consts::ARCH).unwrap(),
    );
    let program: BpfProgram = filter.unwrap().try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

/// Runs `body` in a child and returns whether it ended well.
fn in_child(body: impl FnOnce()) -> i32 {
    process::forked(|| match catch_unwind(AssertUnwindSafe(body)) {
        Ok(()) => 0,
        Err(_) => 1,
    })
}

#[test]
fn the_hot_path_needs_no_system_call_beyond_the_list() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        for (version, name) in VERSIONS {
            let status = in_child(|| {
                let handle = full(version).activate();
                // Once before, so that this program's own memory is there.
                exercise(&handle, &sender);
                lock_down();
                exercise(&handle, &sender);
                assert_eq!(handle.wait_rx(5), Ok(0));
                // SAFETY: the handle is open.
                unsafe { pktring_breakloop(handle.raw()) };
                assert_eq!(handle.wait_rx(5).unwrap_err().errno, libc::ECANCELED);
                // Too long for the MTU: the library asks what that is now.
                let slot = handle.reserve().unwrap().unwrap();
                assert!(handle.commit(&slot, 1900).is_err());
                handle.abort(&slot).unwrap();
                assert_eq!(handle.stats().tx_frames, 200);
                assert_eq!(handle.close(), 0);
            });
            assert_eq!(status, 0, "{name}");
        }
    });
}

#[test]
fn the_list_is_enforced() {
    isolated(|| {
        // SAFETY: the child makes one call and is killed for it.
        let killed = unsafe {
            match libc::fork() {
                0 => {
                    lock_down();
                    libc::getppid();
                    libc::_exit(0)
                }
                child => {
                    let mut status = 0;
                    assert_eq!(libc::waitpid(child, &mut status, 0), child);
                    libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSYS
                }
            }
        };
        assert!(killed);
    });
}

#[test]
fn a_ring_is_not_charged_to_the_limit_of_locked_memory() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let status = in_child(|| {
            let none = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            // SAFETY: a limit.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &none) }, 0);
            let handle = Pktring::capture("vb", PKTRING_V2, &small_ring(PKTRING_V2, 4096));
            assert_eq!(handle.close(), 0);
        });
        assert_eq!(status, 0);
    });
}

#[test]
fn a_process_that_locks_whatever_it_maps_is_told_that_it_may_not_lock_a_ring() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let status = in_child(|| {
            let few = libc::rlimit {
                rlim_cur: 4 << 20,
                rlim_max: 4 << 20,
            };
            caps::drop(None, CapSet::Effective, Capability::CAP_IPC_LOCK).unwrap();
            // SAFETY: a limit, and a flag.
            unsafe {
                assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &few), 0);
                assert_eq!(libc::mlockall(libc::MCL_FUTURE), 0);
            }
            let handle = Pktring::open("vb").ring(PKTRING_RX, &ring(1 << 20, 16, 2048));
            let failure = handle.try_activate().unwrap_err();
            assert_eq!(failure.errno, libc::EAGAIN, "{}", failure.text);
            assert!(failure.text.contains("RLIMIT_MEMLOCK"), "{}", failure.text);
            let handle = handle
                .ring(PKTRING_RX, &small_ring(PKTRING_V3, 16))
                .activate();
            assert_eq!(handle.close(), 0);
        });
        assert_eq!(status, 0);
    });
}

#[test]
fn when_descriptors_run_out_that_is_told_and_nothing_is_left() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let status = in_child(|| {
            let mut spare = Vec::new();
            // Those of tests beside this one, which the child was born with.
            let others = process_sockets();
            // One descriptor more each time, until it works: each earlier one must be refused.
            let mut refused = 0;
            while let Ok(file) = std::fs::File::open("/dev/null") {
                spare.push(file);
                assert!(spare.len() < 100_000);
                if spare.len() == 64 {
                    let few = libc::rlimit {
                        rlim_cur: 128,
                        rlim_max: 128,
                    };
                    // SAFETY: a limit.
                    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &few) }, 0);
                }
            }
            // Pktring::open() panics where it fails, and needs one descriptor itself.
            spare.pop();
            loop {
                let handle = Pktring::open("vb").ring(PKTRING_RX, &small_ring(PKTRING_V3, 16));
                match handle.try_activate() {
                    Ok(_) => break,
                    Err(failure) => {
                        assert_eq!(failure.errno, libc::EMFILE, "{}", failure.text);
                        refused += 1;
                        assert_eq!(process_sockets(), others);
                    }
                }
                spare.pop();
            }
            assert!(refused >= 2, "{refused}");
        });
        assert_eq!(status, 0);
    });
}

/// Packet sockets of this process, counted without a spare descriptor.
fn process_sockets() -> usize {
    let packet = |fd: i32| {
        let mut domain = 0;
        let mut len = 4;
        // SAFETY: an int and its length.
        let known = unsafe {
            let domain: *mut i32 = &mut domain;
            libc::getsockopt(
                fd,
                libc::SOL_SOCKET,
                libc::SO_DOMAIN,
                domain.cast(),
                &mut len,
            )
        };
        known == 0 && domain == libc::AF_PACKET
    };
    (0..128).filter(|fd| packet(*fd)).count()
}

#[test]
fn waiting_on_a_quiet_link_costs_nothing_even_without_privilege() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let handle = full(PKTRING_V3).activate();
        with_only(&[], || {
            let before = process::thread_cpu_time();
            assert_eq!(handle.wait_rx(500), Ok(0));
            assert!(process::thread_cpu_time() - before < Duration::from_millis(50));
        });
    });
}
