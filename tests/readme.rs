//! The README tells the truth: its programs are the examples, its links lead somewhere.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

#[test]
fn its_programs_are_the_examples() {
    let readme = readme();
    let programs: Vec<&str> = readme
        .split("```c\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    let examples = ["capture.c", "transmit.c"]
        .map(|name| fs::read_to_string(root().join("c-examples").join(name)).unwrap());
    assert_eq!(programs, examples);
}

#[test]
fn its_links_lead_somewhere() {
    let readme = readme();
    let links: Vec<&str> = readme
        .split("](")
        .skip(1)
        .map(|rest| rest.split(')').next().unwrap())
        .filter(|link| !link.starts_with("http"))
        .collect();
    assert!(links.contains(&"include/pktring.h"));
    for link in links {
        assert!(root().join(link).exists(), "{link}");
    }
}
