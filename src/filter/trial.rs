//! Asking an eBPF program about a frame that is in the ring already.
//!
//! The kernel runs it over a packet that it makes for the purpose (`BPF_PROG_TEST_RUN`). Of what
//! the program may ask it knows the bytes, their number, the protocol and, for frames with a
//! link-level header, the interface; how the packet was addressed it tells by the link-level
//! address, and it has no packet that goes out.

use super::interpret::Packet;
use crate::error::{Error, Result};
use crate::program::Program;
use crate::sys::call;
use std::os::unix::io::OwnedFd;

/// What the kernel takes for the link-level header of the packet, and keeps from the program.
const HEADER: usize = 14;

/// The Linux version that brought test runs.
const SINCE: (u32, u32) = (4, 12);

/// Checks that the kernel lets this program be run over frames, by doing so.
pub fn check(program: &Program, fd: &OwnedFd) -> Result<()> {
    match call::run_program(fd, &[0; HEADER + 60], None) {
        Ok(_) => Ok(()),
        Err(errno @ (libc::EINVAL | libc::EBADF)) if call::kernel_version() >= SINCE => {
            Err(program.explain("BPF_PROG_TEST_RUN", errno))
        }
        Err(_) => Err(Error::State(
            "the kernel does not run the eBPF program over frames that are in the ring \
             (BPF_PROG_TEST_RUN, Linux 4.12): this one can only be set before pktring_activate",
        )),
    }
}

/// The bytes that the program keeps of the packet, 0 to drop it; `None` when it cannot be asked: the
/// ring has not kept all of it, or it is longer than the kernel makes one. `here`: the calling
/// thread is in the network that the packet came from.
pub fn run(fd: &OwnedFd, packet: &Packet, here: bool) -> Option<u32> {
    let header = packet.header;
    if header.snaplen < header.len {
        return None;
    }
    let start = packet.at + usize::from(header.mac);
    let mut bytes = vec![0; HEADER];
    for at in (start..).take(header.snaplen as usize) {
        bytes.push(packet.view.byte(at)?);
    }
    bytes[12..HEADER].copy_from_slice(&packet.address::<2>(2).ok()?);
    let has_link_header = usize::from(header.net.saturating_sub(header.mac)) >= HEADER;
    if here && has_link_header {
        bytes.copy_within(HEADER..HEADER + 6, 0);
        let ifindex = u32::from_ne_bytes(packet.address(4).ok()?);
        // Older kernels do not take the interface, and it may be gone.
        if let Ok(keep) = call::run_program(fd, &bytes, Some(ifindex)) {
            return Some(keep);
        }
    }
    let [kind] = packet.address(10).ok()?;
    bytes[..6].copy_from_slice(&addressed(kind));
    call::run_program(fd, &bytes, None).ok()
}

/// An address that makes a packet to the loopback interface, which has none, one of this kind.
fn addressed(kind: u8) -> [u8; 6] {
    match kind {
        libc::PACKET_HOST => [0; 6],
        libc::PACKET_BROADCAST => [0xff; 6],
        libc::PACKET_MULTICAST => [1, 0, 0, 0, 0, 0],
        _ => [2, 0, 0, 0, 0, 0],
    }
}
