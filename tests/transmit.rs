//! Transmitting through the C API over real links: what the kernel makes of a transmit ring when
//! not everything goes well. That everything arrives when it does is for `matrix.rs`.

mod common;

use common::frames::{self, frame_of_length, EXPERIMENT};
use common::process::thread_cpu_time;
use common::signals::{break_target, do_nothing, with_signals, SetTarget};
use common::{write, Failure, Pktring, METHODS, VERSIONS};
use netns::{isolated, link, throttle, PlainSocket, Tap, Throttle};
use pktring::capi::config::{PKTRING_TX_METHOD_COPY, PKTRING_TX_METHOD_RING};
use pktring::capi::geometry::{pktring_ring, PKTRING_DGRAM, PKTRING_TX, PKTRING_V2, PKTRING_V3};
use pktring::capi::option::*;
use pktring::capi::tuning::pktring_set_buffer;
use pktring::capi::tx::*;
use std::ffi::c_void;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// How frames get to the kernel.
#[derive(Clone, Copy)]
struct Way {
    version: u32,
    method: u32,
}

impl From<u32> for Way {
    fn from(version: u32) -> Way {
        Way {
            version,
            method: PKTRING_TX_METHOD_RING,
        }
    }
}

/// Every way, with its name.
fn ways() -> impl Iterator<Item = (Way, String)> {
    METHODS.into_iter().flat_map(|(method, how)| {
        VERSIONS.map(|(version, name)| (Way { version, method }, format!("{name}, {how}")))
    })
}

/// The ways of one version.
fn ways_of(version: u32) -> [Way; 2] {
    METHODS.map(|(method, _)| Way { version, method })
}

/// A handle that transmits alone, not active.
fn configured(device: &str, way: impl Into<Way>) -> Pktring {
    with_ring(device, way, &common::ring(0, 0, 0))
}

fn with_ring(device: &str, way: impl Into<Way>, ring: &pktring_ring) -> Pktring {
    let way = way.into();
    Pktring::open(device)
        .version(way.version)
        .tx_method(way.method)
        .ring(PKTRING_TX, ring)
}

fn sender(device: &str, way: impl Into<Way>) -> Pktring {
    configured(device, way).activate()
}

/// A veth pair, and a plain socket at its other end.
fn wire() -> PlainSocket {
    link::veth("va", "vb").unwrap();
    let peer = PlainSocket::open("vb").unwrap();
    peer.set_receive_buffer(4 << 20).unwrap();
    peer
}

/// Takes `va` down and up again.
fn flap() {
    link::set_down("va").unwrap();
    bring_up();
}

fn bring_up() {
    link::set_up("va").unwrap();
    link::wait_up("va").unwrap();
    link::wait_up("vb").unwrap();
}

fn bypass_queue(handle: &Pktring) {
    // SAFETY: the handle is open.
    let code = unsafe { pktring_set_qdisc_bypass(handle.raw(), 1) };
    handle.result(code).unwrap();
}

fn errno<T>(result: Result<T, Failure>) -> i32 {
    result.err().map_or(0, |failure| failure.errno)
}

/// (user_data, error) of the frames that are done.
fn done(handle: &Pktring) -> Vec<(u64, i32)> {
    let completions = handle.completions();
    completions.iter().map(|c| (c.user_data, c.error)).collect()
}

fn all_sent(range: std::ops::Range<u64>) -> Vec<(u64, i32)> {
    range.map(|number| (number, 0)).collect()
}

/// Puts the frames into the ring, numbered from 0.
fn put_all(handle: &Pktring, frames: &[Vec<u8>]) {
    for (number, frame) in (0..).zip(frames) {
        assert!(handle.put(frame, number).unwrap(), "the ring is full");
    }
}

/// The next frame of a test at `peer`.
fn arrived(peer: &PlainSocket, timeout: Duration) -> Option<netns::Packet> {
    let end = Instant::now() + timeout;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let packet = peer.recv(left).unwrap()?;
        if packet.protocol == EXPERIMENT || packet.vlan.is_some() {
            return Some(packet);
        }
    }
}

/// Takes exactly `expected` from `peer`, and sees that nothing follows.
fn receives(peer: &PlainSocket, expected: &[Vec<u8>]) {
    for (i, expected) in expected.iter().enumerate() {
        let packet = arrived(peer, 5 * SECOND).unwrap_or_else(|| panic!("frame {i} is missing"));
        assert!(packet.data == *expected, "frame {i} is wrong");
    }
    assert_eq!(arrived(peer, SECOND / 50), None, "a frame too many");
}

