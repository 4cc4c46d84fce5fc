//! The identity endpoint, its tokens and who takes them; Graph users.

use super::*;
use azure_backup_scim::simulator::{
    AzureService, FaultAction, FaultRule, GraphUser, IdentitySettings, NewSecret, UserType,
};

const ARM: &str = "https://management.azure.com";
const VAULT_AUDIENCE: &str = "https://vault.azure.net";
const GRAPH: &str = "https://graph.microsoft.com";

impl World {
    async fn ask(&self, query: &str, header: &str) -> Answer {
        let url = format!("{}?api-version=2019-08-01&{query}", self.simulator.identity_endpoint());
        let request = self.client.get(url).header("x-identity-header", header).header("metadata", "true");
        Answer::of(request.send().await.unwrap()).await
    }

    async fn token(&self, audience: &str) -> String {
        let answer = self.ask(&format!("resource={audience}"), &self.simulator.identity_header()).await;
        answer.body["access_token"].as_str().unwrap().to_owned()
    }

    async fn with_token(&self, url: String, token: &str) -> Answer {
        Answer::of(self.client.get(url).bearer_auth(token).send().await.unwrap()).await
    }

    /// What ARM, the vault and Graph say to a token.
    async fn statuses(&self, token: &str) -> [u16; 3] {
        let arm = format!("{}{VAULT}{COLLECTION}?api-version=2022-04-01", self.simulator.arm_url());
        let vault = format!("{}/secrets/token/?api-version=7.4", self.simulator.vault_url());
        let graph = format!("{}/v1.0/users/{}", self.simulator.graph_url(), guid(7));
        let mut statuses = [0; 3];
        for (status, url) in statuses.iter_mut().zip([arm, vault, graph]) {
            *status = self.with_token(url, token).await.status;
        }
        statuses
    }
}

/// A world with something to find behind each service.
fn furnished() -> World {
    let world = World::start();
    world.azure.set_secret("token", NewSecret::new("one")).unwrap();
    world.azure.add_user(person()).unwrap();
    world
}

fn person() -> GraphUser {
    GraphUser {
        id: guid(7),
        display_name: "Ana Lima".to_owned(),
        user_principal_name: "ana@contoso.example".to_owned(),
        account_enabled: true,
        user_type: UserType::Member,
    }
}

/// App Service: `expires_on` is a text, the header proves who asks.
/// Facts: F-108.
#[actix_web::test]
async fn a_token_has_an_audience_and_an_end() {
    let world = World::start();
    let header = world.simulator.identity_header();

    let answer = world.ask(&format!("resource={ARM}&client_id={}", guid(1)), &header).await;

    let mut body = answer.body.clone();
    assert!(!body["access_token"].take().as_str().unwrap().is_empty());
    assert_eq!(
        body,
        json!({
            "access_token": null, "expires_on": "1772452800", "resource": ARM, "token_type": "Bearer",
            "client_id": guid(1),
        })
    );
    assert_ne!(world.token(ARM).await, world.token(ARM).await);
    let call = world.azure.calls().remove(0);
    assert_eq!(
        (call.service, call.about.as_deref(), call.status),
        (AzureService::Identity, Some(ARM), Some(200))
    );
}

/// Facts: F-054, F-108.
#[actix_web::test]
async fn who_asks_wrongly_gets_none() {
    let world = World::start();
    let header = world.simulator.identity_header();
    assert_eq!(world.ask(&format!("resource={ARM}"), "guess").await.status, 401);
    assert_eq!(world.ask(&format!("resource={ARM}"), "").await.status, 401);
    assert_eq!(world.ask("resource=", &header).await.status, 400);
    let clients = vec![guid(1).to_string().to_uppercase()];
    world.azure.set_identity_settings(IdentitySettings { clients, ..IdentitySettings::default() }).unwrap();

    assert_eq!(world.ask(&format!("resource={ARM}&client_id={}", guid(1)), &header).await.status, 200);
    for query in [format!("resource={ARM}&client_id={}", guid(2)), format!("resource={ARM}")] {
        let refused = world.ask(&query, &header).await;
        assert_eq!((refused.status, &refused.body["statusCode"]), (400, &json!(400)));
        assert!(refused.body["message"].as_str().unwrap().contains("Managed Identity found"));
        assert!(refused.body["correlationId"].is_string());
    }
    assert!(world.azure.unrecognised().is_empty());
    assert_eq!(world.ask(&format!("resource={ARM}&object_id={}", guid(1)), &header).await.status, 400);
    assert_eq!(world.azure.unrecognised().len(), 1);
}

