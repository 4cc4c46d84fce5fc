//! Where Azure and the ledger differ, and what others gave.

pub mod foreign;
mod quota;
pub mod sweep;
