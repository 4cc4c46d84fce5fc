//! The one storage trait: a table of entities, as Azure Table Storage has it.
//!
//! Keys: a partition and a row key, compared ordinally. Every write goes through [`TableOps::transact`]; the
//! single-row forms are transactions of one. A value of a row changes its [`ETag`], and an ETag is never used
//! twice, not even by a row that was deleted and inserted again.

#[cfg(feature = "local")]
pub mod json;
pub mod rules;

use async_trait::async_trait;
use std::collections::BTreeMap;
use std::time::Duration;
use time::OffsetDateTime;

/// Operations in one entity group transaction.
pub const TRANSACTION_OPS_MAX: usize = 100;
/// Bytes of one entity group transaction.
pub const TRANSACTION_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of one entity.
pub const ENTITY_BYTES_MAX: usize = 1024 * 1024;
/// Properties of one entity, without its keys and timestamp.
pub const PROPERTIES_MAX: usize = 252;
/// UTF-16 code units of a string property (64 KiB).
pub const STRING_UNITS_MAX: usize = 32 * 1024;
/// Bytes of a binary property.
pub const BINARY_BYTES_MAX: usize = 64 * 1024;
/// Rows of one page.
pub const PAGE_ROWS_MAX: usize = 1000;
/// Bytes of one page: one that would have more ends early, with at least one row. A table may end its pages sooner.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Characters of a key that we allow ourselves (the service allows 1,024, Azurite 512).
pub const KEY_CHARS_MAX: usize = 512;

/// A property value, one of the types of the service that we use.
#[derive(Debug, Clone, PartialEq)]
pub enum PropertyValue {
    /// `Edm.String`
    Text(String),
    /// `Edm.Int64`
    Int(i64),
    /// `Edm.Boolean`
    Bool(bool),
    /// `Edm.Binary`
    Binary(Vec<u8>),
}

/// The properties of a row, keys aside.
pub type RowProperties = BTreeMap<String, PropertyValue>;

/// The version of a row, opaque.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag(pub String);

/// A row as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct TableRow {
    pub key: String,
    pub properties: RowProperties,
    pub etag: ETag,
}

impl TableRow {
    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        let value = |value: &PropertyValue| match value {
            PropertyValue::Text(text) => text.len(),
            PropertyValue::Binary(bytes) => bytes.len(),
            PropertyValue::Int(_) | PropertyValue::Bool(_) => 8,
        };
        let properties = self.properties.iter().map(|(name, content)| name.len() + value(content));
        self.key.len() + properties.sum::<usize>()
    }
}

/// What a write demands of the row it meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtagMatch {
    /// `If-Match: *`: the row must be there.
    Any,
    /// `If-Match: etag`: the row must be this version.
    Exact(ETag),
}

/// One write of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum TableWrite {
    /// The row must not be there ([`TableError::Exists`]).
    Insert { key: String, properties: RowProperties },
    /// All properties are replaced.
    Replace { key: String, properties: RowProperties, condition: EtagMatch },
    /// The named properties are set, the others stay.
    Merge { key: String, properties: RowProperties, condition: EtagMatch },
    /// Inserted, or all properties replaced; no condition.
    InsertOrReplace { key: String, properties: RowProperties },
    /// Inserted, or the named properties set; no condition.
    InsertOrMerge { key: String, properties: RowProperties },
    /// The row goes.
    Delete { key: String, condition: EtagMatch },
}

impl TableWrite {
    /// The row that is written.
    pub fn key(&self) -> &str {
        match self {
            TableWrite::Insert { key, .. }
            | TableWrite::Replace { key, .. }
            | TableWrite::Merge { key, .. }
            | TableWrite::InsertOrReplace { key, .. }
            | TableWrite::InsertOrMerge { key, .. }
            | TableWrite::Delete { key, .. } => key,
        }
    }
}

/// A range of one partition: `from <= key < to`, at most `rows_max` rows a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    pub from: String,
    pub to: String,
    /// At most [`PAGE_ROWS_MAX`]; the service may answer fewer, even none, with a continuation.
    pub rows_max: usize,
    /// The continuation of the page before, passed back as it came.
    pub continuation: Option<PageContinuation>,
}

/// Where the next page begins, opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageContinuation(pub String);

/// One page of a range. A page without a continuation is the last.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RowPage {
    pub rows: Vec<TableRow>,
    pub continuation: Option<PageContinuation>,
}

