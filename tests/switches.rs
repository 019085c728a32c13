//! Options of the packet socket, each seen by its effect or asked of the kernel.

mod handle;

use handle::{numbered, ring, Opened, LIMIT, QUIET};
use netns::{isolated, link, PlainSocket};
use pktring::capi::geometry::*;
use pktring::capi::{config::*, fanout::*, inspect::*, interface::*, option::*, timestamp::*};
use pktring::capi::{tuning::*, tx::*, wait::*};
use std::mem::{size_of, MaybeUninit};

const VERSIONS: [u32; 3] = [PKTRING_V1, PKTRING_V2, PKTRING_V3];

fn veth() -> PlainSocket {
    link::veth("va", "vb").unwrap();
    PlainSocket::sender("va").unwrap()
}

/// Where a frame starts in its slot, for each version, without any option.
fn start(handle: &Opened, sender: &PlainSocket) -> usize {
    sender.send(&numbered(1, 100)).unwrap();
    let held = handle.own();
    held.frame.data as usize - held.frame.addr as usize
}

#[test]
fn reserve_moves_frames_by_exactly_that_much_and_the_headroom_is_writable() {
    isolated(|| {
        let sender = veth();
        for version in VERSIONS {
            let plain = start(&Opened::active("vb", version, ring(0, 0, 0)), &sender);
            for reserve in [16, 7, 1000] {
                let handle = Opened::new("vb", version);
                // SAFETY: the handle is open.
                handle.must(unsafe { pktring_set_reserve(handle.0, reserve) });
                handle.activate();
                assert_eq!(start(&handle, &sender), plain + reserve as usize);
                sender.send(&numbered(2, 1514)).unwrap();
                let held = handle.own();
                assert_eq!(held.data(), numbered(2, 1514), "not cut");
                let room = reserve as usize + 14;
                // SAFETY: the bytes in front of the frame, promised to be the program's.
                unsafe {
                    (held.frame.data as *mut u8)
                        .sub(room)
                        .write_bytes(0xaa, room)
                };
                assert_eq!(held.data(), numbered(2, 1514));
                assert_eq!(held.address().family, libc::AF_PACKET as u16);
            }
        }
    });
}

#[test]
fn the_largest_reserve_still_receives_and_more_is_refused() {
    isolated(|| {
        let sender = veth();
        for version in VERSIONS {
            let handle = Opened::new("vb", version);
            // SAFETY: the handle is open.
            unsafe {
                let refused = pktring_set_reserve(handle.0, 65_409);
                handle.must_fail(refused, libc::EINVAL, "65408");
                handle.must(pktring_set_reserve(handle.0, 65_408));
            }
            handle.activate();
            sender.send(&numbered(1, 100)).unwrap();
            assert_eq!(handle.own().number(), 1);
        }
    });
}

#[test]
fn ignore_outgoing_is_swapped_while_running() {
    isolated(|| {
        let sender = veth();
        let handle = Opened::active("va", PKTRING_V2, ring(0, 0, 0));
        let set = |on| {
            // SAFETY: the handle is open.
            handle.must(unsafe { pktring_set_ignore_outgoing(handle.0, on) });
            handle.option(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING)
        };
        sender.send(&numbered(1, 60)).unwrap();
        assert_eq!(set(1), 1);
        sender.send(&numbered(2, 60)).unwrap();
        assert_eq!(set(0), 0);
        sender.send(&numbered(3, 60)).unwrap();
        assert_eq!(handle.drain(), [1, 3]);
    });
}

#[test]
fn ignore_outgoing_holds_from_the_first_packet_when_set_before() {
    isolated(|| {
        let sender = veth();
        let there = PlainSocket::sender("vb").unwrap();
        let handle = Opened::new("va", PKTRING_V3);
        // SAFETY: the handle is open.
        handle.must(unsafe { pktring_set_ignore_outgoing(handle.0, 1) });
        handle.activate();
        sender.send(&numbered(1, 60)).unwrap();
        there.send(&numbered(2, 60)).unwrap();
        assert_eq!(handle.drain(), [2]);
    });
}

