//! TPACKET_V1: `unsigned long` status, microseconds, no VLAN.

use super::slots::Format;
use crate::ring::map::{Header, View};
use crate::ring::status::WordLong;
use crate::sys::layout::v1;

pub enum V1 {}

impl Format for V1 {
    type Status = WordLong;
    const SLL: usize = v1::SLL;
    const SNAPLEN: usize = v1::SNAPLEN;

    #[inline(always)]
    fn header(view: &View, at: usize, status: u32) -> Option<Header> {
        view.v1_header(at, status)
    }
}
