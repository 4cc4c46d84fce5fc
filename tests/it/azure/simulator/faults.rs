//! Throttles, failures, and calls that are late or lost.

use super::*;
use azure_backup_scim::simulator::{CallMethod as Call, FaultAction, FaultRule};

/// Azure: 200 writes at once for each subscription, then 429 `TooManyRequests` with Retry-After; 10 come back each second.
/// Facts: F-096.
#[actix_web::test]
async fn writes_are_counted_by_a_token_bucket() {
    let world = World::start();
    for _ in 0..200 {
        assert!(world.grant(VAULT, guid(1), guid(100)).await.status < 300);
    }

    let throttled = world.grant(VAULT, guid(2), guid(101)).await;
    throttled.assert_error(429, "TooManyRequests");
    assert_eq!(throttled.header("retry-after"), "1");
    assert_eq!(throttled.header("x-ms-ratelimit-remaining-subscription-writes"), "0");
    assert_eq!(world.get(VAULT, guid(1)).await.status, 200);
    assert_eq!(world.delete(VAULT, guid(9)).await.status, 204);

    world.azure.advance(1).unwrap();
    for number in 2..12 {
        assert_eq!(world.grant(VAULT, guid(number), guid(100 + number)).await.status, 201);
    }
    world.grant(VAULT, guid(20), guid(120)).await.assert_error(429, "TooManyRequests");
}

/// Azure: subscriptions have their own buckets; reads have 250.
/// Facts: F-096.
#[actix_web::test]
async fn reads_are_counted_for_each_subscription() {
    let world = World::start();
    let elsewhere = SUBSCRIPTION.replace('1', "2");
    world.azure.add_scope(&scope(&elsewhere)).unwrap();
    for _ in 0..250 {
        world.get(VAULT, guid(1)).await.assert_error(404, "RoleAssignmentNotFound");
    }

    world.get(VAULT, guid(1)).await.assert_error(429, "TooManyRequests");
    assert_eq!(world.list(&elsewhere, "").await.status, 200);
}

/// Azure: a throttled call is not executed.
#[actix_web::test]
async fn a_throttle_hits_the_next_calls_of_a_method() {
    let world = World::start();
    let throttle = FaultAction::Throttle { retry_after_seconds: Some(7) };
    world.azure.add_rule(FaultRule::new(throttle).method(Call::Put).times(1)).unwrap();

    assert_eq!(world.list(VAULT, "").await.status, 200);
    let throttled = world.grant(VAULT, guid(1), guid(100)).await;
    throttled.assert_error(429, "TooManyRequests");
    assert_eq!(throttled.header("retry-after"), "7");
    assert!(world.azure.assignments().is_empty());
    assert_eq!(world.grant(VAULT, guid(1), guid(100)).await.status, 201);
}

/// Azure: 403 `AuthorizationFailed` where the caller lacks the right or its condition says no.
/// Facts: F-019.
#[actix_web::test]
async fn a_failure_hits_the_calls_about_one_principal_at_a_scope() {
    let world = World::start();
    let fail = FaultAction::Fail {
        status: 403,
        code: "AuthorizationFailed".to_owned(),
        message: None,
        retry_after_seconds: None,
        executed: false,
    };
    world.grant(VAULT, guid(1), guid(100)).await;
    world.azure.add_rule(FaultRule::new(fail).principal(guid(100)).scope(scope(GROUP))).unwrap();

    world.delete(VAULT, guid(1)).await.assert_error(403, "AuthorizationFailed");
    assert_eq!(world.grant(VAULT, guid(2), guid(101)).await.status, 201);
    assert_eq!(world.grant(SUBSCRIPTION, guid(3), guid(100)).await.status, 201);
    world.azure.clear_rules();
    assert_eq!(world.delete(VAULT, guid(1)).await.status, 200);
}

/// Azure: after a 5xx nobody knows whether the call was executed.
/// Facts: F-018.
#[actix_web::test]
async fn a_server_error_may_have_executed() {
    let world = World::start();
    let fail = |executed| FaultAction::Fail {
        status: 500,
        code: "ServerTimeout".to_owned(),
        message: None,
        retry_after_seconds: None,
        executed,
    };
    world.azure.add_rule(FaultRule::new(fail(true)).times(1)).unwrap();
    world.azure.add_rule(FaultRule::new(fail(false)).times(1)).unwrap();

    world.grant(VAULT, guid(1), guid(100)).await.assert_error(500, "ServerTimeout");
    world.grant(VAULT, guid(2), guid(101)).await.assert_error(500, "ServerTimeout");

    assert_eq!(world.list(VAULT, "").await.names(), [guid(1)]);
    let executed: Vec<bool> = world.azure.calls().iter().map(|call| call.executed).collect();
    assert_eq!(executed, [true, false, true]);
}

/// Networks: a request can be lost, or its answer; the caller sees the same broken connection.
/// Facts: F-018.
#[actix_web::test]
async fn a_lost_request_is_not_executed_and_a_lost_answer_is() {
    let world = World::start();
    world.azure.add_rule(FaultRule::new(FaultAction::LoseRequest).name(guid(1))).unwrap();
    world.azure.add_rule(FaultRule::new(FaultAction::LoseAnswer).name(guid(2))).unwrap();

    for number in [1, 2] {
        let body = json!({ "properties": reader(guid(100 + number)) });
        let request = world.arm(Method::PUT, &assignment(VAULT, guid(number))).json(&body);
        let error = request.send().await.unwrap_err();
        assert!(error.is_request() && !error.is_connect() && error.status().is_none(), "{error:?}");
    }

    assert_eq!(world.list(VAULT, "").await.names(), [guid(2)]);
    let calls = world.azure.calls();
    assert_eq!(calls.len(), 3, "the client does not send again by itself");
    assert_eq!((calls[0].status, calls[0].executed, calls[0].answered), (None, false, false));
    assert_eq!((calls[1].status, calls[1].executed, calls[1].answered), (Some(201), true, false));
}

