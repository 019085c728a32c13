//! What can go wrong: one clear line, a status that is not 0, and files that can be read.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use netns::{isolated, link};

use crate::programs::Programs;
use crate::running::{failure, Running};
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
            ("pktring-capture none0", 1, "none0"),
            (
                "pktring-capture -w /nonexistent/file vb",
                1,
                "/nonexistent/file",
            ),
            ("pktring-replay va", 2, "--help"),
            ("pktring-replay -r -5 va file", 2, "--rate"),
            ("pktring-replay -t -r 5 va file", 2, "only one"),
            ("pktring-replay va /nonexistent", 1, "/nonexistent"),
            ("pktring-replay none0 file", 1, "none0"),
            ("pktring-generate", 2, "interface"),
            ("pktring-generate -s 20 va", 2, "--size"),
            ("pktring-generate --source 1.2.3 va", 2, "'1.2.3'"),
            ("pktring-generate --source-mac 1:2 va", 2, "'1:2'"),
            ("pktring-generate none0", 1, "none0"),
            ("pktring-generate -R none0", 1, "none0"),
            ("pktring-bridge va", 2, "two interfaces"),
            ("pktring-bridge va va", 2, "the same"),
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
            "generate va",
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

#[test]
fn a_full_disk_leaves_a_readable_file() {
    if !there("tcpdump") || !there("unshare") {
        return;
    }
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let (programs, files) = (Programs::sanitized(), scratch("full"));
        let disk = files.join("disk");
        fs::create_dir(&disk).unwrap();
        let script = format!(
            "mount -t tmpfs -o size=256k none {0} && {1} -w {0}/f.pcapng -c 800 vb; \
             status=$?; cp {0}/f.pcapng {2}/kept.pcapng; exit $status",
            disk.display(),
            programs.path("pktring-capture").display(),
            files.display(),
        );
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script]);
        let capture = Running::start_now(&mut command);
        sleep(Duration::from_millis(1000));
        send("va", &mixed(800));
        let said = text(&capture.finish(1).stderr);
        let kept = count(&files.join("kept.pcapng"));
        let wanted = format!("No space left on device; {kept} packets are in it");
        assert!(said.contains(&wanted), "{kept} packets, but: {said}");
        assert!(kept > 100, "{kept}");
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
