//! pktring-bridge.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use netns::{isolated, link, set_offload, Netns, Offload, PlainSocket, Tagged};

use crate::programs::Programs;
use crate::running::{Running, PATIENCE};
use crate::{mixed, send, text};

#[test]
fn bridges_both_ways_with_tags() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        link::add_veth("vc", "vd").unwrap();
        for name in ["vc", "vd"] {
            link::set_up(name).unwrap();
        }
        link::wait_up("vc").unwrap();
        link::wait_up("vd").unwrap();
        let programs = Programs::sanitized();
        let bridge = programs.start_several("pktring-bridge vb vc", 2);
        for (from, to) in [("va", "vd"), ("vd", "va")] {
            let receiver = programs.start(&format!("pktring-generate -R {to}"));
            programs.run(&format!(
                "pktring-generate -c 300 -r 5K -s 86-1500 --vlan 5 {from}"
            ));
            let report = text(&receiver.finish(0).stdout);
            assert!(
                report.starts_with("300 packets arrived, 0 lost"),
                "{report}"
            );
        }
        let far = PlainSocket::open("vd").unwrap();
        send("va", &mixed(1));
        let tag = loop {
            let packet = far.recv(Duration::from_secs(5)).unwrap();
            let packet = packet.expect("the tagged frame");
            if packet.protocol == 0x88b5 {
                break packet.vlan;
            }
        };
        assert_eq!(tag, Some((0x2064, 0x8100)));
        let said = text(&bridge.stop(0).stdout);
        assert!(said.contains("vb > vc: 304 frames passed"), "{said}");
        assert!(said.contains("vc > vb: 303 frames passed"), "{said}");
    });
}

/// Two hosts in namespaces of their own, with nothing but the bridge between them.
struct Hosts {
    a: Netns,
    b: Netns,
}

const A: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// The far ends of the veth pairs are a0 and b0; the bridge's own are a1 and b1, here.
fn hosts(mtu: u32) -> Hosts {
    let host = |near: &str, far: &str, address: Ipv4Addr| {
        let host = Netns::new().unwrap();
        link::add_veth(near, far).unwrap();
        link::set_mtu(near, mtu).unwrap();
        link::set_mtu(far, mtu).unwrap();
        link::move_to(far, &host).unwrap();
        link::set_up(near).unwrap();
        host.run(|| {
            link::set_up(far).unwrap();
            link::add_address(far, address.into(), 24).unwrap();
            link::wait_up(far).unwrap();
        });
        link::wait_up(near).unwrap();
        host
    };
    Hosts {
        a: host("a1", "a0", A),
        b: host("b1", "b0", B),
    }
}

/// Bytes that are exchanged, each way.
const ALL: u64 = 8 << 20;

/// Bytes that repeat late, different ones each way.
fn stream(seed: u8, length: u64) -> Vec<u8> {
    let byte = |at: usize| (at as u32).wrapping_mul(2654435761).to_le_bytes()[3] ^ seed;
    (0..length as usize).map(byte).collect()
}

