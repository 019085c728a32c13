//! The same pages as HTML.

use crate::header::{Entry, Kind, Member};
use crate::text::{first_sentence, Part};
use crate::Manual;

const STYLE: &str = "body{max-width:48rem;margin:2rem auto;padding:0 1rem;font-family:sans-serif;\
line-height:1.5;color:#222;background:#fff}code,pre{font-family:monospace}pre{background:#f4f4f4;\
padding:.8rem;overflow-x:auto}dt{font-family:monospace;font-weight:bold;margin-top:.6rem}\
h2{border-bottom:1px solid #ccc}a{color:#05a}";

/// The page of one function.
pub fn function(manual: &Manual, entry: &Entry) -> String {
    let mut body = format!("<h1>{}</h1>\n", entry.name);
    body += &format!(
        "<pre>#include &lt;pktring.h&gt;\n\n{}</pre>\n",
        marked(manual, &entry.declaration)
    );
    body += &parts(manual, &entry.description);
    if !entry.members.is_empty() {
        body += &format!("<h2>Parameters</h2>\n{}", members(manual, &entry.members));
    }
    if !entry.result.is_empty() {
        body += &format!("<h2>Return value</h2>\n{}", parts(manual, &entry.result));
    }
    if !entry.notes.is_empty() {
        body += &format!("<h2>Notes</h2>\n{}", parts(manual, &entry.notes));
    }
    body += "<p><a href=\"index.html\">All of the manual</a></p>\n";
    page(manual, &entry.name, &body)
}

/// What pktring(7) says.
pub fn overview(manual: &Manual) -> String {
    let mut body = String::from("<h1>pktring</h1>\n");
    body += &parts(manual, &manual.introduction);
    body += "<h2>Functions</h2>\n<dl>\n";
    for function in manual.of_kind(Kind::Function) {
        let what = marked(manual, &first_sentence(&function.description));
        body += &format!(
            "<dt><a href=\"{0}.html\">{0}</a></dt><dd>{1}</dd>\n",
            function.name, what
        );
    }
    body += "</dl>\n<h2>Structures</h2>\n";
    for entry in manual.of_kind(Kind::Struct) {
        body += &format!("<h3 id=\"{0}\">struct {0}</h3>\n", entry.name);
        body += &parts(manual, &entry.description);
        body += &format!("<pre>{}</pre>\n", escape(&entry.declaration));
        body += &members(manual, &entry.members);
    }
    body += "<h2>Types, constants and macros</h2>\n<dl>\n";
    for kind in [Kind::Type, Kind::Constant] {
        for entry in manual.of_kind(kind) {
            let shown = entry.declaration.trim_start_matches("#define ");
            let said = parts(manual, &entry.description);
            body += &format!(
                "<dt id=\"{}\">{}</dt><dd>{}</dd>\n",
                entry.name,
                escape(shown),
                said
            );
        }
    }
    body += "</dl>\n";
    page(manual, "pktring", &body)
}

fn page(manual: &Manual, title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\n\
         <title>{} - pktring {}</title>\n<style>{}</style></head>\n<body>\n{}</body>\n</html>\n",
        title, manual.version, STYLE, body
    )
}

fn parts(manual: &Manual, parts: &[Part]) -> String {
    let mut out = String::new();
    for part in parts {
        out += &match part {
            Part::Paragraph(text) => format!("<p>{}</p>\n", marked(manual, text)),
            Part::Item(about, text) if about.is_empty() => {
                format!("<ul><li>{}</li></ul>\n", marked(manual, text))
            }
            Part::Item(about, text) => {
                let text = marked(manual, text);
                format!("<dl><dt>{}</dt><dd>{}</dd></dl>\n", escape(about), text)
            }
            Part::Code(code) => format!("<pre>{}</pre>\n", marked(manual, code)),
            Part::Heading(text) => format!("<h2>{}</h2>\n", escape(text)),
        };
    }
    out
}

fn members(manual: &Manual, members: &[Member]) -> String {
    let mut out = String::from("<dl>\n");
    for member in members {
        let said = parts(manual, &member.description);
        out += &format!("<dt>{}</dt><dd>{}</dd>\n", escape(&member.name), said);
    }
    out + "</dl>\n"
}

/// Escaped text in which names of functions, structs and constants are links.
fn marked(manual: &Manual, text: &str) -> String {
    let mut out = String::new();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        out += &link(manual, word);
        let end = after.find(is_word).unwrap_or(after.len());
        let (between, after) = after.split_at(end);
        out += &escape(between).replace('`', "");
        rest = after;
    }
    out
}

fn link(manual: &Manual, word: &str) -> String {
    match manual.entries.iter().find(|entry| entry.name == word) {
        Some(entry) if entry.kind == Kind::Function => {
            format!("<a href=\"{0}.html\"><code>{0}</code></a>", word)
        }
        Some(_) => format!("<a href=\"index.html#{0}\"><code>{0}</code></a>", word),
        None => word.to_owned(),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
