//! Whole copies of frames that a slot has cut.

mod handle;

use handle::{numbered, ring, Held, Opened};
use netns::{isolated, link, PlainSocket};
use pktring::capi::geometry::*;
use pktring::capi::{copies::*, option::*, rx::*, tuning::*};

fn veth() -> PlainSocket {
    link::veth("va", "vb").unwrap();
    PlainSocket::sender("va").unwrap()
}

/// A handle with slots that hold frames of a little over 100 bytes.
fn open(version: u32, vnet: u32) -> Opened {
    let handle = Opened::new("vb", version);
    // SAFETY: the handle is open.
    unsafe {
        handle.must(pktring_set_copies(handle.0, 1));
        handle.must(pktring_set_vnet_header(handle.0, vnet));
    }
    handle.receive(ring(4096, 4, 256));
    handle.activate();
    handle
}

fn whole(handle: &Opened, held: &Held, capacity: usize) -> Result<Vec<u8>, i32> {
    let mut buffer = vec![0xee; capacity];
    // SAFETY: the handle is open, the frame one of its own, the buffer of that size.
    let length =
        unsafe { pktring_copy_whole(handle.0, &held.frame, buffer.as_mut_ptr().cast(), capacity) };
    match length {
        length if length < 0 => Err(-length),
        length => {
            buffer.truncate(length as usize);
            Ok(buffer)
        }
    }
}

#[test]
fn a_cut_frame_is_had_whole() {
    isolated(|| {
        let sender = veth();
        for (version, vnet) in [
            (PKTRING_V1, 0),
            (PKTRING_V2, 0),
            (PKTRING_V2, 10),
            (PKTRING_V2, 12),
        ] {
            let handle = open(version, vnet);
            for (number, length) in [(1, 1000), (2, 60), (3, 1514), (4, 300)] {
                sender.send(&numbered(number, length)).unwrap();
            }
            for (number, length) in [(1, 1000), (2, 60), (3, 1514), (4, 300)] {
                let held = handle.own();
                assert_eq!((held.number(), held.frame.len), (number, length as u32));
                let cut = (held.frame.caplen as usize) < length;
                assert_eq!(cut, length > 200);
                assert_eq!(held.frame.status & PKTRING_STATUS_COPY != 0, cut);
                let copy = whole(&handle, &held, 2000);
                if cut {
                    assert_eq!(
                        copy.unwrap(),
                        numbered(number, length),
                        "{}",
                        handle.error()
                    );
                }
                // Once only, and not for a frame that is whole already.
                if !cut || number == 4 {
                    assert_eq!(whole(&handle, &held, 2000), Err(libc::ENODATA));
                }
            }
        }
    });
}

#[test]
fn copies_of_frames_passed_over_do_not_stand_in_the_way() {
    isolated(|| {
        let sender = veth();
        let handle = open(PKTRING_V2, 0);
        for number in 0..8 {
            sender.send(&numbered(number, 1000)).unwrap();
        }
        let held: Vec<_> = (0..8).map(|_| handle.own()).collect();
        for i in [2, 5, 7] {
            let copy = whole(&handle, &held[i], 1514).unwrap();
            assert_eq!(copy, numbered(i as u32, 1000));
        }
        assert_eq!(whole(&handle, &held[3], 1514), Err(libc::ENODATA));
    });
}

#[test]
fn a_buffer_that_is_too_small_loses_nothing() {
    isolated(|| {
        let sender = veth();
        let handle = open(PKTRING_V2, 0);
        sender.send(&numbered(1, 1000)).unwrap();
        let held = handle.own();
        assert_eq!(whole(&handle, &held, 999), Err(libc::EMSGSIZE));
        assert!(handle.error().contains("1000"), "{}", handle.error());
        assert_eq!(whole(&handle, &held, 1000).unwrap(), numbered(1, 1000));
    });
}

#[test]
fn a_full_receive_buffer_is_told_by_the_missing_flag_and_emptied_by_fetching() {
    isolated(|| {
        let sender = veth();
        let handle = open(PKTRING_V2, 0);
        // SAFETY: the handle is open.
        handle.must(unsafe { pktring_set_buffer(handle.0, PKTRING_RX, 8000) });
        for number in 0..32 {
            sender.send(&numbered(number, 1514)).unwrap();
        }
        let flagged = |held: &Held| held.frame.status & PKTRING_STATUS_COPY != 0;
        let held: Vec<_> = (0..32).map(|_| handle.own()).collect();
        let with_copy = held.iter().filter(|held| flagged(held)).count();
        assert!((1..32).contains(&with_copy), "{with_copy} copies");
        for held in &held {
            match whole(&handle, held, 1514) {
                Ok(copy) => {
                    assert_eq!((copy, true), (numbered(held.number(), 1514), flagged(held)))
                }
                Err(code) => assert_eq!((code, false), (libc::ENODATA, flagged(held))),
            }
        }
        drop(held);
        sender.send(&numbered(40, 1514)).unwrap();
        let held = handle.own();
        assert_eq!(whole(&handle, &held, 1514).unwrap(), numbered(40, 1514));
    });
}

#[test]
fn without_the_option_frames_are_cut_and_it_can_be_turned_on_while_running() {
    isolated(|| {
        let sender = veth();
        let handle = Opened::active("vb", PKTRING_V2, ring(4096, 4, 256));
        sender.send(&numbered(1, 1000)).unwrap();
        let held = handle.own();
        assert!(held.frame.caplen < held.frame.len);
        assert_eq!(whole(&handle, &held, 1514), Err(libc::ENODATA));
        drop(held);
        for (on, expected) in [(1, true), (0, false)] {
            // SAFETY: the handle is open.
            handle.must(unsafe { pktring_set_copies(handle.0, on) });
            sender.send(&numbered(2, 1000)).unwrap();
            assert_eq!(whole(&handle, &handle.own(), 1514).is_ok(), expected);
        }
    });
}
