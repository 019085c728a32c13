//! The programs in c-examples, as people build and use them.
//!
//! All are built by gcc with AddressSanitizer for the tests here, which run them on veth pairs
//! and look at what they print; by gcc and clang without, and a few run under valgrind.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use netns::{isolated, link, PlainSocket};

const SONAME_MAJOR: &str = include_str!("../pkgconfig/soname");
const STRICT: &str = "-Wpedantic -Werror";
const SANITIZED: &str =
    "-O1 -g -Wpedantic -Werror -fsanitize=address,undefined -fno-sanitize-recover=all";
/// Longer than any program needs; it is then interrupted.
const PATIENCE: Duration = Duration::from_secs(40);

/// Where one compiler's programs are.
struct Programs(PathBuf);

impl Programs {
    /// Builds every example, unless that was done since they changed.
    fn build(name: &str, compiler: &str, flags: &str) -> Programs {
        Programs::build_with(name, compiler, flags, "PKG_CONFIG=pkg-config")
    }

    fn build_with(name: &str, compiler: &str, flags: &str, setting: &str) -> Programs {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("examples-{name}"));
        fs::create_dir_all(&out).unwrap();
        // One test at a time, each of which may be a process of its own.
        let lock = File::create(out.join("lock")).unwrap();
        lock.lock().unwrap();
        let this = std::env::current_exe().unwrap();
        let library = this.parent().unwrap().join("libpktring.so");
        for link in [
            "libpktring.so".to_owned(),
            format!("libpktring.so.{}", SONAME_MAJOR.trim()),
        ] {
            let link = out.join(&link);
            if fs::read_link(&link).is_ok_and(|to| to == library) {
                continue; // programs of other tests may be starting with it
            }
            let _ = fs::remove_file(&link);
            symlink(&library, &link).unwrap();
        }
        let root = env!("CARGO_MANIFEST_DIR");
        let made = Command::new("make")
            .args(["-s", "-j2", "-C"])
            .arg(format!("{root}/c-examples"))
            .arg(setting)
            .arg(format!("OUT={}", out.display()))
            .arg(format!("CC={compiler}"))
            .arg(format!("CFLAGS={flags}"))
            .arg(format!("PKTRING_CFLAGS=-I{root}/include"))
            .arg(format!(
                "PKTRING_LIBS=-L{0} -lpktring -Wl,-rpath,{0}",
                out.display()
            ))
            .output()
            .expect("make is needed");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(
            made.status.success() && said.is_empty(),
            "{compiler}: {said}"
        );
        Programs(out)
    }

    fn sanitized() -> Programs {
        Programs::build("sanitized", "gcc", SANITIZED)
    }

    fn command(&self, line: &str) -> Command {
        let mut words = line.split_whitespace();
        let mut command = Command::new(self.0.join(words.next().unwrap()));
        command.args(words);
        command
    }

    /// Starts a program and gives it the time to listen.
    fn start(&self, line: &str) -> Running {
        Running::start(&mut self.command(line))
    }

    /// Runs a program to its end: what it printed. It must succeed.
    fn run(&self, line: &str) -> String {
        text(&self.start_now(line).finish(0).stdout)
    }

    fn start_now(&self, line: &str) -> Running {
        Running::start_now(&mut self.command(line))
    }

    /// Runs a program that fails: its status and the one line on standard error.
    fn fail(&self, line: &str) -> (i32, String) {
        failure(&mut self.command(line))
    }
}

