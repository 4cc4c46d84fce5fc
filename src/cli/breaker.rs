//! `breaker`: what the breakers hold, person by person, and what becomes of it.

use crate::app::OperatorAccess;
use crate::audit::rfc3339;
use crate::cli::exit::EXIT_FINDINGS;
use crate::cli::json_line::json_line;
use crate::cli::operator::{OperatorArguments, OperatorError, run_command};
use crate::cli::order::{self, PlaceArguments};
use crate::error_chain::escape_control;
use crate::id::{OpId, PrincipalId};
use crate::orders::{self, OrderVerb};
use crate::store::StateStore;
use crate::store::StoreError;
use crate::store::batches::{BatchRow, BatchState, Batches, StoredBatch};
use crate::store::holds::{BatchPeople, HeldPerson};
use crate::store::users::HeaderState;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::ExitCode;
use time::OffsetDateTime;

/// People whose names are read at once.
const READS_AT_ONCE: usize = 16;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: ListArguments,
}

#[derive(Debug, clap::Args)]
struct ListArguments {
    /// Batches that were decided, too.
    #[arg(long)]
    all: bool,
    /// One line of JSON per batch.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: OperatorArguments,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the people of a batch, with what is held of each, and what caused it.
    Show(ShowArguments),
    /// Let what the batch holds happen.
    Release(DecideArguments),
    /// Let what the batch holds stay undone: people keep what they have, and do not get what they have not.
    Reject(DecideArguments),
}

#[derive(Debug, clap::Args)]
struct ShowArguments {
    /// The id of a batch, as `breaker` prints it.
    #[arg(value_name = "BATCH")]
    batch: String,
    /// One line of JSON per person.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: OperatorArguments,
}

#[derive(Debug, clap::Args)]
struct DecideArguments {
    /// The id of a batch, as `breaker` prints it.
    #[arg(value_name = "BATCH")]
    batch: String,
    /// The hash of its people, as `breaker show` prints it. If anyone joined or left since, the order is refused.
    #[arg(value_name = "HASH")]
    people: String,
    #[command(flatten)]
    place: PlaceArguments,
}

/// A batch and how many people it has.
struct ListedBatch {
    id: OpId,
    /// `None`: its row cannot be read.
    batch: Option<StoredBatch>,
    people: usize,
    /// People whose rows cannot be read, beside those.
    unreadable: usize,
    /// Names these people.
    hash: String,
}

/// A person of a batch, with the name that the state has.
struct NamedPerson {
    person: HeldPerson,
    user_name: Option<String>,
    /// The Entra objects whose assignments the batch holds: who gets or loses the role.
    principals: BTreeSet<PrincipalId>,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    match &arguments.command {
        None => run_command(list(&arguments.list)),
        Some(Command::Show(arguments)) => run_command(show(arguments)),
        Some(Command::Release(arguments)) => {
            decide(arguments, |batch, people| OrderVerb::ReleaseBatch { batch, people })
        }
        Some(Command::Reject(arguments)) => {
            decide(arguments, |batch, people| OrderVerb::RejectBatch { batch, people })
        }
    }
}

fn decide(arguments: &DecideArguments, verb: impl Fn(OpId, String) -> OrderVerb) -> ExitCode {
    order::place(&arguments.place, async |access| {
        let people = orders::parse_people_hash(&arguments.people).ok_or_else(|| {
            OperatorError::Usage("HASH has 16 hex digits, as `breaker show` prints it".to_owned())
        })?;
        Ok(vec![verb(known_batch(&access.store, &arguments.batch).await?.0, people)])
    })
}

async fn list(arguments: &ListArguments) -> Result<ExitCode, OperatorError> {
    let access = arguments.operator.whole_state().await?;
    let batches = listed(&access, arguments.all).await?;
    let is_held = batches.iter().any(ListedBatch::is_held);
    print_list(&batches, arguments)?;
    Ok(if is_held { ExitCode::from(EXIT_FINDINGS) } else { ExitCode::SUCCESS })
}

