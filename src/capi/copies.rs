//! Whole copies of cut frames, and rings that got stuck.

use super::error::Place;
use super::handle::Handle;
use super::rx::missing;
use super::wall;
use crate::copies;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::recover;
use std::os::raw::{c_int, c_void};

/// Fetches the whole packet that a frame was cut from.
///
/// For frames with PKTRING_STATUS_COPY, which a handle with pktring_set_copies() receives when a
/// slot is too small. Each copy can be fetched once. Copies wait in the order of their frames;
/// fetching one throws those away that belong to frames passed over, which also makes room for
/// new ones.
///
/// The copy is what the kernel has: without the VLAN tag that it took off, with the link-level
/// header (PKTRING_RAW), without virtio_net header.
///
/// @param handle    the handle that the frame was taken from
/// @param frame     a frame that is held
/// @param buffer    receives the packet; undefined on failure
/// @param capacity  bytes at buffer; pktring_frame.len are needed
/// @return length of the packet. Negative errno value:
///         - -ENODATA   there is no copy: the frame was not cut, copies were off, the receive
///                      buffer (pktring_set_buffer()) was full, or the copy was fetched before
///         - -EAGAIN    the copy of a later frame comes first. Either this one was fetched before,
///                      or several processors received at once and queued the two the other way
///                      round: then fetch the later one first
///         - -EMSGSIZE  the buffer is too small; the text names the length. Nothing is lost.
///         - -EINVAL    the frame is not held
///         - -EBUSY     the handle is not active
///         - -EFAULT    handle, frame or buffer is NULL
///
/// For the thread that receives.
#[no_mangle]
pub unsafe extern "C" fn pktring_copy_whole(
    handle: *mut Handle,
    frame: *const Frame,
    buffer: *mut c_void,
    capacity: usize,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    if frame.is_null() || buffer.is_null() {
        return missing(handle, "frame or buffer");
    }
    let fetch = || -> Result<usize> {
        let session = handle.session()?;
        // SAFETY: a frame by the caller's promise; the calling thread receives.
        let (rx, frame) = unsafe { (handle.rx(), &*frame) };
        let held = rx
            .receiver
            .held(frame.number, frame.addr, &handle.rx_counters)
            .ok_or(Error::NotHeld("the frame"))?;
        // No packet is longer, and no slice may be.
        let capacity = capacity.min(c_int::MAX as usize);
        // SAFETY: not NULL, so by the caller's promise `capacity` writable bytes.
        let buffer = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), capacity) };
        let vnet = session.options.vnet_header as usize;
        copies::fetch(&session.socket, vnet, &held, frame, buffer)
    };
    wall(|| match fetch() {
        Ok(length) => length as c_int,
        Err(error) => handle.fail(Place::Rx, &error),
    })
}

/// Makes the receive ring anew: for one that the kernel got stuck with.
///
/// With pktring_set_vnet_header() and a V1 or V2 ring, one packet whose segmentation the header
/// cannot express stops the kernel for ever: it drops every packet from then on, and counts it.
/// pktring_wait(), pktring_dispatch() and pktring_loop() notice, because packets are dropped while
/// the ring is empty. Where the caller holds no frame and the handle has no transmit ring, they
/// make the ring anew by themselves and go on; elsewhere they return -ESTALE, and this is to be
/// called.
///
/// The ring stays at the same address. Frames that are in it unread are lost; the transmit ring
/// keeps what it has.
///
/// @param handle  an active handle with a receive ring
/// @return 0; -EBUSY when frames are held, or when the handle is not active or has no receive
///         ring; -ENOMEM when the kernel has no memory for a new ring (try again); -EFAULT when
///         handle is NULL
///
/// No other thread may be in a call with this handle, transmission included.
#[no_mangle]
pub unsafe extern "C" fn pktring_recover(handle: *mut Handle) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    let recover = || -> Result<()> {
        let session = handle.session()?;
        // SAFETY: no other thread uses the handle.
        let rx = unsafe { handle.rx() };
        recover::remake(session, &mut rx.receiver, &handle.rx_counters)
    };
    wall(|| match recover() {
        Ok(()) => 0,
        Err(error) => handle.fail(Place::Rx, &error),
    })
}
