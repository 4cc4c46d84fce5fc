//! The two breakers: how many people may lose or get a role within an hour before an operator has to say so. Pure.
//!
//! [`BindingTally`] and [`TenantTally`] count; [`Tallies`] judges one step of one person over them, and says what it counted.
//! What is held, and how it ends, is not decided here.

mod judge;
mod ops;
mod tally;
mod window;

pub use judge::{Admission, Ruling, Tallies, Trip};
pub use ops::{JudgedOp, OpVerdict, TakenBy};
pub use tally::{BindingTally, HolderId, OpenBatch, TenantTally};
pub use window::{MinuteCount, Window};

use std::time::Duration;

/// The largest `maxPrincipals`: a subscription holds no more role assignments.
pub const MAX_PRINCIPALS_MAX: u32 = 4000;
/// The time over which the breakers count.
pub const WINDOW: Duration = Duration::from_secs(3600);
/// So long after its first grant a binding fills up without tripping.
pub const FIRST_SYNC: Duration = Duration::from_secs(24 * 3600);

/// How much may be taken away unasked. No setting changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevocationLimits {
    /// So many people may lose a role within the window, however few hold it.
    pub floor: usize,
    /// Of those who held it at the window's start, at most so many of a hundred.
    pub percent: usize,
    /// A binding that so many people hold is not emptied.
    pub emptied_from: usize,
}

impl RevocationLimits {
    pub(super) fn of(&self, people: usize) -> usize {
        self.floor.max(people.saturating_mul(self.percent) / 100)
    }
}

impl Default for RevocationLimits {
    fn default() -> Self {
        Self { floor: 5, percent: 20, emptied_from: 3 }
    }
}

/// How many people a binding gives the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantLimits {
    /// In all.
    pub max_principals: u32,
    /// Within the window.
    pub new_grants_max: u32,
}

impl Default for GrantLimits {
    fn default() -> Self {
        Self { max_principals: 500, new_grants_max: 50 }
    }
}

/// What a batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BatchKind {
    /// People keep what an operation took from them.
    Revocations,
    /// People do not get what a group gives them.
    Grants,
}

impl BatchKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Revocations, Self::Grants];

    /// The text in rows, logs and output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revocations => "revocations",
            Self::Grants => "grants",
        }
    }

    /// Reads the text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

#[cfg(test)]
mod tests;
