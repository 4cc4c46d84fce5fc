//! Who holds what, and why.

pub mod grants;
pub mod people;
pub mod preview;
pub(in crate::service) mod ways;
