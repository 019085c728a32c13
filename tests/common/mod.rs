//! The C API as the tests call it: every method is one call of the `extern "C"` function it is
//! named after, with the pointers it needs.

#![allow(dead_code)]

pub mod frames;
pub mod process;
pub mod signals;

use pktring::capi::block::{pktring_next_block, pktring_release_block};
use pktring::capi::config::*;
use pktring::capi::error::{pktring_geterr, PKTRING_ERRBUF_SIZE};
use pktring::capi::geometry::{pktring_ring, PKTRING_RX, PKTRING_V1, PKTRING_V2, PKTRING_V3};
use pktring::capi::handle::Handle;
use pktring::capi::{lifecycle::*, rx::*, stats::*, tx::*, wait::*};
use pktring::frame::{Address, Block, Completion, Frame};
use std::ffi::{CStr, CString};
use std::mem::{size_of, MaybeUninit};
use std::os::raw::{c_char, c_void};

/// Every TPACKET version, with its name.
pub const VERSIONS: [(u32, &str); 3] = [(PKTRING_V1, "V1"), (PKTRING_V2, "V2"), (PKTRING_V3, "V3")];

/// Every way of transmitting, with its name.
pub const METHODS: [(u32, &str); 2] = [
    (PKTRING_TX_METHOD_RING, "ring"),
    (PKTRING_TX_METHOD_COPY, "copy"),
];

/// What a test waits for something that must happen. Long, because only a failure takes it.
pub const LIMIT_MS: i32 = 20_000;

/// What a call failed with: the positive errno value and the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub errno: i32,
    pub text: String,
}

/// A handle, closed with the value.
pub struct Pktring {
    raw: *mut Handle,
}

// SAFETY: the tests keep the threading rule of the C API: one thread receives, one transmits,
// any thread asks for statistics or breaks a wait.
unsafe impl Send for Pktring {}
// SAFETY: as above.
unsafe impl Sync for Pktring {}

/// A ring of these blocks and slots, every other field the default.
pub fn ring(block_size: u32, block_count: u32, frame_size: u32) -> pktring_ring {
    pktring_ring {
        size: size_of::<pktring_ring>(),
        block_size,
        block_count,
        frame_size,
        ..Default::default()
    }
}

/// A small ring for that version: as many frames of 1514 bytes fit in it as `frames` says, in
/// pages of their own, so that it is gone round often.
pub fn small_ring(version: u32, frames: u32) -> pktring_ring {
    match version {
        // Even if every frame has a block to itself, handed over by the timeout.
        PKTRING_V3 => pktring_ring {
            retire_timeout_ms: 1,
            ..ring(4096, frames, 2048)
        },
        _ => ring(4096, frames / 2, 2048),
    }
}

/// The bytes of a frame that is held.
pub fn data(frame: &Frame) -> &[u8] {
    // SAFETY: the library promises caplen bytes at data for as long as the frame is held, which
    // is as long as the tests keep its descriptor in use.
    unsafe { std::slice::from_raw_parts(frame.data, frame.caplen as usize) }
}

/// The address of a frame that is held.
pub fn address(frame: &Frame) -> Address {
    // SAFETY: never NULL, valid while the frame is held.
    unsafe { *frame.addr }
}

/// Writes a frame into a slot that is reserved.
pub fn write(slot: &pktring_slot, bytes: &[u8]) {
    assert!(bytes.len() <= slot.capacity as usize);
    // SAFETY: the library promises capacity bytes at data while the slot is reserved.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), slot.data, bytes.len()) };
}

/// A text of the library.
pub fn text(text: *const c_char) -> String {
    // SAFETY: the library's texts are strings, never NULL, and are copied at once.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned()
}

impl Pktring {
    /// A handle that is not active.
    pub fn open(device: &str) -> Pktring {
        let device = CString::new(device).unwrap();
        let mut errbuf = [0; PKTRING_ERRBUF_SIZE];
        // SAFETY: a string, and a buffer of the documented size.
        let raw = unsafe { pktring_open(device.as_ptr(), errbuf.as_mut_ptr()) };
        assert!(!raw.is_null(), "{}", text(errbuf.as_ptr()));
        Pktring { raw }
    }

