//! The Key Vault, as its real REST interface behaves.

use super::*;
use azure_backup_scim::simulator::{
    AzureService, CallMethod as Call, FaultAction, FaultRule, NewSecret, SecretUpdate,
};

const CHALLENGE: &str = "Bearer authorization=\"https://login.microsoftonline.com/7e4a7000-0000-4000-8000-000000000001\", resource=\"https://vault.azure.net\"";

impl World {
    /// A request to the vault with a token. `path` begins behind `/secrets/`.
    async fn secret(&self, path: &str) -> Answer {
        let sign = if path.contains('?') { '&' } else { '?' };
        let url = format!("{}/secrets/{path}{sign}api-version=2025-07-01", self.simulator.vault_url());
        Answer::of(self.client.get(url).bearer_auth("anything").send().await.unwrap()).await
    }

    async fn put_secret(&self, name: &str, body: Value) -> Answer {
        let url = format!("{}/secrets/{name}?api-version=2026-04-01", self.simulator.vault_url());
        Answer::of(self.client.put(url).bearer_auth("anything").json(&body).send().await.unwrap()).await
    }

    fn set(&self, name: &str, value: &str) -> String {
        self.azure.set_secret(name, NewSecret::new(value)).unwrap()
    }
}

/// Key Vault: a request without a token learns from the answer whom to ask for one, whatever it is about.
/// Facts: F-104.
#[actix_web::test]
async fn a_request_without_a_token_is_challenged() {
    let world = World::start();
    for path in ["/secrets/token/?api-version=7.4", "/keys", "/"] {
        let answer = world.client.get(format!("{}{path}", world.simulator.vault_url())).send().await.unwrap();
        let answer = Answer::of(answer).await;
        answer.assert_error(401, "Unauthorized");
        assert_eq!(answer.header("www-authenticate"), CHALLENGE);
    }
    assert!(world.azure.calls().is_empty() && world.azure.unrecognised().is_empty());
}

/// Key Vault: the latest version has the address with nothing behind the name, with or without a slash.
/// Facts: F-044, F-105.
#[actix_web::test]
async fn a_version_is_read_by_its_id_and_the_latest_without_one() {
    let world = World::start();
    let first = world.set("Token", "one");
    world.azure.advance(60).unwrap();
    let tags = [("label".to_owned(), "entra".to_owned())].into();
    let made = NewSecret {
        tags,
        nbf: Some(10),
        exp: Some(20),
        content_type: Some("text/plain".to_owned()),
        ..NewSecret::new("two")
    };
    let second = world.azure.set_secret("token", made).unwrap();

    for path in ["token", "token/", "TOKEN/", &format!("token/{second}")] {
        assert_eq!(world.secret(path).await.body["value"], "two", "{path}");
    }
    let origin = world.simulator.vault_url();
    assert_eq!(
        world.secret(&format!("token/{second}")).await.body,
        json!({
            "value": "two",
            "id": format!("{origin}/secrets/token/{second}"),
            "contentType": "text/plain",
            "attributes": {
                "enabled": true, "nbf": 10, "exp": 20, "created": 1_772_366_460, "updated": 1_772_366_460,
                "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90,
            },
            "tags": { "label": "entra" },
        })
    );
    assert_eq!(world.secret(&format!("token/{first}")).await.body["value"], "one");
    let call = world.azure.calls().pop().unwrap();
    assert_eq!(
        (call.service, call.method, call.about.as_deref()),
        (AzureService::Vault, Call::Get, Some("token"))
    );
}

/// Key Vault: setting a secret makes a version, which is the answer, and older ones stay.
/// Facts: F-169.
#[actix_web::test]
async fn a_secret_that_is_set_has_a_version_more() {
    let world = World::start();
    let first = world.set("token", "one");
    let body = json!({
        "value": "two", "contentType": "text/plain", "tags": { "label": "entra" },
        "attributes": { "enabled": true, "exp": 20 },
    });

    let made = world.put_secret("Token", body).await;

    assert_eq!((made.status, made.body["value"].as_str()), (200, Some("two")));
    assert_eq!((&made.body["attributes"]["exp"], &made.body["tags"]["label"]), (&json!(20), &json!("entra")));
    assert_eq!(world.secret("token/").await.body["contentType"], "text/plain");
    assert_eq!(world.secret(&format!("token/{first}")).await.body["value"], "one");
    assert_eq!(world.put_secret("other", json!({ "value": "one" })).await.status, 200);
    assert_eq!(world.secret("other/").await.body["attributes"]["enabled"], true);
    assert!(world.simulator.unrecognised().is_empty());
    world.put_secret("other", json!({ "valeu": "one" })).await.assert_error(400, "UnrecognisedRequest");
}

