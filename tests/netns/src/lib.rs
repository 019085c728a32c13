//! Private network namespaces for the tests, and peers in them that are not pktring.
//!
//! A test wraps its body in [`isolated`] and then owns an empty network: no interface but
//! `lo`, no traffic but its own, whatever other tests run beside it. [`link`] makes the
//! interfaces, [`Netns`] is a second namespace to move one end into, [`PlainSocket`] and
//! [`Tap`] are the other end of the wire.
//!
//! Everything acts on the namespace of the calling thread, so it also works where the body
//! spawned threads (they inherit it) or entered another namespace with [`Netns::run`].
//!
//! ```no_run
//! #[test]
//! fn a_frame_crosses_the_wire() {
//!     netns::isolated(|| {
//!         netns::link::veth("va", "vb").unwrap();
//!         let there = netns::PlainSocket::open("vb").unwrap();
//!         netns::PlainSocket::sender("va").unwrap().send(&[0xff; 60]).unwrap();
//!         let packet = there.recv(std::time::Duration::from_secs(1)).unwrap();
//!         assert_eq!(packet.unwrap().data, [0xff; 60]);
//!     });
//! }
//! ```

pub mod bpf;
mod isolate;
pub mod launch;
pub mod link;
mod netlink;
mod ns;
mod offload;
mod plain;
pub mod skip;
mod tag;
mod tap;
mod throttle;

pub use isolate::isolated;
pub use ns::Netns;
pub use offload::{set_offload, Offload};
pub use plain::{Packet, PlainSocket};
pub use skip::skip;
pub use tag::Tagged;
pub use tap::Tap;
pub use throttle::{throttle, unthrottle, Throttle};

use std::io;

/// Puts what was being done in front of an error, keeping its kind.
fn context(what: impl std::fmt::Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Milliseconds for poll(), rounded up so that a short timeout is never a busy loop.
fn poll_timeout(timeout: std::time::Duration) -> nix::poll::PollTimeout {
    let millis = timeout.as_nanos().div_ceil(1_000_000);
    nix::poll::PollTimeout::try_from(millis).unwrap_or(nix::poll::PollTimeout::MAX)
}
