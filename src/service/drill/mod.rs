//! Drills: a synthetic leaver is granted a role, deactivated and removed, and Azure is asked by name whether it is so.
//!
//! What a drill does goes through provisioning, and the ordinary reconcile does the rest: nothing there knows of drills.

mod begin;
pub mod days;
mod end;
mod leaver;
mod stage;
mod steps;
mod times;

pub use begin::{DrillRefusal, begin_by_order};
pub use leaver::{FROM_OUTSIDE, leaves_body};
pub use stage::{DrillSettings, Drills};
