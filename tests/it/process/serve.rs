//! `serve` as it runs in Azure: a child process whose tokens, tables and rights are on the other side of HTTP.

use crate::process::dependencies::stage::eventually;
use crate::support::cloud::{BINDINGS, Cloud, PROGRAM, SECRET, TOKEN, package, secret, until};
use crate::support::host::{Host, Outcome, State, Transport};
use crate::support::host_client::ask;
use crate::support::idp::Idp;
use azure_backup_scim::simulator::SecretUpdate;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;
use uuid::Uuid;

/// A group of the bindings, and the role that it gives.
const OPERATORS: &str = "vault-operators";

fn principal(number: u128) -> Uuid {
    Uuid::from_u128(0x6f9d_1a3e_0000_4000_8000_0000_0000_0000 + number)
}

/// Roles that somebody holds in the simulated Azure.
fn held(cloud: &Cloud, principal: Uuid) -> usize {
    cloud.azure.handle().assignments().iter().filter(|held| held.principal_id == principal).count()
}

/// What the log says of a package that takes a role away.
const WAITS: &str = "the bundled bindings wait for an operator: check them with plan --pending, then apply the hash of the plan";

/// What a command of the operator prints.
fn operator(settings: &BTreeMap<String, String>, arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(arguments).env_clear().envs(settings).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!said.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    said
}

