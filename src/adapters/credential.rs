//! Which credential this service shows to Azure. Chosen by configuration: there is no chain that tries one after the other.

use async_trait::async_trait;
use azure_core::Error;
use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::http::{ClientOptions, RetryOptions};
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
/// How long the identity endpoint may take: a token costs it milliseconds, a few seconds where it has to ask.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the command-line tools of a developer may take: they start an interpreter each time.
const DEVELOPER_TIMEOUT: Duration = Duration::from_secs(30);

/// The credentials that can be configured.
#[derive(Debug, Clone)]
pub enum Credential {
    /// The managed identity of the Functions app: the user-assigned one of that client id, else the system-assigned one.
    /// (App Service takes no resource ids, and the SDK does not read `AZURE_CLIENT_ID` by itself.)
    ManagedIdentity { client_id: Option<String> },
    /// The login of whoever runs this: Azure CLI, else Azure Developer CLI.
    Developer,
    /// The same token for every audience: what the simulated Azure takes.
    Static(SecretString),
}

/// A credential as the request pipelines want it.
pub type BuiltCredential = Arc<dyn TokenCredential>;

/// The environment has nothing that a credential could be made of.
#[derive(Debug, thiserror::Error)]
#[error("the credential cannot be made")]
pub struct CredentialError(#[source] Error);

impl Credential {
    /// Asks nobody for a token yet.
    pub fn build(self) -> Result<BuiltCredential, CredentialError> {
        Ok(match self {
            Credential::Static(token) => Arc::new(StaticToken(token)),
            Credential::ManagedIdentity { client_id } => {
                let options = ManagedIdentityCredentialOptions {
                    user_assigned_id: client_id.map(UserAssignedId::ClientId),
                    client_options: ClientOptions { retry: RetryOptions::none(), ..ClientOptions::default() },
                };
                let inner = ManagedIdentityCredential::new(Some(options)).map_err(CredentialError)?;
                Arc::new(Timed { inner, limit: IDENTITY_TIMEOUT })
            }
            Credential::Developer => {
                let inner = DeveloperToolsCredential::new(None).map_err(CredentialError)?;
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

/// A credential that gives up in time: the SDK's own have no timeout of their own, and hold a lock while they wait.
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
