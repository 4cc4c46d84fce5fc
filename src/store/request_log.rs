//! The table of requests that left no audit record: refused writes, writes that changed nothing and were not applied as a
//! whole, and the numbers of all others that were refused. An accepted write is in the audit, which names its request.

use crate::audit::rfc3339;
use crate::events::log_event;
use crate::id::RequestId;
use crate::ports::tables::{
    EtagMatch, KeyRange, PAGE_ROWS_MAX, PageContinuation, RowPage, TRANSACTION_OPS_MAX, TableOps, TableRow,
    TableWrite,
};
use crate::scim::compare::{self, CaseMode};
use crate::scim::{AskedAttributes, ResourceType};
use crate::store::codec::{RowFields, RowReader};
use crate::store::error::{read_error, write_error};
use crate::store::{StoreError, keys};
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// How long a row is kept.
pub const KEPT: Duration = Duration::days(30);

/// One row covers at most this time: later requests that are equal get a row of their own.
pub const ROW_SPAN: Duration = Duration::hours(1);

/// How long after its arrival a request is noted at the latest: its key has the time of the arrival.
const NOTED_WITHIN: Duration = Duration::minutes(2);

/// Rows of one transaction: a row can have about 80 KiB.
const WRITES_MAX: usize = 40;

/// A write that left no audit record, and how often it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnappliedRequest {
    /// The first one.
    pub request: RequestId,
    /// The last one that was equal.
    pub last_request: RequestId,
    /// Its operation, where it is one of a bulk request; counted from 1.
    pub operation: Option<usize>,
    pub first: OffsetDateTime,
    pub last: OffsetDateTime,
    pub times: u64,
    pub call: UnappliedCall,
}

/// What equal requests have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnappliedCall {
    /// The label of the token.
    pub token: String,
    /// Empty where it is not known: PUT or PATCH.
    pub method: String,
    /// `User`, `Group` or `Bulk`.
    pub about: String,
    /// The id that the path names.
    pub target: Option<String>,
    pub status: u16,
    pub scim_type: Option<String>,
    /// What the answer said, without values that no one decides by; what was dropped, where nothing was refused.
    pub detail: String,
    /// The names of what it assigns.
    pub names: Vec<String>,
    /// The values of what decides about access.
    pub values: Vec<(String, Vec<String>)>,
}

impl UnappliedCall {
    /// With what the request asks for.
    pub fn asking(self, asked: AskedAttributes) -> Self {
        Self { names: asked.names, values: asked.values.into_iter().collect(), ..self }
    }

    /// Whether it was refused and would have taken access away, so that a person keeps it.
    pub fn takes_away(&self) -> bool {
        if self.status < 400 {
            return false;
        }
        let deactivates = |(name, values): &(String, Vec<String>)| {
            name == "active" && !values.iter().all(|value| value.eq_ignore_ascii_case("true"))
        };
        self.method == "DELETE"
            || self.names.iter().any(|name| name.starts_with("remove "))
            || self.values.iter().any(deactivates)
    }

    /// Whether it is about the person or group that is called so, or names it as a member.
    pub fn is_about(&self, names: &SoughtNames) -> bool {
        let is_of_kind = self.about == names.kind.name();
        let named = |name: &String| {
            let is_name = ["userName", "displayName", "externalId", "entraObjectId"].contains(&name.as_str());
            is_name && is_of_kind || name.trim_start_matches("remove ").starts_with("members")
        };
        (is_of_kind && self.target.as_deref().is_some_and(|target| names.has(target)))
            || self
                .values
                .iter()
                .any(|(name, values)| named(name) && values.iter().any(|value| names.has(value)))
    }
}

/// What a person or a group may be called in requests.
#[derive(Debug, Clone)]
pub struct SoughtNames {
    kind: ResourceType,
    keys: Vec<String>,
    /// The part of a userName before the @, where it is asked for by that alone.
    first_part: Option<String>,
}

