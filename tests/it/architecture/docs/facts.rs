//! The facts about Azure, the Functions host and the identity providers, in three places that have to agree: the rows of
//! `docs/azure-facts.md`, the ids in the simulator and in the stand-in for the host, and the ids at the tests.
//!
//! An id is *F*, a dash and three digits. A behaviour of the simulator is an operation, a fault, a lock, an answer with
//! an error code, a limit, and each public function or refusal of one of its services. A rule of the stand-in is a
//! public function, a case of a public enum, and each function that answers a request by itself.

mod behaviours;
mod items;
mod page;

use super::markdown::Document;
use super::{assert_none, assert_one, document, files, read};
use behaviours::{behaviours, rules};
use items::{Item, ids, items};
use page::{Fact, facts};
use std::collections::{BTreeMap, BTreeSet};

const PAGE: &str = "docs/azure-facts.md";
const ASSUMPTION: &str = "assumption";
/// The section of assumptions.
const ASSUMPTIONS: &str = "Assumptions";
const SIMULATOR: &str = "src/simulator/";
const SCENARIOS: &str = "tests/scim-cases/";
const STAND_IN: &str = "tests/it/support/host/";
/// Sections whose facts are played by the stand-in.
const HOST_SECTIONS: &str = "The Functions host";
/// Where planted ids are written.
const PLANTED: &str = "tests/it/architecture/docs/facts";
/// What a source can be.
const SOURCES: [&str; 7] = [
    ASSUMPTION,
    "Microsoft Learn",
    "vendor's page",
    "specification",
    "published source",
    "recorded oracle",
    "real part",
];
const LABELS: [&str; 3] = ["If wrong", "Source", "Noticed by"];
const SETTLE: &str = "Settle with";

/// A file by its path, with its items.
struct SourceFile {
    path: String,
    text: String,
    items: Vec<Item>,
}

impl SourceFile {
    fn new(path: &str, text: String) -> Self {
        Self { path: path.to_owned(), items: items(&text), text }
    }
}

fn sources() -> Vec<SourceFile> {
    let paths = files(".rs").into_iter().filter(|path| !path.starts_with(PLANTED));
    paths.map(|path| SourceFile::new(&path, read(&path))).collect()
}

#[test]
fn ids_in_the_code_and_the_page_of_facts_agree() {
    let page = document(PAGE);
    assert!(facts(&page).len() > 100);
    let sources = sources();
    assert!(sources.iter().filter(|file| file.path.starts_with(SIMULATOR)).count() > 40);
    assert_none(&findings(&page, &sources));
}

fn findings(page: &Document, sources: &[SourceFile]) -> Vec<String> {
    let facts = facts(page);
    let mut findings = misnumbered(&facts);
    findings.extend(facts.iter().flat_map(ill_formed));
    findings.extend(misplaced(&facts));
    findings.extend(unlisted_pages(page, &facts));
    findings.extend(unnoticed(&facts, sources));
    findings.extend(unknown_ids(&facts, page, sources));
    findings.extend(unplayed(&facts, sources));
    findings.extend(without_fact(sources));
    findings
}

/// Ids are given once and leave no gap. They keep no order: a fact that is settled moves, and its id goes with it.
fn misnumbered(facts: &[Fact]) -> Vec<String> {
    let given: BTreeSet<&str> = facts.iter().map(|fact| fact.id.as_str()).collect();
    let expected: Vec<String> = (1..=facts.len()).map(|number| format!("F-{number:03}")).collect();
    let missing = expected.iter().filter(|id| !given.contains(id.as_str()));
    missing.map(|id| format!("{PAGE}: there is no {id}")).collect()
}

fn ill_formed(fact: &Fact) -> Vec<String> {
    let mut labels = LABELS.to_vec();
    let kind = SOURCES.into_iter().find(|kind| fact.line("Source").starts_with(kind));
    if kind == Some(ASSUMPTION) {
        labels.push(SETTLE);
    }
    let given: Vec<&str> = fact.lines.iter().map(|(label, _)| label.as_str()).collect();
    let mut findings = Vec::new();
    if kind.is_none() {
        findings.push(format!("{}: its source is none of {SOURCES:?}", fact.id));
    }
    if given != labels {
        findings.push(format!("{}: has {given:?}, not {labels:?}", fact.id));
    }
    if labels.contains(&SETTLE) && fact.commands.len() != 1 {
        findings.push(format!("{}: one command settles it, not {}", fact.id, fact.commands.len()));
    }
    findings
}

/// Assumptions come first, and nothing else is among them.
fn misplaced(facts: &[Fact]) -> Vec<String> {
    let is_assumption = |fact: &&Fact| fact.line("Source").starts_with(ASSUMPTION);
    let wrong = facts.iter().filter(|fact| is_assumption(fact) != (fact.section == ASSUMPTIONS));
    let mut findings: Vec<String> =
        wrong.map(|fact| format!("{}: is not in the section of its source", fact.id)).collect();
    if facts.first().is_none_or(|fact| fact.section != ASSUMPTIONS) {
        findings.push(format!("{PAGE}: assumptions come first"));
    }
    findings
}

