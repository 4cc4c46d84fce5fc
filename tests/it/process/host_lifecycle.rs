//! How the host starts its handler, watches it, kills it and starts it again; and how it calls it when a timer fires.

use crate::support::host::{
    HOST_URL, Host, HostOptions, Level, Outcome, ScheduleStatus, State, Transport, timer_envelope,
};
use crate::support::host_client::{ask, eventually, ready, received, recording, repository, seen, starts};
use serde_json::{Value, json};
use std::time::Duration;

const USERS: &str = "/scim/v2/Users";

fn pid(host: &Host) -> u32 {
    match host.settled() {
        State::Ready { pid, .. } => pid,
        other => panic!("{other:?}: {:?}", host.lines()),
    }
}

/// Facts: F-141.
#[test]
fn the_handler_starts_with_the_settings_and_what_the_host_adds() {
    let host = ready(recording().setting("TABLES_TABLE", "scim"));
    let [start] = &starts(&host)[..] else { panic!("{:?}", starts(&host)) };
    let variable = |name: &str| start["environment"][name].as_str().unwrap_or_default().to_owned();
    assert_eq!(variable("TABLES_TABLE"), "scim");
    assert_eq!(variable("FUNCTIONS_APP_ROOT_PATH"), repository().to_str().unwrap());
    assert_eq!(start["cwd"], repository().to_str().unwrap());
    assert_eq!(variable("FUNCTIONS_CUSTOMHANDLER_PORT"), variable("FUNCTIONS_HTTPWORKER_PORT"));
    assert_eq!(variable("FUNCTIONS_CUSTOMHANDLER_WORKER_ID").len(), 36);
    assert_eq!(variable("FUNCTIONS_CUSTOMHANDLER_WORKER_ID"), variable("FUNCTIONS_HTTPWORKER_ID"));
    assert!(!variable("PATH").is_empty());
    // What the tests run in does not leak into the handler. (A wrapper around its interpreter may add names of its own.)
    let ours =
        std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("CARGO") || name == "HOME");
    for name in ours {
        assert_eq!(start["environment"][&name], Value::Null, "{name}");
    }
}

#[test]
fn a_setting_can_hold_the_address_of_the_host() {
    let host = ready(recording().setting("PUBLIC_BASE_URL", HOST_URL));
    assert_eq!(starts(&host)[0]["environment"]["PUBLIC_BASE_URL"], host.url());
}

#[test]
fn the_handler_starts_in_the_folder_that_host_json_names() {
    let host = ready(recording().override_host("customHandler__description__workingDirectory", "tests/it"));
    assert_eq!(starts(&host)[0]["cwd"], repository().join("tests/it").to_str().unwrap());
    assert_eq!(starts(&host)[0]["environment"]["FUNCTIONS_APP_ROOT_PATH"], repository().to_str().unwrap());
}

/// Facts: F-142.
#[test]
fn the_program_is_looked_for_under_the_app_first_and_then_on_the_path() {
    let missing = recording().program("no-such-handler", &[]);
    assert!(Host::start(missing).is_err_and(|error| error.to_string().contains("no-such-handler")));
    let named = recording().program("%HANDLER%", &[]).setting("HANDLER", "python3");
    pid(&ready(named));
}

#[test]
fn the_port_of_host_json_is_used_where_it_is_given() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    let asked = || recording().override_host("customHandler__port", port.to_string());
    assert!(Host::start(asked()).is_err_and(|error| error.to_string().contains(&port.to_string())));
    drop(free);
    let host = ready(asked());
    assert_eq!(starts(&host)[0]["environment"]["FUNCTIONS_CUSTOMHANDLER_PORT"], port.to_string());
}

/// Facts: F-145.
#[test]
fn requests_wait_until_the_handler_is_ready() {
    // A proxy would try again and might hide that nobody waited.
    let slow = recording().setting("RECORDER_SERVE_AFTER", "0.5").transport(Transport::Forward);
    let host = Host::start(slow).unwrap();
    assert_eq!(host.state(), State::Starting);
    assert_eq!(ask(&host, "GET", USERS).send().status, 200);
    assert!(host.time_to_ready().unwrap() >= Duration::from_millis(500));
}

