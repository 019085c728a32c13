//! The whole of Linux PACKET_MMAP behind a C ABI.

#![deny(unsafe_code)]
#![allow(missing_docs)]

pub mod error;
pub mod ring;
#[allow(unsafe_code)]
pub mod sys;
pub mod wait;
