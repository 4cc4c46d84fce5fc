//! The table of requests that left no audit record: refused writes, writes that changed nothing and were not applied as a
//! whole, and the numbers of all others that were refused. An accepted write is in the audit, which names its request.

use crate::audit::rfc3339;
use crate::id::RequestId;
use crate::ports::tables::{
    EtagMatch, KeyRange, PAGE_ROWS_MAX, PageContinuation, RowPage, TRANSACTION_OPS_MAX, TableOps, TableRow,
    TableWrite,
};
use crate::scim::AskedAttributes;
use crate::store::codec::{RowFields, RowReader};
use crate::store::error::{read_error, write_error};
use crate::store::{StoreError, keys};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// How long a row is kept.
pub const KEPT: Duration = Duration::days(30);

/// One row covers at most this time: later requests that are equal get a row of their own.
pub const ROW_SPAN: Duration = Duration::hours(1);

/// A write that left no audit record, and how often it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnappliedRequest {
    /// The first one.
    pub request: RequestId,
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
    pub values: Vec<(String, String)>,
}

impl UnappliedCall {
    /// With what the request asks for.
    pub fn asking(self, asked: AskedAttributes) -> Self {
        Self { names: asked.names, values: asked.values.into_iter().collect(), ..self }
    }

    /// Whether it is about that person or group: by the id of its path, or by a value that names one person or group.
    pub fn is_about(&self, names: &[String]) -> bool {
        let is_one = |text: &str| names.iter().any(|name| name.eq_ignore_ascii_case(text));
        self.target.as_deref().is_some_and(is_one)
            || self.values.iter().any(|(_, value)| value.split(", ").any(is_one))
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

    /// Writes rows, each in the place of an earlier state of it.
    pub async fn write(
        &self,
        unapplied: &[UnappliedRequest],
        counts: &[(RefusalCount, Uuid)],
    ) -> Result<(), StoreError> {
        let unapplied = unapplied.iter().map(unapplied_row);
        let counts = counts.iter().map(|(count, process)| count_row(count, *process));
        self.transact(unapplied.chain(counts).collect()).await
    }

    async fn transact(&self, writes: Vec<TableWrite>) -> Result<(), StoreError> {
        for chunk in writes.chunks(TRANSACTION_OPS_MAX) {
            let written = self.tables.transact(&self.partition, chunk).await;
            written.map_err(|error| write_error(error, 0))?;
        }
        Ok(())
    }

    /// Deletes rows that are too old, at most one transaction of them; whether there may be more.
    pub async fn expire(&self, now: OffsetDateTime) -> Result<bool, StoreError> {
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
        match self.transact(deletes.clone()).await {
            Err(StoreError::Conflict { .. }) => {}
            done => return done,
        }
        // Another process deletes some of them too.
        for delete in deletes {
            match self.transact(vec![delete]).await {
                Ok(()) | Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Deletes the rows about those names.
    pub async fn erase(&self, names: &[String]) -> Result<(), StoreError> {
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

    /// The requests whose last is not before `since`, by the time of the first, at most so many. A row that cannot be read is
    /// logged and left out.
    pub async fn unapplied(
        &self,
        since: OffsetDateTime,
        rows_max: usize,
    ) -> Result<Vec<UnappliedRequest>, StoreError> {
        let (_, end) = keys::range_of(keys::LOGGED_REQUESTS);
        let rows = self.rows(keys::logged_requests_from(since - ROW_SPAN), end, rows_max).await?;
        let read = rows.iter().filter_map(|row| logged(row, read_unapplied(row)));
        Ok(read.filter(|unapplied| unapplied.last >= since).collect())
    }

    /// The numbers of the hours since, at most so many rows.
    pub async fn counts(
        &self,
        since: OffsetDateTime,
        rows_max: usize,
    ) -> Result<Vec<RefusalCount>, StoreError> {
        let (_, end) = keys::range_of(keys::REFUSAL_COUNTS);
        let rows = self.rows(keys::refusal_counts_from(since - ROW_SPAN), end, rows_max).await?;
        let mut counts: BTreeMap<(OffsetDateTime, RefusalKind), u64> = BTreeMap::new();
        for RefusalCount { hour, kind, count } in rows.iter().filter_map(|row| logged(row, read_count(row))) {
            *counts.entry((hour, kind)).or_default() += count;
        }
        Ok(counts.into_iter().map(|((hour, kind), count)| RefusalCount { hour, kind, count }).collect())
    }

    async fn rows(&self, from: String, to: String, rows_max: usize) -> Result<Vec<TableRow>, StoreError> {
        let (mut rows, mut next) = (Vec::new(), None);
        loop {
            let page = self.page(from.clone(), to.clone(), PAGE_ROWS_MAX, next).await?;
            rows.extend(page.rows);
            next = page.continuation;
            if next.is_none() || rows.len() >= rows_max {
                rows.truncate(rows_max);
                return Ok(rows);
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
        tracing::warn!(row = row.key, %error, "a row of the request log cannot be read and is left out");
    }
    read.ok()
}

fn unapplied_row(unapplied: &UnappliedRequest) -> TableWrite {
    let UnappliedRequest { request, operation, first, last, times, call } = unapplied;
    let properties = RowFields::row()
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
        let UnappliedRequest { request, operation, first, last, times, call } = self;
        json!({
            "kind": "not-applied", "request": request.to_string(), "operation": operation, "first": rfc3339(*first), "last": rfc3339(*last),
            "times": times, "token": call.token, "method": call.method, "about": call.about, "target": call.target,
            "status": call.status, "scimType": call.scim_type, "detail": call.detail, "names": call.names,
            "values": call.values.iter().cloned().collect::<BTreeMap<String, String>>(),
        })
    }
}
