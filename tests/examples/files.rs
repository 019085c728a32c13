//! Capture files: written by pktring-capture and by tcpdump, sent by pktring-replay.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use netns::{isolated, link};

use crate::programs::Programs;
use crate::running::Running;
use crate::{count, has_libpcap, is_real_root, mixed, packets, scratch, send, text, there};

#[test]
fn captures_and_replays_the_same_packets_as_tcpdump() {
    if !there("tcpdump") || !has_libpcap() {
        return;
    }
    isolated(|| {
        if !is_real_root() {
            netns::skip::skip("tcpdump captures for real root only, not in a user namespace");
            return;
        }
        link::veth("va", "vb").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("equal"));
        let [ours, theirs, replayed] =
            ["ours.pcapng", "theirs.pcap", "replayed.pcap"].map(|name| files.join(name));
        let tcpdump = |file: &Path| {
            Running::start(
                Command::new("tcpdump")
                    .args(["-i", "vb", "-c", "300", "-B", "32768", "-w"])
                    .arg(file),
            )
        };

        let reference = tcpdump(&theirs);
        let capture = programs.start(&format!("pktring-capture -c 300 -w {} vb", ours.display()));
        send("va", &mixed(300));
        capture.finish(0);
        reference.finish(0);
        assert_eq!(count(&ours), 300);
        assert_eq!(packets(&ours), packets(&theirs));
        assert!(packets(&ours).contains("vlan 100"));

        let reference = tcpdump(&replayed);
        let said = programs.run(&format!("pktring-replay -t va {}", ours.display()));
        assert!(said.starts_with("300 packets sent"), "{said}");
        reference.finish(0);
        assert_eq!(packets(&replayed), packets(&ours));
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

#[test]
fn rotates_files_and_keeps_the_last_ones() {
    if !there("tcpdump") {
        return;
    }
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("rotate"));
        let capture = programs.start(&format!(
            "pktring-capture -C 100K -c 800 -w {}/all.pcapng vb",
            files.display()
        ));
        send("va", &mixed(800));
        capture.finish(0);
        let all: Vec<PathBuf> = fs::read_dir(&files)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(all.len() > 4, "{all:?}");
        assert_eq!(all.iter().map(|file| count(file)).sum::<usize>(), 800);

        let capture = programs.start(&format!(
            "pktring-capture -G 0.2 -W 2 -d 1.1 -w {}/last.pcapng vb",
            files.display()
        ));
        capture.finish(0);
        let last = fs::read_dir(&files).unwrap().filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with("last")
        });
        assert_eq!(last.count(), 2);
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
