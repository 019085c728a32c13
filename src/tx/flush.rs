//! Getting published frames out.

use super::kernel::Kernel;
use super::record::State;
use super::slots::Owner;
use super::{Cursor, Transmitter};
use crate::error::{Error, Result};
use crate::sys::call::{Errno, BATCH};
use libc::iovec;

/// Longest sleep between two looks at the ring. A transmit-only socket hears nothing of the end
/// of its interface, so no sleep may depend on being woken.
const TICK_NS: u64 = 100_000_000;

/// Pauses after the queue rejected a frame: the first, and the longest. The socket's events are
/// no help then, because rejecting a frame raises one: who waits for them spins.
const FIRST_PAUSE_NS: u64 = 100_000;
const LONGEST_PAUSE_NS: u64 = 10_000_000;

/// The longest in [`Transmitter::poll`], which may have other things to look at.
const LONGEST_POLL_PAUSE_NS: u64 = 1_000_000;

/// A frame that the queue rejected for this long and this often is refused. A queue that drains
/// at all lets one frame through in this time, unless it is slower than 12 kbit/s.
const PATIENCE_NS: u64 = 1_000_000_000;
const PATIENCE_ATTEMPTS: u32 = 16;

/// Frames published at once after a refusal, doubled with each success. What is published must
/// move again should another of it be refused; what is not yet published moves only once.
const FIRST_WINDOW: u64 = 8;

/// `send` is not interrupted when it does not wait; but should it be, not for ever.
const MOST_INTERRUPTIONS: u32 = 100;

/// Why a kick left frames behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// It did not.
    Nothing,
    /// The socket's send buffer is full.
    Buffer,
    /// The interface's queue rejected the frame.
    Queue,
    /// A new frame was refused.
    Refused(Errno),
}

/// The memory of how often the queue rejected the frame at the head.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stall {
    since: u64,
    attempts: u32,
    /// Frames refused in a row without one getting through. Each halves the patience, so that a
    /// ring full of frames that nobody takes comes to an end.
    refusals: u32,
}

impl Stall {
    /// Notes one more rejection; true when it is time to give the frame up.
    fn rejected(&mut self, now: u64) -> bool {
        if self.attempts == 0 {
            self.since = now;
        }
        self.attempts = self.attempts.saturating_add(1);
        let halved = self.refusals.min(10);
        let attempts = (PATIENCE_ATTEMPTS >> halved).max(2);
        self.attempts >= attempts && now - self.since >= PATIENCE_NS >> halved
    }

    /// How long to leave the queue alone: longer the more often it rejected the frame.
    fn pause(&self) -> u64 {
        let doublings = self.attempts.saturating_sub(1).min(10);
        (FIRST_PAUSE_NS << doublings).min(LONGEST_PAUSE_NS)
    }

    /// The frame was refused with `errno`; the next one gets its own chance.
    fn gave_up(&mut self, errno: Errno) {
        self.attempts = 0;
        self.refusals += u32::from(is_rejection(errno));
    }
}

/// Whether `errno` comes from the interface's queue: full, or (ENOMEM) the frame could not be
/// prepared for the device. Either may pass or last; the frame stays where it is.
fn is_rejection(errno: Errno) -> bool {
    matches!(errno, libc::ENOBUFS | libc::ENOMEM)
}

/// Whether `errno` says that the frame itself is at fault.
pub(super) fn is_malformed(errno: Errno) -> bool {
    matches!(errno, libc::EMSGSIZE | libc::EINVAL)
}

const NO_FRAME: iovec = iovec {
    iov_base: std::ptr::null_mut(),
    iov_len: 0,
};

/// Frames that are handed over together.
struct Gathered {
    /// Behind the last of them.
    end: Cursor,
    bytes: u64,
}

/// What to do after a kick that left the head where it was.
enum Verdict {
    Again,
    Stop(Halt),
    Refuse(Errno),
    Fail(Error),
}

