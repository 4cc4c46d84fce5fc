//! Crashes, kills, lost answers, several processes.

pub(crate) mod bulk_kills;
pub(crate) mod crashes;
pub(crate) mod drill_crashes;
pub(crate) mod faults;
pub(crate) mod first_starts;
pub(crate) mod local_kills;
pub(crate) mod lost_state;
pub(crate) mod member_jobs;
pub(crate) mod order_crashes;
pub(crate) mod recover;
pub(crate) mod two_processes;
