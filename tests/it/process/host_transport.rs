//! What becomes of a request and of its answer between client and handler, in both transports.

use crate::support::host::{FrontEnd, Host, HostOptions, Transport};
use crate::support::host_client::{Ask, Got, ask, eventually, ready, received, recording, repository, seen};
use serde_json::json;
use std::time::Duration;

const USERS: &str = "/scim/v2/Users";
const BOTH: [Transport; 2] = [Transport::Proxy, Transport::Forward];

fn proxy() -> Host {
    ready(recording())
}

fn forward() -> Host {
    ready(recording().transport(Transport::Forward))
}

#[track_caller]
fn target(host: &Host, target: &str) -> String {
    ask(host, "GET", target).send().got().target().to_owned()
}

/// Facts: F-065, F-125, F-127.
#[test]
fn a_proxied_target_keeps_its_query_and_encodes_its_path_anew() {
    let host = proxy();
    for same in [
        "/scim/v2/Users?filter=userName+eq+%22a%2Bb%22&a=1&a=2&flag&x=%2F",
        "/scim/v2/Users/a%23b%3Fc%5Cd%20%22",
        "/scim/v2/Users/M%C3%BCller?",
        "/scim/v2/Users/",
    ] {
        assert_eq!(target(&host, same), same);
    }
    assert_eq!(target(&host, "/scim/v2/Users/a%2Fb"), "/scim/v2/Users/a%252Fb");
    assert_eq!(target(&host, "/scim/v2/%55sers/../Groups"), "/scim/v2/Groups");
}

/// Facts: F-071, F-136.
#[test]
fn a_forwarded_target_is_built_anew() {
    let host = forward();
    let query = "filter=userName+eq+%22a%2Bb%22&a=1&A=2&flag";
    let built = "filter=userName%20eq%20%22a%2Bb%22&a=1%2C2&flag=";
    assert_eq!(target(&host, &format!("{USERS}?{query}")), format!("{USERS}?{built}"));
    assert_eq!(target(&host, "/scim/v2/Users/a%2Fb"), "/scim/v2/Users/a%2Fb");
    assert_eq!(target(&host, "/scim/v2/Users/a%23b"), "/scim/v2/Users/a");
    assert_eq!(target(&host, "/scim/v2/Users/a%5Cb"), "/scim/v2/Users/a/b");
}

fn dressed(host: &Host) -> Got {
    let asked = ask(host, "POST", USERS)
        .header("host", "scim.example:8443")
        .header("authorization", "Bearer secret")
        .header("content-type", "application/scim+json")
        .header("content-language", "de")
        .header("te", "trailers")
        .header("keep-alive", "timeout=5")
        .header("user-agent", "idp/1")
        .header("accept", "a/b")
        .header("accept", "c/d")
        .header("if-match", "W/\"7\"")
        .body("{}");
    asked.send().got()
}

/// Facts: F-128.
#[test]
fn proxied_headers_lose_what_belongs_to_the_connection() {
    let host = proxy();
    let got = dressed(&host);
    for gone in ["te", "keep-alive", "transfer-encoding"] {
        assert_eq!(got.headers(gone), [""; 0], "{gone}");
    }
    let handler = got.header("host");
    assert!(handler.starts_with("127.0.0.1:") && handler != host.url().replace("http://", ""), "{handler}");
    assert_eq!(got.header("x-forwarded-host"), "scim.example:8443");
    assert_eq!(got.header("x-forwarded-for"), "127.0.0.1");
    assert_eq!(got.header("x-forwarded-proto"), "http");
    assert_eq!(got.header("user-agent"), "idp/1");
    assert_eq!(got.header("content-language"), "de");
    assert_eq!(got.header("x-azure-functions-invocationid"), got.header("x-ms-invocation-id"));
    check_kept_in_both(&got);
}

/// Facts: F-137.
#[test]
fn forwarded_headers_lose_most_of_what_describes_the_content() {
    let got = dressed(&forward());
    assert_eq!(got.headers("content-language"), [""; 0]);
    assert_eq!(got.header("host"), "scim.example:8443");
    assert_eq!(got.headers("x-forwarded-host"), [""; 0]);
    assert!(got.header("user-agent").starts_with("idp/1 Azure-Functions-Host/4."));
    check_kept_in_both(&got);
}

