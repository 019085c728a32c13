//! Memberships, seen from the interface that they are asked of.

mod options;

use netns::{isolated, link, PlainSocket};
use options::{frame_to, Ring, LIMIT, QUIET};
use pktring::capi::config::pktring_set_promisc;
use pktring::capi::membership::*;

const GROUP: [u8; 6] = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x07];
const OTHER_GROUP: [u8; 6] = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x08];
const STATION: [u8; 6] = [2, 0, 0, 0, 0, 7];

fn add(ring: &Ring, kind: u32, address: &[u8]) -> i32 {
    // SAFETY: an open handle, and an address with its length.
    unsafe { pktring_add_membership(ring.0, kind, address.as_ptr(), address.len() as u32) }
}

fn drop_one(ring: &Ring, kind: u32, address: &[u8]) -> i32 {
    // SAFETY: an open handle, and an address with its length.
    unsafe { pktring_drop_membership(ring.0, kind, address.as_ptr(), address.len() as u32) }
}

/// Whether the interface was asked for [`GROUP`].
fn has_group(device: &str) -> bool {
    let groups = link::multicast_addresses(device).unwrap();
    groups.iter().any(|group| group == "01005e000007")
}

#[test]
fn a_multicast_membership_lets_frames_to_its_group_in_and_no_others() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        link::macvlan("vb", "mv").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        let ring = Ring::active("mv");
        let send = |number| {
            sender.send(&frame_to(GROUP, number)).unwrap();
            sender.send(&frame_to(OTHER_GROUP, number)).unwrap();
        };
        send(1);
        assert_eq!(ring.next_own(QUIET), None, "before");
        ring.must(add(&ring, PKTRING_MEMBERSHIP_MULTICAST, &GROUP));
        send(2);
        let seen = ring.next_own(LIMIT).expect("a frame to the group");
        assert_eq!((&seen.data[..6], seen.number()), (&GROUP[..], 2));
        assert_eq!(ring.next_own(QUIET), None, "the other group");
        ring.must(drop_one(&ring, PKTRING_MEMBERSHIP_MULTICAST, &GROUP));
        // macvlan itself forgets a group only with the next change.
        ring.must(add(&ring, PKTRING_MEMBERSHIP_MULTICAST, &OTHER_GROUP));
        send(3);
        let seen = ring.next_own(LIMIT).expect("a frame to the other group");
        assert_eq!((&seen.data[..6], seen.number()), (&OTHER_GROUP[..], 3));
        assert_eq!(ring.next_own(QUIET), None, "the first group");
    });
}

#[test]
fn all_multicast_lets_every_group_in() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        link::macvlan("vb", "mv").unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        let ring = Ring::active("mv");
        ring.must(add(&ring, PKTRING_MEMBERSHIP_ALLMULTI, &[]));
        sender.send(&frame_to(GROUP, 1)).unwrap();
        sender.send(&frame_to(OTHER_GROUP, 2)).unwrap();
        assert_eq!(ring.numbers(2), [1, 2]);
        ring.must(drop_one(&ring, PKTRING_MEMBERSHIP_ALLMULTI, &[]));
        sender.send(&frame_to(GROUP, 3)).unwrap();
        assert_eq!(ring.next_own(QUIET), None);
    });
}

#[test]
fn memberships_are_counted_and_end_with_the_handle() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let ring = Ring::open("vb");
        // SAFETY: an open handle.
        ring.must(unsafe { pktring_set_promisc(ring.0, 1) });
        ring.must(add(&ring, PKTRING_MEMBERSHIP_PROMISC, &[]));
        ring.must(add(&ring, PKTRING_MEMBERSHIP_MULTICAST, &GROUP));
        assert_eq!(link::promiscuity("vb").unwrap(), 0, "not active yet");
        ring.activate();
        // The kernel counts the two of one socket as one towards the interface.
        assert_eq!(link::promiscuity("vb").unwrap(), 1);
        assert!(has_group("vb"));
        ring.must(drop_one(&ring, PKTRING_MEMBERSHIP_PROMISC, &[]));
        assert_eq!(link::promiscuity("vb").unwrap(), 1, "that of set_promisc");
        // veth has no filter for unicast addresses and lets everything in instead.
        let second = Ring::active("vb");
        second.must(add(&second, PKTRING_MEMBERSHIP_UNICAST, &STATION));
        assert_eq!(link::promiscuity("vb").unwrap(), 2);
        drop(ring);
        assert_eq!(link::promiscuity("vb").unwrap(), 1);
        assert!(!has_group("vb"));
        second.must(drop_one(&second, PKTRING_MEMBERSHIP_UNICAST, &STATION));
        assert_eq!(link::promiscuity("vb").unwrap(), 0);
    });
}

#[test]
fn what_makes_no_sense_is_refused_and_named() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let ring = Ring::active("vb");
        let invalid = libc::EINVAL;
        ring.must_fail(add(&ring, 4, &[]), invalid, "membership type 4");
        let promisc = PKTRING_MEMBERSHIP_PROMISC;
        ring.must_fail(add(&ring, promisc, &GROUP), invalid, "take no address");
        let multicast = PKTRING_MEMBERSHIP_MULTICAST;
        ring.must_fail(add(&ring, multicast, &[]), invalid, "0 bytes");
        ring.must_fail(add(&ring, multicast, &[0; 33]), invalid, "at most 32");
        ring.must_fail(add(&ring, multicast, &GROUP[..5]), invalid, "of 5 bytes");
        let dropped = drop_one(&ring, multicast, &GROUP);
        ring.must_fail(dropped, invalid, "no such membership");
        // SAFETY: NULL is what is tested.
        let null = unsafe { pktring_add_membership(ring.0, multicast, std::ptr::null(), 6) };
        ring.must_fail(null, libc::EFAULT, "address is NULL");

        let everywhere = Ring::open("any");
        everywhere.must(add(&everywhere, promisc, &[]));
        let (errno, text) = everywhere.refused();
        assert_eq!(errno, invalid, "{text}");
        assert!(text.contains("one interface"), "{text}");
    });
}
