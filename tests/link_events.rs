//! What happens to a capture when its interface goes down, comes up, is renamed, moved or
//! removed.

mod common;

use common::process::thread_cpu_time;
use common::{data, frames, small_ring, Failure, Pktring, LIMIT_MS, VERSIONS};
use netns::{isolated, link, Netns, PlainSocket};
use pktring::capi::geometry::PKTRING_RX;
use std::thread;
use std::time::{Duration, Instant};

fn capture(version: u32) -> Pktring {
    Pktring::open("vb")
        .version(version)
        .filter(&frames::own_only())
        .ring(PKTRING_RX, &small_ring(version, 32))
        .activate()
}

/// Runs `test` with each version on a veth pair of its own.
fn for_each_version(test: impl Fn(Pktring, &str)) {
    for_each_pair(link::veth, |version, name| test(capture(version), name));
}

/// Runs `test` with each version on a pair that `make` makes.
fn for_each_pair(make: fn(&str, &str) -> std::io::Result<()>, test: impl Fn(u32, &str)) {
    isolated(|| {
        for (version, name) in VERSIONS {
            make("va", "vb").unwrap();
            test(version, name);
            // It may be gone already, or go at this moment: with the namespace of its other end.
            let _ = link::delete("va");
        }
    });
}

fn send(numbers: std::ops::Range<u64>) {
    let all: Vec<_> = numbers.map(frames::frame).collect();
    PlainSocket::sender("va").unwrap().send_all(&all).unwrap();
}

fn expect(handle: &Pktring, numbers: std::ops::Range<u64>, name: &str) {
    for number in numbers {
        let frame = handle.take();
        assert_eq!(data(&frame), frames::frame(number), "{name}");
        handle.release(&frame).unwrap();
    }
}

/// Waits for the trouble that must be reported, past what was received before it.
fn trouble(handle: &Pktring) -> Failure {
    handle.wait_rx(LIMIT_MS).unwrap_err()
}

fn bring_up() {
    for name in ["va", "vb"] {
        link::set_up(name).unwrap();
    }
    for name in ["va", "vb"] {
        link::wait_up(name).unwrap();
    }
}

#[test]
fn down_is_reported_once_behind_what_was_received_and_capture_resumes() {
    for_each_version(|handle, name| {
        for round in 0..3 {
            let start = round * 100;
            send(start..start + 10);
            link::set_down("vb").unwrap();
            expect(&handle, start..start + 10, name);
            let failure = trouble(&handle);
            assert_eq!(failure.errno, libc::ENETDOWN, "{name}");
            assert!(failure.text.contains("resumes"), "{}", failure.text);
            // Once, and without spinning while it is down.
            let cpu = thread_cpu_time();
            assert_eq!(handle.wait_rx(300), Ok(0), "{name}");
            let cpu = thread_cpu_time() - cpu;
            println!("{name}: a wait of 300 ms while the link is down: {cpu:?} of processor time");
            assert!(
                cpu < Duration::from_millis(100),
                "{name}: {cpu:?} of processor time"
            );
            bring_up();
            send(start + 10..start + 20);
            expect(&handle, start + 10..start + 20, name);
        }
        let stats = handle.stats();
        assert_eq!(
            (stats.frames, stats.dropped, stats.corrupt),
            (60, 0, 0),
            "{name}"
        );
    });
}

#[test]
fn down_wakes_a_wait_without_limit() {
    for_each_version(|handle, name| {
        thread::scope(|scope| {
            let waiter = scope.spawn(|| handle.wait_rx(-1));
            thread::sleep(Duration::from_millis(50));
            link::set_down("vb").unwrap();
            let failure = waiter.join().unwrap().unwrap_err();
            assert_eq!(failure.errno, libc::ENETDOWN, "{name}");
        });
    });
}

#[test]
fn an_interface_that_is_down_at_first_is_captured_from_once_it_is_up() {
    for_each_pair(link::add_veth, |version, name| {
        let handle = capture(version);
        // Told or not, it is no failure to last.
        match handle.wait_rx(50) {
            Ok(0) => {}
            other => assert_eq!(other.unwrap_err().errno, libc::ENETDOWN, "{name}"),
        }
        assert_eq!(handle.wait_rx(50), Ok(0), "{name}");
        bring_up();
        send(0..5);
        expect(&handle, 0..5, name);
    });
}