#[test]
fn the_original_device_is_the_lower_one_of_a_macvlan() {
    isolated(|| {
        let sender = veth();
        link::macvlan("vb", "mv").unwrap();
        let (lower, upper) = (link::index("vb").unwrap(), link::index("mv").unwrap());
        let mac = link::mac("mv").unwrap();
        let mut frame = numbered(1, 60);
        frame[..6].copy_from_slice(&mac);
        let handle = Opened::active("mv", PKTRING_V2, ring(0, 0, 0));
        let seen = |on| {
            // SAFETY: the handle is open.
            handle.must(unsafe { pktring_set_original_device(handle.0, on) });
            sender.send(&frame).unwrap();
            handle.own().address().ifindex as u32
        };
        assert_eq!([seen(0), seen(1), seen(0)], [upper, lower, upper]);
    });
}

#[test]
fn qdisc_bypass_takes_frames_past_the_queue() {
    isolated(|| {
        let there = {
            veth();
            PlainSocket::open("vb").unwrap()
        };
        // A queue that lets one frame out, and holds the next one for seconds.
        let closed = netns::Throttle {
            rate: 8,
            burst: 100,
            waiting: 100_000,
        };
        netns::throttle("va", closed).unwrap();
        let handle = Opened::active("va", PKTRING_V2, ring(0, 0, 0));
        let send = |number, on| {
            // SAFETY: the handle is open; a plain send on its socket, which has no transmit ring.
            unsafe {
                handle.must(pktring_set_qdisc_bypass(handle.0, on));
                let frame = numbered(number, 60);
                let fd = pktring_fd(handle.0);
                assert_eq!(libc::send(fd, frame.as_ptr().cast(), 60, 0), 60);
            }
            handle.option(libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS)
        };
        assert_eq!([send(1, 0), send(2, 0), send(3, 1)], [0, 0, 1]);
        for number in [1, 3] {
            let packet = there.recv(LIMIT).unwrap().expect("nothing came");
            assert_eq!(packet.data, numbered(number, 60));
        }
        assert!(there.recv(QUIET).unwrap().is_none(), "frame 2 waits");
    });
}

#[test]
fn the_kernels_own_retire_timeout_is_told() {
    isolated(|| {
        let sender = veth();
        let chosen = |block_size| {
            let handle = Opened::active(
                "vb",
                PKTRING_V3,
                pktring_ring {
                    retire_timeout_ms: PKTRING_RETIRE_KERNEL,
                    ..ring(block_size, 4, 2048)
                },
            );
            let known = read_back(&handle).retire_timeout_ms;
            assert_eq!(inspected(&handle).retire_timeout_ms, known);
            sender.send(&numbered(1, 60)).unwrap();
            assert_eq!(handle.own().number(), 1, "handed over in time");
            known
        };
        let (small, large) = (chosen(4096), chosen(4 << 20));
        assert!((1..=8).contains(&small), "{small} ms");
        assert!(
            large > small,
            "{large} ms for a block that takes longer to fill"
        );
    });
}

fn read_back(handle: &Opened) -> pktring_ring {
    let mut ring = pktring_ring {
        size: size_of::<pktring_ring>(),
        ..Default::default()
    };
    // SAFETY: the handle is open, the struct has its size.
    handle.must(unsafe { pktring_get_ring(handle.0, PKTRING_RX, &mut ring) });
    ring
}

fn inspected(handle: &Opened) -> pktring_ring {
    let mut ring = pktring_ring {
        size: size_of::<pktring_ring>(),
        ..Default::default()
    };
    // SAFETY: as above.
    handle.must(unsafe { pktring_inspect_ring(handle.0, PKTRING_RX, &mut ring) });
    ring
}

#[test]
fn the_kernel_has_exactly_the_ring_that_was_asked_for() {
    isolated(|| {
        veth();
        let asked = pktring_ring {
            retire_timeout_ms: 33,
            private_size: 40,
            features: PKTRING_RXHASH,
            ..ring(8192, 3, 4096)
        };
        let handle = Opened::active("vb", PKTRING_V3, asked);
        for ring in [read_back(&handle), inspected(&handle)] {
            assert_eq!((ring.block_size, ring.block_count), (8192, 3));
            assert_eq!((ring.frame_size, ring.frame_count), (4096, 6));
            assert_eq!((ring.retire_timeout_ms, ring.private_size), (33, 40));
            assert_eq!(ring.features, PKTRING_RXHASH);
        }
        let handle = Opened::active("vb", PKTRING_V1, ring(8192, 3, 4096));
        assert_eq!(inspected(&handle).frame_count, 6);
        // SAFETY: the handle is open; no struct is needed to be told that there is no ring.
        let none = unsafe { pktring_inspect_ring(handle.0, PKTRING_TX, std::ptr::null_mut()) };
        handle.must_fail(none, libc::EINVAL, "no transmit ring");
    });
}

