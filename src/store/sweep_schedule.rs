//! When a sweep is due, and how far it came: stored, because no process is the only one.

use crate::events::log_event;
use crate::ports::tables::{ETag, EtagMatch, TableAnswer, TableRow, TableWrite};
use crate::rbac::{ReasonCode, Scope};
use crate::store::codec::{RowFields, RowReader};
use crate::store::ledger_walk::LedgerPosition;
use crate::store::{StateStore, StoreError, keys};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::Duration;
use time::OffsetDateTime;

/// How often Azure is compared with the ledger. A sweep whose missing scopes gave no answer for so long begins anew: the others
/// do not wait for them.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// Where the last sweep began so long ago, the next one does not wait for a backlog.
const SWEEP_LATE_AFTER: Duration = Duration::from_secs(2 * 3600);
/// A sweep that was begun and neither ended nor parked for so long has died: it is taken up again.
const SWEEP_DEAD_AFTER: Duration = Duration::from_secs(600);

/// Names that are kept beside their number.
const NAMES_MAX: usize = 100;

/// The sweep that is under way, or the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepRun {
    /// When it began.
    began: OffsetDateTime,
    /// When a process last took it up.
    taken: OffsetDateTime,
    state: SweepState,
    /// The last row of the ledger that was compared, as its key; empty before the first.
    pub after: LedgerPosition,
    /// What this sweep has seen of the scopes so far.
    pub seen: SweptScopes,
    /// Scopes that Azure refused to list: of this sweep, or of the last one while this one has not come to its first stop.
    refused: usize,
    /// What the last sweep that came to its end counted.
    counts: SweepCounts,
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
    pub counts: SweepCounts,
    /// The row that says so cannot be read: nothing of it is known.
    pub unreadable: bool,
}

/// What the last sweep that came to its end counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepCounts {
    /// Grants that wait or fail: reason code → grants.
    pub by_reason: BTreeMap<String, usize>,
    /// People who wait for a grant because their Entra object id is not known.
    pub people_without_principal: usize,
    /// Bindings whose selector matches no living group.
    pub bindings_without_group: CountedNames,
    /// Role assignments at bound scopes that this service did not make.
    pub foreign_assignments: CountedNames,
    /// Bound scopes where Azure did not show everything that others gave.
    pub scopes_unsurveyed: usize,
    /// When that sweep began; `None` before the first.
    pub counted: Option<OffsetDateTime>,
}

/// How many there are of something, and the names of the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CountedNames {
    number: usize,
    names: Vec<String>,
}

impl CountedNames {
    /// One more.
    pub fn add(&mut self, name: impl Display) {
        self.number += 1;
        if self.names.len() < NAMES_MAX {
            self.names.push(name.to_string());
        }
    }

    pub const fn number(&self) -> usize {
        self.number
    }

    /// The first of them.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    fn read(reader: &RowReader<'_>, name: &str) -> Result<Self, StoreError> {
        Ok(Self { number: count(reader, name)?, names: texts(reader, &format!("{name}_names"))? })
    }

    fn write(&self, fields: RowFields, name: &str) -> RowFields {
        let names = serde_json::json!(self.names).to_string();
        fields.int(name, self.number as i64).bytes(&format!("{name}_names"), names.as_bytes())
    }
}

/// The scopes that one sweep asked for, each by a hash: what was answered is not asked for again by its later parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweptScopes {
    listed: BTreeSet<String>,
    refused: BTreeSet<String>,
    /// Grants that wait, by reason.
    pending: BTreeMap<String, usize>,
    people_without_principal: usize,
    /// The scopes where it was asked what others gave.
    surveyed: BTreeSet<String>,
    /// Of these the ones of which not everything was shown.
    unsurveyed: usize,
    /// Known by the part that comes to the end, and so is the next one.
    pub bindings_without_group: CountedNames,
    /// `None`: nothing new is known.
    pub foreign_assignments: Option<CountedNames>,
}