#[test]
fn lengths_that_the_kernel_would_refuse_do_not_reach_it() {
    isolated(|| {
        let peer = wire();
        let plain = PlainSocket::sender("va").unwrap();
        for (way, name) in ways() {
            let handle = sender("va", way);
            let slot = handle.reserve().unwrap().unwrap();
            write(&slot, &frame_of_length(1, 1518));
            for length in [0, 1, 13, 1515, 1518, 1519, 1 << 31, u32::MAX] {
                let result = handle.commit(&slot, length);
                assert_eq!(errno(result), libc::EMSGSIZE, "{name} {length}");
            }
            let failure = handle.commit(&slot, 1515).unwrap_err();
            assert!(failure.text.contains("1515") && failure.text.contains("14 to 1514"));
            // The tag of 802.1ad gets no room beyond the MTU, that of 802.1Q does.
            let mut tagged = frame_of_length(1, 1518);
            tagged[12..14].copy_from_slice(&[0x88, 0xa8]);
            write(&slot, &tagged);
            assert_eq!(errno(handle.commit(&slot, 1518)), libc::EMSGSIZE);
            assert!(plain.send(&tagged).is_err(), "the kernel agrees");
            tagged[12..14].copy_from_slice(&[0x81, 0x00]);
            write(&slot, &tagged);
            assert_eq!(errno(handle.commit(&slot, 1519)), libc::EMSGSIZE);
            handle.commit(&slot, 1518).unwrap();
            let shortest = frame_of_length(2, 60)[..14].to_vec();
            assert!(handle.put(&shortest, 1).unwrap());
            assert!(handle.put(&frame_of_length(3, 1514), 2).unwrap());
            assert_eq!(handle.flush(1000), Ok(0));
            assert_eq!(done(&handle), all_sent(0..3));
            let packet = arrived(&peer, SECOND).unwrap();
            assert!(packet.vlan.is_some());
            assert_eq!(packet.data[12..], tagged[16..]);
            receives(&peer, &[shortest, frame_of_length(3, 1514)]);
        }
    });
}

#[test]
fn a_slot_smaller_than_the_mtu_takes_exactly_what_it_has_room_for() {
    isolated(|| {
        let peer = wire();
        for (way, name) in ways() {
            let handle = with_ring("va", way, &common::ring(4096, 4, 1024)).activate();
            let slot = handle.reserve().unwrap().unwrap();
            let header = if way.version == PKTRING_V3 { 48 } else { 32 };
            let room = 1024 - header;
            assert_eq!(slot.capacity, room, "{name}");
            for length in [room + 1, 1024, 1025, 1514] {
                let failure = handle.commit(&slot, length).unwrap_err();
                assert_eq!(failure.errno, libc::EMSGSIZE, "{name} {length}");
                assert!(failure.text.contains(&room.to_string()), "{failure:?}");
            }
            let all = [room, room - 1].map(|length| frame_of_length(1, length as usize));
            write(&slot, &all[0]);
            handle.commit(&slot, room).unwrap();
            assert!(handle.put(&all[1], 1).unwrap());
            assert_eq!(handle.flush(1000), Ok(0));
            receives(&peer, &all);
        }
    });
}

#[test]
fn a_frame_of_more_pages_than_the_kernel_can_send_is_refused_alone() {
    isolated(|| {
        let peer = wire();
        let way = Way::from(PKTRING_V2);
        let handle = with_ring("va", way, &common::ring(1 << 17, 4, 1 << 17));
        // SAFETY: the handle is open.
        let code = unsafe { pktring_set_vnet_header(handle.raw(), 10) };
        handle.result(code).unwrap();
        let handle = handle.activate();
        // With a virtio_net header the MTU is no limit; 17 pages are one.
        let long = vec![0; 100_000];
        let with_header = |number| [vec![0; 10], frames::frame(number)].concat();
        assert!(handle.put(&with_header(0), 0).unwrap());
        assert!(handle.put(&long, 1).unwrap());
        assert!(handle.put(&with_header(2), 2).unwrap());
        assert_eq!(handle.flush(5000), Ok(0));
        assert_eq!(done(&handle), [(0, 0), (1, -libc::EFAULT), (2, 0)]);
        receives(&peer, &[frames::frame(0), frames::frame(2)]);
    });
}

#[test]
fn a_payload_may_be_empty_and_as_long_as_the_mtu() {
    isolated(|| {
        let peer = wire();
        for (way, _) in ways() {
            let handle = configured("va", way).mode(PKTRING_DGRAM).activate();
            handle.destination(frames::TO, EXPERIMENT);
            let slot = handle.reserve().unwrap().unwrap();
            assert_eq!(slot.capacity, 1500);
            write(&slot, &[5; 1500]);
            assert_eq!(errno(handle.commit(&slot, 1501)), libc::EMSGSIZE);
            handle.commit(&slot, 1500).unwrap();
            assert!(handle.put(&[], 1).unwrap());
            assert_eq!(handle.flush(1000), Ok(0));
            assert_eq!(done(&handle), all_sent(0..2));
            let long = arrived(&peer, SECOND).unwrap().data;
            assert_eq!(long[..6], frames::TO);
            assert_eq!(long[14..], [5; 1500]);
            assert_eq!(arrived(&peer, SECOND).unwrap().data.len(), 14);
        }
    });
}

