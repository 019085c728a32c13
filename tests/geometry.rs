//! Which rings are accepted: the library's verdict beside the kernel's own, at every limit and
//! one beyond it, and the rings that the calculator proposes.

mod common;

use common::frames::{self, mixed};
use common::process::{available_memory, forked, packet_sockets};
use common::{data, ring, text, write, Failure, Pktring, LIMIT_MS, VERSIONS};
use netns::{isolated, link, PlainSocket};
use pktring::capi::config::{PKTRING_TX_METHOD_COPY, PKTRING_TX_METHOD_RING};
use pktring::capi::error::PKTRING_ERRBUF_SIZE;
use pktring::capi::geometry::*;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

const PAGE: u32 = 4096;
const BOTH: [u32; 2] = [PKTRING_RX, PKTRING_TX];

/// A ring and what it is for.
#[derive(Clone, Copy, Debug)]
struct Case {
    version: u32,
    direction: u32,
    reserve: u32,
    ring: pktring_ring,
}

/// What pktring_ring_check says.
fn check(case: &Case) -> Result<pktring_ring, Failure> {
    let (mut ring, mut errbuf) = (case.ring, [0; PKTRING_ERRBUF_SIZE]);
    // SAFETY: a struct with its size, a buffer of the documented size.
    let code = unsafe {
        pktring_ring_check(
            case.version,
            case.direction,
            case.reserve,
            &mut ring,
            errbuf.as_mut_ptr(),
        )
    };
    match code {
        0 => Ok(ring),
        code => Err(Failure {
            errno: -code,
            text: text(errbuf.as_ptr()),
        }),
    }
}

fn set_option<T>(socket: &OwnedFd, option: i32, value: &T) -> Result<(), i32> {
    // SAFETY: the kernel reads as many bytes of the value as it has.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const *value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    match set {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().raw_os_error().unwrap()),
    }
}

/// The kernel itself, asked without the library: one socket for many rings of a version, because
/// the kernel takes its time to close one.
struct Kernel {
    socket: OwnedFd,
    version: u32,
}

impl Kernel {
    fn new(version: u32) -> Kernel {
        // SAFETY: a call with numbers only; the descriptor is new and ours.
        let socket = unsafe {
            let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
            assert!(fd >= 0, "{}", std::io::Error::last_os_error());
            OwnedFd::from_raw_fd(fd)
        };
        set_option(&socket, libc::PACKET_VERSION, &version).unwrap();
        Kernel { socket, version }
    }

    /// What it says to a ring, which must have its frame count. Frees the ring again.
    fn ask(&self, case: &Case) -> Result<(), i32> {
        set_option(&self.socket, libc::PACKET_RESERVE, &case.reserve)?;
        let both = [
            (PKTRING_RX, libc::PACKET_RX_RING),
            (PKTRING_TX, libc::PACKET_TX_RING),
        ];
        let option = both[case.direction as usize - 1].1;
        self.set(option, &case.ring)?;
        self.set(option, &ring(0, 0, 0)).unwrap();
        Ok(())
    }

    fn set(&self, option: i32, ring: &pktring_ring) -> Result<(), i32> {
        if self.version == PKTRING_V3 {
            let request = libc::tpacket_req3 {
                tp_block_size: ring.block_size,
                tp_block_nr: ring.block_count,
                tp_frame_size: ring.frame_size,
                tp_frame_nr: ring.frame_count,
                tp_retire_blk_tov: ring.retire_timeout_ms,
                tp_sizeof_priv: ring.private_size,
                tp_feature_req_word: ring.features,
            };
            return set_option(&self.socket, option, &request);
        }
        let request = libc::tpacket_req {
            tp_block_size: ring.block_size,
            tp_block_nr: ring.block_count,
            tp_frame_size: ring.frame_size,
            tp_frame_nr: ring.frame_count,
        };
        set_option(&self.socket, option, &request)
    }

