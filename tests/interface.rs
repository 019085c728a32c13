//! Listing interfaces, and handles in other network namespaces.

mod handle;

use handle::{numbered, ring, Opened};
use netns::{isolated, link, Netns, PlainSocket};
use pktring::capi::geometry::*;
use pktring::capi::{inspect::*, interface::*, lifecycle::*, stats::*};
use pktring::interface::{Interface, IpAddress};
use std::ffi::{CStr, CString};
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::os::raw::c_char;

/// The interfaces of a namespace, as many as fit `max`, and the number that there are.
fn list(netns: Option<&str>, max: usize) -> (Vec<Interface>, i32) {
    let netns = netns.map(|path| CString::new(path).unwrap());
    let path = netns
        .as_ref()
        .map_or(std::ptr::null(), |path| path.as_ptr());
    let mut list = vec![Interface::default(); max];
    let array = match max {
        0 => std::ptr::null_mut(),
        _ => list.as_mut_ptr(),
    };
    let mut text: [c_char; 256] = [0; 256];
    // SAFETY: a string or NULL, an array of that length or NULL, a buffer of the right size.
    let count = unsafe { pktring_interfaces(path, array, max as u32, text.as_mut_ptr()) };
    // SAFETY: the text is a string, empty if nothing failed.
    assert!(count >= 0, "{:?}", unsafe { CStr::from_ptr(text.as_ptr()) });
    (list, count)
}

fn name(interface: &Interface) -> &str {
    let end = interface.name.iter().position(|&byte| byte == 0).unwrap();
    std::str::from_utf8(&interface.name[..end]).unwrap()
}

#[test]
fn interfaces_are_listed_with_what_is_needed_to_choose() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        link::set_mtu("va", 9000).unwrap();
        link::set_down("vb").unwrap();
        let (found, count) = list(None, 8);
        // Fallback tunnels may turn up in every namespace, depending on the kernel.
        assert!((3..=8).contains(&count), "{count}");
        let get = |wanted| {
            let mut all = found.iter().take(count as usize);
            *all.find(|interface| name(interface) == wanted).unwrap()
        };
        let (lo, va, vb) = (get("lo"), get("va"), get("vb"));
        assert_eq!(va.index as u32, link::index("va").unwrap());
        assert_eq!((va.mtu, vb.mtu), (9000, 1500));
        assert_eq!(va.addr[..6], link::mac("va").unwrap());
        assert_eq!(
            (va.halen, va.hatype, va.linktype),
            (6, libc::ARPHRD_ETHER, 1)
        );
        let up = |interface: Interface| interface.flags & PKTRING_INTERFACE_UP != 0;
        assert_eq!([up(lo), up(va), up(vb)], [true, true, false]);
        assert_ne!(lo.flags & PKTRING_INTERFACE_LOOPBACK, 0);
        assert_eq!(va.flags & PKTRING_INTERFACE_LOOPBACK, 0);
        // The other end is down: the line does not work, which the kernel notes within a second.
        let end = std::time::Instant::now() + handle::LIMIT;
        let running = || {
            let now = list(None, 8).0;
            let va = now.iter().find(|interface| name(interface) == "va");
            va.unwrap().flags & PKTRING_INTERFACE_RUNNING != 0
        };
        while running() {
            assert!(std::time::Instant::now() < end, "still running");
            std::thread::sleep(handle::QUIET);
        }
        assert_eq!(lo.linktype, 1);
    });
}

#[test]
fn a_short_array_is_filled_and_the_whole_number_told() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let (_, count) = list(None, 0);
        assert!(count >= 3);
        assert_eq!(name(&list(None, 1).0[0]), name(&list(None, 8).0[0]));
        assert_eq!(list(None, 1).1, count);
        // SAFETY: NULL with a length, which is refused.
        let refused = unsafe {
            pktring_interfaces(
                std::ptr::null(),
                std::ptr::null_mut(),
                1,
                std::ptr::null_mut(),
            )
        };
        assert_eq!(refused, -libc::EFAULT);
    });
}

#[test]
fn addresses_are_listed_by_interface() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let four: IpAddr = Ipv4Addr::new(192, 0, 2, 7).into();
        link::add_address("va", four, 24).unwrap();
        let list = |index: u32| {
            let mut list = [IpAddress::default(); 8];
            let errbuf = std::ptr::null_mut();
            // SAFETY: an array of that length; no namespace, no text.
            let count = unsafe {
                pktring_addresses(std::ptr::null(), index as i32, list.as_mut_ptr(), 8, errbuf)
            };
            assert!((0..=8).contains(&count), "{count}");
            list[..count as usize].to_vec()
        };
        let va = link::index("va").unwrap();
        let [address] = list(va)[..] else {
            panic!("{:?}", list(va))
        };
        assert_eq!((address.index as u32, address.prefix), (va, 24));
        assert_eq!(i32::from(address.family), libc::AF_INET);
        assert_eq!(address.addr[..4], [192, 0, 2, 7]);
        let loopback = list(0).iter().any(|address| {
            (address.addr[..4] == Ipv4Addr::LOCALHOST.octets() && address.family == 2)
                || (address.addr == Ipv6Addr::LOCALHOST.octets() && address.family == 10)
        });
        assert!(loopback, "{:?}", list(0));
        assert!(list(link::index("vb").unwrap()).is_empty());
    });
}

