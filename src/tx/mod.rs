//! The transmit ring.
//!
//! The kernel sends strictly in the order of the slots, beginning where it stopped, and stands
//! still before a slot that holds nothing to send. So the slots handed to it always follow each
//! other without a hole, whatever the order in which the caller commits:
//!
//! ```text
//!        settled         head            edge             tail
//!  records ─┼── SENDING ───┼─ SEND_REQUEST ─┼─ the caller's ──┼─ free
//! ```
//!
//! Up to `settled` frames are sent or refused, up to `head` the kernel took them, up to `edge`
//! it may take them, up to `tail` they are reserved, or committed behind an open reservation.
//! A committed frame behind a slot that was given up moves down before it is published.
//!
//! A frame is refused where the kernel says so or where the queue rejects it for good. Because
//! the kernel stays on that slot, the frames behind it are withdrawn and published again one slot
//! lower; the refused frame keeps its `record` and with it its turn among the completions.
//!
//! Where frames are copied to the kernel, the slots are memory that it does not know. Everything
//! is as above, but for the status words: what is published is known from the cursors, and what
//! was taken from the result of the system call.

#![forbid(unsafe_code)]

mod counters;
mod flush;
pub mod gso;
pub mod inject;
mod kernel;
mod limits;
mod place;
mod record;
mod slots;
mod stamps;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

pub use counters::{Counters, Counts};
pub use kernel::{Kernel, Outlet};
pub use limits::Limits;
pub use stamps::BURST;

use crate::error::{invalid, Error, Result};
use crate::frame::Completion;
use crate::ring::geometry::{Mode, Ring, Version};
use crate::ring::map::View;
use flush::Stall;
use place::{Lane, Place};
use record::{Record, Records, State};
use slots::{clock_status, Slots};
use stamps::Stamps;
use std::ptr::NonNull;
use std::sync::Arc;

/// What a transmit ring is like.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub version: Version,
    pub mode: Mode,
    pub ring: Ring,
    /// Whether the frames are copied to the kernel, which has no ring of its own then.
    pub copied: bool,
    /// Whether `PACKET_TX_HAS_OFF` is on.
    pub placed: bool,
    /// Timestamps of sent frames come through the error queue, which has room for those of so
    /// many frames handed over at once. `None`: there are none.
    pub stamped: Option<u64>,
    pub limits: Limits,
    /// References of this handle count from here. Handles whose bases are far apart do not
    /// mistake each other's reservations for their own.
    pub base: u64,
}

/// A free slot for the caller to write a frame into.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub data: NonNull<u8>,
    /// Bytes at `data` that the frame may use.
    pub capacity: u32,
    /// Names this reservation in [`Transmitter::commit`] and [`Transmitter::abort`].
    pub reference: u64,
}

/// A boundary between stages: the slot and the record of the first frame behind it.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    place: Place,
    sequence: u64,
}

/// The limits as the way of every frame needs them.
#[derive(Clone, Copy, Debug, Default)]
struct Usual {
    /// Bytes that a frame may have, by its slot and by the interface.
    capacity: u32,
    /// Shortest and longest frame that is fine whatever is in it.
    least: u32,
    most: u32,
}

/// The transmit ring of a handle. One thread at a time uses it; [`Counters`] are for all.
pub struct Transmitter {
    slots: Slots,
    lane: Lane,
    records: Records,
    limits: Limits,
    /// What follows from the limits for each frame.
    usual: Usual,
    counters: Arc<Counters>,
    /// The reference of a reservation is its sequence number and this. Grows whenever sequence
    /// numbers are used again, so that no reference is given out twice.
    base: u64,
    /// So many can be reserved without looking whether there is room; possibly more.
    room: u64,
    /// The oldest record whose completion was not collected, or one that was forgotten.
    oldest: u64,
    settled: Cursor,
    head: Cursor,
    edge: Cursor,
    tail: Cursor,
    stall: Stall,
    stamps: Option<Stamps>,
}

impl Transmitter {
    /// Works the new, all-zero transmit ring in `view`. Nothing is allocated after this.
    pub fn new(view: View, config: &Config) -> Result<Transmitter> {
        let slots = Slots::new(view, config)
            .ok_or_else(|| invalid!("the mapping is shorter than the transmit ring"))?;
        let lane = Lane::new(&config.ring);
        let start = Cursor {
            place: lane.first(),
            sequence: 0,
        };
        let records = Records::new(lane.slots());
        let mut transmitter = Transmitter {
            slots,
            stamps: config
                .stamped
                .map(|burst| Stamps::new(records.capacity(), burst)),
            records,
            lane,
            limits: config.limits,
            usual: Usual::default(),
            counters: Arc::default(),
            base: config.base,
            room: 0,
            oldest: 0,
            settled: start,
            head: start,
            edge: start,
            tail: start,
            stall: Stall::default(),
        };
        transmitter.set_limits(config.limits);
        Ok(transmitter)
    }

