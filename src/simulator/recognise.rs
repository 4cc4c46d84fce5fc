//! Recognises the requests that the simulator knows: each service reads its own.

use super::arm::request::{self as arm, ArmOperation};
use super::blob::blobs_api::{self, BlobOperation};
use super::graph::request::{self as graph, GraphOperation};
use super::identity::token_endpoint::{self, TokenOperation};
use super::key_vault::secrets_api::{self, SecretOperation};
use super::request::{NotRecognised, ParsedRequest, ReceivedRequest};
use super::services::AzureService;
use uuid::Uuid;

/// What a request asks one of the services for.
#[derive(Debug, Clone)]
pub enum AzureOperation {
    Arm(ArmOperation),
    Vault(SecretOperation),
    Identity(TokenOperation),
    Graph(GraphOperation),
    Blob(BlobOperation),
}

impl AzureOperation {
    /// The role assignment that it names.
    pub fn assignment_name(&self) -> Option<Uuid> {
        match self {
            Self::Arm(operation) => operation.assignment_name(),
            _ => None,
        }
    }
}

/// A request that one of the services knows.
pub type RecognisedRequest = ParsedRequest<AzureOperation>;

/// Reads a request.
pub fn recognise(received: &ReceivedRequest) -> Result<RecognisedRequest, NotRecognised> {
    match received.service {
        AzureService::Arm => Ok(arm::recognise(received)?.map(AzureOperation::Arm)),
        AzureService::Vault => Ok(secrets_api::recognise(received)?.map(AzureOperation::Vault)),
        AzureService::Identity => Ok(token_endpoint::recognise(received)?.map(AzureOperation::Identity)),
        AzureService::Graph => Ok(graph::recognise(received)?.map(AzureOperation::Graph)),
        AzureService::Blob => Ok(blobs_api::recognise(received)?.map(AzureOperation::Blob)),
    }
}
