//! The members of one object of the file, read with their places.

use super::mistake::{BindingsMistakes, JsonPointer};
use super::near_word::suggestion;
use serde_json::{Map, Value};

/// One object and its place. The keys that it may have are written once, here at the caller.
pub(super) struct JsonFields<'a> {
    object: &'a Map<String, Value>,
    place: JsonPointer,
}

impl<'a> JsonFields<'a> {
    /// The object at `place`; any key that is not among `keys` is a mistake.
    pub(super) fn read(
        value: &'a Value,
        place: JsonPointer,
        keys: &[&str],
        mistakes: &mut BindingsMistakes,
    ) -> Option<Self> {
        let Value::Object(object) = value else {
            mistakes.add(&place, format!("is {}: write an object", kind_of(value)));
            return None;
        };
        for key in object.keys().filter(|key| !keys.contains(&key.as_str())) {
            let known = keys.join(", ");
            let near = suggestion(key, keys.iter().copied());
            let text = format!("is not known here: {near}take it out, or write one of {known}");
            mistakes.add(&place.key(key), text);
        }
        Some(Self { object, place })
    }

    /// The place of the object.
    pub(super) fn place(&self) -> &JsonPointer {
        &self.place
    }

    /// The place of the member `key`.
    pub(super) fn at(&self, key: &str) -> JsonPointer {
        self.place.key(key)
    }

    /// The member `key`, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key)
    }

    /// The member `key`; its absence is a mistake, and `example` shows what to write.
    pub(super) fn required(
        &self,
        key: &str,
        example: &str,
        mistakes: &mut BindingsMistakes,
    ) -> Option<&'a Value> {
        let value = self.get(key);
        if value.is_none() {
            mistakes.add(&self.place, format!("{key:?} is missing: add one, like {example}"));
        }
        value
    }

    /// The text `key`, which has to be there.
    pub(super) fn text(&self, key: &str, example: &str, mistakes: &mut BindingsMistakes) -> Option<&'a str> {
        let value = self.required(key, example, mistakes)?;
        mistakes.keep(&self.at(key), text(value))
    }

    /// The yes or no `key`; absent is no.
    pub(super) fn flag(&self, key: &str, mistakes: &mut BindingsMistakes) -> Option<bool> {
        match self.get(key) {
            None => Some(false),
            Some(Value::Bool(flag)) => Some(*flag),
            Some(other) => {
                mistakes.add(&self.at(key), format!("is {}: write true or false", kind_of(other)));
                None
            }
        }
    }

    /// The whole number `key`, from 1 to `most`. The outer `None` is a mistake, the inner one its absence.
    pub(super) fn number(
        &self,
        key: &str,
        most: u32,
        mistakes: &mut BindingsMistakes,
    ) -> Option<Option<u32>> {
        let Some(value) = self.get(key) else { return Some(None) };
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        let fits = number.filter(|number| (1..=most).contains(number));
        let found = if value.is_number() { value.to_string() } else { kind_of(value).to_owned() };
        let fits = fits.ok_or_else(|| format!("is {found}: write a whole number from 1 to {most}"));
        mistakes.keep(&self.at(key), fits).map(Some)
    }

    /// The elements of the list `key` with their places; absent is empty.
    pub(super) fn list(
        &self,
        key: &str,
        mistakes: &mut BindingsMistakes,
    ) -> Option<Vec<(JsonPointer, &'a Value)>> {
        let place = self.at(key);
        match self.get(key) {
            None => Some(Vec::new()),
            Some(Value::Array(list)) => {
                Some(list.iter().enumerate().map(|(at, value)| (place.index(at), value)).collect())
            }
            Some(other) => {
                mistakes.add(&place, format!("is {}: write a list in [ ]", kind_of(other)));
                None
            }
        }
    }
}

/// A value that has to be a text.
pub(super) fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("is {}: write a text in quotes", kind_of(value)))
}

/// What a value is, in words.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
