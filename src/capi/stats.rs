//! Statistics and facts about a handle and the library.

use super::error::Place;
use super::handle::Handle;
use super::sized::{self, Sized};
use super::wall;
use crate::error::Result;
use crate::tx::Counts;
use std::mem::size_of;
use std::os::raw::{c_char, c_int};

/// Counters of a handle since it was activated. They never wrap and are never reset. A counter
/// that does not apply to the handle is 0 on one that never could (transmit counters of a
/// receive-only handle) and PKTRING_UNAVAILABLE where the kernel does not tell.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct pktring_stats {
    /// sizeof(struct pktring_stats).
    pub size: usize,
    /// Packets that the kernel took for this handle after the filter, dropped ones included
    /// (tp_packets).
    pub received: u64,
    /// Packets that the kernel dropped because the ring had no room (tp_drops). What arrived in
    /// the ring is received minus dropped.
    pub dropped: u64,
    /// Times the kernel found the ring full (tp_freeze_q_cnt); V3 only, otherwise
    /// PKTRING_UNAVAILABLE.
    pub freezes: u64,
    /// Frames handed to the program.
    pub frames: u64,
    /// Captured bytes of these frames, except for those of whole blocks.
    pub bytes: u64,
    /// Frames that the program holds now.
    pub held: u64,
    /// Times a wait went to sleep and was woken.
    pub wakeups: u64,
    /// Frames that were skipped because the ring contents could not be right.
    pub corrupt: u64,
    /// Frames sent: given to the driver or the queueing discipline and completed.
    pub tx_frames: u64,
    /// Bytes of these frames.
    pub tx_bytes: u64,
    /// Frames that the kernel refused.
    pub tx_refused: u64,
    /// Frames committed and neither sent nor refused yet.
    pub tx_in_flight: u64,
    /// Frames that were in the ring when a filter was set that rejects them, see
    /// pktring_set_filter(). They count as received, not as frames.
    pub filtered: u64,
}

// SAFETY: repr(C), integers only, size first.
unsafe impl Sized for pktring_stats {
    const NAME: &'static str = "pktring_stats";
    const LEAST: usize = sized::length::<u64>(104);
}

/// Value of a counter that this kernel or ring does not have.
pub const PKTRING_UNAVAILABLE: u64 = u64::MAX;

/// Reads the counters of a handle.
///
/// The kernel's own counters are 32 bits wide and reset by every read; they are added up here,
/// so that calls from several threads lose and double nothing. What nobody can tell is that they ran
/// over between two reads: ask before 2^32 packets have come, which at the highest rate of
/// 10 Gbit/s takes 4 minutes. Reading also ends the PKTRING_STATUS_LOSING mark on frames until the
/// next drop.
///
/// @param handle  an active handle
/// @param stats   receives the counters; set its size field to sizeof(struct pktring_stats)
/// @return 0; -EBUSY when the handle is not active; -EINVAL when size is not set; -EFAULT for
///         NULL
///
/// May be called from any thread.
#[no_mangle]
pub unsafe extern "C" fn pktring_stats(handle: *mut Handle, stats: *mut pktring_stats) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    // SAFETY: the caller's struct starts with its size.
    wall(
        || match collect(handle).and_then(|now| unsafe { sized::write(stats, &now) }) {
            Ok(()) => 0,
            Err(error) => handle.fail(Place::Setup, &error),
        },
    )
}

fn collect(handle: &Handle) -> Result<pktring_stats> {
    let session = handle.session()?;
    let _inside = handle.enter()?;
    let kernel = session.kernel.refresh(&session.socket, session.version)?;
    let rx = &handle.rx_counters;
    let tx = session
        .tx_counters
        .as_ref()
        .map_or_else(Counts::default, |counters| counters.read());
    Ok(pktring_stats {
        size: size_of::<pktring_stats>(),
        received: kernel.packets,
        dropped: kernel.drops,
        freezes: kernel.freezes.unwrap_or(PKTRING_UNAVAILABLE),
        frames: rx.frames(),
        bytes: rx.bytes.get(),
        held: rx.held(),
        wakeups: rx.wakeups.get(),
        corrupt: rx.corrupt.get(),
        tx_frames: tx.frames,
        tx_bytes: tx.bytes,
        tx_refused: tx.refused,
        tx_in_flight: tx.in_flight,
        filtered: rx.filtered.get(),
    })
}

/// The link type of captured frames, as libpcap numbers them (DLT_*): what pcap_open_dead() takes to
/// write a capture file. In the file itself stands the same number, but 101 for 12 (DLT_RAW).
///
/// @param handle  an active handle
/// @return 1 (DLT_EN10MB) for Ethernet and loopback, 12 (DLT_RAW) for interfaces without
///         link-level header and for PKTRING_DGRAM, and others; -EOPNOTSUPP when there is no
///         number for this hardware; -EBUSY when the handle is not active; -EFAULT for NULL. On all
///         interfaces, of which each can have its own, 1 all the same: there
///         pktring_hardware_linktype() tells for each frame. See there for CAN, too
#[no_mangle]
pub unsafe extern "C" fn pktring_linktype(handle: *mut Handle) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    match handle.session() {
        Ok(session) => match session.link.linktype(session.mode) {
            -1 => -libc::EOPNOTSUPP,
            number => number,
        },
        Err(error) => handle.fail(Place::Setup, &error),
    }
}

/// The version of the library that is running, which can be newer than the header.
///
/// @return a constant string like "0.1.0"
#[no_mangle]
pub extern "C" fn pktring_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
