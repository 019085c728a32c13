//! What can go wrong: one clear line, a status that is not 0, and files that can be read.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use netns::{isolated, link, PlainSocket};

use crate::captured::Captured;
use crate::programs::Programs;
use crate::running::{failure, Running, PATIENCE};
use crate::{count, has_libpcap, mixed, scratch, send, text, there};

/// Without libpcap the tools are whole but for what needs it, and say so.
#[test]
fn tools_without_libpcap_say_what_is_not_built_in() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let programs = Programs::build("without", "gcc", "-O2", &["PCAP_CFLAGS=", "PCAP_LIBS="]);
        for line in ["pktring-capture vb ip", "pktring-replay va file"] {
            let (status, said) = programs.fail(line);
            assert_eq!(status, 1, "{said}");
            assert!(said.contains("not built in"), "{said}");
        }
    });
}

#[test]
fn bad_command_lines_and_missing_interfaces_get_one_line() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let programs = Programs::sanitized();
        for (line, status, part) in [
            ("pktring-capture", 2, "no interface"),
            ("pktring-capture --nonsense vb", 2, "nonsense"),
            ("pktring-capture -c 0 vb", 2, "--count"),
            ("pktring-capture -c 1x vb", 2, "'1x'"),
            ("pktring-capture -C 1M vb", 2, "--write"),
            ("pktring-capture -f none vb", 2, "'none'"),
            ("pktring-capture -t 65 vb", 2, "--threads"),
            ("pktring-capture -W 2 -w file vb", 2, "--rotate-size"),
            ("pktring-capture -B 1000000G vb", 2, "--buffer"),
            ("pktring-capture -B 1000G vb", 2, "of memory"),
            ("pktring-capture none0", 1, "none0"),
            ("pktring-capture -t 2 none0", 1, "none0"),
            (
                "pktring-capture -w /nonexistent/file vb",
                1,
                "/nonexistent/file",
            ),
            ("pktring-replay va", 2, "--help"),
            ("pktring-replay -r -5 va file", 2, "--rate"),
            ("pktring-replay -t -r 5 va file", 2, "only one"),
            ("pktring-replay -l 2 va -", 2, "once only"),
            ("pktring-replay any file", 2, "'any'"),
            ("pktring-replay va /nonexistent", 1, "/nonexistent"),
            ("pktring-replay none0 file", 1, "none0"),
            ("pktring-generate", 2, "interface"),
            ("pktring-generate -s 20 va", 2, "--size"),
            ("pktring-generate --source 1.2.3 va", 2, "'1.2.3'"),
            ("pktring-generate --source-mac 1:2 va", 2, "'1:2'"),
            ("pktring-generate -s 200-100 va", 2, "--size"),
            ("pktring-generate --vlan 4096 va", 2, "--vlan"),
            ("pktring-generate any", 2, "'any'"),
            ("pktring-generate none0", 1, "none0"),
            ("pktring-generate -R none0", 1, "none0"),
            ("pktring-bridge va", 2, "two interfaces"),
            ("pktring-bridge va va", 2, "the same"),
            ("pktring-bridge va any", 2, "'any'"),
            ("pktring-bridge -l 0 va vb", 2, "--latency"),
            ("pktring-bridge va none0", 1, "none0"),
        ] {
            let (code, said) = programs.fail(line);
            assert_eq!(code, status, "{line}: {said}");
            assert!(said.contains(part), "{line}: {said}");
        }
        for tool in ["capture", "replay", "generate", "bridge"] {
            let help = programs.run(&format!("pktring-{tool} --help"));
            assert!(help.starts_with(&format!("Usage: pktring-{tool}")));
        }
    });
}

#[test]
fn missing_permission_is_said() {
    if !there("setpriv") {
        return;
    }
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let programs = Programs::sanitized();
        for line in [
            "capture vb",
            "replay va file",
            "capture vb tcp",
            "capture -t 2 vb",
            "generate va",
            "generate -R vb",
            "bridge va vb",
        ] {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set=-all", "--inh-caps=-all"]);
            let mut words = line.split(' ');
            let name = format!("pktring-{}", words.next().unwrap());
            command.arg(programs.path(&name)).args(words);
            let (status, said) = failure(&mut command);
            assert_eq!(status, 1);
            assert!(said.contains("CAP_NET_RAW"), "{said}");
        }
    });
}

/// An interface that goes away while a tool uses it ends the tool, with one line that says so.
#[test]
fn an_interface_that_goes_away_is_said_once() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        link::veth("vc", "vd").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("gone"));
        let file = files.join("some.pcapng");
        let capture = programs.start_several(
            &format!("pktring-capture -q -t 2 -w {} vb", file.display()),
            2,
        );
        let listen = programs.start("pktring-generate -q -R vb");
        let bridge = programs.start_several("pktring-bridge -q vb vc", 2);
        let witness = PlainSocket::open("vb").unwrap();
        let generate = programs.start_now("pktring-generate -q -r 100 va");
        witness.recv(PATIENCE).unwrap().expect("a packet");
        link::delete("vb").unwrap();
        for running in [capture, listen, bridge, generate] {
            let said = text(&running.finish(1).stderr);
            let lines = said.lines().filter(|line| {
                line.contains(": the interface is gone") || line.contains(": the interface is down")
            });
            let (all, lines) = (said.lines().count(), lines.count());
            assert!((1..=2).contains(&lines) && all == lines, "{said}");
            assert!(said.matches("gone").count() <= 1, "{said}");
        }
        Captured::read(&file);
    });
}

