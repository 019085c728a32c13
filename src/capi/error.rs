//! Error texts.

use super::handle::Handle;
use crate::error::Error;
use crate::sys::call::thread_id;
use std::fmt::{self, Write};
use std::os::raw::{c_char, c_int};
use std::sync::atomic::{AtomicU64, AtomicU8, AtomicUsize, Ordering};

/// Bytes of an error buffer, terminating NUL included.
pub const PKTRING_ERRBUF_SIZE: usize = 256;

/// Which kind of call failed. Each kind is used by one thread at a time, so that a receiving
/// and a transmitting thread do not overwrite each other's text.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Setup,
    Rx,
    Tx,
}

/// The last error text of each kind.
#[derive(Default)]
pub(super) struct Texts {
    texts: [Text; 3],
    count: AtomicU64,
}

/// A text that a C program may read while another thread breaks the threading rule and writes
/// it: bytes are atomics, and the last one stays 0.
struct Text {
    bytes: [AtomicU8; PKTRING_ERRBUF_SIZE],
    thread: AtomicUsize,
    number: AtomicU64,
}

impl Default for Text {
    fn default() -> Text {
        #[allow(clippy::declare_interior_mutable_const)]
        const ZERO: AtomicU8 = AtomicU8::new(0);
        Text {
            bytes: [ZERO; PKTRING_ERRBUF_SIZE],
            thread: AtomicUsize::new(0),
            number: AtomicU64::new(0),
        }
    }
}

impl Texts {
    pub(super) fn set(&self, place: Place, error: &Error) {
        let text = &self.texts[place as usize];
        let mut writer = Writer { text, len: 0 };
        // The writer never fails; it cuts.
        let _ = write!(writer, "{error}");
        text.bytes[writer.len].store(0, Ordering::Relaxed);
        text.thread.store(thread_id(), Ordering::Relaxed);
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        text.number.store(number, Ordering::Relaxed);
    }

    /// The calling thread's newest text, or the newest of all where it has none.
    fn newest(&self) -> *const c_char {
        let me = thread_id();
        let newest = self.texts.iter().max_by_key(|text| {
            let mine = text.thread.load(Ordering::Relaxed) == me;
            (mine, text.number.load(Ordering::Relaxed))
        });
        newest.map_or(EMPTY.as_ptr().cast(), |text| text.bytes.as_ptr().cast())
    }
}

static EMPTY: [u8; 1] = [0];

struct Writer<'a> {
    text: &'a Text,
    len: usize,
}

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for byte in s.bytes() {
            if self.len < PKTRING_ERRBUF_SIZE - 1 {
                self.text.bytes[self.len].store(byte, Ordering::Relaxed);
                self.len += 1;
            }
        }
        Ok(())
    }
}

/// Copies `error`'s text into a caller's buffer of PKTRING_ERRBUF_SIZE bytes; NULL is allowed.
///
/// # Safety
/// `buffer` is NULL or has room for PKTRING_ERRBUF_SIZE bytes.
pub(super) unsafe fn write_errbuf(buffer: *mut c_char, error: &Error) {
    if buffer.is_null() {
        return;
    }
    let text = error.to_string();
    let bytes = text.as_bytes();
    let len = bytes.len().min(PKTRING_ERRBUF_SIZE - 1);
    // SAFETY: len + 1 bytes fit the buffer by the caller's promise.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.cast(), len);
        buffer.add(len).write(0);
    }
}

/// Sets errno, for functions that return a pointer.
pub(super) fn set_errno(errno: c_int) {
    // SAFETY: __errno_location is always valid in its own thread.
    unsafe { *libc::__errno_location() = errno };
}

/// Returns the text of the last error of this handle.
///
/// The text is that of the calling thread's last failed call with this handle; when the thread
/// had none, the last one of any thread. Calls that succeed do not change it.
///
/// @param handle  the handle; NULL is answered with a text that says so
/// @return a string, never NULL, empty when nothing failed yet. It belongs to the handle and is
///         valid until the next failing call of the same thread with this handle, or until
///         pktring_close().
///
/// May be called from any thread.
#[no_mangle]
pub unsafe extern "C" fn pktring_geterr(handle: *mut Handle) -> *const c_char {
    // SAFETY: the caller passes NULL or a handle.
    match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle.texts.newest(),
        Err(code) => pktring_strerror(code),
    }
}

/// Returns what an error number of this library means, in general words.
///
/// pktring_geterr() says more: it knows the value and the option at fault.
///
/// @param error  a return value of any function of this library: a negative errno value. A
///               positive errno value is taken as well; 0 is "success".
/// @return a constant string, never NULL, valid for as long as the library is loaded.
///
/// May be called from any thread and from signal handlers.
#[no_mangle]
pub extern "C" fn pktring_strerror(error: c_int) -> *const c_char {
    let text: &'static [u8] = match error.checked_abs().unwrap_or(0) {
        0 => b"success\0",
        libc::EPERM => b"permission denied: CAP_NET_RAW is needed\0",
        libc::EINTR => b"interrupted by a signal\0",
        libc::EIO => b"internal error of the library\0",
        libc::EBADF => b"not a handle of this process: closed, or opened before a fork\0",
        libc::EAGAIN => b"not possible right now; try again\0",
        libc::ENOMEM => b"out of memory\0",
        libc::EFAULT => b"a pointer is NULL that must not be\0",
        libc::EBUSY => b"not possible in this state, or the ring is held by the caller\0",
        libc::ENODEV => b"no such network interface, or it is gone\0",
        libc::EINVAL => b"invalid argument\0",
        libc::E2BIG => b"a struct has fields set that this version of the library lacks\0",
        libc::EBADMSG => b"corrupt ring contents were skipped\0",
        libc::ENOSPC => b"no place left\0",
        libc::EMSGSIZE => b"frame too long or too short\0",
        libc::EOPNOTSUPP => b"not supported by this kernel, device or ring\0",
        libc::ENOENT => b"no such network namespace\0",
        libc::ENODATA => b"there is no whole copy of the frame\0",
        libc::ESTALE => b"the receive ring is stuck; pktring_recover() makes it anew\0",
        libc::ENOBUFS => b"the transmit queue is full\0",
        libc::ENETDOWN => b"the interface is down; the handle resumes when it comes up\0",
        libc::ESHUTDOWN => b"the handle was closed\0",
        libc::ETIMEDOUT => b"timed out\0",
        libc::ECANCELED => b"stopped by pktring_breakloop\0",
        _ => b"system error; pktring_geterr() tells which call failed\0",
    };
    text.as_ptr().cast()
}
