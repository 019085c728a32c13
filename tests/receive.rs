//! Receiving through the C API what plain sockets sent over a veth pair.

use netns::{isolated, link, PlainSocket};
use pktring::capi::error::{pktring_geterr, PKTRING_ERRBUF_SIZE};
use pktring::capi::geometry::{PKTRING_RX, PKTRING_V1, PKTRING_V2, PKTRING_V3};
use pktring::capi::handle::Handle;
use pktring::capi::{config::*, lifecycle::*, rx::*, stats::*, wait::*};
use pktring::frame::Frame;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;

/// EtherType for local experiments: nobody else's traffic has it.
const EXPERIMENT: [u8; 2] = [0x88, 0xb5];

fn open(device: &str, version: u32) -> *mut Handle {
    let device = CString::new(device).unwrap();
    let mut text = [0; PKTRING_ERRBUF_SIZE];
    // SAFETY: valid strings and buffers of the documented size.
    unsafe {
        let handle = pktring_open(device.as_ptr(), text.as_mut_ptr());
        assert!(!handle.is_null(), "{:?}", CStr::from_ptr(text.as_ptr()));
        assert_eq!(pktring_set_version(handle, version), 0);
        assert_eq!(pktring_activate(handle), 0, "{}", error(handle));
        handle
    }
}

fn error(handle: *mut Handle) -> String {
    // SAFETY: the handle is open; the text is copied at once.
    unsafe { CStr::from_ptr(pktring_geterr(handle)) }
        .to_string_lossy()
        .into_owned()
}

fn numbered(number: u32) -> [u8; 100] {
    let mut frame = [0xff; 100];
    frame[12..14].copy_from_slice(&EXPERIMENT);
    frame[14..18].copy_from_slice(&number.to_be_bytes());
    frame
}

/// Takes every frame that is ready, in order; returns the number that is due next.
fn take_all(handle: *mut Handle, mut due: u32) -> u32 {
    let mut frame = MaybeUninit::<Frame>::uninit();
    // SAFETY: the handle is open and used by this thread alone; a frame is looked at only after
    // it was taken and before it is released.
    unsafe {
        loop {
            let got = pktring_next_frame(handle, frame.as_mut_ptr());
            if got == 0 {
                return due;
            }
            assert_eq!(got, 1, "{}", error(handle));
            let frame = frame.assume_init_ref();
            let data = std::slice::from_raw_parts(frame.data, frame.caplen as usize);
            if data[12..14] == EXPERIMENT {
                assert_eq!(data, numbered(due));
                due += 1;
            }
            assert_eq!(pktring_release(handle, frame), 0);
            assert_eq!(pktring_release(handle, frame), -libc::EINVAL, "twice");
        }
    }
}

/// Moves many laps of frames through the ring, each released before the next batch is sent.
fn frames_arrive_in_order_and_whole(version: u32) {
    const TOTAL: u32 = 100_000;
    const BATCH: u32 = 2000;
    link::veth("va", "vb").unwrap();
    let sender = PlainSocket::sender("va").unwrap();
    let handle = open("vb", version);
    let mut due = 0;
    // SAFETY: the handle is open and used by this thread alone.
    unsafe {
        while due < TOTAL {
            let end = due + BATCH;
            let frames: Vec<_> = (due..end).map(numbered).collect();
            sender.send_all(&frames).unwrap();
            while due < end {
                assert_eq!(
                    pktring_wait(handle, PKTRING_RX, 2000),
                    1,
                    "{}",
                    error(handle)
                );
                due = take_all(handle, due);
            }
        }
        let mut stats = pktring_stats {
            size: std::mem::size_of::<pktring_stats>(),
            ..Default::default()
        };
        assert_eq!(pktring_stats(handle, &mut stats), 0);
        assert_eq!((stats.dropped, stats.held, stats.corrupt), (0, 0, 0));
        assert_eq!(stats.received, stats.frames);
        assert_eq!(pktring_close(handle), 0);
    }
}

#[test]
fn v1_frames_arrive_in_order_and_whole() {
    isolated(|| frames_arrive_in_order_and_whole(PKTRING_V1));
}

#[test]
fn v2_frames_arrive_in_order_and_whole() {
    isolated(|| frames_arrive_in_order_and_whole(PKTRING_V2));
}

#[test]
fn v3_frames_arrive_in_order_and_whole() {
    isolated(|| frames_arrive_in_order_and_whole(PKTRING_V3));
}

#[test]
fn a_wait_on_an_idle_link_times_out_and_breakloop_is_reported_once() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let handle = open("vb", PKTRING_V3);
        // SAFETY: the handle is open and used by this thread alone.
        unsafe {
            let start = std::time::Instant::now();
            assert_eq!(pktring_wait(handle, PKTRING_RX, 100), 0);
            assert!(start.elapsed().as_millis() >= 100);
            pktring_breakloop(handle);
            assert_eq!(pktring_wait(handle, PKTRING_RX, 100), -libc::ECANCELED);
            assert_eq!(pktring_wait(handle, PKTRING_RX, 10), 0);
            assert_eq!(pktring_close(handle), 0);
        }
    });
}