#[track_caller]
fn check_kept_in_both(got: &Got) {
    assert_eq!(got.header("authorization"), "Bearer secret");
    assert_eq!(got.header("content-type"), "application/scim+json");
    assert_eq!(got.header("content-length"), "2");
    assert_eq!(got.header("if-match"), "W/\"7\"");
    assert_eq!(got.header("accept"), "a/b, c/d", "repeated lines become one");
    assert!(got.header("x-azure-functions-hostversion").starts_with("4."));
    assert_eq!(got.header("traceparent").len(), 55);
    assert_eq!(got.0["body"], "{}");
}

/// Facts: F-069.
#[test]
fn a_traceparent_that_the_client_sent_stays_and_is_recorded() {
    let sent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for transport in BOTH {
        let host = ready(recording().transport(transport));
        assert_eq!(
            ask(&host, "GET", USERS).header("traceparent", sent).send().got().header("traceparent"),
            sent
        );
        let made = ask(&host, "GET", USERS).send().got();
        let [first, second] = &host.calls()[..] else { panic!("{:?}", host.calls()) };
        assert_eq!(
            (first.traceparent.as_str(), second.traceparent.as_str()),
            (sent, made.header("traceparent"))
        );
        assert!(made.header("x-azure-functions-invocationid").contains(&second.invocation_id));
    }
}

/// Facts: F-129.
#[test]
fn what_the_client_claims_about_the_host_does_not_stand_under_a_proxy() {
    let got = spoofed(ask(&proxy(), "GET", USERS));
    assert_eq!(got.header("x-forwarded-for"), "127.0.0.1");
    assert_eq!(got.header("x-forwarded-proto"), "http");
    assert_ne!(got.header("x-forwarded-host"), "evil.example");
    for name in ["x-azure-functions-invocationid", "x-ms-invocation-id", "x-azure-functions-hostversion"] {
        assert!(!got.header(name).contains("spoofed"), "{name}");
    }
}

/// Which is why the handler must not believe them.
/// Facts: F-139.
#[test]
fn what_the_client_claims_about_the_host_comes_first_under_forwarding() {
    let got = spoofed(ask(&forward(), "GET", USERS));
    assert_eq!(got.header("x-forwarded-host"), "evil.example");
    for name in ["x-azure-functions-invocationid", "x-azure-functions-hostversion"] {
        let (client, host) = got.header(name).split_once(", ").unwrap();
        assert!(client == "spoofed" && !host.is_empty(), "{name}: {client}, {host}");
    }
}

fn spoofed(asked: Ask) -> Got {
    let names = ["x-azure-functions-invocationid", "x-ms-invocation-id", "x-azure-functions-hostversion"];
    let asked = names.iter().fold(asked, |asked, name| asked.header(name, "spoofed"));
    let forwarded = [("for", "203.0.113.9"), ("host", "evil.example"), ("proto", "gopher")];
    let asked = forwarded
        .iter()
        .fold(asked, |asked, (name, value)| asked.header(&format!("x-forwarded-{name}"), value));
    asked.send().got()
}

/// Facts: F-123.
#[test]
fn nobody_outside_reaches_the_envelope() {
    for transport in BOTH {
        let host = ready(recording().transport(transport));
        for path in [
            "/Reconcile",
            "/reconcile",
            "/Reconcile/",
            "/scim/v2/../../Reconcile",
            "/%52econcile",
            "//Reconcile",
        ] {
            let asked = ask(&host, "POST", path).header("content-type", "application/json");
            let answer = asked
                .header("x-azure-functions-invocationid", "1")
                .body("{\"Data\":{},\"Metadata\":{}}")
                .send();
            assert_eq!((answer.status, answer.text().as_str()), (404, ""), "{path}");
        }
        // Encoded dots inside the prefix do not leave it: the handler gets a path that is none of its envelope's.
        ask(&host, "POST", "/scim/v2/%2e%2e%2f%2e%2e%2fReconcile").body("{}").send();
        assert!(received(&host).iter().all(|got| got.target() != "/Reconcile"), "{:?}", received(&host));
        assert!(
            received(&host).iter().all(|got| got.target().starts_with("/scim/v2")),
            "{:?}",
            received(&host)
        );
    }
}

