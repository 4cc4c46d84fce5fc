//! `audit verify`: whether an exported file is what was sealed. It needs the file and the heads, and nothing else.

use super::day_argument::parse_days;
use super::heads::{HeadFolder, HeadsFrom, copy_heads};
use crate::audit::chain::{
    ChainFinding, HeadSummary, VerifiedRecords, VerifyError, check_heads, format_day, verify_records,
};
use crate::cli::exit::EXIT_FINDINGS;
use crate::cli::operator::{OperatorArguments, OperatorError, run_command};
use crate::cli::progress::Progress;
use crate::service::audit::verify::record_lines;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Lines between two updates of what a terminal shows.
const PROGRESS_LINES: usize = 100_000;

#[derive(Debug, clap::Args)]
pub struct VerifyArguments {
    /// The exported file, or - for the standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A folder with the heads, as `audit export --heads` writes them or as the container has them. Without it they are read from
    /// the container that AUDIT_HEADS_ENDPOINT names, else from the table.
    #[arg(long, value_name = "FOLDER")]
    heads: Option<PathBuf>,
    /// The day with which the file begins, as 2026-11-25. [default: that of the first head]
    #[arg(long, value_name = "DAY")]
    since: Option<String>,
    /// The day with which the file ends. [default: that of the last head]
    #[arg(long, value_name = "DAY")]
    until: Option<String>,
    /// The answer as one line of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: OperatorArguments,
}

pub fn run(arguments: &VerifyArguments) -> ExitCode {
    run_command(async {
        let (since, until) = parse_days(arguments.since.as_deref(), arguments.until.as_deref())?;
        let (mut heads, from) = match &arguments.heads {
            Some(folder) => {
                let opened = HeadFolder::open(folder);
                (
                    opened.map_err(|error| unreadable(&folder.display().to_string(), &error))?,
                    HeadsFrom::Folder,
                )
            }
            None => copy_heads(&arguments.operator).await?,
        };
        let input = open(arguments)?;
        let Some((first, last)) = heads.range(since, until)? else {
            let from = from.as_str();
            return Err(OperatorError::Usage(format!("the {from} has no head of the audit of these days")));
        };
        let verified = verify(&mut heads, first, last, input);
        if let Ok((HeadSummary { first_day, last_day, .. }, _)) = &verified {
            // Else what was asked for would count as verified.
            let is_short =
                since.is_some_and(|since| since < *first_day) || until.is_some_and(|until| *last_day < until);
            if is_short {
                return Err(OperatorError::Usage(format!(
                    "the heads go from {first_day} to {last_day}: a day that was asked for is not sealed, or its head is missing"
                )));
            }
        }
        let mut out = io::stdout().lock();
        match verified {
            Ok((summary, records)) => {
                if arguments.json {
                    writeln!(out, "{}", verified_json(&summary, records, from))?;
                } else {
                    verified_text(&mut out, &summary, records)?;
                }
                note_source(from);
                Ok(ExitCode::SUCCESS)
            }
            Err(VerifyError::Finding(finding)) => {
                let shown =
                    if arguments.json { finding_json(&finding, from).to_string() } else { text(&finding) };
                writeln!(out, "{shown}")?;
                note_source(from);
                Ok(ExitCode::from(EXIT_FINDINGS))
            }
            Err(VerifyError::Read(error)) => Err(unreadable(&arguments.file.display().to_string(), &error)),
        }
    })
}

fn unreadable(what: &str, error: &io::Error) -> OperatorError {
    OperatorError::Usage(format!("cannot read {what}: {error}"))
}

fn open(arguments: &VerifyArguments) -> Result<Box<dyn Read + Send>, OperatorError> {
    if arguments.file.as_os_str() == "-" {
        return Ok(Box::new(io::stdin()));
    }
    match File::open(&arguments.file) {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(unreadable(&arguments.file.display().to_string(), &error)),
    }
}

fn verify(
    heads: &mut HeadFolder,
    first: u64,
    last: u64,
    input: Box<dyn Read + Send>,
) -> Result<(HeadSummary, VerifiedRecords), VerifyError> {
    let summary = check_heads(heads, first, last)?;
    let progress = Progress::begin("lines verified", PROGRESS_LINES);
    let lines = record_lines(input).enumerate().map(|(number, line)| {
        progress.show(number);
        line
    });
    let verified = verify_records(heads, &summary, lines);
    progress.end();
    Ok((summary, verified?))
}

/// Heads from the table prove nothing against those who can write it.
#[expect(clippy::print_stderr, reason = "not part of the result")]
fn note_source(from: HeadsFrom) {
    if from == HeadsFrom::Table {
        eprintln!(
            "the heads are those of the table, which may have been written with it: give --heads or AUDIT_HEADS_ENDPOINT"
        );
    }
}

fn verified_text(out: &mut impl Write, summary: &HeadSummary, records: VerifiedRecords) -> io::Result<()> {
    let HeadSummary { first, last, first_day, last_day, last_hash, late, .. } = summary;
    let VerifiedRecords { records, expired, lost } = records;
    writeln!(out, "verified: {records} records, heads {first} to {last}, {first_day} to {last_day}")?;
    for (number, what) in [
        (*late, "were committed after their day was sealed, and are in a later head"),
        (expired, "are not in the file: they were deleted because of their age, and the chain says so"),
        (lost, "are not in the file: they were lost in a restore, and the chain says so"),
    ] {
        if number > 0 {
            writeln!(out, "{number} records {what}")?;
        }
    }
    writeln!(out, "last head {last}: {last_hash}")?;
    match summary.excused_by.filter(|_| expired + lost > 0) {
        Some((head, hash)) => {
            writeln!(out, "what is not in the file is explained by heads up to {head}: {hash}")
        }
        None => Ok(()),
    }
}

fn verified_json(summary: &HeadSummary, records: VerifiedRecords, from: HeadsFrom) -> Value {
    json!({
        "verified": true,
        "records": records.records,
        "expired": records.expired,
        "lost": records.lost,
        "late": summary.late,
        "firstHead": summary.first,
        "lastHead": summary.last,
        "firstDay": format_day(summary.first_day),
        "lastDay": format_day(summary.last_day),
        "lastHash": summary.last_hash.to_string(),
        "excusedByHead": summary.excused_by.map(|(head, _)| head),
        "excusedByHash": summary.excused_by.map(|(_, hash)| hash.to_string()),
        "headsFrom": from.as_str(),
    })
}

fn text(finding: &ChainFinding) -> String {
    match finding.missing {
        0 | 1 => finding.to_string(),
        missing => format!("{finding}\n{missing} records are missing here"),
    }
}

fn finding_json(finding: &ChainFinding, from: HeadsFrom) -> Value {
    json!({
        "verified": false,
        "finding": finding.to_string(),
        "kind": finding.kind.as_str(),
        "record": finding.record,
        "head": finding.head,
        "day": finding.day.map(format_day),
        "line": finding.line,
        "missing": finding.missing,
        "headsFrom": from.as_str(),
    })
}
