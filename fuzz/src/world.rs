//! A kernel made of arbitrary bytes.
//!
//! The library reaches the kernel through libc alone. A program that defines functions of libc's
//! names gets these calls: while a [`World`] is there, in the thread that made it, they are
//! answered from its bytes; otherwise they go where they were meant to. Rings are real memory, with
//! an untouchable page on either side, and what the bytes say is written to it at every call.
//! Descriptors are numbers that no real one has, so that few calls reach the real kernel, and that
//! one which is left open or closed twice is noticed.

use std::cell::RefCell;
use std::ffi::CStr;
use std::os::raw::{c_char, c_int, c_long, c_uint, c_ulong, c_void};

const PAGE: usize = 4096;
/// More ring memory than this there is not.
const MEMORY: usize = 1 << 18;
/// The first descriptor of a world.
const FIRST: c_int = 1 << 20;
/// A descriptor of the caller, which can be duplicated.
pub const FILE: c_int = FIRST - 1;

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
    /// Memory for rings that nobody uses, kept because mapping it anew takes long.
    static SPARE: RefCell<Vec<Region>> = const { RefCell::new(Vec::new()) };
}

/// The kernel's state.
pub struct World {
    bytes: Vec<u8>,
    at: usize,
    clock: u64,
    /// What each descriptor is, from [`FIRST`] on; `None` once it is closed.
    files: Vec<Option<File>>,
    /// The ring mappings, as the library has them.
    rings: Vec<Region>,
    /// Other memory that the library has mapped: the handles, slots that are copied from.
    private: Vec<(usize, usize)>,
    /// Times that the library went to sleep since [`be_patient`].
    sleeps: u32,
}

/// What is behind a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// TPACKET version, and bytes of the rings that were asked for.
    Packet(c_int, usize),
    Netlink,
    Event,
    Epoll,
    Copy,
    /// What processors are kept awake with.
    Latency,
}

/// Memory of a ring between untouchable pages.
#[derive(Clone, Copy)]
struct Region {
    base: *mut u8,
    len: usize,
    version: c_int,
}

/// Lets there be a world of these bytes until the result is dropped.
pub fn begin(bytes: &[u8]) -> Reign {
    let world = World {
        bytes: bytes.to_vec(),
        at: 0,
        clock: 1_000_000_000,
        files: Vec::new(),
        rings: Vec::new(),
        private: Vec::new(),
        sleeps: 0,
    };
    WORLD.with(|slot| *slot.borrow_mut() = Some(world));
    Reign
}

/// Ends the world when it is dropped.
pub struct Reign;

impl Drop for Reign {
    fn drop(&mut self) {
        WORLD.with(|slot| *slot.borrow_mut() = None);
    }
}

/// Whether `len` bytes at `p` are ring memory.
pub fn is_ring(p: *const u8, len: usize) -> bool {
    with(|world| {
        world.rings.iter().any(|ring| {
            let at = (p as usize).wrapping_sub(ring.base as usize);
            at <= ring.len && len <= ring.len - at
        })
    })
    .unwrap_or(false)
}

/// Whether `len` bytes at `p` are memory for frames to send, shared with the kernel or not.
pub fn is_slot(p: *const u8, len: usize) -> bool {
    let private = with(|world| {
        world.private.iter().any(|(base, size)| {
            let at = (p as usize).wrapping_sub(*base);
            at <= *size && len <= *size - at
        })
    });
    private.unwrap_or(false) || is_ring(p, len)
}

/// Has something happen to the rings.
pub fn happen() {
    with(World::happen);
}

/// Sleeps from now on are counted anew.
pub fn be_patient() {
    with(|world| world.sleeps = 0);
}

/// What the library has not given back: descriptors and rings.
pub fn left() -> (Vec<File>, usize) {
    with(|world| {
        let files = world.files.iter().flatten().copied().collect();
        (files, world.rings.len())
    })
    .unwrap_or_default()
}

/// Whether the library has slept so often that it should be told to stop.
fn is_enough() -> bool {
    with(|world| {
        world.sleeps += 1;
        world.sleeps > 8
    })
    .unwrap_or(false)
}

