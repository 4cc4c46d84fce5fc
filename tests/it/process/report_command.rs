//! `report` as a process, against a `local` that runs and its Azure.

use crate::support::idp::{Idp, member};
use crate::support::local_process::LocalProcess;
use serde_json::{Value, json};
use std::process::{Command, Output};
use tempfile::TempDir;
use uuid::Uuid;

const SUBSCRIPTION: &str = "/subscriptions/00000000-0000-0000-0000-000000000001";
const EAST: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup/providers/\
                    Microsoft.RecoveryServices/vaults/east";

struct Desk {
    local: LocalProcess,
    idp: Idp,
    state: TempDir,
}

impl Desk {
    fn open() -> Self {
        let state = tempfile::tempdir().unwrap();
        let local = LocalProcess::start(state.path(), &[]);
        let idp = Idp::new(&local.ready.base_url, &local.ready.token);
        Self { local, idp, state }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"))
            .arg("report")
            .args(arguments)
            .args(["--control-url", &self.local.ready.control_url])
            .env_clear()
            .output()
            .unwrap()
    }

    #[track_caller]
    fn report(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[track_caller]
    fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn is_mistake(&self, arguments: &[&str], said: &str) {
        let output = self.run(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && text.contains(said), "{arguments:?}: {text}");
    }

    /// Somebody gives a role in the portal.
    async fn give(&self, scope: &str, role: &str, who: Uuid) {
        self.order("/assignments", json!({"scope": scope, "role": role, "principal": who})).await;
    }

    /// Entra ID has a person of that name.
    async fn know(&self, who: Uuid, name: &str) {
        self.order("/users", json!({"id": who, "displayName": name, "userPrincipalName": name})).await;
    }

    async fn order(&self, path: &str, body: Value) {
        let url = format!("{}{path}", self.local.ready.control_url);
        let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    async fn joined(&self, name: &str, group: &str) -> (String, Uuid) {
        let principal = Uuid::new_v4();
        let user = self.idp.create_user(name, principal).await;
        self.idp.patch(&format!("/Groups/{group}"), member("add", &user)).await;
        (user, principal)
    }
}

fn names(report: &Value) -> Vec<&str> {
    report["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap_or("?")).collect()
}

/// Facts: F-038, F-102.
#[actix_web::test]
async fn a_report_names_everyone_who_can_act_now_and_says_why() {
    let desk = Desk::open();
    let group = desk.idp.create_group("vault-operators").await;
    let (ana, _) = desk.joined("ana@contoso.example", &group).await;
    let owner = Uuid::new_v4();
    desk.give(SUBSCRIPTION, "Owner", owner).await;
    desk.give(SUBSCRIPTION, "Reader", Uuid::new_v4()).await;

    let report = desk.report(&["east"]);
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{report:#}");
    let ana_row = rows.iter().find(|row| row["name"] == "ana@contoso.example").unwrap();
    assert_eq!(ana_row["can"], json!(["restore", "detach-guard"]));
    assert_eq!((&ana_row["user"], &ana_row["given"]["by"]), (&json!(ana), &json!("this service")));
    let why = ana_row["why"].as_str().unwrap();
    assert!(why.contains("member of vault-operators of binding operators-east (request of "), "{why}");
    let owner_row = rows.iter().find(|row| row["objectId"] == owner.to_string()).unwrap();
    assert_eq!((owner_row["can"].as_array().unwrap().len(), &owner_row["madeAt"]), (5, &json!(SUBSCRIPTION)));
    let why = owner_row["why"].as_str().unwrap();
    let above =
        "not by this service: inherited from subscription 00000000-0000-0000-0000-000000000001, made by ";
    assert!(why.starts_with(above), "{owner_row}");

    let text = desk.text(&["east"]);
    assert!(text.starts_with("Who can act on the backups of east, now\n"), "{text}");
    assert!(text.contains("ana@contoso.example") && text.contains("Azure Lighthouse"), "{text}");
    assert!(text.contains("\n\n2 people hold 2 roles\n"), "{text}");
    assert_eq!(names(&desk.report(&["east", "--person", "ANA@contoso.example"])), ["ana@contoso.example"]);
    assert_eq!(desk.report(&["--can", "give-access"])["rows"].as_array().unwrap().len(), 1);
    let output = desk.run(&["east", "--csv"]);
    let csv = String::from_utf8(output.stdout).unwrap();
    let columns: Vec<usize> = csv.lines().map(|line| line.split("\",\"").count()).collect();
    assert!(columns.len() == 3 && columns.iter().all(|number| *number == columns[0]), "{csv}");
    assert!(csv.contains("\"ana@contoso.example\""), "{csv}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.lines().all(|line| line.starts_with("not seen: ")) && said.contains("Lighthouse"), "{said}");
    // Without asking Azure nobody but ours is known: no sweep has seen the owner.
    assert_eq!(names(&desk.report(&["east", "--recorded"])), ["ana@contoso.example"]);
}

#[actix_web::test]
async fn a_past_moment_is_what_was_recorded_then() {
    let desk = Desk::open();
    let group = desk.idp.create_group("vault-operators").await;
    let (ana, _) = desk.joined("ana@contoso.example", &group).await;
    let held = time::OffsetDateTime::now_utc();
    desk.idp.delete(&format!("/Users/{ana}")).await;
    let at = held.format(&time::format_description::well_known::Rfc3339).unwrap();
    assert_eq!(names(&desk.report(&["east"])), Vec::<&str>::new());
    let past = desk.report(&["east", "--at", &at]);
    assert_eq!(names(&past), ["ana@contoso.example"], "{past:#}");
    assert_eq!(desk.report(&["east", "--at", "24h"])["rows"], json!([]));
    let text = desk.text(&["east", "--at", "24h"]);
    let (begins, rows) = (text.find("the audit begins at"), text.find("nobody, as far as can be seen"));
    assert!(begins.is_some() && begins < rows, "{text}");
    // A deleted user has nothing now: the past is where to look.
    let place = format!("--control-url {}", desk.local.ready.control_url);
    let text = desk.text(&["--person", "ana@contoso.example"]);
    let next = format!("\n  azure-backup-scim explain {ana} --at 24h {place}\n");
    assert!(text.contains(&next) && text.contains(&format!("audit --person {ana} --since 365d")), "{text}");
}

#[actix_web::test]
async fn every_present_way_of_one_person_is_named() {
    let desk = Desk::open();
    let group = desk.idp.create_group("vault-operators").await;
    let (ana, _) = desk.joined("ana@contoso.example", &group).await;
    let night = desk.idp.create_group("night-shift").await;
    desk.idp.patch(&format!("/Groups/{night}"), member("add", &ana)).await;
    let rows = desk.report(&["east", "--person", &ana])["rows"].clone();
    let why = rows[0]["why"].as_str().unwrap();
    let both = "member of night-shift of binding night-shift-east; member of vault-operators of binding operators-east (";
    assert!(why.starts_with(both), "{why}");
}

#[actix_web::test]
async fn a_name_that_only_entra_knows_means_the_rows_that_show_it() {
    let desk = Desk::open();
    let group = desk.idp.create_group("vault-operators").await;
    let (_, ana) = desk.joined("ana@contoso.example", &group).await;
    let viktor = Uuid::new_v4();
    desk.give(EAST, "Backup Reader", viktor).await;
    desk.know(viktor, "viktor@contoso.example").await;
    assert_eq!(
        names(&desk.report(&["east", "--person", "VIKTOR@contoso.example"])),
        ["viktor@contoso.example"]
    );
    desk.is_mistake(&["--person", "Ana"], "people with it in their names:\n  ");
    assert_eq!(desk.report(&["--person", &ana.to_string()])["rows"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn the_page_has_the_people_and_their_past() {
    let desk = Desk::open();
    let group = desk.idp.create_group("vault-operators").await;
    let (ana, _) = desk.joined("ana@contoso.example", &group).await;
    desk.joined("</script><img src=x onerror=alert(1)>", &group).await;
    desk.idp.delete(&format!("/Users/{ana}")).await;
    let file = desk.state.path().join("page.html");
    desk.text(&["--html", file.to_str().unwrap()]);
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.contains("Content-Security-Policy") && page.contains("ana@contoso.example"));
    assert!(!page.contains("<img src=x"), "names are data");
    assert_eq!(page.matches("</script>").count(), 2, "the data and the script");
}

#[test]
fn what_a_report_cannot_mean_is_a_mistake() {
    let desk = Desk::open();
    desk.is_mistake(&["north"], "no scope of the bindings is called \"north\" (there are: ");
    desk.is_mistake(&["/subscriptions/x"], "is no scope");
    desk.is_mistake(&["--at", "tomorrow"], "is not a time");
    desk.is_mistake(&["--at", "2999-01-01"], "--at is in the future");
    desk.is_mistake(&["--person", "nobody"], "is no userName");
    desk.is_mistake(&["--can", "fly"], "possible values");
    assert_eq!(desk.report(&[EAST])["scopes"], json!([EAST]));
}
