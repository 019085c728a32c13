//! Receiving frame by frame.

use super::error::Place;
use super::handle::Handle;
use super::wall;
use crate::error::Error;
use crate::frame::Frame;
use crate::rx::{Receiver, Step};
use crate::stats::RxCounters;
use std::mem::MaybeUninit;
use std::os::raw::c_int;

/// The frame was larger than its V1 or V2 slot and cut (TP_STATUS_COPY).
pub const PKTRING_STATUS_COPY: u32 = 1 << 1;
/// Packets were dropped since the statistics were read last (TP_STATUS_LOSING).
pub const PKTRING_STATUS_LOSING: u32 = 1 << 2;
/// The checksum in the frame is not computed yet: the frame was sent by this host or a guest,
/// which leaves that to hardware (TP_STATUS_CSUMNOTREADY). Do not check it.
pub const PKTRING_STATUS_CSUMNOTREADY: u32 = 1 << 3;
/// pktring_frame.vlan_tci is valid (TP_STATUS_VLAN_VALID).
pub const PKTRING_STATUS_VLAN_VALID: u32 = 1 << 4;
/// The block was handed over by the retire timeout (TP_STATUS_BLK_TMO).
pub const PKTRING_STATUS_BLK_TMO: u32 = 1 << 5;
/// pktring_frame.vlan_tpid is valid (TP_STATUS_VLAN_TPID_VALID).
pub const PKTRING_STATUS_VLAN_TPID_VALID: u32 = 1 << 6;
/// The kernel or the NIC has checked the transport checksum (TP_STATUS_CSUM_VALID).
pub const PKTRING_STATUS_CSUM_VALID: u32 = 1 << 7;
/// The frame is a TCP segment that the NIC or the kernel put together from several
/// (TP_STATUS_GSO_TCP). It can be longer than the MTU.
pub const PKTRING_STATUS_GSO_TCP: u32 = 1 << 8;
/// The timestamp was taken by the kernel when it received the frame (TP_STATUS_TS_SOFTWARE).
pub const PKTRING_STATUS_TS_SOFTWARE: u32 = 1 << 29;
/// The timestamp was taken by the NIC, of its own clock (TP_STATUS_TS_RAW_HARDWARE). Without
/// either bit it was taken when the frame was put into the ring.
pub const PKTRING_STATUS_TS_RAW_HARDWARE: u32 = 1 << 31;

/// Takes the next frame from the receive ring. Never waits.
///
/// The frame is the caller's until it is given back with pktring_release(). Frames can be held
/// while others are taken, and be released in any order; but the ring has only so much room, and
/// the kernel fills it in order: behind the oldest frame that is held (V3: the oldest block in
/// which one is held) it drops packets when the rest is full.
///
/// @param handle  an active handle with a receive ring
/// @param frame   receives the frame; what it holds has no meaning unless the result is 1
/// @return 1: a frame was taken. 0: none is ready; see pktring_wait(). Negative errno value:
///         - -EBUSY     the caller holds every slot up to the next one; release the oldest
///         - -EBADMSG   the ring contents cannot be right. The frames concerned are skipped and
///                      counted as corrupt; the next call goes on behind them
///         - -EFAULT    handle or frame is NULL
///         - -EBADF     the handle was opened before this process was forked
///         - -EBUSY     the handle is not active or has no receive ring
///
/// One thread at a time may receive from a handle; another one may transmit meanwhile.
/// cbindgen:prefix=PKTRING_HOT_
#[no_mangle]
pub unsafe extern "C" fn pktring_next_frame(handle: *mut Handle, frame: *mut Frame) -> c_int {
    // SAFETY: as the caller promises of both.
    if unsafe { taken(handle, frame, Receiver::next_plain) } {
        return 1;
    }
    // SAFETY: passed on as they came.
    unsafe { next_common(handle, frame) }
}

