//! The control API, and what survives a restart.

use super::*;
use azure_backup_scim::simulator::{
    CustomRole, DenyAssignment, FaultAction, FaultRule, GraphGroup, GraphServicePrincipal, NewSecret,
    ObjectType, OwnRight, RolePermission,
};
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use time::macros::datetime;

/// Every endpoint that the API describes is there, and refuses a wrong body with a text.
#[actix_web::test]
async fn the_api_describes_itself() {
    let world = World::start();
    let described = world.control(Method::GET, "", Value::Null).await;

    for endpoint in described.body["endpoints"].as_array().unwrap() {
        let method: Method = endpoint["method"].as_str().unwrap().parse().unwrap();
        let path = endpoint["path"].as_str().unwrap().trim_start_matches("/control");
        let takes_body = !endpoint["takes"].as_str().unwrap().is_empty();
        let body = if takes_body { json!({ "nonsense": 1 }) } else { Value::Null };
        let answer = world.control(method, path, body).await;
        let expected = if takes_body || path.contains('{') { 400 } else { 200 };
        assert!(answer.status == expected || answer.status == 204, "{endpoint}: {answer:?}");
        assert!(expected == 200 || answer.body["error"].is_string(), "{endpoint}: {answer:?}");
    }
}

/// A page that a browser on this machine shows can send plain text anywhere, and have its own name lead here.
#[actix_web::test]
async fn the_api_takes_no_orders_from_the_page_of_another_site() {
    let world = World::start();
    let order = json!({ "scope": VAULT, "level": "CanNotDelete" }).to_string();
    let post = |headers: &[(&'static str, &'static str)]| {
        let url = format!("{}/locks", world.simulator.control_url());
        let request = headers.iter().fold(world.client.post(url), |r, (name, value)| r.header(*name, *value));
        request.body(order.clone()).send()
    };
    let json = ("content-type", "application/json");
    assert_eq!(post(&[("content-type", "text/plain")]).await.unwrap().status(), 415);
    assert_eq!(post(&[]).await.unwrap().status(), 415);
    assert_eq!(post(&[json, ("origin", "https://evil.example")]).await.unwrap().status(), 403);
    assert_eq!(post(&[json, ("host", "evil.example")]).await.unwrap().status(), 403);
    let reset = format!("{}/reset", world.simulator.control_url());
    let without_a_body = world.client.post(reset).header("origin", "https://evil.example");
    assert_eq!(without_a_body.send().await.unwrap().status(), 403);
    let read = world.client.get(world.simulator.control_url()).header("host", "evil.example:80");
    assert_eq!(read.send().await.unwrap().status(), 403);
    assert!(world.azure.locks().is_empty());

    assert_eq!(post(&[json]).await.unwrap().status(), 201);
}

/// Times of the end of days cannot be added to.
#[actix_web::test]
async fn the_clock_ends_before_times_that_cannot_be_added_to() {
    for clock in [StartClock::Real, StartClock::Manual(datetime!(2026-03-01 12:00 UTC))] {
        let world = World::start_with(SimulatorOptions { clock, ..options() });
        let century = json!({ "seconds": 100 * 365 * 86_400_u64 });
        let mut moved = 0;
        while world.control(Method::POST, "/clock/advance", century.clone()).await.status == 200 {
            moved += 1;
            assert!(moved < 100, "the clock has no end");
        }
        assert!(moved > 60 && world.azure.now().year() < 9000, "{moved}, {}", world.azure.now());
        let refused = world.control(Method::POST, "/clock/advance", century).await;
        assert_eq!(refused.status, 400);
        assert!(refused.body["error"].as_str().unwrap().contains("9000"), "{refused:?}");
        assert_eq!(world.grant(VAULT, guid(1), guid(100)).await.status, 201);
    }
}

/// A grant is deleted by hand and a foreign one is made, and ARM shows both.
#[actix_web::test]
async fn assignments_are_made_and_deleted_by_hand() {
    let world = World::start();
    let made = json!({ "scope": VAULT, "role": "backup operator", "principal": guid(100), "name": guid(1) });

    assert_eq!(world.control(Method::POST, "/assignments", made.clone()).await.status, 201);
    assert_eq!(world.get(VAULT, guid(1)).await.body["properties"]["roleDefinitionId"], role_id(OPERATOR));
    let mut again = made;
    again["name"] = json!(guid(2));
    let refused = world.control(Method::POST, "/assignments", again).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body["error"].as_str().unwrap().contains("RoleAssignmentExists"));

    let path = format!("/assignments/{}", guid(1));
    assert_eq!(world.control(Method::DELETE, &path, Value::Null).await.status, 204);
    assert_eq!(world.control(Method::DELETE, &path, Value::Null).await.status, 404);
    assert!(world.azure.assignments().is_empty());
}

