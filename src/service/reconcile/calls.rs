//! The calls of one round: what was opened, what was sent, and the outcomes.

use crate::ports::role_assignments::RejectionReason;
use crate::rbac::AssignmentName;
use crate::rbac::ledger::LedgerEntry;
use crate::rbac::plan::Step;
use crate::store::ETag;
use std::time::Duration;
use time::OffsetDateTime;

/// A step that was opened: its row as it is now.
pub struct OpenedStep {
    pub step: Step,
    pub entry: LedgerEntry,
    pub etag: ETag,
}

/// What an open came to.
pub enum OpenResult {
    /// Everything is written; `d:` has this version now.
    Open { request: ETag, opened: Vec<OpenedStep> },
    /// Another process changed something, or the answer was lost: gather again.
    Again,
}

/// What a call came to.
pub enum CallOutcome {
    Created,
    HeldBy(AssignmentName),
    Deleted,
    Throttled(Duration),
    /// `code` is ARM's own.
    Rejected {
        reason: RejectionReason,
        code: String,
    },
    /// Not sent, or no answer that can be relied on.
    Unknown,
}

/// A call and its answer.
pub struct CompletedCall {
    pub opened: OpenedStep,
    pub outcome: CallOutcome,
    pub correlation: Option<String>,
}

/// When a worker began, on both clocks.
#[derive(Debug, Clone, Copy)]
pub struct SendDeadline {
    pub monotonic: Duration,
    pub wall: OffsetDateTime,
}
