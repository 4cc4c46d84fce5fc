//! The ports against the real Azure. Only this folder uses the Azure SDK, and nothing here knows a use case.

pub mod arm;
pub mod blob_archive;
pub mod call_observer;
pub mod clock;
#[cfg(feature = "local")]
pub mod control_client;
#[cfg(feature = "local")]
pub(crate) mod control_tables;
pub mod credential;
pub(crate) mod endpoint;
pub mod folder_archive;
pub mod graph;
mod guarded;
pub mod ids;
pub(crate) mod key_vault;
pub mod loopback;
mod rest;
pub mod scim_client;
mod server_certificate;
pub mod tables;
mod unreachable;

pub use rest::RestError;