impl SweptScopes {
    fn name(scope: &Scope) -> String {
        keys::hash(scope.folded()).chars().take(16).collect()
    }

    /// Azure listed the scope.
    pub fn list(&mut self, scope: &Scope) {
        self.listed.insert(Self::name(scope));
    }

    /// Azure refused to list the scope.
    pub fn refuse(&mut self, scope: &Scope) {
        self.refused.insert(Self::name(scope));
    }

    /// It was asked what others gave at the scope.
    pub fn survey(&mut self, scope: &Scope, is_whole: bool) {
        self.surveyed.insert(Self::name(scope));
        self.unsurveyed += usize::from(!is_whole);
    }

    /// Whether that was asked.
    pub fn is_surveyed(&self, scope: &Scope) -> bool {
        self.surveyed.contains(&Self::name(scope))
    }

    /// The grants of one person that wait.
    pub fn count_pending(&mut self, reasons: &[ReasonCode]) {
        for reason in reasons {
            *self.pending.entry(reason.as_str().to_owned()).or_default() += 1;
        }
        self.people_without_principal += usize::from(reasons.contains(&ReasonCode::PendingPrincipal));
    }

    /// What a sweep that began then, and has come to its end, has counted. `before`: what the one before it counted.
    fn counts(&self, began: OffsetDateTime, before: &SweepCounts) -> SweepCounts {
        SweepCounts {
            by_reason: self.pending.clone(),
            people_without_principal: self.people_without_principal,
            bindings_without_group: self.bindings_without_group.clone(),
            foreign_assignments: self
                .foreign_assignments
                .clone()
                .unwrap_or_else(|| before.foreign_assignments.clone()),
            scopes_unsurveyed: self.unsurveyed,
            counted: Some(began),
        }
    }

    /// Whether Azure has answered, either way.
    pub fn has(&self, scope: &Scope) -> bool {
        let name = Self::name(scope);
        self.listed.contains(&name) || self.refused.contains(&name)
    }

    fn read(reader: &RowReader<'_>) -> Result<Self, StoreError> {
        let pending = numbers(reader, "pending_so_far")?;
        Ok(Self {
            listed: texts(reader, "listed_scopes")?,
            refused: texts(reader, "refused_scopes")?,
            pending,
            people_without_principal: count(reader, "no_principal_so_far")?,
            bindings_without_group: CountedNames::default(),
            foreign_assignments: None,
            surveyed: texts(reader, "surveyed_scopes")?,
            unsurveyed: count(reader, "unsurveyed_so_far")?,
        })
    }

    fn write(&self, fields: RowFields) -> RowFields {
        let json = |names: &BTreeSet<String>| serde_json::json!(names).to_string().into_bytes();
        let fields = fields.bytes("listed_scopes", &json(&self.listed));
        let fields = fields.bytes("refused_scopes", &json(&self.refused));
        fields
            .bytes("pending_so_far", serde_json::json!(self.pending).to_string().as_bytes())
            .int("no_principal_so_far", self.people_without_principal as i64)
            .bytes("surveyed_scopes", &json(&self.surveyed))
            .int("unsurveyed_so_far", self.unsurveyed as i64)
    }
}

