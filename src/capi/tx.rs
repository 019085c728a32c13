//! Transmitting.

use super::error::Place;
use super::handle::Handle;
use super::wall;
use crate::error::{invalid, Error, Result};
use crate::frame::{Address, Completion};
use crate::ring::geometry::Mode;
use crate::session::Session;
use crate::sys::call::{link_address, Batch};
use crate::tx::{inject, Outlet, Transmitter};
use std::io::IoSlice;
use std::os::raw::{c_int, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};

/// A free slot of the transmit ring, to write a frame into. Filled by pktring_tx_reserve().
///
/// The memory at data is the caller's from then until pktring_tx_commit() or
/// pktring_tx_abort(), and never longer than the handle.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct pktring_slot {
    /// Where the frame goes: from the link-level header on (PKTRING_RAW), or from the network
    /// header on (PKTRING_DGRAM).
    pub data: *mut u8,
    /// Bytes that the frame may have: by the slot, and by the interface's MTU. On Ethernet
    /// interfaces the MTU leaves 4 bytes more to a frame with an 802.1Q tag, which are counted here:
    /// one without may have MTU + 14, and pktring_tx_commit() names that in its error.
    pub capacity: u32,
    /// Where the frame starts behind data, in bytes. Must be left 0, except on a handle that
    /// places frames freely (PACKET_TX_HAS_OFF).
    pub offset: u32,
    /// Yours: set it before pktring_tx_commit() to find the frame again among the completions.
    /// 0 at first.
    pub user_data: u64,
    /// The library's: tells the reservation from every other one of this and of other handles.
    pub number: u64,
}

/// What the transmitting thread owns.
#[derive(Default)]
pub(super) struct TxSide {
    pub transmitter: Option<Transmitter>,
    /// Sends many frames with one system call.
    pub batch: Batch,
    /// Where frames go that do not say so themselves.
    pub destination: Option<libc::sockaddr_ll>,
    /// Where short datagrams are copied together to be sent as one frame.
    pub together: Box<[u8]>,
}

/// How long close waits for frames that are in flight, in milliseconds.
const LINGER_MS: i32 = 1000;

/// One frame for pktring_inject_batch(), laid out like struct iovec of sys/uio.h.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[allow(non_camel_case_types)]
pub struct pktring_buffer {
    /// The frame.
    pub data: *const c_void,
    /// Its length in bytes.
    pub length: usize,
}

const _: () = assert!(std::mem::size_of::<pktring_buffer>() == std::mem::size_of::<libc::iovec>());

impl TxSide {
    /// The transmit ring alone.
    fn ring(&mut self) -> Result<&mut Transmitter> {
        self.transmitter
            .as_mut()
            .ok_or(Error::State("the handle has no transmit ring"))
    }

    /// The transmit ring, and who sends what is in it.
    pub(super) fn with_outlet<'a>(
        &'a mut self,
        handle: &'a Handle,
        session: &'a Session,
    ) -> Result<(&'a mut Transmitter, Outlet<'a>)> {
        let sleeper = session.tx_sleeper.as_ref();
        let outlet = Outlet {
            socket: &session.socket,
            batch: &mut self.batch,
            loss: session.options.loss,
            destination: self.destination.as_ref(),
            ifindex: session.link.ifindex,
            sleep: sleeper.map(|sleeper| (sleeper, &handle.interrupt)),
        };
        match &mut self.transmitter {
            Some(transmitter) => Ok((transmitter, outlet)),
            None => Err(Error::State("the handle has no transmit ring")),
        }
    }

    /// Whether frames that are injected go to the socket itself: they do unless it has a transmit
    /// ring. Slots that are copied from are emptied first.
    pub(super) fn is_direct(&mut self, handle: &Handle, session: &Session) -> Result<bool> {
        match &self.transmitter {
            None => return Ok(true),
            Some(transmitter) if !transmitter.copies() => return Ok(false),
            Some(transmitter) if transmitter.is_idle() => return Ok(true),
            Some(_) => {}
        }
        let (transmitter, mut kernel) = self.with_outlet(handle, session)?;
        transmitter.make_way(&mut kernel)?;
        Ok(true)
    }

    /// Counts what was sent past the slots.
    pub(super) fn sent_directly(&self, frames: usize, bytes: impl FnOnce() -> usize) {
        if let Some(transmitter) = &self.transmitter {
            transmitter.counters().sent(frames as u64, bytes() as u64);
        }
    }

    /// Whether a slot can be reserved.
    pub(super) fn ready(&mut self, handle: &Handle, session: &Session) -> Result<bool> {
        let (transmitter, mut kernel) = self.with_outlet(handle, session)?;
        transmitter.poll(&mut kernel)
    }

    /// Finds the reason for what the kernel said of a frame that needs a destination.
    fn explain(&self, error: Error, session: &Session) -> Error {
        match error {
            Error::InterfaceGone if session.link.ifindex == 0 => {
                Error::NoDestination(error.errno())
            }
            Error::System {
                errno: libc::EINVAL,
                ..
            } if session.mode == Mode::Dgram && self.destination.is_none() => {
                Error::NoDestination(libc::EINVAL)
            }
            error => error,
        }
    }

    /// Sends what is committed, without listening to requests to stop, and tells how much could
    /// not be sent in time.
    pub(super) fn linger(&mut self, handle: &Handle, session: &Session) -> u64 {
        let (transmitter, mut kernel) = match self.with_outlet(handle, session) {
            Ok(ring) => ring,
            Err(_) => return 0,
        };
        kernel.sleep = None;
        let flushed = transmitter.flush(&mut kernel, LINGER_MS);
        flushed.unwrap_or_else(|_| transmitter.in_flight())
    }
}

