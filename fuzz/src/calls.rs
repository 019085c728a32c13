//! Every function of the C API in arbitrary order with arbitrary arguments, over a kernel made of
//! arbitrary bytes: what is promised to a caller who keeps the rules must hold, and one who breaks
//! those that can be checked must be told.

use super::world;
use arbitrary::{Result, Unstructured};
use pktring::capi::block::*;
use pktring::capi::config::*;
use pktring::capi::copies::*;
use pktring::capi::error::*;
use pktring::capi::fanout::*;
use pktring::capi::filter::*;
use pktring::capi::geometry::*;
use pktring::capi::group::*;
use pktring::capi::gso::*;
use pktring::capi::handle::Handle;
use pktring::capi::inspect::*;
use pktring::capi::interface::*;
use pktring::capi::iter::*;
use pktring::capi::lifecycle::*;
use pktring::capi::membership::*;
use pktring::capi::offload::*;
use pktring::capi::option::*;
use pktring::capi::rx::*;
use pktring::capi::stats::*;
use pktring::capi::timestamp::*;
use pktring::capi::tuning::*;
use pktring::capi::tx::*;
use pktring::capi::wait::*;
use pktring::frame::{Address, Block, Completion, Frame};
use pktring::interface::{Interface, IpAddress};
use pktring::offload::Vnet;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::mem::{size_of, MaybeUninit};
use std::os::raw::{c_char, c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;

/// The functions of the C API that were called.
static CALLED: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

/// Names of all that were called so far by this process.
pub fn called() -> BTreeSet<&'static str> {
    CALLED.lock().unwrap().clone()
}

/// Calls a function, and notes once that it was.
macro_rules! call {
    ($name:ident($($argument:expr),* $(,)?)) => {{
        static NOTED: AtomicBool = AtomicBool::new(false);
        if !NOTED.swap(true, Ordering::Relaxed) {
            CALLED.lock().unwrap().insert(stringify!($name));
        }
        $name($($argument),*)
    }};
}

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
    /// One, or the members of a group.
    handles: Vec<*mut Handle>,
    /// The one of them in use.
    current: usize,
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
            (CStr::from_ptr(call!(pktring_geterr(handle))), general)
        };
        assert!(!general.to_bytes().is_empty());
        assert!(text.to_bytes().len() < PKTRING_ERRBUF_SIZE);
    }
    code
}

impl Caller {
    fn handle(&self) -> *mut Handle {
        self.handles
            .get(self.current)
            .map_or(null_mut(), |handle| *handle)
    }

    /// Checks a result with the text behind it.
    fn check(&self, code: c_int) -> c_int {
        check(self.handle(), code)
    }

    fn call(&mut self, input: &mut Unstructured) -> Result<()> {
        world::be_patient();
        match input.int_in_range(0..=41u8)? {
            0 => self.open(input)?,
            1 => self.close(),
            2 => self.set_number(input)?,
            3 | 4 => self.set_ring(input)?,
            5 => self.set_filter(input)?,
            6 => self.membership(input)?,
            // SAFETY: NULL or an open handle, here and below.
            7 | 8 => drop(self.check(unsafe { call!(pktring_activate(self.handle())) })),
            9 | 10 => self.next_frame(),
            11 | 12 => self.release(input)?,
            13 => self.next_batch(input)?,
            14 => self.release_batch(),
            15 => self.next_block(),
            16 => self.release_block(input)?,
            17 => self.wait(input)?,
            18 => self.dispatch(input)?,
            19 | 20 => self.reserve(),
            21 | 22 => self.commit(input)?,
            23 => self.abort(input)?,
            24 => self.flush(input)?,
            25 => self.complete(input)?,
            26 => self.inject(input)?,
            27 => self.ask(input)?,
            28 => geometry(input)?,
            29 => self.null(input)?,
            30 | 31 => self.set_option(input)?,
            32 => self.tune(input)?,
            33 => self.fanout(input)?,
            34 => self.group(input)?,
            35 | 36 => self.look_at(input)?,
            37 => self.segments(input)?,
            38 => self.filter_text(input)?,
            39 => self.stamp(input)?,
            40 => self.surroundings(input)?,
            _ => self.turn(input)?,
        }
        world::happen();
        Ok(())
    }

