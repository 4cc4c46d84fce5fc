//! The tick: picks up whatever is left, revocations first and again and again in between, and stops at its own deadline.
//! Where it stopped is stored, and the next one goes on there. Safe to run twice and in several processes.

mod look;
mod wake;

use super::aside::Aside;
use super::effects::{Effects, log};
use super::sweep::{Found, Sweep};
use super::{jobs, overdue, walk};
use crate::id::OpId;
use crate::ports::role_assignments::RoleAssignments;
use crate::ports::tables::{Answer, Row};
use crate::store::cadence::{Cursors, SweepLeft, SweepRun};
use crate::store::{Store, StoreError, keys};
use look::{Round, Share};
use std::collections::VecDeque;
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
    /// A revocation that is wished for longer is overdue.
    overdue_after: Duration,
}

impl Tick {
    pub fn new(
        effects: Arc<Effects>,
        assignments: Arc<dyn RoleAssignments>,
        deadline: Duration,
        overdue_after: Duration,
    ) -> Self {
        let aside = Aside::new(effects.store.clock.clone(), effects.status().clone());
        Self { effects, assignments, aside, share: Mutex::default(), deadline, overdue_after }
    }

    fn store(&self) -> &Store {
        &self.effects.store
    }

    /// One tick. What it does not reach, the next one does.
    pub async fn run(&self) -> Result<(), StoreError> {
        let ended = self.round().await;
        if let Err(error) = overdue::count(self.store(), self.effects.status(), self.overdue_after).await {
            log("counting overdue revocations", &error);
        }
        match ended {
            Ok(()) => self.effects.status().tick_finished(),
            Err(_) => self.effects.status().tick_failed(),
        }
        ended
    }

    async fn round(&self) -> Result<(), StoreError> {
        let Answer { value: cursors, date } = self.store().cursors().await?;
        let until = self.store().clock.monotonic() + self.deadline;
        let mut round = Round::new(until, cursors.clone());
        self.aside.forget_old();
        let ended = self.everything(&mut round, date).await;
        self.leave(&cursors, round.cursors()).await?;
        ended
    }

    async fn everything(&self, round: &mut Round, now: OffsetDateTime) -> Result<(), StoreError> {
        self.revoke(round).await?;
        self.wake(round, now).await?;
        self.revoke(round).await?;
        self.roll(round).await?;
        self.walk(round).await?;
        self.revoke(round).await?;
        let sweep = self.store().due_sweep().await?;
        self.effects.status().scopes_refused(sweep.scopes_refused);
        let mut due = sweep.run;
        if sweep.late {
            // A backlog must not put the sweep off for ever: it goes first, with half of the time.
            let half = round.half_of_the_rest(self.store().clock.monotonic());
            if self.sweep_one(due, half).await? > 0 {
                self.revoke(round).await?;
            }
            due = self.store().due_sweep().await?.run;
        }
        self.everybody(round).await?;
        if self.sweep_one(due, round.until).await? > 0 {
            self.revoke(round).await?;
            self.everybody(round).await?;
        }
        Ok(())
    }

    fn over(&self, round: &Round) -> bool {
        self.is_past(round.until)
    }

    /// `at` is on the monotonic clock.
    fn is_past(&self, at: Duration) -> bool {
        self.store().clock.monotonic() >= at
    }

    async fn leave(&self, before: &Cursors, after: &Cursors) -> Result<(), StoreError> {
        if before != after { self.store().leave_cursors(after).await } else { Ok(()) }
    }

    /// Whether a row is left alone because it keeps failing.
    fn is_aside(&self, row: &Row) -> bool {
        self.aside.holds(row)
    }

    /// What came of a row. An error ends here: the rest goes on.
    fn conclude(&self, what: &str, row: &Row, ended: Result<(), StoreError>) {
        match ended {
            Ok(()) => self.aside.ended(&row.key),
            Err(error) => {
                log(what, &error);
                self.aside.failed(row, &error);
            }
        }
    }

    /// A chunk of each job in turn: what a small job takes away does not wait for the end of a large one.
    async fn roll(&self, round: &mut Round) -> Result<(), StoreError> {
        let (from, to) = keys::range_of("i:");
        let mut jobs: VecDeque<Row> = self.store().rows_between(from, to, ROWS_MAX).await?.into();
        jobs.retain(|row| !self.is_aside(row));
        while !self.over(round)
            && let Some(row) = jobs.pop_front()
        {
            match self.roll_on(&row, round).await {
                Ok(false) => jobs.push_back(row),
                ended => self.conclude("a job", &row, ended.map(|_| ())),
            }
        }
        Ok(())
    }

    /// One chunk, and at once those from whom it took something. Whoever else is marked is looked at later. Answers whether
    /// the job is done.
    async fn roll_on(&self, row: &Row, round: &mut Round) -> Result<bool, StoreError> {
        let corrupt = |_| StoreError::Corrupt { row: row.key.clone(), property: "key".to_owned() };
        let job = OpId::parse(keys::last_part(&row.key)).map_err(corrupt)?;
        let rolled = jobs::roll_chunk(self.store(), &self.effects.snapshots, job).await?;
        self.effects.look(&rolled.people).await;
        if !rolled.done {
            self.between(round, rolled.people.len() + 1).await?;
        }
        Ok(rolled.done)
    }

    async fn walk(&self, round: &mut Round) -> Result<(), StoreError> {
        let (from, to) = keys::range_of("dg:");
        for row in self.store().rows_between(from, to, ROWS_MAX).await? {
            if self.over(round) {
                return Ok(());
            }
            if !self.is_aside(&row) {
                let ended = self.walk_one(&row, round).await;
                self.conclude("a walk", &row, ended);
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
    async fn sweep_one(&self, due: Option<SweepRun>, until: Duration) -> Result<usize, StoreError> {
        let Some(due) = due.filter(|_| !self.is_past(until)) else { return Ok(0) };
        let Some(run) = self.store().take_sweep(due).await? else { return Ok(0) };
        let found = self.compare(&run.after, until).await?;
        let refused = self.store().leave_sweep(run, found.left(), found.refused()).await?;
        self.effects.status().scopes_refused(refused);
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
