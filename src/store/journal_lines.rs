//! Journal rows as lines of an exported audit. What is sealed is the hash of such a line, so its form never changes:
//! docs/audit-format.md has it to the byte.

use crate::audit::chain::{RecordHash, is_op};
use crate::ports::tables::{PropertyValue, TableRow};
use crate::store::codec::RowReader;
use crate::store::{RowPages, StateStore, StoreError, keys};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The property whose parts are one JSON text.
const CHANGES: &str = "changes";

/// A record as it is sealed and exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalLine {
    pub op: String,
    pub line: String,
    /// It says that the records up to that head were deleted.
    pub expired: Option<u64>,
    /// It says that the state was restored, from an export that began then, or that it begins anew with nothing.
    pub restored: Option<OffsetDateTime>,
}

impl JournalLine {
    /// What the head lists of it.
    pub fn hash(&self) -> RecordHash {
        RecordHash::of(self.line.as_bytes())
    }

    /// `None`: its key names no op.
    fn of(row: &TableRow) -> Option<Self> {
        let op = row.key.strip_prefix(keys::JOURNAL).filter(|op| is_op(op))?;
        let changes = changes(row);
        let declared = changes.as_deref().map(Declared::read).unwrap_or_default();
        let line = line(op, row, changes.as_deref());
        Some(Self { op: op.to_owned(), line, expired: declared.expired, restored: declared.restored })
    }
}

/// What a record says of the chain itself.
#[derive(Debug, Default)]
struct Declared {
    expired: Option<u64>,
    restored: Option<OffsetDateTime>,
}

impl Declared {
    fn read(changes: &str) -> Self {
        let mut declared = Self::default();
        if !["audit-expired", "state-restored", "state-begun"].iter().any(|kind| changes.contains(kind)) {
            return declared;
        }
        let changes: Value = serde_json::from_str(changes).unwrap_or_default();
        for change in changes.as_array().into_iter().flatten() {
            match change.get("kind").and_then(Value::as_str) {
                Some("audit-expired") => {
                    declared.expired = change.get("throughHead").and_then(Value::as_u64);
                }
                Some("state-restored") => {
                    let exported = change.get("exported").and_then(Value::as_str).unwrap_or_default();
                    declared.restored = OffsetDateTime::parse(exported, &Rfc3339).ok();
                }
                Some("state-begun") => declared.restored = Some(OffsetDateTime::UNIX_EPOCH),
                _ => {}
            }
        }
        declared
    }
}

/// The changes, where they are stored as they should be.
fn changes(row: &TableRow) -> Option<String> {
    let bytes = RowReader::any(row).bytes(CHANGES).ok()?;
    let text = std::str::from_utf8(&bytes).ok()?;
    let is_list = text.starts_with('[') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    (is_list && text.bytes().all(|byte| byte >= 0x20)).then(|| text.to_owned())
}

fn is_part_of_changes(name: &str) -> bool {
    let number = name.strip_prefix(CHANGES);
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn line(op: &str, row: &TableRow, changes: Option<&str>) -> String {
    let mut line = format!("{{\"op\":{}", quoted(op));
    for (name, value) in &row.properties {
        let value = match (changes, value) {
            (Some(changes), _) if name == CHANGES => changes.to_owned(),
            (Some(_), PropertyValue::Binary(_)) if is_part_of_changes(name) => continue,
            (_, PropertyValue::Text(text)) => quoted(text),
            (_, PropertyValue::Int(number)) => number.to_string(),
            (_, PropertyValue::Bool(flag)) => flag.to_string(),
            (_, PropertyValue::Binary(bytes)) => {
                format!("{{\"base64\":\"{}\"}}", STANDARD.encode(bytes))
            }
        };
        line.push(',');
        line.push_str(&quoted(name));
        line.push(':');
        line.push_str(&value);
    }
    line.push('}');
    line
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Records in the order of their ops, page by page.
pub struct JournalPages<'a> {
    store: &'a StateStore,
    pages: RowPages<'a>,
}

impl JournalPages<'_> {
    /// The next records, at most so many; `None` at the end. A row whose key names no op is counted as unreadable.
    pub async fn at_most(&mut self, rows_max: usize) -> Result<Option<Vec<JournalLine>>, StoreError> {
        let Some(rows) = self.pages.at_most(rows_max).await? else { return Ok(None) };
        let lines = rows.iter().filter_map(|row| {
            let line = JournalLine::of(row);
            if line.is_none() {
                self.store.cannot_read(&row.key, &StoreError::corrupt_key(row));
            }
            line
        });
        Ok(Some(lines.collect()))
    }
}

