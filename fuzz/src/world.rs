//! A kernel made of arbitrary bytes.
//!
//! The library reaches the kernel through libc alone. A program that defines functions of libc's
//! names gets these calls: while a [`World`] is there, in the thread that made it, they are
//! answered from its bytes; otherwise they go where they were meant to. Rings are real memory, with
//! an untouchable page on either side, and what the bytes say is written to it at every call.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::os::raw::{c_char, c_int, c_long, c_uint, c_ulong, c_void};

const PAGE: usize = 4096;
/// More ring memory than this there is not.
const MEMORY: usize = 1 << 18;

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
    static FILE: Cell<c_int> = const { Cell::new(-1) };
}

/// The kernel's state.
pub struct World {
    bytes: Vec<u8>,
    at: usize,
    clock: u64,
    /// Bytes of the rings asked for, and the block size of the first.
    ring_bytes: usize,
    version: c_int,
    /// The mapping, as the library has it.
    ring: *mut u8,
    ring_len: usize,
    /// Start and end of what the library mapped for itself.
    own: Vec<(usize, usize)>,
    /// Times that the library went to sleep since [`World::patience`].
    sleeps: u32,
}

/// Lets there be a world of these bytes until the result is dropped.
pub fn begin(bytes: &[u8]) -> Reign {
    let world = World {
        bytes: bytes.to_vec(),
        at: 0,
        clock: 1_000_000_000,
        ring_bytes: 0,
        version: 0,
        ring: std::ptr::null_mut(),
        ring_len: 0,
        own: Vec::new(),
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
        let at = (p as usize).wrapping_sub(world.ring as usize);
        at <= world.ring_len && len <= world.ring_len - at
    })
    .unwrap_or(false)
}

/// Whether `len` bytes at `p` are memory that slots may be in: a ring, or what the library mapped for
/// itself.
pub fn is_slot(p: *const u8, len: usize) -> bool {
    let own = with(|world| {
        let inside = |&(start, end): &(usize, usize)| {
            (start..end).contains(&(p as usize)) && len <= end - p as usize
        };
        world.own.iter().any(inside)
    });
    is_ring(p, len) || own.unwrap_or(false)
}

/// Has something happen to the rings.
pub fn happen() {
    with(World::happen);
}

/// Sleeps from now on are counted anew.
pub fn be_patient() {
    with(|world| world.sleeps = 0);
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
    WORLD.with(|slot| slot.try_borrow_mut().ok()?.as_mut().map(body))
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
        if self.ring.is_null() {
            return;
        }
        match self.byte() % 8 {
            0..=2 => {}
            3 | 4 => self.fill_block(),
            5 => self.every_status(),
            _ => {
                for _ in 0..=self.byte() % 4 {
                    let at = (self.word() as usize).wrapping_mul(4) % self.ring_len;
                    let value = self.word();
                    self.set(at & !3, value);
                }
            }
        }
    }

    fn set(&mut self, at: usize, value: u32) {
        if at + 4 <= self.ring_len {
            // SAFETY: inside the mapping, which lives as long as `ring` is set.
            unsafe { self.ring.add(at).cast::<u32>().write_unaligned(value) };
        }
    }

    /// A block of frames in V3's layout, or a few slots, at any page.
    fn fill_block(&mut self) {
        let start = usize::from(self.byte()) * PAGE % self.ring_len;
        let step = 128 + usize::from(self.byte() % 16) * 16;
        let count = usize::from(self.byte() % 8);
        if self.version != 2 {
            for slot in 0..count {
                let at = start + slot * step;
                self.set(at + 4, 60);
                self.set(at + 8, 40);
                self.set(at + 12, 80 | 94 << 16);
                self.set(at, 1);
            }
            return;
        }
        for frame in 0..count {
            let at = start + 48 + frame * step;
            let next = if frame + 1 == count { 0 } else { step };
            self.set(at, next as u32);
            self.set(at + 12, 40);
            self.set(at + 16, 60);
            self.set(at + 20, 1);
            self.set(at + 24, 82 | 96 << 16);
        }
        self.set(start + 12, count as u32);
        self.set(start + 16, 48);
        self.set(start + 20, (48 + count * step) as u32);
        self.set(start + 8, 1);
    }

    /// One status for every slot of some size: the kernel has sent everything, for example.
    fn every_status(&mut self) {
        let step = 16 << (self.byte() % 9);
        let offset = [0, 0, 20, 8][usize::from(self.byte() % 4)];
        let status = [0, 0, 1, 2, 4][usize::from(self.byte() % 5)];
        for at in (0..self.ring_len).step_by(step) {
            self.set(at + offset, status);
        }
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

/// The file whose memory the rings are.
fn ring_file() -> c_int {
    if FILE.get() < 0 {
        let name = CStr::from_bytes_with_nul(b"ring\0").unwrap();
        // SAFETY: a name and numbers.
        unsafe {
            FILE.set(libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC));
            assert_eq!(libc::ftruncate(FILE.get(), MEMORY as i64), 0);
        }
    }
    FILE.get()
}