/// Key Vault: the attributes of a version can be changed, and its value cannot.
/// Facts: F-191.
#[actix_web::test]
async fn a_version_is_disabled_and_keeps_its_value() {
    let world = World::start();
    let version = world.set("token", "one");
    let url = |version: &str| {
        format!("{}/secrets/Token/{version}?api-version=2026-04-01", world.simulator.vault_url())
    };
    let send = async |version: &str, body: Value| {
        let request = world.client.patch(url(version)).bearer_auth("anything").json(&body);
        Answer::of(request.send().await.unwrap()).await
    };

    let disabled = send(&version, json!({ "attributes": { "enabled": false } })).await;
    assert_eq!((disabled.status, disabled.body.get("value")), (200, None));
    assert_eq!(disabled.body["attributes"]["enabled"], false);
    world.secret(&format!("token/{version}")).await.assert_error(403, "Forbidden");

    let enabled =
        send(&version, json!({ "attributes": { "enabled": true, "exp": 20 }, "tags": { "label": "okta" } }))
            .await;
    assert_eq!((enabled.status, &enabled.body["attributes"]["exp"]), (200, &json!(20)));
    let read = world.secret(&format!("token/{version}")).await;
    assert_eq!((&read.body["value"], &read.body["tags"]["label"]), (&json!("one"), &json!("okta")));

    send("0123456789abcdef0123456789abcdef", json!({})).await.assert_error(404, "SecretNotFound");
    assert!(world.simulator.unrecognised().is_empty());
    send(&version, json!({ "value": "two" })).await.assert_error(400, "UnrecognisedRequest");
}

/// Key Vault: the name of a soft-deleted secret is taken until it is recovered or purged.
/// Facts: F-170.
#[actix_web::test]
async fn a_soft_deleted_secret_cannot_be_set() {
    let world = World::start();
    world.set("token", "one");
    world.azure.delete_secret("token").unwrap();

    let answer = world.put_secret("token", json!({ "value": "two" })).await;

    answer.assert_error(409, "Conflict");
    assert_eq!(answer.body["error"]["innererror"]["code"], "ObjectIsDeletedButRecoverable");
    world.secret("token/").await.assert_error(404, "SecretNotFound");
}

/// Key Vault: a disabled version is there, in lists too, and its value is not given out.
/// Facts: F-043.
#[actix_web::test]
async fn a_disabled_version_is_forbidden() {
    let world = World::start();
    let first = world.set("token", "one");
    let second = world.set("token", "two");
    world.azure.advance(5).unwrap();
    let disable = SecretUpdate { enabled: Some(false), ..SecretUpdate::default() };
    world.azure.update_secret("token", &second, disable).unwrap();

    for path in ["token/", &format!("token/{second}")] {
        let answer = world.secret(path).await;
        answer.assert_error(403, "Forbidden");
        assert_eq!(answer.body["error"]["innererror"], json!({ "code": "SecretDisabled" }));
    }
    assert_eq!(world.secret(&format!("token/{first}")).await.status, 200);
    let listed = world.secret("token/versions").await;
    let of = |id: &str| {
        let found = |item: &&Value| item["id"].as_str().unwrap().ends_with(id);
        listed.body["value"].as_array().unwrap().iter().find(found).unwrap()["attributes"].clone()
    };
    assert_eq!((of(&first)["enabled"].clone(), of(&second)["enabled"].clone()), (json!(true), json!(false)));
    assert_eq!(of(&second)["updated"].as_i64().unwrap() - of(&second)["created"].as_i64().unwrap(), 5);
}

/// Facts: F-042.
#[actix_web::test]
async fn what_is_not_there_or_soft_deleted_is_not_found() {
    let world = World::start();
    let version = world.set("token", "one");
    for path in ["other/", "token/0123456789abcdef0123456789abcdef"] {
        world.secret(path).await.assert_error(404, "SecretNotFound");
    }
    world.azure.delete_secret("token").unwrap();
    for path in ["token/", &format!("token/{version}")] {
        world.secret(path).await.assert_error(404, "SecretNotFound");
    }
    for path in ["other/versions", "token/versions"] {
        assert_eq!(world.secret(path).await.body, json!({ "value": [], "nextLink": null }), "{path}");
    }
    world.set("token", "two");
    assert_eq!(world.secret("token/").await.body["value"], "two");
}

/// Key Vault: versions come in pages, without values. The link to the next page names the vault as its caller knows it.
/// Facts: F-041, F-045.
#[actix_web::test]
async fn versions_are_listed_in_pages() {
    let world = World::start();
    let mut made: Vec<String> = (0..7).map(|number| world.set("token", &number.to_string())).collect();
    made.sort();
    let mut url =
        format!("{}/secrets/token/versions?api-version=7.4&maxresults=3", world.simulator.vault_url());
    let mut seen = Vec::new();
    let mut pages = 0;

    loop {
        let request = world.client.get(&url).bearer_auth("anything");
        let answer =
            Answer::of(request.header("x-original-host", "name.vault.azure.net").send().await.unwrap()).await;
        assert_eq!(answer.status, 200);
        for item in answer.body["value"].as_array().unwrap() {
            let id = item["id"].as_str().unwrap();
            seen.push(id.strip_prefix("https://name.vault.azure.net/secrets/token/").unwrap().to_owned());
            assert!(item.get("value").is_none());
        }
        pages += 1;
        let Some(next) = answer.body["nextLink"].as_str() else { break };
        url = next.replace("https://name.vault.azure.net", &world.simulator.vault_url());
    }

    seen.sort();
    assert_eq!((seen, pages), (made, 3));
    for wrong in
        ["token/versions?maxresults=26", "token/versions?maxresults=0", "token/versions?maxresults=x"]
    {
        world.secret(wrong).await.assert_error(400, "BadParameter");
    }
    let link = world.secret("token/versions?maxresults=1").await.body["nextLink"].clone();
    assert!(link.as_str().unwrap().starts_with(&world.simulator.vault_url()), "{link}");
}

