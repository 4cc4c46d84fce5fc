//! What the service refuses before it reads any row. Each rule is named in the error: a limit of size in
//! [`TableError::TooLarge`], every other one in [`TableError::Invalid`].
//!
//! One set of rules: the engine refuses by it, and the client of the real service checks by it before anything is
//! sent, because the emulator takes more than the service does. Sizes of entities are counted as the service documents them; the size of
//! a transaction is that of an HTTP body, so it is estimated on the careful side.

use super::{
    BINARY_BYTES_MAX, ENTITY_BYTES_MAX, KEY_CHARS_MAX, KeyRange, PAGE_ROWS_MAX, PROPERTIES_MAX,
    PropertyValue, RowProperties, STRING_UNITS_MAX, TRANSACTION_BYTES_MAX, TRANSACTION_OPS_MAX, TableError,
    TableWrite,
};
use std::collections::BTreeSet;

/// Characters of a property name.
const NAME_CHARS_MAX: usize = 255;
/// What the service counts for an entity whatever is in it.
const ENTITY_OVERHEAD_BYTES: usize = 4;
/// What the service counts for a property besides its name and value.
const PROPERTY_OVERHEAD_BYTES: usize = 8;
/// The multipart headers and the URL of one write in the body of a transaction.
const WRITE_OVERHEAD_BYTES: usize = 512;
/// Names that the service keeps for itself.
const RESERVED_NAMES: [&str; 3] = ["PartitionKey", "RowKey", "Timestamp"];

/// Everything about a transaction that can be said without reading a row.
pub fn check_transaction(partition: &str, writes: &[TableWrite]) -> Result<(), TableError> {
    check_key("PartitionKey", partition)?;
    if writes.is_empty() || writes.len() > TRANSACTION_OPS_MAX {
        return invalid(format!("a transaction has 1 to {TRANSACTION_OPS_MAX} writes, not {}", writes.len()));
    }
    let mut keys = BTreeSet::new();
    let mut bytes = 0;
    for (index, write) in writes.iter().enumerate() {
        check_key("RowKey", write.key())?;
        if !keys.insert(write.key()) {
            return invalid(format!("write {index} is to a row that the transaction writes already"));
        }
        if let Some(properties) = properties(write) {
            check_entity(partition, write.key(), properties)?;
        }
        bytes += write_bytes(partition, write);
    }
    if bytes > TRANSACTION_BYTES_MAX {
        return too_large(format!("a transaction has at most {TRANSACTION_BYTES_MAX} bytes, not {bytes}"));
    }
    Ok(())
}

/// A page within its limits. The bounds are compared only, so they may hold what a key may not.
pub fn check_range(partition: &str, range: &KeyRange) -> Result<(), TableError> {
    check_key("PartitionKey", partition)?;
    if range.rows_max == 0 || range.rows_max > PAGE_ROWS_MAX {
        return invalid(format!("a page has 1 to {PAGE_ROWS_MAX} rows, not {}", range.rows_max));
    }
    Ok(())
}

/// A partition or row key.
pub fn check_key(name: &str, key: &str) -> Result<(), TableError> {
    let units = key.encode_utf16().count();
    if units > KEY_CHARS_MAX {
        return invalid(format!("a {name} has at most {KEY_CHARS_MAX} characters, not {units}"));
    }
    let forbidden = |c: char| matches!(c, '/' | '\\' | '#' | '?') || c.is_control();
    match key.chars().find(|c| forbidden(*c)) {
        Some(c) => invalid(format!("a {name} cannot contain {c:?}")),
        None => Ok(()),
    }
}

/// A whole row: as it is sent, or as a merge leaves it.
pub fn check_entity(partition: &str, key: &str, properties: &RowProperties) -> Result<(), TableError> {
    if properties.len() > PROPERTIES_MAX {
        return invalid(format!("a row has at most {PROPERTIES_MAX} properties, not {}", properties.len()));
    }
    for (name, value) in properties {
        check_name(name)?;
        check_value(name, value)?;
    }
    let bytes = entity_bytes(partition, key, properties);
    if bytes > ENTITY_BYTES_MAX {
        return too_large(format!("a row has at most {ENTITY_BYTES_MAX} bytes, not {bytes}"));
    }
    Ok(())
}

