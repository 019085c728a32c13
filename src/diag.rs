//! What the kernel says about the rings of a socket, through sock_diag(7).

#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::netlink::{attributes, dump, u32_at};
use crate::ring::geometry::{Direction, Ring};
use crate::sys::call::PacketSocket;
use crate::sys::netlink::inode;

/// From linux/sock_diag.h and linux/packet_diag.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const PACKET_SHOW_RING_CFG: u32 = 4;
const PACKET_DIAG_RX_RING: u16 = 2;
const PACKET_DIAG_TX_RING: u16 = 3;
/// Bytes of `struct packet_diag_msg`, and where in it the socket's inode number is.
const MESSAGE: usize = 16;
const INODE: usize = 4;

/// The ring that the kernel has for `socket`; `None` when it has none. To be asked in the
/// socket's network namespace.
pub fn ring(socket: &PacketSocket, direction: Direction) -> Result<Option<Ring>> {
    let fail = |errno| Error::system("fstat", errno);
    let inode = inode(socket.fd()).map_err(fail)?;
    let wanted = match direction {
        Direction::Rx => PACKET_DIAG_RX_RING,
        Direction::Tx => PACKET_DIAG_TX_RING,
    };
    let mut found = None;
    let dumped = dump(
        "sock_diag",
        libc::NETLINK_SOCK_DIAG,
        SOCK_DIAG_BY_FAMILY,
        &question(inode),
        |body| {
            if u32_at(body, INODE) == Some(inode) {
                let ring = attributes(body.get(MESSAGE..).unwrap_or(&[]))
                    .find(|(number, _)| *number == wanted)
                    .and_then(|(_, value)| parse(value));
                found = Some(ring);
            }
        },
    );
    match (dumped, found) {
        (Err(Error::System { errno, .. }), _) if errno == libc::ENOENT => Err(Error::NeedsKernel {
            option: "reading rings back (CONFIG_PACKET_DIAG)",
            since: "3.7",
        }),
        (Err(error), _) => Err(error),
        (Ok(()), Some(ring)) => Ok(ring),
        (Ok(()), None) => Err(Error::State(
            "the calling thread is in another network namespace than the handle",
        )),
    }
}

/// `struct packet_diag_req`.
fn question(inode: u32) -> Vec<u8> {
    let mut bytes = vec![libc::AF_PACKET as u8, 0, 0, 0];
    bytes.extend(inode.to_ne_bytes());
    bytes.extend(PACKET_SHOW_RING_CFG.to_ne_bytes());
    bytes.extend([0; 8]); // cookie
    bytes
}

/// `struct packet_diag_ring`.
fn parse(value: &[u8]) -> Option<Ring> {
    Some(Ring {
        block_size: u32_at(value, 0)?,
        block_count: u32_at(value, 4)?,
        frame_size: u32_at(value, 8)?,
        frame_count: u32_at(value, 12)?,
        retire_timeout: u32_at(value, 16)?,
        private_size: u32_at(value, 20)?,
        features: u32_at(value, 24)?,
    })
}
