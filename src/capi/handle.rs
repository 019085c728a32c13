//! The handle behind `pktring_t`.

use super::closed;
use super::error::{Place, Texts};
use super::tx::TxSide;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::recover::Watch;
use crate::rx::{Receiver, Step};
use crate::session::Session;
use crate::stats::RxCounters;
use crate::sys::call;
use crate::wait::Interrupt;
use std::cell::UnsafeCell;
use std::mem::size_of;
use std::os::raw::c_int;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

/// A capture or transmit handle: one packet socket with up to two rings.
#[repr(C)]
pub struct Handle {
    /// [`MAGIC`] while the handle is alive in this process. First, so that it can be looked at
    /// before anything else is believed.
    magic: AtomicUsize,
    /// Used by the thread that receives, alone.
    rx: UnsafeCell<RxSide>,
    pub(super) rx_counters: RxCounters,
    /// Used by the thread that transmits, alone.
    tx: UnsafeCell<TxSide>,
    pub(super) interrupt: Interrupt,
    /// Set once by activate, freed by close.
    session: AtomicPtr<Session>,
    config: Mutex<Config>,
    pub(super) texts: Texts,
    /// Calls in progress that may block, but for those of the thread that transmits.
    inside: AtomicU32,
    /// Whether the thread that transmits is in such a call.
    transmitting: AtomicBool,
    /// The thread that is in a callback of this handle; 0 for none.
    in_callback: AtomicUsize,
}

/// What the receiving thread owns.
pub(super) struct RxSide {
    pub receiver: Receiver,
    /// Found behind frames that were delivered; to be reported by the next call.
    pub deferred: Option<Step>,
    /// Looks out for a ring that the kernel got stuck with.
    pub watch: Watch,
}

impl Default for RxSide {
    /// Nothing to receive from.
    fn default() -> RxSide {
        RxSide {
            receiver: Receiver::none(),
            deferred: None,
            watch: Watch::default(),
        }
    }
}

// SAFETY: the parts in UnsafeCells belong to one thread each, by the threading rule of the C
// API; everything else is atomic, locked, or written before the handle is shared.
unsafe impl Sync for Handle {}

const MAGIC: usize = 0x706b_7472;

/// The answer of every call to what is no handle: it was closed, or this process is a child that
/// was forked from the one that opened it.
const NOT_A_HANDLE: c_int = -libc::EBADF;

impl Handle {
    /// A new handle in memory of its own, which is zero in children made by fork: there every
    /// call sees that the handle is not theirs instead of walking a ring that is not mapped.
    pub(super) fn create(config: Config) -> Result<*mut Handle> {
        let fail = |errno| Error::system("allocating the handle", errno);
        let interrupt = Interrupt::new()?;
        let place = call::map_anonymous(size_of::<Handle>()).map_err(fail)?;
        call::wipe_in_children(place, size_of::<Handle>());
        let handle = place.cast::<Handle>().as_ptr();
        // SAFETY: fresh, page-aligned memory of the right size.
        unsafe {
            handle.write(Handle {
                magic: AtomicUsize::new(MAGIC),
                rx: UnsafeCell::new(RxSide::default()),
                rx_counters: RxCounters::default(),
                tx: UnsafeCell::new(TxSide::default()),
                interrupt,
                session: AtomicPtr::new(std::ptr::null_mut()),
                config: Mutex::new(config),
                texts: Texts::default(),
                inside: AtomicU32::new(0),
                transmitting: AtomicBool::new(false),
                in_callback: AtomicUsize::new(0),
            });
        }
        Ok(handle)
    }

    /// Frees everything that belongs to the handle, and leaves a closed one behind: without a
    /// frame to take or a slot to reserve, and no handle to any call that looks closer.
    ///
    /// # Safety
    /// `handle` came from [`Handle::create`], and nobody is inside a call.
    pub(super) unsafe fn destroy(handle: NonNull<Handle>) {
        // SAFETY: by the caller's promise this is the last use; the session, if there is one,
        // was made by Box::into_raw in `set_session`. What is dropped in place is not used
        // again, because the magic number is gone; a thread between the look at that and its
        // mark as inside is stopped by the request to close, which stays.
        unsafe {
            let dead = &*handle.as_ptr();
            dead.magic.store(0, Ordering::Relaxed);
            let session = dead.session.swap(std::ptr::null_mut(), Ordering::AcqRel);
            // The rings are unmapped before the socket is closed: a mapped ring keeps the
            // socket alive.
            dead.rx_counters.start(0);
            drop(std::mem::take(dead.rx()));
            drop(std::mem::take(dead.tx()));
            if !session.is_null() {
                drop(Box::from_raw(session));
            }
            dead.interrupt.close();
            std::ptr::drop_in_place(std::ptr::addr_of_mut!((*handle.as_ptr()).interrupt));
            std::ptr::drop_in_place(std::ptr::addr_of_mut!((*handle.as_ptr()).config));
        }
        closed::keep(handle.cast(), size_of::<Handle>());
    }