    fn open(&mut self, input: &mut Unstructured) -> Result<()> {
        if !self.handles.is_empty() {
            return Ok(());
        }
        let name = *input.choose(&[c"x0", c"any", c"", c"a/b", c"0123456789abcdef", c"\xff"])?;
        let mut text = [0x55 as c_char; PKTRING_ERRBUF_SIZE];
        let text = text.as_mut_ptr();
        // SAFETY: a string and a buffer of the documented size.
        let handle = unsafe {
            match input.int_in_range(0..=9u8)? {
                0 => call!(pktring_open_capture(
                    name.as_ptr(),
                    input.arbitrary()?,
                    1,
                    text
                )),
                1 => call!(pktring_open_transmit(name.as_ptr(), text)),
                2 => pktring_open(null(), text),
                _ => call!(pktring_open(name.as_ptr(), text)),
            }
        };
        if handle.is_null() {
            // SAFETY: the library wrote a string.
            assert!(unsafe { CStr::from_ptr(text) }.to_bytes().len() > 5);
        } else {
            self.handles.push(handle);
            HANDLE.set(handle);
        }
        Ok(())
    }

    fn close(&mut self) {
        HANDLE.set(null_mut());
        // SAFETY: NULL, or open handles whose last use this is.
        let code = unsafe {
            match self.handles[..] {
                [] => call!(pktring_close(null_mut())),
                [handle] => pktring_close(handle),
                _ => {
                    let count = self.handles.len() as u32;
                    call!(pktring_group_close(self.handles.as_mut_ptr(), count))
                }
            }
        };
        assert!(code >= 0, "{code}");
        *self = Caller::default();
        assert_eq!(world::left(), (Vec::new(), 0), "of a closed handle");
    }

    /// Uses another member of the group from here on.
    fn turn(&mut self, input: &mut Unstructured) -> Result<()> {
        if !self.handles.is_empty() {
            self.current = usize::from(input.arbitrary::<u8>()?) % self.handles.len();
            HANDLE.set(self.handle());
        }
        Ok(())
    }

    fn set_number(&mut self, input: &mut Unstructured) -> Result<()> {
        let handle = self.handle();
        let small = u32::from(input.int_in_range(0..=4u8)?);
        // SAFETY: NULL or an open handle.
        let code = unsafe {
            match input.int_in_range(0..=8u8)? {
                0 => call!(pktring_set_version(handle, small)),
                1 => call!(pktring_set_wake_latency(handle, small as c_int - 1)),
                7 => call!(pktring_set_tx_method(handle, small)),
                2 => call!(pktring_set_mode(handle, small)),
                3 => call!(pktring_set_protocol(handle, input.arbitrary()?)),
                4 => call!(pktring_set_profile(handle, small)),
                5 => call!(pktring_set_snaplen(handle, input.arbitrary()?)),
                6 => call!(pktring_set_promisc(handle, small as c_int)),
                // Spinning takes the world a call a microsecond.
                _ => call!(pktring_set_spin(handle, input.int_in_range(0..=100)?)),
            }
        };
        self.check(code);
        Ok(())
    }