impl StateStore {
    /// The records behind an op up to another one: both are ops or beginnings of ops; `after` is empty at the beginning.
    pub fn journal_lines(&self, after: &str, through: &str) -> JournalPages<'_> {
        let (from, to) = keys::ops_between(keys::JOURNAL, after, through);
        JournalPages { store: self, pages: self.pages(from, to) }
    }

    /// One record.
    pub async fn journal_line(&self, op: &str) -> Result<Option<JournalLine>, StoreError> {
        Ok(self.get(&keys::journal_text(op)).await?.as_ref().and_then(JournalLine::of))
    }

    /// The op of the first record of all.
    pub async fn first_op(&self) -> Result<Option<String>, StoreError> {
        let (from, to) = keys::range_of(keys::JOURNAL);
        let rows = self.rows_between(from, to, 1).await?;
        Ok(rows.first().map(|row| keys::last_part(&row.key).to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::tables::{ETag, RowProperties};

    const OP: &str = "019ab8f0-1c22-7e10-8c44-0f9d6b7a5c31";

    fn row(properties: &[(&str, PropertyValue)]) -> TableRow {
        let properties: RowProperties =
            properties.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        TableRow { key: format!("j:{OP}"), properties, etag: ETag(String::new()) }
    }

    #[track_caller]
    fn check(properties: &[(&str, PropertyValue)], expected: &str) {
        let line = JournalLine::of(&row(properties)).unwrap().line;
        assert_eq!(line, format!("{{\"op\":\"{OP}\"{expected}}}"));
        assert!(serde_json::from_str::<Value>(&line).is_ok());
    }

    fn text(text: &str) -> PropertyValue {
        PropertyValue::Text(text.to_owned())
    }

    fn binary(bytes: &[u8]) -> PropertyValue {
        PropertyValue::Binary(bytes.to_vec())
    }

    #[test]
    fn a_record_is_a_line_with_the_bytes_that_are_stored() {
        check(
            &[
                ("v", PropertyValue::Int(1)),
                ("actor", text("entra")),
                ("changes", PropertyValue::Int(2)),
                ("changes0", binary(b"[{\"kind\": \"x\",")),
                ("changes1", binary("\"é\":\"\\u0000\"}]".as_bytes())),
                ("Later", PropertyValue::Bool(true)),
                ("blob", binary(&[0, 255, 16])),
            ],
            ",\"Later\":true,\"actor\":\"entra\",\"blob\":{\"base64\":\"AP8Q\"},\
             \"changes\":[{\"kind\": \"x\",\"é\":\"\\u0000\"}],\"v\":1",
        );
    }

    #[test]
    fn text_is_escaped_as_the_format_says() {
        check(
            &[("actor", text("\"\\/\u{8}\t\n\u{c}\r\u{0}\u{1f}\u{7f}\u{2028}é"))],
            ",\"actor\":\"\\\"\\\\/\\b\\t\\n\\f\\r\\u0000\\u001f\u{7f}\u{2028}é\"",
        );
    }

    #[test]
    fn changes_that_are_not_stored_as_they_should_be_stay_as_they_are() {
        let count = |count| ("changes", PropertyValue::Int(count));
        check(&[count(2), ("changes0", binary(b"[]"))], ",\"changes\":2,\"changes0\":{\"base64\":\"W10=\"}");
        for other in [&b"{}"[..], b"[1", b"[\n]", b"[\"\xff\"]", b""] {
            let base64 = STANDARD.encode(other);
            check(
                &[count(1), ("changes0", binary(other))],
                &format!(",\"changes\":1,\"changes0\":{{\"base64\":\"{base64}\"}}"),
            );
        }
    }

    #[test]
    fn a_record_about_the_chain_says_so_to_the_sealer() {
        let of = |changes: &str| {
            let changes = [("changes", PropertyValue::Int(1)), ("changes0", binary(changes.as_bytes()))];
            JournalLine::of(&row(&changes)).unwrap()
        };
        assert_eq!(of(r#"[{"kind":"audit-expired","throughHead":7}]"#).expired, Some(7));
        let restored = of(r#"[{"kind":"state-restored","exported":"2026-11-25T12:00:00Z"}]"#).restored;
        assert_eq!(restored, Some(time::macros::datetime!(2026-11-25 12:00 UTC)));
        let begun = of(r#"[{"kind":"state-begun","instance":"x"}]"#).restored;
        assert_eq!(begun, Some(OffsetDateTime::UNIX_EPOCH), "everything before may be lost");
        let other = of(r#"[{"kind":"member-added","member":"audit-expired"}]"#);
        assert_eq!((other.expired, other.restored), (None, None));
    }

    #[test]
    fn only_an_op_is_sealed() {
        for key in ["j:", "j:019ab8f0", &format!("j:{}", OP.to_uppercase()), &format!("j:{OP}\n")] {
            assert_eq!(JournalLine::of(&TableRow { key: key.to_owned(), ..row(&[]) }), None, "{key:?}");
        }
    }
}
