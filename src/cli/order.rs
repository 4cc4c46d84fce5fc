//! The commands that place an order. The next tick of the service carries it out, and the command waits for the outcome.

use crate::app::OperatorAccess;
use crate::cli::exit::EXIT_FINDINGS;
use crate::cli::json_line::json_line;
use crate::cli::operator::{OperatorArguments, OperatorError, one_person, one_person_ever, run_command};
use crate::config;
use crate::error_chain::escape_control;
use crate::id::{GroupId, PrincipalId, UserId};
use crate::orders::{self, Order, OrderVerb};
use crate::rbac::{BindingName, Scope};
use crate::service::access::names::{names_in, with_names};
use crate::service::access::people::FoundPerson;
use crate::store::orders::OrderOutcome;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

/// How long a command waits for the outcome: a tick a minute, and one that is cut off.
const WAIT: Duration = Duration::from_secs(180);
/// How often it asks.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What every order says.
#[derive(Debug, clap::Args)]
pub(super) struct PlaceArguments {
    /// Why. It is kept in the audit.
    #[arg(long, value_name = "TEXT")]
    pub(super) because: String,
    /// Who orders. [default: the name of the login on this machine]
    #[arg(long, value_name = "NAME")]
    pub(super) who: Option<String>,
    /// Do not wait until the order is carried out.
    #[arg(long)]
    pub(super) no_wait: bool,
    /// One line of JSON per order.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) operator: OperatorArguments,
}

#[derive(Debug, clap::Args)]
pub struct PauseArguments {
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, clap::Args)]
pub struct PersonArguments {
    /// A userName, a mail address, an Entra object id or a SCIM id.
    #[arg(value_name = "PERSON")]
    person: String,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, clap::Args)]
pub struct RetryArguments {
    /// A person, as a userName, a mail address, an Entra object id or a SCIM id; or a scope.
    #[arg(value_name = "PERSON|SCOPE")]
    target: String,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, clap::Args)]
pub struct ScopeArguments {
    /// A vault, resource group or subscription, as Azure prints its id.
    #[arg(value_name = "SCOPE")]
    scope: String,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, clap::Args)]
pub struct RepinArguments {
    /// The name of a binding.
    #[arg(value_name = "BINDING")]
    binding: String,
    /// The SCIM id of a group that carries the value of the binding.
    #[arg(value_name = "GROUP")]
    group: String,
    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, clap::Args)]
pub struct ApplyArguments {
    /// The hash that `plan --pending` prints.
    #[arg(value_name = "HASH")]
    hash: String,
    #[command(flatten)]
    place: PlaceArguments,
}

pub fn pause(arguments: &PauseArguments) -> ExitCode {
    place(&arguments.place, async |_| Ok(vec![OrderVerb::Pause]))
}

pub fn resume(arguments: &PauseArguments) -> ExitCode {
    place(&arguments.place, async |_| Ok(vec![OrderVerb::Resume]))
}

pub fn revoke(arguments: &PersonArguments) -> ExitCode {
    place(&arguments.place, async |access| {
        let (person, principals) = principals_of(access, &arguments.person).await?;
        let verbs = principals.into_iter().map(|principal| OrderVerb::Revoke { principal }).collect();
        and_named_user(access, &person, verbs).await
    })
}

/// The service finds whoever holds an object id or has it as `externalId`. A user who names it otherwise is reconciled by an order of their own.
async fn and_named_user(
    access: &OperatorAccess,
    person: &FoundPerson,
    mut verbs: Vec<OrderVerb>,
) -> Result<Vec<OrderVerb>, OperatorError> {
    if let (Some(user), Some(principal)) = (person.user, person.present)
        && !access.store.users_of(principal).await?.contains(&user)
    {
        verbs.push(OrderVerb::RetryPerson { user });
    }
    Ok(verbs)
}

pub fn lift(arguments: &PersonArguments) -> ExitCode {
    place(&arguments.place, async |access| {
        let (person, principals) = principals_of(access, &arguments.person).await?;
        let braked = access.store.levers().await?.brakes;
        let verbs: Vec<OrderVerb> = principals
            .into_iter()
            .filter(|principal| braked.contains_key(principal))
            .map(|principal| OrderVerb::Lift { principal })
            .collect();
        if verbs.is_empty() {
            return Err(OperatorError::Usage("no object id of this person is braked".to_owned()));
        }
        and_named_user(access, &person, verbs).await
    })
}

