//! Memberships.

use super::error::Place;
use super::handle::Handle;
use super::wall;
use crate::error::{invalid, Error, Result};
use crate::membership::{self, Kind, Membership};
use std::os::raw::c_int;

/// Frames to one multicast address (PACKET_MR_MULTICAST).
pub const PKTRING_MEMBERSHIP_MULTICAST: u32 = 0;
/// Every frame on the wire, whoever it is addressed to (PACKET_MR_PROMISC).
pub const PKTRING_MEMBERSHIP_PROMISC: u32 = 1;
/// Frames to every multicast address (PACKET_MR_ALLMULTI).
pub const PKTRING_MEMBERSHIP_ALLMULTI: u32 = 2;
/// Frames to one further unicast address (PACKET_MR_UNICAST).
pub const PKTRING_MEMBERSHIP_UNICAST: u32 = 3;

/// Has the interface let in frames that are addressed to others (PACKET_ADD_MEMBERSHIP).
///
/// Interfaces filter by destination address in hardware where they can. A membership widens that
/// filter; it selects nothing by itself, and where the hardware does not filter it changes
/// nothing. The same one can be had several times, by this and by other handles and programs: the
/// interface goes back when the last one is dropped. All memberships of a handle end with it,
/// whatever happens to the program.
///
/// @param handle   a handle for one interface. Before pktring_activate() the membership is noted
///                 and comes into force there; later it does at once.
/// @param kind     PKTRING_MEMBERSHIP_MULTICAST, _PROMISC, _ALLMULTI or _UNICAST
/// @param address  the address, for MULTICAST and UNICAST; otherwise NULL
/// @param length   its bytes, which is 6 on Ethernet; otherwise 0
/// @return 0; -EINVAL for another type, for an address where none belongs, for one of the wrong
///         length, and for a handle on all interfaces; -ENODEV when the interface is gone;
///         -EFAULT when handle, or address with a length, is NULL
///
/// May be called from any thread.
#[no_mangle]
pub unsafe extern "C" fn pktring_add_membership(
    handle: *mut Handle,
    kind: u32,
    address: *const u8,
    length: u32,
) -> c_int {
    // SAFETY: the caller's promises are those that `change` asks for.
    unsafe { change(handle, kind, address, length, add) }
}

/// Takes back one pktring_add_membership() (PACKET_DROP_MEMBERSHIP).
///
/// @param handle   the handle that the membership was added to
/// @param kind     as it was added
/// @param address  as it was added
/// @param length   as it was added
/// @return 0; -EINVAL when the handle has no such membership, and for arguments that
///         pktring_add_membership() would refuse; -EFAULT as there
///
/// May be called from any thread.
#[no_mangle]
pub unsafe extern "C" fn pktring_drop_membership(
    handle: *mut Handle,
    kind: u32,
    address: *const u8,
    length: u32,
) -> c_int {
    // SAFETY: the caller's promises are those that `change` asks for.
    unsafe { change(handle, kind, address, length, drop) }
}

/// # Safety
/// `handle` is NULL or a handle, `address` NULL or `length` bytes.
unsafe fn change(
    handle: *mut Handle,
    kind: u32,
    address: *const u8,
    length: u32,
    change: fn(&Handle, Membership) -> Result<()>,
) -> c_int {
    // SAFETY: the caller's promise.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(|| {
        // SAFETY: the caller's promise.
        let membership = unsafe { membership(kind, address, length) };
        match membership.and_then(|membership| change(handle, membership)) {
            Ok(()) => 0,
            Err(error) => handle.fail(Place::Setup, &error),
        }
    })
}

/// # Safety
/// `address` is NULL or points to `length` bytes.
unsafe fn membership(kind: u32, address: *const u8, length: u32) -> Result<Membership> {
    let kind = match kind {
        PKTRING_MEMBERSHIP_MULTICAST => Kind::Multicast,
        PKTRING_MEMBERSHIP_PROMISC => Kind::Promiscuous,
        PKTRING_MEMBERSHIP_ALLMULTI => Kind::AllMulticast,
        PKTRING_MEMBERSHIP_UNICAST => Kind::Unicast,
        kind => {
            return Err(invalid!(
                "membership type {kind} is unknown; 0 to 3 are valid"
            ))
        }
    };
    let most = membership::MAX_ADDRESS as u32;
    if length > most {
        return Err(invalid!(
            "an address of {length} bytes is out of range; at most {most} are valid"
        ));
    }
    if length != 0 && address.is_null() {
        return Err(Error::Null("address"));
    }
    let address = match length {
        0 => &[],
        // SAFETY: not NULL, so `length` bytes by the caller's promise.
        _ => unsafe { std::slice::from_raw_parts(address, length as usize) },
    };
    Membership::new(kind, address)
}

fn add(handle: &Handle, membership: Membership) -> Result<()> {
    let mut config = handle.config();
    if handle.is_active() {
        let session = handle.session()?;
        membership::add(&session.socket, &session.link, &membership)?;
    }
    config.memberships.add(membership);
    Ok(())
}

fn drop(handle: &Handle, membership: Membership) -> Result<()> {
    let mut config = handle.config();
    let mut left = config.memberships.clone();
    left.remove(&membership)?;
    if handle.is_active() {
        let session = handle.session()?;
        membership::drop(&session.socket, &session.link, &membership)?;
    }
    config.memberships = left;
    Ok(())
}