impl SweepCounts {
    fn read(reader: &RowReader<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            by_reason: numbers(reader, "pending")?,
            people_without_principal: count(reader, "no_principal")?,
            bindings_without_group: CountedNames::read(reader, "no_group")?,
            foreign_assignments: CountedNames::read(reader, "foreign")?,
            scopes_unsurveyed: count(reader, "unsurveyed")?,
            counted: reader.time_opt("counted")?,
        })
    }

    fn write(&self, fields: RowFields) -> RowFields {
        let fields = fields
            .bytes("pending", serde_json::json!(self.by_reason).to_string().as_bytes())
            .int("no_principal", self.people_without_principal as i64);
        let fields = self.bindings_without_group.write(fields, "no_group");
        let fields = self
            .foreign_assignments
            .write(fields, "foreign")
            .int("unsurveyed", self.scopes_unsurveyed as i64);
        match self.counted {
            Some(counted) => fields.time("counted", counted),
            None => fields,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SweepState {
    /// A process works on it, or died, or pauses because Azure gave no answer.
    Running,
    /// A process ran out of time: any process may resume it.
    Parked,
    Finished,
}

/// How a sweep was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SweepLeft {
    /// It saw everything that Azure would show.
    Finished,
    /// It ran out of time: the next process resumes after that row.
    Parked { after: LedgerPosition },
    /// Azure gave no answer for some scopes, the first of them of the row after that one: they are asked for again in a while.
    Missed { after: LedgerPosition },
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
    fn read(row: &TableRow) -> Result<Self, StoreError> {
        let reader = RowReader::new(row)?;
        let state = match reader.text_opt("state")? {
            Some("parked") => SweepState::Parked,
            Some("running") => SweepState::Running,
            _ => SweepState::Finished,
        };
        let after = LedgerPosition::from_stored(reader.text_opt("after")?.unwrap_or_default());
        let began = reader.time("began")?;
        let taken = reader.time_opt("taken")?.unwrap_or(began);
        let seen = SweptScopes::read(&reader)?;
        let refused = count(&reader, "refused")?;
        let counts = SweepCounts::read(&reader)?;
        Ok(Self { began, taken, state, after, seen, refused, counts, etag: Some(row.etag.clone()) })
    }

    fn write(&self) -> TableWrite {
        let key = keys::setting("sweep");
        let fields = RowFields::row()
            .time("began", self.began)
            .time("taken", self.taken)
            .text("state", self.state.as_str())
            .text("after", self.after.as_str())
            .int("refused", self.refused as i64);
        let properties = self.seen.write(self.counts.write(fields)).done();
        match &self.etag {
            Some(etag) => TableWrite::Replace { key, properties, condition: EtagMatch::Exact(etag.clone()) },
            None => TableWrite::Insert { key, properties },
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
        let (refused, counts, etag) =
            last.map_or_else(Default::default, |last| (last.refused, last.counts, last.etag));
        let state = SweepState::Running;
        let after = LedgerPosition::default();
        Self { began: now, taken: now, state, after, seen: SweptScopes::default(), refused, counts, etag }
    }

    /// A row that cannot be read does not say when the sweep began: the next one is late.
    fn unreadable(row: &TableRow) -> Self {
        let began = OffsetDateTime::UNIX_EPOCH;
        let seen = SweptScopes::default();
        let state = SweepState::Finished;
        let after = LedgerPosition::default();
        let counts = SweepCounts::default();
        Self { began, taken: began, state, after, seen, refused: 0, counts, etag: Some(row.etag.clone()) }
    }

    fn is_late(&self, now: OffsetDateTime) -> bool {
        self.state == SweepState::Parked || self.began + SWEEP_LATE_AFTER <= now
    }
}

impl StateStore {
    /// What is to be swept now. A row that cannot be read does not stop the sweeps.
    pub async fn due_sweep(&self) -> Result<SweepDue, StoreError> {
        let TableAnswer { value, date } = self.read(&keys::setting("sweep")).await?;
        let mut unreadable = false;
        let last = match value.as_ref().map(|row| (row, SweepRun::read(row))) {
            None => None,
            Some((_, Ok(last))) => Some(last),
            // A later release is at it, and sweeps.
            Some((_, Err(StoreError::TooNew { .. }))) => {
                return Ok(SweepDue { unreadable: true, ..SweepDue::default() });
            }
            Some((row, Err(error))) => {
                unreadable = true;
                log_event!(RowUnreadable, error = %error, "the position of the sweep cannot be read: it starts over");
                Some(SweepRun::unreadable(row))
            }
        };
        let late = last.as_ref().is_some_and(|last| last.is_late(date));
        let scopes_refused = last.as_ref().map_or(0, |last| last.refused);
        let counts = last.as_ref().map(|last| last.counts.clone()).unwrap_or_default();
        Ok(SweepDue { run: SweepRun::due(last, date), late, scopes_refused, counts, unreadable })
    }

    /// Takes a sweep, unless another process has taken it first.
    pub async fn take_sweep(&self, run: SweepRun) -> Result<Option<SweepRun>, StoreError> {
        match self.transact_unjournaled(&[run.write()]).await {
            Ok(committed) => Ok(Some(SweepRun { etag: committed.etag(0), ..run })),
            Err(StoreError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How the sweep was left, and what it has seen by now. If another process has taken it up meanwhile, nothing is written.
    /// Returns how many scopes were refused.
    pub async fn leave_sweep(
        &self,
        run: SweepRun,
        left: SweepLeft,
        seen: SweptScopes,
    ) -> Result<usize, StoreError> {
        let refused = seen.refused.len();
        let run = SweepRun { seen, refused, ..run };
        let left = match left {
            SweepLeft::Finished => SweepRun {
                state: SweepState::Finished,
                after: LedgerPosition::default(),
                counts: run.seen.counts(run.began, &run.counts),
                ..run
            },
            SweepLeft::Parked { after } => SweepRun { state: SweepState::Parked, after, ..run },
            SweepLeft::Missed { after } => SweepRun { state: SweepState::Running, after, ..run },
        };
        match self.transact_unjournaled(&[left.write()]).await {
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(refused),
            Err(error) => Err(error),
        }
    }
}

fn numbers(reader: &RowReader<'_>, name: &str) -> Result<BTreeMap<String, usize>, StoreError> {
    if reader.int_opt(name)?.is_none() {
        return Ok(BTreeMap::new());
    }
    let number = |value: &serde_json::Value| usize::try_from(value.as_u64()?).ok();
    let list = reader.json(name)?;
    let pairs = list.as_object().into_iter().flatten();
    Ok(pairs.filter_map(|(name, value)| Some((name.clone(), number(value)?))).collect())
}

/// A list of texts; empty where there is none.
fn texts<T: FromIterator<String>>(reader: &RowReader<'_>, name: &str) -> Result<T, StoreError> {
    let list = match reader.int_opt(name)? {
        Some(_) => reader.json(name)?,
        None => serde_json::Value::Null,
    };
    Ok(list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_str)
        .map(str::to_owned)
        .collect())
}

fn count(reader: &RowReader<'_>, name: &str) -> Result<usize, StoreError> {
    Ok(reader.int_opt(name)?.and_then(|number| usize::try_from(number).ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-03-01 10:00 UTC);

    #[track_caller]
    fn check(state: SweepState, began_ago: u64, taken_ago: u64, expected: Option<&str>) {
        let began = NOW - Duration::from_secs(began_ago);
        let taken = NOW - Duration::from_secs(taken_ago);
        let after = LedgerPosition::from_stored(if state == SweepState::Finished { "" } else { "l:x" });
        let seen = SweptScopes::default();
        let counts = SweepCounts::default();
        let run = SweepRun { began, taken, state, after, seen, refused: 0, counts, etag: None };
        assert_eq!(
            SweepRun::due(Some(run), NOW).map(|run| run.after),
            expected.map(LedgerPosition::from_stored)
        );
    }

    #[test]
    fn a_sweep_is_due_hourly_and_what_was_left_of_one_soon() {
        assert_eq!(SweepRun::due(None, NOW).map(|run| run.after), Some(LedgerPosition::default()));
        check(SweepState::Finished, 3599, 3599, None);
        check(SweepState::Finished, 3600, 10, Some(""));
        check(SweepState::Parked, 60, 60, Some("l:x"));
        check(SweepState::Running, 5000, 599, None);
        check(SweepState::Parked, 5000, 60, Some("l:x"));
        check(SweepState::Running, 600, 600, Some("l:x"));
        check(SweepState::Running, 3600, 600, Some(""));
    }
}
