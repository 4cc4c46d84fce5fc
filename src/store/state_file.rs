//! The file of an exported state: what is written, and how it is read again. One line of JSON for each row, with the exact type
//! of every property, between a header and a footer. `docs/operate.md` describes it.
//!
//! A file counts only as a whole: the footer has the number of rows and the hash of everything before it, so what is cut off,
//! changed or repeated is found before a single row is used.

use crate::id::InstanceId;
use crate::ports::tables::{PropertyValue, RowProperties};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::io::{self, BufRead, Write};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What the header calls the file.
const FORMAT: &str = "azure-backup-scim-state";
/// The form of the lines. A file of another one is refused.
pub const FILE_VERSION: i64 = 1;
/// Bytes of one line: a row has at most 1 MiB, and text may take six times of that as JSON.
const LINE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHeader {
    pub tenant: String,
    /// `None`: the installation has made no id yet.
    pub instance: Option<InstanceId>,
    /// When the export began, by the clock of the table service.
    pub exported: OffsetDateTime,
}

/// The last line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFooter {
    pub rows: u64,
    /// SHA-256 over every line before, as lower-case hex.
    pub sha256: String,
    /// Nothing was changed while the rows were read: they are the state of one moment.
    pub exact: bool,
}

/// A row of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct FileRow {
    pub key: String,
    pub properties: RowProperties,
}

/// Why a file is no exported state, or not a whole one.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    #[error("cannot read the file")]
    Read(#[from] io::Error),
    #[error("the file is not an exported state: its first line is no header")]
    NoHeader,
    #[error("the file has format {version}, and this release reads {FILE_VERSION}")]
    Version { version: i64 },
    #[error("line {line} is not a row: {what}")]
    Line { line: u64, what: String },
    #[error("line {line} is longer than any row")]
    TooLong { line: u64 },
    #[error("line {line}: the key {key} does not come after the one before")]
    Order { line: u64, key: String },
    #[error("the file ends without its last line: it is cut off")]
    CutOff,
    #[error("there is more after the last line")]
    More,
    #[error("the file has {found} rows, and its last line says {said}")]
    Rows { found: u64, said: u64 },
    #[error("the file was changed: its hash is {found}, and its last line says {said}")]
    Hash { found: String, said: String },
}

/// Writes a file line by line.
pub struct StateFileWriter<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
    rows: u64,
}

impl<'a> StateFileWriter<'a> {
    /// Begins with the header.
    pub fn begin(out: &'a mut dyn Write, header: &FileHeader) -> io::Result<Self> {
        let mut writer = Self { out, hash: Sha256::new(), rows: 0 };
        writer.line(&header_json(header))?;
        Ok(writer)
    }

    pub fn row(&mut self, key: &str, properties: &RowProperties) -> io::Result<()> {
        let members = properties.iter().map(|(name, value)| (name.clone(), value_json(value)));
        self.rows += 1;
        self.line(&json!({ "key": key, "properties": members.collect::<Map<_, _>>() }))
    }

    /// Ends with the footer.
    pub fn end(self, exact: bool) -> io::Result<FileFooter> {
        let Self { out, hash, rows } = self;
        let footer = FileFooter { rows, sha256: hex(hash), exact };
        let line = json!({ "rows": footer.rows, "sha256": footer.sha256, "exact": footer.exact });
        writeln!(out, "{line}")?;
        Ok(footer)
    }

    fn line(&mut self, value: &Value) -> io::Result<()> {
        let line = format!("{value}\n");
        self.hash.update(line.as_bytes());
        self.out.write_all(line.as_bytes())
    }
}

/// Reads a file line by line. What it says is only known to be whole at its end.
pub struct StateFileReader<R> {
    lines: R,
    pub header: FileHeader,
    hash: Sha256,
    rows: u64,
    line: u64,
    last_key: String,
    footer: Option<FileFooter>,
}

impl<R: BufRead> StateFileReader<R> {
    /// Reads the header.
    pub fn begin(lines: R) -> Result<Self, StateFileError> {
        let none = FileHeader { tenant: String::new(), instance: None, exported: OffsetDateTime::UNIX_EPOCH };
        let (hash, last_key) = (Sha256::new(), String::new());
        let mut reader = Self { lines, header: none, hash, rows: 0, line: 0, last_key, footer: None };
        let text = reader.next_line()?.ok_or(StateFileError::NoHeader)?;
        let value = serde_json::from_slice(&text).map_err(|_| StateFileError::NoHeader)?;
        reader.header = read_header(&value)?;
        reader.hash.update(&text);
        Ok(reader)
    }

