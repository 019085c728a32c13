//! Timestamps.

use super::error::Place;
use super::geometry;
use super::handle::Handle;
use super::sized::{self, Sized};
use super::wall;
use crate::error::{invalid, Error, Result};
use crate::ring::geometry::Direction;
use crate::sys::call::Errno;
use crate::sys::stamp::HardwareStamping;
use crate::timestamp;
use std::mem::size_of;
use std::os::raw::c_int;

/// The kernel's clock, read where the frame enters the stack or leaves it for the driver.
pub const PKTRING_TIMESTAMP_SOFTWARE: u32 = 1 << 4;
/// The NIC's own clock.
pub const PKTRING_TIMESTAMP_HARDWARE: u32 = 1 << 6;

/// How a NIC takes timestamps: struct hwtstamp_config of linux/net_tstamp.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct pktring_hwtstamp {
    /// sizeof(struct pktring_hwtstamp).
    pub size: usize,
    /// HWTSTAMP_TX_OFF (0), HWTSTAMP_TX_ON (1) and others: which sent frames are stamped.
    pub tx_type: u32,
    /// HWTSTAMP_FILTER_NONE (0), HWTSTAMP_FILTER_ALL (1) and others: which received frames are
    /// stamped.
    pub rx_filter: u32,
    /// HWTSTAMP_FLAG_* bits.
    pub flags: u32,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: repr(C), integers only, size first.
unsafe impl Sized for pktring_hwtstamp {
    const NAME: &'static str = "pktring_hwtstamp";
    const LEAST: usize = sized::length::<u32>(16);
}

/// Chooses where timestamps come from (PACKET_TIMESTAMP, SO_TIMESTAMPING).
///
/// Received frames: without a source, the time is that at which the frame was put into the ring.
/// PKTRING_TIMESTAMP_SOFTWARE has the kernel stamp every packet where it enters the stack, before
/// it can wait in a queue; this costs all packets of the host some time while any program asks
/// for it, and programs that do not ask see these stamps then, too. PKTRING_TIMESTAMP_HARDWARE
/// takes the NIC's stamp where there is one, see pktring_set_hwtstamp(). With both, hardware is
/// preferred. Every frame tells its source: PKTRING_STATUS_TS_RAW_HARDWARE,
/// PKTRING_STATUS_TS_SOFTWARE, or neither for the time at the ring. A change applies to frames
/// that arrive from then on; the first of them may still lack a software stamp.
///
/// Sent frames: without a source, pktring_completion.timestamp is 0. PKTRING_TIMESTAMP_SOFTWARE
/// asks the driver to stamp a frame when it hands it to the hardware, PKTRING_TIMESTAMP_HARDWARE
/// asks the NIC. The stamp comes back through the ring or, from most drivers, through the socket's
/// error queue, and is told with the completion of its frame. A driver that does not stamp leaves
/// it 0, as do rare errors after which the kernel's numbering of frames is in doubt: a stamp is
/// never told for another frame. While it is on, the kernel is handed at most 64 frames at a time,
/// so that its error queue does not overflow, and each frame costs one more system call. Until
/// pktring_tx_flush() or pktring_tx_complete() has collected the stamps, poll(2) on pktring_fd()
/// reports POLLERR.
///
/// Software stamps of both directions are of one clock, the time of day. Hardware stamps are of
/// the NIC's clock in both directions; whether that runs with the time of day is up to the
/// program that steers it (phc2sys, for example).
///
/// @param handle     PKTRING_RX: a handle in any state. PKTRING_TX: one that is not active.
/// @param direction  PKTRING_RX or PKTRING_TX
/// @param sources    PKTRING_TIMESTAMP_* bits; 0: the default
/// @return 0; -EINVAL for another direction or unknown bits; -EBUSY for PKTRING_TX when active;
///         -EFAULT when handle is NULL. For PKTRING_TX, pktring_activate() then returns -EINVAL
///         when the handle has no transmit ring or pktring_set_loss() was set, which leaves frames
///         that were not sent uncounted.
///
/// May be called from any thread.
#[no_mangle]
pub unsafe extern "C" fn pktring_set_timestamp(
    handle: *mut Handle,
    direction: u32,
    sources: u32,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(|| finish(handle, set(handle, direction, sources)))
}

fn set(handle: &Handle, direction: u32, sources: u32) -> Result<()> {
    let direction = geometry::direction(direction)?;
    let sources = timestamp::check(sources)?;
    let mut config = handle.config();
    let mut wanted = config.timestamps;
    match direction {
        Direction::Rx => wanted.rx = sources,
        Direction::Tx if handle.is_active() => {
            return Err(Error::State(
                "the handle is active: timestamps of sent frames can only be set before \
                 pktring_activate",
            ))
        }
        Direction::Tx => wanted.tx = sources,
    }
    if handle.is_active() {
        wanted.apply(&handle.session()?.socket)?;
    }
    config.timestamps = wanted;
    Ok(())
}