/// What the health check says.
async fn health(origin: &str) -> (u16, Value) {
    let idp = Idp::new(origin, TOKEN);
    let answer = idp.get("/healthz").await;
    (answer.status, answer.body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_gets_the_role_and_loses_it_through_real_services() {
    let cloud = Cloud::start();
    let serve = cloud.serve();
    let idp = Idp::new(&serve.base_url, TOKEN);
    until("the bindings are stored", || {
        serve.line("the bundled bindings were compared with the active ones")
    });
    let (user, group) =
        (idp.create_user("ana-moreira", principal(1)).await, idp.create_group(OPERATORS).await);

    assert_eq!(idp.member("add", &group, &user).await.status, 200);
    until("the role is there", || (held(&cloud, principal(1)) == 1).then_some(()));

    assert_eq!(idp.member("remove", &group, &user).await.status, 200);
    until("the role is gone", || (held(&cloud, principal(1)) == 0).then_some(()));

    assert!(cloud.azure.unrecognised().is_empty(), "{:?}", cloud.azure.unrecognised());
    // The first tick may have come before the table of orders was made.
    let health = eventually("it is well", async || {
        let (status, health) = health(serve.origin()).await;
        (status == 200 && health["status"] == "ok").then_some(health)
    });
    let health = health.await;
    assert_eq!((&health["tokens"], &health["packagedBindings"]), (&"usable".into(), &"stored".into()));
    let said = serve.lines().iter().map(Value::to_string).collect::<String>();
    assert!(!said.contains(TOKEN) && !said.contains("ana-moreira"), "{said}");
}

/// Every spelling of an address under the base URL, with every method, with a token and without one; HEAD as GET.
fn check_pasted_addresses(host: &Host) {
    let token = format!("Bearer {TOKEN}");
    let id = principal(9);
    let one = format!("//Users//{id}/");
    let cases = [
        ("//Users", [200, 400, 405]),
        ("/Users/", [200, 400, 405]),
        (&one, [404, 405, 404]),
        ("/Schemas/", [200, 405, 405]),
    ];
    for (path, statuses) in cases {
        let path = format!("/scim/v2{path}");
        for (method, status) in ["GET", "POST", "DELETE"].into_iter().zip(statuses) {
            let asked = ask(host, method, &path).header("authorization", &token);
            let asked = if method == "POST" {
                asked.header("content-type", "application/json").body("{}")
            } else {
                asked
            };
            assert_eq!(asked.send().status, status, "{method} {path}");
            assert_eq!(ask(host, method, &path).send().status, 401, "{method} {path}");
        }
        let [get, head] =
            ["GET", "HEAD"].map(|method| ask(host, method, &path).header("authorization", &token).send());
        assert_eq!((head.status, head.text().as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
    for path in [format!("/scim/v2/Users/%2F{id}"), format!("/scim/v2/Users/{id}%2F")] {
        assert_eq!(ask(host, "GET", &path).header("authorization", &token).send().status, 404, "{path}");
    }
}

/// Facts: F-151.
#[tokio::test(flavor = "multi_thread")]
async fn the_packaged_app_runs_under_a_host_and_its_timer_ticks() {
    let cloud = Cloud::start();
    for transport in [Transport::Proxy, Transport::Forward] {
        let host = cloud.host(transport);
        assert!(matches!(host.settled(), State::Ready { .. }), "{:?}", host.lines());
        tokio::task::block_in_place(|| check_pasted_addresses(&host));
        let invocation = tokio::task::block_in_place(|| host.fire_timer("Reconcile", false, None));
        assert!(matches!(invocation.outcome, Outcome::Succeeded { .. }), "{invocation:?}");
        // From outside nothing reaches the envelope.
        let outside = Idp::new(&host.url(), TOKEN);
        assert_eq!(outside.post("/Reconcile", serde_json::json!({})).await.status, 404);
    }
}

/// Facts: F-123.
#[test]
fn no_spelling_of_a_path_leads_from_outside_to_the_envelope() {
    let cloud = Cloud::start();
    let envelope = r#"{"Data":{"tick":{"IsPastDue":false}},"Metadata":{"sys":{}}}"#;
    for transport in [Transport::Proxy, Transport::Forward] {
        let host = cloud.host(transport);
        assert!(matches!(host.settled(), State::Ready { .. }), "{:?}", host.lines());
        for path in [
            "/Reconcile",
            "/scim/v2/..%5C..%5CReconcile",
            "/scim/v2/%252e%252e/%252e%252e/Reconcile",
            "/scim/v2/%2e%2e/%2e%2e/Reconcile",
            "/scim/v2/..%2F..%2FReconcile",
            "/scim/..%2FReconcile",
            "/scim/%2e%2e/Reconcile",
            "/scim//Reconcile",
            "/scim/v2//../../Reconcile",
        ] {
            let asked = ask(&host, "POST", path).header("content-type", "application/json");
            let answer = asked.body(envelope).send();
            // By the host, or by us: no token, and no tick.
            assert!([401, 404].contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
        }
        let invocation = host.fire_timer("Reconcile", false, None);
        assert!(matches!(invocation.outcome, Outcome::Succeeded { .. }), "{invocation:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_two_newest_tokens_of_a_label_count() {
    let cloud = Cloud::start();
    let serve = cloud.serve();
    let old = Idp::new(&serve.base_url, TOKEN);
    assert_eq!(old.get("/ServiceProviderConfig").await.status, 200);
    let next = ["the-next-token-0123456789-abcdefghijklmn", "the-last-token-0123456789-abcdefghijklmn"];
    for (token, old_counts) in next.into_iter().zip([200, 401]) {
        // A vault dates versions by the second.
        cloud.azure.handle().advance(2).unwrap();
        cloud.azure.handle().set_secret(SECRET, secret(token, "entra")).unwrap();
        // The first request with the new token is good: it makes the service look.
        assert_eq!(old.with_token(token).get("/ServiceProviderConfig").await.status, 200);
        assert_eq!(old.get("/ServiceProviderConfig").await.status, old_counts);
    }
}

/// Facts: F-043.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_disabled_stops_at_the_next_load() {
    let cloud = Cloud::start();
    let azure = cloud.azure.handle();
    let serve = cloud.serve();
    assert_eq!(Idp::new(&serve.base_url, TOKEN).get("/Users").await.status, 200);
    let leaked = azure.secrets()[SECRET].versions[0].id.clone();
    azure.set_secret(SECRET, secret("the-next-token-0123456789-abcdefghijklmn", "entra")).unwrap();
    let update = SecretUpdate { enabled: Some(false), ..SecretUpdate::default() };
    azure.update_secret(SECRET, &leaked, update).unwrap();

    // The new token makes the service look at once.
    let next = Idp::new(&serve.base_url, "the-next-token-0123456789-abcdefghijklmn");
    assert_eq!(next.get("/Users").await.status, 200);
    assert_eq!(Idp::new(&serve.base_url, TOKEN).get("/Users").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_package_that_starts_again_goes_on_under_the_newer_bindings() {
    let cloud = Cloud::start();
    let settings = cloud.settings(&cloud.addresses());
    let older = cloud.serve();
    let idp = Idp::new(&older.base_url, TOKEN);
    until("the older package is stored", || {
        older.line("the bundled bindings were compared with the active ones")
    });
    let (user, group) =
        (idp.create_user("ana-moreira", principal(1)).await, idp.create_group(OPERATORS).await);
    assert_eq!(idp.member("add", &group, &user).await.status, 200);
    until("the role is there", || (held(&cloud, principal(1)) == 1).then_some(()));
    let role = |cloud: &Cloud| cloud.azure.handle().assignments()[0].role;
    let before = role(&cloud);

    // Stamps have whole seconds.
    let first = std::fs::read_to_string(cloud.package_path().join("bindings.stamp")).unwrap();
    let changed = BINDINGS.replacen("Backup Operator", "Backup Reader", 1);
    let newer = until("a later second", || {
        let newer = package(&changed);
        let stamp = std::fs::read_to_string(newer.path().join("bindings.stamp")).unwrap();
        (stamp > first).then_some(newer)
    });
    // What takes a role away waits for an operator.
    let mut waiting = cloud.serve_in(newer.path(), &settings);
    until("the newer package waits", || waiting.line(WAITS));
    let plan = operator(&settings, &["plan", "--pending", "--json"]);
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!((&plan["revocations"], &plan["grants"]), (&1.into(), &1.into()));
    let (status, health) = health(waiting.origin()).await;
    assert_eq!((status, &health["status"]), (200, &"degraded".into()), "{health}");
    assert_eq!(health["packagedBindings"], "waiting for apply");
    assert_eq!(health["bindingsPending"]["plan"], plan["hash"]);
    assert_eq!(role(&cloud), before);
    let hash = plan["hash"].as_str().unwrap();
    operator(&settings, &["apply", hash, "--because", "a test says so", "--who", "olga", "--no-wait"]);
    // A process ticks as soon as it starts.
    waiting.kill();
    let newer = cloud.serve_in(newer.path(), &settings);
    until("the newer bindings move the role", || {
        let held = cloud.azure.handle().assignments();
        (held.len() == 1 && held[0].role != before).then_some(())
    });

    let mut older = older;
    older.kill();
    let older = cloud.serve_with(&settings);
    let looked = until("the older package was looked at", || {
        older.line("the bundled bindings were compared with the active ones")
    });
    assert_eq!(looked["bindings"], "older than those in force");
    for (name, number, serve) in [("ben", 2, &older), ("cleo", 3, &newer)] {
        let idp = Idp::new(&serve.base_url, TOKEN);
        let user = idp.create_user(name, principal(number)).await;
        assert_eq!(idp.member("add", &group, &user).await.status, 200);
        until("the newer role is there", || {
            let all = cloud.azure.handle().assignments();
            let held: Vec<_> = all.iter().filter(|held| held.principal_id == principal(number)).collect();
            (held.len() == 1 && held[0].role != before).then_some(())
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_stamp_nothing_is_stored_and_health_says_so() {
    let cloud = Cloud::start();
    std::fs::remove_file(cloud.package_path().join("bindings.stamp")).unwrap();
    let serve = cloud.serve();
    until("the bindings were looked at", || serve.line("the bundled bindings were not stored"));
    let idp = Idp::new(&serve.base_url, TOKEN);
    // Until the tokens are loaded, health has worse to say.
    assert_eq!(idp.get("/ServiceProviderConfig").await.status, 200);
    let (status, health) = health(serve.origin()).await;
    assert_eq!((status, &health["status"]), (200, &"degraded".into()), "{health}");
    assert_eq!(health["packagedBindings"], "not stamped");
    let (user, group) =
        (idp.create_user("ana-moreira", principal(1)).await, idp.create_group(OPERATORS).await);
    assert_eq!(idp.member("add", &group, &user).await.status, 200);
    // Nothing is left to be looked at, and nothing was given.
    let asked = format!("/Users/{user}?attributes=grants");
    assert_eq!(idp.get(&asked).await.body["grants"], Value::Null);
    assert_eq!(held(&cloud, principal(1)), 0);
}

/// Facts: F-146.
#[test]
fn settings_that_are_not_in_order_end_a_program_alone_and_not_one_under_a_host() {
    let serve =
        Command::new(PROGRAM).args(["serve", "--listen", "127.0.0.1:0"]).env_clear().output().unwrap();
    assert_eq!(serve.status.code(), Some(2));
    let said = String::from_utf8_lossy(&serve.stderr).into_owned();
    assert!(said.contains("TABLES_ENDPOINT") && said.contains("KEY_VAULT_URL"), "{said}");

    let cloud = Cloud::start();
    let host = cloud.host_with(Transport::Proxy, &BTreeMap::new());
    assert!(matches!(host.settled(), State::Ready { .. }), "{:?}", host.lines());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let answer = Idp::new(&format!("{}/scim/v2", host.url()), TOKEN).get("/Users").await;
        assert_eq!((answer.status, answer.retry_after.as_deref()), (503, Some("60")), "{answer:?}");
        let (status, health) = health(&host.url()).await;
        assert_eq!((status, &health["status"]), (503, &"unavailable".into()));
    });
    let said: Vec<_> = host.lines().into_iter().map(|line| line.text).collect();
    assert!(said.iter().any(|line| line.contains("TABLES_ENDPOINT")), "{said:?}");
}