#[test]
fn a_removed_interface_is_gone_for_good_behind_what_was_received() {
    for_each_version(|handle, name| {
        send(0..10);
        link::delete("vb").unwrap();
        expect(&handle, 0..10, name);
        for _ in 0..3 {
            let failure = trouble(&handle);
            assert_eq!(failure.errno, libc::ENODEV, "{name}");
            assert!(failure.text.contains("gone"), "{}", failure.text);
        }
        // One of the same name is another interface.
        link::veth("va", "vb").unwrap();
        send(10..12);
        assert_eq!(trouble(&handle).errno, libc::ENODEV, "{name}");
        assert_eq!(
            handle.dispatch(0, LIMIT_MS, |_| ()).unwrap_err().errno,
            libc::ENODEV
        );
        assert_eq!(
            handle.looped(0, |_| ()).unwrap_err().errno,
            libc::ENODEV,
            "{name}"
        );
        assert_eq!(handle.stats().frames, 10, "{name}");
        assert_eq!(handle.close(), 0);
    });
}

#[test]
fn removal_wakes_a_wait_without_limit_even_while_the_interface_is_down() {
    for_each_version(|handle, name| {
        for down_before in [false, true] {
            // The second round is with another handle, on a pair that is made anew.
            let again;
            let handle = match down_before {
                false => &handle,
                true => {
                    link::veth("va", "vb").unwrap();
                    again = Pktring::open("vb").activate();
                    link::set_down("vb").unwrap();
                    assert_eq!(trouble(&again).errno, libc::ENETDOWN, "{name}");
                    &again
                }
            };
            thread::scope(|scope| {
                let waiter = scope.spawn(|| handle.wait_rx(-1));
                thread::sleep(Duration::from_millis(50));
                link::delete("vb").unwrap();
                let start = Instant::now();
                let failure = waiter.join().unwrap().unwrap_err();
                assert!(start.elapsed() < Duration::from_secs(10), "{name}");
                assert_eq!(failure.errno, libc::ENODEV, "{name}");
            });
        }
    });
}

/// A program with an event loop of its own calls the library only when the descriptor is ready.
#[test]
fn a_program_that_polls_the_descriptor_itself_is_told_and_need_not_spin() {
    for_each_version(|handle, name| {
        let look = || handle.dispatch(0, 0, |_| ());
        assert_eq!(look(), Ok(0), "{name}");
        for round in 0..2 {
            send(round * 10..round * 10 + 3);
            link::set_down("vb").unwrap();
            assert_ne!(
                handle.poll(libc::POLLIN, LIMIT_MS) & libc::POLLERR,
                0,
                "{name}"
            );
            // Frames first, where they are there already.
            let failure = loop {
                match look() {
                    Ok(handed_over) => assert_ne!(handed_over, 0, "{name}: told of nothing"),
                    Err(failure) => break failure,
                }
            };
            assert_eq!(failure.errno, libc::ENETDOWN, "{name}");
            assert_eq!(handle.poll(libc::POLLIN, 0) & libc::POLLERR, 0, "{name}");
            while handle.stats().frames < round * 3 + 3 {
                assert_ne!(handle.poll(libc::POLLIN, LIMIT_MS), 0, "{name}");
                look().unwrap();
            }
            assert_eq!(look(), Ok(0), "{name}: once");
            if round == 0 {
                bring_up();
            }
        }
        link::delete("vb").unwrap();
        let end = Instant::now() + Duration::from_millis(LIMIT_MS as u64);
        let failure = loop {
            match look() {
                Ok(0) => assert!(Instant::now() < end, "{name}: never told that it is gone"),
                Ok(_) => panic!("{name}: a frame of nobody"),
                Err(failure) => break failure,
            }
            thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(failure.errno, libc::ENODEV, "{name}");
    });
}

#[test]
fn an_interface_that_moves_to_another_namespace_is_gone() {
    for_each_version(|handle, name| {
        send(0..3);
        let elsewhere = Netns::new().unwrap();
        link::move_to("vb", &elsewhere).unwrap();
        expect(&handle, 0..3, name);
        assert_eq!(trouble(&handle).errno, libc::ENODEV, "{name}");
        assert_eq!(trouble(&handle).errno, libc::ENODEV, "{name}");
    });
}

#[test]
fn a_new_name_changes_nothing() {
    for_each_version(|handle, name| {
        send(0..3);
        link::rename("vb", "vc").unwrap();
        send(3..6);
        expect(&handle, 0..6, name);
        assert_eq!(handle.wait_rx(50), Ok(0), "{name}");
    });
}

#[test]
fn the_peer_going_down_is_no_trouble_of_this_end() {
    for_each_version(|handle, name| {
        link::set_down("va").unwrap();
        assert_eq!(handle.wait_rx(100), Ok(0), "{name}");
        bring_up();
        send(0..3);
        expect(&handle, 0..3, name);
    });
}
