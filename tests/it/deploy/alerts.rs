//! The alerts: one table (`infra/alerts.json`), the queries that are made of it, and a small evaluator of the same table, which
//! runs over what a service with a fault wrote, and one without.

mod evaluate;
mod faults;
mod fields;
mod kql;
pub(crate) mod table;
mod verdicts;
