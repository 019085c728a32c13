//! Signals that disturb a test.

use super::Pktring;
use pktring::capi::handle::Handle;
use pktring::capi::wait::pktring_breakloop;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

static TARGET: AtomicPtr<Handle> = AtomicPtr::new(std::ptr::null_mut());

/// A handler that breaks the loops of the handle that is the target.
pub extern "C" fn break_target(_: i32) {
    // SAFETY: NULL, or the handle of the test, which is open for as long as it is set.
    unsafe { pktring_breakloop(TARGET.load(Ordering::Acquire)) };
}

pub extern "C" fn do_nothing(_: i32) {}

/// Signal handlers belong to the process: one test at a time may set them.
static SIGNALS: Mutex<()> = Mutex::new(());

/// Sends SIGUSR1, handled by `handler`, to the thread that runs `body` until it has ended.
pub fn with_signals<R>(
    handler: extern "C" fn(i32),
    every: Duration,
    body: impl FnOnce() -> R,
) -> R {
    let _one = SIGNALS
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    // SAFETY: a handler that only does what is allowed in one; no SA_RESTART.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        assert_eq!(
            libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()),
            0
        );
    }
    // SAFETY: no preconditions.
    let me = unsafe { libc::pthread_self() } as usize;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let storm = scope.spawn(|| {
            let mut sent = 0;
            while !done.load(Ordering::Acquire) {
                thread::sleep(every);
                // SAFETY: the thread lives until this scope ends.
                unsafe { libc::pthread_kill(me as libc::pthread_t, libc::SIGUSR1) };
                sent += 1;
            }
            sent
        });
        let result = body();
        done.store(true, Ordering::Release);
        assert!(storm.join().unwrap() > 0, "no signal was sent");
        result
    })
}

/// Makes a handle the target, for as long as it lives.
pub struct SetTarget;

impl SetTarget {
    pub fn new(handle: &Pktring) -> SetTarget {
        TARGET.store(handle.raw(), Ordering::Release);
        SetTarget
    }
}

impl Drop for SetTarget {
    fn drop(&mut self) {
        TARGET.store(std::ptr::null_mut(), Ordering::Release);
    }
}
