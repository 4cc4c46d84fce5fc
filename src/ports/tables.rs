//! The one storage trait: a table of entities, as Azure Table Storage has it.
//!
//! Keys: a partition and a row key, compared ordinally. Every write goes through [`TableOps::transact`]; the
//! single-row forms are transactions of one. A value of a row changes its [`ETag`], and an ETag is never used
//! twice, not even by a row that was deleted and inserted again.

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
pub enum Value {
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
pub type Properties = BTreeMap<String, Value>;

/// The version of a row, opaque.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag(pub String);

/// A row as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub key: String,
    pub properties: Properties,
    pub etag: ETag,
}

impl Row {
    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        let value = |value: &Value| match value {
            Value::Text(text) => text.len(),
            Value::Binary(bytes) => bytes.len(),
            Value::Int(_) | Value::Bool(_) => 8,
        };
        let properties = self.properties.iter().map(|(name, content)| name.len() + value(content));
        self.key.len() + properties.sum::<usize>()
    }
}

/// What a write demands of the row it meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// `If-Match: *`: the row must be there.
    Any,
    /// `If-Match: etag`: the row must be this version.
    Exact(ETag),
}

/// One write of a transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// The row must not be there ([`TableError::Exists`]).
    Insert { key: String, properties: Properties },
    /// All properties are replaced.
    Replace { key: String, properties: Properties, condition: Match },
    /// The named properties are set, the others stay.
    Merge { key: String, properties: Properties, condition: Match },
    /// Inserted, or all properties replaced; no condition.
    InsertOrReplace { key: String, properties: Properties },
    /// Inserted, or the named properties set; no condition.
    InsertOrMerge { key: String, properties: Properties },
    /// The row goes.
    Delete { key: String, condition: Match },
}

impl Write {
    /// The row that is written.
    pub fn key(&self) -> &str {
        match self {
            Write::Insert { key, .. }
            | Write::Replace { key, .. }
            | Write::Merge { key, .. }
            | Write::InsertOrReplace { key, .. }
            | Write::InsertOrMerge { key, .. }
            | Write::Delete { key, .. } => key,
        }
    }
}

/// A range of one partition: `from <= key < to`, at most `rows_max` rows a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    pub from: String,
    pub to: String,
    /// At most [`PAGE_ROWS_MAX`]; the service may answer fewer, even none, with a continuation.
    pub rows_max: usize,
    /// The continuation of the page before, passed back as it came.
    pub continuation: Option<Continuation>,
}

/// Where the next page begins, opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continuation(pub String);

/// One page of a range. A page without a continuation is the last.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    pub rows: Vec<Row>,
    pub continuation: Option<Continuation>,
}

/// An answer of the service and the `Date` it carried: the clock that times in rows are compared on.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<T> {
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
    /// 401, 403, a table that is not there: the service will not have us, until somebody gives us the right or makes the
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
    async fn get(&self, partition: &str, key: &str) -> Result<Answer<Option<Row>>, TableError>;
    /// One page of a range in key order. A page is read at one moment; two pages are not.
    async fn page(&self, partition: &str, range: &Range) -> Result<Answer<Page>, TableError>;
    /// All writes or none, in one partition, at most one write a row. Answers the new ETags in the order of the
    /// writes (`None` for a delete). The first write that cannot be done names the error.
    async fn transact(
        &self,
        partition: &str,
        writes: &[Write],
    ) -> Result<Answer<Vec<Option<ETag>>>, TableError>;

    /// Inserts one row.
    async fn insert(
        &self,
        partition: &str,
        key: &str,
        properties: Properties,
    ) -> Result<Answer<Option<ETag>>, TableError> {
        self.single(partition, Write::Insert { key: key.to_owned(), properties }).await
    }
    /// Replaces one row.
    async fn replace(
        &self,
        partition: &str,
        key: &str,
        properties: Properties,
        condition: Match,
    ) -> Result<Answer<Option<ETag>>, TableError> {
        self.single(partition, Write::Replace { key: key.to_owned(), properties, condition }).await
    }
    /// Sets some properties of one row.
    async fn merge(
        &self,
        partition: &str,
        key: &str,
        properties: Properties,
        condition: Match,
    ) -> Result<Answer<Option<ETag>>, TableError> {
        self.single(partition, Write::Merge { key: key.to_owned(), properties, condition }).await
    }
    /// Deletes one row.
    async fn delete(
        &self,
        partition: &str,
        key: &str,
        condition: Match,
    ) -> Result<Answer<Option<ETag>>, TableError> {
        self.single(partition, Write::Delete { key: key.to_owned(), condition }).await
    }
    /// A transaction of one.
    async fn single(&self, partition: &str, write: Write) -> Result<Answer<Option<ETag>>, TableError> {
        let answer = self.transact(partition, &[write]).await?;
        Ok(Answer { value: answer.value.into_iter().next().flatten(), date: answer.date })
    }
}
