//! The rows of the sealed audit: each head, where the sealing is, and which records were sealed late.
//!
//! A head and the place of the sealing are written in one transaction, under the ETag of the place. So of two processes that
//! seal at once one wins, and a number never has two heads.

use crate::audit::AuditRecord;
use crate::audit::chain::{RecordHash, format_day, parse_day};
use crate::ports::tables::{ETag, EtagMatch, TRANSACTION_OPS_MAX, TableAnswer, TableRow, TableWrite};
use crate::store::codec::{RowFields, RowReader};
use crate::store::{StateStore, StoreError, keys};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use time::{Date, OffsetDateTime};

/// Late records of one head: each has a row in the transaction.
pub const LATE_MAX: usize = 90;
/// Late records that are kept until they are sealed; what is beyond is found by the next check.
pub const LATE_KEPT_MAX: usize = 1_000;
/// Heads that are listed as no longer what the table holds.
const DAMAGED_MAX: usize = 100;

/// A day is sealed so long after its end. The op of a record is made when its request begins: the host ends a request after
/// 230 s, a lost write may land 2 minutes later, and no clock is trusted to be right within 10 minutes. The rest is margin:
/// what comes later all the same is sealed in a later head, and says so.
pub const GRACE: Duration = Duration::from_secs(3600);
/// A sealing that is so far behind has a cause.
const BEHIND_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Where the sealing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainState {
    /// The number of the next head.
    pub next: u64,
    /// The hash of the last one.
    pub previous: RecordHash,
    /// Every record up to there was looked at.
    pub through: String,
    /// The day that is sealed next.
    pub day: Date,
    /// Heads below this number are in the container.
    pub published: u64,
    /// The container has another head of that number: nothing more is sealed.
    pub forked: bool,
    /// The next head whose records are compared with the table before that day is sealed.
    pub check: Option<ChainCheck>,
    /// Records that were found to be committed late, and are not sealed yet.
    pub late: Vec<String>,
    /// Heads whose records are no longer what was sealed.
    pub damaged: Vec<u64>,
    /// The records of heads below this number were deleted because of their age.
    pub expired: u64,
    /// Such a deletion was recorded and is to be carried out.
    pub expiring: Option<Expiring>,
}

/// Heads whose records are compared with what the table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainCheck {
    /// Before this day is sealed.
    pub day: Date,
    pub next: u64,
}

/// A deletion of old records that has its own record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiring {
    /// Of the records of heads below this number.
    pub below: u64,
    /// The op of the record about it: nothing is deleted before that is sealed.
    pub op: String,
}

/// A row, with its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChain {
    pub state: ChainState,
    pub etag: ETag,
}

/// A head as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHead {
    pub text: Vec<u8>,
    /// It came from the container: its records may have been lost with an earlier table.
    pub adopted: bool,
    /// Where the head before ended.
    pub after: String,
}

/// A head to be stored.
pub struct NewHead<'a> {
    pub number: u64,
    pub text: &'a str,
    pub adopted: bool,
    /// Where the head before ended.
    pub after: &'a str,
    /// The records in it that were committed late.
    pub late: &'a [String],
}

impl ChainState {
    /// Before the first head.
    pub const fn new(day: Date) -> Self {
        Self {
            next: 0,
            previous: RecordHash::ZERO,
            through: String::new(),
            day,
            published: 0,
            forked: false,
            check: None,
            late: Vec::new(),
            damaged: Vec::new(),
            expired: 0,
            expiring: None,
        }
    }

    /// When the next day is sealed.
    pub fn due_at(&self) -> OffsetDateTime {
        self.day.next_day().unwrap_or(self.day).midnight().assume_utc() + GRACE
    }

    /// Whether the sealing is further behind than it ever should be.
    pub fn is_behind(&self, now: OffsetDateTime) -> bool {
        self.due_at() + BEHIND_AFTER < now
    }

    /// Notes whether the records of a head are what was sealed.
    pub fn note_damage(&mut self, head: u64, is_damaged: bool) {
        self.damaged.retain(|number| *number != head);
        if is_damaged && self.damaged.len() < DAMAGED_MAX {
            self.damaged.push(head);
        }
    }

    fn read(row: &TableRow) -> Result<Self, StoreError> {
        let reader = RowReader::new(row)?;
        let day = |name| reader.parsed(name, |text| parse_day(text).ok_or(()));
        let number = |name| reader.int(name).map(i64::unsigned_abs);
        let check = reader.parsed_opt("check_day", |text| parse_day(text).ok_or(()))?;
        let expiring = reader.text_opt("expiring_op")?.map(str::to_owned);
        let list = |name| Ok::<_, StoreError>(reader.json(name)?.as_array().cloned().unwrap_or_default());
        Ok(Self {
            next: number("next")?,
            previous: reader.parsed("previous", |text| RecordHash::parse(text).ok_or(()))?,
            through: reader.text("through")?.to_owned(),
            day: day("day")?,
            published: number("published")?,
            forked: reader.flag("forked")?,
            check: check
                .map(|day| Ok::<_, StoreError>(ChainCheck { day, next: number("check_next")? }))
                .transpose()?,
            late: list("late")?.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            damaged: list("damaged")?.iter().filter_map(Value::as_u64).collect(),
            expired: number("expired")?,
            expiring: expiring
                .map(|op| Ok::<_, StoreError>(Expiring { below: number("expiring_below")?, op }))
                .transpose()?,
        })
    }

