//! Putting the VLAN tag back that the kernel took off a frame.

#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::offload::{shift, VNET_LENGTH};
use crate::ring::geometry::{Mode, Version};
use crate::ring::map::Header;
use crate::rx::HeldFrame;
use libc::{TP_STATUS_VLAN_TPID_VALID, TP_STATUS_VLAN_VALID};

/// Bytes of a tag.
const TAG: usize = 4;

/// Bytes of the two addresses that stand before it.
const ADDRESSES: usize = 12;

/// EtherType of a tag whose own is not told: that of kernels before Linux 3.14, which took off
/// no other.
const DOT1Q: u16 = 0x8100;

/// Puts the tag of `held` back into the frame, in place: the two hardware addresses move into the
/// headroom, the payload stays. The header in the ring is changed with it, and so is `frame`.
/// `Ok(false)`: there is no tag, or it is back already.
pub fn reinsert(held: &HeldFrame, mode: Mode, vnet: bool, frame: &mut Frame) -> Result<bool> {
    if held.version == Version::V1 {
        return Err(Error::Unsupported(
            "V1 rings lose the VLAN tag of received frames; use PKTRING_V2 or PKTRING_V3",
        ));
    }
    if mode == Mode::Dgram {
        return Err(Error::Unsupported(
            "frames without their link-level header (PKTRING_DGRAM) have no place for a VLAN tag",
        ));
    }
    let corrupt = Error::NotHeld("the frame");
    let header = held.header().ok_or(corrupt)?;
    let tagged = header.status & TP_STATUS_VLAN_VALID != 0;
    let header = match tagged {
        true => insert(held, header, vnet)?,
        false => header,
    };
    // Also where another copy of the descriptor was used to put the tag back.
    if let Some(now) = held.descriptor(&header, frame.number) {
        *frame = now;
    }
    Ok(tagged)
}

fn insert(held: &HeldFrame, mut header: Header, vnet: bool) -> Result<Header> {
    let front = if vnet { VNET_LENGTH } else { 0 };
    if (header.snaplen as usize) < ADDRESSES {
        return Err(Error::Unsupported(
            "the frame was cut before the place of its VLAN tag",
        ));
    }
    if held.headroom(&header) < TAG + front {
        return Err(Error::Unsupported(
            "there is no room in front of the frame; set pktring_set_reserve to 16",
        ));
    }
    let tpid = match header.status & TP_STATUS_VLAN_TPID_VALID {
        0 => DOT1Q,
        _ => header.vlan_tpid,
    };
    let mut tag = [0; TAG];
    tag[..2].copy_from_slice(&tpid.to_be_bytes());
    tag[2..].copy_from_slice(&(header.vlan_tci as u16).to_be_bytes());
    held.move_up(&header, front, front + ADDRESSES, TAG);
    header.mac -= TAG as u16;
    header.snaplen += TAG as u32;
    header.len += TAG as u32;
    header.status &= !(TP_STATUS_VLAN_VALID | TP_STATUS_VLAN_TPID_VALID);
    held.set_header(&header);
    held.write_behind(&header, ADDRESSES, &tag);
    if vnet {
        shift(held, &header, TAG as u16);
    }
    Ok(header)
}
