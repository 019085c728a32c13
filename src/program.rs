//! BPF programs, classic and extended, as sockets take them.

#![forbid(unsafe_code)]

use crate::error::{invalid, Error, Result};
use crate::sys::call::{duplicate, Errno};
use libc::sock_filter;
use std::os::unix::io::{OwnedFd, RawFd};
use std::sync::Arc;

/// The kernel's limit of classic instructions (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// A program of either kind.
#[derive(Clone, Debug)]
pub enum Program {
    Classic(Vec<sock_filter>),
    /// A loaded eBPF program.
    Extended(Arc<OwnedFd>),
}

impl Program {
    /// A classic program of a length that the kernel takes.
    pub fn classic(instructions: Vec<sock_filter>) -> Result<Program> {
        if instructions.is_empty() || instructions.len() > MAX_INSTRUCTIONS {
            return Err(invalid!(
                "a program of {} instructions is out of range; 1 to {MAX_INSTRUCTIONS} are valid",
                instructions.len()
            ));
        }
        Ok(Program::Classic(instructions))
    }

    /// The eBPF program behind `fd`, which may be closed afterwards.
    pub fn extended(fd: RawFd) -> Result<Program> {
        match duplicate(fd) {
            Ok(fd) => Ok(Program::Extended(Arc::new(fd))),
            Err(libc::EBADF) => Err(invalid!("{fd} is no open file descriptor")),
            Err(errno) => Err(Error::system("duplicating a file descriptor", errno)),
        }
    }

    /// The error for this program that the kernel refused in `call`.
    pub fn explain(&self, call: &'static str, errno: Errno) -> Error {
        match (self, errno) {
            (Program::Classic(_), libc::EINVAL) => invalid!(
                "the kernel refuses the program: it must end every path with a return, jump \
                 forwards only and use defined instructions"
            ),
            (Program::Extended(_), libc::EINVAL) | (Program::Extended(_), libc::EBADF) => {
                invalid!("the file descriptor is not that of an eBPF program of type socket filter")
            }
            (_, libc::ENOMEM) => Error::ProgramMemory,
            (_, errno) => Error::system(call, errno),
        }
    }
}
