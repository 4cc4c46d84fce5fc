//! The documents, held to the code: what they name exists, what they list is what the program has, and they read well.
//!
//! Every check of the text alone is also shown to find what it is for, in a planted document.

mod facts;
mod lists;
mod markdown;
mod settings;

use markdown::{Document, codes, heading, without_code};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A line of prose is shorter.
const WIDTH: usize = 120;
/// A front door.
const README_LINES_MAX: usize = 130;
/// What a visitor sees without scrolling.
const FIRST_SCREEN_LINES: usize = 20;
/// A sentence of so many characters is not written twice by chance.
const SENTENCE_CHARS_MIN: usize = 60;
/// Of them, so many are prose: names of tests after a label are no sentence.
const PROSE_CHARS_MIN: usize = 20;
/// Where files are that documents name.
const FOLDERS: [&str; 9] = ["src", "tests", "infra", "docs", "examples", "benches", "fuzz", ".ci", ".github"];
/// What documents avoid. A person or a program has a name, and a subject does its verb.
const AVOIDED: [&str; 10] = [
    "nobody",
    "somebody",
    "whoever",
    "is told",
    "are told",
    "looks at",
    "looked at",
    "stands",
    "on top of",
    "for ever",
];
/// What can be added by a recipe.
const RECIPES: [&str; 10] = [
    "a SCIM attribute",
    "a backup role",
    "a kind of audit record",
    "a reason code",
    "a log event or an alert",
    "a setting",
    "an endpoint",
    "a command or a flag",
    "a behaviour of Azure to the simulator",
    "a test",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// One document, by its path.
#[track_caller]
fn document(path: &str) -> Document {
    Document::new(path, &read(path))
}

#[track_caller]
fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file with this ending, those of builds left out.
fn files(ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect(&root(), &root(), ending, &mut found);
    found.sort();
    found
}

fn collect(root: &Path, folder: &Path, ending: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
            collect(root, &path, ending, found);
        } else if name.ends_with(ending) {
            found.push(path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/"));
        }
    }
}

fn documents() -> Vec<Document> {
    files(".md").iter().map(|path| document(path)).collect()
}

/// What a reader of the product reads: not the notes beside tests.
fn product_documents() -> Vec<Document> {
    documents().into_iter().filter(|document| !document.path.starts_with("tests/")).collect()
}