    /// The counters, to be kept and read wherever they are wanted.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Frames published and not yet known to be sent or refused.
    pub fn in_flight(&self) -> u64 {
        self.edge.place.count - self.settled.place.count
    }

    /// Whether nothing is reserved, committed or in flight, as far as is known.
    pub fn is_idle(&self) -> bool {
        self.settled.sequence == self.tail.sequence
    }

    /// The limits that frames are held to. They follow the interface by themselves whenever a
    /// frame runs into them.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Sets other limits, for frames not yet committed.
    pub fn set_limits(&mut self, limits: Limits) {
        let room = self.slots.room();
        self.limits = limits;
        self.usual = Usual {
            capacity: match self.slots.placed() {
                // The whole slot, since the frame may start anywhere in it.
                true => room,
                false => room.min(limits.longest()),
            },
            least: limits.least(),
            most: room.min(limits.most()),
        };
    }

    /// The next free slot, or `None` while the ring is full. Several may be open at once; they
    /// are sent in the order of their reservation.
    ///
    /// Completions are kept for as many frames as the ring has slots; beyond that the oldest is
    /// forgotten. It was counted, though.
    #[inline(always)]
    pub fn reserve(&mut self) -> Option<Slot> {
        if !self.ready() {
            return None;
        }
        let Cursor { place, sequence } = self.tail;
        let offset = place.offset;
        let capacity = self.usual.capacity;
        let data = self.slots.data(offset, capacity)?;
        let reference = self.base.wrapping_add(sequence);
        self.records[sequence] = Record {
            tag: reference,
            state: State::Reserved { offset },
        };
        self.room -= 1;
        self.tail = Cursor {
            place: self.lane.next(place),
            sequence: sequence + 1,
        };
        Some(Slot {
            data,
            capacity,
            reference,
        })
    }

    /// Whether frames are copied to the kernel.
    pub fn copies(&self) -> bool {
        self.slots.copied()
    }

    /// Bytes of a slot that a frame may use.
    pub fn room(&self) -> u32 {
        self.slots.room()
    }

    /// Whether [`Transmitter::reserve`] would succeed.
    #[inline(always)]
    fn ready(&mut self) -> bool {
        self.room > 0 || self.find_room()
    }

    /// Counts the slots that are free, and the records that hold nothing but completions.
    #[inline(never)]
    fn find_room(&mut self) -> bool {
        self.reap();
        let slots = self.tail.place.count - self.settled.place.count;
        let records = self.tail.sequence - self.settled.sequence;
        self.room = (self.lane.slots() - slots).min(self.records.capacity() - records);
        self.room > 0
    }

    /// The oldest record whose completion can be collected: newer frames need those before.
    fn oldest(&self) -> u64 {
        let needed = self.tail.sequence.saturating_sub(self.records.capacity());
        self.oldest.max(needed)
    }

    /// Whether frames wait for a kick.
    fn waits_for_kick(&self) -> bool {
        self.head.place.count < self.edge.place.count && !self.all_taken()
    }

    /// Whether the kernel took the last frame before the edge, which was not settled yet.
    fn all_taken(&self) -> bool {
        !self.slots.copied() && self.slots.taken(self.lane.before(self.edge.place))
    }

    /// The frame of `length` bytes at `offset` of the reservation's data is complete. The slot
    /// must not be written to from here on.
    ///
    /// With an error the reservation stays open.
    pub fn commit<K: Kernel>(
        &mut self,
        kernel: &mut K,
        reference: u64,
        length: u32,
        offset: u32,
        user_data: u64,
    ) -> Result<()> {
        if self.commit_next(reference, length, offset, user_data) {
            return Ok(());
        }
        let (sequence, slot) = self.reservation(reference)?;
        let usual = offset == 0 && (self.usual.least..=self.usual.most).contains(&length);
        let start = match usual {
            true => self.slots.data_start() as u16,
            false => self.check(kernel, slot, length, offset)?,
        };
        self.records[sequence] = Record {
            tag: user_data,
            state: State::Committed {
                offset: slot,
                start,
                length,
            },
        };
        if sequence == self.edge.sequence {
            self.publish(u64::MAX);
        }
        Ok(())
    }

