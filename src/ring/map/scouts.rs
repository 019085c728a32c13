//! Reading ahead of somebody who walks a block of large frames.
//!
//! The headers of a block form a linked list, so that whoever follows it waits for one cache miss
//! after the other. Sweeping over all bytes ahead ends that, but of large frames most of what it
//! fetches is payload that nobody may read. Here the block is cut into segments, and scouts follow
//! the list through several of them at once, a frame each at a time, and ask for the lines that
//! every reader needs.
//!
//! Where the list goes through a segment nobody tells. A scout looks for what every frame has: a
//! `sockaddr_ll` of the right family behind a time of the present second. Payload that looks the
//! same leads it astray. That costs time and nothing else, because scouts only ask for cache lines.

#![forbid(unsafe_code)]

use super::walk::{LINE, READ};
use super::View;
use crate::sys::layout::v3;

/// Scouts under way at once: as many misses as it takes to hide one behind the others.
const SCOUTS: usize = 12;

/// Frames of mean size in a segment, which one scout goes through.
const SEGMENT: usize = 32;

/// Bytes within which a scout looks for its first frame: more than an Ethernet frame takes.
const ZONE: usize = 2048;

/// Bytes of that to ask for beforehand. Most find a frame there.
const NEAR_ZONE: usize = 512;

/// The lines that every reader needs of a frame.
const LINES: [usize; 3] = [0, LINE, READ];

/// The scouts ahead of one reader.
#[derive(Default)]
pub struct Scouts {
    /// Bytes of the block that hold frames.
    end: u32,
    /// Mean bytes of a frame.
    mean: u32,
    /// The first segment that no scout was sent to.
    front: u32,
    /// Bytes of a segment, as a power of two.
    shift: u32,
    /// Whether no scout is needed, because all frames seem to have the size of the first, or not
    /// wanted, because they are too far apart to be looked for.
    foresees: bool,
    /// Offset of the header each has come to; 0: it is at the end of its segment, or found nothing.
    /// The scout of segment n is number n modulo their count.
    at: [u32; SCOUTS],
}

impl Scouts {
    /// Scouts for a block with frames in `end` bytes, of `mean` bytes each, the first of which has
    /// `first`.
    pub fn new(end: u32, mean: u32, first: u32) -> Scouts {
        let alike = first.max(mean) - first.min(mean) <= mean / 32;
        let segment = (mean as usize).clamp(LINE, ZONE) * SEGMENT;
        Scouts {
            end,
            mean,
            front: 1,
            shift: segment.next_power_of_two().trailing_zeros(),
            foresees: alike || mean as usize > ZONE,
            at: [0; SCOUTS],
        }
    }

    /// Goes on ahead of the reader, who is at the header at offset `reader` of `block`, and has
    /// `ask` bring closer the cache lines at offsets. Returns how many bytes further the reader is to
    /// call again.
    pub fn go_on(&mut self, block: &View, reader: usize, mut ask: impl FnMut(usize)) -> usize {
        if self.foresees {
            let length = block.u32(reader.wrapping_add(v3::NEXT)).unwrap_or(0) as usize;
            for ahead in SCOUTS..2 * SCOUTS {
                ask_for_frame(reader.wrapping_add(length.wrapping_mul(ahead)), &mut ask);
            }
            return length.wrapping_mul(SCOUTS);
        }
        for at in &mut self.at {
            *at = step(block, *at, self.shift, &mut ask);
        }
        let second = block.u32(reader.wrapping_add(v3::SEC)).unwrap_or(0);
        let covered = (reader as u32 >> self.shift).saturating_add(SCOUTS as u32);
        let end = block.len().min(self.end as usize);
        while self.front < covered && self.segment() < end {
            let start = self.segment();
            let found = find(block, start, second);
            ask_for_frame(found as usize, &mut ask);
            self.at[self.front as usize % SCOUTS] = found;
            self.front += 1;
            for line in (0..NEAR_ZONE).step_by(LINE) {
                ask(self.segment().wrapping_add(line));
            }
        }
        // Each goes as far in one step as the reader does in as many as there are scouts. A bit
        // more often, for segments with more frames than others; and at first, when all set out at
        // once, while the reader has not come to where the last one did.
        let often = match reader >> self.shift < SCOUTS {
            true => 4,
            false => 1,
        };
        self.mean as usize * (SCOUTS * 3 / 4) / often
    }

    /// Where the first segment starts that no scout was sent to.
    fn segment(&self) -> usize {
        (self.front as usize) << self.shift
    }
}

/// The frame behind the one at `at`, which is asked for; 0 when that is in another segment.
fn step(block: &View, at: u32, shift: u32, ask: &mut impl FnMut(usize)) -> u32 {
    let next = match (at, block.u32(at as usize + v3::NEXT)) {
        (0, _) | (_, None | Some(0)) => return 0,
        (_, Some(length)) => at.wrapping_add(length),
    };
    if next >> shift != at >> shift {
        return 0;
    }
    ask_for_frame(next as usize, ask);
    next
}

