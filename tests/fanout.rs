//! Fanout groups: who gets which packet.

mod options;

use etherparse::PacketBuilder;
use netns::{bpf, isolated, link, PlainSocket, Tap};
use nix::sched::{sched_getaffinity, sched_setaffinity, CpuSet};
use nix::unistd::Pid;
use options::bpf::{constant, word, word_plus};
use options::group::{fanout, open, unique};
use options::{frame, Ring, LIMIT};
use pktring::capi::config::pktring_insn;
use pktring::capi::fanout::*;
use pktring::capi::geometry::{PKTRING_TX, PKTRING_V2};
use pktring::capi::group::*;
use pktring::capi::option::pktring_set_ignore_outgoing;
use pktring::capi::{config::pktring_set_ring, handle::Handle, lifecycle::pktring_activate};
use std::collections::BTreeSet;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

fn veth() -> PlainSocket {
    link::veth("va", "vb").unwrap();
    PlainSocket::sender("va").unwrap()
}

fn send(sender: &PlainSocket, numbers: impl Iterator<Item = u32>) {
    let frames: Vec<_> = numbers.map(frame).collect();
    sender.send_all(&frames).unwrap();
}

/// What each member gets until it is quiet.
fn shares(members: &[Ring]) -> Vec<Vec<u32>> {
    members.iter().map(Ring::drain).collect()
}

fn set_program(ring: &Ring, program: &[pktring_insn]) -> i32 {
    // SAFETY: an open handle, and as many instructions as the slice has.
    unsafe { pktring_set_fanout_program(ring.0, program.as_ptr(), program.len() as u32) }
}

/// A UDP packet over IPv4 in an Ethernet frame.
fn udp(from: (u8, u16), to: (u8, u16), payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [0xff; 6])
        .ipv4([10, 0, 0, from.0], [10, 0, 0, to.0], 64)
        .udp(from.1, to.1);
    let mut packet = Vec::new();
    builder.write(&mut packet, payload).unwrap();
    packet
}

/// Runs the calling thread on one processor.
fn pin(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor).unwrap();
    sched_setaffinity(Pid::from_raw(0), &set).unwrap();
}

#[test]
fn hash_keeps_a_flow_and_its_replies_together() {
    isolated(|| {
        let sender = veth();
        let members = open("vb", PKTRING_FANOUT_HASH, 0, 3);
        let flows = 100u16;
        for round in 0..4 {
            for flow in 0..flows {
                let (here, there) = ((1, 1000 + flow), (2, 53));
                let packet = match round % 2 {
                    0 => udp(here, there, &flow.to_be_bytes()),
                    _ => udp(there, here, &flow.to_be_bytes()),
                };
                sender.send(&packet).unwrap();
            }
        }
        let mut total = 0;
        let mut owners = vec![BTreeSet::new(); flows as usize];
        let mut busy = BTreeSet::new();
        for (member, ring) in members.iter().enumerate() {
            while let Some(seen) = ring.next(options::QUIET) {
                let flow = u16::from_be_bytes(seen.data[42..44].try_into().unwrap());
                owners[flow as usize].insert(member);
                busy.insert(member);
                total += 1;
            }
        }
        assert_eq!(total, 4 * u32::from(flows));
        assert!(
            owners.iter().all(|members| members.len() == 1),
            "{owners:?}"
        );
        assert_eq!(busy.len(), 3, "100 flows and not every member has one");
    });
}

#[test]
fn load_balancing_goes_round_strictly() {
    isolated(|| {
        let sender = veth();
        let members = open("vb", PKTRING_FANOUT_LB, 0, 3);
        send(&sender, 0..300);
        let shares = shares(&members);
        for share in &shares {
            let rest = share[0] % 3;
            let due: Vec<u32> = (0..100).map(|i| 3 * i + rest).collect();
            assert_eq!(*share, due);
        }
    });
}

