//! The mapped ring memory and every access to it, bounds-checked.
//!
//! The memory is shared with the kernel, so no reference is formed over it: fields are read
//! one by one, each exactly once, and what has been read is checked before it is used.

mod scouts;
pub(crate) mod walk;

use crate::error::Error;
use crate::frame::{Address, Frame};
use crate::sys::call::{self, Errno};
use crate::sys::layout::{block, v1, v2, v3, ALIGNMENT, SLL_LEN};
use std::mem::MaybeUninit;
use std::os::unix::io::RawFd;
use std::ptr::NonNull;
use std::sync::Arc;
pub use walk::Walk;

/// One `mmap` region, unmapped when the last [`View`] of it is gone.
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is plain memory, valid in every thread; access to it goes through `View`,
// whose methods read and write by value. Who may use which part when is the ring protocol's.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of the rings of the packet socket `fd`, shared with the kernel.
    ///
    /// The mapping is kept from children of a fork: with it a child would keep the ring alive
    /// after this process closed it, and two processes would consume the same slots.
    pub fn of_socket(fd: RawFd, len: usize, flags: i32) -> Result<Arc<Mapping>, Errno> {
        let base = call::map_shared(fd, len, flags)?;
        let mapping = Mapping { base, len };
        call::keep_from_children(base, len)?;
        Ok(Arc::new(mapping))
    }

    /// Private memory of `len` bytes, all zero, kept from children of a fork like a ring.
    pub fn private(len: usize, flags: i32) -> Result<Arc<Mapping>, Errno> {
        let base = call::map_private(len, flags)?;
        let mapping = Mapping { base, len };
        call::keep_from_children(base, len)?;
        Ok(Arc::new(mapping))
    }

    /// Has `between` make the rings anew, which is possible only while nobody has them mapped,
    /// and maps them again at the same address. Meanwhile, and for good should this fail, memory
    /// that is all zero stands there, so that every pointer stays valid.
    fn replace<E>(
        &self,
        fd: RawFd,
        flags: i32,
        between: impl FnOnce() -> Result<(), E>,
        fail: impl Fn(Errno) -> E,
    ) -> Result<(), E> {
        call::remap_anonymous(self.base, self.len).map_err(&fail)?;
        between()?;
        call::remap_shared(self.base, self.len, fd, flags).map_err(&fail)?;
        call::keep_from_children(self.base, self.len).map_err(&fail)
    }

    /// Private memory laid out like a ring, for tests of the cursors over arbitrary contents.
    #[cfg(any(test, fuzzing))]
    pub fn of_bytes(bytes: &[u8]) -> Arc<Mapping> {
        let base = call::map_anonymous(bytes.len()).expect("anonymous memory");
        // SAFETY: the new mapping is bytes.len() bytes long and nobody else knows it yet.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), base.as_ptr(), bytes.len()) };
        Arc::new(Mapping {
            base,
            len: bytes.len(),
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        call::unmap(self.base, self.len);
    }
}

/// A window into a [`Mapping`]: a ring, or one block of it. All offsets count from its start.
#[derive(Clone)]
pub struct View {
    base: NonNull<u8>,
    len: usize,
    /// `None`: a window onto nothing, of length 0.
    mapping: Option<Arc<Mapping>>,
}

// SAFETY: the base pointer points into `mapping`, which is Send and Sync and kept alive here.
unsafe impl Send for View {}

/// What a receive header says, whatever its version.
pub struct Header {
    /// Offset from this header to the next one (V3 only).
    pub next: u32,
    pub sec: u32,
    pub nsec: u32,
    pub snaplen: u32,
    pub len: u32,
    pub status: u32,
    pub mac: u16,
    pub net: u16,
    pub rxhash: u32,
    pub vlan_tci: u32,
    pub vlan_tpid: u16,
}

/// What a V3 block descriptor says.
pub struct BlockHeader {
    pub priv_offset: u32,
    pub status: u32,
    pub num_pkts: u32,
    pub first_pkt: u32,
    pub len: u32,
    pub seq_num: u64,
    pub first_sec: u32,
    pub first_nsec: u32,
    pub last_sec: u32,
    pub last_nsec: u32,
}

#[allow(clippy::len_without_is_empty)]
impl View {
    /// The window of `len` bytes at `at` of `mapping`, or `None` when it does not lie inside.
    pub fn new(mapping: &Arc<Mapping>, at: usize, len: usize) -> Option<View> {
        let mut view = View {
            base: mapping.base,
            len: 0,
            mapping: Some(Arc::clone(mapping)),
        };
        view.aim(at, len).then_some(view)
    }

    /// A window onto nothing.
    pub fn empty() -> View {
        View {
            base: NonNull::dangling(),
            len: 0,
            mapping: None,
        }
    }

    /// Makes the rings that this is a window of anew, see [`crate::recover`].
    pub fn remap(
        &self,
        fd: RawFd,
        flags: i32,
        between: impl FnOnce() -> crate::error::Result<()>,
    ) -> crate::error::Result<()> {
        let fail = |errno| Error::system("mapping the rings again", errno);
        match &self.mapping {
            Some(mapping) => mapping.replace(fd, flags, between, fail),
            None => Ok(()),
        }
    }

    /// Moves this window to `len` bytes at `at` of its mapping; false, and no change, when they
    /// do not lie inside or `at` is not a multiple of [`ALIGNMENT`].
    #[inline]
    pub fn aim(&mut self, at: usize, len: usize) -> bool {
        let mapping = match &self.mapping {
            Some(mapping) => mapping,
            None => return false,
        };
        if at > mapping.len || len > mapping.len - at || at % ALIGNMENT != 0 {
            return false;
        }
        // SAFETY: at <= mapping.len, so the result is inside the mapping or one past its end.
        self.base = unsafe { NonNull::new_unchecked(mapping.base.as_ptr().add(at)) };
        self.len = len;
        true
    }

    /// Bytes in this window.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The address of `len` bytes at `at`, or `None` when they do not all lie inside.
    #[inline(always)]
    pub fn pointer(&self, at: usize, len: usize) -> Option<NonNull<u8>> {
        if at > self.len || len > self.len - at {
            return None;
        }
        // SAFETY: at <= len, so the pointer stays inside the mapping or one past its end.
        Some(unsafe { NonNull::new_unchecked(self.base.as_ptr().add(at)) })
    }

    /// The offset of `pointer` from the start of this window, modulo the address space: the
    /// inverse of [`View::pointer`], to be checked like any other offset.
    pub fn offset_of(&self, pointer: *const u8) -> usize {
        (pointer as usize).wrapping_sub(self.base.as_ptr() as usize)
    }

    /// As [`View::pointer`], and `None` too when `at` is not a multiple of 8, the strictest
    /// alignment of any header field. Windows themselves start at multiples of 16.
    #[inline(always)]
    pub fn aligned(&self, at: usize, len: usize) -> Option<NonNull<u8>> {
        if at % 8 != 0 {
            return None;
        }
        self.pointer(at, len)
    }

    /// Reads the 32-bit word at `at`.
    pub fn u32(&self, at: usize) -> Option<u32> {
        let p = self.pointer(at, 4)?;
        // SAFETY: four bytes at p lie inside the mapping.
        Some(unsafe { p.as_ptr().cast::<u32>().read_unaligned() })
    }

    /// Reads the 16-bit word at `at`.
    pub fn u16(&self, at: usize) -> Option<u16> {
        let p = self.pointer(at, 2)?;
        // SAFETY: two bytes at p lie inside the mapping.
        Some(unsafe { p.as_ptr().cast::<u16>().read_unaligned() })
    }

    /// Reads the byte at `at`.
    pub fn byte(&self, at: usize) -> Option<u8> {
        let p = self.pointer(at, 1)?;
        // SAFETY: the byte at p lies inside the mapping.
        Some(unsafe { p.as_ptr().read_volatile() })
    }

    /// Writes the 32-bit word at `at`; false when it does not lie inside.
    pub fn set_u32(&self, at: usize, value: u32) -> bool {
        self.write(at, &value.to_ne_bytes())
    }

    /// Writes the 16-bit word at `at`; false when it does not lie inside.
    pub fn set_u16(&self, at: usize, value: u16) -> bool {
        self.write(at, &value.to_ne_bytes())
    }

    /// Copies `bytes` to `at`; false, and no change, when they do not fit.
    pub fn write(&self, at: usize, bytes: &[u8]) -> bool {
        match self.pointer(at, bytes.len()) {
            Some(p) => {
                // SAFETY: the target lies inside the mapping, and `bytes` is a Rust slice, which
                // never overlaps memory that only raw pointers know.
                unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), p.as_ptr(), bytes.len()) };
                true
            }
            None => false,
        }
    }

    /// Copies `len` bytes from `from` to `to`, which may overlap; false when either is outside.
    pub fn copy_within(&self, from: usize, to: usize, len: usize) -> bool {
        match (self.pointer(from, len), self.pointer(to, len)) {
            (Some(from), Some(to)) => {
                // SAFETY: both ranges lie inside the mapping; `copy` allows overlap.
                unsafe { std::ptr::copy(from.as_ptr(), to.as_ptr(), len) };
                true
            }
            _ => false,
        }
    }

    /// Asks the processor to bring the cache line at `at` closer. Never faults.
    #[inline(always)]
    pub fn prefetch(&self, at: usize) {
        prefetch(self.base.as_ptr().wrapping_add(at));
    }

    /// Reads a field of type `T` at `base + at`.
    ///
    /// # Safety
    /// The caller has checked, with [`View::aligned`], that the field lies inside this window and
    /// that it is aligned.
    #[inline(always)]
    unsafe fn field<T: Copy>(&self, at: usize) -> T {
        // SAFETY: inside the mapping and aligned by the caller's check. Volatile, because the
        // memory is shared: the value must be read exactly once between its check and its use.
        unsafe { self.base.as_ptr().add(at).cast::<T>().read_volatile() }
    }

    /// Writes a field of type `T` at `base + at`.
    ///
    /// # Safety
    /// As for [`View::field`].
    #[inline(always)]
    unsafe fn set_field<T: Copy>(&self, at: usize, value: T) {
        // SAFETY: inside the mapping and aligned by the caller's check. Volatile, because the
        // memory is shared: a plain store could be left out or split.
        unsafe { self.base.as_ptr().add(at).cast::<T>().write_volatile(value) };
    }

    /// Writes what the kernel reads of the V1 header at `at` of a frame to send, except for the
    /// status; false when the header does not lie inside.
    #[inline(always)]
    pub fn set_v1_header(&self, at: usize, length: u32, mac: u16, net: u16) -> bool {
        if self.aligned(at, v1::SLL).is_none() {
            return false;
        }
        // SAFETY: all fields lie within the v1::SLL bytes just checked.
        unsafe {
            self.set_field(at + v1::LEN, length);
            self.set_field(at + v1::SNAPLEN, length);
            self.set_field(at + v1::MAC, mac);
            self.set_field(at + v1::NET, net);
        }
        true
    }

    /// As [`View::set_v1_header`], for V2.
    #[inline(always)]
    pub fn set_v2_header(&self, at: usize, length: u32, mac: u16, net: u16) -> bool {
        if self.aligned(at, v2::SLL).is_none() {
            return false;
        }
        // SAFETY: all fields lie within the v2::SLL bytes just checked.
        unsafe {
            self.set_field(at + v2::LEN, length);
            self.set_field(at + v2::SNAPLEN, length);
            self.set_field(at + v2::MAC, mac);
            self.set_field(at + v2::NET, net);
        }
        true
    }

    /// As [`View::set_v1_header`], for V3.
    #[inline(always)]
    pub fn set_v3_header(&self, at: usize, length: u32, mac: u16, net: u16) -> bool {
        if self.aligned(at, v3::SLL).is_none() {
            return false;
        }
        // SAFETY: all fields lie within the v3::SLL bytes just checked.
        unsafe {
            // Anything else and the kernel refuses the frame.
            self.set_field(at + v3::NEXT, 0u32);
            self.set_field(at + v3::LEN, length);
            self.set_field(at + v3::SNAPLEN, length);
            self.set_field(at + v3::MAC, mac);
            self.set_field(at + v3::NET, net);
        }
        true
    }

    /// Reads the V3 frame header at `at`, or `None` when header and address do not lie inside.
    #[inline(always)]
    pub fn v3_header(&self, at: usize) -> Option<Header> {
        self.aligned(at, v3::SLL + SLL_LEN)?;
        // SAFETY: all fields lie within the v3::SLL bytes just checked.
        unsafe {
            Some(Header {
                next: self.field(at + v3::NEXT),
                sec: self.field(at + v3::SEC),
                nsec: self.field(at + v3::NSEC),
                snaplen: self.field(at + v3::SNAPLEN),
                len: self.field(at + v3::LEN),
                status: self.field(at + v3::STATUS),
                mac: self.field(at + v3::MAC),
                net: self.field(at + v3::NET),
                rxhash: self.field(at + v3::RXHASH),
                vlan_tci: self.field(at + v3::VLAN_TCI),
                vlan_tpid: self.field(at + v3::VLAN_TPID),
            })
        }
    }

    /// Reads the V2 slot of `size` bytes at `at`, whose status has been read before, into `out`
    /// if its data lies inside. Otherwise says no; what `out` holds then is of no meaning.
    /// Returns the captured length.
    #[inline(always)]
    pub fn v2_frame(
        &self,
        at: usize,
        size: usize,
        status: u32,
        number: u64,
        out: &mut MaybeUninit<Frame>,
    ) -> Option<u32> {
        if size < v2::SLL + SLL_LEN {
            return None;
        }
        let slot = self.aligned(at, size)?;
        // SAFETY: the slot lies inside the mapping and is long enough for all fields, which are
        // read once each.
        let (caplen, mac) = unsafe {
            (
                self.field::<u32>(at + v2::SNAPLEN),
                self.field::<u16>(at + v2::MAC),
            )
        };
        if u64::from(mac) + u64::from(caplen) > size as u64 {
            return None;
        }
        // SAFETY: as above; both pointers stay inside the slot.
        unsafe {
            let sec: u32 = self.field(at + v2::SEC);
            let nsec: u32 = self.field(at + v2::NSEC);
            out.write(Frame {
                data: slot.as_ptr().add(usize::from(mac)),
                timestamp: u64::from(sec) * 1_000_000_000 + u64::from(nsec),
                caplen,
                len: self.field(at + v2::LEN),
                status,
                mac,
                net: self.field(at + v2::NET),
                rxhash: 0,
                vlan_tci: u32::from(self.field::<u16>(at + v2::VLAN_TCI)),
                vlan_tpid: self.field(at + v2::VLAN_TPID),
                reserved1: 0,
                reserved2: 0,
                addr: slot.as_ptr().add(v2::SLL).cast(),
                number,
            });
        }
        Some(caplen)
    }

    /// The descriptor of the frame whose `header` was read at `at`; `None` where its data or the
    /// address at offset `sll` does not lie inside.
    pub fn frame(&self, at: usize, sll: usize, header: &Header, number: u64) -> Option<Frame> {
        let mac = usize::from(header.mac);
        let data = self.pointer(at.checked_add(mac)?, header.snaplen as usize)?;
        let addr = self.pointer(at.checked_add(sll)?, SLL_LEN)?;
        Some(Frame {
            data: data.as_ptr(),
            timestamp: u64::from(header.sec) * 1_000_000_000 + u64::from(header.nsec),
            caplen: header.snaplen,
            len: header.len,
            status: header.status,
            mac: header.mac,
            net: header.net,
            rxhash: header.rxhash,
            vlan_tci: header.vlan_tci,
            vlan_tpid: header.vlan_tpid,
            reserved1: 0,
            reserved2: 0,
            addr: addr.as_ptr() as *const Address,
            number,
        })
    }

    /// Reads the V2 frame header at `at` except for its status.
    #[inline(always)]
    pub fn v2_header(&self, at: usize, status: u32) -> Option<Header> {
        self.aligned(at, v2::SLL + SLL_LEN)?;
        // SAFETY: all fields lie within the v2::SLL bytes just checked.
        unsafe {
            Some(Header {
                next: 0,
                sec: self.field(at + v2::SEC),
                nsec: self.field(at + v2::NSEC),
                snaplen: self.field(at + v2::SNAPLEN),
                len: self.field(at + v2::LEN),
                status,
                mac: self.field(at + v2::MAC),
                net: self.field(at + v2::NET),
                rxhash: 0,
                vlan_tci: u32::from(self.field::<u16>(at + v2::VLAN_TCI)),
                vlan_tpid: self.field(at + v2::VLAN_TPID),
            })
        }
    }

    /// Reads the V1 frame header at `at` except for its status.
    #[inline(always)]
    pub fn v1_header(&self, at: usize, status: u32) -> Option<Header> {
        self.aligned(at, v1::SLL + SLL_LEN)?;
        // SAFETY: all fields lie within the v1::SLL bytes just checked.
        unsafe {
            Some(Header {
                next: 0,
                sec: self.field(at + v1::SEC),
                nsec: self.field::<u32>(at + v1::USEC).wrapping_mul(1000),
                snaplen: self.field(at + v1::SNAPLEN),
                len: self.field(at + v1::LEN),
                status,
                mac: self.field(at + v1::MAC),
                net: self.field(at + v1::NET),
                rxhash: 0,
                vlan_tci: 0,
                vlan_tpid: 0,
            })
        }
    }

    /// Reads the block descriptor at the start of this window, or `None` when it is too short.
    pub fn block_header(&self) -> Option<BlockHeader> {
        self.aligned(0, block::HDRLEN)?;
        // SAFETY: all fields lie within the block::HDRLEN bytes just checked.
        unsafe {
            Some(BlockHeader {
                priv_offset: self.field(4),
                status: self.field(block::STATUS),
                num_pkts: self.field(block::NUM_PKTS),
                first_pkt: self.field(block::FIRST_PKT),
                len: self.field(block::LEN),
                seq_num: self.field(block::SEQ_NUM),
                first_sec: self.field(block::FIRST_SEC),
                first_nsec: self.field(block::FIRST_NSEC),
                last_sec: self.field(block::LAST_SEC),
                last_nsec: self.field(block::LAST_NSEC),
            })
        }
    }
}

#[cfg(all(target_arch = "x86", target_feature = "sse"))]
use std::arch::x86;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64 as x86;

#[cfg(any(
    target_arch = "x86_64",
    all(target_arch = "x86", target_feature = "sse")
))]
#[inline(always)]
pub(crate) fn prefetch(p: *const u8) {
    // SAFETY: a prefetch is a hint; it reads nothing and faults on no address.
    unsafe { x86::_mm_prefetch::<{ x86::_MM_HINT_T0 }>(p.cast()) };
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(crate) fn prefetch(p: *const u8) {
    // SAFETY: a prefetch is a hint; it reads nothing and faults on no address.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) p, options(nostack, preserves_flags, readonly));
    }
}

#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "x86", target_feature = "sse")
)))]
#[inline(always)]
pub(crate) fn prefetch(_: *const u8) {}
