//! Only `store` knows row keys: outside of it no file names them, builds a write or a range of keys, or writes a prefix.
//! Adapters, engine and ports work with rows by nature.

use super::imports::module_path;
use super::paths::named_paths;
use super::rules::Finding;
use super::tokens::Token;

const EXEMPT: [&str; 4] = ["store", "adapters", "engine", "ports"];
/// What is built of keys.
const KEYED: [&str; 3] = ["TableWrite", "EtagMatch", "KeyRange"];

/// What a file says that only `store` may.
pub fn row_keys(path: &str, tokens: &[Token]) -> Vec<Finding> {
    let module = module_path(path);
    if module.first().is_some_and(|first| EXEMPT.contains(&first.as_str())) {
        return Vec::new();
    }
    let finding = |line, text: String| Finding { path: path.to_owned(), line, text };
    let named = named_paths(tokens, &module).into_iter().filter_map(|named| {
        let what = keyed(&named.segments)?;
        Some(finding(named.line, format!("only store names {what}")))
    });
    let prefixes = tokens.iter().filter(|token| is_prefix(&token.text));
    let prefixes =
        prefixes.map(|token| finding(token.line, format!("only store writes the key {}", token.text)));
    let mut findings: Vec<Finding> = named.chain(prefixes).collect();
    findings.sort_by_key(|finding| finding.line);
    findings.dedup();
    findings
}

fn keyed(segments: &[String]) -> Option<String> {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments[..] {
        ["store", "keys", ..] => Some("store::keys".to_owned()),
        ["ports", "tables", name, ..] if KEYED.contains(&name) => Some(format!("ports::tables::{name}")),
        ["store", "TableWrite", variant] => Some(format!("store::TableWrite::{variant}")),
        ["ports", "tables", "*"] => Some("ports::tables::*".to_owned()),
        _ => None,
    }
}

/// `"d:"`, `"w:{}"`, or the end of a range, `"w;"`: one or two letters and the sign that ends a prefix or comes behind it.
fn is_prefix(literal: &str) -> bool {
    let Some((_, text)) = literal.split_once('"') else { return false };
    let letters = text.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(text.len());
    (1..=2).contains(&letters)
        && text[letters..].starts_with([':', ';'])
        && !text[letters + 1..].starts_with(' ')
}