    /// A handle with this version and this receive ring, active.
    pub fn capture(device: &str, version: u32, ring: &pktring_ring) -> Pktring {
        Pktring::open(device)
            .version(version)
            .ring(PKTRING_RX, ring)
            .activate()
    }

    pub fn raw(&self) -> *mut Handle {
        self.raw
    }

    /// A returned value, or the failure it stands for.
    pub fn result(&self, code: i32) -> Result<i32, Failure> {
        match code {
            code if code < 0 => Err(Failure {
                errno: -code,
                text: self.error(),
            }),
            code => Ok(code),
        }
    }

    fn must(self, code: i32) -> Pktring {
        self.result(code).unwrap();
        self
    }

    pub fn error(&self) -> String {
        // SAFETY: the handle is open.
        text(unsafe { pktring_geterr(self.raw) })
    }

    pub fn version(self, version: u32) -> Pktring {
        // SAFETY: the handle is open; the same holds for every call below.
        let code = unsafe { pktring_set_version(self.raw, version) };
        self.must(code)
    }

    pub fn mode(self, mode: u32) -> Pktring {
        // SAFETY: see `version`.
        let code = unsafe { pktring_set_mode(self.raw, mode) };
        self.must(code)
    }

    pub fn protocol(self, ethertype: u32) -> Pktring {
        // SAFETY: see `version`.
        let code = unsafe { pktring_set_protocol(self.raw, ethertype) };
        self.must(code)
    }

    pub fn snaplen(self, snaplen: u32) -> Pktring {
        // SAFETY: see `version`.
        let code = unsafe { pktring_set_snaplen(self.raw, snaplen) };
        self.must(code)
    }

    pub fn promisc(self, on: bool) -> Pktring {
        // SAFETY: see `version`.
        let code = unsafe { pktring_set_promisc(self.raw, on.into()) };
        self.must(code)
    }

    pub fn filter(self, program: &[pktring_insn]) -> Pktring {
        self.set_filter(program).unwrap();
        self
    }

    /// An empty program stands for none.
    pub fn set_filter(&self, program: &[pktring_insn]) -> Result<i32, Failure> {
        let first = match program {
            [] => std::ptr::null(),
            program => program.as_ptr(),
        };
        // SAFETY: see `version`; as many instructions as the slice has.
        let code = unsafe { pktring_set_filter(self.raw, first, program.len() as u32) };
        self.result(code)
    }

    pub fn ring(self, direction: u32, ring: &pktring_ring) -> Pktring {
        self.set_ring(direction, ring).unwrap();
        self
    }

    pub fn tx_method(self, method: u32) -> Pktring {
        // SAFETY: see `version`.
        self.result(unsafe { pktring_set_tx_method(self.raw, method) })
            .unwrap();
        self
    }

    pub fn set_ring(&self, direction: u32, ring: &pktring_ring) -> Result<i32, Failure> {
        // SAFETY: see `version`; the struct has its size.
        self.result(unsafe { pktring_set_ring(self.raw, direction, ring) })
    }

    pub fn get_ring(&self, direction: u32) -> Result<pktring_ring, Failure> {
        let mut found = ring(0, 0, 0);
        // SAFETY: see `version`; the struct has its size.
        self.result(unsafe { pktring_get_ring(self.raw, direction, &mut found) })?;
        Ok(found)
    }

    pub fn activate(self) -> Pktring {
        self.try_activate().unwrap();
        self
    }

    pub fn try_activate(&self) -> Result<i32, Failure> {
        // SAFETY: see `version`.
        self.result(unsafe { pktring_activate(self.raw) })
    }

    pub fn next(&self) -> Result<Option<Frame>, Failure> {
        let mut frame = MaybeUninit::uninit();
        // SAFETY: see `version`; room for one descriptor, which is written when 1 is returned.
        unsafe {
            let taken = self.result(pktring_next_frame(self.raw, frame.as_mut_ptr()))?;
            Ok((taken == 1).then(|| frame.assume_init()))
        }
    }

