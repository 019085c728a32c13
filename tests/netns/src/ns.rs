//! Network namespaces: making one, holding one, being in one.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use nix::sched::{setns, unshare, CloneFlags};

use crate::{context, link};

/// What to say when neither root nor a user namespace can be had.
pub(crate) const ADVICE: &str = "run as root, or let ordinary users make user namespaces \
     (whichever of these exists: sysctl user.max_user_namespaces=15000, \
     kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)";

/// A network namespace, kept alive by a descriptor.
#[derive(Debug)]
pub struct Netns {
    fd: OwnedFd,
}

impl Netns {
    /// A new, empty namespace with `lo` up. The caller stays where it is.
    pub fn new() -> io::Result<Netns> {
        scratch(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            prepare()?;
            Netns::current()
        })
    }

    /// The namespace of the calling thread.
    pub fn current() -> io::Result<Netns> {
        // thread-self, because /proc/self is the main thread, which may be elsewhere.
        let fd = File::open("/proc/thread-self/ns/net")?.into();
        Ok(Netns { fd })
    }

    /// Runs `body` inside this namespace, on a thread of its own, and returns its value.
    /// Descriptors it opens keep working outside. A panic in it is the caller's panic.
    pub fn run<R: Send>(&self, body: impl FnOnce() -> R + Send) -> R {
        scratch(|| {
            setns(&self.fd, CloneFlags::CLONE_NEWNET).expect("enter a network namespace");
            body()
        })
    }

    /// Moves the calling thread into this namespace, for good.
    pub fn enter(&self) -> io::Result<()> {
        Ok(setns(&self.fd, CloneFlags::CLONE_NEWNET)?)
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Makes what the calling thread has just unshared usable and quiet: `lo` up, no IPv6.
pub(crate) fn prepare() -> io::Result<()> {
    // IPv6 announces itself on every link that comes up, and those frames would turn up
    // among the ones a test counts. The files are absent where the kernel has no IPv6.
    for scope in ["all", "default"] {
        let path = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
        match fs::write(&path, "1") {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(context(&path)(error))
            }
            _ => {}
        }
    }
    link::set_up("lo")
}

/// Runs `body` on a thread that ends with it, so that no other work inherits its namespace.
fn scratch<R: Send>(body: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| match scope.spawn(body).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