fn with<T>(body: impl FnOnce(&mut World) -> T) -> Option<T> {
    let world = |slot: &RefCell<Option<World>>| slot.try_borrow_mut().ok()?.as_mut().map(body);
    WORLD.try_with(world).ok().flatten()
}

impl Region {
    /// Memory of that length, zeroed.
    fn take(len: usize, version: c_int) -> Region {
        let spare = SPARE.with(|spare| {
            let mut spare = spare.borrow_mut();
            let at = spare.iter().position(|region| region.len == len)?;
            Some(spare.swap_remove(at))
        });
        let base = spare.map_or_else(|| guarded(len), |region| region.base);
        // SAFETY: memory of that length, which nobody else uses.
        unsafe { base.write_bytes(0, len) };
        Region { base, len, version }
    }

    /// Unmaps it, for real if `real`, so that whoever still uses it is found out.
    fn give_back(self, real: bool) {
        if !real {
            return SPARE.with(|spare| spare.borrow_mut().push(self));
        }
        let outer = self.base.wrapping_sub(PAGE);
        // SAFETY: the mapping that `guarded` made.
        unsafe { libc::syscall(libc::SYS_munmap, outer, self.len + 2 * PAGE) };
    }
}

/// Maps `len` bytes with an untouchable page on either side.
fn guarded(len: usize) -> *mut u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let all = libc::PROT_READ | libc::PROT_WRITE;
    let null = std::ptr::null_mut::<c_void>();
    // SAFETY: a new mapping touches no other memory; the second call stays inside of it.
    unsafe {
        let outer = len + 2 * PAGE;
        let outer = libc::syscall(libc::SYS_mmap, null, outer, libc::PROT_NONE, flags, -1, 0);
        assert!(outer > 0, "no memory");
        let inner = (outer as *mut u8).add(PAGE);
        assert_eq!(libc::syscall(libc::SYS_mprotect, inner, len, all), 0);
        inner
    }
}

impl World {
    /// The next byte; 0, which is always good news, when there are no more.
    fn byte(&mut self) -> u8 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        byte
    }

    fn word(&mut self) -> u32 {
        let small = self.byte();
        match self.byte() % 8 {
            0 => 0,
            1 => 1,
            2 => u32::from(small),
            3 => u32::from(small) * 8,
            4 => u32::MAX - u32::from(small),
            5 => 1 << (small % 32),
            _ => u32::from_ne_bytes([small, self.byte(), self.byte(), self.byte()]),
        }
    }

    /// 0, or now and then an error.
    fn outcome(&mut self) -> Result<(), c_int> {
        const ERRORS: [c_int; 12] = [
            libc::EPERM,
            libc::ENOMEM,
            libc::EINVAL,
            libc::ENODEV,
            libc::ENOBUFS,
            libc::EAGAIN,
            libc::EINTR,
            libc::ENETDOWN,
            libc::ENXIO,
            libc::EMSGSIZE,
            libc::EFAULT,
            libc::ENOPROTOOPT,
        ];
        match self.byte() {
            bad if bad >= 0xf0 => Err(ERRORS[usize::from(bad - 0xf0) % ERRORS.len()]),
            _ => Ok(()),
        }
    }

    /// Writes to the rings: a block or slots as they should be, a word, or a status for all.
    fn happen(&mut self) {
        let ring = match self.rings[..] {
            [] => return,
            [ring] => ring,
            _ => {
                let which = usize::from(self.byte()) % self.rings.len();
                self.rings[which]
            }
        };
        match self.byte() % 8 {
            0..=2 => {}
            3 | 4 => self.fill_block(ring),
            5 => self.every_status(ring),
            _ => {
                for _ in 0..=self.byte() % 4 {
                    let at = (self.word() as usize).wrapping_mul(4) % ring.len;
                    let value = self.word();
                    ring.set(at & !3, value);
                }
            }
        }
    }

    /// A block of frames in V3's layout, or a few slots, at any page.
    fn fill_block(&mut self, ring: Region) {
        let start = usize::from(self.byte()) * PAGE % ring.len;
        let step = 128 + usize::from(self.byte() % 16) * 16;
        let count = usize::from(self.byte() % 8);
        if ring.version != 2 {
            for slot in 0..count {
                let at = start + slot * step;
                ring.set(at + 4, 60);
                ring.set(at + 8, 40);
                ring.set(at + 12, 80 | 94 << 16);
                ring.set(at, 1);
            }
            return;
        }
        for frame in 0..count {
            let at = start + 48 + frame * step;
            let next = if frame + 1 == count { 0 } else { step };
            ring.set(at, next as u32);
            ring.set(at + 12, 40);
            ring.set(at + 16, 60);
            ring.set(at + 20, 1);
            ring.set(at + 24, 82 | 96 << 16);
        }
        ring.set(start + 12, count as u32);
        ring.set(start + 16, 48);
        ring.set(start + 20, (48 + count * step) as u32);
        ring.set(start + 8, 1);
    }

    /// One status for every slot of some size: the kernel has sent everything, for example.
    fn every_status(&mut self, ring: Region) {
        let step = 16 << (self.byte() % 9);
        let offset = [0, 0, 20, 8][usize::from(self.byte() % 4)];
        let status = [0, 0, 1, 2, 4][usize::from(self.byte() % 5)];
        for at in (0..ring.len).step_by(step) {
            ring.set(at + offset, status);
        }
    }
}

