//! `report`: who can do what to the backups at some scopes, and why; now, or at a past moment. Reads with the operator's own
//! rights, and changes nothing.

mod csv;
mod html;
mod meant;
mod page_data;
#[cfg(test)]
mod sample;
mod table;
mod words;

use crate::audit::rfc3339;
use crate::cli::json_line::json_line;
use crate::cli::operator::{OperatorArguments, OperatorError, active_bindings, run_command};
use crate::cli::past::{history, lines_about_past, moment};
use crate::cli::progress::Progress;
use crate::error_chain::escape_control;
use crate::id::PrincipalId;
use crate::rbac::Scope;
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::verbs::{Verb, Verbs};
use crate::service::access::report::history::AccessSpan;
use crate::service::access::report::live::{self, AzureReaders};
use crate::service::access::report::{self, AccessReport, ReportRow, RowSource};
use crate::service::bindings::active::ActiveSnapshot;
use crate::service::drill::days::DrillDays;
use crate::store::StateStore;
use clap::builder::PossibleValuesParser;
use meant::Meant;
use page_data::PageSource;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use words::{who, why};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A vault, a resource group or a subscription: its resource id, or the name of a scope in the bindings. What lies below it
    /// belongs to it. [default: every scope of the bindings]
    #[arg(value_name = "SCOPE")]
    scope: Option<String>,
    /// Only this person: a userName, mail address, Entra object id or SCIM id; of a deleted user too. Or a name that the report
    /// shows.
    #[arg(long, value_name = "PERSON")]
    person: Option<String>,
    /// Only who can do this, by whatever assignments. Given several times it means AND: who can do all of it.
    #[arg(long = "can", value_name = "VERB", value_parser = PossibleValuesParser::new(Verb::ALL.map(Verb::as_str)))]
    verbs: Vec<String>,
    /// A past moment: 2026-11-25 (the beginning of that day, in UTC), 2026-11-25T12:00:00Z, or back from now as 90m, 24h, 7d. [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Do not ask Azure and Entra ID: what this service recorded is shown, as the last sweep saw it.
    #[arg(long)]
    recorded: bool,
    /// One object of JSON.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Comma-separated values, one line for each holder, assignment and scope. What is not seen goes to standard error.
    #[arg(long)]
    csv: bool,
    /// Write a page to this file: it opens in any browser, needs no server and sends nothing anywhere. It shows now and every day
    /// that was recorded.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "csv", "at", "verbs"])]
    html: Option<PathBuf>,
    #[command(flatten)]
    operator: OperatorArguments,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    run_command(async {
        let access = arguments.operator.whole_state().await?;
        let store = &access.store;
        // The clock of the tables: that of a running `local` can be moved.
        let now = store.table_time().await?;
        let at = arguments.at.as_deref().map(|text| moment(text, now)).transpose()?;
        let meant = Meant::of(store, arguments.person.as_deref()).await?;
        let (reader, directory) = (arguments.operator.access_reader()?, arguments.operator.directory()?);
        let readers = AzureReaders { access: reader.as_ref(), directory: directory.as_ref() };
        let azure = Some(&readers).filter(|_| !arguments.recorded);
        let (targets, mut notes) = targets(arguments, store, azure).await?;
        let mut made = match at {
            None => {
                let progress = Progress::begin("reading scopes", 1);
                let made = report::now(store, azure, &targets, &|number| progress.show(number)).await?;
                progress.end();
                made
            }
            Some(time) => report::at(store, azure, &history(store).await?, time, &targets).await?,
        };
        notes.append(&mut made.unseen);
        made.unseen = notes;
        made.rows = meant.select(made.rows);
        let is_shown = !made.rows.is_empty();
        keep_who_can(&mut made.rows, &arguments.verbs);
        if let Some(file) = &arguments.html {
            let history = history(store).await?;
            let (spans, mut past) = report::ever(store, azure, &history, &targets).await?;
            let both = spans.into_iter().zip(past.rows).filter(|(_, row)| meant.has(row));
            let (spans, rows): (Vec<AccessSpan>, Vec<ReportRow>) = both.unzip();
            past.rows = rows;
            meant.or_mistake(is_shown || !past.rows.is_empty())?;
            let source = PageSource { made: now, history: &history, spans: &spans, past: &past, now: &made };
            write_page(file, &page_data::data(&source))?;
            return Ok(ExitCode::SUCCESS);
        }
        let meant = meant.or_mistake(is_shown)?;
        if at.is_none() {
            meant.add_present_ways(store, &mut made.rows).await?;
        }
        made.rows
            .sort_by_cached_key(|row| (who(row).to_lowercase(), row.scope.clone(), row.role_name.clone()));
        let results = store.drill_results().await?;
        let drills = (!results.is_empty()).then(|| DrillDays::of(&results, now));
        print(arguments, &made, &meant, drills.as_ref())?;
        Ok(ExitCode::SUCCESS)
    })
}

