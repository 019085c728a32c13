//! Arguments that are wrong: NULL, structs of other sizes, calls at the wrong moment, and a
//! handle that another process opened.

mod common;

use common::process::{forked, packet_sockets};
use common::{address, data, frames, ring, small_ring, text, Pktring, LIMIT_MS};
use netns::{isolated, link, PlainSocket};
use pktring::capi::block::*;
use pktring::capi::config::*;
use pktring::capi::error::*;
use pktring::capi::geometry::*;
use pktring::capi::handle::Handle;
use pktring::capi::{lifecycle::*, rx::*, stats::*, tuning::*, tx::*, wait::*};
use pktring::frame::{Block, Completion, Frame};
use std::mem::{size_of, MaybeUninit};
use std::ptr::{null, null_mut};

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap()
}

/// The result of every function that takes a handle and returns a code.
///
/// # Safety
/// `handle` is NULL or a handle that may be called here.
unsafe fn every_call(handle: *mut Handle) -> Vec<(&'static str, i32)> {
    let (mut frame, mut block) = (
        MaybeUninit::<Frame>::zeroed(),
        MaybeUninit::<Block>::zeroed(),
    );
    let mut slot = MaybeUninit::<pktring_slot>::zeroed();
    let mut completion = Completion::default();
    let mut found = ring(0, 0, 0);
    let mut stats = pktring_stats {
        size: size_of::<pktring_stats>(),
        ..Default::default()
    };
    let bytes = [0u8; 60];
    // SAFETY: the caller's promise for the handle; all else is of the documented size.
    unsafe {
        vec![
            ("set_version", pktring_set_version(handle, 0)),
            ("set_mode", pktring_set_mode(handle, 3)),
            ("set_protocol", pktring_set_protocol(handle, 0)),
            ("set_profile", pktring_set_profile(handle, 0)),
            ("set_tx_method", pktring_set_tx_method(handle, 0)),
            ("set_snaplen", pktring_set_snaplen(handle, 0)),
            ("set_promisc", pktring_set_promisc(handle, 0)),
            ("set_spin", pktring_set_spin(handle, 0)),
            ("set_wake_latency", pktring_set_wake_latency(handle, -1)),
            ("set_filter", pktring_set_filter(handle, null(), 0)),
            ("set_ring", pktring_set_ring(handle, PKTRING_RX, null())),
            ("get_ring", pktring_get_ring(handle, PKTRING_RX, &mut found)),
            ("activate", pktring_activate(handle)),
            ("next_frame", pktring_next_frame(handle, frame.as_mut_ptr())),
            ("release", pktring_release(handle, frame.as_ptr())),
            (
                "next_batch",
                pktring_next_batch(handle, frame.as_mut_ptr(), 1),
            ),
            (
                "release_batch",
                pktring_release_batch(handle, frame.as_ptr(), 1),
            ),
            ("next_block", pktring_next_block(handle, block.as_mut_ptr())),
            (
                "release_block",
                pktring_release_block(handle, block.as_ptr()),
            ),
            ("wait", pktring_wait(handle, PKTRING_RX, 0)),
            ("fd", pktring_fd(handle)),
            (
                "dispatch",
                pktring_dispatch(handle, 0, 0, Some(ignore), null_mut()),
            ),
            ("loop", {
                // Ended at once, where it gets so far.
                pktring_breakloop(handle);
                pktring_loop(handle, 1, Some(ignore), null_mut())
            }),
            ("tx_reserve", pktring_tx_reserve(handle, slot.as_mut_ptr())),
            ("tx_commit", pktring_tx_commit(handle, slot.as_ptr(), 60)),
            ("tx_abort", pktring_tx_abort(handle, slot.as_ptr())),
            ("tx_flush", pktring_tx_flush(handle, 0)),
            (
                "tx_complete",
                pktring_tx_complete(handle, &mut completion, 1),
            ),
            ("set_destination", pktring_set_destination(handle, null())),
            ("inject", pktring_inject(handle, bytes.as_ptr().cast(), 60)),
            ("stats", pktring_stats(handle, &mut stats)),
            ("linktype", pktring_linktype(handle)),
        ]
    }
}

