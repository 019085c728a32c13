//! Where timestamps come from.

#![forbid(unsafe_code)]

use crate::error::{invalid, Error, Result};
use crate::sys::call::PacketSocket;
use libc::{
    SOF_TIMESTAMPING_OPT_ID, SOF_TIMESTAMPING_OPT_TSONLY, SOF_TIMESTAMPING_RAW_HARDWARE,
    SOF_TIMESTAMPING_RX_SOFTWARE, SOF_TIMESTAMPING_SOFTWARE, SOF_TIMESTAMPING_TX_HARDWARE,
    SOF_TIMESTAMPING_TX_SOFTWARE,
};

/// What may be asked for. The numbers are the kernel's for PACKET_TIMESTAMP.
pub const SOFTWARE: u32 = SOF_TIMESTAMPING_SOFTWARE;
pub const HARDWARE: u32 = SOF_TIMESTAMPING_RAW_HARDWARE;

/// Sources wanted for each direction; 0: the kernel's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamps {
    pub rx: u32,
    pub tx: u32,
}

/// Checks a set of sources: the kernel takes anything.
pub fn check(sources: u32) -> Result<u32> {
    match sources & !(SOFTWARE | HARDWARE) {
        0 => Ok(sources),
        unknown => Err(invalid!(
            "timestamp sources {unknown:#x} are unknown; {SOFTWARE:#x} (software) and {HARDWARE:#x} \
             (hardware) are valid"
        )),
    }
}

impl Timestamps {
    /// `PACKET_TIMESTAMP`: what the kernel looks for when it fills in a frame of either ring.
    fn of_rings(&self) -> u32 {
        self.rx | self.tx
    }

    /// `SO_TIMESTAMPING`: what the stack and the driver are to do at all.
    fn of_socket(&self) -> u32 {
        let mut flags = 0;
        if self.rx & SOFTWARE != 0 {
            // The stack stamps what it receives for as long as anybody asks for it.
            flags |= SOF_TIMESTAMPING_RX_SOFTWARE;
        }
        if self.tx != 0 {
            // Reported through the error queue, numbered, without a copy of the frame.
            flags |= self.tx | SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY;
        }
        if self.tx & SOFTWARE != 0 {
            flags |= SOF_TIMESTAMPING_TX_SOFTWARE;
        }
        if self.tx & HARDWARE != 0 {
            flags |= SOF_TIMESTAMPING_TX_HARDWARE;
        }
        flags
    }

    /// Puts the sources in force and reads them back.
    pub fn apply(&self, socket: &PacketSocket) -> Result<()> {
        let packet = |errno| Error::option("PACKET_TIMESTAMP", "2.6.36", errno);
        let option = libc::PACKET_TIMESTAMP;
        let wanted = self.of_rings() as i32;
        socket.set_int(option, wanted).map_err(packet)?;
        set_flags(socket, self.of_socket())?;
        match socket.get_int(option).map_err(packet)? == wanted
            && get_flags(socket)? == self.of_socket()
        {
            true => Ok(()),
            false => Err(Error::State("the kernel accepted an option and ignored it")),
        }
    }
}

fn set_flags(socket: &PacketSocket, flags: u32) -> Result<()> {
    socket
        .set(libc::SOL_SOCKET, libc::SO_TIMESTAMPING, &(flags as i32))
        .map_err(|errno| match errno {
            libc::EINVAL => Error::NeedsKernel {
                option: "timestamps of sent frames",
                since: "4.0",
            },
            errno => Error::option("SO_TIMESTAMPING", "2.6.30", errno),
        })
}

fn get_flags(socket: &PacketSocket) -> Result<u32> {
    socket
        .get::<i32>(libc::SOL_SOCKET, libc::SO_TIMESTAMPING)
        .map(|flags| flags as u32)
        .map_err(|errno| Error::system("SO_TIMESTAMPING", errno))
}

/// Has the kernel number sent frames from 0 again, which it does when numbering is turned on.
pub fn renumber(socket: &PacketSocket) -> Result<()> {
    let flags = get_flags(socket)?;
    set_flags(socket, flags & !SOF_TIMESTAMPING_OPT_ID)?;
    set_flags(socket, flags)
}
