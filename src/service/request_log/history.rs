//! What identity providers asked, and what came of it: the accepted writes out of the audit, the others out of the request log.
//!
//! Works on the JSON of audit records, which is the same from the table and from a running `local`.

use crate::audit::{RecordedChange, Subject};
use crate::error_chain::ErrorChain;
use crate::id::{GroupId, RequestId, UserId};
use crate::rbac::DRILL_BINDING;
use crate::scim::ResourceType;
use crate::service::audit::query::op_prefix;
use crate::store::request_log::{RefusalCount, RequestTable, SoughtNames, UnappliedRequest};
use crate::store::{StateStore, StoreError};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// Records per read.
pub const PAGE_RECORDS: usize = 1000;
/// Requests that are kept: the newest.
const REQUESTS_MAX: usize = 2000;
/// Requests that do not match yet and whose jobs may bring what matches: the newest.
const CANDIDATES_MAX: usize = 2000;
/// Changes and effects of one request that are kept.
const CHANGES_MAX: usize = 1000;
/// How long after a request its job and its effects are looked for.
const EFFECTS_SPAN: Duration = Duration::days(1);

/// Which requests are of interest. A field that is not set matches everything.
#[derive(Debug, Clone)]
pub struct RequestFilter {
    pub times: Range<OffsetDateTime>,
    /// The ids of a person, as the audit has them, and what refused requests may call the person.
    pub person: Option<(Vec<String>, SoughtNames)>,
    /// The same of a group.
    pub group: Option<(Vec<String>, SoughtNames)>,
    /// The label of a token.
    pub token: Option<String>,
    /// The `X-Request-Id` of one request.
    pub request: Option<RequestId>,
    /// Only those that were refused, or not applied as a whole.
    pub only_refused: bool,
}

/// The requests of a time, oldest first.
#[derive(Debug, Default)]
pub struct RequestHistory {
    pub requests: Vec<LoggedRequest>,
    /// Those that were only counted. Left out where one person, group or request is asked for.
    pub counts: Vec<RefusalCount>,
    /// There were more: the oldest are left out.
    pub is_cut: bool,
    /// Refused writes that were only counted, and may be any of those that are asked for.
    pub writes_counted: u64,
    /// Why the table of the request log could not be read: then these are the applied requests alone.
    pub log_unread: Option<String>,
}

/// One write of an identity provider.
#[derive(Debug, Clone)]
pub enum LoggedRequest {
    /// It was applied.
    Applied(AppliedRequest),
    /// It was refused, or changed nothing.
    Unapplied(UnappliedRequest),
}

/// A write that was applied, as the audit has it.
#[derive(Debug, Clone)]
pub struct AppliedRequest {
    pub time: OffsetDateTime,
    pub op: String,
    /// Its `X-Request-Id`; earlier releases did not record it.
    pub request: Option<String>,
    pub token: String,
    /// The status of the answer; earlier releases did not record it for every change.
    pub status: Option<i64>,
    /// The changes, as records hold them; those of its job too.
    pub changes: Vec<Value>,
    /// What the audit says came of it in Azure, each with its time. Of several requests about a person before one reconcile, the
    /// last one has it.
    pub effects: Vec<(OffsetDateTime, Value)>,
}

impl LoggedRequest {
    /// Whether it has that id: not only one of equal requests between two that have another.
    pub fn is_of(&self, id: RequestId) -> bool {
        match self {
            LoggedRequest::Applied(request) => request.request.as_deref() == Some(&id.to_string()),
            LoggedRequest::Unapplied(request) => [request.request, request.last_request].contains(&id),
        }
    }

    /// When it came, or came for the first time.
    pub const fn time(&self) -> OffsetDateTime {
        match self {
            LoggedRequest::Applied(request) => request.time,
            LoggedRequest::Unapplied(request) => request.first,
        }
    }
}

impl AppliedRequest {
    /// The people that it is about.
    pub fn people(&self) -> BTreeSet<UserId> {
        self.named(ResourceType::User).filter_map(|id| UserId::parse(id).ok()).collect()
    }

    /// The groups that it is about.
    pub fn groups(&self) -> BTreeSet<GroupId> {
        let of_members = self.changes.iter().filter_map(|change| text(change, "group"));
        self.named(ResourceType::Group).chain(of_members).filter_map(|id| GroupId::parse(id).ok()).collect()
    }

    /// The resources of that kind that changed, and for people the members: those can be groups as well.
    fn named(&self, kind: ResourceType) -> impl Iterator<Item = &str> {
        let is_of_kind = move |change: &&Value| text(change, "type") == Some(kind.name());
        let resources = self.changes.iter().filter(is_of_kind).filter_map(|change| text(change, "id"));
        let members = self.changes.iter().filter(move |_| kind == ResourceType::User);
        resources.chain(members.filter_map(|change| text(change, "member")))
    }

