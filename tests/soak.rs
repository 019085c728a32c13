//! Load for a long time: more than the ring can take, frames held, a link that flaps, an
//! interface that comes and goes, a capture program whose disk is full. Whatever happens, what was
//! sent was delivered or reported as dropped, to the last frame; memory and descriptors stay what
//! they were, and nothing spins.
//!
//! Runs for a minute; `make soak MINUTES=n` for longer, in which each scene lasts a fifteenth: in
//! half an hour, a flood goes on for two minutes.

mod common;

use common::process::thread_cpu_time;
use common::{data, frames, small_ring, Pktring, VERSIONS};
use netns::{isolated, link, PlainSocket};
use pcap_parser::pcapng::Block;
use pktring::frame::Frame;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// Plays against a ring of that version for so long.
type Scene = fn(u32, Duration) -> Account;

const SCENES: [(&str, Scene); 5] = [
    ("slow consumer", slow_consumer),
    ("held frames", held_frames),
    ("flapping link", flapping_link),
    ("interface deleted and made again", interface_made_again),
    ("full disk", full_disk),
];

/// What a scene came to.
#[derive(Clone, Copy, Default)]
struct Account {
    sent: u64,
    delivered: u64,
    dropped: u64,
    /// In the ring of a program that stopped.
    unread: u64,
    /// Links that went down, interfaces that were deleted, disks that were full.
    events: u64,
}

impl Account {
    fn check(self, what: &str) {
        let known = self.delivered + self.dropped + self.unread;
        assert_eq!(self.sent, known, "{what}");
        assert!(self.delivered > 0, "{what}");
    }

    fn add(&mut self, other: Account) {
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.dropped += other.dropped;
        self.unread += other.unread;
        self.events += other.events;
    }
}

fn minutes() -> f64 {
    let minutes = std::env::var("PKTRING_SOAK_MINUTES");
    minutes.map_or(1.0, |minutes| minutes.parse().expect("a number of minutes"))
}

#[test]
fn under_load_everything_adds_up_and_nothing_grows() {
    build_the_example();
    isolated(|| {
        let whole = Duration::from_secs_f64(minutes() * 60.0);
        let (end, slice) = (Instant::now() + whole, whole / 15);
        let mut totals = [Account::default(); SCENES.len()];
        let mut first = None;
        let mut last = Usage::now();
        for turn in 0.. {
            if Instant::now() + slice > end && turn > 0 {
                break;
            }
            // Every version meets every scene in fifteen turns.
            let (scene, version) = (turn % SCENES.len(), VERSIONS[turn % VERSIONS.len()]);
            let (name, play) = SCENES[scene];
            let account = play(version.0, slice);
            account.check(&format!("{name}, {}", version.1));
            totals[scene].add(account);
            last = Usage::now();
            println!(
                "soak: {name}, {}: sent {} delivered {} dropped {} unread {} events {}; \
                 {} KiB, {} descriptors",
                version.1,
                account.sent,
                account.delivered,
                account.dropped,
                account.unread,
                account.events,
                last.kib,
                last.descriptors
            );
            if turn + 1 == SCENES.len() {
                first = Some(last);
            }
        }
        for ((name, _), total) in SCENES.iter().zip(totals) {
            println!(
                "soak total: {name}: sent {} delivered {} dropped {} unread {} events {}",
                total.sent, total.delivered, total.dropped, total.unread, total.events
            );
            total.check(name);
        }
        let first = first.expect("every scene was played once");
        assert_eq!(last.descriptors, first.descriptors, "descriptors are left");
        assert!(
            last.kib < first.kib + (8 << 10),
            "memory grew from {} KiB",
            first.kib
        );
    });
}

/// What the process has.
#[derive(Clone, Copy)]
struct Usage {
    kib: u64,
    descriptors: usize,
}

impl Usage {
    fn now() -> Usage {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        Usage {
            kib: kib.parse().unwrap(),
            descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count(),
        }
    }
}

