//! Receive rings that the kernel got stuck with, and how to get them going again.
//!
//! With virtio_net headers, Linux marks the slot of a V1 or V2 ring as being filled before it
//! finds that the header cannot express the packet's segmentation, and then forgets to take the
//! mark back. The ring stands still at this slot for ever, and every packet is dropped.

#![forbid(unsafe_code)]

use crate::activate::set_ring;
use crate::error::{Error, Result};
use crate::ring::geometry::{Ring, Version};
use crate::rx::{Receiver, Step};
use crate::session::Session;
use crate::stats::RxCounters;
use crate::sys::call::sleep_ns;

/// Longer than the kernel takes to fill a slot that it has begun with.
const FILL_NS: u64 = 1_000_000;

/// What was seen when the ring was last found empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    /// Number of the frame that was waited for, and packets dropped until then.
    last: Option<(u64, u64)>,
}

impl Watch {
    /// Looks at a ring that was just found empty, and says whether it is stuck: packets were
    /// dropped although the slot that comes next was free all the time.
    pub fn is_stuck(
        &mut self,
        session: &Session,
        receiver: &mut Receiver,
        counters: &RxCounters,
    ) -> Result<bool> {
        if session.options.vnet_header == 0 || session.version == Version::V3 {
            return Ok(false);
        }
        let next = counters.next.get();
        let drops = session
            .kernel
            .refresh(&session.socket, session.version)?
            .drops;
        let before = self.last.replace((next, drops));
        match before {
            Some((number, then)) if number == next && drops > then => {}
            _ => return Ok(false),
        }
        // In a ring of few slots the next one may be the one that is being filled.
        sleep_ns(FILL_NS);
        Ok(receiver.peek(counters) == Step::Empty)
    }
}

/// Makes the receive ring anew, at the same address. What is in it is lost. No other thread may
/// use the handle meanwhile: its memory is not there.
pub fn remake(session: &Session, receiver: &mut Receiver, counters: &RxCounters) -> Result<()> {
    let ring = match &session.rings.rx {
        Some(ring) => ring,
        None => return Err(Error::State("the handle has no receive ring")),
    };
    if counters.held() != 0 {
        return Err(Error::State(
            "frames are held that would vanish with the ring; release them first",
        ));
    }
    let view = receiver
        .view()
        .ok_or(Error::State("the handle has no receive ring"))?
        .clone();
    let (option, name) = (libc::PACKET_RX_RING, "PACKET_RX_RING");
    let remake = || {
        set_ring(
            &session.socket,
            session.version,
            option,
            name,
            &Ring::default(),
        )?;
        set_ring(&session.socket, session.version, option, name, ring)
    };
    view.remap(session.socket.fd(), session.map_flags, remake)?;
    counters.release.set(counters.next.get());
    counters.gone.set(0);
    *receiver = Receiver::new(view, session.version, ring, counters);
    Ok(())
}
