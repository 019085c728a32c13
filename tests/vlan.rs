//! VLAN tags: told beside the frame, and put back into it.

mod handle;

use handle::{numbered, ring, Held, Opened, EXPERIMENT, LIMIT};
use netns::{isolated, link, PlainSocket};
use pktring::capi::block::*;
use pktring::capi::geometry::*;
use pktring::capi::iter::{pktring_iter_init, pktring_iter_next};
use pktring::capi::{config::*, offload::*, option::*, rx::*, wait::*};
use pktring::frame::{Block, Frame};
use std::mem::MaybeUninit;

const DOT1Q: u16 = 0x8100;
const DOT1AD: u16 = 0x88a8;

/// A frame with these tags, outer first.
fn tagged(tags: &[(u16, u16)], length: usize) -> Vec<u8> {
    let mut frame = numbered(7, length);
    let mut bytes = Vec::new();
    for (tpid, tci) in tags {
        bytes.extend(tpid.to_be_bytes());
        bytes.extend(tci.to_be_bytes());
    }
    frame.splice(12..12, bytes);
    frame
}

fn veth() -> PlainSocket {
    link::veth("va", "vb").unwrap();
    PlainSocket::sender("va").unwrap()
}

fn reinsert(handle: &Opened, frame: &mut Frame) -> i32 {
    // SAFETY: the handle is open, the frame is one of its own.
    unsafe { pktring_vlan_reinsert(handle.0, frame) }
}

/// What comes of `sent`, behind whatever else comes.
fn receive<'a>(handle: &'a Opened, sender: &PlainSocket, sent: &[u8], inner: u16) -> Held<'a> {
    sender.send(sent).unwrap();
    handle.typed(inner)
}

#[test]
fn the_tag_is_told_and_put_back_with_every_option_in_front_of_the_frame() {
    isolated(|| {
        let sender = veth();
        let sent = tagged(&[(DOT1Q, 0x602a)], 100);
        for version in [PKTRING_V2, PKTRING_V3] {
            for (reserve, vnet) in [(0, 0), (0, 10), (0, 12), (16, 0), (7, 10)] {
                let handle = Opened::new("vb", version);
                // SAFETY: the handle is open.
                unsafe {
                    handle.must(pktring_set_reserve(handle.0, reserve));
                    handle.must(pktring_set_vnet_header(handle.0, vnet));
                }
                handle.activate();
                let mut held = receive(&handle, &sender, &sent, EXPERIMENT);
                let frame = held.frame;
                assert_ne!(frame.status & PKTRING_STATUS_VLAN_VALID, 0);
                assert_ne!(frame.status & PKTRING_STATUS_VLAN_TPID_VALID, 0);
                assert_eq!((frame.vlan_tci, frame.vlan_tpid), (0x602a, DOT1Q));
                assert_eq!(held.data(), numbered(7, 100));

                assert_eq!(reinsert(&handle, &mut held.frame), 1, "{}", handle.error());
                assert_eq!(held.data(), sent);
                assert_eq!(held.frame.len, 104);
                let offset = frame.data as usize - held.frame.data as usize;
                assert_eq!(offset, 4, "the payload stayed");
                assert_eq!(held.frame.mac + 4, frame.mac);
                assert_eq!(held.frame.net, frame.net);
                assert_eq!(held.frame.status & PKTRING_STATUS_VLAN_VALID, 0);
                assert_eq!(held.address().family, libc::AF_PACKET as u16);

                // Again, and with a copy of the descriptor from before.
                assert_eq!(reinsert(&handle, &mut held.frame), 0);
                assert_eq!(held.data(), sent);
                held.frame = frame;
                assert_eq!(reinsert(&handle, &mut held.frame), 0);
                assert_eq!(held.data(), sent);
            }
        }
    });
}

#[test]
fn of_two_tags_the_outer_one_is_put_back_before_the_inner() {
    isolated(|| {
        let sender = veth();
        let sent = tagged(&[(DOT1AD, 100), (DOT1Q, 42)], 60);
        for version in [PKTRING_V2, PKTRING_V3] {
            let handle = Opened::active("vb", version, ring(0, 0, 0));
            let mut held = receive(&handle, &sender, &sent, DOT1Q);
            assert_eq!((held.frame.vlan_tci, held.frame.vlan_tpid), (100, DOT1AD));
            assert_eq!(held.data(), tagged(&[(DOT1Q, 42)], 60));
            assert_eq!(reinsert(&handle, &mut held.frame), 1);
            assert_eq!(held.data(), sent);
        }
    });
}

