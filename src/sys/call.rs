//! System calls, each behind a safe function that owns what it opens.

use std::io::IoSlice;
use std::mem::{size_of, MaybeUninit};
use std::os::raw::{c_char, c_int, c_long, c_ulong};
use std::os::unix::io::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

/// A positive `errno` value.
pub type Errno = i32;

/// The error of the last system call of this thread.
fn errno() -> Errno {
    std::io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}

/// Turns a system call's return value into a result.
fn check(returned: c_int) -> Result<c_int, Errno> {
    if returned < 0 {
        Err(errno())
    } else {
        Ok(returned)
    }
}

fn owned(returned: c_int) -> Result<OwnedFd, Errno> {
    let fd = check(returned)?;
    // SAFETY: the call just returned this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The size of a memory page in bytes.
pub fn page_size() -> usize {
    // SAFETY: sysconf has no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// Maps `len` bytes of `fd`, readable and writable, shared with the kernel.
pub fn map_shared(fd: RawFd, len: usize, flags: i32) -> Result<NonNull<u8>, Errno> {
    map(fd, len, libc::MAP_SHARED | flags)
}

/// Maps `len` bytes of private zeroed memory.
pub fn map_anonymous(len: usize) -> Result<NonNull<u8>, Errno> {
    map_private(len, 0)
}

/// The same with further `flags`.
pub fn map_private(len: usize, flags: i32) -> Result<NonNull<u8>, Errno> {
    map(-1, len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags)
}

/// Puts private zeroed memory in the place of a region that [`map_shared`] returned, in one step.
/// Only the owner of the region may call this.
pub fn remap_anonymous(base: NonNull<u8>, len: usize) -> Result<(), Errno> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    map_at(base.as_ptr(), -1, len, flags).map(|_| ())
}

/// Puts `fd` back in the place of a region that [`remap_anonymous`] took. Only the owner of the
/// region may call this.
pub fn remap_shared(base: NonNull<u8>, len: usize, fd: RawFd, flags: i32) -> Result<(), Errno> {
    let flags = libc::MAP_SHARED | libc::MAP_FIXED | flags;
    map_at(base.as_ptr(), fd, len, flags).map(|_| ())
}

fn map(fd: RawFd, len: usize, flags: i32) -> Result<NonNull<u8>, Errno> {
    map_at(std::ptr::null_mut(), fd, len, flags)
}

fn map_at(at: *mut u8, fd: RawFd, len: usize, flags: i32) -> Result<NonNull<u8>, Errno> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory. One
    // at a fixed address replaces a region that the caller owns, with memory that is as valid.
    let base = unsafe { libc::mmap(at.cast(), len, protection, flags, fd, 0) };
    if base == libc::MAP_FAILED {
        return Err(errno());
    }
    NonNull::new(base.cast()).ok_or(libc::EFAULT)
}

/// How often to ask for an unmapping that is refused for a moment.
const UNMAP_ATTEMPTS: u32 = 3;

/// Unmaps a region that [`map_shared`] returned. Only the owner of the region may call this.
pub fn unmap(base: NonNull<u8>, len: usize) {
    for _ in 0..UNMAP_ATTEMPTS {
        // SAFETY: the caller owns the mapping and drops it with this call. Apart from invalid
        // arguments, which an owned mapping rules out, only the kernel's own lack of memory can
        // stand in the way of unmapping the whole of one.
        if unsafe { libc::munmap(base.as_ptr().cast(), len) } == 0 {
            return;
        }
    }
}

/// Keeps a mapping out of the address space of children made by fork.
pub fn keep_from_children(base: NonNull<u8>, len: usize) -> Result<(), Errno> {
    // SAFETY: MADV_DONTFORK changes no contents, only what a later fork copies.
    check(unsafe { libc::madvise(base.as_ptr().cast(), len, libc::MADV_DONTFORK) })?;
    Ok(())
}

/// Has the kernel zero a private mapping in children made by fork. Where it cannot (before
/// Linux 4.14) the children keep a copy.
pub fn wipe_in_children(base: NonNull<u8>, len: usize) {
    // SAFETY: MADV_WIPEONFORK changes no contents, only what a later fork copies.
    unsafe { libc::madvise(base.as_ptr().cast(), len, libc::MADV_WIPEONFORK) };
}

