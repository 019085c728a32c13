//! What is captured and what is not: snaplen, filters, promiscuous mode, and nothing from before
//! the handle was active or from another interface.

mod common;

use common::{address, data, frames, ring, small_ring, Pktring, VERSIONS};
use netns::{isolated, link, PlainSocket};
use pktring::capi::config::pktring_insn;
use pktring::capi::geometry::{PKTRING_DGRAM, PKTRING_RAW, PKTRING_RX};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

fn insn(code: u16, jt: u8, jf: u8, k: u32) -> pktring_insn {
    pktring_insn { code, jt, jf, k }
}

const RET_K: u16 = 0x06;
const RET_A: u16 = 0x16;
const LD_LEN: u16 = 0x80;
const LD_IMM: u16 = 0x00;
const JGT_K: u16 = 0x25;

/// Programs that return the same number of bytes for every frame of that length, and which.
fn programs(length: u32) -> Vec<(&'static str, Vec<pktring_insn>, u32)> {
    vec![
        ("none", Vec::new(), u32::MAX),
        ("ret #-1", vec![insn(RET_K, 0, 0, u32::MAX)], u32::MAX),
        ("ret #40", vec![insn(RET_K, 0, 0, 40)], 40),
        (
            "ld len; ret a",
            vec![insn(LD_LEN, 0, 0, 0), insn(RET_A, 0, 0, 0)],
            length,
        ),
        (
            "ld #70; ret a",
            vec![insn(LD_IMM, 0, 0, 70), insn(RET_A, 0, 0, 0)],
            70,
        ),
        (
            // Long frames by one return, short ones by another.
            "ld len; jgt #200 ? ret a : ret #50",
            vec![
                insn(LD_LEN, 0, 0, 0),
                insn(JGT_K, 0, 1, 200),
                insn(RET_A, 0, 0, 0),
                insn(RET_K, 0, 0, 50),
            ],
            if length > 200 { length } else { 50 },
        ),
    ]
}

#[test]
fn the_snaplen_is_exact_with_every_version_mode_and_filter() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        for (version, name) in VERSIONS {
            for snaplen in [0, 1, 13, 14, 66, 1000, 1514, 1515, 65535, u32::MAX] {
                check_snaplen(&sender, version, name, snaplen);
            }
        }
    });
}

fn check_snaplen(sender: &PlainSocket, version: u32, name: &str, snaplen: u32) {
    for mode in [PKTRING_RAW, PKTRING_DGRAM] {
        let header = if mode == PKTRING_RAW { 0 } else { 14 };
        let mut handle = Pktring::open("vb")
            .version(version)
            .mode(mode)
            .snaplen(snaplen)
            // Slots that hold a whole frame, so that only the snaplen cuts.
            .ring(PKTRING_RX, &small_ring(version, 32))
            .activate();
        for length in [60, 200, 201, 1514] {
            let whole = frames::frame_of_length(1, length as usize);
            let expected = &whole[header..];
            let wire = expected.len() as u32;
            for (text, program, kept) in programs(wire) {
                handle = handle.filter(&program);
                sender.send(&whole).unwrap();
                let frame = handle.take();
                let limit = if snaplen == 0 { u32::MAX } else { snaplen };
                let caplen = wire.min(limit).min(kept);
                let what = format!("{name} mode {mode} snaplen {snaplen}, {text}, {length} bytes");
                assert_eq!((frame.caplen, frame.len), (caplen, wire), "{what}");
                assert_eq!(data(&frame), &expected[..caplen as usize], "{what}");
                handle.release(&frame).unwrap();
            }
        }
    }
}

#[test]
fn a_snaplen_that_is_given_before_the_ring_makes_slots_of_that_size() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        for (version, name) in VERSIONS {
            let handle = Pktring::open("vb")
                .version(version)
                .snaplen(96)
                .filter(&frames::own_only())
                .activate();
            let whole = frames::frame_of_length(1, 1514);
            sender.send(&whole).unwrap();
            let frame = handle.take();
            assert_eq!((frame.caplen, frame.len), (96, 1514), "{name}");
            assert_eq!(data(&frame), &whole[..96], "{name}");
        }
    });
}