/// Runs `body` with the transmitting thread's part of an active handle.
///
/// # Safety
/// `handle` is NULL or a handle, and the calling thread is the one that transmits with it.
pub(super) unsafe fn transmit(
    handle: *mut Handle,
    body: impl FnOnce(&Handle, &Session, &mut TxSide) -> Result<c_int>,
) -> c_int {
    // SAFETY: the caller's promise.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    // SAFETY: the caller's promise.
    wall(|| {
        let done = handle.session().and_then(|session| {
            // SAFETY: the caller's promise.
            let tx = unsafe { handle.tx() };
            body(handle, session, tx).map_err(|error| tx.explain(error, session))
        });
        done.unwrap_or_else(|error| handle.fail(Place::Tx, &error))
    })
}

/// Runs `body` with the transmitter of an active handle; `None` where there is none, or `body` says
/// so. For the calls that are made for every frame.
///
/// # Safety
/// As for [`transmit`].
#[inline(always)]
unsafe fn at_once(
    handle: *mut Handle,
    body: impl FnOnce(&mut Transmitter) -> Option<c_int>,
) -> Option<c_int> {
    // SAFETY: the caller's promise.
    let handle = unsafe { Handle::from_c(handle) }.ok()?;
    // SAFETY: the caller's promise.
    let transmitter = unsafe { handle.tx() }.transmitter.as_mut()?;
    // The wall, since none may unwind into C.
    catch_unwind(AssertUnwindSafe(|| body(transmitter))).unwrap_or(Some(-libc::EIO))
}

/// Why [`at_once`] could not be.
///
/// # Safety
/// As for [`transmit`].
#[cold]
#[inline(never)]
unsafe fn refused(handle: *mut Handle, null: bool) -> c_int {
    let body = |_: &Handle, _: &Session, tx: &mut TxSide| {
        if null {
            return Err(Error::Null("slot"));
        }
        tx.ring().map(|_| 0)
    };
    // SAFETY: the caller's promise.
    unsafe { transmit(handle, body) }
}

/// Takes a free slot of the transmit ring to write a frame into. Never waits.
///
/// Several slots can be reserved before the first is committed, and they can be committed in any
/// order; frames are sent in the order of their reservation. A reservation that is left open
/// holds up those behind it.
///
/// @param handle  an active handle with a transmit ring
/// @param slot    receives the reservation; written only when the result is 1
/// @return 1: a slot was reserved. 0: the ring is full; see pktring_tx_flush() and
///         pktring_wait(). -EBUSY: the handle is not active or has no transmit ring. -EFAULT for
///         NULL.
///
/// One thread at a time may transmit with a handle; another one may receive meanwhile.
#[no_mangle]
pub unsafe extern "C" fn pktring_tx_reserve(handle: *mut Handle, slot: *mut pktring_slot) -> c_int {
    let body = |transmitter: &mut Transmitter| {
        let reserved = match transmitter.reserve() {
            Some(reserved) => reserved,
            None => return 0,
        };
        // SAFETY: looked at below: not NULL, so by the caller's promise room for one reservation.
        unsafe {
            slot.write(pktring_slot {
                data: reserved.data.as_ptr(),
                capacity: reserved.capacity,
                offset: 0,
                user_data: 0,
                number: reserved.reference,
            });
        }
        1
    };
    if !slot.is_null() {
        // SAFETY: the caller passes NULL or a handle, from the thread that transmits.
        if let Some(done) = unsafe { at_once(handle, |transmitter| Some(body(transmitter))) } {
            return done;
        }
    }
    // SAFETY: as above.
    unsafe { refused(handle, slot.is_null()) }
}

