//! Seals the records of each day into a head, and puts the heads into the container.
//!
//! A stage of the tick. It does one thing after the other, each complete in itself: a head of the chain is published, the
//! records of earlier heads are compared with the table, a head is made, old records are deleted. Where it is, is a row. The
//! row of a head is written before its file: the row decides what the head is, and the file is only ever a copy of it.

use super::query::op_prefix;
use crate::audit::chain::{AuditHead, HEAD_RECORDS_MAX, HeadEntry, RecordHash, head_file};
use crate::error_chain::ErrorChain;
use crate::events::log_event;
use crate::id::OpId;
use crate::ports::head_archive::{ArchiveError, HeadArchive};
use crate::service::health::HealthStatus;
use crate::store::audit_chain::{ChainState, LATE_MAX, NewHead, StoredChain};
use crate::store::journal_lines::JournalLine;
use crate::store::{ETag, PAGE_ROWS_MAX, StateStore, StoreError, TableAnswer};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use time::{Date, OffsetDateTime};

/// How long records are kept, in months, where nothing is set.
pub const RETENTION_MONTHS: u32 = 13;
/// Before the next look where there is nothing to seal yet, or the container is not reached.
const PAUSE: Duration = Duration::from_secs(300);
/// What a restored export may lack of the time before it began: a commit that was under way.
const RESTORE_GRACE: Duration = Duration::from_secs(3600);
/// Records from before that many days are sealed by the first head.
const DAYS_MAX: i64 = 3_650;

/// How the audit is kept.
#[derive(Clone)]
pub struct AuditKeeping {
    /// Where heads go; without it they are in the table alone.
    pub archive: Option<Arc<dyn HeadArchive>>,
    pub retention_months: u32,
}

impl Default for AuditKeeping {
    fn default() -> Self {
        Self { archive: None, retention_months: RETENTION_MONTHS }
    }
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SealStep {
    /// There may be more.
    Done,
    /// There is nothing before that time.
    Wait(OffsetDateTime),
}

/// The stage.
pub struct AuditSealer {
    pub(super) store: StateStore,
    archive: Option<Arc<dyn HeadArchive>>,
    pub(super) retention_months: u32,
    health: Arc<HealthStatus>,
    /// Nothing is to be done before, by the table service's clock. Only a hint, so that a tick reads nothing.
    next_look: Mutex<Option<OffsetDateTime>>,
}

/// What was read when a step began.
pub(super) struct SealRead {
    pub state: ChainState,
    pub etag: Option<ETag>,
    pub now: OffsetDateTime,
}

impl AuditSealer {
    pub fn new(store: StateStore, keeping: AuditKeeping, health: Arc<HealthStatus>) -> Self {
        let AuditKeeping { archive, retention_months } = keeping;
        health.has_head_archive(archive.is_some());
        Self { store, archive, retention_months, health, next_look: Mutex::default() }
    }

