//! pktring-generate: what arrives is what was sent, or the report says what is wrong.

use std::time::Duration;

use netns::{isolated, link, PlainSocket};

use crate::programs::Programs;
use crate::{send, text};

#[test]
fn generated_traffic_arrives_and_faults_are_told() {
    isolated(|| {
        link::veth("va", "vb").unwrap();
        let programs = Programs::sanitized();
        let plain = PlainSocket::open("vb").unwrap();
        let receiver = programs.start("pktring-generate --receive vb");
        let said = programs.run("pktring-generate -c 100 -r 10K -s 100-300 -f 4 va");
        assert!(said.starts_with("100 packets sent"), "{said}");
        let report = text(&receiver.finish(0).stdout);
        let wanted = "100 packets arrived, 0 lost, 0 reordered, 0 duplicates\n";
        assert!(report.starts_with(wanted), "{report}");

        // The same frames once more, with every kind of fault among them.
        let mut frames = Vec::new();
        while let Some(packet) = plain.recv(Duration::from_millis(300)).unwrap() {
            frames.push(packet.data);
        }
        assert_eq!(frames.len(), 103, "100, and three that announce the end");
        frames.swap(10, 11); // one of them is late
        frames.drain(20..30); // ten are lost
        frames.insert(50, frames[49].clone());
        let last = frames.len() - 3;
        frames.drain(last - 5..last); // and the last five: only the announcement tells
        let receiver = programs.start("pktring-generate --receive vb");
        send("va", &frames);
        let report = text(&receiver.finish(3).stdout);
        let wanted = "85 packets arrived, 15 lost, 1 reordered, 1 duplicates\n";
        assert!(report.starts_with(wanted), "{report}");
    });
}