/// Sends one stream and receives another at the same time, and compares every byte.
fn exchange(mut connection: TcpStream, length: u64, send: u8, receive: u8) {
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection.set_write_timeout(Some(PATIENCE)).unwrap();
    let mut sender = connection.try_clone().unwrap();
    let sending = thread::spawn(move || {
        sender.write_all(&stream(send, length)).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    connection.read_to_end(&mut received).unwrap();
    sending.join().unwrap();
    assert!(
        received == stream(receive, length),
        "{} bytes",
        received.len()
    );
}

impl Hosts {
    /// TCP between a and b, so many bytes both ways.
    fn talk(&self, length: u64) {
        let listener = self.b.run(|| TcpListener::bind((B, 0)).unwrap());
        let port = listener.local_addr().unwrap().port();
        thread::scope(|scope| {
            scope.spawn(move || exchange(listener.accept().unwrap().0, length, 1, 2));
            // Connected inside; a socket stays in its namespace.
            let limit = Duration::from_secs(20);
            let connection = self
                .a
                .run(|| TcpStream::connect_timeout(&(B, port).into(), limit).unwrap());
            exchange(connection, length, 2, 1);
        });
    }

    fn set_offloads(&self, on: bool) {
        for (host, name) in [(&self.a, "a0"), (&self.b, "b0")] {
            host.run(|| set_offload(name, Offload::TxChecksum, on).unwrap());
        }
    }
}

/// What the bridge says of one way: frames and bytes passed, dropped on the way and before.
fn counted(said: &str, way: &str) -> [u64; 4] {
    let line = said.lines().find(|line| line.starts_with(way)).expect(way);
    let numbers = line.split([' ', ',']).filter_map(|word| word.parse().ok());
    numbers.collect::<Vec<_>>().try_into().unwrap()
}

/// Stops it; what it counted must be what the interfaces did.
fn add_up(bridge: Running) -> ([[u64; 4]; 2], String) {
    let read = || ["a1", "b1"].map(|name| link::counters(name).unwrap());
    let mut counters = read();
    loop {
        thread::sleep(Duration::from_millis(200)); // the last acknowledgements
        let now = read();
        if now == counters {
            break;
        }
        counters = now;
    }
    let [a, b] = counters;
    let output = bridge.stop(0);
    let said = text(&output.stdout);
    let ways = ["a1 > b1:", "b1 > a1:"].map(|way| counted(&said, way));
    for (way, came, left) in [(ways[0], a, b), (ways[1], b, a)] {
        let [passed, bytes, dropped, before] = way;
        assert_eq!(passed + dropped + before, came.rx_packets, "{said}");
        // An interface counts every segment of what it sends, each with headers.
        assert!(left.tx_packets >= passed, "{said}");
        assert!(left.tx_bytes >= bytes, "{said}");
    }
    (ways, text(&output.stderr))
}

#[test]
fn real_tcp_passes_with_all_that_is_left_to_the_interface() {
    isolated(|| {
        let hosts = hosts(1500);
        let programs = Programs::sanitized();
        let bridge = programs.start_several("pktring-bridge a1 b1", 2);
        hosts.talk(ALL);
        let (ways, _) = add_up(bridge);
        for [passed, bytes, ..] in ways {
            assert!(bytes > ALL, "{ways:?}");
            assert!(passed < ALL / 1460 / 2, "segments were joined: {ways:?}");
        }
    });
}

#[test]
fn real_tcp_passes_with_nothing_left_to_the_interface() {
    isolated(|| {
        let hosts = hosts(1500);
        hosts.set_offloads(false);
        let programs = Programs::sanitized();
        let bridge = programs.start_several("pktring-bridge a1 b1", 2);
        hosts.talk(ALL);
        let (ways, _) = add_up(bridge);
        for [passed, bytes, ..] in ways {
            assert!(bytes > ALL && passed > ALL / 1460, "{ways:?}");
        }
    });
}

#[test]
fn real_tcp_passes_with_vlan_tags_and_all_that_is_left_to_the_interface() {
    isolated(|| {
        let hosts = hosts(1500);
        let tags = hosts.a.run(|| Tagged::new("a0", 0x2005));
        let tags = tags.and_then(|a| Ok([a, hosts.b.run(|| Tagged::new("b0", 0x2005))?]));
        let _tags = match tags {
            Err(error)
                if [ErrorKind::PermissionDenied, ErrorKind::InvalidInput]
                    .contains(&error.kind()) =>
            {
                return netns::skip(error);
            }
            tags => tags.unwrap(),
        };
        let programs = Programs::sanitized();
        for on in [true, false] {
            hosts.set_offloads(on);
            let witness = PlainSocket::open("a1").unwrap();
            let bridge = programs.start_several("pktring-bridge a1 b1", 2);
            hosts.talk(ALL);
            let seen = witness.recv(Duration::from_secs(1)).unwrap().unwrap();
            assert_eq!(seen.vlan, Some((0x2005, 0x8100)));
            let said = text(&bridge.stop(0).stdout);
            for way in ["a1 > b1:", "b1 > a1:"] {
                let [passed, bytes, ..] = counted(&said, way);
                assert!(bytes > ALL, "{said}");
                assert_eq!(passed < ALL / 1460 / 2, on, "{said}");
            }
        }
    });
}

#[test]
fn jumbo_frames_pass_where_both_sides_take_them() {
    isolated(|| {
        let hosts = hosts(9000);
        hosts.set_offloads(false);
        let programs = Programs::sanitized();
        let bridge = programs.start_several("pktring-bridge a1 b1", 2);
        hosts.talk(ALL);
        let (ways, said) = add_up(bridge);
        for [passed, ..] in ways {
            assert!(passed < ALL / 4000, "{ways:?}");
        }
        assert_eq!(said.lines().count(), 1, "{said}");
    });
}

/// What the other interface does not take is not sent, but counted and told.
#[test]
fn frames_that_are_too_long_are_counted_and_told() {
    isolated(|| {
        let hosts = hosts(9000);
        link::set_mtu("b1", 1500).unwrap();
        let programs = Programs::sanitized();
        let bridge = programs.start_several("pktring-bridge a1 b1", 2);
        let far = hosts.b.run(|| PlainSocket::open("b0").unwrap());
        let frames = [1514, 1515, 1518, 1519, 9014, 60].map(|length| {
            let mut frame = mixed(2)[1][..14].to_vec();
            frame.resize(length, 7);
            frame
        });
        hosts.a.run(|| send("a0", &frames));
        let mut lengths = Vec::new();
        while lengths.last() != Some(&60) {
            let packet = far.recv(PATIENCE).unwrap().expect("the last frame");
            if packet.protocol == 0x88b5 {
                lengths.push(packet.data.len());
            }
        }
        assert_eq!(lengths, [1514, 60]);
        let (ways, said) = add_up(bridge);
        assert_eq!(ways[0][2], 4);
        assert!(
            said.contains("a1 takes frames of 9014 bytes, b1 of 1514"),
            "{said}"
        );
        assert!(
            said.contains("a1 > b1: 4 frames were too long: b1 takes 1514"),
            "{said}"
        );
    });
}

/// Segments that are longer than a slot are told; TCP gets there with shorter ones.
#[test]
fn segments_of_more_than_64_kib_are_counted_and_told() {
    isolated(|| {
        let hosts = hosts(1500);
        let allow = |name| link::allow_big_tcp(name, 180_000).unwrap();
        let far = [(&hosts.a, "a0"), (&hosts.b, "b0")];
        let near = ["a1", "b1"].map(allow);
        if !far
            .map(|(host, name)| host.run(|| allow(name)))
            .contains(&true)
        {
            return netns::skip("the kernel has no BIG TCP over IPv4, which Linux 6.3 has");
        }
        assert_eq!(near, [true, true]);
        let programs = Programs::sanitized();
        let bridge = programs.start_several("pktring-bridge a1 b1", 2);
        hosts.talk(2 << 20);
        let (ways, said) = add_up(bridge);
        assert!(ways[0][2] + ways[1][2] > 0, "{ways:?}");
        assert!(said.contains("frames were too long: "), "{said}");
        assert!(
            said.contains("segments have to be cut from 64 KiB at most"),
            "{said}"
        );
    });
}
