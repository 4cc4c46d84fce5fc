//! The command line: one file per subcommand.

mod audit;
mod config;
mod exit;
#[cfg(feature = "local")]
mod local;
mod serve;

use crate::app::SystemClock;
use crate::cli::exit::{EXIT_USAGE, complain};
use crate::telemetry::{self, LogOutput};
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use std::sync::Arc;

/// SCIM 2.0 service provider that turns group membership into Azure Backup role assignments.
///
/// Exit codes: 0 fine, 1 findings or drift, 2 usage or configuration, 3 a dependency failed.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Which log lines are written: a tracing filter such as `info` or `azure_backup_scim=debug`. They go to standard error;
    /// those of `serve` go where the Functions host expects them, information to standard output.
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve SCIM: what the Functions host starts. Takes its settings from the environment.
    Serve(serve::Arguments),
    /// Run everything on this machine: an embedded store and a simulated Azure.
    #[cfg(feature = "local")]
    Local(local::Arguments),
    /// List audit records: who was given what, when and why, and by whom.
    Audit(audit::Arguments),
    /// Check or stamp bindings.json, or print its JSON Schema.
    Config(config::Arguments),
}

/// Reads the arguments and runs one command.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are printed and are no mistake.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    let (output, level) = match arguments.command {
        Command::Serve(_) => (LogOutput::Split, "info"),
        _ => (LogOutput::Stderr, "warn"),
    };
    let filter = arguments.log.as_deref().unwrap_or(level);
    if let Err(error) = telemetry::install(filter, output, Arc::new(SystemClock::new())) {
        complain(&error);
        return ExitCode::from(EXIT_USAGE);
    }
    match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        #[cfg(feature = "local")]
        Command::Local(arguments) => local::run(arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
    }
}
