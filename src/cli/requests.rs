//! `requests`: what the identity provider asked, what was left out of it and why, and what came of it in Azure. Reads with the
//! operator's own rights, and changes nothing.

mod words;

use crate::audit::rfc3339;
use crate::cli::exit::EXIT_DEPENDENCY;
use crate::cli::explain::answers::{answer_json, is_strange};
use crate::cli::json_line::json_line;
use crate::cli::known_names::KnownNames;
use crate::cli::moment::parse_time;
use crate::cli::operator::{OperatorArguments, OperatorError, active_bindings, run_command};
use crate::cli::progress::Progress;
use crate::error_chain::escape_control;
use crate::id::{GroupId, RequestId, UserId};
use crate::scim::{IndexLookup, ResourceType};
use crate::service::access::explain::{self, ExplainedBindings, Explanation};
use crate::service::access::groups::{ArrivedGroup, overview};
use crate::service::access::people;
use crate::service::bindings::active::ActiveSnapshot;
use crate::service::request_log::history::{
    self, AppliedRequest, LoggedRequest, PAGE_RECORDS, RequestFilter, RequestHistory,
};
use crate::store::StateStore;
use crate::store::request_log::{RefusalCount, SoughtNames};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::ops::Range;
use std::process::ExitCode;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};

/// People whose present state is explained: those of the newest requests.
const EXPLAINED_MAX: usize = 50;
/// Numbers of counted requests that are shown: the largest. A client without a token can have any number of names.
const COUNTS_SHOWN_MAX: usize = 20;
/// Around the time in the id of a request, where it is looked for: clocks differ, and equal requests share a row for an hour.
const BEFORE_REQUEST: Duration = Duration::minutes(2);
const AFTER_REQUEST: Duration = Duration::minutes(10);

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
            false => write_text(&mut out, store, &filter, &history, &present).await?,
        }
        Ok(if history.log_unread.is_some() { ExitCode::from(EXIT_DEPENDENCY) } else { ExitCode::SUCCESS })
    })
}

async fn filter(arguments: &Arguments, store: &StateStore) -> Result<RequestFilter, OperatorError> {
    let now = store.table_time().await?;
    let request = arguments.id.as_deref().map(request_id).transpose()?;
    let times = match request {
        Some((_, begun)) => {
            let begun = within_years(&(begun..begun)).start;
            begun - BEFORE_REQUEST..begun + AFTER_REQUEST
        }
        None => {
            let until = arguments.until.as_deref().map(|text| time("until", text, now)).transpose()?;
            // What a process with a clock ahead noted counts, too.
            time("since", &arguments.since, now)?..until.unwrap_or(now + AFTER_REQUEST)
        }
    };
    let times = within_years(&times);
    let person = match &arguments.user {
        Some(text) => Some(sought_person(store, text).await?),
        None => None,
    };
    let group = match &arguments.group {
        Some(text) => {
            let found = store.find_first::<GroupId>(&IndexLookup::DisplayName(text.clone()), 1).await?;
            let names: Vec<String> = found.iter().map(ToString::to_string).chain([text.clone()]).collect();
            let sought = SoughtNames::new(ResourceType::Group, &names);
            Some((names, sought))
        }
        None => None,
    };
    let request = request.map(|(id, _)| id);
    let (token, only_refused) = (arguments.token.clone(), arguments.refused);
    Ok(RequestFilter { times, person, group, token, request, only_refused })
}

/// A time that can be reckoned with.
fn within_years(times: &Range<OffsetDateTime>) -> Range<OffsetDateTime> {
    let (first, last) = (datetime!(2000-01-01 0:00 UTC), datetime!(9000-01-01 0:00 UTC));
    times.start.clamp(first, last)..times.end.clamp(first, last)
}

