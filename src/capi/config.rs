//! Settings.

use super::error::Place;
use super::filter::set_instructions;
use super::geometry::{self, pktring_ring};
use super::handle::Handle;
use super::sized;
use super::wall;
use crate::config::{Config, Method};
use crate::error::{invalid, Error, Result};
use crate::program::MAX_INSTRUCTIONS;
use crate::ring::geometry::{Direction, Profile};
use crate::sys::call::PacketSocket;
use libc::sock_filter;
use std::os::raw::c_int;

/// Least CPU time a frame, and room for bursts: V3, 64 MiB in blocks of 4 MiB. The default.
pub const PKTRING_PROFILE_THROUGHPUT: u32 = 0;
/// Least time from arrival to delivery: V2, 8 MiB.
pub const PKTRING_PROFILE_LATENCY: u32 = 1;
/// Least memory: V3, 1 MiB.
pub const PKTRING_PROFILE_LOW_MEMORY: u32 = 2;

/// The transmit ring is one of the kernel's (PACKET_TX_RING), which sends from its memory.
pub const PKTRING_TX_METHOD_RING: u32 = 0;
/// The transmit ring is memory of the process, and each flush copies what is committed to the
/// kernel (sendmmsg(2)).
pub const PKTRING_TX_METHOD_COPY: u32 = 1;

/// One instruction of a classic BPF program, laid out like struct sock_filter of
/// linux/filter.h and struct bpf_insn of libpcap.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct pktring_insn {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when a comparison is true.
    pub jt: u8,
    /// Instructions to skip when it is false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Runs `change` on the settings of a handle that is not active yet.
///
/// # Safety
/// `handle` is NULL or a handle.
pub(super) unsafe fn change(
    handle: *mut Handle,
    change: impl FnOnce(&mut Config) -> Result<()>,
) -> c_int {
    // SAFETY: the caller's promise.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(|| {
        let changed = match handle.is_active() {
            true => Err(Error::State(
                "the handle is active: this setting can only be changed before pktring_activate",
            )),
            false => change(&mut handle.config()),
        };
        match changed {
            Ok(()) => 0,
            Err(error) => handle.fail(Place::Setup, &error),
        }
    })
}

/// Runs `change` on the settings of a handle, and `apply` on its socket if it has one. The settings
/// are kept only if that works.
///
/// # Safety
/// `handle` is NULL or a handle.
pub(super) unsafe fn adjust(
    handle: *mut Handle,
    change: impl FnOnce(&mut Config) -> Result<()>,
    apply: impl FnOnce(&PacketSocket) -> Result<()>,
) -> c_int {
    // SAFETY: the caller's promise.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    let adjust = || -> Result<()> {
        let mut config = handle.config();
        let mut changed = config.clone();
        change(&mut changed)?;
        if handle.is_active() {
            changed.check()?;
            apply(&handle.session()?.socket)?;
        }
        *config = changed;
        Ok(())
    };
    wall(|| match adjust() {
        Ok(()) => 0,
        Err(error) => handle.fail(Place::Setup, &error),
    })
}

/// Chooses the TPACKET version (PACKET_VERSION). Set it before the rings, which are checked
/// against it.
///
/// V1 rings have a word of the kernel's width in them: in a 32-bit program on a 64-bit kernel
/// pktring_activate() refuses them with -EOPNOTSUPP.
///
/// @param handle   a handle that is not active
/// @param version  PKTRING_V1, PKTRING_V2 or PKTRING_V3 (default)
/// @return 0; -EINVAL for another value; -EBUSY when active; -EFAULT when handle is NULL
#[no_mangle]
pub unsafe extern "C" fn pktring_set_version(handle: *mut Handle, version: u32) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        change(handle, |config| {
            config.version = geometry::version(version)?;
            Ok(())
        })
    }
}

