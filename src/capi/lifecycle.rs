//! Open, activate, close.

use super::error::{set_errno, write_errbuf, Place};
use super::handle::Handle;
use super::wall;
use crate::activate::{activate, first_number, Active};
use crate::config::{Config, Method};
use crate::error::{Error, Result};
use crate::ring::geometry::{Direction, Ring};
use crate::rx::Receiver;
use crate::sys::call::Batch;
use crate::tx::{self, gso, Transmitter};
use crate::wait::Interrupt;
use std::ffi::CStr;
use std::os::raw::{c_char, c_int};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::NonNull;
use std::sync::Arc;

/// Opens a handle on a network interface, without touching the network yet.
///
/// What follows is: pktring_set_*() and pktring_set_ring() as needed, then pktring_activate(),
/// which makes the socket and the rings. A handle that is activated without any
/// pktring_set_ring() gets one receive ring with the defaults.
///
/// @param device  name of the interface, 1 to 15 bytes; NULL or "any" for all interfaces. It is
///                looked up by pktring_activate().
/// @param errbuf  receives the error text; PKTRING_ERRBUF_SIZE bytes, or NULL
/// @return the handle, to be freed with pktring_close(); NULL with errno set and the text in
///         errbuf when the name cannot be one (EINVAL) or memory or descriptors ran out.
///
/// A handle that stays open across fork() belongs to the parent: every call in the child
/// returns -EBADF. The child has a copy of the socket's descriptor, though, as of any other: a
/// handle that the parent closes leaves its socket and the memory of its rings with the kernel, its
/// memberships and its place in a fanout group, whose packets go nowhere then, until the child ends
/// or starts another program. A child that lives on should close(2) what pktring_fd() told before
/// the fork.
#[no_mangle]
pub unsafe extern "C" fn pktring_open(device: *const c_char, errbuf: *mut c_char) -> *mut Handle {
    let open = || -> Result<*mut Handle> {
        // SAFETY: the caller passes NULL or a string.
        let name = unsafe { text(device, "device")? };
        Handle::create(Config::new(name)?)
    };
    // SAFETY: errbuf is the caller's.
    unsafe { pointer_or_error(open, errbuf) }
}

/// Opens an interface for capture in one call: a receive ring with the defaults, activated.
///
/// The same as pktring_open(), pktring_set_snaplen(), pktring_set_promisc() and
/// pktring_activate() in turn. Frames that arrive from now on wait in the ring.
///
/// @param device   name of the interface; NULL or "any" for all interfaces
/// @param snaplen  bytes to keep of each frame; 0: all
/// @param promisc  not 0: also receive frames that are addressed to other stations
/// @param errbuf   receives the error text; PKTRING_ERRBUF_SIZE bytes, or NULL
/// @return the handle, to be freed with pktring_close(); NULL with errno set and the text in
///         errbuf on failure, for the reasons that pktring_activate() names.
#[no_mangle]
pub unsafe extern "C" fn pktring_open_capture(
    device: *const c_char,
    snaplen: u32,
    promisc: c_int,
    errbuf: *mut c_char,
) -> *mut Handle {
    let open = || -> Result<*mut Handle> {
        // SAFETY: the caller passes NULL or a string.
        let name = unsafe { text(device, "device")? };
        let mut config = Config::new(name)?;
        config.snaplen = snaplen;
        config.promiscuous = promisc != 0;
        config.rx = Some(Ring::default());
        open_active(config)
    };
    // SAFETY: errbuf is the caller's.
    unsafe { pointer_or_error(open, errbuf) }
}

/// Opens an interface for transmission in one call: a transmit ring with the defaults,
/// activated.
///
/// The same as pktring_open(), pktring_set_ring() with PKTRING_TX, pktring_set_tx_method() with
/// PKTRING_TX_METHOD_COPY and pktring_activate() in turn. The handle receives nothing and costs
/// the receive path nothing.
///
/// @param device  name of the interface
/// @param errbuf  receives the error text; PKTRING_ERRBUF_SIZE bytes, or NULL
/// @return the handle, to be freed with pktring_close(); NULL with errno set and the text in
///         errbuf on failure, for the reasons that pktring_activate() names.
#[no_mangle]
pub unsafe extern "C" fn pktring_open_transmit(
    device: *const c_char,
    errbuf: *mut c_char,
) -> *mut Handle {
    let open = || -> Result<*mut Handle> {
        // SAFETY: the caller passes NULL or a string.
        let name = unsafe { text(device, "device")? };
        let mut config = Config::new(name)?;
        config.set_ring(Direction::Tx, Ring::default())?;
        config.tx_method = Method::Copy;
        open_active(config)
    };
    // SAFETY: errbuf is the caller's.
    unsafe { pointer_or_error(open, errbuf) }
}

/// Makes the socket and its rings as set before, and starts to receive.
///
/// Everything is done in the one order in which the kernel neither refuses nor ignores an
/// option, and in which no packet is seen that does not meet the filter and the interface: a
/// handle never delivers a packet from before, or from elsewhere.
///
/// @param handle  a handle that is not active
/// @return 0, or a negative errno value with the text in pktring_geterr(); the handle then has
///         no socket and no ring, and can be changed and activated again:
///         - -EPERM   CAP_NET_RAW is missing
///         - -ENODEV  there is no such interface
///         - -ENOMEM  the kernel has no memory for the ring; nothing smaller is set up instead
///         - -EINVAL  settings that do not fit each other; the text names them
///         - -EMFILE  no descriptors are left: an active handle takes three, with both rings five
///         - -EBUSY   the handle is active already
///         - -EFAULT  handle is NULL
///
/// What else can go wrong with a setting is told at the function that sets it. An interface that is
/// down is no failure: capture starts when it comes up.
#[no_mangle]
pub unsafe extern "C" fn pktring_activate(handle: *mut Handle) -> c_int {
    // SAFETY: the caller passes NULL or a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(|| match start(handle) {
        Ok(()) => 0,
        Err(error) => handle.fail(Place::Setup, &error),
    })
}

