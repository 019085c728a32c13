//! Rings as C sees them, and the ring calculator.

use super::error::{set_errno, write_errbuf};
use super::sized::{self, Sized};
use super::wall;
use crate::error::{invalid, Result};
use crate::ring::geometry::{check, fit, Direction, Mode, Ring, Shape, Version};
use std::mem::size_of;
use std::os::raw::{c_char, c_int};

/// TPACKET_V1: the oldest ring, one slot a frame, microseconds, loses VLAN tags.
pub const PKTRING_V1: u32 = 0;
/// TPACKET_V2: one slot a frame, nanoseconds. Frames are handed over one by one as they
/// arrive, which makes it the version of least latency.
pub const PKTRING_V2: u32 = 1;
/// TPACKET_V3: frames of any size packed into blocks, which are handed over when they are full
/// or the retire timeout has passed. The version of least cost a frame.
pub const PKTRING_V3: u32 = 2;

/// Receive: a direction of pktring_set_ring(), an event of pktring_wait().
pub const PKTRING_RX: u32 = 1;
/// Transmit: a direction of pktring_set_ring(), an event of pktring_wait().
pub const PKTRING_TX: u32 = 2;

/// Frames start with their link-level header (SOCK_RAW).
pub const PKTRING_RAW: u32 = 3;
/// Frames start with their network header; the kernel takes the link-level header off and puts
/// it on (SOCK_DGRAM).
pub const PKTRING_DGRAM: u32 = 2;

/// Feature of a V3 receive ring: fill in pktring_frame.rxhash (TP_FT_REQ_FILL_RXHASH).
pub const PKTRING_RXHASH: u32 = 1;

/// Value of pktring_ring.retire_timeout_ms: the kernel chooses, by the speed of the interface and
/// the size of the blocks. pktring_get_ring() then tells what it chose, or this value where the
/// kernel cannot be asked (CONFIG_PACKET_DIAG).
pub const PKTRING_RETIRE_KERNEL: u32 = u32::MAX;

/// Geometry of one ring: struct tpacket_req and tpacket_req3 of the kernel.
///
/// Set size to sizeof(struct pktring_ring) and the rest to zero, then what you want to choose
/// yourself: zero means the default.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct pktring_ring {
    /// sizeof(struct pktring_ring).
    pub size: usize,
    /// Bytes of a block: a multiple of the page size, less than 2 GiB. The kernel rounds its
    /// allocation up to a power of two.
    pub block_size: u32,
    /// Blocks in the ring: 1 to 524288.
    pub block_count: u32,
    /// Bytes of a slot: a multiple of 16, from header plus reserve up to the block size. V3
    /// receive rings check it and otherwise ignore it.
    pub frame_size: u32,
    /// Slots in the ring. Follows from the others; 0, or exactly that number.
    pub frame_count: u32,
    /// V3 receive: milliseconds after which the kernel hands over a block that is not full;
    /// 0: the profile's default, 60 (PKTRING_PROFILE_LOW_MEMORY 20, PKTRING_PROFILE_LATENCY 1);
    /// PKTRING_RETIRE_KERNEL: the kernel's own.
    pub retire_timeout_ms: u32,
    /// V3 receive: bytes at the start of every block that are yours; the kernel keeps them.
    pub private_size: u32,
    /// V3 receive: 0 or PKTRING_RXHASH.
    pub features: u32,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: repr(C), integers only, size first.
unsafe impl Sized for pktring_ring {
    const NAME: &'static str = "pktring_ring";
    const LEAST: usize = sized::length::<u32>(32);
}

