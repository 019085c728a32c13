//! Makes system calls of the calling thread fail at will.
//!
//! The library reaches the kernel through libc alone. A test program that defines a function of
//! libc's name gets the calls instead: these pass them on, or fail in their stead.

#![allow(dead_code)]

use std::cell::{Cell, RefCell};
use std::mem::size_of_val;
use std::os::raw::{c_char, c_int, c_long, c_uint, c_ulong, c_void};

/// More calls than any step makes; of what makes more, the first are known.
const MOST: usize = 1 << 16;

thread_local! {
    static WATCHING: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static NAMES: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
    /// Which call fails from now on and how: position and errno value.
    static FAILURE: Cell<Option<(usize, c_int)>> = const { Cell::new(None) };
    /// What happens before the next write(2).
    static BEFORE_WRITE: Cell<Option<fn()>> = const { Cell::new(None) };
    /// The option, by level and number, that is accepted and ignored.
    static IGNORED: Cell<Option<(c_int, c_int)>> = const { Cell::new(None) };
    /// What PACKET_STATISTICS answers in the kernel's stead: packets, drops, and with V3 freezes.
    static STATISTICS: Cell<Option<[c_uint; 3]>> = const { Cell::new(None) };
}

/// Runs `body` and returns its result with the names of the system calls that it made.
pub fn watch<T>(body: impl FnOnce() -> T) -> (T, Vec<&'static str>) {
    run(None, body)
}

/// Runs `body` with its call number `at` failing with `errno`. Panics when it makes fewer calls.
pub fn fail<T>(at: usize, errno: c_int, body: impl FnOnce() -> T) -> T {
    let (result, names) = run(Some((at, errno)), body);
    assert!(at < names.len(), "call {at} was not made");
    result
}

/// As [`fail`], but tells whether the call was made.
pub fn try_fail<T>(at: usize, errno: c_int, body: impl FnOnce() -> T) -> (T, bool) {
    let (result, names) = run(Some((at, errno)), body);
    (result, at < names.len())
}

/// Runs a part of what is watched that is none of its business.
pub fn unwatched<T>(body: impl FnOnce() -> T) -> T {
    let watching = WATCHING.replace(false);
    let result = body();
    WATCHING.set(watching);
    result
}

fn run<T>(failure: Option<(usize, c_int)>, body: impl FnOnce() -> T) -> (T, Vec<&'static str>) {
    COUNT.set(0);
    FAILURE.set(failure);
    NAMES.set(Vec::with_capacity(MOST));
    WATCHING.set(true);
    let result = body();
    WATCHING.set(false);
    (result, NAMES.take())
}

/// Runs `body` with a kernel that has counted so much since it was asked last.
pub fn with_statistics<T>(counters: [c_uint; 3], body: impl FnOnce() -> T) -> T {
    STATISTICS.set(Some(counters));
    let result = body();
    STATISTICS.set(None);
    result
}

/// Runs `body` with a kernel that accepts this option and does not do what it says.
pub fn ignoring<T>(level: c_int, option: c_int, body: impl FnOnce() -> T) -> T {
    IGNORED.set(Some((level, option)));
    let result = body();
    IGNORED.set(None);
    result
}

/// Runs `body`, with `hook` ahead of its first write(2).
pub fn before_write<T>(hook: fn(), body: impl FnOnce() -> T) -> T {
    BEFORE_WRITE.set(Some(hook));
    let result = body();
    assert!(BEFORE_WRITE.take().is_none(), "nothing was written");
    result
}

/// Counts a call, and says whether it is the one to fail.
fn fails(name: &'static str) -> bool {
    if !WATCHING.get() {
        return false;
    }
    let at = COUNT.get();
    COUNT.set(at + 1);
    NAMES.with_borrow_mut(|names| {
        // Within what `run` made room for, because allocating may take system calls.
        if names.len() < names.capacity() {
            names.push(name);
        }
    });
    match FAILURE.get() {
        Some((position, errno)) if position == at => {
            set_errno(errno);
            true
        }
        _ => false,
    }
}

fn set_errno(errno: c_int) {
    // SAFETY: errno is always there in its own thread.
    unsafe { *libc::__errno_location() = errno };
}

macro_rules! pass_on {
    ($($name:ident ($($arg:ident: $type:ty),*) -> $result:ty, $number:ident ($($pass:expr),*);)+) => {
        $(
            /// As in libc.
            #[no_mangle]
            pub unsafe extern "C" fn $name($($arg: $type),*) -> $result {
                if fails(stringify!($name)) {
                    return -1isize as $result;
                }
                // SAFETY: the caller's arguments, for the system call that they are for.
                unsafe { libc::syscall(libc::$number, $($pass),*) as $result }
            }
        )+
    };
}

