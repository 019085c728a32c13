//! The text of comments, cut into parts.

/// One part of a description.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Lines that flow together.
    Paragraph(String),
    /// A line of a list: what it is about, which may be empty, and what is said of it.
    Item(String, String),
    /// Lines that stay as they are.
    Code(String),
    /// A heading, in the introduction.
    Heading(String),
}

/// Cuts a text into its parts.
pub fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut lines = text.lines().peekable();
    let mut open = false;
    while let Some(line) = lines.next() {
        let trimmed = line.trim();
        if trimmed.is_empty() {
            open = false;
        } else if trimmed == "@code" {
            let code: Vec<&str> = lines
                .by_ref()
                .take_while(|l| l.trim() != "@endcode")
                .collect();
            parts.push(Part::Code(code.join("\n")));
            open = false;
        } else if let Some(heading) = trimmed.strip_prefix("# ") {
            parts.push(Part::Heading(heading.to_owned()));
            open = false;
        } else if let Some(item) = trimmed.strip_prefix("- ") {
            parts.push(item_of(item));
            open = true;
        } else {
            match parts.last_mut() {
                Some(Part::Paragraph(text)) | Some(Part::Item(_, text)) if open => {
                    text.push(' ');
                    text.push_str(trimmed);
                }
                _ => parts.push(Part::Paragraph(trimmed.to_owned())),
            }
            open = true;
        }
    }
    parts
}

/// `-EBUSY     the ring is full` has a word that it is about; two spaces set it off.
fn item_of(item: &str) -> Part {
    match item.split_once("  ") {
        Some((about, said)) => Part::Item(about.to_owned(), said.trim().to_owned()),
        None => Part::Item(String::new(), item.to_owned()),
    }
}

/// The first sentence, without its full stop.
pub fn first_sentence(parts: &[Part]) -> String {
    let text = match parts.first() {
        Some(Part::Paragraph(text)) => text,
        _ => return String::new(),
    };
    let end = text.find(". ").unwrap_or(text.len());
    text[..end].trim_end_matches('.').to_owned()
}

/// Names of this library that a text mentions.
pub fn names(text: &str) -> Vec<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c: char| !word(c))
        .filter(|name| name.starts_with("pktring_"))
        .map(str::to_owned)
        .collect()
}

/// Functions of this library that a text mentions, each with its parentheses.
pub fn calls(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for before in text.split("()") {
        if let Some(name) = names(before).pop() {
            if before.ends_with(&name) {
                found.push(name);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_into_paragraphs_lists_and_code() {
        let text = "One\ntwo.\n\n- -EBUSY   busy\n  still\n- plain\n@code\n  a;\n@endcode\nThree";
        let item = |a: &str, b: &str| Part::Item(a.to_owned(), b.to_owned());
        let expected = [
            Part::Paragraph("One two.".to_owned()),
            item("-EBUSY", "busy still"),
            item("", "plain"),
            Part::Code("  a;".to_owned()),
            Part::Paragraph("Three".to_owned()),
        ];
        assert_eq!(parts(text), expected);
        assert_eq!(first_sentence(&expected), "One two");
    }

    #[test]
    fn mentioned_functions_are_found() {
        assert_eq!(
            calls("see pktring_a() and pktring_b, pktring_c()."),
            ["pktring_a", "pktring_c"]
        );
        assert_eq!(calls("pktring_a other()"), Vec::<String>::new());
    }
}