/// Networks: a call can be under way for long; the n-th call can be the one that is hit.
#[actix_web::test]
async fn a_late_call_is_executed_and_answered_and_rules_can_skip() {
    let world = World::start();
    world.azure.add_rule(FaultRule::new(FaultAction::Delay { ms: 1 }).times(1)).unwrap();
    world.azure.add_rule(FaultRule::new(FaultAction::DelayAnswer { ms: 1 }).times(1)).unwrap();
    world
        .azure
        .add_rule(FaultRule::new(FaultAction::Throttle { retry_after_seconds: None }).skip(1))
        .unwrap();

    for number in 1..=3 {
        assert_eq!(world.grant(VAULT, guid(number), guid(100 + number)).await.status, 201);
    }
    let fourth = world.grant(VAULT, guid(4), guid(104)).await;
    fourth.assert_error(429, "TooManyRequests");
    assert_eq!(fourth.header("retry-after"), "");
}

/// Networks: a call that is under way arrives whether or not its caller lives to see it.
#[actix_web::test]
async fn a_late_call_arrives_after_its_caller_is_gone() {
    let world = World::start();
    world.azure.add_rule(FaultRule::new(FaultAction::Delay { ms: 50 }).method(Call::Put)).unwrap();
    let body = json!({ "properties": reader(guid(100)) });
    let request = world.arm(Method::PUT, &assignment(VAULT, guid(1))).json(&body);
    let caller = actix_web::rt::spawn(async move { request.send().await });
    world.azure.until(|azure| azure.calls().len() == 1).await;
    caller.abort();

    world.azure.until(|azure| azure.calls()[0].executed).await;

    assert_eq!(world.azure.assignments()[0].name, guid(1));
}

/// Networks: a call can arrive after its caller died.
#[actix_web::test]
async fn a_held_call_is_delivered_after_its_caller_is_gone() {
    let world = World::start();
    world.azure.add_rule(FaultRule::new(FaultAction::Hold).method(Call::Put).times(1)).unwrap();
    let body = json!({ "properties": reader(guid(100)) });
    let request = world.arm(Method::PUT, &assignment(VAULT, guid(1))).json(&body);
    let caller = actix_web::rt::spawn(async move { request.send().await });
    world.azure.until(|azure| azure.held().len() == 1).await;
    caller.abort();
    assert!(caller.await.is_err_and(|error| error.is_cancelled()));
    world.get(VAULT, guid(1)).await.assert_error(404, "RoleAssignmentNotFound");

    let held = &world.azure.held()[0];
    assert_eq!((held.name, held.principal, held.executed), (Some(guid(1)), Some(guid(100)), false));
    let delivered = world.control(Method::POST, &format!("/held/{}/deliver", held.number), Value::Null).await;

    assert_eq!(delivered.body, json!({ "status": 201 }));
    assert_eq!(world.get(VAULT, guid(1)).await.status, 200);
    assert!(world.azure.held().is_empty());
}

/// Networks: a held call is answered if its caller still waits, and breaks if it is dropped.
#[actix_web::test]
async fn a_held_call_is_answered_or_dropped_while_its_caller_waits() {
    let world = World::start();
    world.grant(VAULT, guid(1), guid(100)).await;
    world.azure.add_rule(FaultRule::new(FaultAction::Hold).method(Call::Delete)).unwrap();
    let orders = async {
        world.azure.until(|azure| azure.held().len() == 1).await;
        world.azure.drop_held(world.azure.held()[0].number).unwrap();
        world.azure.until(|azure| azure.held().len() == 1).await;
        world.azure.deliver(world.azure.held()[0].number).unwrap();
    };
    let caller = async {
        let lost = world.arm(Method::DELETE, &assignment(VAULT, guid(1))).send().await;
        (lost.is_err(), world.delete(VAULT, guid(1)).await.status)
    };

    let (_, outcome) = futures_util::join!(orders, caller);

    assert_eq!(outcome, (true, 200));
}

/// Networks: something on the way answers 200 with a page of its own. What Azure did is another matter.
/// Facts: F-018.
#[actix_web::test]
async fn nonsense_is_no_answer_and_the_call_was_executed() {
    let world = World::start();
    for service in ["arm", "vault", "identity", "graph"] {
        let rule = json!({ "action": "nonsense", "service": service, "times": 1 });
        assert_eq!(world.control(Method::POST, "/rules", rule).await.status, 201);
    }
    let endpoint = world.simulator.identity_endpoint();
    let urls = [
        format!("{}/secrets/token/?api-version=7.4", world.simulator.vault_url()),
        format!("{endpoint}?api-version=2019-08-01&resource=x"),
        format!("{}/v1.0/users/{}", world.simulator.graph_url(), guid(1)),
    ];

    let mut answers = vec![world.grant(VAULT, guid(1), guid(100)).await];
    for url in urls {
        let request = world.client.get(url).bearer_auth("anything");
        let request = request.header("x-identity-header", world.simulator.identity_header());
        answers.push(Answer::of(request.send().await.unwrap()).await);
    }

    for answer in &answers {
        assert_eq!(
            (answer.status, answer.header("content-type"), &answer.body),
            (200, "text/html", &Value::Null)
        );
    }
    assert_eq!(world.get(VAULT, guid(1)).await.status, 200);
    assert!(world.azure.rules().is_empty());
}