/// Facts: F-077, F-144.
#[test]
fn the_real_program_is_ready_at_once_and_its_probe_needs_no_token() {
    let state = tempfile::tempdir().unwrap();
    let arguments = ["local", "--json", "--state", state.path().to_str().unwrap()];
    let options = HostOptions::new(repository()).program(env!("CARGO_BIN_EXE_azure-backup-scim"), &arguments);
    let host = ready(options);
    let took = host.time_to_ready().unwrap();
    assert!(took < Duration::from_secs(5), "an unoptimised program on a busy machine took {took:?}");
    let health = ask(&host, "GET", "/healthz").send();
    assert_eq!(health.status, 200);
    let refused = ask(&host, "GET", USERS).send();
    assert_eq!(refused.status, 401);
    assert!(refused.text().contains("urn:ietf:params:scim:api:messages:2.0:Error"), "{}", refused.text());
    assert!(host.lines().iter().all(|line| line.level == Level::Information), "{:?}", host.lines());
}

/// Facts: F-146.
#[test]
fn a_crash_starts_another_and_the_third_ends_the_host() {
    let host = ready(recording());
    let mut seen = vec![pid(&host)];
    for _ in 0..2 {
        host.kill();
        assert_eq!(ask(&host, "GET", USERS).send().status, 200, "it waited for the next one");
        seen.push(pid(&host));
    }
    host.kill();
    assert!(matches!(host.settled(), State::Dead(why) if why.contains("3 times")));
    assert_eq!(ask(&host, "GET", USERS).send().status, 503);
    seen.dedup();
    assert_eq!(seen.len(), 3);
}

/// Facts: F-146.
#[test]
fn crashes_far_apart_do_not_add_up() {
    let host = ready(HostOptions { failure_window: Duration::ZERO, ..recording() });
    for _ in 0..4 {
        host.kill();
        pid(&host);
    }
}

#[test]
fn a_handler_that_cannot_boot_is_tried_three_times() {
    let host = Host::start(recording().setting("RECORDER_EXIT", "1")).unwrap();
    assert!(
        matches!(host.settled(), State::Dead(why) if why.contains("3 times") && why.contains("exit status: 1"))
    );
    assert_eq!(starts(&host).len(), 3);
    assert_eq!(ask(&host, "GET", USERS).send().status, 503);
}

/// Facts: F-144.
#[test]
fn a_handler_that_does_not_answer_its_probe_is_given_up() {
    let limit = Duration::from_millis(300);
    let host = Host::start(recording().setting("RECORDER_STALL", "1").initialization_timeout(limit)).unwrap();
    assert!(matches!(host.settled(), State::Dead(why) if why.contains("3 times") && why.contains("in time")));
}

/// Facts: F-145.
#[test]
fn a_request_that_waited_for_four_starts_ends_the_host() {
    let limit = Duration::from_millis(200);
    let options = recording().setting("RECORDER_STALL", "1").initialization_timeout(limit);
    let host = Host::start(HostOptions { failure_window: Duration::ZERO, ..options }).unwrap();
    assert_eq!(ask(&host, "GET", USERS).send().status, 503);
    assert_eq!(host.state(), State::Dead("the host was stopped".to_owned()));
    assert!(host.calls()[0].duration >= limit * 4, "{:?}", host.calls());
}

/// Facts: F-132, F-147.
#[test]
fn exit_code_zero_is_never_restarted() {
    let host = Host::start(recording().setting("RECORDER_EXIT", "0")).unwrap();
    assert_eq!(host.settled(), State::Down);
    for transport in [Transport::Proxy, Transport::Forward] {
        let host = Host::start(recording().setting("RECORDER_EXIT", "0").transport(transport)).unwrap();
        assert_eq!(host.settled(), State::Down);
        let answer = ask(&host, "GET", USERS).send();
        assert_eq!((answer.status, answer.text().as_str()), (500, ""));
    }
    assert_eq!(starts(&host).len(), 1);
    host.restart();
    assert_eq!(
        (host.state(), starts(&host).len()),
        (State::Down, 2),
        "only the host's own restart brings it back"
    );
}

