//! Walking the frames of one V3 block: the few instructions that every frame costs.

use super::scouts::Scouts;
use super::{prefetch, View};
use crate::frame::Frame;
use crate::sys::layout::{v3, SLL_LEN};
use std::mem::MaybeUninit;
use std::sync::atomic::{compiler_fence, Ordering};

/// How far ahead of the reader cache lines are asked for. The headers of a block form a linked
/// list, and each one is a cache miss that the processor cannot foresee, or not far enough ahead;
/// sweeping over the bytes ahead of the reader hides it.
pub(crate) const SWEEP_AHEAD: usize = 2048;

/// How far the reader goes before the sweep goes on.
pub(crate) const SWEEP_STEP: usize = 1024;

/// Mean bytes of a frame up to which that pays. Of larger ones most of what is fetched would be
/// payload that nobody may read: there it is [`Scouts`] that look ahead.
const SWEEP_MEAN: u32 = 320;

pub(crate) const LINE: usize = 64;

/// What every reader needs of a frame ends about there: headers and the first bytes of data.
pub(crate) const READ: usize = HEADERS + 22;

/// Bytes of a frame that has no data.
const HEADERS: usize = v3::SLL + SLL_LEN;

/// Stands in for the frame of a walk that is at none. The kernel has not filled it in.
static NOWHERE: [u8; HEADERS] = [0; HEADERS];

/// A place in a block, and the block.
pub struct Walk {
    /// Address of the `sockaddr_ll` behind the next frame's header: what its descriptor has to
    /// hold. Header and address lie inside of the block, or are [`NOWHERE`].
    at: *const u8,
    /// Beyond this address, which is not beyond `last`, there is more to do than to go on.
    stop: u64,
    /// The last address at which a `sockaddr_ll` lies inside of the block.
    last: u64,
    /// Cache lines before this address have been asked for.
    swept: u64,
    /// Whether that is how to look ahead; else the scouts do.
    sweeps: bool,
    scouts: Scouts,
    /// The offset that led to no frame.
    astray: usize,
    pub block: View,
}

// SAFETY: the pointer leads into `block`, which is Send, or to a constant.
unsafe impl Send for Walk {}

impl Walk {
    /// A walk at no frame, through a block that is still to be chosen from `ring`.
    pub fn new(ring: View) -> Walk {
        Walk {
            at: nowhere(),
            stop: 0,
            last: 0,
            swept: 0,
            sweeps: true,
            scouts: Scouts::default(),
            astray: 0,
            block: ring,
        }
    }

    /// Starts to walk the block of `size` bytes at `start`; false, and no change, when it does
    /// not lie inside of the mapping.
    pub fn open(&mut self, start: usize, size: usize) -> bool {
        if size < HEADERS || !self.block.aim(start, size) {
            return false;
        }
        self.at = nowhere();
        self.last = address(self.block.base.as_ptr()) + (size - SLL_LEN) as u64;
        self.stop = 0;
        self.swept = 0;
        true
    }

    /// Offset of the next frame's header.
    pub fn offset(&self) -> usize {
        match self.at == nowhere() {
            true => self.astray,
            false => self.block.offset_of(self.at) - v3::SLL,
        }
    }

    /// Makes the header at `offset` the next one.
    pub fn set_offset(&mut self, offset: usize) {
        match self.block.pointer(offset, HEADERS) {
            // SAFETY: HEADERS bytes from there on lie inside of the block, and SLL is less.
            Some(header) => self.at = unsafe { header.as_ptr().add(v3::SLL) },
            None => {
                self.at = nowhere();
                self.astray = offset;
            }
        }
    }

    /// Chooses how to look ahead in a block with `count` frames in `length` bytes.
    pub fn expect(&mut self, length: u32, count: u32) {
        let mean = length / count;
        self.sweeps = mean <= SWEEP_MEAN;
        if !self.sweeps {
            let first = self.block.u32(self.offset().wrapping_add(v3::NEXT));
            self.scouts = Scouts::new(length, mean, first.unwrap_or(0));
        }
    }

