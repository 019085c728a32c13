//! What the tests of the options share: a handle that is closed with its value, and frames.

#![allow(dead_code)]

pub mod bpf;
pub mod group;

use pktring::capi::error::{pktring_geterr, PKTRING_ERRBUF_SIZE};
use pktring::capi::geometry::{pktring_ring, PKTRING_RX, PKTRING_V2};
use pktring::capi::handle::Handle;
use pktring::capi::{config::*, lifecycle::*, rx::*, stats::*, wait::*};
use pktring::frame::Frame;
use std::ffi::{CStr, CString};
use std::mem::{size_of, MaybeUninit};
use std::os::raw::{c_char, c_int};
use std::time::{Duration, Instant};

/// EtherType for local experiments: nobody else's traffic has it.
pub const EXPERIMENT: u16 = 0x88b5;

/// Long, because only a failure takes it.
pub const LIMIT: Duration = Duration::from_secs(10);

/// How long to wait for what must not come.
pub const QUIET: Duration = Duration::from_millis(150);

/// A handle, closed with the value.
pub struct Ring(pub *mut Handle);

// SAFETY: the tests keep the threading rule: one thread at a time uses a handle.
unsafe impl Send for Ring {}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the handle is open, and this is its last use.
        unsafe { pktring_close(self.0) };
    }
}

/// What the tests look at of a frame, copied before it is released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub data: Vec<u8>,
    pub len: u32,
    pub status: u32,
    pub timestamp: u64,
    pub pkttype: u8,
}

impl Seen {
    /// The number that [`frame`] wrote.
    pub fn number(&self) -> u32 {
        u32::from_be_bytes(self.data[14..18].try_into().unwrap())
    }
}

impl Ring {
    /// A handle that is not active.
    pub fn open(device: &str) -> Ring {
        let device = CString::new(device).unwrap();
        let mut text = [0; PKTRING_ERRBUF_SIZE];
        // SAFETY: a string, and a buffer of the documented size.
        let handle = unsafe { pktring_open(device.as_ptr(), text.as_mut_ptr()) };
        assert!(!handle.is_null(), "{}", string(text.as_ptr()));
        Ring(handle)
    }

    /// An active handle that hands over every frame at once: V2, with all defaults.
    pub fn active(device: &str) -> Ring {
        let ring = Ring::open(device);
        ring.version(PKTRING_V2);
        ring.activate();
        ring
    }

    pub fn version(&self, version: u32) {
        // SAFETY: the handle is open; so in every call below.
        self.must(unsafe { pktring_set_version(self.0, version) });
    }

    /// Asks for a receive ring of blocks and slots of these sizes.
    pub fn receive(&self, block_size: u32, block_count: u32, frame_size: u32) {
        let request = pktring_ring {
            size: size_of::<pktring_ring>(),
            block_size,
            block_count,
            frame_size,
            ..Default::default()
        };
        // SAFETY: the struct starts with its size.
        self.must(unsafe { pktring_set_ring(self.0, PKTRING_RX, &request) });
    }

    pub fn activate(&self) {
        // SAFETY: see `version`.
        self.must(unsafe { pktring_activate(self.0) });
    }

    /// The error and the text of an activation that has to fail.
    pub fn refused(&self) -> (c_int, String) {
        // SAFETY: see `version`.
        let code = unsafe { pktring_activate(self.0) };
        assert!(code < 0, "activation succeeded");
        (-code, self.error())
    }

    pub fn error(&self) -> String {
        // SAFETY: see `version`.
        string(unsafe { pktring_geterr(self.0) })
    }

    /// Checks that a call succeeded.
    #[track_caller]
    pub fn must(&self, code: c_int) {
        assert!(code >= 0, "{code}: {}", self.error());
    }

    /// Checks that a call failed with this errno value and a text that says `word`.
    #[track_caller]
    pub fn must_fail(&self, code: c_int, errno: c_int, word: &str) {
        let text = self.error();
        assert_eq!(code, -errno, "{text}");
        assert!(text.contains(word), "'{text}' does not say '{word}'");
    }

    /// The next frame, if one comes in time.
    pub fn next(&self, limit: Duration) -> Option<Seen> {
        let end = Instant::now() + limit;
        loop {
            let mut frame = MaybeUninit::<Frame>::uninit();
            // SAFETY: see `version`; room for one descriptor, read only when it was written,
            // whose pointers hold until it is released.
            unsafe {
                let taken = pktring_next_frame(self.0, frame.as_mut_ptr());
                self.must(taken);
                if taken == 1 {
                    let frame = frame.assume_init_ref();
                    let data = std::slice::from_raw_parts(frame.data, frame.caplen as usize);
                    let seen = Seen {
                        data: data.to_vec(),
                        len: frame.len,
                        status: frame.status,
                        timestamp: frame.timestamp,
                        pkttype: (*frame.addr).pkttype,
                    };
                    self.must(pktring_release(self.0, frame));
                    return Some(seen);
                }
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return None;
                }
                self.must(pktring_wait(
                    self.0,
                    PKTRING_RX,
                    left.as_millis() as c_int + 1,
                ));
            }
        }
    }

    /// The next frame that [`frame`] or another experiment made.
    pub fn next_own(&self, limit: Duration) -> Option<Seen> {
        let end = Instant::now() + limit;
        loop {
            let seen = self.next(end.saturating_duration_since(Instant::now()))?;
            if seen.data[12..14] == EXPERIMENT.to_be_bytes() {
                return Some(seen);
            }
        }
    }

    /// The numbers of the next `count` frames of [`frame`], all of which must come.
    #[track_caller]
    pub fn numbers(&self, count: usize) -> Vec<u32> {
        (0..count)
            .map(|i| match self.next_own(LIMIT) {
                Some(seen) => seen.number(),
                None => panic!("frame {i} of {count} did not come"),
            })
            .collect()
    }

    /// The numbers of all frames of [`frame`] that come until it is quiet.
    pub fn drain(&self) -> Vec<u32> {
        std::iter::from_fn(|| self.next_own(QUIET))
            .map(|seen| seen.number())
            .collect()
    }

    pub fn stats(&self) -> pktring_stats {
        let mut stats = pktring_stats {
            size: size_of::<pktring_stats>(),
            ..Default::default()
        };
        // SAFETY: see `version`; the struct has its size.
        self.must(unsafe { pktring_stats(self.0, &mut stats) });
        stats
    }
}

fn string(text: *const c_char) -> String {
    // SAFETY: the library's texts are strings, never NULL, and copied at once.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned()
}

/// An Ethernet frame of 60 bytes to everybody, with a number.
pub fn frame(number: u32) -> [u8; 60] {
    frame_to([0xff; 6], number)
}

/// The same to one address.
pub fn frame_to(address: [u8; 6], number: u32) -> [u8; 60] {
    let mut frame = [0; 60];
    frame[..6].copy_from_slice(&address);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    frame[12..14].copy_from_slice(&EXPERIMENT.to_be_bytes());
    frame[14..18].copy_from_slice(&number.to_be_bytes());
    frame
}