/// Has the NIC take timestamps (SIOCSHWTSTAMP).
///
/// The setting is the NIC's: it holds for all programs, and outlives the handle. Not every NIC
/// can: "ethtool -T" tells what one can do. CAP_NET_ADMIN is needed.
///
/// @param handle  an active handle for one interface
/// @param wanted  what to do; on return, what the NIC really does, which may be more
/// @return 0; -EOPNOTSUPP when the NIC takes no timestamps; -ERANGE when it takes none of this
///         kind; -EPERM without CAP_NET_ADMIN; -EBUSY when the handle is not active; -EINVAL for
///         a value that linux/net_tstamp.h does not have, and for a handle on all interfaces;
///         -ENODEV when the interface is gone; -E2BIG for a longer struct with unknown fields
///         set; -EFAULT for NULL
///
/// May be called from any thread.
#[no_mangle]
pub unsafe extern "C" fn pktring_set_hwtstamp(
    handle: *mut Handle,
    wanted: *mut pktring_hwtstamp,
) -> c_int {
    // SAFETY: the caller's struct starts with its size.
    unsafe {
        hardware(handle, wanted, |handle, name, config| {
            handle
                .session()?
                .socket
                .set_hardware_stamping(name, config)
                .map_err(explain)
        })
    }
}

/// Tells how the NIC takes timestamps (SIOCGHWTSTAMP, Linux 3.14).
///
/// @param handle  an active handle for one interface
/// @param now     receives the setting; set its size field to sizeof(struct pktring_hwtstamp)
/// @return 0; -EOPNOTSUPP when the NIC takes no timestamps or does not tell; otherwise as
///         pktring_set_hwtstamp()
///
/// May be called from any thread.
#[no_mangle]
pub unsafe extern "C" fn pktring_get_hwtstamp(
    handle: *mut Handle,
    now: *mut pktring_hwtstamp,
) -> c_int {
    // SAFETY: the caller's struct starts with its size.
    unsafe {
        hardware(handle, now, |handle, name, config| {
            let told = handle.session()?.socket.hardware_stamping(name);
            *config = told.map_err(explain)?;
            Ok(())
        })
    }
}

/// # Safety
/// `handle` is NULL or a handle, `setting` NULL or a struct with its size.
unsafe fn hardware(
    handle: *mut Handle,
    setting: *mut pktring_hwtstamp,
    call: fn(&Handle, &str, &mut HardwareStamping) -> Result<()>,
) -> c_int {
    // SAFETY: the caller's promise.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(|| {
        let run = || -> Result<()> {
            // SAFETY: the caller's promise.
            let asked = unsafe { sized::read(setting)? };
            if asked.reserved != 0 {
                return Err(invalid!("pktring_hwtstamp.reserved must be 0"));
            }
            let session = handle.session()?;
            if session.link.ifindex == 0 {
                return Err(invalid!("a handle for all interfaces has no NIC to set up"));
            }
            let mut config = HardwareStamping {
                flags: asked.flags as i32,
                tx_type: asked.tx_type as i32,
                rx_filter: asked.rx_filter as i32,
            };
            let name = session.socket.interface_name(session.link.ifindex);
            let name = name.map_err(|_| Error::InterfaceGone)?;
            call(handle, &name, &mut config)?;
            let told = pktring_hwtstamp {
                size: size_of::<pktring_hwtstamp>(),
                tx_type: config.tx_type as u32,
                rx_filter: config.rx_filter as u32,
                flags: config.flags as u32,
                reserved: 0,
            };
            // SAFETY: the caller's promise.
            unsafe { sized::write(setting, &told) }
        };
        finish(handle, run())
    })
}

fn explain(errno: Errno) -> Error {
    match errno {
        libc::EOPNOTSUPP | libc::ENOTTY => {
            Error::Unsupported("the network interface takes no hardware timestamps")
        }
        libc::ERANGE => Error::System {
            call: "the network interface takes no stamps of this kind (ethtool -T tells which)",
            errno,
        },
        libc::EINVAL => invalid!("a value of the struct is none that linux/net_tstamp.h has"),
        libc::ENODEV => Error::InterfaceGone,
        libc::EPERM => Error::System {
            call: "SIOCSHWTSTAMP (CAP_NET_ADMIN is needed)",
            errno,
        },
        errno => Error::System {
            call: "SIOCSHWTSTAMP",
            errno,
        },
    }
}

fn finish(handle: &Handle, result: Result<()>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => handle.fail(Place::Setup, &error),
    }
}
