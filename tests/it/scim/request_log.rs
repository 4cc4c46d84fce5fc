//! The request log itself: bounded, patient while storage is away, and short-lived.

use crate::grants::over_http::Front;
use crate::scim::http_edge::bearer;
use crate::support::clock::ManualClock;
use crate::support::fault_injection::{Fault, Faults, When};
use crate::support::harness::World;
use crate::support::rows::quiet;
use azure_backup_scim::app::RandomIds;
use azure_backup_scim::engine::TableEngine;
use azure_backup_scim::id::RequestId;
use azure_backup_scim::ports::clock::Clock;
use azure_backup_scim::ports::ids::IdSource;
use azure_backup_scim::scim::ResourceType;
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::service::request_log::RequestLog;
use azure_backup_scim::store::request_log::{
    RefusalCount, RefusalKind, RequestTable, SoughtNames, UnappliedCall, UnappliedRequest,
};
use serde_json::{Value, json};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

const START: OffsetDateTime = datetime!(2026-12-01 10:15 UTC);
const EVER: Range<OffsetDateTime> = datetime!(2026-01-01 0:00 UTC)..datetime!(2028-01-01 0:00 UTC);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

struct Stage {
    clock: ManualClock,
    faults: Arc<Faults>,
    table: RequestTable,
    log: RequestLog,
}

impl Stage {
    fn new() -> Self {
        let clock = ManualClock::starting(START);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let faults = Faults::new(Arc::new(TableEngine::memory(shared.clone())));
        let table = RequestTable::new(faults.clone(), "requests".to_owned());
        let log = RequestLog::new(table.clone(), shared, Uuid::from_u128(1));
        Self { clock, faults, table, log }
    }

    /// Notes a refused request to create that user.
    fn refuse(&self, user_name: &str) {
        self.note("entra", user_name);
    }

    fn note(&self, token: &str, user_name: &str) {
        let id = RequestId::new(RandomIds::new(Arc::new(self.clock.clone())).op().uuid());
        let values = vec![("userName".to_owned(), vec![user_name.to_owned()])];
        let call = UnappliedCall {
            token: token.to_owned(),
            method: "POST".to_owned(),
            about: "User".to_owned(),
            target: None,
            status: 409,
            scim_type: Some("uniqueness".to_owned()),
            detail: "a User with this userName exists".to_owned(),
            names: vec!["userName".to_owned()],
            values,
        };
        if !self.log.note(id, None, call) {
            self.log.count(kind("POST /scim/v2/Users", token));
        }
    }

    async fn rows(&self) -> Vec<UnappliedRequest> {
        self.table.unapplied(&EVER, 100_000, |_| true).await.unwrap().0
    }

    async fn counts(&self) -> Vec<RefusalCount> {
        self.table.counts(&EVER).await.unwrap()
    }
}

fn kind(route: &str, user_agent: &str) -> RefusalKind {
    RefusalKind { status: 401, scim_type: None, route: route.to_owned(), user_agent: user_agent.to_owned() }
}

#[tokio::test]
async fn equal_requests_share_a_row_for_an_hour() {
    let stage = Stage::new();
    for _ in 0..3 {
        stage.refuse("bob");
        stage.log.write_noted().await.unwrap();
        stage.clock.advance(10 * MINUTE);
    }
    let rows = stage.rows().await;
    let [row] = rows.as_slice() else { panic!("one row, not {rows:?}") };
    assert_eq!((row.times, row.first, row.last), (3, START, START + 20 * MINUTE));
    stage.clock.advance(30 * MINUTE);
    stage.refuse("bob");
    stage.log.write_noted().await.unwrap();
    assert_eq!(stage.rows().await.iter().map(|row| row.times).collect::<Vec<_>>(), [3, 1]);
}

#[tokio::test]
async fn beyond_so_many_new_rows_a_minute_requests_are_only_counted() {
    let stage = Stage::new();
    for n in 0..1000 {
        stage.refuse(&format!("user{n}"));
        stage.clock.advance(Duration::from_millis(10));
    }
    stage.log.write_noted().await.unwrap();
    let rows = stage.rows().await.len() as u64;
    let counted: u64 = stage.counts().await.iter().map(|count| count.count).sum();
    assert!((30..=36).contains(&rows), "{rows}");
    assert_eq!(rows + counted, 1000, "none is lost");
}

