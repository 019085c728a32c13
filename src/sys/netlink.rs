//! A netlink socket, and doing something inside another network namespace.

use super::call::Errno;
use std::io;
use std::mem::{size_of, MaybeUninit};
use std::os::raw::c_int;
use std::os::unix::io::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::thread;

fn check(returned: isize) -> Result<usize, Errno> {
    usize::try_from(returned).map_err(|_| last_error())
}

fn last_error() -> Errno {
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}

/// A netlink socket that talks to the kernel.
pub struct NetlinkSocket(OwnedFd);

/// More than one message of a dump ever has.
const DATAGRAM: usize = 64 << 10;

impl NetlinkSocket {
    /// Opens a socket of `protocol` (`NETLINK_*`), closed on exec.
    pub fn open(protocol: c_int) -> Result<NetlinkSocket, Errno> {
        // SAFETY: socket has no memory arguments.
        let fd = unsafe {
            libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                protocol,
            )
        };
        check(fd as isize)?;
        // SAFETY: the call just returned this descriptor; nobody else owns it.
        Ok(NetlinkSocket(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends one message to the kernel.
    pub fn send(&self, message: &[u8]) -> Result<(), Errno> {
        // SAFETY: sockaddr_nl is integers; all zero but the family is the kernel's address.
        let mut kernel: libc::sockaddr_nl = unsafe { MaybeUninit::zeroed().assume_init() };
        kernel.nl_family = libc::AF_NETLINK as u16;
        let to: *const libc::sockaddr_nl = &kernel;
        // SAFETY: the kernel reads message.len() bytes and one sockaddr_nl.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                message.as_ptr().cast(),
                message.len(),
                0,
                to.cast(),
                size_of::<libc::sockaddr_nl>() as libc::socklen_t,
            )
        };
        check(sent).map(|_| ())
    }

    /// Receives one datagram of messages.
    pub fn receive(&self) -> Result<Vec<u8>, Errno> {
        let mut datagram = vec![0; DATAGRAM];
        loop {
            // SAFETY: the kernel writes at most datagram.len() bytes.
            let received = unsafe {
                libc::recv(
                    self.0.as_raw_fd(),
                    datagram.as_mut_ptr().cast(),
                    datagram.len(),
                    0,
                )
            };
            match check(received) {
                Err(libc::EINTR) => {}
                received => {
                    datagram.truncate(received?);
                    return Ok(datagram);
                }
            }
        }
    }
}

/// Runs `body` in the network namespace `namespace`.
///
/// On a thread of its own that ends before this returns: the calling thread could not be sure to
/// get back to its own namespace, which needs privileges there. The thread takes no signals.
pub fn in_namespace<T: Send>(
    namespace: RawFd,
    body: impl FnOnce() -> T + Send,
) -> Result<T, Errno> {
    let enter_and_run = || {
        // SAFETY: setns has no memory arguments.
        check(unsafe { libc::setns(namespace, libc::CLONE_NEWNET) } as isize)?;
        Ok(body())
    };
    thread::scope(|scope| {
        let signals = block_signals();
        let started = thread::Builder::new().spawn_scoped(scope, enter_and_run);
        restore_signals(&signals);
        match started {
            Ok(thread) => thread.join().unwrap_or(Err(libc::EIO)),
            Err(error) => Err(error.raw_os_error().unwrap_or(libc::EAGAIN)),
        }
    })
}

/// Keeps signals from this thread, and from those it starts. Returns the mask before.
fn block_signals() -> libc::sigset_t {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset initialises `all`; pthread_sigmask reads it and writes `before`, and
    // cannot fail with SIG_BLOCK.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    }
}

fn restore_signals(mask: &libc::sigset_t) {
    // SAFETY: pthread_sigmask reads the mask, and writes none.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, std::ptr::null_mut()) };
}

/// The number by which the kernel tells sockets apart.
pub fn inode(fd: RawFd) -> Result<u32, Errno> {
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the kernel writes one struct stat.
    check(unsafe { libc::fstat(fd, status.as_mut_ptr()) } as isize)?;
    // SAFETY: zeroed, then written by fstat.
    Ok(unsafe { status.assume_init() }.st_ino as u32)
}
