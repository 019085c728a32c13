//! Every function of the C API in arbitrary order with arbitrary arguments, over a kernel made of
//! arbitrary bytes: what is promised to a caller who keeps the rules must hold, and one who breaks
//! those that can be checked must be told.

use super::world;
use arbitrary::{Result, Unstructured};
use pktring::capi::block::*;
use pktring::capi::config::*;
use pktring::capi::error::*;
use pktring::capi::geometry::*;
use pktring::capi::handle::Handle;
use pktring::capi::iter::{pktring_iter_init, pktring_iter_next, Iter};
use pktring::capi::lifecycle::*;
use pktring::capi::membership::*;
use pktring::capi::rx::*;
use pktring::capi::stats::*;
use pktring::capi::tx::*;
use pktring::capi::wait::*;
use pktring::frame::{Address, Block, Completion, Frame};
use std::cell::Cell;
use std::ffi::CStr;
use std::mem::{size_of, MaybeUninit};
use std::os::raw::{c_char, c_int, c_void};
use std::ptr::{null, null_mut};

thread_local! {
    /// The handle in use, for what has to stop it.
    static HANDLE: Cell<*mut Handle> = const { Cell::new(null_mut()) };
}

/// Ends what waits without limit. The kernel calls it when that has gone on for long enough.
pub fn stop() {
    // SAFETY: NULL or the open handle.
    unsafe { pktring_breakloop(HANDLE.get()) };
}

/// Makes the calls that `data` stands for. Its second half is the kernel's.
pub fn run(data: &[u8]) {
    let (program, kernel) = data.split_at(data.len() / 2);
    let _reign = world::begin(kernel);
    let mut input = Unstructured::new(program);
    let mut caller = Caller::default();
    while !input.is_empty() && caller.call(&mut input).is_ok() {}
    caller.close();
}

#[derive(Default)]
struct Caller {
    handle: Option<*mut Handle>,
    frames: Vec<Frame>,
    blocks: Vec<Block>,
    slots: Vec<pktring_slot>,
}

/// What a call may return: a count, or a negative errno value that is not the one of a panic.
fn check(handle: *mut Handle, code: c_int) -> c_int {
    assert!(code > -200, "{code} is no errno value");
    assert_ne!(code, -libc::EIO, "a panic was caught");
    if code < 0 {
        // SAFETY: NULL or an open handle; both have texts.
        let (text, general) = unsafe {
            let general = CStr::from_ptr(pktring_strerror(code));
            (CStr::from_ptr(pktring_geterr(handle)), general)
        };
        assert!(!general.to_bytes().is_empty());
        assert!(text.to_bytes().len() < PKTRING_ERRBUF_SIZE);
    }
    code
}

impl Caller {
    fn handle(&self) -> *mut Handle {
        self.handle.unwrap_or(null_mut())
    }

    /// Checks a result with the text behind it.
    fn check(&self, code: c_int) -> c_int {
        check(self.handle(), code)
    }

    fn call(&mut self, input: &mut Unstructured) -> Result<()> {
        world::be_patient();
        match input.int_in_range(0..=28u8)? {
            0 => self.open(input)?,
            1 => self.close(),
            2 => self.set_number(input)?,
            3 | 4 => self.set_ring(input)?,
            5 => self.set_filter(input)?,
            6 => self.membership(input)?,
            // SAFETY: NULL or an open handle, here and below.
            7 => drop(self.check(unsafe { pktring_activate(self.handle()) })),
            8 | 9 => self.next_frame(),
            10 | 11 => self.release(input)?,
            12 => self.next_batch(input)?,
            13 => self.release_batch(),
            14 => self.next_block(),
            15 => self.release_block(input)?,
            16 => self.wait(input)?,
            17 => self.dispatch(input)?,
            18 | 19 => self.reserve(),
            20 | 21 => self.commit(input)?,
            22 => self.abort(input)?,
            23 => self.flush(input)?,
            24 => self.complete(input)?,
            25 => self.inject(input)?,
            26 => self.ask(input)?,
            27 => geometry(input)?,
            _ => self.null(input)?,
        }
        world::happen();
        Ok(())
    }

