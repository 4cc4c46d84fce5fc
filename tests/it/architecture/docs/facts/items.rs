//! Functions, types, cases of enums and fields of a source file, as far as rustfmt lays them out: what ends an item is a
//! brace in the column in which it begins.

use std::collections::BTreeSet;

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Function,
    Struct,
    Enum,
    Case,
    Field,
}

/// One item, with the comments and attributes above it.
#[derive(Debug, Clone)]
pub struct Item {
    pub kind: Kind,
    pub name: String,
    /// Of a case and of a field, its type; else empty.
    pub parent: String,
    pub line: usize,
    pub is_public: bool,
    /// Not inside of another item.
    pub is_free: bool,
    /// Run by the test harness, by itself or by a macro that lists it.
    pub is_test: bool,
    /// The comments and attributes above.
    pub above: String,
    /// From its first line to its last.
    pub body: String,
}

impl Item {
    /// The facts that it names, above or inside.
    pub fn ids(&self) -> BTreeSet<String> {
        ids(&self.above).into_iter().chain(ids(&self.body)).collect()
    }
}

/// Ids of facts in a text.
pub fn ids(text: &str) -> Vec<String> {
    let begins = text.match_indices("F-").filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_')
    });
    let id = |(at, _): (usize, &str)| {
        let digits: String = text[at + 2..].chars().take_while(char::is_ascii_alphanumeric).collect();
        let is_id = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_id.then(|| format!("F-{digits}"))
    };
    begins.filter_map(id).collect()
}

/// The items of a file.
pub fn items(text: &str) -> Vec<Item> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for at in 0..lines.len() {
        let Some((kind, name)) = declared(lines[at]) else { continue };
        let end = end_of(&lines, at);
        let item = item(&lines, at, end, kind, name);
        let inside = match kind {
            Kind::Enum => members(&lines, at, end, Kind::Case, name),
            Kind::Struct => members(&lines, at, end, Kind::Field, name),
            _ => Vec::new(),
        };
        found.push(item);
        found.extend(inside);
    }
    found
}

fn item(lines: &[&str], at: usize, end: usize, kind: Kind, name: &str) -> Item {
    let first = above(lines, at);
    let above = lines[first..at].join("\n");
    let is_test = above.lines().any(|line| {
        let line = line.trim();
        line.starts_with("#[") && (line.contains("test]") || line.contains("test("))
    });
    let is_listed = lines.iter().any(|line| line.trim() == name);
    Item {
        kind,
        name: name.to_owned(),
        parent: String::new(),
        line: at + 1,
        is_public: lines[at].trim_start().starts_with("pub"),
        is_free: !lines[at].starts_with(' '),
        is_test: kind == Kind::Function && (is_test || is_listed),
        above,
        body: lines[at..=end].join("\n"),
    }
}

/// What a line declares, whatever its visibility.
fn declared(line: &str) -> Option<(Kind, &str)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = words.iter().position(|word| ["fn", "struct", "enum"].contains(word))?;
    let qualifies = |word: &&str| {
        ["pub", "const", "async"].contains(word)
            || (word.starts_with("pub(") || *word == "in" || word.ends_with(')'))
    };
    let kind = match words[at] {
        "fn" => Kind::Function,
        "struct" => Kind::Struct,
        _ => Kind::Enum,
    };
    let name = words.get(at + 1)?;
    let length = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
    words[..at].iter().all(qualifies).then_some((kind, &name[..length]))
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The last line of the item that begins here.
fn end_of(lines: &[&str], at: usize) -> usize {
    let first = lines[at].trim_end();
    if first.ends_with(['}', ';', ',']) {
        return at;
    }
    let closes = |line: &str| indent(line) == indent(lines[at]) && line.trim_start().starts_with('}');
    (at + 1..lines.len()).find(|next| closes(lines[*next])).unwrap_or(at)
}

/// The first line of the comments and attributes above.
fn above(lines: &[&str], at: usize) -> usize {
    let mut first = at;
    while let Some(before) = first.checked_sub(1) {
        let line = lines[before].trim_start();
        if line == ")]" {
            first = (0..before).rev().find(|at| lines[*at].trim_start().starts_with("#[")).unwrap_or(before);
        } else if line.starts_with("//") || line.starts_with("#[") {
            first = before;
        } else {
            break;
        }
    }
    first
}

/// The cases of an enum, or the public fields of a struct.
fn members(lines: &[&str], at: usize, end: usize, kind: Kind, parent: &str) -> Vec<Item> {
    let inside = indent(lines[at]) + 4;
    let own = (at + 1..end).filter(|next| indent(lines[*next]) == inside && !lines[*next].trim().is_empty());
    let named = own.filter_map(|next| {
        let line = lines[next].trim_start();
        let line = if kind == Kind::Field { line.strip_prefix("pub ")? } else { line };
        let length = line.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(line.len());
        let begins = if kind == Kind::Case { char::is_uppercase } else { char::is_lowercase };
        let name = line.get(..length).filter(|name| name.starts_with(begins))?;
        let mut item = item(lines, next, next, kind, name);
        item.parent = parent.to_owned();
        Some(item)
    });
    named.collect()
}

#[test]
fn items_are_found_with_what_is_above_them() {
    let text = "/// F-001.\n#[error(\n    \"x\"\n)]\npub async fn a(\n    b: u8,\n) -> u8 {\n    // F-002\n    b\n}\n\n\
                enum E {\n    /// F-003.\n    A,\n    B(Inner),\n}\n\nstruct S {\n    /// F-004.\n    pub c: u8,\n    d: u8,\n}\n";
    let found: Vec<_> = items(text)
        .into_iter()
        .map(|item| (item.kind, item.name.clone(), item.ids().into_iter().collect::<Vec<_>>().join(" ")))
        .collect();
    let expected = [
        (Kind::Function, "a", "F-001 F-002"),
        (Kind::Enum, "E", "F-003"),
        (Kind::Case, "A", "F-003"),
        (Kind::Case, "B", ""),
        (Kind::Struct, "S", "F-004"),
        (Kind::Field, "c", "F-004"),
    ];
    assert_eq!(found, expected.map(|(kind, name, ids)| (kind, name.to_owned(), ids.to_owned())));
}

#[test]
fn a_test_is_one_by_its_attribute_or_by_the_list_of_a_macro() {
    let tests = |text: &str| items(text).iter().filter(|item| item.is_test).count();
    assert_eq!(tests("#[test]\nfn a() {}\n"), 1);
    assert_eq!(tests("#[actix_web::test]\nasync fn a() {}\n"), 1);
    assert_eq!(tests("#[tokio::test(flavor = \"multi_thread\")]\nasync fn a() {}\n"), 1);
    assert_eq!(tests("suite! {\n    a\n}\nasync fn a() {}\n"), 1);
    assert_eq!(tests("/// A test.\nfn a() {}\n#[cfg(test)]\nfn b() {}\n"), 0);
}
