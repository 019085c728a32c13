//! Capture files: written by pktring-capture and by tcpdump, sent by pktring-replay.

use std::collections::BTreeSet;
use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use netns::{isolated, link, PlainSocket, Tap};
use nix::sys::socket::sockopt;

use crate::captured::{Captured, Packet, Statistics};
use crate::programs::Programs;
use crate::running::Running;
use crate::{
    count, has_libpcap, is_real_root, mixed, packets, scratch, send, text, there, timed_packets,
};

/// tcpdump beside a capture, as it writes nanoseconds.
fn tcpdump(options: &str, file: &Path) -> Running {
    let mut command = Command::new("tcpdump");
    command.args(["-B", "32768", "--nano"]);
    command.args(options.split(' ')).arg("-w").arg(file);
    Running::start(&mut command)
}

/// Whether tcpdump can capture here.
fn has_tcpdump() -> bool {
    let there = there("tcpdump") && has_libpcap();
    if there && !is_real_root() {
        netns::skip("tcpdump captures for real root only, not in a user namespace");
    }
    there && is_real_root()
}

/// While there is a socket that asks for timestamps, the kernel gives each packet one, once: all
/// who capture it see the same.
fn common_timestamps() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    nix::sys::socket::setsockopt(&socket, sockopt::ReceiveTimestampns, &true).unwrap();
    socket
}

/// Every packet of both files: time to the nanosecond, lengths, tags, bytes.
fn assert_equal_files(ours: &Path, theirs: &Path, number: usize) {
    assert_eq!(timed_packets(ours), timed_packets(theirs));
    let [mut ours, theirs] = [ours, theirs].map(Captured::read);
    for packet in &mut ours.packets {
        packet.outgoing = false; // of which theirs do not tell
    }
    assert_eq!(ours.packets, theirs.packets);
    assert_eq!(ours.packets.len(), number);
    assert_eq!(ours.interfaces[0].linktype, theirs.interfaces[0].linktype);
}

#[test]
fn captures_and_replays_the_same_packets_as_tcpdump() {
    isolated(|| {
        if !has_tcpdump() {
            return;
        }
        link::veth("va", "vb").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("equal"));
        let _stamps = common_timestamps();
        for snaplen in [262144, 100, 15] {
            let [ours, theirs, replayed] = ["ours.pcapng", "theirs.pcap", "replayed.pcap"]
                .map(|name| files.join(format!("{snaplen}-{name}")));
            let reference = tcpdump(&format!("-i vb -c 300 -s {snaplen}"), &theirs);
            let capture = programs.start(&format!(
                "pktring-capture -c 300 -s {snaplen} -w {} vb",
                ours.display()
            ));
            send("va", &mixed(300));
            capture.finish(0);
            reference.finish(0);
            assert_equal_files(&ours, &theirs, 300);
            let whole_tags = packets(&ours).contains("vlan 100");
            assert_eq!(whole_tags, snaplen > 18);
            let ours_read = Captured::read(&ours);
            let wanted = Statistics {
                received: 300,
                dropped: 0,
                delivered: 300,
            };
            assert_eq!(ours_read.interfaces[0].statistics, Some(wanted));
            assert_eq!(ours_read.interfaces[0].name, "vb");

            if snaplen != 262144 {
                continue; // what was cut is sent as it was cut
            }
            let reference = tcpdump("-i vb -c 300", &replayed);
            let said = programs.run(&format!("pktring-replay -t va {}", ours.display()));
            assert!(said.starts_with("300 packets sent"), "{said}");
            reference.finish(0);
            assert_eq!(packets(&replayed), packets(&ours));
        }
    });
}

/// Threads may write packets in another order than they came in; times tell the order.
#[test]
fn several_threads_capture_the_same_packets_as_tcpdump() {
    isolated(|| {
        if !has_tcpdump() {
            return;
        }
        link::veth("va", "vb").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("threads"));
        let _stamps = common_timestamps();
        for mode in ["lb", "hash", "rnd"] {
            let [ours, theirs] =
                ["pcapng", "pcap"].map(|kind| files.join(format!("{mode}.{kind}")));
            let reference = tcpdump("-i vb -c 300", &theirs);
            let line = format!("pktring-capture -t 3 -f {mode} -w {} vb", ours.display());
            let capture = programs.start_several(&line, 3);
            send("va", &mixed(300));
            reference.finish(0);
            capture.stop(0);
            let [mut ours, mut theirs] = [ours, theirs].map(|file| Captured::read(&file));
            ours.packets.sort();
            theirs.packets.sort();
            assert!(ours.packets == theirs.packets, "{mode}");
            let statistics = ours.interfaces[0].statistics.unwrap();
            assert_eq!((statistics.received, statistics.delivered), (300, 300));
        }
    });
}

