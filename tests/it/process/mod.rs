//! The program as it is started: commands, settings, the Functions host.

pub(crate) mod audit_commands;
pub(crate) mod command_line;
pub(crate) mod dependencies;
pub(crate) mod doctor_command;
mod drill_command;
pub(crate) mod explain_command;
pub(crate) mod host_layout;
pub(crate) mod host_lifecycle;
pub(crate) mod host_recorded;
pub(crate) mod host_transport;
pub(crate) mod local_command;
pub(crate) mod local_state;
pub(crate) mod local_tls;
pub(crate) mod operator_commands;
pub(crate) mod packages;
pub(crate) mod parity_command;
pub(crate) mod plan_command;
pub(crate) mod report_command;
pub(crate) mod report_page;
pub(crate) mod requests_command;
pub(crate) mod serve;
pub(crate) mod state_command;
pub(crate) mod token_command;
mod unreachable;