/// The first frame from `start` on, which was received in `second` or in the one behind it.
fn find(block: &View, start: usize, second: u32) -> u32 {
    let family = libc::AF_PACKET as u16;
    (start..start.saturating_add(ZONE))
        .step_by(8)
        .find(|at| {
            let sec = block.u32(at + v3::SEC).unwrap_or(0);
            sec.wrapping_sub(second) <= 1 && block.u16(at + v3::SLL) == Some(family)
        })
        .unwrap_or(0) as u32
}

fn ask_for_frame(at: usize, ask: &mut impl FnMut(usize)) {
    for line in LINES {
        ask(at.wrapping_add(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::map::Mapping;
    use crate::rx_tests::mixed;
    use std::collections::HashSet;

    const BLOCK: usize = 1 << 20;
    const FIRST: usize = 48;
    const SECOND: u32 = 1_700_000_000;

    fn random(seed: &mut u64) -> usize {
        *seed += 1;
        mixed(*seed) as usize
    }

    /// A block filled with frames of the sizes that `size` says, and the offsets of their headers.
    fn filled(mut size: impl FnMut() -> usize) -> (View, Vec<usize>) {
        let block = View::new(&Mapping::of_bytes(&vec![0xa5; BLOCK]), 0, BLOCK).unwrap();
        let (mut at, mut headers) = (FIRST, Vec::new());
        loop {
            let taken = (size() + 82 + 7) & !7;
            if at + taken > BLOCK {
                block.set_u32(headers[headers.len() - 1] + v3::NEXT, 0);
                return (block, headers);
            }
            block.set_u32(at + v3::NEXT, taken as u32);
            block.set_u32(at + v3::SEC, SECOND);
            block.set_u16(at + v3::SLL, libc::AF_PACKET as u16);
            headers.push(at);
            at += taken;
        }
    }

    /// How many of the frames had been asked for when the reader came to them.
    fn foreseen(block: &View, headers: &[usize]) -> usize {
        let mean = (BLOCK / headers.len()) as u32;
        let first = block.u32(headers[0] + v3::NEXT).unwrap();
        let mut scouts = Scouts::new(BLOCK as u32, mean, first);
        let (mut asked, mut due, mut foreseen) = (HashSet::new(), 0, 0);
        for &at in headers {
            foreseen += usize::from(asked.contains(&at));
            if at >= due {
                due = at
                    + scouts.go_on(block, at, |line| {
                        asked.insert(line);
                    });
            }
        }
        foreseen
    }

    #[test]
    fn frames_of_any_sizes_are_asked_for_before_the_reader_comes() {
        let mut seed = 1;
        let imix = [60, 60, 60, 60, 60, 60, 60, 576, 576, 576, 576, 1514];
        for sizes in [&imix[..], &[60, 1514], &[300, 500, 800], &[1514, 1514, 60]] {
            let (block, headers) = filled(|| sizes[random(&mut seed) % sizes.len()]);
            let found = foreseen(&block, &headers);
            assert!(
                found * 10 > headers.len() * 9,
                "{sizes:?}: {found} of {}",
                headers.len()
            );
        }
    }

    #[test]
    fn frames_of_one_size_are_asked_for_before_the_reader_comes() {
        for size in [300, 1000, 1514, 9000, 65000] {
            let (block, headers) = filled(|| size);
            let found = foreseen(&block, &headers);
            assert!(
                found + 2 * SCOUTS >= headers.len(),
                "{size}: {found} of {}",
                headers.len()
            );
        }
    }

    #[test]
    fn contents_that_make_no_sense_lead_to_nothing_worse_than_a_wrong_guess() {
        let mut seed = 1;
        for round in 0..42 {
            let (block, headers) = filled(|| 60 + 16 * (random(&mut seed) % 80));
            for _ in 0..100 {
                let at = headers[random(&mut seed) % headers.len()];
                let wrong = [0, 1, 8, SECOND, BLOCK as u32, i32::MAX as u32, u32::MAX];
                let value = wrong[random(&mut seed) % wrong.len()];
                block.set_u32(at + 4 * (random(&mut seed) % 17), value);
            }
            let mean = [0, 1, 321, 450, 2048, 4096, u32::MAX][round % 7];
            let end = [BLOCK as u32, u32::MAX][round % 2];
            let first = block.u32(headers[0] + v3::NEXT).unwrap();
            let mut scouts = Scouts::new(end, mean, first);
            for &at in &headers {
                scouts.go_on(&block, at, |_| {});
            }
            scouts.go_on(&block, usize::MAX, |_| {});
        }
    }
}
