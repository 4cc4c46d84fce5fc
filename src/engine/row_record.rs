//! The form of keys and rows in bytes.
//!
//! A key is the partition, a zero byte and the row key. Keys are compared by UTF-16 code unit, as the service does,
//! although they are kept in UTF-8: the two orders differ only in that surrogates come before U+E000, so the two lead
//! bytes of U+E000..=U+FFFF are swapped for bytes above all others, which UTF-8 never uses.

use crate::ports::tables::{ETag, PropertyValue, RowProperties};

const SEPARATOR: u8 = 0;
const LEADS: [(u8, u8); 2] = [(0xEE, 0xFE), (0xEF, 0xFF)];

const TEXT: u8 = 1;
const INT: u8 = 2;
const BOOL: u8 = 3;
const BINARY: u8 = 4;

/// Bytes that this release did not write.
#[derive(Debug, thiserror::Error)]
#[error("the bytes of {0} are not as they were written")]
pub(super) struct RowRecordError(&'static str);

/// The key of a row in bytes that sort as the service sorts. Neither part of a stored key has a zero byte.
pub(super) fn row_key(partition: &str, key: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(partition.len() + 1 + key.len());
    bytes.extend(partition.bytes().map(to_ordered));
    bytes.push(SEPARATOR);
    bytes.extend(key.bytes().map(to_ordered));
    bytes
}

/// The row key in the bytes of a whole key.
pub(super) fn key_text(bytes: &[u8]) -> Result<String, RowRecordError> {
    let mut parts = bytes.splitn(2, |byte| *byte == SEPARATOR);
    let key = parts.nth(1).ok_or(RowRecordError("a key"))?;
    let text = key.iter().copied().map(from_ordered).collect();
    String::from_utf8(text).map_err(|_| RowRecordError("a key"))
}

fn to_ordered(byte: u8) -> u8 {
    LEADS.iter().find(|(utf8, _)| *utf8 == byte).map_or(byte, |(_, ordered)| *ordered)
}

fn from_ordered(byte: u8) -> u8 {
    LEADS.iter().find(|(_, ordered)| *ordered == byte).map_or(byte, |(utf8, _)| *utf8)
}

/// The version of a row as a caller sees it.
pub(super) fn etag(version: u64) -> ETag {
    ETag(format!("W/\"{version:016x}\""))
}

/// A row without its key.
pub(super) struct RowRecord {
    pub version: u64,
    pub properties: RowProperties,
}

impl RowRecord {
    /// Version, then for each property its name and value; texts and binaries after their length. Little endian.
    pub fn encode(version: u64, properties: &RowProperties) -> Vec<u8> {
        let mut bytes = version.to_le_bytes().to_vec();
        for (name, value) in properties {
            put_bytes(&mut bytes, name.as_bytes());
            put_value(&mut bytes, value);
        }
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, RowRecordError> {
        let mut reader = Reader(bytes);
        let version = u64::from_le_bytes(reader.array()?);
        let mut properties = RowProperties::new();
        while !reader.0.is_empty() {
            properties.insert(reader.text()?, reader.value()?);
        }
        Ok(Self { version, properties })
    }

    /// The version alone.
    pub fn version_in(bytes: &[u8]) -> Result<u64, RowRecordError> {
        Reader(bytes).array().map(u64::from_le_bytes)
    }
}

fn put_value(bytes: &mut Vec<u8>, value: &PropertyValue) {
    match value {
        PropertyValue::Text(text) => {
            bytes.push(TEXT);
            put_bytes(bytes, text.as_bytes());
        }
        PropertyValue::Int(number) => {
            bytes.push(INT);
            bytes.extend(number.to_le_bytes());
        }
        PropertyValue::Bool(flag) => bytes.extend([BOOL, u8::from(*flag)]),
        PropertyValue::Binary(binary) => {
            bytes.push(BINARY);
            put_bytes(bytes, binary);
        }
    }
}

/// The rules keep every length far below `u32::MAX`.
fn put_bytes(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend((part.len() as u32).to_le_bytes());
    bytes.extend(part);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], RowRecordError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(RowRecordError("a row"))?;
        self.0 = rest;
        Ok(*head)
    }

    fn bytes(&mut self) -> Result<&'a [u8], RowRecordError> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        let (head, rest) = self.0.split_at_checked(length).ok_or(RowRecordError("a row"))?;
        self.0 = rest;
        Ok(head)
    }

    fn text(&mut self) -> Result<String, RowRecordError> {
        let text = std::str::from_utf8(self.bytes()?).map_err(|_| RowRecordError("a text"))?;
        Ok(text.to_owned())
    }

    fn value(&mut self) -> Result<PropertyValue, RowRecordError> {
        let [kind] = self.array()?;
        match kind {
            TEXT => Ok(PropertyValue::Text(self.text()?)),
            INT => Ok(PropertyValue::Int(i64::from_le_bytes(self.array()?))),
            BOOL => Ok(PropertyValue::Bool(self.array()? == [1])),
            BINARY => Ok(PropertyValue::Binary(self.bytes()?.to_vec())),
            _ => Err(RowRecordError("a property")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_utf16_code_unit_and_read_back() {
        let mut keys =
            ["", "a", "a:", "b", "é", "\u{d7ff}", "\u{e000}", "\u{ffff}", "\u{10000}", "\u{10ffff}"];
        keys.sort_by(|a, b| a.encode_utf16().cmp(b.encode_utf16()));
        let bytes: Vec<_> = keys.iter().map(|key| row_key("p", key)).collect();
        assert!(bytes.is_sorted());
        let texts: Vec<_> = bytes.iter().map(|bytes| key_text(bytes).unwrap()).collect();
        assert_eq!(texts, keys);
    }

    #[test]
    fn a_partition_is_no_prefix_of_another() {
        assert!(row_key("p", "\u{10ffff}") < row_key("p-2", ""));
        assert_ne!(row_key("a", "bc"), row_key("ab", "c"));
    }

    #[test]
    fn a_row_reads_back_and_a_cut_one_does_not() {
        let properties = RowProperties::from([
            ("Text".to_owned(), PropertyValue::Text("é".repeat(300))),
            ("Int".to_owned(), PropertyValue::Int(i64::MIN)),
            ("Yes".to_owned(), PropertyValue::Bool(true)),
            ("No".to_owned(), PropertyValue::Bool(false)),
            ("Binary".to_owned(), PropertyValue::Binary(vec![0, 255])),
        ]);
        let bytes = RowRecord::encode(7, &properties);
        let record = RowRecord::decode(&bytes).unwrap();
        assert_eq!((record.version, record.properties), (7, properties));
        assert!(RowRecord::decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(RowRecord::decode(&bytes[..3]).is_err());
    }
}
