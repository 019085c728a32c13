//! Gives the shared library its name, and the tests what the C compiler must be told.

use std::env;

/// The major version of the ABI. The Makefile reads the same file.
const SONAME_MAJOR: &str = include_str!("pkgconfig/soname");

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=pkgconfig/soname");
    println!(
        "cargo:rustc-cdylib-link-arg=-Wl,-soname,libpktring.so.{}",
        SONAME_MAJOR.trim()
    );
    // The crate "cc" finds these by itself only in build scripts; tests/c.rs is none.
    for name in ["TARGET", "HOST", "OPT_LEVEL"] {
        println!("cargo:rustc-env={}={}", name, env::var(name).unwrap());
    }
}
