//! A handle as the tests of single options use it: opened, set up and asked through the C API,
//! with frames that can be looked at while they are held.

#![allow(dead_code)]

use pktring::capi::error::{pktring_geterr, PKTRING_ERRBUF_SIZE};
use pktring::capi::geometry::{pktring_ring, PKTRING_RX};
use pktring::capi::handle::Handle;
use pktring::capi::{config::*, lifecycle::*, rx::*, stats::*, wait::*};
use pktring::frame::Frame;
use std::ffi::{CStr, CString};
use std::mem::{size_of, MaybeUninit};
use std::os::raw::c_int;
use std::time::{Duration, Instant};

/// EtherType for local experiments: nobody else's traffic has it.
pub const EXPERIMENT: u16 = 0x88b5;
/// Long, because only a failure takes it.
pub const LIMIT: Duration = Duration::from_secs(10);
/// How long to wait for what must not come.
pub const QUIET: Duration = Duration::from_millis(150);

/// A handle, closed with the value.
pub struct Opened(pub *mut Handle);

// SAFETY: the tests keep the threading rule: one thread at a time uses a handle.
unsafe impl Send for Opened {}

impl Drop for Opened {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and this is its last use.
        unsafe { pktring_close(self.0) };
    }
}

impl Opened {
    /// A handle that is not active.
    pub fn new(device: &str, version: u32) -> Opened {
        let device = CString::new(device).unwrap();
        let mut text = [0; PKTRING_ERRBUF_SIZE];
        // SAFETY: a string, a buffer of the documented size, and the handle just opened.
        unsafe {
            let handle = pktring_open(device.as_ptr(), text.as_mut_ptr());
            assert!(!handle.is_null(), "{:?}", CStr::from_ptr(text.as_ptr()));
            assert_eq!(pktring_set_version(handle, version), 0);
            Opened(handle)
        }
    }

    /// An active handle with that ring; zero fields take the default.
    pub fn active(device: &str, version: u32, ring: pktring_ring) -> Opened {
        let opened = Opened::new(device, version);
        opened.receive(ring);
        opened.activate();
        opened
    }

    pub fn receive(&self, ring: pktring_ring) {
        let ring = pktring_ring {
            size: size_of::<pktring_ring>(),
            ..ring
        };
        // SAFETY: the handle is open, as in every call below; the struct has its size.
        self.must(unsafe { pktring_set_ring(self.0, PKTRING_RX, &ring) });
    }

    #[track_caller]
    pub fn activate(&self) {
        // SAFETY: see `receive`.
        self.must(unsafe { pktring_activate(self.0) });
    }

    /// Checks that activation fails, with this errno and a text that says `word`.
    #[track_caller]
    pub fn refused(&self, errno: c_int, word: &str) {
        // SAFETY: see `receive`.
        let code = unsafe { pktring_activate(self.0) };
        self.must_fail(code, errno, word);
    }

    pub fn error(&self) -> String {
        // SAFETY: see `receive`; the text is copied at once.
        unsafe { CStr::from_ptr(pktring_geterr(self.0)) }
            .to_str()
            .unwrap()
            .to_owned()
    }

    /// Checks that a call succeeded, and returns what it returned.
    #[track_caller]
    pub fn must(&self, code: c_int) -> c_int {
        assert!(code >= 0, "{code}: {}", self.error());
        code
    }

    /// Checks that a call failed with this errno value and a text that says `word`.
    #[track_caller]
    pub fn must_fail(&self, code: c_int, errno: c_int, word: &str) {
        let text = self.error();
        assert_eq!(code, -errno, "{text}");
        assert!(text.contains(word), "'{text}' does not say '{word}'");
    }

