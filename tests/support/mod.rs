//! The C and C++ compilers, for the tests that need one.

use std::process::{Command, Stdio};

/// The C compiler that cargo would use for this target.
pub fn c_compiler() -> Command {
    compiler(false).expect("a C compiler is needed: install gcc or clang, or set CC")
}

/// The C++ compiler, which not every machine with a C compiler has.
pub fn cpp_compiler() -> Option<Command> {
    compiler(true)
}

fn compiler(cpp: bool) -> Option<Command> {
    let tool = cc::Build::new()
        .cpp(cpp)
        .cargo_metadata(false)
        .target(env!("TARGET"))
        .host(env!("HOST"))
        .opt_level_str(env!("OPT_LEVEL"))
        .get_compiler();
    let works = tool
        .to_command()
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    works.then(|| tool.to_command())
}

/// Runs a compiler to its end; what it complained about, if it failed.
pub fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}