unsafe extern "C" fn ignore(_: *mut std::os::raw::c_void, _: *const Frame) {}

#[test]
fn a_handle_that_is_null_is_efault_everywhere() {
    // SAFETY: NULL is what the calls must take.
    unsafe {
        for (name, code) in every_call(null_mut()) {
            assert_eq!(code, -libc::EFAULT, "{name}");
        }
        assert_eq!(pktring_close(null_mut()), 0);
        pktring_breakloop(null_mut());
        assert_eq!(
            text(pktring_geterr(null_mut())),
            "a pointer is NULL that must not be"
        );
    }
}

#[test]
fn every_other_pointer_that_is_null_is_efault_or_documented() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let handle = Pktring::open("vb")
            .ring(PKTRING_RX, &ring(4096, 4, 2048))
            .ring(PKTRING_TX, &ring(4096, 4, 2048))
            .activate();
        let h = handle.raw();
        // SAFETY: an open handle; NULL is what the calls must take.
        let codes = unsafe {
            [
                ("get_ring", pktring_get_ring(h, PKTRING_RX, null_mut())),
                ("set_filter", pktring_set_filter(h, null(), 1)),
                ("next_frame", pktring_next_frame(h, null_mut())),
                ("release", pktring_release(h, null())),
                ("next_batch", pktring_next_batch(h, null_mut(), 1)),
                ("release_batch", pktring_release_batch(h, null(), 1)),
                ("next_block", pktring_next_block(h, null_mut())),
                ("release_block", pktring_release_block(h, null())),
                ("dispatch", pktring_dispatch(h, 0, 0, None, null_mut())),
                ("loop", pktring_loop(h, 0, None, null_mut())),
                ("tx_reserve", pktring_tx_reserve(h, null_mut())),
                ("tx_commit", pktring_tx_commit(h, null(), 60)),
                ("tx_abort", pktring_tx_abort(h, null())),
                ("tx_complete", pktring_tx_complete(h, null_mut(), 1)),
                ("inject", pktring_inject(h, null(), 60)),
                ("inject_batch", pktring_inject_batch(h, null(), 1)),
                ("stats", pktring_stats(h, null_mut())),
                ("ring_fit", pktring_ring_fit(null(), null_mut(), null_mut())),
                (
                    "ring_check",
                    pktring_ring_check(0, PKTRING_RX, 0, null_mut(), null_mut()),
                ),
            ]
        };
        for (name, code) in codes {
            assert_eq!(code, -libc::EFAULT, "{name}");
            if !name.starts_with("ring_") {
                let failure = handle.error();
                assert!(failure.ends_with("is NULL"), "{name}: {failure}");
            }
        }
        // SAFETY: as above.
        unsafe {
            assert_eq!(pktring_ring_bytes(null()), 0);
            assert_eq!(pktring_set_filter(h, null(), 0), 0);
        }
    });
}

#[test]
fn open_refuses_names_that_no_interface_has_and_takes_no_error_buffer() {
    let long = "sixteen-letters-\0";
    for name in ["\0", "a/b\0", long] {
        let mut errbuf = [1; PKTRING_ERRBUF_SIZE];
        // SAFETY: strings that end with NUL; a buffer of the documented size, or none.
        unsafe {
            assert!(pktring_open(name.as_ptr().cast(), errbuf.as_mut_ptr()).is_null());
            assert_eq!(errno(), libc::EINVAL);
            assert!(text(errbuf.as_ptr()).contains("interface name"));
            assert!(pktring_open(name.as_ptr().cast(), null_mut()).is_null());
            assert!(pktring_open_capture(name.as_ptr().cast(), 0, 0, null_mut()).is_null());
            assert!(pktring_open_transmit(name.as_ptr().cast(), null_mut()).is_null());
        }
    }
    isolated(|| {
        let nobody = Pktring::open("nobody");
        for _ in 0..2 {
            let failure = nobody.try_activate().unwrap_err();
            assert_eq!(failure.errno, libc::ENODEV);
            assert!(failure.text.contains("'nobody'"), "{}", failure.text);
        }
        assert_eq!(packet_sockets(), 0);
        // SAFETY: NULL stands for all interfaces.
        unsafe {
            let all = pktring_open(null(), null_mut());
            assert_eq!(pktring_activate(all), 0);
            assert_eq!(packet_sockets(), 1);
            assert_eq!(pktring_close(all), 0);
            assert_eq!(packet_sockets(), 0);
        }
    });
}

