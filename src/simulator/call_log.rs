//! What the simulator remembers of the calls that reached it.

use super::arm::scope::Scope;
use super::request::CallMethod;
use super::services::AzureService;
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

/// A recognised call and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordedCall {
    pub number: u64,
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub service: AzureService,
    pub method: CallMethod,
    /// In ARM; elsewhere the root.
    pub scope: Scope,
    pub name: Option<Uuid>,
    pub principal: Option<Uuid>,
    /// Outside of ARM: the secret, the audience, the person or the group.
    pub about: Option<String>,
    /// What Azure answered, or would have. None while the call is in flight, or if it was lost.
    pub status: Option<u16>,
    /// Whether Azure executed it: a 2xx, even if the answer was lost.
    pub executed: bool,
    /// Whether an answer was sent.
    pub answered: bool,
}

/// A request that the simulator does not recognise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnrecognisedRequest {
    pub service: AzureService,
    pub verb: String,
    pub uri: String,
    pub reason: String,
}
