//! Many threads, processes and signals at one handle.

mod common;

use common::process::packet_sockets;
use common::signals::{do_nothing, with_signals};
use common::{frames, ring, small_ring, Failure, Pktring, VERSIONS};
use netns::{isolated, link, PlainSocket};
use pktring::capi::geometry::{PKTRING_RX, PKTRING_TX, PKTRING_V2, PKTRING_V3};
use pktring::capi::handle::Handle;
use pktring::capi::{lifecycle::*, rx::*, stats::*, tx::*, wait::*};
use pktring::frame::Frame;
use std::mem::{size_of, MaybeUninit};
use std::os::raw::c_void;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// A handle that threads use beyond its end, as C programs can.
#[derive(Clone, Copy)]
struct Shared(*mut Handle);

// SAFETY: what happens when threads do this is what is under test.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// For closures, which otherwise capture the pointer alone.
    fn raw(&self) -> *mut Handle {
        self.0
    }
}

fn leaked(handle: Pktring) -> Shared {
    let shared = Shared(handle.raw());
    std::mem::forget(handle);
    shared
}

extern "C" fn ignore(_user: *mut c_void, _frame: *const Frame) {}
const NOBODY: *mut c_void = std::ptr::null_mut();

/// # Safety
/// The handle is open, or was closed not long ago.
unsafe fn dispatch(handle: Shared, timeout_ms: i32) -> i32 {
    // SAFETY: the caller's promise; the callback does nothing.
    unsafe { pktring_dispatch(handle.raw(), 0, timeout_ms, Some(ignore), NOBODY) }
}

/// Starts `work` in a thread, closes the handle while that is at it, and returns what it ended
/// with.
fn closed_during(handle: Pktring, work: impl FnOnce(Shared) -> i32 + Send) -> i32 {
    let shared = leaked(handle);
    thread::scope(|scope| {
        let worker = scope.spawn(move || work(shared));
        thread::sleep(Duration::from_millis(20));
        // SAFETY: the handle is open.
        assert_eq!(unsafe { pktring_close(shared.0) }, 0);
        worker.join().unwrap()
    })
}

#[test]
fn close_ends_whatever_another_thread_waits_in() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        for (version, name) in VERSIONS {
            let open = || Pktring::capture("vb", version, &small_ring(version, 64));
            // SAFETY: the handle is open when the call begins; so in each of these.
            let wait = |h: Shared| unsafe { pktring_wait(h.raw(), PKTRING_RX, -1) };
            assert_eq!(closed_during(open(), wait), -libc::ESHUTDOWN, "{name}");
            // SAFETY: as above.
            let dispatch = |h: Shared| unsafe { dispatch(h, -1) };
            assert_eq!(closed_during(open(), dispatch), -libc::ESHUTDOWN, "{name}");
            // SAFETY: as above.
            let looped = |h: Shared| unsafe { pktring_loop(h.raw(), 0, Some(ignore), NOBODY) };
            assert_eq!(closed_during(open(), looped), -libc::ESHUTDOWN, "{name}");
        }
    });
}

#[test]
fn loops_around_calls_that_wait_end_by_themselves_when_the_handle_is_closed() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        for round in 0..60 {
            let version = VERSIONS[round % 3].0;
            let handle = leaked(Pktring::capture("vb", version, &small_ring(version, 64)));
            let start = Barrier::new(4);
            thread::scope(|scope| {
                let dispatcher = scope.spawn(|| {
                    start.wait();
                    // SAFETY: a handle that is closed meanwhile is answered.
                    while unsafe { dispatch(handle, 1) } >= 0 {}
                });
                let statistician = scope.spawn(|| {
                    start.wait();
                    let mut stats = pktring_stats {
                        size: size_of::<pktring_stats>(),
                        ..Default::default()
                    };
                    // SAFETY: as above.
                    while unsafe { pktring_stats(handle.raw(), &mut stats) } >= 0 {}
                });
                let breaker = scope.spawn(|| {
                    start.wait();
                    for _ in 0..200 {
                        // SAFETY: as above.
                        unsafe { pktring_breakloop(handle.raw()) };
                    }
                });
                start.wait();
                breaker.join().unwrap();
                (0..20).for_each(|n| sender.send(&frames::frame_of_length(n, 60)).unwrap());
                thread::sleep(Duration::from_micros(100 * (round as u64 % 20)));
                // SAFETY: the handle is open.
                assert_eq!(unsafe { pktring_close(handle.raw()) }, 0);
                let _ = dispatcher.join();
                statistician.join().unwrap();
            });
        }
    });
}

