//! What a verification found first.

use std::fmt;
use std::io;
use time::Date;

/// What is wrong at a place of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    Changed,
    Missing,
    Reordered,
    Added,
    Malformed,
}

impl FindingKind {
    /// The stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            FindingKind::Changed => "changed",
            FindingKind::Missing => "missing",
            FindingKind::Reordered => "reordered",
            FindingKind::Added => "added",
            FindingKind::Malformed => "malformed",
        }
    }
}

/// The first place that is not as it was sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainFinding {
    pub kind: FindingKind,
    /// The op of the record; `None`: it is about a head. Empty: the line has no op.
    pub record: Option<String>,
    pub head: Option<u64>,
    pub day: Option<Date>,
    /// The line of the file, counted from 1.
    pub line: Option<u64>,
    /// Expected records that are missing from there on, one after the other.
    pub missing: u64,
}

impl ChainFinding {
    pub(super) fn of_head(kind: FindingKind, number: u64) -> Self {
        Self { kind, record: None, head: Some(number), day: None, line: None, missing: 0 }
    }
}

/// Why a verification ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("{0}")]
    Finding(ChainFinding),
    #[error("cannot read")]
    Read(#[from] io::Error),
}

impl From<ChainFinding> for VerifyError {
    fn from(finding: ChainFinding) -> Self {
        VerifyError::Finding(finding)
    }
}

impl fmt::Display for ChainFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        if let Some(record) = &self.record {
            write!(f, " record {}", if record.is_empty() { "-" } else { record })?;
        }
        if let Some(head) = self.head {
            write!(f, " head {head}")?;
        }
        if let Some(day) = self.day {
            write!(f, " day {day}")?;
        }
        self.line.map_or(Ok(()), |line| write!(f, " line {line}"))
    }
}