impl SoughtNames {
    /// Ids and names, which compare as SCIM compares them.
    pub fn new(kind: ResourceType, names: &[String]) -> Self {
        let key = |name: &String| compare::key(name, CaseMode::Folded);
        let keys = names.iter().map(key).filter(|key| !key.is_empty()).collect();
        Self { kind, keys, first_part: None }
    }

    /// Also userNames that begin with this text and an @.
    pub fn or_before_at(self, text: &str) -> Self {
        let key = compare::key(text, CaseMode::Folded);
        Self { first_part: (!key.is_empty() && !key.contains('@')).then(|| format!("{key}@")), ..self }
    }

    fn has(&self, text: &str) -> bool {
        let key = compare::key(text, CaseMode::Folded);
        self.keys.contains(&key)
            || self.first_part.as_ref().is_some_and(|first| key.starts_with(first.as_str()))
    }
}

/// How often requests of one kind were refused within an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalCount {
    pub hour: OffsetDateTime,
    pub kind: RefusalKind,
    pub count: u64,
}

/// What counted requests have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RefusalKind {
    pub status: u16,
    pub scim_type: Option<String>,
    /// Method and route, as `GET /scim/v2/Users/{id}`.
    pub route: String,
    /// What the client calls itself.
    pub user_agent: String,
}

/// The table.
#[derive(Clone)]
pub struct RequestTable {
    tables: Arc<dyn TableOps>,
    partition: String,
}

impl RequestTable {
    /// The rows of one partition.
    pub fn new(tables: Arc<dyn TableOps>, partition: String) -> Self {
        Self { tables, partition }
    }

    /// Writes rows, each in the place of an earlier state of it. A row that the table cannot take is logged and left out.
    pub async fn write(
        &self,
        unapplied: &[UnappliedRequest],
        counts: &[(RefusalCount, Uuid)],
    ) -> Result<(), StoreError> {
        let unapplied = unapplied.iter().map(unapplied_row);
        let rows: Vec<TableWrite> =
            unapplied.chain(counts.iter().map(|(count, process)| count_row(count, *process))).collect();
        for chunk in rows.chunks(WRITES_MAX) {
            match self.transact(chunk.to_vec()).await {
                Err(StoreError::Invalid { .. } | StoreError::TooLarge { .. }) => {
                    self.write_each(chunk).await?
                }
                written => written?,
            }
        }
        Ok(())
    }

    async fn write_each(&self, rows: &[TableWrite]) -> Result<(), StoreError> {
        for row in rows {
            match self.transact(vec![row.clone()]).await {
                Err(error @ (StoreError::Invalid { .. } | StoreError::TooLarge { .. })) => {
                    log_event!(RequestLogIncomplete, row = row.key(), %error, "a row of the request log cannot be stored and is left out");
                }
                written => written?,
            }
        }
        Ok(())
    }