#[test]
fn buffers_are_as_large_as_asked_or_refused() {
    isolated(|| {
        veth();
        for (direction, option) in [(PKTRING_RX, libc::SO_RCVBUF), (PKTRING_TX, libc::SO_SNDBUF)] {
            let handle = Opened::new("vb", PKTRING_V2);
            // SAFETY: the handle is open.
            unsafe {
                handle.must(pktring_set_buffer(handle.0, direction, 100_000));
                handle.activate();
                assert_eq!(handle.option(libc::SOL_SOCKET, option), 200_000);
                handle.must(pktring_set_buffer(handle.0, direction, 50_000));
                assert_eq!(pktring_get_buffer(handle.0, direction), 50_000);
                let none = pktring_set_buffer(handle.0, direction, 0);
                handle.must_fail(none, libc::EINVAL, "1073741823");
                let nowhere = pktring_set_buffer(handle.0, 3, 50_000);
                handle.must_fail(nowhere, libc::EINVAL, "direction");
                assert_eq!(pktring_get_buffer(handle.0, direction), 50_000);
            }
        }
    });
}

#[test]
fn busy_polling_and_hints_reach_the_socket() {
    isolated(|| {
        veth();
        let handle = Opened::new("vb", PKTRING_V2);
        // SAFETY: the handle is open.
        unsafe {
            handle.must_fail(
                pktring_set_busy_poll(handle.0, 50, 65_536, 0),
                libc::EINVAL,
                "65535",
            );
            handle.must(pktring_set_busy_poll(handle.0, 0, 0, 0));
            handle.must(pktring_set_incoming_cpu(handle.0, 1));
            handle.must_fail(
                pktring_set_incoming_cpu(handle.0, 1 << 31),
                libc::EINVAL,
                "2147483647",
            );
            handle.activate();
            assert_eq!(handle.option(libc::SOL_SOCKET, libc::SO_INCOMING_CPU), 1);
            assert_eq!(pktring_get_incoming_cpu(handle.0), 1);
            handle.must(pktring_set_incoming_cpu(handle.0, 0));
            assert_eq!(pktring_get_incoming_cpu(handle.0), 0);
            // A veth without NAPI has no queue to name.
            assert_eq!(pktring_get_napi_id(handle.0), -libc::EAGAIN);
            // More than the default is the administrator's to allow, of the whole host.
            match pktring_set_busy_poll(handle.0, 50, 16, 1) {
                0 => {
                    assert_eq!(handle.option(libc::SOL_SOCKET, libc::SO_BUSY_POLL), 50);
                    assert_eq!(
                        handle.option(libc::SOL_SOCKET, libc::SO_PREFER_BUSY_POLL),
                        1
                    );
                    handle.must(pktring_set_busy_poll(handle.0, 0, 0, 0));
                    assert_eq!(
                        handle.option(libc::SOL_SOCKET, libc::SO_PREFER_BUSY_POLL),
                        0
                    );
                }
                code => handle.must_fail(code, libc::EPERM, "CAP_NET_ADMIN"),
            }
            assert_eq!(handle.option(libc::SOL_SOCKET, libc::SO_BUSY_POLL), 0);
        }
    });
}

#[test]
fn a_wait_with_busy_polling_still_receives_and_times_out() {
    isolated(|| {
        let sender = veth();
        let handle = Opened::active("vb", PKTRING_V2, ring(0, 0, 0));
        // SAFETY: the handle is open. Refused to an ordinary user, and then without effect.
        unsafe { pktring_set_busy_poll(handle.0, 50, 0, 0) };
        assert!(handle.next(QUIET).is_none());
        sender.send(&numbered(1, 60)).unwrap();
        assert_eq!(handle.own().number(), 1);
    });
}