/// A second descriptor for the open file behind `fd`, closed on exec.
pub fn duplicate(fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: F_DUPFD_CLOEXEC has no memory arguments.
    owned(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) })
}

/// Major and minor number of the running kernel; a large one when it does not tell.
pub fn kernel_version() -> (u32, u32) {
    let mut name = MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: the kernel writes one utsname; all zero is a valid one.
    let name = unsafe {
        libc::uname(name.as_mut_ptr());
        name.assume_init()
    };
    let digits = |c: &c_char| (*c as u8).is_ascii_digit();
    let mut numbers = name.release.split(|c| !digits(c)).map(|part| {
        part.iter().fold(0u32, |number, c| {
            number
                .wrapping_mul(10)
                .wrapping_add(u32::from(*c as u8 - b'0'))
        })
    });
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if major != 0 => (major, minor),
        _ => (u32::MAX, 0),
    }
}

/// Waits until the kernel is done with every packet that it had begun to deliver; false where
/// that cannot be had: before Linux 4.3, with the boot option nohz_full, or forbidden by seccomp.
///
/// The kernel delivers packets within RCU read-side critical sections, and this call waits for the
/// end of all that have begun. It does not with a single processor: there they are over, unless
/// the kernel can be preempted in them (PREEMPT_RT).
pub fn outwait_deliveries() -> bool {
    // SAFETY: sysconf has no preconditions.
    let processors = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    let (command, flags): (c_int, c_int) = (libc::MEMBARRIER_CMD_GLOBAL, 0);
    // SAFETY: membarrier has no memory arguments.
    processors > 1 && unsafe { libc::syscall(libc::SYS_membarrier, command, flags) } == 0
}

/// `union bpf_attr` of linux/bpf.h for BPF_PROG_TEST_RUN, as far as Linux 5.2 had it.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    result: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
}

const BPF_PROG_TEST_RUN: c_int = 10;

/// Has the kernel run the socket filter `program` over the packet `data`, whose first 14 bytes it
/// takes for an Ethernet header that the program does not get to see. The packet arrives at the
/// interface with this index, or at the loopback interface.
pub fn run_program(program: &OwnedFd, data: &[u8], ifindex: Option<u32>) -> Result<u32, Errno> {
    // struct __sk_buff up to ifindex, with ingress_ifindex before it.
    let mut context = [0u32; 11];
    let mut attributes = TestRun {
        program: program.as_raw_fd() as u32,
        data_size_in: data.len() as u32,
        data_in: data.as_ptr() as u64,
        ..TestRun::default()
    };
    if let Some(ifindex) = ifindex {
        context[9..].copy_from_slice(&[ifindex; 2]);
        attributes.context_size_in = size_of::<[u32; 11]>() as u32;
        attributes.context_in = context.as_ptr() as u64;
    }
    let p: *mut TestRun = &mut attributes;
    // SAFETY: the kernel reads the attributes, `data` and the context, all of which outlive the
    // call and are as long as they say, and writes into the attributes.
    let ran = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, p, size_of::<TestRun>()) };
    check(ran as c_int)?;
    Ok(attributes.result)
}

