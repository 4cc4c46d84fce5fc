//! `state`: the whole state into a file, and out of a file into an empty table. `restore` writes with the operator's own rights.

use crate::audit::rfc3339;
use crate::cli::exit::EXIT_FINDINGS;
use crate::cli::json_line::json_line;
use crate::cli::operator::{OperatorArguments, OperatorError, run_command};
use crate::cli::progress::Progress;
use crate::config;
use crate::error_chain::{ErrorChain, escape_control};
use crate::orders;
use crate::service::state::export::{StateExportError, export};
use crate::service::state::restore::{
    self, CheckedFile, RestoreError, RestoreRequest, RestoreStage, Restored,
};
use crate::store::StateStore;
use crate::store::state_file::FileFooter;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Attempts at an export that no change comes between.
const ATTEMPTS_MAX: u32 = 3;
/// Rows between two updates of the progress: a page has as many.
const PROGRESS_EVERY: usize = 1000;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: StateCommand,
}

#[derive(Debug, clap::Subcommand)]
enum StateCommand {
    /// Write every row of the state into a file, with read rights. Exact while the app is stopped, or nothing changes.
    Export(ExportArguments),
    /// Say whether a file is a whole export, and of what. Needs nothing but the file.
    Check(CheckArguments),
    /// Write a file into an empty table, and compare both. Needs Storage Table Data Contributor; stop the app before.
    ///
    /// The service is paused afterwards, until `resume`: let the identity provider push everything again first.
    Restore(RestoreArguments),
}

#[derive(Debug, clap::Args)]
struct ExportArguments {
    /// The file: a new one.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// One object of JSON about the file.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: OperatorArguments,
}

#[derive(Debug, clap::Args)]
struct CheckArguments {
    /// A file that `state export` wrote.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// One object of JSON about the file.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct RestoreArguments {
    /// A file that `state export` wrote.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Why. It is kept in the audit.
    #[arg(long, value_name = "TEXT")]
    because: String,
    /// Who restores. [default: the name of the login on this machine]
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// Restore a file that is not exact: rows of it may not fit together.
    #[arg(long)]
    accept_inexact: bool,
    /// One object of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: OperatorArguments,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    match &arguments.command {
        StateCommand::Export(arguments) => run_command(run_export(arguments)),
        StateCommand::Check(arguments) => run_command(async { run_check(arguments) }),
        StateCommand::Restore(arguments) => run_command(run_restore(arguments)),
    }
}

async fn run_export(arguments: &ExportArguments) -> Result<ExitCode, OperatorError> {
    let access = arguments.operator.access()?;
    let out = &arguments.out;
    if out.exists() {
        return Err(usage(format!("{} is there already: name a new file", out.display())));
    }
    let part = part_of(out);
    let written = write_exact(&access.store, &part).await;
    let footer = match written {
        Ok(footer) => footer,
        Err(error) => {
            // It is not whole, and a second attempt makes it anew.
            let _ = fs::remove_file(&part);
            return Err(export_failed(error, out));
        }
    };
    fs::rename(&part, out).map_err(|error| usage(format!("cannot make {}: {error}", out.display())))?;
    print_exported(arguments, &footer)?;
    Ok(if footer.exact { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FINDINGS) })
}

/// Half a file has another name, so it is never taken for an export.
fn part_of(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    out.with_file_name(name)
}

async fn write_exact(store: &StateStore, part: &Path) -> Result<FileFooter, StateExportError> {
    let mut attempts = 1;
    loop {
        let mut file = BufWriter::new(private_file(part)?);
        let progress = Progress::begin("reading rows", PROGRESS_EVERY);
        let footer = export(store, &mut file, &|rows| progress.show(rows)).await;
        progress.end();
        let footer = footer?;
        if footer.exact || attempts == ATTEMPTS_MAX {
            file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            return Ok(footer);
        }
        attempts += 1;
    }
}