/// The file that tells, and is told, in how many microseconds processors have to be awake.
fn wake_latency() -> std::io::Result<i32> {
    let mut latency = [0; 4];
    let mut file = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/cpu_dma_latency")?;
    std::io::Read::read_exact(&mut file, &mut latency)?;
    Ok(i32::from_ne_bytes(latency))
}

#[test]
fn processors_have_to_be_awake_in_time_as_long_as_the_handle_is_active() {
    isolated(|| {
        veth();
        let asked = |microseconds| {
            let handle = Opened::new("vb", PKTRING_V2);
            // SAFETY: the handle is open.
            handle.must(unsafe { pktring_set_wake_latency(handle.0, microseconds) });
            handle
        };
        let before = match wake_latency() {
            Ok(latency) => latency,
            // An ordinary user, or a kernel without it.
            Err(error) => {
                let errno = match error.raw_os_error().unwrap() {
                    libc::EACCES => libc::EPERM,
                    errno => errno,
                };
                asked(123_456).refused(errno, "/dev/cpu_dma_latency");
                return asked(-1).activate();
            }
        };
        let one = asked(123_456);
        assert_eq!(wake_latency().unwrap(), before, "not active yet");
        one.activate();
        assert_eq!(wake_latency().unwrap(), before.min(123_456));
        let other = asked(12_345);
        other.activate();
        let idle = asked(-1);
        idle.activate();
        assert_eq!(wake_latency().unwrap(), before.min(12_345));
        drop(other);
        assert_eq!(wake_latency().unwrap(), before.min(123_456));
        drop(one);
        assert_eq!(wake_latency().unwrap(), before);
    });
}

#[test]
fn locked_rings_are_held_to_the_limit() {
    isolated(|| {
        let sender = veth();
        let handle = Opened::new("vb", PKTRING_V2);
        let both = PKTRING_MEMORY_LOCK | PKTRING_MEMORY_POPULATE;
        // SAFETY: the handle is open.
        unsafe {
            handle.must_fail(
                pktring_set_memory(handle.0, 4),
                libc::EINVAL,
                "unknown bits",
            );
            handle.must(pktring_set_memory(handle.0, both));
        }
        for limit in [0, 4096] {
            without_locking(limit, || handle.refused(libc::EAGAIN, "RLIMIT_MEMLOCK"));
        }
        // SAFETY: as above.
        handle.must(unsafe { pktring_set_memory(handle.0, PKTRING_MEMORY_POPULATE) });
        without_locking(0, || handle.activate());
        sender.send(&numbered(1, 60)).unwrap();
        assert_eq!(handle.own().number(), 1);
    });
}

/// Runs `body` with the right to lock so many bytes of memory only: that is the limit, and this thread does without the
/// capability that would lift it.
fn without_locking(bytes: u64, body: impl FnOnce()) {
    const CAP_IPC_LOCK: u32 = 14;
    const VERSION_3: u32 = 0x2008_0522;
    let mut header = [VERSION_3, 0];
    let mut sets = [[0u32; 3]; 2];
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: capget and capset take a header of two words and two sets of three; the limit is
    // a struct of its own.
    unsafe {
        let capabilities = |call, header: &mut [u32; 2], sets: &mut [[u32; 3]; 2]| {
            assert_eq!(
                libc::syscall(call, header.as_mut_ptr(), sets.as_mut_ptr()),
                0
            );
        };
        capabilities(libc::SYS_capget, &mut header, &mut sets);
        let before = sets;
        sets[0][0] &= !(1 << CAP_IPC_LOCK);
        capabilities(libc::SYS_capset, &mut header, &mut sets);
        assert_eq!(libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit), 0);
        let lower = libc::rlimit {
            rlim_cur: bytes as libc::rlim_t,
            ..limit
        };
        assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &lower), 0);
        body();
        assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit), 0);
        sets = before;
        capabilities(libc::SYS_capset, &mut header, &mut sets);
    }
}