#[track_caller]
fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[track_caller]
fn assert_one(findings: &[String], expected: &str) {
    assert_eq!(findings, [expected]);
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_of_it() {
    let documents = documents();
    assert!(documents.len() > 10, "the documents were found");
    assert_none(&broken_links(&documents, &|path| root().join(path).exists()));
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let find = |link: &str| {
        let other = Document::new("docs/b.md", "# B\n## There\n");
        let this = Document::new("docs/a.md", &format!("# A\n[x]({link})\n"));
        broken_links(&[this, other], &|path| ["docs/a.md", "docs/b.md", "LICENSE"].contains(&path))
    };
    for link in ["b.md", "b.md#there", "#a", "../LICENSE", "https://contoso.example/x.md"] {
        assert_none(&find(link));
    }
    assert_one(&find("c.md"), "docs/a.md:2: there is no docs/c.md");
    assert_one(&find("../b.md"), "docs/a.md:2: there is no b.md");
    assert_one(&find("b.md#here"), "docs/a.md:2: docs/b.md has no heading #here");
    assert_one(&find("#b"), "docs/a.md:2: docs/a.md has no heading #b");
}

fn broken_links(documents: &[Document], exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let anchors: BTreeMap<&str, Vec<String>> =
        documents.iter().map(|document| (document.path.as_str(), document.anchors())).collect();
    let mut findings = Vec::new();
    for document in documents {
        for (line, link) in document.links().into_iter().filter(|(_, link)| !link.contains("://")) {
            let (file, anchor) =
                link.split_once('#').map_or((link.as_str(), None), |(file, to)| (file, Some(to)));
            let target = if file.is_empty() { document.path.clone() } else { resolved(&document.path, file) };
            let has = |anchor: &str| {
                anchors.get(target.as_str()).is_some_and(|all| all.iter().any(|a| a == anchor))
            };
            if !exists(&target) {
                findings.push(format!("{}:{line}: there is no {target}", document.path));
            } else if let Some(anchor) = anchor.filter(|anchor| !has(anchor)) {
                findings.push(format!("{}:{line}: {target} has no heading #{anchor}", document.path));
            }
        }
    }
    findings
}

/// A relative path, from the folder of the file that names it.
fn resolved(from: &str, to: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in to.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn a_line_of_prose_fits_a_window() {
    assert_none(&product_documents().iter().flat_map(too_wide).collect::<Vec<_>>());
    let long = "x".repeat(WIDTH);
    assert_none(&too_wide(&Document::new("a.md", &format!("| {long} |\n{}\n", "ä".repeat(WIDTH - 1)))));
    assert_one(&too_wide(&Document::new("a.md", &format!("\n{long}\n"))), "a.md:2: has 120 characters");
    let output = format!("```\n{long}\n```\n{long}\n");
    assert_one(&too_wide(&Document::new("a.md", &output)), "a.md:4: has 120 characters");
}

/// A table has no other way to write a row, and what a command printed stays as it is.
fn too_wide(document: &Document) -> Vec<String> {
    let mut is_output = false;
    let lines = document.text.lines().enumerate().filter(|(_, line)| {
        is_output ^= line.starts_with("```");
        !is_output && !line.starts_with('|')
    });
    let wide = lines.filter(|(_, line)| line.chars().count() >= WIDTH);
    wide.map(|(at, line)| format!("{}:{}: has {} characters", document.path, at + 1, line.chars().count()))
        .collect()
}

#[test]
fn the_readme_is_a_front_door() {
    let readme = document("README.md");
    let lines: Vec<&str> = readme.text.lines().collect();
    assert!(lines.len() <= README_LINES_MAX, "README.md has {} lines", lines.len());
    let first_screen = lines[..FIRST_SCREEN_LINES].join(" ");
    assert!(
        first_screen.contains("docs/azure-facts.md"),
        "the first screen says what was never tried: {first_screen}"
    );
    let linked: BTreeSet<String> = readme.links().into_iter().map(|(_, link)| link).collect();
    for path in files(".md").iter().filter(|path| path.starts_with("docs/") && path.matches('/').count() == 1)
    {
        assert!(linked.contains(path), "README.md leads to {path}");
    }
}

#[test]
fn files_that_documents_name_exist() {
    let exists = |path: &str| root().join(path).exists();
    let findings: Vec<_> =
        product_documents().iter().flat_map(|document| missing_files(document, &exists)).collect();
    assert_none(&findings);
    let planted = Document::new("a.md", "`src/a.rs` and `infra/b.sh --flag`, not `target/c` nor `srcs/d`\n");
    assert_none(&missing_files(&planted, &|_| true));
    let missing = missing_files(&planted, &|path| path == "src/a.rs");
    assert_one(&missing, "a.md:1: there is no infra/b.sh");
}

fn missing_files(document: &Document, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let named = document
        .lines()
        .into_iter()
        .flat_map(|(at, line)| codes(line).into_iter().map(move |code| (at, code)));
    let paths = named.filter_map(|(at, code)| {
        let path = code.split(' ').next()?.to_owned();
        let inside = path.split_once('/').is_some_and(|(folder, _)| FOLDERS.contains(&folder));
        inside.then_some((at, path))
    });
    paths
        .filter(|(_, path)| !exists(path))
        .map(|(at, path)| format!("{}:{at}: there is no {path}", document.path))
        .collect()
}

#[test]
fn nothing_is_written_twice() {
    assert_none(&written_twice(&product_documents()));
    let sentence = "A sentence that is long enough not to be the same as another by chance.";
    let once = Document::new("a.md", &format!("# A\nFirst. {sentence}\n"));
    let again = Document::new("b.md", &format!("- {}\n", sentence.replace("long enough", "long\n  enough")));
    assert_none(&written_twice(std::slice::from_ref(&once)));
    assert_eq!(written_twice(&[once, again]), [format!("a.md and b.md: {}", sentence.trim_end_matches('.'))]);
    let named = format!("- Noticed by: `{}`\n", "a".repeat(SENTENCE_CHARS_MIN));
    assert_none(&written_twice(&[Document::new("a.md", &named.repeat(2))]));
}

fn written_twice(documents: &[Document]) -> Vec<String> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let mut findings = Vec::new();
    for document in documents {
        for sentence in sentences(document) {
            if let Some(first) = seen.insert(sentence.clone(), &document.path) {
                findings.push(format!("{first} and {}: {sentence}", document.path));
            }
        }
    }
    findings
}

/// The long sentences of a document, of its paragraphs, items and cells.
fn sentences(document: &Document) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for (_, line) in document.lines() {
        let begins = line.trim_start().starts_with("- ") || line.starts_with('|') || heading(line).is_some();
        if line.trim().is_empty() || begins {
            blocks.push(String::new());
        }
        let text = line.trim().trim_start_matches("- ");
        blocks.last_mut().unwrap().push_str(&format!("{} ", text.replace('|', ". ")));
    }
    let each = blocks
        .iter()
        .flat_map(|block| block.split(". "))
        .map(|sentence| sentence.trim().trim_end_matches('.'));
    let is_long = |sentence: &&str| {
        sentence.chars().count() >= SENTENCE_CHARS_MIN
            && without_code(sentence).chars().count() >= PROSE_CHARS_MIN
    };
    each.filter(is_long).map(str::to_owned).collect()
}

