//! The bindings that are active, the file that came with the program, and the groups that a change of either affects.

pub mod active;
pub mod affected_groups;
pub mod bundled;
pub mod pending;
