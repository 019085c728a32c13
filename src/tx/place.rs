//! Walking the slots of a transmit ring without dividing.

use crate::ring::geometry::Ring;

/// One slot, and how many slots were passed to come to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Slots passed since the ring was made, over all laps.
    pub count: u64,
    /// Byte offset of the slot in the ring.
    pub offset: usize,
    /// Slots that follow in the same block.
    left: u32,
}

/// The order in which the kernel visits the slots: block after block, round and round.
pub struct Lane {
    frame_size: usize,
    /// From the last slot of a block to the next block, over the gap between them.
    last_step: usize,
    block_size: usize,
    per_block: u32,
    bytes: usize,
    slots: u64,
}

impl Lane {
    /// The lane of a ring whose geometry was checked.
    pub fn new(ring: &Ring) -> Lane {
        let per_block = ring.frames_per_block().max(1);
        let (frame_size, block_size) = (ring.frame_size as usize, ring.block_size as usize);
        Lane {
            frame_size,
            last_step: block_size - frame_size * (per_block as usize - 1),
            block_size,
            per_block,
            bytes: block_size * ring.block_count as usize,
            slots: u64::from(per_block) * u64::from(ring.block_count),
        }
    }

    /// Slots in the ring.
    #[inline(always)]
    pub fn slots(&self) -> u64 {
        self.slots
    }

    /// The slot that the kernel looks at first.
    pub fn first(&self) -> Place {
        Place {
            count: 0,
            offset: 0,
            left: self.per_block - 1,
        }
    }

    /// The first slot in the lap after that of `place`.
    pub fn restart(&self, place: Place) -> Place {
        Place {
            count: (place.count / self.slots + 1) * self.slots,
            ..self.first()
        }
    }

    /// The slot after `place`.
    #[inline(always)]
    pub fn next(&self, place: Place) -> Place {
        let count = place.count + 1;
        if place.left > 0 {
            return Place {
                count,
                offset: place.offset + self.frame_size,
                left: place.left - 1,
            };
        }
        let offset = place.offset + self.last_step;
        Place {
            count,
            offset: if offset == self.bytes { 0 } else { offset },
            left: self.per_block - 1,
        }
    }

    /// The offset of the slot before `place`.
    pub fn before(&self, place: Place) -> usize {
        if place.left + 1 < self.per_block {
            return place.offset - self.frame_size;
        }
        let end = if place.offset == 0 {
            self.bytes
        } else {
            place.offset
        };
        end - self.last_step
    }

    /// The place of the slot at `offset`, within one lap from `from` on. Divides: not for every
    /// frame.
    pub fn find(&self, offset: usize, from: Place) -> Place {
        let in_block = (offset % self.block_size / self.frame_size) as u32;
        let block = (offset / self.block_size) as u64;
        let index = block * u64::from(self.per_block) + u64::from(in_block);
        let ahead = (index + self.slots - from.count % self.slots) % self.slots;
        Place {
            count: from.count + ahead,
            offset,
            left: self.per_block - 1 - in_block,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(frame_size: u32, block_size: u32, block_count: u32) -> Ring {
        Ring {
            frame_size,
            block_size,
            block_count,
            ..Ring::default()
        }
    }

    #[test]
    fn slots_follow_each_other_as_in_the_geometry() {
        for ring in [
            ring(2048, 4096, 3),
            ring(1584, 4096, 3),
            ring(4096, 4096, 1),
            ring(112, 8192, 2),
        ] {
            let lane = Lane::new(&ring);
            let frames = ring.frames_per_block() * ring.block_count;
            assert_eq!(lane.slots(), u64::from(frames));
            let mut place = lane.first();
            for count in 0..5 * u64::from(frames) {
                assert_eq!(place.count, count);
                let index = (count % u64::from(frames)) as u32;
                assert_eq!(place.offset, ring.slot_offset(index), "{ring:?} {count}");
                let before = place.offset;
                place = lane.next(place);
                assert_eq!(lane.before(place), before, "{ring:?} {count}");
            }
        }
    }

    #[test]
    fn a_lap_can_be_cut_short() {
        let lane = Lane::new(&ring(1584, 4096, 3));
        let mut place = lane.first();
        for _ in 0..14 {
            let again = lane.restart(place);
            assert_eq!(again.offset, 0);
            assert!(again.count > place.count && again.count % lane.slots() == 0);
            assert_eq!(lane.find(0, again), again);
            place = lane.next(place);
        }
    }

    #[test]
    fn a_slot_is_found_again_from_its_offset() {
        let lane = Lane::new(&ring(1584, 4096, 3));
        let mut from = lane.first();
        for _ in 0..14 {
            let mut place = from;
            for _ in 0..lane.slots() {
                assert_eq!(lane.find(place.offset, from), place);
                place = lane.next(place);
            }
            from = lane.next(from);
        }
    }
}
