//! Man pages.

use crate::header::{Entry, Kind, Member};
use crate::text::{first_sentence, names, Part};
use crate::Manual;
use std::collections::BTreeSet;

/// The page of one function.
pub fn function(manual: &Manual, entry: &Entry) -> String {
    let mut page = head(
        manual,
        &entry.name,
        "3",
        &first_sentence(&entry.description),
    );
    page.push_str(".SH LIBRARY\nPacket rings of Linux (libpktring, \\-lpktring)\n");
    page.push_str(".SH SYNOPSIS\n.nf\n.B #include <pktring.h>\n.PP\n");
    page.push_str(&format!(".B {}\n.fi\n", escape(&entry.declaration)));
    section(&mut page, "DESCRIPTION", &entry.description);
    if !entry.members.is_empty() {
        page.push_str(".SH PARAMETERS\n");
        members(&mut page, &entry.members);
    }
    section(&mut page, "RETURN VALUE", &entry.result);
    section(&mut page, "NOTES", &entry.notes);
    page.push_str(".SH SEE ALSO\n");
    for name in mentioned(manual, entry) {
        page.push_str(&format!(".BR {} (3),\n", name));
    }
    page.push_str(".BR pktring (7)\n");
    page
}

/// pktring(7).
pub fn overview(manual: &Manual) -> String {
    let what = "capture and transmit through every Linux PACKET_MMAP ring";
    let mut page = head(manual, "pktring", "7", what);
    for part in &manual.introduction {
        self::part(&mut page, part);
    }
    page.push_str(".SH FUNCTIONS\n");
    for function in manual.of_kind(Kind::Function) {
        let what = escape(&first_sentence(&function.description));
        page.push_str(&format!(".TP\n.BR {} (3)\n{}\n", function.name, what));
    }
    page.push_str(".SH STRUCTURES\n");
    for structure in manual.of_kind(Kind::Struct) {
        page.push_str(&format!(".SS struct {}\n", structure.name));
        parts(&mut page, &structure.description);
        page.push_str(".PP\n.EX\n");
        page.push_str(&verbatim(&structure.declaration));
        page.push_str(".EE\n");
        members(&mut page, &structure.members);
    }
    page.push_str(".SH TYPES\n");
    for entry in manual.of_kind(Kind::Type) {
        page.push_str(&format!(".TP\n.B {}\n", escape(&entry.declaration)));
        flow(&mut page, &entry.description);
    }
    page.push_str(".SH CONSTANTS AND MACROS\n");
    for entry in manual.of_kind(Kind::Constant) {
        let shown = entry.declaration.trim_start_matches("#define ");
        page.push_str(&format!(".TP\n.B {}\n", escape(shown)));
        flow(&mut page, &entry.description);
    }
    page.push_str(".SH SEE ALSO\n.BR packet (7),\n.BR pcap (3pcap)\n");
    page
}

fn head(manual: &Manual, name: &str, section: &str, what: &str) -> String {
    format!(
        ".\\\" Made from the comments of pktring.h.\n.TH {} {} \"\" \"pktring {}\" \"libpktring\"\n\
         .\\\" Names that are parted at the end of a line are found by nobody.\n.nr HY 0\n.nh\n.ad l\n\
         .SH NAME\n{} \\- {}\n",
        name.to_uppercase(),
        section,
        manual.version,
        name,
        escape(what)
    )
}

fn section(page: &mut String, name: &str, content: &[Part]) {
    if !content.is_empty() {
        page.push_str(&format!(".SH {}\n", name));
        parts(page, content);
    }
}

fn parts(page: &mut String, parts: &[Part]) {
    for part in parts {
        self::part(page, part);
    }
}

fn part(page: &mut String, part: &Part) {
    match part {
        Part::Paragraph(text) => page.push_str(&format!(".PP\n{}\n", escape(text))),
        Part::Item(about, text) if about.is_empty() => {
            page.push_str(&format!(".IP \\(bu 2\n{}\n", escape(text)));
        }
        Part::Item(about, text) => {
            page.push_str(&format!(".TP\n.B {}\n{}\n", escape(about), escape(text)));
        }
        Part::Code(code) => {
            page.push_str(&format!(".PP\n.EX\n{}.EE\n", verbatim(code)));
        }
        Part::Heading(text) => page.push_str(&format!(".SH {}\n", escape(&text.to_uppercase()))),
    }
}

/// Parts behind a tag, indented with it.
fn flow(page: &mut String, parts: &[Part]) {
    for (number, part) in parts.iter().enumerate() {
        match part {
            Part::Paragraph(text) if number == 0 => page.push_str(&format!("{}\n", escape(text))),
            Part::Paragraph(text) => page.push_str(&format!(".IP\n{}\n", escape(text))),
            other => {
                page.push_str(".RS\n");
                self::part(page, other);
                page.push_str(".RE\n");
            }
        }
    }
}

fn members(page: &mut String, members: &[Member]) {
    for member in members {
        page.push_str(&format!(".TP\n.I {}\n", escape(&member.name)));
        flow(page, &member.description);
    }
}

fn verbatim(code: &str) -> String {
    code.lines().map(|line| escape(line) + "\n").collect()
}

/// Functions that an entry speaks of, without itself.
fn mentioned(manual: &Manual, entry: &Entry) -> BTreeSet<String> {
    let is_other = |name: &String| {
        *name != entry.name && manual.of_kind(Kind::Function).any(|f| f.name == *name)
    };
    names(&entry.text()).into_iter().filter(is_other).collect()
}

/// Text in which nothing is a request or an escape of roff.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let text = text.replace('`', "");
    if text.starts_with(['.', '\''].as_ref()) {
        format!("\\&{}", text)
    } else {
        text
    }
}
