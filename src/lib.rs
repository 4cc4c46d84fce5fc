//! Azure Backup SCIM: a SCIM 2.0 service provider that turns group membership into Azure Backup role assignments.

pub mod adapters;
pub mod app;
pub mod audit;
pub mod backoff;
pub mod bindings;
pub mod cli;
pub mod config;
#[cfg(feature = "local")]
pub mod engine;
pub mod error_chain;
pub mod events;
pub mod http;
pub mod id;
#[cfg(feature = "local")]
mod local;
pub mod orders;
pub mod ports;
pub mod rbac;
pub mod scim;
pub mod service;
#[cfg(feature = "local")]
pub mod simulator;
pub mod store;
pub mod telemetry;