fn capture(version: u32) -> Pktring {
    Pktring::open("vb")
        .version(version)
        .filter(&frames::own_only())
        .ring(
            pktring::capi::geometry::PKTRING_RX,
            &small_ring(version, 64),
        )
        .activate()
}

/// Numbers must rise: nothing comes twice, nothing out of order.
fn in_order(frame: &Frame, next: &mut u64) {
    let bytes = data(frame);
    let number = frames::number(bytes);
    assert!(number >= *next, "{number} after {next}");
    assert_eq!(bytes, frames::frame_of_length(number, bytes.len()));
    *next = number + 1;
}

/// Frames that the virtual wire itself lost.
fn lost_on_the_wire() -> u64 {
    let (a, b) = (link::counters("va").unwrap(), link::counters("vb").unwrap());
    a.tx_dropped + b.rx_dropped
}

/// Sends as fast as possible until told to stop; returns how many frames.
fn flood(stop: &AtomicBool) -> u64 {
    let sender = PlainSocket::sender("va").unwrap();
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let batch: Vec<_> = (sent..sent + 32)
            .map(|number| frames::frame_of_length(number, 60 + number as usize % 900))
            .collect();
        sender.send_all(&batch).unwrap();
        sent += 32;
    }
    sent
}

/// Floods for `time` and has `consume` take frames as it likes, then everything that is left.
fn overload(
    version: u32,
    time: Duration,
    mut consume: impl FnMut(&Pktring, &mut u64) -> u64,
) -> Account {
    link::veth("va", "vb").unwrap();
    let handle = capture(version);
    let stop = AtomicBool::new(false);
    let (mut delivered, mut next) = (0, 0);
    let lost = lost_on_the_wire();
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| flood(&stop));
        let end = Instant::now() + time;
        while Instant::now() < end {
            delivered += consume(&handle, &mut next);
        }
        stop.store(true, Ordering::Relaxed);
        sender.join().unwrap()
    });
    delivered += drain(&handle, &mut next);
    rests(&handle);
    let stats = handle.stats();
    assert_eq!((stats.frames, stats.held, stats.corrupt), (delivered, 0, 0));
    let account = Account {
        sent: sent - (lost_on_the_wire() - lost),
        delivered,
        dropped: stats.dropped,
        ..Account::default()
    };
    assert_eq!(account.sent, stats.received);
    drop(handle);
    link::delete("va").unwrap();
    account
}

/// Takes what is there and what still comes.
fn drain(handle: &Pktring, next: &mut u64) -> u64 {
    let mut taken = 0;
    loop {
        while let Some(frame) = handle.next().unwrap() {
            in_order(&frame, next);
            handle.release(&frame).unwrap();
            taken += 1;
        }
        if handle.wait_rx(100).unwrap() == 0 {
            return taken;
        }
    }
}

/// A wait on a link without traffic takes no processor time.
fn rests(handle: &Pktring) {
    let before = thread_cpu_time();
    assert_eq!(handle.wait_rx(300), Ok(0));
    let took = thread_cpu_time() - before;
    assert!(
        took < Duration::from_millis(50),
        "{took:?} of processor time"
    );
}

fn slow_consumer(version: u32, time: Duration) -> Account {
    let account = overload(version, time, |handle, next| {
        handle.wait_rx(100).unwrap();
        let batch = handle.next_batch(32).unwrap();
        batch.iter().for_each(|frame| in_order(frame, next));
        thread::sleep(Duration::from_millis(1));
        handle.release_batch(&batch).unwrap();
        batch.len() as u64
    });
    assert!(account.dropped > 0, "the consumer was not slow enough");
    account
}