impl Region {
    fn set(&self, at: usize, value: u32) {
        if at + 4 <= self.len {
            // SAFETY: inside the mapping, which lives as long as the ring is among the world's.
            unsafe { self.base.add(at).cast::<u32>().write_unaligned(value) };
        }
    }
}

/// Descriptors.
impl World {
    fn open(&mut self, file: File) -> c_long {
        self.files.push(Some(file));
        c_long::from(FIRST) + self.files.len() as c_long - 1
    }

    fn file(&mut self, fd: c_int) -> Option<&mut File> {
        let at = usize::try_from(fd - FIRST).ok()?;
        self.files.get_mut(at)?.as_mut()
    }
}

/// A message of the kernel's about an interface, an address or a socket, or the last one.
impl World {
    fn message(&mut self, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let (kind, last) = match self.byte() % 8 {
            0..=2 => (libc::NLMSG_DONE as u16, true),
            3 => (libc::NLMSG_ERROR as u16, true),
            _ => (libc::RTM_NEWADDR, false),
        };
        out.extend([0; 4]);
        out.extend(kind.to_ne_bytes());
        out.extend([0; 10]);
        if last {
            let error = match self.byte() {
                0xff => -libc::EPERM,
                _ => 0,
            };
            out.extend(error.to_ne_bytes());
        } else {
            for _ in 0..4 {
                out.extend(self.word().to_ne_bytes());
            }
            for _ in 0..self.byte() % 6 {
                self.attribute(out);
            }
        }
        let length = match self.byte() {
            0xff => self.word(),
            _ => (out.len() - start) as u32,
        };
        out[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        last
    }

    fn attribute(&mut self, out: &mut Vec<u8>) {
        let (kind, size) = (self.byte() % 16, self.byte() % 40);
        let length = match self.byte() {
            0xff => self.word() as u16,
            _ => 4 + u16::from(size),
        };
        out.extend(length.to_ne_bytes());
        out.extend(u16::from(kind).to_ne_bytes());
        for _ in 0..size {
            out.push(self.byte());
        }
        out.resize((out.len() + 3) & !3, 0);
    }
}

/// Answers a call from the world, if there is one.
fn answer(decide: impl FnOnce(&mut World) -> Result<c_long, c_int>) -> Option<c_long> {
    let decided = with(|world| {
        world.happen();
        world.outcome()?;
        decide(world)
    })?;
    Some(decided.unwrap_or_else(|errno| {
        // SAFETY: errno is always there in its own thread.
        unsafe { *libc::__errno_location() = errno };
        -1
    }))
}

/// Whether a descriptor belongs to a world.
fn is_ours(fd: c_int) -> bool {
    fd >= FILE
}

/// As in libc. So are the following.
#[no_mangle]
pub unsafe extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    let file = |world: &mut World| {
        Ok(match domain {
            libc::AF_NETLINK => world.open(File::Netlink),
            _ => world.open(File::Packet(0, 0)),
        })
    };
    match answer(file) {
        Some(result) => result as c_int,
        // SAFETY: the caller's arguments.
        None => unsafe { libc::syscall(libc::SYS_socket, domain, kind, protocol) as c_int },
    }
}