#[test]
fn a_payload_without_a_destination_is_refused_and_told() {
    isolated(|| {
        let peer = wire();
        for way in ways_of(PKTRING_V2) {
            let handle = configured("va", way).mode(PKTRING_DGRAM).activate();
            assert!(handle.put(&[5; 100], 0).unwrap());
            assert_eq!(handle.flush(1000), Ok(0));
            assert_eq!(done(&handle), [(0, -libc::EINVAL)]);
            assert_asks_for_a_destination(inject(&handle, &[5; 100]), libc::EINVAL);
            done(&handle);
            handle.destination(frames::TO, EXPERIMENT);
            assert!(handle.put(&[6; 100], 1).unwrap());
            assert_eq!(handle.flush(1000), Ok(0));
            assert_eq!(done(&handle), [(1, 0)]);
            assert_eq!(arrived(&peer, SECOND).unwrap().data[14..], [6; 100]);
        }
    });
}

#[test]
fn a_handle_on_all_interfaces_asks_for_a_destination() {
    isolated(|| {
        let peer = wire();
        for way in ways_of(PKTRING_V2) {
            let handle = configured("any", way).activate();
            let frame = frame_of_length(0, 60);
            assert!(handle.put(&frame, 0).unwrap());
            assert_asks_for_a_destination(handle.flush(1000), libc::ENODEV);
            let socket_alone = Pktring::open("any").activate();
            assert_asks_for_a_destination(inject(&socket_alone, &frame), libc::ENODEV);
            handle.destination_on(link::index("va").unwrap(), frames::TO, EXPERIMENT);
            assert_eq!(handle.flush(1000), Ok(0));
            receives(&peer, &[frame]);
        }
    });
}

fn assert_asks_for_a_destination(result: Result<i32, Failure>, errno: i32) {
    let failure = result.unwrap_err();
    assert_eq!(failure.errno, errno);
    assert!(
        failure.text.contains("pktring_set_destination"),
        "{}",
        failure.text
    );
}

#[test]
fn frames_too_long_for_a_lowered_mtu_are_told_and_the_others_sent() {
    isolated(|| {
        let peer = wire();
        for (way, _) in ways() {
            link::set_mtu("va", 1500).unwrap();
            let handle = sender("va", way);
            let lengths = [1514, 100, 1514, 1514, 1014, 1015, 200];
            let all: Vec<_> = (0..)
                .zip(lengths)
                .map(|(n, l)| frame_of_length(n, l))
                .collect();
            put_all(&handle, &all);
            link::set_mtu("va", 1000).unwrap();
            assert_eq!(handle.flush(1000), Ok(0));
            let long = -libc::EMSGSIZE;
            assert_eq!(
                done(&handle),
                [
                    (0, long),
                    (1, 0),
                    (2, long),
                    (3, long),
                    (4, 0),
                    (5, long),
                    (6, 0)
                ]
            );
            receives(&peer, &[&all[1], &all[4], &all[6]].map(Clone::clone));
            let stats = handle.stats();
            assert_eq!((stats.tx_frames, stats.tx_bytes), (3, 1314));
            assert_eq!((stats.tx_refused, stats.tx_in_flight), (4, 0));

            // A raised MTU is noticed by the first frame that needs it.
            link::set_mtu("va", 1200).unwrap();
            let slot = handle.reserve().unwrap().unwrap();
            assert_eq!(slot.capacity, 1018);
            write(&slot, &frame_of_length(7, 1018));
            handle.commit(&slot, 1018).unwrap();
            let last = frame_of_length(8, 1214);
            assert!(handle.put(&last, 8).unwrap());
            assert_eq!(handle.flush(1000), Ok(0));
            receives(&peer, &[frame_of_length(7, 1018), last]);
        }
    });
}

#[test]
fn frames_leave_in_the_order_of_reservation_without_those_given_up() {
    isolated(|| {
        let peer = wire();
        for (way, _) in ways() {
            let handle = sender("va", way);
            let other = sender("va", way);
            let all: Vec<_> = (0..6).map(frames::frame).collect();
            let mut slots = Vec::new();
            for (number, frame) in (0..).zip(&all) {
                let mut slot = handle.reserve().unwrap().unwrap();
                slot.user_data = number;
                write(&slot, frame);
                slots.push(slot);
            }
            let commit = |n: usize| handle.commit(&slots[n], all[n].len() as u32);
            for n in [5, 3, 1] {
                commit(n).unwrap();
            }
            assert_eq!(handle.flush(1000), Ok(0));
            receives(&peer, &[]);
            commit(0).unwrap();
            assert_eq!(handle.flush(1000), Ok(0));
            receives(&peer, &all[..2]);
            assert_eq!(errno(other.commit(&slots[2], 60)), libc::EINVAL, "foreign");
            assert_eq!(errno(other.abort(&slots[2])), libc::EINVAL, "foreign");
            handle.abort(&slots[2]).unwrap();
            handle.abort(&slots[4]).unwrap();
            assert_eq!(handle.flush(1000), Ok(0));
            receives(&peer, &[all[3].clone(), all[5].clone()]);
            assert_eq!(done(&handle), [(0, 0), (1, 0), (3, 0), (5, 0)]);
            for (n, slot) in slots.iter().enumerate() {
                assert_eq!(errno(commit(n)), libc::EINVAL, "twice");
                assert_eq!(errno(handle.abort(slot)), libc::EINVAL, "twice");
            }
            assert_eq!(handle.flush(1000), Ok(0));
            receives(&peer, &[]);
        }
    });
}