fn failure(command: &mut Command) -> (i32, String) {
    let output = Running::start_now(command).output();
    let said = text(&output.stderr);
    assert_eq!(said.lines().count(), 1, "not one line: {said}");
    (
        output.status.code().unwrap_or(-1),
        said.trim_end().to_owned(),
    )
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A program that runs beside the test; interrupted when it takes too long.
struct Running {
    child: Child,
    name: String,
}

impl Running {
    fn start(command: &mut Command) -> Running {
        let running = Running::start_now(command);
        running.wait_until_it_listens();
        running
    }

    fn start_now(command: &mut Command) -> Running {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let name = format!("{command:?}");
        let child = child.unwrap_or_else(|error| panic!("{name}: {error}"));
        Running { child, name }
    }

    /// Until it has a packet socket, bound to an interface, and some time to get to reading.
    fn wait_until_it_listens(&self) {
        let deadline = Instant::now() + PATIENCE;
        let fds = format!("/proc/{}/fd", self.child.id());
        let has_socket = || {
            let sockets = fs::read_to_string("/proc/thread-self/net/packet").unwrap_or_default();
            let inodes: Vec<&str> = sockets
                .lines()
                .skip(1)
                .filter(|line| line.split_whitespace().nth(5) == Some("1"))
                .filter_map(|line| line.split_whitespace().last())
                .collect();
            fs::read_dir(&fds)
                .into_iter()
                .flatten()
                .flatten()
                .any(|fd| {
                    fs::read_link(fd.path()).is_ok_and(|to| {
                        inodes
                            .iter()
                            .any(|inode| to.to_string_lossy() == format!("socket:[{inode}]"))
                    })
                })
        };
        while !has_socket() && Instant::now() < deadline {
            sleep(Duration::from_millis(10));
        }
        // The tools take care of SIGINT last, when all their rings are there.
        let status = format!("/proc/{}/status", self.child.id());
        let catches_interrupt = || {
            let status = fs::read_to_string(&status).unwrap_or_default();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            caught.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).unwrap_or(0) & 2 != 0)
        };
        let is_tool = self.name.contains("/pktring-") && !self.name.contains("valgrind");
        while is_tool && !catches_interrupt() && Instant::now() < deadline {
            sleep(Duration::from_millis(10));
        }
        sleep(Duration::from_millis(250));
    }

    fn interrupt(&self) {
        // SAFETY: a call with numbers only; the child has not been reaped.
        unsafe { libc::kill(-(self.child.id() as i32), libc::SIGINT) };
    }

    fn output(mut self) -> Output {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                self.interrupt();
                sleep(Duration::from_secs(2));
                let _ = self.child.kill();
                break;
            }
            sleep(Duration::from_millis(5));
        }
        self.child.wait_with_output().unwrap()
    }

    /// What it printed; its status must be the one given.
    fn finish(self, status: i32) -> Output {
        let name = self.name.clone();
        let output = self.output();
        assert_eq!(
            output.status.code(),
            Some(status),
            "{name}\n{}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        output
    }

    fn stop(self, status: i32) -> Output {
        self.interrupt();
        self.finish(status)
    }
}

fn there(command: &str) -> bool {
    let tried = Command::new(command)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let there = tried.is_ok();
    if !there {
        netns::skip::skip(format!("{command} is not installed"));
    }
    there
}

fn has_libpcap() -> bool {
    let asked = Command::new("pkg-config")
        .args(["--exists", "libpcap"])
        .status();
    let there = asked.is_ok_and(|status| status.success());
    if !there {
        netns::skip::skip("libpcap is not installed (libpcap-dev)");
    }
    there
}

/// A directory for one test's files.
fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("examples-files-{name}"));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

/// Whether there are other users than this one: not so for root of a user namespace.
fn is_real_root() -> bool {
    fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.contains("4294967295"))
}

/// What tcpdump reads in a capture file: every byte of every packet, without the times.
fn packets(file: &Path) -> String {
    // Where it thinks that it is root, tcpdump becomes another user, which it cannot as root of a
    // user namespace: there it is made to be nobody first.
    let mut tcpdump = match is_real_root() {
        true => Command::new("tcpdump"),
        false => Command::new("unshare"),
    };
    if !is_real_root() {
        tcpdump.args(["-U", "tcpdump"]);
    }
    let read = tcpdump
        .args(["-nn", "-e", "-xx", "-t", "-r"])
        .arg(file)
        .output()
        .unwrap();
    assert!(read.status.success(), "{}", text(&read.stderr));
    text(&read.stdout)
}

/// How many packets there are in it.
fn count(file: &Path) -> usize {
    packets(file)
        .lines()
        .filter(|line| !line.starts_with(['\t', ' ']))
        .count()
}

/// Frames of many lengths, every third one with a VLAN tag.
fn mixed(number: usize) -> Vec<Vec<u8>> {
    let frame = |i: usize| {
        let mut frame = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1];
        if i % 3 == 0 {
            frame.extend([0x81, 0x00, 0x20, 100 + (i % 100) as u8]);
        }
        frame.extend([0x88, 0xb5]);
        let length = 60 + i * 97 % 1440;
        frame.extend((frame.len()..length).map(|at| (at * 7 + i) as u8));
        frame
    };
    (0..number).map(frame).collect()
}

fn send(device: &str, frames: &[Vec<u8>]) {
    PlainSocket::sender(device)
        .unwrap()
        .send_all(frames)
        .unwrap();
}

