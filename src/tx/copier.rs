//! Sending without a ring of the kernel's: the slots are this process's own memory, and what is
//! published in them is copied by `sendmmsg`.
//!
//! It treats the status words as the kernel does those of a transmit ring, so that everything
//! above needs not know which of the two it is: frames go out in the order of the slots, a slot
//! whose frame was taken becomes available, and a malformed frame is marked and holds up those
//! behind it.

use super::place::{Lane, Place};
use super::slots::{Owner, Slots};
use super::{Config, Result};
use crate::error::invalid;
use crate::ring::map::View;
use crate::sys::call::{Batch, Errno, PacketSocket, BATCH};
use libc::{iovec, sockaddr_ll};

const NONE: iovec = iovec {
    iov_base: std::ptr::null_mut(),
    iov_len: 0,
};

/// What sends the frames in the slots.
pub struct Copier {
    slots: Slots,
    lane: Lane,
    /// The slot that is sent next.
    at: Place,
    /// The frames of one batch.
    frames: Box<[iovec; BATCH]>,
    batch: Batch,
    /// Whether malformed frames are passed over (`PACKET_LOSS`).
    loss: bool,
}

impl Copier {
    /// For the slots in `view`, the same that the transmitter works.
    pub fn new(view: View, config: &Config, loss: bool) -> Result<Copier> {
        let lane = Lane::new(&config.ring);
        let slots = Slots::new(
            view,
            &config.ring,
            config.version,
            config.mode,
            config.placed,
        );
        Ok(Copier {
            slots: slots.ok_or_else(|| invalid!("the memory is shorter than the slots"))?,
            at: lane.first(),
            frames: Box::new([NONE; BATCH]),
            batch: Batch::new(),
            lane,
            loss,
        })
    }

    /// Sends what is published, without waiting, up to the first frame that is not taken.
    pub fn kick(
        &mut self,
        socket: &PacketSocket,
        to: Option<&sockaddr_ll>,
    ) -> std::result::Result<(), Errno> {
        loop {
            let count = self.gather();
            if count == 0 {
                return Ok(());
            }
            match self.batch.send(socket, &self.frames[..count], to) {
                Ok(sent) => self.done(sent),
                Err(libc::EMSGSIZE | libc::EINVAL) if self.loss => self.done(1),
                Err(errno) => {
                    if matches!(errno, libc::EMSGSIZE | libc::EINVAL) {
                        self.slots.reject(self.at.offset);
                    }
                    return Err(errno);
                }
            }
        }
    }

    /// Takes the frames that wait into the batch, as many as go in one call.
    fn gather(&mut self) -> usize {
        let mut place = self.at;
        let mut count = 0;
        // Not more than there are, so that none is met twice.
        let most = self.lane.slots();
        for frame in self.frames.iter_mut() {
            if count as u64 >= most || self.slots.owner(place.offset) != Owner::Waiting {
                break;
            }
            *frame = self.slots.frame(place.offset);
            place = self.lane.next(place);
            count += 1;
        }
        count
    }

    /// The next `count` frames were taken.
    fn done(&mut self, count: usize) {
        let mut place = self.at;
        for _ in 0..count {
            self.slots.withdraw(place.offset);
            place = self.lane.next(place);
        }
        self.at = place;
    }

    /// Goes on with the first slot, since no frame waits: slots that were just used are the ones
    /// that are in the processor's cache.
    pub fn rewind(&mut self) {
        self.at = self.lane.first();
    }
}
