//! The whole of Linux PACKET_MMAP behind a C ABI.

#![deny(unsafe_code)]
#![allow(missing_docs)]

pub mod activate;
#[allow(unsafe_code)]
pub mod capi;
pub mod config;
pub mod error;
pub mod filter;
pub mod frame;
pub mod link;
pub mod membership;
pub mod ring;
pub mod rx;
pub mod session;
pub mod stats;
#[allow(unsafe_code)]
pub mod sys;
pub mod tx;
pub mod wait;