    fn set_option(&mut self, input: &mut Unstructured) -> Result<()> {
        let (handle, on) = (self.handle(), c_int::from(input.int_in_range(0..=2u8)?));
        // SAFETY: NULL or an open handle.
        let code = unsafe {
            match input.int_in_range(0..=10u8)? {
                0 => call!(pktring_set_reserve(
                    handle,
                    *input.choose(&[0, 4, 64, 65409])?
                )),
                1 | 2 => {
                    let bytes = *input.choose(&[10, 12, 0, 11])?;
                    call!(pktring_set_vnet_header(handle, bytes))
                }
                3 => call!(pktring_set_loss(handle, on)),
                4 => call!(pktring_set_tx_offset(handle, on)),
                5 => call!(pktring_set_qdisc_bypass(handle, on)),
                6 => call!(pktring_set_ignore_outgoing(handle, on)),
                7 => call!(pktring_set_original_device(handle, on)),
                8 => call!(pktring_set_copies(handle, on)),
                9 => call!(pktring_set_direction(handle, on as u32)),
                _ => call!(pktring_recover(handle)),
            }
        };
        self.check(code);
        Ok(())
    }

    fn tune(&mut self, input: &mut Unstructured) -> Result<()> {
        let (handle, number) = (self.handle(), input.arbitrary::<u32>()?);
        let direction = input.int_in_range(0..=3)?;
        // SAFETY: NULL or an open handle.
        let code = unsafe {
            match input.int_in_range(0..=6u8)? {
                0 => call!(pktring_set_buffer(handle, direction, number)),
                1 => call!(pktring_get_buffer(handle, direction)),
                2 => {
                    let prefer = input.arbitrary::<u8>()?.into();
                    call!(pktring_set_busy_poll(handle, number, direction, prefer))
                }
                3 => call!(pktring_set_incoming_cpu(handle, number)),
                4 => call!(pktring_get_incoming_cpu(handle)),
                5 => call!(pktring_get_napi_id(handle)),
                _ => call!(pktring_set_memory(handle, direction)),
            }
        };
        self.check(code);
        Ok(())
    }

    fn fanout(&mut self, input: &mut Unstructured) -> Result<()> {
        let handle = self.handle();
        let size = size_of::<pktring_fanout>();
        let mut fanout = pktring_fanout {
            size: *input.choose(&[size, size, size, 0, 8])?,
            mode: input.int_in_range(0..=8)?,
            flags: *input.choose(&[0, 0x1000, 0x2000, 0x4000, 0x8000, 1])?,
            group: *input.choose(&[0, 1, 0xffff, 0x1_0000])?,
            max_members: input.arbitrary()?,
        };
        let mut stats = pktring_fanout_stats {
            size: size_of::<pktring_fanout_stats>(),
            ..Default::default()
        };
        let program = instructions(input)?;
        let count = program.len() as u32;
        // SAFETY: NULL or an open handle; structs with their size, or one that is refused, and as
        // many instructions as are said.
        let code = unsafe {
            match input.int_in_range(0..=6u8)? {
                0 | 1 => call!(pktring_set_fanout(handle, &fanout)),
                2 => pktring_set_fanout(handle, null()),
                3 => call!(pktring_get_fanout(handle, &mut fanout)),
                4 => call!(pktring_set_fanout_program(handle, program.as_ptr(), count)),
                5 => call!(pktring_set_fanout_bpf(handle, descriptor(input)?)),
                _ => call!(pktring_fanout_stats(handle, &mut stats)),
            }
        };
        self.check(code);
        Ok(())
    }

    /// Makes a group with the settings of the handle, and goes on with that.
    fn group(&mut self, input: &mut Unstructured) -> Result<()> {
        let count = *input.choose(&[2, 1, 3, 4, 0, u32::MAX])?;
        let mut members = [null_mut::<Handle>(); 4];
        let settings = self.handle();
        // SAFETY: NULL or an open handle; room for four, more are refused.
        let code = unsafe { call!(pktring_group_open(settings, members.as_mut_ptr(), count)) };
        if self.check(code) == 0 {
            self.close_settings();
            self.handles = members[..count as usize].to_vec();
            HANDLE.set(self.handle());
        }
        Ok(())
    }

    /// Closes the handle that has given its settings to a group.
    fn close_settings(&mut self) {
        assert_eq!(self.handles.len(), 1, "members are active, and no template");
        // SAFETY: an open handle whose last use this is.
        assert_eq!(unsafe { pktring_close(self.handle()) }, 0);
        *self = Caller::default();
    }