#[test]
fn what_cannot_change_while_active_says_so_and_stays_as_it_is() {
    isolated(|| {
        let sender = veth();
        let handle = Opened::active("vb", PKTRING_V2, ring(0, 0, 0));
        let options = [
            libc::PACKET_VERSION,
            libc::PACKET_RESERVE,
            libc::PACKET_VNET_HDR,
            libc::PACKET_LOSS,
            libc::PACKET_TX_HAS_OFF,
        ];
        let kernels = || options.map(|option| handle.option(libc::SOL_PACKET, option));
        let (before, geometry) = (kernels(), read_back(&handle));
        let (h, larger, group) = (handle.0, ring(8192, 3, 4096), pktring_fanout::default());
        type Late<'a> = &'a dyn Fn() -> i32;
        // SAFETY: the handle is open; structs with their sizes, or NULL for the defaults.
        let late: [Late; 19] = unsafe {
            [
                &|| pktring_set_version(h, PKTRING_V3),
                &|| pktring_set_mode(h, PKTRING_DGRAM),
                &|| pktring_set_protocol(h, 0x0800),
                &|| pktring_set_profile(h, PKTRING_PROFILE_LATENCY),
                &|| pktring_set_tx_method(h, PKTRING_TX_METHOD_COPY),
                &|| pktring_set_snaplen(h, 60),
                &|| pktring_set_promisc(h, 1),
                &|| pktring_set_spin(h, 1),
                &|| pktring_set_ring(h, PKTRING_RX, &larger),
                &|| pktring_set_ring(h, PKTRING_TX, std::ptr::null()),
                &|| pktring_set_reserve(h, 16),
                &|| pktring_set_vnet_header(h, 10),
                &|| pktring_set_loss(h, 1),
                &|| pktring_set_tx_offset(h, 1),
                &|| pktring_set_memory(h, 0),
                &|| pktring_set_wake_latency(h, 1000),
                &|| pktring_set_netns(h, std::ptr::null()),
                &|| pktring_set_fanout(h, &group),
                &|| pktring_set_timestamp(h, PKTRING_TX, PKTRING_TIMESTAMP_SOFTWARE),
            ]
        };
        for set in late {
            handle.must_fail(set(), libc::EBUSY, "before pktring_activate");
        }
        assert_eq!(kernels(), before);
        let now = read_back(&handle);
        assert_eq!(
            (now.block_size, now.block_count, now.frame_size),
            (
                geometry.block_size,
                geometry.block_count,
                geometry.frame_size
            )
        );
        sender.send(&numbered(1, 1000)).unwrap();
        assert_eq!(handle.own().data(), numbered(1, 1000));
    });
}

#[test]
fn rings_are_shared_with_the_kernel() {
    isolated(|| {
        veth();
        for (version, method) in WAYS {
            let handle = Opened::new("va", version);
            let asked = pktring_ring {
                size: size_of::<pktring_ring>(),
                ..ring(1 << 16, 3, 4096)
            };
            // SAFETY: the handle is open, the structs have their sizes.
            let socket = unsafe {
                handle.must(pktring_set_tx_method(handle.0, method));
                for direction in [PKTRING_RX, PKTRING_TX] {
                    handle.must(pktring_set_ring(handle.0, direction, &asked));
                }
                handle.activate();
                let path = format!("/proc/self/fd/{}", pktring_fd(handle.0));
                std::fs::read_link(path).unwrap().display().to_string()
            };
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            let rings: Vec<_> = maps
                .lines()
                .filter(|line| line.ends_with(&socket))
                .collect();
            let [ring] = rings[..] else {
                panic!("{rings:?}")
            };
            let (range, flags) = ring.split_once(' ').unwrap();
            // Of a private one, the kernel would never see a release.
            assert!(flags.starts_with("rw-s "), "{ring}");
            let ends = range.split('-').map(|end| u64::from_str_radix(end, 16));
            let [start, end] = ends.collect::<Result<Vec<_>, _>>().unwrap()[..] else {
                panic!("{ring}")
            };
            let rings = if method == PKTRING_TX_METHOD_RING {
                2
            } else {
                1
            };
            assert_eq!(end - start, (rings * 3) << 16);
        }
    });
}

