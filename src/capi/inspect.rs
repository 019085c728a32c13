//! Asking the kernel what it has set up.

use super::error::Place;
use super::geometry::{self, pktring_ring};
use super::handle::Handle;
use super::sized;
use super::wall;
use crate::diag;
use crate::error::{invalid, Result};
use crate::namespace;
use crate::ring::geometry::Direction;
use std::os::raw::c_int;

/// Asks the kernel for the geometry of a ring, through sock_diag(7) as ss(8) does.
///
/// pktring_get_ring() tells the same without a system call; this shows that the kernel agrees.
/// Takes time in proportion to the number of packet sockets on the host.
///
/// @param handle     an active handle
/// @param direction  PKTRING_RX or PKTRING_TX
/// @param ring       receives the ring; its size field is set
/// @return 0; -EINVAL for another direction, or when the kernel knows no such ring; -EOPNOTSUPP
///         when the kernel was built without CONFIG_PACKET_DIAG; -EBUSY when the handle is not
///         active, or the calling thread in another network namespace than when it was
///         activated; -EFAULT for NULL
///
/// May be called from any thread.
#[no_mangle]
pub unsafe extern "C" fn pktring_inspect_ring(
    handle: *mut Handle,
    direction: u32,
    ring: *mut pktring_ring,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    let inspect = || -> Result<()> {
        let direction = geometry::direction(direction)?;
        let socket = &handle.session()?.socket;
        let place = handle.config().namespace.clone();
        let found = namespace::run(place.as_ref(), || diag::ring(socket, direction))?;
        let name = match direction {
            Direction::Rx => "receive",
            Direction::Tx => "transmit",
        };
        let found = found.ok_or_else(|| invalid!("the handle has no {name} ring"))?;
        // SAFETY: the caller's struct starts with its size.
        unsafe { sized::write(ring, &pktring_ring::from_core(&found)) }
    };
    wall(|| match inspect() {
        Ok(()) => 0,
        Err(error) => handle.fail(Place::Setup, &error),
    })
}
