//! The interface a handle is bound to, and what happens to it while packets flow.

#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::ring::geometry::Mode;
use crate::sys::call::{monotonic_ns, PacketSocket};
use std::sync::atomic::{AtomicU64, AtomicU8, Ordering};

/// libpcap's link types (`DLT_*`) of what frames start with.
pub mod dlt {
    pub const EN10MB: i32 = 1;
    pub const RAW: i32 = 12;
    pub const IEEE802_11: i32 = 105;
    pub const IEEE802_11_RADIO: i32 = 127;
    pub const CAN: i32 = 227;
}

/// The interface.
#[derive(Debug)]
pub struct Link {
    /// 0: every interface.
    pub ifindex: i32,
    /// `ARPHRD_*`.
    pub hardware: u16,
    state: AtomicU8,
    /// When the trouble was noticed, in monotonic nanoseconds.
    since: AtomicU64,
}

const UP: u8 = 0;
/// Or gone: that is looked at when it is reported.
const DOWN: u8 = 1;
const DOWN_REPORTED: u8 = 2;
const GONE: u8 = 3;

impl Link {
    pub fn new(ifindex: i32, hardware: u16) -> Link {
        Link {
            ifindex,
            hardware,
            state: AtomicU8::new(UP),
            since: AtomicU64::new(0),
        }
    }

    /// Reads the socket's pending error, which also ends its POLLERR, and notes what it means.
    pub fn take_error(&self, socket: &PacketSocket) -> Result<()> {
        match socket.take_error() {
            Ok(0) => Ok(()),
            Ok(libc::ENETDOWN) => {
                self.since.store(monotonic_ns(), Ordering::Relaxed);
                self.state.store(DOWN, Ordering::Relaxed);
                Ok(())
            }
            Ok(errno) => Err(Error::system("packet socket", errno)),
            Err(errno) => Err(Error::system("SO_ERROR", errno)),
        }
    }

    fn is_gone(&self, socket: &PacketSocket) -> bool {
        self.ifindex != 0 && matches!(socket.bound_ifindex(), Ok(-1))
    }

    /// Looks whether an interface that was down has been removed since, of which the kernel
    /// says nothing.
    pub fn check_gone(&self, socket: &PacketSocket) {
        // Of one that has just gone down it is found out when that is reported.
        if matches!(self.state.load(Ordering::Relaxed), UP | DOWN_REPORTED) && self.is_gone(socket)
        {
            self.state.store(GONE, Ordering::Relaxed);
        }
    }

    /// Frames arrive: the interface must be up, unless they are the last ones from before it went
    /// down, which come up to `grace_ns` later.
    pub fn note_traffic(&self, grace_ns: u64) {
        if self.state.load(Ordering::Relaxed) == DOWN_REPORTED && self.left_of(grace_ns) == 0 {
            self.state.store(UP, Ordering::Relaxed);
        }
    }

    /// Whether nothing is wrong as far as is known.
    pub fn is_up(&self) -> bool {
        self.state.load(Ordering::Relaxed) == UP
    }

    /// The error to report, if any, once `grace_ns` have passed since it was noticed: frames
    /// that arrived before may still be on their way to the reader. Down is reported once, gone
    /// every time.
    pub fn report(&self, socket: &PacketSocket, grace_ns: u64) -> Result<()> {
        let state = self.state.load(Ordering::Relaxed);
        if state == UP || state == DOWN_REPORTED || self.grace_left(grace_ns) != 0 {
            return Ok(());
        }
        if state == GONE || self.is_gone(socket) {
            self.state.store(GONE, Ordering::Relaxed);
            return Err(Error::InterfaceGone);
        }
        self.report_at_once()
    }

    /// Reports that the interface went down without waiting for what is still on its way, to a
    /// caller that cannot wait either and whom nothing tells to look again. It is true of an
    /// interface that was removed, too: a later look finds out.
    pub fn report_at_once(&self) -> Result<()> {
        if self.state.load(Ordering::Relaxed) != DOWN {
            return Ok(());
        }
        self.state.store(DOWN_REPORTED, Ordering::Relaxed);
        Err(Error::InterfaceDown)
    }

    /// Nanoseconds until [`Link::report`] will speak; 0 when it has nothing to wait for.
    pub fn grace_left(&self, grace_ns: u64) -> u64 {
        match self.state.load(Ordering::Relaxed) {
            DOWN | GONE => self.left_of(grace_ns),
            _ => 0,
        }
    }

    /// What is left of `grace_ns` since the trouble was noticed.
    fn left_of(&self, grace_ns: u64) -> u64 {
        let age = monotonic_ns().saturating_sub(self.since.load(Ordering::Relaxed));
        grace_ns.saturating_sub(age)
    }

    /// The `DLT_*` of captured frames, or -1 when there is none for this hardware.
    pub fn linktype(&self, mode: Mode) -> i32 {
        linktype(self.hardware, mode)
    }
}

/// The `DLT_*` of frames captured from `hardware` (`ARPHRD_*`), or -1 when there is none.
pub fn linktype(hardware: u16, mode: Mode) -> i32 {
    if mode == Mode::Dgram {
        return dlt::RAW;
    }
    match hardware {
        libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK => dlt::EN10MB,
        libc::ARPHRD_NONE
        | libc::ARPHRD_PPP
        | libc::ARPHRD_TUNNEL
        | libc::ARPHRD_TUNNEL6
        | libc::ARPHRD_SIT
        | libc::ARPHRD_IPGRE => dlt::RAW,
        libc::ARPHRD_IEEE80211 => dlt::IEEE802_11,
        libc::ARPHRD_IEEE80211_RADIOTAP => dlt::IEEE802_11_RADIO,
        ARPHRD_CAN => dlt::CAN,
        _ => -1,
    }
}

const ARPHRD_CAN: u16 = 280;