#[test]
fn every_call_on_a_closed_handle_is_answered_ebadf() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let handle = Pktring::open("vb")
            .version(PKTRING_V3)
            .ring(PKTRING_RX, &small_ring(PKTRING_V3, 64))
            .ring(PKTRING_TX, &ring(4096, 16, 2048))
            .activate();
        PlainSocket::sender("va")
            .unwrap()
            .send(&frames::frame(1))
            .unwrap();
        let held = handle.take_own();
        let Shared(closed) = leaked(handle);
        let mut frame = MaybeUninit::<Frame>::uninit();
        let mut slot = MaybeUninit::<pktring_slot>::uninit();
        // SAFETY: closed handles are answered; that is what is under test.
        unsafe {
            assert_eq!(pktring_close(closed), 0);
            let bad = -libc::EBADF;
            assert_eq!(pktring_close(closed), bad);
            assert_eq!(pktring_next_frame(closed, frame.as_mut_ptr()), bad);
            assert_eq!(pktring_release(closed, &held), bad);
            assert_eq!(pktring_wait(closed, PKTRING_RX, -1), bad);
            assert_eq!(pktring_tx_reserve(closed, slot.as_mut_ptr()), bad);
            assert_eq!(pktring_tx_flush(closed, -1), bad);
            assert_eq!(pktring_fd(closed), bad);
            pktring_breakloop(closed);
        }
        // Its memory is not kept for ever.
        let before = resident_mappings();
        for _ in 0..400 {
            drop(Pktring::open("vb"));
        }
        assert!(resident_mappings() < before + 150, "{before}");
    });
}

/// Lines of /proc/self/maps.
fn resident_mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().count()
}

#[test]
fn breakloops_from_many_threads_are_never_lost() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let handle = Pktring::capture("vb", PKTRING_V2, &small_ring(PKTRING_V2, 64));
        let (asked, told) = (AtomicU64::new(0), AtomicU64::new(0));
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..2000 {
                            asked.fetch_add(1, Ordering::SeqCst);
                            handle.breakloop();
                        }
                    })
                })
                .collect();
            scope.spawn(|| loop {
                match handle.wait_rx(5000) {
                    Err(Failure { errno, .. }) if errno == libc::ECANCELED => {
                        told.fetch_add(1, Ordering::SeqCst);
                    }
                    other => panic!("{other:?}"),
                }
                if done.load(Ordering::SeqCst) {
                    return;
                }
            });
            threads
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            done.store(true, Ordering::SeqCst);
            // One more than all: the waiter sees this one or has seen the end.
            handle.breakloop();
        });
        let (asked, told) = (asked.into_inner(), told.into_inner());
        println!("{asked} requests, reported {told} times");
        assert!(told >= 1 && told <= asked + 1);
        // At most the very last is still pending; then it is reported once.
        let last = handle.wait_rx(0);
        assert!(matches!(last, Ok(0)) || last.unwrap_err().errno == libc::ECANCELED);
        assert_eq!(handle.wait_rx(0), Ok(0));
    });
}

