//! A tenant of 5,000 people with twelve differences: exactly those are found, in a file and in Entra ID.

use super::*;
use azure_backup_scim::app::SystemClock;
use azure_backup_scim::engine::TableEngine;
use azure_backup_scim::ports::tables::{
    KeyRange, PAGE_ROWS_MAX, PropertyValue, RowProperties, TableOps, TableRow, TableWrite,
};
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::sync::Arc;

const PEOPLE: u128 = 5000;
/// The rows of a user that `parity` reads: the header, the names, and the membership from both sides.
const ROWS: [&str; 4] = ["u:", "n:", "m:", "ug:"];
/// What a reconcile writes into a header: nothing reconciles the others.
const PINNED: &str = "pinned";
const PARTITION: &str = "default";
const TRANSACTION_ROWS: usize = 100;

/// The groups of Entra ID, by the numbers of their object ids.
const ALL: u128 = 900_001;
const OTHERS: u128 = 900_002;
const MISSING: u128 = 900_003;
const NIGHT: u128 = 900_004;

/// Who differs.
const NOT_PROVISIONED: [u128; 2] = [10, 11];
const NOT_MEMBER: u128 = 12;
/// Not in the group there, and assigned themselves.
const NOT_LISTED: u128 = 13;
/// Not in any group there.
const NOT_ASSIGNED: u128 = 14;
const OTHER_USER_NAME: u128 = 15;
const OTHER_ID: u128 = 16;
const OTHER_ACTIVE: u128 = 17;
/// The role is wanted, and the scope is locked.
const NOT_HELD: u128 = 5001;

fn user_name(number: u128) -> String {
    person(&format!("p{number}"))
}

/// One user as the service stores them, whose rows the others are made of.
struct Template {
    rows: Vec<TableRow>,
    user: String,
    number: u128,
}

impl Template {
    /// The rows of another user.
    fn rows_of(&self, number: u128) -> Vec<TableWrite> {
        let stored_name = if number == OTHER_USER_NAME { person("former") } else { user_name(number) };
        let stored_id = if number == OTHER_ID { "p16".to_owned() } else { object_id(number).to_string() };
        let user = Uuid::from_u128(0x0b0b_0000_0000_4000_8000_0000_0000_0000 + number).to_string();
        let replaced = |text: &str| {
            let text = text.replace(&self.user, &user).replace(&user_name(self.number), &stored_name);
            text.replace(&object_id(self.number).to_string(), &stored_id)
        };
        let changed = |value: &PropertyValue| match value {
            PropertyValue::Text(text) => PropertyValue::Text(replaced(text)),
            PropertyValue::Binary(bytes) => {
                PropertyValue::Binary(replaced(std::str::from_utf8(bytes).unwrap()).into_bytes())
            }
            value => value.clone(),
        };
        let is_there = |row: &&TableRow| {
            let is_membership = row.key.starts_with("m:") || row.key.starts_with("ug:");
            !(is_membership && number == NOT_MEMBER)
        };
        let rows = self.rows.iter().filter(is_there);
        let write = |row: &TableRow| TableWrite::InsertOrReplace {
            key: replaced(&row.key),
            properties: row
                .properties
                .iter()
                .filter(|(name, _)| *name != PINNED)
                .map(|(name, value)| (name.clone(), changed(value)))
                .collect::<RowProperties>(),
        };
        rows.map(write).collect()
    }
}

async fn all_rows(engine: &TableEngine) -> Vec<TableRow> {
    let mut rows = Vec::new();
    let mut range =
        KeyRange { from: String::new(), to: "~".to_owned(), rows_max: PAGE_ROWS_MAX, continuation: None };
    loop {
        let page = engine.page(PARTITION, &range).await.unwrap().value;
        rows.extend(page.rows);
        range.continuation = page.continuation;
        if range.continuation.is_none() {
            return rows;
        }
    }
}

/// Adds everyone to the store, as if they had been provisioned long ago.
async fn populate(state: &Path, user: &str) {
    let engine = TableEngine::redb(state.join("tables.redb"), Arc::new(SystemClock::new())).unwrap();
    let is_of_user = |row: &TableRow| {
        ROWS.iter().any(|prefix| row.key.starts_with(prefix)) && row.key.split(':').any(|part| part == user)
    };
    let rows: Vec<TableRow> = all_rows(&engine).await.into_iter().filter(is_of_user).collect();
    assert_eq!(rows.len(), ROWS.len(), "{rows:?}");
    let template = Template { rows, user: user.to_owned(), number: 1 };
    let here = (2..=PEOPLE).filter(|number| !NOT_PROVISIONED.contains(number));
    let writes: Vec<TableWrite> = here.flat_map(|number| template.rows_of(number)).collect();
    for part in writes.chunks(TRANSACTION_ROWS) {
        engine.transact(PARTITION, part).await.unwrap();
    }
}

/// Whom Entra ID has in the group.
fn members_there() -> Vec<u128> {
    let people = (1..=PEOPLE).chain([NOT_HELD]);
    people.filter(|number| ![NOT_LISTED, NOT_ASSIGNED].contains(number)).collect()
}

