//! The program `netns-run`.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

const NOBODY: u32 = 65534;

fn netns_run(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_netns-run"));
    command.args(args);
    command
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

const LIST: &str = "cat /proc/net/dev; exit 7";

fn shows_the_pair(output: &Output) {
    let (out, err) = text(output);
    assert_eq!(output.status.code(), Some(7), "{err}");
    for name in ["lo:", "left:", "right:"] {
        assert!(out.contains(name), "{out}");
    }
    assert!(!out.contains("eth0"), "{out}");
}

#[test]
fn runs_a_program_between_a_pair_and_returns_its_status() {
    shows_the_pair(
        &netns_run(&["--veth", "left,right", "--", "sh", "-c", LIST])
            .output()
            .unwrap(),
    );
}

#[test]
fn an_ordinary_user_can_run_it_too() {
    if !nix::unistd::Uid::effective().is_root() {
        // The test above has shown it.
        return;
    }
    // By descriptor, because the directory of the build may be closed to that user.
    let program = File::open(env!("CARGO_BIN_EXE_netns-run")).unwrap();
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command
        .args(["--veth", "left,right", "sh", "-c", LIST])
        .gid(NOBODY)
        .uid(NOBODY);
    shows_the_pair(&command.current_dir("/").output().unwrap());
}

#[test]
fn says_in_one_line_what_is_wrong() {
    for (args, word) in [
        (&[][..], "usage:"),
        (&["--what"], "usage:"),
        (&["--veth", "one", "true"], "usage:"),
        (&["--veth", "same,same", "true"], "veth same same"),
        (&["/no/such/program"], "/no/such/program"),
    ] {
        let output = netns_run(args).output().unwrap();
        let (_, err) = text(&output);
        assert_eq!(output.status.code(), Some(125));
        assert!(err.contains(word) && err.lines().count() == 1, "{err}");
    }
}
