//! Settings that are not the packet socket's own: buffers, busy polling, hints, wake-ups.

#![forbid(unsafe_code)]

use crate::error::{errno, invalid, Error, Result};
use crate::options::{socket, Switch};
use crate::ring::geometry::Direction;
use crate::sys::call::PacketSocket;
use libc::SOL_SOCKET;
use std::fs::{File, OpenOptions};
use std::io::Write;

const BUSY_POLL: Switch = socket(libc::SO_BUSY_POLL, "SO_BUSY_POLL", "3.11");
const PREFER_BUSY_POLL: Switch = socket(libc::SO_PREFER_BUSY_POLL, "SO_PREFER_BUSY_POLL", "5.11");
const BUSY_POLL_BUDGET: Switch =
    socket(libc::SO_BUSY_POLL_BUDGET, "SO_BUSY_POLL_BUDGET", "5.11").write_only();
const INCOMING_CPU: Switch = socket(libc::SO_INCOMING_CPU, "SO_INCOMING_CPU", "4.4");
const INCOMING_NAPI_ID: Switch = socket(libc::SO_INCOMING_NAPI_ID, "SO_INCOMING_NAPI_ID", "4.12");

/// Where the kernel is told in how many microseconds its processors have to be awake. What is
/// written holds for as long as the file is open.
const WAKE_LATENCY: &str = "/dev/cpu_dma_latency";

/// The kernel keeps the budget in 16 bits.
const MAX_BUDGET: u32 = 65_535;

/// Largest buffer that can be asked for: the kernel doubles it, and keeps it in an int.
const MAX_BUFFER: u32 = i32::MAX as u32 / 2;

/// What is asked of the socket; zero and `None` leave the kernel's defaults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tuning {
    /// Bytes of copies of cut frames that may wait.
    pub receive_buffer: u32,
    /// Bytes of frames that may be under way.
    pub send_buffer: u32,
    pub busy_poll: Option<BusyPoll>,
    pub cpu: Option<u32>,
    /// `MAP_LOCKED` and `MAP_POPULATE`, for mmap.
    pub map_flags: i32,
    /// Microseconds in which processors have to be awake.
    pub wake_latency: Option<i32>,
}

/// How the kernel polls the interface instead of waiting for its interrupt.
#[derive(Clone, Copy, Debug)]
pub struct BusyPoll {
    /// Microseconds to poll for.
    pub microseconds: u32,
    /// Packets to take at once; 0: the kernel's default.
    pub budget: u32,
    /// Whether to keep the interface's interrupts off meanwhile.
    pub prefer: bool,
}

impl BusyPoll {
    /// Checks the values.
    pub fn check(&self) -> Result<()> {
        if i32::try_from(self.microseconds).is_err() {
            return Err(invalid!(
                "busy polling for {} microseconds is out of range; 0 to {} are valid",
                self.microseconds,
                i32::MAX
            ));
        }
        if self.budget > MAX_BUDGET {
            return Err(invalid!(
                "a busy poll budget of {} packets is out of range; 0 to {MAX_BUDGET} are valid",
                self.budget
            ));
        }
        Ok(())
    }

    /// Sets busy polling on a socket.
    pub fn apply(&self, socket: &PacketSocket) -> Result<()> {
        // What needs a privilege first: if it is refused, nothing has changed.
        if self.budget != 0 {
            BUSY_POLL_BUDGET
                .set(socket, self.budget as i32)
                .map_err(needs_admin)?;
        }
        // Kernels before this option do what "off" asks for.
        if self.prefer || PREFER_BUSY_POLL.get(socket).unwrap_or(0) != 0 {
            PREFER_BUSY_POLL
                .set(socket, self.prefer.into())
                .map_err(needs_admin)?;
        }
        BUSY_POLL
            .set(socket, self.microseconds as i32)
            .map_err(needs_admin)?;
        Ok(())
    }
}

/// Busy polling beyond what the administrator allowed is the administrator's to allow.
fn needs_admin(error: Error) -> Error {
    match error {
        Error::Permission(name) => Error::Privilege {
            what: name,
            capability: "CAP_NET_ADMIN",
        },
        error => error,
    }
}

/// Checks a buffer size.
pub fn check_buffer(bytes: u32) -> Result<()> {
    if bytes == 0 || bytes > MAX_BUFFER {
        return Err(invalid!(
            "a socket buffer of {bytes} bytes is out of range; 1 to {MAX_BUFFER} are valid"
        ));
    }
    Ok(())
}

