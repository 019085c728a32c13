//! Socket settings that are not the packet socket's own.

use super::config::{adjust, change};
use super::error::Place;
use super::geometry;
use super::handle::Handle;
use super::wall;
use crate::error::{invalid, Result};
use crate::ring::geometry::Direction;
use crate::sys::call::PacketSocket;
use crate::tuning::{self, BusyPoll};
use std::os::raw::c_int;

/// Bit of pktring_set_memory(): lock the rings (MAP_LOCKED).
pub const PKTRING_MEMORY_LOCK: u32 = 1;
/// Bit of pktring_set_memory(): fill the page table at once (MAP_POPULATE).
pub const PKTRING_MEMORY_POPULATE: u32 = 2;

/// Sets a socket buffer (SO_RCVBUF, SO_SNDBUF), exactly or not at all.
///
/// The receive buffer holds the copies of pktring_set_copies() and nothing else: rings are not
/// counted. The send buffer limits the bytes of frames under way, with a transmit ring as well:
/// when a ring does not fill the line, it may be too small.
///
/// @param handle     the handle; at any time
/// @param direction  PKTRING_RX or PKTRING_TX
/// @param bytes      1 to 1073741823; less than about 2300 is raised to that by the kernel. The
///                   default is the administrator's (net.core.rmem_default and wmem_default).
/// @return 0; -EINVAL for other values, and for more than net.core.rmem_max or wmem_max without
///         CAP_NET_ADMIN; -EFAULT when handle is NULL
#[no_mangle]
pub unsafe extern "C" fn pktring_set_buffer(
    handle: *mut Handle,
    direction: u32,
    bytes: u32,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        adjust(
            handle,
            |config| {
                tuning::check_buffer(bytes)?;
                match geometry::direction(direction)? {
                    Direction::Rx => config.tuning.receive_buffer = bytes,
                    Direction::Tx => config.tuning.send_buffer = bytes,
                }
                Ok(())
            },
            |socket| tuning::set_buffer(socket, geometry::direction(direction)?, bytes),
        )
    }
}

/// Reads the size of a socket buffer back.
///
/// @param handle     an active handle
/// @param direction  PKTRING_RX or PKTRING_TX
/// @return bytes as given to pktring_set_buffer(), half of what the kernel reports; -EINVAL for
///         another direction; -EBUSY when the handle is not active; -EFAULT for NULL
#[no_mangle]
pub unsafe extern "C" fn pktring_get_buffer(handle: *mut Handle, direction: u32) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        ask(handle, |socket| {
            let bytes = tuning::buffer(socket, geometry::direction(direction)?)?;
            Ok(bytes as c_int)
        })
    }
}

/// Has waits poll the interface instead of sleeping until its interrupt (SO_BUSY_POLL, Linux
/// 3.11; SO_PREFER_BUSY_POLL and SO_BUSY_POLL_BUDGET, Linux 5.11).
///
/// Without effect on receive rings of every kernel up to Linux 6.18 at least: the kernel polls the
/// queue that a socket's packets came from, and never notes it for packet sockets, see
/// pktring_get_napi_id(). The setting is passed on and read back for the day when it does. Use
/// pktring_set_spin(), which needs nothing of the kernel or the driver; and the interface's own
/// interrupt moderation (ethtool -C).
///
/// @param handle        the handle; at any time
/// @param microseconds  how long to poll; 0: do not. Default: net.core.busy_read (sysctl)
/// @param budget        packets to take at once, 0 to 65535; 0: the kernel's default, 8
/// @param prefer        not 0: keep the interface's interrupts off as long as the program polls
/// @return 0; -EINVAL out of range; -EPERM without CAP_NET_ADMIN for the preference, for a larger
///         budget than the default, and on older kernels for more microseconds than before;
///         -EOPNOTSUPP where the kernel lacks it; -EFAULT when handle is NULL. Values given
///         before are judged by pktring_activate().
#[no_mangle]
pub unsafe extern "C" fn pktring_set_busy_poll(
    handle: *mut Handle,
    microseconds: u32,
    budget: u32,
    prefer: c_int,
) -> c_int {
    let busy = BusyPoll {
        microseconds,
        budget,
        prefer: prefer != 0,
    };
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        adjust(
            handle,
            |config| {
                busy.check()?;
                config.tuning.busy_poll = Some(busy);
                Ok(())
            },
            |socket| busy.apply(socket),
        )
    }
}