    fn open(&mut self, input: &mut Unstructured) -> Result<()> {
        if self.handle.is_some() {
            return Ok(());
        }
        let name = *input.choose(&[c"x0", c"any", c"", c"a/b", c"0123456789abcdef", c"\xff"])?;
        let mut text = [0x55 as c_char; PKTRING_ERRBUF_SIZE];
        let text = text.as_mut_ptr();
        // SAFETY: a string and a buffer of the documented size.
        let handle = unsafe {
            match input.int_in_range(0..=9u8)? {
                0 => pktring_open_capture(name.as_ptr(), input.arbitrary()?, 1, text),
                1 => pktring_open_transmit(name.as_ptr(), text),
                2 => pktring_open(null(), text),
                _ => pktring_open(name.as_ptr(), text),
            }
        };
        if handle.is_null() {
            // SAFETY: the library wrote a string.
            assert!(unsafe { CStr::from_ptr(text) }.to_bytes().len() > 5);
        } else {
            self.handle = Some(handle);
            HANDLE.set(handle);
        }
        Ok(())
    }

    fn close(&mut self) {
        HANDLE.set(null_mut());
        // SAFETY: NULL or an open handle, whose last use this is.
        let code = unsafe { pktring_close(self.handle()) };
        assert!(code >= 0, "{code}");
        *self = Caller::default();
    }

    fn set_number(&mut self, input: &mut Unstructured) -> Result<()> {
        let handle = self.handle();
        let small = u32::from(input.int_in_range(0..=4u8)?);
        // SAFETY: NULL or an open handle.
        let code = unsafe {
            match input.int_in_range(0..=8u8)? {
                0 | 1 => pktring_set_version(handle, small),
                2 => pktring_set_mode(handle, small),
                3 => pktring_set_protocol(handle, input.arbitrary()?),
                4 => pktring_set_profile(handle, small),
                5 => pktring_set_snaplen(handle, input.arbitrary()?),
                6 => pktring_set_promisc(handle, small as c_int),
                7 => pktring_set_tx_method(handle, small),
                // Spinning takes the world a call a microsecond.
                _ => pktring_set_spin(handle, input.int_in_range(0..=100)?),
            }
        };
        self.check(code);
        Ok(())
    }

    fn set_ring(&mut self, input: &mut Unstructured) -> Result<()> {
        let direction = *input.choose(&[PKTRING_RX, PKTRING_TX, PKTRING_RX, PKTRING_TX, 0, 3])?;
        let mut ring = pktring_ring {
            size: size_of::<pktring_ring>(),
            block_size: *input.choose(&[4096, 8192, 16384, 0, 4095, u32::MAX])?,
            block_count: *input.choose(&[1, 2, 3, 4, 0, u32::MAX])?,
            frame_size: *input.choose(&[2048, 256, 1024, 128, 4096, 1500, 80, 0, u32::MAX])?,
            ..Default::default()
        };
        if input.ratio(1, 8u8)? {
            ring.frame_count = input.arbitrary()?;
            ring.private_size = input.arbitrary()?;
            ring.features = input.arbitrary()?;
            ring.retire_timeout_ms = input.arbitrary()?;
            ring.reserved = input.arbitrary()?;
        }
        if input.ratio(1, 8u8)? {
            ring.size = input.int_in_range(0..=size_of::<pktring_ring>())?;
        }
        // SAFETY: NULL or an open handle; the struct has at least its size.
        self.check(unsafe { pktring_set_ring(self.handle(), direction, &ring) });
        // SAFETY: as above.
        self.check(unsafe { pktring_get_ring(self.handle(), direction, &mut ring) });
        Ok(())
    }

    fn set_filter(&mut self, input: &mut Unstructured) -> Result<()> {
        let count = input.int_in_range(0..=4u8)?;
        let mut program = Vec::new();
        for _ in 0..count {
            program.push(pktring_insn {
                code: *input.choose(&[6, 0x16, 0x28, 0xffff])?,
                jt: 0,
                jf: 0,
                k: input.arbitrary()?,
            });
        }
        // SAFETY: as many instructions as are said.
        self.check(unsafe { pktring_set_filter(self.handle(), program.as_ptr(), count.into()) });
        Ok(())
    }

    fn membership(&mut self, input: &mut Unstructured) -> Result<()> {
        let address: [u8; 40] = input.arbitrary()?;
        let (kind, len) = (input.int_in_range(0..=5)?, input.int_in_range(0..=40)?);
        let change = match input.arbitrary()? {
            true => pktring_add_membership,
            false => pktring_drop_membership,
        };
        // SAFETY: as many bytes as are said.
        self.check(unsafe { change(self.handle(), kind, address.as_ptr(), len) });
        Ok(())
    }

