//! `infra/alerts.json`: what makes each rule fire. Queries, templates, documents and the evaluator come from it.

use crate::deploy::infra::root;
use azure_backup_scim::events::Event;
use serde::Deserialize;

/// Minutes that Azure takes for the window of a rule, and for how often it is asked.
const WINDOWS: [u32; 14] = [1, 5, 10, 15, 30, 45, 60, 120, 180, 240, 300, 360, 1440, 2880];
const EVERY: [u32; 12] = [1, 5, 10, 15, 30, 45, 60, 120, 180, 240, 300, 360];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Lines of the service with an event.
    Event,
    /// No such line.
    Absence,
    /// No such line with one of the labels that are expected.
    Silence,
    /// What the Functions host says of requests.
    Host,
    /// The activity log of the bound subscriptions.
    Activity,
    /// What the workspace says of itself.
    Cap,
    /// A test from outside.
    Web,
}

/// What is made of the records that pass the filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measure {
    Count,
    Sum(String),
    Max(String),
    P95(String),
}

impl Measure {
    fn parse(text: &str) -> Self {
        match text.split_once(' ') {
            None if text == "count" => Measure::Count,
            Some(("sum", field)) => Measure::Sum(field.to_owned()),
            Some(("max", field)) => Measure::Max(field.to_owned()),
            Some(("p95", field)) => Measure::P95(field.to_owned()),
            _ => panic!("there is no measure {text}"),
        }
    }
}

/// A condition on a column of a record of the host.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Condition {
    pub column: String,
    /// As a number.
    pub at_least: Option<i64>,
    pub starts_with: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Alert {
    pub name: String,
    pub kind: Kind,
    pub source: String,
    #[serde(default)]
    pub events: Vec<String>,
    #[serde(rename = "where")]
    pub condition: Option<Condition>,
    /// One row for each value of these.
    #[serde(default)]
    pub by: Vec<String>,
    measure: Option<String>,
    /// A row with such a value makes it fire.
    pub at_least: Option<i64>,
    /// Over fewer records the value means nothing.
    pub of_at_least: Option<i64>,
    /// What the answer to a test from outside has to hold.
    pub expects: Option<String>,
    pub window_minutes: u32,
    pub every_minutes: u32,
    pub severity: u8,
    /// When a fired alert is over.
    #[serde(default)]
    pub resolves: Resolves,
    /// `always`, or the parameter that turns it on.
    pub on: String,
    /// A section of `docs/operate.md`.
    pub runbook: String,
    pub means: String,
}

/// When a fired alert is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolves {
    /// By itself: its line is written again and again while the trouble lasts.
    #[default]
    ByItself,
    /// By hand: its line is written once, and its absence says nothing.
    ByHand,
}

impl Alert {
    pub fn measure(&self) -> Measure {
        self.measure.as_deref().map_or(Measure::Count, Measure::parse)
    }

    /// Whether Azure Monitor asks a query for it.
    pub fn is_query(&self) -> bool {
        self.kind != Kind::Web
    }
}

/// The table.
pub fn alerts() -> Vec<Alert> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        alerts: Vec<Alert>,
    }
    let text = std::fs::read_to_string(root().join("infra/alerts.json")).unwrap();
    serde_json::from_str::<Table>(&text).unwrap().alerts
}

#[track_caller]
pub fn alert(name: &str) -> Alert {
    alerts()
        .into_iter()
        .find(|alert| alert.name == name)
        .unwrap_or_else(|| panic!("there is no alert {name}"))
}

/// A row of the table of `docs/deploy.md`.
fn documented(alert: &Alert) -> String {
    let window = match alert.window_minutes {
        60 => "an hour".to_owned(),
        1440 => "a day".to_owned(),
        minutes if minutes > 1440 => format!("{} days", minutes / 1440),
        minutes if minutes > 60 => format!("{} hours", minutes / 60),
        minutes => format!("{minutes} minutes"),
    };
    let measure = alert.measure.as_deref().unwrap_or("count");
    let of = match alert.at_least {
        Some(least) => format!("at least {least} ({measure}) in {window}"),
        None => format!("none in {window}"),
    };
    let on = match alert.on.as_str() {
        "always" => "always",
        "silenceLabels" => "`SILENCE_LABELS`",
        "activityLogAlert" => "`ACTIVITY_LOG_ALERT`",
        "dailyCapGB" => "`DAILY_CAP_GB`",
        "healthTest" => "`HEALTH_TEST`",
        other => panic!("{other} is no parameter of main.bicep"),
    };
    let Alert { name, runbook, means, severity, .. } = alert;
    format!("| [`{name}`](operate.md#{runbook}) | {means} | {of} | {severity} | {on} |")
}

#[test]
fn the_rules_are_documented_each_with_what_to_do() {
    let page = std::fs::read_to_string(root().join("docs/deploy.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| [`")).collect();
    assert_eq!(rows, alerts().iter().map(documented).collect::<Vec<_>>());
    let known: Vec<&str> = Event::ALL.iter().map(|event| event.as_str()).collect();
    for alert in alerts() {
        for event in &alert.events {
            assert!(known.contains(&event.as_str()), "{}: no line has the event {event}", alert.name);
        }
    }
}

#[test]
fn each_row_is_one_that_azure_takes() {
    let all = alerts();
    for alert in &all {
        let name = &alert.name;
        assert_eq!(all.iter().filter(|other| other.name == *name).count(), 1, "{name} is there once");
        assert!(name.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase()), "{name}");
        assert!(WINDOWS.contains(&alert.window_minutes), "{name}: {} minutes", alert.window_minutes);
        assert!(EVERY.contains(&alert.every_minutes), "{name}: every {} minutes", alert.every_minutes);
        assert!(alert.every_minutes <= alert.window_minutes, "{name}: what is between two windows is lost");
        assert!((0..=4).contains(&alert.severity), "{name}");
        assert!(alert.means.ends_with('.') && alert.means.len() < 250, "{name}");
        let is_of_lines = matches!(alert.kind, Kind::Event | Kind::Absence | Kind::Silence);
        assert_eq!(is_of_lines, !alert.events.is_empty(), "{name}");
        assert_eq!(alert.kind == Kind::Web, alert.expects.is_some(), "{name}");
        assert_eq!(alert.kind == Kind::Host, alert.condition.is_some(), "{name}");
        let is_of_absence = matches!(alert.kind, Kind::Absence | Kind::Silence);
        assert_eq!(is_of_absence, alert.at_least.is_none(), "{name}");
        alert.measure();
    }
}
