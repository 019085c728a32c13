//! Ten facts about the kernel that decide how the library works. Each test provokes its fact with
//! the real kernel and shows what a program that uses the library sees of it.

mod common;

use common::process::{packet_sockets, thread_cpu_time};
use common::{data, frames, ring, small_ring, Failure, Pktring, LIMIT_MS, VERSIONS};
use netns::{isolated, link, throttle, PlainSocket, Tap, Throttle};
use pktring::capi::geometry::{pktring_ring, PKTRING_RX, PKTRING_TX, PKTRING_V3};
use pktring::capi::option::pktring_set_vnet_header;
use pktring::frame::Frame;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Slots, or blocks of one frame each.
const ROOM: u64 = 8;

/// A ring in which exactly ROOM frames have room.
fn tiny_ring(version: u32) -> pktring_ring {
    match version {
        PKTRING_V3 => pktring_ring {
            retire_timeout_ms: 1,
            ..ring(4096, ROOM as u32, 2048)
        },
        _ => ring(4096, ROOM as u32 / 2, 2048),
    }
}

fn receiver(version: u32, ring: &pktring_ring) -> Pktring {
    Pktring::open("vb")
        .version(version)
        .filter(&frames::own_only())
        .ring(PKTRING_RX, ring)
        .activate()
}

fn transmitter(version: u32) -> Pktring {
    Pktring::open("va")
        .version(version)
        .ring(PKTRING_TX, &ring(4096, ROOM as u32 / 2, 2048))
        .activate()
}

fn send(sender: &PlainSocket, numbers: std::ops::Range<u64>) {
    let all: Vec<_> = numbers.map(frames::frame).collect();
    sender.send_all(&all).unwrap();
}

/// Sends a frame and takes it, so that with V3 it has a block of its own.
fn pass(sender: &PlainSocket, handle: &Pktring, number: u64) -> Frame {
    send(sender, number..number + 1);
    let frame = handle.take();
    assert_eq!(data(&frame), frames::frame(number));
    frame
}

/// Numbers of the frames that arrived, up to now.
fn arrived(there: &PlainSocket) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Some(packet) = there.recv(Duration::from_millis(30)).unwrap() {
        if frames::is_own(&packet.data) {
            let number = frames::number(&packet.data);
            let whole = frames::frame_of_length(number, packet.data.len());
            assert_eq!(packet.data, whole);
            numbers.push(number);
        }
    }
    numbers
}

fn errno<T: std::fmt::Debug>(result: Result<T, Failure>) -> i32 {
    result.unwrap_err().errno
}

fn on_a_wire(test: impl Fn(u32, &str)) {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        for (version, name) in VERSIONS {
            test(version, name);
        }
    });
}

#[test]
fn fact_1_a_held_frame_stalls_the_ring_at_its_place() {
    on_a_wire(|version, name| {
        let sender = PlainSocket::sender("va").unwrap();
        let handle = receiver(version, &tiny_ring(version));
        let all: Vec<_> = (0..ROOM).map(|n| pass(&sender, &handle, n)).collect();
        for (number, frame) in all.iter().enumerate() {
            if number != 2 {
                handle.release(frame).unwrap();
            }
        }
        // The kernel fills up to the held place, and drops the rest.
        let mut next = 100;
        while handle.stats().dropped < 3 {
            send(&sender, next..next + 1);
            next += 1;
            if next < 103 {
                let frame = handle.take();
                assert_eq!(data(&frame), frames::frame(next - 1), "{name}");
                handle.release(&frame).unwrap();
            }
            assert!(next < 110, "{name}: two places are free, and no more");
        }
        assert_eq!(next, 105, "{name}");
        assert_eq!(
            errno(handle.next()),
            libc::EBUSY,
            "{name}: the library stops there too"
        );
        handle.release(&all[2]).unwrap();
        // It goes on in order from there.
        for number in 200..200 + 2 * ROOM {
            let frame = pass(&sender, &handle, number);
            handle.release(&frame).unwrap();
        }
        assert_eq!(handle.stats().dropped, 3, "{name}");
    });
}

