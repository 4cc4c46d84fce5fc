//! Drills. `s:drill` is the drill that runs, and how the last ones ended; `dr:{drill}` is the result of one.
//!
//! The ids of the leaver and of the group are in `s:drill` before either is made, so the row is the mark of both: no client can
//! set it. Whatever a drill does to them is committed together with a merge of `s:drill` under its ETag, so a process that is
//! late does nothing more.

use crate::id::{GroupId, OpId, PrincipalId, UserId};
use crate::ports::tables::{ETag, EtagMatch, RowProperties, TableAnswer, TableRow, TableWrite};
use crate::store::codec::{RowFields, RowReader};
use crate::store::{StateStore, StoreError, keys};
use std::time::Duration;
use time::OffsetDateTime;

/// The name of the row among the settings.
pub(super) const NAME: &str = "drill";
/// Results are kept as long as audit records by default.
const KEPT_FOR: Duration = Duration::from_secs(400 * 24 * 3600);
/// Results that one that is new removes at most.
const FORGOTTEN_MAX: usize = 20;

/// How far a drill is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrillPhase {
    /// Nothing is made yet.
    Begun,
    /// The leaver is made.
    UserMade,
    /// The group is made, with the leaver in it.
    GroupMade,
    /// Azure, asked by name, holds the role.
    Granted,
    /// The leaver is deactivated.
    Deactivated,
    /// Azure, asked by name, does not hold it any more.
    Gone,
    /// What is left is removed, however the drill went.
    Removing,
}

impl DrillPhase {
    const ALL: [Self; 7] = [
        Self::Begun,
        Self::UserMade,
        Self::GroupMade,
        Self::Granted,
        Self::Deactivated,
        Self::Gone,
        Self::Removing,
    ];

    /// The stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::UserMade => "user-made",
            Self::GroupMade => "group-made",
            Self::Granted => "granted",
            Self::Deactivated => "deactivated",
            Self::Gone => "gone",
            Self::Removing => "removing",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == text)
    }
}

/// The times of a grant, or of a revocation. `None`: it did not come to that, or the record of it cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepTimes {
    /// The change was committed.
    pub received: Option<OffsetDateTime>,
    /// The call to Azure was opened.
    pub opened: Option<OffsetDateTime>,
    /// Azure answered it.
    pub confirmed: Option<OffsetDateTime>,
    /// Azure, asked by name, held it, or no longer did.
    pub seen: Option<OffsetDateTime>,
}

impl StepTimes {
    /// Each by its name.
    pub fn each(&self) -> [(&'static str, Option<OffsetDateTime>); 4] {
        [
            ("received", self.received),
            ("opened", self.opened),
            ("confirmed", self.confirmed),
            ("seen", self.seen),
        ]
    }
}

/// Why a drill is red, and in which phase it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillFailure {
    pub phase: String,
    /// A reason code, or a word of the drill.
    pub reason: String,
}

/// One drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drill {
    pub id: OpId,
    pub user: UserId,
    pub group: GroupId,
    /// The Entra object of the leaver.
    pub principal: PrincipalId,
    pub began: OffsetDateTime,
    /// `timer`, or the id of the order.
    pub set_off: String,
    pub grant: StepTimes,
    pub revocation: StepTimes,
    /// Why it is red, where it is.
    pub failure: Option<DrillFailure>,
}

/// A drill that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningDrill {
    pub drill: Drill,
    pub phase: DrillPhase,
    /// When a tick last looked at it.
    pub looked: OffsetDateTime,
}

/// What `s:drill` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillState {
    pub running: Option<RunningDrill>,
    /// Since when drills are set.
    pub since: OffsetDateTime,
    /// When the last one began.
    pub began: Option<OffsetDateTime>,
    /// When the last green one ended.
    pub green: Option<OffsetDateTime>,
    /// When the last one ended, where it was red, and why.
    pub red: Option<(OffsetDateTime, DrillFailure)>,
    /// When it was last logged that no drill is green.
    pub late_logged: Option<OffsetDateTime>,
}

/// The row, with its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDrill {
    pub state: DrillState,
    pub etag: ETag,
    /// Whether all of it was read. Else there is as much as is needed to remove the drill that runs.
    pub is_whole: bool,
}

/// What was read with the other settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DrillRow {
    #[default]
    Absent,
    Readable(Box<StoredDrill>),
    Unreadable,
}

/// How a drill ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillResult {
    pub drill: Drill,
    pub ended: OffsetDateTime,
}

impl DrillResult {
    pub const fn is_green(&self) -> bool {
        self.drill.failure.is_none()
    }
}

