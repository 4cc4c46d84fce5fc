//! `orders`: what operators ordered, and what became of it.

use crate::audit::rfc3339;
use crate::cli::exit::EXIT_FINDINGS;
use crate::cli::json_line::json_line;
use crate::cli::operator::{OperatorArguments, OperatorError, run_command};
use crate::error_chain::escape_control;
use crate::id::OpId;
use crate::service::access::names::{names_in, with_names};
use crate::store::StateStore;
use crate::store::levers::Levers;
use crate::store::orders::{OrderOutcome, PlacedOrder};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::process::ExitCode;

/// Orders that are not carried out yet and are listed.
const PLACED_MAX: usize = 1000;

/// Over the log of the storage account, in which every touch of an order's row has its caller.
const AUTHOR_QUERY: &str = include_str!("../../infra/queries/order-author.kql");

/// Orders whose targets are named, the newest.
const NAMED_MAX: usize = 500;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only the newest so many.
    #[arg(long, value_name = "N", default_value_t = 50)]
    last: usize,
    /// Only the pause and the brakes that are in force.
    #[arg(long, conflicts_with = "last")]
    in_force: bool,
    /// Print the query that proves who wrote this order: run it in the workspace of the deployment.
    #[arg(long, value_name = "ORDER", value_parser = OpId::parse, conflicts_with_all = ["last", "in_force", "json"])]
    author: Option<OpId>,
    /// One line of JSON per order.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: OperatorArguments,
}

/// The orders of the levers that are set. Exit code 1 where one is.
async fn in_force(store: &StateStore, json: bool) -> Result<ExitCode, OperatorError> {
    let Levers { pause, brakes } = store.levers().await?;
    let set = pause.iter().map(|lever| ("pause", String::new(), lever));
    let braked = brakes.iter().map(|(principal, lever)| ("revoke", principal.to_string(), lever));
    let mut lines = Vec::new();
    for (verb, target, lever) in set.chain(braked) {
        let outcome = match &lever.set_by {
            Some(set_by) => store.order_outcome(set_by.order).await?,
            None => None,
        };
        lines.push(outcome.map(of_outcome).unwrap_or_else(|| Line::without_outcome(verb, target)));
    }
    print(store, &mut lines, json).await?;
    Ok(if lines.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FINDINGS) })
}

/// One line of the list.
struct Line {
    order: String,
    op: Option<String>,
    state: &'static str,
    verb: String,
    target: String,
    /// The names behind the ids of the target.
    names: Vec<String>,
    who: String,
    because: String,
    at: Option<String>,
    detail: String,
}

#[expect(clippy::print_stdout, reason = "the result")]
fn print_author_query(order: OpId) {
    print!("{}", AUTHOR_QUERY.replace("__ORDER__", &order.to_string()));
}

pub fn run(arguments: &Arguments) -> ExitCode {
    if let Some(order) = arguments.author {
        print_author_query(order);
        return ExitCode::SUCCESS;
    }
    run_command(async {
        let access = arguments.operator.access()?;
        if arguments.in_force {
            return in_force(&access.store, arguments.json).await;
        }
        let outcomes = access.store.order_outcomes(arguments.last).await?;
        let placed = access.orders.placed(PLACED_MAX).await?;
        let mut lines: Vec<Line> = outcomes.into_iter().map(of_outcome).collect();
        let is_open = |placed: &&PlacedOrder| {
            placed.id.is_none_or(|id| lines.iter().all(|line| line.order != id.to_string()))
        };
        let open: Vec<Line> = placed.iter().filter(is_open).map(of_placed).collect();
        lines.extend(open);
        print(&access.store, &mut lines, arguments.json).await?;
        Ok(ExitCode::SUCCESS)
    })
}

fn of_outcome(outcome: OrderOutcome) -> Line {
    Line {
        order: outcome.order.to_string(),
        op: Some(outcome.op.to_string()),
        state: if outcome.is_refused { "refused" } else { "done" },
        verb: outcome.verb,
        target: outcome.target,
        names: Vec::new(),
        who: outcome.who,
        because: outcome.because,
        at: Some(rfc3339(outcome.at.replace_nanosecond(0).unwrap_or(outcome.at))),
        detail: outcome.detail,
    }
}

fn of_placed(placed: &PlacedOrder) -> Line {
    let order = placed.id.map(|id| id.to_string()).unwrap_or_default();
    match &placed.order {
        Ok(placed) => Line {
            order,
            op: None,
            state: "placed",
            verb: placed.verb.as_str().to_owned(),
            target: placed.verb.target(),
            names: Vec::new(),
            who: placed.who.clone(),
            because: placed.because.clone(),
            at: None,
            detail: "the next tick carries it out".to_owned(),
        },
        Err(error) => {
            let line = Line::without_outcome("unknown", String::new());
            Line { order, state: "placed", detail: error.to_string(), ..line }
        }
    }
}

#[expect(clippy::print_stderr, reason = "not part of the result")]
async fn print(store: &StateStore, lines: &mut [Line], json: bool) -> Result<(), OperatorError> {
    for line in lines.iter_mut().rev().take(NAMED_MAX) {
        line.names = names_in(store, &line.target).await?;
    }
    if lines.is_empty() && !json {
        eprintln!("no orders");
    }
    let mut out = io::stdout().lock();
    for line in lines {
        match json {
            true => writeln!(out, "{}", json_line(&line.to_json()))?,
            false => writeln!(out, "{}", line.to_text())?,
        }
    }
    Ok(())
}

impl Line {
    /// Of an order whose row cannot be read.
    fn without_outcome(verb: &str, target: String) -> Self {
        Self {
            order: String::new(),
            op: None,
            state: "done",
            verb: verb.to_owned(),
            target,
            names: Vec::new(),
            who: String::new(),
            because: String::new(),
            at: None,
            detail: "its row cannot be read".to_owned(),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "order": self.order, "op": self.op, "state": self.state, "verb": self.verb, "target": self.target,
            "targetNames": self.names,
            "who": self.who, "because": self.because, "at": self.at, "detail": self.detail,
        })
    }

    fn to_text(&self) -> String {
        let Self { order, state, verb, .. } = self;
        let target = escape_control(&with_names(&self.target, &self.names));
        let [who, because, detail] =
            [&self.who, &self.because, &self.detail].map(|text| escape_control(text));
        let at = self.at.as_deref().unwrap_or("not yet");
        let space = if target.is_empty() { "" } else { " " };
        format!("{order}  {at}  {state:<7}  {verb}{space}{target}\n  {who}: {because}\n  {detail}")
    }
}
