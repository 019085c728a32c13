//! Tests that cannot run on this machine: never in silence.

use std::io::{self, Write};
use std::thread;

/// How a skip begins on standard error, for whoever counts them.
pub(crate) const MARK: &str = "skipped: ";

/// Set where a skip is a failure, as in continuous integration.
const FORBIDDEN: &str = "PKTRING_NO_SKIP";

/// Says that the test of the calling thread, which should return next, cannot run here and
/// why. Panics where the environment says PKTRING_NO_SKIP=1.
///
/// The line goes to standard error past libtest's capture, so that `make test` can count it.
pub fn skip(reason: impl std::fmt::Display) {
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    assert!(!forbidden(), "{test} was to be skipped: {reason}");
    announce(test, reason);
}

/// Says that a test which is not the calling thread's cannot run here.
pub fn announce(test: &str, reason: impl std::fmt::Display) {
    pass_on(&format!("{MARK}{test}: {reason}"));
}

/// Whether a skip must count as a failure.
pub fn forbidden() -> bool {
    std::env::var_os(FORBIDDEN).is_some_and(|value| value == "1")
}

/// Writes a line to the real standard error, which print macros in a test do not reach.
pub(crate) fn pass_on(line: &str) {
    // Nobody is left to tell when that fails.
    let _ = writeln!(io::stderr(), "{line}");
}
