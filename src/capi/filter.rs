//! Filters.

use super::config::pktring_insn;
use super::error::{write_errbuf, Place};
use super::handle::Handle;
use super::lifecycle::text;
use super::wall;
use crate::config::Config;
use crate::error::{invalid, Error, Result};
use crate::filter::interpret::{unanswerable, Kept};
use crate::filter::recheck::Recheck;
use crate::filter::{self, parse, trial, Side};
use crate::program::Program;
use crate::ring::geometry::{Mode, Version};
use libc::sock_filter;
use std::os::raw::{c_char, c_int};

/// What arrives and what this host sends.
pub const PKTRING_DIRECTION_BOTH: u32 = 0;
/// What arrives.
pub const PKTRING_DIRECTION_IN: u32 = 1;
/// What this host sends through the interface.
pub const PKTRING_DIRECTION_OUT: u32 = 2;

/// Sets the filter from the text that "tcpdump -ddd" prints.
///
/// The same as pktring_parse_filter() and pktring_set_filter() in turn. Have tcpdump compile for
/// the link type of the handle: "tcpdump -ddd -i eth0 ...", which takes that of the interface, or
/// "tcpdump -ddd -y EN10MB ..." for Ethernet (RAW with PKTRING_DGRAM). The kernel takes VLAN tags
/// off before the filter runs; only with -i does tcpdump know that, and "vlan" find them.
///
/// @param handle  the handle
/// @param text    the text
/// @return 0; -EINVAL when the text is no program, with its line in pktring_geterr(), and as
///         pktring_set_filter(); -EBUSY when the filter is locked; -EFAULT when handle or text
///         is NULL
///
/// On an active handle for the thread that receives.
#[no_mangle]
pub unsafe extern "C" fn pktring_set_filter_text(
    handle: *mut Handle,
    text: *const c_char,
) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(|| {
        // SAFETY: NULL or a string by the caller's promise.
        match unsafe { parsed(text) } {
            Ok(program) => set_instructions(handle, Some(program)),
            Err(error) => handle.fail(Place::Setup, &error),
        }
    })
}

/// Reads a filter from the text that "tcpdump -ddd" prints: the number of instructions, then one
/// instruction a line as four decimal numbers. Commas instead of line ends are taken as well.
///
/// @param text     the text
/// @param program  receives the instructions; NULL with max 0 only counts them
/// @param max      room in program
/// @param errbuf   receives the error text, which names the line at fault; PKTRING_ERRBUF_SIZE
///                 bytes, or NULL
/// @return the number of instructions, 1 to 4096; -EINVAL when the text is no program; -ENOSPC
///         when there are more than max, unless max is 0; -EFAULT when text, or program with
///         room, is NULL. Nothing is written to program then.
///
/// May be called from any thread.
#[no_mangle]
pub unsafe extern "C" fn pktring_parse_filter(
    text: *const c_char,
    program: *mut pktring_insn,
    max: u32,
    errbuf: *mut c_char,
) -> c_int {
    wall(|| {
        // SAFETY: NULL or a string, and room for `max` instructions, by the caller's promise.
        let read = unsafe { parsed(text).and_then(|read| hand_out(&read, program, max)) };
        read.unwrap_or_else(|error| {
            // SAFETY: the caller's buffer.
            unsafe { write_errbuf(errbuf, &error) };
            -error.errno()
        })
    })
}

/// Sets an eBPF program as filter (SO_ATTACH_BPF, Linux 3.19).
///
/// The program is of type BPF_PROG_TYPE_SOCKET_FILTER, loaded by bpf(2) or libbpf. It returns the
/// bytes to keep of a packet, 0 to drop it, so that it does not go with a snaplen; nor does it
/// with pktring_set_direction(), since it finds the direction in pkt_type itself. It takes the
/// place of a filter set by pktring_set_filter(), and the other way round.
///
/// On an active handle it holds what pktring_set_filter() promises: no frame that it rejects is
/// delivered after the call, and none that both filters accept is lost. Frames that are in the ring
/// already are asked about by having the kernel run the program over them (BPF_PROG_TEST_RUN,
/// Linux 4.12) when they are read, for about two microseconds each. That run differs from the one
/// on arrival:
/// - it comes in addition, so that what the program counts in its maps is counted again, and once
///   more for a frame of 60 zero bytes, by which the call finds out whether it is allowed;
/// - of struct __sk_buff it has len, protocol, pkt_type, ifindex, ingress_ifindex and the bytes.
///   A frame that this host sent never has pkt_type PACKET_OUTGOING; VLAN tag, mark, priority,
///   queue_mapping, hash, napi_id and tstamp are 0;
/// - ifindex is that of the loopback interface with PKTRING_DGRAM, on interfaces without Ethernet
///   header, with pktring_set_netns(), and before Linux 5.11;
/// - a frame that the ring has not kept whole, or of more than some 3.5 KiB, cannot be asked
///   about, and is dropped if it came before the call.
///
/// A program that decides by one of these is better set before pktring_activate(), and can still
/// change what it accepts through its maps.
///
/// @param handle  the handle
/// @param fd      descriptor of the program; it may be closed after the call. -1 removes the
///                filter
/// @return 0; -EINVAL when fd is no open descriptor; -EFAULT when handle is NULL. On an active
///         handle, and otherwise from pktring_activate(): -EINVAL when it is not such a program, or
///         does not go with other settings, and -EOPNOTSUPP before Linux 3.19. On an active handle
///         also -EBUSY where the kernel does not run the program over frames (before Linux 4.12,
///         by seccomp, and before Linux 5.19 without CAP_BPF where
///         sysctl kernel.unprivileged_bpf_disabled is not 0), and when the filter is locked. The
///         old filter stays when an error is returned.
///
/// On an active handle for the thread that receives.
#[no_mangle]
pub unsafe extern "C" fn pktring_set_bpf(handle: *mut Handle, fd: c_int) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(|| {
        let program = match fd {
            -1 => Ok(None),
            fd => Program::extended(fd).map(Some),
        };
        finish(handle, program.and_then(|program| set(handle, program)))
    })
}