/// The leaver and the group of the drill that runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DrillMarks {
    pub user: Option<UserId>,
    pub group: Option<GroupId>,
}

impl DrillState {
    /// Before the first drill.
    pub const fn new(since: OffsetDateTime) -> Self {
        Self { running: None, since, began: None, green: None, red: None, late_logged: None }
    }

    /// Writes the row over the version that was read, or as a new one.
    pub fn write(&self, read: Option<&StoredDrill>) -> TableWrite {
        let (key, properties) = (keys::setting(NAME), self.properties());
        match read {
            Some(StoredDrill { etag, .. }) => {
                TableWrite::Replace { key, properties, condition: EtagMatch::Exact(etag.clone()) }
            }
            None => TableWrite::Insert { key, properties },
        }
    }

    fn properties(&self) -> RowProperties {
        let mut fields = RowFields::row().time("since", self.since);
        let times = [("began", self.began), ("green", self.green), ("late_logged", self.late_logged)];
        fields = with_times(fields, "", &times);
        if let Some((at, failure)) = &self.red {
            fields = fields.time("red", *at);
            fields = fields.text("red_phase", &*failure.phase).text("red_reason", &*failure.reason);
        }
        if let Some(RunningDrill { drill, phase, looked }) = &self.running {
            fields = with_drill(fields, drill).text("drill", drill.id.to_string());
            fields = fields.text("phase", phase.as_str()).time("looked", *looked);
        }
        fields.done()
    }
}

impl StoredDrill {
    /// Of a row of a later release, or of a damaged one, the drill that runs is read all the same, where its ids are.
    pub(super) fn read(row: &TableRow) -> Result<Self, StoreError> {
        let (state, is_whole) = match Self::read_whole(row) {
            Ok(state) => (state, true),
            Err(error) => (read_what_runs(row).ok_or(error)?, false),
        };
        Ok(Self { state, etag: row.etag.clone(), is_whole })
    }

    fn read_whole(row: &TableRow) -> Result<DrillState, StoreError> {
        let reader = RowReader::new(row)?;
        let red = reader.time_opt("red")?.map(|at| {
            let text = |name| Ok::<_, StoreError>(reader.text_opt(name)?.unwrap_or_default().to_owned());
            Ok::<_, StoreError>((at, DrillFailure { phase: text("red_phase")?, reason: text("red_reason")? }))
        });
        let id = reader.parsed_opt("drill", OpId::parse)?;
        let running = id.map(|id| {
            Ok::<_, StoreError>(RunningDrill {
                drill: read_drill(&reader, id)?,
                phase: reader.parsed("phase", |text| DrillPhase::parse(text).ok_or(()))?,
                looked: reader.time("looked")?,
            })
        });
        Ok(DrillState {
            running: running.transpose()?,
            since: reader.time("since")?,
            began: reader.time_opt("began")?,
            green: reader.time_opt("green")?,
            red: red.transpose()?,
            late_logged: reader.time_opt("late_logged")?,
        })
    }

    /// What is committed together with a step of the drill: it is in that phase then, if it is still as it was read.
    pub fn step(&self, phase: DrillPhase) -> TableWrite {
        self.merge(RowFields::some().text("phase", phase.as_str()))
    }

    /// A tick looked at it, and it waits.
    pub fn look(&self, now: OffsetDateTime) -> TableWrite {
        self.merge(RowFields::some().time("looked", now))
    }

    fn merge(&self, fields: RowFields) -> TableWrite {
        let condition = EtagMatch::Exact(self.etag.clone());
        TableWrite::Merge { key: keys::setting(NAME), properties: fields.done(), condition }
    }
}

impl StateStore {
    /// The row, with the table service's clock. One that cannot be read is an error.
    pub async fn drill(&self) -> Result<TableAnswer<Option<StoredDrill>>, StoreError> {
        let TableAnswer { value, date } = self.read(&keys::setting(NAME)).await?;
        Ok(TableAnswer { value: value.as_ref().map(StoredDrill::read).transpose()?, date })
    }

    /// Whom reports and comparisons leave out.
    pub async fn drill_marks(&self) -> Result<DrillMarks, StoreError> {
        let Some(row) = self.get(&keys::setting(NAME)).await? else { return Ok(DrillMarks::default()) };
        let stored = self.readable(&row, StoredDrill::read(&row));
        let running = stored.and_then(|stored| stored.state.running);
        Ok(running.map_or_else(DrillMarks::default, |running| {
            let Drill { user, group, .. } = running.drill;
            DrillMarks { user: Some(user), group: Some(group) }
        }))
    }