async fn listed(access: &OperatorAccess, all: bool) -> Result<Vec<ListedBatch>, OperatorError> {
    let batches: Batches = access.store.batches().await?;
    let mut listed = Vec::new();
    for (id, batch) in batches.rows() {
        if all || batch.is_none_or(|batch| batch.state == BatchState::Held) {
            let people = access.store.batch_people(id).await?;
            let listing = ListedBatch::new(id, batch.cloned(), &people);
            listed.extend((all || listing.is_held()).then_some(listing));
        }
    }
    Ok(listed)
}

/// The batch that a text means.
async fn known_batch(store: &StateStore, text: &str) -> Result<(OpId, Option<StoredBatch>), OperatorError> {
    let id = OpId::parse(text).map_err(|error| OperatorError::Usage(error.to_string()))?;
    match store.batch_row(id).await? {
        BatchRow::Known(batch) => Ok((id, Some(batch))),
        BatchRow::Unreadable => Ok((id, None)),
        BatchRow::Absent => {
            Err(OperatorError::Usage(format!("there is no batch {id}; `breaker` lists them")))
        }
    }
}

async fn show(arguments: &ShowArguments) -> Result<ExitCode, OperatorError> {
    let access = arguments.operator.whole_state().await?;
    let (id, batch) = known_batch(&access.store, &arguments.batch).await?;
    let people = access.store.batch_people(id).await?;
    let batch = ListedBatch::new(id, batch, &people);
    let named = stream::iter(people.people).map(|person| with_name(&access.store, id, person));
    let people: Vec<NamedPerson> = named.buffered(READS_AT_ONCE).try_collect().await?;
    print_people(&batch, &people, arguments)?;
    Ok(if batch.is_held() { ExitCode::from(EXIT_FINDINGS) } else { ExitCode::SUCCESS })
}

async fn with_name(store: &StateStore, batch: OpId, person: HeldPerson) -> Result<NamedPerson, StoreError> {
    let user_name = match store.person(person.user).await? {
        HeaderState::Readable(header) => header.resource.text("userName").map(str::to_owned),
        HeaderState::Gone | HeaderState::Unreadable => None,
    };
    let ledger = store.ledger(person.user).await?;
    let held = ledger.entries.iter().map(|stored| &stored.entry).filter(|entry| entry.hold == Some(batch));
    let principals = held.map(|entry| entry.principal).collect();
    Ok(NamedPerson { person, user_name, principals })
}

#[expect(clippy::print_stderr, reason = "not part of the result")]
fn print_list(batches: &[ListedBatch], arguments: &ListArguments) -> Result<(), OperatorError> {
    let ListArguments { json, operator, .. } = arguments;
    let json = *json;
    if batches.is_empty() && !json {
        eprintln!("the breakers hold nothing");
    }
    let mut out = io::stdout().lock();
    for batch in batches {
        match json {
            true => writeln!(out, "{}", json_line(&batch.to_json()))?,
            false => writeln!(out, "{}", batch.to_text())?,
        }
    }
    let mut held = batches.iter().filter(|batch| batch.is_held() && !json);
    if let Some(first) = held.next() {
        let batch = held.next().map_or_else(|| first.id.to_string(), |_| "BATCH".to_owned());
        writeln!(out, "{}", operator.command_line(&format!("breaker show {batch}")))?;
    }
    Ok(())
}

/// A time as people read it.
fn to_second(at: OffsetDateTime) -> String {
    rfc3339(at.replace_nanosecond(0).unwrap_or(at))
}

/// The people, and then the lines that decide about exactly them.
fn print_people(
    batch: &ListedBatch,
    people: &[NamedPerson],
    arguments: &ShowArguments,
) -> Result<(), OperatorError> {
    let mut out = io::stdout().lock();
    if arguments.json {
        for person in people {
            writeln!(out, "{}", json_line(&person.to_json(&batch.hash)))?;
        }
        return Ok(());
    }
    writeln!(out, "{}", batch.to_text())?;
    for person in people {
        writeln!(out, "{}", person.to_text())?;
    }
    if batch.unreadable > 0 {
        writeln!(out, "{} more people: their rows cannot be read", batch.unreadable)?;
    }
    for verb in batch.decisions() {
        let decide = format!("breaker {verb} {} {} --because TEXT", batch.id, batch.hash);
        writeln!(out, "{}", arguments.operator.command_line(&decide))?;
    }
    Ok(())
}

