//! What the services need from outside: tables, role assignments, the clock and fresh ids.

pub mod clock;
pub mod ids;
pub mod role_assignments;
pub mod tables;