#[tokio::test]
async fn clients_without_a_token_fill_no_table() {
    let stage = Stage::new();
    for n in 0..5000 {
        stage.log.count(kind("GET /scim/v2/Users", &format!("client {n}")));
    }
    stage.log.write_noted().await.unwrap();
    let counts = stage.counts().await;
    assert!(counts.len() <= 61, "{}", counts.len());
    assert_eq!(counts.iter().map(|count| count.count).sum::<u64>(), 5000);
    assert!(counts.iter().any(|count| count.kind.user_agent == "(others)" && count.count > 4900));
}

#[tokio::test]
async fn what_storage_did_not_take_is_written_later_and_once() {
    let stage = Stage::new();
    stage.faults.inject(When::transact().nth(1), Fault::AnswerLost);
    stage.refuse("bob");
    stage.log.count(kind("GET /scim/v2/Users", "okta"));
    assert!(stage.log.write_noted().await.is_err());
    stage.refuse("bob");
    stage.log.write_noted().await.unwrap();
    let (rows, counts) = (stage.rows().await, stage.counts().await);
    assert_eq!((rows.len(), rows[0].times), (1, 2));
    assert_eq!((counts.len(), counts[0].count), (1, 1));
    stage.faults.reset();
    stage.log.write_noted().await.unwrap();
    assert_eq!(stage.faults.counts().requests, 0, "nothing is new");
}

#[tokio::test]
async fn two_processes_count_apart_and_are_read_together() {
    let stage = Stage::new();
    let clock: Arc<dyn Clock> = Arc::new(stage.clock.clone());
    let other = RequestLog::new(stage.table.clone(), clock, Uuid::from_u128(2));
    for log in [&stage.log, &other, &other] {
        log.count(kind("GET /scim/v2/Users", "okta"));
        log.write_noted().await.unwrap();
    }
    assert_eq!(stage.counts().await.iter().map(|count| count.count).collect::<Vec<_>>(), [3]);
}

#[tokio::test]
async fn rows_end_after_thirty_days() {
    let stage = Stage::new();
    for n in 0..25 {
        stage.refuse(&format!("old{n}"));
    }
    stage.log.count(kind("GET /scim/v2/Users", "okta"));
    stage.log.write_noted().await.unwrap();
    stage.clock.advance(29 * DAY);
    stage.log.expire().await.unwrap();
    assert_eq!((stage.rows().await.len(), stage.counts().await.len()), (25, 1));
    stage.refuse("new");
    stage.log.write_noted().await.unwrap();
    stage.clock.advance(DAY + 61 * MINUTE);
    stage.log.expire().await.unwrap();
    let left: Vec<String> =
        stage.rows().await.into_iter().map(|row| row.call.values[0].1[0].clone()).collect();
    assert_eq!((left, stage.counts().await.len()), (vec!["new".to_owned()], 0));
}

#[tokio::test]
async fn erasing_takes_the_rows_that_name_the_person_as_scim_compares_names_and_no_others() {
    let stage = Stage::new();
    for name in [
        "bob@contoso.example",
        "BOB@contoso.example",
        "JÖRG@contoso.example",
        "Miller, Bob",
        "bobby@contoso.example",
    ] {
        stage.refuse(name);
        stage.clock.advance(MINUTE);
    }
    stage.log.write_noted().await.unwrap();
    // One that is not written yet must not come back.
    stage.refuse("bob@contoso.example");
    let names = ["bob@contoso.example", "jörg@contoso.example", "miller, bob"].map(str::to_owned);
    stage.log.erase(&SoughtNames::new(ResourceType::User, &names)).await.unwrap();
    stage.log.write_noted().await.unwrap();
    let left: Vec<String> =
        stage.rows().await.into_iter().map(|row| row.call.values[0].1[0].clone()).collect();
    assert_eq!(left, ["bobby@contoso.example"]);
}

