//! One person's reconcile: gather, plan, open, act, close. Inline call, timer and order call the same function.

mod act;
mod calls;
mod close;
pub(in crate::service) mod committed;
pub(crate) mod desired;
pub(in crate::service) mod gather;
pub(crate) mod holds;
mod new_holds;
mod obstacles;
mod open;
mod reconciler;
mod refusal;
mod requeue;
mod round;
pub(in crate::service) mod selectors;
mod silent_subscriptions;
mod table_time;
mod trigger;

pub use gather::RoundFacts;
pub use reconciler::{EffectLimits, ReconcileOutcome, Reconciler, RequestState};
pub use silent_subscriptions::SilentSubscriptions;
