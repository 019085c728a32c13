//! The examples as a stranger has them: from an installed prefix, through pkg-config.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use crate::running::Running;
use crate::{there, tmp};

pub const STRICT: &str = "-Wall -Wextra -Wpedantic -Werror";
const SANITIZED: &str = "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all";

/// Where the library is installed, with its examples.
pub struct Prefix(PathBuf);

impl Prefix {
    /// Installs it, unless this process has done so.
    pub fn get() -> &'static Prefix {
        static PREFIX: OnceLock<Prefix> = OnceLock::new();
        PREFIX.get_or_init(|| {
            let prefix = tmp().join("prefix");
            let _lock = locked(&prefix);
            let mut make = make(Path::new(env!("CARGO_MANIFEST_DIR")));
            // Times are kept, so that programs are built again only where something changed.
            make.args(["install", "INSTALL=install -p"]);
            make.arg(format!("PREFIX={}", prefix.display()));
            make.env("CARGO", env!("CARGO"));
            let made = make.output().expect("make is needed");
            let said = String::from_utf8_lossy(&made.stderr);
            assert!(made.status.success(), "make install: {said}");
            Prefix(prefix)
        })
    }

    fn examples(&self) -> PathBuf {
        self.0.join("share/doc/pktring/examples")
    }

    /// The names of all of them.
    fn names(&self) -> BTreeSet<String> {
        let files = fs::read_dir(self.examples()).unwrap();
        let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .filter_map(|name| name.strip_suffix(".c").map(str::to_owned))
            .collect()
    }

    /// When the newest header was changed.
    fn changed(&self) -> SystemTime {
        let headers =
            ["pktring.h", "pktring/inline.h"].map(|name| self.0.join("include").join(name));
        let time = |file: &PathBuf| fs::metadata(file).unwrap().modified().unwrap();
        headers.iter().map(time).max().unwrap()
    }
}

/// make, without what the make above this test was told.
fn make(directory: &Path) -> Command {
    let mut make = Command::new("make");
    make.arg("-s").arg("-C").arg(directory);
    for variable in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"] {
        make.env_remove(variable);
    }
    make
}

