//! Counters: ours, which the data path raises, and the kernel's, which a read resets.

use crate::error::{Error, Result};
use crate::ring::geometry::Version;
use crate::sys::call::PacketSocket;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;

/// A 64-bit counter that one thread raises and any thread reads.
///
/// The single writer needs no locked instruction: a load and a store is one plain add. For a
/// count that only has to be whole, relaxed is enough. Where several are read together it matters
/// in which order they were set: see [`SET`].
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// How a counter is set that is read together with others; [`Counter::seen`] reads it. On x86 a
/// plain store. tests/ordering.rs shows that nothing weaker will do.
pub const SET: Ordering = Ordering::Release;

/// How such a counter is read: whoever sees what it was set to also sees what the writer set
/// before. Pairs with [`SET`].
pub const SEEN: Ordering = Ordering::Acquire;

impl Counter {
    /// Adds `n`. Only the thread that owns this direction of the handle may call it.
    #[inline(always)]
    pub fn add(&self, n: u64) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(n);
        self.0.store(sum, Ordering::Relaxed);
    }

    /// Sets the count. For the owning thread, as [`Counter::add`].
    #[inline(always)]
    pub fn set(&self, count: u64) {
        self.0.store(count, SET);
    }

    /// Sets the count to one more. For the owning thread, as [`Counter::add`].
    #[inline(always)]
    pub fn raise(&self) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(1);
        self.0.store(sum, SET);
    }

    /// The count so far.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The count so far, and with it everything that was set before it.
    fn seen(&self) -> u64 {
        self.0.load(SEEN)
    }
}

/// The number of the oldest frame that is held, and whether releasing that one takes nothing but to
/// raise it. One word tells both, which is all that most releases look at and write.
#[derive(Debug)]
pub struct ReleasePoint {
    /// One more than the point while raising it is enough. Otherwise, and in a forked child, which
    /// finds 0 here, `point` has it.
    plain: Counter,
    point: Counter,
}

/// Numbers of frames do not come up to this. They start in the lower half, and no handle lives long
/// enough.
const NUMBERS: u64 = 3 << 62;

/// [`ReleasePoint::plain`] while raising it is not enough. It lies beyond [`NUMBERS`], so no frame
/// passes; and should anybody make up the number that does, it is one more afterwards, which means
/// the same.
const HOLDS: u64 = NUMBERS | 0x35ad_4ece_da1c_e2a9;

impl Default for ReleasePoint {
    fn default() -> ReleasePoint {
        let point = ReleasePoint {
            plain: Counter::default(),
            point: Counter::default(),
        };
        point.set(0);
        point
    }
}

impl ReleasePoint {
    /// Where it is, when `plain` is this; [`None`]: where `point` says.
    #[inline(always)]
    fn passing(plain: u64) -> Option<u64> {
        match plain {
            0 | NUMBERS..=u64::MAX => None,
            _ => Some(plain - 1),
        }
    }

    /// Where it is.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        ReleasePoint::passing(self.plain.get()).unwrap_or_else(|| self.point.get())
    }

    /// Moves it. [`ReleasePoint::pass`] does not from then on.
    #[inline(always)]
    pub fn set(&self, number: u64) {
        self.point.set(number);
        self.plain.set(HOLDS);
    }

    /// [`ReleasePoint::get`] for rings that never let it pass.
    #[inline(always)]
    pub fn point(&self) -> u64 {
        self.point.get()
    }

    /// [`ReleasePoint::set`] for rings that never let it pass.
    #[inline(always)]
    pub fn set_point(&self, number: u64) {
        self.point.set(number);
    }

    /// Has [`ReleasePoint::pass`] move it from now on, until it is set again.
    pub fn let_pass(&self) {
        self.plain.set(self.get().wrapping_add(1));
    }

    /// Moves it past frame `number` if it is there, and that is all there is to do.
    #[inline(always)]
    pub fn pass(&self, number: u64) -> bool {
        let there = self.plain.get().wrapping_sub(1) == number;
        if there {
            self.plain.raise();
        }
        there
    }

    /// Where it is, and with it everything that was set before it came there.
    fn seen(&self) -> u64 {
        ReleasePoint::passing(self.plain.seen()).unwrap_or_else(|| self.point.seen())
    }
}