/// What tcpdump writes of "any" interface has a header of its own: protocol, interface, kind,
/// sender, and the payload, which is compared with that of the frames that are written here.
#[test]
fn any_is_the_same_as_that_of_tcpdump() {
    isolated(|| {
        if !has_tcpdump() {
            return;
        }
        link::veth("va", "vb").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("any"));
        let _stamps = common_timestamps();
        let [ours, theirs] = ["any.pcapng", "any.pcap"].map(|name| files.join(name));
        // Each frame is seen as it leaves va and as it comes to vb; lo takes part with a datagram.
        let reference = tcpdump("-i any -c 201 -y LINUX_SLL2", &theirs);
        let line = format!("pktring-capture -c 201 -w {} any", ours.display());
        let capture = programs.start(&line);
        let untagged: Vec<_> = mixed(150).into_iter().enumerate().collect();
        let untagged = untagged.iter().filter(|(number, _)| number % 3 != 0);
        let untagged: Vec<_> = untagged.map(|(_, frame)| frame.clone()).collect();
        assert_eq!(untagged.len(), 100);
        send("va", &untagged);
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .send_to(b"hello", socket.local_addr().unwrap())
            .unwrap();
        capture.finish(0);
        reference.finish(0);

        let [ours, theirs] = [ours, theirs].map(|file| Captured::read(&file));
        assert_eq!(theirs.interfaces[0].linktype, 276, "LINUX_SLL2");
        let names: BTreeSet<_> = ours.interfaces.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, BTreeSet::from(["lo", "va", "vb"]));
        assert!(ours.interfaces.iter().all(|i| i.linktype == 1));
        let cooked = |packet: &Packet| {
            let name = &ours.interfaces[packet.interface as usize].name;
            let index = link::index(name).unwrap().to_be_bytes();
            let data = &packet.data;
            let (protocol, sender, payload) = (&data[12..14], &data[6..12], &data[14..]);
            let mut fields = [protocol, &index, sender, payload].concat();
            fields.push(packet.outgoing.into());
            (packet.time_ns, packet.len - 14, fields)
        };
        let ours: Vec<_> = ours.packets.iter().map(cooked).collect();
        let cooked = |packet: &Packet| {
            let data = &packet.data;
            let (protocol, index, sender) = (&data[..2], &data[4..8], &data[12..18]);
            let mut fields = [protocol, index, sender, &data[20..]].concat();
            fields.push((data[10] == 4).into());
            (packet.time_ns, packet.len - 20, fields)
        };
        let theirs: Vec<_> = theirs.packets.iter().map(cooked).collect();
        assert_eq!(ours.len(), 201);
        assert!(ours == theirs);
    });
}

/// Interfaces of several kinds each have their link type, and tags stay, which tcpdump loses.
#[test]
fn any_tells_the_link_type_of_each_interface() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("kinds"));
        let tunnel = Tap::without_ethernet("tunnel").unwrap();
        let file = files.join("any.pcapng");
        let line = format!("pktring-capture -Q -c 2 -w {} any", file.display());
        let capture = programs.start(&line);
        let tagged = &mixed(1)[0];
        send("va", std::slice::from_ref(tagged));
        let mut packet = vec![0x45, 0, 0, 24, 0, 0, 0x40, 0, 64, 253, 0, 0];
        packet.extend([192, 0, 2, 1, 192, 0, 2, 2, 1, 2, 3, 4]);
        tunnel.write(&packet).unwrap();
        capture.finish(0);
        let captured = Captured::read(&file);
        let kind = |packet: &Packet| {
            let interface = &captured.interfaces[packet.interface as usize];
            (interface.name.as_str(), interface.linktype)
        };
        let [first, second] = &captured.packets[..] else {
            panic!("{captured:?}");
        };
        assert_eq!((kind(first), &first.data), (("vb", 1), tagged));
        assert_eq!((kind(second), &second.data), (("tunnel", 101), &packet));

        let show = programs.start("pktring-capture -q -Q -c 2 any");
        send("va", std::slice::from_ref(tagged));
        tunnel.write(&packet).unwrap();
        let shown = text(&show.finish(0).stdout);
        assert!(
            shown.contains(" vb in    60 02:00:00:00:00:01 > "),
            "{shown}"
        );
        let of_tunnel = " tunnel in    24 192.0.2.1 > 192.0.2.2 protocol 253\n";
        assert!(shown.contains(of_tunnel), "{shown}");
    });
}

