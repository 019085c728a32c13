//! The ring: its geometry, its memory and the status words in it.

pub mod geometry;
#[allow(unsafe_code)]
pub mod map;
#[allow(unsafe_code)]
pub mod status;
