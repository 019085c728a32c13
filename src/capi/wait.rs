//! Waiting, and the callback interface on top of it.

use super::error::Place;
use super::geometry::{PKTRING_RX, PKTRING_TX};
use super::handle::{Handle, RxSide};
use super::wall;
use crate::error::{invalid, Error, Result};
use crate::frame::Frame;
use crate::recover;
use crate::rx::Step;
use crate::session::{Deadline, Session};
use crate::stats::RxCounters;
use std::mem::MaybeUninit;
use std::os::raw::{c_int, c_void};

/// Called by pktring_dispatch() and pktring_loop() for every frame.
///
/// @param user   the pointer given to them
/// @param frame  the frame, valid until the callback returns; it must not be released
///
/// A C++ callback must not throw, and no callback may leave with longjmp().
#[allow(non_camel_case_types)]
pub type pktring_handler = Option<unsafe extern "C" fn(user: *mut c_void, frame: *const Frame)>;

type Callback = unsafe extern "C" fn(*mut c_void, *const Frame);

/// Waits until something can be received or transmitted.
///
/// Whether it can is decided by the ring alone: as long as it can, the call returns at once; a
/// frame that is held does not count. Unlike libpcap's, the timeout is one: on an idle link the
/// call returns 0 when it has passed. A signal does not end the wait (its handler can, with
/// pktring_breakloop()).
///
/// @param handle      an active handle
/// @param events      PKTRING_RX: a frame can be taken; PKTRING_TX: a slot can be reserved; or
///                    both
/// @param timeout_ms  milliseconds to wait at most; 0: only look; negative: without limit
/// @return the events that are there; 0: the time has passed; negative errno value:
///         - -ECANCELED  pktring_breakloop() was called; reported once
///         - -ENETDOWN   the interface went down; reported once, behind what was received before,
///                       except where timeout_ms is 0. Waiting again is right: the handle resumes
///                       when it comes up
///         - -ENODEV     the interface was removed or moved to another network namespace, and
///                       everything received before has been taken. Can come after -ENETDOWN
///         - -EBUSY      the caller holds every slot up to the next one, so nothing can arrive
///                       until it releases the oldest; or the handle is not active or has no
///                       such ring
///         - -ESHUTDOWN  another thread closes the handle
///         - -ESTALE     the kernel is stuck with the receive ring; see pktring_recover()
///         - -EINVAL     events is 0 or has unknown bits
///
/// One thread may wait for PKTRING_RX while another waits for PKTRING_TX.
#[no_mangle]
pub unsafe extern "C" fn pktring_wait(
    handle: *mut Handle,
    events: u32,
    timeout_ms: c_int,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    let place = match events {
        PKTRING_TX => Place::Tx,
        _ => Place::Rx,
    };
    wall(|| match wait(handle, events, timeout_ms) {
        Ok(ready) => ready as c_int,
        Err(error) => handle.fail(place, &error),
    })
}

fn wait(handle: &Handle, events: u32, timeout_ms: c_int) -> Result<u32> {
    if events == 0 || events & !(PKTRING_RX | PKTRING_TX) != 0 {
        return Err(invalid!(
            "events {events:#x} is invalid; PKTRING_RX (1), PKTRING_TX (2) or both are valid"
        ));
    }
    let session = handle.session()?;
    let _inside = handle.enter()?;
    let (want_rx, want_tx) = (events & PKTRING_RX != 0, events & PKTRING_TX != 0);
    let sleeper = match (want_rx, want_tx) {
        (true, false) => &session.rx_sleeper,
        (false, true) => &session.tx_sleeper,
        _ => &session.both_sleeper,
    };
    if sleeper.is_none() {
        return Err(Error::State("the handle has no ring for these events"));
    }
    let mut ready = 0;
    let waited = session.wait_until(
        || {
            ready = 0;
            if want_rx {
                // SAFETY: the thread that waits to receive is the one that receives.
                let rx = unsafe { handle.rx() };
                if rx.ready(session, &handle.rx_counters)? {
                    ready |= PKTRING_RX;
                }
            }
            // SAFETY: the thread that waits to transmit is the one that transmits.
            if want_tx && unsafe { handle.tx() }.ready(handle, session)? {
                ready |= PKTRING_TX;
            }
            Ok(ready != 0)
        },
        sleeper.as_ref(),
        &handle.interrupt,
        timeout_ms,
        || handle.rx_counters.wakeups.add(1),
    );
    if want_tx {
        session.transmits();
    }
    waited.map(|_| ready)
}

impl RxSide {
    /// Whether a frame can be taken; the error that stands in the way otherwise.
    fn ready(&mut self, session: &Session, counters: &RxCounters) -> Result<bool> {
        if self.deferred.is_some() {
            return Ok(true);
        }
        match self.receiver.peek(counters) {
            Step::Ready => Ok(true),
            Step::Empty if self.watch.is_stuck(session, &mut self.receiver, counters)? => {
                // Elsewhere somebody may be using the memory.
                if counters.held() != 0 || session.rings.tx.is_some() {
                    return Err(Error::Stuck);
                }
                recover::remake(session, &mut self.receiver, counters)?;
                Ok(false)
            }
            step => self.receiver.error(step).map_or(Ok(false), Err),
        }
    }

