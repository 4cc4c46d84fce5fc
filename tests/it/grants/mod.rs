//! Who holds what, and when: membership, leavers, ticks, damage, and the rules that only one test guards.

pub(crate) mod access;
pub(crate) mod breakers;
pub(crate) mod change_costs;
pub(crate) mod damaged_rows;
pub(crate) mod doctor_reads;
pub(crate) mod drill;
pub(crate) mod explain;
pub(crate) mod foreign_access;
pub(crate) mod groups;
pub(crate) mod guards;
pub(crate) mod health_counts;
pub(crate) mod leavers;
pub(crate) mod leavers_first;
pub(crate) mod nesting;
pub(crate) mod orders;
pub(crate) mod over_http;
pub(crate) mod overdue;
pub(crate) mod parity;
pub(crate) mod pins;
pub(crate) mod plan;
pub(crate) mod reasons;
pub(crate) mod report_history;
pub(crate) mod report_rows;
pub(crate) mod throttling;
pub(crate) mod tick;
pub(crate) mod unreadable;