/// A bad filter expression is a bad command line; options may stand behind the interface.
#[test]
fn bad_filters_get_one_line() {
    if !has_libpcap() {
        return;
    }
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let programs = Programs::sanitized();
        for threads in [1, 2] {
            let (status, said) = programs.fail(&format!("pktring-capture vb -t {threads} tcp and"));
            assert_eq!(status, 2, "{said}");
            assert!(said.contains("filter 'tcp and': "), "{said}");
        }
        let (status, said) = programs.fail("pktring-capture none0 tcp");
        assert_eq!(status, 1, "{said}");
        assert!(said.contains("none0"), "{said}");
    });
}

/// What cannot be written is said, once, by each tool that has something to write.
#[test]
fn standard_output_that_is_full_is_said() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        link::veth("vc", "vd").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("dev-full"));
        let file = files.join("few.pcapng");
        let capture = programs.start(&format!("pktring-capture -c 9 -w {} vb", file.display()));
        send("va", &mixed(9));
        capture.finish(0);
        let full = |line: &str| {
            let mut command = programs.command(line);
            command.stdin(Stdio::null()).process_group(0);
            command.stdout(File::options().write(true).open("/dev/full").unwrap());
            Running::spawn(command.stderr(Stdio::piped()))
        };
        let wanted = "standard output: No space left on device\n";
        let told = |running: Running| {
            let said = text(&running.finish(1).stderr);
            assert_eq!(said.matches(wanted).count(), 1, "{said}");
        };
        let show = full("pktring-capture vb").listening(1);
        let listen = full("pktring-generate -R vb").listening(1);
        told(full("pktring-generate -c 9 -r 1K va"));
        told(show);
        told(listen);
        let bridge = full("pktring-bridge vb vc").listening(2);
        bridge.interrupt();
        told(bridge);
        if has_libpcap() {
            told(full(&format!("pktring-replay -t va {}", file.display())));
        }
    });
}

/// Captures more to f.pcapng than there is room for, on a disk that only it sees; what is on it at
/// the end is copied to the files.
fn capture_to_small_disk(programs: &Programs, files: &Path, options: &str) -> Running {
    let disk = files.join("disk");
    fs::create_dir(&disk).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=256k none {0} && {1} {options} -w {0}/f.pcapng -c 800 vb; \
         status=$?; cp {0}/* {2}; exit $status",
        disk.display(),
        programs.path("pktring-capture").display(),
        files.display(),
    );
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script]);
    Running::start_now(&mut command).listening(1)
}

#[test]
fn a_full_disk_leaves_a_readable_file() {
    if !there("tcpdump") || !there("unshare") {
        return;
    }
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("full"));
        let capture = capture_to_small_disk(&programs, &files, "");
        send("va", &mixed(800));
        let said = text(&capture.finish(1).stderr);
        let kept = count(&files.join("f.pcapng"));
        let wanted = format!("No space left on device; {kept} packets are in it");
        assert!(said.contains(&wanted), "{kept} packets, but: {said}");
        assert!(kept > 100, "{kept}");
    });
}

/// The files before the one that the disk had no room for are whole.
#[test]
fn a_full_disk_while_rotating_leaves_readable_files() {
    if !there("unshare") {
        return;
    }
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("full-rotating"));
        let capture = capture_to_small_disk(&programs, &files, "-C 50K");
        let frames = mixed(800);
        send("va", &frames);
        let said = text(&capture.finish(1).stderr);
        let told = said.matches("No space left on device").count();
        assert_eq!(told, 1, "{said}");
        let mut held = Vec::new();
        for number in 1.. {
            let file = files.join(format!("f_{number:05}.pcapng"));
            // The last one may have found no room at all.
            if !file.exists() || fs::metadata(&file).unwrap().len() == 0 {
                break;
            }
            held.extend(Captured::read(&file).packets);
        }
        assert!(held.len() > 200, "{}: {said}", held.len());
        let pairs = held.iter().zip(&frames);
        assert!(pairs.clone().all(|(held, sent)| held.data == *sent));
    });
}

#[test]
fn a_truncated_capture_file_is_sent_as_far_as_it_goes() {
    if !has_libpcap() {
        return;
    }
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("truncated"));
        let file = files.join("whole.pcapng");
        let capture = programs.start(&format!("pktring-capture -c 50 -w {} vb", file.display()));
        send("va", &mixed(50));
        capture.finish(0);
        let whole = fs::read(&file).unwrap();
        // Where no packet can be had, in the header, nothing is sent.
        for length in [0, 3, 20] {
            fs::write(&file, &whole[..length]).unwrap();
            let (status, said) = programs.fail(&format!("pktring-replay va {}", file.display()));
            assert_eq!(status, 1);
            assert!(said.contains("truncated"), "{length}: {said}");
        }
        fs::write(&file, b"something else altogether").unwrap();
        let (status, said) = programs.fail(&format!("pktring-replay va {}", file.display()));
        assert_eq!(status, 1);
        assert!(said.contains("unknown file format"), "{said}");

        fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        let output = programs
            .start_now(&format!("pktring-replay -t va {}", file.display()))
            .finish(1);
        assert!(text(&output.stderr).contains("truncated"));
        assert_eq!(text(&output.stderr).lines().count(), 1);
        let sent: u32 = text(&output.stdout)
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert!((10..50).contains(&sent), "{sent}");
    });
}