    /// Asks about a frame what can be asked.
    fn look_at(&mut self, input: &mut Unstructured) -> Result<()> {
        if self.frames.is_empty() {
            return Ok(());
        }
        let handle = self.handle();
        let at = input.int_in_range(0..=self.frames.len() as u32 - 1)? as usize;
        let frame = &mut self.frames[at];
        let mut buffer = [0u8; 2048];
        let (offset, length) = (
            input.arbitrary::<u8>()?.into(),
            input.arbitrary::<u16>()?.into(),
        );
        // SAFETY: a frame of this library in mapped memory, and room for what is asked for.
        unsafe {
            let code = match input.int_in_range(0..=5u8)? {
                0 => {
                    let part = call!(pktring_frame_part(frame, offset, length));
                    if !part.is_null() && length != 0 {
                        assert!(offset + length <= frame.caplen);
                        part.cast::<u8>().add(length as usize - 1).read_volatile();
                    }
                    call!(pktring_frame_vlan(frame))
                }
                1 => {
                    call!(pktring_frame_timestamp_source(frame));
                    let checksum = call!(pktring_checksum(frame));
                    let name = call!(pktring_checksum_name(checksum.wrapping_sub(offset)));
                    assert!(!CStr::from_ptr(name).to_bytes().is_empty());
                    0
                }
                2 => {
                    let mut vnet = MaybeUninit::<Vnet>::uninit();
                    call!(pktring_frame_vnet(handle, frame, vnet.as_mut_ptr()))
                }
                3 | 4 => {
                    let code = call!(pktring_vlan_reinsert(handle, frame));
                    if code == 1 {
                        Self::inspect(frame);
                    }
                    code
                }
                _ => {
                    let room = usize::from(length as u16) % buffer.len();
                    let buffer = buffer.as_mut_ptr().cast();
                    let code = call!(pktring_copy_whole(handle, frame, buffer, room));
                    assert!(code <= room as c_int);
                    code
                }
            };
            self.check(code);
        }
        Ok(())
    }

    /// Frames that are to be cut by the NIC or the kernel.
    fn segments(&mut self, input: &mut Unstructured) -> Result<()> {
        let handle = self.handle();
        let mut data = [0u8; 4000];
        headers(input, &mut data)?;
        let length = input.int_in_range(0..=data.len())?;
        let segment = *input.choose(&[100, 1000, 1460, 1, 0, u32::MAX])?;
        // SAFETY: as many bytes, or buffers, as are said.
        let code = unsafe {
            match input.int_in_range(0..=2u8)? {
                0 => {
                    let buffer = pktring_buffer {
                        data: data.as_ptr().cast(),
                        length,
                    };
                    let count = input.int_in_range(0..=70u8)?;
                    let buffers = vec![buffer; count.into()];
                    call!(pktring_inject_gso(handle, buffers.as_ptr(), count.into()))
                }
                1 => call!(pktring_inject_segments(
                    handle,
                    data.as_ptr().cast(),
                    length,
                    segment
                )),
                _ => {
                    let (data, length) = (data.as_mut_ptr().cast(), length as u32);
                    call!(pktring_prepare_segments(handle, data, length, segment))
                }
            }
        };
        self.check(code);
        Ok(())
    }

