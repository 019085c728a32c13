//! Transmitting through the ring over real interfaces, to peers that are not pktring.

use netns::{isolated, link, throttle, unthrottle, PlainSocket, Tap, Throttle};
use pktring::activate::{activate, first_number, Active};
use pktring::config::Config;
use pktring::error::Error;
use pktring::ring::geometry::{Direction, Mode, Ring, Version};
use pktring::sys::call::link_address;
use pktring::tx::{inject, Completion, Counts, Limits, Outlet, Slot, Transmitter};
use pktring::wait::Interrupt;
use std::time::{Duration, Instant};

const VERSIONS: [Version; 3] = [Version::V1, Version::V2, Version::V3];

/// EtherType for local experiments: nobody else's traffic has it.
const EXPERIMENT: u16 = 0x88b5;

const SECOND: Duration = Duration::from_secs(1);

/// A handle that transmits.
struct Sender {
    active: Active,
    tx: Transmitter,
    interrupt: Interrupt,
    to: Option<libc::sockaddr_ll>,
}

impl Sender {
    fn new(device: &str, version: Version) -> Sender {
        Sender::with(device, version, Mode::Raw, Ring::default())
    }

    fn with(device: &str, version: Version, mode: Mode, ring: Ring) -> Sender {
        let mut config = Config::new(Some(device)).unwrap();
        config.version = version;
        config.mode = mode;
        config.set_ring(Direction::Tx, ring).unwrap();
        let interrupt = Interrupt::new().unwrap();
        let active = activate(&config, &interrupt).unwrap();
        let ifindex = active.session.link.ifindex;
        let ethernet = mode == Mode::Raw;
        let tx = Transmitter::new(
            active.tx.clone().unwrap(),
            &pktring::tx::Config {
                version,
                mode,
                ring: active.session.rings.tx.unwrap(),
                placed: false,
                limits: Limits {
                    header: if ethernet { 14 } else { 0 },
                    mtu: active.session.mtu.unwrap(),
                    vlan: ethernet,
                    vnet_header: 0,
                },
                base: first_number(),
            },
        )
        .unwrap();
        let to =
            (mode == Mode::Dgram).then(|| link_address(EXPERIMENT.to_be(), ifindex, &[0xff; 6]));
        Sender {
            active,
            tx,
            interrupt,
            to,
        }
    }

    fn outlet<R>(&mut self, body: impl FnOnce(&mut Transmitter, &mut Outlet) -> R) -> R {
        let session = &self.active.session;
        let mut outlet = Outlet {
            socket: &session.socket,
            destination: self.to.as_ref(),
            ifindex: session.link.ifindex,
            sleep: session.tx_sleeper.as_ref().map(|s| (s, &self.interrupt)),
        };
        body(&mut self.tx, &mut outlet)
    }

    fn reserve(&mut self) -> Option<Slot> {
        self.tx.reserve()
    }

    fn commit(&mut self, slot: &Slot, length: u32, user_data: u64) -> Result<(), Error> {
        self.outlet(|tx, kernel| tx.commit(kernel, slot.reference, length, 0, user_data))
    }

    /// Reserves, writes and commits, flushing when the ring is full.
    fn put(&mut self, frame: &[u8], user_data: u64) {
        let slot = loop {
            if let Some(slot) = self.reserve() {
                break slot;
            }
            self.flush(1000).unwrap();
        };
        write(&slot, frame);
        self.commit(&slot, frame.len() as u32, user_data).unwrap();
    }

    fn flush(&mut self, timeout_ms: i32) -> Result<u64, Error> {
        self.outlet(|tx, kernel| tx.flush(kernel, timeout_ms))
    }

    /// (user_data, error) of the frames that are done.
    fn completions(&mut self) -> Vec<(u64, i32)> {
        let mut out = [Completion::default(); 64];
        let n = self.tx.complete(&mut out);
        out[..n].iter().map(|c| (c.user_data, c.error)).collect()
    }

    fn counts(&self) -> Counts {
        self.tx.counters().read()
    }
}

/// Writes a frame into a reserved slot.
fn write(slot: &Slot, frame: &[u8]) {
    assert!(frame.len() <= slot.capacity as usize);
    // SAFETY: the slot is reserved and has room for the frame.
    unsafe { std::ptr::copy_nonoverlapping(frame.as_ptr(), slot.data.as_ptr(), frame.len()) };
}