    /// The result of a drill, once it has one.
    pub async fn drill_result(&self, drill: OpId) -> Result<Option<DrillResult>, StoreError> {
        let row = self.get(&keys::drill_result(drill)).await?;
        row.as_ref().map(read_result).transpose()
    }

    /// Every result, oldest first. One that cannot be read is logged and left out.
    pub async fn drill_results(&self) -> Result<Vec<DrillResult>, StoreError> {
        let (from, to) = keys::range_of(keys::DRILL_RESULTS);
        let mut results = Vec::new();
        let mut pages = self.pages(from, to);
        while let Some(rows) = pages.next().await? {
            results.extend(rows.iter().filter_map(|row| self.readable(row, read_result(row))));
        }
        Ok(results)
    }

    /// The writes that remove results that are too old.
    pub async fn forget_drill_results(&self, now: OffsetDateTime) -> Result<Vec<TableWrite>, StoreError> {
        let (from, to) = keys::range_of(keys::DRILL_RESULTS);
        let rows = self.rows_between(from, to, FORGOTTEN_MAX).await?;
        let is_old = |row: &&TableRow| {
            let id = OpId::parse(keys::last_part(&row.key)).ok();
            id.and_then(|id| id.time()).is_some_and(|time| time + KEPT_FOR < now)
        };
        let delete = |row: &TableRow| TableWrite::Delete { key: row.key.clone(), condition: EtagMatch::Any };
        Ok(rows.iter().filter(is_old).map(delete).collect())
    }
}

