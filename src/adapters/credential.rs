//! The credential that this service uses for Azure. Configuration chooses it: there is no fallback from one to the next.

use super::call_observer::{CallObserver, observe};
use super::guarded::guarded;
use super::rest::{RestError, parse_url, pooled_client};
use super::unreachable::unreachable_kind;
use crate::ports::connectivity::{Dependency, UnreachableKind};
use async_trait::async_trait;
use azure_core::Error;
use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_identity::{
    DeveloperToolsCredential, ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId,
};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::time::timeout;

/// A fixed token never runs out by itself.
const NEVER: OffsetDateTime = datetime!(9999-12-31 0:00 UTC);
/// How long the identity endpoint may take: milliseconds for a cached token, a few seconds for a new one. Shorter than
/// a call to the vault, so that a token that is still good is shown there in time.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(8);
/// How long the command-line tools of a developer may take: they start an interpreter each time.
const DEVELOPER_TIMEOUT: Duration = Duration::from_secs(30);

/// The credentials that can be configured.
#[derive(Debug, Clone)]
pub enum Credential {
    /// The managed identity of the Functions app: the user-assigned one of that client id, else the system-assigned one.
    /// (App Service takes no resource ids, and the SDK does not read `AZURE_CLIENT_ID` by itself.)
    ManagedIdentity { client_id: Option<String> },
    /// The login of the developer: Azure CLI, else Azure Developer CLI.
    Developer,
    /// The same token for every audience, which the simulated Azure accepts.
    Static(SecretString),
}

/// A credential as the request pipelines want it.
pub type BuiltCredential = Arc<dyn TokenCredential>;

/// Why there is no credential.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The environment has nothing that one could be made of.
    #[error("the credential cannot be made")]
    Environment(#[source] Error),
    #[error("the transport to the identity endpoint cannot be built")]
    Transport(#[from] RestError),
}

impl Credential {
    /// Requests no token yet.
    pub fn build(self) -> Result<BuiltCredential, CredentialError> {
        self.build_observed(None)
    }

    /// The same. `observer` watches the calls to the identity endpoint.
    pub fn build_observed(self, observer: Option<CallObserver>) -> Result<BuiltCredential, CredentialError> {
        Ok(match self {
            Credential::Static(token) => Arc::new(StaticToken(token)),
            Credential::ManagedIdentity { client_id } => {
                // The endpoint is on this machine, and no proxy is to see the header that opens it.
                // It may be that of `local --tls`.
                let client = pooled_client(&parse_url("https://127.0.0.1")?)?;
                let transport = guarded(observe(client, observer), Dependency::Identity, None);
                let identity = ManagedIdentity { client_id, transport };
                identity.client().map_err(CredentialError::Environment)?;
                Arc::new(Timed { inner: Arc::new(identity), limit: IDENTITY_TIMEOUT })
            }
            Credential::Developer => {
                let inner = DeveloperToolsCredential::new(None).map_err(CredentialError::Environment)?;
                Arc::new(Timed { inner, limit: DEVELOPER_TIMEOUT })
            }
        })
    }
}

#[derive(Debug)]
struct StaticToken(SecretString);

#[async_trait]
impl TokenCredential for StaticToken {
    async fn get_token(
        &self,
        _scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        Ok(AccessToken::new(Secret::new(self.0.expose_secret().to_owned()), NEVER))
    }
}

/// Asks the identity endpoint whenever it is asked. The SDK's own credential keeps a token until shortly before its end, and
/// so would show the same one again to a service that has just refused it; the pipelines keep theirs themselves.
#[derive(Debug)]
struct ManagedIdentity {
    client_id: Option<String>,
    transport: Transport,
}

impl ManagedIdentity {
    fn client(&self) -> azure_core::Result<Arc<dyn TokenCredential>> {
        let options = ManagedIdentityCredentialOptions {
            user_assigned_id: self.client_id.clone().map(UserAssignedId::ClientId),
            client_options: ClientOptions {
                retry: RetryOptions::none(),
                transport: Some(self.transport.clone()),
                ..ClientOptions::default()
            },
        };
        Ok(ManagedIdentityCredential::new(Some(options))?)
    }
}

#[async_trait]
impl TokenCredential for ManagedIdentity {
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let token = self.client()?.get_token(scopes, options).await;
        token.map_err(|error| Error::with_message(ErrorKind::Credential, no_token(&error)))
    }
}

/// Why the identity endpoint gave no token, for the engineer on call. Never the error's own text: it repeats whatever the
/// endpoint answered.
fn no_token(error: &Error) -> String {
    // The cause is inside the credential's own error.
    let error = error.downcast_ref::<Error>().unwrap_or(error);
    let status = error.http_status().map(u16::from);
    match (status, error.kind()) {
        (Some(status @ (400 | 403 | 404)), _) => format!(
            "the identity endpoint has no identity of that client id for this app (status {status}); see AZURE_CLIENT_ID"
        ),
        (Some(401), _) => "the identity endpoint does not take our identity header (status 401)".to_owned(),
        (Some(status), _) => format!("the identity endpoint answered with status {status}"),
        (None, ErrorKind::DataConversion) => {
            "the answer of the identity endpoint cannot be understood".to_owned()
        }
        (None, _) => match unreachable_kind(error) {
            // The cause is our own text.
            (UnreachableKind::NotAzure, status) => format!("a page came for the identity endpoint: {status}"),
            (kind, _) => format!("the identity endpoint cannot be reached: {}", kind.in_words()),
        },
    }
}

/// A credential with a timeout: those of the SDK have none, and hold a lock while they wait.
#[derive(Debug)]
struct Timed {
    inner: Arc<dyn TokenCredential>,
    limit: Duration,
}

#[async_trait]
impl TokenCredential for Timed {
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        timeout(self.limit, self.inner.get_token(scopes, options)).await.unwrap_or_else(|_| {
            Err(Error::with_message(ErrorKind::Credential, "the identity endpoint did not answer in time"))
        })
    }
}