#[actix_web::test]
async fn rules_are_added_listed_and_removed() {
    let world = World::start();
    let rule =
        json!({ "action": { "throttle": { "retry_after_seconds": 3 } }, "methods": ["PUT"], "times": 2 });

    let added = world.control(Method::POST, "/rules", rule).await;
    assert_eq!((added.status, &added.body), (201, &json!({ "id": 1 })));
    world.grant(VAULT, guid(1), guid(100)).await.assert_error(429, "TooManyRequests");
    let listed = world.control(Method::GET, "/rules", Value::Null).await;
    assert_eq!(listed.body[0]["times"], 1);
    assert_eq!(world.control(Method::DELETE, "/rules/1", Value::Null).await.status, 204);
    assert_eq!(world.grant(VAULT, guid(1), guid(100)).await.status, 201);

    for wrong in [json!({ "action": "explode" }), json!({ "action": "hold", "times": 0 })] {
        assert_eq!(world.control(Method::POST, "/rules", wrong).await.status, 400);
    }
}

#[actix_web::test]
async fn locks_principals_scopes_clock_and_limits_are_set_over_http() {
    let world = World::start();
    let set = async |method, path: &str, body| world.control(method, path, body).await.status;

    assert_eq!(set(Method::POST, "/locks", json!({ "scope": GROUP, "level": "ReadOnly" })).await, 201);
    world.grant(VAULT, guid(1), guid(100)).await.assert_error(409, "ScopeLocked");
    let lock = world.azure.locks()[0].id;
    assert_eq!(set(Method::DELETE, &format!("/locks/{lock}"), Value::Null).await, 204);

    assert_eq!(set(Method::POST, "/principals/strict", json!({ "strict": true })).await, 204);
    world.grant(VAULT, guid(1), guid(100)).await.assert_error(400, "PrincipalNotFound");
    let late = json!({ "id": guid(100), "type": "User", "appears_at": "2026-03-01T12:00:10Z" });
    assert_eq!(set(Method::POST, "/principals", late).await, 204);
    world.grant(VAULT, guid(1), guid(100)).await.assert_error(400, "PrincipalNotFound");
    let moved = world.control(Method::POST, "/clock/advance", json!({ "seconds": 10 })).await;
    assert_eq!(moved.body, json!({ "now": "2026-03-01T12:00:10Z" }));
    assert_eq!(world.grant(VAULT, guid(1), guid(100)).await.status, 201);

    assert_eq!(set(Method::DELETE, "/scopes", json!({ "scope": VAULT })).await, 204);
    world.get(VAULT, guid(1)).await.assert_error(404, "ResourceNotFound");
    assert_eq!(set(Method::POST, "/scopes", json!({ "scope": VAULT })).await, 204);
    assert_eq!(set(Method::POST, "/scopes", json!({ "scope": "vault" })).await, 400);

    assert_eq!(set(Method::PUT, "/limits", json!({ "page_size": 0 })).await, 400);
    assert_eq!(set(Method::PUT, "/limits", json!({ "assignments_per_subscription": 0 })).await, 200);
    world.grant(VAULT, guid(2), guid(100)).await.assert_error(400, "RoleAssignmentLimitExceeded");
}

/// The books say what became of each call.
#[actix_web::test]
async fn calls_are_listed_with_what_became_of_them() {
    let world = World::start();
    world.grant(VAULT, guid(1), guid(100)).await;
    world.grant(VAULT, guid(2), guid(100)).await;
    world.delete(VAULT, guid(1)).await;

    let calls = world.control(Method::GET, "/calls", Value::Null).await;

    let seen: Vec<String> = calls
        .body
        .as_array()
        .unwrap()
        .iter()
        .map(|call| format!("{} {} {}", call["method"], call["status"], call["executed"]))
        .collect();
    assert_eq!(seen, ["\"PUT\" 201 true", "\"PUT\" 409 false", "\"DELETE\" 200 true"]);
    assert_eq!(calls.body[2]["principal"], json!(guid(100)));
    world.control(Method::DELETE, "/calls", Value::Null).await;
    assert!(world.azure.calls().is_empty());
}