/// An answer of the service and the `Date` it carried: the clock that times in rows are compared on.
#[derive(Debug, Clone, PartialEq)]
pub struct TableAnswer<T> {
    pub value: T,
    pub date: OffsetDateTime,
}

/// Why a call did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// 409: write `index` inserts a row that is there. Nothing was written.
    #[error("write {index} of the transaction inserts a row that exists")]
    Exists { index: usize },
    /// 404: write `index` needs a row that is not there. Nothing was written.
    #[error("write {index} of the transaction needs a row that does not exist")]
    Missing { index: usize },
    /// 412: write `index` meets another version. Nothing was written.
    #[error("write {index} of the transaction meets another version of its row")]
    Changed { index: usize },
    /// 503 or 429 with a wait. Nothing was written.
    #[error("the table service is busy")]
    Throttled { retry_after: Duration },
    /// A timeout, a reset, a 5xx: the service may or may not have done it.
    #[error("the table service gave no answer that can be relied on: {detail}")]
    Unknown { detail: String },
    /// 401, 403, a table that is not there: the service refuses us until an operator grants access or makes the
    /// table. Nothing was written.
    #[error("the table service turns us away: {code}")]
    Refused { code: String },
    /// A row or a transaction is larger than the service takes. Nothing was written.
    #[error("the table service takes no more: {rule}")]
    TooLarge { rule: String },
    /// The request breaks another rule of the service: a bug of ours. Nothing was written.
    #[error("the table service refuses the request: {rule}")]
    Invalid { rule: String },
}

/// The rows of one table. One partition is one tenant.
#[async_trait]
pub trait TableOps: Send + Sync {
    /// The row of that key. Always current.
    async fn get(&self, partition: &str, key: &str) -> Result<TableAnswer<Option<TableRow>>, TableError>;
    /// One page of a range in key order. A page is read at one moment; two pages are not.
    async fn page(&self, partition: &str, range: &KeyRange) -> Result<TableAnswer<RowPage>, TableError>;
    /// The same with rows that have keys and ETags, and no properties: whether they are there, and still the same.
    async fn key_page(&self, partition: &str, range: &KeyRange) -> Result<TableAnswer<RowPage>, TableError> {
        let mut answer = self.page(partition, range).await?;
        answer.value.rows.iter_mut().for_each(|row| row.properties.clear());
        Ok(answer)
    }
    /// All writes or none, in one partition, at most one write a row. Returns the new ETags in the order of the
    /// writes (`None` for a delete). The first write that cannot be done names the error.
    async fn transact(
        &self,
        partition: &str,
        writes: &[TableWrite],
    ) -> Result<TableAnswer<Vec<Option<ETag>>>, TableError>;

    /// Inserts one row.
    async fn insert(
        &self,
        partition: &str,
        key: &str,
        properties: RowProperties,
    ) -> Result<TableAnswer<Option<ETag>>, TableError> {
        self.single(partition, TableWrite::Insert { key: key.to_owned(), properties }).await
    }
    /// Replaces one row.
    async fn replace(
        &self,
        partition: &str,
        key: &str,
        properties: RowProperties,
        condition: EtagMatch,
    ) -> Result<TableAnswer<Option<ETag>>, TableError> {
        self.single(partition, TableWrite::Replace { key: key.to_owned(), properties, condition }).await
    }
    /// Sets some properties of one row.
    async fn merge(
        &self,
        partition: &str,
        key: &str,
        properties: RowProperties,
        condition: EtagMatch,
    ) -> Result<TableAnswer<Option<ETag>>, TableError> {
        self.single(partition, TableWrite::Merge { key: key.to_owned(), properties, condition }).await
    }
    /// Deletes one row.
    async fn delete(
        &self,
        partition: &str,
        key: &str,
        condition: EtagMatch,
    ) -> Result<TableAnswer<Option<ETag>>, TableError> {
        self.single(partition, TableWrite::Delete { key: key.to_owned(), condition }).await
    }
    /// A transaction of one.
    async fn single(
        &self,
        partition: &str,
        write: TableWrite,
    ) -> Result<TableAnswer<Option<ETag>>, TableError> {
        let answer = self.transact(partition, &[write]).await?;
        Ok(TableAnswer { value: answer.value.into_iter().next().flatten(), date: answer.date })
    }
}