    /// Its verdict and the library's must be the same.
    fn compare(&self, mut case: Case) -> bool {
        case = with_count(case);
        let (ours, kernel) = (check(&case), self.ask(&case));
        assert_eq!(
            ours.is_ok(),
            kernel.is_ok(),
            "{case:?}: {ours:?}, kernel {kernel:?}"
        );
        if let Err(failure) = &ours {
            assert_eq!(failure.errno, libc::EINVAL, "{case:?}");
            assert_eq!(kernel, Err(libc::EINVAL), "{case:?}");
        }
        ours.is_ok()
    }
}

/// The frame count that goes with the other fields, which need not be valid.
fn with_count(mut case: Case) -> Case {
    let per_block = case.ring.block_size.checked_div(case.ring.frame_size);
    case.ring.frame_count = per_block.unwrap_or(1).wrapping_mul(case.ring.block_count);
    case
}

/// Rings that take gigabytes, one at a time.
fn large_rings() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Whether the machine can give away that much, with some to spare for whoever else is on it.
fn has_memory(bytes: u64) -> bool {
    const SPARE: u64 = 3 << 30;
    let available = available_memory();
    if available < bytes + SPARE {
        netns::skip(format!(
            "{available} bytes of memory are available; a ring of {bytes} and {SPARE} to spare \
             are needed"
        ));
        return false;
    }
    true
}

#[test]
fn the_library_accepts_exactly_what_the_kernel_accepts() {
    let blocks = [
        0,
        1,
        4095,
        4096,
        4097,
        4112,
        8192,
        12288,
        0x8000_0000,
        0xffff_f000,
    ];
    let sizes = [
        0,
        1,
        16,
        48,
        52,
        64,
        67,
        68,
        69,
        80,
        112,
        1024,
        1032,
        4080,
        4096,
        4112,
        8192,
        12288,
        0x8000_0000,
        0xffff_fff0,
    ];
    let reserves = [0, 12, 13, 3980, 3981, 4029, 0x7fff_ffff, 0x8000_0000];
    isolated(|| {
        let (mut accepted, mut refused) = (0, 0);
        for (version, _) in VERSIONS {
            let kernel = Kernel::new(version);
            for direction in BOTH {
                for (block_size, frame_size) in product(&blocks, &sizes) {
                    for reserve in reserves {
                        let ring = ring(block_size, 2, frame_size);
                        match kernel.compare(Case {
                            version,
                            direction,
                            reserve,
                            ring,
                        }) {
                            true => accepted += 1,
                            false => refused += 1,
                        }
                    }
                }
            }
        }
        println!("{accepted} rings accepted, {refused} refused, by both");
        assert!(
            accepted > 200 && refused > 3000,
            "{accepted} accepted, {refused} refused"
        );
    });
}

fn product<'a>(a: &'a [u32], b: &'a [u32]) -> impl Iterator<Item = (u32, u32)> + 'a {
    a.iter().flat_map(move |a| b.iter().map(move |b| (*a, *b)))
}

#[test]
fn the_fields_of_v3_are_judged_as_by_the_kernel() {
    let values = [
        0,
        1,
        8,
        9,
        3972,
        3973,
        3976,
        3977,
        3980,
        3981,
        4096,
        1 << 31,
        u32::MAX,
    ];
    let version = PKTRING_V3;
    isolated(|| {
        let kernel = Kernel::new(version);
        let mut accepted = 0;
        for direction in BOTH {
            for (value, reserve) in product(&values, &[0, 4, 100]) {
                let base = ring(PAGE, 2, 1024);
                for ring in [
                    pktring_ring {
                        private_size: value,
                        ..base
                    },
                    pktring_ring {
                        retire_timeout_ms: value,
                        ..base
                    },
                ] {
                    accepted += u32::from(kernel.compare(Case {
                        version,
                        direction,
                        reserve,
                        ring,
                    }));
                }
            }
        }
        assert!(accepted > 50, "{accepted}");
    });
}