#[test]
fn gcc_and_clang_build_every_example_without_a_warning() {
    Programs::build("gcc", "gcc", &format!("-O2 {STRICT}"));
    if there("clang") {
        Programs::build("clang", "clang", &format!("-O2 {STRICT}"));
    }
}

/// Without libpcap the tools are whole but for what needs it, and say so.
#[test]
fn tools_without_libpcap_say_what_is_not_built_in() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        // As on a machine whose pkg-config does not know it.
        let programs = Programs::build_with("without", "gcc", STRICT, "PKG_CONFIG=false");
        for line in ["pktring-capture vb ip", "pktring-replay va file"] {
            let (status, said) = programs.fail(line);
            assert_eq!(status, 1, "{said}");
            assert!(said.contains("not built in"), "{said}");
        }
    });
}

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
            let capture = programs.start(&format!(
                "pktring-capture -t {threads} -w {} vb",
                file.display()
            ));
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

#[test]
fn generated_traffic_arrives_and_faults_are_told() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let programs = Programs::sanitized();
        let plain = PlainSocket::open("vb").unwrap();
        let receiver = programs.start("pktring-generate --receive vb");
        let said = programs.run("pktring-generate -c 100 -r 10K -s 100-300 -f 4 va");
        assert!(said.starts_with("100 packets sent"), "{said}");
        let report = text(&receiver.finish(0).stdout);
        let wanted = "100 packets arrived, 0 lost, 0 reordered, 0 duplicates\n";
        assert!(report.starts_with(wanted), "{report}");

        // The same frames once more, with every kind of fault among them.
        let mut frames = Vec::new();
        while let Some(packet) = plain.recv(Duration::from_millis(300)).unwrap() {
            frames.push(packet.data);
        }
        assert_eq!(frames.len(), 103, "100, and three that announce the end");
        frames.swap(10, 11); // one of them is late
        frames.drain(20..30); // ten are lost
        frames.insert(50, frames[49].clone());
        let last = frames.len() - 3;
        frames.drain(last - 5..last); // and the last five: only the announcement tells
        let receiver = programs.start("pktring-generate --receive vb");
        send("va", &frames);
        let report = text(&receiver.finish(3).stdout);
        let wanted = "85 packets arrived, 15 lost, 1 reordered, 1 duplicates\n";
        assert!(report.starts_with(wanted), "{report}");
    });
}

#[test]
fn bridges_both_ways_with_tags() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        link::add_veth("vc", "vd").unwrap();
        for name in ["vc", "vd"] {
            link::set_up(name).unwrap();
        }
        link::wait_up("vc").unwrap();
        link::wait_up("vd").unwrap();
        let programs = Programs::sanitized();
        let bridge = programs.start("pktring-bridge vb vc");
        for (from, to) in [("va", "vd"), ("vd", "va")] {
            let receiver = programs.start(&format!("pktring-generate -R {to}"));
            programs.run(&format!(
                "pktring-generate -c 300 -r 5K -s 86-1500 --vlan 5 {from}"
            ));
            let report = text(&receiver.finish(0).stdout);
            assert!(
                report.starts_with("300 packets arrived, 0 lost"),
                "{report}"
            );
        }
        let far = PlainSocket::open("vd").unwrap();
        send("va", &mixed(1));
        let tag = loop {
            let packet = far.recv(Duration::from_secs(5)).unwrap();
            let packet = packet.expect("the tagged frame");
            if packet.protocol == 0x88b5 {
                break packet.vlan;
            }
        };
        assert_eq!(tag, Some((0x2064, 0x8100)));
        let said = text(&bridge.stop(0).stdout);
        assert!(said.contains("vb > vc: 304 frames passed"), "{said}");
        assert!(said.contains("vc > vb: 303 frames passed"), "{said}");
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
            command.arg(programs.0.join(name)).args(words);
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
            programs.0.join("pktring-capture").display(),
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

