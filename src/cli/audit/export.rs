//! `audit export`: the sealed records in their official order, for a verification that needs nothing of the service.

use super::day_argument::parse_day_argument;
use crate::audit::chain::head_file;
use crate::cli::operator::{OperatorArguments, OperatorError, run_command};
use crate::service::audit::export::{ExportError, Exported, ExportedDays, export};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct ExportArguments {
    /// Where the records go: a new file, or - for the standard output.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A folder for the heads that the table has. Evidence is what the container has.
    #[arg(long, value_name = "FOLDER")]
    heads: Option<PathBuf>,
    /// The first day, as 2026-11-25. [default: the first that is sealed]
    #[arg(long, value_name = "DAY")]
    since: Option<String>,
    /// The last day. [default: the last that is sealed]
    #[arg(long, value_name = "DAY")]
    until: Option<String>,
    #[command(flatten)]
    operator: OperatorArguments,
}

pub fn run(arguments: &ExportArguments) -> ExitCode {
    run_command(async {
        let days = ExportedDays {
            since: parse_day_argument("since", arguments.since.as_deref())?,
            until: parse_day_argument("until", arguments.until.as_deref())?,
        };
        let access = arguments.operator.access()?;
        let mut records = BufWriter::new(create(&arguments.file)?);
        if let Some(folder) = &arguments.heads {
            fs::create_dir_all(folder)?;
        }
        let take_head = |number, text: &[u8]| match &arguments.heads {
            Some(folder) => fs::write(folder.join(head_file(number)), text),
            None => Ok(()),
        };
        let exported = export(&access.store, days, &mut records, take_head).await;
        let exported = exported.map_err(|error| match error {
            ExportError::Store(error) => OperatorError::Store(error),
            ExportError::Write(error) => OperatorError::Output(error),
            ExportError::Head { number } => OperatorError::Head { number },
        })?;
        records.flush()?;
        summarise(exported);
        Ok(ExitCode::SUCCESS)
    })
}

fn create(file: &Path) -> Result<Box<dyn Write>, OperatorError> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(io::stdout()));
    }
    match File::create_new(file) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(OperatorError::Usage(format!("cannot make {}: {error}", file.display()))),
    }
}

#[expect(clippy::print_stderr, reason = "the result may be the standard output")]
fn summarise(exported: Exported) {
    let Exported { heads, records, gone } = exported;
    let gone = if gone > 0 { format!("; {gone} records are no longer in the table") } else { String::new() };
    eprintln!("exported {records} records of {heads} heads{gone}");
}