#[no_mangle]
pub unsafe extern "C" fn bind(fd: c_int, address: *const c_void, len: c_uint) -> c_int {
    match answer(|_| Ok(0)) {
        Some(result) => result as c_int,
        // SAFETY: the caller's arguments.
        None => unsafe { libc::syscall(libc::SYS_bind, fd, address, len) as c_int },
    }
}

#[no_mangle]
pub unsafe extern "C" fn setsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: c_uint,
) -> c_int {
    let set = |world: &mut World| {
        let (version, rings) = match world.file(fd) {
            Some(File::Packet(version, rings)) if level == libc::SOL_PACKET => (version, rings),
            _ => return Ok(0),
        };
        if name == libc::PACKET_VERSION {
            // SAFETY: an int by the meaning of the option.
            *version = unsafe { value.cast::<c_int>().read_unaligned() };
        }
        if name == libc::PACKET_RX_RING || name == libc::PACKET_TX_RING {
            // SAFETY: a struct that starts with block size and count.
            let [size, count] = unsafe { value.cast::<[u32; 2]>().read_unaligned() };
            let bytes = u64::from(size) * u64::from(count);
            if bytes > (MEMORY / 2) as u64 {
                return Err(libc::ENOMEM);
            }
            *rings += bytes as usize;
        }
        Ok(0)
    };
    match answer(set) {
        Some(result) => result as c_int,
        // SAFETY: the caller's arguments.
        None => unsafe {
            libc::syscall(libc::SYS_setsockopt, fd, level, name, value, len) as c_int
        },
    }
}

#[no_mangle]
pub unsafe extern "C" fn getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut c_uint,
) -> c_int {
    let get = |world: &mut World| {
        let version = match world.file(fd) {
            Some(File::Packet(version, _)) => *version as u32,
            _ => 0,
        };
        // SAFETY: the caller's length and buffer; whole words of it are written.
        unsafe {
            let words = *len as usize / 4;
            for i in 0..words {
                let word = match (level, name) {
                    (libc::SOL_PACKET, libc::PACKET_VERSION) => version,
                    (libc::SOL_SOCKET, libc::SO_ERROR) => match world.byte() {
                        0xff => libc::ENETDOWN as u32,
                        0xfe => libc::ENOMSG as u32,
                        _ => 0,
                    },
                    // Sizes and numbers, none of which is below 0.
                    (libc::SOL_SOCKET, _) => world.word() & i32::MAX as u32,
                    _ => world.word(),
                };
                value.cast::<u32>().add(i).write_unaligned(word);
            }
        }
        Ok(0)
    };
    match answer(get) {
        Some(result) => result as c_int,
        // SAFETY: the caller's arguments.
        None => unsafe {
            libc::syscall(libc::SYS_getsockopt, fd, level, name, value, len) as c_int
        },
    }
}

#[no_mangle]
pub unsafe extern "C" fn getsockname(fd: c_int, address: *mut c_void, len: *mut c_uint) -> c_int {
    let name = |world: &mut World| {
        let index = if world.byte() >= 0xc0 { -1 } else { 1 };
        // SAFETY: a sockaddr_ll by the caller's length.
        unsafe { (*address.cast::<libc::sockaddr_ll>()).sll_ifindex = index };
        Ok(0)
    };
    match answer(name) {
        Some(result) => result as c_int,
        // SAFETY: the caller's arguments.
        None => unsafe { libc::syscall(libc::SYS_getsockname, fd, address, len) as c_int },
    }
}

