//! What the links and peers do with frames.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use netns::{isolated, link, Netns, Offload, Packet, PlainSocket, Tap, Throttle};

const SECOND: Duration = Duration::from_secs(1);
const SHORT: Duration = Duration::from_millis(20);
/// For local experiments.
const ETHERTYPE: u16 = 0x88b5;

/// A broadcast frame that differs for every number.
fn frame(number: u32, length: usize) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([2, 0, 0, 0, 0, 1]);
    frame.extend(ETHERTYPE.to_be_bytes());
    frame.extend(number.to_be_bytes());
    frame.resize(length, number as u8);
    frame
}

fn next(socket: &PlainSocket) -> Packet {
    socket
        .recv(SECOND)
        .unwrap()
        .expect("a packet within a second")
}

#[test]
fn frames_cross_a_veth_pair_whole_and_in_order() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let receiver = PlainSocket::open("vb").unwrap();
        receiver.set_receive_buffer(8 << 20).unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        let frames: Vec<_> = (0..100).map(|n| frame(n, 60 + 14 * n as usize)).collect();
        sender.send_all(&frames).unwrap();
        for sent in &frames {
            let packet = next(&receiver);
            assert_eq!(&packet.data, sent);
            assert_eq!(packet.length as usize, sent.len());
            assert_eq!((packet.protocol, packet.vlan), (ETHERTYPE, None));
            assert_eq!(packet.interface, link::index("vb").unwrap());
            assert_eq!(packet.kind, libc::PACKET_BROADCAST);
        }
        assert_eq!(receiver.recv(SHORT).unwrap(), None);
        let (out, arrived) = (link::counters("va").unwrap(), link::counters("vb").unwrap());
        assert_eq!((out.tx_packets, arrived.rx_packets), (100, 100));
        let bytes: usize = frames.iter().map(Vec::len).sum();
        assert_eq!(arrived.rx_bytes, bytes as u64);
    });
}

#[test]
fn an_incoming_socket_leaves_out_what_its_interface_sends() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let arriving = PlainSocket::open("va").unwrap();
        let both = PlainSocket::open_both_ways("va").unwrap();
        PlainSocket::sender("va")
            .unwrap()
            .send(&frame(1, 60))
            .unwrap();
        assert_eq!(next(&both).kind, libc::PACKET_OUTGOING);
        assert_eq!(arriving.recv(SHORT).unwrap(), None);
    });
}

#[test]
fn a_vlan_tag_is_reported_beside_the_frame() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let receiver = PlainSocket::open("vb").unwrap();
        let mut tagged = frame(1, 60);
        tagged.splice(12..12, [0x81, 0x00, 0x60, 0x07]);
        PlainSocket::sender("va").unwrap().send(&tagged).unwrap();
        let packet = next(&receiver);
        assert_eq!(packet.vlan, Some((0x6007, 0x8100)));
        assert_eq!(packet.data, frame(1, 60));
    });
}

#[test]
fn cooked_sockets_carry_the_payload() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let receiver = PlainSocket::cooked("vb").unwrap();
        let mac = link::mac("vb").unwrap();
        PlainSocket::cooked("va")
            .unwrap()
            .send_to(&[9; 46], ETHERTYPE, mac)
            .unwrap();
        let packet = next(&receiver);
        assert_eq!((packet.data, packet.protocol), (vec![9; 46], ETHERTYPE));
        assert_eq!(packet.kind, libc::PACKET_HOST);
    });
}

#[test]
fn a_link_moves_into_a_second_namespace() {
    isolated(|| {
        let there = Netns::new().unwrap();
        link::veth("va", "vb").unwrap();
        link::move_to("vb", &there).unwrap();
        assert!(link::index("vb").is_err());
        let receiver = there.run(|| {
            assert!(link::index("va").is_err());
            link::set_up("vb").unwrap();
            link::wait_up("vb").unwrap();
            PlainSocket::open("vb").unwrap()
        });
        link::wait_up("va").unwrap();
        PlainSocket::sender("va")
            .unwrap()
            .send(&frame(3, 60))
            .unwrap();
        assert_eq!(next(&receiver).data, frame(3, 60));
    });
}

#[test]
fn addresses_make_the_kernel_talk() {
    isolated(|| {
        let there = Netns::new().unwrap();
        link::add_veth("va", "vb").unwrap();
        link::move_to("vb", &there).unwrap();
        let (here_ip, there_ip) = (Ipv4Addr::new(10, 9, 8, 1), Ipv4Addr::new(10, 9, 8, 2));
        link::add_address("va", IpAddr::V4(here_ip), 24).unwrap();
        link::set_up("va").unwrap();
        let server = there.run(|| {
            link::add_address("vb", IpAddr::V4(there_ip), 24).unwrap();
            link::set_up("vb").unwrap();
            link::wait_up("vb").unwrap();
            UdpSocket::bind((there_ip, 5000)).unwrap()
        });
        link::wait_up("va").unwrap();
        let client = UdpSocket::bind((here_ip, 0)).unwrap();
        client.send_to(b"hello", (there_ip, 5000)).unwrap();
        server.set_read_timeout(Some(SECOND)).unwrap();
        let mut buffer = [0; 16];
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(
            (&buffer[..length], from.ip()),
            (&b"hello"[..], IpAddr::V4(here_ip))
        );
    });
}

