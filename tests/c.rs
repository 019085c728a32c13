//! The C programs in tests/c, each against the shared and against the static library.
//!
//! A program runs in a network of its own that holds `lo` and the veth pair va, vb. It
//! succeeds with status 0; status 77 says that this machine lacks something it needs. What
//! it prints is shown when it fails.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

mod support;

/// Longer than any program needs on a slow machine; one that hangs is killed.
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// The exit status for "cannot run here", as automake and ctest have it.
const SKIPPED: i32 = 77;
/// Makes this program put another one into a private network instead of running tests.
const ISOLATE: &str = "--isolate";
const SONAME_MAJOR: &str = include_str!("../pkgconfig/soname");
const PC_FILE: &str = include_str!("../pkgconfig/pktring.pc.in");

#[derive(Clone, Copy)]
enum Library {
    Shared,
    Static,
}

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|arg| arg == ISOLATE) {
        eprintln!("{}", netns::launch::exec(Some(("va", "vb")), &args[1..]));
        return ExitCode::FAILURE;
    }
    let bench = Bench::new();
    let mut trials = Vec::new();
    for source in sources() {
        for (library, suffix) in [(Library::Shared, "so"), (Library::Static, "a")] {
            let name = format!("{}::{suffix}", source.file_stem().unwrap().display());
            let (bench, source, title) = (bench.clone(), source.clone(), name.clone());
            trials.push(Trial::test(name, move || {
                bench.judge(&source, library, &title)
            }));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Every program, in a fixed order.
fn sources() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c");
    let files = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_source = |path: &PathBuf| path.extension().is_some_and(|e| e == "c" || e == "cc");
    let mut sources: Vec<PathBuf> = files.filter(is_source).collect();
    sources.sort();
    assert!(!sources.is_empty(), "no program in tests/c");
    sources
}

fn is_cpp(source: &Path) -> bool {
    source.extension().is_some_and(|e| e == "cc")
}

/// Where the programs are built.
#[derive(Clone)]
struct Bench {
    /// Holds libpktring.so and .a as `cargo test` has just made them.
    built: PathBuf,
    /// Holds the programs, and the library under its soname.
    work: PathBuf,
}

impl Bench {
    fn new() -> Bench {
        let this = std::env::current_exe().unwrap();
        let built = this.parent().unwrap().to_owned();
        let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c");
        fs::create_dir_all(&work).unwrap();
        let soname = work.join(format!("libpktring.so.{}", SONAME_MAJOR.trim()));
        // Made anew, because it may point into another profile's directory.
        let _ = fs::remove_file(&soname);
        symlink(built.join("libpktring.so"), &soname).unwrap();
        Bench { built, work }
    }

    fn judge(&self, source: &Path, library: Library, title: &str) -> Result<(), Failed> {
        let compiler = match is_cpp(source) {
            true => support::cpp_compiler(),
            false => Some(support::c_compiler()),
        };
        let Some(compiler) = compiler else {
            return skipped(title, "no C++ compiler");
        };
        let program = self.work.join(title.replace("::", "."));
        self.compile(compiler, source, library, &program)?;
        let log = program.with_added_extension("log");
        let status = run(&program, &log)?;
        let output = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        match status.code() {
            Some(0) => Ok(()),
            Some(SKIPPED) => skipped(title, output.lines().last().unwrap_or("no reason given")),
            _ => Err(format!("{}\n{output}", describe(status)).into()),
        }
    }

    fn compile(
        &self,
        mut compiler: Command,
        source: &Path,
        library: Library,
        program: &Path,
    ) -> Result<(), Failed> {
        if is_cpp(source) {
            compiler.arg("-std=c++17");
        }
        compiler
            .args(["-Wall", "-Wextra", "-Werror", "-pthread", "-I"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("include"))
            .arg("-o")
            .arg(program)
            .arg(source);
        match library {
            Library::Shared => {
                let mut rpath = OsString::from("-Wl,-rpath,");
                rpath.push(&self.work);
                compiler.arg(self.built.join("libpktring.so")).arg(rpath);
            }
            Library::Static => {
                compiler
                    .arg(self.built.join("libpktring.a"))
                    .args(private_libraries());
            }
        }
        Ok(support::run(&mut compiler)?)
    }
}

/// Reports a program that cannot run on this machine.
fn skipped(title: &str, reason: &str) -> Result<(), Failed> {
    if netns::skip::forbidden() {
        return Err(format!("was to be skipped: {reason}").into());
    }
    netns::skip::announce(title, reason);
    Ok(())
}

/// What a static program needs beside libpktring.a, from where its users learn it.
fn private_libraries() -> impl Iterator<Item = &'static str> {
    let line = PC_FILE
        .lines()
        .find_map(|line| line.strip_prefix("Libs.private:"));
    line.expect("Libs.private in pktring.pc.in")
        .split_whitespace()
}

/// Runs a program in a network of its own, all its output going to `log`.
fn run(program: &Path, log: &Path) -> Result<ExitStatus, Failed> {
    let out = File::create(log)?;
    let mut child = netns::launch::tie(&mut Command::new(std::env::current_exe()?))
        .arg(ISOLATE)
        .arg(program)
        .stdin(std::process::Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .process_group(0)
        .spawn()?;
    match wait(&mut child)? {
        Some(status) => Ok(status),
        None => {
            // The whole group: the program may have children, and they hold the network.
            // SAFETY: a call with numbers only; the group is the child's, not yet reaped.
            unsafe { libc::kill(-(child.id() as i32), libc::SIGKILL) };
            child.wait()?;
            let output = fs::read(log)?;
            let output = String::from_utf8_lossy(&output);
            Err(format!("killed after {TIME_LIMIT:?}\n{output}").into())
        }
    }
}

/// The child's status, or `None` when it has not ended in time.
fn wait(child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + TIME_LIMIT;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(None)
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (_, signal) => format!("killed by signal {}", signal.unwrap_or(0)),
    }
}
