//! Secrets in Azure Key Vault, through its own client: the challenge, the paging and the wire format are its business.
//!
//! A vault on a loopback address is the simulated one. The client insists on https and on a vault's real domain, so it is
//! given both, and a transport that takes its requests to the loopback address.

use super::call_observer::{CallObserver, observe};
use super::endpoint::Endpoint;
use super::guarded::guarded;
use super::loopback::loopback_transport;
use super::rest::{RestError, describe, pooled_client};
use crate::ports::connectivity::Dependency;
use crate::ports::secrets::{NewVersion, SecretError, SecretKeeper, SecretSource, SecretVersion};
use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::RETRY_AFTER;
use azure_core::http::{ClientOptions, RetryOptions};
use azure_security_keyvault_secrets::models::{
    Secret, SecretAttributes, SecretClientGetSecretOptions, SecretClientUpdateSecretPropertiesOptions,
    SetSecretParameters, UpdateSecretPropertiesParameters,
};
use azure_security_keyvault_secrets::{ResourceExt, SecretClient, SecretClientOptions};
use futures_util::TryStreamExt;
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::timeout;

/// How long one call may take, its challenge and token included.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The wait where a busy vault names none: its limits are counted over ten seconds.
const BUSY_WAIT: Duration = Duration::from_secs(10);
/// Versions of one secret that are read. They come in no order, so a part of them is of no use.
const VERSIONS_MAX: usize = 2000;
/// The tag that names the client of a version.
const LABEL_TAG: &str = "label";
/// The address that the client gets where the real one is on this machine.
const SIMULATED_VAULT: &str = "https://simulated.vault.azure.net";