/// Facts: F-064, F-130, F-138.
#[test]
fn a_chunked_body_streams_through_a_proxy_and_fails_under_forwarding() {
    let asked = |host: &Host| ask(host, "PATCH", USERS).chunks(&["{\"a\":", "1}"]).send();
    let host = proxy();
    let got = asked(&host).got();
    assert_eq!((got.0["body"].as_str(), got.header("transfer-encoding")), (Some("{\"a\":1}"), "chunked"));
    assert_eq!(host.calls()[0].request_bytes, 7);

    let host = forward();
    let answer = asked(&host);
    assert_eq!((answer.status, answer.text().as_str()), (500, ""));
    assert!(received(&host).is_empty(), "it never reached the handler");
    assert!(!host.calls()[0].success);
}

/// Facts: F-137.
#[test]
fn an_empty_post_keeps_its_content_type_only_under_a_proxy() {
    let asked =
        |host: &Host| ask(host, "POST", USERS).header("content-type", "application/scim+json").send().got();
    assert_eq!(asked(&proxy()).header("content-type"), "application/scim+json");
    let got = asked(&forward());
    assert_eq!(got.headers("content-type"), [""; 0]);
    assert_eq!(got.header("content-length"), "0");
}

/// Facts: F-140.
#[test]
fn answers_come_back_as_the_handler_gave_them() {
    for transport in BOTH {
        let host = ready(recording().transport(transport));
        let headers =
            json!([["etag", "W/\"1\""], ["location", "https://scim.example/x"], ["x-a", "1"], ["x-a", "2"]]);
        let told = json!({ "status": 302, "headers": headers, "body": "moved" });
        let answer = ask(&host, "GET", USERS).told(told).send();
        assert_eq!((answer.status, answer.text().as_str()), (302, "moved"), "no redirect is followed");
        assert_eq!(answer.header("location"), Some("https://scim.example/x"));
        assert_eq!(answer.header("etag"), Some("W/\"1\""));
        let many: Vec<&str> = answer
            .headers
            .iter()
            .filter(|(name, _)| name == "x-a")
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(many, ["1", "2"]);

        let broken = ask(&host, "GET", USERS).told(json!({ "status": 500, "body": "ours" })).send();
        assert_eq!((broken.status, broken.text().as_str()), (500, "ours"));
        let [first, second] = &host.calls()[..] else { panic!("{:?}", host.calls()) };
        assert_eq!((first.status, first.response_bytes), (302, 5));
        assert!(second.success, "a 500 of the handler's own is no failure of the host");
    }
}

/// Facts: F-130.
#[test]
fn no_content_has_no_length_and_head_has_no_body() {
    for transport in BOTH {
        let host = ready(recording().transport(transport));
        let none =
            ask(&host, "DELETE", USERS).told(json!({ "status": 204, "headers": [], "body": "" })).send();
        assert_eq!((none.status, none.header("content-length"), none.text().as_str()), (204, None, ""));
        let head =
            ask(&host, "HEAD", USERS).told(json!({ "headers": [["etag", "W/\"1\""]], "body": "abc" })).send();
        assert_eq!((head.status, head.header("etag"), head.text().as_str()), (200, Some("W/\"1\""), ""));
        assert_eq!(host.calls().len(), 2);
    }
}

/// Facts: F-067.
#[test]
fn a_large_body_passes_both_ways() {
    let large = "x".repeat(3 * 1024 * 1024);
    for transport in BOTH {
        let host = ready(recording().transport(transport));
        let got = ask(&host, "PUT", USERS).body(large.clone()).send().got();
        assert_eq!(got.0["body_bytes"], large.len());
        assert_eq!(host.calls()[0].request_bytes, large.len() as u64);
    }
}

/// Facts: F-130.
#[test]
fn a_proxied_answer_that_breaks_off_breaks_off_for_the_client() {
    let host = proxy();
    let told = json!({ "chunks": ["begun", null] });
    assert!(ask(&host, "GET", USERS).told(told).try_send().is_err());
    assert!(!host.calls()[0].success);

    let host = forward();
    let told = json!({ "chunks": ["begun", null] });
    assert_eq!(ask(&host, "GET", USERS).told(told).send().status, 500, "a buffered one is an error instead");
}

/// Facts: F-131, F-132.
#[test]
fn a_proxied_request_without_a_body_may_be_sent_twice_and_one_with_a_body_never_is() {
    let host = proxy();
    // It ends the handler each time, so that the third time ends the host.
    let answer = ask(&host, "DELETE", USERS).told(json!({ "exit": 200 })).body("{}").send();
    assert_eq!(answer.status, 500);
    assert_eq!(received(&host).len(), 1);

    let answer = ask(&host, "DELETE", USERS).told(json!({ "exit": 200 })).send();
    assert_eq!(answer.status, 500);
    assert!(received(&host).len() > 2, "{:?}", received(&host));
}

