//! Where Azure and the ledger differ, and what others gave.

pub mod foreign;
pub mod sweep;
