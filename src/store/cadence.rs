//! What happens at a cadence, and how far it came: stored, because no process is the only one.

use super::codec::{Fields, Reader};
use super::{Store, StoreError, keys};
use crate::ports::tables::{Answer, ETag, Match, Row, Write};
use std::time::Duration;
use time::OffsetDateTime;

/// How often Azure is compared with the ledger. A sweep whose missing scopes gave no answer for so long begins anew: the others
/// do not wait for them.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// Where the last sweep began so long ago, the next one does not wait for a backlog.
const SWEEP_LATE_AFTER: Duration = Duration::from_secs(2 * 3600);
/// A sweep that was begun and neither ended nor parked for so long has died: it is taken up again.
const SWEEP_DEAD_AFTER: Duration = Duration::from_secs(600);

/// The sweep that is under way, or the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepRun {
    /// When it began.
    began: OffsetDateTime,
    /// When somebody last took it up.
    taken: OffsetDateTime,
    state: SweepState,
    /// The last scope that was compared, folded; empty before the first.
    pub after: String,
    refused: Refused,
    etag: Option<ETag>,
}

/// What is to be swept now, and what the sweeps so far have found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepDue {
    pub run: Option<SweepRun>,
    /// It was left half done, or the last one began long ago: it must not wait for other work.
    pub late: bool,
    /// Scopes that Azure refuses to list, by the last sweep of any process.
    pub scopes_refused: usize,
}

/// Scopes that Azure refused to list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused {
    /// Up to where the rest of the sweep begins.
    pub behind: usize,
    pub in_all: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SweepState {
    /// Somebody is at it, or died at it, or pauses because Azure gave no answer.
    Running,
    /// Somebody's time was over: anybody may go on.
    Parked,
    Finished,
}

/// How a sweep was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SweepLeft {
    /// It saw everything that Azure would show.
    Finished,
    /// Its time was over: whoever comes next goes on after that scope.
    Parked { after: String },
    /// Azure gave no answer for some scopes, the first of them after that one: they are asked for again in a while.
    Missed { after: String },
}

impl SweepState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Parked => "parked",
            Self::Finished => "finished",
        }
    }
}

impl SweepRun {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let reader = Reader::new(row)?;
        let state = match reader.text_opt("state")? {
            Some("parked") => SweepState::Parked,
            Some("running") => SweepState::Running,
            _ => SweepState::Finished,
        };
        let after = reader.text_opt("after")?.unwrap_or_default().to_owned();
        let began = reader.time("began")?;
        let taken = reader.time_opt("taken")?.unwrap_or(began);
        let refused =
            Refused { behind: count(&reader, "refused_behind")?, in_all: count(&reader, "refused")? };
        Ok(Self { began, taken, state, after, refused, etag: Some(row.etag.clone()) })
    }

    fn write(&self) -> Write {
        let key = keys::setting("sweep");
        let properties = Fields::row()
            .time("began", self.began)
            .time("taken", self.taken)
            .text("state", self.state.as_str())
            .text("after", self.after.as_str())
            .int("refused", self.refused.in_all as i64)
            .int("refused_behind", self.refused.behind as i64)
            .done();
        match &self.etag {
            Some(etag) => Write::Replace { key, properties, condition: Match::Exact(etag.clone()) },
            None => Write::Insert { key, properties },
        }
    }

    /// What is to be done now, if anything: a new sweep at its cadence, or the rest of one that was left.
    fn due(last: Option<Self>, now: OffsetDateTime) -> Option<Self> {
        let Some(last) = last else { return Some(Self::begin(now, None)) };
        let over = last.began + SWEEP_EVERY <= now;
        match last.state {
            SweepState::Finished if !over => None,
            SweepState::Running if last.taken + SWEEP_DEAD_AFTER > now => None,
            SweepState::Finished | SweepState::Running if over => Some(Self::begin(now, Some(last))),
            _ => Some(Self { taken: now, state: SweepState::Running, ..last }),
        }
    }

    /// A sweep from the first scope on. What the last one was refused is known until this one has seen for itself.
    fn begin(now: OffsetDateTime, last: Option<Self>) -> Self {
        let in_all = last.as_ref().map_or(0, |last| last.refused.in_all);
        let (refused, etag) = (Refused { behind: 0, in_all }, last.and_then(|last| last.etag));
        Self { began: now, taken: now, state: SweepState::Running, after: String::new(), refused, etag }
    }

    /// What nobody can read says nothing of when it began: the next sweep is late.
    fn unreadable(row: &Row) -> Self {
        let (began, refused) = (OffsetDateTime::UNIX_EPOCH, Refused::default());
        let (state, after) = (SweepState::Finished, String::new());
        Self { began, taken: began, state, after, refused, etag: Some(row.etag.clone()) }
    }

    fn is_late(&self, now: OffsetDateTime) -> bool {
        self.state == SweepState::Parked || self.began + SWEEP_LATE_AFTER <= now
    }
}