impl Transmitter {
    /// Publishes what can be, kicks the kernel and waits until nothing is in flight, at most
    /// `timeout_ms` (0: does not wait, negative: without limit). The result is how many frames
    /// are still in flight.
    ///
    /// # Errors
    /// [`Error::QueueFull`] when time is out and the interface's queue still rejects frames,
    /// [`Error::InterfaceDown`] and [`Error::InterfaceGone`], and what [`Kernel::check`] says
    /// before each sleep. The frames stay in the ring with all of these.
    pub fn flush<K: Kernel>(&mut self, kernel: &mut K, timeout_ms: i32) -> Result<u64> {
        let deadline = match timeout_ms {
            0 => 0,
            ms if ms < 0 => u64::MAX,
            ms => kernel.now().saturating_add(ms as u64 * 1_000_000),
        };
        loop {
            let halt = self.kick(kernel)?;
            let left = self.in_flight();
            if left == 0 {
                return Ok(0);
            }
            let rest = match deadline {
                0 | u64::MAX => deadline,
                _ => deadline.saturating_sub(kernel.now()),
            };
            if rest == 0 {
                return match halt {
                    Halt::Queue => Err(Error::QueueFull),
                    _ => Ok(left),
                };
            }
            kernel.check()?;
            match halt {
                Halt::Queue => kernel.pause(self.stall.pause().min(rest)),
                _ => kernel.wait(rest.min(TICK_NS))?,
            }
        }
    }

    /// Whether a slot can be reserved. A ring that is full of frames which the kernel was not
    /// told of would stay so: then it is told. Does not wait, but pauses for up to a millisecond
    /// when the interface's queue rejects a frame, so that it may be called again at once.
    pub fn poll<K: Kernel>(&mut self, kernel: &mut K) -> Result<bool> {
        if !self.ready() && self.waits_for_kick() && self.kick(kernel)? == Halt::Queue {
            kernel.pause(self.stall.pause().min(LONGEST_POLL_PAUSE_NS));
        }
        Ok(self.ready())
    }

    /// Makes the kernel take as many frames as it can now, refuses those it will never take, and
    /// reaps. The status words tell how far it came.
    pub fn kick<K: Kernel>(&mut self, kernel: &mut K) -> Result<Halt> {
        let outcome = self.drive(kernel, u64::MAX);
        self.settle(outcome)
    }

    /// [`Transmitter::kick`], which ends at the first of the frames from record `new` on that is
    /// refused, or with an error. The new ones that were not taken by then are given up. The first
    /// result is how many new ones are sent or wait in the ring; the second why not all are.
    pub fn kick_new<K: Kernel>(&mut self, kernel: &mut K, new: u64) -> (u64, Option<Error>) {
        let all = self.tail.sequence - new;
        let outcome = self.drive(kernel, new);
        let (passed, failure) = match outcome {
            // The head is behind the one that was refused.
            Ok(Halt::Refused(errno)) => (1, Error::system("send", errno)),
            Ok(_) => {
                let settled = self.settle(outcome);
                return (all, settled.err());
            }
            Err(error) => (0, error),
        };
        let taken = self.head.sequence.saturating_sub(new + passed);
        self.give_up(new);
        let settled = self.settle(Ok(Halt::Nothing));
        (taken.min(all), settled.err().or(Some(failure)))
    }

    /// What comes after each kick.
    fn settle(&mut self, outcome: Result<Halt>) -> Result<Halt> {
        self.publish(u64::MAX);
        self.reap();
        if self.slots.copied() && self.settled.place.count == self.tail.place.count {
            self.rewind();
        }
        outcome
    }

    /// Goes on with the first slot, since none is in use: those that were used last are in the
    /// processor's cache.
    fn rewind(&mut self) {
        let place = self.lane.restart(self.tail.place);
        for cursor in [
            &mut self.settled,
            &mut self.head,
            &mut self.edge,
            &mut self.tail,
        ] {
            cursor.place = place;
        }
    }

    /// Hands over what can be. Ends at the first frame from record `new` on that is refused.
    fn drive<K: Kernel>(&mut self, kernel: &mut K, new: u64) -> Result<Halt> {
        let mut window = u64::MAX;
        let mut errors = Errors::default();
        loop {
            self.look();
            if self.head.place.count == self.edge.place.count {
                self.publish(window);
                window = window.saturating_mul(2);
                if self.head.place.count == self.edge.place.count {
                    return Ok(Halt::Nothing);
                }
            }
            let before = self.head.place.count;
            let from = self.head.sequence;
            self.prepare_stamps(kernel);
            let result = match self.slots.copied() {
                true => self.copy(kernel),
                false => kernel.kick(),
            };
            self.look();
            self.note_stamps(kernel, from, &result);
            let moved = self.head.place.count != before;
            if moved {
                self.stall = Stall::default();
            }
            if self.head.place.count == self.edge.place.count {
                continue;
            }
            let verdict = match self.is_malformed(&result) {
                false => errors.verdict(result, moved, &mut self.stall, kernel),
                true => Verdict::Refuse(result.err().unwrap_or(libc::EINVAL)),
            };
            match verdict {
                Verdict::Again => {}
                Verdict::Stop(halt) => return Ok(halt),
                Verdict::Fail(error) => return Err(error),
                Verdict::Refuse(errno) => {
                    self.refuse(errno);
                    if errno == libc::EMSGSIZE {
                        self.refresh(kernel);
                        self.refuse_too_long(new);
                    }
                    if self.head.sequence > new {
                        return Ok(Halt::Refused(errno));
                    }
                    window = FIRST_WINDOW;
                }
            }
        }
    }

