//! How long a frame may be.

use crate::error::{Error, Result};

/// Bytes by which the kernel lets an 802.1Q frame exceed the MTU.
const VLAN_TAG: u32 = 4;

/// What the interface accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of link-level header that every frame starts with: 14 on Ethernet, 0 with
    /// [`Mode::Dgram`](crate::ring::geometry::Mode::Dgram), where the kernel puts it on.
    pub header: u32,
    /// The interface's MTU.
    pub mtu: u32,
    /// Whether an 802.1Q tag may come on top: on Ethernet with the link-level header in the frame.
    pub vlan: bool,
    /// Bytes of virtio_net header before each frame. With one the MTU is no limit, since the
    /// kernel segments the frame.
    pub vnet_header: u32,
}

impl Limits {
    /// The shortest frame.
    pub fn least(&self) -> u32 {
        self.header + self.vnet_header
    }

    /// The longest frame without a VLAN tag.
    pub fn most(&self) -> u32 {
        match self.vnet_header {
            0 => self.mtu.saturating_add(self.header),
            _ => u32::MAX,
        }
    }

    /// The longest frame with a VLAN tag.
    pub fn longest(&self) -> u32 {
        match self.vlan {
            true => self.most().saturating_add(VLAN_TAG),
            false => self.most(),
        }
    }

    /// Checks `length`. `tagged` tells whether the frame has an 802.1Q tag; it is asked only
    /// when that matters.
    pub fn check(&self, length: u32, tagged: impl FnOnce() -> bool) -> Result<()> {
        let most = match length > self.most() && length <= self.longest() && tagged() {
            true => self.longest(),
            false => self.most(),
        };
        if (self.least()..=most).contains(&length) {
            return Ok(());
        }
        Err(Error::FrameLength {
            length: length.into(),
            least: self.least(),
            most,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETHERNET: Limits = Limits {
        header: 14,
        mtu: 1500,
        vlan: true,
        vnet_header: 0,
    };

    fn fits(limits: Limits, length: u32, tagged: bool) -> bool {
        limits.check(length, || tagged).is_ok()
    }

    #[test]
    fn ethernet_frames_have_a_header_and_at_most_the_mtu() {
        for (length, expected) in [
            (0, false),
            (13, false),
            (14, true),
            (1514, true),
            (1515, false),
            (1518, false),
            (u32::MAX, false),
        ] {
            assert_eq!(fits(ETHERNET, length, false), expected, "{length}");
        }
    }

    #[test]
    fn a_vlan_tag_may_exceed_the_mtu_on_ethernet() {
        assert!(fits(ETHERNET, 1518, true));
        assert!(!fits(ETHERNET, 1519, true));
        let loopback = Limits {
            vlan: false,
            ..ETHERNET
        };
        assert!(!fits(loopback, 1515, true));
    }

    #[test]
    fn a_payload_may_be_empty_and_a_segmented_frame_longer_than_the_mtu() {
        let payload = Limits {
            header: 0,
            vlan: false,
            ..ETHERNET
        };
        assert!(fits(payload, 0, false));
        assert!(!fits(payload, 1501, false));
        let segmented = Limits {
            vnet_header: 10,
            ..ETHERNET
        };
        assert!(!fits(segmented, 23, false));
        assert!(fits(segmented, 65_000, false));
    }

    #[test]
    fn the_error_names_the_limits() {
        let text = ETHERNET.check(1515, || false).unwrap_err().to_string();
        assert!(
            text.contains("1515") && text.contains("14") && text.contains("1514"),
            "{text}"
        );
    }
}
