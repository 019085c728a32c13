//! The other side of the transmit ring.

use super::flush::is_malformed;
use crate::error::Result;
use crate::sys::call::{monotonic_ns, sleep_ns, Batch, Errno, PacketSocket};
use crate::sys::stamp::SendStamp;
use crate::timestamp;
use crate::wait::{Interrupt, Sleeper};
use libc::iovec;

/// What the transmit ring needs of the kernel. Behind a trait so that tests can play its part.
pub trait Kernel {
    /// Asks for the ring's frames to be sent, without waiting. What was sent is told by the
    /// status words, never by the result.
    fn kick(&mut self) -> std::result::Result<(), Errno>;

    /// Copies and sends the first of `frames`, in order and without waiting, at most [`BATCH`].
    /// The result is how many were sent; an error means none was.
    ///
    /// [`BATCH`]: crate::sys::call::BATCH
    fn send(&mut self, frames: &[iovec]) -> std::result::Result<usize, Errno>;

    /// The MTU of the interface now.
    fn mtu(&mut self) -> std::result::Result<u32, Errno>;

    /// The monotonic clock in nanoseconds.
    fn now(&mut self) -> u64;

    /// Whether waiting may begin or go on: an error once the caller was asked to stop.
    fn check(&mut self) -> Result<()>;

    /// Sleeps until the kernel may have given frames back, at most `ns` nanoseconds.
    fn wait(&mut self, ns: u64) -> Result<()>;

    /// Sleeps for `ns` nanoseconds.
    fn pause(&mut self, ns: u64);

    /// Takes the next timestamp of a sent frame from the error queue.
    fn stamp(&mut self) -> Option<SendStamp> {
        None
    }

    /// Has frames numbered from 0 again; false where that failed.
    fn renumber(&mut self) -> bool {
        false
    }
}

/// Longest sleep between two looks at the ring where nothing can wake the sleeper.
const SLICE_NS: u64 = 1_000_000;

/// The kernel behind a packet socket, with or without a transmit ring of its own.
pub struct Outlet<'a> {
    pub socket: &'a PacketSocket,
    /// What copies frames to the kernel where it has no transmit ring.
    pub batch: &'a mut Batch,
    /// Whether malformed frames are passed over (`PACKET_LOSS`).
    pub loss: bool,
    /// Where frames go; needed with `Mode::Dgram` and on unbound sockets.
    pub destination: Option<&'a libc::sockaddr_ll>,
    /// The interface that the frames leave by.
    pub ifindex: i32,
    /// What to sleep on. `None` while the handle closes: its event is raised then, which would
    /// end every sleep at once.
    pub sleep: Option<(&'a Sleeper, &'a Interrupt)>,
}

impl Kernel for Outlet<'_> {
    fn kick(&mut self) -> std::result::Result<(), Errno> {
        self.socket.kick(self.destination)
    }

    fn send(&mut self, frames: &[iovec]) -> std::result::Result<usize, Errno> {
        match self.batch.send(self.socket, frames, self.destination) {
            // As the kernel does with its ring: as if it had been sent.
            Err(errno) if self.loss && is_malformed(errno) => Ok(1),
            result => result,
        }
    }

    fn mtu(&mut self) -> std::result::Result<u32, Errno> {
        let name = self.socket.interface_name(self.ifindex)?;
        self.socket.mtu(&name)
    }

    fn now(&mut self) -> u64 {
        monotonic_ns()
    }

    fn check(&mut self) -> Result<()> {
        self.sleep
            .map_or(Ok(()), |(_, interrupt)| interrupt.check())
    }

    fn wait(&mut self, ns: u64) -> Result<()> {
        match self.sleep {
            Some((sleeper, interrupt)) => {
                let ms = (ns / 1_000_000 + 1).min(i32::MAX as u64) as i32;
                sleeper.sleep(self.socket, interrupt, ms).map(|_| ())
            }
            None => {
                sleep_ns(ns.min(SLICE_NS));
                Ok(())
            }
        }
    }

    fn pause(&mut self, ns: u64) {
        sleep_ns(ns);
    }

    fn stamp(&mut self) -> Option<SendStamp> {
        loop {
            match self.socket.take_send_stamp() {
                Ok(Some(stamp)) => return Some(stamp),
                // Something else was in the queue.
                Ok(None) => {}
                Err(_) => return None,
            }
        }
    }

    fn renumber(&mut self) -> bool {
        timestamp::renumber(self.socket).is_ok()
    }
}
