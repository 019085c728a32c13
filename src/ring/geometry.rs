//! Ring arithmetic: which rings the kernel accepts, and which ring fits a purpose.
//!
//! Pure functions over numbers. The rules are those of `packet_set_ring` in the kernel (the
//! document's "PACKET_MMAP setting constraints", as far as they still hold), computed in 64 bits.

use crate::error::{invalid, Result};
use crate::sys::call::page_size;
use crate::sys::layout::{align, block, v1, v2, v3, ALIGNMENT};

/// TPACKET version of a socket and its rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
    V3,
}

/// Which way a ring moves frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Rx,
    Tx,
}

/// Whether frames carry their link-level header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `SOCK_RAW`: with the link-level header.
    Raw,
    /// `SOCK_DGRAM`: without; the kernel strips it from and puts it on frames.
    Dgram,
}

/// What a ring is optimised for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Least CPU time a packet and room for bursts.
    Throughput,
    /// Least time from arrival to delivery.
    Latency,
    /// Least memory.
    LowMemory,
}

/// Geometry of one ring. Zero in a request means "choose for me".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ring {
    pub block_size: u32,
    pub block_count: u32,
    pub frame_size: u32,
    pub frame_count: u32,
    /// V3 receive: milliseconds after which the kernel hands over a block that is not full.
    pub retire_timeout: u32,
    /// V3 receive: bytes reserved for the caller at the start of every block.
    pub private_size: u32,
    /// V3 receive: `TP_FT_REQ_*`.
    pub features: u32,
}

/// A retire timeout that the kernel is to choose: it fills half a block at the interface's speed.
/// As a timeout of its own it would be 49 days.
pub const RETIRE_KERNEL: u32 = u32::MAX;

/// What the rings of a socket have in common and the geometry depends on.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub version: Version,
    pub direction: Direction,
    pub mode: Mode,
    /// `PACKET_RESERVE` headroom in bytes.
    pub reserve: u32,
    /// Bytes of virtio_net header before each frame, 0 for none.
    pub vnet_header: u32,
    /// The longest frame that is to fit, link-level header included.
    pub frame_length: u32,
}

/// The kernel keeps one pointer a block in one allocation of at most 4 MiB. A program of 32 bits may
/// run on a kernel of 64.
pub const MAX_BLOCKS: u32 = (4 << 20) / 8;

/// Block sizes must be below 2 GiB because the kernel looks at them as an int.
pub const MAX_BLOCK_SIZE: u32 = 1 << 31;

/// The largest block that the defaults use; larger ones no longer lower the cost a packet.
const LARGEST_DEFAULT_BLOCK: u64 = 4 << 20;

/// Fewer blocks than this and a burst finds all of them still being read.
const LEAST_DEFAULT_BLOCKS: u64 = 16;

/// Default transmit slots begin with a cache line: a short frame that lies across two costs 1 %.
const CACHE_LINE: usize = 64;

/// Slots of a default transmit ring; more do not raise the rate.
const DEFAULT_TX_FRAMES: u64 = 512;

/// Default of `retire_timeout` by profile, in milliseconds.
const fn default_retire_timeout(profile: Profile) -> u32 {
    match profile {
        Profile::Latency => 1,
        Profile::LowMemory => 20,
        // Each block handed over early is a wake-up of its own, and a block less to absorb what
        // comes while the program is busy.
        Profile::Throughput => 60,
    }
}

/// Default ring memory by profile, in bytes.
pub const fn default_memory(profile: Profile) -> u64 {
    match profile {
        Profile::Throughput => 64 << 20,
        Profile::Latency => 8 << 20,
        Profile::LowMemory => 1 << 20,
    }
}

impl Version {
    /// `TPACKET_HDRLEN` of this version: header, padding and `sockaddr_ll`.
    pub const fn header_length(self) -> usize {
        match self {
            Version::V1 => v1::HDRLEN,
            Version::V2 => v2::HDRLEN,
            Version::V3 => v3::HDRLEN,
        }
    }

