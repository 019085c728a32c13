//! Memberships: which frames that are addressed to others the interface lets in.

#![forbid(unsafe_code)]

use crate::error::{invalid, Error, Result};
use crate::link::Link;
use crate::sys::call::{Errno, PacketSocket};
use crate::sys::layout::MembershipRequest;

/// Bytes of the longest link-level address (`MAX_ADDR_LEN`).
pub const MAX_ADDRESS: usize = 32;

/// What is asked of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Multicast,
    Promiscuous,
    AllMulticast,
    Unicast,
}

/// One membership. The kernel counts how often each was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    kind: Kind,
    address: [u8; MAX_ADDRESS],
    length: u16,
}

impl Membership {
    /// A membership in frames to `address`, or without one for the kinds that have none.
    pub fn new(kind: Kind, address: &[u8]) -> Result<Membership> {
        let most = match kind {
            Kind::Promiscuous | Kind::AllMulticast => 0,
            Kind::Multicast | Kind::Unicast => MAX_ADDRESS,
        };
        let least = most.min(1);
        if address.len() < least || address.len() > most {
            return Err(match most {
                0 => invalid!("promiscuous and all-multicast memberships take no address"),
                _ => invalid!(
                    "an address of {} bytes is out of range; {least} to {most} are valid",
                    address.len()
                ),
            });
        }
        let mut membership = Membership {
            kind,
            address: [0; MAX_ADDRESS],
            length: address.len() as u16,
        };
        membership.address[..address.len()].copy_from_slice(address);
        Ok(membership)
    }

    fn request(&self, link: &Link) -> Result<MembershipRequest> {
        if link.ifindex == 0 {
            return Err(Error::Invalid(
                "a membership belongs to one interface; it cannot be had for \"any\"".to_owned(),
            ));
        }
        let kind = match self.kind {
            Kind::Multicast => libc::PACKET_MR_MULTICAST,
            Kind::Promiscuous => libc::PACKET_MR_PROMISC,
            Kind::AllMulticast => libc::PACKET_MR_ALLMULTI,
            Kind::Unicast => libc::PACKET_MR_UNICAST,
        };
        Ok(MembershipRequest {
            ifindex: link.ifindex,
            kind: kind as u16,
            length: self.length,
            address: self.address,
        })
    }

    fn explain(&self, call: &'static str, errno: Errno) -> Error {
        match errno {
            libc::EINVAL => invalid!(
                "the interface has no addresses of {} bytes: give one of its own length",
                self.length
            ),
            libc::ENODEV => Error::InterfaceGone,
            errno => Error::system(call, errno),
        }
    }
}

/// The memberships of a handle. The kernel reports success for dropping one that was never
/// there, so they are counted here as well.
#[derive(Clone, Debug, Default)]
pub struct Memberships(Vec<Membership>);

impl Memberships {
    /// Notes one more; it is in force once `join` was called.
    pub fn add(&mut self, membership: Membership) {
        self.0.push(membership);
    }

    /// Strikes one off.
    pub fn remove(&mut self, membership: &Membership) -> Result<()> {
        match self.0.iter().position(|known| known == membership) {
            Some(at) => {
                self.0.remove(at);
                Ok(())
            }
            None => Err(invalid!("this handle has no such membership")),
        }
    }

    /// Puts all of them in force.
    pub fn join(&self, socket: &PacketSocket, link: &Link) -> Result<()> {
        self.0
            .iter()
            .try_for_each(|membership| add(socket, link, membership))
    }
}

/// `PACKET_ADD_MEMBERSHIP`.
pub fn add(socket: &PacketSocket, link: &Link, membership: &Membership) -> Result<()> {
    let request = membership.request(link)?;
    socket
        .set(libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
        .map_err(|errno| membership.explain("PACKET_ADD_MEMBERSHIP", errno))
}

/// `PACKET_DROP_MEMBERSHIP`.
pub fn drop(socket: &PacketSocket, link: &Link, membership: &Membership) -> Result<()> {
    let request = membership.request(link)?;
    socket
        .set(libc::SOL_PACKET, libc::PACKET_DROP_MEMBERSHIP, &request)
        .map_err(|errno| membership.explain("PACKET_DROP_MEMBERSHIP", errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_demanded_where_they_mean_something_and_refused_elsewhere() {
        assert!(Membership::new(Kind::Multicast, &[1, 0, 0x5e, 0, 0, 1]).is_ok());
        assert!(Membership::new(Kind::Unicast, &[]).is_err());
        assert!(Membership::new(Kind::Unicast, &[0; MAX_ADDRESS + 1]).is_err());
        assert!(Membership::new(Kind::Promiscuous, &[]).is_ok());
        assert!(Membership::new(Kind::AllMulticast, &[1]).is_err());
    }

    #[test]
    fn what_was_never_added_cannot_be_removed() {
        let promiscuous = Membership::new(Kind::Promiscuous, &[]).unwrap();
        let mut memberships = Memberships::default();
        memberships.add(promiscuous);
        assert!(memberships.remove(&promiscuous).is_ok());
        assert!(memberships.remove(&promiscuous).is_err());
    }
}
