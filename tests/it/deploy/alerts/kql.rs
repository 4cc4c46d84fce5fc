//! The query of a row of the table. It gives the rows that make the rule fire, so every rule of Azure Monitor counts them and
//! fires from one on.

use super::table::{Alert, Condition, Kind, Measure, Resolves};
use serde_json::{Value, json};

/// What the templates put in: a number, and JSON lists of texts.
pub const THRESHOLD: &str = "__THRESHOLD__";
pub const LABELS: &str = "__LABELS__";
pub const SCOPES: &str = "__SCOPES__";
pub const OURS: &str = "__OURS__";

/// The claim that names the Entra object of a caller.
const OBJECT_ID_CLAIM: &str = "http://schemas.microsoft.com/identity/claims/objectidentifier";

/// What `infra/alert-rules.json` holds: the table with its queries, as the templates read it.
pub fn rules(alerts: &[Alert]) -> Value {
    let rules: Vec<Value> = alerts.iter().map(rule).collect();
    json!({ "rules": rules })
}

fn rule(alert: &Alert) -> Value {
    let mut rule = json!({
        "name": alert.name,
        "kind": alert.kind_name(),
        "description": format!("{} docs/operate.md#{}", alert.means, alert.runbook),
        "severity": alert.severity,
        "window": duration(alert.window_minutes),
        "every": duration(alert.every_minutes),
        "autoMitigate": alert.resolves == Resolves::ByItself,
        "on": alert.on,
        "dimensions": dimensions(alert),
        "threshold": alert.at_least.unwrap_or(1),
    });
    let fields = rule.as_object_mut().unwrap();
    match &alert.expects {
        Some(expects) => drop(fields.insert("expects".to_owned(), json!(expects))),
        None => drop(fields.insert("query".to_owned(), json!(query(alert)))),
    }
    rule
}

impl Alert {
    fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Event => "event",
            Kind::Absence => "absence",
            Kind::Silence => "silence",
            Kind::Host => "host",
            Kind::Activity => "activity",
            Kind::Cap => "cap",
            Kind::Web => "web",
        }
    }
}

/// ISO 8601, as Azure Monitor takes it.
fn duration(minutes: u32) -> String {
    match minutes {
        1440 | 2880 => format!("P{}D", minutes / 1440),
        _ if minutes.is_multiple_of(60) => format!("PT{}H", minutes / 60),
        _ => format!("PT{minutes}M"),
    }
}

/// The columns of the result that split it into alerts of their own.
fn dimensions(alert: &Alert) -> Vec<String> {
    match alert.kind {
        Kind::Activity => vec!["Caller".to_owned(), "scope".to_owned()],
        _ => alert.by.iter().map(|field| column(field)).collect(),
    }
}

/// A name that needs no quotes in a query.
fn column(field: &str) -> String {
    field.replace('.', "_")
}

/// The text of the query, with the placeholders of the templates.
pub fn query(alert: &Alert) -> String {
    let lines = match alert.kind {
        Kind::Event => {
            [with_events(alert), vec![summary(alert, line_text, line_number), reached(alert)]].concat()
        }
        Kind::Absence => {
            let none = ["| summarize value = count()", "| where value == 0"].map(str::to_owned);
            [with_events(alert), none.to_vec()].concat()
        }
        Kind::Silence => silence(alert),
        Kind::Host => host(alert),
        Kind::Activity => activity(),
        Kind::Cap => cap(),
        Kind::Web => panic!("{} asks no query", alert.name),
    };
    lines.join("\n")
}

/// The lines of the service with these events.
fn with_events(alert: &Alert) -> Vec<String> {
    vec![
        alert.source.clone(),
        "| extend line = parse_json(Message)".to_owned(),
        format!("| where tostring(line[\"event\"]) in ({})", quoted(&alert.events)),
    ]
}

fn line_text(field: &str) -> String {
    format!("tostring(line[\"{field}\"])")
}

fn line_number(field: &str) -> String {
    format!("tolong(line[\"{field}\"])")
}

fn summary(alert: &Alert, text: impl Fn(&str) -> String, number: impl Fn(&str) -> String) -> String {
    let value = match alert.measure() {
        Measure::Count => "count()".to_owned(),
        Measure::Sum(field) => format!("sum({})", number(&field)),
        Measure::Max(field) => format!("max({})", number(&field)),
        Measure::P95(field) => format!("percentile({}, 95)", number(&field)),
    };
    let records = if alert.of_at_least.is_some() { ", records = count()" } else { "" };
    let by: Vec<String> =
        alert.by.iter().map(|field| format!("{} = {}", column(field), text(field))).collect();
    let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) };
    format!("| summarize value = {value}{records}{by}")
}

