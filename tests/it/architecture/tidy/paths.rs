//! The paths that a source file names, written out from the root of the library.

use super::imports::InlineModules;
use super::tokens::{Token, is};

/// A path without `crate`, `self` and `super`, and where it is named. An empty one is the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPath {
    pub segments: Vec<String>,
    pub line: usize,
}

/// Stands for a module inside the file, so that `super` leaves that one first.
const INLINE: &str = "{}";

/// Every path of the tokens, which belong to the module `module`: through `crate::`, `super::`, `self::`, the name of the
/// library, the name of a module that is declared here, or a name that a `use` brings in.
pub fn named_paths(tokens: &[Token], module: &[String]) -> Vec<NamedPath> {
    let mut known = declared(tokens, module);
    let mut found = Vec::new();
    let mut inline = InlineModules::default();
    let mut read_to = 0;
    for (at, token) in tokens.iter().enumerate() {
        inline.see(tokens, at);
        let before = at.checked_sub(1).map_or("", |before| tokens[before].text.as_str());
        if at < read_to || ["::", ".", "in"].contains(&before) || !is(&tokens[at + 1..], &["::"]) {
            continue;
        }
        let mut here = module.to_vec();
        here.extend((0..inline.depth()).map(|_| INLINE.to_owned()));
        let Some(start) = start(&token.text, &here, &known) else { continue };
        let mut leaves = Vec::new();
        read_to = at + 2 + leaves_of(&tokens[at + 2..], start, &mut leaves);
        if in_use(tokens, at) {
            known.extend(leaves.iter().map(|leaf| (leaf.name.clone(), leaf.path.segments.clone())));
        }
        found.extend(leaves.into_iter().map(|leaf| leaf.path));
    }
    found
}

/// A name and the path that it stands for.
type Known = Vec<(String, Vec<String>)>;

fn declared(tokens: &[Token], module: &[String]) -> Known {
    let names = (0..tokens.len()).filter(|at| tokens[*at].text == "mod" && is(&tokens[at + 2..], &[";"]));
    names
        .map(|at| {
            let name = &tokens[at + 1].text;
            (name.clone(), module.iter().chain([name]).cloned().collect())
        })
        .collect()
}

/// Where a path begins that has this word first.
fn start(word: &str, here: &[String], known: &Known) -> Option<Vec<String>> {
    match word {
        "crate" | "azure_backup_scim" => Some(Vec::new()),
        "self" => Some(here.to_vec()),
        "super" => Some(here[..here.len().saturating_sub(1)].to_vec()),
        _ => known.iter().rev().find(|(name, _)| name == word).map(|(_, path)| path.clone()),
    }
}

fn in_use(tokens: &[Token], at: usize) -> bool {
    let statement = tokens[..at].iter().rev().take_while(|token| ![";", "}"].contains(&token.text.as_str()));
    statement.take(4).any(|token| token.text == "use")
}

/// The end of one path and the name under which it is known from there on.
struct Leaf {
    name: String,
    path: NamedPath,
}

/// Follows a path or a group of paths from `start` on; how many tokens that took.
fn leaves_of(tokens: &[Token], start: Vec<String>, leaves: &mut Vec<Leaf>) -> usize {
    let mut segments = start;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "{" => return at + group(&tokens[at..], &segments, leaves),
            "super" => drop(segments.pop()),
            "self" => {}
            word => segments.push(word.to_owned()),
        }
        at += 1;
        if !is(&tokens[at..], &["::"]) {
            break;
        }
        at += 1;
    }
    let mut name = segments.last().cloned().unwrap_or_default();
    if is(&tokens[at..], &["as"]) {
        name = tokens.get(at + 1).map(|token| token.text.clone()).unwrap_or_default();
        at += 2;
    }
    let line = tokens.get(at.saturating_sub(1)).map_or(0, |token| token.line);
    leaves.push(Leaf { name, path: NamedPath { segments, line } });
    at
}

/// The paths between braces, each from `start` on.
fn group(tokens: &[Token], start: &[String], leaves: &mut Vec<Leaf>) -> usize {
    let mut at = 1;
    while let Some(token) = tokens.get(at) {
        at += match token.text.as_str() {
            "}" => return at + 1,
            "," => 1,
            _ => leaves_of(&tokens[at..], start.to_vec(), leaves).max(1),
        };
    }
    at
}