    /// Has the kernel copy what is published, up to the first frame that it does not take.
    fn copy<K: Kernel>(&mut self, kernel: &mut K) -> std::result::Result<(), Errno> {
        let mut frames = [NO_FRAME; BATCH];
        loop {
            let (count, gathered) = self.gather(&mut frames);
            let sent = match count {
                0 => 0,
                _ => kernel.send(&frames[..count])?,
            };
            if sent == 0 {
                return Ok(());
            }
            let Gathered { end, bytes } = match sent == count {
                true => gathered,
                false => self.gather(&mut frames[..sent]).1,
            };
            self.head = end;
            self.counters.sent(sent as u64, bytes);
        }
    }

    /// Puts the published frames from the head on into `frames`, as many as fit. The first result
    /// is how many.
    #[inline(never)]
    fn gather(&self, frames: &mut [iovec]) -> (usize, Gathered) {
        let (mut sequence, mut bytes, mut count) = (self.head.sequence, 0, 0);
        while sequence < self.edge.sequence {
            if let State::Published {
                offset,
                start,
                length,
            } = self.records[sequence].state
            {
                let found = self.slots.frame(offset, start, length);
                match (frames.get_mut(count), found) {
                    (Some(frame), Some(found)) => *frame = found,
                    _ => break,
                }
                bytes += u64::from(length);
                count += 1;
            }
            sequence += 1;
        }
        let place = match sequence == self.edge.sequence {
            true => self.edge.place,
            false => (0..count).fold(self.head.place, |place, _| self.lane.next(place)),
        };
        let end = Cursor { place, sequence };
        (count, Gathered { end, bytes })
    }

    /// Whether the frame at the head will never be sent as it is, after a kick with this result.
    fn is_malformed(&self, result: &std::result::Result<(), Errno>) -> bool {
        match self.slots.copied() {
            true => matches!(result, Err(errno) if is_malformed(*errno)),
            false => self.slots.owner(self.head.place.offset) != Owner::Waiting,
        }
    }

    /// Limits what the kernel is handed, and begins to count its numbers again once no frame is in
    /// its hands.
    fn prepare_stamps<K: Kernel>(&mut self, kernel: &mut K) {
        match &self.stamps {
            Some(stamps) => self.hold_back(stamps.burst),
            None => return,
        }
        self.reap();
        let idle = self.settled.place.count == self.head.place.count;
        if let (Some(stamps), true) = (&mut self.stamps, idle) {
            stamps.recover(kernel);
        }
    }

    /// Takes all but the first `most` frames that the kernel was not handed yet back to the
    /// committed. They stay in their slots.
    fn hold_back(&mut self, most: u64) {
        let limit = self.head.place.count + most;
        if self.edge.place.count <= limit {
            return;
        }
        let mut place = self.head.place;
        let mut edge = None;
        for sequence in self.head.sequence..self.edge.sequence {
            let record = &mut self.records[sequence];
            if let State::Published {
                offset,
                start,
                length,
            } = record.state
            {
                if place.count >= limit {
                    edge = edge.or(Some(Cursor { place, sequence }));
                    self.slots.withdraw(offset);
                    record.state = State::Committed {
                        offset,
                        start,
                        length,
                    };
                }
                place = self.lane.next(place);
            }
        }
        self.edge = edge.unwrap_or(self.edge);
        self.counters.set_in_flight(self.in_flight());
    }

    /// Takes the frames from record `new` on that the kernel has not taken out of the ring.
    fn give_up(&mut self, new: u64) {
        let published =
            |&sequence: &u64| matches!(self.records[sequence].state, State::Published { .. });
        let older = (self.head.sequence..new).filter(published).count();
        self.hold_back(older as u64);
        for sequence in new.max(self.edge.sequence)..self.tail.sequence {
            self.records[sequence].state = State::Aborted;
        }
        self.close_gaps();
    }

