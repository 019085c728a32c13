//! `include/pktring.h` is what cbindgen makes of `src/capi`, and every C and C++ compiler
//! takes it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

mod support;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn committed() -> PathBuf {
    root().join("include/pktring.h")
}

/// The part that is written by hand.
fn inline() -> PathBuf {
    root().join("include/pktring/inline.h")
}

/// What the header is made of: the descriptors, then the C API in the order in which a
/// newcomer wants to read it. The rest of the crate is not looked at, so that its constants
/// stay inside.
const SOURCES: &[&str] = &[
    "src/frame.rs",
    "src/interface.rs",
    "src/offload.rs",
    "src/capi/lifecycle.rs",
    "src/capi/config.rs",
    "src/capi/option.rs",
    "src/capi/tuning.rs",
    "src/capi/interface.rs",
    "src/capi/inspect.rs",
    "src/capi/geometry.rs",
    "src/capi/rx.rs",
    "src/capi/block.rs",
    "src/capi/offload.rs",
    "src/capi/copies.rs",
    "src/capi/wait.rs",
    "src/capi/tx.rs",
    "src/capi/gso.rs",
    "src/capi/membership.rs",
    "src/capi/filter.rs",
    "src/capi/timestamp.rs",
    "src/capi/fanout.rs",
    "src/capi/group.rs",
    "src/capi/stats.rs",
    "src/capi/error.rs",
];

fn generate() -> String {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml")).unwrap();
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in SOURCES {
        builder = builder.with_src(root().join(source));
    }
    let mut header = Vec::new();
    builder.generate().unwrap().write(&mut header);
    // The 1 is an int in C, and its bit 31 the sign.
    String::from_utf8(header)
        .unwrap()
        .replace("(1 << ", "(1u << ")
}

#[test]
fn the_header_is_in_step_with_the_source() {
    let fresh = generate();
    if std::env::var_os("BLESS").is_some() {
        fs::write(committed(), &fresh).unwrap();
    }
    let kept = fs::read_to_string(committed()).unwrap();
    let first = kept
        .lines()
        .zip(fresh.lines())
        .position(|(kept, fresh)| kept != fresh);
    let first = first.unwrap_or(kept.lines().count().min(fresh.lines().count()));
    assert!(
        kept == fresh,
        "include/pktring.h:{} is out of step with src/capi; \
         BLESS=1 cargo test --test header rewrites it\n  kept:  {}\n  fresh: {}",
        first + 1,
        kept.lines().nth(first).unwrap_or("(nothing)"),
        fresh.lines().nth(first).unwrap_or("(nothing)"),
    );
}

/// The functions that the source exports, by name.
fn exported() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(root().join("src/capi")).unwrap() {
        let source = fs::read_to_string(entry.unwrap().path()).unwrap();
        let functions = source.split("extern \"C\" fn ").skip(1);
        let functions = functions.map(|rest| rest.split('(').next().unwrap());
        // Others are internal, with the calling convention of C.
        let exported = functions.filter(|name| name.starts_with("pktring_"));
        names.extend(exported.map(str::to_owned));
    }
    assert!(names.contains("pktring_open"), "{names:?}");
    names
}

/// A file that SOURCES forgot would take its functions out of the header unnoticed.
#[test]
fn every_exported_function_is_in_the_header() {
    let header = fs::read_to_string(committed()).unwrap() + &fs::read_to_string(inline()).unwrap();
    for name in exported() {
        assert!(header.contains(&format!("{name}(")), "{name} is missing");
    }
}

/// The version map: what the library that `make` links exports, and under which version.
fn version_map() -> String {
    let names: String = exported().iter().map(|n| format!("    {n};\n")).collect();
    format!("PKTRING_0.1 {{\nglobal:\n{names}local:\n    *;\n}};\n")
}

/// A function that the map forgot would be missing from the library that `make` links.
#[test]
fn every_exported_function_is_in_the_version_map() {
    let path = root().join("pkgconfig/pktring.map");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, version_map()).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap(), version_map());
}

/// What documentation for Rust readers looks like; in the header it would be noise.
#[test]
fn the_header_speaks_c() {
    for path in [committed(), inline()] {
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            for word in [
                "# Safety", "# Errors", "# Panics", "[`", "::", "Option<", "*mut ",
            ] {
                let place = format!("{}:{}", path.display(), number + 1);
                assert!(!line.contains(word), "{place}: {word:?} in {line:?}");
            }
        }
    }
}

/// A program that includes the header twice, because its guards have to work, and looks at
/// every constant: one of the kind 1 << 31 is an overflow in C, and negative.
fn program() -> String {
    let header = fs::read_to_string(committed()).unwrap();
    let constants = header.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix("#define ")?.split_once(' ')?;
        // Names that end like this are the header's own, and no constants.
        (!value.starts_with('"') && !name.ends_with('_')).then_some(name)
    });
    let checks: String = constants
        .map(|name| format!("typedef char {name}_IS_NATURAL[({name}) >= 0 ? 1 : -1];\n"))
        .collect();
    format!("#include <pktring.h>\n#include <pktring.h>\n{checks}")
}

/// Has a compiler read the program.
fn accepts(mut compiler: Command, language: &str, standard: &str) {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("header-{standard}.c"));
    fs::write(&file, program()).unwrap();
    compiler
        .args([
            "-fsyntax-only",
            "-pedantic-errors",
            "-Wall",
            "-Wextra",
            "-Wno-type-limits",
        ])
        .args(["-Werror", "-x", language])
        .arg(format!("-std={standard}"))
        .arg("-I")
        .arg(root().join("include"))
        .arg(&file);
    if let Err(complaint) = support::run(&mut compiler) {
        panic!("{complaint}");
    }
}

fn c_accepts(standard: &str) {
    accepts(support::c_compiler(), "c", standard);
}

fn cpp_accepts(standard: &str) {
    match support::cpp_compiler() {
        Some(compiler) => accepts(compiler, "c++", standard),
        None => netns::skip("no C++ compiler"),
    }
}

#[test]
fn c99_accepts_the_header() {
    c_accepts("c99");
}

#[test]
fn c11_accepts_the_header() {
    c_accepts("c11");
}

#[test]
fn cpp11_accepts_the_header() {
    cpp_accepts("c++11");
}

#[test]
fn cpp17_accepts_the_header() {
    cpp_accepts("c++17");
}
