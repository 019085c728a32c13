//! pktring-bridge.

use std::time::Duration;

use netns::{isolated, link, PlainSocket};

use crate::programs::Programs;
use crate::{mixed, send, text};

#[test]
fn bridges_both_ways_with_tags() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        link::add_veth("vc", "vd").unwrap();
        for name in ["vc", "vd"] {
            link::set_up(name).unwrap();
        }
        link::wait_up("vc").unwrap();
        link::wait_up("vd").unwrap();
        let programs = Programs::sanitized();
        let bridge = programs.start_several("pktring-bridge vb vc", 2);
        for (from, to) in [("va", "vd"), ("vd", "va")] {
            let receiver = programs.start(&format!("pktring-generate -R {to}"));
            programs.run(&format!(
                "pktring-generate -c 300 -r 5K -s 86-1500 --vlan 5 {from}"
            ));
            let report = text(&receiver.finish(0).stdout);
            assert!(
                report.starts_with("300 packets arrived, 0 lost"),
                "{report}"
            );
        }
        let far = PlainSocket::open("vd").unwrap();
        send("va", &mixed(1));
        let tag = loop {
            let packet = far.recv(Duration::from_secs(5)).unwrap();
            let packet = packet.expect("the tagged frame");
            if packet.protocol == 0x88b5 {
                break packet.vlan;
            }
        };
        assert_eq!(tag, Some((0x2064, 0x8100)));
        let said = text(&bridge.stop(0).stdout);
        assert!(said.contains("vb > vc: 304 frames passed"), "{said}");
        assert!(said.contains("vc > vb: 303 frames passed"), "{said}");
    });
}