/// Says that the frame in a reserved slot is complete. It is handed to the kernel as soon as
/// those reserved before it are, and sent by the next pktring_tx_flush().
///
/// The slot's memory must not be written to any more: the kernel may send straight from it.
///
/// @param handle  the handle that the slot was reserved from
/// @param slot    the reservation, with user_data (and offset) set as wanted
/// @param length  bytes of the frame. PKTRING_RAW: at least the link-level header, 14 for
///                Ethernet; at most the interface's MTU and link-level header, and 4 more for a
///                frame with a VLAN tag. PKTRING_DGRAM: 0 up to the MTU. The kernel does not pad.
/// @return 0. Negative errno value, with the reservation still open:
///         - -EMSGSIZE  the length is out of range; the text names the range
///         - -EINVAL    the slot is not reserved: it was committed or aborted before, or belongs
///                      to another handle; or offset is set on a handle that does not place
///                      frames freely
///         - -EBUSY     the handle is not active or has no transmit ring
///         - -EFAULT    handle or slot is NULL
///
/// For the thread that transmits.
#[no_mangle]
pub unsafe extern "C" fn pktring_tx_commit(
    handle: *mut Handle,
    slot: *const pktring_slot,
    length: u32,
) -> c_int {
    let usual = |transmitter: &mut Transmitter| {
        // SAFETY: looked at below: not NULL, so by the caller's promise a reservation.
        let slot = unsafe { &*slot };
        transmitter
            .commit_next(slot.number, length, slot.offset, slot.user_data)
            .then_some(0)
    };
    // SAFETY: the caller passes NULL or a handle, from the thread that transmits.
    if !slot.is_null() && unsafe { at_once(handle, usual) }.is_some() {
        return 0;
    }
    // SAFETY: as above.
    unsafe { commit(handle, slot, length) }
}

/// [`pktring_tx_commit`] where it is not the usual case.
///
/// # Safety
/// As for that.
#[cold]
#[inline(never)]
unsafe fn commit(handle: *mut Handle, slot: *const pktring_slot, length: u32) -> c_int {
    let body = |handle: &Handle, session: &Session, tx: &mut TxSide| {
        if slot.is_null() {
            return Err(Error::Null("slot"));
        }
        // SAFETY: not NULL, so by the caller's promise a reservation.
        let slot = unsafe { &*slot };
        let (transmitter, mut kernel) = tx.with_outlet(handle, session)?;
        transmitter.commit(
            &mut kernel,
            slot.number,
            length,
            slot.offset,
            slot.user_data,
        )?;
        Ok(0)
    };
    // SAFETY: the caller passes NULL or a handle, from the thread that transmits.
    unsafe { transmit(handle, body) }
}

/// Gives a reserved slot back without sending anything.
///
/// @param handle  the handle that the slot was reserved from
/// @param slot    the reservation
/// @return 0; -EINVAL when the slot is not reserved; -EBUSY when the handle is not active or has
///         no transmit ring; -EFAULT for NULL
///
/// For the thread that transmits.
#[no_mangle]
pub unsafe extern "C" fn pktring_tx_abort(handle: *mut Handle, slot: *const pktring_slot) -> c_int {
    let body = |_: &Handle, _: &Session, tx: &mut TxSide| {
        if slot.is_null() {
            return Err(Error::Null("slot"));
        }
        // SAFETY: not NULL, so by the caller's promise a reservation.
        let number = unsafe { (*slot).number };
        let transmitter = tx.ring()?;
        transmitter.abort(number)?;
        Ok(0)
    };
    // SAFETY: the caller passes NULL or a handle, from the thread that transmits.
    unsafe { transmit(handle, body) }
}