#[test]
fn by_processor_the_one_that_received_decides() {
    isolated(|| {
        let sender = veth();
        let members = open("vb", PKTRING_FANOUT_CPU, 0, 3);
        let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
        let processors: Vec<_> = (0..CpuSet::count())
            .filter(|&processor| allowed.is_set(processor).unwrap())
            .collect();
        for &processor in &processors {
            pin(processor);
            let numbers = 10 * processor as u32..10 * processor as u32 + 10;
            send(&sender, numbers.clone());
            // A veth delivers on the processor that sends.
            let due: Vec<u32> = numbers.collect();
            assert_eq!(members[processor % 3].numbers(10), due);
        }
        sched_setaffinity(Pid::from_raw(0), &allowed).unwrap();
        assert_eq!(shares(&members), [[0u32; 0]; 3], "nothing more");
    });
}

#[test]
fn rollover_fills_the_first_member_before_the_next() {
    isolated(|| {
        let sender = veth();
        let template = Ring::for_group("vb", &unique(PKTRING_FANOUT_ROLLOVER, 0));
        template.receive(16384, 1, 2048);
        let members = template.open_group(2);
        send(&sender, 0..4);
        assert_eq!(members[0].numbers(4), [0, 1, 2, 3]);
        send(&sender, 100..140);
        let received: Vec<_> = members.iter().map(Ring::drain).collect();
        let dropped: u64 = members.iter().map(|member| member.stats().dropped).sum();
        let all: Vec<u32> = received.concat();
        assert_eq!(all.len() as u64 + dropped, 40);
        let (first, second) = (&received[0], &received[1]);
        assert!(first.len() >= 6 && second.len() >= 6, "{received:?}");
        assert!(first.len() <= 8 && second.len() <= 8, "{received:?}");
        let stats: Vec<_> = members.iter().map(Ring::rollover).collect();
        // The kernel counts those that stay with the first member as well; of the others, the
        // last that fit a ring count as failed already.
        let (moved, failed) = (stats[0].all, stats[0].failed);
        assert_eq!(moved + failed, 44, "{stats:?}");
        assert!(moved > second.len() as u64, "{stats:?}");
        assert_eq!((stats[1].all, stats[1].failed), (0, 0), "{stats:?}");
        assert!(failed >= dropped, "{stats:?}, {dropped} dropped");
        let again: Vec<_> = members.iter().map(Ring::rollover).collect();
        assert_eq!(again[0].all, stats[0].all, "reading resets nothing");
    });
}

#[test]
fn the_rollover_flag_moves_only_what_does_not_fit() {
    isolated(|| {
        let sender = veth();
        let group = unique(PKTRING_FANOUT_CBPF, PKTRING_FANOUT_FLAG_ROLLOVER);
        let template = Ring::for_group("vb", &group);
        template.receive(16384, 1, 2048);
        template.must(set_program(&template, &constant(1)));
        let members = template.open_group(2);
        send(&sender, 0..4);
        assert_eq!(members[1].numbers(4), [0, 1, 2, 3]);
        send(&sender, 4..16);
        let received = shares(&members);
        assert!(received[1].len() >= 6, "{received:?}");
        assert!(!received[0].is_empty(), "{received:?}");
        assert_eq!(members[1].rollover().all, received[0].len() as u64);
    });
}

#[test]
fn at_random_everybody_gets_about_the_same() {
    isolated(|| {
        let sender = veth();
        let members = open("vb", PKTRING_FANOUT_RND, 0, 4);
        send(&sender, 0..4000);
        let shares = shares(&members);
        let counts: Vec<usize> = shares.iter().map(Vec::len).collect();
        assert_eq!(counts.iter().sum::<usize>(), 4000);
        // 1000 each with a deviation of 27: this is 11 of them.
        assert!(
            counts.iter().all(|count| (700..1300).contains(count)),
            "{counts:?}"
        );
        let sorted: BTreeSet<u32> = shares.concat().into_iter().collect();
        assert_eq!(sorted.len(), 4000);
    });
}

