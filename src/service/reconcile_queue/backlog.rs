//! Jobs and groups: each has a step in its turn, so a large one holds up no other. They mark people; whoever loses something
//! is looked at in between, in the order of all leavers.

use crate::id::OpId;
use crate::ports::tables::TableRow;
use crate::service::jobs;
use crate::service::reconcile_queue::group_fan_out;
use crate::service::reconcile_queue::tick::ReconcileTick;
use crate::service::reconcile_queue::tick_round::TickRound;
use crate::store::codec::RowReader;
use crate::store::reconcile_queue::ReconcileRequest;
use crate::store::{StoreError, keys};
use std::collections::VecDeque;
use std::time::Duration;

/// Jobs, or groups, that take turns in one tick; the next one goes on with the others.
const TURNS_MAX: usize = 200;

/// What has steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Jobs,
    Groups,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Jobs => "i:",
            Self::Groups => "dg:",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Jobs => "a job",
            Self::Groups => "a walk",
        }
    }

    const fn cursor(self, round: &mut TickRound) -> &mut String {
        match self {
            Self::Jobs => &mut round.cursors.jobs,
            Self::Groups => &mut round.cursors.groups,
        }
    }
}

impl ReconcileTick {
    /// Steps of jobs, until then; at least one. Answers whether there was any.
    pub(super) async fn roll(&self, round: &mut TickRound, until: Duration) -> Result<bool, StoreError> {
        self.steps(Kind::Jobs, round, until).await
    }

    /// Pages of groups that are marked, until then; at least one. Answers whether there was any.
    pub(super) async fn walk(&self, round: &mut TickRound, until: Duration) -> Result<bool, StoreError> {
        self.steps(Kind::Groups, round, until).await
    }

    async fn steps(&self, kind: Kind, round: &mut TickRound, until: Duration) -> Result<bool, StoreError> {
        let rows = self.whose_turn_it_is(kind.prefix(), kind.cursor(round)).await?;
        let more = rows.last().map(|row| row.key.clone()).filter(|_| rows.len() >= TURNS_MAX);
        let mut rows: Vec<TableRow> = rows.into_iter().filter(|row| !self.is_quarantined(row)).collect();
        rows.sort_by_key(|row| !is_in_haste(row));
        let any = !rows.is_empty();
        let mut queue = VecDeque::from(rows);
        while !self.is_over(round)
            && let Some(row) = queue.pop_front()
        {
            let ended = match kind {
                Kind::Jobs => self.job_step(&row, round).await,
                Kind::Groups => self.group_step(&row, round).await,
            };
            match ended {
                Ok(Some(rest)) => queue.push_back(rest),
                Ok(None) => self.record_result(kind.name(), &row, Ok(())),
                Err(error) => self.record_result(kind.name(), &row, Err(error)),
            }
            if self.is_past(until) {
                *kind.cursor(round) = row.key;
                return Ok(any);
            }
        }
        *kind.cursor(round) = more.unwrap_or_default();
        Ok(any)
    }

    async fn whose_turn_it_is(&self, prefix: &str, start: &str) -> Result<Vec<TableRow>, StoreError> {
        let (from, to) = keys::range_of(prefix);
        if start.is_empty() {
            return self.store().rows_between(from, to, TURNS_MAX).await;
        }
        let after = format!("{start}!");
        let mut rows = self.store().rows_between(after.clone(), to, TURNS_MAX).await?;
        if rows.len() < TURNS_MAX {
            rows.extend(self.store().rows_between(from, after, TURNS_MAX - rows.len()).await?);
        }
        Ok(rows)
    }

    /// One chunk. What is left of the job, if anything.
    async fn job_step(&self, row: &TableRow, round: &mut TickRound) -> Result<Option<TableRow>, StoreError> {
        let corrupt = |_| StoreError::Corrupt { row: row.key.clone(), property: "key".to_owned() };
        let job = OpId::parse(keys::last_part(&row.key)).map_err(corrupt)?;
        let rolled = jobs::run_chunk(self.store(), &self.active_bindings, job).await?;
        self.leavers_between(round, rolled.people.len() + 1).await?;
        Ok((!rolled.done).then(|| row.clone()))
    }

    /// One page. What is left of the walk, if anything.
    async fn group_step(
        &self,
        row: &TableRow,
        round: &mut TickRound,
    ) -> Result<Option<TableRow>, StoreError> {
        let marked = group_fan_out::fan_out_page(self.store(), row).await?;
        self.leavers_between(round, marked.len() + 1).await?;
        self.store().get(&row.key).await
    }
}

/// Whether somebody may lose something by it for another reason than other bindings.
fn is_in_haste(row: &TableRow) -> bool {
    RowReader::new(row).and_then(|reader| ReconcileRequest::read(&reader)).is_ok_and(|mark| mark.left)
}