#[test]
fn random_rings_are_judged_as_by_the_kernel() {
    isolated(|| {
        let mut accepted = 0;
        let kernels = [PKTRING_V1, PKTRING_V2, PKTRING_V3].map(Kernel::new);
        for seed in 0..1000u64 {
            let draw =
                |which: u64, below: u32| (mixed(seed * 16 + which) % u64::from(below)) as u32;
            let block_size = match draw(0, 3) {
                0 => draw(1, 64 << 10),
                _ => PAGE * (1 + draw(1, 24)),
            };
            let frame_size = match draw(2, 4) {
                0 => draw(3, 70_000),
                _ => 16 * draw(3, 1 + block_size / 12),
            };
            let version = draw(7, 3);
            let mut ring = ring(block_size, 1 + draw(6, 20), frame_size);
            if version == PKTRING_V3 && draw(4, 4) == 0 {
                ring.private_size = draw(5, block_size + 100);
            }
            let case = Case {
                version,
                direction: BOTH[draw(10, 2) as usize],
                reserve: [0, draw(8, 300), draw(8, 70_000)][draw(9, 3) as usize],
                ring,
            };
            accepted += u32::from(kernels[version as usize].compare(case));
        }
        println!("{accepted} of 1000 random rings accepted, by both");
        assert!(accepted > 100, "{accepted}");
    });
}

/// A limit, what lies just beyond it, and what the refusal must say.
struct Limit {
    at: pktring_ring,
    beyond: pktring_ring,
    says: &'static [&'static str],
}

fn limits(version: u32, direction: u32, reserve: u32) -> Vec<Limit> {
    let header = if version == PKTRING_V3 { 68 } else { 52 } + reserve;
    let least = (header + 15) / 16 * 16;
    let base = ring(PAGE, 4, 2048);
    let mut limits = vec![
        Limit {
            at: ring(PAGE, 4, 2048),
            beyond: ring(0, 4, 2048),
            says: &["block_size 0", "next valid size is 4096"],
        },
        Limit {
            at: ring(PAGE, 4, 2048),
            beyond: ring(PAGE + 1, 4, 2048),
            says: &["block_size 4097", "4096", "next valid size is 8192"],
        },
        Limit {
            at: ring(PAGE, 4, 2048),
            beyond: ring(PAGE - 1, 4, 2048),
            says: &["block_size 4095", "next valid size is 4096"],
        },
        Limit {
            at: ring(PAGE, 4, least),
            beyond: ring(PAGE, 4, least - 16),
            says: &["frame_size", "header and reserve", "next valid size is"],
        },
        Limit {
            at: ring(PAGE, 4, 1024),
            beyond: ring(PAGE, 4, 1025),
            says: &[
                "frame_size 1025",
                "multiple of 16",
                "next valid size is 1040",
            ],
        },
        Limit {
            at: ring(PAGE, 4, 1024),
            beyond: ring(PAGE, 4, 1023),
            says: &[
                "frame_size 1023",
                "multiple of 16",
                "next valid size is 1024",
            ],
        },
        Limit {
            at: ring(PAGE, 1, 2048),
            beyond: ring(PAGE, 0, 2048),
            says: &["block_count 0", "1 to"],
        },
        Limit {
            at: pktring_ring {
                frame_count: 8,
                ..base
            },
            beyond: pktring_ring {
                frame_count: 9,
                ..base
            },
            says: &["frame_count 9", "2 frames a block", "8"],
        },
        Limit {
            at: pktring_ring {
                frame_count: 8,
                ..base
            },
            beyond: pktring_ring {
                frame_count: 7,
                ..base
            },
            says: &["frame_count 7", "8"],
        },
    ];
    limits.push(Limit {
        at: ring(2 * PAGE, 4, 2 * PAGE),
        beyond: ring(2 * PAGE, 4, 2 * PAGE + 16),
        says: &["frame_size 8208", "block_size 8192"],
    });
    if (version, direction) == (PKTRING_V3, PKTRING_RX) {
        let most = (PAGE - 48 - header) / 8 * 8;
        limits.push(Limit {
            at: pktring_ring {
                private_size: most,
                ..base
            },
            beyond: pktring_ring {
                private_size: most + 1,
                ..base
            },
            says: &["private_size", "block_size 4096", "largest valid size is"],
        });
        limits.push(Limit {
            at: base,
            beyond: pktring_ring {
                private_size: u32::MAX,
                ..base
            },
            says: &["private_size 4294967295", "largest valid size is"],
        });
        limits.push(Limit {
            at: pktring_ring {
                features: PKTRING_RXHASH,
                ..base
            },
            beyond: pktring_ring {
                features: 2,
                ..base
            },
            says: &["features 0x2", "PKTRING_RXHASH"],
        });
    } else {
        for (field, beyond) in [
            (
                "retire_timeout_ms 1",
                pktring_ring {
                    retire_timeout_ms: 1,
                    ..base
                },
            ),
            (
                "private_size 1",
                pktring_ring {
                    private_size: 1,
                    ..base
                },
            ),
            (
                "features 0x1",
                pktring_ring {
                    features: 1,
                    ..base
                },
            ),
        ] {
            let field = field.split(' ').next().unwrap();
            let says: &'static [&'static str] = match field {
                "retire_timeout_ms" => &["retire_timeout_ms", "must be 0"],
                "private_size" => &["private_size", "must be 0"],
                _ => &["features", "must be 0"],
            };
            limits.push(Limit {
                at: base,
                beyond,
                says,
            });
        }
    }
    limits
}