    /// Where transmit data starts in a slot, for both modes.
    pub const fn tx_data_offset(self) -> usize {
        match self {
            Version::V1 => v1::SLL,
            Version::V2 => v2::SLL,
            Version::V3 => v3::SLL,
        }
    }
}

impl Ring {
    /// Bytes of the whole ring, which is what it takes of kernel memory and address space.
    pub fn bytes(&self) -> u64 {
        u64::from(self.block_size) * u64::from(self.block_count)
    }

    /// Frames that fit one block.
    pub fn frames_per_block(&self) -> u32 {
        self.block_size.checked_div(self.frame_size).unwrap_or(0)
    }

    /// Byte offset of slot `index` of a ring with fixed slots. Behind the last frame of a block
    /// there is a gap when the frame size does not divide the block size.
    pub fn slot_offset(&self, index: u32) -> usize {
        let per_block = self.frames_per_block().max(1);
        (index / per_block) as usize * self.block_size as usize
            + (index % per_block) as usize * self.frame_size as usize
    }
}

impl Shape {
    /// Bytes of a receive slot before the longest frame ends: the network header starts at an
    /// aligned offset behind the header with room for 16 bytes of link-level header.
    const fn rx_overhead(&self) -> u64 {
        let header = align(self.version.header_length() + 16) as u64;
        header + self.reserve as u64 + self.vnet_header as u64
    }

    /// The smallest slot that takes a frame of `frame_length` whole.
    fn slot_for(&self) -> u64 {
        let overhead = match self.direction {
            Direction::Rx => self.rx_overhead(),
            Direction::Tx => self.version.tx_data_offset() as u64 + u64::from(self.vnet_header),
        };
        let slot = overhead + u64::from(self.frame_length);
        let least = self.version.header_length() as u64 + u64::from(self.reserve);
        let alignment = match self.direction {
            Direction::Rx => ALIGNMENT,
            Direction::Tx => CACHE_LINE,
        };
        round_up(slot.max(least), alignment as u64)
    }

    /// Whether the kernel packs frames of any size into a block instead of using fixed slots.
    fn packs_frames(&self) -> bool {
        self.version == Version::V3 && self.direction == Direction::Rx
    }
}

fn round_up(n: u64, to: u64) -> u64 {
    (n + to - 1) / to * to
}

/// Fills what `request` leaves at zero with the defaults of `profile` and checks the result.
pub fn complete(request: &Ring, shape: &Shape, profile: Profile) -> Result<Ring> {
    let memory = default_memory(profile);
    let mut ring = if request.block_size != 0 && request.frame_size != 0 {
        *request
    } else {
        // A block that is asked for is had, however large.
        let planned = memory_for(request, shape, memory).max(u64::from(request.block_size));
        let default = fit(planned, shape, request)?;
        Ring {
            block_size: default.block_size,
            frame_size: default.frame_size,
            ..*request
        }
    };
    if ring.block_count == 0 {
        ring.block_count = default_blocks(&ring, shape, memory);
    }
    if shape.packs_frames() && ring.retire_timeout == 0 {
        ring.retire_timeout = default_retire_timeout(profile);
    }
    check(&ring, shape)
}

/// Memory to plan with: transmit rings need few slots, receive rings the profile's budget.
fn memory_for(request: &Ring, shape: &Shape, memory: u64) -> u64 {
    match shape.direction {
        Direction::Rx => memory,
        Direction::Tx => {
            let slot = match request.frame_size {
                0 => shape.slot_for(),
                size => u64::from(size),
            };
            round_up(DEFAULT_TX_FRAMES * slot, page_size() as u64).min(memory.max(2 * slot))
        }
    }
}

