//! Counters: ours, which the data path raises, and the kernel's, which a read resets.

use crate::error::{Error, Result};
use crate::ring::geometry::Version;
use crate::sys::call::PacketSocket;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;

/// A 64-bit counter that one thread raises and any thread reads.
///
/// The single writer needs no locked instruction: a relaxed load and store is one plain add.
/// Relaxed is enough because a counter orders nothing; it only has to be whole.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the thread that owns this direction of the handle may call it.
    #[inline(always)]
    pub fn add(&self, n: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(n);
        self.0.store(sum, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the receive side counts itself.
#[derive(Debug, Default)]
pub struct RxCounters {
    /// Frames handed to the caller.
    pub frames: Counter,
    /// Captured bytes of these frames.
    pub bytes: Counter,
    /// Frames the caller has given back.
    pub released: Counter,
    /// Frames skipped because the ring contents around them could not be right.
    pub corrupt: Counter,
    /// Times the thread went to sleep and was woken.
    pub wakeups: Counter,
}

/// The kernel's counters of one socket since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kernel {
    /// `tp_packets`: packets that passed the filter, dropped ones included.
    pub packets: u64,
    /// `tp_drops`: packets for which the ring had no room.
    pub drops: u64,
    /// `tp_freeze_q_cnt`: times a V3 ring was found full; `None` for other versions.
    pub freezes: Option<u64>,
}

/// Accumulates [`Kernel`] over the reads, each of which sets the kernel's counters to zero.
#[derive(Debug, Default)]
pub struct Accumulator(Mutex<Kernel>);

impl Accumulator {
    /// Fetches what the kernel counted since the last call and returns the sums. The lock spans
    /// the system call, so that concurrent callers lose and double nothing.
    pub fn refresh(&self, socket: &PacketSocket, version: Version) -> Result<Kernel> {
        let mut sum = match self.0.lock() {
            Ok(sum) => sum,
            Err(poisoned) => poisoned.into_inner(),
        };
        let fail = |errno| Error::system("PACKET_STATISTICS", errno);
        let (level, option) = (libc::SOL_PACKET, libc::PACKET_STATISTICS);
        if version == Version::V3 {
            let now: libc::tpacket_stats_v3 = socket.get(level, option).map_err(fail)?;
            let freezes = sum.freezes.unwrap_or(0) + u64::from(now.tp_freeze_q_cnt);
            sum.freezes = Some(freezes);
            sum.packets += u64::from(now.tp_packets);
            sum.drops += u64::from(now.tp_drops);
        } else {
            let now: libc::tpacket_stats = socket.get(level, option).map_err(fail)?;
            sum.packets += u64::from(now.tp_packets);
            sum.drops += u64::from(now.tp_drops);
        }
        Ok(*sum)
    }
}