/// As in libc. So are the following.
#[no_mangle]
pub unsafe extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    let file = |_: &mut World| {
        // SAFETY: numbers only.
        Ok(unsafe { libc::fcntl(ring_file(), libc::F_DUPFD_CLOEXEC, 3) } as c_long)
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
        if level == libc::SOL_PACKET && name == libc::PACKET_VERSION {
            // SAFETY: an int by the meaning of the option.
            world.version = unsafe { value.cast::<c_int>().read_unaligned() };
        }
        if level == libc::SOL_PACKET
            && (name == libc::PACKET_RX_RING || name == libc::PACKET_TX_RING)
        {
            // SAFETY: a struct that starts with block size and count.
            let [size, count] = unsafe { value.cast::<[u32; 2]>().read_unaligned() };
            let bytes = u64::from(size) * u64::from(count);
            if bytes > (MEMORY / 2) as u64 {
                return Err(libc::ENOMEM);
            }
            world.ring_bytes += bytes as usize;
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
        // SAFETY: the caller's length and buffer; whole words of it are written.
        unsafe {
            let words = *len as usize / 4;
            for i in 0..words {
                let word = match (level, name) {
                    (libc::SOL_PACKET, libc::PACKET_VERSION) => world.version as u32,
                    (libc::SOL_SOCKET, libc::SO_ERROR) => match world.byte() {
                        0xff => libc::ENETDOWN as u32,
                        0xfe => libc::ENOMSG as u32,
                        _ => 0,
                    },
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

/// Maps rings between untouchable pages.
#[no_mangle]
pub unsafe extern "C" fn mmap(
    at: *mut c_void,
    len: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: c_long,
) -> *mut c_void {
    // SAFETY: numbers, and an address that only matters with MAP_FIXED.
    let map = |at: *mut c_void, len: usize, protection: c_int, flags: c_int, fd: c_int| unsafe {
        libc::syscall(libc::SYS_mmap, at, len, protection, flags, fd, offset) as *mut c_void
    };
    let is_ring = flags & libc::MAP_SHARED != 0 && at.is_null();
    let allowed = match is_ring {
        true => answer(|world| match len == world.ring_bytes && len <= MEMORY {
            true => Ok(0),
            false => Err(libc::EINVAL),
        }),
        false => None,
    };
    match allowed {
        Some(0) => {}
        Some(_) => return libc::MAP_FAILED,
        None => {
            let mapped = map(at, len, protection, flags, fd);
            if at.is_null() && mapped != libc::MAP_FAILED {
                let start = mapped as usize;
                with(|world| world.own.push((start, start + len)));
            }
            return mapped;
        }
    }
    let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let outer = map(
        std::ptr::null_mut(),
        len + 2 * PAGE,
        libc::PROT_NONE,
        private,
        -1,
    );
    let ring = outer.wrapping_byte_add(PAGE);
    let inner = map(ring, len, protection, flags | libc::MAP_FIXED, fd);
    assert_eq!(inner, ring);
    // SAFETY: just mapped.
    unsafe { inner.write_bytes(0, len) };
    with(|world| {
        world.ring = inner.cast();
        world.ring_len = len;
    });
    inner
}

/// Unmaps rings with their pages.
#[no_mangle]
pub unsafe extern "C" fn munmap(at: *mut c_void, len: usize) -> c_int {
    let was_ring = with(|world| {
        world.own.retain(|&(start, _)| start != at as usize);
        let was = !at.is_null() && at.cast() == world.ring;
        if was {
            world.ring = std::ptr::null_mut();
            world.ring_len = 0;
            world.ring_bytes = 0;
        }
        was
    });
    let (at, len) = match was_ring {
        Some(true) => (at.wrapping_byte_sub(PAGE), len + 2 * PAGE),
        _ => (at, len),
    };
    // SAFETY: the caller's mapping, or ours around it.
    unsafe { libc::syscall(libc::SYS_munmap, at, len) as c_int }
}
