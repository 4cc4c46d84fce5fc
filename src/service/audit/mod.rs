//! Reading the audit.

pub mod query;
