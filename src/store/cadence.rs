//! What happens at a cadence, and how far it came: stored, because no process is the only one.

use super::codec::{Fields, Reader};
use super::{Store, StoreError, keys};
use crate::ports::tables::{Answer, ETag, Match, Row, Write};
use std::time::Duration;
use time::OffsetDateTime;

/// How often Azure is compared with the ledger.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
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
    etag: Option<ETag>,
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
        Ok(Self { began, taken, state, after, etag: Some(row.etag.clone()) })
    }

    fn write(&self) -> Write {
        let key = keys::setting("sweep");
        let properties = Fields::row()
            .time("began", self.began)
            .time("taken", self.taken)
            .text("state", self.state.as_str())
            .text("after", self.after.as_str())
            .done();
        match &self.etag {
            Some(etag) => Write::Replace { key, properties, condition: Match::Exact(etag.clone()) },
            None => Write::Insert { key, properties },
        }
    }

    /// What is to be done now, if anything: a new sweep at its cadence, or the rest of one that was left.
    fn due(last: Option<Self>, now: OffsetDateTime) -> Option<Self> {
        let new =
            |etag| Self { began: now, taken: now, state: SweepState::Running, after: String::new(), etag };
        let Some(last) = last else { return Some(new(None)) };
        match last.state {
            SweepState::Finished if last.began + SWEEP_EVERY <= now => Some(new(last.etag)),
            SweepState::Finished => None,
            SweepState::Running if last.taken + SWEEP_DEAD_AFTER > now => None,
            SweepState::Running | SweepState::Parked => {
                Some(Self { taken: now, state: SweepState::Running, ..last })
            }
        }
    }
}

impl Store {
    /// Takes the sweep that is due, unless none is or another process takes it first.
    pub async fn take_sweep(&self) -> Result<Option<SweepRun>, StoreError> {
        let Answer { value, date } = self.read(&keys::setting("sweep")).await?;
        let last = value.as_ref().map(SweepRun::read).transpose()?;
        let Some(run) = SweepRun::due(last, date) else { return Ok(None) };
        match self.move_looking(&[run.write()]).await {
            Ok(committed) => Ok(Some(SweepRun { etag: committed.etag(0), ..run })),
            Err(StoreError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How the sweep was left. If somebody else has taken it up meanwhile, it is theirs.
    pub async fn leave_sweep(&self, run: SweepRun, left: SweepLeft) -> Result<(), StoreError> {
        let left = match left {
            SweepLeft::Finished => SweepRun { state: SweepState::Finished, after: String::new(), ..run },
            SweepLeft::Parked { after } => SweepRun { state: SweepState::Parked, after, ..run },
            SweepLeft::Missed { after } => SweepRun { state: SweepState::Running, after, ..run },
        };
        match self.move_looking(&[left.write()]).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Where the last tick stopped, with the service's clock.
    pub async fn cursors(&self) -> Result<Answer<Cursors>, StoreError> {
        let Answer { value, date } = self.read(&keys::setting("tick")).await?;
        let value = value.as_ref().map(Cursors::read).transpose()?.unwrap_or_default();
        Ok(Answer { value, date })
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
        let run = SweepRun { began, taken, state, after, etag: None };
        assert_eq!(SweepRun::due(Some(run), NOW).map(|run| run.after).as_deref(), expected);
    }

    #[test]
    fn a_sweep_is_due_hourly_and_what_was_left_of_one_soon() {
        assert_eq!(SweepRun::due(None, NOW).map(|run| run.after).as_deref(), Some(""));
        check(SweepState::Finished, 3599, 3599, None);
        check(SweepState::Finished, 3600, 10, Some(""));
        check(SweepState::Parked, 60, 60, Some("/x"));
        check(SweepState::Running, 5000, 599, None);
        check(SweepState::Running, 600, 600, Some("/x"));
    }
}
