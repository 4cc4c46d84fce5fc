//! One test binary. Tests read like sentences; helpers fail loudly.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "a test that cannot go on should say so at once, helpers included"
)]

mod access;
mod arm_client;
mod azurite;
mod bindings;
mod chaos;
mod clock;
mod cloud;
mod command_line;
mod crashes;
mod damaged_rows;
mod delegation;
mod dependencies;
mod dropped_assignments;
mod faults;
mod first_starts;
mod guards;
mod harness;
mod host;
mod host_client;
mod host_layout;
mod host_lifecycle;
mod host_transport;
mod http_connections;
mod http_edge;
mod idp;
mod infra;
mod leavers;
mod leavers_first;
mod local_command;
mod local_kills;
mod local_process;
mod local_state;
mod look_alikes;
mod membership_limit;
mod overdue;
mod packages;
mod pins;
mod provisioning;
mod requests;
mod rows;
mod scenarios;
mod serve;
mod simulator;
mod streamed_lists;
mod table_file;
mod tables;
mod tables_client;
mod tables_faults;
mod throttling;
mod tick;
mod tidy;
mod two_processes;
mod unreadable;
