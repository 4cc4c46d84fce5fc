//! `config`: checks a bindings file as the service would, and prints its JSON Schema.

use super::{EXIT_USAGE, complain};
use crate::bindings::Bindings;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Report every mistake of a bindings file, each with its place.
    Check {
        #[arg(default_value = "bindings.json")]
        file: PathBuf,
    },
    /// Print the JSON Schema of bindings.json.
    Schema,
}

#[expect(clippy::print_stdout, reason = "the result of the command")]
pub fn run(arguments: &Arguments) -> ExitCode {
    match &arguments.command {
        Command::Schema => println!("{:#}", Bindings::json_schema()),
        Command::Check { file } => {
            let bytes = match std::fs::read(file) {
                Ok(bytes) => bytes,
                Err(error) => {
                    complain(&error);
                    return ExitCode::from(EXIT_USAGE);
                }
            };
            match Bindings::parse(&bytes) {
                Ok(bindings) => {
                    println!("{}: {} bindings, in order", file.display(), bindings.bindings.len())
                }
                Err(error) => {
                    complain(&error);
                    return ExitCode::from(EXIT_USAGE);
                }
            }
        }
    }
    ExitCode::SUCCESS
}