    /// A frame must lie in the ring, whatever the ring says. One without bytes may be anywhere:
    /// the block iterator makes such frames of what reaches beyond the block.
    fn inspect(frame: &Frame) {
        assert!(world::is_ring(frame.addr.cast(), 20), "{frame:?}");
        if frame.caplen != 0 {
            let len = frame.caplen as usize;
            assert!(world::is_ring(frame.data, len), "{frame:?}");
            // SAFETY: just checked.
            unsafe {
                frame.data.read_volatile();
                frame.data.add(frame.caplen as usize - 1).read_volatile();
            }
        }
    }

    fn next_frame(&mut self) {
        let mut frame = MaybeUninit::<Frame>::uninit();
        // SAFETY: room for one.
        if self.check(unsafe { pktring_next_frame(self.handle(), frame.as_mut_ptr()) }) == 1 {
            // SAFETY: 1 says that it was written.
            let frame = unsafe { frame.assume_init() };
            Self::inspect(&frame);
            self.frames.push(frame);
        }
    }

    /// Releases a frame, perhaps one that was released before or was tampered with.
    fn release(&mut self, input: &mut Unstructured) -> Result<()> {
        if self.frames.is_empty() {
            return Ok(());
        }
        let at = input.int_in_range(0..=self.frames.len() as u32 - 1)? as usize;
        let mut frame = match input.ratio(1, 4u8)? {
            true => self.frames[at],
            false => self.frames.swap_remove(at),
        };
        if input.ratio(1, 16u8)? {
            frame.number = frame.number.wrapping_add(input.arbitrary::<i8>()? as u64);
            frame.addr = frame.addr.wrapping_byte_add(input.arbitrary()?);
        }
        // SAFETY: a descriptor.
        self.check(unsafe { pktring_release(self.handle(), &frame) });
        Ok(())
    }

    fn next_batch(&mut self, input: &mut Unstructured) -> Result<()> {
        let most = input.int_in_range(0..=20)?;
        let mut frames = [const { MaybeUninit::<Frame>::uninit() }; 20];
        let first = frames.as_mut_ptr().cast();
        // SAFETY: room for 20.
        let taken = self.check(unsafe { pktring_next_batch(self.handle(), first, most) });
        assert!(taken <= most as c_int);
        for frame in &frames[..taken.max(0) as usize] {
            // SAFETY: the result says that it was written.
            let frame = unsafe { frame.assume_init() };
            Self::inspect(&frame);
            self.frames.push(frame);
        }
        Ok(())
    }

    fn release_batch(&mut self) {
        let frames = std::mem::take(&mut self.frames);
        let count = frames.len() as u32;
        // SAFETY: as many descriptors as are said.
        self.check(unsafe { pktring_release_batch(self.handle(), frames.as_ptr(), count) });
    }

    fn next_block(&mut self) {
        let mut block = MaybeUninit::<Block>::uninit();
        // SAFETY: room for one.
        if self.check(unsafe { pktring_next_block(self.handle(), block.as_mut_ptr()) }) == 1 {
            // SAFETY: 1 says that it was written.
            let block = unsafe { block.assume_init() };
            assert!(world::is_ring(block.base, block.size as usize));
            let private = block.private_area;
            assert!(private.is_null() || world::is_ring(private, block.private_size as usize));
            self.blocks.push(block);
            self.walk(&block);
        }
    }

    fn walk(&self, block: &Block) {
        let mut iter = MaybeUninit::<Iter>::uninit();
        let mut frame = MaybeUninit::<Frame>::uninit();
        // SAFETY: room for an iterator, and a block that is held.
        unsafe {
            pktring_iter_init(iter.as_mut_ptr(), block);
            let mut seen = 0;
            while pktring_iter_next(iter.as_mut_ptr(), frame.as_mut_ptr()) == 1 {
                Self::inspect(frame.assume_init_ref());
                seen += 1;
            }
            assert!(seen <= block.frame_count);
        }
    }

    fn release_block(&mut self, input: &mut Unstructured) -> Result<()> {
        if self.blocks.is_empty() {
            return Ok(());
        }
        let at = input.int_in_range(0..=self.blocks.len() as u32 - 1)? as usize;
        let mut block = self.blocks[at];
        if input.ratio(1, 8u8)? {
            block.slot = input.arbitrary()?;
        } else {
            self.blocks.swap_remove(at);
        }
        // SAFETY: a descriptor.
        self.check(unsafe { pktring_release_block(self.handle(), &block) });
        Ok(())
    }