#[test]
fn documents_are_written_plainly() {
    assert_none(&product_documents().iter().flat_map(avoided).collect::<Vec<_>>());
    assert_one(&avoided(&Document::new("a.md", "x\nNobody knows.\n")), "a.md:2: avoid \"nobody\"");
    assert_one(&avoided(&Document::new("a.md", "kept for ever\n")), "a.md:1: avoid \"for ever\"");
    assert_none(&avoided(&Document::new("a.md", "one for every standstill\n")));
    assert_none(&avoided(&Document::new("a.md", "`a_test_that_nobody_renames`\n")));
}

fn avoided(document: &Document) -> Vec<String> {
    let words = |line: &str| {
        let lower = without_code(line).to_lowercase();
        format!(" {} ", lower.split(|c: char| !c.is_alphanumeric()).collect::<Vec<_>>().join(" "))
    };
    let found =
        |line: &str| AVOIDED.into_iter().find(|avoided| words(line).contains(&format!(" {avoided} ")));
    let lines = document.lines().into_iter().filter_map(|(at, line)| Some((at, found(line)?)));
    lines.map(|(at, word)| format!("{}:{at}: avoid {word:?}", document.path)).collect()
}

#[test]
fn every_recipe_names_files_and_what_checks_it() {
    let sources: String = files(".rs").iter().map(|path| read(path)).collect();
    let guide = document("CONTRIBUTING.md");
    for recipe in RECIPES {
        let recipe = guide.section(&format!("To add {recipe}"));
        assert!(recipe.text.contains("1. "), "{}", recipe.text);
        let (steps, checks) = recipe.text.split_once("Checked by:").expect("a recipe says what checks it");
        let named = codes(&steps.replace('\n', " "));
        assert!(named.iter().any(|code| root().join(code).is_file()), "a recipe names files: {steps}");
        for test in codes(&checks.replace('\n', " ")).iter().filter(|code| !code.contains(['/', '.'])) {
            assert!(sources.contains(&format!("fn {test}(")), "there is no test {test}");
        }
    }
}

/// A file that no other names is not compiled, and its tests are silently left out.
#[test]
fn every_test_file_is_part_of_the_test_binary() {
    let paths: Vec<String> = files(".rs").into_iter().filter(|path| path.starts_with("tests/it/")).collect();
    let sources: String = paths.iter().map(|path| read(path)).collect();
    for path in paths.iter().filter(|path| *path != "tests/it/main.rs") {
        let name = path.trim_end_matches("/mod.rs").trim_end_matches(".rs").rsplit('/').next().unwrap();
        let declared = sources.lines().any(|line| declared_module(line) == Some(name));
        assert!(declared, "{path} is not part of the test binary");
    }
}

/// The module that a line declares as a file of its own, whatever its visibility.
fn declared_module(line: &str) -> Option<&str> {
    let (before, name) = line.trim().strip_suffix(';')?.rsplit_once("mod ")?;
    ["", "pub ", "pub(crate) ", "pub(super) "].contains(&before).then_some(name)
}

#[test]
fn a_declared_module_is_found_whatever_its_visibility() {
    for line in ["mod a;", "pub mod a;", "    pub(crate) mod a;", "pub(super) mod a;"] {
        assert_eq!(declared_module(line), Some("a"), "{line}");
    }
    for line in ["// mod a;", "mod a {", "use mod_a;", "//! mod a;"] {
        assert_eq!(declared_module(line), None, "{line}");
    }
}
