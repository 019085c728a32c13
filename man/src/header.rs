//! The declarations of the header, each with its comment.

use crate::text::{self, Part};

/// What a declaration declares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A function, inline or not.
    Function,
    /// A struct with its fields.
    Struct,
    /// A constant or macro.
    Constant,
    /// A typedef.
    Type,
}

/// A public declaration.
#[derive(Debug)]
pub struct Entry {
    pub kind: Kind,
    pub name: String,
    /// As a program sees it, without a body.
    pub declaration: String,
    /// What comes before the tags of its comment.
    pub description: Vec<Part>,
    /// Parameters of a function or fields of a struct.
    pub members: Vec<Member>,
    /// What @return says.
    pub result: Vec<Part>,
    /// What comes behind the tags: threads, and the like.
    pub notes: Vec<Part>,
}

/// A parameter or field.
#[derive(Debug)]
pub struct Member {
    pub name: String,
    pub description: Vec<Part>,
}

impl Entry {
    /// Everything that is said of it.
    pub fn text(&self) -> String {
        format!(
            "{:?} {:?} {:?} {:?}",
            self.description, self.members, self.result, self.notes
        )
    }

    /// What is not described.
    pub fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        let mut want = |is_there: bool, what: &str| {
            if !is_there {
                gaps.push(format!("{}: {} is not described", self.name, what));
            }
        };
        want(!self.description.is_empty(), "what it is");
        for member in &self.members {
            want(!member.description.is_empty(), &member.name);
        }
        if self.kind == Kind::Function {
            for name in parameters(&self.declaration) {
                want(self.members.iter().any(|m| m.name == name), &name);
            }
            let is_void = self.declaration.starts_with("void pktring");
            want(is_void || !self.result.is_empty(), "the result");
        }
        gaps
    }
}

/// Everything public in a header.
pub fn parse(header: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut rest = header;
    while let Some(start) = rest.find("\n/**") {
        rest = &rest[start + 1..];
        let end = rest.find("*/").expect("a comment that ends");
        let comment = uncomment(&rest[..end]);
        rest = &rest[end + 2..];
        if let Some(entry) = entry(&comment, rest.trim_start()) {
            entries.push(entry);
        }
    }
    // A function without a comment has to be found as well.
    for line in header.lines().map(without_macro) {
        let called = line.split('(').next().unwrap_or_default();
        let name = called
            .rsplit([' ', '*'].as_ref())
            .next()
            .unwrap_or_default();
        let is_function = line.starts_with(|c: char| c.is_ascii_lowercase())
            && line.contains('(')
            && name.starts_with("pktring_")
            && !name.ends_with('_');
        if is_function && !entries.iter().any(|entry| entry.name == name) {
            entries.push(bare(Kind::Function, name, line));
        }
    }
    entries
}

/// A declaration without what stands before it for the compiler alone.
fn without_macro(code: &str) -> &str {
    ["PKTRING_INLINE_ ", "PKTRING_HOT_ "]
        .iter()
        .find_map(|macro_| code.strip_prefix(macro_))
        .unwrap_or(code)
}

fn bare(kind: Kind, name: &str, declaration: &str) -> Entry {
    Entry {
        kind,
        name: name.to_owned(),
        declaration: declaration.to_owned(),
        description: Vec::new(),
        members: Vec::new(),
        result: Vec::new(),
        notes: Vec::new(),
    }
}