#[test]
fn each_limit_is_accepted_and_one_beyond_it_is_refused_with_a_text_that_names_the_field() {
    isolated(|| {
        let mut tried = 0;
        for (version, _) in VERSIONS {
            let kernel = Kernel::new(version);
            for direction in BOTH {
                // 12 makes the least slot one that has no byte to spare, 13 the next one.
                for reserve in [0, 7, 12, 13] {
                    for limit in limits(version, direction, reserve) {
                        let case = |ring| Case {
                            version,
                            direction,
                            reserve,
                            ring,
                        };
                        let at = check(&case(limit.at)).unwrap();
                        assert_eq!(kernel.ask(&case(at)), Ok(()), "{at:?}");
                        let failure = check(&case(limit.beyond)).unwrap_err();
                        assert_eq!(failure.errno, libc::EINVAL);
                        for part in limit.says {
                            assert!(failure.text.contains(part), "{part}: {}", failure.text);
                        }
                        tried += 1;
                    }
                }
            }
        }
        println!("{tried} limits");
    });
}

#[test]
fn set_ring_refuses_with_the_same_texts_and_keeps_what_was_set_before() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        for (version, _) in VERSIONS {
            for direction in BOTH {
                let handle = Pktring::open("va").version(version);
                let good = ring(2 * PAGE, 4, 2048);
                handle.set_ring(direction, &good).unwrap();
                for limit in limits(version, direction, 0) {
                    // Zero is no limit here but asks for the default.
                    if limit.beyond.block_size == 0 || limit.beyond.block_count == 0 {
                        continue;
                    }
                    let ring = limit.beyond;
                    let case = Case {
                        version,
                        direction,
                        reserve: 0,
                        ring,
                    };
                    let failure = handle.set_ring(direction, &ring).unwrap_err();
                    assert_eq!(failure, check(&case).unwrap_err());
                }
                handle.try_activate().unwrap();
                let set = handle.get_ring(direction).unwrap();
                assert_eq!(
                    (set.block_size, set.block_count, set.frame_size),
                    (8192, 4, 2048)
                );
            }
        }
    });
}

#[test]
fn the_largest_block_and_the_largest_number_of_blocks_work_and_one_more_is_refused() {
    let _one = large_rings();
    if !has_memory(4 << 30) {
        return;
    }
    isolated(|| {
        let kernel = Kernel::new(PKTRING_V3);
        let largest = (1u32 << 31) - PAGE;
        let case = |ring| Case {
            version: PKTRING_V3,
            direction: PKTRING_RX,
            reserve: 0,
            ring,
        };
        assert!(kernel.compare(case(ring(largest, 1, 2048))));
        assert!(!kernel.compare(case(ring(1 << 31, 1, 2048))));
        let failure = check(&case(ring(1 << 31, 1, 2048))).unwrap_err();
        assert!(
            failure.text.contains("block_size 2147483648"),
            "{}",
            failure.text
        );
        assert!(failure.text.contains("2147479552"), "{}", failure.text);

        assert!(kernel.compare(case(ring(PAGE, 524_288, 2048))));
        // One more does not fit the kernel's table of blocks, for which it says ENOMEM.
        let many = with_count(case(ring(PAGE, 524_289, 2048)));
        assert_eq!(kernel.ask(&many), Err(libc::ENOMEM));
        let failure = check(&many).unwrap_err();
        assert_eq!(failure.errno, libc::EINVAL);
        assert!(
            failure.text.contains("block_count 524289"),
            "{}",
            failure.text
        );
        assert!(failure.text.contains("1 to 524288"), "{}", failure.text);
    });
}