/// What there was no room for is told at the end of the file, and adds up.
#[test]
fn drops_are_in_the_statistics_of_the_file() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("drops"));
        let file = files.join("some.pcapng");
        let line = format!("pktring-capture -B 1M -w {} vb", file.display());
        let capture = programs.start(&line);
        capture.signal(libc::SIGSTOP);
        for _ in 0..4 {
            send("va", &mixed(600)); // two megabytes
            sleep(Duration::from_millis(200)); // not too many at once for the backlog
        }
        capture.signal(libc::SIGCONT);
        let said = text(&capture.stop(0).stderr);
        let captured = Captured::read(&file);
        let Statistics {
            received,
            dropped,
            delivered,
        } = captured.interfaces[0].statistics.unwrap();
        assert!(dropped > 100, "{said}");
        assert_eq!(received, 2400);
        assert_eq!(delivered + dropped, received);
        assert_eq!(captured.packets.len() as u64, delivered);
        let wanted =
            format!("{delivered} packets captured, {received} received, {dropped} dropped");
        assert!(said.contains(&wanted), "{said}");
    });
}

/// A pcap file in either byte order, with micro- or nanoseconds: packets and nanoseconds between.
fn pcap_file(big: bool, nanoseconds: bool, frames: &[Vec<u8>], gap: Duration) -> Vec<u8> {
    let word = |value: u32| match big {
        true => value.to_be_bytes(),
        false => value.to_le_bytes(),
    };
    let magic = if nanoseconds { 0xa1b23c4d } else { 0xa1b2c3d4 };
    let version = if big { 2 << 16 | 4 } else { 4 << 16 | 2 };
    let mut file: Vec<u8> = [magic, version, 0, 0, 65535, 1]
        .into_iter()
        .flat_map(word)
        .collect();
    for (number, frame) in frames.iter().enumerate() {
        let time = Duration::from_secs(1_700_000_000) + gap * number as u32;
        let part = match nanoseconds {
            true => time.subsec_nanos(),
            false => time.subsec_micros(),
        };
        let length = frame.len() as u32;
        let header = [time.as_secs() as u32, part, length, length];
        file.extend(header.into_iter().flat_map(word));
        file.extend(frame);
    }
    file
}

#[test]
fn replays_pcap_files_of_either_byte_order_and_precision() {
    if !has_libpcap() {
        return;
    }
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("magics"));
        let (frames, gap) = (mixed(9), Duration::from_millis(40));
        for (big, nanoseconds) in [(false, false), (false, true), (true, false), (true, true)] {
            let name = format!("{big}-{nanoseconds}.pcap");
            let file = files.join(name);
            fs::write(&file, pcap_file(big, nanoseconds, &frames, gap)).unwrap();
            let plain = PlainSocket::open("vb").unwrap();
            let begun = Instant::now();
            let said = programs.run(&format!("pktring-replay va {}", file.display()));
            // Taken for another precision they would be a thousand times as long, or as short.
            assert!(begun.elapsed() >= gap * 8, "{:?}", begun.elapsed());
            assert!(said.starts_with("9 packets sent"), "{said}");
            for frame in &frames {
                let packet = plain.recv(Duration::from_secs(5)).unwrap().unwrap();
                let mut whole = packet.data;
                if let Some((tci, tpid)) = packet.vlan {
                    let [a, b] = tpid.to_be_bytes();
                    let [c, d] = tci.to_be_bytes();
                    whole.splice(12..12, [a, b, c, d]);
                }
                assert_eq!(&whole, frame);
            }
        }
    });
}

#[test]
fn replays_with_gaps_and_rates() {
    if !has_libpcap() {
        return;
    }
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("rates"));
        let file = files.join("slow.pcapng");
        let capture = programs.start(&format!("pktring-capture -c 5 -w {} vb", file.display()));
        for frame in mixed(5) {
            send("va", &[frame]);
            sleep(Duration::from_millis(60));
        }
        capture.finish(0);
        let time = |options: &str| {
            let begun = Instant::now();
            programs.run(&format!("pktring-replay {options} va {}", file.display()));
            begun.elapsed()
        };
        let gaps = time("");
        assert!(gaps > Duration::from_millis(235), "{gaps:?}");
        let rate = time("-r 20 -l 3"); // 15 packets, 14 gaps of 50 ms
        assert!(rate > Duration::from_millis(695), "{rate:?}");
    });
}

