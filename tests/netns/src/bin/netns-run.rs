//! Runs a program in a private network namespace: `netns-run [--veth A,B] [--] PROGRAM...`
//!
//! Needs neither root, where user namespaces are on, nor any other tool. The exit status is
//! the program's; 125 says that it could not be started.

use std::ffi::OsString;
use std::process::exit;

const USAGE: &str = "usage: netns-run [--veth A,B] [--] PROGRAM [ARGUMENT...]";

struct Options {
    veth: Option<(String, String)>,
    program: Vec<OsString>,
}

fn parse(mut args: impl Iterator<Item = OsString>) -> Option<Options> {
    let mut veth = None;
    let first = loop {
        let arg = args.next()?;
        match arg.to_str() {
            Some("--veth") => {
                let names = args.next()?.into_string().ok()?;
                let (a, b) = names.split_once(',')?;
                veth = Some((a.to_owned(), b.to_owned()));
            }
            Some("--") => break args.next()?,
            Some(option) if option.starts_with('-') => return None,
            _ => break arg,
        }
    };
    let program = std::iter::once(first).chain(args).collect();
    Some(Options { veth, program })
}

fn main() {
    let Some(options) = parse(std::env::args_os().skip(1)) else {
        eprintln!("{USAGE}");
        exit(125);
    };
    let veth = options.veth.as_ref().map(|(a, b)| (&**a, &**b));
    let error = netns::launch::exec(veth, &options.program);
    eprintln!("netns-run: {error}");
    exit(125);
}
