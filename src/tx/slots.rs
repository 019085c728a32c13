//! The slots of a transmit ring: headers, status words and data.

use super::Config;
use crate::ring::geometry::{Mode, Version};
use crate::ring::map::View;
use crate::ring::status::{Word, Word32, WordLong};
use crate::sys::layout::{v1, v2, v3, TX_OWNER};
use libc::{iovec, TP_STATUS_AVAILABLE, TP_STATUS_SENDING, TP_STATUS_SEND_REQUEST};
use std::io::IoSlice;
use std::ptr::NonNull;

/// The bits of a status that tell which clock a timestamp is of.
const CLOCKS: u32 =
    libc::TP_STATUS_TS_SOFTWARE | libc::TP_STATUS_TS_SYS_HARDWARE | libc::TP_STATUS_TS_RAW_HARDWARE;

/// [`CLOCKS`] are in the highest byte of a status.
const CLOCK_SHIFT: u32 = 24;
const _: () = assert!(CLOCKS >> CLOCK_SHIFT << CLOCK_SHIFT == CLOCKS);

/// Who owns a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The kernel has not looked at it.
    Waiting,
    /// The kernel is sending it.
    Sending,
    /// This program; the kernel took the frame and is done with it.
    Program,
    /// Neither: the kernel refused the frame and stands still before it.
    Refused,
}

/// When a frame was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The clock bits of the status, shifted into a byte; 0 for no timestamp.
    pub clock: u8,
    /// Nanoseconds since the epoch.
    pub time: u64,
}

impl Stamp {
    /// The time `time` of the clock that the status bits `clock` name.
    pub fn new(clock: u32, time: u64) -> Stamp {
        Stamp {
            clock: (clock >> CLOCK_SHIFT) as u8,
            time,
        }
    }
}

/// The clock bits of a status word that `clock` of a [`Stamp`] stands for.
pub fn clock_status(clock: u8) -> u32 {
    u32::from(clock) << CLOCK_SHIFT
}

/// A transmit ring as an array of slots, each named by its byte offset.
pub struct Slots {
    view: View,
    /// Whether frames are copied from here. Then the kernel does not know the slots, and their
    /// headers are of no meaning.
    copied: bool,
    version: Version,
    mode: Mode,
    /// Whether the kernel reads from the header where the frame starts (`PACKET_TX_HAS_OFF`).
    placed: bool,
    /// Offset of the first byte in a slot that a frame may use, and bytes from there on.
    data_start: u32,
    room: u32,
    /// Offset in a header.
    status_at: usize,
}

impl Slots {
    /// The slots in `view`, or `None` when the view is too short.
    pub fn new(view: View, config: &Config) -> Option<Slots> {
        let Config { ring, version, .. } = config;
        let status_at = match version {
            Version::V1 => v1::STATUS,
            Version::V2 => v2::STATUS,
            Version::V3 => v3::STATUS,
        };
        let fits = view.len() as u64 >= ring.bytes()
            && ring.frame_size as usize > version.tx_data_offset();
        let header = version.tx_data_offset() as u32;
        fits.then(|| Slots {
            view,
            copied: config.copied,
            version: *version,
            mode: config.mode,
            placed: config.placed,
            // Without a header short frames lie in one cache line.
            data_start: if config.copied { 0 } else { header },
            room: ring.frame_size - header,
            status_at,
        })
    }

    /// Whether frames are copied from here, not sent by the kernel's ring.
    #[inline(always)]
    pub fn copied(&self) -> bool {
        self.copied
    }

    /// Offset of the first byte in a slot that a frame may use.
    #[inline(always)]
    pub fn data_start(&self) -> u32 {
        self.data_start
    }

    /// Bytes of a slot that a frame may use.
    #[inline(always)]
    pub fn room(&self) -> u32 {
        self.room
    }

    /// Whether a frame may start anywhere in its slot.
    pub fn placed(&self) -> bool {
        self.placed
    }

    /// The address of the first `len` bytes that a frame may use.
    #[inline(always)]
    pub fn data(&self, slot: usize, len: u32) -> Option<NonNull<u8>> {
        self.view
            .pointer(slot + self.data_start() as usize, len as usize)
    }

    /// Copies `parts` to the start of the data, one behind the other; false when they do not fit.
    pub fn fill(&self, slot: usize, parts: &[IoSlice]) -> bool {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut at = slot + self.data_start() as usize;
        length <= self.room() as usize
            && parts.iter().all(|part| {
                let start = at;
                at += part.len();
                self.view.write(start, part)
            })
    }

