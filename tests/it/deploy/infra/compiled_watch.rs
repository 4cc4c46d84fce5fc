//! What is deployed to watch the service, by the compiler: the rules of the table with their queries filled in, where they send
//! mail, the workbook, and who touched the state. Nothing is checked without a compiler.

use super::{EAST, WEST, binding, file, read, text, vault};
use crate::deploy::alerts::table::{Kind, alerts};
use crate::deploy::compiler::{Compiler, Session, TemplateCopy};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

const BASE: [(&str, &str); 2] = [("environmentName", "prod"), ("location", "westeurope")];
/// Everything that turns a rule on, and one that is left out.
const WATCHED: [(&str, &str); 7] = [
    ("alertEmail", "oncall@contoso.example"),
    ("alertsOff", "foreign-access, slow-requests"),
    ("silenceLabels", "entra, okta, drill"),
    ("activityLogAlert", "true"),
    ("dailyCapGB", "5"),
    ("healthTest", "true"),
    ("publicBaseUrl", "https://scim.contoso.example"),
];

fn made(session: &mut Session, bindings: &str, parameters: &[(&str, &str)]) -> Vec<Value> {
    let templates = TemplateCopy::new(bindings);
    let parameters = [&BASE[..], parameters].concat();
    let snapshot = session.snapshot(&templates.parameters("main.bicep", &parameters));
    snapshot["predictedResources"].as_array().unwrap().clone()
}

fn of<'a>(made: &'a [Value], kind: &str) -> Vec<&'a Value> {
    made.iter().filter(|resource| resource["type"] == kind).collect()
}

/// What a fresh checkout deploys, evaluated once for all tests.
fn fresh(what: &str) -> Option<&'static [Value]> {
    static FRESH: OnceLock<Vec<Value>> = OnceLock::new();
    let compiler = Compiler::find(what)?;
    Some(FRESH.get_or_init(|| made(&mut compiler.session(), &read("bindings.json"), &[])))
}

/// The deployed rules by their names in the table.
fn rules(made: &[Value]) -> BTreeMap<String, &Value> {
    let queries = of(made, "Microsoft.Insights/scheduledQueryRules");
    let tests = of(made, "Microsoft.Insights/metricAlerts");
    let named = queries.into_iter().chain(tests);
    named.map(|rule| (text(&rule["name"]).rsplit_once('-').unwrap().0.to_owned(), rule)).collect()
}

fn query(rule: &Value) -> String {
    text(&rule["properties"]["criteria"]["allOf"][0]["query"])
}

fn names(on: &[&str], off: &[&str]) -> BTreeSet<String> {
    let all = alerts().into_iter().filter(|alert| on.contains(&alert.on.as_str()));
    all.map(|alert| alert.name).filter(|name| !off.contains(&name.as_str())).collect()
}

/// Facts: F-183, F-184, F-185.
#[test]
fn the_rules_of_the_table_are_deployed_as_the_parameters_say() {
    let Some(fresh) = fresh("the rules that are deployed") else { return };
    assert_eq!(rules(fresh).into_keys().collect::<BTreeSet<_>>(), names(&["always", "healthTest"], &[]));
    assert!(of(fresh, "Microsoft.Insights/actionGroups").is_empty(), "no address, no mail");

    let mut session = Compiler::find("the same").unwrap().session();
    let scopes = file(&[binding("a", "Backup Reader", &vault(EAST, "East"))], &[&format!("{WEST}/")]);
    let watched = made(&mut session, &scopes, &WATCHED);
    assert_watched(&watched);
    assert_health_is_tested(&watched);

    // The text of a query is limited: of many scopes the subscriptions are watched.
    let many: Vec<Value> =
        (0..31).map(|n| binding(&format!("b{n}"), "Backup Reader", &vault(EAST, &format!("v{n}")))).collect();
    let untested = [("activityLogAlert", "true"), ("healthTest", "false")];
    let made = made(&mut session, &file(&many, &[]), &untested);
    let query = query(rules(&made)["foreign-role-assignment"]);
    assert!(query.contains(&format!("dynamic([\"{EAST}\"])")) && !query.contains("/vaults/"), "{query}");
    for kind in ["Microsoft.Insights/webtests", "Microsoft.Insights/metricAlerts"] {
        assert!(of(&made, kind).is_empty(), "{kind}");
    }
}