#[test]
fn frames_without_a_tag_and_those_that_keep_it_stay_as_they_are() {
    isolated(|| {
        let sender = veth();
        let plain = numbered(1, 60);
        let handle = Opened::active("vb", PKTRING_V3, ring(0, 0, 0));
        let mut held = receive(&handle, &sender, &plain, EXPERIMENT);
        assert_eq!(reinsert(&handle, &mut held.frame), 0);
        assert_eq!(held.data(), plain);
        // On the way out the tag is still in the frame.
        let sent = tagged(&[(DOT1Q, 42)], 60);
        let outgoing = Opened::active("va", PKTRING_V2, ring(0, 0, 0));
        let mut held = receive(&outgoing, &sender, &sent, DOT1Q);
        assert_eq!(reinsert(&outgoing, &mut held.frame), 0);
        assert_eq!(held.data(), sent);
    });
}

#[test]
fn v1_rings_and_cooked_frames_say_that_they_have_no_tag() {
    isolated(|| {
        let sender = veth();
        let handle = Opened::active("vb", PKTRING_V1, ring(0, 0, 0));
        let sent = tagged(&[(DOT1Q, 42)], 60);
        let mut held = receive(&handle, &sender, &sent, EXPERIMENT);
        let code = reinsert(&handle, &mut held.frame);
        handle.must_fail(code, libc::EOPNOTSUPP, "V1 rings lose");
        assert_eq!(held.data(), numbered(7, 60), "the tag is lost");

        let handle = Opened::new("vb", PKTRING_V2);
        // SAFETY: the handle is open.
        handle.must(unsafe { pktring_set_mode(handle.0, PKTRING_DGRAM) });
        handle.activate();
        sender.send(&sent).unwrap();
        let mut held = loop {
            let held = handle.next(LIMIT).unwrap();
            if held.address().protocol == EXPERIMENT.to_be() {
                break held;
            }
        };
        assert_eq!(held.frame.vlan_tci, 42);
        let code = reinsert(&handle, &mut held.frame);
        handle.must_fail(code, libc::EOPNOTSUPP, "PKTRING_DGRAM");
    });
}

#[test]
fn frames_that_are_not_held_are_left_alone() {
    isolated(|| {
        let sender = veth();
        for version in [PKTRING_V2, PKTRING_V3] {
            let handle = Opened::active("vb", version, ring(0, 0, 0));
            let other = Opened::active("vb", version, ring(0, 0, 0));
            let sent = tagged(&[(DOT1Q, 42)], 60);
            let mut foreign = receive(&handle, &sender, &sent, EXPERIMENT).frame;
            let code = reinsert(&handle, &mut foreign);
            handle.must_fail(code, libc::EINVAL, "not held");
            let mut held = other.typed(EXPERIMENT);
            let code = reinsert(&other, &mut foreign);
            other.must_fail(code, libc::EINVAL, "not held");
            // A number that is held, with an address that leads elsewhere.
            for addr in [std::ptr::null(), 8 as *const _, usize::MAX as *const _] {
                let mut frame = Frame { addr, ..held.frame };
                let code = reinsert(&other, &mut frame);
                other.must_fail(code, libc::EINVAL, "not held");
            }
            assert_eq!(reinsert(&other, &mut held.frame), 1);
        }
    });
}

#[test]
fn frames_of_whole_blocks_get_their_tag_back_too() {
    isolated(|| {
        let sender = veth();
        let handle = Opened::active("vb", PKTRING_V3, ring(0, 0, 0));
        let sent = tagged(&[(DOT1Q, 42)], 60);
        for _ in 0..3 {
            sender.send(&sent).unwrap();
        }
        let mut found = 0;
        // SAFETY: the handle is open; block and frames are written before they are read, and
        // looked at while the block is held.
        unsafe {
            while found < 3 {
                let mut block = MaybeUninit::<Block>::uninit();
                handle.must(pktring_wait(handle.0, PKTRING_RX, LIMIT.as_millis() as i32));
                if handle.must(pktring_next_block(handle.0, block.as_mut_ptr())) == 0 {
                    continue;
                }
                // Twice, since the second walk must see what the first one changed.
                for round in 0..2 {
                    let mut iter = MaybeUninit::uninit();
                    pktring_iter_init(iter.as_mut_ptr(), block.as_ptr());
                    let mut frame = MaybeUninit::<Frame>::uninit();
                    while pktring_iter_next(iter.as_mut_ptr(), frame.as_mut_ptr()) == 1 {
                        let frame = frame.assume_init_mut();
                        let done = reinsert(&handle, frame);
                        let data = std::slice::from_raw_parts(frame.data, frame.caplen as usize);
                        if data == sent {
                            assert_eq!(done, 1 - round, "{}", handle.error());
                            found += done;
                        }
                    }
                }
                handle.must(pktring_release_block(handle.0, block.as_ptr()));
            }
        }
        assert_eq!(found, 3);
    });
}