/// The common cases but the commonest, out of its way. `extern "C"`, which cannot unwind, so that
/// it is jumped to rather than called.
#[inline(never)]
unsafe extern "C" fn next_common(handle: *mut Handle, frame: *mut Frame) -> c_int {
    // SAFETY: passed on as they came.
    if unsafe { taken(handle, frame, Receiver::next_common) } {
        return 1;
    }
    // SAFETY: passed on as they came.
    unsafe { next_scouted(handle, frame) }
}

/// And blocks of large frames, where this is every few of them.
#[inline(never)]
unsafe extern "C" fn next_scouted(handle: *mut Handle, frame: *mut Frame) -> c_int {
    // SAFETY: passed on as they came.
    if unsafe { taken(handle, frame, Receiver::next_scouted) } {
        return 1;
    }
    // SAFETY: passed on as they came.
    unsafe { next_frame(handle, frame) }
}

/// Whether `take` has taken a frame.
///
/// # Safety
/// The caller passes NULL or a handle, and NULL or room for a descriptor, and is the one that
/// receives.
#[inline(always)]
unsafe fn taken(
    handle: *mut Handle,
    frame: *mut Frame,
    take: impl FnOnce(&mut Receiver, &mut MaybeUninit<Frame>, &RxCounters) -> bool,
) -> bool {
    if !both(handle, frame) {
        return false;
    }
    // SAFETY: neither is NULL, so by the caller's promise a handle and room for one descriptor,
    // which is written and not read; the calling thread is the one that receives. In a forked
    // child the handle is all zero, which is a ring without a frame to take.
    unsafe {
        let frame = &mut *frame.cast::<MaybeUninit<Frame>>();
        let receiver = &mut (*handle).rx().receiver;
        take(receiver, frame, &(*handle).rx_counters)
    }
}

/// All of pktring_next_frame() but the common cases.
#[inline(never)]
unsafe extern "C" fn next_frame(handle: *mut Handle, frame: *mut Frame) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    if frame.is_null() {
        return missing(handle, "frame");
    }
    wall(|| {
        // SAFETY: not NULL, so by the caller's promise room for one descriptor, which is
        // written and not read; the calling thread is the one that receives.
        let (frame, rx) = unsafe { (&mut *frame.cast::<MaybeUninit<Frame>>(), handle.rx()) };
        if let Some(step) = rx.deferred.take() {
            return no_frame(handle, step);
        }
        match rx.receiver.next(frame, &handle.rx_counters) {
            Step::Ready => 1,
            step => no_frame(handle, step),
        }
    })
}

/// Gives a frame back to the kernel. Its memory must not be touched any more.
///
/// @param handle  the handle that the frame was taken from
/// @param frame   the frame, or a copy of its descriptor
/// @return 0; -EINVAL when the frame is not held: it was released before, or belongs to another
///         handle. Nothing is changed then. -EFAULT for NULL.
///
/// For the thread that receives.
/// cbindgen:prefix=PKTRING_HOT_
#[no_mangle]
pub unsafe extern "C" fn pktring_release(handle: *mut Handle, frame: *const Frame) -> c_int {
    if both(handle, frame) {
        // SAFETY: neither is NULL, so by the caller's promise a handle and a descriptor; the calling
        // thread is the one that receives. In a forked child the handle is all zero, which lets
        // no frame pass.
        let released = unsafe { (*handle).rx_counters.release.pass((*frame).number) };
        if released {
            return 0;
        }
    }
    // SAFETY: passed on as they came.
    unsafe { release_common(handle, frame) }
}

/// The common cases but the commonest, out of its way.
#[inline(never)]
unsafe extern "C" fn release_common(handle: *mut Handle, frame: *const Frame) -> c_int {
    if both(handle, frame) {
        // SAFETY: as in pktring_release().
        let released = unsafe {
            let rx = (*handle).rx();
            rx.receiver
                .release_common((*frame).number, &(*handle).rx_counters)
        };
        if released {
            return 0;
        }
    }
    // SAFETY: passed on as they came.
    unsafe { release(handle, frame) }
}