/// Facts: F-134.
#[test]
fn a_client_that_goes_away_is_noticed_by_a_proxy_only() {
    let slow = json!({ "chunks": ["a", "b", "c"], "pause": 0.3 });
    let host = proxy();
    ask(&host, "GET", USERS).told(slow.clone()).send_and_leave(|| !seen(&host).is_empty());
    eventually("the call ends", || host.calls().len() == 1);
    assert!(!host.calls()[0].success);

    let host = forward();
    ask(&host, "GET", USERS).told(slow).send_and_leave(|| !seen(&host).is_empty());
    eventually("the call ends", || host.calls().len() == 1);
    let call = &host.calls()[0];
    assert!(call.success && call.response_bytes == 3, "{call:?}");
}

/// Facts: F-133.
#[test]
fn a_proxied_request_is_given_up_after_silence_and_one_that_moves_is_not() {
    let mut options = recording();
    options.inactivity_max = Duration::from_millis(800);
    let host = ready(options);
    let silent = ask(&host, "GET", USERS).told(json!({ "wait": 20 })).send();
    assert_eq!((silent.status, silent.text().as_str()), (500, ""));

    let moving = json!({ "chunks": ["a", "b", "c", "d", "e"], "pause": 0.3 });
    assert_eq!(ask(&host, "GET", USERS).told(moving).send().text(), "abcde");
}

/// Facts: F-066, F-135.
#[test]
fn the_hosts_own_limits_are_answered_without_the_handler() {
    let host = ready(recording().setting("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", "1000"));
    let long = format!("{USERS}?filter={}", "x".repeat(8 * 1024));
    assert_eq!(ask(&host, "GET", &long).send().status, 414);
    assert_eq!(ask(&host, "GET", USERS).header("x-big", &"x".repeat(33 * 1024)).send().status, 431);
    let many = (0..101).fold(ask(&host, "GET", USERS), |asked, at| asked.header(&format!("x-{at}"), "1"));
    assert_eq!(many.send().status, 431);
    assert_eq!(ask(&host, "PUT", USERS).body("x".repeat(1001)).send().status, 413);
    assert!(received(&host).is_empty());
    let long: Vec<&str> = vec!["0123456789"; 101];
    assert_eq!(ask(&host, "PUT", USERS).chunks(&long).send().status, 413, "it is found while it is sent");
    assert_eq!(ask(&host, "GET", "/scim/v2/Users/%00").send().status, 400);
    assert!(received(&host).is_empty());
    assert_eq!(ask(&host, "PUT", USERS).body("x".repeat(1000)).send().status, 200);
}

/// Facts: F-120.
#[test]
fn what_the_host_keeps_for_itself_has_no_body() {
    let host = proxy();
    for path in ["/admin/host/status", "/RUNTIME/webhooks", "/nobody"] {
        let answer = ask(&host, "GET", path).send();
        assert_eq!((answer.status, answer.text().as_str()), (404, ""), "{path}");
    }
    let home = ask(&host, "GET", "/").send();
    assert_eq!((home.status, home.header("content-type")), (200, Some("text/html")));
    assert!(received(&host).is_empty(), "the home page is the host's");

    let host = ready(recording().setting("AzureWebJobsDisableHomepage", "true"));
    assert_eq!(ask(&host, "GET", "/").send().status, 204);
}

/// The host before an app of one function: `Health`, changed.
fn with_health(change: impl FnOnce(String) -> String) -> (Host, tempfile::TempDir) {
    let app = tempfile::tempdir().unwrap();
    let original = |name: &str| std::fs::read_to_string(repository().join(name)).unwrap();
    std::fs::write(app.path().join("host.json"), original("host.json")).unwrap();
    std::fs::create_dir(app.path().join("Health")).unwrap();
    let function = change(original("Health/function.json"));
    std::fs::write(app.path().join("Health/function.json"), function).unwrap();
    let options =
        HostOptions { app_root: app.path().to_owned(), keys: vec!["k+1".to_owned()], ..recording() };
    (ready(options), app)
}