    async fn transact(&self, writes: Vec<TableWrite>) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let written = self.tables.transact(&self.partition, &writes).await;
        written.map(drop).map_err(|error| write_error(error, 0))
    }

    /// Deletes rows that are too old by the clock of the table service, a bounded number of them; whether there may be more.
    pub async fn expire(&self) -> Result<bool, StoreError> {
        let now = self.tables.get(&self.partition, keys::REFUSAL_COUNTS).await.map_err(read_error)?.date;
        let before = now - KEPT;
        let ranges = [
            (keys::LOGGED_REQUESTS.to_owned(), keys::logged_requests_from(before)),
            (keys::REFUSAL_COUNTS.to_owned(), keys::refusal_counts_from(before)),
        ];
        let mut is_full = false;
        for (from, to) in ranges {
            let rows = self.page(from, to, TRANSACTION_OPS_MAX, None).await?.rows;
            is_full |= rows.len() >= TRANSACTION_OPS_MAX;
            self.delete(rows).await?;
        }
        Ok(is_full)
    }

    async fn delete(&self, rows: Vec<TableRow>) -> Result<(), StoreError> {
        let delete = |row: TableRow| TableWrite::Delete { key: row.key, condition: EtagMatch::Any };
        let deletes: Vec<TableWrite> = rows.into_iter().map(delete).collect();
        for chunk in deletes.chunks(TRANSACTION_OPS_MAX) {
            match self.transact(chunk.to_vec()).await {
                Err(StoreError::Conflict { .. }) => {}
                done => {
                    done?;
                    continue;
                }
            }
            // Another process deletes some of them too.
            for delete in chunk {
                match self.transact(vec![delete.clone()]).await {
                    Ok(()) | Err(StoreError::Conflict { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Deletes the rows about them.
    pub async fn erase(&self, names: &SoughtNames) -> Result<(), StoreError> {
        let (from, to) = keys::range_of(keys::LOGGED_REQUESTS);
        let mut next = None;
        loop {
            let page = self.page(from.clone(), to.clone(), PAGE_ROWS_MAX, next).await?;
            let is_theirs = |row: &TableRow| match read_unapplied(row) {
                Ok(unapplied) => unapplied.call.is_about(names),
                // What cannot be read may name them.
                Err(_) => true,
            };
            self.delete(page.rows.into_iter().filter(is_theirs).collect()).await?;
            next = page.continuation;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// The requests of a time that `wanted` accepts, the newest, at most so many; and whether there were more. A row that cannot
    /// be read is logged and left out.
    pub async fn unapplied(
        &self,
        times: &Range<OffsetDateTime>,
        rows_max: usize,
        wanted: impl Fn(&UnappliedRequest) -> bool,
    ) -> Result<(Vec<UnappliedRequest>, bool), StoreError> {
        let from = keys::logged_requests_from(times.start - ROW_SPAN - NOTED_WITHIN);
        let to = keys::logged_requests_from(times.end);
        let mut newest = VecDeque::new();
        let mut is_cut = false;
        let mut next = None;
        loop {
            let page = self.page(from.clone(), to.clone(), PAGE_ROWS_MAX, next).await?;
            let read = page.rows.iter().filter_map(|row| logged(row, read_unapplied(row)));
            newest.extend(read.filter(|unapplied| unapplied.last >= times.start && wanted(unapplied)));
            let excess = newest.len().saturating_sub(rows_max);
            is_cut |= excess > 0;
            newest.drain(..excess);
            next = page.continuation;
            if next.is_none() {
                return Ok((newest.into(), is_cut));
            }
        }
    }

    /// The numbers of the hours of a time.
    pub async fn counts(&self, times: &Range<OffsetDateTime>) -> Result<Vec<RefusalCount>, StoreError> {
        let from = keys::refusal_counts_from(times.start - ROW_SPAN);
        let to = keys::refusal_counts_from(times.end);
        let mut counts: BTreeMap<(OffsetDateTime, RefusalKind), u64> = BTreeMap::new();
        let mut next = None;
        loop {
            let page = self.page(from.clone(), to.clone(), PAGE_ROWS_MAX, next).await?;
            for row in &page.rows {
                let Some(RefusalCount { hour, kind, count }) = logged(row, read_count(row)) else { continue };
                *counts.entry((hour, kind)).or_default() += count;
            }
            next = page.continuation;
            if next.is_none() {
                let count = |((hour, kind), count)| RefusalCount { hour, kind, count };
                return Ok(counts.into_iter().map(count).collect());
            }
        }
    }

    async fn page(
        &self,
        from: String,
        to: String,
        rows_max: usize,
        continuation: Option<PageContinuation>,
    ) -> Result<RowPage, StoreError> {
        let range = KeyRange { from, to, rows_max, continuation };
        Ok(self.tables.page(&self.partition, &range).await.map_err(read_error)?.value)
    }
}

fn logged<T>(row: &TableRow, read: Result<T, StoreError>) -> Option<T> {
    if let Err(error) = &read {
        log_event!(RequestLogIncomplete, row = row.key, %error, "a row of the request log cannot be read and is left out");
    }
    read.ok()
}

fn unapplied_row(unapplied: &UnappliedRequest) -> TableWrite {
    let UnappliedRequest { request, last_request, operation, first, last, times, call } = unapplied;
    let properties = RowFields::row()
        .text("last_request", last_request.to_string())
        .time("first", *first)
        .time("last", *last)
        .int("times", i64::try_from(*times).unwrap_or(i64::MAX))
        .text("token", call.token.as_str())
        .text("method", call.method.as_str())
        .text("about", call.about.as_str())
        .text_if("target", call.target.clone())
        .int("status", i64::from(call.status))
        .text_if("scim_type", call.scim_type.clone())
        .text("detail", call.detail.as_str())
        .bytes("names", json!(call.names).to_string().as_bytes())
        .bytes("values", json!(call.values).to_string().as_bytes());
    let key = keys::logged_request(*request, *operation);
    TableWrite::InsertOrReplace { key, properties: properties.done() }
}

fn read_unapplied(row: &TableRow) -> Result<UnappliedRequest, StoreError> {
    let reader = RowReader::new(row)?;
    let text = |name: &str| reader.text(name).map(str::to_owned);
    let (request, operation) =
        keys::logged_request_of(&row.key).ok_or_else(|| StoreError::corrupt_key(row))?;
    Ok(UnappliedRequest {
        request,
        last_request: reader.parsed("last_request", RequestId::parse)?,
        operation,
        first: reader.time("first")?,
        last: reader.time("last")?,
        times: reader.int("times")?.unsigned_abs(),
        call: UnappliedCall {
            token: text("token")?,
            method: text("method")?,
            about: text("about")?,
            target: reader.text_opt("target")?.map(str::to_owned),
            status: status(&reader)?,
            scim_type: reader.text_opt("scim_type")?.map(str::to_owned),
            detail: text("detail")?,
            names: serde_json::from_value(reader.json("names")?).unwrap_or_default(),
            values: serde_json::from_value(reader.json("values")?).unwrap_or_default(),
        },
    })
}

fn status(reader: &RowReader<'_>) -> Result<u16, StoreError> {
    u16::try_from(reader.int("status")?).map_err(|_| reader.corrupt("status"))
}

fn count_row(RefusalCount { hour, kind, count }: &RefusalCount, process: Uuid) -> TableWrite {
    let properties = RowFields::row()
        .time("hour", *hour)
        .int("status", i64::from(kind.status))
        .text_if("scim_type", kind.scim_type.clone())
        .text("route", kind.route.as_str())
        .text("user_agent", kind.user_agent.as_str())
        .int("count", i64::try_from(*count).unwrap_or(i64::MAX));
    let scim_type = kind.scim_type.as_deref().unwrap_or_default();
    let hashed = keys::hash(&format!("{}\n{scim_type}\n{}\n{}", kind.status, kind.route, kind.user_agent));
    let key = keys::refusal_count(*hour, process, &hashed);
    TableWrite::InsertOrReplace { key, properties: properties.done() }
}

fn read_count(row: &TableRow) -> Result<RefusalCount, StoreError> {
    let reader = RowReader::new(row)?;
    Ok(RefusalCount {
        hour: reader.time("hour")?,
        kind: RefusalKind {
            status: status(&reader)?,
            scim_type: reader.text_opt("scim_type")?.map(str::to_owned),
            route: reader.text("route")?.to_owned(),
            user_agent: reader.text("user_agent")?.to_owned(),
        },
        count: reader.int("count")?.unsigned_abs(),
    })
}

impl UnappliedRequest {
    /// As the command prints it for programs.
    pub fn to_json(&self) -> serde_json::Value {
        let UnappliedRequest { request, last_request, operation, first, last, times, call } = self;
        json!({
            "kind": "not-applied", "request": request.to_string(), "lastRequest": last_request.to_string(),
            "operation": operation, "first": rfc3339(*first), "last": rfc3339(*last),
            "times": times, "token": call.token, "method": call.method, "about": call.about, "target": call.target,
            "status": call.status, "scimType": call.scim_type, "detail": call.detail, "names": call.names,
            "values": call.values.iter().cloned().collect::<BTreeMap<String, Vec<String>>>(),
        })
    }
}