#[test]
fn a_full_queue_is_waited_for_and_no_frame_lost() {
    isolated(|| {
        let peer = wire();
        // Room for two frames and a half.
        let slow = Throttle {
            rate: 20_000,
            burst: 1600,
            waiting: 3000,
        };
        throttle("va", slow).unwrap();
        for way in ways_of(PKTRING_V2) {
            let handle = sender("va", way);
            let all: Vec<_> = (0..16).map(|n| frame_of_length(n, 1000)).collect();
            put_all(&handle, &all);
            assert_eq!(errno(handle.flush(0)), libc::EAGAIN);
            assert_eq!(handle.stats().tx_refused, 0);
            let cpu = thread_cpu_time();
            assert_eq!(handle.flush(5000), Ok(0));
            let cpu = thread_cpu_time() - cpu;
            assert!(
                cpu < SECOND / 10,
                "{cpu:?} of work to wait for half a second"
            );
            println!("half a second of waiting for the queue: {cpu:?} of processor time");
            assert_eq!(done(&handle), all_sent(0..16));
            receives(&peer, &all);
        }
    });
}

#[test]
fn waiting_for_a_slot_while_the_queue_is_full_costs_no_time() {
    isolated(|| {
        let peer = wire();
        let slow = Throttle {
            rate: 10_000,
            burst: 1600,
            waiting: 3000,
        };
        throttle("va", slow).unwrap();
        for way in ways_of(PKTRING_V2) {
            let handle = with_ring("va", way, &common::ring(4096, 4, 2048)).activate();
            let all: Vec<_> = (0..12).map(|n| frame_of_length(n, 1000)).collect();
            let cpu = thread_cpu_time();
            for (number, frame) in (0..).zip(&all) {
                while !handle.put(frame, number).unwrap() {
                    assert_eq!(handle.wait(PKTRING_TX, 5000), Ok(PKTRING_TX));
                }
            }
            assert_eq!(handle.flush(5000), Ok(0));
            let cpu = thread_cpu_time() - cpu;
            assert!(cpu < SECOND / 10, "{cpu:?} of work to wait for a second");
            receives(&peer, &all);
        }
    });
}

#[test]
fn a_frame_that_no_queue_ever_takes_is_refused_and_the_ring_goes_on() {
    isolated(|| {
        let peer = wire();
        // A frame longer than the burst is dropped at once.
        let narrow = Throttle {
            rate: 1_000_000,
            burst: 500,
            waiting: 30_000,
        };
        throttle("va", narrow).unwrap();
        for way in ways_of(PKTRING_V3) {
            let handle = sender("va", way);
            let lengths = [100, 100, 1000, 1000, 100, 100];
            let all: Vec<_> = (0..)
                .zip(lengths)
                .map(|(n, l)| frame_of_length(n, l))
                .collect();
            put_all(&handle, &all);
            let begin = Instant::now();
            assert_eq!(handle.flush(10_000), Ok(0));
            let took = begin.elapsed();
            println!("two frames refused after {took:?}");
            assert!(took >= SECOND, "too early to call it permanent");
            assert!(took < 4 * SECOND);
            let rejected = -libc::ENOBUFS;
            assert_eq!(
                done(&handle),
                [(0, 0), (1, 0), (2, rejected), (3, rejected), (4, 0), (5, 0)]
            );
            receives(
                &peer,
                &[&all[0], &all[1], &all[4], &all[5]].map(Clone::clone),
            );
        }
    });
}

#[test]
fn a_driver_that_is_not_ready_is_tried_again() {
    isolated(|| {
        wire();
        for way in ways_of(PKTRING_V3) {
            let handle = sender("va", way);
            bypass_queue(&handle);
            link::set_down("vb").unwrap();
            let all: Vec<_> = (0..3).map(frames::frame).collect();
            put_all(&handle, &all);
            assert_eq!(errno(handle.flush(100)), libc::EAGAIN);
            assert_eq!(handle.stats().tx_in_flight, 3);
            link::set_up("vb").unwrap();
            link::wait_up("vb").unwrap();
            link::wait_up("va").unwrap();
            let peer = PlainSocket::open("vb").unwrap();
            assert_eq!(handle.flush(2000), Ok(0));
            assert_eq!(done(&handle), all_sent(0..3));
            receives(&peer, &all);
        }
    });
}

