//! Whole copies of frames that a V1 or V2 slot has cut.

#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::ring::geometry::Version;
use crate::rx::HeldFrame;
use crate::sys::call::{Copied, PacketSocket};
use libc::{TP_STATUS_COPY, TP_STATUS_TS_SOFTWARE};

/// How a copy in the socket's queue relates to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Same,
    /// Of a frame that was passed over.
    Older,
    /// Of a frame that comes later in the ring. Processors that receive at the same time can
    /// queue their copies in another order than they fill the slots.
    Newer,
}

/// Copies the whole packet that `frame` was cut from into `buffer`; the result is its length.
///
/// Copies wait in the order of their frames; those of frames that were passed over are thrown
/// away here.
pub fn fetch(
    socket: &PacketSocket,
    vnet: usize,
    held: &HeldFrame,
    frame: &Frame,
    buffer: &mut [u8],
) -> Result<usize> {
    if frame.status & TP_STATUS_COPY == 0 {
        return Err(Error::NoCopy);
    }
    loop {
        let copy = match socket.peek_copy(vnet, buffer) {
            Ok(copy) => copy,
            Err(libc::EAGAIN) => return Err(Error::NoCopy),
            Err(libc::EINTR) => continue,
            Err(errno) => return Err(Error::system("recvmsg", errno)),
        };
        match relation(&copy, held, frame, buffer) {
            Relation::Older => socket.drop_copy(),
            Relation::Newer => return Err(Error::CopyBehind),
            Relation::Same if copy.length > buffer.len() => {
                return Err(Error::Buffer {
                    needed: copy.length,
                    given: buffer.len(),
                })
            }
            Relation::Same => {
                socket.drop_copy();
                return Ok(copy.length);
            }
        }
    }
}

fn relation(copy: &Copied, held: &HeldFrame, frame: &Frame, buffer: &[u8]) -> Relation {
    // The resolution of the time in the ring.
    let unit = match held.version {
        Version::V1 => 1000,
        _ => 1,
    };
    match copy.timestamp {
        Some(time) if frame.status & TP_STATUS_TS_SOFTWARE != 0 => {
            match (time / unit).cmp(&(frame.timestamp / unit)) {
                std::cmp::Ordering::Less => Relation::Older,
                std::cmp::Ordering::Equal => Relation::Same,
                std::cmp::Ordering::Greater => Relation::Newer,
            }
        }
        // The packet came before the kernel began to stamp: go by what is in it.
        _ => match same_content(copy, held, frame, buffer) {
            true => Relation::Same,
            false => Relation::Older,
        },
    }
}

fn same_content(copy: &Copied, held: &HeldFrame, frame: &Frame, buffer: &[u8]) -> bool {
    let compared = copy.length.min(buffer.len()).min(frame.caplen as usize);
    copy.length == frame.len as usize && held.starts_with(&buffer[..compared])
}
