//! Who holds what, and why.

pub mod assignments;
pub mod doctor;
pub mod explain;
pub mod grants;
pub mod groups;
pub mod names;
pub mod parity;
pub mod people;
pub mod preview;
pub mod report;
pub(in crate::service) mod ways;