impl Store {
    /// What is to be swept now. A row that cannot be understood is no reason to sweep no more.
    pub async fn due_sweep(&self) -> Result<SweepDue, StoreError> {
        let Answer { value, date } = self.read(&keys::setting("sweep")).await?;
        let last = match value.as_ref().map(|row| (row, SweepRun::read(row))) {
            None => None,
            Some((_, Ok(last))) => Some(last),
            // A later release is at it, and sweeps.
            Some((_, Err(StoreError::TooNew { .. }))) => return Ok(SweepDue::default()),
            Some((row, Err(error))) => {
                tracing::error!(error = %error, "where the last sweep stopped cannot be read: it begins anew");
                Some(SweepRun::unreadable(row))
            }
        };
        let late = last.as_ref().is_some_and(|last| last.is_late(date));
        let scopes_refused = last.as_ref().map_or(0, |last| last.refused.in_all);
        Ok(SweepDue { run: SweepRun::due(last, date), late, scopes_refused })
    }

    /// Takes a sweep, unless another process has taken it first.
    pub async fn take_sweep(&self, run: SweepRun) -> Result<Option<SweepRun>, StoreError> {
        match self.move_looking(&[run.write()]).await {
            Ok(committed) => Ok(Some(SweepRun { etag: committed.etag(0), ..run })),
            Err(StoreError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How the sweep was left, and what this part of it was refused. If somebody else has taken it up meanwhile, it is
    /// theirs. Answers how many scopes were refused in all.
    pub async fn leave_sweep(
        &self,
        run: SweepRun,
        left: SweepLeft,
        part: Refused,
    ) -> Result<usize, StoreError> {
        let behind = run.refused.behind;
        let refused = Refused { behind: behind + part.behind, in_all: behind + part.in_all };
        let run = SweepRun { refused, ..run };
        let left = match left {
            SweepLeft::Finished => SweepRun { state: SweepState::Finished, after: String::new(), ..run },
            SweepLeft::Parked { after } => SweepRun { state: SweepState::Parked, after, ..run },
            SweepLeft::Missed { after } => SweepRun { state: SweepState::Running, after, ..run },
        };
        match self.move_looking(&[left.write()]).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(refused.in_all),
            Err(error) => Err(error),
        }
    }

    /// Where the last tick stopped, with the service's clock; the beginning, where that cannot be understood.
    pub async fn cursors(&self) -> Result<Answer<Cursors>, StoreError> {
        let Answer { value, date } = self.read(&keys::setting("tick")).await?;
        let read = value.as_ref().map(Cursors::read).transpose();
        let value = read.unwrap_or_else(|error| {
            tracing::error!(error = %error, "where the last tick stopped cannot be read: it begins anew");
            None
        });
        Ok(Answer { value: value.unwrap_or_default(), date })
    }

    /// The last word counts: a wrong place costs an order, never a person.
    pub async fn leave_cursors(&self, cursors: &Cursors) -> Result<(), StoreError> {
        let properties = Fields::row()
            .text("leaving_after", cursors.leaving.as_str())
            .text("moving_after", cursors.moving.as_str())
            .text("gaining_after", cursors.gaining.as_str())
            .done();
        self.move_looking(&[Write::InsertOrReplace { key: keys::setting("tick"), properties }]).await?;
        Ok(())
    }
}

fn count(reader: &Reader<'_>, name: &str) -> Result<usize, StoreError> {
    Ok(reader.int_opt(name)?.and_then(|number| usize::try_from(number).ok()).unwrap_or_default())
}

/// Whom the last tick looked at last, as the key of the mark; empty where it came to the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursors {
    /// Among those from whom something was taken.
    pub leaving: String,
    /// Among those whom other bindings concern.
    pub moving: String,
    /// Among those who only gain.
    pub gaining: String,
}

impl Cursors {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let reader = Reader::new(row)?;
        let text = |name| Ok::<_, StoreError>(reader.text_opt(name)?.unwrap_or_default().to_owned());
        Ok(Self {
            leaving: text("leaving_after")?,
            moving: text("moving_after")?,
            gaining: text("gaining_after")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-03-01 10:00 UTC);

    #[track_caller]
    fn check(state: SweepState, began_ago: u64, taken_ago: u64, expected: Option<&str>) {
        let (began, taken) = (NOW - Duration::from_secs(began_ago), NOW - Duration::from_secs(taken_ago));
        let after = if state == SweepState::Finished { "" } else { "/x" }.to_owned();
        let run = SweepRun { began, taken, state, after, refused: Refused::default(), etag: None };
        assert_eq!(SweepRun::due(Some(run), NOW).map(|run| run.after).as_deref(), expected);
    }

    #[test]
    fn a_sweep_is_due_hourly_and_what_was_left_of_one_soon() {
        assert_eq!(SweepRun::due(None, NOW).map(|run| run.after).as_deref(), Some(""));
        check(SweepState::Finished, 3599, 3599, None);
        check(SweepState::Finished, 3600, 10, Some(""));
        check(SweepState::Parked, 60, 60, Some("/x"));
        check(SweepState::Running, 5000, 599, None);
        check(SweepState::Parked, 5000, 60, Some("/x"));
        check(SweepState::Running, 600, 600, Some("/x"));
        check(SweepState::Running, 3600, 600, Some(""));
    }
}
