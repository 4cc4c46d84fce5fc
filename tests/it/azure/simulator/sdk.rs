//! The real clients of Azure's SDK against the simulator: the managed identity gets tokens, the secret client reads.

use super::*;
use azure_backup_scim::adapters::loopback::loopback_transport;
use azure_backup_scim::simulator::{
    AzureService, CallMethod as Call, FaultAction, FaultRule, IdentitySettings, NewSecret, SecretUpdate,
};
use azure_core::http::{ClientOptions, RetryOptions, Url};
use azure_identity::{ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId};
use azure_security_keyvault_secrets::{
    SecretClient, SecretClientOptions, models::SecretClientGetSecretOptions,
};
use futures_util::TryStreamExt;
use std::process::Command;

const VAULT_ORIGIN: &str = "TEST_VAULT_ORIGIN";
const CLIENT_ID: &str = "00000000-0000-4000-8000-00000000000c";

fn client_options(origin: &str) -> ClientOptions {
    let transport = loopback_transport(&Url::parse(origin).unwrap(), None).unwrap();
    ClientOptions { transport: Some(transport), retry: RetryOptions::none(), ..ClientOptions::default() }
}

/// The managed identity reads its environment when it is made, so it gets a process of its own: [`in_the_app`].
/// Facts: F-104, F-105, F-108.
#[test]
fn the_managed_identity_and_the_secret_client_read_two_versions() {
    let world = World::start_with(SimulatorOptions { clock: StartClock::Real, ..options() });
    let settings =
        IdentitySettings { clients: vec![CLIENT_ID.to_owned()], strict: true, ..IdentitySettings::default() };
    world.azure.set_identity_settings(settings).unwrap();
    for value in ["one", "two", "three"] {
        world.azure.set_secret("scim-bearer-token", NewSecret::new(value)).unwrap();
    }
    let oldest = world.azure.secrets()["scim-bearer-token"].versions[0].id.clone();
    let disable = SecretUpdate { enabled: Some(false), ..SecretUpdate::default() };
    world.azure.update_secret("scim-bearer-token", &oldest, disable).unwrap();
    let throttle =
        FaultRule::new(FaultAction::Throttle { retry_after_seconds: Some(1) }).service(AzureService::Vault);
    world.azure.add_rule(throttle.about("nothing").times(1)).unwrap();

    let test_name = |name: &str| format!("{}::{name}", module_path!().trim_start_matches("it::"));
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test_name("in_the_app"), "--ignored", "--nocapture"])
        .env("IDENTITY_ENDPOINT", world.simulator.identity_endpoint())
        .env("IDENTITY_HEADER", world.simulator.identity_header())
        .env(VAULT_ORIGIN, world.simulator.vault_url())
        .output()
        .unwrap();

    let said =
        format!("{}{}", String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
    assert!(world.simulator.unrecognised().is_empty(), "{:?}", world.simulator.unrecognised());
    let count = |service| world.azure.calls().iter().filter(|call| call.service == service).count();
    assert_eq!(
        (count(AzureService::Identity), count(AzureService::Vault)),
        (1, 8),
        "one token serves them all"
    );
    let pages = world.azure.calls().iter().filter(|call| call.method == Call::List).count();
    assert_eq!(pages, 3);
}

/// What runs in the app's process. Alone it has no environment and nothing to do.
#[actix_web::test]
#[ignore = "started by the test above, in a process with an environment of its own"]
async fn in_the_app() {
    let Ok(origin) = std::env::var(VAULT_ORIGIN) else { return };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let identity = std::env::var("IDENTITY_ENDPOINT").unwrap();
    let credential = ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
        user_assigned_id: Some(UserAssignedId::ClientId(CLIENT_ID.to_owned())),
        client_options: client_options(&identity),
    }))
    .unwrap();
    let options =
        SecretClientOptions { client_options: client_options(&origin), ..SecretClientOptions::default() };
    let client = SecretClient::new("https://name.vault.azure.net/", credential, Some(options)).unwrap();
    let name = "scim-bearer-token";

    let latest = client.get_secret(name, None).await.unwrap().into_model().unwrap();
    assert_eq!(latest.value.as_deref(), Some("three"));

    let one_by_one =
        azure_security_keyvault_secrets::models::SecretClientListSecretPropertiesVersionsOptions {
            maxresults: Some(1),
            ..Default::default()
        };
    let pager = client.list_secret_properties_versions(name, Some(one_by_one)).unwrap();
    let listed: Vec<_> = pager.into_stream().try_collect().await.unwrap();
    assert_eq!(listed.len(), 3);
    let mut values = Vec::new();
    for properties in &listed {
        let attributes = properties.attributes.as_ref().unwrap();
        assert!(attributes.created.is_some() && properties.id.is_some());
        let version = properties.id.as_deref().unwrap().rsplit('/').next().unwrap().to_owned();
        let options = SecretClientGetSecretOptions { secret_version: Some(version), ..Default::default() };
        let answer = client.get_secret(name, Some(options)).await;
        match attributes.enabled {
            Some(true) => values.push(answer.unwrap().into_model().unwrap().value.unwrap()),
            _ => assert_eq!(answer.unwrap_err().http_status().map(u16::from), Some(403)),
        }
    }
    values.sort();
    assert_eq!(values, ["three", "two"]);

    let missing = client.get_secret("nothing", None).await;
    assert_eq!(missing.unwrap_err().http_status().map(u16::from), Some(429), "throttled, and not repeated");
}