/// An Ethernet frame of `length` bytes that holds its number and a pattern of its own.
fn frame(number: u64, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length as u64)
        .map(|i| (number.wrapping_mul(31) + i * 7) as u8)
        .collect();
    bytes[..12].fill(0xff);
    bytes[6] = 2;
    bytes[12..14].copy_from_slice(&EXPERIMENT.to_be_bytes());
    let room = (length - 14).min(8);
    bytes[14..14 + room].copy_from_slice(&number.to_le_bytes()[..room]);
    bytes
}

/// The next frame of the experiment at `peer`.
fn next(peer: &PlainSocket, timeout: Duration) -> Option<netns::Packet> {
    let end = Instant::now() + timeout;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let packet = peer.recv(left).unwrap()?;
        let tagged = packet.vlan.is_some();
        if packet.protocol == EXPERIMENT || tagged {
            return Some(packet);
        }
    }
}

/// Takes exactly `expected` from `peer`, and sees that nothing follows.
fn receives(peer: &PlainSocket, expected: &[Vec<u8>]) {
    for (i, expected) in expected.iter().enumerate() {
        let packet = next(peer, SECOND).unwrap_or_else(|| panic!("frame {i} is missing"));
        assert!(packet.data == *expected, "frame {i} is wrong");
    }
    let more = next(peer, Duration::from_millis(20));
    assert_eq!(more, None, "too much");
}

fn sent(range: std::ops::Range<u64>) -> Vec<(u64, i32)> {
    range.map(|n| (n, 0)).collect()
}

#[test]
fn lengths_the_kernel_would_refuse_are_refused_before_it_sees_them() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let peer = PlainSocket::open("vb").unwrap();
        let plain = PlainSocket::sender("va").unwrap();
        for version in VERSIONS {
            let mut sender = Sender::new("va", version);
            let slot = sender.reserve().unwrap();
            write(&slot, &frame(1, 1518));
            for length in [
                0,
                1,
                13,
                1515,
                1518,
                1519,
                0x7fff_ffff,
                0x8000_0000,
                u32::MAX,
            ] {
                let error = sender.commit(&slot, length, 0).unwrap_err();
                assert!(
                    matches!(error, Error::FrameLength { .. }),
                    "{length}: {error}"
                );
            }
            // The tag of 802.1ad gets no room beyond the MTU; the kernel agrees.
            let mut tagged = frame(1, 1518);
            tagged[12..14].copy_from_slice(&[0x88, 0xa8]);
            write(&slot, &tagged);
            sender.commit(&slot, 1518, 0).unwrap_err();
            assert!(plain.send(&tagged).is_err());

            tagged[12..14].copy_from_slice(&[0x81, 0x00]);
            tagged[16..18].copy_from_slice(&EXPERIMENT.to_be_bytes());
            write(&slot, &tagged);
            sender.commit(&slot, 1518, 0).unwrap();
            sender.put(&frame(2, 14), 1);
            sender.put(&frame(3, 1514), 2);
            assert_eq!(sender.flush(1000).unwrap(), 0);
            assert_eq!(sender.completions(), sent(0..3));
            let packet = next(&peer, SECOND).unwrap();
            assert!(packet.vlan.is_some());
            assert_eq!(packet.data[12..], tagged[16..]);
            receives(&peer, &[frame(2, 14), frame(3, 1514)]);
        }
    });
}

#[test]
fn a_payload_has_0_to_mtu_bytes() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let peer = PlainSocket::open("vb").unwrap();
        for version in VERSIONS {
            let mut sender = Sender::with("va", version, Mode::Dgram, Ring::default());
            let slot = sender.reserve().unwrap();
            write(&slot, &[5; 1500]);
            assert!(sender.commit(&slot, 1501, 0).is_err());
            sender.commit(&slot, 1500, 0).unwrap();
            sender.put(&[], 1);
            assert_eq!(sender.flush(1000).unwrap(), 0);
            assert_eq!(sender.completions(), sent(0..2));
            let long = next(&peer, SECOND).unwrap().data;
            assert_eq!(
                (&long[..6], &long[12..14]),
                (&[0xff; 6][..], &EXPERIMENT.to_be_bytes()[..])
            );
            assert_eq!(long[14..], [5; 1500]);
            assert_eq!(next(&peer, SECOND).unwrap().data.len(), 14);
        }
    });
}