#[test]
fn the_number_of_frames_must_fit_32_bits() {
    // 2^26 blocks would be needed with small ones; large ones get there within the limit.
    let (version, direction, reserve) = (PKTRING_V2, PKTRING_RX, 0);
    let case = |ring| Case {
        version,
        direction,
        reserve,
        ring,
    };
    // 2 GiB - 4 KiB of slots of 64 bytes are 2^25 - 64.
    let largest = (1u32 << 31) - PAGE;
    let set = check(&case(ring(largest, 128, 64))).unwrap();
    assert_eq!(u64::from(set.frame_count), 128 * u64::from(largest / 64));
    let failure = check(&case(ring(largest, 129, 64))).unwrap_err();
    assert_eq!(failure.errno, libc::EINVAL);
    assert!(failure.text.contains("block_count 129"), "{}", failure.text);
    assert!(failure.text.contains("4294967295"), "{}", failure.text);
    // 65537 times 65535 is the largest number exactly, 65536 times 65536 the next one.
    let set = check(&case(ring(65_537 * PAGE, 65_535, PAGE))).unwrap();
    assert_eq!(set.frame_count, u32::MAX);
    let failure = check(&case(ring(65_536 * PAGE, 65_536, PAGE))).unwrap_err();
    assert!(failure.text.contains("4294967296 frames"), "{failure:?}");
    isolated(|| {
        let kernel = Kernel::new(version);
        let mut beyond = with_count(case(ring(largest, 129, 64)));
        beyond.ring.frame_count = u32::MAX;
        // Refused before anything is allocated.
        assert_eq!(kernel.ask(&beyond), Err(libc::EINVAL));
        let beyond = with_count(case(ring(65_536 * PAGE, 65_536, PAGE)));
        assert_eq!(kernel.ask(&beyond), Err(libc::EINVAL));
    });
}

/// What pktring_ring_fit proposes.
fn fit(budget: &pktring_budget) -> Result<pktring_ring, Failure> {
    let (mut found, mut errbuf) = (ring(0, 0, 0), [0; PKTRING_ERRBUF_SIZE]);
    // SAFETY: structs with their sizes, a buffer of the documented size.
    match unsafe { pktring_ring_fit(budget, &mut found, errbuf.as_mut_ptr()) } {
        0 => Ok(found),
        code => Err(Failure {
            errno: -code,
            text: text(errbuf.as_ptr()),
        }),
    }
}

fn budget(memory: u64, version: u32, direction: u32, frame_length: u32) -> pktring_budget {
    pktring_budget {
        size: size_of::<pktring_budget>(),
        memory,
        version,
        direction,
        frame_length,
        ..Default::default()
    }
}

