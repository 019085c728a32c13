//! The header in the ring of a frame that the caller holds.

use crate::frame::{Address, Frame};
use crate::ring::geometry::Version;
use crate::ring::map::{Header, View};
use crate::sys::layout::{v1, v2, v3, SLL_LEN};

/// A held frame's place in the ring.
pub struct HeldFrame<'a> {
    pub(super) view: &'a View,
    pub version: Version,
    at: usize,
}

/// Offset of the `sockaddr_ll` in a slot.
const fn sll(version: Version) -> usize {
    match version {
        Version::V1 => v1::SLL,
        Version::V2 => v2::SLL,
        Version::V3 => v3::SLL,
    }
}

impl<'a> HeldFrame<'a> {
    /// The frame whose address is at `addr`; `None` where that is no place in the ring, or the
    /// header there is not one of a frame that the kernel handed over.
    pub(super) fn find(
        view: &'a View,
        version: Version,
        addr: *const Address,
    ) -> Option<HeldFrame<'a>> {
        let at = view
            .offset_of(addr.cast())
            .checked_sub(sll(version))
            .filter(|at| *at < view.len())?;
        let held = HeldFrame { view, version, at };
        let user = held.header()?.status & libc::TP_STATUS_USER != 0;
        user.then_some(held)
    }

    /// What the header says now.
    pub fn header(&self) -> Option<Header> {
        match self.version {
            Version::V1 => self
                .view
                .v1_header(self.at, self.view.u32(self.at + v1::STATUS_LOW)?),
            Version::V2 => self.view.v2_header(self.at, self.view.u32(self.at)?),
            Version::V3 => self.view.v3_header(self.at),
        }
    }

    /// Bytes in front of the frame's data that nothing else is in.
    pub fn headroom(&self, header: &Header) -> usize {
        usize::from(header.mac).saturating_sub(sll(self.version) + SLL_LEN)
    }

    /// The descriptor for this header.
    pub fn descriptor(&self, header: &Header, number: u64) -> Option<Frame> {
        self.view.frame(self.at, sll(self.version), header, number)
    }

    /// Reads `N` bytes that start `back` bytes in front of the data.
    pub fn read<const N: usize>(&self, header: &Header, back: usize) -> Option<[u8; N]> {
        let start = (self.at + usize::from(header.mac)).checked_sub(back)?;
        let mut bytes = [0; N];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = self.view.byte(start + i)?;
        }
        Some(bytes)
    }

    /// Whether the data starts with `bytes`.
    pub fn starts_with(&self, bytes: &[u8]) -> bool {
        self.header().map_or(false, |header| {
            let data = self.at + usize::from(header.mac);
            (data..)
                .zip(bytes)
                .all(|(at, byte)| self.view.byte(at) == Some(*byte))
        })
    }

    /// Moves the `length` bytes that start `back` bytes in front of the data `by` bytes further
    /// to the front.
    pub fn move_up(&self, header: &Header, back: usize, length: usize, by: usize) -> bool {
        match (self.at + usize::from(header.mac)).checked_sub(back + by) {
            Some(to) => self.view.copy_within(to + by, to, length),
            None => false,
        }
    }

    /// Writes `bytes` so that they start `back` bytes in front of the data.
    pub fn write(&self, header: &Header, back: usize, bytes: &[u8]) -> bool {
        match (self.at + usize::from(header.mac)).checked_sub(back) {
            Some(to) => self.view.write(to, bytes),
            None => false,
        }
    }

    /// Writes `bytes` into the data, `ahead` bytes from its start.
    pub fn write_behind(&self, header: &Header, ahead: usize, bytes: &[u8]) -> bool {
        self.view
            .write(self.at + usize::from(header.mac) + ahead, bytes)
    }

    /// Writes the fields that tell where the frame is, and its status.
    pub fn set_header(&self, header: &Header) {
        let (status, len, snaplen, mac) = match self.version {
            Version::V1 => (v1::STATUS_LOW, v1::LEN, v1::SNAPLEN, v1::MAC),
            Version::V2 => (v2::STATUS, v2::LEN, v2::SNAPLEN, v2::MAC),
            Version::V3 => (v3::STATUS, v3::LEN, v3::SNAPLEN, v3::MAC),
        };
        self.view.set_u32(self.at + len, header.len);
        self.view.set_u32(self.at + snaplen, header.snaplen);
        self.view.set_u16(self.at + mac, header.mac);
        // The slot stays the program's: the kernel looks at this word for 0 alone.
        self.view.set_u32(self.at + status, header.status);
    }
}