/// All of pktring_release() but the common cases.
#[inline(never)]
unsafe extern "C" fn release(handle: *mut Handle, frame: *const Frame) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    if frame.is_null() {
        return missing(handle, "frame");
    }
    wall(|| {
        // SAFETY: a descriptor by the caller's promise; the calling thread receives.
        let (number, addr, rx) = unsafe { ((*frame).number, (*frame).addr, handle.rx()) };
        match rx.receiver.release(number, addr, &handle.rx_counters) {
            true => 0,
            false => handle.fail(Place::Rx, &Error::NotHeld("the frame")),
        }
    })
}

/// Takes up to max frames at once. Never waits.
///
/// The same as that many calls of pktring_next_frame(), which on a large ring are as fast:
/// useful where frames are handed on in groups.
///
/// @param handle  an active handle with a receive ring
/// @param frames  array of max descriptors; the first ones are written
/// @param max     1 to INT_MAX
/// @return number of frames taken; 0: none is ready; negative errno value as from
///         pktring_next_frame() when not a single one was taken. An error behind frames that
///         were taken is reported by the next call.
///
/// For the thread that receives.
#[no_mangle]
pub unsafe extern "C" fn pktring_next_batch(
    handle: *mut Handle,
    frames: *mut Frame,
    max: u32,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    if frames.is_null() {
        return missing(handle, "frames");
    }
    wall(|| {
        // SAFETY: the calling thread receives.
        let rx = unsafe { handle.rx() };
        if let Some(step) = rx.deferred.take() {
            return no_frame(handle, step);
        }
        let max = max.min(c_int::MAX as u32);
        for taken in 0..max {
            // SAFETY: taken < max descriptors by the caller's promise; written, not read.
            let frame = unsafe { &mut *frames.add(taken as usize).cast::<MaybeUninit<Frame>>() };
            match rx.receiver.take(frame, &handle.rx_counters) {
                Step::Ready => {}
                step if taken == 0 => return no_frame(handle, step),
                step => {
                    rx.defer(step);
                    return taken as c_int;
                }
            }
        }
        max as c_int
    })
}

/// Gives several frames back.
///
/// @param handle  the handle that the frames were taken from
/// @param frames  array of count descriptors
/// @param count   0 to INT_MAX
/// @return 0 when all were held; -EINVAL when at least one was not. The others are released all
///         the same. -EFAULT for NULL.
///
/// For the thread that receives.
#[no_mangle]
pub unsafe extern "C" fn pktring_release_batch(
    handle: *mut Handle,
    frames: *const Frame,
    count: u32,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    if frames.is_null() {
        return missing(handle, "frames");
    }
    wall(|| {
        // SAFETY: the calling thread receives.
        let rx = unsafe { handle.rx() };
        let mut all = true;
        for i in 0..count as usize {
            // SAFETY: i < count descriptors by the caller's promise.
            let frame = unsafe { &*frames.add(i) };
            all &= rx
                .receiver
                .give(frame.number, frame.addr, &handle.rx_counters);
        }
        match all {
            true => 0,
            false => handle.fail(Place::Rx, &Error::NotHeld("at least one of the frames")),
        }
    })
}

/// The answer to a look at the ring that found no frame.
#[cold]
#[inline(never)]
pub(super) fn no_frame(handle: &Handle, step: Step) -> c_int {
    // SAFETY: called by the thread that receives, without another reference in use.
    let rx = unsafe { handle.rx() };
    if let Some(error) = rx.receiver.error(step) {
        return handle.fail(Place::Rx, &error);
    }
    if !rx.receiver.exists() {
        let error = match handle.session() {
            Ok(_) => Error::State("the handle has no receive ring"),
            Err(error) => error,
        };
        return handle.fail(Place::Rx, &error);
    }
    0
}

/// Whether neither is NULL, for certain: two addresses that have a bit in common, as next to any
/// two of one process have, in half the instructions. Where they have none, the long way answers.
#[inline(always)]
fn both(handle: *mut Handle, frame: *const Frame) -> bool {
    handle as usize & frame as usize != 0
}

/// The answer to a NULL argument.
#[cold]
#[inline(never)]
pub(super) fn missing(handle: &Handle, name: &'static str) -> c_int {
    handle.fail(Place::Rx, &Error::Null(name))
}
