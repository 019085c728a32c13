//! The programs in c-examples, as people build and use them: installed, built through pkg-config
//! by gcc and clang, run on veth pairs.
//!
//! The tour runs each of them under AddressSanitizer and valgrind; the other tests look closer at
//! the tools, built by gcc with AddressSanitizer.

mod bridge;
mod captured;
mod faults;
mod files;
mod generate;
mod guides;
mod programs;
mod running;
mod terminal;
mod tour;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use netns::PlainSocket;

/// Where tests may put things.
fn tmp() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
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
    tcpdump_reads(file, &["-t"])
}

/// The same with the times, in nanoseconds.
fn timed_packets(file: &Path) -> String {
    tcpdump_reads(file, &["-tt", "--nano"])
}

fn tcpdump_reads(file: &Path, options: &[&str]) -> String {
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
        .args(["-nn", "-e", "-xx"])
        .args(options)
        .arg("-r")
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