/// Other routes can be put beside these; a path that nobody knows says where to look.
#[actix_web::test]
async fn others_can_add_routes() {
    let extra = |config: &mut actix_web::web::ServiceConfig| {
        config.route("/audit", actix_web::web::get().to(async || "[]"));
    };
    let world = World::start_with(SimulatorOptions { extra_routes: Some(Arc::new(extra)), ..options() });

    assert_eq!(world.control(Method::GET, "/audit", Value::Null).await.body, json!([]));
    let unknown = world.control(Method::GET, "/nothing", Value::Null).await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.body["error"].as_str().unwrap().contains("GET /control"));
}

/// What Azure holds is on disk before anybody hears of it; faults are not kept.
#[actix_web::test]
async fn the_state_survives_a_restart_and_the_faults_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("azure.json");
    let kept = || SimulatorOptions { state_file: Some(file.clone()), ..options() };
    let other = VAULT.replace("/east", "/west");
    let world = World::start_with(SimulatorOptions { scopes: vec![scope(VAULT), scope(&other)], ..kept() });
    let made = world.grant(VAULT, guid(1), guid(100)).await;
    world.azure.add_lock(&scope(VAULT), azure_backup_scim::simulator::LockLevel::CanNotDelete).unwrap();
    world.azure.set_strict_principals(true).unwrap();
    world.azure.remove_scope(&scope(&other)).unwrap();
    world.azure.advance(90).unwrap();
    world.azure.add_rule(FaultRule::new(FaultAction::LoseRequest)).unwrap();
    world.azure.set_secret("token", NewSecret::new("one")).unwrap();
    let user = json!({ "id": guid(7), "displayName": "Ana", "userPrincipalName": "ana@x.example" });
    world.azure.add_user(serde_json::from_value(user).unwrap()).unwrap();
    let rights = OwnRight {
        scope: scope(VAULT),
        condition: Some("!(ActionMatches{'*/x'})".to_owned()),
        actions: vec!["*".to_owned()],
    };
    world.azure.set_own_rights(vec![rights.clone()]).unwrap();
    let secrets = world.azure.secrets();
    let users = world.azure.users();
    let copy = folder.path().join("copy.json");
    std::fs::copy(&file, &copy).unwrap();
    world.simulator.stop().unwrap();

    let scopes = vec![scope(VAULT), scope(&other)];
    let world = World::start_with(SimulatorOptions { scopes, state_file: Some(copy), ..kept() });
    assert_eq!(world.azure.own_rights(), Some(vec![rights]));

    assert_eq!(world.get(VAULT, guid(1)).await.body, made.body);
    world.delete(VAULT, guid(1)).await.assert_error(409, "ScopeLocked");
    world.grant(VAULT, guid(2), guid(101)).await.assert_error(400, "PrincipalNotFound");
    world.list(&other, "").await.assert_error(403, "AuthorizationFailed");
    world.azure.lift_own_rights().unwrap();
    world.list(&other, "").await.assert_error(404, "ResourceNotFound");
    assert_eq!((world.azure.secrets(), world.azure.users()), (secrets, users));
    assert_eq!(world.azure.now(), datetime!(2026-03-01 12:01:30 UTC));
    assert!(world.azure.rules().is_empty());
}

