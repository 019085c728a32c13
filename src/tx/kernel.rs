//! The other side of the transmit ring.

use super::Copier;
use crate::error::Result;
use crate::sys::call::{monotonic_ns, sleep_ns, Errno, PacketSocket};
use crate::sys::stamp::SendStamp;
use crate::timestamp;
use crate::wait::{Interrupt, Sleeper};

/// What the transmit ring needs of the kernel. Behind a trait so that tests can play its part.
pub trait Kernel {
    /// Asks for the ring's frames to be sent, without waiting. What was sent is told by the
    /// status words, never by the result.
    fn kick(&mut self) -> std::result::Result<(), Errno>;

    /// Goes back to the first slot, as the caller does when the result is true. To be called
    /// while no slot is in use.
    fn rewind(&mut self) -> bool {
        false
    }

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
    /// Sends instead of the kernel's transmit ring, where there is none.
    pub copier: Option<&'a mut Copier>,
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
        match &mut self.copier {
            Some(copier) => copier.kick(self.socket, self.destination),
            None => self.socket.kick(self.destination),
        }
    }

    fn rewind(&mut self) -> bool {
        if let Some(copier) = &mut self.copier {
            copier.rewind();
        }
        self.copier.is_some()
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