#[test]
fn an_interrupt_loses_nothing_that_the_ring_held() {
    if !there("tcpdump") {
        return;
    }
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("interrupt"));
        for threads in [1, 3] {
            let file = files.join(format!("{threads}.pcapng"));
            let capture = programs.start_several(
                &format!("pktring-capture -t {threads} -w {} vb", file.display()),
                threads,
            );
            // Fewer than a host's backlog holds: what is lost there never comes to the ring.
            send("va", &mixed(800));
            let said = text(&capture.stop(0).stderr);
            let wanted = "800 packets captured, 800 received, 0 dropped";
            assert!(said.contains(wanted), "{threads} threads: {said}");
            assert_eq!(count(&file), 800);
        }
    });
}

/// The numbered files of a rotation, in order.
fn numbered(files: &Path, stem: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(files).unwrap();
    let mut all: Vec<_> = all.map(|entry| entry.unwrap().path()).collect();
    all.retain(|file| {
        file.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with(stem)
    });
    all.sort();
    all
}

/// Between the files nothing is lost: one behind the other they hold what was sent, and each
/// tells what came while it was written.
fn assert_hold(files: &[PathBuf], sent: &[Vec<u8>]) {
    let all: Vec<Captured> = files.iter().map(|file| Captured::read(file)).collect();
    let packets = all.iter().flat_map(|captured| &captured.packets);
    let held: Vec<&Vec<u8>> = packets.map(|packet| &packet.data).collect();
    assert!(held == sent.iter().collect::<Vec<_>>(), "{}", held.len());
    let statistics = all
        .iter()
        .map(|captured| captured.interfaces[0].statistics.unwrap());
    let sum = statistics.fold([0; 3], |sum, one| {
        [
            sum[0] + one.received,
            sum[1] + one.dropped,
            sum[2] + one.delivered,
        ]
    });
    assert_eq!(sum, [sent.len() as u64, 0, sent.len() as u64]);
}

#[test]
fn rotates_files_by_size_without_a_loss() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("rotate-size"));
        let capture = programs.start(&format!(
            "pktring-capture -C 100K -c 800 -w {}/all.pcapng vb",
            files.display()
        ));
        let frames = mixed(800);
        send("va", &frames);
        capture.finish(0);
        let all = numbered(&files, "all_");
        assert!(all.len() > 4, "{all:?}");
        assert_hold(&all, &frames);
        for file in &all {
            // One packet more than was wanted, and the statistics, at most.
            assert!(fs::metadata(file).unwrap().len() < 102_000);
        }
    });
}

#[test]
fn rotates_files_by_time_without_a_loss() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("rotate-time"));
        let capture = programs.start(&format!(
            "pktring-capture -G 0.1 -c 800 -w {}/all.pcapng vb",
            files.display()
        ));
        let frames = mixed(800);
        for some in frames.chunks(20) {
            send("va", some);
            sleep(Duration::from_millis(20));
        }
        capture.finish(0);
        let all = numbered(&files, "all_");
        assert!(all.len() > 4, "{all:?}");
        assert_hold(&all, &frames);

        let capture = programs.start(&format!(
            "pktring-capture -G 0.1 -W 2 -d 1 -w {}/last.pcapng vb",
            files.display()
        ));
        capture.finish(0);
        let last = numbered(&files, "last_");
        assert_eq!(last.len(), 2, "{last:?}");
        assert!(!last[0].ends_with("last_00001.pcapng"), "{last:?}");
    });
}

#[test]
fn a_capture_goes_down_a_pipe() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("pipe"));
        let capture = programs.start("pktring-capture -c 20 -w - vb");
        let frames = mixed(20);
        send("va", &frames);
        let file = files.join("piped.pcapng");
        fs::write(&file, capture.finish(0).stdout).unwrap();
        assert_hold(&[file], &frames);
    });
}

#[test]
fn filters_and_shows_packets() {
    if !has_libpcap() {
        return;
    }
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let programs = Programs::sanitized();
        let capture = programs.start("pktring-capture vb vlan 104");
        send("va", &mixed(40)); // of these 0, 3, 6, ... are tagged, with 100 plus their number
        let output = capture.stop(0);
        assert_eq!(text(&output.stdout), "", "4 is not among them");
        let capture = programs.start("pktring-capture vb vlan 106");
        send("va", &mixed(40));
        sleep(Duration::from_millis(200));
        let shown = text(&capture.stop(0).stdout);
        let rest = "02:00:00:00:00:01 > 02:00:00:00:00:09 VLAN 106 ethertype 0x88b5\n";
        assert!(
            shown.ends_with(rest) && shown.lines().count() == 1,
            "{shown}"
        );
    });
}
