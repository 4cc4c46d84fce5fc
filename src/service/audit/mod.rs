//! The audit: reading it, sealing it, exporting and verifying what was sealed.

mod check;
mod expire;
pub mod export;
pub mod query;
pub mod seal;
pub mod verify;