#[test]
fn promiscuous_mode_is_seen_on_the_interface_and_ends_with_the_handle() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        for (version, name) in VERSIONS {
            let count = || link::promiscuity("vb").unwrap();
            assert_eq!(count(), 0, "{name}");
            let plain = Pktring::open("vb").version(version).activate();
            assert_eq!(count(), 0, "{name}: not asked for");
            let first = Pktring::open("vb").version(version).promisc(true);
            assert_eq!(count(), 0, "{name}: not active yet");
            let first = first.activate();
            let second = Pktring::open("vb")
                .version(version)
                .promisc(true)
                .activate();
            assert_eq!(count(), 2, "{name}");
            assert_eq!(first.close(), 0);
            assert_eq!(count(), 1, "{name}");
            drop(second);
            assert_eq!(count(), 0, "{name}");
            drop(plain);
        }
        let everywhere = Pktring::open("any").promisc(true);
        let failure = everywhere.try_activate().unwrap_err();
        assert_eq!(failure.errno, libc::EINVAL);
        assert!(failure.text.contains("one interface"), "{}", failure.text);
    });
}

/// Sends numbered frames on several interfaces as fast as it can.
struct Flood {
    /// Frames that have been sent for certain.
    sent: AtomicU64,
    stop: AtomicBool,
}

impl Flood {
    fn run(&self, devices: &[&str]) {
        let sockets: Vec<_> = devices
            .iter()
            .map(|device| PlainSocket::sender(device).unwrap())
            .collect();
        while !self.stop.load(Ordering::Acquire) {
            let number = self.sent.load(Ordering::Relaxed);
            for socket in &sockets {
                socket.send(&frames::frame_of_length(number, 100)).unwrap();
            }
            self.sent.store(number + 1, Ordering::Release);
        }
    }
}

/// Runs `body` while frames arrive at vb, and the same ones at wb.
fn flooded(body: impl FnOnce(&Flood)) {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        link::veth("wa", "wb").unwrap();
        let flood = Flood {
            sent: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        };
        thread::scope(|scope| {
            scope.spawn(|| flood.run(&["wa", "va"]));
            let _stop = Stop(&flood);
            body(&flood);
        });
    });
}

/// Ends the flood, also when the test fails.
struct Stop<'a>(&'a Flood);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Release);
    }
}

#[test]
fn nothing_from_before_or_from_another_interface_is_delivered() {
    flooded(|flood| {
        let interface = link::index("vb").unwrap() as i32;
        for round in 0..30 {
            let (version, name) = VERSIONS[round % 3];
            let handle = Pktring::open("vb")
                .version(version)
                .ring(PKTRING_RX, &small_ring(version, 64));
            let before = flood.sent.load(Ordering::Acquire);
            let handle = handle.activate();
            for _ in 0..50 {
                let frame = handle.take();
                assert_eq!(address(&frame).ifindex, interface, "{name}");
                let number = frames::number(data(&frame));
                assert!(number >= before, "{name}: {number}, sent before {before}");
                handle.release(&frame).unwrap();
            }
        }
    });
}

#[test]
fn a_filter_set_before_activation_stands_before_the_first_packet() {
    let none_of_these = [
        insn(0x28, 0, 0, 0xffff_f000),
        insn(0x15, 0, 1, 0x88b6),
        insn(RET_K, 0, 0, u32::MAX),
        insn(RET_K, 0, 0, 0),
    ];
    flooded(|_| {
        for round in 0..30 {
            let (version, name) = VERSIONS[round % 3];
            let handle = Pktring::open("vb")
                .version(version)
                .filter(&none_of_these)
                .ring(PKTRING_RX, &small_ring(version, 64))
                .activate();
            assert_eq!(handle.wait_rx(20), Ok(0), "{name}");
            let stats = handle.stats();
            assert_eq!((stats.received, stats.frames), (0, 0), "{name}");
        }
    });
}