    /// Notes which frames got the kernel's numbers in a kick that began at record `from`, and
    /// collects timestamps.
    fn note_stamps<K: Kernel>(
        &mut self,
        kernel: &mut K,
        from: u64,
        result: &std::result::Result<(), Errno>,
    ) {
        let (to, waiting) = (self.head.sequence, !self.is_malformed(result));
        let more = self.head.place.count < self.edge.place.count;
        if let Some(stamps) = &mut self.stamps {
            stamps.took(&self.records, from, to);
            match result {
                _ if !more => {}
                // The frame at the head was numbered, and the queue did not take it.
                Err(libc::ENOBUFS) if waiting => stamps.skipped(),
                // The kernel did not come to number it.
                Ok(()) if waiting => {}
                Err(libc::EAGAIN) | Err(libc::EINTR) | Err(libc::ENETDOWN) | Err(libc::ENXIO)
                    if waiting => {}
                _ => stamps.lost_count(),
            }
        }
        self.collect_stamps(kernel);
    }

    /// Moves the head over the frames that the kernel took.
    fn look(&mut self) {
        if self.head.place.count == self.edge.place.count {
            // What the edge passed over since holds no slot.
            self.head = self.edge;
        } else if self.all_taken() {
            // The kernel goes in order: with the last frame it took all.
            self.head = self.edge;
        } else if !self.slots.copied() {
            while self.head.place.count < self.edge.place.count
                && self.slots.taken(self.head.place.offset)
            {
                self.head.place = self.lane.next(self.head.place);
                self.head.sequence = self.published(self.head.sequence) + 1;
            }
        }
    }

    /// Takes the frame at the head out of the ring, and all behind it back to the committed, to
    /// be published again from the head's slot on.
    fn refuse(&mut self, errno: Errno) {
        let first = self.published(self.head.sequence);
        for sequence in first..self.edge.sequence {
            let record = &mut self.records[sequence];
            if let State::Published {
                offset,
                start,
                length,
            } = record.state
            {
                self.slots.withdraw(offset);
                record.state = match sequence == first {
                    true => State::Refused { errno, length },
                    false => State::Committed {
                        offset,
                        start,
                        length,
                    },
                };
            }
        }
        self.edge = Cursor {
            place: self.head.place,
            sequence: first + 1,
        };
        self.head = self.edge;
        self.stall.gave_up(errno);
        self.counters.refused();
    }

    /// Refuses every committed frame before record `new` that has become too long, so that a ring
    /// of them does not take a system call each (and the kernel does not log each).
    fn refuse_too_long(&mut self, new: u64) {
        for sequence in self.edge.sequence..self.tail.sequence.min(new) {
            if let State::Committed {
                offset,
                start,
                length,
            } = self.records[sequence].state
            {
                let tagged = || self.slots.tagged(offset, start);
                if self.limits.check(length, tagged).is_err() {
                    let errno = libc::EMSGSIZE;
                    self.records[sequence].state = State::Refused { errno, length };
                    self.counters.refused();
                }
            }
        }
    }
}

/// Failures that are given a second chance within one kick.
#[derive(Default)]
struct Errors {
    down: bool,
    interrupted: u32,
}

impl Errors {
    /// What the result of a kick means that left the frame at the head waiting.
    fn verdict<K: Kernel>(
        &mut self,
        result: std::result::Result<(), Errno>,
        moved: bool,
        stall: &mut Stall,
        kernel: &mut K,
    ) -> Verdict {
        match result {
            // The kernel hides an error that came after the first frame; it will repeat it.
            Ok(()) if moved => Verdict::Again,
            Ok(()) | Err(libc::EAGAIN) => Verdict::Stop(Halt::Buffer),
            Err(libc::EINTR) if self.interrupted < MOST_INTERRUPTIONS => {
                self.interrupted += 1;
                Verdict::Again
            }
            Err(libc::EINTR) => Verdict::Stop(Halt::Buffer),
            Err(errno) if is_rejection(errno) => match stall.rejected(kernel.now()) {
                true => Verdict::Refuse(errno),
                false => Verdict::Stop(Halt::Queue),
            },
            // The socket remembers that the interface was down once; only the second time says
            // that it still is.
            Err(libc::ENETDOWN) if !self.down => {
                self.down = true;
                Verdict::Again
            }
            Err(libc::ENETDOWN) => Verdict::Fail(Error::InterfaceDown),
            Err(libc::ENXIO) | Err(libc::ENODEV) => Verdict::Fail(Error::InterfaceGone),
            Err(errno) => Verdict::Fail(Error::system("send", errno)),
        }
    }
}