    /// The number that an option of the socket has now, asked of the kernel.
    pub fn option(&self, level: c_int, option: c_int) -> i32 {
        let mut value = 0i32;
        let mut length = size_of::<i32>() as libc::socklen_t;
        // SAFETY: see `receive`; the kernel writes one int.
        let code = unsafe {
            let fd = self.must(pktring_fd(self.0));
            libc::getsockopt(fd, level, option, (&raw mut value).cast(), &mut length)
        };
        assert_eq!(code, 0, "{}", std::io::Error::last_os_error());
        value
    }

    /// The next frame, held until the value is dropped, if one comes in time.
    pub fn next(&self, limit: Duration) -> Option<Held<'_>> {
        let end = Instant::now() + limit;
        loop {
            let mut frame = MaybeUninit::<Frame>::uninit();
            // SAFETY: see `receive`; room for one descriptor, read only when it was written.
            unsafe {
                if self.must(pktring_next_frame(self.0, frame.as_mut_ptr())) == 1 {
                    return Some(Held {
                        handle: self,
                        frame: frame.assume_init(),
                    });
                }
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return None;
                }
                let milliseconds = left.as_millis() as c_int + 1;
                self.must(pktring_wait(self.0, PKTRING_RX, milliseconds));
            }
        }
    }

    /// The next frame with that EtherType in its header, which must come.
    #[track_caller]
    pub fn typed(&self, ethertype: u16) -> Held<'_> {
        let end = Instant::now() + LIMIT;
        while let Some(held) = self.next(end.saturating_duration_since(Instant::now())) {
            if held.data()[12..14] == ethertype.to_be_bytes() {
                return held;
            }
        }
        panic!("no frame of type {ethertype:#x} came");
    }

    /// The next experiment, which must come.
    #[track_caller]
    pub fn own(&self) -> Held<'_> {
        self.typed(EXPERIMENT)
    }

    /// The numbers of the experiments that come until it is quiet.
    pub fn drain(&self) -> Vec<u32> {
        let mut numbers = Vec::new();
        while let Some(held) = self.next(QUIET) {
            if held.data()[12..14] == EXPERIMENT.to_be_bytes() {
                numbers.push(held.number());
            }
        }
        numbers
    }

    pub fn stats(&self) -> pktring_stats {
        let mut stats = pktring_stats {
            size: size_of::<pktring_stats>(),
            ..Default::default()
        };
        // SAFETY: see `receive`; the struct has its size.
        self.must(unsafe { pktring_stats(self.0, &mut stats) });
        stats
    }
}

/// A frame, released with the value.
pub struct Held<'a> {
    handle: &'a Opened,
    pub frame: Frame,
}

impl Held<'_> {
    pub fn data(&self) -> &[u8] {
        // SAFETY: the frame is held, so its memory is valid and the kernel leaves it alone.
        unsafe { std::slice::from_raw_parts(self.frame.data, self.frame.caplen as usize) }
    }

    /// The number that [`numbered`] wrote.
    pub fn number(&self) -> u32 {
        u32::from_be_bytes(self.data()[14..18].try_into().unwrap())
    }

    pub fn address(&self) -> pktring::frame::Address {
        // SAFETY: as for `data`.
        unsafe { *self.frame.addr }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and the frame one of its own.
        let code = unsafe { pktring_release(self.handle.0, &self.frame) };
        assert!(
            code == 0 || std::thread::panicking(),
            "{}",
            self.handle.error()
        );
    }
}

/// A ring of these blocks and slots.
pub fn ring(block_size: u32, block_count: u32, frame_size: u32) -> pktring_ring {
    pktring_ring {
        block_size,
        block_count,
        frame_size,
        ..Default::default()
    }
}

/// An Ethernet frame of `length` bytes to everybody, with a number and a pattern.
pub fn numbered(number: u32, length: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..length).map(|i| (i as u32 * 7 + number) as u8).collect();
    frame[..12].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1]);
    frame[12..14].copy_from_slice(&EXPERIMENT.to_be_bytes());
    frame[14..18].copy_from_slice(&number.to_be_bytes());
    frame
}
