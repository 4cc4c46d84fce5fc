//! The rules, over pairs of path and text: which module may import which, and who may say what.

use super::circles::circles;
use super::imports::{imports, module_path};
use super::row_keys::row_keys;
use super::tokens::{Token, is, production, tokens};

/// Lines of a file, what is compiled only for tests not counted.
pub const FILE_LINES_MAX: usize = 500;

const DOMAIN: &[&str] = &["id", "backoff", "error_chain", "events", "scim", "rbac"];
const PORTS: &[&str] = &["id", "backoff", "error_chain", "events", "scim", "rbac", "audit", "orders"];
const STORE: &[&str] =
    &["id", "backoff", "error_chain", "events", "scim", "rbac", "audit", "orders", "ports"];
const SERVICE: &[&str] = &[
    "id",
    "backoff",
    "error_chain",
    "events",
    "scim",
    "rbac",
    "audit",
    "orders",
    "ports",
    "store",
    "bindings",
];
const ABOVE_SERVICE: &[&str] = &[
    "id",
    "error_chain",
    "events",
    "scim",
    "rbac",
    "audit",
    "orders",
    "ports",
    "store",
    "bindings",
    "service",
    "config",
];

/// What each top-level module may import, itself aside. A module that is not here is a finding.
pub const MODULES: &[(&str, &[&[&str]])] = &[
    ("id", &[]),
    ("backoff", &[]),
    ("error_chain", &[]),
    ("events", &[]),
    // The time of a line comes from the clock.
    ("telemetry", &[PORTS, &["ports"]]),
    ("scim", &[&["id"]]),
    ("rbac", &[&["id", "backoff"]]),
    ("audit", &[DOMAIN]),
    ("bindings", &[DOMAIN]),
    ("orders", &[DOMAIN]),
    ("ports", &[PORTS]),
    ("store", &[STORE]),
    ("service", &[SERVICE]),
    // Only the limit structs of those who own them.
    ("config", &[SERVICE, &["service", "adapters"]]),
    ("http", &[ABOVE_SERVICE]),
    ("adapters", &[STORE]),
    ("engine", &[STORE]),
    // It must not share our mistakes.
    ("simulator", &[]),
    ("app", &[ABOVE_SERVICE, &["http", "adapters", "engine", "simulator", "telemetry"]]),
    ("local", &[ABOVE_SERVICE, &["app", "engine", "simulator", "telemetry"]]),
    ("cli", &[ABOVE_SERVICE, &["app", "local", "telemetry"]]),
    ("main", &[&["cli", "telemetry"]]),
    // Declares the modules.
    ("lib", &[]),
];

/// A broken rule and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub path: String,
    pub line: usize,
    pub text: String,
}

/// What was found, by the lists of exceptions that it may be on.
pub struct Findings {
    pub rules: Vec<Finding>,
    pub circles: Vec<Finding>,
    pub row_keys: Vec<Finding>,
}

impl Findings {
    pub fn all(self) -> Vec<Finding> {
        [self.rules, self.circles, self.row_keys].concat()
    }
}

/// Checks the files under `src/`.
pub fn check(files: &[(String, String)]) -> Findings {
    let parsed: Vec<_> = files.iter().map(|(path, text)| (path, text, production(&tokens(text)))).collect();
    let tests: Vec<String> = parsed
        .iter()
        .flat_map(|(path, _, production)| production.test_files.iter().map(|name| folder(path) + name))
        .collect();
    let mut findings = Vec::new();
    let mut kept: Vec<(&str, &[Token])> = Vec::new();
    for (path, text, production) in &parsed {
        let for_tests = tests.iter().any(|test| {
            path.strip_prefix(test.as_str()).is_some_and(|tail| tail == ".rs" || tail.starts_with('/'))
        });
        if !for_tests {
            let lines = text.lines().count().saturating_sub(production.test_lines);
            findings.extend(check_file(path, &production.tokens, lines));
            kept.push((path, &production.tokens));
        }
    }
    let keyed = kept.iter().flat_map(|(path, tokens)| row_keys(path, tokens));
    Findings { rules: findings, circles: circles(&kept), row_keys: keyed.collect() }
}

/// Where the modules stand that a file declares: `src/rbac/` for `src/rbac/mod.rs` and for `src/rbac.rs`.
fn folder(path: &str) -> String {
    let parts = module_path(path);
    std::iter::once("src").chain(parts.iter().map(String::as_str)).map(|part| format!("{part}/")).collect()
}