/// One packet socket.
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// `socket(AF_PACKET, kind, htons(protocol))`, closed on exec.
    pub fn open(kind: i32, protocol: u16) -> Result<PacketSocket, Errno> {
        let kind = kind | libc::SOCK_CLOEXEC;
        // SAFETY: socket has no memory arguments.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, i32::from(protocol.to_be())) };
        owned(fd).map(PacketSocket)
    }

    /// The descriptor, for poll and for options that this library does not know.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// `setsockopt(SOL_PACKET, option)` with an int.
    pub fn set_int(&self, option: i32, value: i32) -> Result<(), Errno> {
        self.set(libc::SOL_PACKET, option, &value)
    }

    /// `setsockopt(level, option)` with a plain value of the kernel's type.
    pub fn set<T: Plain>(&self, level: i32, option: i32, value: &T) -> Result<(), Errno> {
        let len = size_of::<T>() as libc::socklen_t;
        let value: *const T = value;
        // SAFETY: the kernel reads size_of::<T>() bytes at `value`, which the reference covers.
        check(unsafe { libc::setsockopt(self.fd(), level, option, value.cast(), len) })?;
        Ok(())
    }

    /// `getsockopt(SOL_PACKET, option)` of an int.
    pub fn get_int(&self, option: i32) -> Result<i32, Errno> {
        self.get(libc::SOL_PACKET, option)
    }

    /// `getsockopt(level, option)` of a plain value of the kernel's type. Where the kernel
    /// returns fewer bytes, the rest is zero.
    pub fn get<T: Plain>(&self, level: i32, option: i32) -> Result<T, Errno> {
        let mut value = MaybeUninit::<T>::zeroed();
        let mut len = size_of::<T>() as libc::socklen_t;
        let target = value.as_mut_ptr().cast();
        // SAFETY: the kernel writes at most `len` bytes at `target`, which are there.
        check(unsafe { libc::getsockopt(self.fd(), level, option, target, &mut len) })?;
        // SAFETY: zeroed, then written by the kernel; every bit pattern is a valid Plain.
        Ok(unsafe { value.assume_init() })
    }

    /// `setsockopt(level, option)` with a classic BPF program.
    pub fn set_program(
        &self,
        level: i32,
        option: i32,
        program: &[libc::sock_filter],
    ) -> Result<(), Errno> {
        let fprog = libc::sock_fprog {
            len: u16::try_from(program.len()).map_err(|_| libc::EINVAL)?,
            // The kernel only reads the program; the field is not const for historical reasons.
            filter: program.as_ptr() as *mut libc::sock_filter,
        };
        self.set(level, option, &fprog)
    }

    /// `setsockopt(level, option)` with a file descriptor.
    pub fn set_fd(&self, level: i32, option: i32, fd: &OwnedFd) -> Result<(), Errno> {
        self.set(level, option, &fd.as_raw_fd())
    }

    /// `bind` to `protocol` (host order) on interface `ifindex`, 0 for all.
    pub fn bind(&self, protocol: u16, ifindex: i32) -> Result<(), Errno> {
        let address = link_address(protocol.to_be(), ifindex, &[]);
        let p: *const libc::sockaddr_ll = &address;
        let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the kernel reads `len` bytes of `address`.
        check(unsafe { libc::bind(self.fd(), p.cast(), len) })?;
        Ok(())
    }

    /// The interface this socket is bound to: 0 for all, -1 when it is gone.
    pub fn bound_ifindex(&self) -> Result<i32, Errno> {
        let mut address = link_address(0, 0, &[]);
        let p: *mut libc::sockaddr_ll = &mut address;
        let mut len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes into `address`.
        check(unsafe { libc::getsockname(self.fd(), p.cast(), &mut len) })?;
        Ok(address.sll_ifindex)
    }

    /// Reads and clears the pending error (`SO_ERROR`); 0 when there is none.
    pub fn take_error(&self) -> Result<Errno, Errno> {
        self.get(libc::SOL_SOCKET, libc::SO_ERROR)
    }

    /// Asks the kernel to send what the transmit ring holds, without waiting. The result is the
    /// kernel's, which counts bytes and is of no use beyond its sign.
    pub fn kick(&self, to: Option<&libc::sockaddr_ll>) -> Result<(), Errno> {
        self.send(&[], to).map(|_| ())
    }

    /// `sendto(frame, MSG_DONTWAIT)`.
    pub fn send(&self, frame: &[u8], to: Option<&libc::sockaddr_ll>) -> Result<usize, Errno> {
        let (address, len) = address(to);
        // SAFETY: the kernel reads `frame.len()` bytes of `frame` and `len` of the address.
        let sent = unsafe {
            libc::sendto(
                self.fd(),
                frame.as_ptr().cast(),
                frame.len(),
                libc::MSG_DONTWAIT,
                address.cast(),
                len,
            )
        };
        if sent < 0 {
            return Err(errno());
        }
        Ok(sent as usize)
    }

    /// `sendmsg(MSG_DONTWAIT)` of the one frame that `parts` are.
    pub fn send_parts(
        &self,
        parts: &[IoSlice],
        to: Option<&libc::sockaddr_ll>,
    ) -> Result<usize, Errno> {
        let (address, address_len) = address(to);
        // SAFETY: struct msghdr is integers and pointers; all zero is a valid value.
        let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        // The kernel only reads the address.
        message.msg_name = address as *mut libc::c_void;
        message.msg_namelen = address_len;
        // IoSlice has the layout of struct iovec; the kernel only reads them.
        message.msg_iov = parts.as_ptr() as *mut libc::iovec;
        message.msg_iovlen = parts.len() as _;
        // SAFETY: the message points to `parts` and to `to`, which outlive the call.
        let sent = unsafe { libc::sendmsg(self.fd(), &message, libc::MSG_DONTWAIT) };
        if sent < 0 {
            return Err(errno());
        }
        Ok(sent as usize)
    }

    /// Looks at the first packet in the receive queue, without the `vnet` bytes of virtio_net
    /// header in front of it: copies what `buffer` has room for. The packet stays.
    pub fn peek_copy(&self, vnet: usize, buffer: &mut [u8]) -> Result<Copied, Errno> {
        let mut header = [0u8; 12];
        // u64 for the alignment that control messages need.
        let mut control = [0u64; 32];
        let mut parts = [
            libc::iovec {
                iov_base: header.as_mut_ptr().cast(),
                iov_len: vnet.min(header.len()),
            },
            libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            },
        ];
        // SAFETY: struct msghdr is integers and pointers; all zero is a valid value.
        let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        message.msg_iov = parts.as_mut_ptr();
        message.msg_iovlen = parts.len() as _;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = std::mem::size_of_val(&control) as _;
        let flags = libc::MSG_PEEK | libc::MSG_TRUNC | libc::MSG_DONTWAIT;
        // SAFETY: every pointer in the message is to a live local, or to `buffer`, of the length
        // beside it.
        let length = unsafe { libc::recvmsg(self.fd(), &mut message, flags) };
        if length < 0 {
            return Err(errno());
        }
        Ok(Copied {
            length: (length as usize).saturating_sub(vnet),
            // SAFETY: recvmsg has just filled the message, whose control buffer is alive.
            timestamp: unsafe { timestamp(&message) },
        })
    }

    /// Takes the first packet out of the receive queue, if there is one.
    pub fn drop_copy(&self) {
        // SAFETY: no bytes are written. The only failure is an empty queue.
        unsafe { libc::recv(self.fd(), std::ptr::null_mut(), 0, libc::MSG_DONTWAIT) };
    }

    /// The index of the interface called `name`.
    pub fn ifindex(&self, name: &str) -> Result<i32, Errno> {
        let request = self.interface_request(libc::SIOCGIFINDEX, name)?;
        // SAFETY: SIOCGIFINDEX filled this member of the union.
        Ok(unsafe { request.ifr_ifru.ifru_ifindex })
    }

    /// The MTU of the interface called `name`, in bytes.
    pub fn mtu(&self, name: &str) -> Result<u32, Errno> {
        let request = self.interface_request(libc::SIOCGIFMTU, name)?;
        // SAFETY: SIOCGIFMTU filled this member of the union.
        let mtu = unsafe { request.ifr_ifru.ifru_mtu };
        u32::try_from(mtu).map_err(|_| libc::EINVAL)
    }

    /// The `ARPHRD_*` type of the interface called `name`.
    pub fn hardware_type(&self, name: &str) -> Result<u16, Errno> {
        let request = self.interface_request(libc::SIOCGIFHWADDR, name)?;
        // SAFETY: SIOCGIFHWADDR filled this member of the union.
        Ok(unsafe { request.ifr_ifru.ifru_hwaddr.sa_family })
    }

    /// The name that the interface `ifindex` has now.
    pub fn interface_name(&self, ifindex: i32) -> Result<String, Errno> {
        let mut request = empty_interface_request();
        request.ifr_ifru.ifru_ifindex = ifindex;
        self.interface_ioctl(libc::SIOCGIFNAME, &mut request)?;
        let bytes: Vec<u8> = request
            .ifr_name
            .iter()
            .take_while(|&&c| c != 0)
            .map(|&c| c as u8)
            .collect();
        String::from_utf8(bytes).map_err(|_| libc::EILSEQ)
    }

    fn interface_request(&self, code: c_ulong, name: &str) -> Result<libc::ifreq, Errno> {
        let mut request = empty_interface_request();
        if name.len() >= request.ifr_name.len() {
            return Err(libc::ENODEV);
        }
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *to = from as c_char;
        }
        self.interface_ioctl(code, &mut request)?;
        Ok(request)
    }

    fn interface_ioctl(&self, code: c_ulong, request: &mut libc::ifreq) -> Result<(), Errno> {
        let request: *mut libc::ifreq = request;
        // SAFETY: the interface ioctls read and write one struct ifreq at `request`.
        check(unsafe { libc::ioctl(self.fd(), code as _, request) })?;
        Ok(())
    }
}

