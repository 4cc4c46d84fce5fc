//! Whose turn it is to be reconciled: at once after a commit, or by the tick in the order of priorities.

mod backlog;
mod batch;
mod gains;
pub mod inline;
mod leavers;
pub mod overdue;
mod promote_due;
pub(crate) mod quarantine;
mod rebindings;
pub mod tick;
mod tick_round;
