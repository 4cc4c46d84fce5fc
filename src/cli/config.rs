//! `config`: checks a bindings file and the settings as the service would, stamps the file, prints its JSON Schema.

mod check;

use crate::app::SystemClock;
use crate::bindings::{self, Bindings};
use crate::cli::exit::{EXIT_USAGE, complain};
use crate::id;
use crate::ports::clock::Clock;
use check::CheckArguments;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Report every mistake of a bindings file, each with its line, its place and its binding.
    Check(CheckArguments),
    /// Stamp a bindings file with the time of its packaging, in UTC: of all that were ever started, the one with the newest
    /// stamp is active. To return to an old file, package it again with a new stamp.
    Stamp {
        #[arg(long, default_value = "bindings.json", value_name = "FILE")]
        file: PathBuf,
        /// Where the stamp goes; without it, beside the file as NAME.stamp.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Add the binding `drill` to the file before, at this empty resource group.
        #[arg(long, value_name = "SCOPE")]
        drill: Option<String>,
    },
    /// Print the JSON Schema of bindings.json.
    Schema,
}

/// Why a `config` command failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} is not in order")]
    Bindings { path: PathBuf, source: crate::bindings::BindingsError },
    #[error("the stamp would take the place of the bindings in {path}; choose another --out")]
    StampOverBindings { path: PathBuf },
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let done = match &arguments.command {
        Command::Check(arguments) => return check::run(arguments),
        Command::Stamp { file, out, drill } => stamp(file, out.as_deref(), drill.as_deref()),
        Command::Schema => schema(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// Only a file that is in order is stamped.
#[expect(clippy::print_stdout, reason = "the result of the command")]
fn stamp(file: &Path, out: Option<&Path>, drill: Option<&str>) -> Result<(), CommandError> {
    read(file)?;
    if let Some(scope) = drill {
        add_drill(file, scope)?;
    }
    let stamp = id::format_stamp(SystemClock::new().now());
    let out = out.map_or_else(|| file.with_extension("stamp"), Path::to_path_buf);
    if is_same_file(file, &out) {
        return Err(CommandError::StampOverBindings { path: out });
    }
    std::fs::write(&out, format!("{stamp}\n"))
        .map_err(|source| CommandError::Write { path: out.clone(), source })?;
    println!("{}: {stamp}", out.display());
    Ok(())
}

/// Writes the file with the binding of drills. One of that name that is there already is a mistake.
fn add_drill(file: &Path, scope: &str) -> Result<(), CommandError> {
    let path = || file.to_path_buf();
    let bytes = bindings::read(file).map_err(|source| CommandError::Read { path: path(), source })?;
    let bytes = bindings::with_drill(&bytes, scope);
    Bindings::parse_for_package(&bytes).map_err(|source| CommandError::Bindings { path: path(), source })?;
    std::fs::write(file, &bytes).map_err(|source| CommandError::Write { path: path(), source })
}

/// Whether both paths lead to one file that is there.
fn is_same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

#[expect(clippy::print_stdout, reason = "the result of the command")]
fn schema() -> Result<(), CommandError> {
    println!("{:#}", Bindings::json_schema());
    Ok(())
}

fn read(path: &Path) -> Result<Bindings, CommandError> {
    let bytes =
        bindings::read(path).map_err(|source| CommandError::Read { path: path.to_path_buf(), source })?;
    Bindings::parse_for_package(&bytes)
        .map_err(|source| CommandError::Bindings { path: path.to_path_buf(), source })
}