/// Chooses whether frames carry their link-level header.
///
/// @param handle  a handle that is not active
/// @param mode    PKTRING_RAW (default) or PKTRING_DGRAM
/// @return 0; -EINVAL for another value; -EBUSY when active; -EFAULT when handle is NULL
#[no_mangle]
pub unsafe extern "C" fn pktring_set_mode(handle: *mut Handle, mode: u32) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        change(handle, |config| {
            config.mode = geometry::mode(mode)?;
            Ok(())
        })
    }
}

/// Chooses the protocol to receive: the third argument of socket(2) for a packet socket.
///
/// A handle for one protocol does not see frames that this host sends.
///
/// @param handle     a handle that is not active
/// @param ethertype  EtherType in host byte order, 1 to 65535; 3 (ETH_P_ALL): every protocol;
///                   0: the default, which is every protocol for a handle with a receive ring
///                   and none for one that only transmits
/// @return 0; -EINVAL above 65535; -EBUSY when active; -EFAULT when handle is NULL
#[no_mangle]
pub unsafe extern "C" fn pktring_set_protocol(handle: *mut Handle, ethertype: u32) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        change(handle, |config| {
            let protocol = u16::try_from(ethertype).map_err(|_| {
                invalid!("ethertype {ethertype:#x} is out of range; 0 to 0xffff are valid")
            })?;
            config.protocol = Some(protocol).filter(|protocol| *protocol != 0);
            Ok(())
        })
    }
}

/// Chooses the TPACKET version and the defaults of the rings for a purpose.
///
/// Replaces an earlier pktring_set_version(); rings that were set keep what they name.
///
/// @param handle   a handle that is not active
/// @param profile  PKTRING_PROFILE_THROUGHPUT (default), PKTRING_PROFILE_LATENCY or
///                 PKTRING_PROFILE_LOW_MEMORY
/// @return 0; -EINVAL for another value; -EBUSY when active; -EFAULT when handle is NULL
#[no_mangle]
pub unsafe extern "C" fn pktring_set_profile(handle: *mut Handle, profile: u32) -> c_int {
    let chosen = match profile {
        PKTRING_PROFILE_THROUGHPUT => Ok(Profile::Throughput),
        PKTRING_PROFILE_LATENCY => Ok(Profile::Latency),
        PKTRING_PROFILE_LOW_MEMORY => Ok(Profile::LowMemory),
        _ => Err(profile),
    };
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        change(handle, |config| {
            config.set_profile(
                chosen.map_err(|profile| {
                    invalid!("profile {profile} is unknown; 0 to 2 are valid")
                })?,
            );
            Ok(())
        })
    }
}

/// Chooses how the frames of a transmit ring get to the kernel.
///
/// Everything that pktring_tx_reserve() and its companions promise holds either way, and so does
/// the geometry of pktring_set_ring(). What differs:
///
/// PKTRING_TX_METHOD_RING: the slots are shared with the kernel, which builds a packet around the
/// memory of each and gives the slot back when the device is done with it. Where a device cannot
/// send from such memory, as veth, tap and loopback devices, which pass the packet on to somebody
/// else, it is copied after all, and that costs more than the other method does.
///
/// PKTRING_TX_METHOD_COPY: the slots belong to the process, and pktring_tx_flush() has the kernel
/// copy up to 64 frames with each system call. It gives a slot back as soon as the frame was copied
/// and queued, so a frame counts as sent then, and its completion says no more than that. It needs
/// no memory of the kernel's, and pktring_fd() is writable whenever the socket is. Timestamps of
/// sent frames (pktring_set_timestamp()) are to be had with a ring alone.
///
/// docs/performance.md has what was measured. pktring_open_transmit() uses PKTRING_TX_METHOD_COPY.
///
/// @param handle  a handle that is not active
/// @param method  PKTRING_TX_METHOD_RING (default) or PKTRING_TX_METHOD_COPY; of no meaning
///                without a transmit ring
/// @return 0; -EINVAL for another value; -EBUSY when active; -EFAULT when handle is NULL
#[no_mangle]
pub unsafe extern "C" fn pktring_set_tx_method(handle: *mut Handle, method: u32) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        change(handle, |config| {
            config.tx_method = match method {
                PKTRING_TX_METHOD_RING => Method::Ring,
                PKTRING_TX_METHOD_COPY => Method::Copy,
                _ => return Err(invalid!("method {method} is unknown; 0 and 1 are valid")),
            };
            Ok(())
        })
    }
}