/// Facts: F-147.
#[test]
fn exit_code_200_is_restarted_and_not_counted() {
    let host = ready(recording().transport(Transport::Forward));
    for time in 1..=4 {
        let answer = ask(&host, "GET", USERS).told(json!({ "exit": 200 })).send();
        assert_eq!(answer.status, 500);
        eventually("another was started", || starts(&host).len() == time + 1);
    }
    pid(&host);
}

/// Facts: F-157.
#[test]
fn a_restart_of_the_host_itself_is_not_counted() {
    let host = ready(recording());
    for _ in 0..4 {
        let before = pid(&host);
        assert!(matches!(host.restart(), State::Ready { .. }));
        assert_ne!(pid(&host), before);
    }
}

/// Facts: F-148.
#[test]
fn dropping_the_host_kills_the_handler() {
    let host = ready(recording());
    let port = starts(&host)[0]["environment"]["FUNCTIONS_CUSTOMHANDLER_PORT"].as_str().unwrap().to_owned();
    drop(host);
    let gone = || std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_err();
    eventually("nobody listens any more", gone);
}

/// Facts: F-149.
#[test]
fn a_function_that_takes_too_long_is_killed_with_all_that_is_under_way() {
    for transport in [Transport::Proxy, Transport::Forward] {
        let host = ready(recording().transport(transport).function_timeout(Duration::from_secs(2)));
        let before = pid(&host);
        let slow = ask(&host, "POST", USERS).told(json!({ "wait": 60 })).body("slow").in_background();
        eventually("the slow one is under way", || seen(&host).len() == 1);
        let other =
            ask(&host, "POST", "/scim/v2/Groups").told(json!({ "wait": 60 })).body("other").in_background();
        eventually("the other one is, too", || seen(&host).len() == 2);

        assert_eq!(slow.join().unwrap().unwrap().status, 500);
        assert_eq!(other.join().unwrap().unwrap().status, 500);
        assert_eq!(ask(&host, "GET", USERS).send().status, 200);
        assert_ne!(pid(&host), before);
        assert!(host.calls()[..2].iter().all(|call| !call.success), "{:?}", host.calls());
    }
}

/// Facts: F-149.
#[test]
fn an_answer_that_is_not_over_in_time_is_killed_too() {
    let host = ready(recording().function_timeout(Duration::from_millis(900)));
    let before = pid(&host);
    let endless = json!({ "chunks": vec!["x"; 100], "pause": 0.1 });
    assert!(ask(&host, "GET", USERS).told(endless).try_send().is_err());
    eventually("another was started", || starts(&host).len() == 2);
    assert_ne!(pid(&host), before);
}

/// Facts: F-150.
#[test]
fn lines_have_the_level_that_the_host_reads_from_them() {
    let host = ready(recording());
    ask(&host, "GET", USERS).told(json!({ "warn": "level WARN" })).send();
    ask(&host, "GET", USERS).told(json!({ "warn": "anything else" })).send();
    let level = |text: &str| host.lines().iter().find(|line| line.text == text).map(|line| line.level);
    eventually("both lines are read", || {
        level("\"anything else\"").is_some() && level("\"level WARN\"").is_some()
    });
    assert_eq!(level("\"level WARN\""), Some(Level::Warning));
    assert_eq!(level("\"anything else\""), Some(Level::Error));
    assert_eq!(host.lines()[0].level, Level::Information);
}

