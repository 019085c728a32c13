//! The C API: checks arguments, calls the core, turns errors into numbers and texts.
//!
//! Comments on public items are written for C programmers: they become the header and the
//! manual. Every function checks its pointers, and no panic leaves the library.

#![allow(clippy::missing_safety_doc)]

pub mod block;
mod closed;
pub mod config;
pub mod copies;
pub mod error;
pub mod fanout;
pub mod filter;
pub mod geometry;
pub mod group;
pub mod gso;
pub mod handle;
pub mod inspect;
pub mod interface;
pub mod iter;
pub mod lifecycle;
pub mod membership;
pub mod offload;
pub mod option;
pub mod rx;
pub mod sized;
pub mod stats;
pub mod timestamp;
pub mod tuning;
pub mod tx;
pub mod wait;

use std::os::raw::c_int;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Runs `body` and turns a panic into `-EIO`, since none may unwind into C.
#[inline(always)]
fn wall(body: impl FnOnce() -> c_int) -> c_int {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(-libc::EIO)
}
