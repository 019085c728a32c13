//! Netlink: questions to the kernel, and the attributes of its answers.

#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::sys::netlink::NetlinkSocket;

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Bytes of `struct nlattr`.
const ATTRIBUTE: usize = 4;
/// The bits of an attribute's type that are its number.
const TYPE_MASK: u16 = 0x3fff;

/// Messages and attributes start at multiples of this.
fn align(length: usize) -> usize {
    (length + 3) & !3
}

/// Asks the kernel for everything of kind `kind`, with `question` behind the message header, and
/// calls `each` with the body of every answer. `what` names the request in errors.
pub fn dump(
    what: &'static str,
    protocol: i32,
    kind: u16,
    question: &[u8],
    mut each: impl FnMut(&[u8]),
) -> Result<()> {
    let fail = |errno| Error::system(what, errno);
    let socket = NetlinkSocket::open(protocol).map_err(fail)?;
    socket.send(&request(kind, question)).map_err(fail)?;
    loop {
        let datagram = socket.receive().map_err(fail)?;
        let mut rest = &datagram[..];
        while let Some((kind, body, after)) = message(rest) {
            match i32::from(kind) {
                libc::NLMSG_DONE => return end(what, body),
                libc::NLMSG_ERROR => return end(what, body),
                _ => each(body),
            }
            rest = after;
        }
    }
}

fn request(kind: u16, question: &[u8]) -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let length = (HEADER + question.len()) as u32;
    let mut message = Vec::with_capacity(HEADER + question.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(1u32.to_ne_bytes()); // sequence number
    message.extend(0u32.to_ne_bytes()); // port: the kernel fills it in
    message.extend(question);
    message
}

/// The first message in `bytes`: its type, its body, and what comes behind it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32_at(bytes, 0)? as usize;
    let kind = u16_at(bytes, 4)?;
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(align(length)..).unwrap_or(&[])))
}

/// What the last message of a dump says: 0 or a negative errno.
fn end(what: &'static str, body: &[u8]) -> Result<()> {
    match u32_at(body, 0).unwrap_or(0) as i32 {
        0 => Ok(()),
        errno => Err(Error::system(what, -errno)),
    }
}

/// The attributes in `bytes`, as pairs of number and value.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let number = u16_at(rest, 2)? & TYPE_MASK;
        let value = rest.get(ATTRIBUTE..length)?;
        rest = rest.get(align(length)..).unwrap_or(&[]);
        Some((number, value))
    })
}

/// The 16-bit number at `at`.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes([bytes[0], bytes[1]]))
}

/// The 32-bit number at `at`.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(number: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((4 + value.len() as u16).to_ne_bytes());
        bytes.extend(number.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(align(bytes.len()), 0);
        bytes
    }

    #[test]
    fn attributes_are_found_behind_the_padding_of_others() {
        let mut bytes = attribute(3, b"lo\0");
        bytes.extend(attribute(4 | 0x8000, &[1, 2, 3, 4]));
        let found: Vec<_> = attributes(&bytes).collect();
        assert_eq!(found, [(3, &b"lo\0"[..]), (4, &[1, 2, 3, 4][..])]);
    }

    #[test]
    fn bytes_that_are_no_attribute_end_the_list() {
        for bytes in [
            &[][..],
            &[9, 0],
            &[255, 255, 1, 0],
            &[0, 0, 1, 0, 5, 5, 5, 5],
        ] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
        }
    }

    #[test]
    fn a_message_longer_than_the_datagram_is_none() {
        let mut bytes = request(20, &[1, 2, 3, 4]);
        assert_eq!(message(&bytes).unwrap().1, [1, 2, 3, 4]);
        bytes.pop();
        assert!(message(&bytes).is_none());
    }
}
