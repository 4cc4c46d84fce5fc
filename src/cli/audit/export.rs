//! `audit export`: the sealed records in their official order, for a verification that needs nothing of the service.

use super::day_argument::parse_days;
use crate::audit::chain::head_file;
use crate::cli::operator::{OperatorArguments, OperatorError, run_command};
use crate::service::audit::export::{ExportError, Exported, ExportedDays, export};
use crate::store::StateStore;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
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
        let (since, until) = parse_days(arguments.since.as_deref(), arguments.until.as_deref())?;
        let access = arguments.operator.access()?;
        if let Some(folder) = &arguments.heads {
            fs::create_dir_all(folder).map_err(|error| cannot_make(folder, &error))?;
        }
        let mut records = BufWriter::new(create(&arguments.file)?);
        let exported = write(arguments, &access.store, ExportedDays { since, until }, &mut records).await;
        if exported.is_err() && arguments.file.as_os_str() != "-" {
            // It is not whole, and a second attempt makes it anew.
            let _ = fs::remove_file(&arguments.file);
        }
        summarise(exported?);
        Ok(ExitCode::SUCCESS)
    })
}

async fn write(
    arguments: &ExportArguments,
    store: &StateStore,
    days: ExportedDays,
    records: &mut BufWriter<Box<dyn Write>>,
) -> Result<Exported, OperatorError> {
    let take_head = |number, text: &[u8]| match &arguments.heads {
        Some(folder) => write_head(&folder.join(head_file(number)), text),
        None => Ok(()),
    };
    let exported = export(store, days, records, take_head).await.map_err(|error| match error {
        ExportError::Store(error) => OperatorError::Store(error),
        ExportError::Write(error) if error.kind() == ErrorKind::AlreadyExists => {
            OperatorError::Usage(error.to_string())
        }
        ExportError::Write(error) => OperatorError::Output(error),
        ExportError::Head { number } => OperatorError::Head { number },
    })?;
    records.flush()?;
    Ok(exported)
}

/// A file that is there is never overwritten: it may be the evidence.
fn write_head(file: &Path, text: &[u8]) -> io::Result<()> {
    match fs::read(file) {
        Ok(there) if there == text => Ok(()),
        Ok(_) => {
            let what = format!("{} is another head; name an empty folder", file.display());
            Err(io::Error::new(ErrorKind::AlreadyExists, what))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => fs::write(file, text),
        Err(error) => Err(error),
    }
}

fn cannot_make(what: &Path, error: &io::Error) -> OperatorError {
    OperatorError::Usage(format!("cannot make {}: {error}", what.display()))
}

fn create(file: &Path) -> Result<Box<dyn Write>, OperatorError> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(io::stdout()));
    }
    match File::create_new(file) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(cannot_make(file, &error)),
    }
}

#[expect(clippy::print_stderr, reason = "the result may be the standard output")]
fn summarise(exported: Exported) {
    let Exported { heads, records, gone } = exported;
    let gone = if gone > 0 { format!("; {gone} records are no longer in the table") } else { String::new() };
    eprintln!("exported {records} records of {heads} heads{gone}");
}
