//! What the services need from outside: tables, role assignments, who has access, secrets, the clock and fresh ids.

pub mod azure_access;
pub mod clock;
pub mod connectivity;
pub mod head_archive;
pub mod ids;
pub mod role_assignments;
pub mod secrets;
pub mod tables;
