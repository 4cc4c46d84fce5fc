//! `drill`: a synthetic leaver comes and goes, by order or from outside; and how the drills of the past went.

mod arguments;
mod outside;
mod removal;
mod reply;
mod words;

pub use arguments::Arguments;

use crate::app::OperatorAccess;
use crate::cli::exit::EXIT_FINDINGS;
use crate::cli::json_line::json_line;
use crate::cli::operator::{OperatorError, run_command};
use crate::cli::order::{self, PlaceArguments};
use crate::cli::progress::Progress;
use crate::id::OpId;
use crate::orders::OrderVerb;
use crate::service::drill::days::DrillDays;
use crate::store::drills::DrillResult;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

/// How long the command waits for the result: a drill is red after twice the time in which a revocation is overdue, by default
/// after half an hour, and the tick that says so may be late.
const WAIT: Duration = Duration::from_secs(45 * 60);
/// How often it asks.
const ASK_EVERY: Duration = Duration::from_secs(1);

pub fn run(arguments: &Arguments) -> ExitCode {
    if arguments.scim.is_some() {
        return run_command(outside::run(arguments));
    }
    run_command(async {
        let access = arguments.operator.access()?;
        match arguments.history {
            Some(last) => history(&access, last, arguments.json).await,
            None => by_order(&access, arguments).await,
        }
    })
}

/// The past drills, and a line about the days. Exit code 1 where the last drill was red.
async fn history(access: &OperatorAccess, last: usize, json: bool) -> Result<ExitCode, OperatorError> {
    let now = access.store.table_time().await?;
    let results = access.store.drill_results().await?;
    let days = DrillDays::of(&results, now);
    let mut out = io::stdout().lock();
    for result in results.iter().skip(results.len().saturating_sub(last)) {
        print(&mut out, result, json)?;
    }
    match json {
        true => writeln!(out, "{}", json_line(&days.to_json()))?,
        false => writeln!(out, "{}", days.sentence())?,
    }
    Ok(exit_code(results.last().is_none_or(DrillResult::is_green)))
}

async fn by_order(access: &OperatorAccess, arguments: &Arguments) -> Result<ExitCode, OperatorError> {
    let place = PlaceArguments::of(
        arguments.because.clone().unwrap_or_default(),
        arguments.who.clone(),
        arguments.no_wait,
        arguments.json,
        arguments.operator.clone(),
    );
    let Some(outcome) = order::place_one(access, &place, OrderVerb::Drill).await? else {
        return Ok(exit_code(arguments.no_wait));
    };
    if outcome.is_refused {
        return Ok(exit_code(false));
    }
    let Some(result) = wait_for(access, outcome.op).await? else {
        let line = format!("drill {} is not over: see `drill --history` and the health check", outcome.op);
        writeln!(io::stdout().lock(), "{line}")?;
        return Ok(exit_code(false));
    };
    print(&mut io::stdout().lock(), &result, arguments.json)?;
    Ok(exit_code(result.is_green()))
}

/// The result; `None` where it did not come in time.
async fn wait_for(access: &OperatorAccess, drill: OpId) -> Result<Option<DrillResult>, OperatorError> {
    let clock = &access.store.clock;
    let began = clock.monotonic();
    let progress = Progress::begin("seconds of the drill", 1);
    let result = loop {
        if let Some(result) = access.store.drill_result(drill).await? {
            break Some(result);
        }
        let passed = clock.monotonic().saturating_sub(began);
        if passed >= WAIT {
            break None;
        }
        progress.show(usize::try_from(passed.as_secs()).unwrap_or_default());
        tokio::time::sleep(ASK_EVERY).await;
    };
    progress.end();
    Ok(result)
}

fn print(out: &mut impl Write, result: &DrillResult, json: bool) -> io::Result<()> {
    match json {
        true => writeln!(out, "{}", json_line(&words::to_json(result))),
        false => writeln!(out, "{}", words::to_text(result)),
    }
}

fn exit_code(is_fine: bool) -> ExitCode {
    if is_fine { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FINDINGS) }
}
