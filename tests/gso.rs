//! UDP segmentation offload, seen segment by segment by the peer's plain sockets.

mod handle;

use handle::{ring, Opened, LIMIT, QUIET};
use netns::{isolated, link, set_offload, Netns, Offload, PlainSocket};
use pktring::capi::geometry::*;
use pktring::capi::{config::*, gso::*, option::*, tx::*};
use std::mem::{size_of, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::raw::c_int;

const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// The other end of the wire.
struct Peer {
    _namespace: Netns,
    /// What its UDP port receives.
    udp: UdpSocket,
    /// What arrives at its interface.
    wire: PlainSocket,
    mac: [u8; 6],
}

/// A veth pair, `va` here and `vb` in another namespace. Nothing is left to `va`, so that what
/// leaves it is what a wire would see: cut, and with checksums.
fn peer() -> Peer {
    let there = Netns::new().unwrap();
    link::add_veth("va", "vb").unwrap();
    link::move_to("vb", &there).unwrap();
    set_offload("va", Offload::TxChecksum, false).unwrap();
    link::set_up("va").unwrap();
    link::add_address("va", HERE.into(), 24).unwrap();
    let (udp, wire, mac) = there.run(|| {
        link::set_up("vb").unwrap();
        link::add_address("vb", THERE.into(), 24).unwrap();
        link::wait_up("vb").unwrap();
        let wire = PlainSocket::open("vb").unwrap();
        wire.set_receive_buffer(8 << 20).unwrap();
        let udp = UdpSocket::bind((THERE, 0)).unwrap();
        udp.set_read_timeout(Some(LIMIT)).unwrap();
        (udp, wire, link::mac("vb").unwrap())
    });
    link::wait_up("va").unwrap();
    Peer {
        _namespace: there,
        udp,
        wire,
        mac,
    }
}

impl Peer {
    fn port(&self) -> u16 {
        self.udp.local_addr().unwrap().port()
    }

    /// A datagram to the port, with lengths and no checksums.
    fn datagram(&self, payload: &[u8]) -> Vec<u8> {
        let udp = (8 + payload.len()) as u16;
        let mut frame = [&self.mac[..], &link::mac("va").unwrap(), &[8, 0]].concat();
        frame.extend([0x45, 0]);
        frame.extend((20 + udp).to_be_bytes());
        frame.extend([0, 1, 0x40, 0, 64, 17, 0, 0]);
        frame.extend(HERE.octets());
        frame.extend(THERE.octets());
        let sum = sum(&frame[14..34], 0);
        frame[24..26].copy_from_slice(&(!sum).to_be_bytes());
        frame.extend(4000u16.to_be_bytes());
        frame.extend(self.port().to_be_bytes());
        frame.extend(udp.to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(payload);
        frame
    }

    fn receive(&self) -> Vec<u8> {
        let mut buffer = [0; 2000];
        let length = self.udp.recv(&mut buffer).expect("no datagram came");
        buffer[..length].to_vec()
    }

    /// Checks that exactly these payloads arrive, in order, whole and with right checksums.
    fn expect(&self, payloads: &[Vec<u8>]) {
        for (i, payload) in payloads.iter().enumerate() {
            assert_eq!(self.receive(), *payload, "datagram {i}");
        }
        let mut seen = 0;
        while seen < payloads.len() {
            let packet = self.wire.recv(LIMIT).unwrap().expect("fewer on the wire");
            if packet.data[12..14] != [8, 0] || packet.data[23] != 17 {
                continue;
            }
            assert_eq!(packet.data[42..], payloads[seen], "frame {seen}");
            check(&packet.data);
            seen += 1;
        }
        self.nothing_more();
    }

    fn nothing_more(&self) {
        while let Some(packet) = self.wire.recv(QUIET).unwrap() {
            assert!(packet.data[12..14] != [8, 0] || packet.data[23] != 17);
        }
    }
}

fn sum(bytes: &[u8], start: u32) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    let mut sum = words.fold(start, |sum, word| sum + u32::from(word));
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// Checks lengths and checksums of an IPv4 UDP frame. A UDP checksum of 0 stands for none.
fn check(frame: &[u8]) {
    let total = u16::from_be_bytes([frame[16], frame[17]]) as usize;
    let udp = u16::from_be_bytes([frame[38], frame[39]]) as usize;
    assert_eq!((total, udp), (frame.len() - 14, frame.len() - 34));
    assert_eq!(sum(&frame[14..34], 0), 0xffff, "IP checksum");
    if frame[40..42] != [0, 0] {
        let pseudo = sum(&frame[26..34], udp as u32 + 17);
        assert_eq!(sum(&frame[34..], pseudo.into()), 0xffff, "UDP checksum");
    }
}

const METHODS: [u32; 2] = [PKTRING_TX_METHOD_RING, PKTRING_TX_METHOD_COPY];

/// A handle with virtio_net headers of that size; with a transmit ring of such slots, if asked.
fn open(size: u32, slots: Option<u32>) -> Opened {
    open_by(PKTRING_TX_METHOD_RING, size, slots)
}

fn open_by(method: u32, size: u32, slots: Option<u32>) -> Opened {
    let handle = Opened::new("va", PKTRING_V2);
    // SAFETY: the handle is open, the struct has its size.
    unsafe {
        handle.must(pktring_set_vnet_header(handle.0, size));
        handle.must(pktring_set_tx_method(handle.0, method));
        if let Some(frame_size) = slots {
            let ring = pktring_ring {
                size: size_of::<pktring_ring>(),
                ..ring(1 << 20, 1, frame_size)
            };
            handle.must(pktring_set_ring(handle.0, PKTRING_TX, &ring));
        }
    }
    handle.activate();
    handle
}

fn inject(handle: &Opened, frames: &[Vec<u8>]) -> c_int {
    let buffers: Vec<_> = frames
        .iter()
        .map(|frame| pktring_buffer {
            data: frame.as_ptr().cast(),
            length: frame.len(),
        })
        .collect();
    // SAFETY: the handle is open; every buffer is a frame that outlives the call.
    unsafe { pktring_inject_gso(handle.0, buffers.as_ptr(), buffers.len() as u32) }
}

/// Payloads of these lengths, all different.
fn payloads(lengths: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    let one = |(number, length): (usize, usize)| {
        (0..length).map(|i| (i * 3 + number * 5) as u8).collect()
    };
    lengths.into_iter().enumerate().map(one).collect()
}

#[test]
fn a_batch_of_equal_datagrams_arrives_one_by_one() {
    isolated(|| {
        let peer = peer();
        for size in [10, 12] {
            let handle = open(size, None);
            // Two frames each of the second and third kind, by the limits of 64 and of 64 KiB.
            for lengths in [vec![22; 32], vec![1; 65], vec![1400; 50], vec![1472; 3]] {
                let payloads = payloads(lengths);
                let frames: Vec<_> = payloads.iter().map(|p| peer.datagram(p)).collect();
                assert_eq!(
                    inject(&handle, &frames),
                    frames.len() as c_int,
                    "{}",
                    handle.error()
                );
                peer.expect(&payloads);
            }
        }
    });
}

#[test]
fn what_cannot_be_joined_is_sent_as_it_is() {
    isolated(|| {
        let peer = peer();
        let handle = open(10, None);
        let payloads = payloads([30, 30, 10, 30, 40, 40, 1]);
        let mut frames: Vec<_> = payloads.iter().map(|p| peer.datagram(p)).collect();
        assert_eq!(inject(&handle, &frames), 7);
        peer.expect(&payloads);
        // Another flow in the middle of equal lengths, and something that is no datagram.
        frames = vec![peer.datagram(&payloads[0]); 4];
        frames[2][22] = 63; // time to live
        let header = sum(&frames[2][14..24], sum(&frames[2][26..34], 0).into());
        frames[2][24..26].copy_from_slice(&(!header).to_be_bytes());
        frames.push(handle::numbered(9, 60));
        assert_eq!(inject(&handle, &frames), 5);
        let mut ttls = Vec::new();
        while ttls.len() < 5 {
            let packet = peer.wire.recv(LIMIT).unwrap().unwrap();
            match packet.data[12..14] {
                [8, 0] if packet.data[23] == 17 => ttls.push(packet.data[22]),
                [0x88, 0xb5] => {
                    assert_eq!(packet.data, handle::numbered(9, 60));
                    ttls.push(0);
                }
                _ => {}
            }
        }
        assert_eq!(ttls, [64, 64, 63, 64, 0]);
        assert_eq!(inject(&handle, &[]), 0);
    });
}

#[test]
fn a_transmit_ring_joins_as_much_as_a_slot_holds() {
    isolated(|| {
        let peer = peer();
        let sizes = [65_536 + 64, 8192, 2048];
        let ways = METHODS.map(|method| sizes.map(|size| (method, size)));
        for (method, frame_size) in ways.concat() {
            let handle = open_by(method, 10, Some(frame_size / 16 * 16));
            // As many as the receiver's buffer takes one by one.
            let payloads = payloads(vec![1000; 80]);
            let frames: Vec<_> = payloads.iter().map(|p| peer.datagram(p)).collect();
            assert_eq!(inject(&handle, &frames), 80, "{}", handle.error());
            peer.expect(&payloads);
        }
    });
}

#[test]
fn a_long_frame_is_cut_on_the_way_out() {
    isolated(|| {
        let peer = peer();
        let handle = open(10, None);
        for (length, segment) in [(100_000, 1472), (640, 10), (500, 500), (501, 500)] {
            let payload: Vec<u8> = (0..length).map(|i| (i / 7) as u8).collect();
            let mut frame = peer.datagram(&[]);
            // Lengths and checksums are the library's to fill in.
            for at in [16, 17, 24, 25, 38, 39] {
                frame[at] = 0;
            }
            frame.extend(&payload);
            // SAFETY: the handle is open, the frame outlives the call.
            let sent = unsafe {
                pktring_inject_segments(handle.0, frame.as_ptr().cast(), frame.len(), segment)
            };
            let expected: Vec<_> = payload
                .chunks(segment as usize)
                .map(<[u8]>::to_vec)
                .collect();
            assert_eq!(sent, expected.len() as c_int, "{}", handle.error());
            peer.expect(&expected);
        }
    });
}

#[test]
fn a_frame_written_in_place_is_cut_too() {
    isolated(|| {
        let peer = peer();
        for (method, size) in METHODS
            .map(|method| [(method, 10usize), (method, 12)])
            .concat()
        {
            let handle = open_by(method, size as u32, Some(65_600));
            let payloads = payloads(vec![700; 20]);
            let frame = [peer.datagram(&[]), payloads.concat()].concat();
            let length = (size + frame.len()) as u32;
            let mut slot = MaybeUninit::<pktring_slot>::uninit();
            // SAFETY: the handle is open; the slot is written before it is read, and has the room
            // that it says.
            unsafe {
                assert_eq!(pktring_tx_reserve(handle.0, slot.as_mut_ptr()), 1);
                let slot = slot.assume_init_ref();
                assert!(slot.capacity >= length);
                slot.data.add(size).copy_from(frame.as_ptr(), frame.len());
                let data = slot.data.cast();
                handle.must(pktring_prepare_segments(handle.0, data, length, 700));
                handle.must(pktring_tx_commit(handle.0, slot, length));
                assert_eq!(pktring_tx_flush(handle.0, 1000), 0, "{}", handle.error());
            }
            peer.expect(&payloads);
        }
    });
}

#[test]
fn what_cannot_be_cut_is_refused() {
    isolated(|| {
        let peer = peer();
        let handle = open(10, None);
        let cut = |handle: &Opened, frame: &[u8], segment| {
            // SAFETY: the handle is open, the frame outlives the call.
            unsafe {
                pktring_inject_segments(handle.0, frame.as_ptr().cast(), frame.len(), segment)
            }
        };
        let frame = peer.datagram(&[7; 3000]);
        handle.must_fail(cut(&handle, &frame, 1473), libc::EMSGSIZE, "1514");
        handle.must_fail(cut(&handle, &frame, 0), libc::EINVAL, "segment 0");
        handle.must_fail(cut(&handle, &frame[..41], 100), libc::EINVAL, "UDP");
        let other = handle::numbered(1, 3000);
        handle.must_fail(cut(&handle, &other, 100), libc::EINVAL, "UDP");
        let long = vec![peer.datagram(&[7; 1473]); 2];
        handle.must_fail(inject(&handle, &long), libc::EMSGSIZE, "1514");
        peer.nothing_more();
        // An MTU that is raised later counts.
        link::set_mtu("va", 2000).unwrap();
        peer._namespace.run(|| link::set_mtu("vb", 2000).unwrap());
        assert_eq!(cut(&handle, &frame, 1473), 3, "{}", handle.error());

        let plain = Opened::active("va", PKTRING_V2, ring(0, 0, 0));
        plain.must_fail(
            cut(&plain, &frame, 100),
            libc::EBUSY,
            "pktring_set_vnet_header",
        );
        plain.must_fail(
            inject(&plain, &[frame]),
            libc::EBUSY,
            "pktring_set_vnet_header",
        );
    });
}

#[test]
fn datagrams_over_ipv6_arrive_one_by_one() {
    isolated(|| {
        let peer = peer();
        let handle = open(10, None);
        let payloads = payloads(vec![333; 40]);
        let addresses = [Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED];
        let frames: Vec<_> = payloads
            .iter()
            .map(|payload| {
                let udp = (8 + payload.len() as u16).to_be_bytes();
                let mut frame = [&peer.mac[..], &[2, 0, 0, 0, 0, 1], &[0x86, 0xdd]].concat();
                frame.extend([0x60, 0, 0, 0, udp[0], udp[1], 17, 64]);
                frame.extend(addresses.iter().flat_map(|address| address.octets()));
                frame.extend([0x0f, 0xa0, 0, 9, udp[0], udp[1], 0, 0]);
                frame.extend(payload);
                frame
            })
            .collect();
        assert_eq!(inject(&handle, &frames), 40, "{}", handle.error());
        for payload in &payloads {
            let frame = loop {
                let packet = peer.wire.recv(LIMIT).unwrap().expect("fewer on the wire");
                if packet.protocol == 0x86dd && packet.data[20] == 17 {
                    break packet.data;
                }
            };
            assert_eq!(frame[62..], payload[..]);
            let udp = frame.len() as u32 - 54;
            let pseudo = sum(&frame[22..54], udp + 17);
            assert_eq!(sum(&frame[54..], pseudo.into()), 0xffff, "UDP checksum");
        }
    });
}
