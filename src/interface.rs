//! The network interfaces there are.

#![forbid(unsafe_code)]

use crate::error::Result;
use crate::link::linktype;
use crate::netlink::{attributes, dump, u16_at, u32_at};
use crate::ring::geometry::Mode;

/// A network interface. As the C API has it; comments are written for the header.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Interface {
    /// Number of the interface, as in pktring_addr.ifindex.
    pub index: i32,
    /// Bytes that a frame may have behind its link-level header.
    pub mtu: u32,
    /// PKTRING_INTERFACE_* and the other IFF_* bits of net/if.h.
    pub flags: u32,
    /// What captured frames start with, as a libpcap link type (DLT_*); -1 where there is none.
    pub linktype: i32,
    /// ARPHRD_* type.
    pub hatype: u16,
    /// Bytes of its link-level address; those beyond 8 are not kept.
    pub halen: u16,
    /// Its link-level address.
    pub addr: [u8; 8],
    /// Its name, terminated by NUL.
    pub name: [u8; 16],
    /// 0.
    pub reserved: [u32; 3],
}

/// An IP address of an interface. As the C API has it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct IpAddress {
    /// Number of the interface.
    pub index: i32,
    /// AF_INET (2) or AF_INET6 (10).
    pub family: u16,
    /// Bits of the address that are the network's.
    pub prefix: u16,
    /// The address in network byte order: 4 bytes, or 16.
    pub addr: [u8; 16],
}

/// Bytes of `struct ifinfomsg` and `struct ifaddrmsg`.
const IFINFOMSG: usize = 16;
const IFADDRMSG: usize = 8;

/// All interfaces of the calling thread's namespace, in the kernel's order.
pub fn interfaces() -> Result<Vec<Interface>> {
    let mut found = Vec::new();
    dump(
        "listing the interfaces",
        libc::NETLINK_ROUTE,
        libc::RTM_GETLINK,
        &[0; IFINFOMSG],
        |body| found.extend(interface(body)),
    )?;
    Ok(found)
}

fn interface(body: &[u8]) -> Option<Interface> {
    let mut interface = Interface {
        hatype: u16_at(body, 2)?,
        index: u32_at(body, 4)? as i32,
        flags: u32_at(body, 8)?,
        ..Interface::default()
    };
    interface.linktype = linktype(interface.hatype, Mode::Raw);
    for (number, value) in attributes(body.get(IFINFOMSG..)?) {
        match number {
            libc::IFLA_IFNAME => copy(value, &mut interface.name),
            libc::IFLA_MTU => interface.mtu = u32_at(value, 0)?,
            libc::IFLA_ADDRESS => {
                interface.halen = value.len() as u16;
                copy(value, &mut interface.addr);
            }
            _ => {}
        }
    }
    // The kernel's names end with NUL and are shorter than the field.
    interface.name[15] = 0;
    Some(interface)
}

/// The IP addresses of interface `index`, or of all for 0, in the calling thread's namespace.
pub fn addresses(index: i32) -> Result<Vec<IpAddress>> {
    let mut found = Vec::new();
    dump(
        "listing the addresses",
        libc::NETLINK_ROUTE,
        libc::RTM_GETADDR,
        &[0; IFADDRMSG],
        |body| found.extend(address(body)),
    )?;
    found.retain(|address| index == 0 || address.index == index);
    Ok(found)
}

fn address(body: &[u8]) -> Option<IpAddress> {
    let mut address = IpAddress {
        index: u32_at(body, 4)? as i32,
        family: u16::from(*body.first()?),
        prefix: u16::from(*body.get(1)?),
        ..IpAddress::default()
    };
    let mut local = None;
    let mut other = None;
    for (number, value) in attributes(body.get(IFADDRMSG..)?) {
        match number {
            libc::IFA_LOCAL => local = Some(value),
            libc::IFA_ADDRESS => other = Some(value),
            _ => {}
        }
    }
    // On point-to-point links IFA_ADDRESS is the peer's; IPv6 has no IFA_LOCAL.
    copy(local.or(other)?, &mut address.addr);
    Some(address)
}

/// Copies as much as fits.
fn copy(from: &[u8], to: &mut [u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}