/// Each page of Microsoft Learn that a fact names is in the list of pages, and the other way round.
fn unlisted_pages(page: &Document, facts: &[Fact]) -> Vec<String> {
    let learn = facts.iter().map(|fact| fact.line("Source")).filter(|text| text.starts_with("Microsoft"));
    let named: BTreeSet<String> = learn.flat_map(super::codes).collect();
    let listed: BTreeSet<String> = page.section("Pages").first_names().into_iter().collect();
    named
        .symmetric_difference(&listed)
        .map(|name| format!("{PAGE}: {name} is named and not listed, or listed only"))
        .collect()
}

/// A fact has tests, which exist and carry its id.
fn unnoticed(facts: &[Fact], sources: &[SourceFile]) -> Vec<String> {
    let mut tests: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for item in sources.iter().flat_map(|file| &file.items).filter(|item| item.is_test) {
        tests.entry(item.name.as_str()).or_default().extend(item.ids());
    }
    let mut findings = Vec::new();
    for fact in facts {
        let named = super::codes(fact.line("Noticed by"));
        if named.is_empty() {
            findings.push(format!("{}: no test notices it", fact.id));
        }
        for name in named {
            match tests.get(name.as_str()) {
                None => findings.push(format!("{}: there is no test {name}", fact.id)),
                Some(ids) if !ids.contains(&fact.id) => {
                    findings.push(format!("{}: the test {name} does not carry it", fact.id));
                }
                Some(_) => {}
            }
        }
    }
    findings
}

/// Ids in the code, or in a sentence of the page, that no row has.
fn unknown_ids(facts: &[Fact], page: &Document, sources: &[SourceFile]) -> Vec<String> {
    let known: BTreeSet<&str> = facts.iter().map(|fact| fact.id.as_str()).collect();
    let mut findings = Vec::new();
    let texts = sources.iter().map(|file| (&file.path, &file.text));
    for (path, text) in texts.chain([(&page.path, &page.text)]) {
        for (at, line) in text.lines().enumerate() {
            let unknown = ids(line).into_iter().filter(|id| !known.contains(id.as_str()));
            findings.extend(unknown.map(|id| format!("{path}:{}: {id} has no row", at + 1)));
        }
    }
    findings
}

/// What the host does has a rule in the stand-in.
fn unplayed(facts: &[Fact], sources: &[SourceFile]) -> Vec<String> {
    let stand_in = sources.iter().filter(|file| file.path.starts_with(STAND_IN));
    let played: BTreeSet<String> = stand_in
        .flat_map(|file| file.items.iter().filter(|item| !item.is_test).flat_map(Item::ids))
        .collect();
    let of_host = facts.iter().filter(|fact| fact.section.starts_with(HOST_SECTIONS));
    let unplayed = of_host.filter(|fact| !played.contains(&fact.id));
    unplayed.map(|fact| format!("{}: no rule of {STAND_IN} carries it", fact.id)).collect()
}

fn without_fact(sources: &[SourceFile]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in sources {
        let found = match file.path.strip_prefix(SIMULATOR) {
            Some(path) => behaviours(path, &file.items),
            None if file.path.starts_with(STAND_IN) => rules(&file.items),
            None => Vec::new(),
        };
        let bare = found.into_iter().filter(|item| item.ids().is_empty());
        findings.extend(bare.map(|item| format!("{}:{}: {} has no fact", file.path, item.line, item.name)));
    }
    findings
}

/// Behind a test that plays scenarios a row names which of them.
#[test]
fn scenarios_that_facts_name_exist() {
    let played: String =
        files(".json").iter().filter(|path| path.starts_with(SCENARIOS)).map(|path| read(path)).collect();
    let named: Vec<String> =
        facts(&document(PAGE)).iter().flat_map(|fact| scenarios(fact.line("Noticed by"))).collect();
    assert!(named.len() > 10);
    for name in named {
        assert!(played.contains(&format!("\"{name}\"")), "there is no scenario {name}");
    }
}

/// What is between parentheses.
fn scenarios(line: &str) -> Vec<String> {
    let lists = line.split('(').skip(1).filter_map(|rest| rest.split(')').next());
    lists.flat_map(|list| list.split(", ")).map(str::to_owned).collect()
}

