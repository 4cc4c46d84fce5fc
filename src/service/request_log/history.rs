//! What identity providers asked, and what came of it: the accepted writes out of the audit, the others out of the request log.
//!
//! Works on the JSON of audit records, which is the same from the table and from a running `local`.

use crate::audit::{RecordedChange, Subject};
use crate::store::request_log::{RefusalCount, RequestTable, UnappliedRequest};
use crate::store::{StateStore, StoreError};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Records per read.
const PAGE_RECORDS: usize = 1000;
/// Requests that are kept: the newest.
const REQUESTS_MAX: usize = 2000;
/// Rows of the request log that are read.
const ROWS_MAX: usize = 100_000;
/// Changes of one request that are kept.
const CHANGES_MAX: usize = 1000;

/// Which requests are of interest. A field that is not set matches everything.
#[derive(Debug, Clone, Default)]
pub struct RequestFilter {
    pub since: Option<OffsetDateTime>,
    pub until: Option<OffsetDateTime>,
    /// The ids of a person, and the names under which refused requests may mean them.
    pub person: Vec<String>,
    /// The id and the name of a group.
    pub group: Vec<String>,
    /// The label of a token.
    pub token: Option<String>,
    /// The `X-Request-Id` of one request.
    pub request: Option<String>,
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
    /// What came of it in Azure until the next request about the same person: each with its time.
    pub effects: Vec<(OffsetDateTime, Value)>,
}

impl LoggedRequest {
    /// When it came, or came for the first time.
    pub const fn time(&self) -> OffsetDateTime {
        match self {
            LoggedRequest::Applied(request) => request.time,
            LoggedRequest::Unapplied(request) => request.first,
        }
    }
}

impl AppliedRequest {
    /// The ids of the people and groups that it is about.
    pub fn subjects(&self) -> BTreeSet<String> {
        let of_change = |change| {
            RecordedChange::read(change).subjects().into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        self.changes.iter().flat_map(of_change).collect()
    }

    fn concerns(&self, subject: Subject, ids: &[String]) -> bool {
        self.changes.iter().any(|change| {
            let change = RecordedChange::read(change);
            ids.iter().any(|id| change.concerns(subject, id))
        })
    }
}

/// Reads the requests that match, and what came of them. `known`: the end of what is read, on the clock of the tables.
pub async fn read(
    store: &StateStore,
    table: &RequestTable,
    filter: &RequestFilter,
    progress: impl Fn(usize),
) -> Result<RequestHistory, StoreError> {
    let since = filter.since.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let mut applied =
        AppliedRequests { filter, requests: VecDeque::new(), by_op: BTreeMap::new(), is_cut: false };
    let mut after = Some(crate::service::audit::query::op_prefix(since));
    let mut records_read = 0;
    while let Some(from) = after.take() {
        let page = store.audit(Some(&from), PAGE_RECORDS).await?;
        records_read += page.len();
        progress(records_read);
        let is_full = page.len() >= PAGE_RECORDS;
        after = page.last().and_then(|record| text(record, "op")).filter(|_| is_full).map(str::to_owned);
        page.into_iter().for_each(|record| applied.add(record));
    }
    let unapplied = table.unapplied(since, ROWS_MAX).await?;
    let mut history = RequestHistory { is_cut: applied.is_cut, ..RequestHistory::default() };
    history.requests.extend(applied.matching().map(LoggedRequest::Applied));
    let unapplied = unapplied.into_iter().filter(|one| filter.wants_unapplied(one));
    history.requests.extend(unapplied.map(LoggedRequest::Unapplied));
    history.requests.sort_by_key(LoggedRequest::time);
    let excess = history.requests.len().saturating_sub(REQUESTS_MAX);
    history.is_cut |= excess > 0;
    history.requests.drain(..excess);
    if filter.is_of_all() {
        let counts = table.counts(since, ROWS_MAX).await?;
        history.counts =
            counts.into_iter().filter(|count| filter.until.is_none_or(|end| count.hour < end)).collect();
    }
    Ok(history)
}

impl RequestFilter {
    fn is_of_all(&self) -> bool {
        self.person.is_empty() && self.group.is_empty() && self.token.is_none() && self.request.is_none()
    }