pub fn accept_identity(arguments: &PersonArguments) -> ExitCode {
    place(&arguments.place, async |access| {
        let (user, person) = user_of(access, &arguments.person).await?;
        let Some(principal) = person.present else {
            return Err(OperatorError::Usage("the user has no Entra object id now".to_owned()));
        };
        Ok(vec![OrderVerb::AcceptIdentity { user, principal }])
    })
}

pub fn retry(arguments: &RetryArguments) -> ExitCode {
    place(&arguments.place, async |access| {
        if let Ok(scope) = Scope::parse(&arguments.target) {
            return Ok(vec![OrderVerb::RetryScope { scope }]);
        }
        let (user, _) = user_of(access, &arguments.target).await?;
        Ok(vec![OrderVerb::RetryPerson { user }])
    })
}

pub fn erase(arguments: &PersonArguments) -> ExitCode {
    place(&arguments.place, async |access| {
        let person = one_person_ever(&access.store, &arguments.person).await?;
        let user =
            person.user.ok_or_else(|| OperatorError::Usage("no user has this object id".to_owned()))?;
        Ok(vec![OrderVerb::Erase { user }])
    })
}

pub fn forget(arguments: &ScopeArguments) -> ExitCode {
    place(&arguments.place, async |_| {
        let scope =
            Scope::parse(&arguments.scope).map_err(|error| OperatorError::Usage(error.to_string()))?;
        Ok(vec![OrderVerb::Forget { scope }])
    })
}

pub fn repin(arguments: &RepinArguments) -> ExitCode {
    place(&arguments.place, async |_| {
        let group =
            GroupId::parse(&arguments.group).map_err(|error| OperatorError::Usage(error.to_string()))?;
        let binding = BindingName::parse(&arguments.binding)
            .ok_or_else(|| OperatorError::Usage("BINDING is not the name of a binding".to_owned()))?;
        Ok(vec![OrderVerb::Repin { binding, group }])
    })
}

pub fn apply(arguments: &ApplyArguments) -> ExitCode {
    place(&arguments.place, async |_| {
        let hash = orders::parse_hash(&arguments.hash)
            .ok_or_else(|| OperatorError::Usage("HASH has 64 hex digits, as `plan` prints it".to_owned()))?;
        Ok(vec![OrderVerb::Apply { hash }])
    })
}

/// The object ids that an operator means: the one that is named, or every one of the person.
async fn principals_of(
    access: &OperatorAccess,
    text: &str,
) -> Result<(FoundPerson, Vec<PrincipalId>), OperatorError> {
    let person = one_person(&access.store, text).await?;
    if let Some(named) = PrincipalId::parse(text).ok().filter(|named| person.principals.contains(named)) {
        return Ok((person, vec![named]));
    }
    if person.principals.is_empty() {
        return Err(OperatorError::Usage(match person.present {
            Some(principal) => {
                format!("another user holds the object id of this one: name the object id, {principal}")
            }
            None => "the person has no Entra object id, so Azure can hold nothing for them".to_owned(),
        }));
    }
    let principals = person.principals.iter().copied().collect();
    Ok((person, principals))
}

async fn user_of(access: &OperatorAccess, text: &str) -> Result<(UserId, FoundPerson), OperatorError> {
    let person = one_person(&access.store, text).await?;
    match person.user {
        Some(user) => Ok((user, person)),
        None => Err(OperatorError::Usage("no user has this object id".to_owned())),
    }
}

/// Places the orders that `verbs` finds, and waits for their outcomes. Exit code 1 where one was refused or is still open.
pub(super) fn place(
    arguments: &PlaceArguments,
    verbs: impl AsyncFnOnce(&OperatorAccess) -> Result<Vec<OrderVerb>, OperatorError>,
) -> ExitCode {
    run_command(async {
        let access = arguments.operator.access()?;
        let mut placed = Vec::new();
        for verb in verbs(&access).await? {
            let order = ordered(&access, arguments, verb)?;
            access.orders.place(&order).await.map_err(OperatorError::Place)?;
            placed.push(order);
        }
        let mut is_fine = true;
        for order in &placed {
            let outcome = match arguments.no_wait {
                true => None,
                false => wait_for(&access, order).await?,
            };
            is_fine &= arguments.no_wait || outcome.as_ref().is_some_and(|outcome| !outcome.is_refused);
            // The order is placed: without names it is shown by its ids.
            let names = names_in(&access.store, &order.verb.target()).await.unwrap_or_default();
            print(order, &names, outcome.as_ref(), arguments)?;
        }
        Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FINDINGS) })
    })
}