/// One process at a time: each test may be one of its own.
fn locked(directory: &Path) -> File {
    fs::create_dir_all(directory).unwrap();
    let lock = File::create(directory.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    lock
}

/// What a program is run under.
#[derive(Clone, Copy, PartialEq)]
pub enum Under {
    Nothing,
    Valgrind,
}

/// Where one compiler's programs are, and how they are run.
pub struct Programs {
    place: PathBuf,
    pub under: Under,
    ran: RefCell<BTreeSet<String>>,
}

impl Programs {
    /// Builds every example, unless that was done since they changed.
    pub fn build(name: &str, compiler: &str, flags: &str, settings: &[&str]) -> Programs {
        let prefix = Prefix::get();
        let place = tmp().join(format!("examples-{name}"));
        let _lock = locked(&place);
        // Built with other flags, or before the headers changed: all of it again.
        let stamp = place.join("stamp");
        let built = fs::metadata(&stamp).and_then(|stamp| stamp.modified());
        let same = fs::read_to_string(&stamp).is_ok_and(|with| with == flags);
        if !same || built.map_or(true, |built| built < prefix.changed()) {
            let _ = fs::remove_dir_all(&place);
        }
        let made = make(&prefix.examples())
            .arg("-j2")
            .arg(format!("OUT={}", place.display()))
            .arg(format!("CC={compiler}"))
            .arg(format!("CFLAGS={flags} {STRICT}"))
            .arg(format!(
                "LDFLAGS=-Wl,-rpath,{}",
                prefix.0.join("lib").display()
            ))
            .args(settings)
            .env("PKG_CONFIG_PATH", prefix.0.join("lib/pkgconfig"))
            .output()
            .expect("make is needed");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(
            made.status.success() && said.is_empty(),
            "{compiler}: {said}"
        );
        if !stamp.exists() {
            fs::write(&stamp, flags).unwrap();
        }
        Programs {
            place,
            under: Under::Nothing,
            ran: RefCell::default(),
        }
    }

    /// Of gcc, with AddressSanitizer and the sanitizer of undefined behaviour.
    pub fn sanitized() -> Programs {
        Programs::sanitized_by("gcc")
    }

    pub fn sanitized_by(compiler: &str) -> Programs {
        Programs::build(&format!("{compiler}-sanitized"), compiler, SANITIZED, &[])
    }

    /// As they are used, but watched by valgrind, which does not know the latest debug information.
    pub fn in_valgrind(compiler: &str) -> Programs {
        Programs {
            under: Under::Valgrind,
            ..Programs::build(compiler, compiler, "-O2 -gdwarf-4", &[])
        }
    }

    /// Keeps the tools, as `make install` of the examples does.
    pub fn install(&self, to: &Path) {
        let prefix = Prefix::get();
        let _lock = locked(&self.place);
        let mut make = make(&prefix.examples());
        make.arg("install")
            .arg(format!("OUT={}", self.place.display()));
        make.arg(format!("PREFIX={}", to.display()));
        make.env("PKG_CONFIG_PATH", prefix.0.join("lib/pkgconfig"));
        let made = make.output().unwrap();
        assert!(made.status.success() && made.stderr.is_empty(), "{made:?}");
    }

    pub fn path(&self, program: &str) -> PathBuf {
        self.ran.borrow_mut().insert(program.to_owned());
        self.place.join(program)
    }

    pub fn command(&self, line: &str) -> Command {
        let mut words = line.split_whitespace();
        let program = self.path(words.next().unwrap());
        let mut command = match self.under {
            Under::Nothing => Command::new(program),
            Under::Valgrind => {
                let mut valgrind = Command::new("valgrind");
                valgrind.args(["-q", "--leak-check=full", "--error-exitcode=99"]);
                valgrind.arg(program);
                valgrind
            }
        };
        command.args(words);
        command
    }

    /// Starts a program and waits until it waits for frames.
    pub fn start(&self, line: &str) -> Running {
        self.start_several(line, 1)
    }

    /// The same with so many threads or processes that wait for frames.
    pub fn start_several(&self, line: &str, waiting: usize) -> Running {
        self.start_now(line).listening(waiting)
    }

    pub fn start_now(&self, line: &str) -> Running {
        Running::start_now(&mut self.command(line))
    }

    /// Runs a program to its end: what it printed. It must succeed.
    pub fn run(&self, line: &str) -> String {
        crate::text(&self.start_now(line).finish(0).stdout)
    }

    /// Runs a program that fails: its status and the one line on standard error.
    pub fn fail(&self, line: &str) -> (i32, String) {
        crate::running::failure(&mut self.command(line))
    }

    /// Every example that there is was run.
    pub fn all_were_run(&self) {
        let mut all = Prefix::get().names();
        if !crate::has_libpcap() {
            all.retain(|name| self.place.join(name).exists());
        }
        assert_eq!(*self.ran.borrow(), all);
    }
}

/// Whether a compiler is there, with the sanitizers when they are needed.
pub fn compiles(compiler: &str, sanitized: bool) -> bool {
    if !there(compiler) {
        return false;
    }
    let source = tmp().join("empty.c");
    fs::write(&source, "int main(void) { return 0; }\n").unwrap();
    let mut command = Command::new(compiler);
    if sanitized {
        command.args(SANITIZED.split(' '));
    }
    let output = tmp().join(format!("empty-{compiler}-{sanitized}"));
    command.arg(&source).arg("-o").arg(&output);
    let works = command.output().unwrap().status.success()
        && Command::new(&output).status().unwrap().success();
    if !works {
        netns::skip(format!("{compiler} has no AddressSanitizer"));
    }
    works
}