fn reached(alert: &Alert) -> String {
    let enough = alert.of_at_least.map(|least| format!(" and records >= {least}")).unwrap_or_default();
    format!("| where value >= {THRESHOLD}{enough}")
}

/// Begins with what is expected, so that a label that never called is found too.
fn silence(alert: &Alert) -> Vec<String> {
    let mut lines = vec![
        format!("print token_label = dynamic({LABELS})"),
        "| mv-expand token_label to typeof(string)".to_owned(),
        "| join kind=leftanti (".to_owned(),
    ];
    lines.extend(with_events(alert).into_iter().map(|line| format!("    {line}")));
    lines.push("    | distinct token_label = tostring(line[\"token.label\"])".to_owned());
    lines.push(") on token_label".to_owned());
    lines
}

/// `success` is true for any answer of a custom handler: the result code is what counts.
fn host(alert: &Alert) -> Vec<String> {
    let Condition { column, at_least, starts_with } = alert.condition.as_ref().unwrap();
    let mut lines = vec![alert.source.clone()];
    lines.extend(at_least.map(|least| format!("| where toint({column}) >= {least}")));
    lines.extend(starts_with.as_ref().map(|prefix| format!("| where {column} startswith \"{prefix}\"")));
    let as_it_is = |field: &str| field.to_owned();
    lines.extend([summary(alert, as_it_is, as_it_is), reached(alert)]);
    lines
}

/// Without regard to case, as Azure compares ids and scopes.
fn activity() -> Vec<String> {
    let operations =
        ["write", "delete"].map(|verb| format!("Microsoft.Authorization/roleAssignments/{verb}"));
    let of_assignments = "/providers/microsoft.authorization/roleassignments/";
    [
        "AzureActivity".to_owned(),
        format!("| where OperationNameValue in~ ({})", quoted(&operations)),
        format!("| where ActivityStatusValue in~ ({})", quoted(&["Success", "Succeeded"].map(str::to_owned))),
        format!("| extend object = tostring(Claims_d[\"{OBJECT_ID_CLAIM}\"])"),
        format!("| where Caller !in~ (dynamic({OURS})) and object !in~ (dynamic({OURS}))"),
        "| extend assignment = tolower(coalesce(tostring(Authorization_d[\"scope\"]), _ResourceId))".to_owned(),
        format!("| extend scope = tostring(split(assignment, \"{of_assignments}\")[0])"),
        format!("| mv-expand bound = dynamic({SCOPES}) to typeof(string)"),
        "| where scope == bound or scope startswith strcat(bound, \"/\") or bound startswith strcat(scope, \"/\")"
            .to_owned(),
        "| summarize value = dcount(CorrelationId) by Caller, scope".to_owned(),
        format!("| where value >= {THRESHOLD}"),
    ]
    .to_vec()
}

fn cap() -> Vec<String> {
    [
        "Operation".to_owned(),
        "| where Detail has \"OverQuota\"".to_owned(),
        "| summarize value = count()".to_owned(),
        format!("| where value >= {THRESHOLD}"),
    ]
    .to_vec()
}

fn quoted(texts: &[String]) -> String {
    texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", ")
}

/// `UPDATE_GOLDEN=1 cargo test` writes the file anew.
#[test]
#[expect(clippy::disallowed_methods, reason = "tests may read the environment")]
fn the_rules_are_those_of_the_table() {
    let path = crate::deploy::infra::root().join("infra/alert-rules.json");
    let made = format!("{:#}\n", rules(&super::table::alerts()));
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(&path, &made).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap().replace("\r\n", "\n");
    assert_eq!(published, made, "run UPDATE_GOLDEN=1 cargo test, and read what changed");
}

#[test]
fn a_query_is_made_of_its_row() {
    let alert = super::table::alert("unauthorized-burst");
    let expected = [
        "AppTraces",
        "| extend line = parse_json(Message)",
        "| where tostring(line[\"event\"]) in (\"requests-unauthorized\")",
        "| summarize value = sum(tolong(line[\"count\"]))",
        "| where value >= __THRESHOLD__",
    ];
    assert_eq!(query(&alert).lines().collect::<Vec<_>>(), expected);
    assert_eq!([5, 60, 360, 1440, 2880].map(duration), ["PT5M", "PT1H", "PT6H", "P1D", "P2D"]);
}