    /// The handle behind a pointer from C.
    ///
    /// # Safety
    /// `handle` is NULL or was returned by an open function and not closed.
    #[inline(always)]
    pub(super) unsafe fn from_c<'a>(handle: *mut Handle) -> std::result::Result<&'a Handle, i32> {
        if handle.is_null() {
            return Err(-libc::EFAULT);
        }
        // SAFETY: not NULL, so by the caller's promise a handle; in a forked child zeroed.
        unsafe {
            if (*handle).magic.load(Ordering::Relaxed) != MAGIC {
                return Err(NOT_A_HANDLE);
            }
            Ok(&*handle)
        }
    }

    /// The receiving thread's part.
    ///
    /// # Safety
    /// Only the thread that receives may call this, and not while it has another reference.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn rx(&self) -> &mut RxSide {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.rx.get() }
    }

    /// The transmitting thread's part.
    ///
    /// # Safety
    /// Only the thread that transmits may call this, and not while it has another reference.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn tx(&self) -> &mut TxSide {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.tx.get() }
    }

    /// The settings.
    pub(super) fn config(&self) -> MutexGuard<'_, Config> {
        match self.config.lock() {
            Ok(config) => config,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// The activated socket, or the error that says that there is none yet.
    pub(super) fn session(&self) -> Result<&Session> {
        // Acquire: pairs with the Release store in `set_session`.
        let session = self.session.load(Ordering::Acquire);
        // SAFETY: set once to a box that lives until the handle is destroyed.
        unsafe { session.as_ref() }.ok_or(Error::State(
            "the handle is not active yet: call pktring_activate first",
        ))
    }

    /// Whether the handle was activated.
    pub(super) fn is_active(&self) -> bool {
        !self.session.load(Ordering::Acquire).is_null()
    }

    /// Makes the handle active.
    pub(super) fn set_session(&self, session: Session) {
        let session = Box::into_raw(Box::new(session));
        // Release: pairs with the Acquire load in `session`.
        self.session.store(session, Ordering::Release);
    }

    /// Keeps the error's text for `pktring_geterr` and returns the number for C.
    #[cold]
    pub(super) fn fail(&self, place: Place, error: &Error) -> c_int {
        self.texts.set(place, error);
        -error.errno()
    }

    /// Marks a call that may block. While the mark lives, close waits.
    pub(super) fn enter(&self) -> Result<Inside<'_>> {
        // SeqCst, as in `close_and_wait`: either this call sees that the handle is closing, or
        // close sees this call.
        self.inside.fetch_add(1, Ordering::SeqCst);
        let inside = Inside { handle: self };
        if self.interrupt.closing() {
            return Err(Error::Closed);
        }
        Ok(inside)
    }

    /// The same for the thread that transmits, with one locked instruction instead of two, since
    /// nobody else counts along: two of them were most of what an injected frame costs in user space.
    pub(super) fn enter_transmitting(&self) -> Result<Transmitting<'_>> {
        // SeqCst: see `enter`.
        self.transmitting.store(true, Ordering::SeqCst);
        let inside = Transmitting { handle: self };
        if self.interrupt.closing() {
            return Err(Error::Closed);
        }
        Ok(inside)
    }

    /// Makes all calls that block return and waits until they have.
    pub(super) fn close_and_wait(&self) -> Result<()> {
        if self.is_in_callback() {
            return Err(Error::State(
                "pktring_close inside a callback of the same handle; call pktring_breakloop and \
                 close after dispatch or loop has returned",
            ));
        }
        self.interrupt.close();
        // SeqCst: see `enter`.
        while self.inside.load(Ordering::SeqCst) != 0 || self.transmitting.load(Ordering::SeqCst) {
            call::sleep_ns(200_000);
        }
        Ok(())
    }

    /// Whether the calling thread is in a callback of this handle.
    pub(super) fn is_in_callback(&self) -> bool {
        self.in_callback.load(Ordering::Relaxed) == call::thread_id()
    }

    /// Notes that this thread runs callbacks of this handle, until the result is dropped.
    pub(super) fn callbacks(&self) -> InCallback<'_> {
        self.in_callback.store(call::thread_id(), Ordering::Relaxed);
        InCallback { handle: self }
    }
}

/// See [`Handle::enter`].
pub(super) struct Inside<'a> {
    handle: &'a Handle,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        // Release: what this call did happens before the handle is torn down; pairs with the
        // load in `close_and_wait`.
        self.handle.inside.fetch_sub(1, Ordering::Release);
    }
}

/// See [`Handle::enter_transmitting`].
pub(super) struct Transmitting<'a> {
    handle: &'a Handle,
}

impl Drop for Transmitting<'_> {
    fn drop(&mut self) {
        // Release: as for `Inside`.
        self.handle.transmitting.store(false, Ordering::Release);
    }
}

/// See [`Handle::callbacks`].
pub(super) struct InCallback<'a> {
    handle: &'a Handle,
}

impl Drop for InCallback<'_> {
    fn drop(&mut self) {
        self.handle.in_callback.store(0, Ordering::Relaxed);
    }
}