    /// Whether the Ethernet frame at `start` of a slot carries an 802.1Q tag. The kernel makes
    /// room beyond the MTU for this tag alone, not for that of 802.1ad.
    pub fn tagged(&self, slot: usize, start: u16) -> bool {
        let word = self.view.u32(slot + start as usize + 12).unwrap_or(0);
        word.to_ne_bytes()[..2] == [0x81, 0x00]
    }

    #[inline(always)]
    fn status(&self, slot: usize) -> u32 {
        match self.version {
            Version::V1 => WordLong::load(&self.view, slot + self.status_at),
            _ => Word32::load(&self.view, slot + self.status_at),
        }
        // A slot outside of the view does not exist, and nobody will ever take it.
        .unwrap_or(TP_STATUS_SEND_REQUEST)
    }

    /// Who owns `slot` now.
    #[inline(always)]
    pub fn owner(&self, slot: usize) -> Owner {
        match self.status(slot) & TX_OWNER {
            TP_STATUS_AVAILABLE => Owner::Program,
            TP_STATUS_SENDING => Owner::Sending,
            TP_STATUS_SEND_REQUEST => Owner::Waiting,
            _ => Owner::Refused,
        }
    }

    /// Whether the kernel took the frame in `slot`, be it sent or still being sent.
    #[inline(always)]
    pub fn taken(&self, slot: usize) -> bool {
        matches!(self.owner(slot), Owner::Program | Owner::Sending)
    }

    /// When the frame in `slot` was sent, if the kernel is done with it.
    #[inline(always)]
    pub fn finished(&self, slot: usize) -> Option<Stamp> {
        let status = self.status(slot);
        if status & TX_OWNER != TP_STATUS_AVAILABLE {
            return None;
        }
        let clock = ((status & CLOCKS) >> CLOCK_SHIFT) as u8;
        let time = match clock {
            0 => 0,
            _ => self.time(slot),
        };
        Some(Stamp { clock, time })
    }

    #[cold]
    fn time(&self, slot: usize) -> u64 {
        let (sec, subsec, unit) = match self.version {
            Version::V1 => (v1::SEC, v1::USEC, 1_000),
            Version::V2 => (v2::SEC, v2::NSEC, 1),
            Version::V3 => (v3::SEC, v3::NSEC, 1),
        };
        let read = |at| u64::from(self.view.u32(slot + at).unwrap_or(0));
        read(sec) * 1_000_000_000 + read(subsec) * unit
    }

    /// Hands the frame of `length` bytes at `start` of `slot` to the kernel, if it looks here.
    #[inline(always)]
    pub fn publish(&self, slot: usize, start: u16, length: u32) {
        if self.copied {
            return;
        }
        let (mac, net) = match (self.placed, self.mode) {
            (false, _) => (0, 0),
            (true, Mode::Raw) => (start, 0),
            (true, Mode::Dgram) => (0, start),
        };
        match self.version {
            Version::V1 => self.view.set_v1_header(slot, length, mac, net),
            Version::V2 => self.view.set_v2_header(slot, length, mac, net),
            Version::V3 => self.view.set_v3_header(slot, length, mac, net),
        };
        self.set_status(slot, TP_STATUS_SEND_REQUEST);
    }

    /// Takes `slot` back from the kernel, which has not taken its frame yet. Allowed only while
    /// no `send` runs on the socket, since the kernel looks at transmit slots nowhere else.
    #[inline(always)]
    pub fn withdraw(&self, slot: usize) {
        if !self.copied {
            self.set_status(slot, TP_STATUS_AVAILABLE);
        }
    }

    #[inline(always)]
    fn set_status(&self, slot: usize, status: u32) {
        match self.version {
            Version::V1 => WordLong::store(&self.view, slot + self.status_at, status),
            _ => Word32::store(&self.view, slot + self.status_at, status),
        };
    }

    /// Where the frame of `length` bytes at `start` of `slot` is.
    #[inline(always)]
    pub fn frame(&self, slot: usize, start: u16, length: u32) -> Option<iovec> {
        let length = length as usize;
        let data = self.view.pointer(slot + start as usize, length)?;
        Some(iovec {
            iov_base: data.as_ptr().cast(),
            iov_len: length,
        })
    }

    /// Copies the frame of `length` bytes at `start` from one slot to another.
    pub fn copy(&self, from: usize, to: usize, start: u16, length: u32) {
        let start = start as usize;
        self.view
            .copy_within(from + start, to + start, length as usize);
    }
}