/// Limits how many bytes of each frame are kept, exactly, with every version: longer frames are
/// cut in the kernel by the filter. pktring_frame.len still tells the length on the wire.
///
/// @param handle   a handle that is not active
/// @param snaplen  bytes; 0 (default): whole frames
/// @return 0; -EBUSY when active; -EFAULT when handle is NULL
#[no_mangle]
pub unsafe extern "C" fn pktring_set_snaplen(handle: *mut Handle, snaplen: u32) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        change(handle, |config| {
            config.snaplen = snaplen;
            Ok(())
        })
    }
}

/// Receives frames that are addressed to other stations, too.
///
/// Done by a membership (PACKET_ADD_MEMBERSHIP with PACKET_MR_PROMISC), which ends with the
/// handle whatever happens to the program; the interface's IFF_PROMISC flag is not touched.
///
/// @param handle  a handle that is not active, for one interface
/// @param on      not 0: promiscuous; 0 (default): not
/// @return 0; -EBUSY when active; -EFAULT when handle is NULL
#[no_mangle]
pub unsafe extern "C" fn pktring_set_promisc(handle: *mut Handle, on: c_int) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        change(handle, |config| {
            config.promiscuous = on != 0;
            Ok(())
        })
    }
}

/// Looks at the ring for some time before a wait goes to sleep.
///
/// Saves the time of a wake-up, tens of microseconds, at the price of a busy processor. Of use
/// with V1 and V2 rings; V3 blocks arrive with their retire timeout anyway.
///
/// @param handle        a handle that is not active
/// @param microseconds  how long; 0 (default): sleep at once
/// @return 0; -EBUSY when active; -EFAULT when handle is NULL
#[no_mangle]
pub unsafe extern "C" fn pktring_set_spin(handle: *mut Handle, microseconds: u32) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        change(handle, |config| {
            config.spin_us = microseconds;
            Ok(())
        })
    }
}

/// Sets the classic BPF filter that selects the packets to receive.
///
/// Set before pktring_activate() it is in place before the first packet: nothing that it
/// rejects is ever delivered. Set later it replaces the filter before it at once: no frame that it
/// rejects is delivered after the call, and none that both accept is lost. The kernel changes
/// over between two packets, and the call waits until it is done with those before, which takes
/// some milliseconds, 17 on average where this was measured (membarrier(2)); have room in the ring
/// for what arrives meanwhile. Frames that are in the ring then are asked about by the library when
/// they are read: it runs the same program over what the ring kept of them, for some ten nanoseconds
/// an instruction. Those behind cost nothing. Where the kernel cannot be waited for (before Linux
/// 4.3, with nohz_full, forbidden by seccomp, on a machine with one processor) the call returns at
/// once, and the library asks about every frame for a second and a lap of the ring; the promise is
/// the same. A frame that was cut so short that the filter cannot see what it asks for is dropped
/// if it came before the call. In a whole block, pktring_iter_next() passes the frames that
/// are rejected; frame_count still includes them, and a program that walks the block by itself
/// finds TP_STATUS_USER missing in their status. Frames and blocks that the program holds stay as
/// they are.
///
/// @param handle   the handle
/// @param program  the instructions, copied; NULL with count 0 removes the filter
/// @param count    number of instructions, 1 to 4096
/// @return 0; -EINVAL when the kernel's checker refuses the program (found out by
///         pktring_activate() when the handle is not active), when there are too many
///         instructions, and on an active handle when the program asks for something that the
///         ring does not keep of a frame: mark, queue, processor, hash, a random number, payload
///         offset or netlink attributes, with V1 rings the VLAN tag, with PKTRING_DGRAM the
///         link-level header, with pktring_set_original_device() the interface; -ENOMEM when the
///         program takes more memory than the sysctl net.core.optmem_max leaves to a socket, which
///         for a change has to hold both programs: its default before Linux 6.7, 20 KiB, is used
///         up by some 2500 instructions, or by 180 that load from the packet (found out when
///         -EINVAL is); -EBUSY when the filter is locked; -EFAULT when handle, or program with a
///         count, is NULL. The old filter stays when an error is returned.
///
/// On an active handle for the thread that receives. libpcap's compiler makes programs from
/// expressions: c-examples/tools/filter.c shows how. VLAN tags are not in the packet that the
/// program sees, but beside it: "vlan" has to be compiled for a live libpcap handle, which knows.
#[no_mangle]
pub unsafe extern "C" fn pktring_set_filter(
    handle: *mut Handle,
    program: *const pktring_insn,
    count: u32,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(|| {
        // SAFETY: `count` instructions by the caller's promise.
        match unsafe { copy_program(program, count) } {
            Ok(copy) => set_instructions(handle, copy),
            Err(error) => handle.fail(Place::Setup, &error),
        }
    })
}

