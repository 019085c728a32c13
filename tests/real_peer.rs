//! TCP connections and UDP datagrams between two network namespaces, captured while they run: the
//! library must have seen packet for packet what an independent capture saw of the same traffic.

mod common;

use common::frames::mixed;
use common::{address, data, ring, Pktring, VERSIONS};
use netns::{isolated, link, Netns, PlainSocket};
use pktring::capi::geometry::{pktring_ring, PKTRING_RX, PKTRING_V3};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

const HERE: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(10, 9, 8, 2);

/// Connections, one after the other.
const CONNECTIONS: u64 = 5;
/// Requests on each of them, answered before the next is made.
const REQUESTS: u64 = 60;
/// The longest request. The kernel hands it to the wire as one packet, far longer than the MTU.
const LONGEST: u64 = 20_000;

/// How long nothing must arrive before all has arrived.
const QUIET: Duration = Duration::from_millis(300);

/// A packet as a capture saw it: how it passed, its length, its bytes.
type Seen = (u8, u32, Vec<u8>);

/// A ring whose slots, or blocks, hold the longest request whole, and all packets of a test: the
/// connections go on when the thread that reads is late.
fn roomy_ring(version: u32) -> pktring_ring {
    match version {
        PKTRING_V3 => ring(1 << 20, 64, 2048),
        _ => ring(32 << 10, 4096, 32 << 10),
    }
}

/// Bytes that follow from where they are.
fn message(connection: u64, request: u64) -> Vec<u8> {
    let seed = connection * REQUESTS + request;
    let length = 1 + mixed(seed) % LONGEST;
    (0..length).map(|at| mixed(seed ^ at << 20) as u8).collect()
}

/// Answers every request with the same bytes.
fn serve_tcp(listener: &TcpListener) {
    for _ in 0..CONNECTIONS {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => break,
                length => stream.write_all(&buffer[..length]).unwrap(),
            }
        }
    }
}

fn serve_udp(socket: &UdpSocket) {
    let mut buffer = [0; 2000];
    for _ in 0..REQUESTS {
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        socket.send_to(&buffer[..length], from).unwrap();
    }
}

/// Sends a request while its answer is read, which is how much is under way at most.
fn ask_tcp(stream: &TcpStream, request: &[u8]) {
    thread::scope(|scope| {
        scope.spawn(|| (&mut &*stream).write_all(request).unwrap());
        let mut answer = vec![0; request.len()];
        (&mut &*stream).read_exact(&mut answer).unwrap();
        assert_eq!(answer, request);
    });
}

/// The traffic, from this end. Returns the bytes that TCP carried each way.
fn talk(tcp: SocketAddr, udp: SocketAddr) -> u64 {
    let mut bytes = 0;
    for connection in 0..CONNECTIONS {
        let stream = TcpStream::connect(tcp).unwrap();
        stream.set_nodelay(true).unwrap();
        for request in 0..REQUESTS {
            let message = message(connection, request);
            bytes += message.len() as u64;
            ask_tcp(&stream, &message);
        }
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!((&mut &stream).read(&mut [0]).unwrap(), 0);
    }
    let socket = UdpSocket::bind((HERE, 0)).unwrap();
    socket.connect(udp).unwrap();
    for request in 0..REQUESTS {
        let datagram = &message(CONNECTIONS, request)[..];
        let datagram = &datagram[..datagram.len().min(1400)];
        socket.send(datagram).unwrap();
        let mut answer = [0; 2000];
        let length = socket.recv(&mut answer).unwrap();
        assert_eq!(&answer[..length], datagram);
    }
    bytes
}

/// Everything that the library sees until it is quiet after `done`.
fn capture(handle: &Pktring, done: &AtomicBool) -> Vec<Seen> {
    let mut seen = Vec::new();
    loop {
        let over = done.load(Ordering::Acquire);
        match handle.wait_rx(QUIET.as_millis() as i32).unwrap() {
            0 if over => return seen,
            _ => {}
        }
        while let Some(frame) = handle.next().unwrap() {
            seen.push((address(&frame).pkttype, frame.len, data(&frame).to_vec()));
            handle.release(&frame).unwrap();
        }
    }
}

