//! Which credential this service shows to Azure. Chosen by configuration: there is no chain that tries one after the other.
//!
//! Managed identity and the developer's own login belong here and are not built yet.

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use time::OffsetDateTime;
use time::macros::datetime;

/// A fixed token never runs out by itself.
const NEVER: OffsetDateTime = datetime!(9999-12-31 0:00 UTC);

/// The credentials that can be configured.
#[derive(Debug, Clone)]
pub enum Credential {
    /// The same token for every audience: what the simulated Azure takes.
    Static(SecretString),
}

impl Credential {
    /// The credential as the request pipeline wants it.
    pub fn build(self) -> Arc<dyn TokenCredential> {
        match self {
            Credential::Static(token) => Arc::new(StaticToken(token)),
        }
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