#[test]
fn settings_out_of_range_are_refused_with_the_value_and_what_is_valid() {
    let handle = Pktring::open("lo");
    let h = handle.raw();
    // SAFETY: an open handle.
    let codes = unsafe {
        [
            (
                pktring_set_version(h, 3),
                ["version 3", "PKTRING_V3"],
                handle.error(),
            ),
            (
                pktring_set_version(h, u32::MAX),
                ["4294967295", "PKTRING_V1"],
                handle.error(),
            ),
            (
                pktring_set_mode(h, 1),
                ["mode 1", "PKTRING_RAW"],
                handle.error(),
            ),
            (
                pktring_set_protocol(h, 65536),
                ["0x10000", "0xffff"],
                handle.error(),
            ),
            (
                pktring_set_profile(h, 3),
                ["profile 3", "0 to 2"],
                handle.error(),
            ),
            (
                pktring_set_ring(h, 0, null()),
                ["direction 0", "PKTRING_TX"],
                handle.error(),
            ),
            (
                pktring_set_ring(h, 3, null()),
                ["direction 3", "PKTRING_RX"],
                handle.error(),
            ),
        ]
    };
    for (code, says, failure) in codes {
        assert_eq!(code, -libc::EINVAL);
        for part in says {
            assert!(failure.contains(part), "{part}: {failure}");
        }
    }
}

#[test]
fn an_active_handle_refuses_what_must_be_set_before() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let handle = Pktring::open("vb").activate();
        // SAFETY: an open handle.
        let codes = unsafe { every_call(handle.raw()) };
        for name in [
            "set_version",
            "set_mode",
            "set_protocol",
            "set_profile",
            "set_snaplen",
            "set_promisc",
            "set_spin",
            "set_wake_latency",
            "set_ring",
            "activate",
            "tx_reserve",
            "tx_flush",
        ] {
            let found = codes.iter().find(|(called, _)| *called == name).unwrap();
            assert_eq!(found.1, -libc::EBUSY, "{name}");
        }
    });
}

/// A C struct as a program with another version of the header has it: bytes, size first.
#[repr(align(8))]
struct Bytes([u8; 512]);

fn as_longer<T: Copy>(value: &T, size: usize) -> Bytes {
    let mut bytes = Bytes([0; 512]);
    // SAFETY: T is a plain C struct without padding and shorter than the bytes.
    unsafe { bytes.0.as_mut_ptr().cast::<T>().write(*value) };
    bytes.0[..size_of::<usize>()].copy_from_slice(&size.to_ne_bytes());
    bytes
}

#[test]
fn structs_are_taken_shorter_never_than_the_first_and_longer_with_a_tail_of_zeroes() {
    const SIZE: usize = size_of::<pktring_ring>();
    let asked = ring(4096, 4, 2048);
    let check = |bytes: &mut Bytes| {
        let mut errbuf = [0; PKTRING_ERRBUF_SIZE];
        // SAFETY: as many bytes as the size says are there.
        let code = unsafe {
            pktring_ring_check(
                2,
                PKTRING_RX,
                0,
                bytes.0.as_mut_ptr().cast(),
                errbuf.as_mut_ptr(),
            )
        };
        (code, text(errbuf.as_ptr()))
    };
    for size in [SIZE, SIZE + 1, SIZE + 8, 400] {
        let mut bytes = as_longer(&asked, size);
        assert_eq!(check(&mut bytes).0, 0, "{size}");
        // SAFETY: a plain C struct was put there and written by the call.
        let checked = unsafe { bytes.0.as_ptr().cast::<pktring_ring>().read() };
        assert_eq!((checked.size, checked.frame_count), (size, 8));
        assert!(bytes.0[SIZE..].iter().all(|byte| *byte == 0));
        if size > SIZE {
            bytes.0[size - 1] = 1;
            let (code, failure) = check(&mut bytes);
            assert_eq!(code, -libc::E2BIG, "{size}");
            assert!(failure.contains("pktring_ring"), "{failure}");
        }
    }
    for size in [0, 1, 8, SIZE - 1, 4097, usize::MAX] {
        let (code, failure) = check(&mut as_longer(&asked, size));
        assert_eq!(code, -libc::EINVAL, "{size}");
        assert!(
            failure.contains(&format!("pktring_ring.size is {size}")),
            "{failure}"
        );
        assert!(failure.contains(&format!(" {SIZE} bytes")), "{failure}");
    }
    let reserved = pktring_ring {
        reserved: 1,
        ..asked
    };
    let (code, failure) = check(&mut as_longer(&reserved, SIZE));
    assert_eq!(code, -libc::EINVAL);
    assert!(failure.contains("pktring_ring.reserved is 1"), "{failure}");
}

