//! Filters: what is delivered, and what happens while they are changed.

mod options;

use netns::{bpf, isolated, link, PlainSocket};
use options::bpf::{constant, number_has, numbered};
use options::{frame, Ring, Seen, LIMIT, QUIET};
use pktring::capi::block::{pktring_next_block, pktring_release_block};
use pktring::capi::config::{
    pktring_insn, pktring_set_filter, pktring_set_snaplen, pktring_set_spin,
};
use pktring::capi::error::PKTRING_ERRBUF_SIZE;
use pktring::capi::filter::*;
use pktring::capi::geometry::{PKTRING_RX, PKTRING_V1, PKTRING_V2, PKTRING_V3};
use pktring::capi::iter::{pktring_iter_init, pktring_iter_next, Iter};
use pktring::capi::rx::{pktring_next_frame, pktring_release};
use pktring::capi::wait::{pktring_fd, pktring_wait};
use pktring::frame::{Block, Frame};
use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn veth() -> PlainSocket {
    link::veth("va", "vb").unwrap();
    PlainSocket::sender("va").unwrap()
}

fn send(sender: &PlainSocket, numbers: impl Iterator<Item = u32>) {
    let frames: Vec<_> = numbers.map(frame).collect();
    sender.send_all(&frames).unwrap();
}

fn set(ring: &Ring, program: &[pktring_insn]) -> i32 {
    // SAFETY: an open handle, and as many instructions as the slice has.
    unsafe { pktring_set_filter(ring.0, program.as_ptr(), program.len() as u32) }
}

fn open(device: &str, version: u32) -> Ring {
    let ring = Ring::open(device);
    ring.version(version);
    ring
}

fn even(numbers: std::ops::Range<u32>) -> Vec<u32> {
    numbers.filter(|number| number % 2 == 0).collect()
}

/// A frame that is held, and its number.
fn hold(ring: &Ring) -> (Frame, u32) {
    let mut frame = MaybeUninit::<Frame>::uninit();
    // SAFETY: an open handle; the frame is read when it was written, while it is held.
    unsafe {
        ring.must(pktring_wait(ring.0, PKTRING_RX, 5000));
        assert_eq!(pktring_next_frame(ring.0, frame.as_mut_ptr()), 1);
        let frame = frame.assume_init();
        let number = frame.data.add(14).cast::<[u8; 4]>().read_unaligned();
        (frame, u32::from_be_bytes(number))
    }
}

/// Frames wait in the ring, some are held, some were read, when the filter changes.
fn nothing_rejected_comes_and_nothing_accepted_is_lost(version: u32) {
    let sender = veth();
    let ring = open("vb", version);
    ring.activate();
    send(&sender, 0..100);
    assert_eq!(ring.numbers(3), [0, 1, 2]);
    let (held, number) = hold(&ring);
    assert_eq!(number, 3, "rejected later, but held before");
    ring.must(set(&ring, &numbered(2, 0, u32::MAX)));
    send(&sender, 100..200);
    let (second, number) = hold(&ring);
    assert_eq!(number, 4);
    // SAFETY: an open handle, and frames that are held.
    unsafe {
        ring.must(pktring_release(ring.0, &second));
        ring.must(pktring_release(ring.0, &held));
    }
    assert_eq!(ring.drain(), even(6..200));
    let stats = ring.stats();
    assert_eq!((stats.dropped, stats.corrupt, stats.held), (0, 0, 0));
    assert_eq!(stats.received, stats.frames + stats.filtered, "{stats:?}");
    assert_eq!(stats.filtered, 48, "5, 7, ..., 99");
    // Once more, over the whole lap of the ring, when frames are not asked about any more.
    for first in (200..20_200).step_by(500) {
        send(&sender, first..first + 500);
        assert_eq!(ring.numbers(250), even(first..first + 500));
    }
    // SAFETY: an open handle; no filter.
    ring.must(unsafe { pktring_set_filter(ring.0, null(), 0) });
    send(&sender, 0..10);
    assert_eq!(ring.drain(), (0..10).collect::<Vec<_>>());
}

/// In the kernel's own instructions a load takes many times its size.
#[test]
fn a_program_that_takes_too_much_memory_is_refused_with_the_setting_to_raise() {
    isolated(|| {
        let _sender = veth();
        let load = pktring_insn {
            code: 0x28,
            jt: 0,
            jf: 0,
            k: 12,
        };
        let mut long = vec![load; 4095];
        long.extend(constant(1000));
        let ring = open("vb", PKTRING_V2);
        ring.must(set(&ring, &long));
        let (errno, text) = ring.refused();
        assert_eq!(errno, libc::ENOMEM);
        assert!(text.contains("net.core.optmem_max"), "{text}");
        ring.must(set(&ring, &constant(1000)));
        ring.activate();
        assert_eq!(set(&ring, &long), -libc::ENOMEM);
        assert_eq!(ring.error(), text);
    });
}