/// Has the kernel send what was committed, and waits until it has, if asked to.
///
/// One system call sends as many frames as there are; batches of 32 and more are worth it. A
/// frame that the kernel refuses (after the MTU was lowered, say) is taken out of the ring and
/// told by pktring_tx_complete(); those behind it are sent all the same.
///
/// @param handle      an active handle with a transmit ring
/// @param timeout_ms  0: hand the frames to the kernel and return; positive: also wait until all
///                    are sent, for at most so many milliseconds; negative: without limit
/// @return number of frames that are still in flight: 0 when everything committed was sent or
///         refused. Negative errno value, with the frames kept in the ring:
///         - -EAGAIN     the queue of the interface is full; call again
///         - -ENETDOWN   the interface is down; call again when it is up
///         - -ENODEV     the interface is gone, or a handle on all interfaces was told of none, see
///                       pktring_set_destination()
///         - -ECANCELED  pktring_breakloop() was called; reported once
///         - -ESHUTDOWN  another thread closes the handle
///         - -EBUSY      the handle is not active or has no transmit ring
///         - -EFAULT     handle is NULL
///
/// For the thread that transmits.
#[no_mangle]
pub unsafe extern "C" fn pktring_tx_flush(handle: *mut Handle, timeout_ms: c_int) -> c_int {
    let body = |handle: &Handle, session: &Session, tx: &mut TxSide| {
        let _inside = handle.enter_transmitting()?;
        let (transmitter, mut kernel) = tx.with_outlet(handle, session)?;
        let left = transmitter.flush(&mut kernel, timeout_ms);
        session.transmits();
        let left = left?;
        Ok(c_int::try_from(left).unwrap_or(c_int::MAX))
    };
    // SAFETY: the caller passes NULL or a handle, from the thread that transmits.
    unsafe { transmit(handle, body) }
}

/// Tells what became of frames that were committed: each once, in the order of their
/// reservation. Never waits.
///
/// Programs that do not care need not call it: when a slot is reserved and no room for
/// completions is left, the oldest is forgotten. pktring_stats() counts them all.
///
/// @param handle       an active handle with a transmit ring
/// @param completions  array of max elements; the first ones are written
/// @param max          1 to INT_MAX
/// @return number of completions written; 0: none is there; -EBUSY when the handle is not
///         active or has no transmit ring; -EFAULT for NULL
///
/// For the thread that transmits.
#[no_mangle]
pub unsafe extern "C" fn pktring_tx_complete(
    handle: *mut Handle,
    completions: *mut Completion,
    max: u32,
) -> c_int {
    let body = |handle: &Handle, session: &Session, tx: &mut TxSide| {
        if completions.is_null() {
            return Err(Error::Null("completions"));
        }
        let (transmitter, mut kernel) = tx.with_outlet(handle, session)?;
        let max = max.min(c_int::MAX as u32);
        for written in 0..max {
            let mut one = [Completion::default()];
            if transmitter.complete_stamped(&mut kernel, &mut one) == 0 {
                return Ok(written as c_int);
            }
            // SAFETY: written < max elements by the caller's promise.
            unsafe { completions.add(written as usize).write(one[0]) };
        }
        Ok(max as c_int)
    };
    // SAFETY: the caller passes NULL or a handle, from the thread that transmits.
    unsafe { transmit(handle, body) }
}

/// Sets where frames go that do not carry a link-level header themselves.
///
/// Needed to transmit with PKTRING_DGRAM, whose frames get their link-level header from it, and
/// to transmit with a handle for all interfaces. It holds for the frames sent from now on. Without
/// it the former are refused with -EINVAL, and the latter are not sent, with -ENODEV.
///
/// @param handle   the handle, active or not
/// @param address  protocol (network byte order), hardware address with its length, and the
///                 interface index (0: that of the handle); the other fields are ignored. Copied.
///                 NULL removes it.
/// @return 0; -EINVAL when halen is more than 8; -EFAULT when handle is NULL
///
/// For the thread that transmits.
#[no_mangle]
pub unsafe extern "C" fn pktring_set_destination(
    handle: *mut Handle,
    address: *const Address,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(|| {
        // SAFETY: the calling thread is the one that transmits.
        let tx = unsafe { handle.tx() };
        // SAFETY: NULL or an address by the caller's promise.
        tx.destination = match unsafe { address.as_ref() } {
            None => None,
            Some(address) if usize::from(address.halen) > address.addr.len() => {
                let error = invalid!("halen {} is out of range; 0 to 8 are valid", address.halen);
                return handle.fail(Place::Tx, &error);
            }
            Some(address) => {
                let hardware = &address.addr[..usize::from(address.halen)];
                let own = handle.session().map_or(0, |session| session.link.ifindex);
                let ifindex = match address.ifindex {
                    0 => own,
                    index => index,
                };
                Some(link_address(address.protocol, ifindex, hardware))
            }
        };
        0
    })
}

