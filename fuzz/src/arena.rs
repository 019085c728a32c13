//! Ring memory that the harness shares with the library as the kernel would, between two pages
//! that nobody may touch.

use pktring::ring::map::{Mapping, View};
use std::cell::RefCell;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

const PAGE: usize = 4096;

/// The memory.
pub struct Arena {
    mapping: Arc<Mapping>,
    /// The same memory, as the other side maps it.
    kernel: NonNull<u8>,
    len: usize,
}

impl Arena {
    /// The arena of `len` bytes, a multiple of the page size. Each thread makes one of each
    /// length and keeps it.
    pub fn of(len: usize) -> &'static Arena {
        thread_local!(static MINE: RefCell<Vec<&'static Arena>> = const { RefCell::new(Vec::new()) });
        // Also where nothing ends with the thread, so that nothing looks like a leak.
        static ALL: Mutex<Vec<&'static Arena>> = Mutex::new(Vec::new());
        MINE.with(|mine| {
            let known = mine.borrow().iter().find(|arena| arena.len == len).copied();
            known.unwrap_or_else(|| {
                let arena: &'static Arena = Box::leak(Box::new(Arena::new(len)));
                ALL.lock().unwrap().push(arena);
                mine.borrow_mut().push(arena);
                arena
            })
        })
    }

    fn new(len: usize) -> Arena {
        assert_eq!(len % PAGE, 0);
        let file = memory_file(len);
        let mapping = guarded(&file, len);
        // SAFETY: a new mapping touches no other memory.
        let kernel = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        assert_ne!(kernel, libc::MAP_FAILED);
        Arena {
            mapping,
            kernel: NonNull::new(kernel.cast()).unwrap(),
            len,
        }
    }

    /// All of it, zeroed, as a ring, and the kernel's side of it.
    pub fn ring(&self) -> (View, Memory) {
        let view = View::new(&self.mapping, 0, self.len).expect("the whole mapping");
        let memory = Memory {
            base: self.kernel,
            len: self.len,
        };
        memory.zero();
        (view, memory)
    }
}

// SAFETY: plain memory; only the thread that made an arena uses it.
unsafe impl Sync for Arena {}

/// The kernel's side of a ring.
pub struct Memory {
    base: NonNull<u8>,
    pub len: usize,
}

impl Memory {
    /// Writes as much of `bytes` as fits at `at`.
    pub fn write(&self, at: usize, bytes: &[u8]) {
        let at = at.min(self.len);
        let len = bytes.len().min(self.len - at);
        // SAFETY: the range was cut to the memory; one thread does everything here.
        unsafe { self.base.as_ptr().add(at).copy_from(bytes.as_ptr(), len) };
    }

    pub fn u32(&self, at: usize) -> u32 {
        assert!(at + 4 <= self.len);
        // SAFETY: just checked.
        unsafe { self.base.as_ptr().add(at).cast::<u32>().read_unaligned() }
    }

    pub fn set_u32(&self, at: usize, value: u32) {
        self.write(at, &value.to_ne_bytes());
    }

    pub fn set_u16(&self, at: usize, value: u16) {
        self.write(at, &value.to_ne_bytes());
    }

    pub fn zero(&self) {
        // SAFETY: the whole of the memory.
        unsafe { self.base.as_ptr().write_bytes(0, self.len) };
    }
}

fn memory_file(len: usize) -> OwnedFd {
    let name = CStr::from_bytes_with_nul(b"ring\0").unwrap();
    // SAFETY: a name and numbers; the descriptor returned is new.
    let file = unsafe {
        let fd = libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC);
        assert!(fd >= 0);
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: numbers only.
    assert_eq!(unsafe { libc::ftruncate(file.as_raw_fd(), len as i64) }, 0);
    file
}

/// Maps the file with memory that nobody may touch before and behind it. The kernel places
/// mappings of one size below each other, until something is in the way.
fn guarded(file: &OwnedFd, len: usize) -> Arc<Mapping> {
    let mut misfits = Vec::new();
    while misfits.len() < 100 {
        let behind = forbid(std::ptr::null_mut(), len);
        let mapping = Mapping::of_socket(file.as_raw_fd(), len, 0).expect("memory");
        let view = View::new(&mapping, 0, len).unwrap();
        let base = view.pointer(0, len).unwrap().as_ptr();
        let before = base.wrapping_sub(PAGE);
        if behind == base.wrapping_add(len) && forbid(before, PAGE) == before {
            return mapping;
        }
        misfits.push(mapping);
    }
    panic!("no room for guard pages");
}

/// Reserves untouchable memory, at `page` or, if that is NULL, anywhere.
fn forbid(page: *mut u8, len: usize) -> *mut u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let flags = match page.is_null() {
        true => flags & !libc::MAP_FIXED_NOREPLACE,
        false => flags,
    };
    // SAFETY: MAP_FIXED_NOREPLACE replaces no mapping.
    unsafe { libc::mmap(page.cast(), len, libc::PROT_NONE, flags, -1, 0) }.cast()
}