#[test]
fn frames_too_long_for_a_lowered_mtu_are_reported_and_the_others_sent() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let peer = PlainSocket::open("vb").unwrap();
        for version in VERSIONS {
            link::set_mtu("va", 1500).unwrap();
            let mut sender = Sender::new("va", version);
            let lengths = [1514, 100, 1514, 1514, 1014, 1015, 200];
            for (n, length) in (0..).zip(lengths) {
                sender.put(&frame(n, length), n);
            }
            link::set_mtu("va", 1000).unwrap();
            assert_eq!(sender.flush(1000).unwrap(), 0);
            let long = -libc::EMSGSIZE;
            let expected = [
                (0, long),
                (1, 0),
                (2, long),
                (3, long),
                (4, 0),
                (5, long),
                (6, 0),
            ];
            assert_eq!(sender.completions(), expected);
            receives(&peer, &[frame(1, 100), frame(4, 1014), frame(6, 200)]);
            let counts = sender.counts();
            assert_eq!((counts.frames, counts.bytes), (3, 1314));
            assert_eq!((counts.refused, counts.in_flight), (4, 0));
            // Raised again, it is noticed by the first frame that needs it.
            link::set_mtu("va", 1200).unwrap();
            sender.put(&frame(7, 1018), 7);
            let slot = sender.reserve().unwrap();
            write(&slot, &frame(8, slot.capacity as usize));
            sender.commit(&slot, 1200, 8).unwrap();
            assert_eq!(sender.flush(1000).unwrap(), 0);
            assert_eq!(sender.counts().frames, 5);
            while next(&peer, Duration::from_millis(20)).is_some() {}
        }
    });
}

#[test]
fn frames_leave_in_the_order_of_reservation_without_those_given_up() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let peer = PlainSocket::open("vb").unwrap();
        for version in VERSIONS {
            let mut sender = Sender::new("va", version);
            let slots: Vec<Slot> = (0..6).map(|_| sender.reserve().unwrap()).collect();
            for (n, slot) in (0..).zip(&slots) {
                write(slot, &frame(n, 100 + n as usize));
            }
            for n in [5, 3, 1] {
                sender.commit(&slots[n], 100 + n as u32, n as u64).unwrap();
            }
            assert_eq!(sender.flush(1000).unwrap(), 0);
            receives(&peer, &[]);
            sender.commit(&slots[0], 100, 0).unwrap();
            assert_eq!(sender.flush(1000).unwrap(), 0);
            receives(&peer, &[frame(0, 100), frame(1, 101)]);
            sender.tx.abort(slots[2].reference).unwrap();
            sender.tx.abort(slots[4].reference).unwrap();
            assert_eq!(sender.flush(1000).unwrap(), 0);
            receives(&peer, &[frame(3, 103), frame(5, 105)]);
            assert_eq!(sender.completions(), [(0, 0), (1, 0), (3, 0), (5, 0)]);
            for slot in &slots {
                let again = sender.commit(slot, 100, 0);
                assert!(matches!(again, Err(Error::NotHeld(_))));
                let again = sender.tx.abort(slot.reference);
                assert!(matches!(again, Err(Error::NotHeld(_))));
            }
        }
    });
}

#[test]
fn a_full_queue_is_waited_for_and_no_frame_lost() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let peer = PlainSocket::open("vb").unwrap();
        let slow = Throttle {
            rate: 20_000,
            burst: 1600,
            waiting: 3000,
        };
        throttle("va", slow).unwrap();
        let mut sender = Sender::new("va", Version::V2);
        let frames: Vec<_> = (0..12).map(|n| frame(n, 1000)).collect();
        for (n, frame) in (0..).zip(&frames) {
            sender.put(frame, n);
        }
        assert!(matches!(sender.flush(0), Err(Error::QueueFull)));
        assert_eq!(sender.counts().refused, 0);
        assert_eq!(sender.flush(5000).unwrap(), 0);
        assert_eq!(sender.completions(), sent(0..12));
        receives(&peer, &frames);
    });
}