#[test]
fn the_documents_samples_do_what_the_document_says() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let programs = Programs::sanitized();
        let sizes = programs.run("doc-ring-size 4096 2048 4");
        assert!(sizes.contains("tp_frame_nr   = 8"), "{sizes}");
        assert!(sizes.contains("| frame 7 | frame 8 |"), "{sizes}");

        let walk = programs.start("doc-v3-walk vb");
        for version in 1..=3 {
            let receive = programs.start(&format!("doc-receive vb {version} 20"));
            let sent = programs.run(&format!("doc-transmit va {version} 20"));
            assert!(sent.contains("20 of 20 frames sent"), "{sent}");
            let received = text(&receive.finish(0).stdout);
            assert_eq!(received.lines().count(), 20, "{received}");
        }
        let offset = programs.run("doc-offset va 100");
        assert!(offset.starts_with("sent from offset"), "{offset}");
        let stamps = programs.run("doc-timestamps va 2");
        assert_eq!(stamps.matches("sent ").count(), 2, "{stamps}");
        let bypass = programs.run("doc-qdisc-bypass va 10");
        assert!(
            bypass.contains("bypass on: 10 frames sent, 0 seen"),
            "{bypass}"
        );
        assert!(
            bypass.contains("bypass off: 10 frames sent, 10 seen"),
            "{bypass}"
        );
        let walked = text(&walk.stop(0).stdout);
        assert!(walked.contains("\nReceived 83 packets"), "{walked}");
        assert!(walked.contains("rxhash: 0x"), "{walked}");

        let both = programs.start("doc-both vb");
        let echo = PlainSocket::open("va").unwrap();
        send("va", &mixed(2)[1..]);
        let back = echo.recv(Duration::from_secs(5)).unwrap().expect("an echo");
        assert_eq!(back.data[..6], [2, 0, 0, 0, 0, 1]);
        assert!(text(&both.stop(0).stdout).contains("1 frames sent back"));

        let fanout = programs.start("doc-fanout vb lb 40");
        sleep(Duration::from_millis(500));
        programs.run("pktring-generate -c 160 va");
        let shared = text(&fanout.finish(0).stdout);
        assert_eq!(shared.matches("Received 40 packets").count(), 4, "{shared}");
    });
}

#[test]
fn the_first_examples_and_the_demo_work() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let programs = Programs::sanitized();
        let capture = programs.start("capture vb");
        programs.run("transmit va 100");
        sleep(Duration::from_millis(100));
        let said = text(&capture.stop(0).stdout);
        assert!(said.ends_with("100 received, 0 dropped\n"), "{said}");
        programs.run("demo -n 20000 va vb");
    });
}

#[test]
fn valgrind_has_nothing_to_say() {
    if !there("valgrind") {
        return;
    }
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let programs = Programs::build("gcc", "gcc", &format!("-O2 {STRICT}"));
        let files = scratch("valgrind");
        let file = files.join("few.pcapng");
        let start = |line: &str| {
            let mut words = line.split_whitespace();
            let mut command = Command::new("valgrind");
            command.args(["-q", "--leak-check=full", "--error-exitcode=99"]);
            command.arg(programs.0.join(words.next().unwrap()));
            command.args(words);
            Running::start_now(&mut command)
        };
        let capture = start(&format!("pktring-capture -c 20 -w {} vb", file.display()));
        capture.wait_until_it_listens();
        sleep(Duration::from_millis(1500));
        start("pktring-generate -c 20 va").finish(0);
        capture.finish(0);
        if has_libpcap() {
            start(&format!("pktring-replay -t va {}", file.display())).finish(0);
        }
    });
}

/// The two programs that docs/from-libpcap.md sets side by side print the same.
#[test]
fn the_port_prints_what_the_original_prints() {
    if !has_libpcap() {
        return;
    }
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let programs = Programs::sanitized();
        let original = programs.start("port-libpcap vb");
        let port = programs.start("port-pktring vb");
        send("va", &mixed(50)[1..3]); // without a tag, which libpcap puts back
        sleep(Duration::from_millis(300));
        let [original, port] = [original, port].map(|program| text(&program.stop(0).stdout));
        assert_eq!(original, port);
        assert!(port.ends_with("2 received, 0 dropped\n"), "{port}");
    });
}

/// The document's tables speak of functions that there are.
#[test]
fn the_guides_name_what_the_header_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let known = read("include/pktring.h") + &read("include/pktring/inline.h");
    for guide in ["docs/from-packet-mmap.md", "docs/from-libpcap.md"] {
        let guide = read(guide);
        let names = guide
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("pktring_") || word.starts_with("PKTRING_"))
            .filter(|word| !word.ends_with('_'));
        for name in names {
            assert!(known.contains(name), "{name}");
        }
    }
}

#[test]
fn man_pages_are_well_formed() {
    if !there("mandoc") {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lint = Command::new("mandoc")
        .args(["-T", "lint", "-W", "warning"])
        .args(
            ["capture", "replay", "generate", "bridge"]
                .map(|tool| root.join("man").join(format!("pktring-{tool}.1"))),
        )
        .output()
        .unwrap();
    assert!(lint.status.success(), "{}", text(&lint.stdout));
}