/// Keeps a dozen frames in hand and gives back now the oldest, now the newest.
fn held_frames(version: u32, time: Duration) -> Account {
    let mut held: VecDeque<Frame> = VecDeque::new();
    let end = Instant::now() + time - Duration::from_millis(100);
    overload(version, time, |handle, next| {
        let mut taken = 0;
        match handle.next() {
            Ok(Some(frame)) => {
                in_order(&frame, next);
                held.push_back(frame);
                taken = 1;
            }
            Ok(None) => drop(handle.wait_rx(1)),
            Err(failure) => assert_eq!(failure.errno, libc::EBUSY, "{}", failure.text),
        }
        let most = if Instant::now() < end { 12 } else { 0 };
        while held.len() > most {
            let frame = match *next % 3 {
                0 => held.pop_back().unwrap(),
                _ => held.pop_front().unwrap(),
            };
            handle.release(&frame).unwrap();
        }
        taken
    })
}

/// The link goes down and comes up while the program reads; nothing is sent while it is down.
fn flapping_link(version: u32, time: Duration) -> Account {
    link::veth("va", "vb").unwrap();
    let handle = capture(version);
    let link_in_use = Mutex::new(());
    let stop = AtomicBool::new(false);
    let sent = AtomicU64::new(0);
    let mut account = Account::default();
    let mut next = 0;
    let lost = lost_on_the_wire();
    thread::scope(|scope| {
        scope.spawn(|| {
            let sender = PlainSocket::sender("va").unwrap();
            while !stop.load(Ordering::Relaxed) {
                let _up = link_in_use.lock().unwrap();
                for _ in 0..200 {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    sender.send(&frames::frame_of_length(number, 200)).unwrap();
                }
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(30));
                let _down = link_in_use.lock().unwrap();
                thread::sleep(Duration::from_millis(2));
                link::set_down("vb").unwrap();
                thread::sleep(Duration::from_millis(5));
                link::set_up("vb").unwrap();
                link::wait_up("vb").unwrap();
                link::wait_up("va").unwrap();
            }
        });
        let end = Instant::now() + time;
        while Instant::now() < end {
            match handle.wait_rx(50) {
                Ok(_) => {}
                Err(failure) if failure.errno == libc::ENETDOWN => account.events += 1,
                Err(failure) => panic!("{failure:?}"),
            }
            while let Some(frame) = handle.next().unwrap() {
                in_order(&frame, &mut next);
                handle.release(&frame).unwrap();
                account.delivered += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let mut rest = || loop {
        match handle.wait_rx(100) {
            Ok(0) => return,
            Err(failure) => assert_eq!(failure.errno, libc::ENETDOWN),
            Ok(_) => {
                while let Some(frame) = handle.next().unwrap() {
                    in_order(&frame, &mut next);
                    handle.release(&frame).unwrap();
                    account.delivered += 1;
                }
            }
        }
    };
    rest();
    rests(&handle);
    let stats = handle.stats();
    account.sent = sent.into_inner() - (lost_on_the_wire() - lost);
    account.dropped = stats.dropped;
    assert_eq!(account.sent, stats.received);
    assert!(account.events > 0, "the link did not flap");
    drop(handle);
    link::delete("va").unwrap();
    account
}

/// An interface is made, captured from, deleted under a wait, and made again.
fn interface_made_again(version: u32, time: Duration) -> Account {
    const BURST: u64 = 30;
    let end = Instant::now() + time;
    let mut account = Account::default();
    while Instant::now() < end {
        link::veth("va", "vb").unwrap();
        let handle = capture(version);
        let sender = PlainSocket::sender("va").unwrap();
        (0..BURST).for_each(|n| sender.send(&frames::frame_of_length(n, 100)).unwrap());
        let deleter = thread::spawn({
            let namespace = netns::Netns::current().unwrap();
            move || {
                namespace.enter().unwrap();
                thread::sleep(Duration::from_millis(5));
                link::delete("va").unwrap();
            }
        });
        let mut next = 0;
        loop {
            while let Some(frame) = handle.next().unwrap() {
                in_order(&frame, &mut next);
                handle.release(&frame).unwrap();
                account.delivered += 1;
            }
            match handle.wait_rx(5000) {
                Ok(_) => {}
                // An interface goes down before it goes.
                Err(failure) if failure.errno == libc::ENETDOWN => {}
                Err(failure) => {
                    assert_eq!(failure.errno, libc::ENODEV, "{failure:?}");
                    break;
                }
            }
        }
        deleter.join().unwrap();
        let stats = handle.stats();
        assert_eq!(stats.received, BURST);
        account.sent += BURST;
        account.dropped += stats.dropped;
        account.events += 1;
    }
    account
}

/// What `make examples` makes.
fn example() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    here.join(target).join("examples-c/pktring-capture")
}

fn build_the_example() {
    let mut make = Command::new("make");
    make.args(["-s", "-C", env!("CARGO_MANIFEST_DIR"), "examples"]);
    for variable in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"] {
        make.env_remove(variable);
    }
    let made = make.env("CARGO", env!("CARGO")).output().unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "make examples: {said}");
}