/// A packet in the receive queue.
pub struct Copied {
    /// Bytes it has, which may be more than were copied.
    pub length: usize,
    /// When it was received, in nanoseconds since the epoch, if the socket was asked to say.
    pub timestamp: Option<u64>,
}

/// The `SCM_TIMESTAMPNS` among the control messages.
///
/// # Safety
/// `message` was filled by recvmsg, and its control buffer is alive.
unsafe fn timestamp(message: &libc::msghdr) -> Option<u64> {
    // SAFETY: the caller's promise; the macros stay inside the control buffer.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(message);
        while let Some(header) = control.as_ref() {
            let kind = (header.cmsg_level, header.cmsg_type);
            if kind == (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS) {
                let time = libc::CMSG_DATA(control).cast::<libc::timespec>();
                return Some(nanoseconds(&time.read_unaligned()));
            }
            control = libc::CMSG_NXTHDR(message, control);
        }
    }
    None
}

/// Frames that one [`Batch::send`] takes at most: their headers fit one page.
pub const BATCH: usize = 64;

/// Sends many frames with one system call, over and over: the messages around them stay. The
/// default one has no messages and sends nothing.
#[derive(Default)]
pub struct Batch(Vec<libc::mmsghdr>);

impl Batch {
    /// With the messages; the only allocation.
    pub fn new() -> Batch {
        // SAFETY: struct mmsghdr is integers and pointers; all zero is a valid value.
        let mut message: libc::mmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        message.msg_hdr.msg_iovlen = 1;
        Batch(vec![message; BATCH])
    }