#[test]
fn a_frame_behind_a_remembered_link_failure_is_sent_exactly_once() {
    isolated(|| {
        let peer = wire();
        for (way, _) in ways() {
            let handle = sender("va", way);
            let all: Vec<_> = (0..4).map(frames::frame).collect();
            assert!(handle.put(&all[0], 0).unwrap());
            assert_eq!(handle.flush(1000), Ok(0));
            flap();
            assert!(handle.put(&all[1], 1).unwrap());
            assert!(handle.put(&all[2], 2).unwrap());
            assert_eq!(handle.flush(1000), Ok(0));
            receives(&peer, &all[..3]);

            link::set_down("va").unwrap();
            assert!(handle.put(&all[3], 3).unwrap());
            assert_eq!(errno(handle.flush(1000)), libc::ENETDOWN);
            assert_eq!(errno(handle.flush(0)), libc::ENETDOWN);
            assert_eq!(handle.stats().tx_in_flight, 1);
            bring_up();
            assert_eq!(handle.flush(1000), Ok(0));
            receives(&peer, &all[3..]);
            assert_eq!(done(&handle), all_sent(0..4));
        }
    });
}

#[test]
fn the_end_of_the_interface_is_told_and_close_does_not_wait_for_it() {
    isolated(|| {
        for way in ways_of(PKTRING_V3) {
            let _peer = wire();
            let handle = sender("va", way);
            assert!(handle.put(&frames::frame(0), 0).unwrap());
            assert_eq!(handle.flush(1000), Ok(0));
            link::delete("va").unwrap();
            assert!(handle.put(&frames::frame(1), 1).unwrap());
            for _ in 0..3 {
                assert_eq!(errno(handle.flush(-1)), libc::ENODEV);
            }
            let stats = handle.stats();
            assert_eq!((stats.tx_frames, stats.tx_in_flight), (1, 1));
            let begin = Instant::now();
            assert_eq!(handle.close(), 1);
            assert!(begin.elapsed() < SECOND / 2);
        }
    });
}

/// A handle of which every slot is reserved: a wait for room has nothing to wait for but trouble.
fn all_reserved(way: Way) -> Pktring {
    let handle = with_ring("va", way, &common::ring(4096, 1, 2048)).activate();
    while handle.reserve().unwrap().is_some() {}
    handle
}

#[test]
fn the_end_of_the_interface_wakes_a_wait_for_room() {
    isolated(|| {
        for (way, name) in ways() {
            let _peer = wire();
            let handle = all_reserved(way);
            std::thread::scope(|scope| {
                let waiter = scope.spawn(|| handle.wait(PKTRING_TX, -1));
                std::thread::sleep(SECOND / 20);
                link::delete("va").unwrap();
                let begin = Instant::now();
                let failure = waiter.join().unwrap().unwrap_err();
                assert_eq!(failure.errno, libc::ENODEV, "{name}");
                assert!(begin.elapsed() < 10 * SECOND, "{name}");
            });
        }
    });
}

#[test]
fn an_interface_that_moves_to_another_namespace_is_gone_for_a_sender_too() {
    isolated(|| {
        for (way, name) in ways() {
            let _peer = wire();
            let handle = sender("va", way);
            assert!(handle.put(&frames::frame(0), 0).unwrap());
            let elsewhere = netns::Netns::new().unwrap();
            link::move_to("va", &elsewhere).unwrap();
            for _ in 0..2 {
                assert_eq!(errno(handle.flush(1000)), libc::ENODEV, "{name}");
            }
            let stats = handle.stats();
            assert_eq!((stats.tx_frames, stats.tx_in_flight), (0, 1), "{name}");
            let _ = link::delete("vb");
        }
    });
}

#[test]
fn a_new_name_changes_nothing_for_a_sender() {
    isolated(|| {
        let peer = wire();
        for ((way, name), round) in ways().zip(0..) {
            let (old, new) = match round % 2 {
                0 => ("va", "vc"),
                _ => ("vc", "va"),
            };
            let handle = sender(old, way);
            let all = [frames::frame(1), frames::frame(2), frame_of_length(3, 1518)];
            assert!(handle.put(&all[0], 0).unwrap());
            link::rename(old, new).unwrap();
            assert!(handle.put(&all[1], 1).unwrap());
            // The MTU is asked by the name that the interface has now.
            link::set_mtu(new, 1700).unwrap();
            link::set_mtu("vb", 1700).unwrap();
            assert!(handle.put(&all[2], 2).unwrap(), "{name}");
            assert_eq!(handle.flush(1000), Ok(0), "{name}");
            receives(&peer, &all);
            link::set_mtu(new, 1500).unwrap();
        }
    });
}

#[test]
fn frames_in_a_queue_when_the_link_goes_down_are_thrown_away_by_it_and_come_back_as_sent() {
    isolated(|| {
        let peer = wire();
        for (version, name) in VERSIONS {
            throttle("va", TEN_A_SECOND).unwrap();
            let handle = sender("va", version);
            let all: Vec<_> = (0..16).map(|n| frame_of_length(n, 1000)).collect();
            put_all(&handle, &all);
            assert!(handle.flush(0).unwrap() >= 14, "{name}");
            flap();
            // The kernel does not tell what a queue loses once it was given it.
            assert_eq!(handle.flush(1000), Ok(0), "{name}");
            assert_eq!(done(&handle), all_sent(0..16), "{name}");
            netns::unthrottle("va").unwrap();
            let mut came = 0;
            while let Some(packet) = arrived(&peer, SECOND / 20) {
                assert!(packet.data == all[came], "{name}");
                came += 1;
            }
            assert!((1..=2).contains(&came), "{name}: {came}");
        }
    });
}