#[test]
fn v1_a_filter_applies_to_what_is_in_the_ring() {
    isolated(|| nothing_rejected_comes_and_nothing_accepted_is_lost(PKTRING_V1));
}

#[test]
fn v2_a_filter_applies_to_what_is_in_the_ring() {
    isolated(|| nothing_rejected_comes_and_nothing_accepted_is_lost(PKTRING_V2));
}

#[test]
fn v3_a_filter_applies_to_what_is_in_the_ring() {
    isolated(|| nothing_rejected_comes_and_nothing_accepted_is_lost(PKTRING_V3));
}

#[test]
fn whole_blocks_are_filtered_as_well() {
    isolated(|| {
        let sender = veth();
        let ring = open("vb", PKTRING_V3);
        ring.activate();
        send(&sender, 0..1000);
        thread::sleep(Duration::from_millis(200));
        // SAFETY: an open handle. The wait looks into a block.
        ring.must(unsafe { pktring_wait(ring.0, PKTRING_RX, 5000) });
        ring.must(set(&ring, &numbered(10, 7, u32::MAX)));
        let mut numbers = Vec::new();
        let mut block = MaybeUninit::<Block>::uninit();
        // SAFETY: an open handle; block, iterator and frame are read when they were written.
        unsafe {
            while pktring_next_block(ring.0, block.as_mut_ptr()) == 1 {
                let block = block.assume_init_ref();
                let mut iter = MaybeUninit::<Iter>::uninit();
                pktring_iter_init(iter.as_mut_ptr(), block);
                let mut frame = MaybeUninit::<Frame>::uninit();
                while pktring_iter_next(iter.as_mut_ptr(), frame.as_mut_ptr()) == 1 {
                    let data = frame.assume_init_ref().data;
                    let number = data.add(14).cast::<[u8; 4]>().read_unaligned();
                    numbers.push(u32::from_be_bytes(number));
                }
                ring.must(pktring_release_block(ring.0, block));
            }
        }
        let due: Vec<u32> = (0..1000).filter(|number| number % 10 == 7).collect();
        assert_eq!(numbers, due);
    });
}

#[test]
fn a_wait_is_not_ended_by_frames_that_are_rejected() {
    for version in [PKTRING_V1, PKTRING_V2, PKTRING_V3] {
        isolated(|| {
            let sender = veth();
            let ring = open("vb", version);
            // SAFETY: an open handle.
            ring.must(unsafe { pktring_set_spin(ring.0, 0) });
            ring.activate();
            send(&sender, 1..50);
            thread::sleep(Duration::from_millis(200));
            ring.must(set(&ring, &numbered(100, 0, u32::MAX)));
            // SAFETY: an open handle.
            let wait = || unsafe { pktring_wait(ring.0, PKTRING_RX, 100) };
            assert_eq!(wait(), 0, "version {version}");
            send(&sender, 100..101);
            ring.must(wait());
            assert_eq!(ring.numbers(1), [100]);
            assert_eq!(ring.stats().held, 0);
        });
    }
}

/// Changes between filters while frames come, never so many that the ring overflows when the
/// machine is busy.
fn under_load(version: u32) {
    const COMMON: u32 = 0b010;
    let filters = [0b011, 0b110];
    let sender = veth();
    let ring = open("vb", version);
    ring.activate();
    let (stop, next, reached) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    let mut seen = BTreeSet::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                let first = next.load(Ordering::SeqCst);
                send(&sender, first..first + 64);
                next.store(first + 64, Ordering::SeqCst);
                thread::sleep(Duration::from_micros(500));
                while first > reached.load(Ordering::SeqCst) + 2000 && !stop.load(Ordering::SeqCst)
                {
                    thread::sleep(Duration::from_micros(500));
                }
            }
        });
        let _stop = StopAtEnd(&stop);
        let mut take = |ring: &Ring, bits: u32, limit| {
            if let Some(frame) = ring.next_own(limit) {
                let number = frame.number();
                reached.store(number, Ordering::SeqCst);
                assert_ne!(number & bits, 0, "{number} was rejected by {bits:#b}");
                assert!(seen.insert(number), "{number} came twice");
                return true;
            }
            false
        };
        for round in 0..40 {
            let bits = filters[round % 2];
            ring.must(set(&ring, &number_has(bits)));
            let end = Instant::now() + Duration::from_millis(25 * (round as u64 % 3));
            while Instant::now() < end {
                take(&ring, bits, Duration::from_millis(1));
            }
        }
        stop.store(true, Ordering::SeqCst);
        while take(&ring, filters[1], QUIET) {}
    });
    let stats = ring.stats();
    assert_eq!((stats.dropped, stats.corrupt), (0, 0));
    let sent = next.into_inner();
    assert!(sent > 10_000, "only {sent} frames were sent");
    let lost = (1..sent).find(|number| number & COMMON != 0 && !seen.contains(number));
    assert_eq!(lost, None, "accepted by both filters, of {sent}");
    assert!(
        stats.filtered > 0,
        "no frame was in the ring at the wrong moment"
    );
}