pass_on! {
    socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int,
        SYS_socket(domain, kind, protocol);
    bind(fd: c_int, address: *const c_void, len: c_uint) -> c_int,
        SYS_bind(fd, address, len);
    getsockname(fd: c_int, address: *mut c_void, len: *mut c_uint) -> c_int,
        SYS_getsockname(fd, address, len);
    ioctl(fd: c_int, code: c_ulong, argument: *mut c_char) -> c_int,
        SYS_ioctl(fd, code, argument);
    mmap(at: *mut c_void, len: usize, prot: c_int, flags: c_int, fd: c_int, offset: c_long) -> *mut c_void,
        SYS_mmap(at, len, prot, flags, fd, offset);
    madvise(at: *mut c_void, len: usize, advice: c_int) -> c_int,
        SYS_madvise(at, len, advice);
    open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int,
        SYS_openat(libc::AT_FDCWD, path, flags, mode);
    eventfd(count: c_uint, flags: c_int) -> c_int,
        SYS_eventfd2(count, flags);
    epoll_create1(flags: c_int) -> c_int,
        SYS_epoll_create1(flags);
    epoll_ctl(epoll: c_int, what: c_int, fd: c_int, event: *mut c_void) -> c_int,
        SYS_epoll_ctl(epoll, what, fd, event);
    epoll_wait(epoll: c_int, events: *mut c_void, most: c_int, timeout: c_int) -> c_int,
        SYS_epoll_pwait(epoll, events, most, timeout, std::ptr::null_mut::<c_void>(), 8usize);
    sendto(fd: c_int, data: *const c_void, len: usize, flags: c_int, to: *const c_void, to_len: c_uint) -> isize,
        SYS_sendto(fd, data, len, flags, to, to_len);
    sendmmsg(fd: c_int, messages: *mut c_void, count: c_uint, flags: c_int) -> c_int,
        SYS_sendmmsg(fd, messages, count, flags);
    sendmsg(fd: c_int, message: *const c_void, flags: c_int) -> isize,
        SYS_sendmsg(fd, message, flags);
    recv(fd: c_int, data: *mut c_void, len: usize, flags: c_int) -> isize,
        SYS_recvfrom(fd, data, len, flags, std::ptr::null_mut::<c_void>(), std::ptr::null_mut::<c_void>());
    recvmsg(fd: c_int, message: *mut c_void, flags: c_int) -> isize,
        SYS_recvmsg(fd, message, flags);
    munmap(at: *mut c_void, len: usize) -> c_int,
        SYS_munmap(at, len);
    clock_gettime(clock: c_int, now: *mut c_void) -> c_int,
        SYS_clock_gettime(clock, now);
    nanosleep(time: *const c_void, left: *mut c_void) -> c_int,
        SYS_nanosleep(time, left);
    read(fd: c_int, data: *mut c_void, len: usize) -> isize,
        SYS_read(fd, data, len);
}

/// As in libc. One that fails has closed the descriptor all the same, as Linux does.
#[no_mangle]
pub unsafe extern "C" fn close(fd: c_int) -> c_int {
    let failed = fails("close");
    // SAFETY: the caller's argument.
    let closed = unsafe { libc::syscall(libc::SYS_close, fd) as c_int };
    match FAILURE.get() {
        Some((_, errno)) if failed => {
            set_errno(errno);
            -1
        }
        _ => closed,
    }
}

/// As in libc.
#[no_mangle]
pub unsafe extern "C" fn write(fd: c_int, data: *const c_void, len: usize) -> isize {
    if let Some(hook) = BEFORE_WRITE.take() {
        hook();
    }
    if fails("write") {
        return -1;
    }
    // SAFETY: the caller's arguments.
    unsafe { libc::syscall(libc::SYS_write, fd, data, len) as isize }
}

/// What a refused buffer size is called: there is a second way to ask for it.
pub const BUFFER: &str = "setsockopt of a buffer";

/// As in libc.
#[no_mangle]
pub unsafe extern "C" fn setsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: c_uint,
) -> c_int {
    let forced = [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE];
    let called = match level == libc::SOL_SOCKET && forced.contains(&name) {
        true => BUFFER,
        false => "setsockopt",
    };
    if fails(called) {
        return -1;
    }
    if IGNORED.get() == Some((level, name)) {
        return 0;
    }
    // SAFETY: the caller's arguments.
    unsafe { libc::syscall(libc::SYS_setsockopt, fd, level, name, value, len) as c_int }
}

/// As in libc.
#[no_mangle]
pub unsafe extern "C" fn getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut c_uint,
) -> c_int {
    if fails("getsockopt") {
        return -1;
    }
    // SAFETY: the caller's arguments; statistics are as many 32-bit counters as their length says,
    // three at most.
    unsafe {
        let result = libc::syscall(libc::SYS_getsockopt, fd, level, name, value, len) as c_int;
        if (level, name) == (libc::SOL_PACKET, libc::PACKET_STATISTICS) {
            if let Some(counters) = STATISTICS.get() {
                let bytes = (*len as usize).min(size_of_val(&counters));
                value.copy_from(counters.as_ptr().cast(), bytes);
            }
        }
        result
    }
}

/// What this process has of the kernel's: descriptors, ring mappings, packet sockets.
#[derive(Debug, PartialEq, Eq)]
pub struct Possessions {
    descriptors: Vec<String>,
    rings: Vec<String>,
    sockets: usize,
}

impl Possessions {
    /// As they are now. Nothing else may run in the process, or in its network.
    pub fn now() -> Possessions {
        let mut descriptors: Vec<String> = std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .map(|target| target.display().to_string())
            .filter(|target| !target.contains("/proc/") || !target.ends_with("/fd"))
            .collect();
        descriptors.sort();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let packet = std::fs::read_to_string("/proc/thread-self/net/packet").unwrap();
        Possessions {
            descriptors,
            rings: maps
                .lines()
                .filter(|line| line.contains("socket:["))
                .map(str::to_owned)
                .collect(),
            sockets: packet.lines().count() - 1,
        }
    }
}

/// Pages of this process's address space.
pub fn pages() -> usize {
    let sizes = std::fs::read_to_string("/proc/self/statm").unwrap();
    sizes.split(' ').next().unwrap().parse().unwrap()
}
