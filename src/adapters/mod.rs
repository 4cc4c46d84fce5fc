//! The real ends of the ports. Only this folder says azure, and nothing here knows a use case.

pub mod arm;
pub mod clock;
pub mod credential;
pub(crate) mod endpoint;
mod guarded;
pub mod ids;
pub(crate) mod key_vault;
pub mod loopback;
mod rest;
pub mod tables;

pub use rest::RestError;
