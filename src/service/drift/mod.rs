//! Where Azure and the ledger differ.

pub mod sweep;