#[test]
fn fact_2_a_release_must_store_exactly_0() {
    on_a_wire(|version, name| {
        let sender = PlainSocket::sender("va").unwrap();
        let handle = receiver(version, &tiny_ring(version));
        // Lossy, so that the kernel sets more bits than the one that says whose the frame is.
        let all: Vec<_> = (0..ROOM).map(|n| pass(&sender, &handle, n)).collect();
        send(&sender, 50..60);
        for frame in &all {
            handle.release(frame).unwrap();
        }
        for number in 100..100 + 2 * ROOM {
            let frame = pass(&sender, &handle, number);
            let status = status_word(version, &frame);
            let before = read_status(version, status);
            assert_ne!(
                before & !1,
                0,
                "{name}: a drop is marked beside the owner bit"
            );
            handle.release(&frame).unwrap();
            assert_eq!(
                read_status(version, status),
                0,
                "{name}: not only the owner bit"
            );
        }
        assert_eq!(handle.stats().dropped, 10, "{name}");
    });
}

/// The word that tells whose a frame is: its own status, or that of its V3 block of one page.
fn status_word(version: u32, frame: &Frame) -> *const u8 {
    let address = frame.addr.cast::<u8>();
    match version {
        PKTRING_V3 => ((address as usize & !4095) + 8) as *const u8,
        _ => address.wrapping_sub(32),
    }
}

fn read_status(version: u32, status: *const u8) -> u64 {
    // SAFETY: an aligned word of the ring, which is mapped as long as the handle is open.
    unsafe {
        match version {
            0 => status.cast::<usize>().read_volatile() as u64,
            _ => status.cast::<u32>().read_volatile().into(),
        }
    }
}

#[test]
fn fact_3_poll_says_readable_for_a_held_frame_and_writable_for_a_full_ring() {
    on_a_wire(|version, name| {
        let sender = PlainSocket::sender("va").unwrap();
        let handle = receiver(version, &tiny_ring(version));
        let held = pass(&sender, &handle, 0);
        assert_ne!(
            handle.poll(libc::POLLIN, 0) & libc::POLLIN,
            0,
            "{name}: it says so"
        );
        assert_sleeps(|| assert_eq!(handle.wait_rx(200), Ok(0), "{name}: but there is none"));
        handle.release(&held).unwrap();

        let crawl = Throttle {
            rate: 1000,
            burst: 1600,
            waiting: 1 << 20,
        };
        throttle("va", crawl).unwrap();
        let handle = transmitter(version);
        let mut number = 0;
        // The first frames pass in one burst; those behind them stay.
        while handle.stats().tx_in_flight < ROOM {
            let frame = frames::frame_of_length(number, 1500);
            if !handle.put(&frame, number).unwrap() {
                break;
            }
            number += 1;
            handle.flush(0).unwrap();
            handle.completions();
            assert!(number < 100, "{name}: the queue does not hold frames back");
        }
        assert_eq!(
            handle.reserve().unwrap().map(drop),
            None,
            "{name}: the ring is full"
        );
        assert_ne!(
            handle.poll(libc::POLLOUT, 0) & libc::POLLOUT,
            0,
            "{name}: it says so"
        );
        assert_sleeps(|| {
            let result = handle.wait(PKTRING_TX, 200);
            assert_eq!(result, Ok(0), "{name}: but there is no room");
        });
        netns::unthrottle("va").unwrap();
    });
}

/// Runs what should sleep for its 200 ms.
fn assert_sleeps(body: impl FnOnce()) {
    let before = thread_cpu_time();
    body();
    let used = thread_cpu_time() - before;
    assert!(
        used < Duration::from_millis(80),
        "{used:?} of processor time"
    );
}

