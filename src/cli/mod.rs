//! The command line: one file per subcommand.

mod audit;
mod breaker;
mod config;
mod counted;
mod doctor;
mod drill;
mod exit;
mod explain;
mod groups;
mod json_line;
mod known_names;
#[cfg(feature = "local")]
mod local;
mod moment;
mod operator;
mod order;
mod orders;
mod parity;
mod past;
mod plan;
mod progress;
mod recover;
mod report;
mod requests;
mod serve;
mod short_scope;
mod state;
mod suggest;
mod token;

use crate::app::SystemClock;
use crate::cli::exit::{EXIT_USAGE, complain};
use crate::telemetry::{self, LogOutput};
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use std::sync::Arc;

/// SCIM 2.0 service provider that turns group membership into Azure Backup role assignments.
///
/// Exit codes: 0 fine, 1 findings or drift, 2 usage or configuration, 3 a dependency failed.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Which log lines are written: a tracing filter such as `info` or `azure_backup_scim=debug`. They go to standard error;
    /// those of `serve` go where the Functions host expects them, information to standard output.
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve SCIM: what the Functions host starts. Takes its settings from the environment.
    Serve(serve::Arguments),
    /// Run everything on this machine: an embedded store and a simulated Azure.
    #[cfg(feature = "local")]
    Local(local::Arguments),
    /// List audit records: who was given what, when and why, and by whom.
    Audit(audit::Arguments),
    /// Say of a person why they have, or have not, the role of each binding, and what would change it.
    Explain(explain::Arguments),
    /// List the groups that arrived from the identity provider, and the bindings that mean them.
    Groups(groups::Arguments),
    /// List what the identity provider asked, what was left out of it and why, and what came of it in Azure.
    ///
    /// For the admin of the identity provider. Applied requests come out of the audit. Refused ones are in the table of the request
    /// log for 30 days; those without a valid token, and reads, are only counted.
    Requests(requests::Arguments),
    /// Say whether this installation is in order, and what the service can do at most.
    ///
    /// Checks the service's right in Azure beside the bindings, management locks, role assignments per subscription, whether the
    /// people have object ids and the bindings groups, whether the tables, Azure and Microsoft Graph answer, the clock, the bearer
    /// tokens (where KEY_VAULT_URL is set), and what is overdue or held. Not seen: rights that the service has through an Entra
    /// group, and those that are only eligible.
    Doctor(doctor::Arguments),
    /// List who can restore, delete data, change policies, detach the guard or give access, and why: now or at a past moment.
    Report(report::Arguments),
    /// Compare the identity provider's list with what arrived here, and that with what Azure holds.
    Parity(parity::Arguments),
    /// Show what the service would do: now, or with a file of bindings that is not active yet.
    Plan(plan::Arguments),
    /// Write the whole state into a file, check such a file, or restore it into an empty table.
    State(state::Arguments),
    /// Make, list and revoke the bearer tokens of the identity providers, in the vault.
    Token(token::Arguments),
    /// Let a synthetic leaver be granted a role, revoked and removed, and say whether Azure followed, and how fast.
    ///
    /// By an order, which the next tick carries out; or from outside, over SCIM. Or list the drills of the past.
    Drill(drill::Arguments),
    /// List what operators ordered, and what became of it.
    Orders(orders::Arguments),
    /// List what the breakers hold, show a batch, release or reject it.
    Breaker(breaker::Arguments),
    /// Stop grants, and what memberships, groups and bindings take away. People who leave still lose their roles.
    Pause(order::PauseArguments),
    /// End a pause.
    Resume(order::PauseArguments),
    /// Take every role of a person now, whatever the bindings say, until `lift`.
    Revoke(order::PersonArguments),
    /// Let a person who was revoked have roles again.
    Lift(order::PersonArguments),
    /// Reconcile a person, or everyone whose steps wait at a scope, without the pauses of earlier failures.
    Retry(order::RetryArguments),
    /// Let a binding mean another group that carries its value.
    Repin(order::RepinArguments),
    /// Accept the Entra object id that a user has now.
    AcceptIdentity(order::PersonArguments),
    /// Close what the ledger has at a scope that Azure says is gone.
    Forget(order::ScopeArguments),
    /// Erase the names and addresses of a deleted user. The audit keeps the SCIM id.
    Erase(order::PersonArguments),
    /// Show what Azure holds of this installation and the state lost, let it come back, or begin anew after a loss.
    ///
    /// Without a hash it only reads, with the operator's own right to read role assignments.
    Recover(recover::Arguments),
    /// Let the plan with this hash happen.
    Apply(order::ApplyArguments),
    /// Check or stamp bindings.json, or print its JSON Schema.
    Config(config::Arguments),
}

/// Reads the arguments and runs one command.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are printed and are no mistake.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    let (output, level) = match arguments.command {
        Command::Serve(_) => (LogOutput::Split, "info"),
        _ => (LogOutput::Stderr, "warn"),
    };
    let filter = arguments.log.as_deref().unwrap_or(level);
    if let Err(error) = telemetry::install(filter, output, Arc::new(SystemClock::new())) {
        complain(&error);
        return ExitCode::from(EXIT_USAGE);
    }
    match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        #[cfg(feature = "local")]
        Command::Local(arguments) => local::run(arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Groups(arguments) => groups::run(&arguments),
        Command::Requests(arguments) => requests::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Parity(arguments) => parity::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::State(arguments) => state::run(&arguments),
        Command::Token(arguments) => token::run(&arguments),
        Command::Drill(arguments) => drill::run(&arguments),
        Command::Orders(arguments) => orders::run(&arguments),
        Command::Breaker(arguments) => breaker::run(&arguments),
        Command::Pause(arguments) => order::pause(&arguments),
        Command::Resume(arguments) => order::resume(&arguments),
        Command::Revoke(arguments) => order::revoke(&arguments),
        Command::Lift(arguments) => order::lift(&arguments),
        Command::Retry(arguments) => order::retry(&arguments),
        Command::Repin(arguments) => order::repin(&arguments),
        Command::AcceptIdentity(arguments) => order::accept_identity(&arguments),
        Command::Forget(arguments) => order::forget(&arguments),
        Command::Erase(arguments) => order::erase(&arguments),
        Command::Recover(arguments) => recover::run(&arguments),
        Command::Apply(arguments) => order::apply(&arguments),
        Command::Config(arguments) => config::run(&arguments),
    }
}
