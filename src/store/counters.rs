//! Counters of users and groups, one row for each first byte of an id: totals and any start index without a scan.
//!
//! A process remembers what it last wrote, so that a create reads nothing. A memory that is out of date costs a
//! conflict and one more read. It never costs a wrong count, because every write carries the ETag of what was read.

use crate::events::log_event;
use crate::ports::tables::{ETag, EtagMatch, TableWrite};
use crate::store::batch::{BatchPart, WriteBatch};
use crate::store::codec::{RowFields, RowReader};
use crate::store::resources::ResourceId;
use crate::store::{CommittedWrites, StateStore, StoreError, keys};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedMutexGuard;

/// Rows of counters of one kind: one for each first byte.
const BUCKETS: usize = 256;

/// A counter as it was last seen.
#[derive(Debug, Clone, Default)]
struct Count {
    number: i64,
    /// None: the row does not exist.
    etag: Option<ETag>,
}

type Slot = Arc<tokio::sync::Mutex<Option<Count>>>;

/// The counters that this process remembers. At most one change of a counter is under way at a time.
#[derive(Default)]
pub struct ResourceCounters(Mutex<HashMap<String, Slot>>);

impl ResourceCounters {
    /// Locks the counter of `id`.
    pub async fn hold(&self, id: impl ResourceId) -> Held {
        let key = id.counter_key();
        let slot =
            Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default());
        Held { key, slot: slot.lock_owned().await }
    }

    /// Locks the counters of two ids, which may share one; always in the same order.
    pub async fn hold_two<I: ResourceId>(&self, one: I, other: I) -> Vec<Held> {
        let (first, second) =
            if one.counter_key() <= other.counter_key() { (one, other) } else { (other, one) };
        let mut held = vec![self.hold(first).await];
        if first.counter_key() != second.counter_key() {
            held.push(self.hold(second).await);
        }
        held
    }
}

/// A locked counter.
pub struct Held {
    key: String,
    slot: OwnedMutexGuard<Option<Count>>,
}

impl Held {
    /// Whether it counts `id`.
    pub fn counts(&self, id: impl ResourceId) -> bool {
        self.key == id.counter_key()
    }

    /// Reads the counter, unless it is remembered. One that cannot be read is recounted.
    pub async fn load<I: ResourceId>(&mut self, store: &StateStore) -> Result<(), StoreError> {
        if self.slot.is_some() {
            return Ok(());
        }
        let row = store.get(&self.key).await?;
        let number = match &row {
            None => 0,
            Some(row) => match RowReader::new(row).and_then(|reader| reader.int("n")) {
                Ok(number) if number >= 0 => number,
                _ => {
                    log_event!(RowInconsistent, row = self.key, "a counter cannot be read and is recounted");
                    self.recount::<I>(store).await?
                }
            },
        };
        *self.slot = Some(Count { number, etag: row.map(|row| row.etag) });
        Ok(())
    }

    /// The same for a delete: what is deleted was counted, so a missing counter is recounted too.
    pub async fn load_for_delete<I: ResourceId>(&mut self, store: &StateStore) -> Result<(), StoreError> {
        self.load::<I>(store).await?;
        if self.slot.as_ref().is_some_and(|count| count.number == 0) {
            let number = self.recount::<I>(store).await?;
            if number > 0 {
                log_event!(RowInconsistent, row = self.key, "a counter is wrong and was recounted");
            }
            let etag = self.slot.take().and_then(|count| count.etag);
            *self.slot = Some(Count { number, etag });
        }
        Ok(())
    }

    /// How many headers there are. Every create and every delete among them writes the counter under the version that was
    /// read before this, so the number is right wherever it is written.
    async fn recount<I: ResourceId>(&self, store: &StateStore) -> Result<i64, StoreError> {
        let number = store.counted::<I>(keys::last_part(&self.key)).await?;
        Ok(i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// Adds `step` to the loaded count.
    pub fn write(&self, step: i64) -> WriteBatch {
        let count = self.slot.clone().unwrap_or_default();
        let properties = RowFields::row().int("n", count.number + step).done();
        let key = self.key.clone();
        let mut batch = WriteBatch::default();
        let write = match count.etag {
            None => TableWrite::Insert { key, properties },
            Some(etag) => TableWrite::Merge { key, properties, condition: EtagMatch::Exact(etag) },
        };
        batch.push(BatchPart::Counter, write);
        batch
    }

    /// Remembers what was written by [`Held::write`], if the answer says the new ETag.
    pub fn committed(&mut self, step: i64, batch: &WriteBatch, committed: &CommittedWrites) {
        let etag = batch.position(&self.key).and_then(|index| committed.etag(index));
        *self.slot = match (etag, self.slot.take()) {
            (Some(etag), Some(count)) => Some(Count { number: count.number + step, etag: Some(etag) }),
            _ => None,
        };
    }

    /// Forgets what may be out of date, and unlocks.
    pub fn forget(mut self) {
        *self.slot = None;
    }
}

/// The keys of the headers that one counter counts: those whose ids begin with its two digits.
fn headers_of_bucket<I: ResourceId>(bucket: &str) -> (String, String) {
    let from = format!("{}{bucket}", I::HEADERS);
    // Behind every hexadecimal digit and the hyphen.
    let to = format!("{from}g");
    (from, to)
}

/// How many resources of a kind there are, by first byte of the id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceTotals(Vec<(String, usize)>);

/// Where a page begins: so many rows after the first id of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagePlace {
    pub bucket: String,
    pub skip: usize,
}

impl ResourceTotals {
    /// All of them.
    pub fn total(&self) -> usize {
        self.0.iter().map(|(_, number)| number).sum()
    }