/// Facts: F-040.
#[actix_web::test]
async fn a_token_is_good_for_its_audience_only() {
    let world = furnished();
    assert_eq!(world.statuses(&world.token(ARM).await).await, [200, 401, 401]);
    assert_eq!(world.statuses(&world.token(VAULT_AUDIENCE).await).await, [401, 200, 401]);
    assert_eq!(world.statuses(&world.token(GRAPH).await).await, [401, 401, 200]);
    assert_eq!(world.statuses(&world.token("https://storage.azure.com").await).await, [401, 401, 401]);
    assert_eq!(world.statuses("made-up").await, [200, 200, 200]);
}

/// Key Vault: the audience is compared to the letter; its refusal names both.
#[actix_web::test]
async fn the_vault_refuses_an_audience_with_a_slash() {
    let world = furnished();
    let token = world.token("https://vault.azure.net/").await;
    let url = format!("{}/secrets/token/?api-version=7.4", world.simulator.vault_url());
    let refused = world.with_token(url, &token).await;
    refused.assert_error(401, "Unauthorized");
    assert!(refused.body["error"]["message"].as_str().unwrap().starts_with("AKV10022: Invalid audience."));
    assert!(refused.header("www-authenticate").contains("resource=\"https://vault.azure.net\""));
}

/// Facts: F-040.
#[actix_web::test]
async fn a_token_ends_by_azures_clock() {
    let world = furnished();
    let lifetime = IdentitySettings { token_lifetime_seconds: 600, ..IdentitySettings::default() };
    let old = world.token(ARM).await;
    world.azure.set_identity_settings(lifetime).unwrap();
    let token = world.token(ARM).await;

    world.azure.advance(599).unwrap();
    assert_eq!(world.statuses(&token).await[0], 200);
    world.azure.advance(1).unwrap();
    assert_eq!(world.statuses(&token).await[0], 401);
    let put = world.client.put(format!(
        "{}{}?api-version=2022-04-01",
        world.simulator.arm_url(),
        assignment(VAULT, guid(1))
    ));
    let refused = Answer::of(
        put.bearer_auth(&token).json(&json!({ "properties": reader(guid(100)) })).send().await.unwrap(),
    )
    .await;
    refused.assert_error(401, "ExpiredAuthenticationToken");
    assert!(world.azure.assignments().is_empty());
    assert_eq!(world.statuses(&old).await[0], 200);
    world.azure.advance(86_400).unwrap();
    assert_eq!(world.statuses(&old).await[0], 401);
}

#[actix_web::test]
async fn where_it_is_strict_only_issued_tokens_pass() {
    let world = furnished();
    let token = world.token(ARM).await;
    let strict = world.control(Method::PUT, "/identity", json!({ "strict": true })).await;
    assert_eq!((strict.status, &strict.body["strict"]), (200, &json!(true)));
    assert_eq!(strict.body["header"], json!(world.simulator.identity_header()));

    assert_eq!(world.statuses("made-up").await, [401, 401, 401]);
    assert_eq!(world.statuses(&token).await[0], 200);
    let url = format!("{}{VAULT}{COLLECTION}?api-version=2022-04-01", world.simulator.arm_url());
    assert_eq!(world.client.get(url).send().await.unwrap().status(), 401);
    assert_eq!(
        world.control(Method::PUT, "/identity", json!({ "token_lifetime_seconds": 0 })).await.status,
        400
    );
}

/// A token of an earlier run is not taken for a made-up one.
#[actix_web::test]
async fn tokens_and_header_end_with_the_process() {
    let world = World::start();
    let token = world.token(ARM).await;
    let header = world.simulator.identity_header();
    world.simulator.stop().unwrap();

    let world = furnished();

    assert_eq!(world.statuses(&token).await, [401, 401, 401]);
    assert_ne!(world.simulator.identity_header(), header);
}