/// A bucket that lets out a frame of 1000 bytes every 100 ms.
const TEN_A_SECOND: Throttle = Throttle {
    rate: 10_000,
    burst: 1600,
    waiting: 200_000,
};

#[test]
fn waiting_for_frames_in_a_queue_ends_in_time_and_when_told_to() {
    isolated(|| {
        let peer = wire();
        throttle("va", TEN_A_SECOND).unwrap();
        let handle = sender("va", PKTRING_V2);
        let all: Vec<_> = (0..16).map(|n| frame_of_length(n, 1000)).collect();
        put_all(&handle, &all);
        let begin = Instant::now();
        assert!(handle.flush(0).unwrap() >= 14);
        assert!(begin.elapsed() < SECOND / 10);
        let begin = Instant::now();
        let left = handle.flush(150).unwrap();
        assert!((1..16).contains(&left), "{left}");
        let took = begin.elapsed();
        assert!(took >= Duration::from_millis(150), "{took:?}");
        assert!(took < SECOND / 2, "{took:?}");

        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(SECOND / 20);
                handle.breakloop();
            });
            let begin = Instant::now();
            assert_eq!(errno(handle.flush(-1)), libc::ECANCELED);
            assert!(begin.elapsed() < SECOND / 2);
        });
        let cpu = thread_cpu_time();
        assert_eq!(handle.flush(-1), Ok(0));
        let cpu = thread_cpu_time() - cpu;
        assert!(cpu < SECOND / 20, "{cpu:?} of work to wait for a second");
        assert_eq!(done(&handle), all_sent(0..16));
        receives(&peer, &all);
    });
}

#[test]
fn close_waits_a_second_and_tells_what_it_left_which_is_sent_all_the_same() {
    isolated(|| {
        let peer = wire();
        throttle("va", TEN_A_SECOND).unwrap();
        for (version, _) in VERSIONS {
            let handle = sender("va", version);
            let all: Vec<_> = (0..16).map(|n| frame_of_length(n, 1000)).collect();
            put_all(&handle, &all);
            let begin = Instant::now();
            let left = handle.close();
            let took = begin.elapsed();
            println!("close left {left} of 16 frames after {took:?}");
            assert!((1..10).contains(&left), "{left}");
            assert!(took >= SECOND && took < 2 * SECOND, "{took:?}");
            receives(&peer, &all);
        }
    });
}

#[test]
fn signals_neither_end_nor_prolong_a_flush_or_a_close() {
    isolated(|| {
        let peer = wire();
        throttle("va", TEN_A_SECOND).unwrap();
        for (version, name) in VERSIONS {
            let handle = sender("va", version);
            let all: Vec<_> = (0..20).map(|n| frame_of_length(n, 1000)).collect();
            put_all(&handle, &all);
            let left = with_signals(do_nothing, Duration::from_millis(1), || {
                let begin = Instant::now();
                let left = handle.flush(300).unwrap();
                let took = begin.elapsed();
                assert!(took >= Duration::from_millis(300), "{name}: {took:?}");
                assert!(took < SECOND, "{name}: {took:?}");
                left as u64
            });
            // What the statuses tell as sent is on the wire.
            let stats = handle.stats();
            assert!((1..20).contains(&left), "{name}: {left}");
            assert_eq!((stats.tx_frames, stats.tx_in_flight), (20 - left, left));
            let sent = &all[..20 - left as usize];
            for frame in sent {
                let packet = arrived(&peer, Duration::ZERO).expect("a frame told as sent");
                assert!(packet.data == *frame, "{name}");
            }
            with_signals(do_nothing, Duration::from_millis(1), || {
                let begin = Instant::now();
                let left = handle.close();
                let took = begin.elapsed();
                assert!((1..10).contains(&left), "{name}: {left}");
                assert!(took >= SECOND && took < 2 * SECOND, "{name}: {took:?}");
            });
            receives(&peer, &all[sent.len()..]);
        }
    });
}

#[test]
fn a_breakloop_from_a_signal_handler_ends_a_flush_without_limit() {
    isolated(|| {
        let peer = wire();
        throttle("va", TEN_A_SECOND).unwrap();
        let handle = sender("va", PKTRING_V2);
        let all: Vec<_> = (0..20).map(|n| frame_of_length(n, 1000)).collect();
        put_all(&handle, &all);
        let target = SetTarget::new(&handle);
        with_signals(break_target, SECOND / 20, || {
            assert_eq!(errno(handle.flush(-1)), libc::ECANCELED);
        });
        drop(target);
        assert!(handle.stats().tx_in_flight > 10);
        // One that came after the flush had ended is told by the next.
        let next = handle.flush(-1);
        assert!(next == Ok(0) || errno(next) == libc::ECANCELED);
        assert_eq!(handle.flush(-1), Ok(0));
        receives(&peer, &all);
    });
}