#[test]
fn options_that_do_not_fit_each_other_are_named() {
    isolated(|| {
        veth();
        // SAFETY: the handles are open.
        unsafe {
            let handle = Opened::new("vb", PKTRING_V2);
            handle.must_fail(pktring_set_vnet_header(handle.0, 11), libc::EINVAL, "12");
            handle.must(pktring_set_vnet_header(handle.0, 10));
            handle.must(pktring_set_mode(handle.0, PKTRING_DGRAM));
            handle.refused(libc::EINVAL, "PKTRING_RAW");
            handle.must(pktring_set_mode(handle.0, PKTRING_RAW));
            handle.activate();

            let handle = Opened::new("vb", PKTRING_V3);
            handle.must(pktring_set_copies(handle.0, 1));
            handle.refused(libc::EINVAL, "PKTRING_V2");
            handle.must(pktring_set_copies(handle.0, 0));
            handle.activate();
            handle.must_fail(pktring_set_copies(handle.0, 1), libc::EINVAL, "PKTRING_V2");
        }
    });
}

#[test]
fn any_interface_names_that_of_each_frame() {
    isolated(|| {
        veth();
        let handle = Opened::active("any", PKTRING_V3, ring(0, 0, 0));
        for (number, device) in [(1, "va"), (2, "vb")] {
            let sender = PlainSocket::sender(device).unwrap();
            sender.send(&numbered(number, 60)).unwrap();
        }
        let index = |name| link::index(name).unwrap() as i32;
        let (va, vb) = (index("va"), index("vb"));
        let seen: Vec<_> = (0..4)
            .map(|_| {
                let held = handle.own();
                let address = held.address();
                (held.number(), address.ifindex, address.pkttype)
            })
            .collect();
        // Each as it leaves and as it arrives.
        assert_eq!(seen, [(1, va, 4), (1, vb, 1), (2, vb, 4), (2, va, 1)]);
    });
}

/// Every version, by each way of transmitting.
const WAYS: [(u32, u32); 6] = [
    (PKTRING_V1, PKTRING_TX_METHOD_RING),
    (PKTRING_V2, PKTRING_TX_METHOD_RING),
    (PKTRING_V3, PKTRING_TX_METHOD_RING),
    (PKTRING_V1, PKTRING_TX_METHOD_COPY),
    (PKTRING_V2, PKTRING_TX_METHOD_COPY),
    (PKTRING_V3, PKTRING_TX_METHOD_COPY),
];

/// A handle on `va` with a transmit ring.
fn transmitter(version: u32, prepare: impl FnOnce(&Opened)) -> Opened {
    let handle = Opened::new("va", version);
    prepare(&handle);
    let ring = pktring_ring {
        size: size_of::<pktring_ring>(),
        ..ring(1 << 16, 1, 4096)
    };
    // SAFETY: the handle is open, the struct has its size.
    handle.must(unsafe { pktring_set_ring(handle.0, PKTRING_TX, &ring) });
    handle.activate();
    handle
}

/// Reserves a slot, writes `frame` at `offset` and commits it.
fn commit(handle: &Opened, frame: &[u8], offset: u32) -> i32 {
    let mut slot = MaybeUninit::<pktring_slot>::uninit();
    // SAFETY: the handle is open; the slot is written before it is read, and has room for this.
    unsafe {
        assert_eq!(pktring_tx_reserve(handle.0, slot.as_mut_ptr()), 1);
        let slot = slot.assume_init_mut();
        let at = slot.data.add(offset as usize);
        at.copy_from(frame.as_ptr(), frame.len());
        slot.offset = offset;
        let code = pktring_tx_commit(handle.0, slot, frame.len() as u32);
        if code < 0 {
            assert_eq!(pktring_tx_abort(handle.0, slot), 0);
        }
        code
    }
}

fn flush(handle: &Opened) {
    // SAFETY: the handle is open.
    let left = unsafe { pktring_tx_flush(handle.0, 1000) };
    assert_eq!(left, 0, "{}", handle.error());
}

