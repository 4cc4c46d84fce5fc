//! The tick: picks up whatever is left, revocations first and again and again in between, and stops at its own deadline.
//! Where it stopped is stored, and the next one goes on there. Safe to run twice and in several processes.

mod look;
mod wake;

use super::aside::Aside;
use super::effects::{Effects, log};
use super::sweep::{Found, Sweep};
use super::{jobs, walk};
use crate::id::OpId;
use crate::ports::role_assignments::RoleAssignments;
use crate::ports::tables::{Answer, Row};
use crate::store::cadence::{Cursors, SweepLeft};
use crate::store::{Store, StoreError, keys};
use look::{Round, Share};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use time::OffsetDateTime;

/// Jobs and walks that one tick takes up.
const ROWS_MAX: usize = 5000;

/// Carries on what requests began.
pub struct Tick {
    effects: Arc<Effects>,
    assignments: Arc<dyn RoleAssignments>,
    aside: Aside,
    share: Mutex<Share>,
    /// How long one tick goes on.
    deadline: Duration,
}

impl Tick {
    pub fn new(effects: Arc<Effects>, assignments: Arc<dyn RoleAssignments>, deadline: Duration) -> Self {
        let aside = Aside::new(effects.store.clock.clone(), effects.status().clone());
        Self { effects, assignments, aside, share: Mutex::default(), deadline }
    }

    fn store(&self) -> &Store {
        &self.effects.store
    }

    /// One tick. What it does not reach, the next one does.
    pub async fn run(&self) -> Result<(), StoreError> {
        let Answer { value: cursors, date } = self.store().cursors().await?;
        let until = self.store().clock.monotonic() + self.deadline;
        let mut round = Round::new(until, cursors.clone());
        self.aside.forget_old();
        let ended = self.everything(&mut round, date).await;
        self.leave(&cursors, round.cursors()).await?;
        ended?;
        self.effects.status().tick_finished();
        Ok(())
    }

    async fn everything(&self, round: &mut Round, now: OffsetDateTime) -> Result<(), StoreError> {
        self.revoke(round).await?;
        self.wake(round, now).await?;
        self.revoke(round).await?;
        self.roll(round).await?;
        self.walk(round).await?;
        self.revoke(round).await?;
        self.everybody(round).await?;
        if self.sweep_when_due(round).await? > 0 {
            self.revoke(round).await?;
            self.everybody(round).await?;
        }
        Ok(())
    }

    fn over(&self, round: &Round) -> bool {
        self.store().clock.monotonic() >= round.until
    }

    async fn leave(&self, before: &Cursors, after: &Cursors) -> Result<(), StoreError> {
        if before != after { self.store().leave_cursors(after).await } else { Ok(()) }
    }

    /// Whether a row is left alone because it keeps failing.
    fn is_aside(&self, row: &Row) -> bool {
        self.aside.holds(&row.key, &row.etag)
    }

    /// What came of a row. An error ends here: the rest goes on.
    fn note(&self, what: &str, row: &Row, ended: Result<(), StoreError>) {
        match ended {
            Ok(()) => self.aside.ended(&row.key),
            Err(error) => {
                log(what, &error);
                self.aside.failed(&row.key, &row.etag, &error);
            }
        }
    }

    async fn roll(&self, round: &mut Round) -> Result<(), StoreError> {
        let (from, to) = keys::range_of("i:");
        for row in self.store().rows_between(from, to, ROWS_MAX).await? {
            if self.over(round) {
                return Ok(());
            }
            if self.is_aside(&row) {
                continue;
            }
            let ended = match OpId::parse(keys::last_part(&row.key)) {
                Ok(job) => self.roll_one(job, round).await,
                Err(_) => Err(StoreError::Corrupt { row: row.key.clone(), property: "key".to_owned() }),
            };
            self.note("a job", &row, ended);
        }
        Ok(())
    }

    /// Chunk by chunk, and at once those from whom a chunk took something. Whoever else is marked is looked at later.
    async fn roll_one(&self, job: OpId, round: &mut Round) -> Result<(), StoreError> {
        while !self.over(round) {
            let rolled = jobs::roll_chunk(self.store(), &self.effects.snapshots, job).await?;
            self.effects.look(&rolled.people).await;
            if rolled.done {
                return Ok(());
            }
            self.between(round, rolled.people.len() + 1).await?;
        }
        Ok(())
    }

    async fn walk(&self, round: &mut Round) -> Result<(), StoreError> {
        let (from, to) = keys::range_of("dg:");
        for row in self.store().rows_between(from, to, ROWS_MAX).await? {
            if !self.is_aside(&row) {
                let ended = self.walk_one(&row, round).await;
                self.note("a walk", &row, ended);
            }
        }
        Ok(())
    }

    async fn walk_one(&self, row: &Row, round: &mut Round) -> Result<(), StoreError> {
        let mut current = Some(row.clone());
        while let Some(row) = current.filter(|_| !self.over(round)) {
            walk::walk_page(self.store(), &row).await?;
            self.between(round, 1).await?;
            current = self.store().get(&row.key).await?;
        }
        Ok(())
    }

    /// The sweep runs at its cadence, which is stored: whichever process comes first takes it. Answers the differences.
    async fn sweep_when_due(&self, round: &Round) -> Result<usize, StoreError> {
        if self.over(round) {
            return Ok(0);
        }
        let Some(run) = self.store().take_sweep().await? else { return Ok(0) };
        let found = self.compare(&run.after, round.until).await?;
        self.store().leave_sweep(run, found.left()).await?;
        Ok(found.differences)
    }

    /// Compares Azure with the ledger now, all of it.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        self.compare("", Duration::MAX).await.map(|_| ())
    }

    async fn compare(&self, after: &str, until: Duration) -> Result<Found, StoreError> {
        let (store, snapshots) = (self.store(), self.effects.snapshots.as_ref());
        let found =
            Sweep { store, snapshots, assignments: self.assignments.as_ref() }.run(after, until).await?;
        let (scopes, differences, whole) =
            (found.scopes, found.differences, found.left() == SweepLeft::Finished);
        tracing::info!(scopes, differences, whole, "azure was compared with the ledger");
        if whole {
            self.effects.status().sweep_finished();
        }
        Ok(found)
    }
}