/// Facts: F-056.
#[actix_web::test]
async fn faults_hit_the_identity_endpoint_by_audience() {
    let world = World::start();
    let header = world.simulator.identity_header();
    let fail = FaultAction::Fail {
        status: 500,
        code: "InternalServerError".to_owned(),
        message: None,
        retry_after_seconds: Some(2),
        executed: false,
    };
    world.azure.add_rule(FaultRule::new(fail).service(AzureService::Identity).about(GRAPH)).unwrap();

    assert_eq!(world.ask(&format!("resource={ARM}"), &header).await.status, 200);
    let failed = world.ask(&format!("resource={GRAPH}"), &header).await;
    assert_eq!((failed.status, &failed.body["statusCode"]), (500, &json!(500)));
    assert_eq!(failed.header("retry-after"), "2");
}

/// Graph: only some properties are shown unasked; whether an account is enabled is not among them.
/// Facts: F-050.
#[actix_web::test]
async fn a_person_is_read_by_id() {
    let world = furnished();
    let user = |query: &str| format!("{}/v1.0/users/{}{query}", world.simulator.graph_url(), guid(7));
    let shown = world.with_token(user(""), "anything").await;
    assert_eq!((shown.status, &shown.body["userPrincipalName"]), (200, &json!("ana@contoso.example")));
    assert!(shown.body.get("accountEnabled").is_none());

    let selected =
        world.with_token(user("?$select=id,displayName,accountEnabled,userType"), "anything").await;
    assert_eq!(
        selected.body,
        json!({
            "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#users(id,displayName,accountEnabled,userType)/$entity",
            "id": guid(7), "displayName": "Ana Lima", "accountEnabled": true, "userType": "Member",
        })
    );
    let call = world.azure.calls().pop().unwrap();
    assert_eq!((call.service, call.principal), (AzureService::Graph, Some(guid(7))));
    assert_eq!(world.with_token(user("?$select=mail"), "anything").await.status, 400);
    assert_eq!(
        world.with_token(format!("{}/v1.0/me", world.simulator.graph_url()), "anything").await.status,
        400
    );
    assert_eq!(world.azure.unrecognised().len(), 2);
}

#[actix_web::test]
async fn people_are_added_disabled_and_removed() {
    let world = World::start();
    let url =
        format!("{}/v1.0/users/{}?$select=accountEnabled,userType", world.simulator.graph_url(), guid(8));
    let unknown = world.with_token(url.clone(), "anything").await;
    unknown.assert_error(404, "Request_ResourceNotFound");
    assert!(unknown.body["error"]["innerError"]["request-id"].is_string());
    Answer::of(world.client.get(&url).send().await.unwrap())
        .await
        .assert_error(401, "InvalidAuthenticationToken");

    let bo = json!({ "id": guid(8), "displayName": "Bo", "userPrincipalName": "bo@x.example", "userType": "Guest" });
    assert_eq!(world.control(Method::POST, "/users", bo).await.status, 204);
    let path = format!("/users/{}", guid(8));
    assert_eq!(world.control(Method::PATCH, &path, json!({ "accountEnabled": false })).await.status, 204);
    let shown = world.with_token(url.clone(), "anything").await.body;
    assert_eq!((&shown["accountEnabled"], &shown["userType"]), (&json!(false), &json!("Guest")));
    assert_eq!(world.control(Method::DELETE, &path, Value::Null).await.status, 204);
    assert_eq!(world.with_token(url, "anything").await.status, 404);
    assert_eq!(world.control(Method::DELETE, &path, Value::Null).await.status, 404);
}

/// ARM's token buckets are ARM's: the other services have limits that nobody here comes near.
#[actix_web::test]
async fn only_arm_counts_calls_in_buckets() {
    let world = furnished();
    let url = format!("{}/v1.0/users/{}", world.simulator.graph_url(), guid(7));
    for _ in 0..=250 {
        let answer = world.with_token(url.clone(), "anything").await;
        assert_eq!((answer.status, answer.header("x-ms-ratelimit-remaining-tenant-reads")), (200, ""));
    }
}