#[test]
fn a_filter_can_be_replaced_and_removed_while_packets_flow() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        for (version, name) in VERSIONS {
            let handle = Pktring::capture("vb", version, &small_ring(version, 32));
            let send = |number| sender.send(&frames::frame(number)).unwrap();
            handle.set_filter(&[insn(RET_K, 0, 0, 0)]).unwrap();
            send(1);
            assert_eq!(handle.wait_rx(30), Ok(0), "{name}");
            handle.set_filter(&[]).unwrap();
            send(2);
            let frame = handle.take();
            assert_eq!(data(&frame), frames::frame(2), "{name}");
            handle.release(&frame).unwrap();
            // A program that the kernel refuses leaves the one before in place.
            handle.set_filter(&[insn(RET_K, 0, 0, 20)]).unwrap();
            let failure = handle.set_filter(&[insn(LD_LEN, 0, 0, 0)]).unwrap_err();
            assert_eq!(failure.errno, libc::EINVAL, "{name}");
            assert!(
                failure.text.contains("the kernel refuses"),
                "{}",
                failure.text
            );
            send(3);
            let frame = handle.take();
            assert_eq!(data(&frame), &frames::frame(3)[..20], "{name}");
        }
    });
}

#[test]
fn a_filter_has_1_to_4096_instructions() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let mut program = vec![insn(LD_LEN, 0, 0, 0); 4095];
        program.push(insn(RET_A, 0, 0, 0));
        Pktring::open("vb").filter(&program).activate();
        program.insert(0, insn(LD_LEN, 0, 0, 0));
        let failure = Pktring::open("vb").set_filter(&program).unwrap_err();
        assert_eq!(failure.errno, libc::EINVAL);
        assert!(failure.text.contains("4097") && failure.text.contains("1 to 4096"));
        // The comparison behind a program that computes its return values needs room as well.
        program.remove(0);
        let handle = Pktring::open("vb").snaplen(60);
        let failure = handle.set_filter(&program).unwrap_err();
        assert_eq!(failure.errno, libc::EINVAL);
        assert!(failure.text.contains("4099"), "{}", failure.text);
    });
}

#[test]
fn a_handle_for_one_protocol_sees_only_that() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        for (version, name) in VERSIONS {
            let handle = Pktring::open("vb")
                .version(version)
                .protocol(frames::EXPERIMENT.into())
                .ring(PKTRING_RX, &ring(4096, 32, 2048))
                .activate();
            let mut other = frames::frame(1);
            other[12..14].copy_from_slice(&0x88b6u16.to_be_bytes());
            sender.send(&other).unwrap();
            sender.send(&frames::frame(2)).unwrap();
            // What the host itself sends there is not seen either.
            PlainSocket::sender("vb")
                .unwrap()
                .send(&frames::frame(3))
                .unwrap();
            let frame = handle.take();
            assert_eq!(data(&frame), frames::frame(2), "{name}");
            handle.release(&frame).unwrap();
            assert_eq!(handle.wait_rx(50), Ok(0), "{name}");
        }
    });
}

#[test]
fn a_descriptor_tells_all_that_the_kernel_knows() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let interface = link::index("vb").unwrap() as i32;
        let sender = PlainSocket::sender("va").unwrap();
        link::set_mac("vb", frames::TO).unwrap();
        for (version, name) in VERSIONS {
            for mode in [PKTRING_RAW, PKTRING_DGRAM] {
                let handle = Pktring::open("vb")
                    .version(version)
                    .mode(mode)
                    .ring(PKTRING_RX, &small_ring(version, 32))
                    .activate();
                for (to, kind) in [(frames::TO, 0), ([0xff; 6], 1), ([1; 6], 2), ([2; 6], 3)] {
                    let mut sent = frames::frame(1);
                    sent[..6].copy_from_slice(&to);
                    let before = std::time::SystemTime::now();
                    sender.send(&sent).unwrap();
                    let frame = handle.take();
                    let from = address(&frame);
                    let what = format!("{name} mode {mode}");
                    assert_eq!((from.pkttype, from.ifindex), (kind, interface), "{what}");
                    assert_eq!(u16::from_be(from.protocol), frames::EXPERIMENT, "{what}");
                    assert_eq!((from.family, from.halen), (libc::AF_PACKET as u16, 6));
                    assert_eq!((from.hatype, &from.addr[..6]), (1, &frames::FROM[..]));
                    let network = frame.net.wrapping_sub(frame.mac);
                    assert_eq!(network, if mode == PKTRING_RAW { 14 } else { 0 }, "{what}");
                    let since = before.duration_since(std::time::UNIX_EPOCH).unwrap();
                    let age = frame.timestamp.abs_diff(since.as_nanos() as u64);
                    assert!(age < 60_000_000_000, "{what}: {age} ns");
                    handle.release(&frame).unwrap();
                }
            }
        }
    });
}
