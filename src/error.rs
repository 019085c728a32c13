//! What can go wrong, each with one errno and one sentence.

use crate::sys::call::Errno;

/// Every failure of the library. `Display` is the text that `pktring_geterr` returns.
///
/// Variants that can arise while packets flow hold no allocation; those of the set-up may.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value that no call accepts; the text names it and says what would be valid.
    #[error("{0}")]
    Invalid(String),
    /// The right call at the wrong moment.
    #[error("{0}")]
    State(&'static str),
    /// A pointer argument that must not be NULL.
    #[error("{0} is NULL")]
    Null(&'static str),
    /// A struct of a newer header that uses fields this library does not know.
    #[error("{0}: the struct has fields set that this version of the library does not know")]
    TooBig(&'static str),
    /// CAP_NET_RAW is missing.
    #[error(
        "{0}: permission denied; CAP_NET_RAW is needed: run as root, or give the program the \
         capability with 'setcap cap_net_raw+ep PROGRAM', or run it in a user namespace \
         ('unshare -Urn')"
    )]
    Permission(&'static str),
    /// The interface does not exist.
    #[error("there is no network interface called '{0}'")]
    NoDevice(String),
    /// The network namespace does not exist.
    #[error("there is no network namespace at '{0}'")]
    NoNamespace(String),
    /// The kernel has no memory for the ring.
    #[error("the kernel has no memory for a ring of {0} bytes; ask for fewer or smaller blocks")]
    NoMemory(u64),
    /// The kernel grants a socket no memory for a program.
    #[error(
        "the program takes more memory than a socket may have: raise the sysctl \
         net.core.optmem_max, or set a shorter program"
    )]
    ProgramMemory,
    /// Another capability than CAP_NET_RAW is missing.
    #[error("{what}: permission denied; {capability} is needed")]
    Privilege {
        what: &'static str,
        capability: &'static str,
    },
    /// The rings may not be locked.
    #[error(
        "{0} bytes of ring cannot be locked: raise RLIMIT_MEMLOCK (ulimit -l) or leave \
         PKTRING_MEMORY_LOCK out"
    )]
    Locked(u64),
    /// What this ring or device cannot do.
    #[error("{0}")]
    Unsupported(&'static str),
    /// There is no whole copy of a frame.
    #[error(
        "there is no whole copy of this frame: it was not cut, copies were off, the receive \
         buffer was full, or the copy was fetched before"
    )]
    NoCopy,
    /// The copy of a later frame stands before the one that was asked for.
    #[error("the copy of a later frame stands before that of this one; fetch that first")]
    CopyBehind,
    /// A buffer of the caller's is too small.
    #[error("the buffer of {given} bytes is too small for the packet of {needed} bytes")]
    Buffer { needed: usize, given: usize },
    /// The kernel got stuck with the receive ring.
    #[error(
        "the kernel is stuck with the receive ring, after a packet that a virtio_net header \
         cannot express; release all frames and call pktring_recover"
    )]
    Stuck,
    /// The kernel is older than the option.
    #[error("{option} needs Linux {since}")]
    NeedsKernel {
        option: &'static str,
        since: &'static str,
    },
    /// The same, told by the kernel's version number.
    #[error("{option} needs Linux {}.{}; this is {}.{}", .since.0, .since.1, .running.0, .running.1)]
    OldKernel {
        option: &'static str,
        since: (u32, u32),
        running: (u32, u32),
    },
    /// Something shared has no place left.
    #[error("{0}")]
    Full(&'static str),
    /// Any other system call failure.
    #[error("{call}: {}", std::io::Error::from_raw_os_error(*.errno))]
    System { call: &'static str, errno: Errno },
    /// The interface went down; capture and transmission resume when it comes up.
    #[error("the interface is down; the handle resumes by itself when it comes up")]
    InterfaceDown,
    /// The interface was removed or moved to another network namespace.
    #[error("the interface is gone; close this handle and open the interface again")]
    InterfaceGone,
    /// A frame that does not say itself where it goes, and nobody else did; what the kernel calls it.
    #[error(
        "where the frame is to go is not known: call pktring_set_destination, with an interface \
         that is there for a handle on all of them, and with a hardware address for PKTRING_DGRAM"
    )]
    NoDestination(Errno),
    /// `pktring_breakloop` was called.
    #[error("stopped by pktring_breakloop")]
    Broken,
    /// The handle is being closed by another thread.
    #[error("the handle was closed")]
    Closed,
    /// Ring contents that cannot be right; the affected frames were skipped.
    #[error(
        "corrupt receive ring: {what} {value} in block or slot {index} points outside of it; \
         {skipped} frames skipped"
    )]
    Corrupt {
        what: &'static str,
        value: u64,
        index: u32,
        skipped: u32,
    },
    /// The reader has come round to a slot that the caller still holds.
    #[error(
        "the whole ring is held: the oldest {0} was not released yet, and the kernel drops \
         packets until it is"
    )]
    Held(&'static str),
    /// A release of something that is not held.
    #[error("{0} is not held by this handle: it was released before or belongs to another handle")]
    NotHeld(&'static str),
    /// A frame of a length that the kernel would refuse.
    #[error("frame length {length} is out of range: {least} to {most} bytes can be sent here")]
    FrameLength { length: u64, least: u32, most: u32 },
    /// The driver or queueing discipline is full.
    #[error("the transmit queue is full; try again after pktring_wait")]
    QueueFull,
    /// A bug of this library.
    #[error("internal error (a panic was caught); please report it")]
    Panic,
}

impl Error {
    /// The positive errno of this failure; C callers get it negated.
    pub fn errno(&self) -> Errno {
        match self {
            Error::Invalid(_) | Error::NotHeld(_) => libc::EINVAL,
            Error::State(_) | Error::Held(_) => libc::EBUSY,
            Error::Null(_) => libc::EFAULT,
            Error::TooBig(_) => libc::E2BIG,
            Error::Permission(_) | Error::Privilege { .. } => libc::EPERM,
            Error::Locked(_) => libc::EAGAIN,
            Error::NoDevice(_) | Error::InterfaceGone => libc::ENODEV,
            Error::NoNamespace(_) => libc::ENOENT,
            Error::NoMemory(_) | Error::ProgramMemory => libc::ENOMEM,
            Error::NeedsKernel { .. } | Error::OldKernel { .. } | Error::Unsupported(_) => {
                libc::EOPNOTSUPP
            }
            Error::Full(_) => libc::ENOSPC,
            Error::System { errno, .. } | Error::NoDestination(errno) => *errno,
            Error::InterfaceDown => libc::ENETDOWN,
            Error::Broken => libc::ECANCELED,
            Error::Closed => libc::ESHUTDOWN,
            Error::Corrupt { .. } => libc::EBADMSG,
            Error::FrameLength { .. } | Error::Buffer { .. } => libc::EMSGSIZE,
            Error::NoCopy => libc::ENODATA,
            Error::CopyBehind => libc::EAGAIN,
            Error::Stuck => libc::ESTALE,
            Error::QueueFull => libc::EAGAIN,
            Error::Panic => libc::EIO,
        }
    }

    /// The failure of system call `call`.
    pub fn system(call: &'static str, errno: Errno) -> Error {
        match errno {
            libc::EPERM | libc::EACCES => Error::Permission(call),
            libc::ENETDOWN => Error::InterfaceDown,
            errno => Error::System { call, errno },
        }
    }

    /// Checks that the kernel `running` has `option`, which came with Linux `since`.
    pub fn requires(running: (u32, u32), option: &'static str, since: (u32, u32)) -> Result<()> {
        match running >= since {
            true => Ok(()),
            false => Err(Error::OldKernel {
                option,
                since,
                running,
            }),
        }
    }

    /// A failed `setsockopt` of an option that came with Linux `since`.
    pub fn option(option: &'static str, since: &'static str, errno: Errno) -> Error {
        match errno {
            libc::ENOPROTOOPT => Error::NeedsKernel { option, since },
            errno => Error::system(option, errno),
        }
    }
}

/// The result of everything that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// The errno value behind an error of the standard library.
pub fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// Shorthand for [`Error::Invalid`] with a formatted text.
macro_rules! invalid {
    ($($text:tt)*) => { $crate::error::Error::Invalid(format!($($text)*)) };
}
pub(crate) use invalid;
