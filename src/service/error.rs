//! Why a request was not carried out.

use crate::scim;
use crate::store::StoreError;
use crate::store::state_hold::StateHold;
use std::time::Duration;

/// `Retry-After` after a conflict with the change of another request.
const CONFLICT_RETRY: Duration = Duration::from_secs(1);
/// An upgrade takes minutes.
const NEWER_RELEASE_RETRY: Duration = Duration::from_secs(60);

/// Why a SCIM request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// What the sender can fix.
    #[error("the request cannot be carried out")]
    Scim(#[source] scim::Error),
    /// The same, where a limit of storage is in the way.
    #[error("the request exceeds a limit of storage")]
    StorageLimit {
        /// The answer.
        error: scim::Error,
        #[source]
        source: StoreError,
    },
    /// 503: storage is busy or away; nothing is lost.
    #[error("storage is busy or away")]
    Busy {
        retry_after: Duration,
        #[source]
        source: Option<StoreError>,
    },
    /// 503: a change of many members of the same group is not completed yet.
    #[error("a large change of the same group is not completed yet")]
    ChangeUnderWay {
        retry_after: Duration,
        #[source]
        source: Option<StoreError>,
    },
    /// 503: a newer release, which is alive beside this one or was before a rollback, wrote a row that this one cannot read.
    #[error("a newer release wrote what this request needs")]
    NewerRelease {
        retry_after: Duration,
        #[source]
        source: StoreError,
    },
    /// 503: there is no state to work with, until an operator has done something.
    #[error("{}", hold_text(hold))]
    NoState { hold: StateHold, retry_after: Duration },
    /// 500: a bug of ours, or a row that cannot be understood. The text is for the log, not for the answer.
    #[error("internal error")]
    Bug {
        #[source]
        source: StoreError,
    },
}

impl ServiceError {
    /// The answer, where the sender can fix what is wrong.
    pub fn scim_error(&self) -> Option<&scim::Error> {
        match self {
            ServiceError::Scim(error) | ServiceError::StorageLimit { error, .. } => Some(error),
            ServiceError::Busy { .. }
            | ServiceError::ChangeUnderWay { .. }
            | ServiceError::NoState { .. }
            | ServiceError::NewerRelease { .. }
            | ServiceError::Bug { .. } => None,
        }
    }
}

/// What the reader of a provisioning log can do about it.
const fn hold_text(hold: &StateHold) -> &'static str {
    match hold {
        StateHold::Lost(_) => {
            "the state of this service was lost; nothing was changed. An operator restores it with `state restore`, or begins \
             anew with `recover --begin`; this request is tried again until then"
        }
        StateHold::Restoring => "the state of this service is being restored; nothing was changed, try again",
        StateHold::OtherInstance { .. } => {
            "the state is of another installation than the setting INSTANCE_ID names; nothing was changed. An operator has to \
             set the right table or id"
        }
    }
}

impl From<scim::Error> for ServiceError {
    fn from(error: scim::Error) -> Self {
        Self::Scim(error)
    }
}

impl From<StoreError> for ServiceError {
    fn from(source: StoreError) -> Self {
        match source {
            StoreError::Away { retry_after, .. } => Self::Busy { retry_after, source: Some(source) },
            StoreError::Conflict { .. } => Self::Busy { retry_after: CONFLICT_RETRY, source: Some(source) },
            StoreError::TooLarge { .. } => {
                let detail = "the change is too large for one transaction; send it in smaller parts";
                Self::StorageLimit { error: scim::Error::payload_too_large(detail), source }
            }
            StoreError::TooMany { rows_max } => {
                let error = scim::Error::too_many(format_args!("{rows_max} rows"));
                Self::StorageLimit { error, source }
            }
            StoreError::TooManyBytes { bytes_max } => {
                let error = scim::Error::too_many(format_args!("{bytes_max} bytes"));
                Self::StorageLimit { error, source }
            }
            StoreError::TooNew { .. } => Self::NewerRelease { retry_after: NEWER_RELEASE_RETRY, source },
            StoreError::Corrupt { .. } | StoreError::Invalid { .. } => Self::Bug { source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_chain::ErrorChain;

    #[test]
    fn a_bug_of_ours_is_no_mistake_of_the_caller() {
        let rule = || "a rule".to_owned();
        assert!(matches!(ServiceError::from(StoreError::Invalid { rule: rule() }), ServiceError::Bug { .. }));
        let large = ServiceError::from(StoreError::TooLarge { rule: rule() });
        assert_eq!(large.scim_error().map(|error| error.status), Some(413));
    }

    #[test]
    fn a_log_line_names_the_limit_and_the_answer_does_not() {
        let large = ServiceError::from(StoreError::TooLarge { rule: "the rule".to_owned() });
        assert!(ErrorChain(&large).to_string().contains("the rule"));
        assert!(!large.scim_error().unwrap().detail.contains("the rule"));
    }
}
