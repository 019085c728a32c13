//! Starting a program inside a private network namespace.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sched::{unshare, CloneFlags};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid};

use crate::ns::{self, ADVICE};
use crate::{context, link};

/// A user namespace in which the present user is root, ready to be entered after a fork.
pub(crate) struct UserNamespace {
    uid_map: String,
    gid_map: String,
}

impl UserNamespace {
    pub(crate) fn for_this_user() -> UserNamespace {
        UserNamespace {
            uid_map: format!("0 {} 1", Uid::effective()),
            gid_map: format!("0 {} 1", Gid::effective()),
        }
    }

    /// Enters it, and with it the other new namespaces asked for. Only for a process of one
    /// thread; allocates nothing, so it may run between fork and exec.
    pub(crate) fn enter(&self, others: CloneFlags) -> io::Result<()> {
        unshare(CloneFlags::CLONE_NEWUSER | others)?;
        // The kernel demands this refusal before it lets an ordinary user map a group.
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", &self.uid_map)?;
        fs::write("/proc/self/gid_map", &self.gid_map)
    }
}

/// Has the kernel end what `command` starts together with the thread that starts it, so that
/// nothing stays behind of a test that is killed. What the program starts in its turn is its own.
pub fn tie(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec the closure makes one plain system call.
    unsafe { command.pre_exec(|| Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)) }
}

/// Moves this process, which must have one thread only, into a new network namespace with
/// `lo` up: as root directly, otherwise as root of a new user namespace.
fn enter_fresh() -> io::Result<()> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Err(Errno::EPERM) => {
            UserNamespace::for_this_user().enter(CloneFlags::CLONE_NEWNET)?;
        }
        outcome => outcome?,
    }
    ns::prepare()
}

/// Replaces this process by `program`, run in a private network namespace that holds `lo`
/// and the veth pair, if one is asked for. Returns only if that failed. Must be called
/// while the process has one thread.
pub fn exec(veth: Option<(&str, &str)>, program: &[OsString]) -> io::Error {
    let [name, args @ ..] = program else {
        return io::Error::new(io::ErrorKind::InvalidInput, "no program given");
    };
    // A new user namespace unties it.
    let tied = prctl::get_pdeathsig().unwrap_or(None);
    let ready = enter_fresh().and_then(|()| match veth {
        Some((a, b)) => link::veth(a, b),
        None => Ok(()),
    });
    let ready = ready.and_then(|()| Ok(prctl::set_pdeathsig(tied)?));
    match ready {
        Ok(()) => {
            let error = Command::new(name).args(args).exec();
            context(name.to_string_lossy())(error)
        }
        Err(error) => {
            let what = "cannot make a private network namespace";
            io::Error::new(error.kind(), format!("{what}: {error}; {ADVICE}"))
        }
    }
}