#[test]
fn close_ends_a_flush_of_another_thread() {
    isolated(|| {
        let _peer = wire();
        throttle("va", TEN_A_SECOND).unwrap();
        let handle = sender("va", PKTRING_V3);
        let all: Vec<_> = (0..40).map(|n| frame_of_length(n, 1000)).collect();
        put_all(&handle, &all);
        let raw = handle.raw() as usize;
        let flusher = std::thread::spawn(move || {
            // SAFETY: the handle is open when this starts to wait, and close waits for its end.
            unsafe { pktring_tx_flush(raw as *mut _, -1) }
        });
        std::thread::sleep(SECOND / 10);
        assert!(handle.close() > 20);
        assert_eq!(flusher.join().unwrap(), -libc::ESHUTDOWN);
    });
}

#[test]
fn a_send_buffer_smaller_than_the_ring_is_waited_for() {
    isolated(|| {
        let peer = wire();
        let fast = Throttle {
            rate: 2_000_000,
            burst: 3000,
            waiting: 4_000_000,
        };
        throttle("va", fast).unwrap();
        for way in ways_of(PKTRING_V3) {
            let handle = sender("va", way);
            // SAFETY: the handle is open.
            let code = unsafe { pktring_set_buffer(handle.raw(), PKTRING_TX, 20_000) };
            handle.result(code).unwrap();
            let all: Vec<_> = (0..400).map(|n| frame_of_length(n, 1000)).collect();
            put_all(&handle, &all);
            assert!(handle.flush(0).unwrap() > 300);
            assert_eq!(handle.flush(5000), Ok(0));
            assert_eq!(done(&handle), all_sent(0..400));
            receives(&peer, &all);
        }
    });
}

#[test]
fn frames_start_where_the_caller_puts_them() {
    isolated(|| {
        let peer = wire();
        for (way, name) in ways() {
            let handle = configured("va", way);
            // SAFETY: the handle is open.
            let code = unsafe { pktring_set_tx_offset(handle.raw(), 1) };
            handle.result(code).unwrap();
            let handle = handle.activate();
            let room = handle.get_ring(PKTRING_TX).unwrap().frame_size;
            let hole = handle.reserve().unwrap().unwrap();
            let mut expected = Vec::new();
            for (number, at) in [0, 1, 7, 60, u32::MAX].into_iter().enumerate() {
                let frame = frame_of_length(number as u64, 60);
                let mut slot = handle.reserve().unwrap().unwrap();
                assert!(slot.capacity < room);
                slot.user_data = number as u64;
                // The last place where it fits, and one beyond.
                let last = slot.capacity - 60;
                slot.offset = last + 1;
                assert!(handle.commit(&slot, 60).is_err(), "{name}");
                slot.offset = at.min(last);
                let mut padded = vec![0xee; slot.offset as usize];
                padded.extend_from_slice(&frame);
                write(&slot, &padded);
                handle.commit(&slot, 60).unwrap();
                expected.push(frame);
            }
            // The frames move down, and their places with them.
            handle.abort(&hole).unwrap();
            assert_eq!(handle.flush(1000), Ok(0));
            assert_eq!(done(&handle), all_sent(0..5));
            receives(&peer, &expected);
        }
        let handle = sender("va", PKTRING_V2);
        let mut slot = handle.reserve().unwrap().unwrap();
        slot.offset = 1;
        assert_eq!(errno(handle.commit(&slot, 60)), libc::EINVAL);
    });
}

#[test]
fn a_device_whose_queue_is_full_is_waited_for_and_no_frame_lost() {
    // More than the device queues, which is 1000 frames.
    const TOTAL: u64 = 1300;
    isolated(|| {
        for way in ways_of(PKTRING_V3) {
            let tap = match Tap::new("tap0") {
                Ok(tap) => tap,
                Err(error) => return netns::skip(error),
            };
            let handle = sender("tap0", way);
            bypass_queue(&handle);
            let mut put = 0;
            let full = loop {
                if put < TOTAL && handle.put(&frames::frame(put), put).unwrap() {
                    put += 1;
                } else if let Err(failure) = handle.flush(0) {
                    break failure;
                }
            };
            assert_eq!(full.errno, libc::EAGAIN, "{}", full.text);
            let mut due = 0;
            while due < TOTAL {
                while let Some(read) = tap.read(Duration::ZERO).unwrap() {
                    if frames::is_own(&read) {
                        assert!(read == frames::frame(due), "frame {due}");
                        due += 1;
                    }
                }
                while put < TOTAL && handle.put(&frames::frame(put), put).unwrap() {
                    put += 1;
                }
                let flushed = handle.flush(20);
                assert!(flushed.is_ok() || errno(flushed) == libc::EAGAIN);
            }
            assert_eq!(handle.flush(0), Ok(0));
            let stats = handle.stats();
            assert_eq!((stats.tx_frames, stats.tx_refused), (TOTAL, 0));
        }
    });
}