/// What a ring is to be planned for, see pktring_ring_fit().
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct pktring_budget {
    /// sizeof(struct pktring_budget).
    pub size: usize,
    /// Bytes that the ring may take at most.
    pub memory: u64,
    /// PKTRING_V1, PKTRING_V2 or PKTRING_V3.
    pub version: u32,
    /// PKTRING_RX or PKTRING_TX.
    pub direction: u32,
    /// PKTRING_RAW or PKTRING_DGRAM; 0 means PKTRING_RAW.
    pub mode: u32,
    /// Bytes of the longest frame that is to fit whole: the snaplen, or the MTU plus the
    /// link-level header (14 for Ethernet, 18 with a VLAN tag).
    pub frame_length: u32,
    /// Headroom before each frame in bytes, as set by PACKET_RESERVE.
    pub reserve: u32,
    /// Bytes of the virtio_net header before each frame: 0, 10 or 12.
    pub vnet_header: u32,
}

// SAFETY: repr(C), integers only, size first.
unsafe impl Sized for pktring_budget {
    const NAME: &'static str = "pktring_budget";
    const LEAST: usize = sized::length::<u64>(32);
}

impl pktring_ring {
    pub(super) fn to_core(self) -> Result<Ring> {
        if self.reserved != 0 {
            return Err(invalid!(
                "pktring_ring.reserved is {}; it must be 0",
                self.reserved
            ));
        }
        Ok(Ring {
            block_size: self.block_size,
            block_count: self.block_count,
            frame_size: self.frame_size,
            frame_count: self.frame_count,
            retire_timeout: self.retire_timeout_ms,
            private_size: self.private_size,
            features: self.features,
        })
    }

    pub(super) fn from_core(ring: &Ring) -> pktring_ring {
        pktring_ring {
            size: size_of::<pktring_ring>(),
            block_size: ring.block_size,
            block_count: ring.block_count,
            frame_size: ring.frame_size,
            frame_count: ring.frame_count,
            retire_timeout_ms: ring.retire_timeout,
            private_size: ring.private_size,
            features: ring.features,
            reserved: 0,
        }
    }
}

pub(super) fn version(number: u32) -> Result<Version> {
    match number {
        PKTRING_V1 => Ok(Version::V1),
        PKTRING_V2 => Ok(Version::V2),
        PKTRING_V3 => Ok(Version::V3),
        _ => Err(invalid!(
            "version {number} is unknown; PKTRING_V1 (0), PKTRING_V2 (1) and PKTRING_V3 (2) are \
             valid"
        )),
    }
}

pub(super) fn direction(number: u32) -> Result<Direction> {
    match number {
        PKTRING_RX => Ok(Direction::Rx),
        PKTRING_TX => Ok(Direction::Tx),
        _ => Err(invalid!(
            "direction {number} is unknown; PKTRING_RX (1) and PKTRING_TX (2) are valid"
        )),
    }
}

pub(super) fn mode(number: u32) -> Result<Mode> {
    match number {
        PKTRING_RAW => Ok(Mode::Raw),
        PKTRING_DGRAM => Ok(Mode::Dgram),
        _ => Err(invalid!(
            "mode {number} is unknown; PKTRING_RAW (3) and PKTRING_DGRAM (2) are valid"
        )),
    }
}

/// Computes the best ring for a memory budget.
///
/// The largest power-of-two block size is chosen that leaves at least 16 blocks (at most
/// 4 MiB) for V3 receive rings; slots that just hold the longest frame, in the block size that
/// fits most of them, for all others. This is what the defaults of pktring_set_ring() are made
/// with, too. Nothing is allocated, and no system call is made.
///
/// @param budget  what to plan for; its size field is set
/// @param ring    receives the ring; its size field is set. Fields block_size and frame_size
///                that are not zero on entry are kept; the V3 fields are kept as they are.
/// @param errbuf  receives the error text; PKTRING_ERRBUF_SIZE bytes, or NULL
/// @return 0; -EINVAL when the budget does not hold a single block, or a field is out of range;
///         -EFAULT for NULL; -E2BIG for a longer struct with unknown fields set
///
/// May be called from any thread.
#[no_mangle]
pub unsafe extern "C" fn pktring_ring_fit(
    budget: *const pktring_budget,
    ring: *mut pktring_ring,
    errbuf: *mut c_char,
) -> c_int {
    let plan = || -> Result<()> {
        // SAFETY: the caller's structs start with their size.
        let (budget, request) = unsafe { (sized::read(budget)?, sized::read(ring)?) };
        let shape = Shape {
            version: version(budget.version)?,
            direction: direction(budget.direction)?,
            mode: mode(if budget.mode == 0 {
                PKTRING_RAW
            } else {
                budget.mode
            })?,
            reserve: budget.reserve,
            vnet_header: vnet_header(budget.vnet_header)?,
            frame_length: budget.frame_length,
        };
        let fitted = fit(budget.memory, &shape, &request.to_core()?)?;
        // SAFETY: as above.
        unsafe { sized::write(ring, &pktring_ring::from_core(&fitted)) }
    };
    // SAFETY: errbuf is the caller's.
    unsafe { code_or_error(plan, errbuf) }
}

