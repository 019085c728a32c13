//! Timestamps: those of sent frames in the socket's error queue, and the NIC's own settings.

use super::call::{nanoseconds, Errno, PacketSocket};
use std::mem::{size_of, MaybeUninit};
use std::os::raw::c_int;

/// `PACKET_TX_TIMESTAMP` of linux/if_packet.h.
const PACKET_TX_TIMESTAMP: c_int = 16;
/// `SO_EE_ORIGIN_TIMESTAMPING` of linux/errqueue.h.
const ORIGIN_TIMESTAMPING: u8 = 4;
/// Words of room for control messages: three timespecs, an extended error, their headers.
const CONTROL: usize = 32;

/// When a frame was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendStamp {
    /// The kernel's number of the frame (`SOF_TIMESTAMPING_OPT_ID`).
    pub key: u32,
    /// Nanoseconds since 1970, or of the NIC's own clock.
    pub time: u64,
    pub hardware: bool,
}

/// `struct hwtstamp_config` of linux/net_tstamp.h.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardwareStamping {
    pub flags: i32,
    pub tx_type: i32,
    pub rx_filter: i32,
}

impl PacketSocket {
    /// Takes one timestamp from the error queue. `Ok(None)`: it holds none, or something else,
    /// which was dropped; the queue is empty when the error is EAGAIN.
    pub fn take_send_stamp(&self) -> Result<Option<SendStamp>, Errno> {
        let mut control = [0u64; CONTROL];
        // SAFETY: struct msghdr is integers and pointers; all zero is a valid value.
        let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of::<[u64; CONTROL]>() as _;
        let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
        // SAFETY: the control buffer is as long as the header says; there is none for data.
        if unsafe { libc::recvmsg(self.fd(), &mut header, flags) } < 0 {
            let error = std::io::Error::last_os_error();
            return Err(error.raw_os_error().unwrap_or(libc::EIO));
        }
        // SAFETY: recvmsg has just filled the header, and its control buffer is alive.
        Ok(unsafe { stamp(&header) })
    }

    /// Reads how the NIC of the interface called `name` takes timestamps (`SIOCGHWTSTAMP`).
    pub fn hardware_stamping(&self, name: &str) -> Result<HardwareStamping, Errno> {
        let mut config = HardwareStamping::default();
        self.hardware_ioctl(libc::SIOCGHWTSTAMP, name, &mut config)?;
        Ok(config)
    }

    /// Has the NIC take timestamps (`SIOCSHWTSTAMP`); `config` then tells what it really does.
    pub fn set_hardware_stamping(
        &self,
        name: &str,
        config: &mut HardwareStamping,
    ) -> Result<(), Errno> {
        self.hardware_ioctl(libc::SIOCSHWTSTAMP, name, config)
    }

    fn hardware_ioctl(
        &self,
        code: libc::c_ulong,
        name: &str,
        config: &mut HardwareStamping,
    ) -> Result<(), Errno> {
        // SAFETY: struct ifreq is characters, integers and pointers; all zero is valid.
        let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
        if name.len() >= request.ifr_name.len() {
            return Err(libc::ENODEV);
        }
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as _;
        }
        let config: *mut HardwareStamping = config;
        request.ifr_ifru.ifru_data = config.cast();
        // SAFETY: these ioctls read and write one struct hwtstamp_config behind ifru_data, which
        // outlives the call.
        if unsafe { libc::ioctl(self.fd(), code as _, &mut request) } < 0 {
            let error = std::io::Error::last_os_error();
            return Err(error.raw_os_error().unwrap_or(libc::EIO));
        }
        Ok(())
    }
}

/// The timestamp among the control messages.
///
/// # Safety
/// `header` was filled by recvmsg, and its control buffer is alive.
unsafe fn stamp(header: &libc::msghdr) -> Option<SendStamp> {
    let (mut times, mut key) = (None, None);
    // SAFETY: the caller's promise; CMSG_NXTHDR stays inside the control buffer. Data of the
    // types asked for is as long as read here.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(header);
        while !control.is_null() {
            let data = libc::CMSG_DATA(control);
            match ((*control).cmsg_level, (*control).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING) => {
                    times = Some(data.cast::<[libc::timespec; 3]>().read_unaligned());
                }
                (libc::SOL_PACKET, PACKET_TX_TIMESTAMP) => {
                    let error = data.cast::<libc::sock_extended_err>().read_unaligned();
                    if error.ee_origin == ORIGIN_TIMESTAMPING {
                        key = Some(error.ee_data);
                    }
                }
                _ => {}
            }
            control = libc::CMSG_NXTHDR(header, control);
        }
    }
    let [software, _, hardware] = times?;
    let is_hardware = nanoseconds(&hardware) != 0;
    Some(SendStamp {
        key: key?,
        time: if is_hardware {
            nanoseconds(&hardware)
        } else {
            nanoseconds(&software)
        },
        hardware: is_hardware,
    })
}
