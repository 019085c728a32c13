//! Asking a new filter about frames that came through an old one.
//!
//! The kernel replaces a filter between two packets, but the packets before are in the ring
//! already, and one that a processor was about to put there follows a moment later. Once the kernel
//! says that it is done with those, only what stands in the ring then needs asking. Where it does
//! not say so, every frame is asked about until a lap of the ring has been read that began when no
//! such packet could be left.

use super::interpret::{self, Packet};
use super::trial;
use crate::program::Program;
use crate::sys::call;

/// Longer than the kernel takes from running the filter to filling the ring, by far: it does so
/// with preemption off, and complains about itself when that lasts.
const GRACE_NS: u64 = 1_000_000_000;

/// The filter to ask, and until when.
pub struct Recheck {
    program: Program,
    /// Whether the thread that asks is in the network that the frames came from.
    here: bool,
    /// When the kernel had begun to run it, in nanoseconds since 1970.
    since: u64,
    /// From this moment on the kernel puts in the ring only what met this filter; 0: from now on.
    until: u64,
    /// The first place behind what has to be asked about.
    end: Option<u64>,
}

impl Recheck {
    /// To be called once the kernel runs `program`.
    pub fn new(program: Program, here: bool) -> Recheck {
        let since = call::realtime_ns();
        let until = match call::outwait_deliveries() {
            true => 0,
            false => call::monotonic_ns() + GRACE_NS,
        };
        Recheck {
            program,
            here,
            since,
            until,
            end: None,
        }
    }

    /// One that is made when the kernel is done with what met an earlier filter.
    #[cfg(test)]
    pub fn done(program: Program) -> Recheck {
        Recheck {
            program,
            here: true,
            since: 0,
            until: 0,
            end: None,
        }
    }

    /// Has the asking end where what is in the ring ends now, if nothing comes behind that needs
    /// it. Places are numbered on from lap to lap.
    pub fn limit(&mut self, end: u64) {
        if self.until == 0 {
            self.end = Some(end);
        }
    }

    /// Whether what stands at `place` may have come through an earlier filter. A lap has `lap`
    /// places.
    pub fn covers(&mut self, place: u64, lap: u64) -> bool {
        match self.end {
            Some(end) => end.wrapping_sub(place) as i64 > 0,
            None => {
                if call::monotonic_ns() >= self.until {
                    self.end = Some(place.wrapping_add(lap));
                }
                true
            }
        }
    }

    /// The bytes to keep of a frame, 0 to drop it. One that was cut so short that the filter
    /// cannot tell is judged by its time: the kernel saw the whole of those that came since.
    pub fn verdict(&self, packet: &Packet) -> u32 {
        let header = packet.header;
        let verdict = match &self.program {
            Program::Classic(program) => interpret::run(program, packet),
            Program::Extended(fd) => trial::run(fd, packet, self.here),
        };
        verdict.unwrap_or_else(|| {
            let time = u64::from(header.sec) * 1_000_000_000 + u64::from(header.nsec);
            match time >= self.since {
                true => header.snaplen,
                false => 0,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_is_done_leaves_what_the_ring_holds() {
        let mut recheck = Recheck::done(Program::Classic(Vec::new()));
        recheck.limit(7);
        assert!(recheck.covers(6, 10));
        assert!(!recheck.covers(7, 10));
        recheck.limit(2);
        assert!(recheck.covers(u64::MAX, 10), "numbers wrap");
    }

    #[test]
    fn a_whole_lap_is_covered_after_the_grace_period() {
        let mut recheck = Recheck {
            until: call::monotonic_ns() + GRACE_NS,
            ..Recheck::done(Program::Classic(Vec::new()))
        };
        recheck.limit(0);
        assert!(recheck.covers(5, 10));
        assert_eq!(recheck.end, None);
        recheck.until = 1;
        assert!(recheck.covers(100, 10));
        assert!(recheck.covers(109, 10));
        assert!(!recheck.covers(110, 10));
    }
}
