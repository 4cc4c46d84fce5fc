//! Values that track their changes, so that a state file is written only with what changed.
//!
//! A tracked value is read as the plain value. Every way of writing it records the change.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::Deref;
use std::str::FromStr;

/// One line's worth of the file: what kind of thing, which one, and what it is now; `null` where it is gone.
pub type StateEntry = (String, String, Value);

/// What can be written to a state file and read back.
pub trait Persist {
    /// What changed since the last call.
    fn drain(&mut self, kind: &str, into: &mut Vec<StateEntry>);
    /// Everything there is, changed or not.
    fn all(&self, kind: &str, into: &mut Vec<StateEntry>);
    /// Takes an entry back in; the error says what is wrong with it.
    fn restore(&mut self, key: &str, value: Value) -> Result<(), String>;
}

/// A map.
#[derive(Debug, Clone)]
pub struct TrackedMap<K, V> {
    map: BTreeMap<K, V>,
    changed: BTreeSet<K>,
}

impl<K, V> Default for TrackedMap<K, V> {
    fn default() -> Self {
        Self { map: BTreeMap::new(), changed: BTreeSet::new() }
    }
}

impl<K, V> Deref for TrackedMap<K, V> {
    type Target = BTreeMap<K, V>;

    fn deref(&self) -> &BTreeMap<K, V> {
        &self.map
    }
}

impl<K: Ord + Clone, V> TrackedMap<K, V> {
    /// Returns the value before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.changed.insert(key.clone());
        self.map.insert(key, value)
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        let removed = self.map.remove(key)?;
        self.changed.insert(key.clone());
        Some(removed)
    }

    /// Changes one value; `None` where there is none.
    pub fn change<T>(&mut self, key: &K, change: impl FnOnce(&mut V) -> T) -> Option<T> {
        let value = self.map.get_mut(key)?;
        self.changed.insert(key.clone());
        Some(change(value))
    }
}

impl<K: Ord + Clone + Display + FromStr, V: Serialize + DeserializeOwned> Persist for TrackedMap<K, V> {
    fn drain(&mut self, kind: &str, into: &mut Vec<StateEntry>) {
        for key in std::mem::take(&mut self.changed) {
            let value = self.map.get(&key).map_or(Value::Null, json);
            into.push((kind.to_owned(), key.to_string(), value));
        }
    }

    fn all(&self, kind: &str, into: &mut Vec<StateEntry>) {
        into.extend(self.map.iter().map(|(key, value)| (kind.to_owned(), key.to_string(), json(value))));
    }

    fn restore(&mut self, key: &str, value: Value) -> Result<(), String> {
        let key = key.parse().map_err(|_| format!("{key:?} is not a key"))?;
        if value.is_null() {
            self.map.remove(&key);
        } else {
            self.map.insert(key, parsed(value)?);
        }
        Ok(())
    }
}

/// A single value.
#[derive(Debug, Clone, Default)]
pub struct TrackedCell<T> {
    value: T,
    changed: bool,
}

impl<T> Deref for TrackedCell<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> TrackedCell<T> {
    pub fn set(&mut self, value: T) {
        *self.change() = value;
    }

    /// To be changed in place.
    pub const fn change(&mut self) -> &mut T {
        self.changed = true;
        &mut self.value
    }
}

impl<T: Serialize + DeserializeOwned> Persist for TrackedCell<T> {
    fn drain(&mut self, kind: &str, into: &mut Vec<StateEntry>) {
        if std::mem::take(&mut self.changed) {
            self.all(kind, into);
        }
    }

    fn all(&self, kind: &str, into: &mut Vec<StateEntry>) {
        into.push((kind.to_owned(), String::new(), json(&self.value)));
    }

    fn restore(&mut self, _: &str, value: Value) -> Result<(), String> {
        self.value = parsed(value)?;
        Ok(())
    }
}

/// Nothing that is kept here fails to be written as JSON: every map in it has text for keys.
fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn parsed<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}