/// Sets the classic program for these bits.
fn classic(ring: &Ring, _: usize, bits: u32) {
    ring.must(set(ring, &number_has(bits)));
}

/// Changes between filters as fast as that goes, while frames come as fast as that goes, into a
/// ring that has room for all of them.
fn under_flood(version: u32, change: impl Fn(&Ring, usize, u32)) {
    const COMMON: u32 = 0b010;
    const FRAMES: u32 = 60_000;
    let filters = [0b011, 0b110];
    let sender = veth();
    let ring = open("vb", version);
    match version {
        PKTRING_V3 => ring.receive(1 << 16, 256, 0),
        _ => ring.receive(1 << 16, 256, 256),
    }
    ring.activate();
    let sent = AtomicBool::new(false);
    let mut seen = BTreeSet::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            for first in (1..=FRAMES).step_by(64) {
                send(&sender, first..(first + 64).min(FRAMES + 1));
            }
            sent.store(true, Ordering::SeqCst);
        });
        for round in 0.. {
            let last = sent.load(Ordering::SeqCst);
            let bits = filters[round % 2];
            change(&ring, round, bits);
            // What is there now, and at the end all.
            let limit = if last { QUIET } else { Duration::ZERO };
            let mut left = 1000;
            while let Some(frame) = ring.next_own(limit) {
                let number = frame.number();
                assert_ne!(number & bits, 0, "{number} was rejected by {bits:#b}");
                assert!(seen.insert(number), "{number} came twice");
                left -= 1;
                if left == 0 && !last {
                    break;
                }
            }
            if last {
                break;
            }
        }
    });
    let stats = ring.stats();
    assert_eq!((stats.dropped, stats.corrupt, stats.held), (0, 0, 0));
    let lost = (1..=FRAMES).find(|number| number & COMMON != 0 && !seen.contains(number));
    assert_eq!(lost, None, "accepted by both filters");
    assert!(
        stats.filtered > 0,
        "no frame was in the ring at the wrong moment"
    );
}

#[test]
fn v1_changes_under_flood_lose_nothing_and_let_nothing_through() {
    isolated(|| under_flood(PKTRING_V1, classic));
}

#[test]
fn v2_changes_under_flood_lose_nothing_and_let_nothing_through() {
    isolated(|| under_flood(PKTRING_V2, classic));
}

#[test]
fn v3_changes_under_flood_lose_nothing_and_let_nothing_through() {
    isolated(|| under_flood(PKTRING_V3, classic));
}

/// Has the kernel refuse a system call to this thread from now on, as sandboxes do.
fn refuse(call: libc::c_long) {
    let statement = |code, k| libc::sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    };
    let is_this = libc::sock_filter {
        jt: 0,
        jf: 1,
        ..statement(0x15, call as u32)
    };
    let mut program = [
        statement(0x20, 0), // the number of the system call
        is_this,
        statement(0x06, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        statement(0x06, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program outlives the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let set = libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        );
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
        // Query, by the one call; an empty map, by the other.
        assert_eq!(libc::syscall(call, 0, 0, 0), -1);
        let error = std::io::Error::last_os_error();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }
}

#[test]
fn changes_keep_their_promise_where_the_kernel_does_not_say_that_it_is_done() {
    for version in [PKTRING_V1, PKTRING_V2, PKTRING_V3] {
        isolated(|| {
            // In a thread of its own, which nobody uses after it.
            let refused = thread::spawn(move || {
                refuse(libc::SYS_membarrier);
                under_flood(version, classic);
            });
            refused.join().unwrap();
        });
    }
}

/// Bytes that change in the ring after the kernel has judged a frame: only asking again would see
/// it.
fn frames_that_came_later_are_not_asked_about(version: u32) {
    const BLOCK: u32 = 1 << 16;
    const SLOT: u32 = 2048;
    let sender = veth();
    let ring = open("vb", version);
    ring.receive(BLOCK, 64, if version == PKTRING_V3 { 0 } else { SLOT });
    ring.activate();
    send(&sender, 0..100);
    ring.must(set(&ring, &numbered(2, 0, u32::MAX)));
    assert_eq!(ring.numbers(50), even(0..100));
    // Past the block that was open then; each of these comes in one of its own.
    for number in [100, 102] {
        send(&sender, number..number + 1);
        assert_eq!(ring.numbers(1), [number]);
    }
    send(&sender, 104..105);
    let (held, number) = hold(&ring);
    assert_eq!(number, 104);
    send(&sender, 106..107);
    // The frame behind the one that is held: the next slot, or the first of the next block.
    let distance = if version == PKTRING_V3 { BLOCK } else { SLOT };
    let other = held.data.cast_mut().wrapping_add(distance as usize + 14);
    let other = other.cast::<[u8; 4]>();
    let end = Instant::now() + LIMIT;
    // SAFETY: inside of the ring. The kernel, which alone writes there, does so once.
    unsafe {
        while other.read_volatile() != 106u32.to_be_bytes() {
            assert!(Instant::now() < end, "the frame did not come");
            thread::sleep(Duration::from_millis(1));
        }
        other.write_volatile(77u32.to_be_bytes());
    }
    assert_eq!(ring.numbers(1), [77], "version {version}");
    // SAFETY: an open handle, and a frame that is held.
    ring.must(unsafe { pktring_release(ring.0, &held) });
}

