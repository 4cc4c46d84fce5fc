//! What a fresh deployment meets: rights and secrets that arrive minutes after the program, and settings that are wrong.

use super::stage::{Dependency, Scene, Stage, assert_unavailable, eventually};
use super::{OPERATORS, ana};
use crate::support::chaos::{Trouble, When};
use crate::support::cloud::{SECRET, TOKEN, secret};
use azure_backup_scim::simulator::{AzureService, FaultAction, FaultRule, IdentitySettings};
use serde_json::Value;
use tokio::join;

/// How the table service says no.
fn refusal(status: u16, code: &str) -> Trouble {
    let body = format!(r#"{{"odata.error":{{"code":"{code}","message":{{"lang":"en-US","value":"No."}}}}}}"#);
    Trouble::Answer { status, content_type: "application/json", body }
}

/// Refuses everything in words that a log repeats, until what was missing is there; then it is well by itself.
async fn check(scene: Scene, said: &str, arrives: impl Fn(&Stage)) {
    let stage = scene.start().await;
    assert_unavailable(&stage.idp.get("/Users").await);
    assert_eq!(stage.probe().await, 503);
    eventually(&format!("a line says {said:?}"), async || stage.says(said).then_some(())).await;
    arrives(&stage);
    stage.healthy().await;
    works(&stage).await;
}

async fn works(stage: &Stage) {
    let user = stage.idp.create_user("ana@contoso.example", ana()).await;
    let group = stage.idp.create_group(OPERATORS).await;
    assert_eq!(stage.idp.member("add", &group, &user).await.status, 200);
    stage.holds(&[ana()]).await;
    stage.assert_sound();
}

/// Facts: F-042, F-162.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_not_there_yet_is_found_when_it_comes() {
    let scene = Scene::set();
    scene.cloud.azure.handle().delete_secret(SECRET).unwrap();
    check(scene, "the vault holds no bearer token", |stage| {
        stage.scene.cloud.azure.handle().set_secret(SECRET, secret(TOKEN, "entra")).unwrap();
    })
    .await;
}

/// Facts: F-042.
#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_says_the_secret_does_not_exist_is_asked_again() {
    let scene = Scene::set();
    fail(&scene, AzureService::Vault, 404, "SecretNotFound");
    check(scene, "the vault has no secret", |stage| stage.scene.end(Dependency::Vault)).await;
}

/// Facts: F-024, F-046.
#[tokio::test(flavor = "multi_thread")]
async fn the_right_to_read_the_secret_may_arrive_later() {
    let scene = Scene::set();
    fail(&scene, AzureService::Vault, 403, "Forbidden");
    check(scene, "the vault refuses access to secret", |stage| stage.scene.end(Dependency::Vault)).await;
}

/// Facts: F-054.
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_the_app_does_not_have_is_named_as_the_trouble() {
    let unknown = async || {
        let scene = Scene::set();
        let azure = scene.cloud.azure.handle();
        let right = azure.identity_settings();
        let other = vec!["0f7c4b3e-0000-4222-8333-944455556666".to_owned()];
        azure.set_identity_settings(IdentitySettings { clients: other, ..right.clone() }).unwrap();
        check(scene, "see AZURE_CLIENT_ID", |_| azure.set_identity_settings(right.clone()).unwrap()).await;
    };
    let forbidden = async || {
        let scene = Scene::set();
        fail(&scene, AzureService::Identity, 403, "Forbidden");
        check(scene, "see AZURE_CLIENT_ID", |stage| stage.scene.end(Dependency::Identity)).await;
    };
    join!(unknown(), forbidden());
}

fn fail(scene: &Scene, service: AzureService, status: u16, code: &str) {
    scene.cloud.azure.handle().add_rule(FaultRule::new(failure(status, code)).service(service)).unwrap();
}

fn failure(status: u16, code: &str) -> FaultAction {
    let (code, message, retry_after_seconds) = (code.to_owned(), None, None);
    FaultAction::Fail { status, code, message, retry_after_seconds, executed: false }
}

/// Facts: F-057.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_missing_or_forbidden_is_our_trouble_until_it_is_there() {
    let absent = async |status, code| {
        let scene = Scene::set();
        scene.proxy(Dependency::Tables).order(When::any().always(), refusal(status, code));
        check(scene, code, |stage| stage.scene.end(Dependency::Tables)).await;
    };
    join!(absent(404, "TableNotFound"), absent(403, "AuthorizationPermissionMismatch"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_without_a_token_for_the_tables_is_named_as_the_trouble() {
    let scene = Scene::set();
    let rule = FaultRule::new(failure(403, "Forbidden")).service(AzureService::Identity);
    scene.cloud.azure.handle().add_rule(rule.about("https://storage.azure.com")).unwrap();
    let mut settings = scene.settings();
    settings.remove("TABLES_CONNECTION_STRING");
    settings.insert("TABLES_ENDPOINT".to_owned(), scene.proxy(Dependency::Tables).url());
    let stage = scene.start_with(&settings).await;
    assert_unavailable(&stage.idp.get("/Users").await);
    let told = |line: &Value| {
        let error = line["error"].as_str().unwrap_or_default();
        line["message"] == "a request cannot be carried out now" && error.contains("see AZURE_CLIENT_ID")
    };
    assert!(stage.lines().iter().any(told), "{:?}", stage.lines());
    assert!(stage.scene.proxy(Dependency::Tables).calls().is_empty(), "nothing is asked without a token");
    assert_eq!(stage.probe().await, 503);
    stage.assert_sound();
}
