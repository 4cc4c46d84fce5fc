//! The real ends of the ports. Only this folder says azure, and nothing here knows a use case.

pub mod arm;
pub mod clock;
pub mod credential;
pub mod endpoint;
mod guarded;
pub mod ids;
pub mod key_vault;
pub mod loopback;
pub mod rest;
pub mod tables;