#[test]
fn frames_that_came_after_a_change_are_not_asked_about() {
    for version in [PKTRING_V1, PKTRING_V2, PKTRING_V3] {
        isolated(|| frames_that_came_later_are_not_asked_about(version));
    }
}

/// Ends a thread also where a test fails.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn v1_changes_under_load_lose_nothing_and_let_nothing_through() {
    isolated(|| under_load(PKTRING_V1));
}

#[test]
fn v2_changes_under_load_lose_nothing_and_let_nothing_through() {
    isolated(|| under_load(PKTRING_V2));
}

#[test]
fn v3_changes_under_load_lose_nothing_and_let_nothing_through() {
    isolated(|| under_load(PKTRING_V3));
}

#[test]
fn frames_in_the_ring_are_cut_to_what_the_new_filter_keeps() {
    for version in [PKTRING_V1, PKTRING_V2, PKTRING_V3] {
        isolated(|| {
            let sender = veth();
            let ring = open("vb", version);
            ring.activate();
            send(&sender, 0..2);
            thread::sleep(Duration::from_millis(200));
            ring.must(set(&ring, &constant(30)));
            send(&sender, 2..4);
            for number in 0..4 {
                let seen = ring.next_own(LIMIT).unwrap();
                assert_eq!((seen.number(), seen.data.len(), seen.len), (number, 30, 60));
            }
        });
    }
}

#[test]
fn a_frame_cut_too_short_to_be_asked_about_is_dropped() {
    isolated(|| {
        let sender = veth();
        let ring = open("vb", PKTRING_V2);
        // SAFETY: an open handle.
        ring.must(unsafe { pktring_set_snaplen(ring.0, 16) });
        ring.activate();
        send(&sender, 0..4);
        ring.must(set(&ring, &numbered(2, 0, u32::MAX)));
        send(&sender, 4..8);
        // The kernel itself sees the whole frame.
        let cut: Vec<Seen> = std::iter::from_fn(|| ring.next(QUIET)).collect();
        assert_eq!(cut.len(), 2);
        assert!(cut.iter().all(|seen| seen.data.len() == 16));
        assert_eq!(ring.stats().filtered, 4);
    });
}

#[test]
fn the_text_of_tcpdump_is_a_filter() {
    isolated(|| {
        let sender = veth();
        let ring = open("vb", PKTRING_V2);
        // tcpdump -ddd -y EN10MB 'ether proto 0x88b5 and ether[17] = 5'
        let text = c"6\n40 0 0 12\n21 0 3 34997\n48 0 0 17\n21 0 1 5\n6 0 0 262144\n6 0 0 0\n";
        let mut program = [pktring_insn {
            code: 0,
            jt: 0,
            jf: 0,
            k: 0,
        }; 6];
        let mut errbuf = [0; PKTRING_ERRBUF_SIZE];
        // SAFETY: a string, and room as given.
        let mut parse = |text: &CStr, max| unsafe {
            pktring_parse_filter(
                text.as_ptr(),
                program.as_mut_ptr(),
                max,
                errbuf.as_mut_ptr(),
            )
        };
        assert_eq!(parse(text, 0), 6);
        assert_eq!(parse(text, 6), 6);
        assert_eq!(parse(text, 5), -libc::ENOSPC);
        assert_eq!(parse(c"1\n6 0 0\n", 6), -libc::EINVAL);
        // SAFETY: the buffer holds a string now.
        let error = unsafe { CStr::from_ptr(errbuf.as_ptr()) }.to_str().unwrap();
        assert!(error.contains("line 2"), "{error}");
        assert_eq!((program[3].code, program[3].jf, program[3].k), (21, 1, 5));
        // SAFETY: NULL is what is tested; a string, and an open handle.
        unsafe {
            let none = pktring_parse_filter(null(), null_mut(), 0, null_mut());
            assert_eq!(none, -libc::EFAULT);
            ring.must(pktring_set_filter_text(ring.0, text.as_ptr()));
        }
        ring.activate();
        send(&sender, 0..10);
        assert_eq!(ring.drain(), [5]);
        let bad = CString::new("2\n6 0 0 0\n").unwrap();
        // SAFETY: a string, and an open handle.
        let code = unsafe { pktring_set_filter_text(ring.0, bad.as_ptr()) };
        ring.must_fail(code, libc::EINVAL, "2 instructions were announced");
    });
}