#[test]
fn statistics_fill_as_much_as_the_caller_knows() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let handle = Pktring::open("vb").activate();
        PlainSocket::sender("va")
            .unwrap()
            .send(&frames::frame(0))
            .unwrap();
        let frame = handle.take_own();
        let known = size_of::<pktring_stats>();
        for size in [known, known + 8, 400] {
            let mut bytes = as_longer(&pktring_stats::default(), size);
            bytes.0[known..].fill(0xaa);
            // SAFETY: as many bytes as the size says are there.
            let code = unsafe { pktring_stats(handle.raw(), bytes.0.as_mut_ptr().cast()) };
            assert_eq!(code, 0, "{size}");
            // SAFETY: a plain C struct was put there and written by the call.
            let stats = unsafe { bytes.0.as_ptr().cast::<pktring_stats>().read() };
            assert_eq!((stats.size, stats.held), (size, 1));
            assert!(
                bytes.0[known..size].iter().all(|byte| *byte == 0),
                "beyond what is known"
            );
            assert!(
                bytes.0[size..].iter().all(|byte| *byte == 0xaa),
                "beyond the struct"
            );
        }
        for size in [0, 8, 4097] {
            let mut bytes = as_longer(&pktring_stats::default(), size);
            // SAFETY: as above.
            let code = unsafe { pktring_stats(handle.raw(), bytes.0.as_mut_ptr().cast()) };
            assert_eq!(code, -libc::EINVAL, "{size}");
        }
        handle.release(&frame).unwrap();
    });
}

#[test]
fn in_a_forked_child_every_call_answers_ebadf_and_the_parent_is_unharmed() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        let handle = Pktring::open("vb")
            .filter(&frames::own_only())
            .ring(PKTRING_RX, &small_ring(PKTRING_V3, 8))
            .ring(PKTRING_TX, &ring(4096, 4, 2048))
            .activate();
        sender.send(&frames::frame(1)).unwrap();
        let frame = handle.take();
        let status = forked(|| {
            // SAFETY: the handle's memory is there, as zeroes.
            unsafe {
                let codes = every_call(handle.raw());
                let wrong = codes.iter().position(|(_, code)| *code != -libc::EBADF);
                pktring_breakloop(handle.raw());
                match (wrong, pktring_close(handle.raw())) {
                    (None, code) if code == -libc::EBADF => 0,
                    (Some(index), _) => 1 + index as i32,
                    _ => 100,
                }
            }
        });
        assert_eq!(status, 0, "which call did not answer EBADF, counted from 1");
        assert_eq!(
            handle.wait_rx(0),
            Ok(0),
            "the child's breakloop is not the parent's"
        );
        assert_eq!(data(&frame), frames::frame(1));
        assert_ne!(address(&frame).ifindex, 0);
        handle.release(&frame).unwrap();
        sender.send(&frames::frame(2)).unwrap();
        assert_eq!(handle.wait_rx(LIMIT_MS), Ok(PKTRING_RX));
        let frame = handle.take();
        assert_eq!(data(&frame), frames::frame(2));
        handle.release(&frame).unwrap();
        assert_eq!(handle.close(), 0);
        drop(sender);
        assert_eq!(packet_sockets(), 0, "the child did not keep the socket");
    });
}
