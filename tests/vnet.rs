//! virtio_net headers, checksum states and the wedge of V1 and V2 rings.

mod handle;

use handle::{numbered, ring, Opened, EXPERIMENT, LIMIT, QUIET};
use netns::{isolated, link, set_offload, Netns, Offload, Tap};
use pktring::capi::geometry::*;
use pktring::capi::{config::*, copies::*, offload::*, option::*, rx::*, tx::*, wait::*};
use pktring::offload::Vnet;
use std::ffi::CStr;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

const VERSIONS: [u32; 3] = [PKTRING_V1, PKTRING_V2, PKTRING_V3];

fn vnet(handle: &Opened, frame: &pktring::frame::Frame) -> Vnet {
    let mut vnet = Vnet::default();
    // SAFETY: the handle is open, the frame one of its own.
    handle.must(unsafe { pktring_frame_vnet(handle.0, frame, &mut vnet) });
    vnet
}

/// A handle with virtio_net headers of that size, and no frames of this host.
fn open(device: &str, version: u32, size: u32, ring: pktring_ring) -> Opened {
    let handle = Opened::new(device, version);
    // SAFETY: the handle is open.
    unsafe {
        handle.must(pktring_set_vnet_header(handle.0, size));
        handle.must(pktring_set_ignore_outgoing(handle.0, 1));
    }
    handle.receive(ring);
    handle.activate();
    handle
}

/// An Ethernet frame with an IPv4 packet of `length` bytes in all; `protocol` 6 or 17.
fn ip(protocol: u8, length: usize) -> Vec<u8> {
    let mut frame = numbered(0, length);
    frame[12..14].copy_from_slice(&[8, 0]);
    let total = (length - 14) as u16;
    frame[14..34].copy_from_slice(&[
        0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
    ]);
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    let sum = (14..34).step_by(2).fold(0u32, |sum, at| {
        sum + u32::from(u16::from_be_bytes([frame[at], frame[at + 1]]))
    });
    let sum = !(((sum >> 16) + (sum & 0xffff)) as u16);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    if protocol == 6 {
        frame[46] = 0x50; // five words of header
    } else {
        frame[38..40].copy_from_slice(&(total - 20).to_be_bytes());
    }
    frame
}

/// Lets a frame arrive at `tap` with that header before it.
fn arrive(tap: &Tap, header: Vnet, frame: &[u8]) {
    let mut bytes = header.to_bytes()[..10].to_vec();
    bytes.extend(frame);
    tap.write(&bytes).unwrap();
}

