//! A model check of the hand-over of ring memory, in both directions, over every interleaving
//! and every reordering that the C11 memory model allows.
//!
//! The library's side uses the very orderings that src/ring/status.rs uses. The kernel's side is
//! modelled by acquire loads and release stores, which is what its barriers amount to: smp_wmb()
//! or smp_mb() before it writes a status, and a status that it reads before it touches a slot.
//! Each check is shown to have teeth by the same model with one ordering weakened, which it has to
//! reject.
//!
//! What is handed over are two slots, each of two cells (a header and data, or two frames of a
//! block), for more laps than there are slots.
//!
//! And how many frames are held, counted by a thread that looks on, in the same way.

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::sync::Arc;
use loom::thread;
use pktring::ring::status::{GIVE, TAKE};
use pktring::stats::{SEEN, SET};

const SLOTS: usize = 2;
const LAPS: u32 = 3;

const KERNEL: u32 = 0;
const USER: u32 = 1;
const AVAILABLE: u32 = 0;
const SEND_REQUEST: u32 = 1;

/// How one side reads and writes status words.
#[derive(Clone, Copy)]
struct Side {
    load: Ordering,
    store: Ordering,
}

const LIBRARY: Side = Side {
    load: TAKE,
    store: GIVE,
};
const LINUX: Side = Side {
    load: Ordering::Acquire,
    store: Ordering::Release,
};

struct Slot {
    status: AtomicU32,
    cells: [UnsafeCell<u32>; 2],
}

struct Ring {
    slots: [Slot; SLOTS],
}

// SAFETY: the cells are what is under test: loom reports every access that is not ordered.
unsafe impl Sync for Ring {}
// SAFETY: as above.
unsafe impl Send for Ring {}

impl Ring {
    fn new() -> Arc<Ring> {
        let slot = || Slot {
            status: AtomicU32::new(0),
            cells: [UnsafeCell::new(0), UnsafeCell::new(0)],
        };
        Arc::new(Ring {
            slots: [slot(), slot()],
        })
    }

    /// Waits until slot `turn` has the status `mine`.
    fn take(&self, side: Side, turn: u32, mine: u32) -> &Slot {
        let slot = &self.slots[turn as usize % SLOTS];
        while slot.status.load(side.load) != mine {
            thread::yield_now();
        }
        slot
    }
}

impl Slot {
    fn write(&self, number: u32) {
        for cell in &self.cells {
            // SAFETY: loom checks that nobody else uses the cell.
            cell.with_mut(|cell| unsafe { *cell = number });
        }
    }

    fn read(&self) -> [u32; 2] {
        // SAFETY: loom checks that nobody writes the cell.
        [0, 1].map(|i| self.cells[i].with(|cell| unsafe { *cell }))
    }

    fn give(&self, side: Side, status: u32) {
        self.status.store(status, side.store);
    }
}

/// The kernel fills slots, the library reads them and gives them back.
fn receive(library: Side) {
    loom::model(move || {
        let ring = Ring::new();
        let kernel = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                for turn in 0..LAPS {
                    let slot = ring.take(LINUX, turn, KERNEL);
                    slot.write(turn + 1);
                    slot.give(LINUX, USER);
                }
            })
        };
        for turn in 0..LAPS {
            let slot = ring.take(library, turn, USER);
            assert_eq!(slot.read(), [turn + 1; 2]);
            slot.give(library, KERNEL);
        }
        kernel.join().unwrap();
    });
}

/// The library fills slots, the kernel reads them and gives them back.
fn transmit(library: Side) {
    loom::model(move || {
        let ring = Ring::new();
        let kernel = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || {
                for turn in 0..LAPS {
                    let slot = ring.take(LINUX, turn, SEND_REQUEST);
                    assert_eq!(slot.read(), [turn + 1; 2]);
                    slot.give(LINUX, AVAILABLE);
                }
            })
        };
        for turn in 0..LAPS {
            let slot = ring.take(library, turn, AVAILABLE);
            slot.write(turn + 1);
            slot.give(library, SEND_REQUEST);
        }
        kernel.join().unwrap();
    });
}

const WEAK_TAKE: Side = Side {
    load: Ordering::Relaxed,
    ..LIBRARY
};
const WEAK_GIVE: Side = Side {
    store: Ordering::Relaxed,
    ..LIBRARY
};

