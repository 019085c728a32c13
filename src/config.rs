//! What a handle is asked to be. Setters record here; `activate` turns it into a socket.

#![forbid(unsafe_code)]

use crate::error::{invalid, Result};
use crate::fanout::Fanout;
use crate::filter::{Selection, Side};
use crate::membership::Memberships;
use crate::namespace::Namespace;
use crate::options::Options;
use crate::program::Program;
use crate::ring::geometry::{complete, Direction, Mode, Profile, Ring, Shape, Version};
use crate::timestamp::Timestamps;
use crate::tuning::Tuning;

/// Frame length to plan slots for where no interface tells its MTU: Ethernet with a VLAN tag.
const DEFAULT_FRAME_LENGTH: u32 = 1518;

/// Link-level header and VLAN tag, in bytes, that come on top of an interface's MTU.
pub const LINK_OVERHEAD: u32 = 18;

/// No frame is longer: 64 KiB that segmentation offload put together, and their header.
const LONGEST_FRAME: u32 = 65536 + LINK_OVERHEAD;

/// The longest interface name, without the terminating NUL.
const MAX_NAME: usize = libc::IFNAMSIZ - 1;

/// Settings of a handle before it is activated.
#[derive(Clone, Debug)]
pub struct Config {
    /// Interface name; `None` for all interfaces.
    pub device: Option<String>,
    pub version: Version,
    pub mode: Mode,
    /// EtherType in host order; `None`: all for handles that receive, none for others.
    pub protocol: Option<u16>,
    pub profile: Profile,
    pub snaplen: u32,
    pub promiscuous: bool,
    pub memberships: Memberships,
    pub fanout: Option<Fanout>,
    /// Who gets which packet, where the fanout mode leaves that to a program.
    pub fanout_program: Option<Program>,
    pub filter: Option<Program>,
    pub side: Side,
    /// The filter cannot be changed any more once the handle is active.
    pub filter_locked: bool,
    /// Microseconds to look at the ring before going to sleep.
    pub spin_us: u32,
    /// Where the interface lives; `None`: where the thread is that activates.
    pub namespace: Option<Namespace>,
    pub options: Options,
    pub timestamps: Timestamps,
    pub tuning: Tuning,
    pub rx: Option<Ring>,
    pub tx: Option<Ring>,
    pub tx_method: Method,
}

/// How frames get from the slots of a transmit ring to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The slots are a transmit ring of the kernel's.
    Ring,
    /// The slots are memory of this process, and `sendmmsg` copies them.
    Copy,
}

impl Config {
    /// The defaults, for interface `device` ("any": all of them).
    pub fn new(device: Option<&str>) -> Result<Config> {
        if let Some(name) = device {
            if name.is_empty() || name.len() > MAX_NAME || name.contains('/') {
                return Err(invalid!(
                    "'{name}' is no interface name: it must have 1 to {MAX_NAME} bytes and no '/'"
                ));
            }
        }
        Ok(Config {
            device: device.filter(|name| *name != "any").map(str::to_owned),
            version: Version::V3,
            mode: Mode::Raw,
            protocol: None,
            profile: Profile::Throughput,
            snaplen: 0,
            promiscuous: false,
            memberships: Memberships::default(),
            fanout: None,
            fanout_program: None,
            filter: None,
            side: Side::Both,
            filter_locked: false,
            spin_us: 0,
            namespace: None,
            options: Options::default(),
            timestamps: Timestamps::default(),
            tuning: Tuning::default(),
            rx: None,
            tx: None,
            tx_method: Method::Ring,
        })
    }

    /// Applies a profile: version, and through it the defaults of the rings.
    pub fn set_profile(&mut self, profile: Profile) {
        self.profile = profile;
        self.version = match profile {
            Profile::Throughput | Profile::LowMemory => Version::V3,
            Profile::Latency => Version::V2,
        };
    }

    /// Records the request for a ring after checking it as far as is possible without knowing
    /// the interface.
    pub fn set_ring(&mut self, direction: Direction, ring: Ring) -> Result<()> {
        complete(&ring, &self.shape(direction, None), self.profile)?;
        match direction {
            Direction::Rx => self.rx = Some(ring),
            Direction::Tx => self.tx = Some(ring),
        }
        Ok(())
    }

    /// Checks what settings demand of each other.
    pub fn check(&self) -> Result<()> {
        if self.timestamps.tx != 0 && self.tx.is_none() {
            return Err(invalid!("timestamps of sent frames need a transmit ring"));
        }
        if self.timestamps.tx != 0 && self.tx_method == Method::Copy {
            return Err(invalid!(
                "timestamps of sent frames need PKTRING_TX_METHOD_RING: a frame that was copied \
                 counts as sent before the device has it"
            ));
        }
        if self.timestamps.tx != 0 && self.options.loss {
            return Err(invalid!(
                "timestamps of sent frames do not go with pktring_set_loss, which leaves frames \
                 that were not sent uncounted"
            ));
        }
        if self.options.ignore_outgoing
            && !self.fanout.map_or(true, |group| group.ignores_outgoing())
        {
            return Err(invalid!(
                "the kernel does not heed pktring_set_ignore_outgoing in a fanout group; give the \
                 group PKTRING_FANOUT_FLAG_IGNORE_OUTGOING"
            ));
        }
        self.options.check(self.mode, self.version)
    }

    /// Which packets are wanted, and how much of each.
    pub fn selection(&self) -> Selection {
        Selection {
            filter: self.filter.clone(),
            snaplen: self.snaplen,
            side: self.side,
        }
    }

    /// What the geometry of a ring of this handle depends on.
    pub fn shape(&self, direction: Direction, mtu: Option<u32>) -> Shape {
        let longest = mtu.map_or(DEFAULT_FRAME_LENGTH, |mtu| {
            mtu.saturating_add(LINK_OVERHEAD)
        });
        let frame_length = match (direction, self.snaplen) {
            (Direction::Rx, snaplen) if snaplen != 0 => snaplen.min(longest.max(LONGEST_FRAME)),
            _ => longest,
        };
        Shape {
            version: self.version,
            direction,
            mode: self.mode,
            reserve: self.options.reserve,
            vnet_header: self.options.vnet_header,
            frame_length,
        }
    }

    /// The receive ring to set up: the one asked for, or the default when nothing was asked for
    /// at all.
    pub fn rx_request(&self) -> Option<Ring> {
        match (self.rx, self.tx) {
            (None, None) => Some(Ring::default()),
            (rx, _) => rx,
        }
    }
}
