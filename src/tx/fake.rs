//! A kernel that behaves as the real one was seen to, over memory that only the test maps.

use super::Kernel;
use crate::error::{Error, Result};
use crate::ring::geometry::{Ring, Version};
use crate::ring::map::View;
use crate::ring::status::{Word, Word32, WordLong};
use crate::sys::call::Errno;
use crate::sys::layout::{v1, v2, v3};
use libc::{
    iovec, TP_STATUS_AVAILABLE, TP_STATUS_SENDING, TP_STATUS_SEND_REQUEST, TP_STATUS_WRONG_FORMAT,
};
use std::collections::VecDeque;

/// First byte of a frame that is refused as malformed.
pub const BAD: u8 = 0xbb;
/// First byte of a frame that the queue always rejects.
pub const JAM: u8 = 0xcc;

pub struct Fake {
    pub view: View,
    pub ring: Ring,
    pub version: Version,
    pub placed: bool,
    pub least: u32,
    pub mtu: u32,
    /// What came out, in order.
    pub wire: Vec<Vec<u8>>,
    /// Whether frames stay SENDING until the test finishes them.
    pub slow: bool,
    /// Slots that are SENDING, oldest first.
    pub sending: Vec<usize>,
    /// How many may be.
    pub buffer: usize,
    /// What the next kicks answer without looking at the ring.
    pub answers: VecDeque<Errno>,
    /// The interface was down for a moment after so many frames.
    pub flap_after: Option<usize>,
    /// What the kicks after that answer.
    pub answers_after_flap: VecDeque<Errno>,
    /// How many more frames the queue rejects, whatever they are.
    pub rejections: u32,
    pub kicks: u32,
    pub count_shown: bool,
    /// If counted: the most slots that waited at a kick after the first.
    pub shown_again: u32,
    pub waits: u32,
    pub pauses: u32,
    pub clock: u64,
    /// The error that the n-th check returns, counted down.
    pub stop_after: Option<u32>,
    head: u32,
}

impl Fake {
    pub fn new(view: View, ring: Ring, version: Version) -> Fake {
        Fake {
            view,
            ring,
            version,
            placed: false,
            least: 14,
            mtu: 1500,
            wire: Vec::new(),
            slow: false,
            sending: Vec::new(),
            buffer: usize::MAX,
            answers: VecDeque::new(),
            flap_after: None,
            answers_after_flap: VecDeque::new(),
            rejections: 0,
            kicks: 0,
            count_shown: false,
            shown_again: 0,
            waits: 0,
            pauses: 0,
            clock: 1,
            stop_after: None,
            head: 0,
        }
    }

    pub fn status(&self, slot: usize) -> u32 {
        match self.version {
            Version::V1 => WordLong::load(&self.view, slot),
            Version::V2 => Word32::load(&self.view, slot),
            Version::V3 => Word32::load(&self.view, slot + v3::STATUS),
        }
        .unwrap()
    }

    fn waiting(&self) -> u32 {
        let slots = 0..self.ring.frames_per_block() * self.ring.block_count;
        let waits = |&i: &u32| self.status(self.ring.slot_offset(i)) == TP_STATUS_SEND_REQUEST;
        slots.filter(waits).count() as u32
    }

    fn set_status(&self, slot: usize, status: u32) {
        assert!(match self.version {
            Version::V1 => WordLong::store(&self.view, slot, status),
            Version::V2 => Word32::store(&self.view, slot, status),
            Version::V3 => Word32::store(&self.view, slot + v3::STATUS, status),
        });
    }

    /// Bytes of the ring, one by one.
    pub fn bytes(&self, at: usize, len: usize) -> Vec<u8> {
        (at..at + len)
            .map(|at| match at + 4 <= self.view.len() {
                true => self.view.u32(at).unwrap().to_ne_bytes()[0],
                false => self.view.u32(at - 3).unwrap().to_ne_bytes()[3],
            })
            .collect()
    }

    fn word(&self, slot: usize, v1: usize, v2: usize, v3: usize) -> u32 {
        let at = match self.version {
            Version::V1 => v1,
            Version::V2 => v2,
            Version::V3 => v3,
        };
        self.view.u32(slot + at).unwrap()
    }

    /// The frame in `slot`, or the reason to call it malformed.
    fn parse(&self, slot: usize) -> std::result::Result<Vec<u8>, Errno> {
        let length = self.word(slot, v1::LEN, v2::LEN, v3::LEN);
        let mac = self.word(slot, v1::MAC, v2::MAC, v3::MAC).to_ne_bytes();
        let mac = u32::from(u16::from_ne_bytes([mac[0], mac[1]]));
        let first = self.version.tx_data_offset() as u32;
        if self.version == Version::V3 && self.view.u32(slot).unwrap() != 0 {
            return Err(libc::EINVAL);
        }
        if length > self.ring.frame_size - first {
            return Err(libc::EMSGSIZE);
        }
        let start = match self.placed {
            true if mac < first || mac > self.ring.frame_size - length => return Err(libc::EINVAL),
            true => mac,
            false => first,
        };
        let frame = self.bytes(slot + start as usize, length as usize);
        self.judge(&frame).map(|()| frame)
    }