#[test]
fn fact_4_pollerr_stays_until_the_error_is_read() {
    on_a_wire(|version, name| {
        let handle = receiver(version, &tiny_ring(version));
        link::set_down("vb").unwrap();
        for _ in 0..3 {
            assert_ne!(
                handle.poll(libc::POLLIN, 0) & libc::POLLERR,
                0,
                "{name}: every time"
            );
        }
        assert_eq!(errno(handle.wait_rx(LIMIT_MS)), libc::ENETDOWN, "{name}");
        assert_eq!(
            handle.poll(libc::POLLIN, 0) & libc::POLLERR,
            0,
            "{name}: read"
        );
        assert_sleeps(|| assert_eq!(handle.wait_rx(200), Ok(0), "{name}"));
        for end in ["va", "vb"] {
            link::set_up(end).unwrap();
        }
        for end in ["va", "vb"] {
            link::wait_up(end).unwrap();
        }
    });
}

#[test]
fn fact_5_frames_are_sent_strictly_in_the_order_of_their_slots() {
    on_a_wire(|version, name| {
        let there = PlainSocket::open("vb").unwrap();
        let handle = transmitter(version);
        for lap in 0..5 {
            let base = lap * 10;
            let slots: Vec<_> = (0..4).map(|_| handle.reserve().unwrap().unwrap()).collect();
            let commit = |nth: usize| {
                let frame = frames::frame(base + nth as u64);
                common::write(&slots[nth], &frame);
                handle.commit(&slots[nth], frame.len() as u32).unwrap();
            };
            // Behind a hole nothing moves, and the kernel never sees what is behind it.
            commit(2);
            commit(1);
            handle.flush(0).unwrap();
            assert_eq!(arrived(&there), [], "{name}");
            commit(0);
            assert_eq!(handle.flush(LIMIT_MS), Ok(0), "{name}");
            assert_eq!(arrived(&there), [base, base + 1, base + 2], "{name}");
            // A reservation that is given up leaves no hole.
            let last = handle.reserve().unwrap().unwrap();
            handle.abort(&slots[3]).unwrap();
            let frame = frames::frame(base + 3);
            common::write(&last, &frame);
            handle.commit(&last, frame.len() as u32).unwrap();
            assert_eq!(handle.flush(LIMIT_MS), Ok(0), "{name}");
            assert_eq!(arrived(&there), [base + 3], "{name}");
        }
    });
}

#[test]
fn fact_6_what_was_sent_is_told_by_the_statuses_alone() {
    on_a_wire(|version, name| {
        link::set_mtu("va", 1500).unwrap();
        let there = PlainSocket::open("vb").unwrap();
        let handle = transmitter(version);
        // After the commit the third frame becomes too long, for which send() returns -1 although
        // it has sent two, and 0 from then on.
        let lengths = [100, 200, 1514, 300, 400];
        for (number, length) in (0..).zip(lengths) {
            assert!(handle
                .put(&frames::frame_of_length(number, length), number)
                .unwrap());
        }
        link::set_mtu("va", 1000).unwrap();
        assert_eq!(handle.flush(LIMIT_MS), Ok(0), "{name}");
        assert_eq!(arrived(&there), [0, 1, 3, 4], "{name}");
        let fates: Vec<_> = handle
            .completions()
            .iter()
            .map(|c| (c.user_data, c.length as usize, c.error))
            .collect();
        let expected: Vec<_> = (0..)
            .zip(lengths)
            .map(|(n, length)| (n, length, if n == 2 { -libc::EMSGSIZE } else { 0 }))
            .collect();
        assert_eq!(fates, expected, "{name}");
        let stats = handle.stats();
        assert_eq!((stats.tx_frames, stats.tx_refused), (4, 1), "{name}");
        assert_eq!((stats.tx_bytes, stats.tx_in_flight), (1000, 0), "{name}");
        // The ring goes on.
        assert!(handle.put(&frames::frame_of_length(9, 500), 9).unwrap());
        assert_eq!(handle.flush(LIMIT_MS), Ok(0), "{name}");
        assert_eq!(arrived(&there), [9], "{name}");
    });
}

