//! Four clients, two at each process, that count up in one person and one group, each step under the version that it was read in.

use super::{Flex, SECONDS, number_of};
use crate::support::cloud::TOKEN;
use crate::support::idp::{Answer, Idp, patch};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use uuid::Uuid;

const WRITERS: usize = 4;

/// What became of the steps of one client.
#[derive(Debug, Default, Clone, Copy)]
struct Steps {
    counted: u64,
    refused: u64,
}

/// One step up from what `counted` reads. A refusal is right only where the version has moved.
async fn step(
    idp: &Idp,
    path: &str,
    counted: impl Fn(&Value) -> u64,
    write: impl Fn(u64) -> (Method, Value),
    steps: &mut Steps,
) {
    let read = idp.get(path).await;
    let version = version(&read);
    let (method, body) = write(counted(&read.body) + 1);
    let headers = [("if-match", version.as_str())];
    let answer = idp.send_with(method, path, &headers, Some(&body)).await.unwrap();
    match answer.status {
        200 => {
            assert_ne!(self::version(&answer), version);
            steps.counted += 1;
        }
        412 => {
            assert_ne!(self::version(&idp.get(path).await), version, "a conflict that was none");
            steps.refused += 1;
        }
        _ => panic!("{answer:?}"),
    }
}

#[track_caller]
fn version(answer: &Answer) -> String {
    answer.etag.clone().unwrap_or_else(|| panic!("{answer:?}"))
}

fn person_count(person: &Value) -> u64 {
    person["title"].as_str().unwrap().parse().unwrap()
}

fn group_count(group: &Value) -> u64 {
    group["displayName"].as_str().unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

/// The person is in the group at every second step.
fn group_body(count: u64, person: &str) -> Value {
    let members: Vec<Value> = (0..count % 2).map(|_| json!({"value": person})).collect();
    json!({"displayName": format!("count {count}"), "externalId": "vault-operators", "members": members})
}

async fn writer(idp: Idp, person: String, group: String, until: Instant) -> [Steps; 2] {
    let [mut of_person, mut of_group] = [Steps::default(); 2];
    let retitle = |count: u64| {
        let operation = json!({"op": "replace", "path": "title", "value": count.to_string()});
        (Method::PATCH, patch(operation))
    };
    let put = |count: u64| (Method::PUT, group_body(count, &person));
    let (user_path, group_path) = (format!("/Users/{person}"), format!("/Groups/{group}"));
    while Instant::now() < until {
        step(&idp, &user_path, person_count, retitle, &mut of_person).await;
        step(&idp, &group_path, group_count, put, &mut of_group).await;
    }
    [of_person, of_group]
}

/// A client without conditions, who is told about no conflict: members come and go.
async fn bystander(idp: Idp, other: String, group: String, until: Instant) -> u64 {
    let mut changes = 0;
    while Instant::now() < until {
        for op in ["add", "remove"] {
            let answer = idp.member(op, &group, &other).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            changes += 1;
        }
    }
    changes
}

#[test]
fn every_write_under_a_version_that_is_acknowledged_counts_and_no_other() {
    let flex = Flex::start();
    let idps = flex.base_urls().map(|base_url| Idp::new(&base_url, TOKEN));
    let runtime = Runtime::new().unwrap();
    let until = Instant::now() + Duration::from_secs(number_of("SOAK_SECONDS", SECONDS));
    runtime.block_on(async {
        let [person, other] = [1, 2].map(|n| {
            let mut body = crate::support::idp::user(&format!("p{n}"), Uuid::from_u128(n));
            body["title"] = json!("0");
            idps[0].post("/Users", body)
        });
        let (person, other) = (id(&person.await), id(&other.await));
        let group = id(&idps[0].post("/Groups", group_body(0, &person)).await);
        let writers = (0..WRITERS).map(|writer_number| {
            let idp = idps[writer_number % 2].clone();
            tokio::spawn(writer(idp, person.clone(), group.clone(), until))
        });
        let writers: Vec<_> = writers.collect();
        let changes = bystander(idps[1].clone(), other, group.clone(), until).await;
        let mut totals = [Steps::default(); 2];
        for writer in writers {
            for (total, steps) in totals.iter_mut().zip(writer.await.unwrap()) {
                total.counted += steps.counted;
                total.refused += steps.refused;
            }
        }
        println!("person {:?}, group {:?}, {changes} changes without a condition", totals[0], totals[1]);
        for idp in &idps {
            let shown = idp.get(&format!("/Users/{person}")).await.body;
            assert_eq!(person_count(&shown), totals[0].counted);
            let shown = idp.get(&format!("/Groups/{group}")).await.body;
            assert_eq!(group_count(&shown), totals[1].counted);
            let members = shown["members"].as_array().unwrap();
            let is_in = members.iter().any(|member| member["value"] == json!(person));
            assert_eq!(is_in, totals[1].counted % 2 == 1, "{shown}");
        }
        for total in totals {
            assert!(total.counted > 0 && total.refused > 0, "{totals:?}: the writers never met");
        }
    });
}

fn id(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.body["id"].as_str().unwrap().to_owned()
}