    /// [`Transmitter::commit`] for the usual case: a plain frame, in the oldest reservation that
    /// is open, with nothing between it and what the kernel has. False, and nothing done, where
    /// the case is any other.
    #[inline(always)]
    pub fn commit_next(
        &mut self,
        reference: u64,
        length: u32,
        offset: u32,
        user_data: u64,
    ) -> bool {
        let Cursor { place, sequence } = self.edge;
        let slot = place.offset;
        let record = &mut self.records[sequence];
        // Behind the tail no record is reserved.
        if reference != self.base.wrapping_add(sequence)
            || record.state != (State::Reserved { offset: slot })
            || offset != 0
            || length < self.usual.least
            || length > self.usual.most
        {
            return false;
        }
        let start = self.slots.data_start() as u16;
        *record = Record {
            tag: user_data,
            state: State::Published {
                offset: slot,
                start,
                length,
            },
        };
        self.slots.publish(slot, start, length);
        self.edge = Cursor {
            place: self.lane.next(place),
            sequence: sequence + 1,
        };
        match self.edge.sequence == self.tail.sequence {
            true => self.counters.set_in_flight(self.in_flight()),
            false => self.publish(u64::MAX),
        }
        true
    }

    /// Gives the reserved slot back unsent.
    pub fn abort(&mut self, reference: u64) -> Result<()> {
        let (sequence, _) = self.reservation(reference)?;
        self.records[sequence].state = State::Aborted;
        self.close_gaps();
        Ok(())
    }

    /// To be called when frames were given up.
    fn close_gaps(&mut self) {
        self.forget_aborted();
        self.publish(u64::MAX);
        self.retract();
    }

    /// Drops the records of the newest frames that were given up, so that a program which
    /// reserves and then finds nothing to send does not push out completions.
    fn forget_aborted(&mut self) {
        let oldest = self.oldest();
        let mut newest = self.tail.sequence;
        while newest > oldest && self.records[newest - 1].state == State::Aborted {
            newest -= 1;
        }
        if newest < self.tail.sequence {
            // A multiple of the capacity, by which reservations find their record; and no more
            // sequence numbers than that are used again.
            self.base = self.base.wrapping_add(self.records.capacity());
        }
        // Such records hold no slot, so the places stay.
        for cursor in [
            &mut self.settled,
            &mut self.head,
            &mut self.edge,
            &mut self.tail,
        ] {
            cursor.sequence = cursor.sequence.min(newest);
        }
    }

    /// The record and slot of an open reservation.
    #[inline(always)]
    fn reservation(&self, reference: u64) -> Result<(u64, usize)> {
        let first = self.edge.sequence;
        let index = reference.wrapping_sub(self.base);
        let ahead = self.records.index(index.wrapping_sub(first));
        if ahead >= self.tail.sequence - first {
            return Err(Error::NotHeld("this slot"));
        }
        match self.records[first + ahead] {
            Record {
                tag,
                state: State::Reserved { offset },
            } if tag == reference => Ok((first + ahead, offset)),
            _ => Err(Error::NotHeld("this slot")),
        }
    }

    /// Where in its slot a frame starts that is not a plain one of usual length.
    #[cold]
    fn check<K: Kernel>(
        &mut self,
        kernel: &mut K,
        slot: usize,
        length: u32,
        offset: u32,
    ) -> Result<u16> {
        if offset != 0 && !self.slots.placed() {
            return Err(invalid!(
                "slot.offset {offset} must be 0: the handle was not set to place frames freely"
            ));
        }
        let start = offset
            .checked_add(self.slots.data_start())
            .and_then(|start| u16::try_from(start).ok())
            .ok_or_else(|| invalid!("slot.offset {offset} is beyond what a header can express"))?;
        let room = self.slots.room().saturating_sub(offset);
        if length > room {
            return Err(Error::FrameLength {
                length: length.into(),
                least: self.limits.least(),
                most: self.limits.longest().min(room),
            });
        }
        let tagged = || self.slots.tagged(slot, start);
        if self.limits.check(length, tagged).is_err() {
            self.refresh(kernel);
            let tagged = || self.slots.tagged(slot, start);
            self.limits.check(length, tagged)?;
        }
        Ok(start)
    }

    /// Learns the MTU anew. An interface that cannot be asked keeps its old one.
    fn refresh<K: Kernel>(&mut self, kernel: &mut K) {
        if let Ok(mtu) = kernel.mtu() {
            self.set_limits(Limits { mtu, ..self.limits });
        }
    }

    /// Publishes at most `most` committed frames, up to the first open reservation.
    #[inline(never)]
    fn publish(&mut self, most: u64) {
        let limit = match self.stamps {
            None => self.edge.place.count.saturating_add(most),
            Some(ref stamps) => {
                let burst = self.head.place.count + stamps.burst;
                self.edge.place.count.saturating_add(most).min(burst)
            }
        };
        while self.edge.sequence < self.tail.sequence && self.edge.place.count < limit {
            match self.records[self.edge.sequence].state {
                State::Committed {
                    offset,
                    start,
                    length,
                } => self.publish_one(offset, start, length),
                State::Reserved { .. } => break,
                _ => {}
            }
            self.edge.sequence += 1;
        }
        if self.edge.sequence == self.tail.sequence {
            self.tail.place = self.edge.place;
        }
        self.counters.set_in_flight(self.in_flight());
    }