    /// The next frame, waited for.
    pub fn take(&self) -> Frame {
        loop {
            if let Some(frame) = self.next().unwrap() {
                return frame;
            }
            assert_eq!(self.wait_rx(LIMIT_MS), Ok(1), "no frame arrived");
        }
    }

    /// The next frame of [`frames`], waited for; others are released unread.
    pub fn take_own(&self) -> Frame {
        loop {
            let frame = self.take();
            if frames::is_own(data(&frame)) {
                return frame;
            }
            self.release(&frame).unwrap();
        }
    }

    pub fn release(&self, frame: &Frame) -> Result<i32, Failure> {
        // SAFETY: see `version`; a descriptor.
        self.result(unsafe { pktring_release(self.raw, frame) })
    }

    pub fn next_batch(&self, max: u32) -> Result<Vec<Frame>, Failure> {
        let mut frames = Vec::with_capacity(max as usize);
        // SAFETY: see `version`; room for max descriptors, of which as many are written as the
        // result says.
        unsafe {
            let taken = self.result(pktring_next_batch(self.raw, frames.as_mut_ptr(), max))?;
            frames.set_len(taken as usize);
        }
        Ok(frames)
    }

    pub fn release_batch(&self, frames: &[Frame]) -> Result<i32, Failure> {
        // SAFETY: see `version`; as many descriptors as the slice has.
        self.result(unsafe {
            pktring_release_batch(self.raw, frames.as_ptr(), frames.len() as u32)
        })
    }

    pub fn next_block(&self) -> Result<Option<Block>, Failure> {
        let mut block = MaybeUninit::uninit();
        // SAFETY: see `version`; room for one descriptor, which is written when 1 is returned.
        unsafe {
            let taken = self.result(pktring_next_block(self.raw, block.as_mut_ptr()))?;
            Ok((taken == 1).then(|| block.assume_init()))
        }
    }

    /// The next block, waited for.
    pub fn take_block(&self) -> Block {
        loop {
            if let Some(block) = self.next_block().unwrap() {
                return block;
            }
            assert_eq!(self.wait_rx(LIMIT_MS), Ok(1), "no block arrived");
        }
    }

    pub fn release_block(&self, block: &Block) -> Result<i32, Failure> {
        // SAFETY: see `version`; a descriptor.
        self.result(unsafe { pktring_release_block(self.raw, block) })
    }

    /// A slot of the transmit ring; `None` when it is full.
    pub fn reserve(&self) -> Result<Option<pktring_slot>, Failure> {
        let mut slot = MaybeUninit::uninit();
        // SAFETY: see `version`; room for one descriptor, which is written when 1 is returned.
        unsafe {
            let got = self.result(pktring_tx_reserve(self.raw, slot.as_mut_ptr()))?;
            Ok((got == 1).then(|| slot.assume_init()))
        }
    }

    pub fn commit(&self, slot: &pktring_slot, length: u32) -> Result<i32, Failure> {
        // SAFETY: see `version`; a descriptor.
        self.result(unsafe { pktring_tx_commit(self.raw, slot, length) })
    }

    pub fn abort(&self, slot: &pktring_slot) -> Result<i32, Failure> {
        // SAFETY: see `version`; a descriptor.
        self.result(unsafe { pktring_tx_abort(self.raw, slot) })
    }

    /// Reserves, writes and commits a frame; false when the ring is full.
    pub fn put(&self, bytes: &[u8], user_data: u64) -> Result<bool, Failure> {
        let mut slot = match self.reserve()? {
            Some(slot) => slot,
            None => return Ok(false),
        };
        slot.user_data = user_data;
        write(&slot, bytes);
        self.commit(&slot, bytes.len() as u32)?;
        Ok(true)
    }

    pub fn flush(&self, timeout_ms: i32) -> Result<i32, Failure> {
        // SAFETY: see `version`.
        self.result(unsafe { pktring_tx_flush(self.raw, timeout_ms) })
    }

    /// Every completion that is there.
    pub fn completions(&self) -> Vec<Completion> {
        let mut all = vec![Completion::default(); 4096];
        // SAFETY: see `version`; as many elements as the vector has.
        let got = unsafe { pktring_tx_complete(self.raw, all.as_mut_ptr(), all.len() as u32) };
        all.truncate(self.result(got).unwrap() as usize);
        all
    }

