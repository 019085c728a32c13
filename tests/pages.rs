//! The pages in docs keep up with the library.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names of the functions that a text declares or mentions, by their beginning.
fn names(text: &str, beginnings: &[&str]) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| beginnings.iter().any(|start| word.starts_with(start)))
        .map(str::to_owned)
        .collect()
}

/// The functions that the header declares, not those its comments speak of.
fn declared() -> BTreeSet<String> {
    let header = read("include/pktring.h");
    let code: Vec<_> = header
        .lines()
        .filter(|line| !line.trim_start().starts_with('*'))
        .collect();
    names(&code.join("\n"), &["pktring_"])
}

/// What changes how a handle works.
const SETTINGS: [&str; 4] = [
    "pktring_set_",
    "pktring_add_",
    "pktring_drop_",
    "pktring_lock_",
];

#[test]
fn every_option_is_on_the_options_page() {
    let page = names(&read("docs/options.md"), &["pktring_"]);
    let declared = declared();
    let options: BTreeSet<_> = declared
        .iter()
        .filter(|name| SETTINGS.iter().any(|start| name.starts_with(start)))
        .collect();
    assert!(options.len() > 20, "{options:?}");
    let missing: Vec<_> = options
        .iter()
        .filter(|name| !page.contains(**name))
        .collect();
    assert!(missing.is_empty(), "docs/options.md lacks {missing:?}");
}

#[test]
fn the_options_page_names_nothing_that_does_not_exist() {
    let declared = declared();
    let page = names(&read("docs/options.md"), &["pktring_"]);
    let unknown: Vec<_> = page
        .iter()
        .filter(|name| !declared.contains(*name))
        .collect();
    assert!(unknown.is_empty(), "docs/options.md names {unknown:?}");
}

/// A row tells what, when to use, default, moment, version and cost; none is left empty.
#[test]
fn every_row_of_the_options_page_is_whole() {
    let mut rows = 0;
    let mut columns = 0;
    for line in read("docs/options.md")
        .lines()
        .filter(|line| line.starts_with('|'))
    {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        if cells[0].starts_with("Option") {
            columns = cells.len();
        }
        assert_eq!(cells.len(), columns, "{line}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{line}");
        rows += 1;
    }
    assert!(rows > 30, "{rows}");
}
