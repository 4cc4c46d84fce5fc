//! `plan`: what the service would do now, or with a file of bindings that is not active yet. Reads with the operator's own
//! rights, and changes nothing.

mod made_plan;
mod text;

use crate::bindings::{self, BindingsError};
use crate::cli::exit::EXIT_FINDINGS;
use crate::cli::json_line::json_line;
use crate::cli::operator::{OperatorArguments, OperatorError, active_bindings, run_command};
use crate::cli::progress::Progress;
use crate::ports::role_assignments::RoleAssignments;
use crate::rbac::breaker::RevocationLimits;
use crate::service::access::preview::{self, PreviewOf, TenantPlan};
use crate::service::bindings::active::ActiveSnapshot;
use crate::service::bindings::pending::{self, FilePlan, FileToPlan, WaitingFile};
use crate::store::{StateStore, StoreError};
use made_plan::{MadePlan, NextLines, PlannedWith};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use text::PlanText;

/// People between two updates of the progress.
const PROGRESS_EVERY: usize = 500;
/// Deleted people whose names are looked up for the output, unless everybody is listed.
const NAMES_MAX: usize = 200;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Plan with this file, as if it were active.
    #[arg(long, value_name = "FILE", conflicts_with = "pending")]
    bindings: Option<PathBuf>,
    /// Plan with the bundled file that waits for `apply`.
    #[arg(long)]
    pending: bool,
    /// Ask Azure by name about what a call may still change: it needs the right to read role assignments there.
    #[arg(long)]
    ask_azure: bool,
    /// List every person; without it, a list of more than 20 is cut short.
    #[arg(long)]
    all: bool,
    /// One object of JSON, with every person.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: OperatorArguments,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    run_command(async {
        let access = arguments.operator.whole_state().await?;
        let mut made = make(arguments, &access.store).await?;
        let names_max = if arguments.all || arguments.json { usize::MAX } else { NAMES_MAX };
        preview::name_deleted(&access.store, &mut made.plan, names_max).await?;
        print(&made, arguments)?;
        let changes_nothing = made.plan.changes_nothing();
        Ok(if changes_nothing { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FINDINGS) })
    })
}

async fn make(arguments: &Arguments, store: &StateStore) -> Result<MadePlan, OperatorError> {
    // A mistake in the file is reported before anything is read.
    let file = arguments.bindings.as_deref().map(read_file).transpose()?;
    let pointer = store.pointer().await?;
    let active = active_bindings(store).read(&pointer).await?;
    let waiting = pending::waiting_file(store, &pointer).await?;
    let assignments = if arguments.ask_azure { Some(arguments.operator.assignments()?) } else { None };
    let ask = assignments.as_deref();
    let progress = Progress::begin("reading people", PROGRESS_EVERY);
    let show = |read| progress.show(read);
    let (with, plan, wait) = match (file, arguments.pending) {
        (Some((path, file)), _) => {
            let FilePlan { plan, wait, .. } = plan_file(store, active, file, ask, &show).await?;
            (PlannedWith::File { path }, plan, wait)
        }
        (None, true) => {
            let (stamp, file) = waiting_bindings(waiting.as_ref())?;
            let FilePlan { plan, wait, .. } = plan_file(store, active, file, ask, &show).await?;
            (PlannedWith::Pending { stamp }, plan, wait)
        }
        (None, false) => {
            let stamp = pointer.stamp().map(str::to_owned);
            (PlannedWith::Active { stamp }, plan_now(store, active, ask, &show).await?, None)
        }
    };
    progress.end();
    let other = waiting.map(|waiting| waiting.pending.stamp);
    let waiting = other.filter(|_| !matches!(with, PlannedWith::Pending { .. }));
    let line = |words: &str| arguments.operator.command_line(words);
    let next = NextLines {
        apply: line(&format!("apply {} --because TEXT", plan.hash())),
        pending: line("plan --pending"),
        breaker: line("breaker"),
    };
    Ok(MadePlan { with, plan, wait, waiting, next })
}

async fn plan_file(
    store: &StateStore,
    active: ActiveSnapshot,
    file: FileToPlan,
    ask: Option<&dyn RoleAssignments>,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<FilePlan, StoreError> {
    let planned = pending::plan_of_file(store, active, file, ask, progress).await?;
    planned.under_limits(store, RevocationLimits::default()).await
}

async fn plan_now(
    store: &StateStore,
    snapshot: ActiveSnapshot,
    ask: Option<&dyn RoleAssignments>,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<TenantPlan, StoreError> {
    let of = [PreviewOf { snapshot, under_pause: true }];
    let plans = preview::preview(store, &of, ask, progress).await?;
    let plan = plans.into_iter().next().unwrap_or_default();
    preview::under_limits(store, plan, RevocationLimits::default(), None).await
}

fn read_file(path: &Path) -> Result<(PathBuf, FileToPlan), OperatorError> {
    let shown = path.display();
    let bytes = bindings::read(path)
        .map_err(|error| OperatorError::Usage(format!("cannot read {shown}: {error}")))?;
    let parsed = FileToPlan::parse(&bytes)
        .map_err(|error: BindingsError| OperatorError::Usage(format!("{shown} is not in order: {error}")))?;
    Ok((path.to_path_buf(), parsed))
}

fn waiting_bindings(waiting: Option<&WaitingFile>) -> Result<(String, FileToPlan), OperatorError> {
    let usage = |what: &str| OperatorError::Usage(what.to_owned());
    let waiting = waiting.ok_or_else(|| usage("no bundled file waits for apply"))?;
    let file = waiting.file.clone().ok_or_else(|| usage("the file that waits cannot be read"))?;
    Ok((waiting.pending.stamp.clone(), file))
}

fn print(made: &MadePlan, arguments: &Arguments) -> Result<(), OperatorError> {
    let mut out = io::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", json_line(&to_json(made)))?;
        return Ok(());
    }
    write!(out, "{}", PlanText::new(made, arguments.all))?;
    Ok(())
}

fn to_json(made: &MadePlan) -> Value {
    let MadePlan { with, plan, wait, waiting, .. } = made;
    let (with, stamp) = match with {
        PlannedWith::Active { stamp } => ("active", stamp.clone()),
        PlannedWith::File { .. } => ("file", None),
        PlannedWith::Pending { stamp } => ("pending", Some(stamp.clone())),
    };
    let (revocations, grants) = plan.revocations_and_grants();
    json!({
        "bindings": with, "stamp": stamp, "hash": plan.hash(), "peopleRead": plan.people_read,
        "revocations": revocations, "grants": grants, "waits": wait.is_some(), "pending": waiting,
        "people": plan.people.iter().map(text::person_json).collect::<Vec<_>>(),
        "byBinding": text::totals_json(plan), "wouldBeHeld": text::held_json(plan), "full": text::full_json(plan),
    })
}