/// The text of a comment without its stars.
fn uncomment(comment: &str) -> String {
    let line = |line: &str| {
        let line = line.trim_start().trim_start_matches("/**");
        let line = line.strip_prefix('*').unwrap_or(line);
        line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned()
    };
    comment.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// What stands behind a comment; `None` for what is not public.
fn entry(comment: &str, code: &str) -> Option<Entry> {
    let mut entry = if let Some(macro_) = code.strip_prefix("#define ") {
        let line = macro_.lines().next()?.trim_end_matches('\\').trim_end();
        let name = line.split([' ', '('].as_ref()).next()?;
        let name_end = line
            .find(')')
            .filter(|_| line[name.len()..].starts_with('('));
        let shown = name_end.map_or(line, |end| &line[..=end]);
        bare(Kind::Constant, name, &format!("#define {}", shown))
    } else if code.starts_with("typedef ") {
        let declaration = &code[..=code.find(';')?];
        let name = match declaration.split_once("(*") {
            Some((_, rest)) => rest.split(')').next()?,
            None => declaration.trim_end_matches(';').rsplit(' ').next()?,
        };
        bare(Kind::Type, name, declaration)
    } else if code.starts_with("struct ") && code.lines().next()?.ends_with('{') {
        structure(code)?
    } else {
        let code = without_macro(code);
        let declaration = code[..code.find([';', '{'].as_ref())?].trim_end();
        let called = declaration.split('(').next()?;
        let name = called.rsplit([' ', '*'].as_ref()).next()?;
        bare(Kind::Function, name, &format!("{};", one_line(declaration)))
    };
    if entry.name.ends_with('_') || !entry.name.to_lowercase().starts_with("pktring") {
        return None;
    }
    describe(&mut entry, comment);
    Some(entry)
}

/// A struct: its fields are described by comments of their own.
fn structure(code: &str) -> Option<Entry> {
    let body = &code[..code.find("\n};")?];
    let name = body["struct ".len()..].split(' ').next()?;
    let mut members = Vec::new();
    let mut declaration = format!("struct {} {{\n", name);
    let mut comment = String::new();
    let mut inside = false;
    for line in body.lines().skip(1) {
        let trimmed = line.trim();
        if trimmed.starts_with("/**") {
            inside = true;
            comment.clear();
        }
        if inside {
            comment.push_str(trimmed.trim_end_matches("*/"));
            comment.push('\n');
            inside = !trimmed.ends_with("*/");
        } else if let Some(field) = trimmed.strip_suffix(';') {
            declaration.push_str(&format!("    {};\n", field));
            let name = field
                .split('[')
                .next()?
                .rsplit([' ', '*'].as_ref())
                .next()?;
            members.push(Member {
                name: name.to_owned(),
                description: text::parts(&uncomment(&comment)),
            });
            comment.clear();
        }
    }
    declaration.push_str("};");
    let mut entry = bare(Kind::Struct, name, &declaration);
    entry.members = members;
    Some(entry)
}

/// Distributes a comment over an entry. A tag ends at an empty line, or at the next tag.
fn describe(entry: &mut Entry, comment: &str) {
    enum In {
        Description,
        Param(String),
        Return,
        Notes,
    }
    let mut sections: Vec<(In, String)> = vec![(In::Description, String::new())];
    let mut code = false;
    for line in comment.lines() {
        let trimmed = line.trim();
        code = trimmed == "@code" || code && trimmed != "@endcode";
        let tagged = matches!(sections.last(), Some((In::Param(_) | In::Return, _)));
        if let Some(param) = trimmed.strip_prefix("@param ") {
            let (name, said) = param.split_once(' ').unwrap_or((param, ""));
            sections.push((In::Param(name.to_owned()), said.trim().to_owned() + "\n"));
            continue;
        }
        if let Some(said) = trimmed.strip_prefix("@return ") {
            sections.push((In::Return, said.trim().to_owned() + "\n"));
            continue;
        }
        if tagged && trimmed.is_empty() {
            sections.push((In::Notes, String::new()));
            continue;
        }
        let text = &mut sections.last_mut().unwrap().1;
        text.push_str(if code { line } else { trimmed });
        text.push('\n');
    }
    for (place, text) in sections {
        let parts = text::parts(&text);
        match place {
            In::Description => entry.description.extend(parts),
            In::Param(name) => entry.members.push(Member {
                name,
                description: parts,
            }),
            In::Return => entry.result.extend(parts),
            In::Notes => entry.notes.extend(parts),
        }
    }
}

fn one_line(code: &str) -> String {
    let line = code.split_whitespace().collect::<Vec<_>>().join(" ");
    line.replace("( ", "(")
}

/// Names of a function's parameters.
fn parameters(declaration: &str) -> Vec<String> {
    let open = declaration.find('(').map_or(0, |at| at + 1);
    let close = declaration.rfind(')').unwrap_or(open);
    declaration[open..close]
        .split(',')
        .map(str::trim)
        .filter(|parameter| *parameter != "void" && !parameter.is_empty())
        .filter_map(|parameter| parameter.rsplit([' ', '*'].as_ref()).next())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "
/**
 * Does it.
 *
 * @param it   what to do
 *             and how
 * @return 0; -1 in vain
 *
 * From any thread.
 */
PKTRING_HOT_ int pktring_do(const struct pktring_it *it);

/**
 * What to do.
 */
struct pktring_it {
    /**
     * How.
     */
    const uint8_t *how;
    uint32_t bare[2];
};

int pktring_silent(int x);
";

    #[test]
    fn declarations_are_found_with_their_comments() {
        let entries = parse(HEADER);
        let do_it = &entries[0];
        assert_eq!(do_it.name, "pktring_do");
        assert_eq!(
            do_it.declaration,
            "int pktring_do(const struct pktring_it *it);"
        );
        assert_eq!(
            do_it.members[0].description,
            text::parts("what to do and how")
        );
        assert_eq!(do_it.notes, text::parts("From any thread."));
        assert!(do_it.gaps().is_empty());
        assert_eq!(entries[1].members[0].name, "how");
    }

    #[test]
    fn gaps_are_found() {
        let entries = parse(HEADER);
        assert_eq!(entries[1].gaps(), ["pktring_it: bare is not described"]);
        assert_eq!(entries[2].name, "pktring_silent");
        assert_eq!(entries[2].gaps().len(), 3);
    }
}
