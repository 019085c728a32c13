//! Fanout groups, as the tests make them.

use super::Ring;
use pktring::capi::fanout::*;
use pktring::capi::geometry::PKTRING_V2;
use pktring::capi::group::*;
use std::mem::size_of;
use std::ptr::null_mut;

pub fn fanout(mode: u32, flags: u32, group: u32) -> pktring_fanout {
    pktring_fanout {
        size: size_of::<pktring_fanout>(),
        mode,
        flags,
        group,
        max_members: 0,
    }
}

/// A group whose number the kernel chooses.
pub fn unique(mode: u32, flags: u32) -> pktring_fanout {
    fanout(mode, flags | PKTRING_FANOUT_FLAG_UNIQUEID, 0)
}

impl Ring {
    /// A V2 handle that is not active, for a group.
    pub fn for_group(device: &str, group: &pktring_fanout) -> Ring {
        let ring = Ring::open(device);
        ring.version(PKTRING_V2);
        ring.must(ring.set_fanout(group));
        ring
    }

    /// A member that joins by itself.
    pub fn member(device: &str, group: &pktring_fanout) -> Ring {
        let ring = Ring::for_group(device, group);
        ring.activate();
        ring
    }

    pub fn set_fanout(&self, group: &pktring_fanout) -> i32 {
        // SAFETY: an open handle, and a struct with its size.
        unsafe { pktring_set_fanout(self.0, group) }
    }

    /// As many active members with the settings of this handle.
    pub fn open_group(&self, count: usize) -> Vec<Ring> {
        let mut members = vec![null_mut(); count];
        // SAFETY: an open handle, and room for as many members.
        self.must(unsafe { pktring_group_open(self.0, members.as_mut_ptr(), count as u32) });
        members.into_iter().map(Ring).collect()
    }

    /// The group that the handle is in.
    pub fn joined(&self) -> pktring_fanout {
        let mut joined = fanout(0, 0, 0);
        // SAFETY: an open handle, and a struct with its size.
        self.must(unsafe { pktring_get_fanout(self.0, &mut joined) });
        joined
    }

    pub fn rollover(&self) -> pktring_fanout_stats {
        let mut stats = pktring_fanout_stats {
            size: size_of::<pktring_fanout_stats>(),
            ..Default::default()
        };
        // SAFETY: an open handle, and a struct with its size.
        self.must(unsafe { pktring_fanout_stats(self.0, &mut stats) });
        stats
    }
}

/// A group on `device` whose number the kernel chooses.
pub fn open(device: &str, mode: u32, flags: u32, count: usize) -> Vec<Ring> {
    Ring::for_group(device, &unique(mode, flags)).open_group(count)
}
