//! VLAN tags on everything that a host sends, as from a VLAN interface, which not every kernel has.

use std::io;
use std::os::fd::OwnedFd;

use crate::bpf::{argument, attach, call, exit, load_classifier, load_constant, Direction};
use crate::{context, link};

const VLAN_PUSH: i32 = 18;
const VLAN_POP: i32 = 19;

/// Tags all that leaves an interface, and takes the tag off what comes in, for as long as it
/// lives.
#[derive(Debug)]
pub struct Tagged {
    _links: [OwnedFd; 2],
}

impl Tagged {
    /// With that tag: priority and VLAN number. Needs the right to load eBPF programs.
    pub fn new(name: &str, tci: u16) -> io::Result<Tagged> {
        let index = link::index(name)?;
        let protocol = i32::from(0x8100u16.to_be());
        let push = [
            argument(2, protocol),
            argument(3, tci.into()),
            call(VLAN_PUSH),
            load_constant(0),
            exit(),
        ];
        let pop = [call(VLAN_POP), load_constant(0), exit()];
        let tie = |program, direction| {
            load_classifier(program).and_then(|program| attach(&program, index, direction))
        };
        let links = tie(&push, Direction::Egress)
            .and_then(|push| Ok([push, tie(&pop, Direction::Ingress)?]));
        let links = links.map_err(context(format_args!("VLAN tags on {name}")))?;
        Ok(Tagged { _links: links })
    }
}
