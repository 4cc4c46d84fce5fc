//! A row as JSON of OData, with a type beside each property whose type JSON cannot express.

use crate::ports::tables::{ETag, PropertyValue, RowProperties, TableRow};
use azure_core::base64;
use serde_json::{Map, Value as Json};
use std::fmt::Write as _;

const TYPE_SUFFIX: &str = "@odata.type";
const ETAG: &str = "odata.etag";
const KEYS: [&str; 3] = ["PartitionKey", "RowKey", "Timestamp"];

/// The body of a write: one line, and plain ASCII. The emulator decodes a body piece by piece and spoils a character
/// that lies across two of them.
pub fn body(partition: &str, key: &str, properties: &RowProperties) -> String {
    let mut body = Map::new();
    body.insert("PartitionKey".to_owned(), Json::from(partition));
    body.insert("RowKey".to_owned(), Json::from(key));
    for (name, value) in properties {
        let (value, kind) = match value {
            PropertyValue::Text(text) => (Json::from(text.as_str()), None),
            PropertyValue::Bool(flag) => (Json::from(*flag), None),
            PropertyValue::Int(number) => (Json::from(number.to_string()), Some("Edm.Int64")),
            PropertyValue::Binary(bytes) => (Json::from(base64::encode(bytes)), Some("Edm.Binary")),
        };
        body.insert(name.clone(), value);
        if let Some(kind) = kind {
            body.insert(format!("{name}{TYPE_SUFFIX}"), Json::from(kind));
        }
    }
    ascii(&Json::Object(body).to_string())
}

/// Outside of strings JSON is ASCII already; inside, an escape means the same.
fn ascii(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    let mut units = [0; 2];
    for character in json.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut units) {
                // Writing to a string does not fail.
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    ascii
}

/// Reads a row. `etag` is that of the answer's header; in a page each row carries its own.
pub fn row(entity: &Json, etag: Option<&str>) -> Result<TableRow, String> {
    let entity = entity.as_object().ok_or("a row is not an object")?;
    let text = |name: &str| entity.get(name).and_then(Json::as_str);
    let etag = etag.or_else(|| text(ETAG)).ok_or("a row has no etag")?;
    let key = text("RowKey").ok_or("a row has no key")?;
    let mut properties = RowProperties::new();
    for (name, value) in entity {
        // Only names of ours have no dot.
        if name.contains('.') || KEYS.contains(&name.as_str()) {
            continue;
        }
        let kind = text(&format!("{name}{TYPE_SUFFIX}"));
        // A property of another type was not written by this service, and is skipped: a reader that requires it knows
        // which row is damaged, and the range around it stays readable.
        if let Some(value) = property(value, kind) {
            properties.insert(name.clone(), value);
        }
    }
    Ok(TableRow { key: key.to_owned(), properties, etag: ETag(etag.to_owned()) })
}

fn property(value: &Json, kind: Option<&str>) -> Option<PropertyValue> {
    match (value, kind) {
        (Json::String(text), None | Some("Edm.String")) => Some(PropertyValue::Text(text.clone())),
        (Json::String(text), Some("Edm.Int64")) => text.parse().ok().map(PropertyValue::Int),
        (Json::String(text), Some("Edm.Binary")) => base64::decode(text).ok().map(PropertyValue::Binary),
        (Json::Bool(flag), None | Some("Edm.Boolean")) => Some(PropertyValue::Bool(*flag)),
        // Edm.Int32: never written by us, but a number is a number.
        (Json::Number(number), None | Some("Edm.Int32")) => number.as_i64().map(PropertyValue::Int),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_reads_back() {
        let properties = RowProperties::from([
            ("Text".to_owned(), PropertyValue::Text("a\r\n\"é\" \u{1f600}".to_owned())),
            ("Int".to_owned(), PropertyValue::Int(i64::MIN)),
            ("Bool".to_owned(), PropertyValue::Bool(false)),
            ("Binary".to_owned(), PropertyValue::Binary(vec![0, 255])),
        ]);
        let body = body("p", "k", &properties);
        assert!(body.is_ascii() && !body.contains(['\r', '\n']), "{body}");
        let row = row(&serde_json::from_str(&body).unwrap(), Some("W/\"1\"")).unwrap();
        assert_eq!((row.key.as_str(), row.properties, row.etag.0.as_str()), ("k", properties, "W/\"1\""));
    }

    #[test]
    fn what_cannot_be_understood_is_not_half_believed() {
        let check = |entity: Json| row(&entity, None).is_ok();
        let etag = "W/\"1\"";
        assert!(check(json!({"RowKey": "k", "odata.etag": etag, "N": 1})));
        assert!(!check(json!({"RowKey": "k", "N": 1})), "no etag");
        assert!(!check(json!({"odata.etag": etag})), "no key");
        let foreign = json!({
            "RowKey": "k", "odata.etag": etag, "A": 1.5, "B": "1", "B@odata.type": "Edm.Guid",
            "C": "x", "C@odata.type": "Edm.Int64", "Ours": true,
        });
        let read = row(&foreign, None).unwrap().properties;
        assert_eq!(read, RowProperties::from([("Ours".to_owned(), PropertyValue::Bool(true))]));
        assert!(!check(json!("<html>")));
    }
}