    fn wait(&mut self, input: &mut Unstructured) -> Result<()> {
        let (events, timeout) = (input.int_in_range(0..=4)?, time(input)?);
        // SAFETY: NULL or an open handle.
        let ready = self.check(unsafe { pktring_wait(self.handle(), events, timeout) });
        assert!(ready <= 0 || ready as u32 & !events == 0);
        Ok(())
    }

    fn dispatch(&mut self, input: &mut Unstructured) -> Result<()> {
        /// Uses the handle as a callback may, and asks to stop now and then.
        unsafe extern "C" fn handle_frame(user: *mut c_void, frame: *const Frame) {
            // SAFETY: a frame, and the counter given along.
            unsafe {
                Caller::inspect(&*frame);
                let seen = user.cast::<u32>();
                *seen += 1;
                assert_eq!(pktring_close(HANDLE.get()), -libc::EBUSY);
                if *seen % 5 == 0 {
                    stop();
                }
            }
        }
        let (count, timeout) = (input.int_in_range(-1..=9)?, time(input)?);
        let (handle, mut seen) = (self.handle(), 0u32);
        let user: *mut c_void = (&raw mut seen).cast();
        // SAFETY: the callback takes what it is given.
        let code = unsafe {
            match input.arbitrary()? {
                true => pktring_dispatch(handle, count, timeout, Some(handle_frame), user),
                false => pktring_loop(handle, count, Some(handle_frame), user),
            }
        };
        self.check(code);
        Ok(())
    }

    fn reserve(&mut self) {
        let mut slot = MaybeUninit::<pktring_slot>::uninit();
        // SAFETY: room for one.
        if self.check(unsafe { pktring_tx_reserve(self.handle(), slot.as_mut_ptr()) }) == 1 {
            // SAFETY: 1 says that it was written.
            let slot = unsafe { slot.assume_init() };
            assert!(world::is_slot(slot.data, slot.capacity as usize));
            // SAFETY: just checked, and ours until it is committed.
            unsafe { slot.data.write_bytes(0xab, slot.capacity as usize) };
            self.slots.push(slot);
        }
    }

    fn slot(&mut self, input: &mut Unstructured) -> Result<Option<pktring_slot>> {
        if self.slots.is_empty() {
            return Ok(None);
        }
        let at = input.int_in_range(0..=self.slots.len() as u32 - 1)? as usize;
        let mut slot = match input.ratio(1, 8u8)? {
            true => self.slots[at],
            false => self.slots.swap_remove(at),
        };
        if input.ratio(1, 16u8)? {
            slot.number = slot.number.wrapping_add(input.arbitrary::<i8>()? as u64);
            slot.offset = input.arbitrary()?;
        }
        Ok(Some(slot))
    }

    fn commit(&mut self, input: &mut Unstructured) -> Result<()> {
        let length = match input.ratio(1, 8u8)? {
            true => input.arbitrary()?,
            false => input.int_in_range(0..=2048)?,
        };
        if let Some(slot) = self.slot(input)? {
            // SAFETY: a descriptor.
            self.check(unsafe { pktring_tx_commit(self.handle(), &slot, length) });
        }
        Ok(())
    }

    fn abort(&mut self, input: &mut Unstructured) -> Result<()> {
        if let Some(slot) = self.slot(input)? {
            // SAFETY: a descriptor.
            self.check(unsafe { pktring_tx_abort(self.handle(), &slot) });
        }
        Ok(())
    }

    fn flush(&mut self, input: &mut Unstructured) -> Result<()> {
        // SAFETY: NULL or an open handle.
        self.check(unsafe { pktring_tx_flush(self.handle(), time(input)?) });
        Ok(())
    }

    fn complete(&mut self, input: &mut Unstructured) -> Result<()> {
        let most = input.int_in_range(0..=8)?;
        let mut out = [Completion::default(); 8];
        // SAFETY: room for 8.
        let got = self.check(unsafe { pktring_tx_complete(self.handle(), out.as_mut_ptr(), most) });
        assert!(got <= most as c_int);
        Ok(())
    }