/// What decides access survives too. A state file of an Azure that knew none of it is read as before.
#[actix_web::test]
async fn what_decides_access_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("azure.json");
    let kept = || SimulatorOptions { state_file: Some(file.clone()), ..options() };
    let older = r#"[["users","aaaa0000-0000-4000-8000-000000000007",{"id":"aaaa0000-0000-4000-8000-000000000007",
        "displayName":"Ana","userPrincipalName":"ana@x.example"}]]"#;
    std::fs::write(&file, format!("{{\"simulated_azure_log\":1}}\n{}\n", older.replace('\n', ""))).unwrap();
    let world = World::start_with(kept());
    assert_eq!((world.azure.users().len(), world.azure.groups().len()), (1, 0));

    let permission = RolePermission::actions(&["*"]);
    world.azure.deny(DenyAssignment::new("stack", scope(VAULT), permission.clone())).unwrap();
    let role = CustomRole {
        id: guid(1),
        role_name: "Restorer".to_owned(),
        description: String::new(),
        assignable_scopes: vec![scope(SUBSCRIPTION)],
        permissions: vec![permission],
    };
    world.azure.set_custom_role(role).unwrap();
    let group = GraphGroup { id: guid(10), display_name: "Operators".to_owned(), members: vec![guid(7)] };
    world.azure.add_group(group).unwrap();
    let job = GraphServicePrincipal { id: guid(3), display_name: "job".to_owned(), assigned: Vec::new() };
    world.azure.add_service_principal(job).unwrap();
    world.azure.set_hidden_types(vec![ObjectType::Group]).unwrap();
    let all = |world: &World| {
        let azure = &world.azure;
        let graph = (azure.users(), azure.groups(), azure.service_principals(), azure.hidden_types());
        (azure.deny_assignments(), azure.custom_roles(), graph)
    };
    let before = all(&world);
    world.simulator.stop().unwrap();

    assert_eq!(all(&World::start_with(kept())), before);
}

/// A stopped Azure leaves its port to the next one.
#[actix_web::test]
async fn a_port_can_be_used_again() {
    let world = World::start();
    let port: u16 = world.simulator.arm_url().rsplit(':').next().unwrap().parse().unwrap();
    assert_eq!(world.list(VAULT, "").await.status, 200);
    world.simulator.stop().unwrap();

    let world = World::start_with(SimulatorOptions { port, ..options() });

    assert_eq!(world.list(VAULT, "").await.status, 200);
}

const STATE_FILE: &str = "TEST_AZURE_STATE_FILE";

/// SIGKILL at any moment: what was acknowledged before it is there afterwards.
#[actix_web::test]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("azure.json");
    let test_name = |name: &str| format!("{}::{name}", module_path!().trim_start_matches("it::"));
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test_name("an_azure_to_be_killed"), "--ignored", "--nocapture"])
        .env(STATE_FILE, &file)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Killed(child);
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let url =
        lines.map(Result::unwrap).find_map(|line| line.strip_prefix("ARM ").map(str::to_owned)).unwrap();
    let client = Client::new();
    let mut acknowledged = Vec::new();
    let mut child = Some(child);
    let mut killer = None;

    for number in 1.. {
        // From here on the kill and the calls run against each other.
        if acknowledged.len() == 100 {
            killer = child.take().map(|child| std::thread::spawn(move || drop(child)));
        }
        let url = format!("{url}{}?api-version=2022-04-01", assignment(VAULT, guid(number)));
        let body = json!({ "properties": reader(guid(1_000_000 + number)) });
        match client.put(url).bearer_auth("anything").json(&body).send().await {
            Ok(answer) if answer.status() == 201 => acknowledged.push(guid(number)),
            _ => break,
        }
    }
    killer.unwrap().join().unwrap();

    let world = World::start_with(SimulatorOptions { state_file: Some(file), ..options() });
    let there: Vec<Uuid> = world.azure.assignments().iter().map(|assignment| assignment.name).collect();
    assert_eq!(there[..acknowledged.len()], acknowledged);
    assert!(there.len() <= acknowledged.len() + 1, "at most the call under way is there beside them");
}

/// A process that does not outlive its test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
#[ignore = "started by the test above, in a process that can be killed"]
fn an_azure_to_be_killed() {
    let Some(file) = std::env::var_os(STATE_FILE) else { return };
    let limits =
        ArmLimits { buckets: false, assignments_per_subscription: 1_000_000, ..ArmLimits::default() };
    let world = World::start_with(SimulatorOptions { state_file: Some(file.into()), limits, ..options() });
    println!("\nARM {}", world.simulator.arm_url());
    loop {
        std::thread::park();
    }
}

/// A file of another format is named, and left alone.
#[actix_web::test]
async fn a_state_file_that_cannot_be_read_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("azure.json");
    std::fs::write(&file, "{\"assignments\":{}}").unwrap();

    let refused = Simulator::start(SimulatorOptions { state_file: Some(file.clone()), ..options() });

    let error = refused.err().unwrap().to_string();
    assert!(error.contains("azure.json") && error.contains("delete it"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"assignments\":{}}");
}