    /// Steps until then, on the monotonic clock, and at least one. `now` is the table service's.
    pub async fn run(&self, now: OffsetDateTime, until: Duration) -> Result<(), StoreError> {
        if self.lock().is_some_and(|at| now < at) {
            return Ok(());
        }
        loop {
            match self.step().await {
                Ok(SealStep::Done) => {}
                Ok(SealStep::Wait(at)) => {
                    *self.lock() = Some(at);
                    return Ok(());
                }
                // Another process seals as well, and was first.
                Err(StoreError::Conflict { .. }) => return Ok(()),
                Err(error @ StoreError::Away { .. }) => return Err(error),
                Err(error) => {
                    self.health.audit_failing();
                    return Err(error);
                }
            }
            if self.store.clock.monotonic() >= until {
                return Ok(());
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<OffsetDateTime>> {
        self.next_look.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn step(&self) -> Result<SealStep, StoreError> {
        let TableAnswer { value, date: now } = self.store.audit_chain().await?;
        let read = match value {
            Some(StoredChain { state, etag }) => SealRead { state, etag: Some(etag), now },
            None => match self.begin(now).await? {
                Some(state) => SealRead { state, etag: None, now },
                None => return Ok(SealStep::Wait(now + PAUSE)),
            },
        };
        self.health.audit_sealed(&read.state, now);
        if read.state.forked {
            return self.look_at_fork(&read).await;
        }
        let archived = match &self.archive {
            Some(archive) if read.state.published < read.state.next => {
                self.publish(archive.as_ref(), &read).await
            }
            _ => Ok(None),
        };
        match archived {
            Ok(None) => {}
            Ok(Some(state)) => return self.leave(&read, &state).await,
            Err(ArchiveOrStore::Archive(error)) => return Ok(archive_away(&error, now)),
            Err(ArchiveOrStore::Store(error)) => return Err(error),
        }
        let due = read.state.due_at();
        if now < due {
            let expired = self.expire(&read).await?;
            return Ok(expired.unwrap_or(SealStep::Wait(due)));
        }
        if let Some(state) = self.check(&read).await? {
            return self.leave(&read, &state).await;
        }
        self.seal_or_adopt(&read).await
    }

    pub(super) async fn leave(&self, read: &SealRead, state: &ChainState) -> Result<SealStep, StoreError> {
        self.store.leave_audit_chain(read.etag.as_ref(), state).await?;
        Ok(SealStep::Done)
    }

    /// The state before the first head: it begins with the day of the first record.
    async fn begin(&self, now: OffsetDateTime) -> Result<Option<ChainState>, StoreError> {
        let Some(op) = self.store.first_op().await? else { return Ok(None) };
        let time = OpId::parse(&op).ok().and_then(|op| op.time()).unwrap_or(now);
        let earliest = now - time::Duration::days(DAYS_MAX);
        Ok(Some(ChainState::new(time.clamp(earliest, now).date())))
    }

    /// Puts the next head into the container. `None`: there is none that is not there.
    async fn publish(
        &self,
        archive: &dyn HeadArchive,
        read: &SealRead,
    ) -> Result<Option<ChainState>, ArchiveOrStore> {
        let number = read.state.published;
        let Some(head) = self.store.audit_head(number).await? else { return Ok(None) };
        let name = self.file(number);
        let is_new = archive.create(&name, &head.text).await?;
        let there = if is_new { None } else { archive.get(&name).await? };
        if !is_new && there.is_none() {
            // It was there a moment ago: the next step tries again.
            return Ok(None);
        }
        let mut state = read.state.clone();
        if there.is_some_and(|there| there != head.text) {
            log_event!(
                AuditDamaged,
                head = number,
                "the container has another head of the audit than the table; nothing more is sealed"
            );
            state.forked = true;
        } else {
            state.published = number + 1;
        }
        Ok(Some(state))
    }

    /// Whether the container still has another head: it may be another container now. Then all heads so far are put there.
    async fn look_at_fork(&self, read: &SealRead) -> Result<SealStep, StoreError> {
        let state = &read.state;
        let again = SealStep::Wait(read.now + PAUSE);
        let Some(archive) = &self.archive else { return Ok(again) };
        let number = state.published.min(state.next);
        let there = match archive.get(&self.file(number)).await {
            Ok(there) => there,
            Err(error) => return Ok(archive_away(&error, read.now)),
        };
        let ours = self.store.audit_head(number).await?;
        let is_forked = match (there, ours) {
            (None, _) => false,
            (Some(there), Some(ours)) => there != ours.text,
            (Some(there), None) => self.follows(read, &there).is_none(),
        };
        if is_forked {
            return Ok(again);
        }
        log_event!(
            AuditForkEnded,
            head = number,
            "the container has no other head of the audit any more: sealing goes on"
        );
        self.leave(read, &ChainState { forked: false, published: 0, ..state.clone() }).await?;
        Ok(again)
    }

    /// The head of the container that comes after those of the table, if it is one.
    fn follows(&self, read: &SealRead, bytes: &[u8]) -> Option<AuditHead> {
        let state = &read.state;
        AuditHead::parse(bytes).ok().filter(|head| {
            let end = day_end(head.day);
            head.number == state.next
                && head.tenant == self.store.tenant()
                && head.previous == state.previous
                // A day that has not ended was never sealed.
                && end <= op_prefix(read.now)
                && head.through <= end
        })
    }

    pub(super) fn file(&self, number: u64) -> String {
        format!("{}/{}", self.store.tenant(), head_file(number))
    }

    async fn seal_or_adopt(&self, read: &SealRead) -> Result<SealStep, StoreError> {
        if let Some(archive) = &self.archive {
            match archive.get(&self.file(read.state.next)).await {
                Ok(None) => {}
                Ok(Some(bytes)) => return self.adopt(read, bytes).await,
                Err(error) => return Ok(archive_away(&error, read.now)),
            }
        }
        self.seal(read).await
    }

    /// The table is older than the container: it was restored, or begun anew. The chain goes on behind the last head there.
    async fn adopt(&self, read: &SealRead, bytes: Vec<u8>) -> Result<SealStep, StoreError> {
        let state = &read.state;
        let head = self.follows(read, &bytes);
        let (Some(head), Ok(text)) = (head, String::from_utf8(bytes)) else {
            log_event!(
                AuditDamaged,
                head = state.next,
                "the container has a head of the audit that does not follow those of the table; nothing more is sealed"
            );
            return self.leave(read, &ChainState { forked: true, ..state.clone() }).await;
        };
        log_event!(
            AuditHeadAdopted,
            head = head.number,
            "a head of the audit was taken from the container: the table is older"
        );
        let is_whole_day = head.through == day_end(head.day);
        let late = head.entries.iter().filter(|entry| entry.late).map(|entry| entry.op.clone());
        let late: Vec<String> = late.take(LATE_MAX).collect();
        let after = ChainState {
            next: state.next + 1,
            previous: RecordHash::of(text.as_bytes()),
            through: head.through.clone(),
            day: if is_whole_day { head.day.next_day().unwrap_or(head.day) } else { head.day },
            published: state.next + 1,
            late: state.late.iter().filter(|op| !late.contains(op)).cloned().collect(),
            ..state.clone()
        };
        let new =
            NewHead { number: head.number, text: &text, adopted: true, after: &state.through, late: &late };
        self.store.seal(read.etag.as_ref(), &after, &new).await?;
        Ok(SealStep::Done)
    }

    /// Makes the next head: late records, then those of its day.
    async fn seal(&self, read: &SealRead) -> Result<SealStep, StoreError> {
        let state = &read.state;
        let (late, later) = state.late.split_at_checked(LATE_MAX).unwrap_or((&state.late, &[]));
        let mut entries = Vec::new();
        for op in late {
            let line = self.store.journal_line(op).await?;
            entries.extend(line.map(|line| HeadEntry { late: true, ..entry(line) }));
        }
        let mut through = state.through.clone();
        let mut day = state.day;
        // Late records that do not fit come first in the next head.
        if later.is_empty() {
            let end = day_end(day);
            let mut pages = self.store.journal_lines(&state.through, &end);
            let mut room = HEAD_RECORDS_MAX.saturating_sub(entries.len());
            while room > 0
                && let Some(lines) = pages.at_most(room.min(PAGE_ROWS_MAX)).await?
            {
                room -= lines.len().min(room);
                entries.extend(lines.into_iter().map(entry));
            }
            let last = entries.last().filter(|_| room == 0);
            through = last.map_or(end, |last| last.op.clone());
            day = if room == 0 { day } else { day.next_day().unwrap_or(day) };
        }
        let head = AuditHead {
            tenant: self.store.tenant().to_owned(),
            number: state.next,
            day: state.day,
            previous: state.previous,
            sealed: read.now,
            through: through.clone(),
            entries,
        };
        let text = head.to_text();
        let after = ChainState {
            next: state.next + 1,
            previous: RecordHash::of(text.as_bytes()),
            through,
            day,
            late: later.to_vec(),
            ..state.clone()
        };
        let new = NewHead { number: state.next, text: &text, adopted: false, after: &state.through, late };
        self.store.seal(read.etag.as_ref(), &after, &new).await?;
        let records = head.entries.len();
        tracing::info!(head = head.number, day = %head.day, records, late = late.len(), "audit records were sealed");
        Ok(SealStep::Done)
    }
}

fn entry(line: JournalLine) -> HeadEntry {
    let restored = line.restored.map(|began| op_prefix(began - RESTORE_GRACE));
    HeadEntry { hash: line.hash(), late: false, expired: line.expired, restored, op: line.op }
}

fn archive_away(error: &ArchiveError, now: OffsetDateTime) -> SealStep {
    log_event!(AuditHeadsAway, error = %ErrorChain(error), "the container of the audit's heads is not reached, and is tried again");
    SealStep::Wait(now + PAUSE)
}

/// The beginning of the ops of the next day.
pub(super) fn day_end(day: Date) -> String {
    op_prefix(day.next_day().unwrap_or(day).midnight().assume_utc())
}

/// What a step that needs both can end with.
enum ArchiveOrStore {
    Archive(ArchiveError),
    Store(StoreError),
}

impl From<ArchiveError> for ArchiveOrStore {
    fn from(error: ArchiveError) -> Self {
        ArchiveOrStore::Archive(error)
    }
}

impl From<StoreError> for ArchiveOrStore {
    fn from(error: StoreError) -> Self {
        ArchiveOrStore::Store(error)
    }
}
