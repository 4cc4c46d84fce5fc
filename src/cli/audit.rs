//! `audit`: reads audit records while the service runs, with the operator's own rights, and changes nothing.

mod bindings_change;
mod day_argument;
mod export;
mod heads;
mod verify;

use crate::app::SystemClock;
use crate::audit::{self, ChangeCause, RecordedChange, SETTING_CHANGED};
use crate::bindings::Bindings;
use crate::cli::exit::EXIT_FINDINGS;
use crate::cli::known_names::KnownNames;
use crate::cli::moment::parse_time;
use crate::cli::operator::{OperatorArguments, OperatorError, one_person_ever, run_command};
use crate::cli::suggest::groups_like;
use crate::error_chain::escape_control;
use crate::id::{GroupId, OpId, PrincipalId};
use crate::ports::clock::Clock;
use crate::scim::IndexLookup;
use crate::service::audit::query::{self, AuditFilter, OpenedStep, OpenedSteps};
use crate::store::{StateStore, StoreError};
use clap::builder::PossibleValuesParser;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use time::OffsetDateTime;

/// Records per read.
const PAGE_RECORDS: usize = 1000;
/// Steps that are kept for the lines about their outcomes.
const OPENED_MAX: usize = 10_000;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: ListArguments,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Write the sealed records into a file, in the order in which they were sealed.
    Export(export::ExportArguments),
    /// Verify an exported file with the heads of the audit, and name the first record that is not as it was sealed.
    Verify(verify::VerifyArguments),
}

#[derive(Debug, clap::Args)]
struct ListArguments {
    /// Start: 2026-11-25, 2026-11-25T12:00:00Z, or back from now as 90m, 24h, 7d. [default: 24h, or the time of --op]
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// End, in the same forms. [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only changes that concern this person: a userName, mail address, Entra object id or SCIM id; of a deleted user too.
    #[arg(long, value_name = "PERSON")]
    person: Option<String>,
    /// Only changes that concern this group: a displayName or SCIM id. A deleted group has its id alone.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Only changes of this kind; may be given several times.
    #[arg(long = "kind", value_name = "KIND", value_parser = PossibleValuesParser::new(kind_names()))]
    kinds: Vec<String>,
    /// Only what this caller caused: the label of a token, or service.
    #[arg(long, value_name = "LABEL")]
    actor: Option<String>,
    /// Only what has this cause: request, order, sweep, snapshot.
    #[arg(long, value_name = "CAUSE")]
    cause: Option<String>,
    /// Only this operation and what followed from it.
    #[arg(long, value_name = "OP")]
    op: Option<String>,
    /// One line of JSON per record, instead of one line of text per change.
    #[arg(long)]
    json: bool,
    /// Without the userNames and the names of groups: people and groups by their ids alone, as --json has them.
    #[arg(long)]
    pseudonyms: bool,
    #[command(flatten)]
    operator: OperatorArguments,
}

/// What is wrong with a filter.
#[derive(Debug, thiserror::Error)]
enum FilterError {
    #[error("--{argument} {text:?} is not a time; examples: 2026-11-25, 2026-11-25T12:00:00Z, 24h")]
    Time { argument: &'static str, text: String },
    #[error("--cause {text:?} is not one of request, order, sweep, snapshot")]
    Cause { text: String },
    #[error("--op {text:?} is not an operation; it looks like 01a21313-b0f1-77de-af8d-41bc4e8ffee2")]
    Op { text: String },
}

pub fn run(arguments: &Arguments) -> ExitCode {
    match &arguments.command {
        None => run_list(&arguments.list),
        Some(Command::Export(arguments)) => export::run(arguments),
        Some(Command::Verify(arguments)) => verify::run(arguments),
    }
}

fn run_list(arguments: &ListArguments) -> ExitCode {
    run_command(async {
        let mut filter = filter(arguments, SystemClock::new().now())
            .map_err(|error| OperatorError::Usage(error.to_string()))?;
        let access = arguments.operator.access()?;
        if let Some(text) = &arguments.person {
            filter.person = ids_of(&access.store, text).await?;
        }
        if let Some(text) = &arguments.group {
            filter.group = Some(group_id(&access.store, text).await?);
        }
        let mut names = KnownNames::new(&access.store);
        let found = list(&mut names, filter, arguments).await?;
        if !found {
            report_none(arguments.json);
        }
        Ok(if !found && is_narrowed(arguments) { ExitCode::from(EXIT_FINDINGS) } else { ExitCode::SUCCESS })
    })
}

/// Whether an empty answer means that what was asked for is not there, not that nothing happened.
fn is_narrowed(arguments: &ListArguments) -> bool {
    let ListArguments { since, until, person, group, kinds, actor, cause, op, .. } = arguments;
    let texts = [since, until, person, group, actor, cause, op];
    texts.iter().any(|text| text.is_some()) || !kinds.is_empty()
}

/// The ids under which records name a person. An id means exactly itself, also of someone who left nothing else.
async fn ids_of(store: &StateStore, text: &str) -> Result<Vec<String>, OperatorError> {
    if PrincipalId::parse(text).is_ok() {
        return Ok(vec![text.to_owned()]);
    }
    let person = one_person_ever(store, text).await?;
    let principals = person.principals.iter().map(ToString::to_string);
    Ok(person.user.iter().map(ToString::to_string).chain(principals).collect())
}

/// The id under which records name a group. An id means exactly itself, also of a group that is gone.
async fn group_id(store: &StateStore, text: &str) -> Result<String, OperatorError> {
    if PrincipalId::parse(text).is_ok() {
        return Ok(text.to_owned());
    }
    let named = store.find_first::<GroupId>(&IndexLookup::DisplayName(text.to_owned()), 1).await?;
    if let Some(group) = named.first() {
        return Ok(group.to_string());
    }
    let (shown, alike) = (escape_control(text), groups_like(store, text).await?);
    Err(OperatorError::Usage(format!("--group {shown:?} is no displayName or SCIM id of a group{alike}")))
}

/// What `--kind` takes: every kind, and the name under which settings are stored.
fn kind_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = audit::kinds().map(|kind| kind.name).collect();
    names.push(SETTING_CHANGED);
    names.sort_unstable();
    names
}

