//! Received frames whose tag, checksum or segmentation the kernel or the NIC dealt with.

use super::error::Place;
use super::handle::Handle;
use super::rx::missing;
use super::wall;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::offload::{self, Checksum, Vnet};
use crate::vlan;
use std::os::raw::{c_char, c_int};

/// Nobody has checked the transport checksum in the frame: check it yourself.
pub const PKTRING_CHECKSUM_UNKNOWN: u32 = 0;
/// The kernel or the NIC has checked it, and it is right.
pub const PKTRING_CHECKSUM_VALID: u32 = 1;
/// It is not in the frame yet: this host or a guest sent the frame and leaves the checksum to
/// hardware. Do not check it, and do not report it as wrong.
pub const PKTRING_CHECKSUM_PENDING: u32 = 2;

/// pktring_vnet.flags: a checksum is to be filled in (VIRTIO_NET_HDR_F_NEEDS_CSUM).
pub const PKTRING_VNET_NEEDS_CSUM: u8 = 1;
/// pktring_vnet.flags: the checksums were checked (VIRTIO_NET_HDR_F_DATA_VALID).
pub const PKTRING_VNET_DATA_VALID: u8 = 2;
/// pktring_vnet.gso_type: one packet, nothing to cut.
pub const PKTRING_VNET_GSO_NONE: u8 = 0;
/// pktring_vnet.gso_type: several TCP segments over IPv4.
pub const PKTRING_VNET_GSO_TCPV4: u8 = 1;
/// pktring_vnet.gso_type: one UDP datagram, to be cut into IP fragments.
pub const PKTRING_VNET_GSO_UDP: u8 = 3;
/// pktring_vnet.gso_type: several TCP segments over IPv6.
pub const PKTRING_VNET_GSO_TCPV6: u8 = 4;
/// pktring_vnet.gso_type: several UDP datagrams (Linux 6.2).
pub const PKTRING_VNET_GSO_UDP_L4: u8 = 5;
/// Bit of pktring_vnet.gso_type beside TCP: the segments carry congestion marks.
pub const PKTRING_VNET_GSO_ECN: u8 = 0x80;

/// Tells what is known of the transport checksum of a received frame.
///
/// @param frame  a frame from this library
/// @return PKTRING_CHECKSUM_UNKNOWN, PKTRING_CHECKSUM_VALID or PKTRING_CHECKSUM_PENDING;
///         PKTRING_CHECKSUM_UNKNOWN for NULL
///
/// May be called from any thread. PKTRING_STATUS_CSUM_VALID came with Linux 4.1; before, such
/// frames are PKTRING_CHECKSUM_UNKNOWN.
#[no_mangle]
pub unsafe extern "C" fn pktring_checksum(frame: *const Frame) -> u32 {
    if frame.is_null() {
        return PKTRING_CHECKSUM_UNKNOWN;
    }
    // SAFETY: not NULL, so a frame by the caller's promise.
    match Checksum::of(unsafe { (*frame).status }) {
        Checksum::Unknown => PKTRING_CHECKSUM_UNKNOWN,
        Checksum::Valid => PKTRING_CHECKSUM_VALID,
        Checksum::Pending => PKTRING_CHECKSUM_PENDING,
    }
}

/// Says what an answer of pktring_checksum() means, for people.
///
/// @param checksum  PKTRING_CHECKSUM_*
/// @return "not checked", "valid", "not computed yet", or "unknown value" for other numbers; a
///         constant string
#[no_mangle]
pub extern "C" fn pktring_checksum_name(checksum: u32) -> *const c_char {
    let text: &'static [u8] = match checksum {
        PKTRING_CHECKSUM_UNKNOWN => b"not checked\0",
        PKTRING_CHECKSUM_VALID => b"valid\0",
        PKTRING_CHECKSUM_PENDING => b"not computed yet\0",
        _ => b"unknown value\0",
    };
    text.as_ptr().cast()
}

/// Reads the virtio_net header of a received frame: how its checksum and segmentation are left.
///
/// @param handle  a handle that was activated with pktring_set_vnet_header()
/// @param frame   a frame that is held, of pktring_next_frame() or of a whole block
/// @param vnet    receives the header
/// @return 0; -EINVAL when the frame is not held; -EBUSY when the handle is not active or has no
///         such headers; -EFAULT for NULL
///
/// For the thread that receives.
#[no_mangle]
pub unsafe extern "C" fn pktring_frame_vnet(
    handle: *mut Handle,
    frame: *const Frame,
    vnet: *mut Vnet,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    if frame.is_null() || vnet.is_null() {
        return missing(handle, "frame or vnet");
    }
    let read = || -> Result<Vnet> {
        if handle.session()?.options.vnet_header == 0 {
            return Err(Error::State(
                "frames have no virtio_net header: call pktring_set_vnet_header before \
                 pktring_activate",
            ));
        }
        // SAFETY: a frame by the caller's promise; the calling thread receives.
        let (rx, number, addr) = unsafe { (handle.rx(), (*frame).number, (*frame).addr) };
        rx.receiver
            .held(number, addr, &handle.rx_counters)
            .and_then(|held| offload::vnet(&held))
            .ok_or(Error::NotHeld("the frame"))
    };
    wall(|| match read() {
        Ok(header) => {
            // SAFETY: not NULL, so room for one header by the caller's promise.
            unsafe { vnet.write(header) };
            0
        }
        Err(error) => handle.fail(Place::Rx, &error),
    })
}

/// Puts the VLAN tag back into a received frame that the kernel took off, in place.
///
/// The 12 bytes of hardware addresses move into the headroom, the tag follows them, and the
/// payload stays where it is: nothing else is copied. Of frames with two tags (QinQ) the kernel
/// takes the outer one off, which then comes to stand before the inner one. The descriptor is
/// updated: data is 4 bytes further to the front, caplen and len are 4 more, the VLAN bits of
/// status are gone. An Ethernet frame always has room in front; others may need
/// pktring_set_reserve().
///
/// Costs nothing where it is not called. Other copies of the descriptor are out of date
/// afterwards; passing one here brings it up to date.
///
/// @param handle  the handle that the frame was taken from
/// @param frame   a frame that is held, of pktring_next_frame() or of a whole block; changed
/// @return 1: the tag is back in the frame. 0: there was none to put back. Negative errno value,
///         with nothing changed:
///         - -EOPNOTSUPP  the ring is V1, which loses the tag, or frames have no link-level
///                        header (PKTRING_DGRAM); or the frame was cut before the tag's place
///         - -EINVAL      the frame is not held
///         - -EBUSY       the handle is not active
///         - -EFAULT      handle or frame is NULL
///
/// For the thread that receives.
#[no_mangle]
pub unsafe extern "C" fn pktring_vlan_reinsert(handle: *mut Handle, frame: *mut Frame) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    if frame.is_null() {
        return missing(handle, "frame");
    }
    let reinsert = || -> Result<bool> {
        let session = handle.session()?;
        let vnet = session.options.vnet_header != 0;
        // SAFETY: a frame by the caller's promise; the calling thread receives.
        let (rx, frame) = unsafe { (handle.rx(), &mut *frame) };
        let held = rx
            .receiver
            .held(frame.number, frame.addr, &handle.rx_counters)
            .ok_or(Error::NotHeld("the frame"))?;
        vlan::reinsert(&held, session.mode, vnet, frame)
    };
    wall(|| match reinsert() {
        Ok(done) => c_int::from(done),
        Err(error) => handle.fail(Place::Rx, &error),
    })
}