#[test]
fn the_direction_is_chosen_in_the_kernel_and_can_be_changed() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let here = PlainSocket::sender("vb").unwrap();
        let there = PlainSocket::sender("va").unwrap();
        let ring = open("vb", PKTRING_V2);
        // SAFETY: an open handle.
        let direct = |direction| unsafe { pktring_set_direction(ring.0, direction) };
        ring.must(direct(PKTRING_DIRECTION_IN));
        ring.activate();
        let exchange = |number| {
            send(&here, number..number + 1);
            send(&there, number + 1..number + 2);
        };
        exchange(0);
        assert_eq!(ring.drain(), [1]);
        assert_eq!(ring.stats().received, 1, "the kernel itself took one only");
        exchange(10);
        ring.must(direct(PKTRING_DIRECTION_OUT));
        exchange(20);
        assert_eq!(
            ring.drain(),
            [20],
            "11 was in the ring and is not wanted any more"
        );
        ring.must(set(&ring, &numbered(4, 0, u32::MAX)));
        exchange(24);
        exchange(27);
        assert_eq!(ring.drain(), [24], "the filter and the direction");
        ring.must(direct(PKTRING_DIRECTION_BOTH));
        exchange(31);
        exchange(36);
        assert_eq!(ring.drain(), [32, 36]);
        ring.must_fail(direct(3), libc::EINVAL, "direction 3");
    });
}

