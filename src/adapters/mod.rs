//! The real ends of the ports. Only this folder says azure, and nothing here knows a use case.

pub mod arm;
pub mod clock;
pub mod credential;
pub mod ids;
pub mod loopback;
pub mod rest;
