//! Sleeping until something may have happened.
//!
//! Whether a frame is ready is decided by the status words alone. poll(2) is no guide: it says
//! readable as long as the newest slot is not empty, whoever holds it, so that a program that
//! keeps the newest frame would spin. Each direction therefore has its own edge-triggered epoll
//! instance: an event means that the kernel did something since the last look, never that
//! something is still there.

use crate::error::{Error, Result};
use crate::sys::call::{Epoll, EventFd, PacketSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const SOCKET: u64 = 0;
const WAKE: u64 = 1;

/// A breakloop was asked for.
const BREAK: u32 = 1;
/// The handle is being closed.
const CLOSE: u32 = 2;

/// Requests from other threads and signal handlers to stop waiting.
pub struct Interrupt {
    event: EventFd,
    /// [`BREAK`], [`CLOSE`] or both. One word, so that dispatch looks at it once a frame.
    requests: AtomicU32,
}

impl Interrupt {
    /// No request pending.
    pub fn new() -> Result<Interrupt> {
        let event = EventFd::new().map_err(|errno| Error::system("eventfd", errno))?;
        Ok(Interrupt {
            event,
            requests: AtomicU32::new(0),
        })
    }

    /// Asks the next or current wait, dispatch or loop to stop. Async-signal-safe.
    pub fn breakloop(&self) {
        // Release: pairs with the Acquire in `check`, so what the caller wrote before is
        // visible to the thread that stops.
        self.requests.fetch_or(BREAK, Ordering::Release);
        self.event.raise();
    }

    /// Makes every wait of this handle return, now and from now on.
    pub fn close(&self) {
        // SeqCst, and so is the load: between this and a call that begins, each writes one word
        // and then reads the other's (see `Handle::enter`); anything weaker lets both miss.
        self.requests.fetch_or(CLOSE, Ordering::SeqCst);
        self.event.raise();
    }

    /// Whether the handle is being closed.
    pub fn closing(&self) -> bool {
        // SeqCst: see `close`.
        self.requests.load(Ordering::SeqCst) & CLOSE != 0
    }

    /// Whether a request is pending; `check` tells which and takes it.
    #[inline(always)]
    pub fn pending(&self) -> bool {
        self.requests.load(Ordering::Relaxed) != 0
    }

    /// Takes back an event without a request behind it: one whose request was seen and taken
    /// before the event was raised. It would end every sleep at once.
    fn quiet(&self) {
        if !self.pending() {
            self.event.clear();
            if self.pending() {
                self.event.raise();
            }
        }
    }

    /// The pending request, if any. A breakloop is reported once.
    pub fn check(&self) -> Result<()> {
        if self.closing() {
            return Err(Error::Closed);
        }
        // A plain load first keeps the common case free of a locked instruction.
        // Acquire: pairs with the Release in `breakloop`.
        if self.pending() && self.requests.fetch_and(!BREAK, Ordering::Acquire) & BREAK != 0 {
            // A breakloop that arrives from here on raises the event again.
            self.event.clear();
            if self.closing() {
                self.event.raise();
            }
            return Err(Error::Broken);
        }
        Ok(())
    }
}

/// What a sleep was ended by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// The socket has a pending error.
    pub error: bool,
    /// Time ran out.
    pub timeout: bool,
}

/// One direction's way to sleep.
///
/// The socket belongs to the epoll instance from the first sleep on only: a socket that anybody
/// could be waiting for wakes the waiters for each frame that was sent, which costs a tenth of
/// sending it, even when nobody sleeps.
pub struct Sleeper {
    epoll: Epoll,
    events: i32,
    /// Whether the socket is in. For the one thread at a time that sleeps here.
    listening: AtomicBool,
}

impl Sleeper {
    /// Sleeps for what `events` (EPOLLIN or EPOLLOUT) of a socket announce.
    pub fn new(interrupt: &Interrupt, events: i32) -> Result<Sleeper> {
        let fail = |errno| Error::system("epoll", errno);
        let epoll = Epoll::new().map_err(fail)?;
        epoll.add_event(&interrupt.event, WAKE).map_err(fail)?;
        Ok(Sleeper {
            epoll,
            events,
            listening: AtomicBool::new(false),
        })
    }

    /// Sleeps at most `timeout_ms` (-1: without limit), or until there is a request. A signal
    /// ends the sleep as a plain event does: the caller looks again and goes on with the time that
    /// is left.
    ///
    /// The first sleep ends at once if the socket is ready: that is how what happened before is
    /// not missed.
    pub fn sleep(
        &self,
        socket: &PacketSocket,
        interrupt: &Interrupt,
        timeout_ms: i32,
    ) -> Result<Woken> {
        // Relaxed, here and below: one thread at a time uses this.
        if !self.listening.load(Ordering::Relaxed) {
            match self
                .epoll
                .add_socket(socket, self.events | libc::EPOLLET, SOCKET)
            {
                // It could not be taken out.
                Ok(()) | Err(libc::EEXIST) => {}
                Err(errno) => return Err(Error::system("epoll_ctl", errno)),
            }
            self.listening.store(true, Ordering::Relaxed);
        }
        let mut woken = Woken::default();
        let ready = match self.epoll.wait(timeout_ms) {
            Ok(ready) => ready,
            Err(libc::EINTR) => return Ok(woken),
            Err(errno) => return Err(Error::system("epoll_wait", errno)),
        };
        woken.timeout = ready[0].is_none();
        for (token, events) in ready.iter().flatten() {
            if *token == SOCKET {
                woken.error |= events & libc::EPOLLERR as u32 != 0;
            } else {
                interrupt.quiet();
            }
        }
        Ok(woken)
    }

    /// No sleep follows soon: the socket need not announce anything until then.
    pub fn rest(&self, socket: &PacketSocket) {
        if self.listening.swap(false, Ordering::Relaxed) {
            self.epoll.remove_socket(socket);
        }
    }
}
