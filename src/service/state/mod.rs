//! The state as a whole: into a file, out of a file, and what is left of it in Azure once it is lost.

pub mod export;
pub mod gate;
pub mod recover;
pub mod restore;
