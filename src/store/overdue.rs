//! `s:overdue`: the revocations that have not happened for too long, and the dependencies that cannot be reached, as the last tick
//! of any process counted them. It is also the sign of life of the ticks.

use crate::events::log_event;
use crate::ports::connectivity::{Dependency, UnreachableKind};
use crate::ports::tables::{TableAnswer, TableRow, TableWrite};
use crate::store::codec::{RowFields, RowReader};
use crate::store::{StateStore, StoreError, keys};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// How many people may still hold what was taken from them longer ago than the limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OverdueCount {
    pub people: usize,
    /// Since when the oldest of them waits.
    pub oldest: Option<OffsetDateTime>,
    /// Reason code → people.
    pub by_reason: BTreeMap<String, usize>,
    /// The first of these people.
    pub first: Vec<String>,
    /// People whose revocation an operator or a breaker holds back. They are not overdue.
    pub held_back: usize,
    /// Since when the first of those waits.
    pub held_back_oldest: Option<OffsetDateTime>,
    /// People of the batches that wait for an operator.
    pub in_batches: usize,
}

/// The count, when it was made, and when it was last an error line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOverdue {
    pub count: OverdueCount,
    pub counted: OffsetDateTime,
    pub logged: Option<OffsetDateTime>,
    /// When the oldest change was made whose request was still there after that tick, as far as it read them.
    pub oldest_request: Option<OffsetDateTime>,
    /// The dependencies that the processes that tick do not reach.
    pub unreachable: BTreeMap<Dependency, StoredUnreachable>,
}

/// Why a dependency is not reached, since when, and when a process last found it so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredUnreachable {
    pub kind: UnreachableKind,
    pub since: OffsetDateTime,
    pub seen: OffsetDateTime,
}

impl StateStore {
    /// The last count, with the service's clock. One that cannot be read is made anew by the next tick.
    pub async fn overdue(&self) -> Result<TableAnswer<Option<StoredOverdue>>, StoreError> {
        let TableAnswer { value, date } = self.read_overdue().await?;
        Ok(TableAnswer { value: value.and_then(Result::ok), date })
    }

    /// The same, where it matters whether there is one that cannot be read.
    pub async fn read_overdue(
        &self,
    ) -> Result<TableAnswer<Option<Result<StoredOverdue, StoreError>>>, StoreError> {
        let TableAnswer { value, date } = self.read(&keys::setting("overdue")).await?;
        let read = |row: &TableRow| {
            read(row).inspect_err(
                |error| log_event!(RowUnreadable, error = %error, "the count of overdue revocations cannot be read"),
            )
        };
        Ok(TableAnswer { value: value.as_ref().map(read), date })
    }
}

fn read(row: &TableRow) -> Result<StoredOverdue, StoreError> {
    let reader = RowReader::new(row)?;
    let by_reason = reader.json("reasons")?;
    let by_reason = by_reason.as_object().into_iter().flatten();
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap_or_default()).unwrap_or_default();
    Ok(StoredOverdue {
        count: OverdueCount {
            people: usize::try_from(reader.int("people")?).unwrap_or_default(),
            oldest: reader.time_opt("oldest")?,
            by_reason: by_reason.map(|(reason, value)| (reason.clone(), number(value))).collect(),
            first: reader
                .text_opt("first")?
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            held_back: usize::try_from(reader.int_opt("held_back")?.unwrap_or_default()).unwrap_or_default(),
            held_back_oldest: reader.time_opt("held_back_oldest")?,
            in_batches: usize::try_from(reader.int_opt("in_batches")?.unwrap_or_default())
                .unwrap_or_default(),
        },
        counted: reader.time("counted")?,
        logged: reader.time_opt("logged")?,
        oldest_request: reader.time_opt("oldest_request")?,
        unreachable: read_unreachable(reader.text_opt("unreachable")?),
    })
}

/// `arm=timed-out=SINCE=SEEN keyVault=…`, the times in seconds. What a later release writes is left out: it decides nothing.
fn read_unreachable(text: Option<&str>) -> BTreeMap<Dependency, StoredUnreachable> {
    let read = |entry: &str| {
        let mut parts = entry.split('=');
        let dependency = Dependency::parse(parts.next()?)?;
        let kind = UnreachableKind::parse(parts.next()?)?;
        let mut time = || OffsetDateTime::from_unix_timestamp(parts.next()?.parse().ok()?).ok();
        Some((dependency, StoredUnreachable { kind, since: time()?, seen: time()? }))
    };
    text.unwrap_or_default().split_whitespace().filter_map(read).collect()
}

fn write_unreachable(unreachable: &BTreeMap<Dependency, StoredUnreachable>) -> String {
    let entries = unreachable.iter().map(|(dependency, StoredUnreachable { kind, since, seen })| {
        let times = [since, seen].map(|time| time.unix_timestamp());
        format!("{}={}={}={}", dependency.as_str(), kind.as_str(), times[0], times[1])
    });
    entries.collect::<Vec<_>>().join(" ")
}

/// Writes the row over any earlier one.
pub fn write(stored: &StoredOverdue) -> TableWrite {
    let StoredOverdue { count, counted, logged, oldest_request, unreachable } = stored;
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let mut fields = RowFields::row()
        .int("people", number(count.people))
        .int("held_back", number(count.held_back))
        .int("in_batches", number(count.in_batches))
        .bytes("reasons", json!(count.by_reason).to_string().as_bytes())
        .text("first", count.first.join(" "))
        .text("unreachable", write_unreachable(unreachable))
        .time("counted", *counted);
    let times = [
        ("oldest", count.oldest),
        ("held_back_oldest", count.held_back_oldest),
        ("logged", *logged),
        ("oldest_request", *oldest_request),
    ];
    for (name, time) in times {
        fields = match time {
            Some(time) => fields.time(name, time),
            None => fields,
        };
    }
    TableWrite::InsertOrReplace { key: keys::setting("overdue"), properties: fields.done() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unreachable_reads_back_without_what_a_later_release_knows() {
        let time = |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        let kind = UnreachableKind::TimedOut;
        let stored = StoredUnreachable { kind, since: time(5), seen: time(9) };
        let all = [(Dependency::Arm, stored)].into();
        let text = write_unreachable(&all);
        assert_eq!(read_unreachable(Some(&text)), all);
        let later = format!("graph=timed-out=1=2 arm=melted=1=2 keyVault=timed-out {text} x");
        assert_eq!(read_unreachable(Some(&later)), all);
        assert_eq!(read_unreachable(None), BTreeMap::new());
    }
}