#[tokio::test]
async fn the_holder_of_one_token_takes_no_rows_from_another() {
    let stage = Stage::new();
    for n in 0..100 {
        stage.note("okta", &format!("user{n}"));
    }
    stage.note("entra", "bob");
    stage.log.write_noted().await.unwrap();
    let tokens: Vec<String> = stage.rows().await.into_iter().map(|row| row.call.token).collect();
    assert_eq!(tokens.iter().filter(|token| *token == "okta").count(), 30);
    assert!(tokens.contains(&"entra".to_owned()));
}

#[tokio::test]
async fn a_refused_removal_is_kept_whatever_else_is_refused() {
    let stage = Stage::new();
    for n in 0..100 {
        stage.note("entra", &format!("user{n}"));
    }
    let id = RequestId::new(RandomIds::new(Arc::new(stage.clock.clone())).op().uuid());
    let call = UnappliedCall {
        token: "entra".to_owned(),
        method: "PATCH".to_owned(),
        about: "User".to_owned(),
        target: Some("u-1".to_owned()),
        status: 400,
        scim_type: None,
        detail: String::new(),
        names: vec!["active".to_owned()],
        values: vec![("active".to_owned(), vec!["nope".to_owned()])],
    };
    assert!(stage.log.note(id, None, call));
}

#[tokio::test]
async fn clients_without_a_token_hide_no_caller_who_has_one() {
    let stage = Stage::new();
    for n in 0..500 {
        stage.log.count(kind("GET /scim/v2/Users", &format!("client {n}")));
    }
    let missing = RefusalKind { status: 404, ..kind("GET /scim/v2/Users/{id}", "Okta SCIM Client 1.0.0") };
    stage.log.count(missing.clone());
    stage.log.write_noted().await.unwrap();
    assert!(stage.counts().await.iter().any(|count| count.kind == missing));
}

#[tokio::test]
async fn a_row_that_the_table_cannot_take_costs_no_other_row() {
    let stage = Stage::new();
    stage.refuse("ana");
    stage.refuse(&"x".repeat(2_000_000));
    stage.refuse("bob");
    stage.log.write_noted().await.unwrap();
    let kept: Vec<String> =
        stage.rows().await.into_iter().map(|row| row.call.values[0].1[0].clone()).collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    stage.faults.reset();
    stage.log.write_noted().await.unwrap();
    assert_eq!(stage.faults.counts().requests, 0, "it is not tried for ever");
}

#[test]
fn no_request_reads_or_writes_more_for_the_log() {
    let world = quiet(World::new());
    let front = Front::of(world.start_with(InlineLimits { wait: Duration::ZERO, people_max: 0 }));
    let headers = [&bearer()[..], "content-type: application/scim+json"];
    let made = front.http.send("POST", "/scim/v2/Users", &headers, br#"{"userName": "bob"}"#);
    let path = format!("/scim/v2/Users/{}?attributes=id", made.json()["id"].as_str().unwrap());
    let title = json!({"Operations": [{"op": "add", "value": {"title": "Chief", "shoeSize": 44}}]});
    let number = json!({"Operations": [{"op": "replace", "path": "userName", "value": 7}]});
    for (method, path, body, expected) in [
        // The header is read, and the change is written.
        ("PATCH", path.as_str(), title.clone(), (200, 2)),
        ("PATCH", &path, title, (200, 1)),
        ("PATCH", &path, number, (400, 1)),
        ("PUT", "/scim/v2/Users/nothing", json!({"userName": "zoe"}), (404, 0)),
        ("GET", "/scim/v2/Users?filter=shoeSize%20pr", Value::Null, (400, 0)),
    ] {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        world.faults.reset();
        let answer = front.http.send(method, path, &headers, body.as_bytes());
        assert_eq!((answer.status, world.faults.counts().requests), expected, "{method} {path} {body}");
    }
    // All of it is one write in the background.
    world.faults.reset();
    front.node.run(front.node.service.request_log.write_noted()).unwrap();
    assert_eq!((world.faults.counts().requests, world.faults.counts().writes), (1, 4));
}