fn check_file(path: &str, tokens: &[Token], lines: usize) -> Vec<Finding> {
    let parts = module_path(path);
    let stem = path.trim_start_matches("src/").trim_end_matches(".rs");
    let module = parts.first().map_or(stem, String::as_str);
    let finding = |line, text| Finding { path: path.to_owned(), line, text };

    let mut findings = Vec::new();
    if lines > FILE_LINES_MAX {
        findings.push(finding(lines, format!("has {lines} lines without tests, more than {FILE_LINES_MAX}")));
    }
    match MODULES.iter().find(|(name, _)| *name == module) {
        None => findings.push(finding(1, format!("module {module} is not in the table"))),
        Some((_, allowed)) => {
            let forbidden = imports(tokens, &parts).into_iter().filter(|import| {
                import.module != module && !allowed.iter().any(|list| list.contains(&import.module.as_str()))
            });
            findings
                .extend(forbidden.map(|import| {
                    finding(import.line, format!("{module} may not import {}", import.module))
                }));
        }
    }
    for rule in WORDS.iter().filter(|rule| !rule.allows(path)) {
        let said = (0..tokens.len()).filter(|at| (rule.says)(&tokens[*at..]));
        findings.extend(said.map(|at| finding(tokens[at].line, format!("only {} {}", rule.only, rule.may))));
    }
    findings
}

/// What only some places may say.
struct Words {
    /// Files, or folders that end in `/`.
    places: &'static [&'static str],
    only: &'static str,
    may: &'static str,
    says: fn(&[Token]) -> bool,
}

impl Words {
    fn allows(&self, path: &str) -> bool {
        self.places.iter().any(|place| path == *place || (place.ends_with('/') && path.starts_with(place)))
    }
}

const WORDS: &[Words] = &[
    Words {
        places: &["src/http/", "src/http.rs", "src/simulator/", "src/simulator.rs"],
        only: "http and simulator",
        may: "say actix",
        says: |tokens| names_crate(tokens, "actix"),
    },
    Words {
        places: &["src/adapters/", "src/adapters.rs"],
        only: "adapters",
        may: "says azure",
        says: |tokens| {
            let ours = ["azure_backup_scim", "azure_access"];
            names_crate(tokens, "azure_") && !ours.iter().any(|name| is(tokens, &[name]))
        },
    },
    Words {
        places: &["src/adapters/", "src/adapters.rs", "src/local/", "src/local.rs"],
        only: "adapters and the demo's client",
        may: "say reqwest",
        says: |tokens| names_crate(tokens, "reqwest"),
    },
    Words {
        places: &["src/config/", "src/config.rs"],
        only: "config",
        may: "reads the environment",
        says: reads_environment,
    },
    Words {
        // In `arm`, `graph` and `connection` it is the runtime's clock, for the deadlines of one call and of one connection.
        places: &[
            "src/adapters/clock.rs",
            "src/simulator/clock.rs",
            "src/adapters/arm.rs",
            "src/adapters/graph.rs",
            "src/http/connection.rs",
        ],
        only: "the clock adapter and the simulator's clock",
        may: "read the time",
        says: reads_clock,
    },
];

/// A word of that beginning which stands for a crate: a path goes on behind it, or it is the whole of a `use`.
fn names_crate(tokens: &[Token], beginning: &str) -> bool {
    let named = tokens.first().is_some_and(|token| token.text.starts_with(beginning));
    let goes_on = tokens.get(1).is_some_and(|next| ["::", "as", ";", "}"].contains(&next.text.as_str()));
    named && goes_on
}

fn reads_environment(tokens: &[Token]) -> bool {
    const READS: [&str; 8] = ["var", "var_os", "vars", "vars_os", "set_var", "remove_var", "*", "self"];
    if is(tokens, &["EnvFilter", "::", "from_env"]) || is(tokens, &["EnvFilter", "::", "try_from_env"]) {
        return true;
    }
    let [first, rest @ ..] = tokens else { return false };
    match first.text.as_str() {
        "from_default_env" | "try_from_default_env" => true,
        "env" if is(rest, &["as"]) || is(rest, &[";"]) => false,
        "env" if is(rest, &["::", "{"]) => {
            let group = rest.iter().take_while(|token| token.text != "}");
            group.skip(2).any(|token| READS.contains(&token.text.as_str()))
        }
        "env" => READS.iter().any(|read| is(rest, &["::", read])),
        _ => false,
    }
}

fn reads_clock(tokens: &[Token]) -> bool {
    let clocks: &[&[&str]] = &[
        &["SystemTime", "::", "now"],
        &["Instant", "::", "now"],
        &["OffsetDateTime", "::", "now_utc"],
        &["OffsetDateTime", "::", "now_local"],
        &["UtcDateTime", "::", "now"],
    ];
    clocks.iter().any(|clock| is(tokens, clock))
}
