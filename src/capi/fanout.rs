//! Fanout: sharing one interface among handles.

use super::config::{change, copy_program, pktring_insn};
use super::error::Place;
use super::handle::Handle;
use super::sized::{self, Sized};
use super::wall;
use crate::error::{invalid, Error, Result};
use crate::fanout::{self, Fanout};
use crate::program::Program;
use std::mem::size_of;
use std::os::raw::c_int;

/// By flow: packets of one connection, in both directions, go to one member. Linux 3.1.
pub const PKTRING_FANOUT_HASH: u32 = 0;
/// To one member after the other. Linux 3.1.
pub const PKTRING_FANOUT_LB: u32 = 1;
/// By the processor that received the packet. Linux 3.1.
pub const PKTRING_FANOUT_CPU: u32 = 2;
/// To the first member until its ring is full, then to the next. Linux 3.10.
pub const PKTRING_FANOUT_ROLLOVER: u32 = 3;
/// At random. Linux 3.14.
pub const PKTRING_FANOUT_RND: u32 = 4;
/// By the receive queue of the interface. Linux 3.14.
pub const PKTRING_FANOUT_QM: u32 = 5;
/// By a classic BPF program, see pktring_set_fanout_program(). Linux 4.3.
pub const PKTRING_FANOUT_CBPF: u32 = 6;
/// By an eBPF program, see pktring_set_fanout_bpf(). Linux 4.3.
pub const PKTRING_FANOUT_EBPF: u32 = 7;

/// Packets for a member whose ring is full go to another one. Linux 3.10.
pub const PKTRING_FANOUT_FLAG_ROLLOVER: u32 = 0x1000;
/// The kernel chooses a group number that nobody uses; pktring_get_fanout() tells it. Linux 4.12.
pub const PKTRING_FANOUT_FLAG_UNIQUEID: u32 = 0x2000;
/// The group does not see what this host sends. Linux 6.2.
pub const PKTRING_FANOUT_FLAG_IGNORE_OUTGOING: u32 = 0x4000;
/// IPv4 fragments are put together before they are shared out, so that all of a datagram goes
/// to one member, as one packet. Linux 3.1.
pub const PKTRING_FANOUT_FLAG_DEFRAG: u32 = 0x8000;

/// How a group of handles shares what one interface receives (PACKET_FANOUT).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct pktring_fanout {
    /// sizeof(struct pktring_fanout).
    pub size: usize,
    /// PKTRING_FANOUT_HASH (default), _LB, _CPU, _ROLLOVER, _RND, _QM, _CBPF or _EBPF.
    pub mode: u32,
    /// PKTRING_FANOUT_FLAG_* bits.
    pub flags: u32,
    /// Number of the group in this network namespace, 0 to 65535. Whoever names the same one
    /// joins the same group, from whatever process.
    pub group: u32,
    /// Members that the group can have, at most 65536; 0: the kernel's default, which is 256.
    /// Linux 5.11.
    pub max_members: u32,
}

// SAFETY: repr(C), integers only, size first.
unsafe impl Sized for pktring_fanout {
    const NAME: &'static str = "pktring_fanout";
    const LEAST: usize = sized::length::<u32>(16);
}

/// What a group that rolls over did, see pktring_fanout_stats().
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct pktring_fanout_stats {
    /// sizeof(struct pktring_fanout_stats).
    pub size: usize,
    /// Packets that were meant for this member and went to another one (tp_all). With mode ROLLOVER
    /// all packets of the group are meant for none in particular: the first member counts each one
    /// that found room anywhere, its own included.
    pub all: u64,
    /// Those of them that belong to a flow which alone takes more than half of the recent
    /// packets, and was moved for that (tp_huge).
    pub huge: u64,
    /// Packets for which no member had room (tp_failed).
    pub failed: u64,
}

// SAFETY: repr(C), integers only, size first.
unsafe impl Sized for pktring_fanout_stats {
    const NAME: &'static str = "pktring_fanout_stats";
    const LEAST: usize = sized::length::<u64>(24);
}

/// Makes the handle a member of a fanout group when it is activated (PACKET_FANOUT).
///
/// Each packet that the interface receives goes to one member of the group. All members must
/// agree on mode, flags, max_members, protocol and interface. A member receives nothing before
/// it has joined; where several are opened in turn, the first ones receive the packets of those
/// still missing until then: pktring_group_open() does it all at once.
///
/// A member leaves when its handle is closed. The group then shares among those that are left,
/// so that modes which compute the member move flows to other ones.
///
/// The group is bound to its interface for good: when that is removed, close the handles and
/// open new ones. In a group, PKTRING_FANOUT_FLAG_IGNORE_OUTGOING takes the place of the
/// socket's own option of that name, which the kernel does not heed there and which is refused.
///
/// @param handle  a handle that is not active
/// @param fanout  the group; NULL: none (default)
/// @return 0; -EINVAL for an unknown mode or flag, a group above 65535 or not 0 with
///         PKTRING_FANOUT_FLAG_UNIQUEID, more than 65536 members, or flag ROLLOVER with mode
///         ROLLOVER; -EBUSY when active; -E2BIG for a longer struct with unknown fields set;
///         -EFAULT when handle is NULL
///
/// pktring_activate() then returns -EINVAL when the group exists with other settings or the
/// handle has no receive ring, -ENOSPC when the group is full or no number is free, and
/// -EOPNOTSUPP when the kernel is older than the mode or flag.
#[no_mangle]
pub unsafe extern "C" fn pktring_set_fanout(
    handle: *mut Handle,
    fanout: *const pktring_fanout,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle, and NULL or a struct with its size.
    unsafe {
        change(handle, |config| {
            config.fanout = match fanout.is_null() {
                true => None,
                false => {
                    let asked = sized::read(fanout)?;
                    let (mode, flags) = (asked.mode, asked.flags);
                    Some(Fanout::new(mode, flags, asked.group, asked.max_members)?)
                }
            };
            Ok(())
        })
    }
}

