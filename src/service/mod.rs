//! Use cases: provisioning, desired state, reconcile, sweeps.

pub mod access;
pub mod audit;
pub mod bindings;
mod deferred;
pub(crate) mod drift;
pub mod health;
pub mod jobs;
mod join_reads;
pub(crate) mod keyed_mutex;
pub mod provisioning;
mod rate_limit;
pub mod reconcile;
pub mod reconcile_queue;
mod throttling;
pub mod tokens;

pub use provisioning::Provisioning;
pub use provisioning::stream::{ResourceListing, ResourceStream};

use crate::audit::{ChangeCause, ChangeOrigin};
use crate::id::OpId;
use crate::scim;
use crate::store::StoreError;
use serde_json::Value;
use std::time::Duration;

/// Who sent a SCIM request.
#[derive(Debug, Clone)]
pub struct ScimCaller {
    /// The label of the token that was presented.
    pub token_label: String,
    /// The trace id of the request, for logs.
    pub trace_id: Option<String>,
}

impl ScimCaller {
    /// The origin of what this caller's request `op` sets off.
    pub fn origin(&self, op: OpId) -> ChangeOrigin {
        ChangeOrigin { cause: ChangeCause::Request, actor: self.token_label.clone(), op }
    }
}

/// A resource as it is answered, before the projection.
#[derive(Debug, Clone)]
pub struct RenderedResource {
    pub id: String,
    pub location: String,
    pub version: String,
    pub body: Value,
}

/// Why a SCIM request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// What the sender can fix.
    #[error("the request cannot be carried out: {0}")]
    Scim(scim::Error),
    /// 503: storage is busy or away; nothing is lost.
    #[error("storage is busy or away")]
    Busy {
        retry_after: Duration,
        #[source]
        source: Option<StoreError>,
    },
    /// 500: a bug of ours, or a row that cannot be understood. The text is for the log, not for the answer.
    #[error("internal error")]
    Bug {
        #[source]
        source: StoreError,
    },
}

impl From<scim::Error> for ServiceError {
    fn from(error: scim::Error) -> Self {
        Self::Scim(error)
    }
}

impl From<StoreError> for ServiceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Away { retry_after, .. } => Self::Busy { retry_after, source: Some(error) },
            StoreError::Conflict { .. } => {
                Self::Busy { retry_after: Duration::from_secs(1), source: Some(error) }
            }
            StoreError::TooLarge { .. } => Self::Scim(scim::Error::new(
                413,
                None,
                "the change is too large for one transaction; send it in smaller parts",
            )),
            StoreError::TooMany { rows_max } => Self::Scim(scim::Error::new(
                400,
                Some(scim::ScimType::TooMany),
                format!("answering this would read more than {rows_max} rows; narrow the filter"),
            )),
            StoreError::TooManyBytes { bytes_max } => Self::Scim(scim::Error::new(
                400,
                Some(scim::ScimType::TooMany),
                format!("answering this would read more than {bytes_max} bytes; narrow the filter"),
            )),
            source
            @ (StoreError::Corrupt { .. } | StoreError::TooNew { .. } | StoreError::Invalid { .. }) => {
                Self::Bug { source }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_of_ours_is_no_mistake_of_the_caller() {
        let rule = || "a rule".to_owned();
        assert!(matches!(ServiceError::from(StoreError::Invalid { rule: rule() }), ServiceError::Bug { .. }));
        let large = ServiceError::from(StoreError::TooLarge { rule: rule() });
        assert!(matches!(large, ServiceError::Scim(error) if error.status == 413));
    }
}