    fn wants(&self, time: OffsetDateTime, token: &str, request: Option<&str>) -> bool {
        self.until.is_none_or(|until| time < until)
            && self.token.as_deref().is_none_or(|wanted| wanted == token)
            && self.request.as_deref().is_none_or(|wanted| request == Some(wanted))
    }

    fn wants_applied(&self, applied: &AppliedRequest) -> bool {
        let is_partly = || applied.changes.iter().any(is_dropped);
        self.wants(applied.time, &applied.token, applied.request.as_deref())
            && (self.person.is_empty() || applied.concerns(Subject::Person, &self.person))
            && (self.group.is_empty() || applied.concerns(Subject::Group, &self.group))
            && (!self.only_refused || is_partly())
    }

    fn wants_unapplied(&self, unapplied: &UnappliedRequest) -> bool {
        let UnappliedRequest { request, first, call, .. } = unapplied;
        self.wants(*first, &call.token, Some(&request.to_string()))
            && (self.person.is_empty() || call.is_about(&self.person))
            && (self.group.is_empty() || call.is_about(&self.group))
    }
}

/// Whether a change says that something was left out.
pub fn is_dropped(change: &Value) -> bool {
    matches!(text(change, "kind"), Some("attributes-dropped" | "member-dropped"))
}

/// The applied requests while the audit is read, in its order.
struct AppliedRequests<'a> {
    filter: &'a RequestFilter,
    requests: VecDeque<AppliedRequest>,
    /// The place of an op, counted from the first request that was ever kept.
    by_op: BTreeMap<String, usize>,
    is_cut: bool,
}

impl AppliedRequests<'_> {
    fn add(&mut self, record: Value) {
        if text(&record, "cause") != Some("request") {
            return;
        }
        let (Some(op), Some(origin)) = (text(&record, "op"), text(&record, "origin")) else { return };
        let (op, origin) = (op.to_owned(), origin.to_owned());
        let time = text(&record, "time").and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        let Some(time) = time else { return };
        let own = |name: &str| text(&record, name).map(str::to_owned);
        let (request, token, status) =
            (own("request"), own("actor"), record.get("status").and_then(Value::as_i64));
        let Some(Value::Array(changes)) = record.get("changes").cloned() else { return };
        let (effects, changes): (Vec<Value>, Vec<Value>) = changes.into_iter().partition(is_effect);
        if op == origin {
            let token = token.unwrap_or_default();
            self.keep(AppliedRequest { time, op, request, token, status, changes, effects: Vec::new() });
            return;
        }
        if let Some(applied) = self.of(&origin) {
            let room = CHANGES_MAX.saturating_sub(applied.changes.len());
            applied.changes.extend(changes.into_iter().take(room));
        }
        effects.into_iter().for_each(|effect| self.add_effect(&origin, time, effect));
    }

    fn keep(&mut self, request: AppliedRequest) {
        if !self.filter.wants_applied(&request) && !self.may_grow(&request) {
            return;
        }
        let dropped_before = self.by_op.len() - self.requests.len();
        self.by_op.insert(request.op.clone(), dropped_before + self.requests.len());
        self.requests.push_back(request);
        if self.requests.len() > REQUESTS_MAX {
            self.requests.pop_front();
            self.is_cut = true;
        }
    }

    /// Whether its job may bring changes that match: a large change names its members later.
    fn may_grow(&self, request: &AppliedRequest) -> bool {
        !self.filter.only_refused
            && request.changes.iter().any(|change| text(change, "kind") == Some("resource-changed"))
    }

    fn of(&mut self, op: &str) -> Option<&mut AppliedRequest> {
        let dropped_before = self.by_op.len() - self.requests.len();
        let place = self.by_op.get(op)?.checked_sub(dropped_before)?;
        self.requests.get_mut(place)
    }

    /// An effect is of the request that set it off. Where several requests were about a person before one reconcile, that
    /// names the last of them.
    fn add_effect(&mut self, origin: &str, time: OffsetDateTime, effect: Value) {
        if let Some(applied) = self.of(origin)
            && applied.effects.len() < CHANGES_MAX
        {
            applied.effects.push((time, effect));
        }
    }

    fn matching(self) -> impl Iterator<Item = AppliedRequest> {
        let filter = self.filter;
        self.requests.into_iter().filter(|applied| filter.wants_applied(applied))
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