    /// Keeps what was found behind frames that were delivered. Only a fault has to be kept: the
    /// other findings will be made again.
    pub(super) fn defer(&mut self, step: Step) {
        if step == Step::Corrupt {
            self.deferred = Some(step);
        }
    }
}

/// The packet socket, for poll(2), select(2) and epoll(7), and for socket options that this
/// library does not have.
///
/// Readiness of the descriptor is a hint, not a promise, as the kernel has it: it is readable
/// while the newest slot is not empty, even if the caller holds it, and not readable when the
/// newest was released before older ones were read. So: take frames with pktring_next_frame()
/// until it returns 0, and wait edge-triggered (EPOLLET) where frames are held for long.
/// pktring_breakloop() does not show here.
///
/// When the interface goes down the descriptor reports POLLERR, again and again, until
/// pktring_wait() or pktring_dispatch() has taken the error from it, be it with a timeout of 0, and
/// returned -ENETDOWN; pktring_next_frame() does not look. So: with POLLERR call pktring_wait(), or
/// use pktring_dispatch() for everything. The kernel does not announce that an interface which is
/// down is removed: after -ENETDOWN call pktring_wait() with a timeout of 0 now and then, which
/// returns -ENODEV when it is gone.
///
/// @param handle  an active handle
/// @return the descriptor, which belongs to the handle and must not be closed (except in a child,
///         see pktring_open()) or read from; -EBUSY when the handle is not active; -EFAULT when
///         handle is NULL
///
/// May be called from any thread.
#[no_mangle]
pub unsafe extern "C" fn pktring_fd(handle: *mut Handle) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    match handle.session() {
        Ok(session) => session.socket.fd(),
        Err(error) => handle.fail(Place::Setup, &error),
    }
}

/// Makes the current or the next pktring_wait(), pktring_dispatch(), pktring_loop() or
/// pktring_tx_flush() of the handle return -ECANCELED.
///
/// The request is never lost, whenever it comes, and is reported once, to the first of these
/// calls that has nothing else to report; several requests before that count as one.
///
/// @param handle  the handle; NULL is allowed and does nothing
///
/// May be called from any thread and from signal handlers.
#[no_mangle]
pub unsafe extern "C" fn pktring_breakloop(handle: *mut Handle) {
    // SAFETY: the caller passes NULL or a handle.
    if let Ok(handle) = unsafe { Handle::from_c(handle) } {
        // Inside, so that the descriptor written to is not closed meanwhile and another's.
        if let Ok(_inside) = handle.enter() {
            handle.interrupt.breakloop();
        }
    }
}

/// Hands the frames that are ready to a callback; waits for the first one if there is none.
///
/// Every frame is released when the callback returns. Like libpcap's pcap_dispatch(), but the
/// timeout is one, and breakloop is reported in every case.
///
/// @param handle      an active handle with a receive ring
/// @param count       frames to hand over at most; 0 or negative: all that are ready, those that
///                    come meanwhile included, so that it returns when the ring is empty
/// @param timeout_ms  milliseconds to wait for the first frame; 0: do not wait; negative:
///                    without limit
/// @param callback    called for every frame, on this thread
/// @param user        passed to the callback
/// @return number of frames handed over; 0: the time has passed; negative errno value as from
///         pktring_wait() and pktring_next_frame(). What goes wrong behind frames that were
///         handed over, and a breakloop during them, is reported by the next call.
///
/// For the thread that receives. The callback may call any function with this handle except
/// those that receive, and pktring_close(): this one, pktring_loop() and pktring_close() return
/// -EBUSY there.
#[no_mangle]
pub unsafe extern "C" fn pktring_dispatch(
    handle: *mut Handle,
    count: c_int,
    timeout_ms: c_int,
    callback: pktring_handler,
    user: *mut c_void,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(
        || match dispatch(handle, count, timeout_ms, callback, user) {
            Ok(handled) => handled,
            Err(error) => handle.fail(Place::Rx, &error),
        },
    )
}

/// Hands frames to a callback until count have been handed over or something ends it.
///
/// @param handle    an active handle with a receive ring
/// @param count     frames to hand over; 0 or negative: without limit
/// @param callback  called for every frame, on this thread; the frame is released afterwards
/// @param user      passed to the callback
/// @return 0 when count frames have been handed over; -ECANCELED after pktring_breakloop();
///         another negative errno value as from pktring_wait() and pktring_next_frame()
///
/// For the thread that receives, with the same rules as for pktring_dispatch().
#[no_mangle]
pub unsafe extern "C" fn pktring_loop(
    handle: *mut Handle,
    count: c_int,
    callback: pktring_handler,
    user: *mut c_void,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(|| {
        let mut left = count;
        loop {
            match dispatch(handle, left, -1, callback, user) {
                Err(error) => return handle.fail(Place::Rx, &error),
                Ok(handled) if count > 0 => {
                    left -= handled;
                    if left == 0 {
                        return 0;
                    }
                }
                Ok(_) => {}
            }
        }
    })
}

