//! One audit record: who set off what, when, and what changed.

use super::AuditEvent;
use crate::id::{OpId, RequestId, SERVICE};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What set a change or an effect off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeCause {
    /// A SCIM request.
    Request,
    /// An operator's order.
    Order,
    /// A sweep that found a difference.
    Sweep,
    /// A new snapshot of the bindings.
    Snapshot,
}

impl ChangeCause {
    /// Every cause.
    pub const ALL: [ChangeCause; 4] =
        [ChangeCause::Request, ChangeCause::Order, ChangeCause::Sweep, ChangeCause::Snapshot];

    /// The stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            ChangeCause::Request => "request",
            ChangeCause::Order => "order",
            ChangeCause::Sweep => "sweep",
            ChangeCause::Snapshot => "snapshot",
        }
    }

    /// Reads the stable text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == text)
    }
}

/// Who set it off, and by which operation. A reconcile request carries it to the effects that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeOrigin {
    pub cause: ChangeCause,
    /// The label of the token, the operator, or `service`.
    pub actor: String,
    pub op: OpId,
}

impl ChangeOrigin {
    /// Whether it is a file of bindings that an operator agreed to, by an order or at the terminal of `local`. A file that is
    /// active without that takes nothing away, and gives little.
    pub fn is_agreed_file(&self) -> bool {
        self.cause == ChangeCause::Snapshot && self.actor != SERVICE
    }

    /// The actor as logs show it. An operator's name is free text, and stays out of the log: the order's id leads to it.
    pub fn label(&self) -> &str {
        if self.cause == ChangeCause::Order { "operator" } else { &self.actor }
    }
}

/// The outcome of a SCIM write, kept so that a repeated send can be answered. Never a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOutcome {
    pub id: String,
    pub status: u16,
}

/// One audit record: the changes of one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// This record's own op.
    pub op: OpId,
    pub time: OffsetDateTime,
    /// What set it off; `origin.op` is the op of the change that an effect follows from.
    pub origin: ChangeOrigin,
    /// The request that asked for it.
    pub request: Option<RequestId>,
    /// The stamp of the active bindings, for effects.
    pub stamp: Option<String>,
    pub outcome: Option<CommitOutcome>,
    pub changes: Vec<AuditEvent>,
}

/// A time as rows and records hold it: RFC 3339, UTC.
pub fn rfc3339(time: OffsetDateTime) -> String {
    time.to_offset(time::UtcOffset::UTC).format(&Rfc3339).unwrap_or_default()
}