/// `drills`: where there were any.
fn print(
    arguments: &Arguments,
    made: &AccessReport,
    meant: &Meant,
    drills: Option<&DrillDays>,
) -> Result<(), OperatorError> {
    let mut out = io::stdout().lock();
    match (arguments.json, arguments.csv) {
        (true, _) => {
            let mut report = to_json(made);
            if let (Some(members), Some(days)) = (report.as_object_mut(), drills) {
                members.insert("drills".to_owned(), days.to_json());
            }
            writeln!(out, "{}", json_line(&report))?;
        }
        (_, true) => {
            csv::write(&mut out, made)?;
            out.flush()?;
            say_unseen(&made.unseen);
        }
        _ => {
            let is_past = made.rows.is_empty() && made.at.is_none();
            let past = meant.id().filter(|_| is_past).map(|id| lines_about_past(&arguments.operator, &id));
            table::write(&mut out, made, past.as_deref())?;
            if let Some(days) = drills {
                writeln!(out, "\ndrills: {}", days.sentence())?;
            }
        }
    }
    Ok(())
}

/// Beside values that are read by a program.
#[expect(clippy::print_stderr, reason = "not part of the result")]
fn say_unseen(unseen: &[String]) {
    unseen.iter().for_each(|unseen| eprintln!("not seen: {}", escape_control(unseen)));
}

fn write_page(file: &Path, data: &Value) -> Result<(), OperatorError> {
    let cannot_write =
        |error: io::Error| OperatorError::Usage(format!("cannot write {}: {error}", file.display()));
    let mut out = io::BufWriter::new(File::create(file).map_err(cannot_write)?);
    html::write(&mut out, data).and_then(|()| out.flush()).map_err(cannot_write)?;
    writeln!(io::stdout().lock(), "written: {}", file.display())?;
    Ok(())
}

/// Keeps the rows of those who can do all of it at one scope, by whatever assignments: the rows that give some of it. A role that
/// could not be read may give anything.
fn keep_who_can(rows: &mut Vec<ReportRow>, wanted: &[String]) {
    let wanted: Verbs = wanted.iter().filter_map(|name| Verb::parse(name)).collect();
    if wanted.is_empty() {
        return;
    }
    let gives = |row: &ReportRow| row.verbs.map_or(wanted, |verbs| verbs.of(wanted));
    let mut can: BTreeMap<(PrincipalId, Scope), Verbs> = BTreeMap::new();
    for row in rows.iter() {
        for target in &row.targets {
            let verbs = can.entry((row.holder, target.clone())).or_default();
            *verbs = verbs.and(gives(row));
        }
    }
    rows.retain_mut(|row| {
        let (holder, gives_some) = (row.holder, !gives(row).is_empty());
        row.targets.retain(|target| can.get(&(holder, target.clone())) == Some(&wanted));
        gives_some && !row.targets.is_empty()
    });
}