    fn filter_text(&mut self, input: &mut Unstructured) -> Result<()> {
        let mut text = Vec::new();
        for _ in 0..input.int_in_range(0..=8u8)? {
            let word: &[u8] = input.choose(&[
                &b"1\n"[..],
                b"2,",
                b"6 0 0 262144\n",
                b"40 0 0 12,",
                b"6 0 0 0",
                b" ",
                b"-1",
                b"21 0 256 2048\n",
                b"4294967296",
                b"\xff",
                b"0",
                b"4097\n",
            ])?;
            text.extend(word);
        }
        let text = CString::new(text).unwrap();
        let mut program = [const { MaybeUninit::<pktring_insn>::uninit() }; 3];
        let room = input.int_in_range(0..=3)?;
        let first = program.as_mut_ptr().cast();
        let mut error = [0 as c_char; PKTRING_ERRBUF_SIZE];
        // SAFETY: a string, and room for as many instructions as are said.
        unsafe {
            let code = call!(pktring_parse_filter(
                text.as_ptr(),
                first,
                room,
                error.as_mut_ptr()
            ));
            assert!(check(null_mut(), code) <= room as c_int || room == 0);
            self.check(call!(pktring_set_filter_text(self.handle(), text.as_ptr())));
            match input.int_in_range(0..=7u8)? {
                0 => self.check(call!(pktring_set_bpf(self.handle(), descriptor(input)?))),
                1 => self.check(call!(pktring_lock_filter(self.handle()))),
                _ => 0,
            };
        }
        Ok(())
    }

    fn stamp(&mut self, input: &mut Unstructured) -> Result<()> {
        let handle = self.handle();
        let mut stamping = pktring_hwtstamp {
            size: size_of::<pktring_hwtstamp>(),
            tx_type: input.int_in_range(0..=4)?,
            rx_filter: input.int_in_range(0..=20)?,
            ..Default::default()
        };
        // SAFETY: NULL or an open handle, and a struct with its size.
        let code = unsafe {
            match input.int_in_range(0..=4u8)? {
                0 => call!(pktring_set_hwtstamp(handle, &mut stamping)),
                1 => call!(pktring_get_hwtstamp(handle, &mut stamping)),
                _ => {
                    let direction = *input.choose(&[PKTRING_TX, PKTRING_RX, 0, 3])?;
                    let sources = input.int_in_range(0..=8)?;
                    call!(pktring_set_timestamp(handle, direction, sources))
                }
            }
        };
        self.check(code);
        Ok(())
    }