/// Names and addresses of people are in it. A file or link that is there already would keep its mode, or lead elsewhere.
fn private_file(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn export_failed(error: StateExportError, out: &Path) -> OperatorError {
    match error {
        StateExportError::Store(error) => OperatorError::Store(error),
        StateExportError::Write(error) => usage(format!("cannot write {}: {error}", out.display())),
        error @ (StateExportError::Incomplete | StateExportError::Empty { .. }) => usage(error.to_string()),
    }
}

fn print_exported(arguments: &ExportArguments, footer: &FileFooter) -> Result<(), OperatorError> {
    let mut out = io::stdout().lock();
    let FileFooter { rows, sha256, exact } = footer;
    let file = arguments.out.display().to_string();
    if arguments.json {
        let line = json!({ "file": file, "rows": rows, "sha256": sha256, "exact": exact });
        writeln!(out, "{}", json_line(&line))?;
        return Ok(());
    }
    writeln!(out, "{}: {rows} rows, SHA-256 {sha256}", escape_control(&file))?;
    let said = match exact {
        true => "exact: nothing was changed while the rows were read",
        false => {
            "not exact: rows were changed while they were read. Stop the app and export again; this file is only \
             restored with --accept-inexact"
        }
    };
    writeln!(out, "{said}")?;
    writeln!(out, "It holds names and addresses of people. Keep it as you keep the state itself.")?;
    Ok(())
}

fn run_check(arguments: &CheckArguments) -> Result<ExitCode, OperatorError> {
    let progress = Progress::begin("checking rows", PROGRESS_EVERY);
    let checked = restore::check(&|| open(&arguments.file), &|_, rows| progress.show(rows));
    progress.end();
    let mut out = io::stdout().lock();
    let checked = match checked {
        Ok(checked) => checked,
        Err(RestoreError::Open(error)) => {
            return Err(usage(format!("cannot read {}: {error}", arguments.file.display())));
        }
        Err(error) => {
            let what = ErrorChain(&error).to_string();
            match arguments.json {
                true => writeln!(out, "{}", json_line(&json!({ "whole": false, "error": what })))?,
                false => writeln!(out, "not whole: {}", escape_control(&what))?,
            }
            return Ok(ExitCode::from(EXIT_FINDINGS));
        }
    };
    match arguments.json {
        true => writeln!(out, "{}", json_line(&checked_json(&checked)))?,
        false => print_checked(&mut out, &checked)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn checked_json(checked: &CheckedFile) -> Value {
    let CheckedFile { header, footer, .. } = checked;
    json!({
        "whole": true, "tenant": header.tenant, "instance": header.instance.map(|instance| instance.to_string()),
        "exported": rfc3339(header.exported), "rows": footer.rows, "sha256": footer.sha256, "exact": footer.exact,
    })
}

fn print_checked(out: &mut impl Write, checked: &CheckedFile) -> io::Result<()> {
    let CheckedFile { header, footer, .. } = checked;
    let instance = header.instance.map_or("no id yet".to_owned(), |instance| instance.to_string());
    let exact = if footer.exact { "exact" } else { "not exact" };
    writeln!(out, "whole: {} rows, {exact}, SHA-256 {}", footer.rows, footer.sha256)?;
    let tenant = escape_control(&header.tenant);
    writeln!(out, "tenant {tenant}, installation {instance}, exported {}", rfc3339(header.exported))
}

async fn run_restore(arguments: &RestoreArguments) -> Result<ExitCode, OperatorError> {
    if arguments.operator.is_local() {
        let what = "a running local keeps its state in its folder: stop it and put the folder back";
        return Err(usage(what.to_owned()));
    }
    let who = arguments.who.clone().or_else(config::login_name).unwrap_or_default();
    let (who, because) = orders::said(&who, &arguments.because).map_err(|error| usage(error.to_string()))?;
    let access = arguments.operator.access()?;
    let instance = arguments.operator.instance()?;
    let accepts_inexact = arguments.accept_inexact;
    let request = RestoreRequest { who, because, accepts_inexact, instance };
    let checking = Progress::begin("checking rows", PROGRESS_EVERY);
    let writing = Progress::begin("writing rows", 1);
    let comparing = Progress::begin("comparing rows", PROGRESS_EVERY);
    let show = |stage, rows| match stage {
        RestoreStage::Checking => checking.show(rows),
        RestoreStage::Writing => writing.show(rows),
        RestoreStage::Comparing => comparing.show(rows),
    };
    let restored = restore::restore(&access.store, &|| open(&arguments.file), &request, &show).await;
    comparing.end();
    let restored = restored.map_err(OperatorError::Restore)?;
    print_restored(arguments, restored)?;
    Ok(ExitCode::SUCCESS)
}

fn print_restored(arguments: &RestoreArguments, restored: Restored) -> Result<(), OperatorError> {
    let mut out = io::stdout().lock();
    let rows = match restored {
        Restored::Now { rows } => Some(rows),
        Restored::Before => None,
    };
    if arguments.json {
        writeln!(out, "{}", json_line(&json!({ "restored": true, "rows": rows })))?;
        return Ok(());
    }
    match rows {
        Some(rows) => writeln!(out, "restored and compared: {rows} rows")?,
        None => writeln!(out, "this file was restored before, and nothing was written now")?,
    }
    let line = |words: &str| arguments.operator.command_line(words);
    writeln!(
        out,
        "The service is paused. Start the app, let the identity provider push everything again, wait for a sweep (an hour), then:\n"
    )?;
    writeln!(out, "  {}\n  {}\n  {}\n", line("recover"), line("plan --all"), line("resume --because TEXT"))?;
    writeln!(
        out,
        "Each `does not grant … paused` of that plan is of someone who may have lost the role since the export: `revoke` those first."
    )?;
    Ok(())
}

fn open(file: &Path) -> io::Result<Box<dyn BufRead>> {
    Ok(Box::new(BufReader::new(File::open(file)?)))
}

fn usage(what: String) -> OperatorError {
    OperatorError::Usage(what)
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn write(path: &Path) {
        private_file(path).unwrap().write_all(b"people").unwrap();
        let about = fs::symlink_metadata(path).unwrap();
        assert!(about.is_file());
        assert_eq!(about.permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read(path).unwrap(), b"people");
    }

    #[test]
    fn half_a_file_is_private_whatever_was_there_under_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.part");
        write(&path);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write(&path);

        let other = folder.path().join("other");
        fs::write(&other, "as it was").unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&other, &path).unwrap();
        write(&path);
        assert_eq!(fs::read(&other).unwrap(), b"as it was");
    }
}