#[test]
fn by_queue_the_receive_queue_decides() {
    isolated(|| {
        let queues = match Tap::queues("tap", 3) {
            Ok(queues) => queues,
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return netns::skip(error);
            }
            Err(error) => panic!("{error}"),
        };
        let members = open("tap", PKTRING_FANOUT_QM, 0, 3);
        for (index, queue) in queues.iter().enumerate() {
            for number in 0..5 {
                queue.write(&frame(10 * index as u32 + number)).unwrap();
            }
        }
        // The kernel counts recorded queues from 1.
        for (index, due) in [(1, 0), (2, 10), (0, 20)] {
            assert_eq!(members[index].drain(), (due..due + 5).collect::<Vec<_>>());
        }
    });
}

#[test]
fn a_classic_program_decides_and_can_be_replaced() {
    isolated(|| {
        let sender = veth();
        let template = Ring::for_group("vb", &unique(PKTRING_FANOUT_CBPF, 0));
        let members = template.open_group(3);
        send(&sender, 0..6);
        let none: Vec<u32> = Vec::new();
        let first = [(0..6).collect(), none.clone(), none];
        assert_eq!(shares(&members), first, "without a program");
        // The program starts at the network header: the number is its first word.
        members[0].must(set_program(&members[0], &word(0)));
        send(&sender, 0..6);
        assert_eq!(shares(&members), [[0, 3], [1, 4], [2, 5]]);
        members[2].must(set_program(&members[2], &word_plus(0, 1)));
        send(&sender, 0..6);
        assert_eq!(shares(&members), [[2, 5], [0, 3], [1, 4]]);
    });
}

#[test]
fn an_ebpf_program_decides_and_can_be_replaced() {
    isolated(|| {
        let sender = veth();
        let load = |member| bpf::load(&[bpf::load_constant(member), bpf::exit()]);
        let (second, third) = match (load(1), load(2)) {
            (Ok(second), Ok(third)) => (second, third),
            (Err(error), _) | (_, Err(error)) => {
                return netns::skip(format_args!("bpf(2): {error}"))
            }
        };
        let template = Ring::for_group("vb", &unique(PKTRING_FANOUT_EBPF, 0));
        // SAFETY: an open handle.
        let set = |ring: &Ring, fd| unsafe { pktring_set_fanout_bpf(ring.0, fd) };
        template.must(set(&template, second.as_raw_fd()));
        drop(second);
        let members = template.open_group(3);
        send(&sender, 0..6);
        assert_eq!(members[1].numbers(6), [0, 1, 2, 3, 4, 5]);
        members[0].must(set(&members[0], third.as_raw_fd()));
        send(&sender, 6..12);
        assert_eq!(members[2].numbers(6), [6, 7, 8, 9, 10, 11]);
        let program = set_program(&members[0], &constant(0));
        members[0].must_fail(program, libc::EINVAL, "needs mode CBPF");
        let file = std::fs::File::open("/dev/null").unwrap();
        let wrong = set(&members[0], file.as_raw_fd());
        members[0].must_fail(wrong, libc::EINVAL, "eBPF program");
    });
}

/// The two fragments of a datagram.
fn fragments(identification: u16, payload: &[u8]) -> [Vec<u8>; 2] {
    let whole = udp((1, 1000), (2, 2000), payload);
    let (headers, body) = (&whole[..34], &whole[34..]);
    let cut = 512;
    let part = |body: &[u8], flags_and_offset: u16| {
        let mut packet = headers.to_vec();
        packet[16..18].copy_from_slice(&(20 + body.len() as u16).to_be_bytes());
        packet[18..20].copy_from_slice(&identification.to_be_bytes());
        packet[20..22].copy_from_slice(&flags_and_offset.to_be_bytes());
        packet[24..26].fill(0);
        let sum: u32 = packet[14..34]
            .chunks(2)
            .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
            .sum();
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        packet[24..26].copy_from_slice(&sum.to_be_bytes());
        packet.extend(body);
        packet
    };
    const MORE: u16 = 0x2000;
    [part(&body[..cut], MORE), part(&body[cut..], cut as u16 / 8)]
}

