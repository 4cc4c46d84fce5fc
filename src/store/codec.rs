//! Properties of rows: written with a format version, read with clear errors.

use crate::ports::tables::{BINARY_BYTES_MAX, PropertyValue, RowProperties, TableRow};
use crate::store::StoreError;
use std::borrow::Cow;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The format of every row that this release writes. A row from further ahead is refused.
pub const FORMAT: i64 = 1;

/// A time after that year is no time of ours: sums with the end of days overflow.
const YEAR_MAX: i32 = 9000;

/// Builds the properties of a row.
#[derive(Debug, Clone, Default)]
pub struct RowFields(RowProperties);

impl RowFields {
    /// Properties of a whole row: with the format version.
    pub fn row() -> Self {
        Self::default().int("v", FORMAT)
    }

    /// Properties for a merge.
    pub fn some() -> Self {
        Self::default()
    }

    pub fn text(self, name: &str, value: impl Into<String>) -> Self {
        self.with(name, PropertyValue::Text(value.into()))
    }

    pub fn text_if(self, name: &str, value: Option<String>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    pub fn int(self, name: &str, value: i64) -> Self {
        self.with(name, PropertyValue::Int(value))
    }

    pub fn flag(self, name: &str, value: bool) -> Self {
        self.with(name, PropertyValue::Bool(value))
    }

    pub fn time(self, name: &str, value: OffsetDateTime) -> Self {
        self.text(name, crate::audit::rfc3339(value))
    }

    /// Bytes of any length, in parts of 64 KiB: `name0`, `name1`… and their number as `name`.
    pub fn bytes(mut self, name: &str, value: &[u8]) -> Self {
        let mut parts = 0;
        for part in value.chunks(BINARY_BYTES_MAX) {
            self = self.with(&format!("{name}{parts}"), PropertyValue::Binary(part.to_vec()));
            parts += 1;
        }
        self.int(name, parts)
    }

    fn with(mut self, name: &str, value: PropertyValue) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    pub fn done(self) -> RowProperties {
        self.0
    }
}

/// Reads the properties of a row.
#[derive(Debug, Clone, Copy)]
pub struct RowReader<'a>(&'a TableRow);

impl<'a> RowReader<'a> {
    /// Refuses a row of a later format.
    pub fn new(row: &'a TableRow) -> Result<Self, StoreError> {
        let reader = Self(row);
        match reader.int("v")? {
            version if version <= FORMAT => Ok(reader),
            version => Err(StoreError::TooNew { row: row.key.clone(), version }),
        }
    }

    /// Takes a row of any format, for what can do with as much as there is.
    pub fn any(row: &'a TableRow) -> Self {
        Self(row)
    }

    /// The error of a property that cannot be read.
    pub(super) fn corrupt(&self, name: &str) -> StoreError {
        StoreError::Corrupt { row: self.0.key.clone(), property: name.to_owned() }
    }

    pub fn text_opt(&self, name: &str) -> Result<Option<&'a str>, StoreError> {
        match self.0.properties.get(name) {
            None => Ok(None),
            Some(PropertyValue::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.corrupt(name)),
        }
    }

    pub fn text(&self, name: &str) -> Result<&'a str, StoreError> {
        self.text_opt(name)?.ok_or_else(|| self.corrupt(name))
    }

    pub fn int_opt(&self, name: &str) -> Result<Option<i64>, StoreError> {
        match self.0.properties.get(name) {
            None => Ok(None),
            Some(PropertyValue::Int(value)) => Ok(Some(*value)),
            Some(_) => Err(self.corrupt(name)),
        }
    }

    pub fn int(&self, name: &str) -> Result<i64, StoreError> {
        self.int_opt(name)?.ok_or_else(|| self.corrupt(name))
    }

    /// Absent is false.
    pub fn flag(&self, name: &str) -> Result<bool, StoreError> {
        match self.0.properties.get(name) {
            None => Ok(false),
            Some(PropertyValue::Bool(value)) => Ok(*value),
            Some(_) => Err(self.corrupt(name)),
        }
    }

    pub fn time_opt(&self, name: &str) -> Result<Option<OffsetDateTime>, StoreError> {
        let parse = |text| {
            let time = OffsetDateTime::parse(text, &Rfc3339).ok().filter(|time| time.year() <= YEAR_MAX);
            time.ok_or_else(|| self.corrupt(name))
        };
        self.text_opt(name)?.filter(|text| !text.is_empty()).map(parse).transpose()
    }

    pub fn time(&self, name: &str) -> Result<OffsetDateTime, StoreError> {
        self.time_opt(name)?.ok_or_else(|| self.corrupt(name))
    }

    /// What [`RowFields::bytes`] wrote. One part is not copied.
    pub fn bytes(&self, name: &str) -> Result<Cow<'a, [u8]>, StoreError> {
        let parts = self.int(name)?;
        let mut all = Cow::default();
        for number in 0..parts {
            match self.0.properties.get(&format!("{name}{number}")) {
                Some(PropertyValue::Binary(bytes)) if parts == 1 => all = Cow::from(bytes),
                Some(PropertyValue::Binary(bytes)) => all.to_mut().extend_from_slice(bytes),
                _ => return Err(self.corrupt(name)),
            }
        }
        Ok(all)
    }

    /// Reads a text property with `parse`.
    pub fn parsed<T, E>(&self, name: &str, parse: impl Fn(&str) -> Result<T, E>) -> Result<T, StoreError> {
        parse(self.text(name)?).map_err(|_| self.corrupt(name))
    }

    /// Reads a text property with `parse`, if it is there.
    pub fn parsed_opt<T, E>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, StoreError> {
        self.text_opt(name)?
            .filter(|text| !text.is_empty())
            .map(|text| parse(text).map_err(|_| self.corrupt(name)))
            .transpose()
    }

    pub fn json(&self, name: &str) -> Result<serde_json::Value, StoreError> {
        serde_json::from_slice(&self.bytes(name)?).map_err(|_| self.corrupt(name))
    }
}
