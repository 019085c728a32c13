//! Every example, run once in each way of building and running them.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use netns::{isolated, link, PlainSocket};

use crate::programs::{compiles, Programs, Under};
use crate::{has_libpcap, mixed, scratch, send, text, there};

#[test]
fn gcc_with_address_sanitizer() {
    tour("gcc-sanitized", || Programs::sanitized_by("gcc"));
}

#[test]
fn clang_with_address_sanitizer() {
    if compiles("clang", true) {
        tour("clang-sanitized", || Programs::sanitized_by("clang"));
    }
}

#[test]
fn gcc_in_valgrind() {
    if there("valgrind") {
        tour("gcc-valgrind", || Programs::in_valgrind("gcc"));
    }
}

#[test]
fn clang_in_valgrind() {
    if there("valgrind") && compiles("clang", false) {
        tour("clang-valgrind", || Programs::in_valgrind("clang"));
    }
}

fn tour(name: &str, programs: impl FnOnce() -> Programs) {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        link::veth("vc", "vd").unwrap();
        let programs = programs();
        first_programs(&programs);
        samples_of_the_document(&programs);
        fanout(&programs);
        ports(&programs);
        tools(&programs, name);
        programs.all_were_run();
    });
}

fn first_programs(programs: &Programs) {
    let capture = programs.start("capture vb");
    programs.run("transmit va 100");
    settle();
    let said = text(&capture.stop(0).stdout);
    assert!(said.contains(" 60 bytes on interface "), "{said}");
    assert!(said.ends_with("100 received, 0 dropped\n"), "{said}");
    let frames = match programs.under {
        Under::Nothing => 20000,
        Under::Valgrind => 200,
    };
    let said = programs.run(&format!("demo -n {frames} va vb"));
    let wanted = format!("sent {frames} received {frames} lost 0 corrupt 0 dropped 0");
    assert!(said.contains(&wanted), "{said}");
}

fn samples_of_the_document(programs: &Programs) {
    let sizes = programs.run("doc-ring-size 4096 2048 4");
    assert!(sizes.contains("tp_frame_nr   = 8"), "{sizes}");
    assert!(sizes.contains("| frame 7 | frame 8 |"), "{sizes}");

    let walk = programs.start("doc-v3-walk vb");
    for version in 1..=3 {
        let receive = programs.start(&format!("doc-receive vb {version} 20"));
        let sent = programs.run(&format!("doc-transmit va {version} 20"));
        assert!(sent.contains("20 of 20 frames sent"), "{sent}");
        let received = text(&receive.finish(0).stdout);
        let frames = received.matches(" 60 of 60 bytes, protocol 0x88b5\n");
        assert_eq!(frames.count(), 20, "{received}");
    }
    let offset = programs.run("doc-offset va 100");
    assert!(offset.starts_with("sent from offset 100"), "{offset}");
    let bypass = programs.run("doc-qdisc-bypass va 10");
    let [off, on] = [
        "bypass off: 10 frames sent, 10 seen",
        "bypass on: 10 frames sent, 0 seen",
    ];
    assert!(bypass.contains(off) && bypass.contains(on), "{bypass}");
    programs.run("pktring-generate -c 2 -d 5 --source 10.1.2.3 va");
    settle();
    // 60 of doc-transmit, 1, 20, and of pktring-generate 2 and 3 that announce the end.
    let walked = text(&walk.stop(0).stdout);
    let end = walked.lines().last().unwrap();
    assert!(end.starts_with("Received 86 packets, "), "{end}");
    assert!(end.ends_with(" 0 dropped, freeze_q_cnt: 0"), "{end}");
    let addresses = walked.matches("10.1.2.3 -> 192.0.2.2, rxhash: 0x").count();
    assert_eq!(addresses, 5, "{walked}");

    let stamps = both_timestamps(programs);
    assert_eq!(stamps.matches("sent ").count(), 2, "{stamps}");
    let received = stamps.lines().filter(|line| line.starts_with("received "));
    for line in received.clone() {
        assert!(line.ends_with(" (software)"), "{stamps}");
    }
    assert!(received.count() > 0, "{stamps}");

    let both = programs.start("doc-both vb");
    let echo = PlainSocket::open("va").unwrap();
    send("va", &mixed(2)[1..]);
    let back = echo.recv(Duration::from_secs(20)).unwrap();
    assert_eq!(back.expect("an echo").data[..6], [2, 0, 0, 0, 0, 1]);
    assert!(text(&both.stop(0).stdout).contains("1 frames sent back"));
}