#[test]
fn fact_7_lengths_that_the_kernel_takes_for_negative_never_reach_it() {
    on_a_wire(|version, name| {
        let there = PlainSocket::open("vb").unwrap();
        let handle = transmitter(version);
        let slot = handle.reserve().unwrap().unwrap();
        for length in [
            0,
            13,
            1515,
            2048,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_fff2,
            u32::MAX,
        ] {
            let failure = handle.commit(&slot, length).unwrap_err();
            assert_eq!(failure.errno, libc::EMSGSIZE, "{name} {length}");
            assert!(failure.text.contains(": 14 to 151"), "{}", failure.text);
            assert_eq!(handle.flush(0), Ok(0), "{name} {length}");
        }
        // The reservation is as it was.
        let frame = frames::frame_of_length(1, 1514);
        common::write(&slot, &frame);
        handle.commit(&slot, 1514).unwrap();
        assert_eq!(handle.flush(LIMIT_MS), Ok(0), "{name}");
        assert_eq!(arrived(&there), [1], "{name}");
        assert_eq!(handle.stats().tx_frames, 1, "{name}");
    });
}

#[test]
fn fact_8_a_socket_lives_as_long_as_its_ring_is_mapped() {
    on_a_wire(|version, name| {
        assert_eq!(packet_sockets(), 0, "{name}");
        let (address, length) = {
            let socket = plain_ring();
            // SAFETY: a new shared mapping of the ring just made.
            let address = unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    8192,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_SHARED,
                    socket.as_raw_fd(),
                    0,
                )
            };
            assert_ne!(address, libc::MAP_FAILED);
            (address, 8192)
        };
        assert_eq!(packet_sockets(), 1, "{name}: closed, but still there");
        // SAFETY: the mapping just made, not used any more.
        assert_eq!(unsafe { libc::munmap(address, length) }, 0);
        assert_eq!(packet_sockets(), 0, "{name}");

        // So the library unmaps before it closes, whatever the program still holds.
        let sender = PlainSocket::sender("va").unwrap();
        let handle = receiver(version, &tiny_ring(version));
        pass(&sender, &handle, 0);
        assert_eq!(packet_sockets(), 2, "{name}");
        assert_eq!(handle.close(), 0);
        assert_eq!(packet_sockets(), 1, "{name}: the sender's");
    });
}

/// A socket with a ring of two pages, made without the library.
fn plain_ring() -> OwnedFd {
    let request = libc::tpacket_req {
        tp_block_size: 4096,
        tp_block_nr: 2,
        tp_frame_size: 2048,
        tp_frame_nr: 4,
    };
    // SAFETY: calls with numbers, and one struct of the length given; the descriptor is ours.
    unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
        assert!(fd >= 0);
        let socket = OwnedFd::from_raw_fd(fd);
        let set = libc::setsockopt(
            fd,
            libc::SOL_PACKET,
            libc::PACKET_RX_RING,
            (&raw const request).cast(),
            std::mem::size_of_val(&request) as u32,
        );
        assert_eq!(set, 0);
        socket
    }
}

/// What a TAP device with virtio_net headers is given: a UDP datagram of several fragments, which
/// no such header can express on the way to a packet socket.
fn inexpressible() -> Vec<u8> {
    const GSO_UDP: u8 = 3;
    let length = 3000;
    let mut bytes = vec![0; 10 + length];
    bytes[..2].copy_from_slice(&[1, GSO_UDP]);
    for (at, value) in [(2, 42u16), (4, 1400), (6, 34), (8, 6)] {
        bytes[at..at + 2].copy_from_slice(&value.to_ne_bytes());
    }
    let frame = &mut bytes[10..];
    frame[..6].fill(0xff);
    frame[6] = 2;
    frame[12] = 8;
    let packet = &mut frame[14..];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(length as u16 - 14).to_be_bytes());
    (packet[8], packet[9]) = (64, 17);
    packet[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    let sum: u32 = packet[..20]
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
        .sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet[20..24].copy_from_slice(&[0x10, 0, 0x20, 0]);
    packet[24..26].copy_from_slice(&(length as u16 - 34).to_be_bytes());
    bytes
}

/// An ordinary frame, with an empty virtio_net header before it.
fn ordinary(number: u64) -> Vec<u8> {
    let mut bytes = vec![0; 10];
    bytes.extend(frames::frame(number));
    bytes
}