    /// What there is around the handle: interfaces, addresses, namespaces, the kernel's own view.
    fn surroundings(&mut self, input: &mut Unstructured) -> Result<()> {
        let handle = self.handle();
        let mut text = [0 as c_char; PKTRING_ERRBUF_SIZE];
        let text = text.as_mut_ptr();
        let most = input.int_in_range(0..=4)?;
        let mut ring = pktring_ring {
            size: size_of::<pktring_ring>(),
            ..Default::default()
        };
        // SAFETY: NULL or an open handle; arrays of four, and a struct with its size. No path here
        // is that of a namespace, so nothing happens in a real one.
        let code = unsafe {
            match input.int_in_range(0..=11u8)? {
                0..=3 => {
                    let mut list = [const { MaybeUninit::<Interface>::uninit() }; 4];
                    let list = list.as_mut_ptr().cast();
                    call!(pktring_interfaces(null(), list, most, text))
                }
                4 | 5 => {
                    let mut list = [const { MaybeUninit::<IpAddress>::uninit() }; 4];
                    let (list, index) = (list.as_mut_ptr().cast(), input.int_in_range(0..=2)?);
                    call!(pktring_addresses(null(), index, list, most, text))
                }
                6 | 7 => {
                    let direction = input.int_in_range(0..=3)?;
                    call!(pktring_inspect_ring(handle, direction, &mut ring))
                }
                8 => call!(pktring_hardware_linktype(input.arbitrary()?, most)),
                9 => pktring_interfaces(c"none".as_ptr(), null_mut(), 0, text),
                10 => {
                    let path = *input.choose(&[c"none", c"/dev/null", c""])?;
                    call!(pktring_set_netns(handle, path.as_ptr()))
                }
                _ => call!(pktring_set_netns_fd(handle, descriptor(input)?)),
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
        self.check(unsafe { call!(pktring_set_ring(self.handle(), direction, &ring)) });
        // SAFETY: as above.
        self.check(unsafe { call!(pktring_get_ring(self.handle(), direction, &mut ring)) });
        Ok(())
    }

    fn set_filter(&mut self, input: &mut Unstructured) -> Result<()> {
        let program = instructions(input)?;
        let (first, count) = (program.as_ptr(), program.len() as u32);
        // SAFETY: as many instructions as are said.
        self.check(unsafe { call!(pktring_set_filter(self.handle(), first, count)) });
        Ok(())
    }

    fn membership(&mut self, input: &mut Unstructured) -> Result<()> {
        let address: [u8; 40] = input.arbitrary()?;
        let (kind, len) = (input.int_in_range(0..=5)?, input.int_in_range(0..=40)?);
        let (handle, address) = (self.handle(), address.as_ptr());
        // SAFETY: as many bytes as are said.
        let code = unsafe {
            match input.arbitrary()? {
                true => call!(pktring_add_membership(handle, kind, address, len)),
                false => call!(pktring_drop_membership(handle, kind, address, len)),
            }
        };
        self.check(code);
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
        if self.check(unsafe { call!(pktring_next_frame(self.handle(), frame.as_mut_ptr())) }) == 1
        {
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
        self.check(unsafe { call!(pktring_release(self.handle(), &frame)) });
        Ok(())
    }

    fn next_batch(&mut self, input: &mut Unstructured) -> Result<()> {
        let most = input.int_in_range(0..=20)?;
        let mut frames = [const { MaybeUninit::<Frame>::uninit() }; 20];
        let first = frames.as_mut_ptr().cast();
        // SAFETY: room for 20.
        let taken = self.check(unsafe { call!(pktring_next_batch(self.handle(), first, most)) });
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
        self.check(unsafe { call!(pktring_release_batch(self.handle(), frames.as_ptr(), count)) });
    }

    fn next_block(&mut self) {
        let mut block = MaybeUninit::<Block>::uninit();
        // SAFETY: room for one.
        if self.check(unsafe { call!(pktring_next_block(self.handle(), block.as_mut_ptr())) }) == 1
        {
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
            call!(pktring_iter_init(iter.as_mut_ptr(), block));
            let mut seen = 0;
            let code = loop {
                let code = call!(pktring_iter_next(iter.as_mut_ptr(), frame.as_mut_ptr()));
                if code != 1 {
                    break code;
                }
                Self::inspect(frame.assume_init_ref());
                seen += 1;
            };
            // A chain that is longer than the block says is found at its end.
            assert!(seen <= block.frame_count || code == -libc::EBADMSG);
            assert!(seen <= block.size / 68);
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
        self.check(unsafe { call!(pktring_release_block(self.handle(), &block)) });
        Ok(())
    }

    fn wait(&mut self, input: &mut Unstructured) -> Result<()> {
        let (events, timeout) = (input.int_in_range(0..=4)?, time(input)?);
        // SAFETY: NULL or an open handle.
        let ready = self.check(unsafe { call!(pktring_wait(self.handle(), events, timeout)) });
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
                true => call!(pktring_dispatch(
                    handle,
                    count,
                    timeout,
                    Some(handle_frame),
                    user
                )),
                false => call!(pktring_loop(handle, count, Some(handle_frame), user)),
            }
        };
        self.check(code);
        Ok(())
    }

    fn reserve(&mut self) {
        let mut slot = MaybeUninit::<pktring_slot>::uninit();
        // SAFETY: room for one.
        if self.check(unsafe { call!(pktring_tx_reserve(self.handle(), slot.as_mut_ptr())) }) == 1 {
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
            self.check(unsafe { call!(pktring_tx_commit(self.handle(), &slot, length)) });
        }
        Ok(())
    }

    fn abort(&mut self, input: &mut Unstructured) -> Result<()> {
        if let Some(slot) = self.slot(input)? {
            // SAFETY: a descriptor.
            self.check(unsafe { call!(pktring_tx_abort(self.handle(), &slot)) });
        }
        Ok(())
    }

    fn flush(&mut self, input: &mut Unstructured) -> Result<()> {
        // SAFETY: NULL or an open handle.
        self.check(unsafe { call!(pktring_tx_flush(self.handle(), time(input)?)) });
        Ok(())
    }

    fn complete(&mut self, input: &mut Unstructured) -> Result<()> {
        let most = input.int_in_range(0..=8)?;
        let mut out = [Completion::default(); 8];
        // SAFETY: room for 8.
        let got = self
            .check(unsafe { call!(pktring_tx_complete(self.handle(), out.as_mut_ptr(), most)) });
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
                0 => call!(pktring_inject(handle, bytes.as_ptr().cast(), length)),
                1 => {
                    let buffer = pktring_buffer {
                        data: bytes.as_ptr().cast(),
                        length,
                    };
                    let count = input.int_in_range(0..=70u8)?;
                    let buffers = vec![buffer; count.into()];
                    call!(pktring_inject_batch(handle, buffers.as_ptr(), count.into()))
                }
                _ => {
                    // SAFETY: Address is plain data.
                    let mut to: Address = std::mem::zeroed();
                    to.halen = input.arbitrary()?;
                    to.ifindex = input.arbitrary()?;
                    call!(pktring_set_destination(handle, &to))
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
            if self.check(call!(pktring_stats(handle, &mut stats))) == 0 {
                assert!(stats.held <= stats.frames);
            }
            self.check(call!(pktring_linktype(handle)));
            self.check(call!(pktring_fd(handle)));
            call!(pktring_breakloop(handle));
            assert!(!call!(pktring_version()).is_null());
            assert!(!call!(pktring_strerror(input.arbitrary()?)).is_null());
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

/// A filter program, seldom a right one.
fn instructions(input: &mut Unstructured) -> Result<Vec<pktring_insn>> {
    (0..input.int_in_range(0..=4u8)?)
        .map(|_| {
            Ok(pktring_insn {
                code: *input.choose(&[6, 0x16, 0x28, 0x15, 0xffff])?,
                jt: 0,
                jf: 0,
                k: input.arbitrary()?,
            })
        })
        .collect()
}

/// A descriptor that is open, is not, or cannot be.
fn descriptor(input: &mut Unstructured) -> Result<c_int> {
    Ok(*input.choose(&[world::FILE, -1, c_int::MAX, -2, c_int::MIN])?)
}

/// Writes Ethernet, IP and TCP or UDP headers, more or less.
fn headers(input: &mut Unstructured, data: &mut [u8]) -> Result<()> {
    // What a virtio_net header takes may be in front.
    let at = *input.choose(&[0usize, 10, 12])?;
    let data = &mut data[at..];
    let v6 = input.arbitrary()?;
    let transport = *input.choose(&[6u8, 17, 0])?;
    let start = if v6 { 54 } else { 34 };
    data[12..14].copy_from_slice(if v6 { &[0x86, 0xdd] } else { &[8, 0] });
    data[14] = if v6 { 0x60 } else { 0x45 };
    data[if v6 { 20 } else { 23 }] = transport;
    data[start + 12] = 0x50;
    for _ in 0..input.int_in_range(0..=3u8)? {
        data[usize::from(input.int_in_range(0..=80u8)?)] = input.arbitrary()?;
    }
    Ok(())
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
        let checked = call!(pktring_ring_check(
            version,
            direction,
            budget.reserve,
            &mut ring,
            text
        ));
        check(null_mut(), checked);
        let fits = call!(pktring_ring_fit(&budget, &mut ring, text));
        let bytes = call!(pktring_ring_bytes(&ring));
        assert!(check(null_mut(), fits) != 0 || bytes <= budget.memory);
    }
    Ok(())
}

/// A timeout.
fn time(input: &mut Unstructured) -> Result<c_int> {
    Ok(*input.choose(&[0, 0, 1, 20, 1000, -1, c_int::MAX, c_int::MIN])?)
}