/// What doc-timestamps says while frames come in.
fn both_timestamps(programs: &Programs) -> String {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                send("vb", &mixed(1));
                thread::sleep(Duration::from_millis(5));
            }
        });
        let said = programs.start_now("doc-timestamps va 2").output();
        ended.store(true, Ordering::Relaxed);
        assert!(said.status.success(), "{said:?}");
        text(&said.stdout)
    })
}

/// Every mode: each frame goes to one member, and to the one that it should.
fn fanout(programs: &Programs) {
    let modes = ["lb", "hash", "cpu", "rollover", "rnd", "qm", "cbpf", "ebpf"];
    let modes = match programs.under {
        Under::Nothing => &modes[..],
        Under::Valgrind => &modes[..1],
    };
    for mode in modes {
        let members = programs.start_several(&format!("doc-fanout vb {mode}"), 4);
        programs.run("pktring-generate -c 40 --source 10.0.0.6 va");
        settle();
        let said = text(&members.stop(0).stdout);
        let received = said.lines().filter(|line| line.contains(": Received "));
        let number = |line: &str| line.split(' ').nth(2).unwrap().parse().unwrap();
        let mut shares: Vec<u32> = received.map(number).collect();
        shares.sort();
        assert_eq!(shares.iter().sum::<u32>(), 43, "{mode}: {said}");
        match *mode {
            "lb" => assert_eq!(shares, [10, 11, 11, 11]),
            // One flow, one queue, one source, and nobody is full.
            "hash" | "qm" | "cbpf" | "ebpf" | "rollover" => assert_eq!(shares, [0, 0, 0, 43]),
            _ => assert_eq!(shares.len(), 4),
        }
    }
}

fn ports(programs: &Programs) {
    if !has_libpcap() {
        return;
    }
    let original = programs.start("port-libpcap vb");
    let port = programs.start("port-pktring vb");
    send("va", &mixed(50)[1..3]); // without a tag, which libpcap puts back
    settle();
    let [original, port] = [original, port].map(|program| text(&program.stop(0).stdout));
    assert_eq!(original, port);
    assert!(port.ends_with("2 received, 0 dropped\n"), "{port}");
}

fn tools(programs: &Programs, name: &str) {
    let files = scratch(name);
    let file = files.join("few.pcapng");
    let receiver = programs.start("pktring-generate -R vb");
    let capture = programs.start_several(
        &format!("pktring-capture -t 2 -c 23 -w {} vb", file.display()),
        2,
    );
    let said = programs.run("pktring-generate -c 20 -s 100-119 -r 1K va");
    assert!(said.starts_with("20 packets sent, 2190 bytes"), "{said}");
    let report = text(&receiver.finish(0).stdout);
    assert!(report.starts_with("20 packets arrived, 0 lost"), "{report}");
    let said = text(&capture.finish(0).stderr);
    assert!(said.contains("23 packets captured, 23 received"), "{said}");
    assert!(fs::metadata(&file).unwrap().len() > 23 * 100);

    // From the file, over the bridge, to a terminal.
    if has_libpcap() {
        let bridge = programs.start_several("pktring-bridge vb vc", 2);
        let show = programs.start("pktring-capture -c 23 vd udp port 9");
        let said = programs.run(&format!("pktring-replay -t va {}", file.display()));
        assert!(said.starts_with("23 packets sent"), "{said}");
        let shown = text(&show.finish(0).stdout);
        let lines = shown.matches("192.0.2.1.10000 > 192.0.2.2.9 UDP\n").count();
        assert_eq!(lines, 23, "{shown}");
        let said = text(&bridge.stop(0).stdout);
        let wanted = "vb > vc: 23 frames passed";
        assert!(said.contains(wanted), "{said}");
    }
}

/// The time that blocks need to be handed over, many times.
fn settle() {
    thread::sleep(Duration::from_millis(300));
}
