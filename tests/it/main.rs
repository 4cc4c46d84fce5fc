//! The integration tests, one binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that meets what it does not expect fails"
)]

mod arm_client;
#[cfg(feature = "local")]
mod clock;
#[cfg(feature = "local")]
mod faults;
#[cfg(feature = "local")]
mod table_file;
#[cfg(feature = "local")]
mod tables;
