//! Use cases: provisioning, desired state, reconcile, sweeps.

pub mod access;
pub mod audit;
pub mod bindings;
pub mod breakers;
mod caller;
mod deferred;
pub(crate) mod drift;
pub mod drill;
mod effective_groups;
mod error;
pub mod health;
pub mod jobs;
mod join_reads;
pub(crate) mod keyed_mutex;
pub mod orders;
pub mod provisioning;
mod rate_limit;
pub mod reconcile;
pub mod reconcile_queue;
pub mod request_log;
pub mod state;
mod throttling;
pub mod tokens;

pub use caller::ScimCaller;
pub use error::ServiceError;
pub use provisioning::{
    Provisioning, RenderedResource, RequestTarget, ResourceAnswer, ResourceListing, ResourceStream,
};