/// Closes a handle and frees everything that belongs to it.
///
/// Pointers into its rings become invalid. Calls of other threads that wait (pktring_wait,
/// pktring_dispatch, pktring_loop, pktring_tx_flush), that inject, or that ask for statistics
/// return before the handle is freed, those that wait with -ESHUTDOWN. A thread that calls again
/// after that is told -EBADF, so a loop around pktring_dispatch() ends by itself. (This holds
/// until 32 more handles have been closed.) But a thread that is in the middle of frames must be
/// stopped first, with pktring_breakloop() and a join for example: the memory that it looks at
/// ends here. Frames that were given to the kernel and not sent yet are waited for, for at most
/// one second.
///
/// @param handle  the handle; NULL is allowed and does nothing
/// @return 0 when everything committed was sent or refused; the number of frames that were still
///         in flight after one second (the kernel goes on sending those it has begun); -EBUSY
///         when called from inside a callback of the same handle, which is left as it is;
///         -EBADF in a child forked after the handle was opened.
#[no_mangle]
pub unsafe extern "C" fn pktring_close(handle: *mut Handle) -> c_int {
    let pointer = match NonNull::new(handle) {
        Some(pointer) => pointer,
        None => return 0,
    };
    // SAFETY: the caller passes a handle.
    let handle = match unsafe { Handle::from_c(handle) } {
        Ok(handle) => handle,
        Err(code) => return code,
    };
    wall(|| {
        if let Err(error) = handle.close_and_wait() {
            return handle.fail(Place::Setup, &error);
        }
        // SAFETY: no call is in progress any more, so this thread may be the one that transmits.
        let left = handle
            .session()
            .map_or(0, |session| unsafe { handle.tx() }.linger(handle, session));
        // SAFETY: no call is in progress any more, and the caller gives the handle up.
        unsafe { Handle::destroy(pointer) };
        c_int::try_from(left).unwrap_or(c_int::MAX)
    })
}

/// Activates `handle` as configured.
fn start(handle: &Handle) -> Result<()> {
    start_with(handle, activate)
}

/// Activates `handle` by means of `activate`.
pub(super) fn start_with(
    handle: &Handle,
    activate: fn(&Config, &Interrupt) -> Result<Active>,
) -> Result<()> {
    if handle.is_active() {
        return Err(Error::State("the handle is active already"));
    }
    let config = handle.config();
    let Active {
        mut session,
        rx,
        tx,
    } = activate(&config, &handle.interrupt)?;
    let first = first_number();
    if let (Some(view), Some(ring)) = (rx, &session.rings.rx) {
        handle.rx_counters.start(first);
        let receiver = Receiver::new(view, session.version, ring, &handle.rx_counters);
        // SAFETY: before activation no thread can be receiving with this handle.
        unsafe { handle.rx() }.receiver = receiver;
    }
    // SAFETY: before activation no thread can be transmitting with this handle.
    let side = unsafe { handle.tx() };
    side.batch = Batch::new();
    if let Some(destination) = &mut side.destination {
        if destination.sll_ifindex == 0 {
            destination.sll_ifindex = session.link.ifindex;
        }
    }
    if session.options.vnet_header != 0 && (tx.is_none() || config.tx_method == Method::Copy) {
        side.together = vec![0; gso::TOGETHER].into_boxed_slice();
    }
    if let (Some(view), Some(ring)) = (tx, &session.rings.tx) {
        let plan = tx::Config {
            version: session.version,
            mode: session.mode,
            ring: *ring,
            copied: config.tx_method == Method::Copy,
            placed: session.options.tx_offset,
            stamped: (config.timestamps.tx != 0).then_some(tx::BURST),
            limits: session.limits(),
            base: first,
        };
        let transmitter = Transmitter::new(view, &plan)?;
        session.tx_counters = Some(Arc::clone(transmitter.counters()));
        side.transmitter = Some(transmitter);
    }
    handle.set_session(session);
    Ok(())
}

/// Creates a handle for `config` and activates it.
fn open_active(config: Config) -> Result<*mut Handle> {
    let raw = Handle::create(config)?;
    // SAFETY: create just returned it.
    let handle = unsafe { &*raw };
    if let Err(error) = start(handle) {
        if let Some(pointer) = NonNull::new(raw) {
            // SAFETY: nobody else knows the handle.
            unsafe { Handle::destroy(pointer) };
        }
        return Err(error);
    }
    Ok(raw)
}

/// Runs a function that opens; on failure writes the text and errno and returns NULL.
///
/// # Safety
/// `errbuf` is NULL or has PKTRING_ERRBUF_SIZE bytes.
unsafe fn pointer_or_error(
    open: impl FnOnce() -> Result<*mut Handle>,
    errbuf: *mut c_char,
) -> *mut Handle {
    let opened = catch_unwind(AssertUnwindSafe(open)).unwrap_or(Err(Error::Panic));
    opened.unwrap_or_else(|error| {
        // SAFETY: the caller's promise.
        unsafe { write_errbuf(errbuf, &error) };
        set_errno(error.errno());
        std::ptr::null_mut()
    })
}

/// The text of a C string; `None` for NULL.
///
/// # Safety
/// `string` is NULL or points to a NUL-terminated string that outlives `'a`.
pub(super) unsafe fn text<'a>(
    string: *const c_char,
    name: &'static str,
) -> Result<Option<&'a str>> {
    if string.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    match unsafe { CStr::from_ptr(string) }.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Error::Invalid(format!("{name} is not valid UTF-8"))),
    }
}
