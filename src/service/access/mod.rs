//! Who holds what, and why.

pub mod grants;
