//! Circles between files: a file may not import, directly or through others, a file that imports it. A child that imports
//! from its parent makes one with a parent that imports from the child. What `mod.rs` only hands on with `pub use` is no import:
//! a folder may have a front door.

use super::imports::module_path;
use super::paths::named_paths;
use super::rules::Finding;
use super::tokens::Token;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Folders that still have circles. Each is to be emptied and then taken off this list.
pub const KNOWN: &[&str] = &[];

type Graph<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// One finding for each group of files that import one another, with the shortest way around.
pub fn circles(files: &[(&str, &[Token])]) -> Vec<Finding> {
    let graph = graph(files);
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    for file in graph.keys() {
        let around = around(&graph, file);
        if seen.contains(file) || around.is_empty() {
            continue;
        }
        seen.extend(around);
        let way = shortest(&graph, file).join(" -> ");
        findings.push(Finding {
            path: (*file).to_owned(),
            line: 1,
            text: format!("imports itself through others: {way}"),
        });
    }
    findings
}

/// Whether the circle is one of a folder on the list.
pub fn is_known(finding: &Finding) -> bool {
    KNOWN.iter().any(|folder| is_in(&finding.path, folder))
}

/// The folders on the list that have no circle any more.
pub fn stale(findings: &[Finding]) -> Vec<&'static str> {
    let has_one = |folder: &&str| findings.iter().any(|finding| is_in(&finding.path, folder));
    KNOWN.iter().copied().filter(|folder| !has_one(folder)).collect()
}

fn is_in(path: &str, folder: &str) -> bool {
    path.starts_with(folder) || path.strip_suffix(".rs").is_some_and(|stem| format!("{stem}/") == folder)
}

fn graph<'a>(files: &[(&'a str, &[Token])]) -> Graph<'a> {
    let modules: BTreeMap<Vec<String>, &str> = files
        .iter()
        .filter(|(path, _)| *path != "src/main.rs")
        .map(|(path, _)| (module_path(path), *path))
        .collect();
    let mut graph = Graph::new();
    for (path, tokens) in files {
        let named = named_paths(&without_reexports(path, tokens), &module_path(path));
        let mut imported: BTreeSet<&str> =
            named.iter().filter_map(|named| file_of(&modules, &named.segments)).collect();
        imported.remove(path);
        graph.insert(path, imported);
    }
    graph
}

fn without_reexports(path: &str, tokens: &[Token]) -> Vec<Token> {
    if !path.ends_with("/mod.rs") {
        return tokens.to_vec();
    }
    let mut kept = Vec::new();
    let mut rest = tokens;
    while let [first, others @ ..] = rest {
        let visible = match others {
            [open, ..] if open.text == "(" => {
                others.iter().position(|token| token.text == ")").map_or(0, |at| at + 1)
            }
            _ => 0,
        };
        if first.text == "pub" && others.get(visible).is_some_and(|token| token.text == "use") {
            let end = others.iter().position(|token| token.text == ";").map_or(others.len(), |at| at + 1);
            rest = &others[end..];
        } else {
            kept.push(first.clone());
            rest = others;
        }
    }
    kept
}

/// The file of the innermost module on a path.
fn file_of<'a>(modules: &BTreeMap<Vec<String>, &'a str>, segments: &[String]) -> Option<&'a str> {
    let inner = (1..=segments.len()).rev().find(|length| modules.contains_key(&segments[..*length]))?;
    modules.get(&segments[..inner]).copied()
}

fn reached<'a>(graph: &Graph<'a>, from: &'a str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = vec![from];
    while let Some(file) = open.pop() {
        open.extend(graph.get(file).into_iter().flatten().copied().filter(|next| reached.insert(*next)));
    }
    reached
}

/// The files that `file` reaches and that reach it; none where it does not reach itself.
fn around<'a>(graph: &Graph<'a>, file: &'a str) -> BTreeSet<&'a str> {
    let mut around = reached(graph, file);
    around.retain(|other| reached(graph, other).contains(file));
    around
}

fn shortest<'a>(graph: &Graph<'a>, file: &'a str) -> Vec<&'a str> {
    let mut ways = VecDeque::from([vec![file]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in way.last().and_then(|last| graph.get(last)).into_iter().flatten() {
            let longer: Vec<&str> = way.iter().copied().chain([*next]).collect();
            if *next == file {
                return longer;
            }
            if seen.insert(*next) {
                ways.push_back(longer);
            }
        }
    }
    Vec::new()
}
