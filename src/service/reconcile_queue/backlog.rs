//! Jobs and the fan-out of groups: each has a step in its turn, so a large one holds up no other. They enqueue people; leavers
//! are reconciled in between, in the order of all leavers.

use crate::service::jobs;
use crate::service::reconcile_queue::tick::ReconcileTick;
use crate::service::reconcile_queue::tick_round::TickRound;
use crate::store::StoreError;
use crate::store::jobs::JobTurn;
use crate::store::members::NESTING_DEPTH_MAX;
use crate::store::reconcile_queue::{GroupTurn, Priority, QueuePage, QueuePosition, RowIdentity};
use std::collections::VecDeque;
use std::time::Duration;

/// Jobs, or groups, that take turns in one tick; the next tick goes on with the others.
const TURNS_MAX: usize = 200;

/// What has steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BacklogKind {
    Jobs,
    Groups,
}

impl BacklogKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Jobs => "a job",
            Self::Groups => "the fan-out of a group",
        }
    }

    const fn cursor(self, round: &mut TickRound) -> &mut QueuePosition {
        match self {
            Self::Jobs => &mut round.cursors.jobs,
            Self::Groups => &mut round.cursors.groups,
        }
    }
}

/// One job or group whose turn it is.
#[derive(Debug, Clone, Copy)]
enum BacklogTurn {
    Job(JobTurn),
    Group(GroupTurn),
}

impl BacklogTurn {
    const fn priority(self) -> Priority {
        match self {
            Self::Job(turn) => turn.priority,
            Self::Group(turn) => turn.priority,
        }
    }
}

type Turns = VecDeque<(RowIdentity, BacklogTurn)>;

impl ReconcileTick {
    /// Runs chunks of jobs, until then and at least one. Returns whether there was any.
    pub(super) async fn run_jobs(&self, round: &mut TickRound, until: Duration) -> Result<bool, StoreError> {
        self.run_backlog(BacklogKind::Jobs, round, until).await
    }

    /// Runs pages of groups that have a request, until then and at least one. Returns whether there was any.
    pub(super) async fn fan_out_groups(
        &self,
        round: &mut TickRound,
        until: Duration,
    ) -> Result<bool, StoreError> {
        let any = self.run_backlog(BacklogKind::Groups, round, until).await?;
        // The groups in a group follow in the same tick, level by level.
        for _ in 0..NESTING_DEPTH_MAX {
            if !std::mem::take(&mut round.has_nested) || self.is_past(until) || self.is_over(round) {
                break;
            }
            self.run_backlog(BacklogKind::Groups, round, until).await?;
        }
        Ok(any)
    }

    async fn run_backlog(
        &self,
        kind: BacklogKind,
        round: &mut TickRound,
        until: Duration,
    ) -> Result<bool, StoreError> {
        let (turns, more) = self.turns(kind, kind.cursor(round)).await?;
        let any = !turns.is_empty();
        let mut queue: Turns = turns.into();
        while !self.is_over(round)
            && let Some((row, turn)) = queue.pop_front()
        {
            let step = match turn {
                BacklogTurn::Job(turn) => self.job_step(turn, round).await,
                BacklogTurn::Group(turn) => self.group_step(turn, round).await,
            };
            let position = row.position();
            match step {
                Ok(true) => queue.push_back((row, turn)),
                Ok(false) => self.record_result(kind.name(), &row, Ok(())),
                Err(error) => self.record_result(kind.name(), &row, Err(error)),
            }
            if self.is_past(until) {
                *kind.cursor(round) = position;
                return Ok(any);
            }
        }
        *kind.cursor(round) = more.unwrap_or_default();
        Ok(any)
    }

    /// The turns from a position on, and then from the beginning up to there: leavers' first. With them where more may be.
    async fn turns(
        &self,
        kind: BacklogKind,
        start: &QueuePosition,
    ) -> Result<(Vec<(RowIdentity, BacklogTurn)>, Option<QueuePosition>), StoreError> {
        let mut page = self.backlog_page(kind, start, TURNS_MAX).await?;
        if page.next.is_none() && !start.is_start() {
            let rows_max = TURNS_MAX.saturating_sub(page.items.len());
            let rest = self.backlog_page(kind, &QueuePosition::default(), rows_max).await?;
            let before = rest.items.into_iter().filter(|item| item.row.position() <= *start);
            page.items.extend(before);
            page.next = rest.next.filter(|next| next <= start);
        }
        let readable = page.items.into_iter();
        let mut turns: Vec<(RowIdentity, BacklogTurn)> =
            readable.filter_map(|item| self.readable_item(kind.name(), item)).collect();
        turns.sort_by_key(|(_, turn)| turn.priority() != Priority::Leaver);
        Ok((turns, page.next))
    }

    async fn backlog_page(
        &self,
        kind: BacklogKind,
        after: &QueuePosition,
        rows_max: usize,
    ) -> Result<QueuePage<BacklogTurn>, StoreError> {
        Ok(match kind {
            BacklogKind::Jobs => self.store().jobs(after, rows_max).await?.map(BacklogTurn::Job),
            BacklogKind::Groups => {
                self.store().group_requests(after, rows_max).await?.map(BacklogTurn::Group)
            }
        })
    }

    /// One chunk. Returns whether the job goes on.
    async fn job_step(&self, turn: JobTurn, round: &mut TickRound) -> Result<bool, StoreError> {
        let chunk = jobs::run_chunk(self.store(), &self.active_bindings, turn.job).await?;
        self.leavers_between(round, chunk.people.len() + 1).await?;
        Ok(!chunk.done)
    }

    /// One page. Returns whether the group has more.
    async fn group_step(&self, turn: GroupTurn, round: &mut TickRound) -> Result<bool, StoreError> {
        let page = self.store().fan_out_page(turn.group).await?;
        round.has_nested |= !page.groups.is_empty();
        self.leavers_between(round, page.users.len() + 1).await?;
        Ok(!page.is_done)
    }
}
