//! Options of the packet socket.

use super::config::{adjust, change};
use super::handle::Handle;
use crate::options;
use std::os::raw::c_int;

/// Reserves headroom before each received frame (PACKET_RESERVE, Linux 2.6.27).
///
/// The bytes before pktring_frame.data are yours: put a header of your own in front of a frame
/// without moving it. Even without this, 14 bytes in front of an Ethernet frame are free (see
/// pktring_vlan_reinsert()), or 4 where a VLAN tag is still in the frame. Frames start where the
/// kernel would put them plus exactly this many bytes: a number that is no multiple of 16 takes
/// the network header off its alignment. Costs that many bytes a frame in the ring.
///
/// @param handle  a handle that is not active; set it before the rings, which are checked
///                against it
/// @param bytes   0 (default) to 65408
/// @return 0; -EINVAL above; -EBUSY when active; -EFAULT when handle is NULL
#[no_mangle]
pub unsafe extern "C" fn pktring_set_reserve(handle: *mut Handle, bytes: u32) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe { change(handle, |config| config.options.set_reserve(bytes)) }
}

/// Puts a virtio_net header before each frame, both ways (PACKET_VNET_HDR, Linux 2.6.34;
/// PACKET_VNET_HDR_SZ for 12 bytes, Linux 6.4).
///
/// Received frames then carry what is left to do on them: checksum and segmentation, see
/// pktring_frame_vnet(). Frames to transmit must start with such a header, see struct
/// pktring_vnet, and may leave the same to the kernel or the NIC: up to 64 KiB are sent as one,
/// see pktring_inject_gso().
///
/// Linux wedges V1 and V2 receive rings with this option when a packet arrives whose segmentation
/// the header cannot express (IP fragments put together for a virtual machine, for example):
/// nothing is ever received again. pktring_wait(), pktring_dispatch() and pktring_loop() notice
/// and make the ring anew, see pktring_recover(). V3 rings do not have the fault.
///
/// @param handle  a handle that is not active, with PKTRING_RAW; set it before the rings, which
///                are checked against it
/// @param bytes   size of the header: 0 (default, none), 10, or 12 with the field that virtio
///                calls num_buffers, which is always 0
/// @return 0; -EINVAL for another size; -EBUSY when active; -EFAULT when handle is NULL.
///         pktring_activate() returns -EINVAL together with PKTRING_DGRAM, and -EOPNOTSUPP where
///         the kernel lacks the size.
#[no_mangle]
pub unsafe extern "C" fn pktring_set_vnet_header(handle: *mut Handle, bytes: u32) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe { change(handle, |config| config.options.set_vnet_header(bytes)) }
}

/// Has the kernel skip malformed frames in the transmit ring (PACKET_LOSS, Linux 2.6.31).
///
/// Off, a frame that the kernel cannot send completes with an error and is counted in
/// pktring_stats.tx_refused. On, the kernel passes over it and reports it as sent: for programs
/// that do not look.
///
/// @param handle  a handle that is not active
/// @param on      not 0: on; 0 (default): off
/// @return 0; -EBUSY when active; -EFAULT when handle is NULL
#[no_mangle]
pub unsafe extern "C" fn pktring_set_loss(handle: *mut Handle, on: c_int) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        change(handle, |config| {
            config.options.loss = on != 0;
            Ok(())
        })
    }
}

/// Lets frames start anywhere in their transmit slot (PACKET_TX_HAS_OFF, Linux 3.8).
///
/// pktring_slot.offset then tells pktring_tx_commit() how far behind pktring_slot.data the frame
/// starts: write the payload where its alignment is best, and headers of any length in front of
/// it. Nothing is copied. Slots grow by what you leave in front: choose pktring_ring.frame_size
/// accordingly.
///
/// @param handle  a handle that is not active
/// @param on      not 0: on; 0 (default): off, every frame starts at pktring_slot.data
/// @return 0; -EBUSY when active; -EFAULT when handle is NULL
#[no_mangle]
pub unsafe extern "C" fn pktring_set_tx_offset(handle: *mut Handle, on: c_int) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        change(handle, |config| {
            config.options.tx_offset = on != 0;
            Ok(())
        })
    }
}

