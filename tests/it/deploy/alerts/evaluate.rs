//! What a rule says of records: the rows that its query would give. Reads the table, not the query.

use super::table::{Alert, Kind, Measure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// What the workspace and the test from outside have.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// Traces, as the program wrote them.
    pub lines: Vec<String>,
    /// `AppRequests`, `AzureActivity` and `Operation`, by the names of their columns.
    pub requests: Vec<Value>,
    pub activity: Vec<Value>,
    pub operations: Vec<Value>,
    /// What each place was answered.
    pub health: Vec<String>,
}

/// What the templates put into the queries.
#[derive(Debug, Clone, Default)]
pub struct Parameters {
    pub labels: Vec<String>,
    pub scopes: Vec<String>,
    pub ours: Vec<String>,
}

/// A row of the result: the values that it was split by, and what was measured.
pub type Row = (Vec<String>, f64);

/// The lines with an event of the rule that are in its window.
pub fn meant(alert: &Alert, lines: &[String], now: OffsetDateTime) -> Vec<Value> {
    with_events(alert, lines, |record| is_inside(alert, record, now))
}

fn is_inside(alert: &Alert, record: &Value, now: OffsetDateTime) -> bool {
    let from = now - Duration::minutes(i64::from(alert.window_minutes));
    let text = record["TimeGenerated"].as_str().or(record["timestamp"].as_str()).unwrap_or_default();
    OffsetDateTime::parse(text, &Rfc3339).is_ok_and(|time| from < time && time <= now)
}

/// The rows that make the rule fire at `now`.
pub fn rows(alert: &Alert, records: &Records, parameters: &Parameters, now: OffsetDateTime) -> Vec<Row> {
    let of = |records: &[Value]| {
        records.iter().filter(|record| is_inside(alert, record, now)).cloned().collect::<Vec<_>>()
    };
    match alert.kind {
        Kind::Event => measured(alert, &meant(alert, &records.lines, now)),
        Kind::Absence if meant(alert, &records.lines, now).is_empty() => vec![(Vec::new(), 0.0)],
        Kind::Absence => Vec::new(),
        Kind::Silence => silent(&meant(alert, &records.lines, now), parameters),
        Kind::Host => {
            let requests = of(&records.requests);
            measured(
                alert,
                &requests.into_iter().filter(|request| passes(alert, request)).collect::<Vec<_>>(),
            )
        }
        Kind::Activity => foreign(alert, &of(&records.activity), parameters),
        Kind::Cap => {
            let over =
                |record: &Value| record["Detail"].as_str().is_some_and(|text| text.contains("OverQuota"));
            measured(alert, &of(&records.operations).into_iter().filter(over).collect::<Vec<_>>())
        }
        Kind::Web => {
            let expected = alert.expects.as_deref().unwrap();
            let failed = records.health.iter().filter(|answer| !answer.contains(expected)).count();
            reached(alert, vec![(Vec::new(), failed as f64, failed)])
        }
    }
}

/// What is no JSON is none of ours.
fn with_events(alert: &Alert, lines: &[String], is_inside: impl Fn(&Value) -> bool) -> Vec<Value> {
    let parsed = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_meant = |line: &Value| alert.events.iter().any(|event| line["event"] == event.as_str());
    parsed.filter(|line| is_meant(line) && is_inside(line)).collect()
}