    fn write(&self, before: Option<&ETag>) -> TableWrite {
        let key = keys::AUDIT_CHAIN.to_owned();
        let mut fields = RowFields::row()
            .int("next", int(self.next))
            .text("previous", self.previous.to_string())
            .text("through", self.through.as_str())
            .text("day", format_day(self.day))
            .int("published", int(self.published))
            .flag("forked", self.forked)
            .bytes("late", json!(self.late).to_string().as_bytes())
            .bytes("damaged", json!(self.damaged).to_string().as_bytes())
            .int("expired", int(self.expired));
        if let Some(check) = &self.check {
            fields = fields.text("check_day", format_day(check.day)).int("check_next", int(check.next));
        }
        if let Some(expiring) = &self.expiring {
            fields =
                fields.text("expiring_op", expiring.op.as_str()).int("expiring_below", int(expiring.below));
        }
        let properties = fields.done();
        match before {
            Some(etag) => TableWrite::Replace { key, properties, condition: EtagMatch::Exact(etag.clone()) },
            None => TableWrite::Insert { key, properties },
        }
    }
}

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl StateStore {
    /// Where the sealing is, with the service's clock; `None` before the first head.
    pub async fn audit_chain(&self) -> Result<TableAnswer<Option<StoredChain>>, StoreError> {
        let TableAnswer { value, date } = self.read(keys::AUDIT_CHAIN).await?;
        let read = |row: TableRow| {
            Ok::<_, StoreError>(StoredChain { state: ChainState::read(&row)?, etag: row.etag })
        };
        Ok(TableAnswer { value: value.map(read).transpose()?, date })
    }

    /// A head.
    pub async fn audit_head(&self, number: u64) -> Result<Option<StoredHead>, StoreError> {
        let Some(row) = self.get(&keys::audit_head(number)).await? else { return Ok(None) };
        let reader = RowReader::new(&row)?;
        let text = reader.bytes("text")?.into_owned();
        let after = reader.text("after")?.to_owned();
        Ok(Some(StoredHead { text, adopted: reader.flag("adopted")?, after }))
    }

    /// Stores where the sealing is, over the version that was read.
    pub async fn leave_audit_chain(
        &self,
        before: Option<&ETag>,
        after: &ChainState,
    ) -> Result<(), StoreError> {
        self.transact_unjournaled(&[after.write(before)]).await.map(drop)
    }

    /// Stores a head, and where the sealing is behind it.
    pub async fn seal(
        &self,
        before: Option<&ETag>,
        after: &ChainState,
        head: &NewHead<'_>,
    ) -> Result<(), StoreError> {
        let properties = RowFields::row()
            .bytes("text", head.text.as_bytes())
            .flag("adopted", head.adopted)
            .text("after", head.after)
            .done();
        let mut writes =
            vec![TableWrite::Insert { key: keys::audit_head(head.number), properties }, after.write(before)];
        for op in head.late {
            let properties = RowFields::row().int("head", int(head.number)).done();
            writes.push(TableWrite::InsertOrReplace { key: keys::late_record(op), properties });
        }
        self.transact_unjournaled(&writes).await.map(drop)
    }

    /// The same with a record of the journal, and without a head.
    pub async fn record_expiry(
        &self,
        record: &AuditRecord,
        before: &ETag,
        after: &ChainState,
    ) -> Result<(), StoreError> {
        self.commit(record, vec![after.write(Some(before))]).await.map(drop)
    }

    /// The records of a range that were sealed late, each with the head that has it.
    pub async fn late_records(
        &self,
        after: &str,
        through: &str,
    ) -> Result<BTreeMap<String, u64>, StoreError> {
        let (from, to) = keys::ops_between(keys::LATE_RECORDS, after, through);
        let mut late = BTreeMap::new();
        let mut pages = self.pages(from, to);
        while let Some(rows) = pages.next().await? {
            for row in rows {
                let head = RowReader::new(&row)?.int("head")?.unsigned_abs();
                late.insert(keys::last_part(&row.key).to_owned(), head);
            }
        }
        Ok(late)
    }

    /// Deletes records, and what says that some of them were late. Those that are gone stay so.
    pub async fn delete_records(&self, ops: &[String], late: &[String]) -> Result<(), StoreError> {
        let keys = ops.iter().map(|op| keys::journal_text(op));
        let keys: Vec<String> = keys.chain(late.iter().map(|op| keys::late_record(op))).collect();
        for chunk in keys.chunks(TRANSACTION_OPS_MAX) {
            self.delete_rows(chunk).await?;
        }
        Ok(())
    }

    async fn delete_rows(&self, keys: &[String]) -> Result<(), StoreError> {
        let delete = |key: &String| TableWrite::Delete { key: key.clone(), condition: EtagMatch::Any };
        let all: Vec<TableWrite> = keys.iter().map(delete).collect();
        match self.transact_unjournaled(&all).await {
            Err(StoreError::Conflict { .. }) => {}
            done => return done.map(drop),
        }
        // An earlier run deleted some of them, or another process.
        for key in keys {
            match self.transact_unjournaled(&[delete(key)]).await {
                Ok(_) | Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
