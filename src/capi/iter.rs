//! The functions of `include/pktring/inline.h` for languages that cannot inline C: the same
//! names, the same results. cbindgen does not read this file; the C header has them as inline
//! functions, with their documentation, and tests/c/inline.c holds the two together.

use super::rx::{
    PKTRING_STATUS_TS_RAW_HARDWARE, PKTRING_STATUS_TS_SOFTWARE, PKTRING_STATUS_VLAN_VALID,
};
use crate::frame::{Block, Frame};
use crate::ring::map::prefetch;
use crate::ring::map::walk::{LINE, READ, SWEEP_AHEAD, SWEEP_STEP};
use crate::sys::layout::{v3, SLL_LEN};
use std::os::raw::{c_int, c_void};

/// Mean bytes of a frame up to which all lines are asked for. Scouts, which do better from 320 bytes
/// on, would take a call of the library, and compilers then keep the iterator in memory.
const SWEEP_MEAN: u32 = 1024;

/// Of larger frames the first lines of the one so many ahead are asked for, as if all were as large
/// as the present one.
const FRAMES_AHEAD: usize = 8;

const LENGTH: u64 = (v3::SLL + SLL_LEN) as u64;

/// `struct pktring_iter` of inline.h. Addresses are numbers, since a corrupt block may make one
/// that leads nowhere.
#[repr(C)]
pub struct Iter {
    at: u64,
    step: u64,
    stop: u64,
    last: u64,
    swept: u64,
    number: u64,
    end_number: u64,
    predicts: u64,
    reserved: u64,
}

const _: () = assert!(std::mem::size_of::<Iter>() == 72);

/// Starts to walk the frames of a block.
#[no_mangle]
pub unsafe extern "C" fn pktring_iter_init(iter: *mut Iter, block: *const Block) {
    // SAFETY: the caller passes room for an iterator and a block descriptor.
    let (iter, block) = unsafe { (&mut *iter, &*block) };
    let base = block.base as usize as u64;
    let count = match u64::from(block.size) < LENGTH {
        true => 0,
        false => block.frame_count,
    };
    let first = base.wrapping_add(block.first_offset.into());
    let predicts = count != 0 && block.length / count > SWEEP_MEAN;
    *iter = Iter {
        at: first.wrapping_sub(LENGTH),
        step: match count {
            0 => 0,
            _ => LENGTH,
        },
        stop: 0,
        last: base.wrapping_add(block.size.into()).wrapping_sub(LENGTH),
        swept: 0,
        number: block.number,
        end_number: block.number.wrapping_add(count.into()),
        predicts: predicts.into(),
        reserved: 0,
    };
}

impl Iter {
    /// Behind the last frame of a chain: whether the block said that this is the last one.
    fn end(&mut self) -> c_int {
        let result = match self.number == self.end_number {
            true => 0,
            false => -libc::EBADMSG,
        };
        self.step = 0;
        self.number = self.end_number;
        result
    }

    /// Checks that the next header lies in the block and asks for the cache lines ahead.
    fn advance(&mut self) -> bool {
        if self.at > self.last {
            return false;
        }
        if self.predicts != 0 {
            let ahead = self.step.wrapping_mul(FRAMES_AHEAD as u64);
            let header = self.at.wrapping_add(ahead) as usize;
            prefetch(header as *const u8);
            prefetch(header.wrapping_add(LINE) as *const u8);
            prefetch(header.wrapping_add(READ) as *const u8);
            return true;
        }
        self.swept = self.swept.max(self.at);
        for line in 0..SWEEP_STEP / LINE {
            prefetch((self.swept as usize + line * LINE) as *const u8);
        }
        self.swept += SWEEP_STEP as u64;
        self.stop = (self.swept - SWEEP_AHEAD as u64).min(self.last + 1);
        true
    }
}

