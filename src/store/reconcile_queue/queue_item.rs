//! Rows of the queue as the service meets them: what they say, which row each of them is, and where to go on.

use crate::ports::tables::{PropertyValue, TableRow};
use crate::store::{StateStore, StoreError, keys};

/// Which row, as which change wrote it. Steps over the row leave it as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowIdentity {
    key: String,
    change: String,
}

impl RowIdentity {
    /// The row, and the op of the change that wrote it; of a row that cannot be read, its version.
    pub(in crate::store) fn of(row: &TableRow) -> Self {
        let change = match row.properties.get("op") {
            Some(PropertyValue::Text(op)) => op.clone(),
            _ => row.etag.0.clone(),
        };
        Self { key: row.key.clone(), change }
    }

    /// The row, whatever change wrote it.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The op of the change that wrote it.
    pub fn change(&self) -> &str {
        &self.change
    }

    /// The id at the end of the key.
    pub fn id(&self) -> &str {
        keys::last_part(&self.key)
    }

    /// The kind of row, for logs: what its key begins with.
    pub fn kind(&self) -> &str {
        self.key.split(':').next().unwrap_or_default()
    }

    /// Whether the row is the hint of a leaver.
    pub fn is_leaver_hint(&self) -> bool {
        self.key.starts_with(keys::HINTS)
    }

    /// Behind this row.
    pub fn position(&self) -> QueuePosition {
        QueuePosition(self.key.clone())
    }
}

/// A row of the queue, and what it says where it can be read.
#[derive(Debug)]
pub struct QueueItem<T> {
    pub row: RowIdentity,
    pub read: Result<T, StoreError>,
}

impl<T> QueueItem<T> {
    pub(in crate::store) fn of(row: &TableRow, read: Result<T, StoreError>) -> Self {
        Self { row: RowIdentity::of(row), read }
    }
}

/// How far a stage came: behind a row, or at the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueuePosition(String);

impl QueuePosition {
    /// Behind the row with that key; empty means the beginning.
    pub fn behind(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// The key of the row; empty at the beginning.
    pub(in crate::store) fn as_str(&self) -> &str {
        &self.0
    }

    /// Before every row.
    pub fn is_start(&self) -> bool {
        self.0.is_empty()
    }

    /// The first key of a range that lies behind this position.
    pub(in crate::store) fn or_start(&self, start: String) -> String {
        if self.is_start() { start } else { format!("{}!", self.0) }
    }
}

/// The next rows of a queue.
#[derive(Debug)]
pub struct QueuePage<T> {
    pub items: Vec<QueueItem<T>>,
    /// Behind the last of them, where there may be more; `None` at the end.
    pub next: Option<QueuePosition>,
}

impl<T> QueuePage<T> {
    /// The same page of something else.
    pub fn map<U>(self, into: impl Fn(T) -> U) -> QueuePage<U> {
        let item = |item: QueueItem<T>| QueueItem { row: item.row, read: item.read.map(&into) };
        QueuePage { items: self.items.into_iter().map(item).collect(), next: self.next }
    }
}

impl StateStore {
    /// The rows that begin with `prefix`, from a position on, at most so many.
    pub(in crate::store) async fn queue_rows(
        &self,
        prefix: &str,
        after: &QueuePosition,
        rows_max: usize,
    ) -> Result<(Vec<TableRow>, Option<QueuePosition>), StoreError> {
        let (from, to) = keys::range_of(prefix);
        let rows = self.rows_between(after.or_start(from), to, rows_max).await?;
        let last = rows.last().map(|row| QueuePosition::behind(row.key.as_str()));
        let next = last.filter(|_| rows.len() >= rows_max);
        Ok((rows, next))
    }

    /// Every row that begins with `prefix`, page by page.
    pub(in crate::store) async fn each_row(
        &self,
        prefix: &str,
        mut take: impl FnMut(&TableRow),
    ) -> Result<(), StoreError> {
        let (from, to) = keys::range_of(prefix);
        let mut pages = self.pages(from, to);
        while let Some(rows) = pages.next().await? {
            rows.iter().for_each(&mut take);
        }
        Ok(())
    }
}
