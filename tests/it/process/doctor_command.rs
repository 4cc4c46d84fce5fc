//! `doctor` as a process, against a `local` that runs and its Azure.

use crate::deploy::infra::delegated;
use crate::support::idp::Idp;
use crate::support::local_process::LocalProcess;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::{Command, Output};
use tempfile::TempDir;
use uuid::Uuid;

/// The identity that all callers of the simulated Azure are.
const SERVICE: &str = "ca11e400-0000-4000-8000-000000000001";
const ADMINISTRATOR: &str = "Role Based Access Control Administrator";
const SUBSCRIPTION: &str = "/subscriptions/00000000-0000-0000-0000-000000000001";
const EAST: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup/providers/\
                    Microsoft.RecoveryServices/vaults/east";
const WEST: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup/providers/\
                    Microsoft.RecoveryServices/vaults/west";

struct Desk {
    local: LocalProcess,
    idp: Idp,
    _state: TempDir,
}

impl Desk {
    /// Everything is as a deployment leaves it, and the groups have arrived.
    async fn in_order() -> Self {
        let desk = Self::open();
        for (scope, condition) in rights() {
            desk.give(&scope, Some(&condition)).await;
        }
        for group in ["vault-operators", "vault-readers", "backup-admins", "night-shift"] {
            desk.idp.create_group(group).await;
        }
        desk.idp.create_user("ana@contoso.example", Uuid::new_v4()).await;
        desk
    }

    fn open() -> Self {
        let state = tempfile::tempdir().unwrap();
        let local = LocalProcess::start(state.path(), &[]);
        let idp = Idp::new(&local.ready.base_url, &local.ready.token);
        Self { local, idp, _state: state }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"))
            .arg("doctor")
            .args(arguments)
            .args(["--control-url", &self.local.ready.control_url])
            .env_clear()
            .output()
            .unwrap()
    }

    /// What it says, and that the exit code is the one for it.
    #[track_caller]
    fn doctor(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        let levels = answer["findings"].as_array().unwrap().iter().map(|finding| &finding["level"]);
        let has_findings = levels.into_iter().any(|level| level == "error" || level == "warning");
        assert_eq!(output.status.code(), Some(i32::from(has_findings)), "{output:?}");
        answer
    }

    async fn order(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/{path}", self.local.ready.control_url);
        let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        let text = answer.text().await.unwrap();
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    /// A person gives the service a right in the portal.
    async fn give(&self, scope: &str, condition: Option<&str>) -> Value {
        let made = json!({
            "scope": scope, "role": ADMINISTRATOR, "principal": SERVICE, "type": "ServicePrincipal",
            "condition": condition, "condition_version": condition.map(|_| "2.0"),
        });
        self.order("assignments", made).await
    }
}

/// What `infra/delegation.bicep` delegates for the bindings of `local`.
fn rights() -> BTreeMap<String, String> {
    delegated(include_str!("../../../src/local/bindings.json"))
}

/// What is said while `local` has not come so far yet: how far it is when `doctor` runs is not known here.
const NOT_YET: [&str; 2] = ["no process has ticked yet", "no sweep has ended yet"];

/// What needs a person, as `level check: what, at places`.
fn needs(answer: &Value) -> Vec<String> {
    let findings = answer["findings"].as_array().unwrap().iter();
    let found = findings.filter(|finding| {
        let is_yet_to_come = NOT_YET.iter().any(|what| finding["what"] == *what);
        !is_yet_to_come && (finding["level"] == "error" || finding["level"] == "warning")
    });
    found
        .map(|finding| {
            let text = |name: &str| finding[name].as_str().unwrap().to_owned();
            let at: Vec<&str> =
                finding["at"].as_array().unwrap().iter().map(|at| at.as_str().unwrap()).collect();
            format!("{} {}: {} {}", text("level"), text("check"), text("what"), at.join(" "))
                .trim_end()
                .to_owned()
        })
        .collect()
}

#[actix_web::test]
async fn an_installation_in_order_is_told_what_it_can_do_at_most() {
    let desk = Desk::in_order().await;
    let answer = desk.doctor(&[]);
    assert_eq!(needs(&answer), Vec::<String>::new(), "{answer:#}");
    assert_eq!(answer["identity"], SERVICE);
    assert_eq!(
        answer["atMost"],
        "At most, this service can give Backup Contributor at resource group backup, Backup Operator at east, Backup \
         Reader at west, and below, to users and service principals; and take Backup Contributor, Backup Operator and \
         Backup Reader at resource group backup, east and west, and below, away from users and service principals. It \
         can give and take nothing else."
    );
    let output = desk.run(&["--identity", SERVICE]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("At most, this service can give ") && text.contains("\nok\n"), "{text}");
    assert!(text.contains("\nNot seen: rights through Entra groups, "), "{text}");
    assert!(text.contains("subscriptions other than those of the bindings and the ledger"), "{text}");
    assert!(text.contains("what only the running service knows (/healthz with a token)"), "{text}");
    assert!(
        text.contains("identity: the service is ca11e400-0000-4000-8000-000000000001 (as named)"),
        "{text}"
    );
}

#[actix_web::test]
async fn a_right_that_was_made_by_hand_without_a_condition_is_the_greatest_damage() {
    let desk = Desk::in_order().await;
    desk.give(SUBSCRIPTION, None).await;
    let answer = desk.doctor(&[]);
    assert_eq!(
        needs(&answer),
        [format!("error rights: the service's right has no condition {SUBSCRIPTION}")]
    );
    let at_most = answer["atMost"].as_str().unwrap();
    assert!(at_most.starts_with("At most, this service can give ANY role, Owner included, at "), "{at_most}");
    assert_eq!(answer["anyRoleAt"], json!([SUBSCRIPTION]));
}

#[actix_web::test]
async fn what_is_wrong_is_found_with_who_can_mend_it() {
    let desk = Desk::open();
    let rights = rights();
    for (scope, condition) in &rights {
        // The right at one vault is missing, and that at the other one is wider than its bindings.
        if !scope.ends_with("/west") {
            let reader = "a795c7a0-d4a2-40c1-ae25-d81f01202912";
            let wide = condition.replacen("GuidEquals {", &format!("GuidEquals {{{reader}, "), 1);
            let condition = if scope.ends_with("/east") { &wide } else { condition };
            desk.give(scope, Some(condition)).await;
        }
    }
    let lock = desk.order("locks", json!({ "scope": EAST, "level": "CanNotDelete" })).await;
    for group in ["vault-operators", "backup-admins", "night-shift"] {
        desk.idp.create_group(group).await;
    }
    let body = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "bo@contoso.example", "externalId": "bo", "active": true,
    });
    desk.idp.post("/Users", body).await;

    let answer = desk.doctor(&["--identity", SERVICE]);
    let group = format!("{SUBSCRIPTION}/resourceGroups/backup");
    let found = needs(&answer);
    for expected in [
        format!("error locks: a management lock (CanNotDelete) forbids taking roles away {EAST}"),
        format!("error rights: the service cannot give Backup Reader to users {WEST}"),
        "error people: 1 of 1 active people have no Entra object id".to_owned(),
        "warning groups: the binding readers-west finds no group whose externalId is \"vault-readers\""
            .to_owned(),
    ] {
        assert!(found.contains(&expected), "{expected}: {found:#?}");
    }
    assert!(
        found.iter().any(|line| line.contains("lets it give Backup Reader")
            && line.to_lowercase().ends_with(&EAST.to_lowercase())),
        "{found:#?}"
    );
    assert!(!found.iter().any(|line| line.ends_with(&group)), "{found:#?}");
    let findings = answer["findings"].as_array().unwrap();
    let of = |check: &str| findings.iter().find(|finding| finding["check"] == check).unwrap();
    assert_eq!(of("locks")["who"], "Azure admin");
    assert_eq!(of("locks")["how"], format!("remove the lock lock-{} at {EAST}", lock["id"]));
    let why = of("people")["why"].as_str().unwrap();
    assert!(
        why.ends_with("1 of 1 send a name as externalId, such as mailNickname. They are bo@contoso.example"),
        "{why}"
    );
}

