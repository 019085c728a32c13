//! The guides and the man pages say what is so.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{text, there};

/// The document's tables speak of functions that there are.
#[test]
fn the_guides_name_what_the_header_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let known = read("include/pktring.h") + &read("include/pktring/inline.h");
    for guide in ["docs/from-packet-mmap.md", "docs/from-libpcap.md"] {
        let guide = read(guide);
        let names = guide
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| word.starts_with("pktring_") || word.starts_with("PKTRING_"))
            .filter(|word| !word.ends_with('_'));
        for name in names {
            assert!(known.contains(name), "{name}");
        }
    }
}

#[test]
fn man_pages_are_well_formed() {
    if !there("mandoc") {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lint = Command::new("mandoc")
        .args(["-T", "lint", "-W", "warning"])
        .args(
            ["capture", "replay", "generate", "bridge"]
                .map(|tool| root.join("man").join(format!("pktring-{tool}.1"))),
        )
        .output()
        .unwrap();
    assert!(lint.status.success(), "{}", text(&lint.stdout));
}