/// How far the receive side has come, and what it counts. Frames are numbered from a starting
/// point of the handle's own; the numbers double as counters.
#[derive(Debug, Default)]
pub struct RxCounters {
    /// Number of the first frame of the handle.
    first: Counter,
    /// Number of the next frame to hand out.
    pub next: Counter,
    /// Release point: number of the oldest frame that is still held.
    pub release: ReleasePoint,
    /// Frames behind the release point that are back already, or that nobody ever got. Raised
    /// before `next` passes such a frame and lowered after `release` has, so that whoever looks on
    /// takes it for held at no time.
    pub gone: Counter,
    /// Numbers that went to no frame for the caller.
    pub skipped: Counter,
    /// Captured bytes of the frames handed out.
    pub bytes: Counter,
    /// Frames skipped because the ring contents around them could not be right.
    pub corrupt: Counter,
    /// Frames in the ring that a filter set later rejected.
    pub filtered: Counter,
    /// Times the thread went to sleep and was woken.
    pub wakeups: Counter,
    /// The most frames that anybody was told of.
    told: AtomicU64,
}

impl RxCounters {
    /// Numbers frames from `first` on.
    pub fn start(&self, first: u64) {
        self.first.set(first);
        self.next.set(first);
        self.release.set(first);
    }

    /// Frames handed to the caller. Never fewer than at an earlier call.
    pub fn frames(&self) -> u64 {
        // A number that goes to nobody is in `skipped` before `next` has passed it. So if another
        // thread receives meanwhile this may be too few, but never too many.
        let numbers = self.next.seen().wrapping_sub(self.first.get());
        let frames = numbers.saturating_sub(self.skipped.get());
        // Relaxed: only the number itself matters.
        self.told.fetch_max(frames, Ordering::Relaxed).max(frames)
    }

    /// Notes `n` more frames that are back before their turn, or go to nobody.
    pub fn add_gone(&self, n: u64) {
        self.gone.set(self.gone.get().wrapping_add(n));
    }

    /// Notes that the release point has passed `n` such frames.
    pub fn pass_gone(&self, n: u64) {
        self.gone.set(self.gone.get().wrapping_sub(n));
    }

    /// Frames that the caller holds, or held at some moment of this call if another thread
    /// receives meanwhile.
    pub fn held(&self) -> u64 {
        // As long as the receiving thread gives frames back in between, what was read does not
        // belong together. It does not take long: the counters share a cache line or two, so that
        // the other thread hardly gets at them before all are read.
        loop {
            let (gone, release) = (self.gone.seen(), self.release.seen());
            let next = self.next.seen();
            if (gone, release) == (self.gone.seen(), self.release.seen()) {
                let held = next.wrapping_sub(release).wrapping_sub(gone);
                // Below 0 while the release point passes frames that are gone.
                return if held > u64::MAX / 2 { 0 } else { held };
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::RxCounters;

    #[test]
    fn the_count_of_frames_never_goes_down_while_one_is_skipped() {
        let counters = RxCounters::default();
        counters.start(5);
        let skip = || counters.skipped.add(1);
        // The very first number goes to nobody.
        skip();
        assert_eq!(counters.frames(), 0);
        counters.next.set(6);
        assert_eq!(counters.frames(), 0);
        counters.next.set(8);
        assert_eq!(counters.frames(), 2);
        skip();
        assert_eq!(counters.frames(), 2);
        counters.next.set(9);
        assert_eq!(counters.frames(), 2);
        counters.next.set(10);
        assert_eq!(counters.frames(), 3);
    }
}