/// Takes the next frame of a block.
#[no_mangle]
pub unsafe extern "C" fn pktring_iter_next(iter: *mut Iter, frame: *mut Frame) -> c_int {
    // SAFETY: the caller passes an iterator that was initialised.
    let iter = unsafe { &mut *iter };
    loop {
        if iter.step < LENGTH {
            return iter.end();
        }
        iter.at = iter.at.wrapping_add(iter.step);
        let at = iter.at;
        if at >= iter.stop && !iter.advance() {
            iter.number = iter.end_number.wrapping_sub(1);
            return iter.end();
        }
        iter.number = iter.number.wrapping_add(1);
        // SAFETY: `advance` has found that a header and an address at `at` lie in the block,
        // which is the caller's until it is released.
        let header = unsafe { Header::read(at as usize as *const u8) };
        iter.step = header.next.into();
        if header.status & libc::TP_STATUS_USER == 0 {
            continue;
        }
        let room = iter.last.wrapping_add(LENGTH).wrapping_sub(at);
        let end = u64::from(header.mac) + u64::from(header.snaplen);
        // SAFETY: the caller passes room for a frame descriptor.
        unsafe {
            frame.write(Frame {
                data: at.wrapping_add(header.mac.into()) as usize as *const u8,
                timestamp: u64::from(header.sec) * 1_000_000_000 + u64::from(header.nsec),
                caplen: if end > room { 0 } else { header.snaplen },
                len: header.len,
                status: header.status,
                mac: header.mac,
                net: header.net,
                rxhash: header.rxhash,
                vlan_tci: header.vlan_tci,
                vlan_tpid: header.vlan_tpid,
                reserved1: 0,
                reserved2: 0,
                addr: ((at & !7) + v3::SLL as u64) as usize as *const _,
                number: iter.number.wrapping_sub(1),
            });
        }
        return 1;
    }
}

/// The fields of `struct tpacket3_hdr`.
struct Header {
    next: u32,
    sec: u32,
    nsec: u32,
    snaplen: u32,
    len: u32,
    status: u32,
    mac: u16,
    net: u16,
    rxhash: u32,
    vlan_tci: u32,
    vlan_tpid: u16,
}

impl Header {
    /// # Safety
    /// `v3::SLL` bytes at `from` are readable.
    #[inline(always)]
    unsafe fn read(from: *const u8) -> Header {
        // SAFETY: all fields lie within v3::SLL bytes; a corrupt offset may not be aligned.
        unsafe {
            let u32_at = |at: usize| from.add(at).cast::<u32>().read_unaligned();
            let u16_at = |at: usize| from.add(at).cast::<u16>().read_unaligned();
            Header {
                next: u32_at(v3::NEXT),
                sec: u32_at(v3::SEC),
                nsec: u32_at(v3::NSEC),
                snaplen: u32_at(v3::SNAPLEN),
                len: u32_at(v3::LEN),
                status: u32_at(v3::STATUS),
                mac: u16_at(v3::MAC),
                net: u16_at(v3::NET),
                rxhash: u32_at(v3::RXHASH),
                vlan_tci: u32_at(v3::VLAN_TCI),
                vlan_tpid: u16_at(v3::VLAN_TPID),
            }
        }
    }
}

/// Looks at a part of a frame; NULL when it was not captured whole.
#[no_mangle]
pub unsafe extern "C" fn pktring_frame_part(
    frame: *const Frame,
    offset: u32,
    length: u32,
) -> *const c_void {
    // SAFETY: the caller passes a frame descriptor.
    let frame = unsafe { &*frame };
    if offset > frame.caplen || length > frame.caplen - offset {
        return std::ptr::null();
    }
    frame.data.wrapping_add(offset as usize).cast()
}

/// The VLAN id of the tag that the kernel took off a frame; -1 when there was none.
#[no_mangle]
pub unsafe extern "C" fn pktring_frame_vlan(frame: *const Frame) -> c_int {
    // SAFETY: the caller passes a frame descriptor.
    let frame = unsafe { &*frame };
    match frame.status & PKTRING_STATUS_VLAN_VALID {
        0 => -1,
        _ => (frame.vlan_tci & 0x0fff) as c_int,
    }
}

/// Where the timestamp of a frame was taken: one of the PKTRING_STATUS_TS_* bits, or 0.
#[no_mangle]
pub unsafe extern "C" fn pktring_frame_timestamp_source(frame: *const Frame) -> u32 {
    // SAFETY: the caller passes a frame descriptor.
    let status = unsafe { (*frame).status };
    status & (PKTRING_STATUS_TS_RAW_HARDWARE | PKTRING_STATUS_TS_SOFTWARE)
}