/// Sends past the interface's queueing discipline, straight to the driver (PACKET_QDISC_BYPASS,
/// Linux 3.14).
///
/// Saves the queue's work where there is one. Such frames are not shaped, are not seen by
/// captures on this host, and are refused instead of queued while the driver is busy: then
/// pktring_tx_flush() tries them again. Frames for the kernel to segment need it off.
///
/// @param handle  the handle; at any time, also while transmitting
/// @param on      not 0: on; 0 (default): off
/// @return 0; -EOPNOTSUPP where the kernel lacks it; -EFAULT when handle is NULL
#[no_mangle]
pub unsafe extern "C" fn pktring_set_qdisc_bypass(handle: *mut Handle, on: c_int) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        adjust(
            handle,
            |config| {
                config.options.qdisc_bypass = on != 0;
                Ok(())
            },
            |socket| options::set_qdisc_bypass(socket, on != 0),
        )
    }
}

/// Receives only what comes in, not what this host sends (PACKET_IGNORE_OUTGOING, Linux 4.20).
///
/// Cheaper than a filter: the frame is not even looked at. In a fanout group the kernel does not
/// heed it; the group has a flag of its own, PKTRING_FANOUT_FLAG_IGNORE_OUTGOING.
///
/// @param handle  the handle; at any time. Later it holds for packets from then on.
/// @param on      not 0: on; 0 (default): off
/// @return 0; -EOPNOTSUPP where the kernel lacks it; -EFAULT when handle is NULL. In a fanout group
///         without that flag -EINVAL: from pktring_activate(), or from here once active
#[no_mangle]
pub unsafe extern "C" fn pktring_set_ignore_outgoing(handle: *mut Handle, on: c_int) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        adjust(
            handle,
            |config| {
                config.options.ignore_outgoing = on != 0;
                Ok(())
            },
            |socket| options::set_ignore_outgoing(socket, on != 0),
        )
    }
}

/// Has pktring_addr.ifindex name the interface that a frame first arrived at (PACKET_ORIGDEV,
/// Linux 2.6.21).
///
/// Of use on interfaces that get their frames from others: with a bond, a VLAN or a macvlan
/// interface it names the port or the lower interface instead of the one that the handle is on.
///
/// @param handle  the handle; at any time. Later it holds for packets from then on.
/// @param on      not 0: on; 0 (default): off
/// @return 0; -EFAULT when handle is NULL
#[no_mangle]
pub unsafe extern "C" fn pktring_set_original_device(handle: *mut Handle, on: c_int) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        adjust(
            handle,
            |config| {
                config.options.original_device = on != 0;
                Ok(())
            },
            |socket| options::set_original_device(socket, on != 0),
        )
    }
}

/// Keeps a whole copy of every frame that a V1 or V2 slot cuts (PACKET_COPY_THRESH, Linux 2.4).
///
/// Such frames have PKTRING_STATUS_COPY; pktring_copy_whole() fetches the copy. Small slots for
/// the many short frames and whole copies of the few long ones save memory. Copies wait in the
/// socket's receive buffer, see pktring_set_buffer(): while that is full, frames are cut without
/// the flag. Costs nothing for frames that fit their slot, save that the kernel stamps every
/// packet on the host when it arrives, as for tcpdump.
///
/// @param handle  the handle, with PKTRING_V1 or PKTRING_V2; at any time
/// @param on      not 0: on; 0 (default): off
/// @return 0; -EFAULT when handle is NULL. With PKTRING_V3, which has no slots, -EINVAL: from
///         pktring_activate(), or from here once active
#[no_mangle]
pub unsafe extern "C" fn pktring_set_copies(handle: *mut Handle, on: c_int) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        adjust(
            handle,
            |config| {
                config.options.copies = on != 0;
                Ok(())
            },
            |socket| options::set_copies(socket, on != 0),
        )
    }
}
