//! A request as it came over the wire, and what every service needs to read one.
//!
//! What the simulator does not know is never guessed at: it becomes [`NotRecognised::Unrecognised`], is kept, and fails the run.

use super::arm::scope::Scope;
use super::errors::AzureError;
use super::services::AzureService;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A call by what it does: a GET of a collection is `LIST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CallMethod {
    Get,
    List,
    Put,
    Delete,
}

/// A request as it came over the wire.
#[derive(Debug, Clone, Default)]
pub struct ReceivedRequest {
    pub service: AzureService,
    pub verb: String,
    /// As sent, for links and for the record.
    pub uri: String,
    /// Percent-decoded.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub over_tls: bool,
    pub host: String,
    /// The host that the caller asked for, where its transport redirected the request.
    pub original_host: Option<String>,
    pub bearer_token: Option<String>,
    /// The value of `x-identity-header`.
    pub identity_header: String,
    /// The value of `if-none-match`.
    pub if_none_match: String,
    /// The value of `x-ms-blob-type`.
    pub blob_type: String,
    pub body: Vec<u8>,
}

impl ReceivedRequest {
    /// The origin under which the caller knows this service, for links.
    pub fn origin(&self) -> String {
        match &self.original_host {
            Some(host) => format!("https://{host}"),
            None if self.over_tls => format!("https://{}", self.host),
            None => format!("http://{}", self.host),
        }
    }

    /// Checks that every query parameter is one of these.
    pub fn check_parameters(&self, known: &[&str]) -> Result<(), NotRecognised> {
        match self.query.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(NotRecognised::because(format!("unknown query parameter {name:?}"))),
            None => Ok(()),
        }
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// How the link to the next page is made: this request's address with a skip token.
#[derive(Debug, Clone)]
pub struct NextLink {
    address: String,
}

impl NextLink {
    /// The link of a request.
    pub fn of(received: &ReceivedRequest) -> Self {
        let (path, query) = received.uri.split_once('?').unwrap_or((&received.uri, ""));
        let kept = query.split('&').filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default().to_ascii_lowercase();
            !pair.is_empty() && name != "$skiptoken" && name != "%24skiptoken"
        });
        let query: Vec<&str> = kept.collect();
        Self { address: format!("{}{path}?{}", received.origin(), query.join("&")) }
    }

    /// The link to what comes after that mark.
    pub fn after(&self, mark: &str) -> String {
        format!("{}&$skiptoken={mark}", self.address)
    }
}

/// Why a request is not executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotRecognised {
    /// Azure answers such a request with this error.
    Refused(AzureError),
    /// The simulator does not know what Azure answers.
    Unrecognised(String),
}

impl NotRecognised {
    /// An unrecognised request, and why.
    pub fn because(reason: impl Into<String>) -> Self {
        Self::Unrecognised(reason.into())
    }
}

/// What a service reads in a request.
#[derive(Debug, Clone)]
pub struct ParsedRequest<T> {
    pub service: AzureService,
    /// In ARM; elsewhere the root, which says nothing.
    pub scope: Scope,
    pub method: CallMethod,
    /// Outside of ARM: the secret, the audience, the person or the group that it is about.
    pub about: Option<String>,
    /// The principal that it names itself: in its address, its body or its filter.
    pub principal: Option<Uuid>,
    pub operation: T,
}

impl<T> ParsedRequest<T> {
    /// A request to another service than ARM.
    pub fn outside_arm(service: AzureService, method: CallMethod, about: String, operation: T) -> Self {
        Self { service, scope: Scope::root(), method, about: Some(about), principal: None, operation }
    }

    /// The same request with its operation in another type.
    pub fn map<U>(self, wrap: impl FnOnce(T) -> U) -> ParsedRequest<U> {
        let Self { service, scope, method, about, principal, operation } = self;
        ParsedRequest { service, scope, method, about, principal, operation: wrap(operation) }
    }
}