/// Why the client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum KeyVaultError {
    #[error("the client of the vault cannot be built")]
    Client(#[source] Error),
    #[error("the transport to the vault cannot be built")]
    Transport(#[from] RestError),
}

/// The secrets of one vault.
pub struct KeyVault {
    client: SecretClient,
}

impl KeyVault {
    /// A rustls provider must be installed in the process before. Asks nothing yet. `observer` watches the calls.
    pub fn new(
        vault: &Endpoint,
        credential: Arc<dyn TokenCredential>,
        observer: Option<CallObserver>,
    ) -> Result<Self, KeyVaultError> {
        let (address, transport) = if vault.is_simulated() {
            (SIMULATED_VAULT, loopback_transport(vault.url(), observer)?)
        } else {
            (vault.origin(), observe(pooled_client(vault.url())?, observer))
        };
        let client_options = ClientOptions {
            retry: RetryOptions::none(),
            transport: Some(guarded(transport, Dependency::KeyVault, host_of(address))),
            ..ClientOptions::default()
        };
        let options = SecretClientOptions { client_options, ..SecretClientOptions::default() };
        let client = SecretClient::new(address, credential, Some(options)).map_err(KeyVaultError::Client)?;
        Ok(Self { client })
    }
}

#[async_trait]
impl SecretSource for KeyVault {
    async fn versions(&self, name: &str) -> Result<Vec<SecretVersion>, SecretError> {
        let read = async {
            let mut pages = self.client.list_secret_properties_versions(name, None)?;
            let mut versions = Vec::new();
            while let Some(properties) = pages.try_next().await? {
                // A version without an id cannot be requested.
                let Some(id) = properties.resource_id().ok().and_then(|id| id.version) else { continue };
                let label = properties.tags.and_then(|mut tags| tags.remove(LABEL_TAG));
                versions.push(version(id, properties.attributes.unwrap_or_default(), label));
                if versions.len() > VERSIONS_MAX {
                    break;
                }
            }
            Ok(versions)
        };
        let versions = in_time(name, read).await?;
        if versions.len() > VERSIONS_MAX {
            let detail = format!("the secret has more than {VERSIONS_MAX} versions; begin another one");
            return Err(SecretError::Away { detail });
        }
        Ok(versions)
    }

    async fn value(&self, name: &str, version: &str) -> Result<SecretString, SecretError> {
        let options =
            SecretClientGetSecretOptions { secret_version: Some(version.to_owned()), ..Default::default() };
        let read = async { self.client.get_secret(name, Some(options)).await?.into_model() };
        let secret = in_time(name, read).await?;
        // The model holds a plain string; it goes into a type that never prints it at once.
        secret
            .value
            .map(SecretString::from)
            .ok_or_else(|| SecretError::Away { detail: "the vault's answer holds no value".to_owned() })
    }
}

#[async_trait]
impl SecretKeeper for KeyVault {
    async fn add_version(&self, name: &str, new: NewVersion) -> Result<SecretVersion, SecretError> {
        let NewVersion { value, label, expires } = new;
        let attributes =
            SecretAttributes { enabled: Some(true), expires: Some(expires), ..SecretAttributes::default() };
        let parameters = SetSecretParameters {
            value: Some(value.expose_secret().to_owned()),
            tags: Some(HashMap::from([(LABEL_TAG.to_owned(), label.clone())])),
            secret_attributes: Some(attributes),
            ..SetSecretParameters::default()
        };
        let write = async {
            let answer = self.client.set_secret(name, parameters.try_into()?, None).await?;
            answer.into_model()
        };
        let made: Secret = in_time(name, write).await?;
        let id = made.resource_id().ok().and_then(|id| id.version);
        let made = id.map(|id| version(id, made.attributes.unwrap_or_default(), Some(label)));
        made.ok_or_else(|| SecretError::Away { detail: "the vault's answer names no version".to_owned() })
    }

    async fn disable(&self, name: &str, version: &str) -> Result<(), SecretError> {
        let attributes = SecretAttributes { enabled: Some(false), ..SecretAttributes::default() };
        let parameters = UpdateSecretPropertiesParameters {
            secret_attributes: Some(attributes),
            ..UpdateSecretPropertiesParameters::default()
        };
        let options = SecretClientUpdateSecretPropertiesOptions {
            secret_version: Some(version.to_owned()),
            ..SecretClientUpdateSecretPropertiesOptions::default()
        };
        let write = async {
            self.client.update_secret_properties(name, parameters.try_into()?, Some(options)).await.map(drop)
        };
        in_time(name, write).await
    }
}

/// The host of an https origin.
fn host_of(origin: &str) -> Option<&str> {
    let authority = origin.strip_prefix("https://")?;
    authority.split([':', '/']).next()
}

fn version(id: String, attributes: SecretAttributes, label: Option<String>) -> SecretVersion {
    SecretVersion {
        id,
        enabled: attributes.enabled.unwrap_or(false),
        created: attributes.created.unwrap_or(OffsetDateTime::UNIX_EPOCH),
        not_before: attributes.not_before,
        expires: attributes.expires,
        label,
    }
}

async fn in_time<T>(name: &str, call: impl Future<Output = azure_core::Result<T>>) -> Result<T, SecretError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer.map_err(|error| classify_error(name, &error)),
        Err(_) => Err(SecretError::Away { detail: "no answer in time".to_owned() }),
    }
}

/// What an error of the client means. Key Vault's statuses are reliable: 404 `SecretNotFound`, 403 `Forbidden`, 409 of a name
/// that a deleted secret keeps, 429.
fn classify_error(name: &str, error: &Error) -> SecretError {
    let name = name.to_owned();
    let status = error.http_status().map(u16::from);
    match (status, error.kind()) {
        (Some(404), _) => SecretError::Missing { name },
        (Some(409), _) => SecretError::Deleted { name },
        (Some(429 | 503), kind) => SecretError::Throttled { retry_after: retry_after(kind) },
        (Some(status @ (401 | 403)), _) => SecretError::Refused { name, status },
        (Some(status), _) => SecretError::Away { detail: format!("status {status}") },
        // Our credentials' own words, and those of the connection.
        (None, ErrorKind::Credential | ErrorKind::Connection | ErrorKind::Io) => {
            SecretError::Away { detail: describe(error) }
        }
        (None, kind) => SecretError::Away { detail: what(kind).to_owned() },
    }
}

fn retry_after(kind: &ErrorKind) -> Duration {
    let ErrorKind::HttpResponse { raw_response: Some(answer), .. } = kind else { return BUSY_WAIT };
    let seconds = answer.headers().get_optional_str(&RETRY_AFTER).and_then(|text| text.parse().ok());
    seconds.map_or(BUSY_WAIT, Duration::from_secs)
}

/// Never the error's own text: it may name whatever the answer held.
fn what(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::DataConversion => "the answer cannot be understood",
        _ => "the request failed",
    }
}