/// A page of one fact, and the code that goes with it.
fn planted() -> (String, Vec<(&'static str, String)>) {
    let page = "# Facts\n\n## Assumptions\n\n### F-001 It is so\n\n- If wrong: It breaks.\n- Source: assumption.\n\
                - Noticed by: `it_is_so`\n- Settle with:\n\n```sh\naz ask\n```\n\n## Pages\n";
    let simulator = "/// What is asked.\npub enum ArmOperation {\n    /// F-001.\n    Get,\n}\n";
    let test = "/// F-001.\n#[test]\nfn it_is_so() {\n    ask();\n}\n";
    let code =
        vec![("src/simulator/arm/request.rs", simulator.to_owned()), ("tests/it/a.rs", test.to_owned())];
    (page.to_owned(), code)
}

#[track_caller]
fn check_planted(change: impl FnOnce(&mut String, &mut [(&'static str, String)]), expected: &[&str]) {
    let (mut page, mut code) = planted();
    change(&mut page, &mut code);
    let code: Vec<_> = code.into_iter().map(|(path, text)| SourceFile::new(path, text)).collect();
    assert_eq!(findings(&Document::new(PAGE, &page), &code), expected);
}

#[test]
fn an_id_without_a_row_is_found() {
    check_planted(|_, _| {}, &[]);
    check_planted(
        |_, code| code[0].1.push_str("/// F-002.\nfn more() {}\n"),
        &["src/simulator/arm/request.rs:6: F-002 has no row"],
    );
    check_planted(
        |page, _| *page = page.replace("It breaks.", "As F-002."),
        &["docs/azure-facts.md:7: F-002 has no row"],
    );
    check_planted(|_, code| code[1].1.push_str("// UTF-8, RF-003 and F-0004 are none.\n"), &[]);
}

#[test]
fn a_row_without_a_test_is_found() {
    check_planted(
        |page, _| *page = page.replace("`it_is_so`", "`it_was_so`"),
        &["F-001: there is no test it_was_so"],
    );
    check_planted(
        |_, code| code[1].1 = code[1].1.replace("/// F-001.\n", ""),
        &["F-001: the test it_is_so does not carry it"],
    );
    check_planted(
        |_, code| code[1].1 = code[1].1.replace("#[test]\n", ""),
        &["F-001: there is no test it_is_so"],
    );
    check_planted(
        |_, code| code[1].1 = "#[test]\nfn it_is_so() {\n    // F-001\n    ask();\n}\n".to_owned(),
        &[],
    );
    check_planted(|page, _| *page = page.replace("`it_is_so`", "no one"), &["F-001: no test notices it"]);
}

#[test]
fn a_behaviour_without_a_fact_is_found() {
    check_planted(
        |_, code| code[0].1 = code[0].1.replace("    Get,\n", "    Get,\n    List { at: u8 },\n"),
        &["src/simulator/arm/request.rs:5: List has no fact"],
    );
    let error = "impl AzureError {\n    pub fn locked() -> Self {\n        Self::new(409, \"ScopeLocked\", \"x\")\n    }\n}\n";
    check_planted(
        |_, code| code[0].1.push_str(error),
        &["src/simulator/arm/request.rs:7: locked has no fact"],
    );
    check_planted(
        |_, code| code[0].1.push_str("fn refuse_missing() {\n}\n"),
        &["src/simulator/arm/request.rs:6: refuse_missing has no fact"],
    );
}

#[test]
fn a_rule_of_the_stand_in_without_a_fact_is_found() {
    let host = |text: &str| rules(&items(text)).into_iter().filter(|item| item.ids().is_empty()).count();
    assert_eq!(host("pub fn decode() {\n}\nfn inner() {\n}\npub fn empty() {\n}\n"), 1);
    assert_eq!(host("/// F-001.\npub fn decode() {\n}\n"), 0);
    assert_eq!(host("fn failed() {\n    StatusCode::BAD_REQUEST\n}\n"), 1);
    assert_eq!(host("pub enum Finding {\n    #[error(\"x\")]\n    A,\n    /// F-001.\n    B(u8),\n}\n"), 1);
    assert_eq!(host("pub enum LayoutError {\n    A,\n}\nenum Phase {\n    A,\n}\n"), 0);
}

#[test]
fn a_row_that_says_too_little_is_found() {
    check_planted(
        |page, _| *page = page.replace("- Source: assumption.\n", "- Source: hearsay.\n"),
        &[
            "F-001: its source is none of [\"assumption\", \"Microsoft Learn\", \"vendor's page\", \
             \"specification\", \"published source\", \"recorded oracle\", \"real part\"]",
            "F-001: has [\"If wrong\", \"Source\", \"Noticed by\", \"Settle with\"], not [\"If wrong\", \
             \"Source\", \"Noticed by\"]",
            "F-001: is not in the section of its source",
        ],
    );
    check_planted(|page, _| *page = page.replace("az ask\n", ""), &["F-001: one command settles it, not 0"]);
    check_planted(
        |page, _| *page = page.replace("F-001", "F-003"),
        &[
            "docs/azure-facts.md: there is no F-001",
            "F-003: the test it_is_so does not carry it",
            "src/simulator/arm/request.rs:3: F-001 has no row",
            "tests/it/a.rs:1: F-001 has no row",
        ],
    );
    let (page, _) = planted();
    let other = page.replace("## Assumptions", "## Later").replace("assumption.", "Microsoft Learn, `x`.");
    let found = findings(&Document::new(PAGE, &other), &[]);
    assert!(found.contains(&format!("{PAGE}: x is named and not listed, or listed only")), "{found:?}");
    assert!(found.contains(&format!("{PAGE}: assumptions come first")), "{found:?}");
    assert_one(
        &misnumbered(&facts(&Document::new(PAGE, &page.replace("F-001", "F-002")))),
        "docs/azure-facts.md: there is no F-001",
    );
}
