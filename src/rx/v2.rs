//! TPACKET_V2: 32-bit status, nanoseconds, VLAN tag.

use super::slots::Format;
use crate::frame::Frame;
use crate::ring::map::{Header, View};
use crate::ring::status::Word32;
use crate::sys::layout::v2;
use std::mem::MaybeUninit;

pub enum V2 {}

impl Format for V2 {
    type Status = Word32;
    const SLL: usize = v2::SLL;
    const SNAPLEN: usize = v2::SNAPLEN;

    #[inline(always)]
    fn header(view: &View, at: usize, status: u32) -> Option<Header> {
        view.v2_header(at, status)
    }

    #[inline(always)]
    fn frame(
        view: &View,
        at: usize,
        size: usize,
        status: u32,
        number: u64,
        out: &mut MaybeUninit<Frame>,
    ) -> Option<u32> {
        view.v2_frame(at, size, status, number, out)
    }
}