    /// The next row; `None` after the last one, and then the file is whole.
    pub fn next_row(&mut self) -> Result<Option<FileRow>, StateFileError> {
        if self.footer.is_some() {
            return Ok(None);
        }
        let text = self.next_line()?.ok_or(StateFileError::CutOff)?;
        if text.last() != Some(&b'\n') {
            return Err(StateFileError::CutOff);
        }
        let wrong = |what: &str| StateFileError::Line { line: self.line, what: what.to_owned() };
        let value: Value = serde_json::from_slice(&text).map_err(|_| wrong("it is no JSON"))?;
        if let Some(footer) = read_footer(&value) {
            return self.end(footer).map(|()| None);
        }
        let row = read_row(&value).ok_or_else(|| wrong("it has no key, or a property of an unknown type"))?;
        if self.rows > 0 && row.key <= self.last_key {
            return Err(StateFileError::Order { line: self.line, key: row.key });
        }
        self.hash.update(&text);
        self.rows += 1;
        self.last_key.clone_from(&row.key);
        Ok(Some(row))
    }

    /// The last line, once every row was read.
    pub const fn footer(&self) -> Option<&FileFooter> {
        self.footer.as_ref()
    }

    fn end(&mut self, footer: FileFooter) -> Result<(), StateFileError> {
        if self.next_line()?.is_some() {
            return Err(StateFileError::More);
        }
        if footer.rows != self.rows {
            return Err(StateFileError::Rows { found: self.rows, said: footer.rows });
        }
        let found = hex(std::mem::take(&mut self.hash));
        if footer.sha256 != found {
            return Err(StateFileError::Hash { found, said: footer.sha256 });
        }
        self.footer = Some(footer);
        Ok(())
    }

    fn next_line(&mut self) -> Result<Option<Vec<u8>>, StateFileError> {
        self.line += 1;
        let mut text = Vec::new();
        let mut bounded = io::Read::take(&mut self.lines, LINE_BYTES_MAX);
        if bounded.read_until(b'\n', &mut text)? == 0 {
            return Ok(None);
        }
        if text.last() != Some(&b'\n') && bounded.limit() == 0 {
            return Err(StateFileError::TooLong { line: self.line });
        }
        Ok(Some(text))
    }
}

fn hex(hash: Sha256) -> String {
    use std::fmt::Write as _;
    hash.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn header_json(header: &FileHeader) -> Value {
    let FileHeader { tenant, instance, exported } = header;
    json!({
        "format": FORMAT, "version": FILE_VERSION, "tenant": tenant,
        "instance": instance.map(|instance| instance.to_string()), "exported": crate::audit::rfc3339(*exported),
        "program": env!("CARGO_PKG_VERSION"),
    })
}

fn read_header(value: &Value) -> Result<FileHeader, StateFileError> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    if text("format") != Some(FORMAT) {
        return Err(StateFileError::NoHeader);
    }
    let version = value.get("version").and_then(Value::as_i64).unwrap_or_default();
    if version != FILE_VERSION {
        return Err(StateFileError::Version { version });
    }
    let instance = match text("instance") {
        None => None,
        Some(id) => Some(InstanceId::parse(id).map_err(|_| StateFileError::NoHeader)?),
    };
    let exported = text("exported").and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    match (text("tenant"), exported) {
        (Some(tenant), Some(exported)) => Ok(FileHeader { tenant: tenant.to_owned(), instance, exported }),
        _ => Err(StateFileError::NoHeader),
    }
}

/// `None`: the line is a row, or nothing that we know.
fn read_footer(value: &Value) -> Option<FileFooter> {
    let rows = value.get("rows")?.as_u64()?;
    let sha256 = value.get("sha256")?.as_str()?.to_owned();
    let exact = value.get("exact")?.as_bool()?;
    Some(FileFooter { rows, sha256, exact })
}