#[test]
fn a_fitted_ring_never_exceeds_its_budget_and_is_always_valid() {
    let mut fitted = 0;
    for seed in 0..20_000u64 {
        let draw = |which: u64| mixed(seed * 8 + which);
        // From one page to 64 GiB, every order of magnitude alike.
        let memory = draw(0) >> (28 + draw(1) % 36);
        let mut budget = budget(memory, (draw(2) % 3) as u32, 1 + (draw(3) % 2) as u32, 0);
        budget.frame_length = (draw(4) % 70_000) as u32 >> (draw(5) % 12);
        budget.reserve = [0, (draw(6) % 1000) as u32][(draw(7) % 2) as usize];
        match fit(&budget) {
            Ok(ring) => {
                fitted += 1;
                // SAFETY: a struct with its size.
                let bytes = unsafe { pktring_ring_bytes(&ring) };
                assert!(bytes <= memory, "{budget:?}: {ring:?}");
                let (version, direction, reserve) =
                    (budget.version, budget.direction, budget.reserve);
                let case = Case {
                    version,
                    direction,
                    reserve,
                    ring,
                };
                let checked = check(&case).unwrap();
                assert_eq!(checked.frame_count, ring.frame_count);
                let room = match (version, direction) {
                    (PKTRING_V3, PKTRING_RX) => ring.block_size - 48,
                    _ => ring.frame_size,
                };
                let before = if direction == PKTRING_RX { reserve } else { 0 };
                assert!(
                    room >= 32 + before + budget.frame_length,
                    "{budget:?}: {ring:?}"
                );
            }
            Err(failure) => {
                assert_eq!(failure.errno, libc::EINVAL);
                assert!(failure.text.contains("budget of"), "{}", failure.text);
                // Only a budget that does not hold a block of the least size is refused.
                let block = u64::from(budget.frame_length + budget.reserve + 256);
                let least = block.next_power_of_two().max(u64::from(PAGE));
                assert!(memory < least, "{budget:?}: {}", failure.text);
            }
        }
    }
    assert!(fitted > 10_000, "{fitted}");
}

#[test]
fn a_frame_of_the_planned_length_fits_a_fitted_ring_whole_and_one_more_byte_does_not() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        link::set_mtu("va", 9000).unwrap();
        link::set_mtu("vb", 9000).unwrap();
        let sender = PlainSocket::sender("va").unwrap();
        for (version, name) in VERSIONS {
            for length in [60, 64, 96, 128, 1000, 1514, 1518, 4000, 9014] {
                let ring = fit(&budget(1 << 20, version, PKTRING_RX, length)).unwrap();
                let handle = Pktring::capture("vb", version, &ring);
                let read_back = handle.get_ring(PKTRING_RX).unwrap();
                assert_eq!(read_back.frame_size, ring.frame_size);
                let sent = frames::frame_of_length(7, length as usize);
                sender.send(&sent).unwrap();
                let frame = handle.take_own();
                assert_eq!(data(&frame), sent, "{name} {length}");
                assert_eq!(frame.len, length);
                handle.release(&frame).unwrap();
                if version != PKTRING_V3 && length < 8000 {
                    // A slot may have up to 29 bytes to spare: it is rounded up to 16, and so is
                    // the place of the network header.
                    sender
                        .send(&frames::frame_of_length(8, length as usize + 32))
                        .unwrap();
                    let frame = handle.take_own();
                    assert!(frame.caplen < frame.len, "{name} {length}: {frame:?}");
                    assert_eq!(frame.len, length + 32);
                    let whole = frames::frame_of_length(8, length as usize + 32);
                    assert_eq!(data(&frame), &whole[..frame.caplen as usize]);
                    handle.release(&frame).unwrap();
                }
            }
        }
    });
}

#[test]
fn what_was_set_is_read_back_with_every_default_filled_in() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        for (version, name) in VERSIONS {
            let asked = ring(3 * PAGE, 5, 1536);
            let handle = Pktring::capture("vb", version, &asked);
            let set = handle.get_ring(PKTRING_RX).unwrap();
            let fields = (
                set.block_size,
                set.block_count,
                set.frame_size,
                set.frame_count,
            );
            assert_eq!(fields, (12288, 5, 1536, 40), "{name}");
            let failure = handle.get_ring(PKTRING_TX).unwrap_err();
            assert_eq!(failure.errno, libc::EINVAL);
            assert!(
                failure.text.contains("no transmit ring"),
                "{}",
                failure.text
            );

            let handle = Pktring::capture("vb", version, &ring(0, 0, 0));
            let set = handle.get_ring(PKTRING_RX).unwrap();
            assert!(
                set.block_size >= PAGE && set.block_count >= 16,
                "{name}: {set:?}"
            );
            assert_ne!(set.frame_count, 0, "{name}");
            assert_eq!(set.retire_timeout_ms != 0, version == PKTRING_V3, "{name}");
        }
    });
}