impl ListedBatch {
    fn new(id: OpId, batch: Option<StoredBatch>, people: &BatchPeople) -> Self {
        let BatchPeople { people, unreadable, hash } = people;
        Self { id, batch, people: people.len(), unreadable: *unreadable, hash: hash.clone() }
    }

    /// The decisions that an operator can still make.
    fn decisions(&self) -> &'static [&'static str] {
        match self.batch.as_ref().map(|batch| batch.state) {
            Some(BatchState::Held) => &["release", "reject"],
            Some(BatchState::Rejected) => &["release"],
            Some(BatchState::Released) | None => &[],
        }
    }

    fn state(&self) -> BatchState {
        self.batch.as_ref().map_or(BatchState::Held, |batch| batch.state)
    }

    /// Whether it keeps anything back: the people of one that waits may all have left since.
    fn is_held(&self) -> bool {
        self.state() == BatchState::Held && (self.people > 0 || self.unreadable > 0 || self.batch.is_none())
    }

    fn bindings(&self) -> Vec<&str> {
        let bindings = self.batch.iter().flat_map(|batch| &batch.bindings);
        bindings.map(crate::rbac::BindingName::as_str).collect()
    }

    fn to_json(&self) -> Value {
        let batch = self.batch.as_ref();
        let decision = batch.and_then(|batch| batch.decision.as_ref());
        json!({
            "batch": self.id.to_string(), "state": self.state().as_str(), "people": self.people,
            "unreadable": self.unreadable, "hash": self.hash,
            "holds": batch.map(|batch| batch.kind.as_str()), "opened": batch.map(|batch| rfc3339(batch.opened)),
            "bindings": self.bindings(), "order": decision.map(|decision| decision.order.to_string()),
            "decided": decision.map(|decision| rfc3339(decision.at)),
        })
    }

    fn to_text(&self) -> String {
        let Self { id, people, unreadable, .. } = self;
        let people = people + unreadable;
        let state = self.state().as_str();
        let Some(batch) = &self.batch else {
            return format!("{id}  {state}  its row cannot be read  {people} people");
        };
        let opened = to_second(batch.opened);
        let bindings = self.bindings().join(", ");
        let first =
            format!("{id}  {state}  {people} people  {} of {bindings}  since {opened}", batch.kind.as_str());
        match &batch.decision {
            Some(decision) => format!("{first}\n  by order {} at {}", decision.order, to_second(decision.at)),
            None => first,
        }
    }
}

impl NamedPerson {
    fn to_json(&self, hash: &str) -> Value {
        let HeldPerson { user, steps, cause } = &self.person;
        let steps: Vec<Value> = steps
            .iter()
            .map(|step| {
                let bindings: Vec<&str> =
                    step.bindings.iter().map(crate::rbac::BindingName::as_str).collect();
                json!({ "bindings": bindings, "role": step.role.name(), "scope": step.scope.as_str() })
            })
            .collect();
        json!({
            "person": user.to_string(), "userName": self.user_name, "steps": steps,
            "principals": self.principals.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "since": cause.as_ref().map(|cause| rfc3339(cause.since)),
            "op": cause.as_ref().map(|cause| cause.op.to_string()),
            "actor": cause.as_ref().map(|cause| cause.actor.as_str()), "hash": hash,
        })
    }

    fn to_text(&self) -> String {
        let HeldPerson { user, steps, cause } = &self.person;
        let name = self.user_name.as_deref().map_or_else(|| "(deleted)".to_owned(), escape_control);
        let mut text = format!("{user}  {name}");
        for principal in &self.principals {
            text.push_str(&format!("\n  object id {principal}"));
        }
        for step in steps {
            let bindings: Vec<&str> = step.bindings.iter().map(crate::rbac::BindingName::as_str).collect();
            let scope = escape_control(step.scope.short_name());
            text.push_str(&format!("\n  {} at {scope} by {}", step.role.name(), bindings.join(", ")));
        }
        if let Some(cause) = cause {
            let (since, actor, op) = (to_second(cause.since), escape_control(&cause.actor), cause.op);
            text.push_str(&format!("\n  since {since}, by {actor}, operation {op}"));
        }
        text
    }
}
