//! Memory layouts that the kernel has frozen in `<linux/if_packet.h>`, as offsets.
//!
//! Ring memory is only ever read and written field by field at an offset, never through a
//! struct reference, because the kernel writes it too. The structs of the `libc` crate serve
//! as the reference: every offset here is checked against them when the crate is compiled.

use libc::{sockaddr_ll, tpacket2_hdr, tpacket3_hdr, tpacket_hdr, tpacket_req, tpacket_req3};
use std::os::raw::c_ulong;

/// Headers and frames start at multiples of this many bytes (`TPACKET_ALIGNMENT`).
pub const ALIGNMENT: usize = 16;

/// `n` rounded up to a multiple of [`ALIGNMENT`], as the kernel's `TPACKET_ALIGN` does.
pub const fn align(n: usize) -> usize {
    (n + ALIGNMENT - 1) & !(ALIGNMENT - 1)
}

/// `struct sockaddr_ll`, 20 bytes behind every receive header.
pub const SLL_LEN: usize = 20;

/// TPACKET_V1 frame header: `struct tpacket_hdr`. Its status is an `unsigned long`.
pub mod v1 {
    /// Bytes of the status word.
    pub const STATUS_LEN: usize = std::mem::size_of::<super::c_ulong>();
    pub const STATUS: usize = 0;
    /// Where the 32 bits of the status are that all its flags are in.
    pub const STATUS_LOW: usize = if cfg!(target_endian = "big") {
        STATUS_LEN - 4
    } else {
        0
    };
    pub const LEN: usize = STATUS_LEN;
    pub const SNAPLEN: usize = STATUS_LEN + 4;
    pub const MAC: usize = STATUS_LEN + 8;
    pub const NET: usize = STATUS_LEN + 10;
    pub const SEC: usize = STATUS_LEN + 12;
    pub const USEC: usize = STATUS_LEN + 16;
    /// Where `sockaddr_ll` starts, and where transmit data starts.
    pub const SLL: usize = super::align(STATUS_LEN + 20);
    /// `TPACKET_HDRLEN`: the least frame size without reserve.
    pub const HDRLEN: usize = SLL + super::SLL_LEN;
}

/// TPACKET_V2 frame header: `struct tpacket2_hdr`.
pub mod v2 {
    pub const STATUS: usize = 0;
    pub const LEN: usize = 4;
    pub const SNAPLEN: usize = 8;
    pub const MAC: usize = 12;
    pub const NET: usize = 14;
    pub const SEC: usize = 16;
    pub const NSEC: usize = 20;
    pub const VLAN_TCI: usize = 24;
    pub const VLAN_TPID: usize = 26;
    /// Where `sockaddr_ll` starts, and where transmit data starts.
    pub const SLL: usize = 32;
    /// `TPACKET2_HDRLEN`: the least frame size without reserve.
    pub const HDRLEN: usize = SLL + super::SLL_LEN;
}

/// TPACKET_V3 frame header: `struct tpacket3_hdr`.
pub mod v3 {
    pub const NEXT: usize = 0;
    pub const SEC: usize = 4;
    pub const NSEC: usize = 8;
    pub const SNAPLEN: usize = 12;
    pub const LEN: usize = 16;
    pub const STATUS: usize = 20;
    pub const MAC: usize = 24;
    pub const NET: usize = 26;
    pub const RXHASH: usize = 28;
    pub const VLAN_TCI: usize = 32;
    pub const VLAN_TPID: usize = 36;
    /// Where `sockaddr_ll` starts, and where transmit data starts.
    pub const SLL: usize = 48;
    /// `TPACKET3_HDRLEN`: the least frame size without reserve.
    pub const HDRLEN: usize = SLL + super::SLL_LEN;
}

/// TPACKET_V3 block: `struct tpacket_block_desc` with its `tpacket_hdr_v1`.
pub mod block {
    pub const STATUS: usize = 8;
    pub const NUM_PKTS: usize = 12;
    pub const FIRST_PKT: usize = 16;
    pub const LEN: usize = 20;
    pub const SEQ_NUM: usize = 24;
    pub const FIRST_SEC: usize = 32;
    pub const FIRST_NSEC: usize = 36;
    pub const LAST_SEC: usize = 40;
    pub const LAST_NSEC: usize = 44;
    /// Bytes before the private area (`BLK_PLUS_PRIV(0)`).
    pub const HDRLEN: usize = 48;
    /// Frames and the private area inside a block start at multiples of this.
    pub const ALIGNMENT: usize = 8;
}

/// The bits of a transmit status that tell who owns the frame; timestamp bits may stand beside.
pub const TX_OWNER: u32 =
    libc::TP_STATUS_SEND_REQUEST | libc::TP_STATUS_SENDING | libc::TP_STATUS_WRONG_FORMAT;

/// `struct packet_mreq_max`: a membership with an address of any length.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MembershipRequest {
    pub ifindex: i32,
    pub kind: u16,
    pub length: u16,
    pub address: [u8; 32],
}
const _: () = assert!(std::mem::size_of::<MembershipRequest>() == 40);

// The checks. Each header is written with a different number in every field, its low byte first, and
// then looked at as bytes: a number found at the offset named above proves that the field stands there.
// (`offset_of!` would say it directly, but needs a newer compiler than this crate promises.)
macro_rules! assert_at {
    ($bytes:ident, $value:expr, $($offset:expr),+ $(,)?) => {{
        let mut value = $value;
        $(assert!($bytes[$offset] == value); value += 1;)+
        let _ = value;
    }};
}

