//! Network interfaces and namespaces.

use super::config::change;
use super::error::{set_errno, write_errbuf};
use super::geometry;
use super::handle::Handle;
use super::lifecycle::text;
use super::wall;
use crate::error::{invalid, Error, Result};
use crate::interface::{self, Interface, IpAddress};
use crate::link;
use crate::namespace::{self, Namespace};
use std::os::raw::{c_char, c_int};
use std::os::unix::io::BorrowedFd;

/// Bit of pktring_interface.flags: the interface is up (IFF_UP).
pub const PKTRING_INTERFACE_UP: u32 = 1;
/// Bit of pktring_interface.flags: the loopback interface (IFF_LOOPBACK).
pub const PKTRING_INTERFACE_LOOPBACK: u32 = 8;
/// Bit of pktring_interface.flags: up, and the line works (IFF_RUNNING).
pub const PKTRING_INTERFACE_RUNNING: u32 = 0x40;

/// Lists the network interfaces.
///
/// @param netns   the network namespace: NULL for the calling thread's, the name of one made by
///                "ip netns add", or a path with a slash, such as "/proc/PID/ns/net" or, for a
///                descriptor, "/proc/self/fd/N". Others need CAP_SYS_ADMIN.
/// @param list    array of max interfaces; NULL with max 0 only counts
/// @param max     interfaces that fit list
/// @param errbuf  receives the error text; PKTRING_ERRBUF_SIZE bytes, or NULL
/// @return number of interfaces there are, which can be more than max; negative errno value:
///         -ENOENT no such namespace, -EPERM, -EINVAL it is no network namespace, -EFAULT
///
/// Needs no privilege in the own namespace. May be called from any thread.
#[no_mangle]
pub unsafe extern "C" fn pktring_interfaces(
    netns: *const c_char,
    list: *mut Interface,
    max: u32,
    errbuf: *mut c_char,
) -> c_int {
    // SAFETY: the caller's string, array and buffer.
    unsafe { fill(netns, list, max, errbuf, interface::interfaces) }
}

/// Lists the IP addresses of network interfaces.
///
/// @param netns   the network namespace, as for pktring_interfaces()
/// @param index   number of the interface; 0 for all
/// @param list    array of max addresses; NULL with max 0 only counts
/// @param max     addresses that fit list
/// @param errbuf  receives the error text; PKTRING_ERRBUF_SIZE bytes, or NULL
/// @return number of addresses there are, which can be more than max; negative errno value as
///         from pktring_interfaces()
///
/// May be called from any thread.
#[no_mangle]
pub unsafe extern "C" fn pktring_addresses(
    netns: *const c_char,
    index: c_int,
    list: *mut IpAddress,
    max: u32,
    errbuf: *mut c_char,
) -> c_int {
    // SAFETY: the caller's string, array and buffer.
    unsafe { fill(netns, list, max, errbuf, || interface::addresses(index)) }
}

/// # Safety
/// `netns` is NULL or a string, `list` NULL or room for `max` values, `errbuf` NULL or a buffer of
/// PKTRING_ERRBUF_SIZE bytes.
unsafe fn fill<T: Copy + Send>(
    netns: *const c_char,
    list: *mut T,
    max: u32,
    errbuf: *mut c_char,
    find: impl FnOnce() -> Result<Vec<T>> + Send,
) -> c_int {
    let fill = || -> Result<c_int> {
        if list.is_null() && max != 0 {
            return Err(Error::Null("list"));
        }
        // SAFETY: the caller's promise.
        let namespace = unsafe { text(netns, "netns")? }
            .map(Namespace::open)
            .transpose()?;
        let found = namespace::run(namespace.as_ref(), find)?;
        for (i, value) in found.iter().take(max as usize).enumerate() {
            // SAFETY: i < max; written, not read.
            unsafe { list.add(i).write(*value) };
        }
        Ok(c_int::try_from(found.len()).unwrap_or(c_int::MAX))
    };
    wall(|| {
        fill().unwrap_or_else(|error| {
            // SAFETY: the caller's promise.
            unsafe { write_errbuf(errbuf, &error) };
            set_errno(error.errno());
            -error.errno()
        })
    })
}

/// Puts the handle into another network namespace, without moving the program there.
///
/// The interface is looked up and the socket is opened there by pktring_activate(); it stays
/// there for good. Needs CAP_SYS_ADMIN over the namespace.
///
/// @param handle  a handle that is not active
/// @param netns   name of a namespace made by "ip netns add", or a path with a slash such as
///                "/proc/PID/ns/net"; NULL (default): where the thread is that activates. It is
///                opened now, so the path is not needed later.
/// @return 0; -ENOENT when it does not exist; -EPERM, -EACCES; -EBUSY when active; -EFAULT when
///         handle is NULL. pktring_activate() returns -EINVAL for a file that is no network
///         namespace, and -EPERM.
#[no_mangle]
pub unsafe extern "C" fn pktring_set_netns(handle: *mut Handle, netns: *const c_char) -> c_int {
    // SAFETY: the caller passes NULL or a handle, and NULL or a string.
    unsafe {
        change(handle, |config| {
            config.namespace = text(netns, "netns")?.map(Namespace::open).transpose()?;
            Ok(())
        })
    }
}

/// The same as pktring_set_netns(), for a descriptor of a network namespace.
///
/// @param handle  a handle that is not active
/// @param fd      descriptor of an open /proc/PID/ns/net or the like, or of a process
///                (pidfd_open(2), Linux 5.8). It is duplicated and stays yours. -1: where the
///                thread is that activates.
/// @return 0; -EINVAL below -1; -EBADF when it is not open; -EBUSY when active; -EFAULT when
///         handle is NULL. pktring_activate() returns -EINVAL when it is something else.
#[no_mangle]
pub unsafe extern "C" fn pktring_set_netns_fd(handle: *mut Handle, fd: c_int) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    unsafe {
        change(handle, |config| {
            config.namespace = match fd {
                -1 => None,
                fd if fd < 0 => {
                    return Err(invalid!(
                        "descriptor {fd} is out of range; -1 and up are valid"
                    ))
                }
                // Used for duplicating alone, which fails for a descriptor that is not open.
                fd => Some(Namespace::of_fd(BorrowedFd::borrow_raw(fd))?),
            };
            Ok(())
        })
    }
}

/// The libpcap link type (DLT_*) for a type of interface. With a handle on "any" interface it
/// tells for each frame what it starts with.
///
/// @param hatype  ARPHRD_* type, as in pktring_addr.hatype and pktring_interface.hatype
/// @param mode    PKTRING_RAW or PKTRING_DGRAM
/// @return the link type, 0 or more; -EOPNOTSUPP when there is none for this hardware; -EINVAL
///         for another mode. 227 (DLT_CAN_SOCKETCAN) is that of CAN interfaces, but the CAN id at
///         the start of a captured frame is in the host's byte order: turn it into network byte
///         order for a capture file
///
/// May be called from any thread.
#[no_mangle]
pub extern "C" fn pktring_hardware_linktype(hatype: u16, mode: u32) -> c_int {
    match geometry::mode(mode).map(|mode| link::linktype(hatype, mode)) {
        Ok(-1) => -libc::EOPNOTSUPP,
        Ok(number) => number,
        Err(error) => -error.errno(),
    }
}