/// Prints the records that match. Returns whether there was any.
async fn list(
    names: &mut KnownNames<'_>,
    mut filter: AuditFilter,
    arguments: &ListArguments,
) -> Result<bool, OperatorError> {
    let mut out = io::stdout().lock();
    let mut after = filter.begin();
    let mut found = false;
    let mut opened = OpenedSteps::new();
    loop {
        let page = names.store.audit(after.as_deref(), PAGE_RECORDS).await?;
        let full = page.len() >= PAGE_RECORDS;
        after = page.last().and_then(|record| record.get("op")?.as_str()).map(str::to_owned);
        for record in page {
            if filter.is_past(&record) {
                return Ok(found);
            }
            if let Some(record) = filter.select(record) {
                if !found && !arguments.json {
                    writeln!(out, "{}", query::heading())?;
                }
                found = true;
                if arguments.json {
                    writeln!(out, "{record}")?;
                    continue;
                }
                let shown =
                    if arguments.pseudonyms { BTreeMap::new() } else { names.of_record(&record).await? };
                read_opened(names.store, &record, &mut opened).await?;
                query::lines(&record, &shown, &opened).iter().try_for_each(|line| writeln!(out, "{line}"))?;
                let changed = bindings_lines(names.store, &record).await?;
                changed.iter().try_for_each(|line| writeln!(out, "    {line}"))?;
            }
        }
        if !full {
            return Ok(found);
        }
    }
}

/// What changed where a record says that other bindings became active: both files are kept.
async fn bindings_lines(store: &StateStore, record: &Value) -> Result<Vec<String>, StoreError> {
    let changes = record.get("changes").and_then(Value::as_array).into_iter().flatten();
    let mut changed = Vec::new();
    for change in changes.map(RecordedChange::read).filter(|change| change.is_of_kind("bindings-activated")) {
        let before = match change.text("before") {
            "" => Some(Bindings { principal_from: Vec::new(), retired: Vec::new(), bindings: Vec::new() }),
            stamp => stored_bindings(store, stamp).await?,
        };
        match (before, stored_bindings(store, change.text("after")).await?) {
            (Some(before), Some(after)) => changed.extend(bindings_change::lines(&before, &after)),
            _ => changed.push("what changed is not known: a file of bindings cannot be read".to_owned()),
        }
    }
    Ok(changed)
}

async fn stored_bindings(store: &StateStore, stamp: &str) -> Result<Option<Bindings>, StoreError> {
    let bytes = store.snapshot(stamp).await?;
    Ok(bytes.and_then(|bytes| Bindings::parse(&bytes).ok()))
}

/// Reads the steps whose outcomes a record tells. An outcome comes soon after its step, so the last ones are enough to keep.
async fn read_opened(store: &StateStore, record: &Value, opened: &mut OpenedSteps) -> Result<(), StoreError> {
    if opened.len() > OPENED_MAX {
        opened.clear();
    }
    for (op, assignment) in query::answered_steps(record) {
        let key = (op.to_owned(), assignment.to_owned());
        let Ok(id) = OpId::parse(op) else { continue };
        if opened.contains_key(&key) {
            continue;
        }
        let Some(record) = store.audit_record(id).await? else { continue };
        if let Some(change) = query::opened_step(&record, assignment) {
            let origin = record.get("origin").and_then(Value::as_str).unwrap_or_default().to_owned();
            opened.insert(key, OpenedStep { origin, change: change.clone() });
        }
    }
    Ok(())
}

/// An empty output would be taken for a failure.
#[expect(clippy::print_stderr, reason = "not part of the result")]
fn report_none(json: bool) {
    if !json {
        eprintln!("no records");
    }
}

fn filter(arguments: &ListArguments, now: OffsetDateTime) -> Result<AuditFilter, FilterError> {
    let time = |argument, text: &str| {
        parse_time(text, now).ok_or_else(|| FilterError::Time { argument, text: text.to_owned() })
    };
    let cause =
        |text: &String| ChangeCause::parse(text).ok_or_else(|| FilterError::Cause { text: text.clone() });
    let since = match (&arguments.since, &arguments.op) {
        (None, Some(op)) => query::op_time(op).ok_or_else(|| FilterError::Op { text: op.clone() })?,
        (since, _) => time("since", since.as_deref().unwrap_or("24h"))?,
    };
    if let Some(op) = arguments.op.as_ref().filter(|op| OpId::parse(op).is_err()) {
        return Err(FilterError::Op { text: op.clone() });
    }
    Ok(AuditFilter {
        since: Some(since),
        until: arguments.until.as_deref().map(|text| time("until", text)).transpose()?,
        kinds: arguments.kinds.clone(),
        actor: arguments.actor.clone(),
        cause: arguments.cause.as_ref().map(cause).transpose()?,
        op: arguments.op.clone(),
        ..AuditFilter::default()
    })
}