/// The capture example writes to a disk of 2 MiB that nobody else sees, and is sent more. It stops
/// and says so, and what it says is what is in the file.
fn full_disk(version: u32, time: Duration) -> Account {
    let _ = version; // The program's own choice.
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("soak-disk");
    let end = Instant::now() + time;
    let mut account = Account::default();
    while Instant::now() < end {
        let _ = std::fs::remove_dir_all(&place);
        std::fs::create_dir_all(place.join("disk")).unwrap();
        link::veth("va", "vb").unwrap();
        let script = format!(
            "mount -t tmpfs -o size=2m none disk && {} -w disk/f.pcapng vb; \
             status=$?; cp disk/f.pcapng .; exit $status",
            example().display()
        );
        let capture = netns::launch::tie(&mut Command::new("unshare"))
            .args(["-m", "sh", "-c", &script])
            .current_dir(&place)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("unshare of util-linux is needed");
        let stop = AtomicBool::new(false);
        let (sent, output) = thread::scope(|scope| {
            let sender = scope.spawn(|| flood(&stop));
            let output = capture.wait_with_output().unwrap();
            stop.store(true, Ordering::Relaxed);
            (sender.join().unwrap(), output)
        });
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let full = "No space left on device; ";
        let kept = number_before(&said, " packets are in it");
        assert!(said.contains(&format!("{full}{kept} packets")), "{said}");
        assert_eq!(kept, packets_of(&place.join("f.pcapng")), "{said}");
        let received = number_before(&said, " received");
        let captured = number_before(&said, " packets captured");
        let dropped = number_before(&said, " dropped");
        assert!(
            kept > 1000 && kept <= captured && received <= sent,
            "{said}"
        );
        account.add(Account {
            sent: received,
            delivered: captured,
            dropped,
            unread: received.checked_sub(captured + dropped).expect(&said),
            events: 1,
        });
        link::delete("va").unwrap();
    }
    std::fs::remove_dir_all(&place).unwrap();
    account
}

/// The number in `text` that stands in front of `word`.
fn number_before(text: &str, word: &str) -> u64 {
    let (before, _) = text.split_once(word).unwrap_or_else(|| panic!("{text}"));
    let start = before
        .rfind(|c: char| !c.is_ascii_digit())
        .map_or(0, |at| at + 1);
    before[start..].parse().unwrap_or_else(|_| panic!("{text}"))
}

/// Packets in a capture file that may end in the middle of one. They must be whole, and in order.
fn packets_of(file: &Path) -> u64 {
    let bytes = std::fs::read(file).unwrap();
    let (mut rest, mut packets, mut next) = (&bytes[..], 0, 0);
    while let Ok((after, block)) = pcap_parser::pcapng::parse_block_le(rest) {
        if let Block::EnhancedPacket(packet) = block {
            let data = &packet.data[..packet.caplen as usize];
            if frames::is_own(data) {
                let number = frames::number(data);
                assert!(number >= next, "{number} after {next}");
                assert_eq!(data, frames::frame_of_length(number, data.len()));
                next = number + 1;
            }
            packets += 1;
        }
        rest = after;
    }
    packets
}