/// The drill that runs, with as much of the rest as can be read. It can only be removed.
fn read_what_runs(row: &TableRow) -> Option<DrillState> {
    let reader = RowReader::any(row);
    let time = |name| reader.time_opt(name).ok().flatten();
    let text = |name| reader.text_opt(name).ok().flatten().filter(|text| !text.is_empty()).map(str::to_owned);
    let failure =
        |phase, reason| Some(DrillFailure { phase: text(phase).unwrap_or_default(), reason: text(reason)? });
    let id = reader.parsed("drill", OpId::parse).ok()?;
    let began = time("drill_began").or_else(|| id.time()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let drill = Drill {
        id,
        user: reader.parsed("user", UserId::parse).ok()?,
        group: reader.parsed("group", GroupId::parse).ok()?,
        principal: reader.parsed("principal", PrincipalId::parse).ok()?,
        began,
        set_off: text("set_off").unwrap_or_default(),
        grant: read_times(&reader, "grant_").unwrap_or_default(),
        revocation: read_times(&reader, "revocation_").unwrap_or_default(),
        failure: failure("failed_phase", "failed_reason"),
    };
    let looked = time("looked").unwrap_or(began);
    Some(DrillState {
        running: Some(RunningDrill { drill, phase: DrillPhase::Removing, looked }),
        since: time("since").unwrap_or(began),
        began: time("began").or(Some(began)),
        green: time("green"),
        red: time("red").zip(failure("red_phase", "red_reason")),
        late_logged: time("late_logged"),
    })
}

/// The result of a drill, once.
pub fn insert_result(result: &DrillResult) -> TableWrite {
    let fields = with_drill(RowFields::row(), &result.drill).time("ended", result.ended);
    TableWrite::Insert { key: keys::drill_result(result.drill.id), properties: fields.done() }
}

fn read_result(row: &TableRow) -> Result<DrillResult, StoreError> {
    let reader = RowReader::new(row)?;
    let id = OpId::parse(keys::last_part(&row.key)).map_err(|_| StoreError::corrupt_key(row))?;
    Ok(DrillResult { drill: read_drill(&reader, id)?, ended: reader.time("ended")? })
}

fn with_drill(fields: RowFields, drill: &Drill) -> RowFields {
    let fields = fields
        .text("user", drill.user.to_string())
        .text("group", drill.group.to_string())
        .text("principal", drill.principal.to_string())
        .text("set_off", &*drill.set_off)
        .time("drill_began", drill.began);
    let fields = with_times(fields, "grant_", &drill.grant.each());
    let fields = with_times(fields, "revocation_", &drill.revocation.each());
    match &drill.failure {
        Some(DrillFailure { phase, reason }) => {
            fields.text("failed_phase", &**phase).text("failed_reason", &**reason)
        }
        None => fields,
    }
}

fn read_drill(reader: &RowReader<'_>, id: OpId) -> Result<Drill, StoreError> {
    let reason = reader.text_opt("failed_reason")?.map(str::to_owned);
    let phase = reader.text_opt("failed_phase")?.unwrap_or_default().to_owned();
    Ok(Drill {
        id,
        user: reader.parsed("user", UserId::parse)?,
        group: reader.parsed("group", GroupId::parse)?,
        principal: reader.parsed("principal", PrincipalId::parse)?,
        began: reader.time("drill_began")?,
        set_off: reader.text_opt("set_off")?.unwrap_or_default().to_owned(),
        grant: read_times(reader, "grant_")?,
        revocation: read_times(reader, "revocation_")?,
        failure: reason.map(|reason| DrillFailure { phase, reason }),
    })
}

fn with_times(fields: RowFields, prefix: &str, times: &[(&str, Option<OffsetDateTime>)]) -> RowFields {
    times.iter().fold(fields, |fields, (name, time)| match time {
        Some(time) => fields.time(&format!("{prefix}{name}"), *time),
        None => fields,
    })
}

fn read_times(reader: &RowReader<'_>, prefix: &str) -> Result<StepTimes, StoreError> {
    let time = |name: &str| reader.time_opt(&format!("{prefix}{name}"));
    Ok(StepTimes {
        received: time("received")?,
        opened: time("opened")?,
        confirmed: time("confirmed")?,
        seen: time("seen")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::tables::PropertyValue;
    use time::macros::datetime;
    use uuid::Uuid;

    const NOW: OffsetDateTime = datetime!(2026-03-01 10:00 UTC);

    fn drill(failure: Option<DrillFailure>) -> Drill {
        Drill {
            id: OpId::new(Uuid::from_u128(1)),
            user: UserId::new(Uuid::from_u128(2)),
            group: GroupId::new(Uuid::from_u128(3)),
            principal: PrincipalId::new(Uuid::from_u128(4)),
            began: NOW,
            set_off: "timer".to_owned(),
            grant: StepTimes { received: Some(NOW), seen: Some(NOW), ..StepTimes::default() },
            revocation: StepTimes { opened: Some(NOW), confirmed: Some(NOW), ..StepTimes::default() },
            failure,
        }
    }

    fn failure() -> DrillFailure {
        DrillFailure { phase: "granted".to_owned(), reason: "scope-locked".to_owned() }
    }

    fn row(key: String, properties: RowProperties) -> TableRow {
        TableRow { key, properties, etag: ETag("1".to_owned()) }
    }

    #[test]
    fn what_is_written_of_a_drill_reads_back() {
        for phase in DrillPhase::ALL {
            let running = RunningDrill { drill: drill(Some(failure())), phase, looked: NOW };
            let state = DrillState {
                running: Some(running),
                began: Some(NOW),
                green: Some(NOW),
                red: Some((NOW, failure())),
                late_logged: Some(NOW),
                ..DrillState::new(NOW)
            };
            for state in [state, DrillState::new(NOW)] {
                let row = row(keys::setting(NAME), state.properties());
                let stored = StoredDrill::read(&row).unwrap();
                assert_eq!((stored.state, stored.is_whole), (state, true));
            }
        }
    }

    #[test]
    fn of_a_row_that_is_not_understood_the_drill_is_read_that_runs() {
        let running = RunningDrill { drill: drill(None), phase: DrillPhase::Granted, looked: NOW };
        let state = DrillState { running: Some(running.clone()), green: Some(NOW), ..DrillState::new(NOW) };
        let removing = DrillState {
            running: Some(RunningDrill { phase: DrillPhase::Removing, ..running }),
            began: Some(NOW),
            ..state.clone()
        };
        let text = |text: &str| PropertyValue::Text(text.to_owned());
        let changed = |name: &str, value: PropertyValue| {
            let mut row = row(keys::setting(NAME), state.properties());
            row.properties.insert(name.to_owned(), value);
            StoredDrill::read(&row)
        };
        for (name, value) in [("phase", text("audited")), ("v", PropertyValue::Int(2)), ("since", text("x"))]
        {
            let stored = changed(name, value).unwrap();
            assert_eq!((stored.state, stored.is_whole), (removing.clone(), false), "{name}");
        }
        for name in ["drill", "user", "group", "principal"] {
            assert!(matches!(changed(name, text("x")), Err(StoreError::Corrupt { .. })), "{name}");
        }
        let mut nothing_runs = row(keys::setting(NAME), DrillState::new(NOW).properties());
        nothing_runs.properties.insert("v".to_owned(), PropertyValue::Int(2));
        assert!(matches!(StoredDrill::read(&nothing_runs), Err(StoreError::TooNew { .. })));
    }

    #[test]
    fn a_result_reads_back() {
        for failure in [None, Some(failure())] {
            let result = DrillResult { drill: drill(failure), ended: NOW };
            let TableWrite::Insert { key, properties } = insert_result(&result) else { panic!("an insert") };
            assert_eq!(read_result(&row(key, properties)).unwrap(), result);
        }
    }
}
