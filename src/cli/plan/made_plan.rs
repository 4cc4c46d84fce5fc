//! A plan as the command made it.

use crate::service::access::preview::TenantPlan;
use crate::service::bindings::pending::WaitCause;
use std::path::PathBuf;

/// Which bindings a plan is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum PlannedWith {
    Active { stamp: Option<String> },
    File { path: PathBuf },
    Pending { stamp: String },
}

/// What an operator may type next, with the place of the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct NextLines {
    pub apply: String,
    pub pending: String,
    pub breaker: String,
}

/// A plan, and what the output says beside it.
pub(in crate::cli) struct MadePlan {
    pub with: PlannedWith,
    pub plan: TenantPlan,
    /// Why the file must wait, where one is planned and must.
    pub wait: Option<WaitCause>,
    /// The stamp of another file, which waits.
    pub waiting: Option<String>,
    pub next: NextLines,
}
