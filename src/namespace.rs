//! The network namespace that a handle lives in.

#![forbid(unsafe_code)]

use crate::error::{errno, invalid, Error, Result};
use crate::sys::netlink::in_namespace;
use std::fs::File;
use std::os::unix::io::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Where `ip netns add` keeps named namespaces.
const NAMED: &str = "/run/netns";

/// A network namespace, kept alive.
#[derive(Clone, Debug)]
pub struct Namespace(Arc<OwnedFd>);

impl Namespace {
    /// The one at `path`, or, where it has no slash, of that name.
    pub fn open(path: &str) -> Result<Namespace> {
        let whole = match path.contains('/') {
            true => path.to_owned(),
            false => format!("{NAMED}/{path}"),
        };
        let file = File::open(&whole).map_err(|error| match errno(&error) {
            libc::ENOENT | libc::ENOTDIR => Error::NoNamespace(whole),
            errno => Error::system("opening the network namespace", errno),
        })?;
        Ok(Namespace(Arc::new(file.into())))
    }

    /// The one that a descriptor stands for, which stays the caller's.
    pub fn of_fd(fd: BorrowedFd) -> Result<Namespace> {
        let own = fd
            .try_clone_to_owned()
            .map_err(|error| Error::system("duplicating the descriptor", errno(&error)))?;
        Ok(Namespace(Arc::new(own)))
    }

    /// Runs `body` in it.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let ran = in_namespace(self.0.as_raw_fd(), body);
        ran.map_err(|errno| match errno {
            libc::EINVAL => invalid!("the descriptor or path given is no network namespace"),
            libc::EPERM => Error::Privilege {
                what: "entering the network namespace",
                capability: "CAP_SYS_ADMIN",
            },
            errno => Error::system("entering the network namespace", errno),
        })?
    }
}

/// Runs `body` in `namespace`, or where the caller is.
pub fn run<T: Send>(
    namespace: Option<&Namespace>,
    body: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    match namespace {
        Some(namespace) => namespace.run(body),
        None => body(),
    }
}
