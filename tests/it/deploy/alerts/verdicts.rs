//! Each rule over what was really written: it fires with the fault and is silent without. What came of it is in `verdicts.md`.

use super::evaluate::{Parameters, Records, Row, meant, rows};
use super::faults::{self, FAULTS, Run};
use super::kql;
use super::table::{Alert, Kind, alert, alerts};
use crate::deploy::infra::root;
use crate::scim::http_edge::Service;
use crate::support::cloud::{Cloud, SECRET, TOKEN, until};
use crate::support::harness::{VAULT_EAST, World};
use crate::support::host::{Call, Transport};
use crate::support::host_client::ask;
use azure_backup_scim::adapters::clock::SystemClock;
use azure_backup_scim::ports::clock::Clock;
use azure_backup_scim::rbac::BackupRole::Operator;
use azure_backup_scim::simulator::{
    AzureService, FaultAction, FaultRule, HandMade, RoleAssignment, Scope, SecretUpdate,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

fn now() -> OffsetDateTime {
    SystemClock::new().now()
}

/// More than a percentile needs.
const REQUESTS: usize = 24;

/// A fault, what was written with it, and what the rule says of it.
struct Verdict {
    alert: String,
    fault: String,
    written: String,
    with: Vec<Row>,
    without: Vec<Row>,
    /// The value is the same in every run.
    is_exact: bool,
}

impl Verdict {
    fn new(
        alert: &Alert,
        fault: &str,
        written: impl Into<String>,
        with: Vec<Row>,
        without: Vec<Row>,
    ) -> Self {
        let (alert, fault) = (alert.name.clone(), fault.to_owned());
        Self { alert, fault, written: written.into(), with, without, is_exact: true }
    }

    fn about(self) -> Self {
        Self { is_exact: false, ..self }
    }

    fn line(&self) -> String {
        let row = |(by, value): &Row| {
            let value = if self.is_exact { format!(" ({value})") } else { String::new() };
            format!("fires{value}{}", by.iter().map(|text| format!(", {text}")).collect::<String>())
        };
        let with: Vec<String> = self.with.iter().map(row).collect();
        let without = if self.without.is_empty() { "silent" } else { "fires" };
        format!("| {} | {} | {} | {without} |\n", self.fault, self.written, with.join("; "))
    }
}

/// The lines of the service.
fn of_lines() -> Vec<Verdict> {
    let runs = faults::run_all();
    let parameters = Parameters { labels: vec!["entra".to_owned()], ..Parameters::default() };
    let verdict = |(fault, name, _): &(&str, &str, _)| {
        let alert = alert(name);
        let judged = |run: &Run| rows(&alert, &records(run), &parameters, run.now);
        let [without, with] = &runs[*fault];
        Verdict::new(&alert, fault, written(&alert, with), judged(with), judged(without))
    };
    FAULTS.iter().map(|(fault, name, plant)| verdict(&(*fault, *name, plant))).collect()
}

/// All places are answered the same.
fn records(run: &Run) -> Records {
    let health = run.lines.iter().filter_map(|line| line.strip_prefix("healthz "));
    let health =
        health.flat_map(|answer| [answer.to_owned(), answer.to_owned(), answer.to_owned()]).collect();
    Records { lines: run.lines.clone(), health, ..Records::default() }
}

fn written(alert: &Alert, run: &Run) -> String {
    if alert.kind == Kind::Web {
        let answer = run.lines.iter().find_map(|line| line.strip_prefix("healthz ")).unwrap();
        let answer: Value = serde_json::from_str(answer).unwrap();
        return format!("`\"status\": {}`", answer["status"]);
    }
    let meant = meant(alert, &run.lines, run.now);
    let Some(last) = meant.last() else { return "no such line in the window".to_owned() };
    let said = last["message"].as_str().unwrap();
    format!("`{}`, \"{said}\"", last["event"].as_str().unwrap())
}

/// A token that expires in ten days, and one that lasts for a year.
fn of_tokens() -> Verdict {
    let alert = alert("token-expires");
    let run = |days: i64| {
        let cloud = Cloud::start();
        let expires = (now() + Duration::days(days)).unix_timestamp();
        let azure = cloud.azure.handle();
        let version = azure.secrets()[SECRET].versions[0].id.clone();
        azure
            .update_secret(SECRET, &version, SecretUpdate { exp: Some(expires), ..SecretUpdate::default() })
            .unwrap();
        let serve = cloud.serve();
        let edge = Service(serve.origin().trim_start_matches("http://").parse().unwrap());
        let health = || edge.send("GET", "/healthz", &[], b"").json();
        until("the tokens are loaded", || (health()["tokens"] == "usable").then_some(()));
        serve.end().iter().map(Value::to_string).collect::<Vec<_>>()
    };
    let (with, without) = (run(10), run(365));
    let judged = |lines: &[String]| {
        let records = Records { lines: lines.to_vec(), ..Records::default() };
        rows(&alert, &records, &Parameters::default(), now() + Duration::minutes(1))
    };
    let written = "`token-expires`, \"the last bearer token of a label expires soon\"";
    Verdict::new(&alert, "a token that expires in ten days", written, judged(&with), judged(&without))
}

/// What the stand-in for the host recorded while the vault gave no answer: first requests wait, and are 503 then.
fn of_the_host() -> Vec<Verdict> {
    let calls = |faulty: bool| {
        let cloud = Cloud::start();
        if faulty {
            cloud
                .azure
                .handle()
                .add_rule(FaultRule::new(FaultAction::Hold).service(AzureService::Vault))
                .unwrap();
        }
        let host = cloud.host(Transport::Proxy);
        host.settled();
        let get = || ask(&host, "GET", "/scim/v2/Users").header("authorization", &format!("Bearer {TOKEN}"));
        let asked: Vec<_> = (0..REQUESTS).map(|_| get().in_background()).collect();
        asked.into_iter().for_each(|answer| drop(answer.join().unwrap().unwrap()));
        host.calls()
    };
    let (with, without) = (calls(true), calls(false));
    assert!(with.iter().all(|call| call.success), "for the host an answer is a success");
    let now = now();
    let verdict = |name: &str, written: &str| {
        let alert = alert(name);
        let judged = |calls: &[Call]| {
            let requests = calls.iter().map(|call| request(call, now)).collect();
            rows(&alert, &Records { requests, ..Records::default() }, &Parameters::default(), now)
        };
        Verdict::new(&alert, "the vault gives no answer", written, judged(&with), judged(&without))
    };
    vec![
        verdict("server-errors", "24 requests with `ResultCode` 503 and `Success` true"),
        verdict("slow-requests", "24 requests with `DurationMs` over 5,000").about(),
    ]
}

/// As the host's telemetry has it.
fn request(call: &Call, now: OffsetDateTime) -> Value {
    json!({
        "TimeGenerated": now.format(&Rfc3339).unwrap(),
        "Name": call.function,
        "ResultCode": call.status.to_string(),
        "DurationMs": call.duration.as_secs_f64() * 1000.0,
        "Success": call.success,
    })
}

/// What the simulated Azure knows of who made an assignment, as the activity log would have it.
fn of_activity() -> Verdict {
    let alert = alert("foreign-role-assignment");
    let stranger = Uuid::from_u128(7);
    let run = |faulty: bool| {
        let world = World::new().bind("operators", Operator, VAULT_EAST);
        let node = world.start();
        let (group, ana) = (node.group("operators"), node.provision("ana"));
        node.join(&group, &[&ana]);
        let ours = world.azure().assignments()[0].created_by;
        if faulty {
            let scope = Scope::parse(VAULT_EAST).unwrap();
            let made = HandMade::new(scope, "Backup Contributor", Uuid::new_v4());
            world.azure().make_assignment(&HandMade { created_by: Some(stranger), ..made }).unwrap();
        }
        let now = world.clock.now();
        let record = |assignment: &RoleAssignment| {
            let id = format!(
                "{}/providers/Microsoft.Authorization/roleAssignments/{}",
                assignment.scope, assignment.name
            );
            json!({
                "TimeGenerated": now.format(&Rfc3339).unwrap(),
                "OperationNameValue": "MICROSOFT.AUTHORIZATION/ROLEASSIGNMENTS/WRITE",
                "ActivityStatusValue": "Success",
                "Caller": assignment.created_by,
                "Authorization_d": { "action": "Microsoft.Authorization/roleAssignments/write", "scope": id },
                "CorrelationId": assignment.name,
            })
        };
        let activity: Vec<Value> = world.azure().assignments().iter().map(record).collect();
        assert_eq!(activity.len(), 1 + usize::from(faulty));
        let parameters = Parameters {
            ours: vec![ours.to_string()],
            scopes: vec![VAULT_EAST.to_lowercase()],
            ..Parameters::default()
        };
        rows(&alert, &Records { activity, ..Records::default() }, &parameters, now)
    };
    Verdict::new(
        &alert,
        "an assignment made by hand",
        "its record in the activity log, beside ours",
        run(true),
        run(false),
    )
}

/// As Azure documents the record.
fn of_the_cap() -> Verdict {
    let alert = alert("daily-cap");
    let now = now();
    let judged = |detail: &str| {
        let operations = vec![json!({"TimeGenerated": now.format(&Rfc3339).unwrap(), "Detail": detail})];
        rows(&alert, &Records { operations, ..Records::default() }, &Parameters::default(), now)
    };
    let (with, without) =
        (judged("The data volume is over the daily cap. Status: OverQuota"), judged("Status: UnderQuota"));
    Verdict::new(
        &alert,
        "the daily cap is reached",
        "a record in `Operation` (after the documents)",
        with,
        without,
    )
}

fn page(verdicts: &[Verdict]) -> String {
    let mut page = "# What each rule says of a fault

Written by `each_alert_fires_with_its_fault_and_is_silent_without`. The fault was planted in a running service; the rule
was judged over what it wrote then, and over what the same service wrote without the fault.
"
    .to_owned();
    for alert in alerts() {
        let query = if alert.is_query() { kql::query(&alert) } else { String::new() };
        let query = match &alert.expects {
            Some(expects) => format!("The answer has to hold `{expects}`."),
            None => format!("```kusto\n{query}\n```"),
        };
        page += &format!(
            "\n## {}\n\n{query}\n\n| fault | written | with it | without it |\n|---|---|---|---|\n",
            alert.name
        );
        page.extend(verdicts.iter().filter(|verdict| verdict.alert == alert.name).map(Verdict::line));
    }
    page
}

/// `UPDATE_GOLDEN=1 cargo test` writes the page anew.
/// Facts: F-184, F-186, F-187.
#[test]
#[expect(clippy::disallowed_methods, reason = "tests may read the environment")]
fn each_alert_fires_with_its_fault_and_is_silent_without() {
    let mut verdicts = of_lines();
    verdicts.extend(of_the_host());
    verdicts.extend([of_tokens(), of_activity(), of_the_cap()]);
    let judged: BTreeSet<&str> = verdicts.iter().map(|verdict| verdict.alert.as_str()).collect();
    let missing: Vec<String> =
        alerts().into_iter().map(|alert| alert.name).filter(|name| !judged.contains(name.as_str())).collect();
    assert_eq!(missing, [""; 0], "no fault was planted for these rules");
    for verdict in &verdicts {
        assert!(!verdict.with.is_empty(), "{} is silent with: {}", verdict.alert, verdict.fault);
        assert_eq!(verdict.without, [], "{} fires without: {}", verdict.alert, verdict.fault);
    }
    let path = root().join("tests/it/deploy/alerts/verdicts.md");
    let made = page(&verdicts);
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(&path, &made).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), made, "run UPDATE_GOLDEN=1 cargo test, and read it");
}
