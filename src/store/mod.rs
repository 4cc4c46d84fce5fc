//! Domain values to rows and transactions. The only code that knows row keys.

pub(crate) mod batch;
pub mod codec;
pub(crate) mod counters;
mod error;
pub mod groups;
pub mod jobs;
pub(crate) mod journal;
mod keys;
pub mod ledger;
pub(crate) mod ledger_walk;
pub mod levers;
pub(crate) mod lookup;
pub mod members;
pub mod orders;
pub mod overdue;
pub mod pending_bindings;
pub mod pins;
mod read_meter;
pub(crate) mod recent_findings;
pub mod reconcile_queue;
mod removals;
pub mod resources;
pub mod room_claims;
pub(crate) mod scope_blocks;
pub mod settings;
mod state_store;
pub(crate) mod sweep_schedule;
pub mod tenant_walk;
pub(crate) mod throttles;
pub(crate) mod tick_cursors;
pub mod users;

pub use crate::ports::tables::{ETag, PAGE_ROWS_MAX, TableAnswer, TableRow, TableWrite};
pub use error::{FoundRow, StoreError};
pub use read_meter::ReadLimits;
pub use removals::MayMiss;
pub use state_store::{CommittedWrites, RowPages, StateStore};
