//! How commands end: exit codes, and the one failure on standard error.

use crate::error_chain::{ErrorChain, escape_control};
use std::io;
use std::path::PathBuf;

/// Findings or drift.
pub const EXIT_FINDINGS: u8 = 1;
/// Usage or configuration.
pub const EXIT_USAGE: u8 = 2;
/// A dependency failed.
pub const EXIT_DEPENDENCY: u8 = 3;

/// The file that an argument names cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub(super) struct ArgumentFileError {
    path: PathBuf,
    source: io::Error,
}

/// The text of an argument, or of the file that `@FILE` names: a key of a real account belongs in a file, a command line can be
/// read by others.
pub(super) fn in_file(argument: &str) -> Result<String, ArgumentFileError> {
    let Some(path) = argument.strip_prefix('@') else { return Ok(argument.to_owned()) };
    let text = std::fs::read_to_string(path)
        .map_err(|source| ArgumentFileError { path: PathBuf::from(path), source })?;
    Ok(text.trim().to_owned())
}

/// One failure, with the whole chain of what caused it, on standard error.
#[expect(clippy::print_stderr, reason = "the end of a failed command")]
pub(super) fn complain(error: &dyn std::error::Error) {
    // Some of it was written by others; lines are our own.
    for line in format!("azure-backup-scim: {}", ErrorChain(error)).lines() {
        eprintln!("{}", escape_control(line));
    }
}
