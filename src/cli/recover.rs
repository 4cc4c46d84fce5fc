//! `recover`: what Azure holds of this installation and no living row of the ledger names, as a plan; the order that lets it come
//! back; and the order that begins anew after the whole state was lost.

use crate::cli::exit::EXIT_FINDINGS;
use crate::cli::json_line::json_line;
use crate::cli::operator::{OperatorArguments, OperatorError, active_bindings, run_command};
use crate::cli::order::{PlaceArguments, place};
use crate::cli::progress::Progress;
use crate::error_chain::escape_control;
use crate::id::UserId;
use crate::orders::{self, OrderVerb};
use crate::service::access::names::user_names;
use crate::service::state::recover::{self, LostAssignment, RecoverPlan, RecoveredInto};
use crate::store::StateStore;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::process::ExitCode;

/// People between two updates of the progress.
const PROGRESS_EVERY: usize = 500;
/// Assignments that are listed, unless all are asked for.
const LISTED_MAX: usize = 20;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The hash that `recover` prints: let this plan happen.
    #[arg(value_name = "HASH", requires = "because")]
    hash: Option<String>,
    /// The whole state was lost and there is no export: begin anew, paused.
    #[arg(long, conflicts_with = "hash", requires = "because")]
    begin: bool,
    /// Why. It is kept in the audit.
    #[arg(long, value_name = "TEXT")]
    because: Option<String>,
    /// Who orders. [default: the name of the login on this machine]
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// Do not wait until the order is carried out.
    #[arg(long)]
    no_wait: bool,
    /// List every assignment; without it, a list of more than 20 is cut short.
    #[arg(long)]
    all: bool,
    /// One object of JSON, with every assignment.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: OperatorArguments,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let Some(because) = arguments.because.clone() else { return run_command(show(arguments)) };
    let Arguments { hash, begin, who, no_wait, json, operator, .. } = arguments;
    let place_arguments = PlaceArguments {
        because,
        who: who.clone(),
        no_wait: *no_wait,
        json: *json,
        operator: operator.clone(),
    };
    place(&place_arguments, async |_| {
        let usage = |what: &str| OperatorError::Usage(what.to_owned());
        match hash {
            _ if *begin => Ok(vec![OrderVerb::RecoverBegin]),
            None => Err(usage("--because is for an order: name the hash that `recover` prints, or --begin")),
            Some(hash) => {
                let hash = orders::parse_hash(hash)
                    .ok_or_else(|| usage("HASH has 64 hex digits, as `recover` prints it"))?;
                Ok(vec![OrderVerb::Recover { hash }])
            }
        }
    })
}

async fn show(arguments: &Arguments) -> Result<ExitCode, OperatorError> {
    let store = arguments.operator.access()?.store;
    let assignments = arguments.operator.assignments()?;
    let snapshot = active_bindings(&store).read(&store.pointer().await?).await?;
    let progress = Progress::begin("reading people", PROGRESS_EVERY);
    let planned = recover::plan(&store, snapshot, assignments.as_ref(), &|read| progress.show(read)).await;
    progress.end();
    let plan = planned.map_err(OperatorError::Recover)?;
    let mut out = io::stdout().lock();
    match arguments.json {
        true => writeln!(out, "{}", json_line(&to_json(&plan)))?,
        false => print(&mut out, arguments, &store, &plan).await?,
    }
    Ok(if plan.is_empty() && plan.unlisted.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_FINDINGS)
    })
}

fn to_json(plan: &RecoverPlan) -> Value {
    let lost = |lost: &LostAssignment| {
        let record = match lost.into {
            RecoveredInto::Record(user) => Some(user.to_string()),
            RecoveredInto::Stranger(_) => None,
        };
        json!({
            "class": "lost-ours", "principal": lost.principal.to_string(), "role": lost.role.name(),
            "scope": lost.scope.as_str(), "assignment": lost.assignment.to_string(), "person": record,
            "follows": lost.follows(),
        })
    };
    json!({
        "hash": plan.hash(), "lost": plan.lost.iter().map(lost).collect::<Vec<_>>(), "pins": plan.pins.len(),
        "known": plan.known, "foreign": plan.foreign, "unreadable": plan.unreadable, "scopes": plan.scopes,
        "unlisted": plan.unlisted.iter().map(|scope| scope.as_str()).collect::<Vec<_>>(), "more": plan.is_cut,
    })
}

async fn print(
    out: &mut impl Write,
    arguments: &Arguments,
    store: &StateStore,
    plan: &RecoverPlan,
) -> Result<(), OperatorError> {
    let RecoverPlan { known, foreign, scopes, unreadable, .. } = plan;
    writeln!(
        out,
        "At {scopes} scopes: {known} assignments of ours that the ledger knows, {foreign} of others."
    )?;
    if *unreadable > 0 {
        writeln!(
            out,
            "{unreadable} more of ours belong to records that cannot be read, and are left alone."
        )?;
    }
    for scope in &plan.unlisted {
        let scope = escape_control(scope.as_str());
        writeln!(out, "Azure did not list {scope}: what it holds there is not recovered.")?;
    }
    if plan.is_empty() {
        let where_listed = if plan.unlisted.is_empty() { "" } else { " at the scopes that were listed" };
        writeln!(out, "Nothing of ours was lost{where_listed}.")?;
        return Ok(());
    }
    let listed_max = if arguments.all { usize::MAX } else { LISTED_MAX };
    let records = plan.lost.iter().take(listed_max).map(|lost| lost.into.user());
    let names = user_names(store, records.collect::<BTreeSet<UserId>>()).await?;
    for lost in plan.lost.iter().take(listed_max) {
        writeln!(out, "  {}", escape_control(&line(lost, &names)))?;
    }
    if plan.lost.len() > listed_max {
        writeln!(out, "  and {} more: list them with --all", plan.lost.len() - listed_max)?;
    }
    print_totals(out, plan)?;
    let words = format!("recover {} --because TEXT", plan.hash());
    writeln!(out, "Nothing was changed. To let it happen:\n\n  {}", arguments.operator.command_line(&words))?;
    Ok(())
}

fn line(lost: &LostAssignment, names: &BTreeMap<UserId, String>) -> String {
    let LostAssignment { principal, role, scope, into, .. } = lost;
    let who = match into {
        RecoveredInto::Record(user) => {
            names.get(user).map_or_else(|| format!("user {user}"), |name| format!("{name} ({user})"))
        }
        RecoveredInto::Stranger(_) => "no user has this object id".to_owned(),
    };
    format!("lost-ours  {}  {principal}, {who}: {} at {}", lost.follows(), role.name(), scope.as_str())
}

fn print_totals(out: &mut impl Write, plan: &RecoverPlan) -> io::Result<()> {
    let kept = plan.lost.iter().filter(|lost| lost.is_wanted).count();
    let strangers = plan.lost.iter().filter(|lost| matches!(lost.into, RecoveredInto::Stranger(_))).count();
    let revoked = plan.lost.len() - kept;
    writeln!(
        out,
        "{} lost: {kept} stay, {revoked} are revoked. Of {strangers} no user has the object id.",
        plan.lost.len()
    )?;
    if !plan.pins.is_empty() {
        writeln!(out, "{} records get their side of a pin back.", plan.pins.len())?;
    }
    if plan.is_cut {
        writeln!(out, "There is more than one order recovers: recover once more afterwards.")?;
    }
    if revoked > 0 {
        writeln!(
            out,
            "If the identity provider has not pushed everyone since the loss, wait: who comes later is kept then."
        )?;
    }
    Ok(())
}