/// Sets a socket buffer to at least `bytes`, or says why it cannot be had.
pub fn set_buffer(socket: &PacketSocket, direction: Direction, bytes: u32) -> Result<()> {
    let (force, plain, name, limit) = match direction {
        Direction::Rx => (
            libc::SO_RCVBUFFORCE,
            libc::SO_RCVBUF,
            "SO_RCVBUF",
            "net.core.rmem_max",
        ),
        Direction::Tx => (
            libc::SO_SNDBUFFORCE,
            libc::SO_SNDBUF,
            "SO_SNDBUF",
            "net.core.wmem_max",
        ),
    };
    let value = bytes as i32;
    if socket.set(SOL_SOCKET, force, &value).is_err() {
        // Without CAP_NET_ADMIN the kernel cuts the size to its limit in silence.
        socket
            .set(SOL_SOCKET, plain, &value)
            .map_err(|errno| Error::system(name, errno))?;
    }
    let now = buffer(socket, direction)?;
    if now < bytes {
        return Err(invalid!(
            "{name} of {bytes} bytes is more than this user may have; up to {now} are valid, or \
             raise {limit} (sysctl), or run with CAP_NET_ADMIN"
        ));
    }
    Ok(())
}

/// Bytes of a socket buffer, without the kernel's doubling.
pub fn buffer(socket: &PacketSocket, direction: Direction) -> Result<u32> {
    let (option, name) = match direction {
        Direction::Rx => (libc::SO_RCVBUF, "SO_RCVBUF"),
        Direction::Tx => (libc::SO_SNDBUF, "SO_SNDBUF"),
    };
    let doubled: i32 = socket
        .get(SOL_SOCKET, option)
        .map_err(|errno| Error::system(name, errno))?;
    Ok(doubled as u32 / 2)
}

/// Sets the processor that the socket's packets are expected on.
pub fn set_cpu(socket: &PacketSocket, cpu: u32) -> Result<()> {
    INCOMING_CPU.set(socket, cpu as i32)
}

/// Checks a processor's number.
pub fn check_cpu(cpu: u32) -> Result<()> {
    i32::try_from(cpu).map(|_| ()).map_err(|_| {
        invalid!(
            "processor {cpu} is out of range; 0 to {} are valid",
            i32::MAX
        )
    })
}

/// The processor that was set or that the kernel saw; `None` while it knows none.
pub fn cpu(socket: &PacketSocket) -> Result<Option<u32>> {
    Ok(u32::try_from(INCOMING_CPU.get(socket)?).ok())
}

/// Number of the interface's receive queue that the socket's packets come from; `None` while the
/// kernel knows none.
pub fn napi_id(socket: &PacketSocket) -> Result<Option<u32>> {
    let id = INCOMING_NAPI_ID.get(socket)? as u32;
    Ok(Some(id).filter(|id| *id != 0))
}

impl Tuning {
    /// Sets all of it.
    pub fn apply(&self, socket: &PacketSocket) -> Result<()> {
        if self.receive_buffer != 0 {
            set_buffer(socket, Direction::Rx, self.receive_buffer)?;
        }
        if self.send_buffer != 0 {
            set_buffer(socket, Direction::Tx, self.send_buffer)?;
        }
        if let Some(busy) = &self.busy_poll {
            busy.apply(socket)?;
        }
        match self.cpu {
            Some(cpu) => set_cpu(socket, cpu),
            None => Ok(()),
        }
    }

    /// Has processors sleep no deeper than was asked for, until the result is dropped.
    pub fn stay_awake(&self) -> Result<Option<File>> {
        let microseconds = match self.wake_latency {
            Some(microseconds) => microseconds,
            None => return Ok(None),
        };
        let told = OpenOptions::new()
            .write(true)
            .open(WAKE_LATENCY)
            .and_then(|mut file| file.write_all(&microseconds.to_ne_bytes()).map(|_| file));
        told.map(Some).map_err(|error| match errno(&error) {
            libc::EACCES | libc::EPERM => Error::Privilege {
                what: WAKE_LATENCY,
                capability: "write permission, which root has,",
            },
            errno => Error::system(WAKE_LATENCY, errno),
        })
    }
}