/// A TAP device whose guest may leave everything undone; `None` where this user may not make one,
/// which is said.
fn tap() -> Option<Tap> {
    let tap = match Tap::with_vnet_header("tp") {
        Ok(tap) => tap,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            netns::skip(error);
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    tap.set_offload(libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_UFO)
        .unwrap();
    Some(tap)
}

const TSO: Vnet = Vnet {
    flags: PKTRING_VNET_NEEDS_CSUM,
    gso_type: PKTRING_VNET_GSO_TCPV4,
    hdr_len: 54,
    gso_size: 1000,
    csum_start: 34,
    csum_offset: 16,
    num_buffers: 0,
};

#[test]
fn what_is_left_to_do_on_a_frame_is_told() {
    isolated(|| {
        let Some(tap) = tap() else { return };
        let (plain, large) = (numbered(3, 100), ip(6, 5054));
        for version in VERSIONS {
            for size in [10, 12] {
                let handle = open("tp", version, size, ring(1 << 20, 1, 8192));
                arrive(&tap, Vnet::default(), &plain);
                let held = handle.own();
                assert_eq!(held.data(), plain);
                assert_eq!(vnet(&handle, &held.frame), Vnet::default());
                drop(held);

                arrive(&tap, TSO, &large);
                let held = handle.typed(0x0800);
                assert_eq!(held.data(), large, "whole, though five times the MTU");
                let seen = vnet(&handle, &held.frame);
                // The kernel counts what it has in one piece as header.
                assert!(seen.hdr_len >= 54);
                assert_eq!(
                    seen,
                    Vnet {
                        hdr_len: seen.hdr_len,
                        ..TSO
                    }
                );
                assert_ne!(held.frame.status & PKTRING_STATUS_GSO_TCP, 0);
                assert_eq!(checksum(&held.frame), PKTRING_CHECKSUM_PENDING);
            }
        }
    });
}

#[test]
fn a_segment_of_64_kib_is_cut_at_a_smaller_slot_and_tells_its_length() {
    isolated(|| {
        let Some(tap) = tap() else { return };
        let large = ip(6, 14 + 65_535);
        for (version, vnet, caplen) in [
            (PKTRING_V1, 0, 2048 - 66),
            (PKTRING_V2, 0, 2048 - 66),
            (PKTRING_V1, 12, 2048 - 66 - 12),
            (PKTRING_V2, 12, 2048 - 66 - 12),
            // A block has room for whatever comes, if it is large enough.
            (PKTRING_V3, 0, large.len()),
            (PKTRING_V3, 12, large.len()),
        ] {
            let handle = open("tp", version, vnet, ring(1 << 17, 2, 2048));
            for number in 0..15 {
                arrive(&tap, TSO, &large);
                let held = handle.typed(0x0800);
                assert_eq!(held.frame.len as usize, large.len());
                assert_eq!(held.frame.caplen as usize, caplen, "{version} {vnet}");
                assert!(held.data() == &large[..caplen]);
                assert_ne!(held.frame.status & PKTRING_STATUS_GSO_TCP, 0);
                drop(held);
                // What comes behind it is whole.
                arrive(&tap, Vnet::default(), &numbered(number, 1514));
                let held = handle.own();
                assert_eq!(held.data(), numbered(number, 1514));
            }
        }
    });
}

#[test]
fn a_tag_put_back_moves_the_checksum_along() {
    isolated(|| {
        let Some(tap) = tap() else { return };
        let mut tagged = ip(6, 3054);
        tagged.splice(12..12, [0x81, 0, 0, 5]);
        let sent = Vnet {
            hdr_len: 58,
            csum_start: 38,
            ..TSO
        };
        for version in [PKTRING_V2, PKTRING_V3] {
            let handle = open("tp", version, 10, ring(1 << 20, 1, 8192));
            arrive(&tap, sent, &tagged);
            let mut held = handle.typed(0x0800);
            let before = vnet(&handle, &held.frame);
            assert_eq!(before.csum_start, 34, "of the frame without its tag");
            // SAFETY: the handle is open, the frame one of its own.
            handle.must(unsafe { pktring_vlan_reinsert(handle.0, &mut held.frame) });
            assert_eq!(held.data(), tagged);
            let after = vnet(&handle, &held.frame);
            assert_eq!(
                after,
                Vnet {
                    hdr_len: before.hdr_len + 4,
                    csum_start: 38,
                    ..before
                }
            );
        }
    });
}

#[test]
fn frames_without_such_headers_say_so() {
    isolated(|| {
        let Some(tap) = tap() else { return };
        let handle = Opened::active("tp", PKTRING_V2, ring(0, 0, 0));
        let other = open("tp", PKTRING_V2, 10, ring(0, 0, 0));
        tap.write(&[&[0; 10][..], &numbered(1, 60)].concat())
            .unwrap();
        let held = handle.own();
        let mut vnet = Vnet::default();
        // SAFETY: the handles are open; the frame is held, by the first one.
        unsafe {
            let none = pktring_frame_vnet(handle.0, &held.frame, &mut vnet);
            handle.must_fail(none, libc::EBUSY, "pktring_set_vnet_header");
            let foreign = pktring_frame_vnet(other.0, &held.frame, &mut vnet);
            other.must_fail(foreign, libc::EINVAL, "not held");
            let null = pktring_frame_vnet(other.0, std::ptr::null(), &mut vnet);
            assert_eq!(null, -libc::EFAULT);
        }
    });
}

/// An IP fragment put together by a guest: nothing that the header has a name for.
const UFO: Vnet = Vnet {
    gso_type: PKTRING_VNET_GSO_UDP,
    hdr_len: 42,
    gso_size: 1400,
    csum_offset: 6,
    ..TSO
};

/// Sends the packet that Linux gets stuck with.
fn wedge(tap: &Tap) {
    arrive(tap, UFO, &ip(17, 3000));
}

#[test]
fn a_wedged_ring_is_made_anew_while_waiting() {
    isolated(|| {
        let Some(tap) = tap() else { return };
        for version in [PKTRING_V1, PKTRING_V2] {
            let handle = open("tp", version, 10, ring(1 << 16, 1, 8192));
            for round in 0..3 {
                arrive(&tap, Vnet::default(), &numbered(round, 100));
                assert_eq!(handle.own().number(), round);
                assert!(handle.next(QUIET).is_none());
                wedge(&tap);
                // What proves that the ring is stuck is lost, as the kernel counts.
                arrive(&tap, Vnet::default(), &numbered(90, 100));
                let lost = handle.next(QUIET).is_none();
                arrive(&tap, Vnet::default(), &numbered(91, 100));
                let held = handle.own();
                assert!(lost && held.number() == 91, "{lost} {}", held.number());
            }
            let stats = handle.stats();
            assert_eq!(stats.dropped, 6);
            assert_eq!(stats.frames, 6);
            assert_eq!(stats.received, 12);
        }
    });
}

#[test]
fn a_wedged_ring_with_held_frames_or_a_transmit_ring_is_the_callers_to_recover() {
    isolated(|| {
        let Some(tap) = tap() else { return };
        let stuck = |handle: &Opened| {
            wedge(&tap);
            for _ in 0..2 {
                arrive(&tap, Vnet::default(), &numbered(90, 100));
                // SAFETY: the handle is open.
                match unsafe { pktring_wait(handle.0, PKTRING_RX, 100) } {
                    0 => {}
                    code => return handle.must_fail(code, -code, "pktring_recover"),
                }
            }
            panic!("the wedge was not noticed");
        };
        // SAFETY: the handles are open, the struct has its size.
        unsafe {
            let handle = open("tp", PKTRING_V2, 10, ring(1 << 16, 1, 8192));
            arrive(&tap, Vnet::default(), &numbered(1, 100));
            let held = handle.own();
            stuck(&handle);
            handle.must_fail(pktring_recover(handle.0), libc::EBUSY, "release them first");
            assert_eq!(held.data(), numbered(1, 100));
            let stale = held.frame;
            drop(held);
            handle.must(pktring_recover(handle.0));
            assert_eq!(pktring_release(handle.0, &stale), -libc::EINVAL);
            arrive(&tap, Vnet::default(), &numbered(2, 100));
            assert_eq!(handle.own().number(), 2);

            let handle = Opened::new("tp", PKTRING_V2);
            handle.must(pktring_set_vnet_header(handle.0, 10));
            handle.must(pktring_set_ignore_outgoing(handle.0, 1));
            handle.receive(ring(1 << 16, 1, 8192));
            handle.must(pktring_set_ring(handle.0, PKTRING_TX, std::ptr::null()));
            handle.activate();
            let send = |number| {
                let bytes = [&[0; 10][..], &numbered(number, 60)].concat();
                pktring_inject(handle.0, bytes.as_ptr().cast(), bytes.len())
            };
            assert_eq!(send(1), 70);
            stuck(&handle);
            handle.must(pktring_recover(handle.0));
            // Both rings work on, each from where it is.
            assert_eq!(send(2), 70);
            let numbers: Vec<_> = (0..2)
                .map(|_| tap.read(LIMIT).unwrap().unwrap()[10..].to_vec())
                .collect();
            assert_eq!(numbers, [numbered(1, 60), numbered(2, 60)]);
            arrive(&tap, Vnet::default(), &numbered(3, 100));
            assert_eq!(handle.own().number(), 3);
        }
    });
}

#[test]
fn v3_rings_skip_what_would_wedge_the_others() {
    isolated(|| {
        let Some(tap) = tap() else { return };
        let handle = open("tp", PKTRING_V3, 10, ring(1 << 16, 4, 8192));
        for number in 0..3 {
            wedge(&tap);
            arrive(&tap, Vnet::default(), &numbered(number, 100));
        }
        assert_eq!(handle.drain(), [0, 1, 2]);
        // SAFETY: the handle is open. Harmless where nothing is stuck.
        handle.must(unsafe { pktring_recover(handle.0) });
        arrive(&tap, Vnet::default(), &numbered(3, 100));
        assert_eq!(handle.drain(), [3]);
    });
}

fn checksum(frame: &pktring::frame::Frame) -> u32 {
    // SAFETY: a frame.
    unsafe { pktring_checksum(frame) }
}

/// Captures at `va` what a TCP connection from a second namespace brings, and what it sends.
fn checksums(receiver_joins: bool, sender_computes: bool) -> (Vec<u32>, bool) {
    let there = Netns::new().unwrap();
    link::add_veth("va", "vb").unwrap();
    link::move_to("vb", &there).unwrap();
    let (here, far) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
    link::add_address("va", here.into(), 24).unwrap();
    there.run(|| {
        link::add_address("vb", far.into(), 24).unwrap();
        link::set_up("vb").unwrap();
        if sender_computes {
            set_offload("vb", Offload::TxChecksum, false).unwrap();
        }
    });
    if receiver_joins {
        set_offload("va", Offload::GenericReceive, true).unwrap();
    }
    link::set_up("va").unwrap();
    link::wait_up("va").unwrap();
    there.run(|| link::wait_up("vb").unwrap());

    let handle = Opened::new("va", PKTRING_V3);
    // SAFETY: the handle is open.
    handle.must(unsafe { pktring_set_ignore_outgoing(handle.0, 1) });
    handle.activate();
    let listener = TcpListener::bind((here, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    there.run(move || {
        let mut stream = TcpStream::connect((here, port)).unwrap();
        stream.write_all(&vec![7; 200_000]).unwrap();
    });
    let (mut stream, _) = listener.accept().unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), 200_000);

    let mut seen = Vec::new();
    let mut joined = false;
    while let Some(held) = handle.next(QUIET) {
        let data = held.data();
        if data[12..14] == [8, 0] && data[23] == 6 {
            seen.push(checksum(&held.frame));
            joined |= held.frame.status & PKTRING_STATUS_GSO_TCP != 0;
        }
    }
    assert!(!seen.is_empty());
    (seen, joined)
}

#[test]
fn checksums_left_to_hardware_are_pending() {
    isolated(|| {
        let (seen, joined) = checksums(false, false);
        assert!(
            seen.iter().all(|state| *state == PKTRING_CHECKSUM_PENDING),
            "{seen:?}"
        );
        assert!(joined, "segments longer than the MTU");
    });
}

#[test]
fn checksums_that_the_kernel_has_checked_are_valid() {
    isolated(|| {
        let (seen, _) = checksums(true, true);
        assert!(seen.contains(&PKTRING_CHECKSUM_VALID), "{seen:?}");
        // Segments that it joined it would compute anew, so theirs is pending.
    });
}

#[test]
fn checksums_nobody_looked_at_are_unknown() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = netns::PlainSocket::sender("va").unwrap();
        let handle = Opened::active("vb", PKTRING_V2, ring(0, 0, 0));
        sender.send(&numbered(1, 60)).unwrap();
        assert_eq!(
            checksum(&handle.typed(EXPERIMENT).frame),
            PKTRING_CHECKSUM_UNKNOWN
        );
        // SAFETY: NULL is answered.
        let none = unsafe { pktring_checksum(std::ptr::null()) };
        assert_eq!(none, PKTRING_CHECKSUM_UNKNOWN);
        let names: Vec<_> = (0..4)
            // SAFETY: constant strings.
            .map(|state| unsafe { CStr::from_ptr(pktring_checksum_name(state)) }.to_str())
            .collect();
        let expected = ["not checked", "valid", "not computed yet", "unknown value"];
        assert_eq!(names, expected.map(Ok));
    });
}