#[no_mangle]
pub unsafe extern "C" fn ioctl(fd: c_int, code: c_ulong, argument: *mut c_char) -> c_int {
    let control = |world: &mut World| {
        let request = argument.cast::<libc::ifreq>();
        // SAFETY: an ifreq by the meaning of the codes.
        unsafe {
            match code as libc::c_ulong {
                libc::SIOCGIFINDEX => (*request).ifr_ifru.ifru_ifindex = 1,
                libc::SIOCGIFMTU => {
                    (*request).ifr_ifru.ifru_mtu = match world.byte() {
                        0xff => world.word() as c_int,
                        _ => 1500,
                    }
                }
                libc::SIOCGIFHWADDR => (*request).ifr_ifru.ifru_hwaddr.sa_family = 1,
                libc::SIOCGIFNAME => (*request).ifr_name[0] = b'x' as c_char,
                libc::SIOCGHWTSTAMP | libc::SIOCSHWTSTAMP => {
                    let settings = [world.word(), world.word(), world.word()];
                    let data = (*request).ifr_ifru.ifru_data;
                    data.cast::<[u32; 3]>().write_unaligned(settings);
                }
                _ => return Err(libc::EOPNOTSUPP),
            }
        }
        Ok(0)
    };
    match answer(control) {
        Some(result) => result as c_int,
        // SAFETY: the caller's arguments.
        None => unsafe { libc::syscall(libc::SYS_ioctl, fd, code, argument) as c_int },
    }
}

#[no_mangle]
pub unsafe extern "C" fn sendto(
    fd: c_int,
    data: *const c_void,
    len: usize,
    flags: c_int,
    to: *const c_void,
    to_len: c_uint,
) -> isize {
    match answer(|world| Ok(world.byte().into())) {
        Some(result) => result as isize,
        // SAFETY: the caller's arguments.
        None => unsafe {
            libc::syscall(libc::SYS_sendto, fd, data, len, flags, to, to_len) as isize
        },
    }
}

#[no_mangle]
pub unsafe extern "C" fn sendmmsg(
    fd: c_int,
    messages: *mut c_void,
    count: c_uint,
    flags: c_int,
) -> c_int {
    let send = |world: &mut World| Ok(c_long::from(world.byte()).clamp(1, count.max(1).into()));
    match answer(send) {
        Some(result) => result as c_int,
        // SAFETY: the caller's arguments.
        None => unsafe { libc::syscall(libc::SYS_sendmmsg, fd, messages, count, flags) as c_int },
    }
}

#[no_mangle]
pub unsafe extern "C" fn epoll_ctl(
    epoll: c_int,
    what: c_int,
    fd: c_int,
    event: *mut c_void,
) -> c_int {
    match answer(|_| Ok(0)) {
        Some(result) => result as c_int,
        // SAFETY: the caller's arguments.
        None => unsafe { libc::syscall(libc::SYS_epoll_ctl, epoll, what, fd, event) as c_int },
    }
}

#[no_mangle]
pub unsafe extern "C" fn epoll_wait(
    epoll: c_int,
    events: *mut c_void,
    most: c_int,
    timeout: c_int,
) -> c_int {
    let wait = |world: &mut World| {
        world.clock += timeout.clamp(1, 1000) as u64 * 1_000_000;
        if timeout >= 0 && world.byte() % 4 != 0 {
            return Ok(0);
        }
        let event = libc::epoll_event {
            events: world.byte().into(),
            u64: u64::from(world.byte() % 2),
        };
        // SAFETY: the caller has room for at least one event.
        unsafe { events.cast::<libc::epoll_event>().write_unaligned(event) };
        Ok(1)
    };
    let result = answer(wait);
    if result.is_some() && is_enough() {
        super::calls::stop();
    }
    match result {
        Some(result) => result as c_int,
        // SAFETY: the caller's arguments; no signal mask.
        None => unsafe {
            let mask = std::ptr::null_mut::<c_void>();
            libc::syscall(
                libc::SYS_epoll_pwait,
                epoll,
                events,
                most,
                timeout,
                mask,
                8usize,
            ) as c_int
        },
    }
}

