//! The netring peer, speaking the protocol of `drain.c`, `receive.c` and `transmit.c`:
//! `netring-peer drain|receive|transmit NAME [name=value ...]`.

use netring::{Capture, Injector, Packet};
use std::io::{BufRead, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static STOPPING: AtomicBool = AtomicBool::new(false);

extern "C" fn on_stop(_signal: libc::c_int) {
    STOPPING.store(true, Ordering::Relaxed);
}

/// Arguments of the form `name=value`.
struct Arguments(Vec<String>);

impl Arguments {
    fn text<'a>(&'a self, name: &str, fallback: &'a str) -> &'a str {
        let found = self.0.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or(fallback)
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name, "0").parse().expect("a number")
    }
}

/// The same work on each frame as every other peer: length, timestamp, first 8 bytes.
#[derive(Default)]
struct Touched {
    frames: u64,
    bytes: u64,
    check: u64,
    work: Duration,
}

impl Touched {
    #[inline(always)]
    fn touch(&mut self, packet: &Packet<'_>) {
        let word = packet.data().first_chunk().map_or(0, |first| u64::from_ne_bytes(*first));
        let stamp = packet.timestamp();
        let stamp = u64::from(stamp.sec) * 1_000_000_000 + u64::from(stamp.nsec);
        self.check = self.check.wrapping_add(word ^ stamp);
        self.bytes += u64::from(packet.original_len() as u32);
        self.frames += 1;
        if !self.work.is_zero() {
            let start = Instant::now();
            while start.elapsed() < self.work {}
        }
    }
}

fn pin(cpu: u64) {
    // SAFETY: the set is a plain bit mask of the size passed along.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu as usize, &mut set);
        libc::sched_setaffinity(0, std::mem::size_of_val(&set), &set);
    }
}

fn cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn open(arguments: &Arguments) -> Capture {
    let mut builder = Capture::builder().interface(arguments.text("device", "lo"));
    let ring = arguments.number("ring") as usize;
    if ring > 0 {
        let block = 1 << 18; // as libpcap
        builder = builder.block_size(block).block_count(ring / block);
    }
    if arguments.number("retire") > 0 {
        builder = builder.block_timeout_ms(arguments.number("retire") as u32);
    }
    builder.build().expect("netring opens")
}

fn take_batch(capture: &mut Capture, touched: &mut Touched) -> bool {
    let Some(batch) = capture.next_batch() else {
        return false;
    };
    for packet in &batch {
        touched.touch(&packet);
    }
    true
}

fn answer_drain(touched: &Touched, start: Instant, idle: u64) {
    let nanoseconds = start.elapsed().as_nanos() as f64 / touched.frames.max(1) as f64;
    println!(
        "{{\"frames\":{},\"ns\":{nanoseconds:.4},\"idle\":{idle},\"bytes\":{},\"check\":{}}}",
        touched.frames,
        touched.bytes,
        touched.check & 0xff
    );
}

fn wanted(line: &str) -> u64 {
    line.trim_start_matches("go").trim().parse().expect("go N")
}

fn drain_batches(mut capture: Capture) {
    for line in std::io::stdin().lock().lines() {
        let wanted = wanted(&line.expect("a line"));
        let (mut touched, mut idle) = (Touched::default(), 0);
        let start = Instant::now();
        while touched.frames < wanted && start.elapsed().as_secs() < 3 {
            idle += u64::from(!take_batch(&mut capture, &mut touched));
        }
        answer_drain(&touched, start, idle);
    }
}

fn drain_packets(mut capture: Capture) {
    let mut packets = capture.packets_for(Duration::from_secs(3600));
    for line in std::io::stdin().lock().lines() {
        let wanted = wanted(&line.expect("a line"));
        let mut touched = Touched::default();
        let start = Instant::now();
        while touched.frames < wanted {
            match packets.next_packet() {
                Some(packet) => touched.touch(&packet),
                None => break,
            }
        }
        answer_drain(&touched, start, 0);
    }
}

fn receive(mut capture: Capture, work: Duration) {
    // SAFETY: the handler only stores to an atomic.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_stop as *const () as usize;
        libc::sigaction(libc::SIGTERM, &action, std::ptr::null_mut());
    }
    let (mut touched, mut waits) = (Touched { work, ..Touched::default() }, 0);
    let cpu = cpu_ns();
    while !STOPPING.load(Ordering::Relaxed) {
        waits += 1;
        if let Ok(Some(batch)) = capture.next_batch_blocking(Duration::from_millis(200)) {
            for packet in &batch {
                touched.touch(&packet);
            }
        }
    }
    let cpu = cpu_ns() - cpu;
    let stats = capture.stats().expect("statistics");
    println!(
        "{{\"frames\":{},\"cpu_ns\":{cpu},\"waits\":{waits},\"received\":{},\"dropped\":{},\"bytes\":{},\"check\":{}}}",
        touched.frames,
        stats.packets,
        stats.drops,
        touched.bytes,
        touched.check & 0xff
    );
}

/// Reports what its own API says it sent; the suite reads the device at the other end. Gives up
/// after a second: netring 0.29 queues frames of a layout that the kernel never sends.
fn transmit(arguments: &Arguments) {
    let frame = [
        2, 0, 0, 0, 0, 0x99, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17,
    ];
    let size = arguments.number("size").max(60) as usize;
    let (count, batch) = (arguments.number("count"), arguments.number("batch").max(1));
    let mut injector = Injector::builder()
        .interface(arguments.text("device", "lo"))
        .build()
        .expect("netring opens");
    let (cpu, start, mut sent, mut calls) = (cpu_ns(), Instant::now(), 0, 0);
    while sent < count && start.elapsed().as_secs() < 1 {
        for _ in 0..batch {
            if let Some(mut slot) = injector.allocate(size) {
                slot.data_mut()[..frame.len()].copy_from_slice(&frame);
                slot.set_len(size);
                slot.send();
                sent += 1;
            }
        }
        let _ = injector.flush();
        calls += 1;
    }
    println!(
        "{{\"sent\":{sent},\"calls\":{calls},\"cpu_ns\":{},\"wall_ns\":{}}}",
        cpu_ns() - cpu,
        start.elapsed().as_nanos()
    );
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let [_, job, name, ..] = words.as_slice() else {
        eprintln!("usage: netring-peer drain|receive|transmit NAME [name=value ...]");
        std::process::exit(2);
    };
    let arguments = Arguments(words.clone());
    pin(if job == "transmit" { 0 } else { 1 });
    if job == "transmit" {
        return transmit(&arguments);
    }
    let capture = open(&arguments);
    println!("ready");
    std::io::stdout().flush().expect("stdout");
    match (job.as_str(), name.as_str()) {
        ("drain", "netring_batch") => drain_batches(capture),
        ("drain", "netring_next") => drain_packets(capture),
        ("receive", _) => receive(capture, Duration::from_nanos(arguments.number("work"))),
        _ => panic!("no {job} named {name} here"),
    }
}
