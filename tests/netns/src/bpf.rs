//! Loading small eBPF programs, without a compiler for them.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_SOCKET_FILTER: u32 = 1;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;

/// One instruction, `struct bpf_insn`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the low, source register in the high four bits.
    pub registers: u8,
    /// Of a jump or a memory access.
    pub offset: i16,
    /// Operand.
    pub immediate: i32,
}

/// `r0 = value`
pub fn load_constant(value: i32) -> Instruction {
    Instruction {
        code: 0xb7,
        registers: 0,
        offset: 0,
        immediate: value,
    }
}

/// `r6 = r1`: the context where [`load_word`] wants it.
pub fn keep_context() -> Instruction {
    Instruction {
        code: 0xbf,
        registers: 0x16,
        offset: 0,
        immediate: 0,
    }
}

/// `r0 = ` the big-endian 32-bit word at `offset` of the packet; the program ends with 0 where
/// the packet is shorter.
pub fn load_word(offset: i32) -> Instruction {
    Instruction {
        code: 0x20,
        registers: 0,
        offset: 0,
        immediate: offset,
    }
}

/// `r0 = ` the 32-bit field of `struct __sk_buff` at `offset`, whose address is in `r1`.
pub fn load_context(offset: i16) -> Instruction {
    Instruction {
        code: 0x61,
        registers: 0x10,
        offset,
        immediate: 0,
    }
}

/// `r0 = r0 & mask`
pub fn and(mask: i32) -> Instruction {
    Instruction {
        code: 0x57,
        registers: 0,
        offset: 0,
        immediate: mask,
    }
}

/// `r0 = r0 * factor`
pub fn multiply(factor: i32) -> Instruction {
    Instruction {
        code: 0x27,
        registers: 0,
        offset: 0,
        immediate: factor,
    }
}

/// Sets the argument of that number, 2 to 5, of the next [`call`]. The first is the context at
/// the start of a program.
pub fn argument(number: u8, value: i32) -> Instruction {
    Instruction {
        code: 0xb7,
        registers: number,
        offset: 0,
        immediate: value,
    }
}

/// Calls one of the kernel's functions; `r0` is what it returns.
pub fn call(function: i32) -> Instruction {
    Instruction {
        code: 0x85,
        registers: 0,
        offset: 0,
        immediate: function,
    }
}

/// The end of every program; `r0` is its result.
pub fn exit() -> Instruction {
    Instruction {
        code: 0x95,
        registers: 0,
        offset: 0,
        immediate: 0,
    }
}

/// The beginning of `union bpf_attr` for BPF_PROG_LOAD; the kernel takes the rest for zero.
#[repr(C)]
struct Attributes {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
}

/// Loads a socket filter. Ordinary users are mostly not allowed to, root in a user namespace
/// included: that is the error EPERM.
pub fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    load_as(BPF_PROG_TYPE_SOCKET_FILTER, program)
}

/// Loads a classifier, which can change frames on their way through an interface.
pub fn load_classifier(program: &[Instruction]) -> io::Result<OwnedFd> {
    load_as(BPF_PROG_TYPE_SCHED_CLS, program)
}

fn load_as(kind: u32, program: &[Instruction]) -> io::Result<OwnedFd> {
    let attributes = Attributes {
        kind,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"MIT".as_ptr() as u64,
    };
    bpf(BPF_PROG_LOAD, &attributes)
}

/// Which frames of an interface a classifier sees.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub enum Direction {
    /// Those that come in.
    Ingress = BPF_TCX_INGRESS,
    /// Those that go out.
    Egress = BPF_TCX_EGRESS,
}

/// The beginning of `union bpf_attr` for BPF_LINK_CREATE.
#[repr(C)]
struct LinkAttributes {
    program: i32,
    interface: u32,
    direction: u32,
    flags: u32,
    relative: u32,
    reserved: u32,
    revision: u64,
}

/// Lets a classifier see the frames of an interface for as long as the result lives. Takes Linux
/// 6.6.
pub fn attach(program: &OwnedFd, interface: u32, direction: Direction) -> io::Result<OwnedFd> {
    let attributes = LinkAttributes {
        program: program.as_raw_fd(),
        interface,
        direction: direction as u32,
        flags: 0,
        relative: 0,
        reserved: 0,
        revision: 0,
    };
    bpf(BPF_LINK_CREATE, &attributes)
}

/// The system call, for commands that make a descriptor.
fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the attributes and what they point to outlive the call, which only reads them.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