/// Receives and sends on one handle in two threads while two more read the statistics.
fn both_ways_under_observation(version: u32) {
    const FRAMES: u64 = 20_000;
    link::veth("va", "vb").unwrap();
    let handle = Pktring::open("vb")
        .version(version)
        .filter(&frames::own_only())
        .ring(PKTRING_RX, &small_ring(version, 512))
        .ring(PKTRING_TX, &ring(16384, 16, 2048))
        .activate();
    let there = PlainSocket::open("va").unwrap();
    let arrived = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let observers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut last = handle.stats();
                    while !done.load(Ordering::Relaxed) {
                        let now = handle.stats();
                        assert!(now.received >= last.received && now.frames >= last.frames);
                        assert!(now.tx_frames >= last.tx_frames && now.dropped == 0);
                        last = now;
                    }
                })
            })
            .collect();
        let receiver = scope.spawn(|| {
            for number in 0..FRAMES {
                let frame = handle.take_own();
                assert_eq!(common::data(&frame), frames::frame_of_length(number, 200));
                handle.release(&frame).unwrap();
            }
        });
        let transmitter = scope.spawn(|| {
            for number in 0..FRAMES {
                // Never more than the plain socket holds.
                while number >= arrived.load(Ordering::Relaxed) + 100 {
                    handle.flush(1).unwrap();
                    thread::yield_now();
                }
                while !handle
                    .put(&frames::frame_of_length(number, 300), number)
                    .unwrap()
                {
                    handle.flush(1000).unwrap();
                }
            }
            assert_eq!(handle.flush(5000), Ok(0));
        });
        scope.spawn(|| {
            let sender = PlainSocket::sender("va").unwrap();
            let mut sent = 0;
            while sent < FRAMES {
                // Never more than the ring holds.
                if sent < handle.stats().frames + 200 {
                    sender.send(&frames::frame_of_length(sent, 200)).unwrap();
                    sent += 1;
                } else {
                    thread::yield_now();
                }
            }
        });
        let far = scope.spawn(|| {
            for number in 0..FRAMES {
                let packet = loop {
                    let packet = there.recv(Duration::from_secs(20)).unwrap();
                    let packet = packet.expect("every frame arrives").data;
                    if packet.len() == 300 && frames::is_own(&packet) {
                        break packet;
                    }
                };
                assert_eq!(packet, frames::frame_of_length(number, 300));
                arrived.store(number + 1, Ordering::Relaxed);
            }
        });
        receiver.join().unwrap();
        transmitter.join().unwrap();
        far.join().unwrap();
        done.store(true, Ordering::Relaxed);
        observers
            .into_iter()
            .for_each(|observer| observer.join().unwrap());
    });
    let stats = handle.stats();
    assert_eq!(
        (stats.frames, stats.received, stats.dropped),
        (FRAMES, FRAMES, 0)
    );
    assert_eq!(
        (stats.tx_frames, stats.tx_refused, stats.tx_in_flight),
        (FRAMES, 0, 0)
    );
}

#[test]
fn v1_two_threads_move_frames_both_ways_while_others_read_statistics() {
    isolated(|| both_ways_under_observation(VERSIONS[0].0));
}

#[test]
fn v2_two_threads_move_frames_both_ways_while_others_read_statistics() {
    isolated(|| both_ways_under_observation(VERSIONS[1].0));
}

#[test]
fn v3_two_threads_move_frames_both_ways_while_others_read_statistics() {
    isolated(|| both_ways_under_observation(VERSIONS[2].0));
}

#[test]
fn a_storm_of_signals_neither_ends_nor_prolongs_a_wait() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let handle = Pktring::capture("vb", PKTRING_V2, &small_ring(PKTRING_V2, 64));
        with_signals(do_nothing, Duration::from_micros(50), || {
            let start = Instant::now();
            assert_eq!(handle.wait_rx(300), Ok(0));
            let took = start.elapsed();
            assert!(took >= Duration::from_millis(299), "{took:?}");
            assert!(took < Duration::from_millis(1500), "{took:?}");
            PlainSocket::sender("va")
                .unwrap()
                .send(&frames::frame(5))
                .unwrap();
            let frame = handle.take_own();
            assert_eq!(frames::number(common::data(&frame)), 5);
            handle.release(&frame).unwrap();
        });
    });
}

