//! What the kernel leaves to an interface, as `ethtool -K` sets it.

use std::io;
use std::os::fd::AsRawFd;

use crate::context;

nix::ioctl_readwrite_bad!(ethtool, libc::SIOCETHTOOL, libc::ifreq);

/// Work that can be left to the interface. The value is its ETHTOOL_S* command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Offload {
    /// Checksums of what is sent. Off, segmentation is off as well.
    TxChecksum = 0x17,
    /// Cutting TCP data into segments.
    TcpSegmentation = 0x1f,
    /// Joining received segments, and on veth the NAPI path.
    GenericReceive = 0x2c,
}

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Leaves work to the interface, or does not.
pub fn set_offload(name: &str, offload: Offload, on: bool) -> io::Result<()> {
    let what = format!("{offload:?} of {name}");
    // Any socket carries the request.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    let mut value = Value {
        command: offload as u32,
        data: on.into(),
    };
    let mut request = crate::tap::named_request(name)?;
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request is an ifreq that points at an ethtool_value; both outlive the call.
    let set = unsafe { ethtool(socket.as_raw_fd(), &mut request) };
    set.map(drop).map_err(|error| context(what)(error.into()))
}
