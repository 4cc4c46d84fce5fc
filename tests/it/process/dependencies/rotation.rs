//! The bearer token is rotated by the operator's command while an identity provider goes on pushing.

use super::principal;
use super::stage::{Scene, eventually};
use crate::support::cloud::{Cloud, PROGRAM, TOKEN};
use crate::support::idp::{Idp, user};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::task::{JoinHandle, block_in_place};

/// Clients that push at the same time.
const CLIENTS: usize = 4;
/// Answers that each client gets before the next step of the rotation.
const ANSWERS: usize = 5;

/// Runs `token` with the rights of an operator, and returns the lines of JSON that it prints.
fn token(cloud: &Cloud, arguments: &[&str]) -> Vec<Value> {
    let mut command = Command::new(PROGRAM);
    command.arg("token").args(arguments).args(["--vault", &cloud.azure.vault_url(), "--json"]);
    command.env("AZURE_CREDENTIAL", "managed-identity").envs(cloud.settings(&cloud.addresses()));
    let output = block_in_place(|| command.output()).unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text(line: &Value, name: &str) -> String {
    line[name].as_str().unwrap_or_else(|| panic!("no {name}: {line}")).to_owned()
}

/// One client that creates users, with the token that it was told last.
struct Pushing {
    token: watch::Sender<String>,
    /// By token: the status of each answer, in order.
    answers: Arc<Mutex<Vec<(String, u16)>>>,
    created: Arc<Mutex<BTreeSet<String>>>,
    is_done: JoinHandle<()>,
}

impl Pushing {
    fn start(idp: &Idp, next: &Arc<AtomicU64>, is_over: &Arc<AtomicBool>) -> Self {
        let (token, told) = watch::channel(TOKEN.to_owned());
        let (answers, created) =
            (Arc::<Mutex<Vec<(String, u16)>>>::default(), Arc::<Mutex<BTreeSet<String>>>::default());
        let (noted, ids) = (answers.clone(), created.clone());
        let (idp, next, is_over) = (idp.clone(), next.clone(), is_over.clone());
        let is_done = tokio::spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                let token = told.borrow().clone();
                let number = next.fetch_add(1, Ordering::SeqCst);
                let body =
                    user(&format!("pushed-{number}@contoso.example"), principal(100 + u128::from(number)));
                let answer = idp.with_token(&token).post("/Users", body).await;
                noted.lock().unwrap().push((token, answer.status));
                ids.lock().unwrap().extend(answer.body["id"].as_str().map(str::to_owned));
            }
        });
        Self { token, answers, created, is_done }
    }

    fn answers_with(&self, token: &str) -> usize {
        self.answers.lock().unwrap().iter().filter(|(shown, _)| shown == token).count()
    }

    /// It has gone on with that token for a while.
    async fn goes_on_with(&self, token: &str) {
        let before = self.answers_with(token);
        eventually("a client goes on", async || (self.answers_with(token) >= before + ANSWERS).then_some(()))
            .await;
    }
}

async fn all_go_on(clients: &[Pushing], token: &str) {
    for client in clients {
        client.goes_on_with(token).await;
    }
}

async fn users(idp: &Idp) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    loop {
        let path = format!("/Users?startIndex={}&count=100&attributes=id", found.len() + 1);
        let answer = idp.get(&path).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let page = answer.body["Resources"].as_array().cloned().unwrap_or_default();
        if page.is_empty() {
            return found;
        }
        found.extend(page.iter().map(|user| user["id"].as_str().unwrap().to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_under_load_refuses_no_request() {
    let stage = Scene::set().start().await;
    stage.healthy().await;
    let (next, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<Pushing> = (0..CLIENTS).map(|_| Pushing::start(&stage.idp, &next, &is_over)).collect();
    let (first, others) = clients.split_at(CLIENTS / 2);
    all_go_on(&clients, TOKEN).await;

    let cloud = &stage.scene.cloud;
    let made = &token(cloud, &["new", "--label", "entra", "--show"])[0];
    let new = text(made, "token");
    // The old token still counts, and the new one counts from its first request on.
    first.iter().for_each(|client| drop(client.token.send_replace(new.clone())));
    all_go_on(first, &new).await;
    all_go_on(others, TOKEN).await;
    others.iter().for_each(|client| drop(client.token.send_replace(new.clone())));
    all_go_on(others, &new).await;

    let versions: Vec<String> = token(cloud, &["list"]).iter().map(|line| text(line, "version")).collect();
    let old = versions.iter().find(|version| **version != text(made, "version")).unwrap();
    token(cloud, &["revoke", old]);
    // A token that is not known makes the vault be asked, which ends the old one before its time.
    assert_eq!(stage.stranger.get("/Users").await.status, 401);
    assert_eq!(stage.idp.get("/Users").await.status, 401);
    all_go_on(&clients, &new).await;
    is_over.store(true, Ordering::SeqCst);
    let mut created = BTreeSet::new();
    for client in clients {
        client.is_done.await.unwrap();
        let answers = client.answers.lock().unwrap();
        assert!(answers.iter().all(|(_, status)| *status == 201), "{answers:?}");
        created.extend(client.created.lock().unwrap().iter().cloned());
    }
    assert_eq!(users(&stage.idp.with_token(&new)).await, created);
    stage.assert_sound();
}