/// Names follow the rules of C# identifiers.
fn check_name(name: &str) -> Result<(), TableError> {
    if RESERVED_NAMES.contains(&name) {
        return invalid(format!("{name} is no property that can be written"));
    }
    if name.encode_utf16().count() > NAME_CHARS_MAX {
        return invalid(format!("a property name has at most {NAME_CHARS_MAX} characters"));
    }
    let starts = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    if !starts || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return invalid(format!("{name:?} is no property name"));
    }
    Ok(())
}

fn check_value(name: &str, value: &PropertyValue) -> Result<(), TableError> {
    match value {
        PropertyValue::Text(text) if text.encode_utf16().count() > STRING_UNITS_MAX => {
            too_large(format!("the text {name} has more than {STRING_UNITS_MAX} UTF-16 units"))
        }
        PropertyValue::Binary(binary) if binary.len() > BINARY_BYTES_MAX => {
            invalid(format!("the binary {name} has more than {BINARY_BYTES_MAX} bytes"))
        }
        _ => Ok(()),
    }
}

fn entity_bytes(partition: &str, key: &str, properties: &RowProperties) -> usize {
    let keys = text_bytes(partition) + text_bytes(key);
    let values = properties
        .iter()
        .map(|(name, value)| PROPERTY_OVERHEAD_BYTES + text_bytes(name) + value_bytes(value))
        .sum::<usize>();
    ENTITY_OVERHEAD_BYTES + keys + values
}

fn value_bytes(value: &PropertyValue) -> usize {
    match value {
        PropertyValue::Text(text) => 4 + text_bytes(text),
        PropertyValue::Int(_) => 8,
        PropertyValue::Bool(_) => 1,
        PropertyValue::Binary(binary) => 4 + binary.len(),
    }
}

/// UTF-16, as the service keeps text.
fn text_bytes(text: &str) -> usize {
    2 * text.encode_utf16().count()
}

/// The part of one write in the body of its transaction: as an entity, but binaries travel as base64.
fn write_bytes(partition: &str, write: &TableWrite) -> usize {
    let none = RowProperties::new();
    let properties = properties(write).unwrap_or(&none);
    let base64 = properties.values().map(|value| match value {
        PropertyValue::Binary(binary) => binary.len().div_ceil(3) * 4 - binary.len(),
        _ => 0,
    });
    WRITE_OVERHEAD_BYTES + entity_bytes(partition, write.key(), properties) + base64.sum::<usize>()
}

fn properties(write: &TableWrite) -> Option<&RowProperties> {
    match write {
        TableWrite::Insert { properties, .. }
        | TableWrite::Replace { properties, .. }
        | TableWrite::Merge { properties, .. }
        | TableWrite::InsertOrReplace { properties, .. }
        | TableWrite::InsertOrMerge { properties, .. } => Some(properties),
        TableWrite::Delete { .. } => None,
    }
}

fn invalid(rule: String) -> Result<(), TableError> {
    Err(TableError::Invalid { rule })
}

fn too_large(rule: String) -> Result<(), TableError> {
    Err(TableError::TooLarge { rule })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of exactly that many bytes as the service counts them, its keys being `p` and `k`.
    fn entity(bytes: usize) -> RowProperties {
        let mut properties = RowProperties::new();
        let mut left = bytes - ENTITY_OVERHEAD_BYTES - 4;
        for index in 0.. {
            let overhead = PROPERTY_OVERHEAD_BYTES + 6 + 4;
            let length = (left - overhead).min(BINARY_BYTES_MAX - 100);
            properties.insert(format!("P{index:02}"), PropertyValue::Binary(vec![0; length]));
            left -= overhead + length;
            if left == 0 {
                break;
            }
        }
        properties
    }

    #[test]
    fn an_entity_of_a_mebibyte_is_the_largest() {
        assert!(check_entity("p", "k", &entity(ENTITY_BYTES_MAX)).is_ok());
        let refused = check_entity("p", "k", &entity(ENTITY_BYTES_MAX + 1));
        assert!(matches!(refused, Err(TableError::TooLarge { .. })));
    }

    #[test]
    fn a_transaction_is_counted_as_the_body_that_is_sent() {
        let insert = |n: usize, bytes| TableWrite::Insert {
            key: format!("{n}"),
            properties: RowProperties::from([("P".to_owned(), PropertyValue::Binary(vec![0; bytes]))]),
        };
        let writes = |bytes| (0..64).map(|n| insert(n, bytes)).collect::<Vec<_>>();
        assert!(check_transaction("p", &writes(48_000)).is_ok());
        assert!(check_transaction("p", &writes(49_152)).is_err());
    }
}