#[test]
fn fragments_are_shared_out_singly() {
    isolated(|| {
        let sender = veth();
        let members = open("vb", PKTRING_FANOUT_LB, 0, 2);
        let parts = fragments(7, &[0x5a; 1000]);
        sender.send_all(&parts).unwrap();
        let mut seen: Vec<_> = members
            .iter()
            .map(|member| member.next(LIMIT).expect("one fragment each").data)
            .collect();
        seen.sort_by_key(|data| data[20..22].to_vec());
        assert_eq!(seen, [parts[1].clone(), parts[0].clone()]);
    });
}

#[test]
fn with_defrag_one_member_gets_the_whole_datagram() {
    isolated(|| {
        let sender = veth();
        let flag = PKTRING_FANOUT_FLAG_DEFRAG;
        let members = open("vb", PKTRING_FANOUT_LB, flag, 2);
        assert_eq!(members[0].joined().flags, flag);
        let payload: Vec<u8> = (0..1000).map(|i| i as u8).collect();
        for part in fragments(8, &payload) {
            sender.send(&part).unwrap();
        }
        let mut got: Vec<_> = members
            .iter()
            .filter_map(|member| member.next(Duration::from_millis(300)))
            .collect();
        assert_eq!(got.len(), 1, "one packet for one member");
        let packet = got.remove(0).data;
        assert_eq!(packet.len(), 14 + 20 + 8 + 1000);
        assert_eq!(packet[20..22], [0, 0], "no fragment any more");
        assert_eq!(packet[42..], payload);
    });
}

#[test]
fn the_flag_ignore_outgoing_hides_what_this_host_sends() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let here = PlainSocket::sender("vb").unwrap();
        let there = PlainSocket::sender("va").unwrap();
        let seeing = open("vb", PKTRING_FANOUT_LB, 0, 1);
        let flag = PKTRING_FANOUT_FLAG_IGNORE_OUTGOING;
        let ignoring = open("vb", PKTRING_FANOUT_LB, flag, 1);
        here.send(&frame(1)).unwrap();
        there.send(&frame(2)).unwrap();
        assert_eq!(seeing[0].numbers(2), [1, 2]);
        assert_eq!(ignoring[0].drain(), [2]);
        // In a group the kernel accepts the option of the socket, and does not heed it.
        // SAFETY: open handles.
        unsafe {
            let ignore = |ring: &Ring, on| pktring_set_ignore_outgoing(ring.0, on);
            seeing[0].must_fail(ignore(&seeing[0], 1), libc::EINVAL, "FLAG_IGNORE_OUTGOING");
            seeing[0].must(ignore(&seeing[0], 0));
            ignoring[0].must(ignore(&ignoring[0], 1));
            let template = Ring::for_group("vb", &unique(PKTRING_FANOUT_LB, 0));
            template.must(ignore(&template, 1));
            let (errno, text) = template.refused();
            assert_eq!(errno, libc::EINVAL);
            assert!(text.contains("FLAG_IGNORE_OUTGOING"), "{text}");
            template.must(template.set_fanout(&unique(PKTRING_FANOUT_LB, flag)));
            template.activate();
        }
    });
}

#[test]
fn a_group_is_told_as_the_kernel_has_it() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let mut asked = fanout(PKTRING_FANOUT_LB, PKTRING_FANOUT_FLAG_ROLLOVER, 4711);
        asked.max_members = 2;
        let first = Ring::member("vb", &asked);
        let joined = first.joined();
        assert_eq!(
            (joined.mode, joined.flags, joined.group, joined.max_members),
            (asked.mode, asked.flags, 4711, 2)
        );
        let second = Ring::member("vb", &asked);
        let (errno, text) = Ring::for_group("vb", &asked).refused();
        assert_eq!(errno, libc::ENOSPC, "{text}");
        drop(second);
        Ring::for_group("vb", &asked).activate();

        let unique = [
            open("vb", PKTRING_FANOUT_HASH, 0, 2),
            open("vb", PKTRING_FANOUT_HASH, 0, 2),
        ];
        let numbers: Vec<_> = unique
            .iter()
            .map(|members| (members[0].joined().group, members[1].joined().group))
            .collect();
        assert_eq!(numbers[0].0, numbers[0].1);
        assert_eq!(numbers[1].0, numbers[1].1);
        assert_ne!(numbers[0].0, numbers[1].0);
    });
}

