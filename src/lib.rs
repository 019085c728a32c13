//! The whole of Linux PACKET_MMAP behind a C ABI.
//!
//! | module | what it is |
//! |---|---|
//! | [`capi`] | the functions C programs call: arguments in, core called, errors out |
//! | [`config`], [`activate`], [`session`] | what a handle is asked to be, how it becomes a socket with rings, what both directions then share |
//! | [`rx`], [`tx`] | the cursors over the rings; safe code |
//! | [`ring`] | geometry (pure arithmetic), the mapping (bounds checks), the status words (memory ordering) |
//! | [`wait`], [`link`] | sleeping, and what becomes of the interface meanwhile |
//! | [`filter`], [`stats`], [`frame`], [`error`], … | one noun each |
//! | [`sys`] | kernel layouts and system calls |
//!
//! Unsafe code is in `sys`, `ring::map`, `ring::status` and `capi` alone.

#![deny(unsafe_code)]
// Said in Cargo.toml too, where the oldest cargo does not understand it.
#![deny(unsafe_op_in_unsafe_fn)]
#![allow(missing_docs)]

#[cfg(not(target_has_atomic = "64"))]
compile_error!("libpktring counts in atomic words of 64 bits, which this target does not have");

pub mod activate;
#[allow(unsafe_code)]
pub mod capi;
pub mod config;
pub mod copies;
pub mod diag;
pub mod error;
pub mod fanout;
pub mod filter;
pub mod frame;
pub mod interface;
pub mod link;
pub mod membership;
pub mod namespace;
pub mod netlink;
pub mod offload;
pub mod options;
pub mod program;
pub mod recover;
pub mod ring;
pub mod rx;
#[cfg(test)]
#[allow(unsafe_code)]
#[path = "rx/tests.rs"]
mod rx_tests;
pub mod session;
pub mod stats;
#[allow(unsafe_code)]
pub mod sys;
pub mod timestamp;
pub mod tuning;
pub mod tx;
pub mod vlan;
pub mod wait;
