//! Fanout: several sockets that share what one interface receives.

#![forbid(unsafe_code)]

use crate::error::{invalid, Error, Result};
use crate::program::Program;
use crate::sys::call::{self, Errno, PacketSocket};
use libc::{
    PACKET_FANOUT_CBPF, PACKET_FANOUT_EBPF, PACKET_FANOUT_FLAG_DEFRAG,
    PACKET_FANOUT_FLAG_IGNORE_OUTGOING, PACKET_FANOUT_FLAG_ROLLOVER, PACKET_FANOUT_FLAG_UNIQUEID,
    PACKET_FANOUT_ROLLOVER,
};

/// The most members that the kernel takes.
pub const MOST_MEMBERS: u32 = 65536;

/// Each mode's name and the Linux version that brought it.
const MODES: [(&str, (u32, u32)); 8] = [
    ("fanout mode HASH", (3, 1)),
    ("fanout mode LB", (3, 1)),
    ("fanout mode CPU", (3, 1)),
    ("fanout mode ROLLOVER", (3, 10)),
    ("fanout mode RND", (3, 14)),
    ("fanout mode QM", (3, 14)),
    ("fanout mode CBPF", (4, 3)),
    ("fanout mode EBPF", (4, 3)),
];

const FLAGS: [(u32, &str, (u32, u32)); 4] = [
    (PACKET_FANOUT_FLAG_ROLLOVER, "fanout flag ROLLOVER", (3, 10)),
    (PACKET_FANOUT_FLAG_UNIQUEID, "fanout flag UNIQUEID", (4, 12)),
    (
        PACKET_FANOUT_FLAG_IGNORE_OUTGOING,
        "fanout flag IGNORE_OUTGOING",
        (6, 2),
    ),
    (PACKET_FANOUT_FLAG_DEFRAG, "fanout flag DEFRAG", (3, 1)),
];

/// A group and how it shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fanout {
    /// `PACKET_FANOUT_HASH` and so on.
    pub mode: u32,
    /// `PACKET_FANOUT_FLAG_*`.
    pub flags: u32,
    pub group: u16,
    /// 0: the kernel's default.
    pub max_members: u32,
}

/// What a rollover did, since the handle joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rollover {
    /// Packets that went to another member than the mode chose.
    pub all: u64,
    /// Those of them that were of a flow that takes more than its share.
    pub huge: u64,
    /// Packets for which no member had room.
    pub failed: u64,
}

impl Fanout {
    /// A group with these settings, checked: the kernel takes flags it does not know, and says
    /// EINVAL to everything else that is wrong.
    pub fn new(mode: u32, flags: u32, group: u32, max_members: u32) -> Result<Fanout> {
        if mode as usize >= MODES.len() {
            return Err(invalid!("fanout mode {mode} is unknown; 0 to 7 are valid"));
        }
        let known = FLAGS.iter().fold(0, |all, (flag, ..)| all | flag);
        if flags & !known != 0 {
            return Err(invalid!(
                "fanout flags {:#x} are unknown; {known:#x} are valid",
                flags & !known
            ));
        }
        if mode == PACKET_FANOUT_ROLLOVER && flags & PACKET_FANOUT_FLAG_ROLLOVER != 0 {
            return Err(invalid!(
                "fanout mode ROLLOVER rolls over by itself; flag ROLLOVER is for other modes"
            ));
        }
        let id = u16::try_from(group)
            .map_err(|_| invalid!("fanout group {group} is out of range; 0 to 65535 are valid"))?;
        if flags & PACKET_FANOUT_FLAG_UNIQUEID != 0 && id != 0 {
            return Err(invalid!(
                "fanout group {id} does not go with flag UNIQUEID, which has the kernel choose; \
                 it must be 0"
            ));
        }
        if max_members > MOST_MEMBERS {
            return Err(invalid!(
                "fanout max_members {max_members} is out of range; at most {MOST_MEMBERS} are valid"
            ));
        }
        Ok(Fanout {
            mode,
            flags,
            group: id,
            max_members,
        })
    }

    /// Whether its members do not see what this host sends.
    pub fn ignores_outgoing(&self) -> bool {
        self.flags & PACKET_FANOUT_FLAG_IGNORE_OUTGOING != 0
    }

    /// The same group for a further member, once the kernel has chosen its number.
    pub fn numbered(self, group: u16) -> Fanout {
        Fanout {
            flags: self.flags & !PACKET_FANOUT_FLAG_UNIQUEID,
            group,
            ..self
        }
    }

