//! The command line: one file per subcommand.

mod config;
#[cfg(feature = "local")]
mod local;

use crate::app::SystemClock;
use crate::telemetry::{self, Output};
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use std::sync::Arc;

/// Findings or drift.
pub const EXIT_FINDINGS: u8 = 1;
/// Usage or configuration.
pub const EXIT_USAGE: u8 = 2;
/// A dependency failed.
pub const EXIT_DEPENDENCY: u8 = 3;

/// SCIM 2.0 service provider that turns group membership into Azure Backup role assignments.
///
/// Exit codes: 0 fine, 1 findings or drift, 2 usage or configuration, 3 a dependency failed.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Which log lines are written to standard error: a tracing filter such as `info` or `azure_backup_scim=debug`.
    #[arg(long, global = true, default_value = "warn")]
    log: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything on this machine: an embedded store and a simulated Azure.
    #[cfg(feature = "local")]
    Local(local::Arguments),
    /// Check bindings.json, or print its JSON Schema.
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
    if let Err(error) = telemetry::install(&arguments.log, Output::Stderr, Arc::new(SystemClock::new())) {
        complain(&error);
        return ExitCode::from(EXIT_USAGE);
    }
    match arguments.command {
        #[cfg(feature = "local")]
        Command::Local(arguments) => local::run(arguments),
        Command::Config(arguments) => config::run(&arguments),
    }
}

/// One failure, with the whole chain of what caused it, on standard error.
#[expect(clippy::print_stderr, reason = "the end of a failed command")]
fn complain(error: &dyn std::error::Error) {
    let chain: Vec<String> =
        std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect();
    eprintln!("azure-backup-scim: {}", chain.join(": "));
}
