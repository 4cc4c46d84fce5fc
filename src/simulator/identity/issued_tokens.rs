//! The tokens that the identity endpoint has issued, and how the other services check the token of a call.
//!
//! An issued token is opaque text. Its audience and expiry, by Azure's clock, are kept here and are lost at a restart. Any other
//! text is a token that a test or `local` made up. It is accepted everywhere unless the settings are strict.

use crate::simulator::clock::new_guid;
use crate::simulator::errors::AzureError;
use crate::simulator::request::ReceivedRequest;
use crate::simulator::services::AzureService;
use std::collections::{BTreeSet, VecDeque};
use time::{Duration, OffsetDateTime};

/// The prefix of every issued token. It tells a token of an earlier run from a made-up one.
const PREFIX: &str = "simulated-azure.";
/// Issued tokens that are remembered; older ones are unknown.
const TOKENS_MAX: usize = 10_000;
/// The lifetime of a managed identity's token in Azure.
const LIFETIME_SECONDS: u32 = 24 * 3600;
/// The longest lifetime that can be set.
pub const LIFETIME_SECONDS_MAX: u32 = 366 * 86_400;

/// A token that was issued.
#[derive(Debug, Clone)]
pub struct IssuedToken {
    pub text: String,
    pub audience: String,
    pub expires_at: OffsetDateTime,
}

/// The state of the identity endpoint.
#[derive(Debug)]
pub struct IssuedTokens {
    issued: VecDeque<IssuedToken>,
    /// Whether only issued tokens are accepted.
    pub strict: bool,
    pub lifetime_seconds: u32,
    /// The client ids that the app has; empty: any.
    pub clients: BTreeSet<String>,
    /// What a caller must send in `x-identity-header`.
    pub header: String,
}

impl Default for IssuedTokens {
    fn default() -> Self {
        Self {
            issued: VecDeque::new(),
            strict: false,
            lifetime_seconds: LIFETIME_SECONDS,
            clients: BTreeSet::new(),
            header: new_guid().simple().to_string(),
        }
    }
}

impl IssuedTokens {
    /// A new token for an audience.
    /// Facts: F-055.
    pub fn issue(&mut self, audience: &str, now: OffsetDateTime) -> IssuedToken {
        let token = IssuedToken {
            text: format!("{PREFIX}{}", new_guid().simple()),
            audience: audience.to_owned(),
            expires_at: now.saturating_add(Duration::seconds(i64::from(self.lifetime_seconds))),
        };
        if self.issued.len() == TOKENS_MAX {
            self.issued.pop_front();
        }
        self.issued.push_back(token.clone());
        token
    }

    /// 401 where a call lacks the credential that its service requires.
    /// Facts: F-040, F-108.
    pub fn refuse_unauthenticated(
        &self,
        received: &ReceivedRequest,
        now: OffsetDateTime,
    ) -> Result<(), AzureError> {
        match received.service {
            AzureService::Identity if received.identity_header == self.header => Ok(()),
            AzureService::Identity => {
                Err(AzureError::new(401, "Unauthorized", "The identity header is missing or wrong."))
            }
            service => match &received.bearer_token {
                Some(text) => self.refuse_token(service, text, now),
                None if service == AzureService::Arm && received.verb == "GET" && !self.strict => Ok(()),
                None => Err(missing(service)),
            },
        }
    }

    /// Facts: F-040.
    fn refuse_token(&self, service: AzureService, text: &str, now: OffsetDateTime) -> Result<(), AzureError> {
        match self.issued.iter().rev().find(|token| token.text == text) {
            Some(token) if !is_audience(service, &token.audience) => {
                Err(wrong_audience(service, &token.audience))
            }
            Some(token) if token.expires_at <= now => Err(expired(service)),
            Some(_) => Ok(()),
            None if self.strict || text.starts_with(PREFIX) => Err(invalid(service)),
            None => Ok(()),
        }
    }
}

/// Whether a service accepts tokens for that audience. Key Vault rejects even a trailing slash.
fn is_audience(service: AzureService, audience: &str) -> bool {
    let bare = audience.strip_suffix('/').unwrap_or(audience);
    match service {
        AzureService::Arm => {
            ["https://management.azure.com", "https://management.core.windows.net"].contains(&bare)
        }
        AzureService::Vault => audience == "https://vault.azure.net",
        AzureService::Graph => {
            ["https://graph.microsoft.com", "00000003-0000-0000-c000-000000000000"].contains(&bare)
        }
        AzureService::Blob => bare == "https://storage.azure.com",
        AzureService::Identity => false,
    }
}

/// Facts: F-040.
fn unauthorized(service: AzureService, arm: &str, vault: &str, graph: &str) -> AzureError {
    match service {
        AzureService::Vault => AzureError::new(401, "Unauthorized", vault),
        AzureService::Graph => AzureError::new(401, "InvalidAuthenticationToken", graph),
        AzureService::Blob => AzureError::new(401, "InvalidAuthenticationInfo", arm),
        AzureService::Arm | AzureService::Identity => AzureError::new(401, "InvalidAuthenticationToken", arm),
    }
}

/// Facts: F-040.
fn missing(service: AzureService) -> AzureError {
    let arm = "The access token is missing or invalid. A bearer token is needed to change anything.";
    let vault = "AKV10000: Request is missing a Bearer or PoP token.";
    unauthorized(service, arm, vault, "Access token is empty.")
}

/// Facts: F-040.
fn invalid(service: AzureService) -> AzureError {
    let arm = "The access token is invalid.";
    let vault = "[BearerReadAccessTokenFailed] Error validating token.";
    unauthorized(service, arm, vault, "The access token could not be read.")
}

/// Facts: F-040.
fn expired(service: AzureService) -> AzureError {
    let vault = "[TokenExpired] Error validating token: it has expired.";
    let error = unauthorized(service, "The access token has expired.", vault, "The token is expired.");
    match service {
        AzureService::Arm => AzureError { code: "ExpiredAuthenticationToken".to_owned(), ..error },
        _ => error,
    }
}

/// Facts: F-040.
fn wrong_audience(service: AzureService, found: &str) -> AzureError {
    let arm = format!("The access token has been obtained for wrong audience or resource '{found}'.");
    let vault = format!("AKV10022: Invalid audience. Expected https://vault.azure.net, found: {found}.");
    unauthorized(service, &arm, &vault, "Access token validation failure. Invalid audience.")
}
