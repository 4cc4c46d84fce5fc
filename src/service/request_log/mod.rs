//! The log of requests that left no audit record, for the admin of the identity provider.
//!
//! What is noted here waits in memory and is written in the background, so that no request waits for it or fails with it. A
//! process that is killed loses what it noted since the last write. Requests that are equal share a row for an hour, so a client
//! that retries the same request fills nothing.

pub mod history;

use crate::id::RequestId;
use crate::ports::clock::Clock;
use crate::service::deferred::log_deferred;
use crate::service::rate_limit::RateLimiter;
use crate::store::StoreError;
use crate::store::request_log::{
    ROW_SPAN, RefusalCount, RefusalKind, RequestTable, SoughtNames, UnappliedCall, UnappliedRequest,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::Notify;
use tokio::time::timeout;
use uuid::Uuid;

/// New rows that a process writes for the holder of one token, and apart from them for requests that would have taken access
/// away: so many at once, and so many a minute after that. Other requests are only counted.
const NEW_ROWS: RateLimiter = RateLimiter::new(30.0, 0.5);
/// Limits that are kept at a time.
const TOKENS_MAX: usize = 64;
/// Rows of requests that are kept in memory: they are not written yet, or of this hour.
const REQUESTS_MAX: usize = 1000;
/// Kinds of counted requests within an hour, of callers with a token and of others apart. Further ones are counted together.
const KINDS_MAX: usize = 60;
/// Numbers that are kept in memory while they cannot be written.
const COUNTS_MAX: usize = 1000;
/// Between two writes.
const WRITE_EVERY: Duration = Duration::from_secs(10);
/// Between two looks for rows that are too old.
const EXPIRE_EVERY: Duration = Duration::from_secs(3600);
/// What clients beyond [`KINDS_MAX`] are counted as.
const OTHER_CLIENTS: &str = "(others)";

/// The log.
pub struct RequestLog {
    table: RequestTable,
    clock: Arc<dyn Clock>,
    /// Of this process: it counts in rows of its own.
    process: Uuid,
    noted: Mutex<NotedRequests>,
    /// Held while rows are written: an earlier state of a row must not overwrite a later one.
    writing: tokio::sync::Mutex<()>,
    wake: Notify,
}

#[derive(Default)]
struct NotedRequests {
    new_rows: BTreeMap<(String, bool), RateLimiter>,
    requests: BTreeMap<(UnappliedCall, OffsetDateTime), NotedRow<UnappliedRequest>>,
    counts: BTreeMap<(OffsetDateTime, RefusalKind), NotedRow<u64>>,
}

/// What a row says, and whether the table has it.
struct NotedRow<T> {
    value: T,
    is_written: bool,
}

impl RequestLog {
    /// `process`: random, of this process.
    pub fn new(table: RequestTable, clock: Arc<dyn Clock>, process: Uuid) -> Self {
        let (noted, writing, wake) = (Mutex::default(), tokio::sync::Mutex::default(), Notify::new());
        Self { table, clock, process, noted, writing, wake }
    }

    /// Notes a write that left no audit record; false where it is one too many, and can only be counted.
    #[must_use]
    pub fn note(&self, request: RequestId, operation: Option<usize>, call: UnappliedCall) -> bool {
        let (now, hour) = self.now();
        let mut noted = self.lock();
        let key = (call, hour);
        if let Some(row) = noted.requests.get_mut(&key) {
            row.value.times += 1;
            row.value.last = now;
            row.value.last_request = request;
            row.is_written = false;
        } else if noted.has_room(&key.0, self.clock.monotonic()) {
            let call = key.0.clone();
            let value = UnappliedRequest {
                request,
                last_request: request,
                operation,
                first: now,
                last: now,
                times: 1,
                call,
            };
            noted.requests.insert(key, NotedRow { value, is_written: false });
        } else {
            return false;
        }
        drop(noted);
        self.wake.notify_one();
        true
    }

    /// Counts a request that was refused.
    pub fn count(&self, kind: RefusalKind) {
        let mut noted = self.lock();
        let (_, hour) = self.now();
        let kind = noted.known_kind(hour, kind);
        let row = noted.counts.entry((hour, kind)).or_insert(NotedRow { value: 0, is_written: false });
        row.value += 1;
        row.is_written = false;
        drop(noted);
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, NotedRequests> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> (OffsetDateTime, OffsetDateTime) {
        let now = self.clock.now();
        let hour = now.replace_minute(0).and_then(|time| time.replace_second(0));
        let hour = hour.and_then(|time| time.replace_nanosecond(0));
        (now, hour.unwrap_or(now))
    }

    /// Writes what is noted, for as long as the process runs, and deletes what is too old.
    pub async fn write_for_ever(&self) {
        let mut expired_at: Option<Duration> = None;
        loop {
            let now = self.clock.monotonic();
            if expired_at.is_none_or(|at| now.saturating_sub(at) >= EXPIRE_EVERY) {
                match self.expire().await {
                    Ok(()) => expired_at = Some(now),
                    Err(error) => log_deferred("deleting old rows of the request log", &error),
                }
            }
            // An old row is deleted also where nothing new is noted.
            if timeout(EXPIRE_EVERY, self.wake.notified()).await.is_ok() {
                if let Err(error) = self.write_noted().await {
                    log_deferred("writing the request log", &error);
                    self.wake.notify_one();
                }
                tokio::time::sleep(WRITE_EVERY).await;
            }
        }
    }

    /// Deletes the rows that are too old.
    pub async fn expire(&self) -> Result<(), StoreError> {
        while self.table.expire().await? {}
        Ok(())
    }

    /// Deletes what the log has of a person or a group, in memory and in the table.
    pub async fn erase(&self, names: &SoughtNames) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        self.lock().requests.retain(|(call, _), _| !call.is_about(names));
        self.table.erase(names).await
    }

    /// Writes what is noted and not written yet.
    pub async fn write_noted(&self) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        let (requests, counts) = self.take_unwritten();
        if requests.is_empty() && counts.is_empty() {
            return Ok(());
        }
        let written = self.table.write(&requests, &counts).await;
        if written.is_err() {
            self.put_back(&requests, &counts);
        }
        written
    }

    /// What is not written yet; from now on it counts as written. What is written and of an earlier hour is forgotten.
    fn take_unwritten(&self) -> (Vec<UnappliedRequest>, Vec<(RefusalCount, Uuid)>) {
        let (_, hour) = self.now();
        let mut noted = self.lock();
        noted.requests.retain(|(_, of), row| !row.is_written || *of + ROW_SPAN > hour);
        // An hour longer: a clock that is set back must not begin a number anew.
        noted.counts.retain(|(of, _), row| !row.is_written || *of + ROW_SPAN + ROW_SPAN > hour);
        let requests = noted.requests.values_mut().filter_map(NotedRow::take).collect();
        let counts = noted.counts.iter_mut().filter_map(|((hour, kind), row)| {
            let count = row.take()?;
            Some((RefusalCount { hour: *hour, kind: kind.clone(), count }, self.process))
        });
        (requests, counts.collect())
    }

    fn put_back(&self, requests: &[UnappliedRequest], counts: &[(RefusalCount, Uuid)]) {
        let mut noted = self.lock();
        let ids: Vec<_> = requests.iter().map(|one| (one.request, one.operation)).collect();
        for row in noted.requests.values_mut() {
            row.is_written &= !ids.contains(&(row.value.request, row.value.operation));
        }
        for (RefusalCount { hour, kind, .. }, _) in counts {
            if let Some(row) = noted.counts.get_mut(&(*hour, kind.clone())) {
                row.is_written = false;
            }
        }
    }
}

