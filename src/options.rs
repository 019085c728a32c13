//! The kernel's switches of a packet socket that need no more than a number.

#![forbid(unsafe_code)]

use crate::error::{invalid, Error, Result};
use crate::ring::geometry::{Mode, Version};
use crate::sys::call::PacketSocket;
use libc::{SOL_PACKET, SOL_SOCKET};

/// `PACKET_VNET_HDR_SZ` of linux/if_packet.h, which the libc crate does not have yet.
const PACKET_VNET_HDR_SZ: i32 = 24;

/// Headroom beyond which the kernel would drop every packet, because the offsets of a frame's
/// data no longer fit the 16 bits they have in its header.
pub const MAX_RESERVE: u32 = 65_408;

/// What is asked of the socket beside its rings. All zero: the kernel's own defaults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// `PACKET_RESERVE`: bytes of headroom before each received frame.
    pub reserve: u32,
    /// Bytes of virtio_net header before each frame both ways: 0, 10 or 12.
    pub vnet_header: u32,
    /// `PACKET_LOSS`: malformed frames in the transmit ring are skipped.
    pub loss: bool,
    /// `PACKET_TX_HAS_OFF`: frames may start anywhere in their transmit slot.
    pub tx_offset: bool,
    /// `PACKET_COPY_THRESH`: whole copies of frames that a V1 or V2 slot cuts.
    pub copies: bool,
    /// `PACKET_QDISC_BYPASS`: frames go to the driver without passing the queueing discipline.
    pub qdisc_bypass: bool,
    /// `PACKET_IGNORE_OUTGOING`: what this host sends is not received.
    pub ignore_outgoing: bool,
    /// `PACKET_ORIGDEV`: frames name the interface they first arrived at.
    pub original_device: bool,
}

/// One option of the socket.
#[derive(Clone, Copy)]
pub struct Switch {
    level: i32,
    number: i32,
    name: &'static str,
    since: &'static str,
    /// Whether the kernel can be asked for its value.
    readable: bool,
}

const fn packet(number: i32, name: &'static str, since: &'static str) -> Switch {
    Switch {
        level: SOL_PACKET,
        number,
        name,
        since,
        readable: true,
    }
}

/// An option of SOL_SOCKET.
pub const fn socket(number: i32, name: &'static str, since: &'static str) -> Switch {
    Switch {
        level: SOL_SOCKET,
        ..packet(number, name, since)
    }
}

const RESERVE: Switch = packet(libc::PACKET_RESERVE, "PACKET_RESERVE", "2.6.27");
const VNET_HDR: Switch = packet(libc::PACKET_VNET_HDR, "PACKET_VNET_HDR", "2.6.34");
const VNET_HDR_SZ: Switch = packet(PACKET_VNET_HDR_SZ, "PACKET_VNET_HDR_SZ", "6.4");
const LOSS: Switch = packet(libc::PACKET_LOSS, "PACKET_LOSS", "2.6.31");
const TX_HAS_OFF: Switch = packet(libc::PACKET_TX_HAS_OFF, "PACKET_TX_HAS_OFF", "3.8");
const QDISC_BYPASS: Switch = packet(libc::PACKET_QDISC_BYPASS, "PACKET_QDISC_BYPASS", "3.14");
const ORIGDEV: Switch = packet(libc::PACKET_ORIGDEV, "PACKET_ORIGDEV", "2.6.21");
const IGNORE_OUTGOING: Switch = packet(
    libc::PACKET_IGNORE_OUTGOING,
    "PACKET_IGNORE_OUTGOING",
    "4.20",
);
const COPY_THRESH: Switch =
    packet(libc::PACKET_COPY_THRESH, "PACKET_COPY_THRESH", "2.4").write_only();
/// Stamps the copies with the time that their frame in the ring has, too: that tells which is
/// whose.
const TIMESTAMPNS: Switch = socket(libc::SO_TIMESTAMPNS, "SO_TIMESTAMPNS", "2.6.22");

impl Switch {
    /// The same for an option that the kernel does not tell.
    pub const fn write_only(self) -> Switch {
        Switch {
            readable: false,
            ..self
        }
    }

