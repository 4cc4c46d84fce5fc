//! The tick: picks up whatever is left, revocations first, and stops at its own deadline. Safe to run twice and in
//! several processes.

use super::effects::{Effects, log};
use super::{jobs, sweep, walk};
use crate::id::{OpId, UserId};
use crate::ports::role_assignments::RoleAssignments;
use crate::ports::tables::{Match, Row, Write};
use crate::store::codec::Fields;
use crate::store::marks::Look;
use crate::store::settings::begin;
use crate::store::{Store, StoreError, keys};
use std::sync::Arc;
use std::time::Duration;

/// Rows of each kind that one tick takes up.
const ROWS_MAX: usize = 5000;
/// People that one tick looks through, so that a revocation is found among many grants.
const LOOKS_MAX: usize = 50_000;
/// How often Azure is compared with the ledger.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// Carries on what requests began.
pub struct Tick {
    effects: Arc<Effects>,
    assignments: Arc<dyn RoleAssignments>,
    /// How long one tick goes on.
    deadline: Duration,
}

impl Tick {
    pub fn new(effects: Arc<Effects>, assignments: Arc<dyn RoleAssignments>, deadline: Duration) -> Self {
        Self { effects, assignments, deadline }
    }

    fn store(&self) -> &Store {
        &self.effects.store
    }

    /// One tick. What it does not reach, the next one does.
    pub async fn run(&self) -> Result<(), StoreError> {
        let until = self.store().clock.monotonic() + self.deadline;
        self.look(true, until).await?;
        self.wake(until).await?;
        self.look(true, until).await?;
        self.roll(until).await;
        self.walk(until).await?;
        self.look(true, until).await?;
        self.look(false, until).await?;
        self.sweep_when_due().await?;
        self.look(false, until).await
    }

    fn over(&self, until: Duration) -> bool {
        self.store().clock.monotonic() >= until
    }

    /// Every `w:` that is due becomes `d:`.
    async fn wake(&self, until: Duration) -> Result<(), StoreError> {
        let now = self.store().read(&keys::setting("tick")).await?.date;
        let (from, _) = keys::range_of("w:");
        let to = format!("w:{};", keys::stamp(now));
        for row in self.store().rows_between(from, to, ROWS_MAX).await? {
            if self.over(until) {
                return Ok(());
            }
            match Look::read(&row) {
                Ok(look) => self.wake_one(&row, &look).await?,
                Err(error) => log("a mark", &error),
            }
        }
        Ok(())
    }

    async fn wake_one(&self, row: &Row, look: &Look) -> Result<(), StoreError> {
        let key = keys::look_now(look.user);
        let gone = Write::Delete { key: row.key.clone(), condition: Match::Exact(row.etag.clone()) };
        let insert = Write::Insert { key: key.clone(), properties: look.mark.fields().done() };
        match self.store().move_looking(&[insert, gone.clone()]).await {
            Err(StoreError::Conflict { index: 0, .. }) => {}
            Err(StoreError::Conflict { .. }) => return Ok(()),
            other => return other.map(|_| ()),
        }
        let touched = Fields::some().text("woken", row.key.clone());
        let touched = if look.mark.taken_away { touched.flag("taken_away", true) } else { touched };
        let touch = Write::Merge { key, properties: touched.done(), condition: Match::Any };
        match self.store().move_looking(&[touch, gone]).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Everybody who is marked; with `taken_away`, only those from whom something was taken.
    async fn look(&self, taken_away: bool, until: Duration) -> Result<(), StoreError> {
        let (from, to) = keys::range_of("d:");
        let rows = self.store().rows_between(from, to, LOOKS_MAX).await?;
        let read = |row| Look::read(row).inspect_err(|error| log("a mark", error)).ok();
        let looks: Vec<Look> = rows.iter().filter_map(read).collect();
        let chosen = looks.iter().filter(|look| look.mark.taken_away || !taken_away);
        let people: Vec<UserId> = chosen.map(|look| look.user).collect();
        for part in people.chunks(8) {
            if self.over(until) {
                return Ok(());
            }
            self.effects.look(part).await;
        }
        Ok(())
    }

    async fn roll(&self, until: Duration) {
        let (from, to) = keys::range_of("i:");
        let jobs = match self.store().rows_between(from, to, ROWS_MAX).await {
            Ok(jobs) => jobs,
            Err(error) => return log("the list of jobs", &error),
        };
        for row in jobs {
            if self.over(until) {
                return;
            }
            let Ok(job) = OpId::parse(keys::last_part(&row.key)) else { continue };
            if let Err(error) = self.roll_one(job, until).await {
                log("a job", &error);
            }
        }
    }

    /// Chunk by chunk; whom a chunk marks is looked at by what follows in the tick.
    async fn roll_one(&self, job: OpId, until: Duration) -> Result<(), StoreError> {
        while !self.over(until) && !jobs::roll_chunk(self.store(), &self.effects.snapshots, job).await?.done {
        }
        Ok(())
    }

    async fn walk(&self, until: Duration) -> Result<(), StoreError> {
        let (from, to) = keys::range_of("dg:");
        for row in self.store().rows_between(from, to, ROWS_MAX).await? {
            let mut current = Some(row);
            while let Some(row) = current.filter(|_| !self.over(until)) {
                if let Err(error) = walk::walk_page(self.store(), &row).await {
                    log("a walk", &error);
                    break;
                }
                current = self.store().get(&row.key).await?;
            }
        }
        Ok(())
    }

    /// The sweep runs at its cadence, which is stored: whichever process comes first takes it.
    async fn sweep_when_due(&self) -> Result<(), StoreError> {
        let cadence = self.store().cadence("sweep").await?;
        let (now, last) = (cadence.date, cadence.value);
        if last.as_ref().is_some_and(|(began, _)| *began + SWEEP_EVERY > now) {
            return Ok(());
        }
        let write = begin("sweep", now, last.as_ref().map(|(_, etag)| etag));
        match self.store().move_looking(&[write]).await {
            Ok(_) => self.sweep().await,
            Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Compares Azure with the ledger now.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let found = sweep::sweep(self.store(), &self.effects.snapshots, self.assignments.as_ref()).await?;
        tracing::info!(
            scopes = found.scopes,
            differences = found.differences,
            "azure was compared with the ledger"
        );
        Ok(())
    }
}
