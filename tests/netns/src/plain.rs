//! A packet socket without a ring: the independent peer of what is tested.

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::poll::{poll, PollFd, PollFlags};

use crate::{context, link, poll_timeout};

/// Frames handed to the kernel in one sendmmsg().
const BATCH: usize = 64;
/// Longer than any frame: a 64 KiB segment with its headers.
const FRAME_LIMIT: usize = 80 << 10;

/// A packet as the kernel gave it to a [`PlainSocket`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its bytes, without the VLAN tag that the kernel took out.
    pub data: Vec<u8>,
    /// Its length on the wire, which is more than `data` where a filter cut it short.
    pub length: u32,
    /// The TCI and TPID of the VLAN tag that the kernel took out.
    pub vlan: Option<(u16, u16)>,
    /// PACKET_HOST, PACKET_OUTGOING and so on.
    pub kind: u8,
    /// The EtherType, in host order.
    pub protocol: u16,
    /// The interface it was seen on.
    pub interface: u32,
}

/// An AF_PACKET socket with recv() and send() alone.
#[derive(Debug)]
pub struct PlainSocket {
    fd: OwnedFd,
    interface: u32,
}

impl PlainSocket {
    /// Sees every frame that arrives at `device`, and sends whole frames.
    pub fn open(device: &str) -> io::Result<PlainSocket> {
        let socket = PlainSocket::with_protocol(device, libc::SOCK_RAW, libc::ETH_P_ALL as u16)?;
        socket.set_option(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
        Ok(socket)
    }

    /// Sees what `device` sends as well as what arrives.
    pub fn open_both_ways(device: &str) -> io::Result<PlainSocket> {
        PlainSocket::with_protocol(device, libc::SOCK_RAW, libc::ETH_P_ALL as u16)
    }

    /// Sends whole frames and sees none.
    pub fn sender(device: &str) -> io::Result<PlainSocket> {
        PlainSocket::with_protocol(device, libc::SOCK_RAW, 0)
    }

    /// Sees and sends what comes after the Ethernet header (SOCK_DGRAM).
    pub fn cooked(device: &str) -> io::Result<PlainSocket> {
        let socket = PlainSocket::with_protocol(device, libc::SOCK_DGRAM, libc::ETH_P_ALL as u16)?;
        socket.set_option(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
        Ok(socket)
    }

    fn with_protocol(device: &str, kind: i32, protocol: u16) -> io::Result<PlainSocket> {
        let interface = link::index(device)?;
        // Protocol 0 until the interface is known: no packet from elsewhere gets in.
        // SAFETY: a call with numbers only.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind | libc::SOCK_CLOEXEC, 0) };
        let fd = check(fd).map_err(context("packet socket"))?;
        // SAFETY: the descriptor is new and ours.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let socket = PlainSocket { fd, interface };
        socket.set_option(libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
        let address = socket.address(protocol, [0; 6]);
        // SAFETY: the address is a sockaddr_ll of the length given.
        let bound =
            unsafe { libc::bind(socket.raw(), (&raw const address).cast(), size_of(&address)) };
        check(bound).map_err(context(format_args!("bind to {device}")))?;
        Ok(socket)
    }

    /// Asks for a receive buffer of this size and returns the size it got: an ordinary user
    /// is held to net.core.rmem_max.
    pub fn set_receive_buffer(&self, bytes: u32) -> io::Result<u32> {
        if self
            .set_option(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes as i32)
            .is_err()
        {
            self.set_option(libc::SOL_SOCKET, libc::SO_RCVBUF, bytes as i32)?;
        }
        let mut size: libc::c_int = 0;
        let mut length = size_of(&size);
        // SAFETY: both pointers are to locals of the sizes given.
        check(unsafe {
            libc::getsockopt(
                self.raw(),
                libc::SOL_SOCKET,
                libc::SO_RCVBUF,
                (&raw mut size).cast(),
                &mut length,
            )
        })?;
        Ok(size as u32)
    }

    /// Sends one frame.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        // SAFETY: the pointer and length are those of a slice.
        let sent = unsafe { libc::send(self.raw(), frame.as_ptr().cast(), frame.len(), 0) };
        check(sent).map(drop)
    }

    /// Sends one payload to a hardware address, from a [`PlainSocket::cooked`] socket.
    pub fn send_to(&self, payload: &[u8], protocol: u16, to: [u8; 6]) -> io::Result<()> {
        let address = self.address(protocol, to);
        // SAFETY: the payload is a slice, the address a sockaddr_ll of the length given.
        let sent = unsafe {
            libc::sendto(
                self.raw(),
                payload.as_ptr().cast(),
                payload.len(),
                0,
                (&raw const address).cast(),
                size_of(&address),
            )
        };
        check(sent).map(drop)
    }

    /// Sends many frames with few system calls, in order, all of them.
    pub fn send_all<T: AsRef<[u8]>>(&self, frames: &[T]) -> io::Result<()> {
        for batch in frames.chunks(BATCH) {
            self.send_batch(batch)?;
        }
        Ok(())
    }

    fn send_batch<T: AsRef<[u8]>>(&self, frames: &[T]) -> io::Result<()> {
        let mut parts: Vec<libc::iovec> = frames.iter().map(|f| part(f.as_ref())).collect();
        let mut messages: Vec<libc::mmsghdr> = parts
            .iter_mut()
            .map(|part| {
                // SAFETY: mmsghdr is plain data, valid as zeroes.
                let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
                message.msg_hdr.msg_iov = part;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        let mut rest = &mut messages[..];
        while !rest.is_empty() {
            // SAFETY: each message points at one part, each part at a slice; all outlive this.
            let sent =
                unsafe { libc::sendmmsg(self.raw(), rest.as_mut_ptr(), rest.len() as u32, 0) };
            rest = &mut rest[check(sent)? as usize..];
        }
        Ok(())
    }

    /// The next packet; `None` when there is none in time.
    pub fn recv(&self, timeout: Duration) -> io::Result<Option<Packet>> {
        let mut ready = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, poll_timeout(timeout))? == 0 {
            return Ok(None);
        }
        self.recv_ready().map(Some)
    }

    fn recv_ready(&self) -> io::Result<Packet> {
        let mut buffer = [0u8; FRAME_LIMIT];
        // SAFETY: these are plain data, valid as zeroes.
        let (mut from, mut header): (libc::sockaddr_ll, libc::msghdr) = unsafe { mem::zeroed() };
        // u64 for the alignment that control messages need.
        let mut control = [0u64; 16];
        let mut part = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        header.msg_name = (&raw mut from).cast();
        header.msg_namelen = size_of(&from);
        header.msg_iov = &mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = mem::size_of_val(&control);
        // SAFETY: every pointer in the header is to a live local of the length beside it.
        let length = check(unsafe { libc::recvmsg(self.raw(), &mut header, 0) })?;
        // SAFETY: recvmsg has just filled the header.
        let auxiliary = unsafe { auxiliary(&header) }
            .ok_or_else(|| io::Error::other("a packet came without its auxiliary data"))?;
        Ok(Packet {
            data: buffer[..length as usize].to_vec(),
            length: auxiliary.tp_len,
            vlan: (auxiliary.tp_status & libc::TP_STATUS_VLAN_VALID != 0)
                .then_some((auxiliary.tp_vlan_tci, auxiliary.tp_vlan_tpid)),
            kind: from.sll_pkttype,
            protocol: u16::from_be(from.sll_protocol),
            interface: from.sll_ifindex as u32,
        })
    }

    fn address(&self, protocol: u16, hardware: [u8; 6]) -> libc::sockaddr_ll {
        // SAFETY: sockaddr_ll is plain data, valid as zeroes.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol.to_be();
        address.sll_ifindex = self.interface as i32;
        address.sll_halen = 6;
        address.sll_addr[..6].copy_from_slice(&hardware);
        address
    }

    fn set_option(&self, level: i32, option: i32, value: libc::c_int) -> io::Result<()> {
        // SAFETY: the value is an int of the length given.
        check(unsafe {
            libc::setsockopt(
                self.raw(),
                level,
                option,
                (&raw const value).cast(),
                size_of(&value),
            )
        })
        .map(drop)
    }

    fn raw(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}

impl AsFd for PlainSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The auxiliary data among the control messages of a packet.
///
/// # Safety
/// `header` must have been filled by recvmsg() and its buffers must be alive.
unsafe fn auxiliary(header: &libc::msghdr) -> Option<libc::tpacket_auxdata> {
    // SAFETY: the caller's promise; CMSG_NXTHDR stays inside the control buffer.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = control.as_ref() {
            if (message.cmsg_level, message.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
                return Some(
                    libc::CMSG_DATA(control)
                        .cast::<libc::tpacket_auxdata>()
                        .read_unaligned(),
                );
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    None
}

fn part(data: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    }
}

fn size_of<T>(value: &T) -> libc::socklen_t {
    mem::size_of_val(value) as libc::socklen_t
}

/// The result of a system call, or its error.
fn check<T: nix::errno::ErrnoSentinel + PartialEq>(result: T) -> io::Result<T> {
    Ok(nix::errno::Errno::result(result)?)
}
