//! The library as a stranger meets it: installed into an empty prefix, the source tree out of
//! reach, and programs built through pkg-config, CMake and plain compilers, in C, C++ and Python.
//!
//! Each script in tests/install is one test; common.sh says what they run with. Beside them this
//! program looks into the installed ELF files, with both linkers, and takes the library away
//! again.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};

const SKIPPED: i32 = 77;
/// Makes this program run a script in a private network instead of the tests.
const ISOLATE: &str = "--isolate";
const SONAME_MAJOR: &str = include_str!("../pkgconfig/soname");
const PC_FILE: &str = include_str!("../pkgconfig/pktring.pc.in");
/// Covers the source tree, then runs what comes behind.
const HIDE: &str = r#"mount -t tmpfs none "$SOURCE" && exec "$@""#;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|arg| arg == ISOLATE) {
        eprintln!("{}", netns::launch::exec(Some(("va", "vb")), &args[1..]));
        return ExitCode::FAILURE;
    }
    let arguments = Arguments::from_args();
    if arguments.list {
        return libtest_mimic::run(&arguments, trials(Path::new(""))).exit_code();
    }
    // Not below the source tree, which will be covered.
    let place = std::env::temp_dir().join(format!("pktring-stranger-{}", std::process::id()));
    fs::create_dir_all(&place).unwrap();
    let code = match prepare(&place) {
        Ok(()) => libtest_mimic::run(&arguments, trials(&place)).exit_code(),
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    };
    let _ = fs::remove_dir_all(&place);
    code
}

fn trials(place: &Path) -> Vec<Trial> {
    let mut trials = Vec::new();
    for script in scripts() {
        let name = script.file_stem().unwrap().to_string_lossy().into_owned();
        let place = place.to_owned();
        let title = format!("install::{name}");
        trials.push(Trial::test(title.clone(), move || {
            judge(&place, &script, &title)
        }));
    }
    let at = place.to_owned();
    let mut own = |name: &str, test: fn(&Path) -> Result<(), Failed>| {
        let at = at.clone();
        trials.push(Trial::test(format!("install::{name}"), move || test(&at)));
    };
    own("elf", |place| {
        inspect(&place.join("prefix/lib/libpktring.so"))
    });
    own("elf_of_lld", elf_of_lld);
    own("private_libraries", private_libraries);
    own("uninstall", uninstall);
    trials
}

/// The tests in tests/install.
fn scripts() -> Vec<PathBuf> {
    let files = fs::read_dir(root().join("tests/install")).unwrap();
    let mut scripts: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    scripts.retain(|path| path.extension().is_some_and(|e| e == "sh"));
    scripts.retain(|path| !path.ends_with("common.sh"));
    scripts.sort();
    assert!(!scripts.is_empty());
    scripts
}

/// Installs the library, and builds the one of tomorrow.
fn prepare(place: &Path) -> Result<(), String> {
    let prefix = place.join("prefix");
    make(&["install", &format!("PREFIX={}", prefix.display())])?;
    tomorrow(&place.join("tomorrow"))
}

fn make(arguments: &[&str]) -> Result<String, String> {
    let mut make = Command::new("make");
    make.current_dir(root()).arg("-s").args(arguments);
    // What the make above this test was told is none of this one's business.
    for variable in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"] {
        make.env_remove(variable);
    }
    output(&mut make)
}

/// Runs a command to its end: what it printed, or what it complained about.
fn output(command: &mut Command) -> Result<String, String> {
    let output = netns::launch::tie(command)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}\n{said}{complaint}", output.status))
}

/// Runs a script in a directory and a network of its own, the source tree covered.
fn judge(place: &Path, script: &Path, title: &str) -> Result<(), Failed> {
    let work = place.join(script.file_stem().unwrap());
    fs::create_dir(&work)?;
    for entry in fs::read_dir(root().join("tests/install"))? {
        let from = entry?.path();
        fs::copy(&from, work.join(from.file_name().unwrap()))?;
    }
    let name = script.file_name().unwrap().to_string_lossy();
    let output = netns::launch::tie(&mut Command::new(std::env::current_exe()?))
        .args([ISOLATE, "unshare", "-m", "sh", "-c", HIDE, "sh"])
        .args([
            "bash",
            "-c",
            &format!("source ./common.sh; source ./{name}"),
        ])
        .current_dir(&work)
        .env("SOURCE", root())
        .env("PREFIX", place.join("prefix"))
        .env("TOMORROW", place.join("tomorrow"))
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Ok(()),
        Some(SKIPPED) => skipped(title, said.lines().last().unwrap_or("no reason given")),
        _ => Err(format!("{}\n{said}", output.status).into()),
    }
}

