//! Each test is alone in its network, whoever runs it.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use netns::{isolated, launch, link, Netns};

const NOBODY: u32 = 65534;

fn interfaces() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let lines = table.lines().skip(2);
    lines
        .map(|line| line.split(':').next().unwrap().trim().to_owned())
        .collect()
}

fn has(name: &str) -> bool {
    interfaces().iter().any(|interface| interface == name)
}

#[test]
fn a_new_namespace_holds_lo_alone_and_it_is_up() {
    isolated(|| {
        // The kernel may add its fallback tunnels, as modules; nothing else is there.
        let others = ["va", "vb", "eth0", "mine"];
        assert!(has("lo"), "{:?}", interfaces());
        assert!(others.iter().all(|name| !has(name)), "{:?}", interfaces());
        assert!(link::is_up("lo").unwrap());
    });
}

#[test]
fn ipv6_says_nothing_in_it() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let addresses = std::fs::read_to_string("/proc/thread-self/net/if_inet6");
        assert_eq!(addresses.unwrap_or_default(), "");
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(link::counters("vb").unwrap().rx_packets, 0);
    });
}

#[test]
fn threads_side_by_side_do_not_see_each_other() {
    isolated(|| {
        let both_made = Barrier::new(2);
        let alone = |mine: &str, other: &str| {
            Netns::new().unwrap().run(|| {
                link::add_veth(mine, "peer").unwrap();
                both_made.wait();
                assert!(has(mine) && !has(other));
                both_made.wait();
            });
        };
        std::thread::scope(|scope| {
            scope.spawn(|| alone("left", "right"));
            scope.spawn(|| alone("right", "left"));
        });
        assert!(!has("left") && !has("right"));
    });
}

#[test]
fn the_thread_comes_back_where_it_was() {
    let here = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let before = here();
    isolated(|| {
        assert_ne!(here(), before);
    });
    assert_eq!(here(), before);
}

/// Makes the test that looks at failures the one that fails.
const FAIL: &str = "NETNS_TEST_FAIL";

/// One test of this file run as the user "nobody", told to fail or not.
fn as_nobody(test: &str, fail: bool) -> Output {
    let mut command = Command::new("/proc/self/exe");
    command.args([test, "--exact", "--test-threads=1"]);
    if nix::unistd::Uid::effective().is_root() {
        command.gid(NOBODY).uid(NOBODY).current_dir("/");
    }
    if fail {
        command.env(FAIL, "1");
    }
    command.output().unwrap()
}

#[test]
fn an_ordinary_user_gets_a_namespace_as_well() {
    let output = as_nobody("ipv6_says_nothing_in_it", false);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{output:?}"
    );
}

#[test]
fn failures_of_an_ordinary_user_are_failures() {
    if std::env::var_os(FAIL).is_some() {
        isolated(|| panic!("as it should"));
        return;
    }
    let output = as_nobody("failures_of_an_ordinary_user_are_failures", true);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{output:?}");
    assert!(
        text.contains("as it should") && text.contains("1 failed"),
        "{text}"
    );
}

/// Makes a test of this file start a program and tell its number, instead of looking on.
const START: &str = "NETNS_TEST_START";

#[test]
fn what_a_killed_test_started_ends_with_it() {
    if std::env::var_os(START).is_some() {
        let mut sleeper = Command::new("sleep");
        let mut sleeper = launch::tie(sleeper.arg("600")).spawn().unwrap();
        println!("started {}", sleeper.id());
        sleeper.wait().unwrap();
        return;
    }
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["what_a_killed_test_started_ends_with_it", "--exact"])
        .arg("--nocapture")
        .env(START, "1")
        .stdout(Stdio::piped());
    let mut killed = launch::tie(&mut command).spawn().unwrap();
    let lines = BufReader::new(killed.stdout.take().unwrap()).lines();
    let started = lines
        .map(Result::unwrap)
        .find_map(|line| Some(line.split_once("started ")?.1.to_owned()))
        .expect("the number of the program");
    let runs = || {
        let status = std::fs::read_to_string(format!("/proc/{started}/stat"));
        // Whoever inherits it may take its time to look after it.
        status.is_ok_and(|status| !status.contains(") Z "))
    };
    assert!(runs());
    killed.kill().unwrap();
    killed.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    while runs() {
        assert!(Instant::now() < end, "it is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
}
