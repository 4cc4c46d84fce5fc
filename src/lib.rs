//! Azure Backup SCIM: a SCIM 2.0 service provider that turns group membership into Azure Backup role assignments.

pub mod adapters;
pub mod audit;
pub mod bindings;
#[cfg(feature = "local")]
pub mod engine;
pub mod id;
pub mod ports;
pub mod rbac;
pub mod scim;
pub mod service;
pub mod store;