fn skipped(title: &str, reason: &str) -> Result<(), Failed> {
    if netns::skip::forbidden() {
        return Err(format!("was to be skipped: {reason}").into());
    }
    netns::skip::announce(title, reason);
    Ok(())
}

/// A later version of this library, whose structs have grown: this one with fields added.
fn tomorrow(to: &Path) -> Result<(), String> {
    let source = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tomorrow-source");
    let _ = fs::remove_dir_all(&source);
    fs::create_dir_all(&source).map_err(|error| error.to_string())?;
    let mut copy = Command::new("cp");
    copy.arg("-r").current_dir(root());
    copy.args(["src", "build.rs", "pkgconfig", "Cargo.lock"]);
    output(copy.arg(&source))?;
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let keep = |section: &&str| {
        let name = section.trim_start_matches('[').split(']').next().unwrap();
        !["dev-dependencies", "workspace", "test", "bench"].contains(&name)
    };
    let sections: Vec<&str> = manifest.split_inclusive("\n[").collect();
    // split_inclusive leaves the bracket that opens a section at the end of the one before.
    let mut kept = String::new();
    for (number, section) in sections.iter().enumerate() {
        let body = section.trim_end_matches('[');
        let head = if number == 0 { "" } else { "[" };
        if number == 0 || keep(&body) {
            kept += head;
            kept += body;
        }
    }
    fs::write(source.join("Cargo.toml"), kept + "\n[workspace]\n").unwrap();
    for (file, name) in [
        ("stats.rs", "pktring_stats"),
        ("geometry.rs", "pktring_ring"),
    ] {
        grow(&source.join("src/capi").join(file), name);
    }
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tomorrow");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--offline", "--lib"]);
    cargo.current_dir(&source).env("CARGO_TARGET_DIR", &built);
    output(&mut cargo)?;
    fs::create_dir_all(to).unwrap();
    let name = format!("libpktring.so.{}", SONAME_MAJOR.trim());
    fs::copy(built.join("debug/libpktring.so"), to.join(name)).unwrap();
    Ok(())
}

/// Adds a field at the end of a struct.
fn grow(file: &Path, name: &str) {
    let text = fs::read_to_string(file).unwrap();
    let declared = format!("pub struct {name} {{");
    let start = text.find(&declared).expect(name);
    let end = start + text[start..].find("\n}").unwrap();
    let (head, tail) = text.split_at(end);
    let size = format!("size: size_of::<{name}>(),");
    assert!(tail.contains(&size), "{name} is filled in elsewhere");
    let tail = tail.replace(&size, &format!("{size} future: 0,"));
    fs::write(file, format!("{head}\n    pub future: u64,{tail}")).unwrap();
}

/// What a shared library exports, has for a name and needs.
fn inspect(library: &Path) -> Result<(), Failed> {
    let map = fs::read_to_string(root().join("pkgconfig/pktring.map"))?;
    let names = map.lines().filter_map(|line| line.trim().strip_suffix(';'));
    let names = names.filter(|name| name.starts_with("pktring_"));
    let mut expected: BTreeSet<String> = names.map(|name| format!("{name}@@PKTRING_0.1")).collect();
    assert!(expected.len() > 40);
    // The version itself is a symbol.
    expected.insert("PKTRING_0.1".to_owned());
    let symbols = output(
        Command::new("nm")
            .args(["-D", "--defined-only"])
            .arg(library),
    )?;
    let found: BTreeSet<String> = symbols
        .lines()
        .filter_map(|line| line.rsplit(' ').next())
        .map(|name| {
            name.trim_end_matches("@@PKTRING_0.1@@PKTRING_0.1")
                .to_owned()
        })
        .collect();
    // lld and GNU ld differ in whether they give the version's own symbol a version.
    let found: BTreeSet<String> = found
        .into_iter()
        .map(|name| match name.as_str() {
            "PKTRING_0.1@@PKTRING_0.1" => "PKTRING_0.1".to_owned(),
            _ => name,
        })
        .collect();
    expected.retain(|name| name != "PKTRING_0.1" || found.contains(name));
    if found != expected {
        let differ: Vec<_> = found.symmetric_difference(&expected).collect();
        return Err(
            format!("exported and not in the map, or the other way round: {differ:?}").into(),
        );
    }
    let dynamic = output(Command::new("readelf").args(["-d", "-W"]).arg(library))?;
    let entries = |tag: &str| -> Vec<String> {
        let lines = dynamic.lines().filter(|line| line.contains(tag));
        let names = lines.filter_map(|line| line.split('[').nth(1)?.split(']').next());
        names.map(str::to_owned).collect()
    };
    assert_eq!(
        entries("(SONAME)"),
        [format!("libpktring.so.{}", SONAME_MAJOR.trim())]
    );
    for needed in entries("(NEEDED)") {
        let of_the_system = [
            "libgcc_s.",
            "libc.",
            "libm.",
            "libpthread.",
            "libdl.",
            "ld-linux",
        ];
        assert!(
            of_the_system.iter().any(|name| needed.starts_with(name)),
            "{needed} is needed"
        );
    }
    assert!(!dynamic.contains("RPATH") && !dynamic.contains("RUNPATH"));
    assert!(dynamic.contains("NOW"), "not bound at start");
    Ok(())
}