    /// Makes `socket`, which is bound, a member, and reads back what it became a member of.
    pub fn join(&self, socket: &PacketSocket) -> Result<Fanout> {
        self.check_kernel(call::kernel_version())?;
        let setting = u32::from(self.group) | (self.mode | self.flags) << 16;
        let fail = |errno| self.explain(errno);
        if self.max_members == 0 {
            // The form that every kernel knows.
            socket.set(libc::SOL_PACKET, libc::PACKET_FANOUT, &setting)
        } else {
            // struct fanout_args, from Linux 5.11 on.
            let setting = [setting, self.max_members];
            socket.set(libc::SOL_PACKET, libc::PACKET_FANOUT, &setting)
        }
        .map_err(fail)?;
        let joined = Fanout::read(socket)?;
        let asked = self.numbered(joined.group);
        if (joined.mode, joined.flags) != (asked.mode, asked.flags) {
            return Err(Error::State(
                "the kernel made the socket a member of another kind of fanout group",
            ));
        }
        Ok(Fanout {
            max_members: self.max_members,
            ..joined
        })
    }

    /// What `socket`, which is a member, is a member of. The kernel does not tell the limit.
    fn read(socket: &PacketSocket) -> Result<Fanout> {
        let setting = socket
            .get_int(libc::PACKET_FANOUT)
            .map_err(|errno| Error::system("PACKET_FANOUT", errno))? as u32;
        Ok(Fanout {
            mode: setting >> 16 & 0xff,
            flags: setting >> 24 << 8,
            group: setting as u16,
            max_members: 0,
        })
    }

    fn check_kernel(&self, running: (u32, u32)) -> Result<()> {
        let (mode, since) = MODES[self.mode as usize];
        Error::requires(running, mode, since)?;
        for (flag, name, since) in FLAGS {
            if self.flags & flag != 0 {
                Error::requires(running, name, since)?;
            }
        }
        if self.max_members != 0 {
            Error::requires(running, "fanout max_members", (5, 11))?;
        }
        Ok(())
    }

    fn explain(&self, errno: Errno) -> Error {
        let group = self.group;
        match errno {
            libc::EINVAL => invalid!(
                "cannot join fanout group {group}: it exists with another mode, flags, \
                 max_members, protocol or interface, in which all members must agree"
            ),
            libc::ENOSPC => Error::Full("the fanout group has its maximum of members"),
            libc::ENOMEM => Error::Full("every fanout group number is in use"),
            errno => Error::option("PACKET_FANOUT", "3.1", errno),
        }
    }
}

/// Sets the program of the group that `socket` is a member of. It replaces the old one between
/// two packets.
pub fn set_program(socket: &PacketSocket, mode: u32, program: &Program) -> Result<()> {
    check_program(mode, program)?;
    let option = libc::PACKET_FANOUT_DATA;
    match program {
        Program::Classic(instructions) => {
            socket.set_program(libc::SOL_PACKET, option, instructions)
        }
        Program::Extended(fd) => socket.set_fd(libc::SOL_PACKET, option, fd),
    }
    .map_err(|errno| match errno {
        libc::EPERM => {
            Error::State("the handle's filter is locked, and its fanout program with it")
        }
        errno => program.explain("PACKET_FANOUT_DATA", errno),
    })
}

/// Checks that groups of `mode` run programs of this kind.
pub fn check_program(mode: u32, program: &Program) -> Result<()> {
    let (needed, name) = match program {
        Program::Classic(_) => (PACKET_FANOUT_CBPF, "a classic BPF program needs mode CBPF"),
        Program::Extended(_) => (PACKET_FANOUT_EBPF, "an eBPF program needs mode EBPF"),
    };
    match mode == needed {
        true => Ok(()),
        false => Err(invalid!("the fanout mode is {mode}: {name}, {needed}")),
    }
}

/// Reads the counters of a member of a group that rolls over.
pub fn rollover(socket: &PacketSocket) -> Result<Rollover> {
    let stats: libc::tpacket_rollover_stats = socket
        .get(libc::SOL_PACKET, libc::PACKET_ROLLOVER_STATS)
        .map_err(|errno| match errno {
            libc::EINVAL => invalid!(
                "the handle is in no fanout group that rolls over: mode ROLLOVER or flag ROLLOVER"
            ),
            errno => Error::option("PACKET_ROLLOVER_STATS", "4.2", errno),
        })?;
    Ok(Rollover {
        all: stats.tp_all,
        huge: stats.tp_huge,
        failed: stats.tp_failed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_kernel_is_named_with_the_version_that_is_needed() {
        let unique = Fanout::new(0, PACKET_FANOUT_FLAG_UNIQUEID, 0, 0).unwrap();
        let error = unique.check_kernel((4, 11)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "fanout flag UNIQUEID needs Linux 4.12; this is 4.11"
        );
        assert!(unique.check_kernel((4, 12)).is_ok());
        assert!(unique.check_kernel((5, 0)).is_ok());
        let large = Fanout::new(0, 0, 1, 1000).unwrap();
        assert!(large.check_kernel((5, 10)).is_err());
    }
}
