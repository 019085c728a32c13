//! Frames sent one by one or in batches, without a transmit ring.

use super::kernel::Kernel;
use super::{Limits, Transmitter};
use crate::error::{Error, Result};
use crate::sys::call::{Batch, Errno, PacketSocket};
use libc::{iovec, sockaddr_ll};
use std::io::IoSlice;

/// A second chance for what a socket reports once although it no longer holds: it remembers that
/// the interface was down. Nothing was sent then, so trying again sends the frame exactly once.
fn persist<T>(
    mut send: impl FnMut() -> std::result::Result<T, Errno>,
) -> std::result::Result<T, Errno> {
    let mut down = false;
    loop {
        match send() {
            Err(libc::EINTR) => {}
            Err(libc::ENETDOWN) if !down => down = true,
            result => return result,
        }
    }
}

/// What a failed `send` of a frame of `length` bytes means.
#[cold]
fn failure(errno: Errno, length: usize, limits: impl FnOnce() -> Limits) -> Error {
    let limits = limits();
    match errno {
        libc::EAGAIN | libc::ENOBUFS => Error::QueueFull,
        libc::ENXIO | libc::ENODEV => Error::InterfaceGone,
        libc::EMSGSIZE => out_of_range(length, &limits),
        libc::EINVAL if length < limits.least() as usize => out_of_range(length, &limits),
        errno => Error::system("send", errno),
    }
}

fn out_of_range(length: usize, limits: &Limits) -> Error {
    Error::FrameLength {
        length: length as u64,
        least: limits.least(),
        most: limits.most(),
    }
}

/// Sends `frame` through a socket that has no transmit ring. The kernel judges its length;
/// `limits` only explain the refusal.
pub fn one(
    socket: &PacketSocket,
    to: Option<&sockaddr_ll>,
    frame: &[u8],
    limits: impl FnOnce() -> Limits,
) -> Result<usize> {
    persist(|| socket.send(frame, to)).map_err(|errno| failure(errno, frame.len(), limits))
}

/// Sends the one frame that `parts` are, through a socket that has no transmit ring.
pub fn parts(
    socket: &PacketSocket,
    to: Option<&sockaddr_ll>,
    parts: &[IoSlice],
    limits: impl FnOnce() -> Limits,
) -> Result<usize> {
    let total = parts.iter().map(|part| part.len()).sum();
    persist(|| socket.send_parts(parts, to)).map_err(|errno| failure(errno, total, limits))
}

/// Sends `frames` in order through a socket that has no transmit ring, with a system call of
/// `batch` for as many as it takes. The result is how many were sent; less than all when one was
/// refused, and the error when that was the first.
pub fn batch(
    batch: &mut Batch,
    socket: &PacketSocket,
    to: Option<&sockaddr_ll>,
    frames: &[iovec],
    limits: impl FnOnce() -> Limits,
) -> Result<usize> {
    let mut sent = 0;
    while sent < frames.len() {
        let rest = &frames[sent..];
        match persist(|| batch.send(socket, rest, to)) {
            Ok(0) => break,
            Ok(n) => sent += n,
            Err(_) if sent > 0 => break,
            Err(errno) => return Err(failure(errno, rest[0].iov_len, limits)),
        }
    }
    Ok(sent)
}

const OPEN: Error =
    Error::State("a reservation is open: commit or abort it before injecting a frame");

impl Transmitter {
    /// Sends all that was committed, so that a frame which does not go through the slots can follow
    /// in its turn.
    ///
    /// # Errors
    /// [`Error::QueueFull`] where not everything was taken, and as for
    /// [`inject`](Transmitter::inject).
    pub fn make_way<K: Kernel>(&mut self, kernel: &mut K) -> Result<()> {
        if self.edge.sequence != self.tail.sequence {
            return Err(OPEN);
        }
        if self.in_flight() != 0 {
            self.kick(kernel)?;
        }
        match self.in_flight() {
            0 => Ok(()),
            _ => Err(Error::QueueFull),
        }
    }

    /// Sends `frame` through the ring, since `send` ignores its buffer on a socket with one. It
    /// goes behind what was committed before. Its completion, with `user_data` 0, takes its turn.
    ///
    /// # Errors
    /// [`Error::QueueFull`] while the ring is full, [`Error::State`] behind an open reservation,
    /// the reason when the kernel refuses the frame, and those of [`Transmitter::flush`]. The
    /// frame is not in the ring then.
    pub fn inject<K: Kernel>(&mut self, kernel: &mut K, frame: &[u8]) -> Result<usize> {
        self.inject_parts(kernel, &[IoSlice::new(frame)])
    }

    /// The same for a frame in several parts.
    pub fn inject_parts<K: Kernel>(&mut self, kernel: &mut K, parts: &[IoSlice]) -> Result<usize> {
        let (_, failure) = self.inject_some(kernel, std::iter::once(parts));
        failure.map_or(Ok(parts.iter().map(|part| part.len()).sum()), Err)
    }

    /// The same for several frames, with a system call for as many as there are free slots. The
    /// result is how many; less than all when one failed, and its error when that was the first.
    pub fn inject_batch<K: Kernel>(&mut self, kernel: &mut K, frames: &[IoSlice]) -> Result<usize> {
        let mut sent = 0;
        while sent < frames.len() {
            let parts = frames[sent..].iter().map(std::slice::from_ref);
            let (taken, failure) = self.inject_some(kernel, parts);
            sent += taken;
            match failure {
                Some(error) if sent == 0 => return Err(error),
                Some(_) => break,
                None => {}
            }
        }
        Ok(sent)
    }

    /// Puts `frames` into the ring, each in its parts, until it is full or one fails, and has them
    /// sent. The first result is how many are sent or wait in the ring; those from the one that
    /// failed on do not.
    fn inject_some<'a, K: Kernel>(
        &mut self,
        kernel: &mut K,
        frames: impl Iterator<Item = &'a [IoSlice<'a>]>,
    ) -> (usize, Option<Error>) {
        if self.edge.sequence != self.tail.sequence {
            return (0, Some(OPEN));
        }
        if !self.ready() {
            if let Err(error) = self.kick(kernel) {
                return (0, Some(error));
            }
        }
        let first = self.tail.sequence;
        let mut failure = None;
        for parts in frames {
            match self.put(kernel, parts) {
                Ok(()) => {}
                Err(Error::QueueFull) if self.tail.sequence != first => break,
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        if self.tail.sequence == first {
            return (0, failure);
        }
        let (taken, refused) = self.kick_new(kernel, first);
        (taken as usize, refused.or(failure))
    }

    /// Commits the one frame that `parts` are.
    fn put<K: Kernel>(&mut self, kernel: &mut K, parts: &[IoSlice]) -> Result<()> {
        let slot = self.tail.place.offset;
        let reference = self.reserve().ok_or(Error::QueueFull)?.reference;
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let length = u32::try_from(total).unwrap_or(u32::MAX);
        let done = match self.slots.fill(slot, parts) {
            true => self.commit(kernel, reference, length, 0, 0),
            false => Err(Error::FrameLength {
                length: total as u64,
                least: self.limits.least(),
                most: self.limits.longest().min(self.slots.room()),
            }),
        };
        if done.is_err() {
            self.abort(reference)?;
        }
        done
    }
}