#[no_mangle]
pub unsafe extern "C" fn nanosleep(
    time: *const libc::timespec,
    left: *mut libc::timespec,
) -> c_int {
    let sleep = |world: &mut World| {
        world.happen();
        // SAFETY: the caller's time.
        let time = unsafe { time.read() };
        world.clock += time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
    };
    if with(sleep).is_some() {
        if is_enough() {
            super::calls::stop();
        }
        return 0;
    }
    // SAFETY: the caller's arguments.
    unsafe { libc::syscall(libc::SYS_nanosleep, time, left) as c_int }
}

#[no_mangle]
pub unsafe extern "C" fn clock_gettime(clock: c_int, now: *mut libc::timespec) -> c_int {
    let tell = |world: &mut World| {
        world.clock += 1000;
        // SAFETY: the caller's room.
        unsafe {
            (*now).tv_sec = (world.clock / 1_000_000_000) as i64;
            (*now).tv_nsec = (world.clock % 1_000_000_000) as i64;
        }
    };
    if with(tell).is_some() {
        return 0;
    }
    // SAFETY: the caller's arguments.
    unsafe { libc::syscall(libc::SYS_clock_gettime, clock, now) as c_int }
}

#[no_mangle]
pub unsafe extern "C" fn sendmsg(fd: c_int, message: *const libc::msghdr, flags: c_int) -> isize {
    match answer(|world| Ok(world.byte().into())) {
        Some(result) => result as isize,
        // SAFETY: the caller's arguments.
        None => unsafe { libc::syscall(libc::SYS_sendmsg, fd, message, flags) as isize },
    }
}

/// A datagram of netlink messages; of a packet, nothing.
#[no_mangle]
pub unsafe extern "C" fn recv(fd: c_int, data: *mut c_void, len: usize, flags: c_int) -> isize {
    let receive = |world: &mut World| {
        if !matches!(world.file(fd), Some(File::Netlink)) {
            return Ok(0);
        }
        let mut datagram = Vec::new();
        for _ in 0..3 {
            if world.message(&mut datagram) {
                break;
            }
        }
        datagram.truncate(len);
        // SAFETY: the caller has room for `len` bytes.
        unsafe { datagram.as_ptr().copy_to(data.cast(), datagram.len()) };
        Ok(datagram.len() as c_long)
    };
    match answer(receive) {
        Some(result) => result as isize,
        // SAFETY: the caller's arguments.
        None => unsafe {
            let (null, zero) = (std::ptr::null_mut::<c_void>(), 0usize);
            libc::syscall(libc::SYS_recvfrom, fd, data, len, flags, null, zero) as isize
        },
    }
}

/// From the error queue, the timestamp of a sent frame; otherwise the copy of a received one.
#[no_mangle]
pub unsafe extern "C" fn recvmsg(fd: c_int, message: *mut libc::msghdr, flags: c_int) -> isize {
    let receive = |world: &mut World| {
        if world.byte() % 4 == 0 {
            return Err(libc::EAGAIN);
        }
        let times = [
            i64::from(world.byte()),
            0,
            0,
            0,
            i64::from(world.byte() / 128),
            0,
        ];
        // SAFETY: the caller's message, with buffers of the lengths that it says; CMSG_NXTHDR
        // tells whether there is room for one more.
        unsafe {
            if flags & libc::MSG_ERRQUEUE == 0 {
                control(
                    message,
                    libc::SOL_SOCKET,
                    libc::SO_TIMESTAMPNS,
                    &[times[0], 0],
                );
                return Ok(c_long::from(world.byte()) * 8);
            }
            let before = (*message).msg_controllen;
            control(message, libc::SOL_SOCKET, libc::SCM_TIMESTAMPING, &times);
            let used = (*message).msg_controllen;
            let mut rest = *message;
            rest.msg_control = (*message).msg_control.byte_add(used);
            rest.msg_controllen = before - used;
            let mut error: libc::sock_extended_err = std::mem::zeroed();
            error.ee_origin = 4 - world.byte() / 128;
            error.ee_data = world.word();
            control(&mut rest, libc::SOL_PACKET, 16, &[error]);
            (*message).msg_controllen = used + rest.msg_controllen;
        }
        Ok(0)
    };
    match answer(receive) {
        Some(result) => result as isize,
        // SAFETY: the caller's arguments.
        None => unsafe { libc::syscall(libc::SYS_recvmsg, fd, message, flags) as isize },
    }
}

