//! What the services need from outside: tables, role assignments, secrets, the clock and fresh ids.

pub mod clock;
pub mod ids;
pub mod role_assignments;
pub mod secrets;
pub mod tables;
