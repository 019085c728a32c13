//! The headers under every compiler and standard that users build with: alone, warning-free,
//! before and after the system headers they are used with; every example in a comment; and what
//! the C++ layer costs over C.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[allow(dead_code)] // Each test uses a part of it.
mod support;

const C: [&str; 3] = ["c99", "c11", "c17"];
const CPP: [&str; 4] = ["c++11", "c++14", "c++17", "c++20"];
const WARNINGS: [&str; 11] = [
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wconversion",
    "-Wsign-conversion",
    "-Wshadow",
    "-Wcast-align",
    "-Wcast-qual",
    "-Wundef",
    "-Werror",
    "-fsyntax-only",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What users of C++ turn on besides.
const CPP_WARNINGS: [&str; 2] = ["-Wold-style-cast", "-Wzero-as-null-pointer-constant"];

/// A file for the compiler, named after the test.
fn write(name: &str, text: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compilers");
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join(name);
    fs::write(&file, text).unwrap();
    file
}

/// The compilers of one kind that are there; both are, or it is said.
fn compilers(names: [&'static str; 2]) -> Vec<&'static str> {
    let works = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let found: Vec<&str> = names.into_iter().filter(works).collect();
    if found.len() < names.len() {
        netns::skip(format!("only {found:?} of {names:?} are installed"));
    }
    found
}

fn accept(compiler: &str, standard: &str, source: &Path, more: &[&str]) {
    let mut command = Command::new(compiler);
    command
        .args(WARNINGS)
        .arg(format!("-std={standard}"))
        .args(more)
        .arg("-I")
        .arg(root().join("include"))
        .arg(source);
    if let Err(complaint) = support::run(&mut command) {
        panic!("{compiler} -std={standard}: {complaint}");
    }
}

/// A program that includes nothing else, and uses what is inline.
const ALONE: &str = "#include <pktring.h>
uint64_t sum(const struct pktring_block *block);
uint64_t sum(const struct pktring_block *block)
{
    struct pktring_iter it;
    struct pktring_frame frame;
    uint64_t all = 0;
    pktring_iter_init(&it, block);
    while (pktring_iter_next(&it, &frame) == 1) {
        const uint32_t *word = PKTRING_FRAME_AS(uint32_t, &frame, 0);
        all += frame.len + (word ? 1u : 0u) + pktring_frame_timestamp_source(&frame);
        if (pktring_frame_vlan(&frame) >= 0)
            all++;
    }
    return all;
}
";

#[test]
fn the_header_stands_alone_in_every_standard_of_c() {
    let file = write("alone.c", ALONE);
    for compiler in compilers(["gcc", "clang"]) {
        for standard in C {
            accept(compiler, standard, &file, &["-pedantic-errors"]);
        }
    }
}

#[test]
fn the_header_stands_alone_in_every_standard_of_cpp() {
    let file = write("alone.cc", ALONE);
    for compiler in compilers(["g++", "clang++"]) {
        for standard in CPP {
            accept(compiler, standard, &file, &CPP_WARNINGS);
        }
    }
}

#[test]
fn the_layer_stands_alone_in_cpp17_and_later() {
    let text = "#include <pktring.hpp>\n#include <pktring.hpp>\n
        #if __cplusplus >= 202002L
        #include <span>
        #endif

        unsigned use(pktring::handle &handle);
        unsigned use(pktring::handle &handle)
        {
            unsigned sum = 0;
            for (auto &frame : handle.frames())
                sum += static_cast<unsigned>(frame.bytes().size());
            for (auto &block : handle.blocks())
                for (auto &frame : block)
                    sum += frame.len;
        #if __cplusplus >= 202002L
            for (auto &frame : handle.frames()) {
                std::span<const std::uint8_t> span = frame.bytes();
                sum += static_cast<unsigned>(span.size());
            }
        #endif
            return sum;
        }\n";
    let file = write("layer.cc", text);
    for compiler in compilers(["g++", "clang++"]) {
        for standard in ["c++17", "c++20"] {
            accept(compiler, standard, &file, &CPP_WARNINGS);
        }
    }
}

/// Headers that declare the same ground.
#[test]
fn the_header_goes_with_those_of_the_system() {
    let others = "#include <linux/if_packet.h>\n#include <net/ethernet.h>\n\
                  #include <linux/if_ether.h>\n#include <linux/filter.h>\n\
                  #include <sys/socket.h>\n#include <net/if.h>\n#include <pcap/pcap.h>\n";
    if !Path::new("/usr/include/pcap/pcap.h").exists() {
        return netns::skip("<pcap/pcap.h> is not installed");
    }
    for (order, text) in [
        ("before", format!("#include <pktring.h>\n{others}")),
        ("after", format!("{others}#include <pktring.h>\n")),
    ] {
        let c = write(&format!("{order}.c"), &text);
        let cpp = write(
            &format!("{order}.cc"),
            &text.replace("pktring.h>", "pktring.hpp>"),
        );
        for compiler in compilers(["gcc", "clang"]) {
            // The system's own headers want GNU C.
            accept(compiler, "gnu99", &c, &[]);
            accept(compiler, "gnu17", &c, &[]);
        }
        for compiler in compilers(["g++", "clang++"]) {
            accept(compiler, "gnu++17", &cpp, &[]);
        }
    }
}

/// What comments show between @code and @endcode, as it stands.
#[test]
fn every_example_in_a_comment_compiles() {
    let mut found = 0;
    for header in [
        "include/pktring.h",
        "include/pktring/inline.h",
        "man/introduction",
    ] {
        let text = fs::read_to_string(root().join(header)).unwrap();
        for (number, rest) in text.split("@code\n").skip(1).enumerate() {
            let code = rest.split("@endcode").next().unwrap();
            let lines = code.lines().map(|line| {
                let line = line.trim_start().strip_prefix('*').unwrap_or(line);
                line.to_owned() + "\n"
            });
            let includes = "#include <pktring.h>\n#include <stdio.h>\n#include <string.h>\n";
            let program = includes.to_owned() + &lines.collect::<String>();
            let name = header.replace(['/', '.'], "-");
            let file = write(&format!("{name}-{number}.c"), &program);
            accept("cc", "c11", &file, &["-Wno-unused-function"]);
            found += 1;
        }
    }
    assert!(found >= 2, "{found} examples");
}

#[test]
fn cpp_costs_no_more_than_c() {
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cost");
    let source = root().join("tests/cost");
    let compile = |compiler: &str, arguments: &[&str], file: &str, to: &Path| {
        let mut command = Command::new(compiler);
        command.args(["-O2", "-I"]).arg(root().join("include"));
        command
            .args(arguments)
            .arg("-o")
            .arg(to)
            .arg(source.join(file));
        support::run(&mut command).unwrap();
    };
    for (c, cpp) in [("gcc", "g++"), ("clang", "clang++")] {
        if !compilers(["g++", "clang++"]).contains(&cpp) {
            continue;
        }
        let library = work.with_extension("o");
        compile(c, &["-c"], "library.c", &library);
        let object = library.to_str().unwrap();
        compile(cpp, &["-std=c++17", object], "cost.cc", &work);
        let output = Command::new(&work).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        println!("{cpp}: {said}");
        assert!(output.status.success(), "{cpp}: {said}");
    }
}
