//! From settings to a working socket, in the one order that is safe.
//!
//! The socket starts with protocol 0, so that it sees no packet; options come before the rings,
//! because the kernel refuses or, worse, ignores them later; filter and rings come before bind,
//! so that the first packet seen already meets both. Whatever step fails, dropping what the
//! earlier ones made undoes it: nothing is left behind.

#![forbid(unsafe_code)]

use crate::config::{Config, Method};
use crate::diag;
use crate::error::{Error, Result};
use crate::fanout::{self, Fanout};
use crate::filter;
use crate::link::Link;
use crate::membership::{self, Membership};
use crate::namespace;
use crate::program::Program;
use crate::ring::geometry::{complete, Direction, Mode, Ring, Version, RETIRE_KERNEL};
use crate::ring::map::{Mapping, View};
use crate::session::Session;
use crate::sys::call::{Errno, PacketSocket};
use crate::timestamp::Timestamps;
use crate::wait::Interrupt;
use std::mem::size_of;
use std::sync::atomic::{AtomicU64, Ordering};

/// A handle's working parts.
pub struct Active {
    pub session: Session,
    /// The receive ring's memory, when there is one.
    pub rx: Option<View>,
    /// The transmit ring's memory, when there is one.
    pub tx: Option<View>,
}

/// Sets up everything that `config` asks for.
pub fn activate(config: &Config, interrupt: &Interrupt) -> Result<Active> {
    let active = activate_closed(config, interrupt)?;
    open_gate(&active.session, config)?;
    Ok(active)
}

/// Everything but the last step: a member of a fanout group receives nothing before
/// [`open_gate`], so that others can join before the first packet is shared out.
pub fn activate_closed(config: &Config, interrupt: &Interrupt) -> Result<Active> {
    config.check()?;
    let socket = open(config)?;
    let (link, mtu) = find_interface(&socket, config)?;
    let mut rings = plan(config, mtu)?;
    set_version(&socket, config.version)?;
    config.options.before_rings(&socket)?;
    match config.fanout {
        // Between bind and joining the group, the socket would get every packet.
        Some(_) => filter::attach(&socket, &Program::Classic(filter::DROP_ALL.to_vec()))?,
        None => attach_filter(&socket, config)?,
    }
    let kernel_retires = matches!(rings.rx, Some(ring) if ring.retire_timeout == RETIRE_KERNEL);
    if kernel_retires {
        // The kernel computes its timeout from the interface's speed. Protocol 0: no packets yet.
        socket.bind(0, link.ifindex).map_err(bind_error)?;
    }
    set_rings(&socket, config.version, &in_kernel(config, &rings))?;
    if kernel_retires {
        rings.rx = Some(as_chosen(&socket, config, rings.rx.unwrap_or_default())?);
    }
    let (rx, tx) = map(&socket, config, &rings)?;
    config.options.before_bind(&socket)?;
    config.tuning.apply(&socket)?;
    if config.timestamps != Timestamps::default() {
        config.timestamps.apply(&socket)?;
    }
    bind(&socket, config, &rings, &link)?;
    if config.promiscuous {
        join_promiscuous(&socket, &link)?;
    }
    config.memberships.join(&socket, &link)?;
    let fanout = join_fanout(&socket, config)?;
    let session = Session::new(socket, link, mtu, config, rings, fanout, interrupt)?;
    Ok(Active { session, rx, tx })
}

/// The last step: lets packets in.
pub fn open_gate(session: &Session, config: &Config) -> Result<()> {
    let socket = &session.socket;
    if config.fanout.is_some() {
        match config.selection().program()? {
            Some(program) => filter::attach(socket, &program)?,
            None => filter::detach(socket)?,
        }
    }
    match config.filter_locked {
        true => filter::lock(socket),
        false => Ok(()),
    }
}

/// Joins the fanout group, of which every member has to be bound before, and gives it its
/// program.
fn join_fanout(socket: &PacketSocket, config: &Config) -> Result<Option<Fanout>> {
    let fanout = match &config.fanout {
        Some(fanout) => fanout,
        None if config.fanout_program.is_some() => {
            return Err(Error::Invalid(
                "a fanout program was set, but no fanout group: pktring_set_fanout".to_owned(),
            ))
        }
        None => return Ok(None),
    };
    if config.rx_request().is_none() {
        return Err(Error::Invalid(
            "a fanout group shares out what is received: set a receive ring".to_owned(),
        ));
    }
    let joined = fanout.join(socket)?;
    if let Some(program) = &config.fanout_program {
        fanout::set_program(socket, joined.mode, program)?;
    }
    Ok(Some(joined))
}