    /// Has the scouts go on, where there are any. [`Walk::take`] says no until then.
    pub fn scout(&mut self) -> bool {
        let scouts = !self.sweeps && self.at != nowhere();
        if scouts {
            let (block, offset) = (&self.block, self.offset());
            let pace = self.scouts.go_on(block, offset, |at| block.prefetch(at));
            self.stop = self.last.min(address(self.at).saturating_add(pace as u64));
        }
        scouts
    }

    /// Asks for cache lines ahead of the reader, who comes to `at`.
    #[inline(always)]
    fn sweep(&mut self, at: u64) {
        let from = self.swept.max(at);
        for line in 0..SWEEP_STEP / LINE {
            prefetch((from as usize + line * LINE) as *const u8);
        }
        self.swept = from + SWEEP_STEP as u64;
        self.stop = self.last.min(self.swept - SWEEP_AHEAD as u64);
    }

    /// Reads the next frame into `out` and goes on to the one behind it, if nothing about it is
    /// out of the ordinary: it carries the USER bit, its data lies before the next header, and
    /// that one inside of the block and not where the scouts want to be called. Otherwise says no
    /// and stays; what `out` holds then is of no meaning.
    ///
    /// Returns the captured length.
    #[inline(always)]
    pub fn take(&mut self, number: u64, out: &mut MaybeUninit<Frame>) -> Option<u32> {
        let at = self.at;
        let out = out.as_mut_ptr();
        // SAFETY: header and address at `at` lie inside of the block or are NOWHERE, and `out` has
        // room for a frame. The memory is shared, so what is checked must be what is used: the
        // fields are copied out first, and the checks look at the copy. The fence keeps the
        // compiler from looking at the original again.
        unsafe {
            let header = at.sub(v3::SLL);
            let next = header.add(v3::NEXT).cast::<u32>().read_unaligned();
            let behind = at.wrapping_add(next as usize);
            let place = reached(at, behind);
            if place > self.stop {
                if place > self.last || !self.sweeps {
                    return None;
                }
                self.sweep(place);
            }
            let middle = std::ptr::addr_of_mut!((*out).caplen).cast::<u8>();
            std::ptr::copy_nonoverlapping(header.add(v3::SNAPLEN), middle, crate::frame::COPIED);
            compiler_fence(Ordering::SeqCst);
            let status = std::ptr::addr_of!((*out).status).read();
            let mac = std::ptr::addr_of!((*out).mac).read();
            let caplen = std::ptr::addr_of!((*out).caplen).read();
            let end = u64::from(mac) + u64::from(caplen);
            if status & libc::TP_STATUS_USER == 0 || end > u64::from(next) {
                return None;
            }
            // Not beyond `last`: header and address there lie inside of the block.
            self.at = behind;
            std::ptr::addr_of_mut!((*out).data)
                .write(at.wrapping_add(usize::from(mac).wrapping_sub(v3::SLL)));
            // Any time will do.
            let sec = header.add(v3::SEC).cast::<u32>().read_unaligned();
            let nsec = header.add(v3::NSEC).cast::<u32>().read_unaligned();
            std::ptr::addr_of_mut!((*out).timestamp)
                .write(u64::from(sec) * 1_000_000_000 + u64::from(nsec));
            std::ptr::addr_of_mut!((*out).addr).write(at.cast());
            std::ptr::addr_of_mut!((*out).number).write(number);
            Some(caplen)
        }
    }
}

/// The place that is none.
fn nowhere() -> *const u8 {
    NOWHERE[v3::SLL..].as_ptr()
}

/// The address of `behind`; one that is beyond every other where an offset of 32 bits led from `at`
/// past the end of all memory, as it can where addresses have no more than that.
#[inline(always)]
fn reached(at: *const u8, behind: *const u8) -> u64 {
    match cfg!(target_pointer_width = "32") && behind < at {
        true => u64::MAX,
        false => address(behind),
    }
}

/// The address of `at`, to be added to without running over.
#[inline(always)]
fn address(at: *const u8) -> u64 {
    at as usize as u64
}