    /// `sendmmsg(MSG_DONTWAIT)` of the first of `frames`, at most [`BATCH`], one a message. The
    /// result is how many were sent, from the first on; an error means none was.
    ///
    /// The frames are only read, and by the kernel, which answers EFAULT where no memory is.
    #[inline(never)]
    pub fn send(
        &mut self,
        socket: &PacketSocket,
        frames: &[libc::iovec],
        to: Option<&libc::sockaddr_ll>,
    ) -> Result<usize, Errno> {
        let (address, address_len) = address(to);
        let count = frames.len().min(self.0.len());
        for (message, frame) in self.0.iter_mut().zip(frames) {
            let frame: *const libc::iovec = frame;
            let header = &mut message.msg_hdr;
            // The kernel only reads iovec and address; the fields are not const for historical
            // reasons.
            header.msg_iov = frame as *mut libc::iovec;
            header.msg_name = address as *mut libc::c_void;
            header.msg_namelen = address_len;
        }
        // SAFETY: the first `count` messages were written above. Each points to one of `frames`
        // and to `to`, which outlive the call; the kernel writes back msg_len alone.
        let sent = unsafe {
            libc::sendmmsg(
                socket.fd(),
                self.0.as_mut_ptr(),
                count as std::os::raw::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        };
        check(sent).map(|sent| (sent as usize).min(count))
    }
}

/// An address as system calls take it: NULL and 0 for none.
fn address(to: Option<&libc::sockaddr_ll>) -> (*const libc::sockaddr_ll, libc::socklen_t) {
    match to {
        Some(to) => (to, size_of::<libc::sockaddr_ll>() as libc::socklen_t),
        None => (std::ptr::null(), 0),
    }
}

fn empty_interface_request() -> libc::ifreq {
    // SAFETY: struct ifreq is characters, integers and addresses; all zero is a valid value.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// A `sockaddr_ll`. `protocol` is in network order, `address` at most 8 bytes.
pub fn link_address(protocol: u16, ifindex: i32, address: &[u8]) -> libc::sockaddr_ll {
    let mut sll_addr = [0; 8];
    let halen = address.len().min(sll_addr.len());
    sll_addr[..halen].copy_from_slice(&address[..halen]);
    libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol,
        sll_ifindex: ifindex,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: halen as u8,
        sll_addr,
    }
}

/// Values that may be exchanged with the kernel byte for byte.
///
/// # Safety
/// The type must be plain data for which every bit pattern is valid.
pub unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($type:ty),+ $(,)?) => {
        // SAFETY: integers, and kernel structs made of integers and (for sock_fprog, which is
        // only ever written) a pointer.
        $(unsafe impl Plain for $type {})+
    };
}
plain!(
    i32,
    u32,
    u64,
    [u32; 2],
    libc::tpacket_req,
    libc::tpacket_req3,
    libc::tpacket_stats,
    libc::tpacket_stats_v3,
    libc::tpacket_rollover_stats,
    crate::sys::layout::MembershipRequest,
    libc::sock_fprog,
);