#[test]
fn received_frames_are_whole_and_nobody_reads_them_once_given_back() {
    receive(LIBRARY);
}

#[test]
fn sent_frames_are_whole_and_nobody_writes_them_before_they_are_back() {
    transmit(LIBRARY);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_received_status_that_is_read_relaxed_is_found_out() {
    receive(WEAK_TAKE);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_release_that_is_relaxed_is_found_out() {
    receive(WEAK_GIVE);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_commit_that_is_relaxed_is_found_out() {
    transmit(WEAK_GIVE);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_completion_that_is_read_relaxed_is_found_out() {
    transmit(WEAK_TAKE);
}

/// The counters that `RxCounters::held` reads together.
#[derive(Default)]
struct Counters {
    next: AtomicU64,
    /// The two words of the release point.
    plain: AtomicU64,
    point: AtomicU64,
    gone: AtomicU64,
}

impl Counters {
    fn release(&self, seen: Ordering) -> u64 {
        match self.plain.load(seen) {
            0 => self.point.load(seen),
            plain => plain - 1,
        }
    }

    /// As in src/stats.rs; `None` where that would look again.
    fn held(&self, seen: Ordering) -> Option<u64> {
        let (gone, release) = (self.gone.load(seen), self.release(seen));
        let next = self.next.load(seen);
        let still = (gone, release) == (self.gone.load(seen), self.release(seen));
        still.then(|| {
            let held = next.wrapping_sub(release).wrapping_sub(gone);
            if held > u64::MAX / 2 {
                0
            } else {
                held
            }
        })
    }
}

/// One thread takes frames and gives each back before the next, while another counts what is held.
fn count(set: Ordering, seen: Ordering) {
    loom::model(move || {
        let counters = Arc::new(Counters::default());
        let receiver = {
            let counters = Arc::clone(&counters);
            thread::spawn(move || {
                counters.plain.store(1, set);
                for taken in 1..=2 {
                    counters.next.store(taken, set);
                    counters.plain.store(taken + 1, set);
                }
                // One that nobody gets.
                counters.gone.store(1, set);
                counters.next.store(3, set);
                counters.point.store(3, set);
                counters.plain.store(0, set);
                counters.gone.store(0, set);
            })
        };
        let held = counters.held(seen);
        assert!(held.unwrap_or(0) <= 1, "{held:?} are held");
        receiver.join().unwrap();
        assert_eq!(counters.held(seen), Some(0));
    });
}

#[test]
fn frames_are_never_counted_as_held_that_were_not() {
    count(SET, SEEN);
}

#[test]
#[should_panic(expected = "are held")]
fn a_counter_that_is_set_relaxed_is_found_out() {
    count(Ordering::Relaxed, SEEN);
}

#[test]
#[should_panic(expected = "are held")]
fn a_counter_that_is_read_relaxed_is_found_out() {
    count(SET, Ordering::Relaxed);
}

/// One thread takes a frame, passes one that nobody gets and takes another, while a second thread
/// counts those that were taken.
fn taken(set: Ordering, seen: Ordering) {
    loom::model(move || {
        let counters = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
        let receiver = {
            let counters = Arc::clone(&counters);
            thread::spawn(move || {
                let (next, skipped) = &*counters;
                next.store(1, set);
                skipped.store(1, Ordering::Relaxed);
                next.store(2, set);
                next.store(3, set);
            })
        };
        let (next, skipped) = &*counters;
        let told = AtomicU64::new(0);
        // As in src/stats.rs.
        let frames = || {
            let numbers = next.load(seen);
            let frames = numbers.saturating_sub(skipped.load(Ordering::Relaxed));
            told.fetch_max(frames, Ordering::Relaxed).max(frames)
        };
        let (first, second) = (frames(), frames());
        receiver.join().unwrap();
        let last = frames();
        assert!(
            first <= second && last == 2,
            "{first}, {second}, {last} were taken"
        );
    });
}

#[test]
fn the_count_of_taken_frames_never_goes_down() {
    taken(SET, SEEN);
}

#[test]
#[should_panic(expected = "were taken")]
fn a_count_of_taken_frames_that_is_read_relaxed_is_found_out() {
    taken(SET, Ordering::Relaxed);
}
