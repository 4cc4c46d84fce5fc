//! The queries over lines of the service, of rules and workbook: they ask for events that are written, and for fields that
//! `docs/operate.md` lists beside each.

use super::kql;
use super::table::alerts;
use crate::deploy::infra::root;
use azure_backup_scim::events::Event;
use regex_lite::Regex;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Every query, by what it is of.
fn queries() -> Vec<(String, String)> {
    let rules = alerts().into_iter().filter(|alert| !alert.events.is_empty());
    let mut queries: Vec<_> = rules.map(|alert| (alert.name.clone(), kql::query(&alert))).collect();
    let workbook = std::fs::read_to_string(root().join("infra/workbook.json")).unwrap();
    let workbook: Value = serde_json::from_str(&workbook).unwrap();
    let items = workbook["items"].as_array().unwrap().iter();
    let asked = items.filter_map(|item| Some((item["name"].as_str()?, item["content"]["query"].as_str()?)));
    queries.extend(asked.map(|(name, query)| (format!("workbook, {name}"), query.to_owned())));
    queries
}

/// The fields of each event, by the table of the documents.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let page = std::fs::read_to_string(root().join("docs/operate.md")).unwrap();
    let code = Regex::new("`([^`]+)`").unwrap();
    let names = |cell: &str| code.captures_iter(cell).map(|name| name[1].to_owned()).collect::<Vec<_>>();
    let rows = page.lines().filter(|line| line.starts_with("| [`") && line.matches('|').count() == 5);
    rows.filter_map(|row| {
        let cells: Vec<&str> = row.split('|').collect();
        let event = names(cells[1]).first()?.clone();
        Event::ALL
            .iter()
            .any(|known| known.as_str() == event)
            .then(|| (event, names(cells[4]).into_iter().collect()))
    })
    .collect()
}

fn findings(name: &str, query: &str) -> Vec<String> {
    let of_events = Regex::new(r#"line\["event"\]\) in \(([^)]*)\)"#).unwrap();
    let field = Regex::new(r#"line\["([^"]+)"\]"#).unwrap();
    let documented = documented();
    let Some(asked) = of_events.captures(query) else { return vec![format!("{name}: asks for no event")] };
    let events: Vec<&str> = asked[1].split(", ").map(|event| event.trim_matches('"')).collect();
    let unknown = events.iter().filter(|event| !documented.contains_key(**event));
    let mut found: Vec<String> = unknown.map(|event| format!("{name}: no line has {event}")).collect();
    let fields: BTreeSet<&String> =
        events.iter().filter_map(|event| documented.get(*event)).flatten().collect();
    for asked in field.captures_iter(query) {
        let asked = asked[1].to_owned();
        if !["event", "message"].contains(&asked.as_str()) && !fields.contains(&asked) {
            found.push(format!("{name}: none of {events:?} has {asked}"));
        }
    }
    found
}

#[test]
fn each_query_asks_for_events_and_fields_that_lines_have() {
    let queries = queries();
    assert!(queries.len() > 20, "rules and workbook");
    let found: Vec<String> = queries.iter().flat_map(|(name, query)| findings(name, query)).collect();
    assert_eq!(found, [""; 0]);
}

#[test]
fn a_misspelt_event_or_field_is_found() {
    let query = |event: &str, field: &str| {
        format!(
            "| where tostring(line[\"event\"]) in (\"{event}\")\n| summarize max(tolong(line[\"{field}\"]))"
        )
    };
    assert_eq!(findings("x", &query("revocations-overdue", "oldest_s")), [""; 0]);
    assert_eq!(findings("x", &query("revocations-overdue", "oldest")).len(), 1);
    assert_eq!(findings("x", &query("revocation-overdue", "oldest_s")).len(), 2);
}