#[actix_web::test]
async fn without_a_right_and_without_an_identity_that_is_said() {
    let desk = Desk::open();
    let answer = desk.doctor(&[]);
    assert_eq!(answer["identity"], Value::Null);
    let first =
        &answer["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "rights").unwrap();
    assert_eq!((&first["level"], &first["what"]), (&json!("not-checked"), &json!("the service's rights")));
    for member in ["given", "taken", "anyRoleAt", "anyRoleTakenAt", "to", "from"] {
        assert_eq!(answer[member], Value::Null, "{answer:#}");
    }
    assert_eq!(answer["isPartial"], true);
    let answer = desk.doctor(&["--identity", SERVICE]);
    let doubted = format!("warning identity: the service is probably not {SERVICE}");
    assert!(needs(&answer).contains(&doubted), "Entra ID does not know it: {answer:#}");
    assert!(answer["atMost"].as_str().unwrap().ends_with("its Entra object id is not known."), "{answer:#}");
    desk.order("service-principals", json!({ "id": SERVICE, "displayName": "backup-scim" })).await;
    let answer = desk.doctor(&["--identity", SERVICE]);
    assert_eq!(
        answer["atMost"],
        "What this service can do at most is not known: the simulated Azure lets it do everything, and no right of it was \
         made."
    );

    let output = desk.run(&["--identity", "ana"]);
    assert!(output.status.code() == Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("is no object id"));
}

#[actix_web::test]
async fn names_that_others_chose_reach_the_terminal_as_text() {
    let desk = Desk::open();
    let hostile = "Vault\u{1b}[2J\u{202e}\u{7}";
    let id = "aaaaaaaa-0000-4000-8000-00000000000a";
    let role = json!({
        "id": id, "roleName": hostile, "assignableScopes": [SUBSCRIPTION],
        "permissions": [{ "actions": ["Microsoft.RecoveryServices/*"] }],
    });
    desk.order("role-definitions", role).await;
    let held = json!({ "scope": EAST, "role": id, "principal": SERVICE, "type": "ServicePrincipal" });
    desk.order("assignments", held).await;
    // A delegation that names the role.
    let delegated =
        rights()[&EAST.to_lowercase()].replacen("GuidEquals {", &format!("GuidEquals {{{id}, "), 1);
    desk.give(SUBSCRIPTION, Some(&delegated)).await;

    // The binding readers-west may mean it.
    let group = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": "Vault-Readers\u{202e}", "externalId": "g\u{202e}7",
    });
    assert_eq!(desk.idp.post("/Groups", group).await.status, 201);

    let answer = desk.doctor(&["--identity", SERVICE]);
    assert!(answer["atMost"].as_str().unwrap().contains(r"Vault\u{1b}[2J\u{202e}\u{7}"), "{answer:#}");
    let output = desk.run(&["--identity", SERVICE]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(r#"the service also holds "Vault\u{1b}[2J\u{202e}\u{7}" ("#), "{text}");
    let meant = r#"the group "Vault-Readers\u{202e}" may be meant: select it by the externalId "g\u{202e}7""#;
    assert!(text.contains(meant), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{text:?}");
}
