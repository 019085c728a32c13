//! Programs that run beside a test.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::text;

/// Longer than any program needs; it is then interrupted.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A program that runs beside the test; interrupted when it takes too long.
pub struct Running {
    pub child: Child,
    name: String,
}

impl Running {
    /// Starts a program and waits until it waits for frames.
    pub fn start(command: &mut Command) -> Running {
        Running::start_now(command).listening(1)
    }

    pub fn start_now(command: &mut Command) -> Running {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        Running::spawn(command)
    }

    /// With what it prints going where the command says.
    pub fn spawn(command: &mut Command) -> Running {
        let name = format!("{command:?}");
        let child = netns::launch::tie(command).spawn();
        let child = child.unwrap_or_else(|error| panic!("{name}: {error}"));
        Running { child, name }
    }

    /// Until so many of its threads, and those of its children, sleep in poll: then they have their
    /// rings, and take care of signals.
    pub fn listening(mut self, threads: usize) -> Running {
        let deadline = Instant::now() + PATIENCE;
        while waiting(self.child.id()) < threads {
            if self.child.try_wait().unwrap().is_some() || Instant::now() > deadline {
                let name = self.name.clone();
                panic!("{name} does not listen: {:?}", self.output());
            }
            sleep(Duration::from_millis(10));
        }
        self
    }

    pub fn interrupt(&self) {
        self.signal(libc::SIGINT);
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: a call with numbers only; the child has not been reaped.
        unsafe { libc::kill(-(self.child.id() as i32), signal) };
    }

    pub fn output(mut self) -> Output {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                self.interrupt();
                sleep(Duration::from_secs(2));
                let _ = self.child.kill();
                break;
            }
            sleep(Duration::from_millis(5));
        }
        self.child.wait_with_output().unwrap()
    }

    /// What it printed; its status must be the one given.
    pub fn finish(self, status: i32) -> Output {
        let name = self.name.clone();
        let output = self.output();
        assert_eq!(
            output.status.code(),
            Some(status),
            "{name}\n{}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        output
    }

    pub fn stop(self, status: i32) -> Output {
        self.interrupt();
        self.finish(status)
    }
}

/// How many threads of a process and its children sleep in poll.
fn waiting(process: u32) -> usize {
    let mut count = 0;
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    for thread in threads.into_iter().flatten().flatten() {
        let read = |name| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        let call = read("syscall");
        let number = call.split(' ').next().and_then(|word| word.parse().ok());
        count += usize::from(number.is_some_and(waits));
        let children = read("children");
        let children = children.split_whitespace();
        count += children
            .map(|child| waiting(child.parse().unwrap()))
            .sum::<usize>();
    }
    count
}

fn waits(call: libc::c_long) -> bool {
    #[cfg(target_arch = "x86_64")]
    if call == libc::SYS_poll || call == libc::SYS_epoll_wait {
        return true;
    }
    call == libc::SYS_ppoll || call == libc::SYS_epoll_pwait
}

/// Runs a program that fails: its status and the one line on standard error.
pub fn failure(command: &mut Command) -> (i32, String) {
    let output = Running::start_now(command).output();
    let said = text(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{command:?}: not one line: {said}");
    (
        output.status.code().unwrap_or(-1),
        said.trim_end().to_owned(),
    )
}