/// Reads back the fanout group of an active handle, as the kernel has it.
///
/// @param handle  an active handle that is a member of a group
/// @param fanout  receives the group, with the number that the kernel chose for
///                PKTRING_FANOUT_FLAG_UNIQUEID and without that flag; its size field is set.
///                max_members is what was asked for: the kernel does not tell
/// @return 0; -EINVAL when the handle is in no group; -EBUSY when it is not active; -EFAULT for
///         NULL
///
/// May be called from any thread.
#[no_mangle]
pub unsafe extern "C" fn pktring_get_fanout(
    handle: *mut Handle,
    fanout: *mut pktring_fanout,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(|| {
        let get = || -> Result<()> {
            let joined = group(handle)?;
            let told = pktring_fanout {
                size: size_of::<pktring_fanout>(),
                mode: joined.mode,
                flags: joined.flags,
                group: joined.group.into(),
                max_members: joined.max_members,
            };
            // SAFETY: the caller's struct starts with its size.
            unsafe { sized::write(fanout, &told) }
        };
        match get() {
            Ok(()) => 0,
            Err(error) => handle.fail(Place::Setup, &error),
        }
    })
}

/// Sets the classic BPF program of a group with mode PKTRING_FANOUT_CBPF (PACKET_FANOUT_DATA).
///
/// The program sees each packet from its network header on. What it returns, modulo the number
/// of members, is the member that gets the packet; members are numbered from 0 in the order in
/// which they joined. Without a program, member 0 gets everything.
///
/// The program is the group's: the one set last through any member is in force, from one packet
/// to the next. To select packets is the filter's matter.
///
/// @param handle   a handle. Before pktring_activate() the program is noted and set there, before
///                 the first packet; later it is set at once.
/// @param program  the instructions, copied
/// @param count    number of instructions, 1 to 4096
/// @return 0; -EINVAL when the kernel's checker refuses the program, or when the handle is
///         active and in no group of that mode; -EBUSY when its filter is locked; -EFAULT when
///         handle or program is NULL
///
/// May be called from any thread.
#[no_mangle]
pub unsafe extern "C" fn pktring_set_fanout_program(
    handle: *mut Handle,
    program: *const pktring_insn,
    count: u32,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(|| {
        // SAFETY: `count` instructions by the caller's promise.
        let copy = unsafe { copy_program(program, count) };
        let copy = copy.and_then(|copy| copy.ok_or(Error::Null("program")));
        finish(handle, copy.and_then(Program::classic))
    })
}

/// Sets the eBPF program of a group with mode PKTRING_FANOUT_EBPF (PACKET_FANOUT_DATA).
///
/// The same as pktring_set_fanout_program(), with a program of type
/// BPF_PROG_TYPE_SOCKET_FILTER that bpf(2) or libbpf has loaded.
///
/// @param handle  a handle. Before pktring_activate() the program is noted and set there, before
///                the first packet; later it is set at once.
/// @param fd      descriptor of the program; it may be closed after the call
/// @return 0; -EINVAL when fd is no open descriptor, is found not to be such a program, or when
///         the handle is active and in no group of that mode; -EBUSY when its filter is locked;
///         -EFAULT when handle is NULL. Whether fd is such a program is found out when it is set.
///
/// May be called from any thread.
#[no_mangle]
pub unsafe extern "C" fn pktring_set_fanout_bpf(handle: *mut Handle, fd: c_int) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(|| finish(handle, Program::extended(fd)))
}

/// Reads what a group that rolls over did with packets meant for this member
/// (PACKET_ROLLOVER_STATS, Linux 4.2). The counters are 64 bits wide and never reset.
///
/// @param handle  an active handle in a group with mode ROLLOVER or flag ROLLOVER
/// @param stats   receives the counters; set its size field to sizeof(struct
///                pktring_fanout_stats)
/// @return 0; -EINVAL when the handle is in no such group; -EBUSY when it is not active;
///         -EOPNOTSUPP before Linux 4.2; -EFAULT for NULL
///
/// May be called from any thread.
#[no_mangle]
pub unsafe extern "C" fn pktring_fanout_stats(
    handle: *mut Handle,
    stats: *mut pktring_fanout_stats,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(|| {
        let get = || -> Result<()> {
            group(handle)?;
            let rollover = fanout::rollover(&handle.session()?.socket)?;
            let told = pktring_fanout_stats {
                size: size_of::<pktring_fanout_stats>(),
                all: rollover.all,
                huge: rollover.huge,
                failed: rollover.failed,
            };
            // SAFETY: the caller's struct starts with its size.
            unsafe { sized::write(stats, &told) }
        };
        match get() {
            Ok(()) => 0,
            Err(error) => handle.fail(Place::Setup, &error),
        }
    })
}

/// The group of an active handle.
fn group(handle: &Handle) -> Result<Fanout> {
    let joined = handle.session()?.fanout;
    joined.ok_or_else(|| invalid!("the handle is in no fanout group"))
}

fn finish(handle: &Handle, program: Result<Program>) -> c_int {
    match program.and_then(|program| set_program(handle, program)) {
        Ok(()) => 0,
        Err(error) => handle.fail(Place::Setup, &error),
    }
}

fn set_program(handle: &Handle, program: Program) -> Result<()> {
    let mut config = handle.config();
    if handle.is_active() {
        let mode = group(handle)?.mode;
        fanout::set_program(&handle.session()?.socket, mode, &program)?;
    }
    config.fanout_program = Some(program);
    Ok(())
}