/// # Safety
/// `program` is NULL or points to `count` instructions.
pub(super) unsafe fn copy_program(
    program: *const pktring_insn,
    count: u32,
) -> Result<Option<Vec<sock_filter>>> {
    if program.is_null() {
        return match count {
            0 => Ok(None),
            _ => Err(Error::Null("program")),
        };
    }
    let count = count as usize;
    if count > MAX_INSTRUCTIONS {
        return Err(invalid!(
            "a filter of {count} instructions is out of range; 1 to {} are valid",
            MAX_INSTRUCTIONS
        ));
    }
    // SAFETY: the caller's promise; pktring_insn has the layout of sock_filter.
    Ok(Some(
        unsafe { std::slice::from_raw_parts(program.cast::<sock_filter>(), count) }.to_vec(),
    ))
}

/// Asks for a ring.
///
/// With PKTRING_RX the handle receives, with PKTRING_TX it transmits, with both it does both,
/// through one mapping. The request is checked here and set up by pktring_activate(), exactly or
/// not at all.
///
/// @param handle     a handle that is not active
/// @param direction  PKTRING_RX or PKTRING_TX
/// @param ring       what to set up; fields that are 0 take the default of the profile, and
///                   NULL stands for all defaults
/// @return 0; -EINVAL with a text that names the field at fault, the rule and the nearest valid
///         value; -EBUSY when active; -E2BIG for a longer struct with unknown fields set;
///         -EFAULT when handle is NULL
#[no_mangle]
pub unsafe extern "C" fn pktring_set_ring(
    handle: *mut Handle,
    direction: u32,
    ring: *const pktring_ring,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle, and NULL or a struct with its size.
    unsafe {
        change(handle, |config| {
            let direction = geometry::direction(direction)?;
            let request = match ring.is_null() {
                true => pktring_ring::default(),
                false => sized::read(ring)?,
            };
            config.set_ring(direction, request.to_core()?)
        })
    }
}

/// Reads back the ring that was set up, with every default filled in.
///
/// @param handle     an active handle
/// @param direction  PKTRING_RX or PKTRING_TX
/// @param ring       receives the ring; its size field is set
/// @return 0; -EBUSY when the handle is not active; -EINVAL for another direction, or when the
///         handle has no such ring; -EFAULT for NULL
///
/// May be called from any thread.
#[no_mangle]
pub unsafe extern "C" fn pktring_get_ring(
    handle: *mut Handle,
    direction: u32,
    ring: *mut pktring_ring,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(|| {
        let get = || -> Result<()> {
            let rings = handle.session()?.rings;
            let found = match geometry::direction(direction)? {
                Direction::Rx => rings.rx.ok_or("receive"),
                Direction::Tx => rings.tx.ok_or("transmit"),
            };
            let found = found.map_err(|name| invalid!("the handle has no {name} ring"))?;
            // SAFETY: the caller's struct starts with its size.
            unsafe { sized::write(ring, &pktring_ring::from_core(&found)) }
        };
        match get() {
            Ok(()) => 0,
            Err(error) => handle.fail(Place::Setup, &error),
        }
    })
}