    fn concerns(&self, subject: Subject, ids: &[String]) -> bool {
        self.changes.iter().any(|change| {
            let change = RecordedChange::read(change);
            ids.iter().any(|id| change.concerns(subject, id))
        })
    }
}

/// Reads the requests that match, and what came of them. `progress` is told how many records were read.
pub async fn read(
    store: &StateStore,
    table: &RequestTable,
    filter: &RequestFilter,
    progress: impl Fn(usize),
) -> Result<RequestHistory, StoreError> {
    let mut applied = AppliedRequests::of(filter);
    let mut after = Some(op_prefix(filter.times.start));
    let end = op_prefix(filter.times.end + EFFECTS_SPAN);
    let mut records_read = 0;
    while let Some(from) = after.take().filter(|from| *from < end) {
        let page = store.audit(Some(&from), PAGE_RECORDS).await?;
        records_read += page.len();
        progress(records_read);
        let is_full = page.len() >= PAGE_RECORDS;
        after = page.last().and_then(|record| text(record, "op")).filter(|_| is_full).map(str::to_owned);
        page.iter().for_each(|record| applied.add(record));
    }
    let mut history = RequestHistory { is_cut: applied.is_cut, ..RequestHistory::default() };
    history.requests.extend(applied.requests.into_values().map(LoggedRequest::Applied));
    if let Err(error) = history.add_unapplied(table, filter).await {
        history.log_unread = Some(ErrorChain(&error).to_string());
    }
    history.requests.sort_by_key(LoggedRequest::time);
    let excess = history.requests.len().saturating_sub(REQUESTS_MAX);
    history.is_cut |= excess > 0;
    history.requests.drain(..excess);
    Ok(history)
}

impl RequestHistory {
    async fn add_unapplied(
        &mut self,
        table: &RequestTable,
        filter: &RequestFilter,
    ) -> Result<(), StoreError> {
        let wanted = |unapplied: &UnappliedRequest| filter.wants_unapplied(unapplied);
        let (unapplied, is_cut) = table.unapplied(&filter.times, REQUESTS_MAX, wanted).await?;
        self.is_cut |= is_cut;
        self.requests.extend(unapplied.into_iter().map(LoggedRequest::Unapplied));
        let counts = table.counts(&filter.times).await?;
        let writes = counts.iter().filter(|count| count.kind.status != 401 && is_write(&count.kind.route));
        self.writes_counted = writes.map(|count| count.count).sum();
        let is_missing = filter.request.is_some() && self.requests.is_empty();
        if filter.is_of_all() || is_missing {
            self.counts = counts;
        }
        Ok(())
    }
}

impl RequestFilter {
    fn is_of_all(&self) -> bool {
        self.person.is_none() && self.group.is_none() && self.token.is_none() && self.request.is_none()
    }

    /// Whether it may match, by what no job changes.
    fn may_want(&self, applied: &AppliedRequest) -> bool {
        self.times.contains(&applied.time)
            && self.token.as_ref().is_none_or(|wanted| *wanted == applied.token)
            && self.request.is_none_or(|wanted| applied.request.as_deref() == Some(&wanted.to_string()))
    }

    fn wants_changes(&self, applied: &AppliedRequest) -> bool {
        let concerns = |subject, sought: &Option<(Vec<String>, SoughtNames)>| {
            sought.as_ref().is_none_or(|(ids, _)| applied.concerns(subject, ids))
        };
        concerns(Subject::Person, &self.person)
            && concerns(Subject::Group, &self.group)
            && (!self.only_refused || applied.changes.iter().any(is_dropped))
    }

    fn wants_unapplied(&self, unapplied: &UnappliedRequest) -> bool {
        let UnappliedRequest { request, last_request, first, last, times, call, .. } = unapplied;
        let is_about = |sought: &Option<(Vec<String>, SoughtNames)>| {
            sought.as_ref().is_none_or(|(_, names)| call.is_about(names))
        };
        // Equal requests share a row, which has the ids of the first and of the last.
        let may_be = |wanted: RequestId| {
            let is_between =
                *times > 2 && wanted.time().is_some_and(|time| request.time() <= Some(time) && time <= *last);
            wanted == *request || wanted == *last_request || is_between
        };
        self.times.start <= *last
            && *first < self.times.end
            && self.token.as_ref().is_none_or(|wanted| *wanted == call.token)
            && self.request.is_none_or(may_be)
            && is_about(&self.person)
            && is_about(&self.group)
    }
}