impl PlaceArguments {
    pub(super) fn of(
        because: String,
        who: Option<String>,
        no_wait: bool,
        json: bool,
        operator: OperatorArguments,
    ) -> Self {
        Self { because, who, no_wait, json, operator }
    }
}

/// Places one order and waits for its outcome, which is printed where it is not carried out; `None` where it is not known.
pub(super) async fn place_one(
    access: &OperatorAccess,
    arguments: &PlaceArguments,
    verb: OrderVerb,
) -> Result<Option<OrderOutcome>, OperatorError> {
    let order = ordered(access, arguments, verb)?;
    access.orders.place(&order).await.map_err(OperatorError::Place)?;
    let outcome = if arguments.no_wait { None } else { wait_for(access, &order).await? };
    if outcome.as_ref().is_none_or(|outcome| outcome.is_refused) {
        print(&order, &[], outcome.as_ref(), arguments)?;
    }
    Ok(outcome)
}

fn ordered(
    access: &OperatorAccess,
    arguments: &PlaceArguments,
    verb: OrderVerb,
) -> Result<Order, OperatorError> {
    let who = arguments.who.clone().or_else(config::login_name).unwrap_or_default();
    Order::new(access.store.ids.op(), &who, &arguments.because, verb)
        .map_err(|error| OperatorError::Usage(error.to_string()))
}

/// The outcome of an order; `None` where no tick carried it out in time.
async fn wait_for(access: &OperatorAccess, order: &Order) -> Result<Option<OrderOutcome>, OperatorError> {
    let clock = &access.store.clock;
    let until = clock.monotonic() + WAIT;
    loop {
        if let Some(outcome) = access.store.order_outcome(order.id).await? {
            return Ok(Some(outcome));
        }
        if clock.monotonic() >= until {
            return Ok(None);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn print(
    order: &Order,
    names: &[String],
    outcome: Option<&OrderOutcome>,
    arguments: &PlaceArguments,
) -> Result<(), OperatorError> {
    let mut out = io::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", json_line(&to_json(order, outcome)))?;
        return Ok(());
    }
    let target = escape_control(&with_names(&order.verb.target(), names));
    let space = if target.is_empty() { "" } else { " " };
    let verb = order.verb.as_str();
    let state = match outcome {
        None => "placed; the next tick carries it out".to_owned(),
        Some(outcome) if outcome.is_refused => format!("refused: {}", escape_control(&outcome.detail)),
        Some(outcome) => format!("done: {}", escape_control(&outcome.detail)),
    };
    writeln!(out, "order {}  {verb}{space}{target}\n  {state}", order.id)?;
    if let Some((what, words)) = next_words(order, outcome) {
        writeln!(out, "  {what}:\n\n  {}", arguments.operator.command_line(words))?;
    }
    Ok(())
}

/// What an operator may type next, and what it is for.
fn next_words(order: &Order, outcome: Option<&OrderOutcome>) -> Option<(&'static str, &'static str)> {
    match outcome {
        None => Some(("to see what became of it", "orders")),
        Some(outcome) if names_another_plan(order, outcome) => {
            let words =
                if matches!(order.verb, OrderVerb::Apply { .. }) { "plan --pending" } else { "recover" };
            Some(("to see the plan as it is now", words))
        }
        Some(_) => None,
    }
}

/// Whether an order to apply or to recover was refused because the plan moved: the hash of now is said.
fn names_another_plan(order: &Order, outcome: &OrderOutcome) -> bool {
    let is_hash =
        |word: &str| orders::parse_hash(word.trim_matches(|c: char| !c.is_ascii_hexdigit())).is_some();
    let is_of_plan = matches!(order.verb, OrderVerb::Apply { .. } | OrderVerb::Recover { .. });
    is_of_plan && outcome.is_refused && outcome.detail.split_whitespace().any(is_hash)
}

fn to_json(order: &Order, outcome: Option<&OrderOutcome>) -> Value {
    let state = match outcome {
        None => "placed",
        Some(outcome) if outcome.is_refused => "refused",
        Some(_) => "done",
    };
    json!({
        "order": order.id.to_string(), "verb": order.verb.as_str(), "target": order.verb.target(),
        "state": state, "detail": outcome.map(|outcome| outcome.detail.as_str()),
    })
}