#[test]
fn a_frame_that_no_queue_ever_takes_is_refused_and_the_ring_goes_on() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let peer = PlainSocket::open("vb").unwrap();
        // A frame longer than the burst is dropped at once.
        let small = Throttle {
            rate: 1_000_000,
            burst: 500,
            waiting: 30_000,
        };
        throttle("va", small).unwrap();
        let mut sender = Sender::new("va", Version::V3);
        for n in 0..6 {
            sender.put(&frame(n, if n == 2 || n == 3 { 1000 } else { 100 }), n);
        }
        let begin = Instant::now();
        assert_eq!(sender.flush(10_000).unwrap(), 0);
        assert!((1.0..2.5).contains(&begin.elapsed().as_secs_f64()));
        let rejected = -libc::ENOBUFS;
        assert_eq!(
            sender.completions(),
            [(0, 0), (1, 0), (2, rejected), (3, rejected), (4, 0), (5, 0)]
        );
        receives(&peer, &[0, 1, 4, 5].map(|n| frame(n, 100)));
    });
}

#[test]
fn a_frame_behind_a_remembered_link_failure_is_sent_exactly_once() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        for version in VERSIONS {
            let peer = PlainSocket::open("vb").unwrap();
            let mut sender = Sender::new("va", version);
            sender.put(&frame(0, 60), 0);
            assert_eq!(sender.flush(1000).unwrap(), 0);
            link::set_down("va").unwrap();
            link::set_up("va").unwrap();
            link::wait_up("va").unwrap();
            link::wait_up("vb").unwrap();
            sender.put(&frame(1, 60), 1);
            sender.put(&frame(2, 60), 2);
            assert_eq!(sender.flush(1000).unwrap(), 0);
            receives(&peer, &[frame(0, 60), frame(1, 60), frame(2, 60)]);

            link::set_down("va").unwrap();
            sender.put(&frame(3, 60), 3);
            assert!(matches!(sender.flush(1000), Err(Error::InterfaceDown)));
            assert_eq!(sender.counts().in_flight, 1);
            link::set_up("va").unwrap();
            link::wait_up("va").unwrap();
            link::wait_up("vb").unwrap();
            assert_eq!(sender.flush(1000).unwrap(), 0);
            receives(&peer, &[frame(3, 60)]);
            assert_eq!(sender.completions(), sent(0..4));
        }
    });
}

#[test]
fn the_end_of_the_interface_is_told_and_loses_no_account() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let mut sender = Sender::new("va", Version::V3);
        sender.put(&frame(0, 60), 0);
        assert_eq!(sender.flush(1000).unwrap(), 0);
        link::delete("va").unwrap();
        sender.put(&frame(1, 60), 1);
        for _ in 0..3 {
            let gone = sender.flush(-1);
            assert!(matches!(gone, Err(Error::InterfaceGone)), "{gone:?}");
        }
        let counts = sender.counts();
        assert_eq!((counts.frames, counts.in_flight), (1, 1));
    });
}

/// A bucket that lets out a frame of 1000 bytes every 100 ms.
const TEN_A_SECOND: Throttle = Throttle {
    rate: 10_000,
    burst: 1600,
    waiting: 200_000,
};

#[test]
fn waiting_for_frames_in_a_queue_ends_in_time_or_when_told_to() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let peer = PlainSocket::open("vb").unwrap();
        throttle("va", TEN_A_SECOND).unwrap();
        let mut sender = Sender::new("va", Version::V2);
        let frames: Vec<_> = (0..16).map(|n| frame(n, 1000)).collect();
        for (n, frame) in (0..).zip(&frames) {
            sender.put(frame, n);
        }
        let begin = Instant::now();
        assert!(sender.flush(0).unwrap() >= 14);
        assert!(begin.elapsed() < Duration::from_millis(50));
        let begin = Instant::now();
        let left = sender.flush(150).unwrap();
        assert!((1..16).contains(&left), "{left}");
        assert!((0.15..0.4).contains(&begin.elapsed().as_secs_f64()));

        sender.interrupt.breakloop();
        assert!(matches!(sender.flush(-1), Err(Error::Broken)));
        let interrupt = &sender.interrupt;
        let session = &sender.active.session;
        let mut outlet = Outlet {
            socket: &session.socket,
            destination: None,
            ifindex: session.link.ifindex,
            sleep: session.tx_sleeper.as_ref().map(|s| (s, interrupt)),
        };
        let tx = &mut sender.tx;
        std::thread::scope(|scope| {
            let begin = Instant::now();
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                interrupt.breakloop();
            });
            assert!(matches!(tx.flush(&mut outlet, -1), Err(Error::Broken)));
            assert!(begin.elapsed() < Duration::from_millis(500));
        });
        let begin = Instant::now();
        assert_eq!(sender.flush(-1).unwrap(), 0);
        assert!(begin.elapsed() > Duration::from_millis(100));
        assert_eq!(sender.completions(), sent(0..16));
        receives(&peer, &frames);
    });
}