/// Whether a change says that something was left out.
pub fn is_dropped(change: &Value) -> bool {
    matches!(text(change, "kind"), Some("attributes-dropped" | "member-dropped"))
}

/// The applied requests while the audit is read, by their ops, which list by time.
struct AppliedRequests<'a> {
    filter: &'a RequestFilter,
    requests: BTreeMap<String, AppliedRequest>,
    /// A change that is larger than one transaction names its members later, in the records of its job.
    candidates: BTreeMap<String, AppliedRequest>,
    is_cut: bool,
}

impl<'a> AppliedRequests<'a> {
    fn of(filter: &'a RequestFilter) -> Self {
        Self { filter, requests: BTreeMap::new(), candidates: BTreeMap::new(), is_cut: false }
    }

    fn add(&mut self, record: &Value) {
        // A drill is no identity provider; one from outside has the id of its request.
        let is_drill = text(record, "actor") == Some(DRILL_BINDING) && text(record, "request").is_none();
        let is_own = text(record, "op") == text(record, "origin");
        if text(record, "cause") != Some("request") || is_drill && is_own {
            return;
        }
        let (Some(op), Some(origin)) = (text(record, "op"), text(record, "origin")) else { return };
        let time = text(record, "time").and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        let (Some(time), Some(Value::Array(changes))) = (time, record.get("changes")) else { return };
        let (effects, changes): (Vec<Value>, Vec<Value>) = changes.iter().cloned().partition(is_effect);
        if op == origin {
            let own = |name: &str| text(record, name).map(str::to_owned);
            let applied = AppliedRequest {
                time,
                op: op.to_owned(),
                request: own("request"),
                token: own("actor").unwrap_or_default(),
                status: record.get("status").and_then(Value::as_i64),
                changes,
                effects: Vec::new(),
            };
            self.keep(applied);
        } else {
            self.follow(origin, time, changes, effects);
        }
    }

    fn keep(&mut self, applied: AppliedRequest) {
        if !self.filter.may_want(&applied) {
            return;
        }
        let is_wanted = self.filter.wants_changes(&applied);
        let kept = if is_wanted { &mut self.requests } else { &mut self.candidates };
        kept.insert(applied.op.clone(), applied);
        if self.candidates.len() > CANDIDATES_MAX {
            self.candidates.pop_first();
        }
        if self.requests.len() > REQUESTS_MAX {
            self.requests.pop_first();
            self.is_cut = true;
        }
    }

    /// Adds what followed from a request. An effect is of the last request about a person before the reconcile: the others
    /// are told apart by what the person has now.
    fn follow(&mut self, origin: &str, time: OffsetDateTime, changes: Vec<Value>, effects: Vec<Value>) {
        let kept = self.requests.get_mut(origin);
        let Some(applied) = kept.or_else(|| self.candidates.get_mut(origin)) else { return };
        let room = CHANGES_MAX.saturating_sub(applied.changes.len());
        let (filter, mut changes) = (self.filter, changes);
        // Of a large change those are kept first that are asked for.
        changes.sort_by_key(|change| !filter.names(change));
        applied.changes.extend(changes.into_iter().take(room));
        let room = CHANGES_MAX.saturating_sub(applied.effects.len());
        let effects = effects.into_iter().filter(|effect| filter.person.is_none() || filter.names(effect));
        applied.effects.extend(effects.take(room).map(|effect| (time, effect)));
        if self.candidates.get(origin).is_some_and(|applied| filter.wants_changes(applied))
            && let Some(applied) = self.candidates.remove(origin)
        {
            self.keep(applied);
        }
    }
}

impl RequestFilter {
    /// Whether a change names the person or the group that is asked for.
    fn names(&self, change: &Value) -> bool {
        let change = RecordedChange::read(change);
        let is_named = |subject, sought: &Option<(Vec<String>, SoughtNames)>| {
            sought.as_ref().is_some_and(|(ids, _)| ids.iter().any(|id| change.concerns(subject, id)))
        };
        is_named(Subject::Person, &self.person) || is_named(Subject::Group, &self.group)
    }
}

/// Whether a method and a route, as they are counted, are a write.
fn is_write(route: &str) -> bool {
    let (method, path) = route.split_once(' ').unwrap_or((route, ""));
    match method {
        "PUT" | "PATCH" | "DELETE" => true,
        "POST" => ["/Users", "/Groups", "/Bulk"].iter().any(|end| path.ends_with(end)),
        _ => false,
    }
}

/// Whether a change says what came of a request in Azure.
fn is_effect(change: &Value) -> bool {
    matches!(
        text(change, "kind"),
        Some("effect-opened" | "effect-answered" | "effect-observed" | "wait-changed" | "step-held")
    )
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}