/// A veth pair with `va` here and `vb` in another namespace, where nobody is.
fn split() -> (PlainSocket, Netns) {
    let there = Netns::new().unwrap();
    link::add_veth("va", "vb").unwrap();
    link::move_to("vb", &there).unwrap();
    there.run(|| link::set_up("vb").unwrap());
    link::set_up("va").unwrap();
    there.run(|| link::wait_up("vb").unwrap());
    link::wait_up("va").unwrap();
    (PlainSocket::sender("va").unwrap(), there)
}

#[test]
fn a_handle_lives_in_the_namespace_it_was_given_by_path_or_descriptor() {
    isolated(|| {
        let (sender, there) = split();
        let fd = there.as_fd().as_raw_fd();
        let path = CString::new(format!("/proc/self/fd/{fd}")).unwrap();
        assert_eq!(list(Some(path.to_str().unwrap()), 8).1, list(None, 0).1);
        // By descriptor, by path, and by path with the interface chosen by name alone.
        for by_path in [false, true] {
            let handle = Opened::new("vb", PKTRING_V3);
            handle.refused(libc::ENODEV, "vb");
            // SAFETY: the handle is open.
            handle.must(unsafe {
                match by_path {
                    true => pktring_set_netns(handle.0, path.as_ptr()),
                    false => pktring_set_netns_fd(handle.0, fd),
                }
            });
            handle.receive(pktring_ring {
                retire_timeout_ms: PKTRING_RETIRE_KERNEL,
                ..ring(0, 0, 0)
            });
            handle.activate();
            sender.send(&numbered(1, 60)).unwrap();
            assert_eq!(handle.own().number(), 1);
            // The caller is where it was.
            assert!(link::index("vb").is_err());
            let mut ring = pktring_ring {
                size: size_of::<pktring_ring>(),
                ..Default::default()
            };
            // SAFETY: the handle is open, the struct has its size.
            handle.must(unsafe { pktring_inspect_ring(handle.0, PKTRING_RX, &mut ring) });
            assert!(ring.retire_timeout_ms < 1000, "{}", ring.retire_timeout_ms);
        }
    });
}

#[test]
fn what_is_no_network_namespace_is_refused() {
    isolated(|| {
        let handle = Opened::new("lo", PKTRING_V2);
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        // SAFETY: the handle is open, the strings are.
        unsafe {
            let nowhere = pktring_set_netns(handle.0, c"nowhere".as_ptr());
            handle.must_fail(nowhere, libc::ENOENT, "/run/netns/nowhere");
            handle.must_fail(pktring_set_netns_fd(handle.0, -2), libc::EINVAL, "-1");
            handle.must_fail(
                pktring_set_netns_fd(handle.0, 9999),
                libc::EBADF,
                "descriptor",
            );
            handle.must(pktring_set_netns_fd(handle.0, file.as_raw_fd()));
            handle.refused(libc::EINVAL, "network namespace");
            handle.must(pktring_set_netns(handle.0, c"/proc/self/ns/uts".as_ptr()));
            handle.refused(libc::EINVAL, "network namespace");
            handle.must(pktring_set_netns_fd(handle.0, -1));
            handle.activate();
            let late = pktring_set_netns(handle.0, std::ptr::null());
            handle.must_fail(late, libc::EBUSY, "before pktring_activate");
        }
    });
}

#[test]
fn link_types_are_libpcaps() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let handle = Opened::active("vb", PKTRING_V2, ring(0, 0, 0));
        // SAFETY: the handle is open.
        assert_eq!(unsafe { pktring_linktype(handle.0) }, 1);
        let raw = |hatype| pktring_hardware_linktype(hatype, PKTRING_RAW);
        assert_eq!(raw(libc::ARPHRD_ETHER), 1);
        assert_eq!(raw(libc::ARPHRD_NONE), 12);
        assert_eq!(raw(libc::ARPHRD_IEEE80211_RADIOTAP), 127);
        assert_eq!(raw(280), 227, "CAN");
        // Their frames lack the header that DLT_NETLINK begins with.
        assert_eq!(raw(824), -libc::EOPNOTSUPP, "netlink monitors");
        assert_eq!(raw(0x7777), -libc::EOPNOTSUPP);
        let cooked = pktring_hardware_linktype(libc::ARPHRD_ETHER, PKTRING_DGRAM);
        assert_eq!(cooked, 12);
        assert_eq!(pktring_hardware_linktype(1, 1), -libc::EINVAL);
        // SAFETY: NULL is closed without harm.
        assert_eq!(unsafe { pktring_close(std::ptr::null_mut()) }, 0);
    });
}