#[test]
fn links_can_be_changed_and_removed() {
    isolated(|| {
        link::add_veth("va", "vb").unwrap();
        assert!(!link::is_up("va").unwrap());
        link::set_mtu("va", 900).unwrap();
        assert_eq!(link::mtu("va").unwrap(), 900);
        link::set_mac("va", [2, 1, 2, 3, 4, 5]).unwrap();
        assert_eq!(link::mac("va").unwrap(), [2, 1, 2, 3, 4, 5]);
        link::rename("va", "vc").unwrap();
        link::set_up("vb").unwrap();
        link::set_up("vc").unwrap();
        link::wait_up("vc").unwrap();
        link::set_down("vb").unwrap();
        assert!(!link::is_up("vb").unwrap());
        link::delete("vc").unwrap();
        assert!(link::index("vb").is_err());
        let error = link::veth("vd", "a-name-that-is-too-long").unwrap_err();
        assert!(
            error.to_string().contains("a-name-that-is-too-long"),
            "{error}"
        );
    });
}

#[test]
fn a_throttled_link_holds_frames_back_and_refuses_what_does_not_fit() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        // A frame in two seconds, after the first.
        netns::throttle(
            "va",
            Throttle {
                rate: 500,
                burst: 1000,
                waiting: 2100,
            },
        )
        .unwrap();
        let receiver = PlainSocket::open("vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        for number in 0..3 {
            sender.send(&frame(number, 1000)).unwrap();
        }
        let refused = sender.send(&frame(3, 1000)).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ENOBUFS));
        assert_eq!(next(&receiver).data, frame(0, 1000));
        assert_eq!(receiver.recv(SHORT).unwrap(), None);
        netns::unthrottle("va").unwrap();
        sender.send(&frame(4, 1000)).unwrap();
        assert_eq!(next(&receiver).data, frame(4, 1000));
    });
}

/// The kernel leaves the checksum of what it sends over veth undone; told not to, it does it.
#[test]
fn offloads_can_be_turned_off() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let here = Ipv4Addr::new(10, 9, 8, 1);
        link::add_address("va", IpAddr::V4(here), 24).unwrap();
        let receiver = PlainSocket::open("vb").unwrap();
        let client = UdpSocket::bind((here, 4000)).unwrap();
        client.set_broadcast(true).unwrap();
        let checksum_is_right = || {
            client.send_to(b"data", "10.9.8.255:5000").unwrap();
            udp_adds_up(&next(&receiver).data[14..])
        };
        assert!(!checksum_is_right());
        netns::set_offload("va", Offload::TxChecksum, false).unwrap();
        assert!(checksum_is_right());
    });
}

/// Whether the checksum of a UDP datagram, in an IPv4 packet without options, is right: all
/// 16-bit words of it and its pseudo-header then add up to zero in ones' complement.
fn udp_adds_up(packet: &[u8]) -> bool {
    let words = packet[12..]
        .chunks(2)
        .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
    let sum = words.sum::<u32>() + u32::from(packet[9]) + packet[20..].len() as u32;
    sum.is_multiple_of(0xffff)
}

#[test]
fn a_tap_is_the_wire_of_its_interface() {
    isolated(|| {
        let Some(tap) = made(Tap::new("tap0")) else {
            return;
        };
        let socket = PlainSocket::open("tap0").unwrap();
        tap.write(&frame(5, 1514)).unwrap();
        assert_eq!(next(&socket).data, frame(5, 1514));
        socket.send(&frame(6, 60)).unwrap();
        assert_eq!(tap.read(SECOND).unwrap(), Some(frame(6, 60)));
        assert_eq!(tap.read(SHORT).unwrap(), None);
    });
}

#[test]
fn a_tap_can_carry_virtio_headers() {
    isolated(|| {
        let Some(tap) = made(Tap::with_vnet_header("tap0")) else {
            return;
        };
        let socket = PlainSocket::open("tap0").unwrap();
        tap.write(&[&[0; 10][..], &frame(5, 60)].concat()).unwrap();
        assert_eq!(next(&socket).data, frame(5, 60));
    });
}

/// The device, or a skip where this machine keeps /dev/net/tun from ordinary users.
fn made(tap: std::io::Result<Tap>) -> Option<Tap> {
    match tap {
        Err(error) if error.to_string().starts_with("/dev/net/tun") => {
            netns::skip(error);
            None
        }
        tap => Some(tap.unwrap()),
    }
}