const _: () = {
    assert!(std::mem::size_of::<sockaddr_ll>() == SLL_LEN);
    assert!(std::mem::size_of::<tpacket_req>() == 16);
    assert!(std::mem::size_of::<tpacket_req3>() == 28);
    assert!(align(std::mem::size_of::<tpacket_hdr>()) == v1::SLL);
    assert!(align(std::mem::size_of::<tpacket2_hdr>()) == v2::SLL);
    assert!(std::mem::size_of::<tpacket3_hdr>() == v3::SLL);
};

const _: () = {
    let header = tpacket_hdr {
        tp_status: c_ulong::to_le(1),
        tp_len: u32::to_le(2),
        tp_snaplen: u32::to_le(3),
        tp_mac: u16::to_le(4),
        tp_net: u16::to_le(5),
        tp_sec: u32::to_le(6),
        tp_usec: u32::to_le(7),
    };
    const SIZE: usize = std::mem::size_of::<tpacket_hdr>();
    // SAFETY: only the bytes at field offsets are looked at below, and those are initialised.
    let b: [std::mem::MaybeUninit<u8>; SIZE] = unsafe { std::mem::transmute(header) };
    const fn at(b: &[std::mem::MaybeUninit<u8>; SIZE], i: usize) -> u8 {
        // SAFETY: asked for field offsets alone; a field byte is initialised.
        unsafe { b[i].assume_init() }
    }
    let b: [u8; 7] = [
        at(&b, v1::STATUS),
        at(&b, v1::LEN),
        at(&b, v1::SNAPLEN),
        at(&b, v1::MAC),
        at(&b, v1::NET),
        at(&b, v1::SEC),
        at(&b, v1::USEC),
    ];
    assert_at!(b, 1, 0, 1, 2, 3, 4, 5, 6);
};

const _: () = {
    let header = tpacket2_hdr {
        tp_status: u32::to_le(1),
        tp_len: u32::to_le(2),
        tp_snaplen: u32::to_le(3),
        tp_mac: u16::to_le(4),
        tp_net: u16::to_le(5),
        tp_sec: u32::to_le(6),
        tp_nsec: u32::to_le(7),
        tp_vlan_tci: u16::to_le(8),
        tp_vlan_tpid: u16::to_le(9),
        tp_padding: [0; 4],
    };
    // SAFETY: tpacket2_hdr is 32 bytes of integers without padding.
    let b: [u8; 32] = unsafe { std::mem::transmute(header) };
    assert_at!(
        b,
        1,
        v2::STATUS,
        v2::LEN,
        v2::SNAPLEN,
        v2::MAC,
        v2::NET,
        v2::SEC,
        v2::NSEC,
        v2::VLAN_TCI,
        v2::VLAN_TPID,
    );
};

const _: () = {
    let header = tpacket3_hdr {
        tp_next_offset: u32::to_le(1),
        tp_sec: u32::to_le(2),
        tp_nsec: u32::to_le(3),
        tp_snaplen: u32::to_le(4),
        tp_len: u32::to_le(5),
        tp_status: u32::to_le(6),
        tp_mac: u16::to_le(7),
        tp_net: u16::to_le(8),
        hv1: libc::tpacket_hdr_variant1 {
            tp_rxhash: u32::to_le(9),
            tp_vlan_tci: u32::to_le(10),
            tp_vlan_tpid: u16::to_le(11),
            tp_padding: 0,
        },
        tp_padding: [0; 8],
    };
    // SAFETY: tpacket3_hdr is 48 bytes of integers without padding.
    let b: [u8; 48] = unsafe { std::mem::transmute(header) };
    assert_at!(
        b,
        1,
        v3::NEXT,
        v3::SEC,
        v3::NSEC,
        v3::SNAPLEN,
        v3::LEN,
        v3::STATUS,
        v3::MAC,
        v3::NET,
        v3::RXHASH,
        v3::VLAN_TCI,
        v3::VLAN_TPID,
    );
};

const _: () = {
    let descriptor = libc::tpacket_block_desc {
        version: 0,
        offset_to_priv: 0,
        hdr: libc::tpacket_bd_header_u {
            bh1: libc::tpacket_hdr_v1 {
                block_status: u32::to_le(1),
                num_pkts: u32::to_le(2),
                offset_to_first_pkt: u32::to_le(3),
                blk_len: u32::to_le(4),
                seq_num: u64::to_le(5),
                ts_first_pkt: libc::tpacket_bd_ts {
                    ts_sec: u32::to_le(6),
                    ts_usec: u32::to_le(7),
                },
                ts_last_pkt: libc::tpacket_bd_ts {
                    ts_sec: u32::to_le(8),
                    ts_usec: u32::to_le(9),
                },
            },
        },
    };
    // SAFETY: tpacket_block_desc is 48 bytes of integers without padding.
    let b: [u8; block::HDRLEN] = unsafe { std::mem::transmute(descriptor) };
    assert_at!(
        b,
        1,
        block::STATUS,
        block::NUM_PKTS,
        block::FIRST_PKT,
        block::LEN,
        block::SEQ_NUM,
        block::FIRST_SEC,
        block::FIRST_NSEC,
        block::LAST_SEC,
        block::LAST_NSEC,
    );
};
