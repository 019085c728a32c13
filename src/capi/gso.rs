//! UDP segmentation offload.

use super::handle::Handle;
use super::tx::{pktring_buffer, transmit, TxSide};
use crate::error::{invalid, Error, Result};
use crate::session::Session;
use crate::sys::call::kernel_version;
use crate::tx::gso::{cut, join, prepare, Joined, Way};
use crate::tx::inject;
use std::os::raw::{c_int, c_void};

/// Datagrams that the kernel makes of one frame at most.
pub const PKTRING_SEGMENTS_MAX: u32 = 64;

/// Sends several frames, in order, UDP datagrams of one flow with one system call for up to 64 of
/// them (UDP segmentation offload, Linux 6.2).
///
/// Frames that follow each other and have the same headers and the same length, the last of them
/// perhaps less, go through the kernel as one, which is cut at the very end or by the NIC: the
/// cheapest way to put many small datagrams on the wire. Nothing is copied but the headers. The
/// kernel writes lengths, checksums and IPv4 identifications anew; frames that cannot be joined
/// with their neighbours are sent as they are, one by one, checksums included.
///
/// UDP over IPv4 or IPv6 (without extension headers), with up to two VLAN tags.
///
/// @param handle  an active handle with pktring_set_vnet_header(); a receive ring is enough. With
///                a transmit ring of the kernel's, as many are joined as a slot holds: choose
///                pktring_ring.frame_size accordingly, up to 65600.
/// @param frames  array of count whole frames without virtio_net header
/// @param count   0 to INT_MAX
/// @return number of frames sent. Fewer than count when the kernel did not take one; when that
///         was the first, a negative errno value: those of pktring_inject(), and
///         - -EBUSY     the handle has no virtio_net headers
///         - -EMSGSIZE  the datagrams are longer than the interface's MTU
///         - -EOPNOTSUPP frames were joined, and the kernel is older than Linux 6.2
///
/// For the thread that transmits. Needs pktring_set_qdisc_bypass() off.
#[no_mangle]
pub unsafe extern "C" fn pktring_inject_gso(
    handle: *mut Handle,
    frames: *const pktring_buffer,
    count: u32,
) -> c_int {
    let body = |handle: &Handle, session: &Session, tx: &mut TxSide| {
        if frames.is_null() {
            return Err(Error::Null("frames"));
        }
        let _inside = handle.enter_transmitting()?;
        let count = count.min(c_int::MAX as u32) as usize;
        // SAFETY: not NULL, so by the caller's promise `count` buffers.
        let buffers = unsafe { std::slice::from_raw_parts(frames, count) };
        if buffers.iter().any(|buffer| buffer.data.is_null()) {
            return Err(Error::Null("the data of a frame"));
        }
        let mut way = way(session, tx)?;
        let mut sent = 0;
        while sent < count {
            let rest = &buffers[sent..];
            // SAFETY: the caller's promise for each buffer.
            let frame = |i: usize| unsafe {
                std::slice::from_raw_parts(rest[i].data.cast(), rest[i].length)
            };
            let joined = within_mtu(session, &mut way, |way| join(way, rest.len(), frame))
                .and_then(|joined| send(handle, session, tx, &joined));
            match joined {
                Ok(n) => sent += n,
                Err(error) if sent == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(sent as c_int)
    };
    // SAFETY: the caller passes NULL or a handle, from the thread that transmits.
    unsafe { transmit(handle, body) }
}

/// Sends one long UDP frame as many datagrams of equal length (UDP segmentation offload, Linux
/// 6.2): the same as pktring_inject_gso() for a payload that lies in one piece.
///
/// @param handle   an active handle with pktring_set_vnet_header()
/// @param frame    link-level, IP and UDP header, then the payload of all datagrams. Lengths and
///                 checksums in the headers need not be filled in.
/// @param length   bytes of the frame; the payload may be longer than 64 KiB
/// @param segment  payload bytes of each datagram; the last one may get less
/// @return number of datagrams sent; fewer than there are when the kernel took only the first
///         part. Negative errno value when nothing was sent, as from pktring_inject_gso();
///         -EINVAL also when the frame is no UDP datagram, and for a segment of 0
///
/// For the thread that transmits. Needs pktring_set_qdisc_bypass() off.
#[no_mangle]
pub unsafe extern "C" fn pktring_inject_segments(
    handle: *mut Handle,
    frame: *const c_void,
    length: usize,
    segment: u32,
) -> c_int {
    let body = |handle: &Handle, session: &Session, tx: &mut TxSide| {
        if frame.is_null() {
            return Err(Error::Null("frame"));
        }
        if length > c_int::MAX as usize {
            return Err(invalid!("length {length} is out of range"));
        }
        let _inside = handle.enter_transmitting()?;
        // SAFETY: not NULL, so by the caller's promise `length` readable bytes.
        let frame = unsafe { std::slice::from_raw_parts(frame.cast::<u8>(), length) };
        let mut way = way(session, tx)?;
        let (mut sent, mut from) = (0, Some(0));
        while let Some(at) = from {
            let segment = segment as usize;
            let (joined, rest) = within_mtu(session, &mut way, |way| cut(way, frame, segment, at))?;
            match send(handle, session, tx, &joined) {
                Ok(n) => sent += n,
                Err(error) if sent == 0 => return Err(error),
                Err(_) => break,
            }
            from = rest;
        }
        Ok(sent as c_int)
    };
    // SAFETY: the caller passes NULL or a handle, from the thread that transmits.
    unsafe { transmit(handle, body) }
}

/// Completes a long UDP frame in a slot of the transmit ring, so that the kernel cuts it into
/// datagrams of equal length (UDP segmentation offload, Linux 6.2).
///
/// Writes the virtio_net header at the start of the slot, and the lengths and checksums that it
/// wants into the IP and UDP header behind it. Then pktring_tx_commit() with the same length.
///
/// @param handle   an active handle with pktring_set_vnet_header()
/// @param data     pktring_slot.data: room for the virtio_net header (10 or 12 bytes, as set),
///                 then link-level, IP and UDP header and the payload of all datagrams
/// @param length   bytes at data, virtio_net header included
/// @param segment  payload bytes of each datagram; the last one may get less
/// @return 0. Negative errno value: -EINVAL when the frame is no UDP datagram, would make more
///         than PKTRING_SEGMENTS_MAX of them or an IP packet beyond 65535 bytes, and for a segment
///         of 0; -EMSGSIZE when the datagrams are longer than the MTU; -EBUSY when the handle is
///         not active or has no virtio_net headers; -EFAULT for NULL. Before Linux 6.2 the frame
///         completes with -EINVAL.
///
/// For the thread that transmits.
#[no_mangle]
pub unsafe extern "C" fn pktring_prepare_segments(
    handle: *mut Handle,
    data: *mut c_void,
    length: u32,
    segment: u32,
) -> c_int {
    let body = |_: &Handle, session: &Session, tx: &mut TxSide| {
        if data.is_null() {
            return Err(Error::Null("data"));
        }
        let mut way = way(session, tx)?;
        // SAFETY: not NULL, so by the caller's promise `length` bytes of a reserved slot, which
        // neither the kernel nor anybody else uses until it is committed.
        let bytes = unsafe { std::slice::from_raw_parts_mut(data.cast::<u8>(), length as usize) };
        within_mtu(session, &mut way, |way| {
            prepare(way, bytes, segment as usize)
        })?;
        Ok(0)
    };
    // SAFETY: the caller passes NULL or a handle, from the thread that transmits.
    unsafe { transmit(handle, body) }
}

/// How this handle sends.
fn way(session: &Session, tx: &TxSide) -> Result<Way> {
    let limits = session.limits();
    if limits.vnet_header == 0 {
        return Err(Error::State(
            "frames have no virtio_net header: call pktring_set_vnet_header before \
             pktring_activate",
        ));
    }
    Ok(Way {
        link: limits.header as usize,
        vnet: limits.vnet_header as usize,
        longest: match &tx.transmitter {
            Some(transmitter) if !transmitter.copies() => transmitter.room() as usize,
            _ => usize::MAX,
        },
        mtu: session.mtu.unwrap_or(u32::MAX) as usize,
    })
}

/// Runs `body`, and once more if what it does not fit into is an MTU that was raised meanwhile:
/// asking for it each time would cost as much as sending.
fn within_mtu<T>(
    session: &Session,
    way: &mut Way,
    mut body: impl FnMut(&Way) -> Result<T>,
) -> Result<T> {
    match body(way) {
        Err(Error::FrameLength { .. }) => {
            way.mtu = session.current_mtu() as usize;
            body(way)
        }
        result => result,
    }
}

/// The kernel that knows frames which are to be cut into datagrams.
const SINCE: (u32, u32) = (6, 2);

fn send(handle: &Handle, session: &Session, tx: &mut TxSide, joined: &Joined) -> Result<usize> {
    send_joined(handle, session, tx, joined).map_err(|error| {
        let refused = error.errno() == libc::EINVAL && joined.count > 1;
        match Error::requires(kernel_version(), "UDP segmentation offload", SINCE) {
            Err(old) if refused => old,
            _ => error,
        }
    })
}

fn send_joined(
    handle: &Handle,
    session: &Session,
    tx: &mut TxSide,
    joined: &Joined,
) -> Result<usize> {
    if !tx.is_direct(handle, session)? {
        let (transmitter, mut kernel) = tx.with_outlet(handle, session)?;
        joined.with_parts(|parts| transmitter.inject_parts(&mut kernel, parts))?;
        return Ok(joined.count);
    }
    let (to, limits) = (tx.destination.as_ref(), || session.limits());
    let bytes = match joined.together(&mut tx.together) {
        Some(frame) => inject::one(&session.socket, to, frame, limits)?,
        None => joined.with_parts(|parts| inject::parts(&session.socket, to, parts, limits))?,
    };
    tx.sent_directly(1, || bytes);
    Ok(joined.count)
}