/// The same with the linker that loses version scripts.
fn elf_of_lld(place: &Path) -> Result<(), Failed> {
    if Command::new("ld.lld").arg("--version").output().is_err() {
        return skipped("install::elf_of_lld", "lld is not installed");
    }
    let dist = place.join("lld");
    let dist_is = format!("dist={}", dist.display());
    make(&["all", "LDFLAGS=-fuse-ld=lld", &dist_is])?;
    let library = dist.join("libpktring.so");
    let comment = output(
        Command::new("readelf")
            .args(["-p", ".comment"])
            .arg(&library),
    )?;
    assert!(comment.contains("LLD"), "not linked by lld: {comment}");
    inspect(&library)
}

/// Libs.private names what rustc says that Rust's own library needs, and no file that is not
/// there.
fn private_libraries(place: &Path) -> Result<(), Failed> {
    let empty = place.join("empty.rs");
    fs::write(&empty, "")?;
    let archive = place.join("empty.a");
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
    rustc.args(["--crate-type", "staticlib", "--print", "native-static-libs"]);
    rustc.arg("-o").arg(archive).arg(empty);
    let done = rustc.output()?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let needed = said
        .split("native-static-libs:")
        .nth(1)
        .expect("native-static-libs");
    let line = PC_FILE
        .lines()
        .find_map(|line| line.strip_prefix("Libs.private:"))
        .unwrap();
    let named: BTreeSet<&str> = line.split_whitespace().collect();
    // Empty since glibc 2.34, and part of it long before; and what compilers add by themselves,
    // in the form that goes with -static where that is asked for.
    let left_out = ["-lutil", "-lrt", "-lgcc_s"];
    for library in needed.lines().next().unwrap().split_whitespace() {
        assert!(
            named.contains(library) || left_out.contains(&library),
            "Libs.private lacks {library}"
        );
    }
    for library in named {
        let program = place.join("private.c");
        fs::write(&program, "int main(void) { return 0; }\n")?;
        let mut cc = Command::new("cc");
        output(
            cc.arg("-o")
                .arg(place.join("private"))
                .arg(&program)
                .arg(library),
        )?;
    }
    Ok(())
}

/// Every file of the tree, from it.
fn files(tree: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![tree.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() && !path.is_symlink() {
                true => left.push(path),
                false => found.push(path.strip_prefix(tree).unwrap().to_owned()),
            }
        }
    }
    found
}

/// What was installed goes away again, and nothing else; DESTDIR stands before all of it.
fn uninstall(place: &Path) -> Result<(), Failed> {
    let destination = place.join("destination");
    let words = [
        format!("DESTDIR={}", destination.display()),
        "PREFIX=/usr".to_owned(),
        "LIBDIR=/usr/lib/here".to_owned(),
    ];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    make(&[&["install"], &words[..]].concat())?;
    let installed = files(&destination);
    for file in ["usr/lib/here/libpktring.so", "usr/include/pktring.h"] {
        assert!(installed.contains(&PathBuf::from(file)), "{file}");
    }
    let pc = fs::read_to_string(destination.join("usr/lib/here/pkgconfig/pktring.pc"))?;
    assert!(!pc.contains("destination") && !pc.contains('@'), "{pc}");
    let other = destination.join("usr/lib/here/libother.so");
    fs::write(&other, "")?;
    make(&[&["uninstall"], &words[..]].concat())?;
    assert_eq!(
        files(&destination),
        [PathBuf::from("usr/lib/here/libother.so")]
    );
    Ok(())
}
