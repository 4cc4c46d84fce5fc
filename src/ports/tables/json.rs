//! Rows as JSON, for the commands of an operator that look into a running `local`.

use super::{ETag, KeyRange, PageContinuation, PropertyValue, RowPage, RowProperties, TableAnswer, TableRow};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// Which row.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowAsked {
    pub partition: String,
    pub key: String,
}

/// Which page of a range.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageAsked {
    pub partition: String,
    pub from: String,
    pub to: String,
    pub rows_max: usize,
    pub continuation: Option<String>,
}

impl PageAsked {
    /// The range of one partition.
    pub fn new(partition: &str, range: &KeyRange) -> Self {
        let KeyRange { from, to, rows_max, continuation } = range.clone();
        let continuation = continuation.map(|continuation| continuation.0);
        Self { partition: partition.to_owned(), from, to, rows_max, continuation }
    }

    /// The range.
    pub fn range(self) -> KeyRange {
        let continuation = self.continuation.map(PageContinuation);
        KeyRange { from: self.from, to: self.to, rows_max: self.rows_max, continuation }
    }
}

/// Rows and the table's clock. A single row is a page of at most one.
#[derive(Debug, Serialize, Deserialize)]
pub struct PageJson {
    rows: Vec<RowJson>,
    continuation: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    date: OffsetDateTime,
}

/// A row.
#[derive(Debug, Serialize, Deserialize)]
pub struct RowJson {
    pub key: String,
    #[serde(default)]
    etag: String,
    properties: BTreeMap<String, PropertyJson>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PropertyJson {
    Text(String),
    Int(i64),
    Bool(bool),
    Binary(Vec<u8>),
}

impl From<PropertyValue> for PropertyJson {
    fn from(value: PropertyValue) -> Self {
        match value {
            PropertyValue::Text(text) => Self::Text(text),
            PropertyValue::Int(number) => Self::Int(number),
            PropertyValue::Bool(flag) => Self::Bool(flag),
            PropertyValue::Binary(bytes) => Self::Binary(bytes),
        }
    }
}

impl From<PropertyJson> for PropertyValue {
    fn from(value: PropertyJson) -> Self {
        match value {
            PropertyJson::Text(text) => Self::Text(text),
            PropertyJson::Int(number) => Self::Int(number),
            PropertyJson::Bool(flag) => Self::Bool(flag),
            PropertyJson::Binary(bytes) => Self::Binary(bytes),
        }
    }
}

impl RowJson {
    /// A row that is to be inserted.
    pub fn to_insert(key: &str, properties: &RowProperties) -> Self {
        Self::new(key, String::new(), properties.clone())
    }

    fn new(key: &str, etag: String, properties: RowProperties) -> Self {
        let properties = properties.into_iter().map(|(name, value)| (name, value.into())).collect();
        Self { key: key.to_owned(), etag, properties }
    }

    /// Its properties.
    pub fn into_properties(self) -> RowProperties {
        self.properties.into_iter().map(|(name, value)| (name, value.into())).collect()
    }

    fn into_row(self) -> TableRow {
        let (key, etag) = (self.key.clone(), ETag(self.etag.clone()));
        TableRow { key, properties: self.into_properties(), etag }
    }
}

impl PageJson {
    /// A page of a table.
    pub fn of_page(answer: TableAnswer<RowPage>) -> Self {
        let TableAnswer { value: RowPage { rows, continuation }, date } = answer;
        let rows = rows.into_iter().map(|row| RowJson::new(&row.key, row.etag.0, row.properties)).collect();
        Self { rows, continuation: continuation.map(|continuation| continuation.0), date }
    }

    /// One row of a table, or none.
    pub fn of_row(answer: TableAnswer<Option<TableRow>>) -> Self {
        let TableAnswer { value, date } = answer;
        let page = RowPage { rows: value.into_iter().collect(), continuation: None };
        Self::of_page(TableAnswer { value: page, date })
    }

    /// The page.
    pub fn into_page(self) -> TableAnswer<RowPage> {
        let rows = self.rows.into_iter().map(RowJson::into_row).collect();
        let value = RowPage { rows, continuation: self.continuation.map(PageContinuation) };
        TableAnswer { value, date: self.date }
    }
}
