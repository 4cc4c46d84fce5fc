//! `local` under mixed load while it is killed again and again: no acknowledged change is lost, and what Azure holds follows.
//! (`two_processes` does the same to `serve`.)
//!
//! `KILL_SECONDS` is how long the traffic goes on (4 if it is not set), `SOAK_SEED` what the clients choose by.

use crate::resilience::two_processes::traffic::{Traffic, text};
use crate::resilience::two_processes::{figures, judge, listed, number_of, wait_until};
use crate::support::idp::Idp;
use crate::support::local_process::LocalProcess;
use reqwest::Client;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const CLIENTS: u64 = 6;
const SECONDS: u64 = 4;
const KILL_EVERY: Duration = Duration::from_millis(700);
/// Ticks with the clock moved on between them, until everything that waits for its time is done.
const ROUNDS_MAX: usize = 100;
/// Longer than a call to Azure may be under way.
const ROUND_SECONDS: u64 = 400;

/// Principal, role and scope.
type Grant = (String, String, String);

/// A `local` on a port of its own, and its clients.
struct Soak {
    local: Option<LocalProcess>,
    traffic: std::sync::Arc<Traffic>,
    kills: usize,
}

impl Soak {
    fn start(state: &Path) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let local = LocalProcess::start_at(address, state);
        let base_url = local.ready.base_url.as_str();
        let traffic = Traffic::new([base_url, base_url], &local.ready.token);
        Self { local: Some(local), traffic, kills: 0 }
    }

    fn local(&self) -> &LocalProcess {
        self.local.as_ref().unwrap()
    }

    /// Clients and kills, for so long.
    fn run(&mut self, runtime: &Runtime, seed: u64, duration: Duration) {
        let client = |client| runtime.spawn(self.traffic.clone().client(seed * 1000 + client));
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        let begun = Instant::now();
        while begun.elapsed() + KILL_EVERY < duration {
            wait_until(Instant::now() + KILL_EVERY);
            (0..2).for_each(|process| self.traffic.disturb(process));
            self.local = self.local.take().map(LocalProcess::restart);
            (0..2).for_each(|process| self.traffic.disturb(process));
            self.kills += 1;
        }
        self.traffic.stop();
        for client in clients {
            runtime.block_on(client).expect("a client should find nothing wrong");
        }
    }
}

/// What an operator asks of the control API and of the simulated ARM.
struct Operator<'a>(Client, &'a LocalProcess);

impl Operator<'_> {
    async fn post(&self, path: &str, body: Value) {
        let url = format!("{}{path}", self.1.ready.control_url);
        let answer = self.0.post(url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }

    /// Every assignment that Azure holds.
    async fn held(&self) -> BTreeSet<Grant> {
        let url = format!("{}/assignments", self.1.ready.control_url);
        let all: Value = self.0.get(url).send().await.unwrap().json().await.unwrap();
        let grant = |held: &Value| {
            let held = &held["properties"];
            let role = text(held, "roleDefinitionId").rsplit('/').next().unwrap().to_owned();
            (text(held, "principalId"), role, text(held, "scope").to_lowercase())
        };
        all.as_array().unwrap().iter().map(grant).collect()
    }
}

/// What should be held, by what SCIM answers: the active members of each bound group, unless another group claims its
/// `externalId`: then a pin decides, and only a person in none of them is sure to hold nothing.
async fn expected(idp: &Idp) -> (BTreeSet<Grant>, BTreeSet<Grant>) {
    let bindings: Value = serde_json::from_str(include_str!("../../../src/local/bindings.json")).unwrap();
    let mut problems = Vec::new();
    let users = listed(idp, "/Users", &mut problems).await;
    let groups = listed(idp, "/Groups", &mut problems).await;
    assert!(problems.is_empty(), "{problems:?}");
    let mut must = BTreeSet::new();
    let mut may = BTreeSet::new();
    for binding in bindings["bindings"].as_array().unwrap() {
        let claimants: Vec<_> =
            groups.iter().filter(|group| group["externalId"] == binding["group"]["externalId"]).collect();
        for group in &claimants {
            let members: BTreeSet<String> = group["members"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|member| text(member, "value"))
                .collect();
            for user in
                users.iter().filter(|user| user["active"] == true && members.contains(&text(user, "id")))
            {
                let role = match binding["role"].as_str().unwrap() {
                    "Backup Operator" => "00c29273-979b-4161-815c-10b084fb9324",
                    "Backup Reader" => "a795c7a0-d4a2-40c1-ae25-d81f01202912",
                    _ => "5e467623-bb1f-42f4-a55d-6e525e11384b",
                };
                let grant =
                    (text(user, "externalId"), role.to_owned(), text(binding, "scope").to_lowercase());
                may.insert(grant.clone());
                if claimants.len() == 1 {
                    must.insert(grant);
                }
            }
        }
    }
    (must, may)
}

/// The load takes roles from many people at once: the breakers hold some of it, and an operator releases it.
fn release_held(control_url: &str) {
    let command = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"));
        command.args(arguments).args(["--control-url", control_url]).output().unwrap()
    };
    let listed = String::from_utf8(command(&["breaker", "--json"]).stdout).unwrap();
    for line in listed.lines() {
        let batch: Value = serde_json::from_str(line).unwrap();
        let [id, people] = ["batch", "hash"].map(|field| batch[field].as_str().unwrap());
        command(&["breaker", "release", id, people, "--because", "a test", "--who", "olga", "--no-wait"]);
    }
}

#[test]
fn local_loses_no_acknowledged_change_under_mixed_load_and_kills() {
    let seed = number_of("SOAK_SEED", 1);
    let seconds = number_of("KILL_SECONDS", SECONDS);
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let mut soak = Soak::start(folder.path());
    soak.run(&runtime, seed, Duration::from_secs(seconds));
    let mut history = soak.traffic.history();
    println!("seed {seed}, {seconds} s, {} kills: {}", soak.kills, figures(&history));
    assert!(soak.kills > 2);

    let operator = Operator(Client::new(), soak.local());
    // What a kill cut off goes on by itself: two lists are alike only once its jobs are done.
    runtime.block_on(async {
        for _ in 0..3 {
            operator.post("/tick", json!({})).await;
        }
    });
    let ready = &soak.local().ready;
    let base_urls = [ready.base_url.clone(), ready.base_url.clone()];
    let (problems, counted) = runtime.block_on(judge(&base_urls, &ready.token, &mut history));
    println!("{counted}");
    assert!(problems.is_empty(), "seed {seed}: {} problems: {}", problems.len(), problems.join("\n"));

    let idp = Idp::new(&ready.base_url, &ready.token);
    runtime.block_on(async {
        let (must, may) = expected(&idp).await;
        for _ in 0..ROUNDS_MAX {
            release_held(&soak.local().ready.control_url);
            operator.post("/clock/advance", json!({ "seconds": ROUND_SECONDS })).await;
            operator.post("/tick", json!({})).await;
            let held = operator.held().await;
            if must.is_subset(&held) && held.is_subset(&may) {
                println!("{} assignments: {} must be, {} may be", held.len(), must.len(), may.len());
                return;
            }
        }
        let held = operator.held().await;
        let (missing, extra): (Vec<_>, Vec<_>) =
            (must.difference(&held).collect(), held.difference(&may).collect());
        panic!("seed {seed}: missing {missing:#?}, too many {extra:#?}");
    });
}