/// Adds everyone to Entra ID: a line of its log.
fn fill_entra(state: &Path) {
    let mut entries: Vec<Value> = Vec::new();
    for number in (1..=PEOPLE).chain([NOT_HELD]) {
        let body = json!({
            "id": object_id(number), "displayName": format!("P {number}"), "userPrincipalName": user_name(number),
            "accountEnabled": number != OTHER_ACTIVE,
        });
        entries.push(json!(["users", object_id(number), body]));
    }
    let mut log = OpenOptions::new().append(true).open(state.join("azure.json")).unwrap();
    log.write_all(format!("{}\n", json!(entries)).as_bytes()).unwrap();
}

/// The tenant: a large bound group, a small one, one that is missing here, and one that is only here.
async fn tenant() -> Desk {
    let state = tempfile::tempdir().unwrap();
    let bindings = state.path().join("bindings.json");
    let binding = json!({
        "version": 1, "principal": {"from": ["entraObjectId", "externalId"]},
        "bindings": [{"name": "all-east", "group": {"externalId": object_id(ALL)}, "role": "Backup Operator", "scope": EAST}],
    });
    std::fs::write(&bindings, binding.to_string()).unwrap();
    let local = LocalProcess::start(state.path(), &["--bindings", text(&bindings)]);
    let idp = Idp::new(&local.ready.base_url, &local.ready.token);
    let desk = Desk { local, idp, state };
    let first = desk.idp.create_user(&user_name(1), object_id(1)).await;
    desk.group("Others", &object_id(OTHERS).to_string(), &[]).await;
    desk.group("Only here", &object_id(999_999).to_string(), &[]).await;
    let all = desk.group("All staff", &object_id(ALL).to_string(), &[&first]).await;
    desk.until_reason(&first, "member").await;
    desk.order("locks", json!({"scope": EAST, "level": "ReadOnly"})).await;
    let last = desk.idp.create_user(&user_name(NOT_HELD), object_id(NOT_HELD)).await;
    desk.idp.patch(&format!("/Groups/{all}"), member("add", &last)).await;
    desk.until_reason(&last, "scope-locked").await;
    let Desk { mut local, state, .. } = desk;
    local.kill();
    populate(state.path(), &first).await;
    fill_entra(state.path());
    let local = local.restart();
    let idp = Idp::new(&local.ready.base_url, &local.ready.token);
    Desk { local, idp, state }
}

#[actix_web::test]
async fn twelve_differences_of_5000_people_are_found_and_no_others() {
    let desk = tenant().await;
    let numbers = members_there();
    let members: Vec<u128> = numbers.iter().copied().chain([NIGHT]).collect();
    desk.entra_group(object_id(NIGHT), "Night shift", &[1]).await;
    desk.entra_group(object_id(ALL), "All staff", &members).await;
    desk.entra_group(object_id(OTHERS), "Others", &[]).await;
    desk.entra_group(object_id(MISSING), "Missing", &[20, 21]).await;
    desk.assign(&[ALL, OTHERS, MISSING, NOT_LISTED].map(object_id)).await;

    let mut file = "id,userPrincipalName,displayName,objectType,accountEnabled\n".to_owned();
    for number in &numbers {
        let enabled = if *number == OTHER_ACTIVE { "False" } else { "True" };
        writeln!(file, "{},{},P {number},User,{enabled}", object_id(*number), user_name(*number)).unwrap();
    }
    writeln!(file, "{},,Night shift,Group,", object_id(NIGHT)).unwrap();
    writeln!(file, "{},{},P 20,User,True", object_id(20), user_name(20)).unwrap();
    writeln!(file, ",,no one,User,").unwrap();
    let path = desk.file(&file);
    let of_group = |code: &str, number: u128| format!("All staff {code}: {}", user_name(number));
    let in_file = [
        of_group("duplicate-row", 20),
        of_group("not-a-member", NOT_MEMBER),
        of_group("not-listed", NOT_LISTED),
        of_group("not-listed", NOT_ASSIGNED),
        of_group("not-provisioned", NOT_PROVISIONED[0]),
        of_group("not-provisioned", NOT_PROVISIONED[1]),
        of_group("other-active", OTHER_ACTIVE),
        of_group("other-id", OTHER_ID),
        of_group("other-user-name", OTHER_USER_NAME),
        "All staff nested-not-provisioned: Night shift".to_owned(),
        "All staff row-without-id: no one".to_owned(),
        format!("not-held: {}", user_name(NOT_HELD)),
    ];
    let found = desk.parity(&["--file", text(&path), "--group", "All staff"], FINDINGS);
    assert_eq!(told(&found), sorted(in_file));

    let in_graph = [
        "All staff nested-not-provisioned: Night shift".to_owned(),
        of_group("not-a-member", NOT_MEMBER),
        of_group("not-listed", NOT_LISTED),
        "group-not-assigned: Only here".to_owned(),
        "group-not-provisioned: Missing".to_owned(),
        format!("not-assigned: {}", user_name(NOT_ASSIGNED)),
        format!("not-held: {}", user_name(NOT_HELD)),
        format!("not-provisioned: {}", user_name(NOT_PROVISIONED[0])),
        format!("not-provisioned: {}", user_name(NOT_PROVISIONED[1])),
        format!("other-active: {}", user_name(OTHER_ACTIVE)),
        format!("other-id: {}", user_name(OTHER_ID)),
        format!("other-user-name: {}", user_name(OTHER_USER_NAME)),
    ];
    let found = desk.parity(&["--graph", "--app", APP], FINDINGS);
    assert_eq!(told(&found), sorted(in_graph));
}

fn sorted(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.into_iter().collect();
    lines.sort();
    lines
}