    #[inline(always)]
    fn publish_one(&mut self, offset: usize, start: u16, length: u32) {
        let slot = self.edge.place.offset;
        if slot != offset {
            self.slots.copy(offset, slot, start, length);
        }
        self.slots.publish(slot, start, length);
        self.records[self.edge.sequence].state = State::Published {
            offset: slot,
            start,
            length,
        };
        self.edge.place = self.lane.next(self.edge.place);
    }

    /// Moves the tail back over slots that nobody uses any more.
    fn retract(&mut self) {
        let used = (self.edge.sequence..self.tail.sequence)
            .rev()
            .find_map(|sequence| match self.records[sequence].state {
                State::Reserved { offset } | State::Committed { offset, .. } => Some(offset),
                _ => None,
            });
        self.tail.place = match used {
            Some(offset) => self.lane.next(self.lane.find(offset, self.edge.place)),
            None => self.edge.place,
        };
    }

    /// The first published record from `sequence` on, or the edge.
    fn published(&self, mut sequence: u64) -> u64 {
        while sequence < self.edge.sequence
            && !matches!(self.records[sequence].state, State::Published { .. })
        {
            sequence += 1;
        }
        sequence
    }

    /// Learns from the status words which frames the kernel is done with. In order, although
    /// the kernel may be done with a later frame first. With one that was copied it is done as
    /// soon as it took it; the record keeps saying that the frame is published.
    #[inline(never)]
    pub fn reap(&mut self) {
        if self.slots.copied() {
            self.head.sequence = self.published(self.head.sequence);
            self.settled = self.head;
            return self.counters.set_in_flight(self.in_flight());
        }
        let (mut frames, mut bytes) = (0, 0);
        let (mut settled, edge) = (self.settled, self.edge.sequence);
        while settled.sequence < edge {
            let record = &mut self.records[settled.sequence];
            if let State::Published { length, .. } = record.state {
                let stamp = match self.slots.finished(settled.place.offset) {
                    Some(stamp) => stamp,
                    None => break,
                };
                // One without a timestamp may keep saying that it is published.
                if stamp.clock != 0 {
                    record.state = State::Sent {
                        clock: stamp.clock,
                        length,
                        timestamp: stamp.time,
                    };
                }
                settled.place = self.lane.next(settled.place);
                frames += 1;
                bytes += u64::from(length);
            }
            settled.sequence += 1;
        }
        self.settled = settled;
        if self.head.sequence < self.settled.sequence {
            self.head = self.settled;
        }
        if frames > 0 {
            self.counters.sent(frames, bytes);
            self.counters.set_in_flight(self.in_flight());
        }
    }

    /// Writes what became of finished frames into `out`, oldest first, each once. The result is
    /// how many.
    pub fn complete(&mut self, out: &mut [Completion]) -> usize {
        self.reap();
        self.finished(out)
    }

    /// The same, with the timestamps that came through the error queue.
    pub fn complete_stamped<K: Kernel>(&mut self, kernel: &mut K, out: &mut [Completion]) -> usize {
        // In this order: a frame is stamped before the kernel gives it back.
        self.reap();
        self.collect_stamps(kernel);
        self.finished(out)
    }

    fn collect_stamps<K: Kernel>(&mut self, kernel: &mut K) {
        let oldest = self.oldest();
        if let Some(stamps) = &mut self.stamps {
            stamps.collect(kernel, oldest);
        }
    }

    fn finished(&mut self, out: &mut [Completion]) -> usize {
        let mut written = 0;
        self.oldest = self.oldest();
        while written < out.len() && self.oldest < self.settled.sequence {
            let record = self.records[self.oldest];
            if let Some(mut completion) = completion(&record) {
                let stamps = self.stamps.as_mut();
                if let Some(stamp) = stamps.and_then(|stamps| stamps.take(self.oldest)) {
                    completion.timestamp = stamp.time;
                    completion.status = clock_status(stamp.clock);
                }
                out[written] = completion;
                written += 1;
            }
            self.oldest += 1;
        }
        written
    }
}

/// The completion of a frame that is settled; `None` for one that was given up.
fn completion(record: &Record) -> Option<Completion> {
    let user_data = record.tag;
    match record.state {
        State::Published { length, .. } => Some(Completion {
            user_data,
            length,
            ..Completion::default()
        }),
        State::Sent {
            clock,
            length,
            timestamp,
        } => Some(Completion {
            user_data,
            timestamp,
            length,
            status: clock_status(clock),
            ..Completion::default()
        }),
        State::Refused { errno, length } => Some(Completion {
            user_data,
            length,
            error: -errno,
            ..Completion::default()
        }),
        _ => None,
    }
}