    /// The reason to call `frame` malformed.
    fn judge(&self, frame: &[u8]) -> std::result::Result<(), Errno> {
        if frame.len() > self.mtu as usize + 14 {
            return Err(libc::EMSGSIZE);
        }
        if frame.len() < self.least as usize || frame.first() == Some(&BAD) {
            return Err(libc::EINVAL);
        }
        Ok(())
    }

    /// Puts `frame` on the wire unless something is in its way.
    fn pass(&mut self, frame: Vec<u8>) -> std::result::Result<(), Errno> {
        if self.sending.len() >= self.buffer {
            return Err(libc::EAGAIN);
        }
        if self.flap_after == Some(self.wire.len()) {
            self.flap_after = None;
            self.answers.append(&mut self.answers_after_flap);
            return Err(libc::ENETDOWN);
        }
        if self.rejections > 0 {
            self.rejections -= 1;
            return Err(libc::ENOBUFS);
        }
        if frame.first() == Some(&JAM) {
            return Err(libc::ENOBUFS);
        }
        self.wire.push(frame);
        Ok(())
    }

    /// A system call begins.
    fn enter(&mut self) -> std::result::Result<(), Errno> {
        self.kicks += 1;
        if self.count_shown && self.kicks > 1 {
            self.shown_again = self.shown_again.max(self.waiting());
        }
        self.answers.pop_front().map_or(Ok(()), Err)
    }

    /// Gives the `nth` SENDING frame back, with a timestamp of that clock if `clock` is not 0.
    pub fn finish(&mut self, nth: usize, clock: u32, time: (u32, u32)) {
        let slot = self.sending.remove(nth);
        let (sec, subsec) = match self.version {
            Version::V1 => (v1::SEC, v1::USEC),
            Version::V2 => (v2::SEC, v2::NSEC),
            Version::V3 => (v3::SEC, v3::NSEC),
        };
        self.view.set_u32(slot + sec, time.0);
        self.view.set_u32(slot + subsec, time.1);
        self.set_status(slot, TP_STATUS_AVAILABLE | clock);
    }

    pub fn finish_all(&mut self) {
        while !self.sending.is_empty() {
            self.finish(0, 0, (0, 0));
        }
    }
}

impl Kernel for Fake {
    fn kick(&mut self) -> std::result::Result<(), Errno> {
        self.enter()?;
        let mut any = false;
        loop {
            let slot = self.ring.slot_offset(self.head);
            if self.status(slot) != TP_STATUS_SEND_REQUEST {
                return Ok(());
            }
            let frame = match self.parse(slot) {
                Ok(frame) => frame,
                Err(errno) => {
                    self.set_status(slot, TP_STATUS_WRONG_FORMAT);
                    return Err(errno);
                }
            };
            match self.pass(frame) {
                Ok(()) => any = true,
                Err(libc::EAGAIN | libc::ENETDOWN) if any => return Ok(()),
                Err(errno) => return Err(errno),
            }
            self.head = (self.head + 1) % (self.ring.frames_per_block() * self.ring.block_count);
            if self.slow {
                self.set_status(slot, TP_STATUS_SENDING);
                self.sending.push(slot);
            } else {
                self.set_status(slot, TP_STATUS_AVAILABLE);
            }
        }
    }

    fn send(&mut self, frames: &[iovec]) -> std::result::Result<usize, Errno> {
        self.enter()?;
        for (sent, frame) in frames.iter().enumerate() {
            let at = self.view.offset_of(frame.iov_base as *const u8);
            let bytes = self.bytes(at, frame.iov_len);
            match self.judge(&bytes).and_then(|()| self.pass(bytes)) {
                Err(errno) if sent == 0 => return Err(errno),
                Err(_) => return Ok(sent),
                Ok(()) => {}
            }
        }
        Ok(frames.len())
    }

    fn mtu(&mut self) -> std::result::Result<u32, Errno> {
        Ok(self.mtu)
    }

    fn now(&mut self) -> u64 {
        self.clock
    }

    fn check(&mut self) -> Result<()> {
        match &mut self.stop_after {
            Some(0) => Err(Error::Broken),
            Some(n) => {
                *n -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn wait(&mut self, ns: u64) -> Result<()> {
        self.waits += 1;
        self.clock += ns;
        if !self.sending.is_empty() && self.stop_after.is_none() {
            self.finish(0, 0, (0, 0));
        }
        Ok(())
    }

    fn pause(&mut self, ns: u64) {
        self.pauses += 1;
        self.clock += ns;
    }
}
