//! `parity` as a process, against a `local` that runs and its Entra ID.

mod large;

use crate::support::idp::{Idp, member};
use crate::support::local_process::LocalProcess;
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use uuid::Uuid;

const EAST: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup/providers/\
                    Microsoft.RecoveryServices/vaults/east";
const FINDINGS: i32 = 1;
const USAGE: i32 = 2;
const DEPENDENCY: i32 = 3;
/// The object id of the app's service principal.
const APP: &str = "a9900000-0000-4000-8000-000000000001";

struct Desk {
    local: LocalProcess,
    idp: Idp,
    state: TempDir,
}

fn object_id(number: u128) -> Uuid {
    Uuid::from_u128(0xaaaa_0000_0000_4000_8000_0000_0000_0000 + number)
}

fn person(name: &str) -> String {
    format!("{name}@contoso.example")
}

impl Desk {
    fn open() -> Self {
        let state = tempfile::tempdir().unwrap();
        let local = LocalProcess::start(state.path(), &[]);
        let idp = Idp::new(&local.ready.base_url, &local.ready.token);
        Self { local, idp, state }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"));
        command
            .arg("parity")
            .args(arguments)
            .args(["--control-url", &self.local.ready.control_url])
            .env_clear();
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    #[track_caller]
    fn parity(&self, arguments: &[&str], code: i32) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[track_caller]
    fn ends_with(&self, arguments: &[&str], code: i32, said: &[&str]) {
        let output = self.run(arguments);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        said.iter().for_each(|said| assert!(text.contains(said), "{arguments:?}: {said:?} is not in {text}"));
    }

    fn file(&self, text: &str) -> PathBuf {
        let file = self.state.path().join("members.csv");
        std::fs::write(&file, text).unwrap();
        file
    }

    async fn order(&self, path: &str, body: Value) {
        let url = format!("{}/{path}", self.local.ready.control_url);
        let answer = reqwest::Client::new().post(url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    /// Entra ID has the person, and has pushed them.
    async fn person(&self, number: u128, name: &str) -> String {
        self.know(number, name, true).await;
        self.idp.create_user(&person(name), object_id(number)).await
    }

    /// Entra ID has the person.
    async fn know(&self, number: u128, name: &str, enabled: bool) {
        let body = json!({
            "id": object_id(number), "displayName": name, "userPrincipalName": person(name), "accountEnabled": enabled,
        });
        self.order("users", body).await;
    }

    async fn entra_group(&self, id: Uuid, name: &str, members: &[u128]) {
        let members: Vec<Uuid> = members.iter().map(|number| object_id(*number)).collect();
        self.order("groups", json!({"id": id, "displayName": name, "members": members})).await;
    }

    async fn assign(&self, assigned: &[Uuid]) {
        let body = json!({"id": APP, "displayName": "backup scim", "assigned": assigned});
        self.order("service-principals", body).await;
    }

    /// Waits until the person's only grant has that reason.
    async fn until_reason(&self, user: &str, reason: &str) {
        let begun = Instant::now();
        loop {
            let body = self.idp.get(&format!("/Users/{user}?attributes=grants")).await.body;
            let grants = &body["urn:ietf:params:scim:schemas:extension:azurebackup:2.0:User"]["grants"];
            if grants[0]["reason"] == reason {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{body:#}");
        }
    }

    async fn group(&self, name: &str, external_id: &str, members: &[&String]) -> String {
        let schema = "urn:ietf:params:scim:schemas:core:2.0:Group";
        let body = json!({"schemas": [schema], "displayName": name, "externalId": external_id});
        let made = self.idp.post("/Groups", body).await;
        let group = made.body["id"].as_str().unwrap().to_owned();
        for user in members {
            self.idp.patch(&format!("/Groups/{group}"), member("add", user)).await;
        }
        group
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Kind, code and name of everything that was found.
fn told(answer: &Value) -> Vec<String> {
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    let one = |finding: &Value| {
        format!("{} {}: {}", text(finding, "group"), text(finding, "code"), text(finding, "name"))
            .trim()
            .to_owned()
    };
    let mut told: Vec<String> = answer["findings"].as_array().unwrap().iter().map(one).collect();
    told.sort();
    told
}

/// Ana, Bo and Cy in a bound group.
async fn furnished() -> (Desk, Vec<String>) {
    let desk = Desk::open();
    let mut people = Vec::new();
    for (number, name) in [(1, "ana"), (2, "bo"), (3, "cy")] {
        people.push(desk.person(number, name).await);
    }
    desk.group("Operators", "vault-operators", &people.iter().collect::<Vec<_>>()).await;
    (desk, people)
}

const DOWNLOAD: &str = "\u{FEFF}Object ID,User principal name,Display name,Member type\r\n";

fn line(number: u128, name: &str) -> String {
    format!("{},{},\"{name}, the person\",User\r\n", object_id(number), person(name))
}

#[actix_web::test]
async fn the_download_of_a_group_that_is_equal_ends_with_0() {
    let (desk, _) = furnished().await;
    let file = desk.file(&format!("{DOWNLOAD}{}{}{}", line(1, "ana"), line(2, "bo"), line(3, "cy")));

    let output = desk.run(&["--file", text(&file), "--group", "operators"]);

    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said, "no difference: 3 people there, 3 people here\n");
    // The same from the standard input, and by the other names of the group.
    for name in ["vault-operators", "OPERATORS"] {
        let mut child =
            desk.command(&["--file", "-", "--group", name]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}");
    }
}

/// What the text says of each kind, to the letter.
#[actix_web::test]
async fn a_difference_is_told_with_the_next_step() {
    let (desk, people) = furnished().await;
    desk.order("locks", json!({"scope": EAST, "level": "CanNotDelete"})).await;
    desk.idp
        .patch(&format!("/Users/{}", people[2]), json!({"op": "replace", "path": "active", "value": false}))
        .await;
    desk.until_reason(&people[2], "scope-locked").await;
    let file = desk.file(&format!(
        "{DOWNLOAD}{}{}{},,Night shift,Group\r\n{}",
        line(1, "ana"),
        line(9, "zoe"),
        object_id(50),
        line(1, "ana"),
    ));

    let output = desk.run(&["--file", text(&file), "--group", "Operators"]);

    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(FINDINGS), "{said}");
    let url = &desk.local.ready.control_url;
    let ids = [(object_id(1), "ANA"), (object_id(2), "BO"), (object_id(9), "ZOE"), (object_id(50), "NIGHT")];
    let mut plain =
        said.replace(url.as_str(), "URL").replace(&people[1], "BO-SCIM").replace(&people[2], "CY-SCIM");
    for (id, name) in ids {
        plain = plain.replace(&id.to_string(), name);
    }
    let golden =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/process/parity_command/differences.txt");
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(&golden, &plain).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap();
    assert_eq!(plain, expected, "run UPDATE_GOLDEN=1 cargo test, and read what changed");
}

#[actix_web::test]
async fn other_exports_are_compared_by_the_columns_that_are_named() {
    let desk = Desk::open();
    let body = json!({"userName": "ana", "externalId": "00u1", "active": true});
    let ana = desk.idp.post("/Users", body).await.body["id"].as_str().unwrap().to_owned();
    desk.group("Operators", "vault-operators", &[&ana]).await;
    // What she waits for through another group is no difference of this one.
    desk.group("Readers", "vault-readers", &[&ana]).await;
    let file = desk.file("Okta Id;Login;Status\n00u1;ANA;ACTIVE\n00u2;bo;STAGED\n00u3;cy;ACTIVE\n");
    let columns = ["--columns", "id=Okta Id,userName=login,active=Status"];

    let found =
        desk.parity(&[&["--file", text(&file), "--group", "Operators"], &columns[..]].concat(), FINDINGS);

    // Without an object id the role waits, and that is a difference of Azure.
    assert_eq!(told(&found), ["Operators not-provisioned: cy", "not-held: ana"]);
    let next = found["findings"][0]["next"].as_str().unwrap();
    assert!(next.contains("the identity provider") && !next.contains("Entra"), "{next}");
    let grant = &found["findings"][1]["grant"];
    assert_eq!(
        (&grant["binding"], &grant["reason"]),
        (&json!("operators-east"), &json!("pending-principal"))
    );
    let not_compared = found["notCompared"].as_array().unwrap();
    assert!(
        not_compared.iter().any(|note| note.as_str().unwrap().starts_with("1 missing, of people whom")),
        "{found}"
    );
}

#[actix_web::test]
async fn a_mistake_of_usage_ends_with_2_and_says_what_there_is() {
    let (desk, _) = furnished().await;
    let file = desk.file("Name,Mail\nana,ana@contoso.example\n");
    let of = |group| ["--file", text(&file), "--group", group];
    desk.ends_with(&of("Operators"), USAGE, &["--columns id=COLUMN,userName=COLUMN", "it has Name, Mail"]);
    desk.ends_with(
        &[&of("Operators")[..], &["--columns", "id=Key"]].concat(),
        USAGE,
        &["no column \"Key\"", "Name, Mail"],
    );
    std::fs::write(&file, DOWNLOAD).unwrap();
    desk.ends_with(&of("oper"), USAGE, &["no displayName, externalId or SCIM id", "Operators"]);
    desk.ends_with(&of("Operatrs"), USAGE, &["did you mean \"Operators\"?"]);
    desk.ends_with(&of("zzz"), USAGE, &["`groups` lists them"]);
    desk.group("vault-operators", "x", &[]).await;
    desk.ends_with(&of("vault-operators"), USAGE, &["can mean several groups"]);
    desk.ends_with(&["--file", "nowhere.csv", "--group", "Operators"], USAGE, &["cannot read nowhere.csv"]);
    desk.ends_with(&["--file", text(&file)], USAGE, &["--group"]);
    desk.ends_with(&[], USAGE, &["--file", "--graph"]);
    desk.ends_with(&["--graph"], USAGE, &["--app"]);
    desk.ends_with(&["--graph", "--app", "backup scim"], USAGE, &["is no object id (a GUID)"]);
    desk.ends_with(
        &["--graph", "--app", APP],
        USAGE,
        &["no enterprise application", "not one of App registrations"],
    );
}

#[actix_web::test]
async fn the_assignments_of_the_app_are_compared_with_everyone() {
    let (desk, people) = furnished().await;
    let (operators, readers) = (object_id(100), object_id(101));
    desk.entra_group(operators, "Operators", &[1, 2]).await;
    desk.entra_group(readers, "Readers", &[1]).await;
    desk.assign(&[operators, readers, object_id(3)]).await;
    let arguments = ["--graph", "--app", APP];

    let found = desk.parity(&arguments, FINDINGS);

    // Cy is assigned directly, so only out of the group; the group came under its own name as externalId.
    assert_eq!(
        told(&found),
        [
            "Operators not-listed: cy@contoso.example",
            "group-not-provisioned: Readers",
            "other-group-id: Operators",
        ]
    );
    assert_eq!(
        (&found["peopleThere"], &found["peopleHere"], &found["groups"]),
        (&json!(3), &json!(3), &json!(1))
    );

    // Once all is in order there is none.
    let group =
        desk.idp.get("/Groups?filter=displayName eq \"Operators\"").await.body["Resources"][0]["id"].clone();
    let path = format!("/Groups/{}", group.as_str().unwrap());
    desk.idp.patch(&path, member("remove", &people[2])).await;
    desk.group("Readers", &readers.to_string(), &[&people[0]]).await;
    let value = json!({"op": "replace", "path": "externalId", "value": operators});
    desk.idp.patch(&path, value).await;
    let found = desk.parity(&arguments, 0);
    assert_eq!(told(&found), [""; 0]);
    assert_eq!(found["groups"], 2);
}

#[actix_web::test]
async fn a_right_that_is_missing_in_graph_ends_with_3_and_is_named() {
    let (desk, _) = furnished().await;
    let operators = object_id(100);
    desk.entra_group(operators, "Operators", &[1, 2]).await;
    desk.assign(&[operators, object_id(3)]).await;
    let arguments = ["--graph", "--app", APP];
    for (about, said) in [
        (operators.to_string(), ["members of the group Operators", "GroupMember.Read.All"]),
        (APP.to_owned(), ["who is assigned to the app", "Application.Read.All"]),
    ] {
        let action = json!({"fail": {"status": 403, "code": "Authorization_RequestDenied"}});
        desk.order("rules", json!({"service": "graph", "about": about, "action": action})).await;
        let said = [said[0], said[1], "Authorization_RequestDenied"];
        desk.ends_with(&arguments, DEPENDENCY, &said);
    }
}