fn default_blocks(ring: &Ring, shape: &Shape, memory: u64) -> u32 {
    let memory = memory_for(ring, shape, memory);
    let blocks = memory / u64::from(ring.block_size.max(1));
    blocks.clamp(1, u64::from(MAX_BLOCKS)) as u32
}

/// The ring that makes the most of `memory` bytes for `shape`. Where `request` names a block or
/// frame size, that one is kept. The result takes at most `memory`.
pub fn fit(memory: u64, shape: &Shape, request: &Ring) -> Result<Ring> {
    let page = page_size() as u64;
    // More does not fit the address space.
    let memory = memory.min(isize::MAX as u64);
    let slot = match request.frame_size {
        0 => shape.slot_for(),
        size => u64::from(size),
    };
    let blocks = match request.block_size {
        0 => candidate_blocks(memory, shape, slot, page),
        size => vec![u64::from(size)],
    };
    let least = blocks.first().copied().unwrap_or(page);
    let frames = |block: &u64| memory / block * (block / slot.max(1));
    let block = if shape.packs_frames() {
        blocks.last().copied()
    } else {
        // Most slots first; of equals the smallest block, which is the easiest to allocate.
        blocks.iter().copied().rev().max_by_key(frames)
    };
    let block = block.filter(|&block| block <= memory).ok_or_else(|| {
        invalid!(
            "a budget of {memory} bytes is too small: one block that holds a frame of {} bytes \
             takes {least}",
            shape.frame_length
        )
    })?;
    let frame_size = if shape.packs_frames() && request.frame_size == 0 {
        // V3 ignores it beyond its checks; the usual 2048 keeps tools that print it familiar.
        round_up(
            (v3::HDRLEN as u64 + u64::from(shape.reserve)).max(2048),
            ALIGNMENT as u64,
        )
    } else {
        slot
    };
    let ring = Ring {
        block_size: narrow("block size", block)?,
        block_count: (memory / block).clamp(1, u64::from(MAX_BLOCKS)) as u32,
        frame_size: narrow("frame size", frame_size)?,
        frame_count: 0,
        ..*request
    };
    check(&ring, shape)
}

/// Block sizes worth trying for `memory`, smallest first: powers of two, since the kernel rounds
/// every block up to one.
fn candidate_blocks(memory: u64, shape: &Shape, slot: u64, page: u64) -> Vec<u64> {
    let least = if shape.packs_frames() {
        block::HDRLEN as u64 + shape.rx_overhead() + u64::from(shape.frame_length)
    } else {
        slot
    };
    let least = least.max(page).next_power_of_two();
    let most = (memory / LEAST_DEFAULT_BLOCKS).min(LARGEST_DEFAULT_BLOCK);
    std::iter::successors(Some(least), |block| Some(block * 2))
        .take_while(|&block| block == least || block <= most)
        .collect()
}

fn narrow(what: &str, n: u64) -> Result<u32> {
    u32::try_from(n).map_err(|_| invalid!("{what} {n} does not fit 32 bits"))
}

/// Checks `ring` against every rule of the kernel and fills in its frame count.
pub fn check(ring: &Ring, shape: &Shape) -> Result<Ring> {
    check_block(ring)?;
    check_frame(ring, shape)?;
    check_v3_fields(ring, shape)?;
    check_counts(ring)
}

fn check_block(ring: &Ring) -> Result<()> {
    let page = page_size() as u32;
    let size = ring.block_size;
    if size == 0 || size % page != 0 {
        let next = round_up(u64::from(size.max(1)), u64::from(page));
        return Err(invalid!(
            "block_size {size} is not a multiple of the page size {page}; the next valid size \
             is {next}"
        ));
    }
    if size >= MAX_BLOCK_SIZE {
        return Err(invalid!(
            "block_size {size} is too large; the largest valid size is {}",
            MAX_BLOCK_SIZE - page
        ));
    }
    if ring.block_count == 0 || ring.block_count > MAX_BLOCKS {
        return Err(invalid!(
            "block_count {} is out of range; 1 to {MAX_BLOCKS} blocks are valid",
            ring.block_count
        ));
    }
    Ok(())
}