#[test]
fn bad_settings_are_refused_and_named() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let ring = Ring::open("vb");
        let bad = |mode, flags, group, word: &str| {
            let code = ring.set_fanout(&fanout(mode, flags, group));
            ring.must_fail(code, libc::EINVAL, word);
        };
        bad(8, 0, 0, "fanout mode 8");
        bad(0, 0x800, 0, "flags 0x800");
        bad(0, 0x1_0000, 0, "flags 0x10000");
        bad(0, 0, 65536, "group 65536");
        bad(0, PKTRING_FANOUT_FLAG_UNIQUEID, 1, "must be 0");
        bad(
            PKTRING_FANOUT_ROLLOVER,
            PKTRING_FANOUT_FLAG_ROLLOVER,
            0,
            "by itself",
        );
        let mut large = fanout(0, 0, 0);
        large.max_members = 65537;
        ring.must_fail(ring.set_fanout(&large), libc::EINVAL, "65537");
        let mut short = fanout(0, 0, 0);
        short.size = 8;
        ring.must_fail(ring.set_fanout(&short), libc::EINVAL, "size");
    });
}

#[test]
fn the_wrong_moment_is_refused_and_named() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let hash = fanout(PKTRING_FANOUT_HASH, 0, 1);
        let member = Ring::member("vb", &hash);
        member.must_fail(
            member.set_fanout(&hash),
            libc::EBUSY,
            "before pktring_activate",
        );
        let program = set_program(&member, &constant(0));
        member.must_fail(program, libc::EINVAL, "needs mode CBPF");
        let mut stats = pktring_fanout_stats {
            size: std::mem::size_of::<pktring_fanout_stats>(),
            ..Default::default()
        };
        // SAFETY: an open handle, and a struct with its size.
        let code = unsafe { pktring_fanout_stats(member.0, &mut stats) };
        member.must_fail(code, libc::EINVAL, "rolls over");

        let other_mode = Ring::for_group("vb", &fanout(PKTRING_FANOUT_LB, 0, 1));
        let (errno, text) = other_mode.refused();
        assert_eq!(errno, libc::EINVAL, "{text}");
        assert!(text.contains("all members must agree"), "{text}");
        let other_device = Ring::for_group("va", &hash);
        assert_eq!(other_device.refused().0, libc::EINVAL);

        let transmitting = Ring::for_group("vb", &hash);
        // SAFETY: an open handle; NULL stands for the defaults.
        transmitting.must(unsafe { pktring_set_ring(transmitting.0, PKTRING_TX, null()) });
        let (errno, text) = transmitting.refused();
        assert_eq!(errno, libc::EINVAL);
        assert!(text.contains("receive ring"), "{text}");

        let lonely = Ring::active("vb");
        let mut told = fanout(0, 0, 0);
        // SAFETY: an open handle, and a struct with its size.
        let code = unsafe { pktring_get_fanout(lonely.0, &mut told) };
        lonely.must_fail(code, libc::EINVAL, "no fanout group");

        let bad = Ring::for_group("vb", &unique(PKTRING_FANOUT_CBPF, 0));
        bad.must(set_program(
            &bad,
            &[pktring_insn {
                code: 0xffff,
                jt: 0,
                jf: 0,
                k: 0,
            }],
        ));
        let (errno, text) = bad.refused();
        assert_eq!(errno, libc::EINVAL);
        assert!(text.contains("refuses the program"), "{text}");
    });
}