fn dispatch(
    handle: &Handle,
    count: c_int,
    timeout_ms: c_int,
    callback: pktring_handler,
    user: *mut c_void,
) -> Result<c_int> {
    let callback = callback.ok_or(Error::Null("callback"))?;
    let session = handle.session()?;
    if handle.is_in_callback() {
        return Err(Error::State(
            "pktring_dispatch or pktring_loop inside a callback of the same handle; return from \
             the callback, and the next frame comes",
        ));
    }
    let _inside = handle.enter()?;
    let deadline = Deadline::after_ms(timeout_ms);
    let most = if count > 0 { count } else { c_int::MAX };
    loop {
        handle.interrupt.check()?;
        let handled = drain(handle, most, callback, user)?;
        if handled != 0 {
            return Ok(handled);
        }
        if !wait_for_frame(handle, session, &deadline, timeout_ms)? {
            return Ok(0);
        }
    }
}

fn wait_for_frame(
    handle: &Handle,
    session: &Session,
    deadline: &Deadline,
    timeout_ms: c_int,
) -> Result<bool> {
    let left = match timeout_ms {
        limited if limited >= 0 => deadline.left_ms(limited),
        unlimited => unlimited,
    };
    session.wait_until(
        // SAFETY: the thread that dispatches is the one that receives.
        || unsafe { handle.rx() }.ready(session, &handle.rx_counters),
        session.rx_sleeper.as_ref(),
        &handle.interrupt,
        left,
        || handle.rx_counters.wakeups.add(1),
    )
}

/// Hands over what is ready, at most `most` frames.
fn drain(handle: &Handle, most: c_int, callback: Callback, user: *mut c_void) -> Result<c_int> {
    let _callbacks = handle.callbacks();
    let counters = &handle.rx_counters;
    let mut frame = MaybeUninit::<Frame>::uninit();
    let mut handled = 0;
    // SAFETY: the thread that dispatches is the one that receives.
    if let Some(step) = unsafe { handle.rx() }.deferred.take() {
        return nothing(handle, step);
    }
    while handled < most {
        handled += drain_plain(handle, most - handled, callback, user);
        if handled >= most || handle.interrupt.pending() {
            break;
        }
        // SAFETY: as above; the reference ends before the callback runs.
        let rx = unsafe { handle.rx() };
        match rx.receiver.take(&mut frame, counters) {
            Step::Ready => {}
            step if handled == 0 => return nothing(handle, step),
            step => {
                rx.defer(step);
                break;
            }
        }
        // SAFETY: `take` said Ready and has written the frame.
        unsafe { hand_over(handle, &frame, callback, user) };
        handled += 1;
        if handle.interrupt.pending() {
            break;
        }
    }
    Ok(handled)
}

/// Hands over the next frames, at most `most`, as long as they are plain ones of the V3 block that
/// is being read, which is to say almost all.
#[inline(never)]
fn drain_plain(handle: &Handle, most: c_int, callback: Callback, user: *mut c_void) -> c_int {
    let counters = &handle.rx_counters;
    let mut frame = MaybeUninit::<Frame>::uninit();
    // SAFETY: the thread that dispatches is the one that receives.
    let plain_end = unsafe { handle.rx() }.receiver.plain_end();
    let first = counters.next.get();
    let end = plain_end.min(first.saturating_add(most as u64));
    loop {
        // SAFETY: as above; the reference ends before the callback runs.
        let rx = unsafe { handle.rx() };
        if !rx.receiver.next_before(end, &mut frame, counters) {
            break;
        }
        // SAFETY: it was taken, so the frame was written.
        unsafe { hand_over(handle, &frame, callback, user) };
        if handle.interrupt.pending() {
            break;
        }
    }
    // Each was a plain frame, so the numbers have counted them.
    counters.next.get().wrapping_sub(first) as c_int
}

/// Calls the callback with a frame and gives that back.
///
/// # Safety
/// The frame was taken by the calling thread, which has no reference to what is received with.
#[inline(always)]
unsafe fn hand_over(
    handle: &Handle,
    frame: &MaybeUninit<Frame>,
    callback: Callback,
    user: *mut c_void,
) {
    // SAFETY: whoever takes a frame writes it.
    let taken = unsafe { frame.assume_init_ref() };
    let (number, addr) = (taken.number, taken.addr);
    // SAFETY: the caller's function, called as documented.
    unsafe { callback(user, taken) };
    // SAFETY: the calling thread receives; the callback has returned.
    let receiver = unsafe { &mut handle.rx().receiver };
    receiver.give(number, addr, &handle.rx_counters);
}

/// What dispatch says when it found no frame but `step`.
#[cold]
fn nothing(handle: &Handle, step: Step) -> Result<c_int> {
    // SAFETY: called by the thread that dispatches, which is the one that receives.
    let receiver = unsafe { &handle.rx().receiver };
    match receiver.error(step) {
        Some(error) => Err(error),
        None if receiver.exists() => Ok(0),
        None => Err(Error::State("the handle has no receive ring")),
    }
}