/// Sends one frame: the counterpart of pcap_inject().
///
/// On a handle without a transmit ring it is one send(2), and so it is with PKTRING_TX_METHOD_COPY,
/// once what was committed before is sent. On a ring of the kernel's it goes into the ring behind
/// what was committed, and the ring is flushed; it is among the completions then, with user_data 0,
/// and counts as sent although it may still wait in the ring for room in the send buffer or queue.
///
/// @param handle  an active handle; a receive ring is enough
/// @param frame   the frame, with its link-level header (PKTRING_RAW); copied
/// @param length  bytes of the frame, as for pktring_tx_commit()
/// @return length. Negative errno value when the frame was not sent:
///         - -EAGAIN    the queue, the send buffer or the ring is full; try again
///         - -EMSGSIZE  the length is out of range
///         - -EINVAL    the frame has no link-level header (PKTRING_DGRAM) and no destination
///         - -ENETDOWN  the interface is down
///         - -ENODEV    the interface is gone, or a handle on all interfaces was told of none, see
///                      pktring_set_destination()
///         - -EBUSY     the handle is not active, or a reservation of its ring is open
///         - -EFAULT    handle or frame is NULL
///
/// For the thread that transmits. The handle itself does not receive the frame.
#[no_mangle]
pub unsafe extern "C" fn pktring_inject(
    handle: *mut Handle,
    frame: *const c_void,
    length: usize,
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
        inject_one(handle, session, tx, frame).map(|sent| sent as c_int)
    };
    // SAFETY: the caller passes NULL or a handle, from the thread that transmits.
    unsafe { transmit(handle, body) }
}

/// Sends several frames, in order, with one system call for every 64 of them (sendmmsg(2)) on a
/// handle without a transmit ring or with PKTRING_TX_METHOD_COPY. On a ring of the kernel's they go
/// into the ring as for pktring_inject(), with one system call for as many as there are free slots.
///
/// @param handle  an active handle; a receive ring is enough
/// @param frames  array of count frames; an array of struct iovec will do, cast
/// @param count   0 to INT_MAX
/// @return number of frames sent. Fewer than count when one could not be sent; when that was the
///         first, the negative errno value that pktring_inject() gives for it.
///
/// For the thread that transmits.
#[no_mangle]
pub unsafe extern "C" fn pktring_inject_batch(
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
        // SAFETY: not NULL, so by the caller's promise `count` buffers, which have the layout
        // of iovec.
        let buffers = unsafe { std::slice::from_raw_parts(frames.cast::<libc::iovec>(), count) };
        if buffers.iter().any(|buffer| buffer.iov_base.is_null()) {
            return Err(Error::Null("the data of a frame"));
        }
        if tx.is_direct(handle, session)? {
            let (batch, to) = (&mut tx.batch, tx.destination.as_ref());
            let sent = inject::batch(batch, &session.socket, to, buffers, || session.limits())?;
            tx.sent_directly(sent, || {
                buffers[..sent].iter().map(|buffer| buffer.iov_len).sum()
            });
            return Ok(sent as c_int);
        }
        // SAFETY: as above, and IoSlice has the layout of iovec; none is NULL, so by the caller's
        // promise each is as many readable bytes as it says.
        let frames = unsafe { std::slice::from_raw_parts(frames.cast::<IoSlice>(), count) };
        let (transmitter, mut kernel) = tx.with_outlet(handle, session)?;
        let sent = transmitter.inject_batch(&mut kernel, frames)?;
        Ok(sent as c_int)
    };
    // SAFETY: the caller passes NULL or a handle, from the thread that transmits.
    unsafe { transmit(handle, body) }
}

pub(super) fn inject_one(
    handle: &Handle,
    session: &Session,
    tx: &mut TxSide,
    frame: &[u8],
) -> Result<usize> {
    if tx.is_direct(handle, session)? {
        let to = tx.destination.as_ref();
        let sent = inject::one(&session.socket, to, frame, || session.limits())?;
        tx.sent_directly(1, || sent);
        return Ok(sent);
    }
    let (transmitter, mut kernel) = tx.with_outlet(handle, session)?;
    transmitter.inject(&mut kernel, frame)
}
