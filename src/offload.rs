//! What is left to do on a frame: checksums and segmentation.

#![forbid(unsafe_code)]

use crate::ring::map::Header;
use crate::rx::HeldFrame;
use libc::{TP_STATUS_CSUMNOTREADY, TP_STATUS_CSUM_VALID};

/// Bytes of the virtio_net header that the kernel writes before a received frame. It has this
/// size even where 12 were asked for; the field behind it is not written.
pub const VNET_LENGTH: usize = 10;

/// `flags` of [`Vnet`]: a checksum is to be filled in.
pub const NEEDS_CSUM: u8 = 1;
/// `gso_type` of [`Vnet`]: nothing to cut.
pub const GSO_NONE: u8 = 0;
/// `gso_type` of [`Vnet`]: UDP datagrams.
pub const GSO_UDP_L4: u8 = 5;

/// What is left to do on a frame: struct virtio_net_hdr_mrg_rxbuf of linux/virtio_net.h, and
/// without its last field struct virtio_net_hdr. All numbers are in the host's byte order.
///
/// On a handle with pktring_set_vnet_header(), frames to transmit start with the first 10 or all
/// 12 bytes of it; those of received frames are told by pktring_frame_vnet().
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vnet {
    /// PKTRING_VNET_NEEDS_CSUM and PKTRING_VNET_DATA_VALID.
    pub flags: u8,
    /// PKTRING_VNET_GSO_*.
    pub gso_type: u8,
    /// Bytes of all headers of the frame together.
    pub hdr_len: u16,
    /// Payload bytes of each packet that the frame is to be cut into.
    pub gso_size: u16,
    /// With PKTRING_VNET_NEEDS_CSUM: offset in the frame of the first byte that the checksum
    /// covers.
    pub csum_start: u16,
    /// With PKTRING_VNET_NEEDS_CSUM: offset of the checksum from csum_start. There must be the
    /// sum of the pseudo header.
    pub csum_offset: u16,
    /// 0. Only in headers of 12 bytes.
    pub num_buffers: u16,
}

impl Vnet {
    /// From the bytes of the kernel's struct.
    fn from_bytes(bytes: [u8; VNET_LENGTH]) -> Vnet {
        let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        Vnet {
            flags: bytes[0],
            gso_type: bytes[1],
            hdr_len: word(2),
            gso_size: word(4),
            csum_start: word(6),
            csum_offset: word(8),
            num_buffers: 0,
        }
    }

    /// The bytes of the kernel's struct; all 12.
    pub fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[0] = self.flags;
        bytes[1] = self.gso_type;
        let words = [
            self.hdr_len,
            self.gso_size,
            self.csum_start,
            self.csum_offset,
            self.num_buffers,
        ];
        for (at, word) in (2..).step_by(2).zip(words) {
            bytes[at..at + 2].copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}

/// The virtio_net header of a received frame of a socket that has them.
pub fn vnet(held: &HeldFrame) -> Option<Vnet> {
    let header = held.header()?;
    held.read(&header, VNET_LENGTH).map(Vnet::from_bytes)
}

/// Notes in the virtio_net header that `by` bytes came on top of the headers.
pub fn shift(held: &HeldFrame, header: &Header, by: u16) {
    let mut vnet = match held.read(header, VNET_LENGTH) {
        Some(bytes) => Vnet::from_bytes(bytes),
        None => return,
    };
    if vnet.flags & NEEDS_CSUM != 0 {
        vnet.csum_start = vnet.csum_start.saturating_add(by);
    }
    if vnet.gso_type != GSO_NONE {
        vnet.hdr_len = vnet.hdr_len.saturating_add(by);
    }
    held.write(header, VNET_LENGTH, &vnet.to_bytes()[..VNET_LENGTH]);
}

/// What is known of the transport checksum in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Nobody looked at it.
    Unknown,
    /// It is right.
    Valid,
    /// It is not in the frame yet.
    Pending,
}

impl Checksum {
    /// What the status of a received frame says.
    pub fn of(status: u32) -> Checksum {
        if status & TP_STATUS_CSUMNOTREADY != 0 {
            Checksum::Pending
        } else if status & TP_STATUS_CSUM_VALID != 0 {
            Checksum::Valid
        } else {
            Checksum::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_the_kernels_layout() {
        let vnet = Vnet {
            flags: 1,
            gso_type: 5,
            hdr_len: 0x0102,
            gso_size: 0x0304,
            csum_start: 0x0506,
            csum_offset: 0x0708,
            num_buffers: 0x090a,
        };
        let bytes = vnet.to_bytes();
        assert_eq!(bytes[..2], [1, 5]);
        assert_eq!(bytes[2..4], 0x0102u16.to_ne_bytes());
        assert_eq!(bytes[10..], 0x090au16.to_ne_bytes());
        assert_eq!(std::mem::size_of::<Vnet>(), bytes.len());
        let mut ten = [0; VNET_LENGTH];
        ten.copy_from_slice(&bytes[..VNET_LENGTH]);
        let back = Vnet::from_bytes(ten);
        assert_eq!(
            back,
            Vnet {
                num_buffers: 0,
                ..vnet
            }
        );
    }

    #[test]
    fn a_checksum_that_is_not_computed_is_not_valid() {
        let both = TP_STATUS_CSUMNOTREADY | TP_STATUS_CSUM_VALID;
        assert_eq!(Checksum::of(both), Checksum::Pending);
        assert_eq!(Checksum::of(TP_STATUS_CSUM_VALID), Checksum::Valid);
        assert_eq!(Checksum::of(libc::TP_STATUS_USER), Checksum::Unknown);
    }
}