/// The defaults are planned with the profile's memory, or that of 512 slots, which is less than
/// one such block.
#[test]
fn a_block_larger_than_all_of_a_default_ring_is_accepted_with_the_rest_left_out() {
    for ((version, name), direction) in VERSIONS.iter().flat_map(|v| BOTH.map(|way| (v, way))) {
        for (block_size, block_count) in [(2 << 20, 0), (128 << 20, 0), (128 << 20, 2)] {
            let handle = Pktring::open("lo").version(*version);
            let wanted = ring(block_size, block_count, 0);
            let set = handle.set_ring(direction, &wanted);
            assert_eq!(set, Ok(0), "{name} {direction} {wanted:?}");
        }
    }
    isolated(|| {
        let handle = Pktring::open("lo")
            .version(PKTRING_V2)
            .ring(PKTRING_TX, &ring(64 << 20, 0, 0))
            .activate();
        let found = handle.get_ring(PKTRING_TX).unwrap();
        assert_eq!((found.block_size, found.block_count), (64 << 20, 1));
    });
}

#[test]
fn a_ring_is_judged_again_for_the_version_that_is_set_at_last() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        // 64 bytes hold the header of V2, not that of V3.
        let handle = Pktring::open("vb")
            .version(PKTRING_V2)
            .ring(PKTRING_RX, &ring(PAGE, 4, 64))
            .version(PKTRING_V3);
        let failure = handle.try_activate().unwrap_err();
        assert_eq!(failure.errno, libc::EINVAL);
        assert!(failure.text.contains("frame_size 64"), "{}", failure.text);
        assert_eq!(packet_sockets(), 0);
        let handle = handle.version(PKTRING_V2).activate();
        assert_eq!(handle.get_ring(PKTRING_RX).unwrap().frame_size, 64);
    });
}

/// A ring of more than 4 GiB: 17 blocks of 256 MiB, the last of which begins at 4 GiB.
const HUGE_BLOCK: u32 = 256 << 20;
const HUGE_BLOCKS: u32 = 17;

/// Goes round a huge ring several times, one frame a block, so that the far end is used.
fn laps_of_a_huge_ring(version: u32) {
    let _one = large_rings();
    let bytes = u64::from(HUGE_BLOCK) * u64::from(HUGE_BLOCKS);
    if !has_memory(bytes) {
        return;
    }
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let asked = match version {
            PKTRING_V3 => pktring_ring {
                retire_timeout_ms: 1,
                ..ring(HUGE_BLOCK, HUGE_BLOCKS, 2048)
            },
            // One slot a block.
            _ => ring(HUGE_BLOCK, HUGE_BLOCKS, HUGE_BLOCK),
        };
        let handle = Pktring::open("vb")
            .version(version)
            .filter(&frames::own_only())
            .ring(PKTRING_RX, &asked)
            .activate();
        let set = handle.get_ring(PKTRING_RX).unwrap();
        // SAFETY: a struct with its size.
        assert_eq!(unsafe { pktring_ring_bytes(&set) }, bytes);
        let sender = PlainSocket::sender("va").unwrap();
        let (mut nearest, mut farthest) = (u64::MAX, 0);
        for number in 0..u64::from(HUGE_BLOCKS) * 3 {
            sender.send(&frames::frame(number)).unwrap();
            let frame = handle.take();
            assert_eq!(data(&frame), frames::frame(number));
            nearest = nearest.min(frame.data as u64);
            farthest = farthest.max(frame.data as u64);
            handle.release(&frame).unwrap();
        }
        assert!(
            farthest - nearest >= 4 << 30,
            "{nearest:#x} to {farthest:#x}"
        );
        let stats = handle.stats();
        assert_eq!((stats.dropped, stats.corrupt, stats.held), (0, 0, 0));
    });
}

#[test]
fn a_v1_ring_of_more_than_4_gib_works_to_its_far_end() {
    laps_of_a_huge_ring(PKTRING_V1);
}

#[test]
fn a_v2_ring_of_more_than_4_gib_works_to_its_far_end() {
    laps_of_a_huge_ring(PKTRING_V2);
}