fn time(argument: &str, text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, OperatorError> {
    parse_time(text, now).ok_or_else(|| {
        let (shown, examples) = (escape_control(text), "examples: 2026-11-25, 2026-11-25T12:00:00Z, 24h");
        OperatorError::Usage(format!("--{argument} {shown:?} is not a time; {examples}"))
    })
}

/// The request, and when it came.
fn request_id(text: &str) -> Result<(RequestId, OffsetDateTime), OperatorError> {
    let begun = RequestId::parse(text).ok().and_then(|id| Some((id, id.time()?)));
    begun.ok_or_else(|| {
        let shown = escape_control(text);
        OperatorError::Usage(format!("--id {shown:?} is no X-Request-Id of this service"))
    })
}

/// The ids of the person, and what refused requests may call the person. The part of a userName before the @ means everyone
/// who has it.
async fn sought_person(store: &StateStore, text: &str) -> Result<(Vec<String>, SoughtNames), OperatorError> {
    let snapshot = active_bindings(store).read(&store.pointer().await?).await?;
    let sources = snapshot.principal_from();
    let mut found = people::find_people_ever(store, sources, text).await?;
    if found.iter().all(|person| person.user.is_none()) && !text.contains('@') {
        let alike = store.users_named_like(text).await?;
        let is_it = |name: &str| name.split('@').next().is_some_and(|first| first.eq_ignore_ascii_case(text));
        for (user, _) in alike.told.iter().filter(|(_, name)| is_it(name)) {
            found.extend(people::find_people_ever(store, sources, &user.to_string()).await?);
        }
    }
    let mut names = vec![text.to_owned()];
    for person in found {
        names.extend(person.user.iter().map(ToString::to_string));
        names.extend(person.principals.iter().map(ToString::to_string));
        names.extend(person.user_name);
    }
    let sought = SoughtNames::new(ResourceType::User, &names).or_before_at(text);
    Ok((names, sought))
}

/// What the people of the newest requests have now, and whether their groups give anything: printed with the last request
/// about each.
#[derive(Default)]
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
        let mut present = Self::default();
        let mut asked = BTreeSet::new();
        for (place, request) in history.requests.iter().enumerate().rev() {
            let LoggedRequest::Applied(applied) = request else { continue };
            for id in applied.groups() {
                present.last_of_group.entry(id).or_insert(place);
            }
            let is_meant =
                |user: &UserId| filter.person.as_ref().is_none_or(|(ids, _)| ids.contains(&user.to_string()));
            for user in applied.people().into_iter().filter(is_meant) {
                if asked.len() >= EXPLAINED_MAX || !asked.insert(user) {
                    continue;
                }
                if let Some(explanation) = explain::explain(store, snapshot.clone(), user).await? {
                    present.last.insert(user, place);
                    present.explained.insert(user, explanation);
                }
            }
        }
        if !present.last_of_group.is_empty() {
            let groups = overview(store, snapshot).await?.groups.into_iter();
            present.groups = groups.map(|group| (group.id, group)).collect();
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
    filter: &RequestFilter,
    history: &RequestHistory,
    present: &PresentAccess,
) -> Result<(), OperatorError> {
    let mut names = KnownNames::new(store);
    if let Some(why) = &history.log_unread {
        let why = escape_control(why);
        writeln!(
            out,
            "the table of the request log cannot be read, so refused requests are missing: {why}\n"
        )?;
    }
    if history.is_cut {
        writeln!(out, "only the newest of these requests are shown; narrow them with --since and --until\n")?;
    }
    if let Some(id) = filter.request.filter(|id| !history.requests.iter().any(|request| request.is_of(*id))) {
        writeln!(out, "{}\n", words::of_missing(id, history.requests.is_empty()))?;
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
    if history.requests.is_empty() && filter.request.is_none() {
        writeln!(out, "no requests")?;
    }
    if history.counts.is_empty() && history.writes_counted > 0 {
        let counted = history.writes_counted;
        writeln!(
            out,
            "\nwrites of this time that were refused, only counted, and may be about this too: {counted}"
        )?;
    }
    if !history.counts.is_empty() {
        writeln!(out, "\nrefused or not answered, and only counted:")?;
        let mut counts: Vec<&RefusalCount> = history.counts.iter().collect();
        counts.sort_by_key(|count| Reverse(count.count));
        for count in counts.iter().take(COUNTS_SHOWN_MAX) {
            writeln!(out, "  {}", words::of_count(count))?;
        }
        let more = counts.len().saturating_sub(COUNTS_SHOWN_MAX);
        if more > 0 {
            writeln!(out, "  and {more} more, which --json lists")?;
        }
    }
    Ok(())
}

fn write_json(out: &mut impl Write, history: &RequestHistory, present: &PresentAccess) -> io::Result<()> {
    if history.is_cut {
        writeln!(out, "{}", json_line(&json!({ "kind": "cut" })))?;
    }
    if let Some(why) = &history.log_unread {
        writeln!(out, "{}", json_line(&json!({ "kind": "request-log-unread", "why": why })))?;
    }
    for (place, request) in history.requests.iter().enumerate() {
        let line = match request {
            LoggedRequest::Applied(applied) => applied_json(applied, present, place),
            LoggedRequest::Unapplied(unapplied) => unapplied.to_json(),
        };
        writeln!(out, "{}", json_line(&line))?;
    }
    if history.counts.is_empty() && history.writes_counted > 0 {
        writeln!(
            out,
            "{}",
            json_line(&json!({ "kind": "writes-counted", "count": history.writes_counted }))
        )?;
    }
    for count in &history.counts {
        let kind = &count.kind;
        let line = json!({
            "kind": "count", "hour": rfc3339(count.hour), "status": kind.status, "scimType": kind.scim_type,
            "route": kind.route, "userAgent": kind.user_agent, "count": count.count,
        });
        writeln!(out, "{}", json_line(&line))?;
    }
    Ok(())
}

fn applied_json(applied: &AppliedRequest, present: &PresentAccess, place: usize) -> Value {
    let AppliedRequest { time, op, request, token, status, changes, effects } = applied;
    let effects: Vec<Value> =
        effects.iter().map(|(time, effect)| json!({ "time": rfc3339(*time), "effect": effect })).collect();
    let unbound =
        present.groups_at(place).filter(|group| group.bindings.is_empty() && group.above.is_empty());
    let unbound: Vec<String> = unbound.map(|group| group.id.to_string()).collect();
    let present = present.at(place).map(|explanation| {
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
        "unboundGroups": unbound,
    })
}