fn vnet_header(length: u32) -> Result<u32> {
    match length {
        0 | 10 | 12 => Ok(length),
        _ => Err(invalid!(
            "vnet_header {length} is invalid; 0, 10 and 12 are valid"
        )),
    }
}

/// Checks a ring against every rule of the kernel and computes its number of slots.
///
/// The document's conditions under "PACKET_MMAP setting constraints", as far as they hold for
/// today's kernels: what is accepted here, the kernel accepts, memory permitting.
///
/// @param version    PKTRING_V1, PKTRING_V2 or PKTRING_V3
/// @param direction  PKTRING_RX or PKTRING_TX
/// @param reserve    headroom before each frame in bytes (PACKET_RESERVE), 0 for none
/// @param ring       the ring; block_size, block_count and frame_size must be set. On success
///                   frame_count is filled in.
/// @param errbuf     receives the error text, which names the field at fault, the rule and the
///                   nearest valid value; PKTRING_ERRBUF_SIZE bytes, or NULL
/// @return 0, -EINVAL, -EFAULT for NULL, -E2BIG for a longer struct with unknown fields set
///
/// May be called from any thread.
#[no_mangle]
pub unsafe extern "C" fn pktring_ring_check(
    version: u32,
    direction: u32,
    reserve: u32,
    ring: *mut pktring_ring,
    errbuf: *mut c_char,
) -> c_int {
    let verify = || -> Result<()> {
        // SAFETY: the caller's struct starts with its size.
        let request = unsafe { sized::read(ring)? };
        let shape = Shape {
            version: self::version(version)?,
            direction: self::direction(direction)?,
            mode: Mode::Raw,
            reserve,
            vnet_header: 0,
            frame_length: 0,
        };
        let checked = check(&request.to_core()?, &shape)?;
        // SAFETY: as above.
        unsafe { sized::write(ring, &pktring_ring::from_core(&checked)) }
    };
    // SAFETY: errbuf is the caller's.
    unsafe { code_or_error(verify, errbuf) }
}

/// Bytes that a ring takes: block_size times block_count, in 64 bits.
///
/// @param ring  the ring; NULL is answered with 0
/// @return bytes of kernel memory and of address space. Where the block size is no power of
///         two, the kernel allocates more.
#[no_mangle]
pub unsafe extern "C" fn pktring_ring_bytes(ring: *const pktring_ring) -> u64 {
    // SAFETY: the caller's struct starts with its size.
    match unsafe { sized::read(ring) } {
        Ok(ring) => u64::from(ring.block_size) * u64::from(ring.block_count),
        Err(_) => 0,
    }
}

/// # Safety
/// `errbuf` is NULL or has PKTRING_ERRBUF_SIZE bytes.
unsafe fn code_or_error(body: impl FnOnce() -> Result<()>, errbuf: *mut c_char) -> c_int {
    wall(|| match body() {
        Ok(()) => 0,
        Err(error) => {
            // SAFETY: the caller's promise.
            unsafe { write_errbuf(errbuf, &error) };
            set_errno(error.errno());
            -error.errno()
        }
    })
}