#[test]
fn frames_left_in_a_queue_are_still_sent_after_close() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let peer = PlainSocket::open("vb").unwrap();
        throttle("va", TEN_A_SECOND).unwrap();
        let mut sender = Sender::new("va", Version::V1);
        let frames: Vec<_> = (0..5).map(|n| frame(n, 1000)).collect();
        for (n, frame) in (0..).zip(&frames) {
            sender.put(frame, n);
        }
        assert!(sender.flush(0).unwrap() >= 3);
        drop(sender);
        receives(&peer, &frames);
    });
}

#[test]
fn a_send_buffer_smaller_than_the_ring_is_waited_for() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let peer = PlainSocket::open("vb").unwrap();
        peer.set_receive_buffer(4 << 20).unwrap();
        let fast = Throttle {
            rate: 2_000_000,
            burst: 3000,
            waiting: 4_000_000,
        };
        throttle("va", fast).unwrap();
        let mut sender = Sender::new("va", Version::V3);
        let size: i32 = 20_000;
        sender
            .active
            .session
            .socket
            .set(libc::SOL_SOCKET, libc::SO_SNDBUF, &size)
            .unwrap();
        let frames: Vec<_> = (0..400).map(|n| frame(n, 1000)).collect();
        for (n, frame) in (0..).zip(&frames) {
            sender.put(frame, n);
        }
        // The buffer takes about 40 kB: frames wait in the ring, and none is lost.
        assert!(sender.flush(0).unwrap() > 300);
        assert_eq!(sender.flush(5000).unwrap(), 0);
        assert_eq!(sender.counts().frames, 400);
        assert_eq!(sender.counts().refused, 0);
        receives(&peer, &frames);
        unthrottle("va").unwrap();
    });
}

#[test]
fn a_tap_device_reads_what_was_sent_byte_for_byte() {
    isolated(|| {
        let tap = Tap::new("tap0").unwrap();
        for version in VERSIONS {
            let mut sender = Sender::new("tap0", version);
            for n in 0..2000 {
                let length = 60 + (n * 37 % 1455) as usize;
                sender.put(&frame(n, length), n);
                if n % 50 == 49 {
                    assert_eq!(sender.flush(1000).unwrap(), 0);
                    for n in n - 49..=n {
                        let expected = frame(n, 60 + (n * 37 % 1455) as usize);
                        let read = loop {
                            let read = tap.read(SECOND).unwrap().expect("a frame");
                            if read[12..14] == EXPERIMENT.to_be_bytes() {
                                break read;
                            }
                        };
                        assert!(read == expected, "{version:?} {n}");
                    }
                }
            }
            assert_eq!(sender.counts().frames, 2000);
        }
    });
}

/// Sends 100,000 frames of mixed lengths many times around a small ring.
fn many(version: Version, mode: Mode) {
    const TOTAL: u64 = 100_000;
    const BATCH: u64 = 50;
    link::veth("va", "vb").unwrap();
    let peer = PlainSocket::open("vb").unwrap();
    // Not a divisor of the block size: there is a gap at the end of each block.
    let ring = Ring {
        block_size: 16384,
        block_count: 7,
        frame_size: 1584,
        ..Ring::default()
    };
    let mut sender = Sender::with("va", version, mode, ring);
    let header = if mode == Mode::Raw { 0 } else { 14 };
    let length = |n: u64| 60 + (n * 97 % 1455) as usize;
    let mut bytes = 0;
    for n in 0..TOTAL {
        let frame = frame(n, length(n));
        sender.put(&frame[header..], n);
        bytes += (frame.len() - header) as u64;
        if n % BATCH == BATCH - 1 {
            assert_eq!(sender.flush(1000).unwrap(), 0);
            assert_eq!(sender.completions(), sent(n + 1 - BATCH..n + 1));
            receive_batch(&peer, n + 1 - BATCH..n + 1, length);
        }
    }
    let counts = sender.counts();
    assert_eq!((counts.frames, counts.bytes), (TOTAL, bytes));
    assert_eq!((counts.refused, counts.in_flight), (0, 0));
}