/// The scopes that the report is about, and what could not be found out about them.
async fn targets(
    arguments: &Arguments,
    store: &StateStore,
    azure: Option<&AzureReaders<'_>>,
) -> Result<(BTreeSet<Scope>, Vec<String>), OperatorError> {
    let snapshot = active_bindings(store).read(&store.pointer().await?).await?;
    let bound: BTreeSet<Scope> = match &snapshot {
        ActiveSnapshot::Known(snapshot) => snapshot.bindings.scopes().into_iter().collect(),
        ActiveSnapshot::Absent | ActiveSnapshot::Unreadable => BTreeSet::new(),
    };
    let Some(text) = &arguments.scope else {
        return match (bound.is_empty(), &snapshot) {
            (true, ActiveSnapshot::Unreadable) => Err(OperatorError::Bindings),
            (true, _) => Err(OperatorError::Usage("there are no bindings yet: name a scope".to_owned())),
            (false, _) => Ok((bound, Vec::new())),
        };
    };
    let scope = one_scope(&bound, text)?;
    let here = ArmScope::from(&scope);
    let is_vault = scope.as_str().to_ascii_lowercase().contains("/providers/");
    let mut targets: BTreeSet<Scope> =
        bound.into_iter().filter(|bound| here.covers(&ArmScope::from(bound))).collect();
    targets.insert(scope.clone());
    let mut notes = Vec::new();
    if let Some(azure) = azure.filter(|_| !is_vault) {
        match live::scopes_below(azure, &scope).await {
            Ok(below) => targets.extend(below),
            Err(error) => {
                notes.push(format!("the vaults below {scope} that are not in the bindings: {error}"))
            }
        }
    }
    Ok((targets, notes))
}

fn one_scope(bound: &BTreeSet<Scope>, text: &str) -> Result<Scope, OperatorError> {
    let shown = escape_control(text);
    if text.starts_with('/') {
        return Scope::parse(text).map_err(|error| {
            OperatorError::Usage(format!("{shown:?} is no scope that can be bound: {error}"))
        });
    }
    let named: Vec<&Scope> =
        bound.iter().filter(|scope| scope.short_name().eq_ignore_ascii_case(text)).collect();
    match named.as_slice() {
        [scope] => Ok((*scope).clone()),
        [] => {
            let known: Vec<&str> = bound.iter().map(Scope::short_name).collect();
            let known = known.join(", ");
            Err(OperatorError::Usage(format!(
                "no scope of the bindings is called {shown:?} (there are: {known}); any other takes its resource id"
            )))
        }
        several => {
            let ids: Vec<&str> = several.iter().map(|scope| scope.as_str()).collect();
            let ids = ids.join("\n  ");
            Err(OperatorError::Usage(format!(
                "{shown:?} can mean several scopes; name one by its id:\n  {ids}"
            )))
        }
    }
}

fn to_json(report: &AccessReport) -> Value {
    json!({
        "at": report.at.map(rfc3339),
        "scopes": report.targets.iter().map(Scope::as_str).collect::<Vec<_>>(),
        "rows": report.rows.iter().map(row_json).collect::<Vec<_>>(),
        "unseen": report.unseen,
    })
}

fn row_json(row: &ReportRow) -> Value {
    let verbs = row.verbs.map(|verbs| verbs.iter().map(Verb::as_str).collect::<Vec<_>>());
    let given = match &row.given {
        RowSource::Ours(given) => json!({
            "by": "this service", "bindings": given.bindings, "reasons": given.reasons,
            "cause": given.set_off.cause, "actor": given.set_off.actor, "op": given.set_off.op,
            "confirmed": given.confirmed, "takenBecause": given.taken.as_ref().map(|taken| &taken.reasons),
        }),
        RowSource::Others { created_by, created_by_name, created_on, first_seen } => json!({
            "by": "others", "createdBy": created_by.map(|id| id.to_string()), "createdByName": created_by_name,
            "createdOn": created_on.map(rfc3339), "firstSeen": first_seen.map(rfc3339),
        }),
    };
    json!({
        "name": row.name, "objectId": row.holder.to_string(), "kind": row.kind.as_str(),
        "user": row.user.map(|user| user.to_string()), "can": verbs,
        "role": row.role_name, "roleDefinition": row.role.to_string(), "assignment": row.assignment.to_string(),
        "madeAt": row.scope.as_str(), "reaches": row.targets.iter().map(Scope::as_str).collect::<Vec<_>>(),
        "conditional": row.conditional, "since": row.since.map(rfc3339),
        "throughGroup": row.through.map(|id| id.to_string()), "throughGroupName": row.through_name,
        "given": given, "why": why(row),
    })
}
