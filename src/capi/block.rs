//! Receiving whole V3 blocks.

use super::error::Place;
use super::handle::Handle;
use super::rx::{missing, no_frame};
use super::wall;
use crate::error::Error;
use crate::frame::Block;
use crate::rx::Step;
use std::mem::MaybeUninit;
use std::os::raw::c_int;

/// Takes the next whole block of a V3 ring. Never waits.
///
/// The cheapest way to read: one call for hundreds or thousands of frames, which are then walked
/// with pktring_iter_next(). Blocks without frames are skipped. Blocks can be held while others
/// are taken, and be released in any order; the kernel fills them in order and drops packets
/// when it comes to one that is held.
///
/// Whole blocks and single frames can be taken in turn, but a block that was begun with
/// pktring_next_frame() has to be read to its end that way.
///
/// @param handle  an active handle with a V3 receive ring
/// @param block   receives the block; written only when the result is 1
/// @return 1: a block was taken. 0: none is ready. Negative errno value as from
///         pktring_next_frame(); -EBUSY also when a block was begun frame by frame, or the ring
///         is not V3.
///
/// For the thread that receives. In the statistics, the frames of whole blocks count as
/// delivered, without their bytes.
#[no_mangle]
pub unsafe extern "C" fn pktring_next_block(handle: *mut Handle, block: *mut Block) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    if block.is_null() {
        return missing(handle, "block");
    }
    wall(|| {
        // SAFETY: not NULL, so by the caller's promise room for one descriptor, which is
        // written and not read; the calling thread is the one that receives.
        let (block, rx) = unsafe { (&mut *block.cast::<MaybeUninit<Block>>(), handle.rx()) };
        if !rx.receiver.exists() {
            return no_frame(handle, Step::Empty);
        }
        match rx.receiver.next_block(block, &handle.rx_counters) {
            Ok(Step::Ready) => 1,
            Ok(step) => no_frame(handle, step),
            Err(error) => handle.fail(Place::Rx, &error),
        }
    })
}

/// Gives a block back to the kernel. Its memory must not be touched any more.
///
/// @param handle  the handle that the block was taken from
/// @param block   the block, or a copy of its descriptor
/// @return 0; -EINVAL when the block is not held: it was released before, or belongs to another
///         handle. Nothing is changed then. -EFAULT for NULL.
///
/// For the thread that receives.
#[no_mangle]
pub unsafe extern "C" fn pktring_release_block(handle: *mut Handle, block: *const Block) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    if block.is_null() {
        return missing(handle, "block");
    }
    wall(|| {
        // SAFETY: a descriptor by the caller's promise; the calling thread receives.
        let (number, slot, rx) = unsafe { ((*block).number, (*block).slot, handle.rx()) };
        match rx.receiver.release_block(number, slot, &handle.rx_counters) {
            true => 0,
            false => handle.fail(Place::Rx, &Error::NotHeld("the block")),
        }
    })
}
