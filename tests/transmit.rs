//! Transmitting through the C API to plain sockets over a veth pair.

use netns::{isolated, link, PlainSocket};
use pktring::capi::error::pktring_geterr;
use pktring::capi::geometry::{PKTRING_TX, PKTRING_V1, PKTRING_V2, PKTRING_V3};
use pktring::capi::{config::*, lifecycle::*, stats::*, tx::*, wait::*};
use std::ffi::{CStr, CString};
use std::mem::{size_of, MaybeUninit};
use std::time::Duration;

/// Every frame that is committed arrives at the plain socket, whole and in order.
fn frames_reach_a_plain_socket(version: u32) {
    const TOTAL: u32 = 20_000;
    link::veth("va", "vb").unwrap();
    let peer = PlainSocket::open("vb").unwrap();
    peer.set_receive_buffer(64 << 20).unwrap();
    let device = CString::new("va").unwrap();
    // SAFETY: the handle is used by this thread alone, slots only between reserve and commit.
    unsafe {
        let handle = pktring_open(device.as_ptr(), std::ptr::null_mut());
        assert!(!handle.is_null());
        assert_eq!(pktring_set_version(handle, version), 0);
        assert_eq!(pktring_set_ring(handle, PKTRING_TX, std::ptr::null()), 0);
        let text = || CStr::from_ptr(pktring_geterr(handle)).to_owned();
        assert_eq!(pktring_activate(handle), 0, "{:?}", text());
        for number in 0..TOTAL {
            let mut slot = MaybeUninit::<pktring_slot>::uninit();
            while pktring_tx_reserve(handle, slot.as_mut_ptr()) == 0 {
                assert!(pktring_tx_flush(handle, 0) >= 0, "{:?}", text());
                assert_eq!(pktring_wait(handle, PKTRING_TX, 1000), PKTRING_TX as i32);
            }
            let slot = slot.assume_init();
            let length = 60 + number % 1455;
            let data = std::slice::from_raw_parts_mut(slot.data, length as usize);
            data.fill(number as u8);
            data[12..14].copy_from_slice(&[0x88, 0xb5]);
            data[14..18].copy_from_slice(&number.to_be_bytes());
            assert_eq!(pktring_tx_commit(handle, &slot, length), 0, "{:?}", text());
            assert_eq!(pktring_tx_commit(handle, &slot, length), -libc::EINVAL);
        }
        assert_eq!(pktring_tx_flush(handle, 2000), 0, "{:?}", text());
        let mut stats = pktring_stats {
            size: size_of::<pktring_stats>(),
            ..Default::default()
        };
        assert_eq!(pktring_stats(handle, &mut stats), 0);
        assert_eq!(stats.tx_frames, u64::from(TOTAL));
        assert_eq!((stats.tx_refused, stats.tx_in_flight), (0, 0));
        assert_eq!(pktring_close(handle), 0);
    }
    for number in 0..TOTAL {
        let packet = peer.recv(Duration::from_secs(1)).unwrap().unwrap();
        let length = 60 + number % 1455;
        assert_eq!(packet.data.len(), length as usize);
        assert_eq!(packet.data[14..18], number.to_be_bytes());
        assert!(packet.data[18..].iter().all(|byte| *byte == number as u8));
    }
}

#[test]
fn v1_frames_reach_a_plain_socket() {
    isolated(|| frames_reach_a_plain_socket(PKTRING_V1));
}

#[test]
fn v2_frames_reach_a_plain_socket() {
    isolated(|| frames_reach_a_plain_socket(PKTRING_V2));
}

#[test]
fn v3_frames_reach_a_plain_socket() {
    isolated(|| frames_reach_a_plain_socket(PKTRING_V3));
}