/// Everything that the plain socket sees until it is quiet after `done`.
fn capture_plainly(socket: &PlainSocket, done: &AtomicBool) -> Vec<Seen> {
    let mut seen = Vec::new();
    loop {
        let over = done.load(Ordering::Acquire);
        match socket.recv(QUIET).unwrap() {
            Some(packet) => seen.push((packet.kind, packet.length, packet.data)),
            None if over => return seen,
            None => {}
        }
    }
}

/// How often each packet was seen. Two captures of one interface need not agree on the order of
/// packets that pass in different directions at the same time.
fn counted(packets: &[Seen]) -> BTreeMap<&Seen, usize> {
    let mut counts = BTreeMap::new();
    for packet in packets {
        *counts.entry(packet).or_insert(0) += 1;
    }
    counts
}

/// Bytes of TCP payload that passed in that direction, repetitions included.
fn tcp_payload(packets: &[Seen], outgoing: bool) -> u64 {
    let outgoing_kind = 4;
    packets
        .iter()
        .filter(|(kind, _, data)| (*kind == outgoing_kind) == outgoing && data[12..14] == [8, 0])
        .filter(|(_, _, data)| data[23] == 6)
        .map(|(_, _, data)| {
            let ip_header = usize::from(data[14] & 15) * 4;
            let total = usize::from(u16::from_be_bytes([data[16], data[17]]));
            let tcp_header = usize::from(data[14 + ip_header + 12] >> 4) * 4;
            (total - ip_header - tcp_header) as u64
        })
        .sum()
}

fn captured_packet_for_packet(version: u32) {
    isolated(|| {
        let there = Netns::new().unwrap();
        link::add_veth("va", "vb").unwrap();
        link::move_to("vb", &there).unwrap();
        link::add_address("va", IpAddr::V4(HERE), 24).unwrap();
        link::set_up("va").unwrap();
        there.run(|| {
            link::add_address("vb", IpAddr::V4(THERE), 24).unwrap();
            link::set_up("vb").unwrap();
            link::wait_up("vb").unwrap();
        });
        link::wait_up("va").unwrap();
        // Sockets keep the namespace that they were made in.
        let (listener, datagrams) = there.run(|| {
            let listener = TcpListener::bind((THERE, 0)).unwrap();
            (listener, UdpSocket::bind((THERE, 0)).unwrap())
        });
        let tcp = listener.local_addr().unwrap();
        let udp = datagrams.local_addr().unwrap();

        let handle = Pktring::capture("va", version, &roomy_ring(version));
        let independent = PlainSocket::open_both_ways("va").unwrap();
        independent.set_receive_buffer(64 << 20).unwrap();
        let done = AtomicBool::new(false);
        let (ours, theirs, bytes) = thread::scope(|scope| {
            scope.spawn(|| serve_tcp(&listener));
            scope.spawn(|| serve_udp(&datagrams));
            let ours = scope.spawn(|| capture(&handle, &done));
            let theirs = scope.spawn(|| capture_plainly(&independent, &done));
            let bytes = talk(tcp, udp);
            done.store(true, Ordering::Release);
            (ours.join().unwrap(), theirs.join().unwrap(), bytes)
        });

        assert_eq!(handle.stats().dropped, 0);
        assert_eq!(ours.len(), theirs.len());
        assert!(counted(&ours) == counted(&theirs), "not the same packets");
        // Both directions, all of what was said, and packets that are longer than the MTU.
        for outgoing in [false, true] {
            assert!(
                tcp_payload(&ours, outgoing) >= bytes,
                "{bytes} bytes were said"
            );
        }
        assert!(ours.len() as u64 > 2 * CONNECTIONS * REQUESTS);
        assert!(ours.iter().any(|(_, length, _)| *length > 1514));
        let whole = |(_, length, data): &Seen| *length as usize == data.len();
        assert!(ours.iter().all(whole));
        assert_eq!(
            handle.get_ring(PKTRING_RX).unwrap().block_size,
            roomy_ring(version).block_size
        );
    });
}

#[test]
fn v1_captures_connections_packet_for_packet() {
    captured_packet_for_packet(VERSIONS[0].0);
}

#[test]
fn v2_captures_connections_packet_for_packet() {
    captured_packet_for_packet(VERSIONS[1].0);
}

#[test]
fn v3_captures_connections_packet_for_packet() {
    captured_packet_for_packet(VERSIONS[2].0);
}