/// Makes `data` the only control message.
///
/// # Safety
/// The control buffer is as long as the message says, and long enough.
unsafe fn control<T>(message: *mut libc::msghdr, level: c_int, kind: c_int, data: &[T]) {
    let len = std::mem::size_of_val(data) as c_uint;
    // SAFETY: the caller's promise.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(message);
        (*header).cmsg_level = level;
        (*header).cmsg_type = kind;
        (*header).cmsg_len = libc::CMSG_LEN(len) as _;
        let to = libc::CMSG_DATA(header).cast::<u8>();
        to.copy_from(data.as_ptr().cast(), len as usize);
        (*message).msg_controllen = libc::CMSG_SPACE(len) as _;
    }
}

extern "C" {
    /// glibc's own name for it.
    fn __sysconf(name: c_int) -> c_long;
}

/// A world has one processor: with more, a change of filter waits for them all, for real.
#[no_mangle]
pub unsafe extern "C" fn sysconf(name: c_int) -> c_long {
    if name == libc::_SC_NPROCESSORS_ONLN && with(|_| ()).is_some() {
        return 1;
    }
    // SAFETY: no preconditions.
    unsafe { __sysconf(name) }
}

#[no_mangle]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: the caller's string.
    let is_known = unsafe { CStr::from_ptr(path) }.to_bytes() == b"/dev/cpu_dma_latency";
    let answered = is_known
        .then(|| answer(|world| Ok(world.open(File::Latency))))
        .flatten();
    match answered {
        Some(result) => result as c_int,
        // SAFETY: the caller's arguments.
        None => unsafe {
            libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags, mode) as c_int
        },
    }
}

#[no_mangle]
pub unsafe extern "C" fn eventfd(count: c_uint, flags: c_int) -> c_int {
    match answer(|world| Ok(world.open(File::Event))) {
        Some(result) => result as c_int,
        // SAFETY: numbers only.
        None => unsafe { libc::syscall(libc::SYS_eventfd2, count, flags) as c_int },
    }
}

#[no_mangle]
pub unsafe extern "C" fn epoll_create1(flags: c_int) -> c_int {
    match answer(|world| Ok(world.open(File::Epoll))) {
        Some(result) => result as c_int,
        // SAFETY: numbers only.
        None => unsafe { libc::syscall(libc::SYS_epoll_create1, flags) as c_int },
    }
}

#[no_mangle]
pub unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: c_long) -> c_int {
    let duplicate = |world: &mut World| match (fd, world.file(fd)) {
        (FILE, _) => Ok(world.open(File::Copy)),
        (_, Some(file)) => {
            let file = *file;
            Ok(world.open(file))
        }
        _ => Err(libc::EBADF),
    };
    if is_ours(fd) && command != libc::F_DUPFD_CLOEXEC {
        return 0; // The standard library looks whether what it closes is open.
    }
    let answered = is_ours(fd).then(|| answer(duplicate)).flatten();
    match answered {
        Some(result) => result as c_int,
        // SAFETY: the caller's arguments.
        None => unsafe { libc::syscall(libc::SYS_fcntl, fd, command, argument) as c_int },
    }
}

#[no_mangle]
pub unsafe extern "C" fn fstat(fd: c_int, status: *mut libc::stat) -> c_int {
    let describe = |_: &mut World| {
        // SAFETY: the caller's room.
        unsafe { (*status).st_ino = 1 };
        Ok(0)
    };
    let answered = is_ours(fd).then(|| answer(describe)).flatten();
    match answered {
        Some(result) => result as c_int,
        // SAFETY: the caller's arguments.
        None => unsafe { libc::syscall(libc::SYS_fstat, fd, status) as c_int },
    }
}

