//! The chain of heads over the sealed records, as docs/audit-format.md has it to the byte. Pure: it reads no table and no
//! file.

mod check;
mod digest;
mod finding;
mod head;
mod verify;

pub use check::{HeadSource, HeadSummary, StateRestore, check_heads};
pub use digest::RecordHash;
pub use finding::{ChainFinding, FindingKind, VerifyError};
pub use head::{
    AuditHead, HEAD_RECORDS_MAX, HeadEntry, HeadError, format_day, head_file, is_op, op_prefix, parse_day,
};
pub use verify::{RecordLine, VerifiedRecords, op_of_line, verify_records};

#[cfg(test)]
mod tests;
