//! A row as JSON of OData, with a type beside each property whose type JSON cannot express.

use crate::ports::tables::{ETag, PropertyValue, RowProperties, TableRow};
use azure_core::base64;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};
use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;

const TYPE_SUFFIX: &str = "@odata.type";
const ETAG: &str = "odata.etag";
const PARTITION_KEY: &str = "PartitionKey";
const ROW_KEY: &str = "RowKey";
const TIMESTAMP: &str = "Timestamp";

/// The body of a write: one line, and plain ASCII. The emulator decodes a body piece by piece and spoils a character
/// that lies across two of them.
pub fn body(partition: &str, key: &str, properties: &RowProperties) -> String {
    let mut body = Map::new();
    body.insert(PARTITION_KEY.to_owned(), Json::from(partition));
    body.insert(ROW_KEY.to_owned(), Json::from(key));
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
pub fn row(body: &[u8], etag: Option<&str>) -> Result<TableRow, String> {
    parse::<Entity>(body)?.row(etag)
}

/// The rows of a page.
pub fn page(body: &[u8]) -> Result<Vec<TableRow>, String> {
    parse::<EntityPage>(body)?.value.into_iter().map(|entity| entity.row(None)).collect()
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body)
        .map_err(|error| format!("an answer is not as the service writes it: {error}"))
}

#[derive(Deserialize)]
struct EntityPage<'a> {
    #[serde(borrow)]
    value: Vec<Entity<'a>>,
}

/// A row as the answer has it. A page can have a thousand, so nothing but what is kept is copied.
struct Entity<'a> {
    key: Option<Cow<'a, str>>,
    etag: Option<Cow<'a, str>>,
    properties: Vec<(Cow<'a, str>, Scalar<'a>)>,
    /// The types that stand beside properties.
    kinds: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// A value that a property can have.
enum Scalar<'a> {
    Text(Cow<'a, str>),
    Bool(bool),
    Int(i64),
    /// One that this service does not write.
    Other,
}

impl Entity<'_> {
    fn row(self, etag: Option<&str>) -> Result<TableRow, String> {
        let etag = etag.or(self.etag.as_deref()).ok_or("a row has no etag")?.to_owned();
        let key = self.key.ok_or("a row has no key")?.into_owned();
        let kinds = &self.kinds;
        let kind_of = |name: &str| kinds.iter().find(|(of, _)| of == name).map(|(_, kind)| kind.as_ref());
        let mut properties = RowProperties::new();
        for (name, value) in self.properties {
            // A property of another type was not written by this service, and is skipped: a reader that requires it
            // knows which row is damaged, and the range around it stays readable.
            if let Some(value) = property(value, kind_of(&name)) {
                properties.insert(name.into_owned(), value);
            }
        }
        Ok(TableRow { key, properties, etag: ETag(etag) })
    }
}

fn property(value: Scalar<'_>, kind: Option<&str>) -> Option<PropertyValue> {
    match (value, kind) {
        (Scalar::Text(text), None | Some("Edm.String")) => Some(PropertyValue::Text(text.into_owned())),
        (Scalar::Text(text), Some("Edm.Int64")) => text.parse().ok().map(PropertyValue::Int),
        (Scalar::Text(text), Some("Edm.Binary")) => {
            base64::decode(text.as_ref()).ok().map(PropertyValue::Binary)
        }
        (Scalar::Bool(flag), None | Some("Edm.Boolean")) => Some(PropertyValue::Bool(flag)),
        // Edm.Int32: never written by us, but a number is a number.
        (Scalar::Int(number), None | Some("Edm.Int32")) => Some(PropertyValue::Int(number)),
        _ => None,
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Entity<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntityVisitor)
    }
}

struct EntityVisitor;

impl<'de> Visitor<'de> for EntityVisitor {
    type Value = Entity<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entity = Entity { key: None, etag: None, properties: Vec::new(), kinds: Vec::new() };
        while let Some(BorrowedText(name)) = map.next_key()? {
            let value: Scalar<'de> = map.next_value()?;
            match (name.as_ref(), value) {
                (ROW_KEY, Scalar::Text(key)) => entity.key = Some(key),
                (ETAG, Scalar::Text(etag)) => entity.etag = Some(etag),
                (PARTITION_KEY | ROW_KEY | TIMESTAMP, _) => {}
                // Only names of ours have no dot.
                (text, value) if !text.contains('.') => entity.properties.push((name, value)),
                (text, Scalar::Text(kind)) => {
                    if let Some(of) = text.strip_suffix(TYPE_SUFFIX) {
                        entity.kinds.push((of.to_owned().into(), kind));
                    }
                }
                _ => {}
            }
        }
        Ok(entity)
    }
}

/// A text that is copied only where it has escapes.
struct BorrowedText<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for BorrowedText<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Scalar::deserialize(deserializer)? {
            Scalar::Text(text) => Ok(Self(text)),
            _ => Err(de::Error::custom("a name is not a text")),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(text.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(text.to_owned().into()))
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(number).map_or(Scalar::Other, Scalar::Int))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
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
        let row = row(body.as_bytes(), Some("W/\"1\"")).unwrap();
        assert_eq!((row.key.as_str(), row.properties, row.etag.0.as_str()), ("k", properties, "W/\"1\""));
    }

    #[test]
    fn what_cannot_be_understood_is_not_half_believed() {
        let read = |entity: Json| row(entity.to_string().as_bytes(), None);
        let check = |entity: Json| read(entity).is_ok();
        let etag = "W/\"1\"";
        assert!(check(json!({"RowKey": "k", "odata.etag": etag, "N": 1})));
        assert!(!check(json!({"RowKey": "k", "N": 1})), "no etag");
        assert!(!check(json!({"odata.etag": etag})), "no key");
        let foreign = json!({
            "RowKey": "k", "odata.etag": etag, "A": 1.5, "B": "1", "B@odata.type": "Edm.Guid",
            "C": "x", "C@odata.type": "Edm.Int64", "Ours": true, "D": [{"x": [1]}], "E": null, "F": u64::MAX,
        });
        let properties = read(foreign).unwrap().properties;
        assert_eq!(properties, RowProperties::from([("Ours".to_owned(), PropertyValue::Bool(true))]));
        assert!(!check(json!("<html>")));
    }
}
