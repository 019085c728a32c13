//! Makes the manual from the comments of the header: `manual DIRECTORY` writes man pages and
//! HTML there. Fails when anything public has no description.

mod header;
mod html;
mod roff;
mod text;

use header::{Entry, Kind};
use std::fs;
use std::io;
use std::path::Path;
use std::process::exit;

/// The whole manual: what the header declares, in its order, and what goes before.
struct Manual {
    introduction: Vec<text::Part>,
    entries: Vec<Entry>,
    version: String,
}

impl Manual {
    fn read(root: &Path) -> io::Result<Manual> {
        let mut entries = Vec::new();
        for name in ["include/pktring.h", "include/pktring/inline.h"] {
            entries.extend(header::parse(&fs::read_to_string(root.join(name))?));
        }
        let cargo = fs::read_to_string(root.join("Cargo.toml"))?;
        let version = cargo
            .lines()
            .find_map(|line| line.strip_prefix("version = \""));
        let version = version.unwrap_or_default().trim_end_matches('"').to_owned();
        let introduction = fs::read_to_string(root.join("man/introduction"))?;
        Ok(Manual {
            introduction: text::parts(&introduction),
            entries,
            version,
        })
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.kind == kind)
    }

    /// What has no description, or not all of it, and what is spoken of but is not there.
    fn gaps(&self) -> Vec<String> {
        let mut gaps: Vec<String> = self.entries.iter().flat_map(Entry::gaps).collect();
        for entry in &self.entries {
            for name in text::calls(&entry.text()) {
                if !self.entries.iter().any(|other| other.name == name) {
                    gaps.push(format!("{}: there is no {}()", entry.name, name));
                }
            }
        }
        gaps
    }

    fn write(&self, to: &Path) -> io::Result<()> {
        // Anew, so that no page outlives its function.
        if to.exists() {
            fs::remove_dir_all(to)?;
        }
        for part in ["man3", "man7", "html"] {
            fs::create_dir_all(to.join(part))?;
        }
        for function in self.of_kind(Kind::Function) {
            let page = to.join("man3").join(format!("{}.3", function.name));
            fs::write(page, roff::function(self, function))?;
            let page = to.join("html").join(format!("{}.html", function.name));
            fs::write(page, html::function(self, function))?;
        }
        fs::write(to.join("man7/pktring.7"), roff::overview(self))?;
        fs::write(to.join("html/index.html"), html::overview(self))
    }
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let to = match std::env::args_os().nth(1) {
        Some(to) => to,
        None => {
            eprintln!("usage: manual DIRECTORY");
            exit(2);
        }
    };
    let manual = Manual::read(root).unwrap_or_else(|error| fail(&error.to_string()));
    let gaps = manual.gaps();
    if !gaps.is_empty() {
        fail(&gaps.join("\n"));
    }
    if let Err(error) = manual.write(Path::new(&to)) {
        fail(&error.to_string());
    }
}

fn fail(why: &str) -> ! {
    eprintln!("manual: {}", why);
    exit(1);
}