    /// The position of resource number `offset`, counted from 0. None: there are no more than that.
    pub fn place(&self, offset: usize) -> Option<PagePlace> {
        let mut skip = offset;
        for (bucket, number) in &self.0 {
            if skip < *number {
                return Some(PagePlace { bucket: bucket.clone(), skip });
            }
            skip -= number;
        }
        None
    }
}

impl ResourceTotals {
    /// The bucket to begin with to find at least `rows` resources before `id`, or before the end. None: there are no more
    /// than that, and what is before begins with the first of all.
    pub fn back_from<I: ResourceId>(&self, id: Option<I>, rows: usize) -> Option<&str> {
        let end = id.map(keys::bucket);
        let mut found: usize = 0;
        for (bucket, number) in self.0.iter().rev() {
            if end.as_ref().is_some_and(|end| bucket >= end) {
                continue;
            }
            found = found.saturating_add(*number);
            if found >= rows {
                return Some(bucket);
            }
        }
        None
    }
}

impl StateStore {
    /// The headers of one bucket, counted.
    async fn counted<I: ResourceId>(&self, bucket: &str) -> Result<usize, StoreError> {
        let (from, to) = headers_of_bucket::<I>(bucket);
        let mut number = 0;
        let mut pages = self.pages(from, to);
        while let Some(rows) = pages.next().await? {
            number += rows.len();
        }
        Ok(number)
    }

    /// The counters of a kind.
    pub async fn totals<I: ResourceId>(&self) -> Result<ResourceTotals, StoreError> {
        let mut totals = Vec::new();
        for row in self.rows(I::COUNTERS, BUCKETS).await? {
            let bucket = keys::last_part(&row.key);
            let number = match RowReader::new(&row).and_then(|reader| reader.int("n")) {
                Ok(number) => usize::try_from(number).unwrap_or(0),
                Err(error) => {
                    log_event!(RowUnreadable, row = row.key, error = %error, "a counter cannot be read: its resources are counted");
                    self.counted::<I>(bucket).await?
                }
            };
            totals.push((bucket.to_owned(), number));
        }
        Ok(ResourceTotals(totals))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::UserId;

    #[test]
    fn any_start_index_is_found_by_adding_up() {
        let totals = ResourceTotals(vec![("00".to_owned(), 2), ("0a".to_owned(), 0), ("ff".to_owned(), 3)]);
        let place = |offset| totals.place(offset).map(|place| (place.bucket, place.skip));
        assert_eq!(totals.total(), 5);
        assert_eq!(place(0), Some(("00".to_owned(), 0)));
        assert_eq!(place(1), Some(("00".to_owned(), 1)));
        assert_eq!(place(2), Some(("ff".to_owned(), 0)));
        assert_eq!(place(4), Some(("ff".to_owned(), 2)));
        assert_eq!(place(5), None);
    }

    #[test]
    fn what_is_before_an_id_is_found_by_adding_up_backwards() {
        let totals = ResourceTotals(vec![("00".to_owned(), 2), ("0a".to_owned(), 4), ("ff".to_owned(), 3)]);
        let id = |first: u8| UserId::new(uuid::Uuid::from_u128(u128::from(first) << 120));
        let back = |id, rows| totals.back_from::<UserId>(id, rows);
        assert_eq!(back(None, 3), Some("ff"));
        assert_eq!(back(None, 4), Some("0a"));
        assert_eq!(back(Some(id(0xff)), 4), Some("0a"));
        assert_eq!(back(Some(id(0xff)), 6), Some("00"));
        assert_eq!(back(Some(id(0xff)), 7), None);
        assert_eq!(back(Some(id(0x0a)), 1), Some("00"));
        assert_eq!(back(Some(id(0x00)), 1), None);
    }
}