impl NotedRequests {
    /// Whether the holder of this token gets another row. What would have taken access away has a limit of its own.
    fn has_room(&mut self, call: &UnappliedCall, now: Duration) -> bool {
        if self.requests.len() >= REQUESTS_MAX && !self.forget_written() {
            return false;
        }
        let key = (call.token.clone(), call.takes_away());
        if !self.new_rows.contains_key(&key) && self.new_rows.len() >= TOKENS_MAX {
            self.new_rows.clear();
        }
        self.new_rows.entry(key).or_insert(NEW_ROWS).take_one(now).is_none()
    }

    /// Makes room where there is a row that the table has: a later request that is equal gets a row of its own.
    fn forget_written(&mut self) -> bool {
        let before = self.requests.len();
        self.requests.retain(|_, row| !row.is_written);
        self.requests.len() < before
    }

    /// The kind as it is counted. A caller without a token can call itself anything.
    fn known_kind(&self, hour: OffsetDateTime, kind: RefusalKind) -> RefusalKind {
        let is_unknown = |kind: &RefusalKind| kind.status == 401;
        let of_hour =
            self.counts.keys().filter(|(of, known)| *of == hour && is_unknown(known) == is_unknown(&kind));
        let is_known = self.counts.contains_key(&(hour, kind.clone()));
        match is_known || (of_hour.count() < KINDS_MAX && self.counts.len() < COUNTS_MAX) {
            true => kind,
            false => RefusalKind { scim_type: None, user_agent: OTHER_CLIENTS.to_owned(), ..kind },
        }
    }
}

impl<T: Clone> NotedRow<T> {
    fn take(&mut self) -> Option<T> {
        let is_due = !std::mem::replace(&mut self.is_written, true);
        is_due.then(|| self.value.clone())
    }
}