fn value_json(value: &PropertyValue) -> Value {
    match value {
        PropertyValue::Text(text) => text.as_str().into(),
        PropertyValue::Int(number) => (*number).into(),
        PropertyValue::Bool(flag) => (*flag).into(),
        PropertyValue::Binary(bytes) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

fn read_row(value: &Value) -> Option<FileRow> {
    let key = value.get("key")?.as_str()?.to_owned();
    let members = value.get("properties")?.as_object()?;
    let read = |(name, value): (&String, &Value)| Some((name.clone(), read_value(value)?));
    Some(FileRow { key, properties: members.iter().map(read).collect::<Option<_>>()? })
}

fn read_value(value: &Value) -> Option<PropertyValue> {
    match value {
        Value::String(text) => Some(PropertyValue::Text(text.clone())),
        Value::Number(number) => number.as_i64().map(PropertyValue::Int),
        Value::Bool(flag) => Some(PropertyValue::Bool(*flag)),
        Value::Object(members) => {
            let bytes = members.get("base64").filter(|_| members.len() == 1)?.as_str()?;
            STANDARD.decode(bytes).ok().map(PropertyValue::Binary)
        }
        Value::Null | Value::Array(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn rows() -> Vec<FileRow> {
        let text = "line\nbreak, \u{1f600} and \"quotes\"".to_owned();
        let all = RowProperties::from([
            ("b0".to_owned(), PropertyValue::Binary((0..=255).collect())),
            ("empty".to_owned(), PropertyValue::Binary(Vec::new())),
            ("flag".to_owned(), PropertyValue::Bool(true)),
            ("large".to_owned(), PropertyValue::Int(i64::MIN)),
            ("text".to_owned(), PropertyValue::Text(text)),
            ("v".to_owned(), PropertyValue::Int(1)),
        ]);
        let none = RowProperties::new();
        [("d:1", none), ("u:1", all)]
            .map(|(key, properties)| FileRow { key: key.to_owned(), properties })
            .into()
    }

    fn header() -> FileHeader {
        let instance = InstanceId::parse("11111111-2222-4333-8444-555555555555").ok();
        FileHeader { tenant: "default".to_owned(), instance, exported: datetime!(2026-11-25 12:00 UTC) }
    }

    fn written() -> String {
        let mut out = Vec::new();
        let mut writer = StateFileWriter::begin(&mut out, &header()).unwrap();
        rows().iter().for_each(|row| writer.row(&row.key, &row.properties).unwrap());
        assert_eq!(writer.end(true).unwrap().rows, 2);
        String::from_utf8(out).unwrap()
    }

    fn read(text: impl AsRef<[u8]>) -> Result<(FileHeader, Vec<FileRow>, FileFooter), StateFileError> {
        let mut reader = StateFileReader::begin(text.as_ref())?;
        let mut rows = Vec::new();
        while let Some(row) = reader.next_row()? {
            rows.push(row);
        }
        let footer = reader.footer().cloned().unwrap();
        Ok((reader.header, rows, footer))
    }

    #[test]
    fn a_file_is_read_as_it_was_written_with_every_type() {
        let (read_header, read_rows, footer) = read(written()).unwrap();
        assert_eq!((read_header, read_rows), (header(), rows()));
        assert!(footer.exact);
    }

    /// The form never changes without another version.
    #[test]
    fn the_form_of_a_line_never_changes() {
        let text = written();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains(r#""format":"azure-backup-scim-state""#), "{}", lines[0]);
        assert_eq!(lines[1], r#"{"key":"d:1","properties":{}}"#);
        assert!(lines[2].contains(r#""empty":{"base64":""},"flag":true,"large":-9223372036854775808"#));
        assert!(lines[3].starts_with(r#"{"exact":true,"rows":2,"sha256":""#), "{}", lines[3]);
    }

    #[test]
    fn every_changed_byte_and_every_missing_or_repeated_line_is_found() {
        let text = written();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(read(bytes).is_err(), "byte {at}");
        }
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for at in 0..lines.len() {
            let mut fewer = lines.clone();
            fewer.remove(at);
            assert!(read(fewer.concat()).is_err(), "without line {at}");
            let mut more = lines.clone();
            more.insert(at, lines[at]);
            assert!(read(more.concat()).is_err(), "line {at} twice");
        }
        for length in 0..text.len() {
            assert!(read(&text.as_bytes()[..length]).is_err(), "cut off at {length}");
        }
    }

    #[test]
    fn rows_in_another_order_are_refused_before_the_hash_is_known() {
        let text = written();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let swapped = [lines[0], lines[2], lines[1], lines[3]].concat();
        assert!(matches!(read(swapped), Err(StateFileError::Order { line: 3, .. })));
    }

    #[test]
    fn a_later_format_is_refused_by_its_number() {
        let later = written().replacen("\"version\":1", "\"version\":2", 1);
        assert!(matches!(read(later), Err(StateFileError::Version { version: 2 })));
    }
}