    fn inject(&mut self, input: &mut Unstructured) -> Result<()> {
        let bytes = [0x5a_u8; 3000];
        let handle = self.handle();
        let length = input.int_in_range(0..=3000usize)?;
        // SAFETY: as many bytes, or buffers, as are said.
        let code = unsafe {
            match input.int_in_range(0..=2u8)? {
                0 => pktring_inject(handle, bytes.as_ptr().cast(), length),
                1 => {
                    let buffer = pktring_buffer {
                        data: bytes.as_ptr().cast(),
                        length,
                    };
                    let count = input.int_in_range(0..=70u8)?;
                    let buffers = vec![buffer; count.into()];
                    pktring_inject_batch(handle, buffers.as_ptr(), count.into())
                }
                _ => {
                    // SAFETY: Address is plain data.
                    let mut to: Address = std::mem::zeroed();
                    to.halen = input.arbitrary()?;
                    to.ifindex = input.arbitrary()?;
                    pktring_set_destination(handle, &to)
                }
            }
        };
        self.check(code);
        Ok(())
    }

    fn ask(&mut self, input: &mut Unstructured) -> Result<()> {
        let handle = self.handle();
        let mut stats = pktring_stats {
            size: *input.choose(&[size_of::<pktring_stats>(), 0, 8, usize::MAX])?,
            ..Default::default()
        };
        // SAFETY: NULL or an open handle; the struct has its size, or one that is refused.
        unsafe {
            if self.check(pktring_stats(handle, &mut stats)) == 0 {
                assert!(stats.held <= stats.frames);
            }
            self.check(pktring_linktype(handle));
            self.check(pktring_fd(handle));
            pktring_breakloop(handle);
            assert!(!pktring_version().is_null());
            assert!(!pktring_strerror(input.arbitrary()?).is_null());
        }
        Ok(())
    }

    /// NULL where it is not allowed: always an error; -EFAULT when there is no other reason.
    fn null(&mut self, input: &mut Unstructured) -> Result<()> {
        let handle = self.handle();
        // SAFETY: that NULL is answered is what is under test.
        let code = unsafe {
            match input.int_in_range(0..=15u8)? {
                0 => pktring_next_frame(handle, null_mut()),
                1 => pktring_release(handle, null()),
                2 => pktring_next_batch(handle, null_mut(), 3),
                3 => pktring_release_batch(handle, null(), 3),
                4 => pktring_next_block(handle, null_mut()),
                5 => pktring_release_block(handle, null()),
                6 => pktring_set_filter(handle, null(), 3),
                7 => pktring_get_ring(handle, PKTRING_RX, null_mut()),
                8 => pktring_stats(handle, null_mut()),
                9 => pktring_tx_reserve(handle, null_mut()),
                10 => pktring_tx_commit(handle, null(), 60),
                11 => pktring_tx_abort(handle, null()),
                12 => pktring_tx_complete(handle, null_mut(), 3),
                13 => pktring_inject(handle, null(), 60),
                14 => pktring_inject_batch(handle, null(), 3),
                _ => pktring_dispatch(handle, 1, 0, None, null_mut()),
            }
        };
        assert!(
            code < 0 && (code == -libc::EFAULT || !handle.is_null()),
            "{code}"
        );
        Ok(())
    }
}

fn geometry(input: &mut Unstructured) -> Result<()> {
    let mut ring = pktring_ring {
        size: size_of::<pktring_ring>(),
        block_size: input.arbitrary()?,
        block_count: input.arbitrary()?,
        frame_size: input.arbitrary()?,
        private_size: input.arbitrary()?,
        ..Default::default()
    };
    let budget = pktring_budget {
        size: size_of::<pktring_budget>(),
        memory: input.arbitrary()?,
        version: input.int_in_range(0..=3)?,
        direction: input.int_in_range(0..=3)?,
        mode: input.int_in_range(0..=4)?,
        frame_length: input.arbitrary()?,
        reserve: input.arbitrary()?,
        vnet_header: input.arbitrary()?,
    };
    let mut text = [0; PKTRING_ERRBUF_SIZE];
    let text = text.as_mut_ptr();
    // SAFETY: structs with their size, and a buffer of the documented size.
    unsafe {
        let (version, direction) = (budget.version, budget.direction);
        check(
            null_mut(),
            pktring_ring_check(version, direction, budget.reserve, &mut ring, text),
        );
        if check(null_mut(), pktring_ring_fit(&budget, &mut ring, text)) == 0 {
            assert!(pktring_ring_bytes(&ring) <= budget.memory);
        }
    }
    Ok(())
}

/// A timeout.
fn time(input: &mut Unstructured) -> Result<c_int> {
    Ok(*input.choose(&[0, 0, 1, 20, 1000, -1, c_int::MAX, c_int::MIN])?)
}
