//! What an answer of ARM means: rejected, throttled, or unknown.

use super::super::rest::RestAnswer;
use super::error_code;
use crate::ports::role_assignments::{AssignmentError, RejectionReason};
use std::time::Duration;

/// What a 429 without a usable `Retry-After` asks for.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(5);
/// No `Retry-After` counts for more: people are waiting for their revocations.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
/// A correlation id is a GUID; anything much longer is not one.
const CORRELATION_CHARS_MAX: usize = 64;

/// An answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArmFailure {
    pub kind: FailureKind,
    pub status: u16,
    pub correlation: Option<String>,
}

/// Whether ARM executed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureKind {
    /// Not executed, and not before `retry_after`.
    Throttled { retry_after: Duration },
    /// Not executed. `code` is ARM's own; `reason` is what it means.
    Rejected { reason: RejectionReason, code: String },
    /// It may have been executed, or may be later.
    Unknown,
}

impl ArmFailure {
    /// No assignment of that name. A scope that does not exist has other codes.
    pub fn is_absence(&self) -> bool {
        self.has_reason(RejectionReason::AssignmentNotFound)
    }

    /// An assignment of another name gives the same.
    pub fn is_conflict(&self) -> bool {
        self.has_reason(RejectionReason::AssignmentExists)
    }

    /// No role definition of that id.
    pub fn is_absent_definition(&self) -> bool {
        matches!(&self.kind, FailureKind::Rejected { code, .. }
            if self.status == 404 && code.eq_ignore_ascii_case("RoleDefinitionDoesNotExist"))
    }

    fn has_reason(&self, wanted: RejectionReason) -> bool {
        matches!(&self.kind, FailureKind::Rejected { reason, .. } if *reason == wanted)
    }
}

/// Classifies an answer that is not a success. A 4xx counts only with ARM's own error code, a 408 never.
pub fn failure(answer: &RestAnswer) -> ArmFailure {
    let coded = (400..500).contains(&answer.status) && answer.status != 408;
    let kind = match answer.error_code().filter(|_| coded) {
        Some(_) if answer.status == 429 => FailureKind::Throttled { retry_after: retry_after(answer) },
        Some(code) => FailureKind::Rejected { reason: error_code::reason(&code), code },
        None => FailureKind::Unknown,
    };
    ArmFailure { kind, status: answer.status, correlation: correlation(answer) }
}

/// A success whose body says something else.
pub fn nonsense(detail: String) -> AssignmentError {
    AssignmentError::Unknown { detail }
}

/// ARM's own id of the call, for support cases and the activity log.
pub fn correlation(answer: &RestAnswer) -> Option<String> {
    let id = answer.header("x-ms-correlation-request-id")?;
    let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (plain && !id.is_empty() && id.len() <= CORRELATION_CHARS_MAX).then(|| id.to_owned())
}

fn retry_after(answer: &RestAnswer) -> Duration {
    answer.retry_after().unwrap_or(RETRY_AFTER_DEFAULT).clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX)
}