#[test]
fn a_group_that_cannot_be_opened_leaves_nothing_behind() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let mut small = fanout(PKTRING_FANOUT_LB, 0, 9);
        small.max_members = 2;
        let template = Ring::for_group("vb", &small);
        let mut members: [*mut Handle; 3] = [null_mut(); 3];
        // SAFETY: an open handle, and room for three.
        let mut open =
            |count| unsafe { pktring_group_open(template.0, members.as_mut_ptr(), count) };
        template.must_fail(open(3), libc::ENOSPC, "maximum of members");
        template.must_fail(open(0), libc::EINVAL, "0 members");
        assert_eq!(members, [null_mut(); 3]);
        let sockets = std::fs::read_to_string("/proc/thread-self/net/packet").unwrap();
        assert_eq!(sockets.lines().count(), 1, "{sockets}");
        let two = template.open_group(2);
        let mut handles = [two[0].0, null_mut(), two[1].0];
        two.into_iter().for_each(std::mem::forget);
        // SAFETY: three entries, each NULL or an open handle that is given up.
        assert_eq!(unsafe { pktring_group_close(handles.as_mut_ptr(), 3) }, 0);
        assert_eq!(handles, [null_mut(); 3]);
        template.activate();
        let code = unsafe {
            // SAFETY: an open handle, and room for one.
            pktring_group_open(template.0, handles.as_mut_ptr(), 1)
        };
        template.must_fail(code, libc::EBUSY, "template is active");
    });
}

/// Ends a thread also where a test fails that would otherwise wait for it for ever.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Sends frames with rising numbers for as long as it lives.
struct Load {
    next: AtomicU32,
    stop: AtomicBool,
}

impl Load {
    /// Runs `body` while a thread sends; returns the number of frames.
    fn during(sender: &PlainSocket, body: impl FnOnce(&Load)) -> u32 {
        let load = Load {
            next: AtomicU32::new(0),
            stop: AtomicBool::new(false),
        };
        thread::scope(|scope| {
            scope.spawn(|| load.run(sender));
            let _stop = StopAtEnd(&load.stop);
            body(&load);
        });
        load.next.into_inner()
    }