/// The same faults as for ARM, each for the service that it names and the secret that it is about.
/// Facts: F-106.
#[actix_web::test]
async fn faults_hit_the_vault_where_they_name_it() {
    let world = World::start();
    world.set("token", "one");
    world.set("other", "one");
    world.azure.add_rule(FaultRule::new(FaultAction::LoseRequest)).unwrap();
    let throttle = FaultRule::new(FaultAction::Throttle { retry_after_seconds: Some(9) });
    world.azure.add_rule(throttle.service(AzureService::Vault).about("TOKEN").times(1)).unwrap();

    assert_eq!(world.secret("other/").await.status, 200);
    let throttled = world.secret("token/").await;
    throttled.assert_error(429, "Throttled");
    assert_eq!(throttled.header("retry-after"), "9");
    assert_eq!(world.secret("token/").await.status, 200);

    let lose = json!({ "action": "lose_answer", "service": "vault", "methods": ["LIST"] });
    assert_eq!(world.control(Method::POST, "/rules", lose).await.status, 201);
    let url = format!("{}/secrets/token/versions?api-version=7.4", world.simulator.vault_url());
    assert!(world.client.get(url).bearer_auth("anything").send().await.is_err());
    let call = world.azure.calls().pop().unwrap();
    assert_eq!((call.method, call.executed, call.answered), (Call::List, true, false));
}

#[actix_web::test]
async fn a_held_call_to_the_vault_is_delivered_by_order() {
    let world = World::start();
    world.set("token", "one");
    world.azure.add_rule(FaultRule::new(FaultAction::Hold).service(AzureService::Vault)).unwrap();
    let order = async {
        world.azure.until(|azure| !azure.held().is_empty()).await;
        world.set("token", "two");
        world.azure.deliver(world.azure.held()[0].number).unwrap()
    };

    let (answer, status) = futures_util::join!(world.secret("token/"), order);

    assert_eq!((answer.body["value"].as_str(), status), (Some("two"), 200));
}

#[actix_web::test]
async fn what_nobody_taught_it_is_kept_and_refused() {
    let world = World::start();
    let vault = world.simulator.vault_url();
    let unknown = [
        format!("{vault}/secrets?api-version=7.4"),
        format!("{vault}/keys/k/?api-version=7.4"),
        format!("{vault}/secrets/a_b/?api-version=7.4"),
        format!("{vault}/secrets/token/?api-version=1.0"),
        format!("{vault}/secrets/token/?api-version=7.4&x=1"),
        format!("{vault}/secrets/token/?api-version=7.4&maxresults=1"),
    ];
    for url in &unknown {
        let answer = Answer::of(world.client.get(url).bearer_auth("anything").send().await.unwrap()).await;
        answer.assert_error(400, "UnrecognisedRequest");
    }
    let kept = world.simulator.unrecognised();
    assert_eq!(kept.len(), unknown.len());
    assert!(kept.iter().all(|entry| entry.service == AzureService::Vault), "{kept:?}");
}

#[actix_web::test]
async fn secrets_are_ordered_over_http_too() {
    let world = World::start();
    let made = world.control(Method::POST, "/secrets/token", json!({ "value": "one", "exp": 5 })).await;
    assert_eq!(made.status, 201);
    let version = made.body["version"].as_str().unwrap();
    let path = format!("/secrets/token/{version}");
    assert_eq!(world.control(Method::PATCH, &path, json!({ "enabled": false })).await.status, 204);
    world.secret("token/").await.assert_error(403, "Forbidden");
    let listed = world.control(Method::GET, "/secrets", Value::Null).await;
    assert_eq!(listed.body["token"]["versions"][0]["expires"], 5);
    assert_eq!(world.control(Method::DELETE, "/secrets/token", Value::Null).await.status, 204);
    world.secret("token/").await.assert_error(404, "SecretNotFound");
    for (method, path) in [(Method::PATCH, "/secrets/token/none"), (Method::DELETE, "/secrets/other")] {
        let body = if method == Method::PATCH { json!({}) } else { Value::Null };
        assert_eq!(world.control(method, path, body).await.status, 404, "{path}");
    }
}