#[track_caller]
fn assert_watched(watched: &[Value]) {
    let every = ["always", "silenceLabels", "activityLogAlert", "dailyCapGB", "healthTest"];
    let deployed = rules(watched);
    let expected = names(&every, &["foreign-access", "slow-requests"]);
    assert_eq!(deployed.keys().cloned().collect::<BTreeSet<_>>(), expected);
    for alert in alerts().iter().filter(|alert| alert.is_query()) {
        let Some(rule) = deployed.get(&alert.name) else { continue };
        let query = query(rule);
        // Ids of what is deployed beside it are known to Azure only.
        assert!(!query.contains("__") || alert.kind == Kind::Activity, "{}: {query}", alert.name);
        assert_eq!(rule["properties"]["severity"], alert.severity, "{}", alert.name);
        let mailed = rule["properties"]["actions"]["actionGroups"].as_array().unwrap();
        assert!(text(&mailed[0]).contains("Microsoft.Insights/actionGroups/ag-"), "{}", alert.name);
    }
    assert!(query(deployed["unauthorized-burst"]).ends_with("| where value >= 100"));
    assert!(query(deployed["no-call"]).contains(r#"dynamic(["entra","okta"])"#));
    let activity = query(deployed["foreign-role-assignment"]);
    for scope in [vault(EAST, "East").to_lowercase(), WEST.to_owned()] {
        assert!(activity.contains(&format!("\"{scope}\"")), "{scope} in {activity}");
    }
    assert_eq!(activity.matches("dynamic(__OURS__)").count(), 2);
    assert!(
        activity.contains(".principalId") && activity.contains(".clientId"),
        "ours are left out: {activity}"
    );
    for placeholder in ["__SCOPES__", "__THRESHOLD__"] {
        assert!(!activity.contains(placeholder), "{activity}");
    }
    let [mail] = of(watched, "Microsoft.Insights/actionGroups")[..] else { panic!("one address") };
    assert_eq!(mail["properties"]["emailReceivers"][0]["emailAddress"], "oncall@contoso.example");
    let [workspace] = of(watched, "Microsoft.OperationalInsights/workspaces")[..] else { panic!("one") };
    assert_eq!(workspace["properties"]["workspaceCapping"]["dailyQuotaGb"], 5);
}

#[track_caller]
fn assert_health_is_tested(watched: &[Value]) {
    let [test] = of(watched, "Microsoft.Insights/webtests")[..] else { panic!("one test") };
    assert_eq!(test["properties"]["Request"]["RequestUrl"], "https://scim.contoso.example/healthz");
    let content = &test["properties"]["ValidationRules"]["ContentValidation"];
    assert_eq!(content["ContentMatch"], r#""status":"ok""#);
    assert_eq!(content["PassIfTextFound"], json!(true));
}

/// Facts: F-063, F-182.
#[test]
fn who_touched_the_state_is_kept_for_thirteen_months() {
    let Some(fresh) = fresh("the records of who touched the state") else { return };
    let settings = of(fresh, "Microsoft.Insights/diagnosticSettings");
    let categories: BTreeSet<String> = settings
        .iter()
        .flat_map(|setting| setting["properties"]["logs"].as_array().unwrap())
        .filter(|log| log["enabled"] == json!(true))
        .map(|log| text(&log["category"]))
        .collect();
    assert_eq!(categories.iter().collect::<Vec<_>>(), ["AuditEvent", "StorageDelete", "StorageWrite"]);
    let vault = settings.iter().find(|setting| setting["properties"]["logs"][0]["category"] == "AuditEvent");
    assert_eq!(vault.unwrap()["properties"]["logAnalyticsDestinationType"], "Dedicated");
    let kept: BTreeMap<String, i64> = of(fresh, "Microsoft.OperationalInsights/workspaces/tables")
        .iter()
        .map(|table| {
            let name = text(&table["name"]);
            let days = table["properties"]["retentionInDays"].as_i64().unwrap();
            (name.rsplit('/').next().unwrap().to_owned(), days)
        })
        .collect();
    let tables = ["AZKVAuditLogs", "AzureActivity", "StorageBlobLogs", "StorageTableLogs"];
    assert_eq!(kept, tables.map(|table| (table.to_owned(), 396)).into_iter().collect());
}

#[test]
fn each_bound_subscription_sends_its_activity_log_where_it_is_watched() {
    let Some(compiler) = Compiler::find("the activity log") else { return };
    let bindings = file(
        &[
            binding("a", "Backup Reader", &vault(EAST, "one")),
            binding("b", "Backup Reader", &vault(EAST, "two")),
            binding("c", "Backup Reader", WEST),
        ],
        &[],
    );
    let mut session = compiler.session();
    let mut made = |workspace: &str| {
        let templates = TemplateCopy::new(&bindings);
        let parameters =
            [("principalId", "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"), ("workspaceId", workspace)];
        let snapshot = session.snapshot(&templates.parameters("delegation.bicep", &parameters));
        let all = snapshot["predictedResources"].as_array().unwrap().clone();
        all.into_iter()
            .filter(|one| one["type"] == "Microsoft.Insights/diagnosticSettings")
            .collect::<Vec<_>>()
    };
    assert_eq!(made(""), Vec::<Value>::new());
    let settings =
        made("/subscriptions/x/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/w");
    let subscriptions: BTreeSet<String> = settings
        .iter()
        .map(|setting| text(&setting["id"]).split("/providers/").next().unwrap().to_owned())
        .collect();
    assert_eq!(subscriptions, [EAST, WEST].map(str::to_owned).into_iter().collect());
    assert_eq!(settings.len(), 2, "one for each subscription");
}

#[test]
fn the_workbook_is_deployed_with_its_workspace() {
    let Some(fresh) = fresh("the workbook") else { return };
    let [workbook] = of(fresh, "Microsoft.Insights/workbooks")[..] else { panic!("one workbook") };
    let content = text(&workbook["properties"]["serializedData"]);
    assert!(!content.contains("__"), "a placeholder was left");
    let content: Value = serde_json::from_str(&content).unwrap();
    assert!(
        text(&content["fallbackResourceIds"][0]).contains("Microsoft.OperationalInsights/workspaces/log-")
    );
}