#[test]
fn a_segment_that_the_device_cannot_take_is_refused_alone() {
    isolated(|| {
        let peer = wire();
        for (way, _) in ways() {
            let handle = with_ring("va", way, &common::ring(16384, 8, 8192));
            // SAFETY: the handle is open.
            let code = unsafe { pktring_set_vnet_header(handle.raw(), 10) };
            handle.result(code).unwrap();
            let handle = handle.activate();
            // All zero: a plain frame, nothing to segment.
            let with_header = |frame: Vec<u8>| [vec![0; 10], frame].concat();
            let long = frame_of_length(1, 3000);
            assert!(handle.put(&with_header(frames::frame(0)), 0).unwrap());
            assert!(handle.put(&with_header(long), 1).unwrap());
            assert!(handle.put(&with_header(frames::frame(2)), 2).unwrap());
            assert_eq!(handle.flush(10_000), Ok(0));
            // From a ring's slot the frame comes as far as the device.
            let reason = match way.method {
                PKTRING_TX_METHOD_RING => libc::ENOBUFS,
                _ => libc::EMSGSIZE,
            };
            assert_eq!(done(&handle), [(0, 0), (1, -reason), (2, 0)]);
            receives(&peer, &[frames::frame(0), frames::frame(2)]);
        }
    });
}

fn inject(handle: &Pktring, frame: &[u8]) -> Result<i32, Failure> {
    // SAFETY: the handle is open, the frame a slice.
    handle.result(unsafe { pktring_inject(handle.raw(), frame.as_ptr().cast(), frame.len()) })
}

fn inject_all(handle: &Pktring, frames: &[Vec<u8>]) -> Result<i32, Failure> {
    let buffers: Vec<_> = frames
        .iter()
        .map(|frame| pktring_buffer {
            data: frame.as_ptr().cast::<c_void>(),
            length: frame.len(),
        })
        .collect();
    // SAFETY: the handle is open; as many buffers as the vector has, each a live frame.
    handle.result(unsafe {
        pktring_inject_batch(handle.raw(), buffers.as_ptr(), buffers.len() as u32)
    })
}

fn injects(handle: &Pktring, peer: &PlainSocket) {
    let mut all: Vec<_> = (0..150).map(frames::frame).collect();
    for frame in &all[..3] {
        assert_eq!(inject(handle, frame), Ok(frame.len() as i32));
    }
    receives(peer, &all[..3]);
    for length in [0, 13, 1515] {
        let result = inject(handle, &vec![1; length]);
        assert_eq!(errno(result), libc::EMSGSIZE, "{length}");
    }
    assert_eq!(inject_all(handle, &all), Ok(150));
    receives(peer, &all);
    all[100] = frame_of_length(100, 1515);
    assert_eq!(inject_all(handle, &all), Ok(100));
    receives(peer, &all[..100]);
    assert_eq!(errno(inject_all(handle, &all[100..])), libc::EMSGSIZE);

    link::set_down("va").unwrap();
    assert_eq!(errno(inject(handle, &all[0])), libc::ENETDOWN);
    assert_eq!(errno(inject_all(handle, &all)), libc::ENETDOWN);
    bring_up();
}

#[test]
fn frames_are_injected_without_a_ring() {
    isolated(|| {
        let peer = wire();
        let handle = Pktring::open("va").activate();
        injects(&handle, &peer);
        // None of those that found the link down went out later.
        receives(&peer, &[]);
        flap();
        assert_eq!(
            inject(&handle, &frames::frame(1)),
            Ok(frames::length(1) as i32)
        );
        receives(&peer, &[frames::frame(1)]);
        flap();
        let two: Vec<_> = (2..4).map(frames::frame).collect();
        assert_eq!(inject_all(&handle, &two), Ok(2));
        receives(&peer, &two);
    });
}

#[test]
fn frames_are_injected_through_a_ring() {
    isolated(|| {
        let peer = wire();
        for (way, _) in ways() {
            let handle = sender("va", way);
            injects(&handle, &peer);
            assert_eq!(handle.flush(0), Ok(0));
            receives(&peer, &[]);
            // Behind what was committed.
            if way.method == PKTRING_TX_METHOD_COPY {
                let all: Vec<_> = (0..5).map(frames::frame).collect();
                put_all(&handle, &all[..2]);
                inject(&handle, &all[2]).unwrap();
                put_all(&handle, &all[3..4]);
                assert_eq!(inject_all(&handle, &all[4..]), Ok(1));
                receives(&peer, &all);
                assert_eq!(done(&handle), [(0, 0), (1, 0), (0, 0)]);
                let stats = handle.stats();
                assert_eq!(
                    (stats.tx_frames, stats.tx_in_flight),
                    (3 + 150 + 100 + 5, 0)
                );
            }
            let slot = handle.reserve().unwrap().unwrap();
            assert_eq!(errno(inject(&handle, &frames::frame(1))), libc::EBUSY);
            handle.abort(&slot).unwrap();
            assert!(handle.flush(1000).is_ok());
            while arrived(&peer, SECOND / 50).is_some() {}
        }
    });
}