#[test]
fn a_v3_ring_of_more_than_4_gib_works_to_its_far_end() {
    laps_of_a_huge_ring(PKTRING_V3);
}

/// Fills a huge transmit ring several times, one frame a block.
fn laps_of_a_huge_transmit_ring(version: u32, method: u32) {
    let _one = large_rings();
    let bytes = u64::from(HUGE_BLOCK) * u64::from(HUGE_BLOCKS);
    if !has_memory(bytes) {
        return;
    }
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let peer = PlainSocket::open("vb").unwrap();
        let handle = Pktring::open("va")
            .version(version)
            .tx_method(method)
            .ring(PKTRING_TX, &ring(HUGE_BLOCK, HUGE_BLOCKS, HUGE_BLOCK))
            .activate();
        let all = u64::from(HUGE_BLOCKS);
        for lap in 0..3 {
            let mut slots = Vec::new();
            for number in 0..all {
                let slot = handle.reserve().unwrap().expect("a slot");
                write(&slot, &frames::frame(lap * all + number));
                slots.push(slot);
            }
            assert!(handle.reserve().unwrap().is_none());
            let places = slots.iter().map(|slot| slot.data as u64);
            let span = places.clone().max().unwrap() - places.min().unwrap();
            assert!(span >= 4 << 30, "{span:#x}");
            for (slot, number) in slots.iter().zip(lap * all..) {
                handle.commit(slot, frames::length(number) as u32).unwrap();
            }
            assert_eq!(handle.flush(LIMIT_MS), Ok(0));
            for number in lap * all..(lap + 1) * all {
                let arrived = loop {
                    let limit = Duration::from_millis(LIMIT_MS as u64);
                    let frame = peer.recv(limit).unwrap().expect("a frame").data;
                    if frames::is_own(&frame) {
                        break frame;
                    }
                };
                assert_eq!(arrived, frames::frame(number));
            }
        }
        assert_eq!(handle.stats().tx_frames, 3 * all);
    });
}

#[test]
fn a_v1_transmit_ring_of_more_than_4_gib_works_to_its_far_end() {
    laps_of_a_huge_transmit_ring(PKTRING_V1, PKTRING_TX_METHOD_RING);
}

#[test]
fn a_v2_transmit_ring_of_more_than_4_gib_works_to_its_far_end() {
    laps_of_a_huge_transmit_ring(PKTRING_V2, PKTRING_TX_METHOD_RING);
}

#[test]
fn a_v3_transmit_ring_of_more_than_4_gib_works_to_its_far_end() {
    laps_of_a_huge_transmit_ring(PKTRING_V3, PKTRING_TX_METHOD_RING);
}

#[test]
fn more_than_4_gib_of_slots_to_copy_from_work_to_their_far_end() {
    laps_of_a_huge_transmit_ring(PKTRING_V2, PKTRING_TX_METHOD_COPY);
}

#[test]
fn a_ring_that_does_not_fit_is_refused_whole_and_a_smaller_one_works_afterwards() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let before = packet_sockets();
        let status = forked(|| {
            let room = 64 << 20;
            limit_address_space(room);
            let handle = Pktring::open("vb").ring(PKTRING_RX, &ring(1 << 20, 128, 2048));
            let failure = handle.try_activate().unwrap_err();
            if failure.errno != libc::ENOMEM || !failure.text.contains("134217728 bytes") {
                return 1;
            }
            if packet_sockets() != before {
                return 2;
            }
            let handle = handle.ring(PKTRING_RX, &ring(1 << 20, 8, 2048)).activate();
            let set = handle.get_ring(PKTRING_RX).unwrap();
            match set.block_count == 8 && handle.wait_rx(0) == Ok(0) {
                true => 0,
                false => 3,
            }
        });
        assert_eq!(status, 0);
    });
}

/// Leaves this process that much address space beyond what it uses.
fn limit_address_space(room: u64) {
    let used = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = used.split(' ').next().unwrap().parse().unwrap();
    let most = (pages * u64::from(PAGE) + room) as libc::rlim_t;
    let limit = libc::rlimit {
        rlim_cur: most,
        rlim_max: most,
    };
    // SAFETY: the kernel reads one rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
}
