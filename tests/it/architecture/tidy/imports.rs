//! Which top-level modules a source file names.

use super::tokens::{Token, is};

/// A path that leaves the file's module: the top-level module that it enters, and the line.
#[derive(Debug, PartialEq, Eq)]
pub struct Import {
    pub module: String,
    pub line: usize,
}

/// The path of the module that a file holds: `src/rbac/scope.rs` is `["rbac", "scope"]`, `src/main.rs` is `[]`.
pub fn module_path(file: &str) -> Vec<String> {
    let path = file.strip_prefix("src/").unwrap_or(file).trim_end_matches(".rs");
    let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| last == "mod") || path == "main" || path == "lib" {
        parts.pop();
    }
    parts
}

/// Every import of the tokens, which belong to the module `path`: through `crate::`, through the name of the
/// library, or through enough `super::`.
pub fn imports(tokens: &[Token], path: &[String]) -> Vec<Import> {
    let mut found = Vec::new();
    let mut inline = InlineModules::default();
    for (at, token) in tokens.iter().enumerate() {
        inline.see(tokens, at);
        let rest = &tokens[at + 1..];
        let inside_path = at > 0 && tokens[at - 1].text == "::";
        match token.text.as_str() {
            "crate" if is(rest, &["::"]) => found.extend(heads(&rest[1..])),
            "crate" if is(rest, &["as"]) => found.push(import("as", token)),
            "azure_backup_scim" if is(rest, &["::"]) => found.extend(heads(&rest[1..])),
            "super" if !inside_path => found.extend(above(&tokens[at..], path.len() + inline.depth())),
            _ => {}
        }
    }
    found
}

/// What a chain of `super::` names, if it climbs to the root from a module of that depth.
fn above(tokens: &[Token], depth: usize) -> Vec<Import> {
    let mut rest = tokens;
    let mut climbed = 0;
    while is(rest, &["super", "::"]) {
        climbed += 1;
        rest = &rest[2..];
    }
    if climbed > 0 && climbed >= depth { heads(rest) } else { Vec::new() }
}

/// The first segments of a path or of a group of paths.
fn heads(tokens: &[Token]) -> Vec<Import> {
    let Some(first) = tokens.first() else { return Vec::new() };
    if first.text != "{" {
        return vec![import(&first.text, first)];
    }
    let mut found = Vec::new();
    let mut depth = 0;
    let mut expecting = false;
    for token in tokens {
        match token.text.as_str() {
            "{" => {
                depth += 1;
                expecting = depth == 1;
            }
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," => expecting = depth == 1,
            text if expecting => {
                found.push(import(text, token));
                expecting = false;
            }
            _ => {}
        }
    }
    found
}

fn import(module: &str, token: &Token) -> Import {
    Import { module: module.to_owned(), line: token.line }
}

/// The `mod name { … }` around the present token; each takes one more `super` to leave.
#[derive(Default)]
pub struct InlineModules {
    braces: usize,
    /// The number of braces that were open before each module's own.
    opened: Vec<usize>,
}

impl InlineModules {
    pub fn depth(&self) -> usize {
        self.opened.len()
    }

    pub fn see(&mut self, tokens: &[Token], at: usize) {
        match tokens[at].text.as_str() {
            "{" => {
                if at >= 2 && tokens[at - 2].text == "mod" {
                    self.opened.push(self.braces);
                }
                self.braces += 1;
            }
            "}" => {
                self.braces = self.braces.saturating_sub(1);
                self.opened.pop_if(|before| *before == self.braces);
            }
            _ => {}
        }
    }
}