/// A TAP device that lets such datagrams in; `None`, and a skip, where there is none to be had.
fn vnet_tap() -> Option<Tap> {
    const TUN_F_CSUM: u32 = 1;
    const TUN_F_TSO4: u32 = 2;
    const TUN_F_UFO: u32 = 16;
    match Tap::with_vnet_header("tap0") {
        Ok(tap) => {
            tap.set_offload(TUN_F_CSUM | TUN_F_TSO4 | TUN_F_UFO)
                .unwrap();
            Some(tap)
        }
        Err(error) => {
            netns::skip(error);
            None
        }
    }
}

fn vnet_receiver(version: u32) -> Pktring {
    let handle = Pktring::open("tap0").version(version);
    // SAFETY: the handle is open.
    let code = unsafe { pktring_set_vnet_header(handle.raw(), 10) };
    handle.result(code).unwrap();
    handle.ring(PKTRING_RX, &small_ring(version, 16)).activate()
}

#[test]
fn fact_9_v3_blocks_hold_no_packets_or_phantoms_at_times() {
    isolated(|| {
        blocks_without_packets();
        if let Some(tap) = vnet_tap() {
            phantoms(&tap);
        }
    });
}

/// The kernel closes an empty block when a frame is too long for it.
fn blocks_without_packets() {
    link::veth("va", "vb").unwrap();
    link::set_mtu("va", 9000).unwrap();
    link::set_mtu("vb", 9000).unwrap();
    let sender = PlainSocket::sender("va").unwrap();
    let handle = receiver(PKTRING_V3, &tiny_ring(PKTRING_V3));
    sender.send(&frames::frame_of_length(1, 9000)).unwrap();
    let block = handle.take_block();
    assert_eq!(
        (block.sequence, block.frame_count),
        (2, 1),
        "the first was empty"
    );
    handle.release_block(&block).unwrap();
}

/// Frames that are counted in their block, but never filled.
fn phantoms(tap: &Tap) {
    let handle = vnet_receiver(PKTRING_V3);
    for number in 0..50 {
        tap.write(&ordinary(2 * number)).unwrap();
        tap.write(&inexpressible()).unwrap();
        tap.write(&ordinary(2 * number + 1)).unwrap();
        for due in [2 * number, 2 * number + 1] {
            let frame = handle.take();
            assert_eq!(data(&frame), frames::frame(due), "{number}");
            handle.release(&frame).unwrap();
        }
    }
    let stats = handle.stats();
    assert_eq!((stats.frames, stats.corrupt, stats.held), (100, 0, 0));
}

#[test]
fn fact_10_a_frame_that_virtio_cannot_express_wedges_v1_and_v2_rings_until_they_are_made_anew() {
    isolated(|| {
        for (version, name) in VERSIONS {
            let Some(tap) = vnet_tap() else { return };
            wedge(&tap, version, name);
        }
    });
}

fn wedge(tap: &Tap, version: u32, name: &str) {
    let handle = vnet_receiver(version);
    tap.write(&ordinary(0)).unwrap();
    let frame = handle.take();
    assert_eq!(data(&frame), frames::frame(0), "{name}");
    handle.release(&frame).unwrap();
    tap.write(&inexpressible()).unwrap();
    // More than the ring has room for: if it were not wedged, they would be there.
    for number in 1..100 {
        tap.write(&ordinary(number)).unwrap();
    }
    if version == PKTRING_V3 {
        let frame = handle.take();
        assert_eq!(data(&frame), frames::frame(1), "{name} knows no such fault");
        return;
    }
    assert_eq!(
        handle.next().unwrap().map(|frame| frame.len),
        None,
        "{name}"
    );
    let stats = handle.stats();
    assert!(stats.dropped > 50, "{name}: {stats:?}");
    assert_eq!(
        (stats.frames, stats.held),
        (1, 0),
        "{name}: and no one holds it up"
    );
    drop(handle);
    let handle = vnet_receiver(version);
    tap.write(&ordinary(200)).unwrap();
    assert_eq!(data(&handle.take()), frames::frame(200), "{name}");
}