#[test]
fn frames_start_anywhere_in_their_slot() {
    isolated(|| {
        veth();
        let there = PlainSocket::open("vb").unwrap();
        for (version, method) in WAYS {
            // SAFETY: the handle is open.
            let on = |handle: &Opened| unsafe {
                handle.must(pktring_set_tx_offset(handle.0, 1));
                handle.must(pktring_set_tx_method(handle.0, method));
            };
            let handle = transmitter(version, on);
            let option = handle.option(libc::SOL_PACKET, libc::PACKET_TX_HAS_OFF);
            assert_eq!(option, 1);
            let room = 4096 - if version == PKTRING_V3 { 48 } else { 32 };
            let offsets = [0, 1, 13, 2000, room - 1000];
            for (number, offset) in offsets.iter().enumerate() {
                handle.must(commit(&handle, &numbered(number as u32, 1000), *offset));
            }
            let outside = commit(&handle, &numbered(9, 900), room - 899);
            handle.must_fail(outside, libc::EMSGSIZE, "899");
            flush(&handle);
            for number in 0..offsets.len() as u32 {
                let packet = there.recv(LIMIT).unwrap().expect("nothing came");
                assert_eq!(packet.data, numbered(number, 1000));
            }
            let without = transmitter(version, |_| ());
            let refused = commit(&without, &numbered(1, 100), 16);
            without.must_fail(refused, libc::EINVAL, "slot.offset 16");
        }
    });
}

#[test]
fn with_loss_malformed_frames_are_skipped_and_without_they_are_told() {
    isolated(|| {
        veth();
        let there = PlainSocket::open("vb").unwrap();
        let copy = PKTRING_TX_METHOD_COPY;
        for (on, refused, method) in [(0, 1, 0), (1, 0, 0), (0, 1, copy), (1, 0, copy)] {
            link::set_mtu("va", 1500).unwrap();
            let handle = transmitter(PKTRING_V2, |handle| {
                // SAFETY: the handle is open.
                handle.must(unsafe { pktring_set_loss(handle.0, on) });
                // SAFETY: as above.
                handle.must(unsafe { pktring_set_tx_method(handle.0, method) });
            });
            let option = handle.option(libc::SOL_PACKET, libc::PACKET_LOSS);
            assert_eq!(option, on);
            for (number, length) in [(1, 100), (2, 1400), (3, 100)] {
                handle.must(commit(&handle, &numbered(number, length), 0));
            }
            // Frame 2 has become too long for the kernel.
            link::set_mtu("va", 1000).unwrap();
            flush(&handle);
            for number in [1, 3] {
                let packet = there.recv(LIMIT).unwrap().expect("nothing came");
                assert_eq!(packet.data, numbered(number, 100));
            }
            assert!(there.recv(QUIET).unwrap().is_none());
            let stats = handle.stats();
            assert_eq!((stats.tx_refused, stats.tx_frames), (refused, 3 - refused));
        }
    });
}

#[test]
fn a_ring_that_was_asked_for_is_the_kernels_and_memory_to_copy_from_is_not() {
    isolated(|| {
        veth();
        for (version, method) in WAYS {
            let handle = transmitter(version, |handle| {
                // SAFETY: the handle is open.
                handle.must(unsafe { pktring_set_tx_method(handle.0, method) });
            });
            let mut found = pktring_ring {
                size: size_of::<pktring_ring>(),
                ..ring(0, 0, 0)
            };
            // SAFETY: the handle is open, the struct has its size.
            let code = unsafe { pktring_inspect_ring(handle.0, PKTRING_TX, &mut found) };
            match method {
                PKTRING_TX_METHOD_RING => {
                    handle.must(code);
                    assert_eq!((found.block_size, found.frame_size), (1 << 16, 4096));
                }
                _ => handle.must_fail(code, libc::EINVAL, "no transmit ring"),
            }
            // SAFETY: as above.
            handle.must(unsafe { pktring_get_ring(handle.0, PKTRING_TX, &mut found) });
            assert_eq!((found.block_size, found.frame_count), (1 << 16, 16));
        }
        let plain = Opened::new("va", PKTRING_V3);
        // SAFETY: the handle is open.
        let unknown = unsafe { pktring_set_tx_method(plain.0, 2) };
        plain.must_fail(unknown, libc::EINVAL, "method 2");
        plain.activate();
        // SAFETY: the handle is open.
        let late = unsafe { pktring_set_tx_method(plain.0, PKTRING_TX_METHOD_COPY) };
        plain.must_fail(late, libc::EBUSY, "active");
    });
}