#[no_mangle]
pub unsafe extern "C" fn read(fd: c_int, data: *mut c_void, len: usize) -> isize {
    if is_ours(fd) {
        return 8;
    }
    // SAFETY: the caller's arguments.
    unsafe { libc::syscall(libc::SYS_read, fd, data, len) as isize }
}

#[no_mangle]
pub unsafe extern "C" fn write(fd: c_int, data: *const c_void, len: usize) -> isize {
    if is_ours(fd) {
        return len as isize;
    }
    // SAFETY: the caller's arguments.
    unsafe { libc::syscall(libc::SYS_write, fd, data, len) as isize }
}

#[no_mangle]
pub unsafe extern "C" fn close(fd: c_int) -> c_int {
    if !is_ours(fd) {
        // SAFETY: the caller's descriptor.
        return unsafe { libc::syscall(libc::SYS_close, fd) as c_int };
    }
    let open = with(|world| {
        let file = world.files.get_mut((fd - FIRST) as usize);
        file.and_then(Option::take).is_some()
    });
    assert_eq!(open, Some(true), "{fd} is closed that is not open");
    0
}

/// Rings lie between untouchable pages; that forked children get none is only noted.
#[no_mangle]
pub unsafe extern "C" fn mmap(
    at: *mut c_void,
    len: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: c_long,
) -> *mut c_void {
    let map = |world: &mut World| {
        if at.is_null() && flags & libc::MAP_SHARED != 0 {
            let version = match world.file(fd) {
                Some(File::Packet(version, rings)) if *rings == len && len <= MEMORY => *version,
                _ => return Err(libc::EINVAL),
            };
            let ring = Region::take(len, version);
            world.rings.push(ring);
            return Ok(ring.base as c_long);
        }
        let same = |ring: &&Region| ring.base == at.cast() && ring.len == len;
        match world.rings.iter().find(same) {
            // Another mapping in the place of a ring's: what was there is gone.
            Some(ring) => {
                // SAFETY: the ring's memory.
                unsafe { ring.base.write_bytes(0, len) };
                if let Some(File::Packet(_, rings)) = world.file(fd) {
                    *rings = len;
                }
                Ok(at as c_long)
            }
            None => Ok(0),
        }
    };
    match answer(map) {
        Some(-1) => libc::MAP_FAILED,
        None | Some(0) => {
            let call = libc::SYS_mmap;
            // SAFETY: the caller's arguments.
            let base = unsafe { libc::syscall(call, at, len, protection, flags, fd, offset) };
            with(|world| world.private.push((base as usize, len)));
            base as *mut c_void
        }
        Some(base) => base as *mut c_void,
    }
}

#[no_mangle]
pub unsafe extern "C" fn munmap(at: *mut c_void, len: usize) -> c_int {
    let ring = with(|world| {
        let is_it = |ring: &Region| ring.base == at.cast() && ring.len == len;
        world.private.retain(|(base, _)| *base != at as usize);
        let place = world.rings.iter().position(is_it)?;
        // Of one world in eight, so that late uses are found and few calls slow.
        let real = world.bytes.len() % 8 == 0;
        Some((world.rings.swap_remove(place), real))
    });
    match ring.flatten() {
        Some((ring, real)) => {
            ring.give_back(real);
            0
        }
        // SAFETY: the caller's mapping.
        None => unsafe { libc::syscall(libc::SYS_munmap, at, len) as c_int },
    }
}

#[no_mangle]
pub unsafe extern "C" fn madvise(at: *mut c_void, len: usize, advice: c_int) -> c_int {
    match answer(|_| Ok(0)) {
        Some(result) => result as c_int,
        // SAFETY: the caller's mapping.
        None => unsafe { libc::syscall(libc::SYS_madvise, at, len, advice) as c_int },
    }
}