    /// Sends to that hardware address with that EtherType from now on.
    pub fn destination(&self, to: [u8; 6], ethertype: u16) {
        self.destination_on(0, to, ethertype);
    }

    /// The same, through that interface.
    pub fn destination_on(&self, ifindex: u32, to: [u8; 6], ethertype: u16) {
        let mut addr = [0; 8];
        addr[..6].copy_from_slice(&to);
        let address = Address {
            family: 0,
            protocol: ethertype.to_be(),
            ifindex: ifindex as i32,
            hatype: 0,
            pkttype: 0,
            halen: 6,
            addr,
        };
        // SAFETY: see `version`; an address.
        self.result(unsafe { pktring_set_destination(self.raw, &address) })
            .unwrap();
    }

    pub fn wait(&self, events: u32, timeout_ms: i32) -> Result<u32, Failure> {
        // SAFETY: see `version`.
        self.result(unsafe { pktring_wait(self.raw, events, timeout_ms) })
            .map(|ready| ready as u32)
    }

    pub fn wait_rx(&self, timeout_ms: i32) -> Result<u32, Failure> {
        self.wait(PKTRING_RX, timeout_ms)
    }

    pub fn fd(&self) -> i32 {
        // SAFETY: see `version`.
        self.result(unsafe { pktring_fd(self.raw) }).unwrap()
    }

    /// What the kernel's own poll() says of the descriptor within that time.
    pub fn poll(&self, events: i16, timeout_ms: i32) -> i16 {
        let mut ready = libc::pollfd {
            fd: self.fd(),
            events,
            revents: 0,
        };
        // SAFETY: the kernel reads and writes one pollfd.
        assert!(unsafe { libc::poll(&mut ready, 1, timeout_ms) } >= 0);
        ready.revents
    }

    pub fn breakloop(&self) {
        // SAFETY: see `version`.
        unsafe { pktring_breakloop(self.raw) };
    }

    pub fn dispatch(
        &self,
        count: i32,
        timeout_ms: i32,
        mut callback: impl FnMut(&Frame),
    ) -> Result<i32, Failure> {
        let mut callback: &mut dyn FnMut(&Frame) = &mut callback;
        let user: *mut c_void = (&raw mut callback).cast();
        // SAFETY: see `version`; `call` gets the closure it expects, alive during the call.
        self.result(unsafe { pktring_dispatch(self.raw, count, timeout_ms, Some(call), user) })
    }

    pub fn looped(&self, count: i32, mut callback: impl FnMut(&Frame)) -> Result<i32, Failure> {
        let mut callback: &mut dyn FnMut(&Frame) = &mut callback;
        let user: *mut c_void = (&raw mut callback).cast();
        // SAFETY: as in `dispatch`.
        self.result(unsafe { pktring_loop(self.raw, count, Some(call), user) })
    }

    pub fn stats(&self) -> pktring_stats {
        let mut stats = pktring_stats {
            size: size_of::<pktring_stats>(),
            ..Default::default()
        };
        // SAFETY: see `version`; the struct has its size.
        self.result(unsafe { pktring_stats(self.raw, &mut stats) })
            .unwrap();
        stats
    }

    /// Closes and returns what the library says.
    pub fn close(mut self) -> i32 {
        let raw = std::mem::replace(&mut self.raw, std::ptr::null_mut());
        // SAFETY: the handle is open and given up.
        unsafe { pktring_close(raw) }
    }
}

impl Drop for Pktring {
    fn drop(&mut self) {
        // SAFETY: the handle is open, or NULL, which is allowed.
        unsafe { pktring_close(self.raw) };
    }
}

/// Calls the closure behind `user`.
unsafe extern "C" fn call(user: *mut c_void, frame: *const Frame) {
    // SAFETY: `user` is the closure that `dispatch` or `looped` passed, the frame is valid
    // during the call.
    unsafe { (*user.cast::<&mut dyn FnMut(&Frame)>())(&*frame) }
}
