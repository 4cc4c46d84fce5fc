//! `explain` as a process: whom a text means, what others gave, what is in the way, and what to type next.

use super::operator_commands::Desk;
use crate::support::idp::member;
use serde_json::{Value, json};
use std::process::Command;
use uuid::Uuid;

const EAST: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup/providers/\
                    Microsoft.RecoveryServices/vaults/east";

impl Desk {
    #[track_caller]
    fn says(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        text
    }

    fn explained(&self, person: &str) -> Value {
        self.json(&["explain", person, "--json"]).remove(0)
    }

    /// The line to type that ends a text.
    fn line(&self, words: &str) -> String {
        format!("\n  azure-backup-scim {words} --control-url {}\n", self.local.ready.control_url)
    }

    async fn order(&self, path: &str, body: &Value) {
        let url = format!("{}{path}", self.local.ready.control_url);
        let answer = reqwest::Client::new().post(url).json(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    async fn person(&self, body: Value) -> String {
        let made = self.idp.post("/Users", body).await;
        made.body["id"].as_str().unwrap().to_owned()
    }
}

#[track_caller]
fn has(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} is not in\n{text}");
}

#[actix_web::test]
async fn a_text_that_means_no_person_or_group_names_those_who_are_called_like_it() {
    let desk = Desk::open();
    let kim = json!({"userName": "kim.sorensen@contoso.example", "displayName": "Kim Sorensen", "externalId": Uuid::new_v4()});
    let kim = desk.person(kim).await;
    let line = format!("people with it in their names:\n  {kim}  kim.sorensen@contoso.example\n");
    for arguments in [
        &["explain", "KIM"][..],
        &["explain", "kim.sorensen"],
        &["report", "--person", "sorensen"],
        &["audit", "--person", "Kim Sorensen"],
        &["revoke", "kim", "--because", "x"],
    ] {
        has(&desk.says(arguments, 2), &line);
    }
    assert!(!desk.says(&["explain", "zoe"], 2).contains("in their names"));
    let evil = desk.person(json!({"userName": "eve@contoso.example", "displayName": "x"})).await;
    for n in 0..11 {
        desk.person(json!({"userName": format!("team{n}@contoso.example")})).await;
    }
    has(&desk.says(&["explain", "team"], 2), "\n  and 1 more\n");
    desk.idp.delete(&format!("/Users/{evil}")).await;
    has(&desk.says(&["explain", "eve"], 2), &format!("{evil}  eve@contoso.example  (deleted)\n"));

    let group = desk.idp.create_group("Vault Operators East").await;
    has(&desk.says(&["audit", "--group", "vault operators EAST"], 0), "Vault Operators East");
    let alike = format!("groups with it in their names:\n  {group}  Vault Operators East\n");
    has(&desk.says(&["audit", "--group", "operators"], 2), &alike);
    has(&desk.says(&["audit", "--group", "zoe"], 2), "is no displayName or SCIM id of a group");
}

#[actix_web::test]
async fn what_others_gave_is_told_with_the_names_of_users() {
    let desk = Desk::open();
    let (ana_id, tom_id) = (Uuid::new_v4(), Uuid::new_v4());
    let ana = desk.idp.create_user("ana@contoso.example", ana_id).await;
    let tom = desk.idp.create_user("tom@contoso.example", tom_id).await;
    let group = desk.idp.create_group("vault-operators").await;
    // Who holds a role is known by the object id.
    for user in [&ana, &tom] {
        desk.idp.patch(&format!("/Groups/{group}"), member("add", user)).await;
    }
    let name = Uuid::new_v4();
    let made = json!({"scope": EAST, "role": "Backup Contributor", "principal": ana_id, "name": name, "created_by": tom_id});
    desk.order("/assignments", &made).await;
    desk.order("/clock/advance", &json!({"seconds": 3700})).await;
    let told = (0..200).map(|_| desk.says(&["explain", &ana], 0));
    let told = told.into_iter().find(|told| told.contains("not by this service")).expect("a sweep sees it");
    has(&told, &format!("\nnot by this service: Backup Contributor at {EAST}, first seen "));
    has(&told, &format!("  made by {tom_id} (tom@contoso.example) on "));
    has(&told, &desk.line(&format!("report --person {ana}")));
    let told = desk.explained(&ana);
    assert_eq!(
        (&told["byOthers"][0]["createdByName"], &told["byOthers"][0]["role"]),
        (&json!("tom@contoso.example"), &json!("Backup Contributor"))
    );

    let told = desk.says(&["explain", &name.to_string()], 0);
    has(
        &told,
        &format!(
            "  of the User {ana_id} (ana@contoso.example)\n  not made by this service: made by {tom_id} (tom@"
        ),
    );
    let told = desk.says(&["audit", "--kind", "foreign-access-seen"], 0);
    has(&told, &format!("for {ana_id} (ana@contoso.example)"));
    has(&told, &format!("made by {tom_id} (tom@contoso.example)"));
    let ids = desk.says(&["audit", "--kind", "foreign-access-seen", "--pseudonyms"], 0);
    assert!(ids.contains(&ana_id.to_string()) && !ids.contains("@contoso"), "{ids}");
}

#[actix_web::test]
async fn what_is_in_the_way_says_how_since_when_and_by_whom() {
    let desk = Desk::open();
    let group = desk.idp.create_group("vault-operators").await;
    let lunch = desk.idp.create_group("Lunch \u{202e}Club").await;
    desk.idp.create_group("vault-readers").await;
    let principal = Uuid::new_v4();
    let ana = desk.idp.create_user("ana@contoso.example", principal).await;
    let ben = desk.person(json!({"userName": "ben@contoso.example"})).await;
    for user in [&ana, &ben] {
        desk.idp.patch(&format!("/Groups/{group}"), member("add", user)).await;
    }
    desk.idp.patch(&format!("/Groups/{lunch}"), member("add", &ana)).await;
    let cem = desk.idp.create_user("cem@contoso.example", principal).await;
    desk.idp.patch(&format!("/Groups/{group}"), member("add", &cem)).await;

    let told = desk.says(&["explain", &ana], 0);
    has(&told, "groups: ");
    has(&told, "vault-operators (bound by operators-east)");
    has(&told, "(not bound)");
    assert!(!told.contains('\u{202e}'), "{told}");
    let (held, strange) =
        (told.find("\n  yes since "), told.find("\nnot a member of: vault-readers (readers-"));
    assert!(held < strange, "{told}");
    has(&desk.says(&["explain", &ben], 0), "  no (pending-principal): member of vault-operators\n");
    let told = desk.says(&["explain", &cem], 0);
    has(&told, &format!("which another user holds\n  that user: ana@contoso.example, SCIM id {ana}\n"));
    has(&told, "no (principal-conflict): member of vault-operators\n");

    let at = desk.says(&["explain", &ana, "--at", "0m"], 0);
    has(&at, "member of vault-operators of binding operators-east");
    assert!(!at.contains(&group), "{at}");

    let placed = desk.says(&["revoke", &ana, "--because", "incident 7"], 0);
    has(&placed, &format!("revoke {principal} (ana@contoso.example)\n"));
    has(&desk.says(&["orders"], 0), &format!("revoke {principal} (ana@contoso.example)\n"));
    let told = desk.says(&["explain", &ana], 0);
    has(&told, " by olga: incident 7\n");
    has(&told, "  no (braked): member of vault-operators\n");
    assert_eq!(desk.explained(&ana)["brake"]["because"], "incident 7");

    let inactive = json!({"op": "replace", "path": "active", "value": false});
    desk.idp.patch(&format!("/Users/{ben}"), inactive).await;
    let told = desk.says(&["explain", &ben], 0);
    has(&told, "who is inactive.\n  what would change it: activate the user (identity admin)\n");
    has(&told, &desk.line(&format!("explain {ben} --at 24h")));
    has(&told, &desk.line(&format!("audit --person {ben} --since 365d")).replacen('\n', "", 1));
}

#[test]
fn a_command_without_a_place_names_the_flags() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_azure-backup-scim")).args(["explain", "ana"]).env_clear().output();
    let said = String::from_utf8(output.unwrap().stderr).unwrap();
    has(&said, "--tables");
    has(&said, "--control-url");
}