fn check_frame(ring: &Ring, shape: &Shape) -> Result<()> {
    let size = u64::from(ring.frame_size);
    let least = shape.version.header_length() as u64 + u64::from(shape.reserve);
    let next = round_up(size.max(least), ALIGNMENT as u64);
    if size < least {
        return Err(invalid!(
            "frame_size {size} is smaller than the {least} bytes of header and reserve; the \
             next valid size is {next}"
        ));
    }
    if size % ALIGNMENT as u64 != 0 {
        return Err(invalid!(
            "frame_size {size} is not a multiple of {ALIGNMENT}; the next valid size is {next}"
        ));
    }
    if size > u64::from(ring.block_size) {
        return Err(invalid!(
            "frame_size {size} does not fit block_size {}; the largest valid size is the block \
             size",
            ring.block_size
        ));
    }
    Ok(())
}

fn check_v3_fields(ring: &Ring, shape: &Shape) -> Result<()> {
    if !shape.packs_frames() {
        let fields = [
            ("retire_timeout_ms", ring.retire_timeout),
            ("private_size", ring.private_size),
            ("features", ring.features),
        ];
        if let Some((name, value)) = fields.iter().find(|(_, value)| *value != 0) {
            return Err(invalid!(
                "{name} {value} must be 0: only TPACKET_V3 receive rings have it"
            ));
        }
    }
    if ring.features & !libc::TP_FT_REQ_FILL_RXHASH != 0 {
        return Err(invalid!(
            "features {:#x} has unknown bits; only PKTRING_RXHASH ({:#x}) is defined",
            ring.features,
            libc::TP_FT_REQ_FILL_RXHASH
        ));
    }
    match shape.version {
        Version::V3 => check_v3_block(ring, shape),
        Version::V1 | Version::V2 => Ok(()),
    }
}

/// A block must hold its descriptor and one frame header. The kernel asks that of transmit
/// rings as well, whose blocks have no descriptor.
fn check_v3_block(ring: &Ring, shape: &Shape) -> Result<()> {
    let size = u64::from(ring.block_size);
    let fixed = block::HDRLEN as u64 + v3::HDRLEN as u64 + u64::from(shape.reserve);
    if fixed > size {
        return Err(invalid!(
            "block_size {size} is smaller than the {fixed} bytes of headers and reserve in a \
             TPACKET_V3 block; the next valid size is {}",
            round_up(fixed, page_size() as u64)
        ));
    }
    let private = round_up(u64::from(ring.private_size), block::ALIGNMENT as u64);
    if fixed + private > size {
        let most = (size - fixed) & !(block::ALIGNMENT as u64 - 1);
        return Err(invalid!(
            "private_size {} leaves no room for a frame in block_size {size}; the largest valid \
             size is {most}",
            ring.private_size
        ));
    }
    Ok(())
}

fn check_counts(ring: &Ring) -> Result<Ring> {
    let frames = u64::from(ring.frames_per_block()) * u64::from(ring.block_count);
    let frame_count = u32::try_from(frames).map_err(|_| {
        invalid!(
            "block_count {} makes {frames} frames; at most {} are valid",
            ring.block_count,
            u32::MAX
        )
    })?;
    if ring.frame_count != 0 && ring.frame_count != frame_count {
        return Err(invalid!(
            "frame_count {} does not match: {} frames a block times {} blocks are {frame_count}; \
             0 lets the library compute it",
            ring.frame_count,
            ring.frames_per_block(),
            ring.block_count
        ));
    }
    if isize::try_from(ring.bytes()).is_err() {
        return Err(invalid!(
            "a ring of {} bytes does not fit the address space",
            ring.bytes()
        ));
    }
    Ok(Ring {
        frame_count,
        ..*ring
    })
}