    /// Sets the option and reads it back: some are accepted at the wrong moment and ignored.
    pub fn set(&self, socket: &PacketSocket, value: i32) -> Result<()> {
        let fail = |errno| Error::option(self.name, self.since, errno);
        socket.set(self.level, self.number, &value).map_err(fail)?;
        if self.readable && self.get(socket)? != value {
            return Err(Error::State("the kernel accepted an option and ignored it"));
        }
        Ok(())
    }

    /// Reads the option.
    pub fn get(&self, socket: &PacketSocket) -> Result<i32> {
        let fail = |errno| Error::option(self.name, self.since, errno);
        socket.get(self.level, self.number).map_err(fail)
    }

    fn turn_on(&self, socket: &PacketSocket, on: bool) -> Result<()> {
        match on {
            true => self.set(socket, 1),
            // Off is how every socket starts; a kernel without the option need not be asked.
            false => Ok(()),
        }
    }
}

impl Options {
    /// Sets the headroom.
    pub fn set_reserve(&mut self, bytes: u32) -> Result<()> {
        if bytes > MAX_RESERVE {
            return Err(invalid!(
                "reserve {bytes} is out of range: the kernel would drop every packet; 0 to \
                 {MAX_RESERVE} are valid"
            ));
        }
        self.reserve = bytes;
        Ok(())
    }

    /// Sets the size of the virtio_net header.
    pub fn set_vnet_header(&mut self, bytes: u32) -> Result<()> {
        if !matches!(bytes, 0 | 10 | 12) {
            return Err(invalid!(
                "a virtio_net header of {bytes} bytes does not exist; 0, 10 and 12 are valid"
            ));
        }
        self.vnet_header = bytes;
        Ok(())
    }

    /// Checks what depends on other settings.
    pub fn check(&self, mode: Mode, version: Version) -> Result<()> {
        if self.vnet_header != 0 && mode == Mode::Dgram {
            return Err(invalid!(
                "a virtio_net header describes whole frames: pktring_set_vnet_header needs \
                 PKTRING_RAW"
            ));
        }
        if self.copies && version == Version::V3 {
            return Err(invalid!(
                "pktring_set_copies needs PKTRING_V1 or PKTRING_V2: V3 blocks have no slots that \
                 cut frames"
            ));
        }
        Ok(())
    }

    /// Sets what has to be set before the rings.
    pub fn before_rings(&self, socket: &PacketSocket) -> Result<()> {
        if self.reserve != 0 {
            RESERVE.set(socket, self.reserve as i32)?;
        }
        match self.vnet_header {
            0 => {}
            // The older option has a kernel that lacks the newer one serve the usual size.
            10 => VNET_HDR.set(socket, 1)?,
            size => VNET_HDR_SZ.set(socket, size as i32)?,
        }
        LOSS.turn_on(socket, self.loss)?;
        TX_HAS_OFF.turn_on(socket, self.tx_offset)
    }

    /// Sets what could be set at any time, so that it holds for the first packet.
    pub fn before_bind(&self, socket: &PacketSocket) -> Result<()> {
        QDISC_BYPASS.turn_on(socket, self.qdisc_bypass)?;
        IGNORE_OUTGOING.turn_on(socket, self.ignore_outgoing)?;
        ORIGDEV.turn_on(socket, self.original_device)?;
        match self.copies {
            true => set_copies(socket, true),
            false => Ok(()),
        }
    }
}

/// Turns whole copies of cut frames on or off.
pub fn set_copies(socket: &PacketSocket, on: bool) -> Result<()> {
    TIMESTAMPNS.set(socket, on.into())?;
    COPY_THRESH.set(socket, on.into())
}

/// Turns the detour around the queueing discipline on or off.
pub fn set_qdisc_bypass(socket: &PacketSocket, on: bool) -> Result<()> {
    QDISC_BYPASS.set(socket, on.into())
}

/// Turns frames that this host sends away or lets them in.
pub fn set_ignore_outgoing(socket: &PacketSocket, on: bool) -> Result<()> {
    IGNORE_OUTGOING.set(socket, on.into())
}

/// Has frames name the interface that they first arrived at, or the last one.
pub fn set_original_device(socket: &PacketSocket, on: bool) -> Result<()> {
    ORIGDEV.set(socket, on.into())
}