/// The rings of a handle, complete.
#[derive(Clone, Copy, Debug)]
pub struct Rings {
    pub rx: Option<Ring>,
    pub tx: Option<Ring>,
}

/// The number of a handle's first frame. Those of different handles are spread over the lower half
/// of 64 bits, so that a frame given to the wrong handle is recognised, and no handle lives long
/// enough for its numbers to wrap round.
pub fn first_number() -> u64 {
    static HANDLES: AtomicU64 = AtomicU64::new(1);
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    // Relaxed: only the uniqueness of the number matters.
    HANDLES.fetch_add(1, Ordering::Relaxed).wrapping_mul(SPREAD) >> 1
}

fn open(config: &Config) -> Result<PacketSocket> {
    let kind = match config.mode {
        Mode::Raw => libc::SOCK_RAW,
        Mode::Dgram => libc::SOCK_DGRAM,
    };
    namespace::run(config.namespace.as_ref(), || {
        PacketSocket::open(kind, 0).map_err(|errno| Error::system("opening a packet socket", errno))
    })
}

fn find_interface(socket: &PacketSocket, config: &Config) -> Result<(Link, Option<u32>)> {
    let name = match &config.device {
        Some(name) => name,
        None => return Ok((Link::new(0, libc::ARPHRD_ETHER), None)),
    };
    let fail = |errno| match errno {
        libc::ENODEV => Error::NoDevice(name.clone()),
        errno => Error::system("looking up the interface", errno),
    };
    let ifindex = socket.ifindex(name).map_err(fail)?;
    let hardware = socket.hardware_type(name).map_err(fail)?;
    let mtu = socket.mtu(name).map_err(fail)?;
    Ok((Link::new(ifindex, hardware), Some(mtu)))
}

fn plan(config: &Config, mtu: Option<u32>) -> Result<Rings> {
    let finish = |direction, request: Option<Ring>| {
        request
            .map(|ring| complete(&ring, &config.shape(direction, mtu), config.profile))
            .transpose()
    };
    Ok(Rings {
        rx: finish(Direction::Rx, config.rx_request())?,
        tx: finish(Direction::Tx, config.tx)?,
    })
}

fn set_version(socket: &PacketSocket, version: Version) -> Result<()> {
    let number = match version {
        Version::V1 => libc::tpacket_versions::TPACKET_V1,
        Version::V2 => libc::tpacket_versions::TPACKET_V2,
        Version::V3 => libc::tpacket_versions::TPACKET_V3,
    };
    if version == Version::V1 {
        check_v1_width(socket)?;
    }
    set_verified(
        socket,
        libc::PACKET_VERSION,
        number as i32,
        "PACKET_VERSION",
    )
}

/// V1 headers begin with an `unsigned long` of the kernel's, which need not be that of this program.
fn check_v1_width(socket: &PacketSocket) -> Result<()> {
    // Asked with 0, which is TPACKET_V1. Linux before 2.6.27 has no answer.
    let kernels = match size_of::<usize>() {
        4 => socket.get_int(libc::PACKET_HDRLEN).ok(),
        _ => None,
    };
    match kernels {
        Some(length) if length as usize != size_of::<libc::tpacket_hdr>() => {
            Err(Error::Unsupported(
                "TPACKET_V1 rings of a 64-bit kernel are not for 32-bit programs; use PKTRING_V2 or \
                 PKTRING_V3",
            ))
        }
        _ => Ok(()),
    }
}

/// Sets an option and reads it back: some are accepted at the wrong moment and ignored.
fn set_verified(socket: &PacketSocket, option: i32, value: i32, name: &'static str) -> Result<()> {
    let fail = |errno| Error::system(name, errno);
    socket.set_int(option, value).map_err(fail)?;
    match socket.get_int(option).map_err(fail)? {
        now if now == value => Ok(()),
        _ => Err(Error::State("the kernel accepted an option and ignored it")),
    }
}

fn attach_filter(socket: &PacketSocket, config: &Config) -> Result<()> {
    match config.selection().program()? {
        Some(program) => filter::attach(socket, &program),
        None => Ok(()),
    }
}

fn set_rings(socket: &PacketSocket, version: Version, rings: &Rings) -> Result<()> {
    if let Some(ring) = &rings.rx {
        set_ring(
            socket,
            version,
            libc::PACKET_RX_RING,
            "PACKET_RX_RING",
            ring,
        )?;
    }
    if let Some(ring) = &rings.tx {
        set_ring(
            socket,
            version,
            libc::PACKET_TX_RING,
            "PACKET_TX_RING",
            ring,
        )?;
    }
    Ok(())
}

