//! Whose turn it is to be reconciled: at once after a commit, or by the tick in the order of priorities.

mod backlog;
mod gains;
pub mod group_fan_out;
pub mod inline;
mod leavers;
mod missing_hints;
pub mod overdue;
mod promote_due;
pub mod quarantine;
pub mod tick;
mod tick_round;
