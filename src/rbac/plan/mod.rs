//! What to send to Azure for one person. Pure: reads nothing, changes nothing, decides everything.

mod decide;
mod model;
mod moves;
mod pending;

pub use decide::plan;
pub use model::{
    Actual, BlockKey, BlockedGrant, DeferredStep, Desired, DesiredGrant, Evidence, GrantReason, Holds,
    ObservedEntry, Plan, PlanLimits, RoomClaim, ScopeBlock, SettledRow, Step,
};
pub use pending::{Requeue, pending_steps, requeue_at};

#[cfg(test)]
mod tests;
