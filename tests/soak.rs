//! Load for a long time: more than the ring can take, frames held, a link that flaps, an
//! interface that comes and goes. Whatever happens, what was sent was delivered or reported as
//! dropped, to the last frame; memory and descriptors stay what they were, and nothing spins.
//!
//! Runs for a minute; `make soak MINUTES=n` for longer.

mod common;

use common::process::thread_cpu_time;
use common::{data, frames, small_ring, Pktring, VERSIONS};
use netns::{isolated, link, PlainSocket};
use pktring::frame::Frame;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// Plays against a ring of that version for so long.
type Scene = fn(u32, Duration) -> Account;

const SCENES: [(&str, Scene); 4] = [
    ("slow consumer", slow_consumer),
    ("held frames", held_frames),
    ("flapping link", flapping_link),
    ("interface deleted and made again", interface_made_again),
];

/// What a scene came to.
#[derive(Clone, Copy, Default)]
struct Account {
    sent: u64,
    delivered: u64,
    dropped: u64,
    /// Links that went down, interfaces that were deleted.
    events: u64,
}

impl Account {
    fn check(self, what: &str) {
        assert_eq!(self.sent, self.delivered + self.dropped, "{what}");
        assert!(self.delivered > 0, "{what}");
    }

    fn add(&mut self, other: Account) {
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.dropped += other.dropped;
        self.events += other.events;
    }
}

fn minutes() -> f64 {
    let minutes = std::env::var("PKTRING_SOAK_MINUTES");
    minutes.map_or(1.0, |minutes| minutes.parse().expect("a number of minutes"))
}

#[test]
fn under_load_everything_adds_up_and_nothing_grows() {
    isolated(|| {
        let end = Instant::now() + Duration::from_secs_f64(minutes() * 60.0);
        let slice = Duration::from_secs_f64(minutes() * 60.0 / 12.0).min(Duration::from_secs(20));
        let mut totals = [Account::default(); SCENES.len()];
        let mut first = None;
        let mut last = Usage::now();
        for turn in 0.. {
            if Instant::now() + slice > end && turn > 0 {
                break;
            }
            // Every version meets every scene in twelve turns.
            let (scene, version) = (turn % SCENES.len(), VERSIONS[turn % VERSIONS.len()]);
            let (name, play) = SCENES[scene];
            let account = play(version.0, slice);
            account.check(&format!("{name}, {}", version.1));
            totals[scene].add(account);
            last = Usage::now();
            println!(
                "soak: {name}, {}: sent {} delivered {} dropped {} events {}; {} KiB, {} descriptors",
                version.1,
                account.sent,
                account.delivered,
                account.dropped,
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
                "soak total: {name}: sent {} delivered {} dropped {} events {}",
                total.sent, total.delivered, total.dropped, total.events
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
        events: 0,
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
