//! A TAP device: an interface whose wire is a file descriptor of the test.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::poll::{poll, PollFd, PollFlags};

use crate::{context, link, poll_timeout};

nix::ioctl_write_ptr_bad!(tun_set_iff, libc::TUNSETIFF, libc::ifreq);
nix::ioctl_write_int_bad!(tun_set_offload, libc::TUNSETOFFLOAD);

/// Longer than any frame: a 64 KiB segment with its headers.
const FRAME_LIMIT: usize = 80 << 10;

/// An interface, up, whose frames are read and written here. It ends with the value.
#[derive(Debug)]
pub struct Tap {
    file: File,
}

impl Tap {
    /// Makes the interface `name` in the calling thread's namespace. Needs read and write
    /// permission for /dev/net/tun, which an ordinary user has on most distributions.
    pub fn new(name: &str) -> io::Result<Tap> {
        Tap::open(name, libc::IFF_TAP | libc::IFF_NO_PI)
    }

    /// A TUN device: the same, but frames are IP packets without an Ethernet header.
    pub fn without_ethernet(name: &str) -> io::Result<Tap> {
        Tap::open(name, libc::IFF_TUN | libc::IFF_NO_PI)
    }

    /// The same with several queues, each a value of its own. A frame that is written to one
    /// arrives through the receive queue of the same index.
    pub fn queues(name: &str, count: usize) -> io::Result<Vec<Tap>> {
        let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_MULTI_QUEUE;
        (0..count).map(|_| Tap::open(name, flags)).collect()
    }

    /// The same, with a 10-byte virtio-net header in front of every frame both ways.
    pub fn with_vnet_header(name: &str) -> io::Result<Tap> {
        Tap::open(name, libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR)
    }

    fn open(name: &str, flags: i32) -> io::Result<Tap> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/net/tun");
        let file = file.map_err(context("/dev/net/tun"))?;
        let mut request = named_request(name)?;
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        // SAFETY: the request is an ifreq that outlives the call.
        let made = unsafe { tun_set_iff(file.as_raw_fd(), &request) };
        made.map_err(|error| context(format_args!("tap {name}"))(error.into()))?;
        link::set_up(name)?;
        link::wait_up(name)?;
        Ok(Tap { file })
    }

    /// Says which unfinished work (TUN_F_* flags) this side takes and gives.
    pub fn set_offload(&self, flags: u32) -> io::Result<()> {
        // SAFETY: the argument is a number.
        unsafe { tun_set_offload(self.file.as_raw_fd(), flags as libc::c_int) }?;
        Ok(())
    }

    /// Lets a frame arrive at the interface.
    pub fn write(&self, frame: &[u8]) -> io::Result<()> {
        (&self.file).write(frame).map(drop)
    }

    /// Takes a frame that the interface sent; `None` when there is none in time.
    pub fn read(&self, timeout: Duration) -> io::Result<Option<Vec<u8>>> {
        let mut ready = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, poll_timeout(timeout))? == 0 {
            return Ok(None);
        }
        let mut frame = [0; FRAME_LIMIT];
        let length = (&self.file).read(&mut frame)?;
        Ok(Some(frame[..length].to_vec()))
    }
}

/// An interface request that names its interface and is zero otherwise.
pub(crate) fn named_request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: ifreq is plain data, valid as zeroes.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte less: the name ends with a zero.
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{name}: too long"),
        ));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}
