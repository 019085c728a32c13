//! A namespace of its own for each test.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

use nix::errno::Errno;
use nix::sched::{unshare, CloneFlags};

use crate::launch::{self, UserNamespace};
use crate::ns::{self, ADVICE};
use crate::{skip, Netns};

/// Set in a child that is already root of its own user namespace, so that it reports a
/// failure instead of making children for ever.
const INSIDE: &str = "NETNS_INSIDE";

/// Runs the body of a libtest test in an empty network namespace of its own.
///
/// With CAP_SYS_ADMIN the calling thread alone moves there, and comes back afterwards.
/// Without, this test alone is run again in a child process that is root of a user
/// namespace; its output is passed on, and its failure is this test's. Where user
/// namespaces are off as well, the test fails and says what to enable: it never passes
/// without having run.
///
/// Must be called from the test function's own thread, whose name is the test's.
pub fn isolated(body: impl FnOnce()) {
    let outside = Netns::current().expect("/proc is needed");
    match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => {
            let _return = Return { to: outside };
            if let Err(error) = ns::prepare() {
                panic!("cannot use a private network namespace: {error}; {ADVICE}");
            }
            body();
        }
        Err(Errno::EPERM) if std::env::var_os(INSIDE).is_none() => run_as_child(),
        Err(error) => panic!("cannot make a private network namespace: {error}; {ADVICE}"),
    }
}

/// Takes the thread back where it came from: harnesses may use it for another test.
struct Return {
    to: Netns,
}

impl Drop for Return {
    fn drop(&mut self) {
        if let Err(error) = self.to.enter() {
            eprintln!("cannot leave a private network namespace: {error}");
        }
    }
}

/// Runs the test whose thread this is in a child process and passes on its outcome.
fn run_as_child() {
    let thread = thread::current();
    let test = thread.name().filter(|name| *name != "main");
    let test = test.expect("isolated() must be called from a test's own thread");
    let output = child(test).output();
    let output = output.unwrap_or_else(|error: io::Error| {
        panic!("cannot make a user and network namespace: {error}; {ADVICE}")
    });
    let stdout = String::from_utf8_lossy(&output.stdout);
    print!("{stdout}");
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        if line.starts_with(skip::MARK) {
            skip::pass_on(line);
        } else {
            eprintln!("{line}");
        }
    }
    // The count is checked too: a child that found no test of this name succeeds as well.
    let passed = output.status.success() && stdout.contains("test result: ok. 1 passed");
    assert!(passed, "{test} failed in its namespace ({})", output.status);
}

fn child(test: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .args([
            test,
            "--exact",
            "--include-ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(INSIDE, "1");
    let namespace = UserNamespace::for_this_user();
    // SAFETY: between fork and exec the closure makes plain system calls only; what needs
    // memory was made before.
    unsafe { command.pre_exec(move || namespace.enter(CloneFlags::CLONE_NEWNET)) };
    // Behind the change of user namespace, which would untie it.
    launch::tie(&mut command);
    command
}
