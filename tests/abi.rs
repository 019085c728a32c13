//! The ABI against the committed baseline: no function and no struct that programs were built
//! with may change. What may happen is said in abi/growth: functions are added, and structs that
//! start with their size grow at their end.
//!
//! The library's debug information describes Rust. So the header's side is compared: a stand-in
//! with every function as C declares it. That the library exports those, tests/install.rs sees.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn work() -> PathBuf {
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("abi");
    fs::create_dir_all(&work).unwrap();
    work
}

/// The header's prototypes, each with a body.
fn stand_in(header: &str) -> String {
    let mut code = String::new();
    let mut in_comment = false;
    for line in header.lines() {
        in_comment |= line.trim_start().starts_with("/*");
        if !in_comment && !line.starts_with('#') {
            code.push_str(line);
            code.push('\n');
        }
        in_comment &= !line.contains("*/");
    }
    let mut program = "#include <pktring.h>\n".to_owned();
    for statement in code.split(';') {
        let function = statement.rsplit(['{', '}']).next().unwrap().trim();
        let called = function.split('(').next().unwrap();
        let is_function = function.contains('(') && called.contains("pktring_");
        if is_function && !function.starts_with("typedef") {
            program += &format!("{function} {{ __builtin_trap(); }}\n");
        }
    }
    program
}

/// Builds the stand-in of a header that lies in `include`.
fn build(include: &Path, name: &str) -> PathBuf {
    let header = fs::read_to_string(include.join("pktring.h")).unwrap();
    let source = work().join(format!("{name}.c"));
    let library = work().join(format!("lib{name}.so"));
    let program = stand_in(&header);
    assert!(program.matches("__builtin_trap").count() > 40);
    fs::write(&source, program).unwrap();
    let status = Command::new("gcc")
        .args([
            "-g",
            "-O0",
            "-w",
            "-shared",
            "-fPIC",
            "-Wl,-soname,libpktring.so.0",
            "-I",
        ])
        .arg(include)
        .arg("-o")
        .arg(&library)
        .arg(&source)
        .status()
        .unwrap();
    assert!(status.success());
    library
}

/// What abidiff has against a library; empty when it is compatible.
fn complaints(library: &Path) -> String {
    let output = Command::new("abidiff")
        .args(["--no-added-syms", "--suppressions"])
        .arg(root().join("abi/growth"))
        .arg(root().join("abi/pktring.abi"))
        .arg(library)
        .output()
        .unwrap();
    match output.status.success() {
        true => String::new(),
        false => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            format!(
                "{}\n{said}{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            )
        }
    }
}

fn has_tools() -> bool {
    let there = |tool| Command::new(tool).arg("--version").output().is_ok();
    let all = there("abidiff") && there("abidw") && there("gcc");
    if !all {
        netns::skip("abidiff is not installed (abigail-tools)");
    }
    all
}

#[test]
fn programs_built_with_the_baseline_keep_running() {
    if !has_tools() {
        return;
    }
    let library = build(&root().join("include"), "now");
    if std::env::var_os("BLESS").is_some() {
        let status = Command::new("abidw")
            .args([
                "--no-corpus-path",
                "--no-comp-dir-path",
                "--no-show-locs",
                "--out-file",
            ])
            .arg(root().join("abi/pktring.abi"))
            .arg(&library)
            .status();
        assert!(status.unwrap().success());
        // Where this tree lies is nobody's business.
        let baseline = root().join("abi/pktring.abi");
        let text = fs::read_to_string(&baseline).unwrap();
        let place = format!("{}/", work().display());
        fs::write(&baseline, text.replace(&place, "")).unwrap();
    }
    let complaints = complaints(&library);
    assert!(
        complaints.is_empty(),
        "{complaints}\nIf no release has the old one: BLESS=1 cargo test --test abi"
    );
}

/// A header with one thing replaced, as a stand-in.
fn changed(name: &str, from: &str, to: &str) -> String {
    let include = work().join(name);
    fs::create_dir_all(include.join("pktring")).unwrap();
    let header = fs::read_to_string(root().join("include/pktring.h")).unwrap();
    assert_eq!(header.matches(from).count(), 1, "{from}");
    fs::write(include.join("pktring.h"), header.replace(from, to)).unwrap();
    let inline = root().join("include/pktring/inline.h");
    fs::copy(inline, include.join("pktring/inline.h")).unwrap();
    complaints(&build(&include, name))
}

/// The comparison sees what it is there for.
#[test]
fn incompatible_changes_are_found() {
    if !has_tools() {
        return;
    }
    let wider = changed(
        "wider",
        "    uint32_t first_offset;",
        "    uint64_t first_offset;",
    );
    assert!(wider.contains("first_offset"), "{wider}");
    let parameter = changed(
        "parameter",
        "int pktring_fd(pktring_t *handle);",
        "int pktring_fd(pktring_t *handle, long which);",
    );
    assert!(parameter.contains("pktring_fd"), "{parameter}");
    let removed = changed("removed", "int pktring_fd(pktring_t *handle);", "");
    assert!(removed.contains("pktring_fd"), "{removed}");
}

#[test]
fn compatible_changes_are_not() {
    if !has_tools() {
        return;
    }
    let header = fs::read_to_string(root().join("include/pktring.h")).unwrap();
    let start = header.find("struct pktring_stats {").unwrap();
    let end = start + header[start..].find("\n};").unwrap();
    let last = header[..end].lines().last().unwrap().to_owned() + "\n};";
    let grown = last.replace("\n};", "\n    uint64_t tomorrow;\n};");
    let whole = &header[start..end + 3];
    let complaint = changed("grown", whole, &whole.replace(&last, &grown));
    assert!(complaint.is_empty(), "{complaint}");
    let fd = "int pktring_fd(pktring_t *handle);";
    let complaint = changed("added", fd, &format!("{fd}\nint pktring_new(int x);"));
    assert!(complaint.is_empty(), "{complaint}");
}