    fn run(&self, sender: &PlainSocket) {
        while !self.stop.load(Ordering::SeqCst) {
            let first = self.next.fetch_add(20, Ordering::SeqCst);
            send(sender, first..first + 20);
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Waits until `count` more frames were sent.
    fn wait(&self, count: u32) -> u32 {
        let end = self.next.load(Ordering::SeqCst) + count;
        while self.next.load(Ordering::SeqCst) < end {
            thread::sleep(Duration::from_millis(1));
        }
        end
    }
}

#[test]
fn no_member_of_a_group_sees_a_packet_before_all_have_joined() {
    isolated(|| {
        let sender = veth();
        for _ in 0..5 {
            let template = Ring::for_group("vb", &unique(PKTRING_FANOUT_CBPF, 0));
            template.must(set_program(&template, &word(0)));
            let mut members = Vec::new();
            Load::during(&sender, |load| {
                load.wait(200);
                members = template.open_group(4);
                load.wait(400);
            });
            for (index, share) in shares(&members).iter().enumerate() {
                assert!(share.len() > 20, "member {index} got {}", share.len());
                let strays = share.iter().find(|number| **number as usize % 4 != index);
                assert_eq!(strays, None, "member {index}");
            }
        }
    });
}

#[test]
fn a_member_leaves_under_load_and_the_others_lose_nothing() {
    isolated(|| {
        let sender = veth();
        let template = Ring::for_group("vb", &unique(PKTRING_FANOUT_CBPF, 0));
        template.must(set_program(&template, &word(0)));
        let mut members = template.open_group(3);
        let leaver = members.pop().unwrap();
        let stop = AtomicBool::new(false);
        let mut received: Vec<u32> = Vec::new();
        let mut after = 0;
        let sent = thread::scope(|scope| {
            let end = StopAtEnd(&stop);
            let readers: Vec<_> = members
                .iter()
                .map(|member| {
                    let stop = &stop;
                    // One thread each, as a program with a group has it.
                    let member = AssertSend(member);
                    scope.spawn(move || {
                        let member = member;
                        let mut numbers = Vec::new();
                        while !stop.load(Ordering::SeqCst) {
                            let frames =
                                std::iter::from_fn(|| member.0.next_own(Duration::from_millis(5)));
                            numbers.extend(frames.map(|seen| seen.number()));
                        }
                        numbers.extend(member.0.drain());
                        assert_eq!(member.0.stats().dropped, 0);
                        numbers
                    })
                })
                .collect();
            let sent = Load::during(&sender, |load| {
                load.wait(2000);
                while let Some(seen) = leaver.next_own(Duration::ZERO) {
                    received.push(seen.number());
                }
                drop(leaver);
                after = load.wait(2000) - 2000 + 20;
                load.wait(2000);
            });
            drop(end);
            for reader in readers {
                received.extend(reader.join().unwrap());
            }
            sent
        });
        let distinct: BTreeSet<u32> = received.iter().copied().collect();
        assert_eq!(distinct.len(), received.len(), "a frame came twice");
        let lost: Vec<u32> = (0..sent)
            .filter(|number| !distinct.contains(number))
            .collect();
        println!("{sent} sent, {} of them the leaver's and lost", lost.len());
        // Only what was the leaver's when it left.
        let stray = lost
            .iter()
            .find(|number| **number >= after || **number % 3 != 2);
        assert_eq!(stray, None, "of {lost:?}, sent {sent}, left before {after}");
    });
}

/// A reference to a handle that only the thread which gets it uses.
struct AssertSend<'a>(&'a Ring);

// SAFETY: see above.
unsafe impl Send for AssertSend<'_> {}

/// Set to the group's number in a process that is to be a member.
const GROUP: &str = "PKTRING_TEST_GROUP";

#[test]
fn members_in_separate_processes_share_as_well() {
    if let Ok(group) = std::env::var(GROUP) {
        return be_a_member(group.parse().unwrap());
    }
    isolated(|| {
        let sender = veth();
        let first = Ring::member("vb", &unique(PKTRING_FANOUT_LB, 0));
        let group = first.joined().group;
        let mut children: Vec<_> = (0..2)
            .map(|_| {
                netns::launch::tie(&mut Command::new("/proc/self/exe"))
                    .args(["members_in_separate_processes_share_as_well", "--exact"])
                    .args(["--nocapture", "--test-threads=1"])
                    .env(GROUP, group.to_string())
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let mut lines: Vec<_> = children
            .iter_mut()
            .map(|child| member_lines(child.stdout.take().unwrap()))
            .collect();
        for line in &mut lines {
            assert_eq!(line.next().as_deref(), Some("ready"));
        }
        send(&sender, 0..300);
        let mut all: Vec<u32> = first.numbers(100);
        for (child, line) in children.iter_mut().zip(&mut lines) {
            let numbers = line.next().expect("the numbers");
            let share: Vec<u32> = numbers.split(' ').map(|n| n.parse().unwrap()).collect();
            assert_eq!(share.len(), 100);
            all.extend(share);
            assert!(child.wait().unwrap().success());
        }
        all.sort_unstable();
        assert_eq!(all, (0..300).collect::<Vec<_>>());
        send(&sender, 300..310);
        assert_eq!(
            first.numbers(10),
            (300..310).collect::<Vec<_>>(),
            "alone again"
        );
    });
}

const MARK: &str = "member: ";

/// What a member process says.
fn member_lines(output: std::process::ChildStdout) -> impl Iterator<Item = String> {
    use std::io::BufRead;
    let lines = std::io::BufReader::new(output).lines();
    lines.filter_map(|line| Some(line.unwrap().split_once(MARK)?.1.to_owned()))
}

fn be_a_member(group: u32) {
    let ring = Ring::member("vb", &fanout(PKTRING_FANOUT_LB, 0, group));
    println!("{MARK}ready");
    let numbers: Vec<_> = ring.numbers(100).iter().map(u32::to_string).collect();
    println!("{MARK}{}", numbers.join(" "));
}

#[test]
fn a_group_without_settings_is_by_hash_and_v3() {
    isolated(|| {
        let sender = veth();
        let template = Ring::open("vb");
        let members = template.open_group(2);
        assert_eq!(members[1].joined().mode, PKTRING_FANOUT_HASH);
        send(&sender, 0..10);
        let shares = shares(&members);
        assert_eq!(
            shares.concat(),
            (0..10).collect::<Vec<_>>(),
            "one flow, one member"
        );
        // The template is a handle like any other.
        template.version(PKTRING_V2);
        // SAFETY: an open handle.
        template.must(unsafe { pktring_activate(template.0) });
    });
}
