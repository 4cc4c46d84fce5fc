//! JSON read strictly: a key that appears twice in one object is a mistake, and each is reported.
//!
//! `serde_json::Value` would silently keep the last of two equal keys.

use super::mistake::{BindingsMistakes, JsonPointer};
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Reads a document. `None`: it is not JSON, and the mistake says where it ends to be.
pub(super) fn read(bytes: &[u8], mistakes: &mut BindingsMistakes) -> Option<Value> {
    let mut input = serde_json::Deserializer::from_slice(bytes);
    let root = Strict { place: JsonPointer::default(), mistakes };
    let value = root.deserialize(&mut input).and_then(|value| input.end().map(|()| value));
    let value = value.map_err(|error| format!("is not JSON: {error}; correct the syntax there"));
    mistakes.keep(&JsonPointer::default(), value)
}

struct Strict<'a> {
    place: JsonPointer,
    mistakes: &'a mut BindingsMistakes,
}

impl Strict<'_> {
    fn at(&mut self, place: JsonPointer) -> Strict<'_> {
        Strict { place, mistakes: self.mistakes }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, input: D) -> Result<Value, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut input: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        let root = self.place.clone();
        while let Some(value) = input.next_element_seed(self.at(root.index(list.len())))? {
            list.push(value);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut input: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        let root = self.place.clone();
        while let Some(key) = input.next_key::<String>()? {
            let place = root.key(&key);
            let value = input.next_value_seed(self.at(place.clone()))?;
            if object.insert(key, value).is_some() {
                self.mistakes.add(&place, "appears twice in the same object: keep one of them");
            }
        }
        Ok(object.into())
    }
}
