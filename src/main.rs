//! Arguments, telemetry, one command, exit code.

use azure_backup_scim::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