/// One test at a time that makes processes: a child has what others of this process have open.
fn with_children() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[test]
fn a_program_that_is_started_inherits_nothing_of_a_ring() {
    let _one = with_children();
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let handle = Pktring::capture("vb", PKTRING_V3, &small_ring(PKTRING_V3, 64));
        let listed = std::process::Command::new("/bin/sh")
            .args(["-c", "ls -l /proc/self/fd; cat /proc/self/maps"])
            .output()
            .unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout);
        assert!(
            listed.contains("/dev/null") || listed.contains("pipe:"),
            "{listed}"
        );
        assert!(!listed.contains("socket:"), "{listed}");
        assert!(!listed.contains("eventpoll"), "{listed}");
        assert!(!listed.contains("eventfd"), "{listed}");
        // One that is still there when the handle is closed.
        let mut program = std::process::Command::new("cat");
        let program = netns::launch::tie(&mut program).stdin(std::process::Stdio::piped());
        let mut running = program.spawn().unwrap();
        assert_eq!(packet_sockets(), 1);
        assert_eq!(handle.close(), 0);
        assert_eq!(packet_sockets(), 0, "the program has it");
        drop(running.stdin.take());
        assert!(running.wait().unwrap().success());
    });
}

#[test]
fn a_forked_child_keeps_the_socket_of_a_closed_handle_no_longer_than_it_lives() {
    let _one = with_children();
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let handle = Pktring::capture("vb", PKTRING_V3, &small_ring(PKTRING_V3, 64));
        let (read, write) = std::io::pipe().unwrap();
        let child = Child::start(|| {
            // Until the parent closes the other end, which this process has, too.
            let (mut read, mut byte) = (&read, [0]);
            std::io::Read::read(&mut read, &mut byte).unwrap();
        });
        // The ring itself is the parent's alone.
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.0)).unwrap();
        assert!(!maps.contains("socket:"), "{maps}");
        assert_eq!(handle.close(), 0);
        assert_eq!(packet_sockets(), 1, "the child's copy of the descriptor");
        std::io::Write::write_all(&mut &write, &[1]).unwrap();
        child.end();
        assert_eq!(packet_sockets(), 0);
    });
}

#[test]
fn a_forked_child_that_closes_the_descriptor_keeps_nothing_of_a_closed_handle() {
    let _one = with_children();
    isolated(|| {
        let handle = Pktring::open("lo").activate();
        let (read, write) = std::io::pipe().unwrap();
        let (closed, told) = std::io::pipe().unwrap();
        let socket = handle.fd();
        let child = Child::start(|| {
            // SAFETY: the child's own copy of the descriptor, which nobody uses in it.
            unsafe { libc::close(socket) };
            std::io::Write::write_all(&mut &told, &[1]).unwrap();
            std::io::Read::read(&mut &read, &mut [0]).unwrap();
        });
        std::io::Read::read_exact(&mut &closed, &mut [0]).unwrap();
        assert_eq!(handle.close(), 0);
        assert_eq!(packet_sockets(), 0);
        std::io::Write::write_all(&mut &write, &[1]).unwrap();
        child.end();
    });
}

/// A forked child, which makes plain system calls only.
struct Child(libc::pid_t);

impl Child {
    fn start(body: impl FnOnce()) -> Child {
        // SAFETY: the child makes system calls alone, and leaves without running anything of the
        // parent's.
        match unsafe { libc::fork() } {
            0 => {
                body();
                // SAFETY: as above.
                unsafe { libc::_exit(0) }
            }
            child => {
                assert!(child > 0);
                Child(child)
            }
        }
    }

    fn end(self) {
        // SAFETY: a child of this process, not waited for yet.
        let ended = unsafe { libc::waitpid(self.0, std::ptr::null_mut(), 0) };
        assert_eq!(ended, self.0);
    }
}