fn receive_batch(peer: &PlainSocket, range: std::ops::Range<u64>, length: impl Fn(u64) -> usize) {
    for n in range {
        let packet = next(peer, SECOND).unwrap_or_else(|| panic!("frame {n} is missing"));
        let expected = frame(n, length(n));
        assert!(packet.data[12..] == expected[12..], "frame {n} is wrong");
    }
}

#[test]
fn v1_frames_arrive_whole_and_in_order() {
    isolated(|| many(Version::V1, Mode::Raw));
}

#[test]
fn v2_frames_arrive_whole_and_in_order() {
    isolated(|| many(Version::V2, Mode::Raw));
}

#[test]
fn v3_frames_arrive_whole_and_in_order() {
    isolated(|| many(Version::V3, Mode::Raw));
}

#[test]
fn v1_payloads_arrive_whole_and_in_order() {
    isolated(|| many(Version::V1, Mode::Dgram));
}

#[test]
fn v2_payloads_arrive_whole_and_in_order() {
    isolated(|| many(Version::V2, Mode::Dgram));
}

#[test]
fn v3_payloads_arrive_whole_and_in_order() {
    isolated(|| many(Version::V3, Mode::Dgram));
}

#[test]
fn frames_are_injected_through_a_ring_and_without_one() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let peer = PlainSocket::open("vb").unwrap();
        let mut sender = Sender::new("va", Version::V3);
        for n in 0..3 {
            let bytes = frame(n, 60);
            let length = sender
                .outlet(|tx, kernel| tx.inject(kernel, &bytes))
                .unwrap();
            assert_eq!(length, 60);
        }
        receives(&peer, &[frame(0, 60), frame(1, 60), frame(2, 60)]);

        let config = Config::new(Some("va")).unwrap();
        let interrupt = Interrupt::new().unwrap();
        let active = activate(&config, &interrupt).unwrap();
        let socket = &active.session.socket;
        let limits = sender.tx.limits();
        link::set_down("va").unwrap();
        let down = inject::one(socket, None, &frame(9, 60), limits);
        assert!(matches!(down, Err(Error::InterfaceDown)), "{down:?}");
        link::set_up("va").unwrap();
        link::wait_up("va").unwrap();
        link::wait_up("vb").unwrap();
        link::set_down("va").unwrap();
        link::set_up("va").unwrap();
        link::wait_up("va").unwrap();
        link::wait_up("vb").unwrap();
        while next(&peer, Duration::from_millis(10)).is_some() {}
        assert_eq!(
            inject::one(socket, None, &frame(3, 61), limits).unwrap(),
            61
        );
        receives(&peer, &[frame(3, 61)]);
        for length in [0, 13, 1515] {
            let error = inject::one(socket, None, &vec![1; length], limits);
            assert!(matches!(error, Err(Error::FrameLength { .. })), "{error:?}");
        }
        let mut frames: Vec<_> = (0..150).map(|n| frame(n, 60 + n as usize)).collect();
        let batch = |frames: &[Vec<u8>]| {
            let parts: Vec<_> = frames
                .iter()
                .map(|frame| libc::iovec {
                    iov_base: frame.as_ptr() as *mut libc::c_void,
                    iov_len: frame.len(),
                })
                .collect();
            inject::batch(socket, None, &parts, limits)
        };
        assert_eq!(batch(&frames).unwrap(), 150);
        receives(&peer, &frames);
        frames[100].resize(1515, 0);
        assert_eq!(batch(&frames).unwrap(), 100);
        receives(&peer, &frames[..100]);
        assert!(matches!(
            batch(&frames[100..]),
            Err(Error::FrameLength { .. })
        ));
        assert_eq!(batch(&[]).unwrap(), 0);
    });
}
