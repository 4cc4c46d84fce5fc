//! `s:overdue`: the revocations that have not happened for too long, and the dependencies that cannot be reached, as the last tick
//! of any process counted them. It is also the sign of life of the ticks.

use crate::ports::connectivity::UnreachableKind;
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
    /// Dependency → why it could not be reached, as far as the processes that tick called it.
    pub unreachable: BTreeMap<String, UnreachableKind>,
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
                |error| tracing::error!(error = %error, "the count of overdue revocations cannot be read"),
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

/// `arm=timed-out keyVault=connection-refused`. A kind of a later release is left out: it decides nothing.
fn read_unreachable(text: Option<&str>) -> BTreeMap<String, UnreachableKind> {
    let pairs = text.unwrap_or_default().split_whitespace().filter_map(|pair| pair.split_once('='));
    pairs.filter_map(|(name, kind)| Some((name.to_owned(), UnreachableKind::parse(kind)?))).collect()
}

/// Writes the row over any earlier one.
pub fn write(stored: &StoredOverdue) -> TableWrite {
    let StoredOverdue { count, counted, logged, oldest_request, unreachable } = stored;
    let unreachable: Vec<String> =
        unreachable.iter().map(|(name, kind)| format!("{name}={}", kind.as_str())).collect();
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let mut fields = RowFields::row()
        .int("people", number(count.people))
        .int("held_back", number(count.held_back))
        .int("in_batches", number(count.in_batches))
        .bytes("reasons", json!(count.by_reason).to_string().as_bytes())
        .text("first", count.first.join(" "))
        .text("unreachable", unreachable.join(" "))
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