/// Keeps the machine's processors from sleeping so deeply that waking one takes longer than this
/// (/dev/cpu_dma_latency, Linux 2.6.25), from pktring_activate() to pktring_close().
///
/// What a frame on an idle link waits for is mostly a processor that has to wake up. Threads sleep as
/// ever, and nothing is taken from other programs; but it holds for every processor of the machine and
/// costs power, in a virtual machine processor time of its host. Where several programs ask,
/// the least counts.
///
/// @param handle        a handle that is not active
/// @param microseconds  how long waking up may take; 0: idle processors do not sleep at all;
///                      negative (default): as long as the kernel likes. What the processors can do
///                      is in /sys/devices/system/cpu/cpu0/cpuidle: a state is used whose
///                      latency is not above.
/// @return 0; -EBUSY when active; -EFAULT when handle is NULL. pktring_activate() returns -EPERM
///         without write permission for that file, which root has, and -ENOENT where it is not.
#[no_mangle]
pub unsafe extern "C" fn pktring_set_wake_latency(
    handle: *mut Handle,
    microseconds: c_int,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        change(handle, |config| {
            config.tuning.wake_latency = Some(microseconds).filter(|asked| *asked >= 0);
            Ok(())
        })
    }
}

/// Tells the kernel which processor the socket's packets are handled on (SO_INCOMING_CPU, Linux
/// 4.4).
///
/// A hint that stays with the socket. It moves neither packets nor threads: bind the receiving
/// thread and the interface's interrupt to a processor for that, and spread packets by processor
/// with a fanout group.
///
/// @param handle  the handle; at any time
/// @param cpu     number of the processor, 0 to 2147483647
/// @return 0; -EINVAL above; -EFAULT when handle is NULL
#[no_mangle]
pub unsafe extern "C" fn pktring_set_incoming_cpu(handle: *mut Handle, cpu: u32) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        adjust(
            handle,
            |config| {
                tuning::check_cpu(cpu)?;
                config.tuning.cpu = Some(cpu);
                Ok(())
            },
            |socket| tuning::set_cpu(socket, cpu),
        )
    }
}

/// Reads the processor hint back (SO_INCOMING_CPU).
///
/// @param handle  an active handle
/// @return number of the processor; -EAGAIN while none is known; -EBUSY when the handle is not
///         active; -EFAULT for NULL
#[no_mangle]
pub unsafe extern "C" fn pktring_get_incoming_cpu(handle: *mut Handle) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        ask(handle, |socket| {
            Ok(tuning::cpu(socket)?.map_or(-libc::EAGAIN, |cpu| cpu as c_int))
        })
    }
}

/// Tells which receive queue the socket's packets come from (SO_INCOMING_NAPI_ID, Linux 4.12), as
/// far as the kernel knows. No kernel up to Linux 6.18 at least notes it for packet sockets: they
/// answer -EAGAIN however many packets they have received.
///
/// @param handle  an active handle
/// @return the kernel's number of the queue, 1 or more; -EAGAIN while none is known; -EOPNOTSUPP
///         where the kernel lacks it; -EBUSY when the handle is not active; -EFAULT for NULL
#[no_mangle]
pub unsafe extern "C" fn pktring_get_napi_id(handle: *mut Handle) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        ask(handle, |socket| {
            Ok(tuning::napi_id(socket)?.map_or(-libc::EAGAIN, |id| id as c_int))
        })
    }
}

/// Chooses how the rings are mapped (MAP_LOCKED, MAP_POPULATE).
///
/// Neither is needed: ring memory belongs to the kernel, is never swapped, and is in the page
/// table as soon as it is mapped. PKTRING_MEMORY_LOCK counts it against RLIMIT_MEMLOCK, for
/// programs that must prove that all their memory is locked.
///
/// @param handle  a handle that is not active
/// @param flags   PKTRING_MEMORY_LOCK, PKTRING_MEMORY_POPULATE, both, or 0 (default)
/// @return 0; -EINVAL for other bits; -EBUSY when active; -EFAULT when handle is NULL.
///         pktring_activate() returns -EAGAIN when the rings are larger than RLIMIT_MEMLOCK.
#[no_mangle]
pub unsafe extern "C" fn pktring_set_memory(handle: *mut Handle, flags: u32) -> c_int {
    let known = PKTRING_MEMORY_LOCK | PKTRING_MEMORY_POPULATE;
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        change(handle, |config| {
            if flags & !known != 0 {
                return Err(invalid!(
                    "memory flags {flags:#x} have unknown bits; PKTRING_MEMORY_LOCK (1) and \
                     PKTRING_MEMORY_POPULATE (2) are valid"
                ));
            }
            let mut map_flags = 0;
            if flags & PKTRING_MEMORY_LOCK != 0 {
                map_flags |= libc::MAP_LOCKED;
            }
            if flags & PKTRING_MEMORY_POPULATE != 0 {
                map_flags |= libc::MAP_POPULATE;
            }
            config.tuning.map_flags = map_flags;
            Ok(())
        })
    }
}

/// Asks the socket of an active handle for a number.
///
/// # Safety
/// `handle` is NULL or a handle.
unsafe fn ask(handle: *mut Handle, question: impl FnOnce(&PacketSocket) -> Result<c_int>) -> c_int {
    // SAFETY: the caller's promise.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(|| {
        let answer = handle
            .session()
            .and_then(|session| question(&session.socket));
        answer.unwrap_or_else(|error| handle.fail(Place::Setup, &error))
    })
}
