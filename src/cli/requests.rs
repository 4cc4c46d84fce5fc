//! `requests`: what the identity provider asked, what was left out of it and why, and what came of it in Azure. Reads with the
//! operator's own rights, and changes nothing.

mod words;

use crate::audit::rfc3339;
use crate::cli::explain::answers::{answer_json, is_strange};
use crate::cli::known_names::KnownNames;
use crate::cli::moment::parse_time;
use crate::cli::operator::{OperatorArguments, OperatorError, active_bindings, run_command};
use crate::cli::progress::Progress;
use crate::error_chain::escape_control;
use crate::id::{GroupId, RequestId, UserId};
use crate::scim::IndexLookup;
use crate::service::access::explain::{self, ExplainedBindings, Explanation};
use crate::service::access::groups::{ArrivedGroup, overview};
use crate::service::access::people;
use crate::service::bindings::active::ActiveSnapshot;
use crate::service::request_log::history::{
    self, AppliedRequest, LoggedRequest, RequestFilter, RequestHistory,
};
use crate::store::StateStore;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use time::Duration;

/// Records per read of the audit.
const PAGE_RECORDS: usize = 1000;
/// People whose present state is explained: those of the newest requests.
const EXPLAINED_MAX: usize = 50;
/// From the id of one request on, how long its records are looked for: its job may take that long.
const REQUEST_SPAN: Duration = Duration::hours(2);

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only requests about this person: a userName or its part before the @, a mail address, Entra object id or SCIM id. The
    /// person need not exist: a request to create them may have been refused.
    #[arg(long, value_name = "PERSON")]
    user: Option<String>,
    /// Only requests about this group: a displayName or SCIM id. It need not exist either.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Only this request: the X-Request-Id of an answer, which is in the detail of every error too.
    #[arg(long, value_name = "ID", conflicts_with_all = ["since", "until"])]
    id: Option<String>,
    /// Only requests with the token of this label.
    #[arg(long, value_name = "LABEL")]
    token: Option<String>,
    /// Only requests that were refused, or of which something was left out.
    #[arg(long)]
    refused: bool,
    /// Start: 2026-11-25, 2026-11-25T12:00:00Z, or back from now as 90m, 24h, 7d.
    #[arg(long, value_name = "TIME", default_value = "24h")]
    since: String,
    /// End, in the same forms. [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// One line of JSON per request, and per number of those that were only counted.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: OperatorArguments,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    run_command(async {
        let access = arguments.operator.access()?;
        let store = &access.store;
        let filter = filter(arguments, store).await?;
        let progress = Progress::begin("reading audit records", PAGE_RECORDS);
        let history = history::read(store, &access.requests, &filter, |number| progress.show(number)).await?;
        progress.end();
        let snapshot = active_bindings(store).read(&store.pointer().await?).await?;
        let present = PresentAccess::of(store, &snapshot, &history, &filter).await?;
        let mut out = io::stdout().lock();
        match arguments.json {
            true => write_json(&mut out, &history, &present)?,
            false => write_text(&mut out, store, &history, &present).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn filter(arguments: &Arguments, store: &StateStore) -> Result<RequestFilter, OperatorError> {
    let now = store.table_time().await?;
    let time = |argument: &str, text: &str| {
        parse_time(text, now).ok_or_else(|| {
            let shown = escape_control(text);
            let examples = "examples: 2026-11-25, 2026-11-25T12:00:00Z, 24h";
            OperatorError::Usage(format!("--{argument} {shown:?} is not a time; {examples}"))
        })
    };
    let mut filter = RequestFilter {
        since: Some(time("since", &arguments.since)?),
        until: arguments.until.as_deref().map(|text| time("until", text)).transpose()?,
        token: arguments.token.clone(),
        only_refused: arguments.refused,
        ..RequestFilter::default()
    };
    if let Some(text) = &arguments.id {
        let begun = RequestId::parse(text).ok().and_then(|id| Some((id, id.time()?)));
        let (id, begun) = begun.ok_or_else(|| {
            let shown = escape_control(text);
            OperatorError::Usage(format!("--id {shown:?} is no X-Request-Id of this service"))
        })?;
        filter.request = Some(id.to_string());
        filter.since = Some(begun - Duration::minutes(1));
        filter.until = Some(begun + REQUEST_SPAN);
    }
    if let Some(text) = &arguments.user {
        filter.person = person_names(store, text).await?;
    }
    if let Some(text) = &arguments.group {
        let found = store.find_first::<GroupId>(&IndexLookup::DisplayName(text.clone()), 1).await?;
        filter.group = found.iter().map(ToString::to_string).chain([text.clone()]).collect();
    }
    Ok(filter)
}

/// The ids of the person, and what refused requests may call them. The part of a userName before the @ is enough where one
/// person has it.
async fn person_names(store: &StateStore, text: &str) -> Result<Vec<String>, OperatorError> {
    let snapshot = active_bindings(store).read(&store.pointer().await?).await?;
    let sources = snapshot.principal_from();
    let mut found = people::find_people_ever(store, sources, text).await?;
    if found.iter().all(|person| person.user.is_none()) && !text.contains('@') {
        let alike = store.users_named_like(text).await?;
        let is_it = |name: &str| name.split('@').next().is_some_and(|first| first.eq_ignore_ascii_case(text));
        let mut called = alike.told.iter().filter(|(_, name)| is_it(name));
        if let (Some((user, _)), None) = (called.next(), called.next()) {
            found = people::find_people_ever(store, sources, &user.to_string()).await?;
        }
    }
    let mut names = vec![text.to_owned()];
    for person in found {
        names.extend(person.user.iter().map(ToString::to_string));
        names.extend(person.principals.iter().map(ToString::to_string));
        names.extend(person.user_name);
    }
    Ok(names)
}

/// What the people of the newest requests have now, and whether their groups give anything: printed with the last request
/// about each.
struct PresentAccess {
    explained: BTreeMap<UserId, Explanation>,
    groups: BTreeMap<GroupId, ArrivedGroup>,
    /// The place of the last request about a person.
    last: BTreeMap<UserId, usize>,
    /// The place of the last request about a group.
    last_of_group: BTreeMap<GroupId, usize>,
}

impl PresentAccess {
    async fn of(
        store: &StateStore,
        snapshot: &ActiveSnapshot,
        history: &RequestHistory,
        filter: &RequestFilter,
    ) -> Result<Self, OperatorError> {
        let groups = overview(store, snapshot).await?.groups.into_iter().map(|group| (group.id, group));
        let mut present = Self {
            explained: BTreeMap::new(),
            groups: groups.collect(),
            last: BTreeMap::new(),
            last_of_group: BTreeMap::new(),
        };
        for (place, request) in history.requests.iter().enumerate().rev() {
            let LoggedRequest::Applied(applied) = request else { continue };
            let subjects = applied.subjects();
            for group in subjects.iter().filter_map(|id| GroupId::parse(id).ok()) {
                present.last_of_group.entry(group).or_insert(place);
            }
            let people = subjects.iter().filter_map(|id| UserId::parse(id).ok());
            let is_meant =
                |user: &UserId| filter.person.is_empty() || filter.person.contains(&user.to_string());
            for user in people.filter(is_meant) {
                if present.last.len() >= EXPLAINED_MAX || present.last.contains_key(&user) {
                    continue;
                }
                // The id may be a group's.
                if let Some(explanation) = explain::explain(store, snapshot.clone(), user).await? {
                    present.last.insert(user, place);
                    present.explained.insert(user, explanation);
                }
            }
        }
        Ok(present)
    }

    /// Those whose last request it is.
    fn at(&self, place: usize) -> impl Iterator<Item = &Explanation> {
        let of_it = self.last.iter().filter(move |(_, last)| **last == place);
        of_it.filter_map(|(user, _)| self.explained.get(user))
    }

    /// The groups whose last request it is.
    fn groups_at(&self, place: usize) -> impl Iterator<Item = &ArrivedGroup> {
        let of_it = self.last_of_group.iter().filter(move |(_, last)| **last == place);
        of_it.filter_map(|(group, _)| self.groups.get(group))
    }
}

async fn write_text(
    out: &mut impl Write,
    store: &StateStore,
    history: &RequestHistory,
    present: &PresentAccess,
) -> Result<(), OperatorError> {
    let mut names = KnownNames::new(store);
    if history.is_cut {
        writeln!(out, "only the newest requests are shown; narrow them with --since, --user or --group\n")?;
    }
    for (place, request) in history.requests.iter().enumerate() {
        match request {
            LoggedRequest::Applied(applied) => {
                for line in words::of_applied(applied, &mut names).await? {
                    writeln!(out, "{line}")?;
                }
                let people = present.at(place).flat_map(words::of_present);
                for line in people.chain(present.groups_at(place).filter_map(words::of_group)) {
                    writeln!(out, "    {line}")?;
                }
            }
            LoggedRequest::Unapplied(unapplied) => {
                for line in words::of_unapplied(unapplied, &mut names).await? {
                    writeln!(out, "{line}")?;
                }
            }
        }
    }
    if history.requests.is_empty() {
        writeln!(out, "no requests")?;
    }
    if !history.counts.is_empty() {
        writeln!(out, "\nrefused, and only counted:")?;
        for count in &history.counts {
            writeln!(out, "  {}", words::of_count(count))?;
        }
    }
    Ok(())
}

fn write_json(out: &mut impl Write, history: &RequestHistory, present: &PresentAccess) -> io::Result<()> {
    for (place, request) in history.requests.iter().enumerate() {
        let line = match request {
            LoggedRequest::Applied(applied) => applied_json(applied, present.at(place)),
            LoggedRequest::Unapplied(unapplied) => unapplied.to_json(),
        };
        writeln!(out, "{line}")?;
    }
    for count in &history.counts {
        let kind = &count.kind;
        let line = json!({
            "kind": "count", "hour": rfc3339(count.hour), "status": kind.status, "scimType": kind.scim_type,
            "route": kind.route, "userAgent": kind.user_agent, "count": count.count,
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn applied_json<'a>(applied: &AppliedRequest, present: impl Iterator<Item = &'a Explanation>) -> Value {
    let AppliedRequest { time, op, request, token, status, changes, effects } = applied;
    let effects: Vec<Value> =
        effects.iter().map(|(time, effect)| json!({ "time": rfc3339(*time), "effect": effect })).collect();
    let present = present.map(|explanation| {
        let answers = match &explanation.bindings {
            ExplainedBindings::Known(answers) => answers.as_slice(),
            ExplainedBindings::Absent | ExplainedBindings::Unreadable => &[],
        };
        let answers = answers.iter().filter(|answer| !is_strange(answer)).map(answer_json);
        json!({
            "person": explanation.user.to_string(), "state": explanation.state.as_str(),
            "bindings": answers.collect::<Vec<_>>(),
        })
    });
    json!({
        "kind": "applied", "time": rfc3339(*time), "request": request, "op": op, "token": token, "status": status,
        "changes": changes, "effects": effects, "now": present.collect::<Vec<_>>(),
    })
}