/// Chooses between what arrives and what this host sends, in the kernel.
///
/// The choice is made by instructions in front of the filter. Frames that this very handle sends
/// are never received; a handle for one protocol, see pktring_set_protocol(), receives nothing
/// that is sent. On the loopback interface every packet passes both ways.
///
/// @param handle     the handle
/// @param direction  PKTRING_DIRECTION_BOTH (default), PKTRING_DIRECTION_IN or
///                   PKTRING_DIRECTION_OUT
/// @return 0; -EINVAL for another value, and with an eBPF filter; otherwise as
///         pktring_set_filter(), whose promises on frames in the ring hold here as well
///
/// On an active handle for the thread that receives.
#[no_mangle]
pub unsafe extern "C" fn pktring_set_direction(handle: *mut Handle, direction: u32) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(|| {
        let side = match direction {
            PKTRING_DIRECTION_BOTH => Side::Both,
            PKTRING_DIRECTION_IN => Side::In,
            PKTRING_DIRECTION_OUT => Side::Out,
            _ => {
                let error = invalid!("direction {direction} is unknown; 0 to 2 are valid");
                return handle.fail(Place::Setup, &error);
            }
        };
        finish(handle, reselect(handle, |config| config.side = side))
    })
}

/// Has the handle keep its filter for good (SO_LOCK_FILTER, Linux 3.9), so that a program which
/// gives up its privileges cannot be made to receive more.
///
/// Everything that changes the filter, pktring_set_direction() and the program of a fanout group
/// included, returns -EBUSY from then on. There is no way back but to close the handle.
///
/// @param handle  a handle. Before pktring_activate() the lock is noted and put on there, as the
///                last step; the filter can be changed until then.
/// @return 0; -EOPNOTSUPP before Linux 3.9; -EFAULT when handle is NULL
///
/// May be called from any thread.
#[no_mangle]
pub unsafe extern "C" fn pktring_lock_filter(handle: *mut Handle) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(|| {
        let lock = || -> Result<()> {
            let mut config = handle.config();
            if handle.is_active() {
                filter::lock(&handle.session()?.socket)?;
            }
            config.filter_locked = true;
            Ok(())
        };
        finish(handle, lock())
    })
}

/// # Safety
/// `text` is NULL or a string.
unsafe fn parsed(string: *const c_char) -> Result<Vec<sock_filter>> {
    // SAFETY: the caller's promise.
    match unsafe { text(string, "filter text")? } {
        Some(text) => parse::parse(text),
        None => Err(Error::Null("text")),
    }
}

/// # Safety
/// `program` is NULL or has room for `max` instructions.
unsafe fn hand_out(read: &[sock_filter], program: *mut pktring_insn, max: u32) -> Result<c_int> {
    if max != 0 {
        if program.is_null() {
            return Err(Error::Null("program"));
        }
        if read.len() > max as usize {
            return Err(Error::Full(
                "the program has more instructions than there is room for",
            ));
        }
        // SAFETY: as many fit; pktring_insn has the layout of sock_filter.
        unsafe { std::ptr::copy_nonoverlapping(read.as_ptr(), program.cast(), read.len()) };
    }
    Ok(read.len() as c_int)
}

/// Sets or removes the classic filter of a handle in whatever state.
pub(super) fn set_instructions(handle: &Handle, program: Option<Vec<sock_filter>>) -> c_int {
    let program = program.map(Program::classic).transpose();
    finish(handle, program.and_then(|program| set(handle, program)))
}

fn set(handle: &Handle, program: Option<Program>) -> Result<()> {
    reselect(handle, |config| config.filter = program)
}

fn finish(handle: &Handle, result: Result<()>) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => handle.fail(Place::Setup, &error),
    }
}

/// Changes what is selected, at once where the handle is active.
fn reselect(handle: &Handle, change: impl FnOnce(&mut Config)) -> Result<()> {
    let mut config = handle.config();
    let mut changed = config.clone();
    change(&mut changed);
    let program = changed.selection().program()?;
    if handle.is_active() {
        swap(handle, &changed, program)?;
    }
    *config = changed;
    Ok(())
}

/// Puts `program` in the place of the filter before, and has frames in the ring asked about.
fn swap(handle: &Handle, config: &Config, program: Option<Program>) -> Result<()> {
    let socket = &handle.session()?.socket;
    let recheck = match program {
        Some(program) => {
            match &program {
                Program::Classic(instructions) => check_answerable(config, instructions)?,
                Program::Extended(fd) => trial::check(&program, fd)?,
            }
            filter::attach(socket, &program)?;
            Some(Recheck::new(program, config.namespace.is_none()))
        }
        None => {
            filter::detach(socket)?;
            None
        }
    };
    // SAFETY: this is the thread that receives, by the threading rule of these functions.
    let rx = unsafe { handle.rx() };
    rx.receiver.set_recheck(recheck, &handle.rx_counters);
    Ok(())
}

/// Checks that frames in the ring can be asked about by `program`.
fn check_answerable(config: &Config, program: &[sock_filter]) -> Result<()> {
    let kept = Kept {
        vlan: config.version != Version::V1,
        link: config.mode == Mode::Raw,
        device: !config.options.original_device,
    };
    match unanswerable(program, kept) {
        None => Ok(()),
        Some(at) => Err(invalid!(
            "instruction {at} of the filter (those for the direction included) loads what the ring \
             does not keep of a frame; such a filter can only be set before pktring_activate"
        )),
    }
}