/// An eventfd: a counter that can be raised from anywhere and waited for.
pub struct EventFd(OwnedFd);

impl EventFd {
    /// A new eventfd with count 0, non-blocking, closed on exec.
    pub fn new() -> Result<EventFd, Errno> {
        // SAFETY: eventfd has no memory arguments.
        owned(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) }).map(EventFd)
    }

    /// Raises the count. Async-signal-safe: one write(2) and nothing else; errno is preserved.
    pub fn raise(&self) {
        let one = 1u64;
        // SAFETY: __errno_location is always valid in its own thread.
        let saved = unsafe { *libc::__errno_location() };
        // SAFETY: write reads eight bytes of `one`. It can only fail with EAGAIN, when the count
        // is at its limit and the event therefore pending already.
        unsafe { libc::write(self.0.as_raw_fd(), (&one as *const u64).cast(), 8) };
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = saved };
    }

    /// Takes the count back to 0.
    pub fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: read writes eight bytes into `count`. EAGAIN, the only failure, means 0.
        unsafe { libc::read(self.0.as_raw_fd(), (&mut count as *mut u64).cast(), 8) };
    }
}

/// An epoll instance.
pub struct Epoll(OwnedFd);

impl Epoll {
    /// A new, empty instance, closed on exec.
    pub fn new() -> Result<Epoll, Errno> {
        // SAFETY: epoll_create1 has no memory arguments.
        owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(Epoll)
    }

    /// Adds the packet socket with `events` and the mark `token`.
    pub fn add_socket(&self, socket: &PacketSocket, events: i32, token: u64) -> Result<(), Errno> {
        self.add(socket.fd(), events, token)
    }

    /// Takes the packet socket out again.
    pub fn remove_socket(&self, socket: &PacketSocket) {
        let none = std::ptr::null_mut();
        // SAFETY: removing reads no epoll_event.
        unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_DEL, socket.fd(), none) };
    }

    /// Adds an eventfd, level-triggered, with the mark `token`.
    pub fn add_event(&self, event: &EventFd, token: u64) -> Result<(), Errno> {
        self.add(event.0.as_raw_fd(), libc::EPOLLIN, token)
    }

    fn add(&self, fd: RawFd, events: i32, token: u64) -> Result<(), Errno> {
        let mut event = libc::epoll_event {
            events: events as u32,
            u64: token,
        };
        // SAFETY: the kernel reads one epoll_event.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) })?;
        Ok(())
    }

    /// Waits at most `timeout_ms` (-1: without limit) and returns the (token, events) that are
    /// ready, at most two of them.
    pub fn wait(&self, timeout_ms: i32) -> Result<[Option<(u64, u32)>; 2], Errno> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 2];
        // SAFETY: the kernel writes at most two epoll_events.
        let n = check(unsafe {
            libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), 2, timeout_ms)
        })?;
        let ready = |i: usize| ((i as i32) < n).then(|| (events[i].u64, events[i].events));
        Ok([ready(0), ready(1)])
    }
}

/// A number that tells the calling thread from every other running thread.
pub fn thread_id() -> usize {
    // SAFETY: pthread_self has no preconditions.
    unsafe { libc::pthread_self() as usize }
}

/// The monotonic clock in nanoseconds.
pub fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// The time of day in nanoseconds since 1970-01-01 00:00 UTC.
pub fn realtime_ns() -> u64 {
    clock_ns(libc::CLOCK_REALTIME)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec.
    unsafe { libc::clock_gettime(clock, &mut now) };
    nanoseconds(&now)
}

/// `time` in nanoseconds. Seconds of 32 bits are without a sign, which takes them from 2038 to 2106.
pub(super) fn nanoseconds(time: &libc::timespec) -> u64 {
    time.tv_sec as usize as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Sleeps for `ns` nanoseconds, or less when a signal arrives.
pub fn sleep_ns(ns: u64) {
    let time = libc::timespec {
        tv_sec: (ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (ns % 1_000_000_000) as c_long,
    };
    // SAFETY: the kernel reads one timespec; the remainder is not asked for.
    unsafe { libc::nanosleep(&time, std::ptr::null_mut()) };
}