/// Sets up a ring, or takes it away with one that is all zero.
pub fn set_ring(
    socket: &PacketSocket,
    version: Version,
    option: i32,
    name: &'static str,
    ring: &Ring,
) -> Result<()> {
    let fail = |errno: Errno| match errno {
        libc::ENOMEM => Error::NoMemory(ring.bytes()),
        errno => Error::system(name, errno),
    };
    if version == Version::V3 {
        let request = libc::tpacket_req3 {
            tp_block_size: ring.block_size,
            tp_block_nr: ring.block_count,
            tp_frame_size: ring.frame_size,
            tp_frame_nr: ring.frame_count,
            tp_retire_blk_tov: match ring.retire_timeout {
                RETIRE_KERNEL => 0,
                milliseconds => milliseconds,
            },
            tp_sizeof_priv: ring.private_size,
            tp_feature_req_word: ring.features,
        };
        socket.set(libc::SOL_PACKET, option, &request).map_err(fail)
    } else {
        let request = libc::tpacket_req {
            tp_block_size: ring.block_size,
            tp_block_nr: ring.block_count,
            tp_frame_size: ring.frame_size,
            tp_frame_nr: ring.frame_count,
        };
        socket.set(libc::SOL_PACKET, option, &request).map_err(fail)
    }
}

/// The receive ring with the retire timeout that the kernel chose, if it can be asked.
fn as_chosen(socket: &PacketSocket, config: &Config, ring: Ring) -> Result<Ring> {
    let answer = namespace::run(config.namespace.as_ref(), || {
        diag::ring(socket, Direction::Rx)
    });
    match answer {
        Ok(Some(chosen)) => Ok(Ring {
            retire_timeout: chosen.retire_timeout,
            ..ring
        }),
        Ok(None) | Err(Error::NeedsKernel { .. }) => Ok(ring),
        Err(error) => Err(error),
    }
}

fn bind_error(errno: Errno) -> Error {
    match errno {
        libc::ENODEV => Error::InterfaceGone,
        errno => Error::system("bind", errno),
    }
}

/// The rings that the kernel is asked for.
fn in_kernel(config: &Config, rings: &Rings) -> Rings {
    match config.tx_method {
        Method::Ring => *rings,
        Method::Copy => Rings { tx: None, ..*rings },
    }
}

/// Maps both rings at once, as the kernel demands: the receive ring, then the transmit ring. Slots
/// that are copied from are memory of this process.
fn map(
    socket: &PacketSocket,
    config: &Config,
    rings: &Rings,
) -> Result<(Option<View>, Option<View>)> {
    let flags = config.tuning.map_flags;
    let bytes = |ring: &Option<Ring>| ring.map_or(0, |ring| ring.bytes());
    let shared = in_kernel(config, rings);
    let (rx, tx) = (bytes(&shared.rx), bytes(&shared.tx));
    let (rx, mut tx) = match rx + tx {
        0 => (None, None),
        total => {
            let mapping = mapped(total, |len| Mapping::of_socket(socket.fd(), len, flags))?;
            let view = |at: u64, len: u64| match len {
                0 => None,
                len => View::new(&mapping, at as usize, len as usize),
            };
            (view(0, rx), view(rx, tx))
        }
    };
    if let (Method::Copy, Some(ring)) = (config.tx_method, rings.tx) {
        let mapping = mapped(ring.bytes(), |len| Mapping::private(len, flags))?;
        tx = View::new(&mapping, 0, ring.bytes() as usize);
    }
    Ok((rx, tx))
}

fn mapped<T>(bytes: u64, map: impl FnOnce(usize) -> std::result::Result<T, Errno>) -> Result<T> {
    let len = isize::try_from(bytes).map_err(|_| Error::NoMemory(bytes))?;
    map(len as usize).map_err(|errno| match errno {
        libc::EAGAIN | libc::EPERM => Error::Locked(bytes),
        libc::ENOMEM => Error::NoMemory(bytes),
        errno => Error::system("mapping the rings", errno),
    })
}

/// Protocol 0 spares a handle that only transmits the cost of every packet that is received.
fn bind(socket: &PacketSocket, config: &Config, rings: &Rings, link: &Link) -> Result<()> {
    let default = match rings.rx {
        Some(_) => libc::ETH_P_ALL as u16,
        None => 0,
    };
    let protocol = config.protocol.unwrap_or(default);
    socket.bind(protocol, link.ifindex).map_err(bind_error)?;
    // An interface that is down is no failure: capture starts when it comes up. Reading the
    // error here keeps it from being taken for a later one.
    link.take_error(socket)
}

fn join_promiscuous(socket: &PacketSocket, link: &Link) -> Result<()> {
    let promiscuous = Membership::new(membership::Kind::Promiscuous, &[])?;
    membership::add(socket, link, &promiscuous)
}