/// Whether somebody else's SO_ATTACH_FILTER on the handle's socket gets through.
fn attach_from_outside(ring: &Ring) -> std::io::Result<()> {
    let program = libc::sock_filter {
        code: 6,
        jt: 0,
        jf: 0,
        k: u32::MAX,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: (&raw const program).cast_mut(),
    };
    // SAFETY: an open handle; the program outlives the call.
    let code = unsafe {
        libc::setsockopt(
            pktring_fd(ring.0),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    match code {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[test]
fn a_locked_filter_stays() {
    isolated(|| {
        let sender = veth();
        let early = open("vb", PKTRING_V2);
        // SAFETY: an open handle.
        early.must(unsafe { pktring_lock_filter(early.0) });
        // The lock comes into force with activation.
        early.must(set(&early, &numbered(3, 0, u32::MAX)));
        early.activate();
        let late = open("vb", PKTRING_V2);
        late.activate();
        late.must(set(&late, &numbered(3, 0, u32::MAX)));
        attach_from_outside(&late).expect("not locked yet");
        late.must(set(&late, &numbered(3, 0, u32::MAX)));
        // SAFETY: an open handle.
        late.must(unsafe { pktring_lock_filter(late.0) });
        for ring in [&early, &late] {
            ring.must_fail(set(ring, &constant(u32::MAX)), libc::EBUSY, "locked");
            // SAFETY: an open handle.
            unsafe {
                let removed = pktring_set_filter(ring.0, null(), 0);
                ring.must_fail(removed, libc::EBUSY, "locked");
                let turned = pktring_set_direction(ring.0, PKTRING_DIRECTION_IN);
                ring.must_fail(turned, libc::EBUSY, "locked");
            }
            let outside = attach_from_outside(ring).unwrap_err();
            assert_eq!(outside.raw_os_error(), Some(libc::EPERM));
        }
        send(&sender, 0..10);
        assert_eq!(early.drain(), [0, 3, 6, 9]);
        assert_eq!(late.drain(), [0, 3, 6, 9]);
    });
}

#[test]
fn an_ebpf_program_is_a_filter() {
    isolated(|| {
        let sender = veth();
        let odd = [
            bpf::keep_context(),
            bpf::load_word(14),
            bpf::and(1),
            bpf::multiply(40),
            bpf::exit(),
        ];
        let program = match bpf::load(&odd) {
            Ok(program) => program,
            Err(error) => return netns::skip(format_args!("bpf(2): {error}")),
        };
        // SAFETY: an open handle.
        let set_bpf = |ring: &Ring, fd| unsafe { pktring_set_bpf(ring.0, fd) };
        let ring = open("vb", PKTRING_V2);
        ring.must(set_bpf(&ring, program.as_raw_fd()));
        let cut = open("vb", PKTRING_V2);
        cut.must(set_bpf(&cut, program.as_raw_fd()));
        drop(program);
        ring.activate();
        send(&sender, 0..6);
        for number in [1, 3, 5] {
            let seen = ring.next_own(LIMIT).unwrap();
            assert_eq!((seen.number(), seen.data.len()), (number, 40));
        }
        assert_eq!(ring.next_own(QUIET), None);
        // SAFETY: an open handle.
        let directed = unsafe { pktring_set_direction(ring.0, PKTRING_DIRECTION_IN) };
        ring.must_fail(directed, libc::EINVAL, "eBPF filter does not go with");
        ring.must(set(&ring, &numbered(2, 0, u32::MAX)));
        send(&sender, 0..6);
        assert_eq!(ring.drain(), [0, 2, 4]);

        // SAFETY: an open handle.
        cut.must(unsafe { pktring_set_snaplen(cut.0, 20) });
        let (errno, text) = cut.refused();
        assert_eq!(errno, libc::EINVAL);
        assert!(text.contains("eBPF filter does not go with"), "{text}");
        let file = std::fs::File::open("/dev/null").unwrap();
        let wrong = open("vb", PKTRING_V2);
        wrong.must(set_bpf(&wrong, file.as_raw_fd()));
        let (errno, text) = wrong.refused();
        assert_eq!(errno, libc::EINVAL);
        assert!(text.contains("eBPF program"), "{text}");
        wrong.must_fail(set_bpf(&wrong, 9999), libc::EINVAL, "9999");
    });
}

fn set_bpf(ring: &Ring, program: &OwnedFd) -> i32 {
    // SAFETY: an open handle.
    unsafe { pktring_set_bpf(ring.0, program.as_raw_fd()) }
}

/// Keeps `factor` bytes, or a multiple, of the frames whose number has one of these bits.
fn extended_number_has(bits: i32, factor: i32) -> Vec<bpf::Instruction> {
    vec![
        bpf::keep_context(),
        bpf::load_word(14),
        bpf::and(bits),
        bpf::multiply(factor),
        bpf::exit(),
    ]
}

/// Runs `body` for every version with these programs, where programs can be loaded.
fn with_programs(programs: &[Vec<bpf::Instruction>], body: impl Fn(u32, &[OwnedFd])) {
    for version in [PKTRING_V1, PKTRING_V2, PKTRING_V3] {
        isolated(|| {
            let loaded: std::io::Result<Vec<_>> =
                programs.iter().map(|program| bpf::load(program)).collect();
            match loaded {
                Ok(loaded) => body(version, &loaded),
                Err(error) => netns::skip(format_args!("bpf(2): {error}")),
            }
        });
    }
}

#[test]
fn ebpf_programs_take_turns_under_flood() {
    let programs = [0b011, 0b110].map(|bits| extended_number_has(bits, 60));
    with_programs(&programs, |version, programs| {
        under_flood(version, |ring, round, _| {
            ring.must(set_bpf(ring, &programs[round % 2]));
        });
    });
}

#[test]
fn ebpf_and_classic_programs_take_turns_under_flood() {
    let program = [extended_number_has(0b011, 60)];
    with_programs(&program, |version, programs| {
        under_flood(version, |ring, round, bits| match round % 2 {
            0 => ring.must(set_bpf(ring, &programs[0])),
            _ => classic(ring, round, bits),
        });
    });
}

#[test]
fn an_ebpf_program_is_asked_about_what_is_in_the_ring() {
    let program = [extended_number_has(1, 30)];
    with_programs(&program, |version, programs| {
        let sender = veth();
        let ring = open("vb", version);
        ring.activate();
        send(&sender, 0..10);
        let (held, number) = hold(&ring);
        assert_eq!(number, 0);
        ring.must(set_bpf(&ring, &programs[0]));
        send(&sender, 10..20);
        // SAFETY: an open handle, and a frame that is held.
        ring.must(unsafe { pktring_release(ring.0, &held) });
        for number in (1..20).step_by(2) {
            let seen = ring.next_own(LIMIT).unwrap();
            assert_eq!((seen.number(), seen.data.len(), seen.len), (number, 30, 60));
        }
        assert_eq!(ring.next_own(QUIET), None);
        let stats = ring.stats();
        assert_eq!(stats.received, stats.frames + stats.filtered, "{stats:?}");
        // And away with it.
        // SAFETY: an open handle.
        ring.must(unsafe { pktring_set_bpf(ring.0, -1) });
        send(&sender, 0..4);
        assert_eq!(ring.drain(), [0, 1, 2, 3]);
    });
}

#[test]
fn an_ebpf_program_sees_the_context_of_a_frame_in_the_ring() {
    // len, protocol, pkt_type, ifindex, ingress_ifindex: those that the description promises.
    let fields = [0, 16, 4, 40, 36].map(|offset| vec![bpf::load_context(offset), bpf::exit()]);
    with_programs(&fields, |version, programs| {
        let sender = veth();
        let to_us = link::mac("vb").unwrap();
        for (field, program) in programs.iter().enumerate() {
            let before = open("vb", version);
            before.must(set_bpf(&before, program));
            before.activate();
            let after = open("vb", version);
            after.activate();
            for to in [to_us, [0xff; 6], [1, 0, 0x5e, 0, 0, 1], [2, 0, 0, 0, 0, 9]] {
                sender.send(&options::frame_to(to, 7)).unwrap();
            }
            // All of it has arrived before the change.
            while after.stats().received < 4 {
                thread::sleep(Duration::from_millis(1));
            }
            after.must(set_bpf(&after, program));
            let lengths = |ring: &Ring| -> Vec<usize> {
                std::iter::from_fn(|| ring.next(QUIET))
                    .map(|seen| seen.data.len())
                    .collect()
            };
            let due = lengths(&before);
            assert!(!due.is_empty());
            assert_eq!(lengths(&after), due, "field {field}, version {version}");
        }
    });
}

#[test]
fn an_ebpf_program_that_cannot_be_run_over_frames_leaves_the_old_filter() {
    let program = [extended_number_has(1, 60)];
    with_programs(&program, |version, programs| {
        let sender = veth();
        let ring = open("vb", version);
        ring.must(set(&ring, &numbered(2, 0, u32::MAX)));
        ring.activate();
        let file = std::fs::File::open("/dev/null").unwrap();
        // SAFETY: an open handle.
        let wrong = unsafe { pktring_set_bpf(ring.0, file.as_raw_fd()) };
        ring.must_fail(wrong, libc::EINVAL, "eBPF program");
        let program = programs[0].try_clone().unwrap();
        let refused = thread::spawn(move || {
            refuse(libc::SYS_bpf);
            let code = set_bpf(&ring, &program);
            ring.must_fail(code, libc::EBUSY, "before pktring_activate");
            ring
        });
        let ring = refused.join().unwrap();
        send(&sender, 0..4);
        assert_eq!(ring.drain(), [0, 2]);
    });
}

/// Linux 5.19 and later ask for no privilege to run a program whose descriptor one has.
#[test]
fn an_ebpf_program_of_somebody_else_is_asked_without_privilege() {
    let program = [extended_number_has(1, 60)];
    with_programs(&program, |version, programs| {
        let sender = veth();
        let ring = open("vb", version);
        ring.activate();
        send(&sender, 0..4);
        let program = programs[0].try_clone().unwrap();
        let unprivileged = thread::spawn(move || {
            caps::clear(None, caps::CapSet::Effective).unwrap();
            caps::clear(None, caps::CapSet::Permitted).unwrap();
            (set_bpf(&ring, &program), ring.drain(), ring)
        });
        let (code, numbers, ring) = unprivileged.join().unwrap();
        match code {
            0 => assert_eq!(numbers, [1, 3]),
            _ => {
                ring.must_fail(code, libc::EBUSY, "before pktring_activate");
                assert_eq!(numbers, [0, 1, 2, 3], "the old filter, none, stayed");
            }
        }
    });
}

/// A program that asks the kernel for something that is not in the packet.
fn asking(number: i32) -> Vec<pktring_insn> {
    let load = pktring_insn {
        code: 0x20,
        jt: 0,
        jf: 0,
        k: (-0x1000 + number) as u32,
    };
    let mut program = vec![load];
    program.extend(constant(u32::MAX));
    program
}

#[test]
fn what_cannot_be_asked_of_the_ring_is_refused_while_frames_are_in_it() {
    isolated(|| {
        let sender = veth();
        let mark = asking(libc::SKF_AD_MARK);
        let tag = asking(libc::SKF_AD_VLAN_TAG_PRESENT);
        let early = open("vb", PKTRING_V2);
        early.must(set(&early, &mark));
        early.activate();
        send(&sender, 0..1);
        assert_eq!(early.drain(), [0], "before activation everything goes");

        let ring = open("vb", PKTRING_V2);
        ring.must(set(&ring, &numbered(2, 0, u32::MAX)));
        ring.activate();
        ring.must_fail(set(&ring, &mark), libc::EINVAL, "instruction 0");
        ring.must_fail(set(&ring, &[]), libc::EINVAL, "0 instructions");
        let undefined = [pktring_insn {
            code: 0xffff,
            jt: 0,
            jf: 0,
            k: 0,
        }];
        ring.must_fail(set(&ring, &undefined), libc::EINVAL, "refuses the program");
        let long = constant(1).repeat(4097);
        ring.must_fail(set(&ring, &long), libc::EINVAL, "4097 instructions");
        send(&sender, 0..4);
        assert_eq!(ring.drain(), [0, 2], "the old filter stayed");
        ring.must(set(&ring, &tag));
        let old = open("vb", PKTRING_V1);
        old.activate();
        old.must_fail(set(&old, &tag), libc::EINVAL, "does not keep");
    });
}

/// What `tcpdump -ddd -y EN10MB` prints, line ends as commas.
const EXPRESSIONS: [(&str, &str); 8] = [
    (
        "udp port 53",
        "20,40 0 0 12,21 0 6 34525,48 0 0 20,21 0 15 17,40 0 0 54,21 12 0 53,40 0 0 56,21 10 11 53,\
         21 0 10 2048,48 0 0 23,21 0 8 17,40 0 0 20,69 6 0 8191,177 0 0 14,72 0 0 14,21 2 0 53,\
         72 0 0 16,21 0 1 53,6 0 0 262144,6 0 0 0",
    ),
    (
        "tcp[tcpflags] & tcp-syn != 0",
        "11,40 0 0 12,21 0 8 2048,48 0 0 23,21 0 6 6,40 0 0 20,69 4 0 8191,177 0 0 14,80 0 0 27,\
         69 0 1 2,6 0 0 262144,6 0 0 0",
    ),
    (
        "ip host 10.0.0.1 and not port 80",
        "19,40 0 0 12,21 0 16 2048,32 0 0 26,21 2 0 167772161,32 0 0 30,21 0 12 167772161,\
         48 0 0 23,21 2 0 132,21 1 0 6,21 0 7 17,40 0 0 20,69 5 0 8191,177 0 0 14,72 0 0 14,\
         21 3 0 80,72 0 0 16,21 1 0 80,6 0 0 262144,6 0 0 0",
    ),
    ("arp", "4,40 0 0 12,21 0 1 2054,6 0 0 262144,6 0 0 0"),
    ("greater 200", "4,128 0 0 0,53 0 1 200,6 0 0 262144,6 0 0 0"),
    (
        "ip[2:2] - 28 > 100",
        "7,40 0 0 12,21 0 4 2048,40 0 0 16,20 0 0 28,37 0 1 100,6 0 0 262144,6 0 0 0",
    ),
    ("ether multicast", "4,48 0 0 0,69 0 1 1,6 0 0 262144,6 0 0 0"),
    // By hand: what libpcap makes of it for a live handle, and a load from the network header.
    (
        "vlan 5, or an ip packet to port 2000",
        "11,48 0 0 4294963248,21 0 4 1,40 0 0 4294963244,84 0 0 4095,21 0 5 5,6 0 0 50,\
         40 0 0 4293918740,40 0 0 12,21 0 1 2048,6 0 0 262144,6 0 0 0",
    ),
];

/// Packets of many kinds: by protocol, port, length, destination and VLAN tag.
fn mixture() -> Vec<Vec<u8>> {
    use etherparse::PacketBuilder;
    let mut packets = Vec::new();
    for (i, port) in [53, 80, 1000, 1025, 1050, 1051, 2000]
        .into_iter()
        .enumerate()
    {
        for to in [[2, 0, 0, 0, 0, 9], [0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
            for tag in [None, Some(5), Some(6)] {
                for length in [0, 60, 101, 400] {
                    let from = [10, 0, 0, 1 + (i % 2) as u8];
                    let ethernet = || PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], to);
                    let tagged = |id: u16| ethernet().single_vlan(id.try_into().unwrap());
                    let v4 = || match tag {
                        None => ethernet().ipv4(from, [10, 0, 0, 9], 9),
                        Some(id) => tagged(id).ipv4(from, [10, 0, 0, 9], 9),
                    };
                    let v6 = match tag {
                        None => ethernet().ipv6([0xfd; 16], [0xfe; 16], 9),
                        Some(id) => tagged(id).ipv6([0xfd; 16], [0xfe; 16], 9),
                    };
                    let payload = vec![i as u8; length];
                    let (mut udp, mut tcp, mut six) = (Vec::new(), Vec::new(), Vec::new());
                    v4().udp(port, 2000).write(&mut udp, &payload).unwrap();
                    let syn = v4().tcp(port, 80, 0, 0).syn();
                    syn.write(&mut tcp, &payload).unwrap();
                    v6.udp(9, port).write(&mut six, &payload).unwrap();
                    packets.extend([udp, tcp, six]);
                }
            }
        }
    }
    let mut arp = vec![0; 60];
    arp[..14].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6]);
    packets.push(arp);
    packets
}

/// The answer of the library on frames in the ring against that of the kernel on arrival.
#[test]
fn asking_afterwards_gives_what_the_kernel_gives() {
    for version in [PKTRING_V2, PKTRING_V3] {
        isolated(|| {
            let sender = veth();
            let packets = mixture();
            for (expression, text) in EXPRESSIONS {
                let text = CString::new(text).unwrap();
                // SAFETY: an open handle, and a string.
                let set = |ring: &Ring| unsafe {
                    ring.must(pktring_set_filter_text(ring.0, text.as_ptr()))
                };
                let before = open("vb", version);
                set(&before);
                before.activate();
                let after = open("vb", version);
                after.activate();
                sender.send_all(&packets).unwrap();
                while after.stats().received < packets.len() as u64 {
                    thread::sleep(Duration::from_millis(1));
                }
                thread::sleep(Duration::from_millis(50));
                set(&after);
                let frames = |ring: &Ring| -> Vec<(Vec<u8>, u32)> {
                    std::iter::from_fn(|| ring.next(QUIET))
                        .map(|seen| (seen.data, seen.len))
                        .collect()
                };
                let (due, got) = (frames(&before), frames(&after));
                let some = 1..packets.len();
                assert!(some.contains(&due.len()), "{expression}: {}", due.len());
                assert_eq!(got.len(), due.len(), "{expression}");
                assert!(got == due, "{expression}");
            }
        });
    }
}