fn passes(alert: &Alert, request: &Value) -> bool {
    let condition = alert.condition.as_ref().unwrap();
    let value = &request[&condition.column];
    let number = || value.as_str().and_then(|text| text.parse::<i64>().ok());
    condition.at_least.is_none_or(|least| number().is_some_and(|number| number >= least))
        && condition
            .starts_with
            .as_ref()
            .is_none_or(|prefix| value.as_str().unwrap().starts_with(prefix.as_str()))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn measured(alert: &Alert, records: &[Value]) -> Vec<Row> {
    let mut groups: BTreeMap<Vec<String>, Vec<&Value>> = BTreeMap::new();
    for record in records {
        let by = alert.by.iter().map(|field| text(&record[field])).collect();
        groups.entry(by).or_default().push(record);
    }
    let values = groups.into_iter().map(|(by, records)| {
        let numbers =
            |field: &str| records.iter().filter_map(|record| record[field].as_f64()).collect::<Vec<_>>();
        let value = match alert.measure() {
            Measure::Count => records.len() as f64,
            Measure::Sum(field) => numbers(&field).iter().sum(),
            Measure::Max(field) => numbers(&field).into_iter().fold(0.0, f64::max),
            Measure::P95(field) => percentile(numbers(&field)),
        };
        (by, value, records.len())
    });
    reached(alert, values.collect())
}

fn percentile(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let at = (numbers.len() * 95).div_ceil(100);
    at.checked_sub(1).map_or(0.0, |at| numbers[at])
}

fn reached(alert: &Alert, rows: Vec<(Vec<String>, f64, usize)>) -> Vec<Row> {
    let enough = alert.of_at_least.unwrap_or(1) as usize;
    let least = alert.at_least.unwrap() as f64;
    let rows = rows.into_iter().filter(|(_, value, records)| *records >= enough && *value >= least);
    rows.map(|(by, value, _)| (by, value)).collect()
}

fn silent(lines: &[Value], parameters: &Parameters) -> Vec<Row> {
    let heard: BTreeSet<String> = lines.iter().map(|line| text(&line["token.label"])).collect();
    let missing = parameters.labels.iter().filter(|label| !heard.contains(*label));
    missing.map(|label| (vec![label.clone()], 0.0)).collect()
}

fn foreign(alert: &Alert, records: &[Value], parameters: &Parameters) -> Vec<Row> {
    let mut rows: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
    for record in records {
        let lower = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
        let operation = lower(&record["OperationNameValue"]);
        let changes =
            ["write", "delete"].map(|verb| format!("microsoft.authorization/roleassignments/{verb}"));
        let is_done = ["success", "succeeded"].contains(&&*lower(&record["ActivityStatusValue"]));
        let is_ours = parameters.ours.iter().any(|id| lower(&record["Caller"]) == id.to_lowercase());
        let assignment = lower(&record["Authorization_d"]["scope"]);
        let scope = assignment.split("/providers/microsoft.authorization/roleassignments/").next().unwrap();
        let below = |outer: &str, inner: &str| inner == outer || inner.starts_with(&format!("{outer}/"));
        let is_meant = parameters.scopes.iter().any(|bound| below(bound, scope) || below(scope, bound));
        if changes.contains(&operation) && is_done && !is_ours && is_meant {
            let by = vec![text(&record["Caller"]), scope.to_owned()];
            rows.entry(by).or_default().insert(text(&record["CorrelationId"]));
        }
    }
    reached(alert, rows.into_iter().map(|(by, each)| (by, each.len() as f64, each.len())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::alerts::table::alert;
    use time::macros::datetime;

    const NOON: OffsetDateTime = datetime!(2026-11-25 12:00 UTC);

    #[track_caller]
    fn check(alert: &Alert, records: &Records, expected: &[(&[&str], f64)]) {
        let parameters = Parameters { labels: vec!["entra".to_owned()], ..Parameters::default() };
        let found = rows(alert, records, &parameters, NOON);
        let expected: Vec<Row> = expected
            .iter()
            .map(|(by, value)| (by.iter().map(|text| (*text).to_owned()).collect(), *value))
            .collect();
        assert_eq!(found, expected, "{}", alert.name);
    }

    fn unauthorized(time: &str, count: u64) -> String {
        json!({"timestamp": time, "event": "requests-unauthorized", "count": count}).to_string()
    }

    #[test]
    fn only_what_is_in_the_window_counts_and_text_that_is_no_json_is_none_of_ours() {
        let burst = alert("unauthorized-burst");
        let lines = [
            unauthorized("2026-11-25T11:45:00Z", 1000),
            unauthorized("2026-11-25T11:45:01Z", 60),
            "Host started (100ms)".to_owned(),
            unauthorized("2026-11-25T12:00:00Z", 39),
        ];
        let records = Records { lines: lines.to_vec(), ..Records::default() };
        check(&burst, &records, &[]);
        let one_more = [&lines[..], &[unauthorized("2026-11-25T11:59:00Z", 1)]].concat();
        check(&burst, &Records { lines: one_more, ..Records::default() }, &[(&[], 100.0)]);
    }

    #[test]
    fn a_percentile_of_few_requests_means_nothing() {
        let slow = alert("slow-requests");
        let request =
            |ms: u64| json!({"TimeGenerated": "2026-11-25T11:59:00Z", "Name": "ScimUsers", "DurationMs": ms});
        let requests = |fast: usize, slow: usize| {
            let fast = (0..fast).map(|_| request(10));
            Records { requests: fast.chain((0..slow).map(|_| request(6000))).collect(), ..Records::default() }
        };
        check(&slow, &requests(0, 19), &[]);
        check(&slow, &requests(19, 1), &[]);
        check(&slow, &requests(18, 2), &[(&[], 6000.0)]);
    }

    #[test]
    fn a_label_that_is_not_heard_is_a_row_and_others_do_not_matter() {
        let silence = alert("no-call");
        let line = |label: &str| json!({"timestamp": "2026-11-25T11:59:00Z", "event": "request-answered", "token.label": label});
        let heard = |label: &str| Records { lines: vec![line(label).to_string()], ..Records::default() };
        check(&silence, &heard("entra"), &[]);
        check(&silence, &heard("okta"), &[(&["entra"], 0.0)]);
        check(&silence, &Records::default(), &[(&["entra"], 0.0)]);
    }
}