/// Facts: F-120.
#[test]
fn not_even_a_route_that_catches_all_gets_what_the_host_keeps_for_itself() {
    let (host, _app) = with_health(|function| function.replace("healthz", "{*all}"));
    assert_eq!(ask(&host, "GET", "/admin/host/status").send().status, 404);
    assert_eq!(ask(&host, "GET", "/Runtime").send().status, 404);
    assert!(received(&host).is_empty());
    assert_eq!(ask(&host, "GET", "/administrator").send().got().target(), "/administrator");
    assert_eq!(ask(&host, "GET", "/").send().status, 200, "the handler's, not the home page");
}

/// Facts: F-119.
#[test]
fn a_method_that_is_not_listed_is_not_found() {
    let (host, _app) =
        with_health(|function| function.replace("\"anonymous\",", "\"anonymous\", \"methods\": [\"get\"],"));
    assert_eq!(ask(&host, "GET", "/healthz").send().status, 200);
    let answer = ask(&host, "POST", "/healthz").send();
    assert_eq!((answer.status, answer.text().as_str()), (404, ""), "the host never says 405");
}

/// Facts: F-124.
#[test]
fn a_function_that_is_not_anonymous_wants_a_key_of_the_host() {
    let (host, _app) = with_health(|function| function.replace("anonymous", "function"));

    for asked in [
        ask(&host, "GET", "/healthz"),
        ask(&host, "GET", "/healthz?code=wrong"),
        ask(&host, "GET", "/healthz").header("authorization", "Bearer k+1"),
    ] {
        let answer = asked.send();
        assert_eq!((answer.status, answer.text().as_str()), (401, ""));
    }
    assert!(received(&host).is_empty());
    assert_eq!(ask(&host, "GET", "/healthz").header("x-functions-key", "k+1").send().status, 200);
    assert_eq!(ask(&host, "GET", "/healthz?code=k%2B1").send().status, 200);
}

/// Facts: F-065.
#[test]
fn the_front_end_says_who_came_and_how() {
    let with_front = |transport| {
        let options = recording().transport(transport);
        ready(HostOptions { front: Some(FrontEnd::default()), ..options })
    };
    let asked = |host: &Host| {
        ask(host, "GET", "/scim/v2/Users/a%2Fb?x=1")
            .header("host", "app.azurewebsites.net")
            .header("disguised-host", "evil.example")
            .header("client-ip", "spoofed")
            .send()
            .got()
    };
    for transport in BOTH {
        let got = asked(&with_front(transport));
        assert_eq!(got.header("disguised-host"), "app.azurewebsites.net");
        assert_eq!(got.header("client-ip"), "203.0.113.7:50123");
        assert_eq!(got.header("x-waws-unencoded-url"), "/scim/v2/Users/a%2Fb?x=1");
        assert_eq!(got.header("x-original-url"), "/scim/v2/Users/a%2Fb?x=1");
        assert_eq!(got.header("x-forwarded-proto"), "https");
        assert_eq!(got.headers("x-arr-ssl").len(), 1);
    }
    let got = asked(&with_front(Transport::Proxy));
    assert_eq!(got.header("x-forwarded-host"), "app.azurewebsites.net");
    assert_eq!(got.header("x-forwarded-for"), "127.0.0.1", "the proxy overwrites what the front end said");
    let got = asked(&with_front(Transport::Forward));
    assert_eq!(got.header("host"), "app.azurewebsites.net");
    assert_eq!(got.header("x-forwarded-for"), "203.0.113.7:50123");
}

/// Facts: F-068.
#[test]
fn the_front_end_does_not_wait_for_ever() {
    let front = FrontEnd { wait_max: Duration::from_millis(300), ..FrontEnd::default() };
    let host = ready(HostOptions { front: Some(front), ..recording() });
    assert_eq!(ask(&host, "GET", USERS).told(json!({ "wait": 20 })).send().status, 502);
}

/// Facts: F-064.
#[test]
fn a_newer_host_without_the_key_forwards_and_without_both_does_not_start() {
    let off = |name: &str| recording().override_host(&format!("customHandler__{name}"), "false");
    let got = ask(&ready(off("enableProxyingHttpRequest")), "GET", USERS).send().got();
    assert!(got.header("user-agent").contains("Azure-Functions-Host"));
    let neither =
        off("enableProxyingHttpRequest").override_host("customHandler__enableForwardingHttpRequest", "false");
    assert!(Host::start(neither).is_err_and(|error| error.to_string().contains("envelope")));
    let older = off("enableForwardingHttpRequest").transport(Transport::Forward);
    assert!(Host::start(older).is_err());
}
