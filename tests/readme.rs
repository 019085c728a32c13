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

/// The tests that a line of docs/reliability.md names: file, and name or the beginning of one.
fn named_tests(line: &str) -> Vec<(PathBuf, &str)> {
    let mut named = Vec::new();
    for (at, _) in line.match_indices(".rs`: ") {
        let start = line[..at].rfind('`').unwrap() + 1;
        let file = match line[start..at + 3].strip_prefix("src/") {
            Some(unit) => Path::new("src").join(unit),
            None => Path::new("tests").join(&line[start..at + 3]),
        };
        let names = line[at + 6..].split([';', '|', '(', '`']).next().unwrap();
        let names = names.split(", ").map(str::trim);
        named.extend(
            names
                .filter(|name| !name.is_empty())
                .map(|name| (file.clone(), name)),
        );
    }
    named
}

#[test]
fn every_test_that_the_page_on_reliability_names_is_there() {
    let page = fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with('|'));
    let named: Vec<_> = rows.flat_map(named_tests).collect();
    assert!(named.len() > 100, "{} names", named.len());
    for (file, name) in named {
        let text = fs::read_to_string(root().join(&file)).unwrap();
        let wanted = match name.strip_suffix('…') {
            Some(beginning) => format!("fn {beginning}"),
            None => format!("fn {name}("),
        };
        let found = text.contains(&wanted);
        assert!(found, "{}: {name}", file.display());
    }
}