/// Facts: F-151.
#[test]
fn a_timer_comes_as_an_envelope_in_chunks() {
    let host = ready(recording());
    let at = time::macros::datetime!(2026-03-01 10:00 UTC);
    let status = ScheduleStatus { last: at, next: at + time::Duration::MINUTE, last_updated: at };

    let fired = host.fire_timer("Reconcile", true, Some(status));

    assert!(matches!(&fired.outcome, Outcome::Succeeded { outputs, .. } if outputs.is_empty()), "{fired:?}");
    let [got] = &received(&host)[..] else { panic!("{:?}", received(&host)) };
    assert_eq!((got.target(), got.header("content-type")), ("/Reconcile", "application/json; charset=utf-8"));
    assert_eq!((got.header("transfer-encoding"), got.headers("content-length").len()), ("chunked", 0));
    assert_eq!(got.header("x-azure-functions-invocationid"), fired.id);
    let body: Value = serde_json::from_str(got.0["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        body["Data"]["tick"],
        json!({
            "Schedule": { "AdjustForDST": true },
            "ScheduleStatus": {
                "Last": "2026-03-01T10:00:00Z", "Next": "2026-03-01T10:01:00Z", "LastUpdated": "2026-03-01T10:00:00Z"
            },
            "IsPastDue": true,
        })
    );
    assert_eq!(body["Metadata"]["sys"]["MethodName"], "Reconcile");
    let [call] = &host.calls()[..] else { panic!("{:?}", host.calls()) };
    assert!(call.success && call.function == "Reconcile" && call.status == 200, "{call:?}");
}

#[test]
fn a_timer_without_a_schedule_status_and_with_more_than_is_known_comes_through() {
    let host = ready(recording());
    let mut envelope = timer_envelope("Reconcile", "tick", false, None);
    envelope["Metadata"]["Later"] = json!("\"a newer host\"");
    assert!(matches!(host.fire_envelope("Reconcile", &envelope).outcome, Outcome::Succeeded { .. }));
    let body: Value = serde_json::from_str(received(&host)[0].0["body"].as_str().unwrap()).unwrap();
    assert_eq!(body, envelope);
}

/// Facts: F-153.
#[test]
fn an_empty_answer_hangs_the_real_host_and_is_called_so() {
    let host = ready(recording().setting("RECORDER_TIMER", ""));
    assert_eq!(host.fire_timer("Reconcile", false, None).outcome, Outcome::Hung);
    assert!(!host.calls()[0].success);
}

#[test]
fn a_timer_without_an_answer_times_out_and_costs_the_handler_its_life() {
    let options = recording().setting("RECORDER_TIMER", "hang").function_timeout(Duration::from_millis(700));
    let host = ready(options);
    let before = pid(&host);
    let fired = host.fire_timer("Reconcile", false, None);
    assert!(matches!(&fired.outcome, Outcome::Failed(why) if why.contains("timed out")), "{fired:?}");
    assert_eq!(fired.status, None);
    eventually("another was started", || starts(&host).len() == 2);
    assert_ne!(pid(&host), before);
}

/// Facts: F-070.
#[test]
fn a_timer_never_overlaps_with_itself() {
    let host = ready(recording().setting("RECORDER_TIMER_WAIT", "0.2"));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let fired = host.fire_timer("Reconcile", false, None);
                assert!(matches!(fired.outcome, Outcome::Succeeded { .. }), "{fired:?}");
                assert!(fired.duration >= Duration::from_millis(200), "{fired:?}");
            });
        }
    });
    let beside: Vec<Value> = received(&host).iter().map(|got| got.0["beside"].clone()).collect();
    assert_eq!(beside, [0, 0, 0]);
}

#[test]
fn a_timer_that_nobody_knows_fails() {
    let host = ready(recording());
    assert!(matches!(host.fire_timer("ScimUsers", false, None).outcome, Outcome::Failed(_)));
    assert!(received(&host).is_empty());
    let timers: Vec<String> = host.timers().into_iter().map(|(name, _)| name).collect();
    assert_eq!(timers, ["Reconcile"]);
}

/// The timer scales apart from the requests: another instance, another process, the same settings.
#[test]
fn two_hosts_run_the_same_app_side_by_side() {
    let (requests, timer) = (ready(recording()), ready(recording()));
    assert_eq!(ask(&requests, "GET", USERS).send().status, 200);
    assert!(matches!(timer.fire_timer("Reconcile", false, None).outcome, Outcome::Succeeded { .. }));
    assert_ne!(pid(&requests), pid(&timer));
    assert_eq!((received(&requests).len(), received(&timer).len()), (1, 1));
}
