//! Audit records: what they say, how they are stored and how they read.
//!
//! The journal row of a transaction *is* its audit record: it is written with the change or not at all. `event` is the
//! table of everything that is recorded. People are named by SCIM id only; names and addresses are kept in a row of
//! their own that can be erased.

pub mod chain;
mod event;
mod field;
mod kind;
mod record;
mod recorded;

pub use event::{AuditEvent, kinds};
pub use field::{Subject, SubjectId};
pub use kind::{AuditKind, SETTING_CHANGED};
pub use record::{AuditRecord, ChangeCause, ChangeOrigin, CommitOutcome, rfc3339};
pub use recorded::RecordedChange;

#[cfg(test)]
mod tests;
