//! A change of a stored record, of this release or of another one.

use super::field::Subject;
use super::kind::{AuditKind, SETTING_CHANGED, SettingWords};
use super::kinds;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// A stored change and what the table knows of it.
#[derive(Debug)]
pub struct RecordedChange<'a> {
    stored: &'a Value,
    /// Its kind, where this release knows it.
    kind: Option<&'static AuditKind>,
    /// Its fields; of a setting that this release knows, what the stored words name.
    pub(super) fields: Cow<'a, Value>,
}

impl<'a> RecordedChange<'a> {
    /// Reads a change as a record holds it. There is no change that cannot be read: what this release does not know
    /// keeps its kind and its fields.
    pub fn read(stored: &'a Value) -> Self {
        let name = text(stored, "kind");
        if name == SETTING_CHANGED {
            let words = SettingWords::stored(stored);
            let known = kinds().find_map(|kind| Some((kind, kind.fields_of_setting(&words)?)));
            let (kind, fields) = known.unzip();
            return Self { stored, kind, fields: fields.map_or(Cow::Borrowed(stored), Cow::Owned) };
        }
        let kind = kinds().find(|kind| kind.name == name);
        Self { stored, kind, fields: Cow::Borrowed(stored) }
    }

    /// Whether the change is of the kind that `name` names. A setting also is of the kind `setting-changed`.
    pub fn is_of_kind(&self, name: &str) -> bool {
        text(self.stored, "kind") == name || self.kind.is_some_and(|kind| kind.name == name)
    }

    /// A text field; empty where there is none.
    pub fn text(&self, name: &str) -> &str {
        text(&self.fields, name)
    }

    /// A field that is a list of texts; empty where there is none.
    pub fn list(&self, name: &str) -> Vec<String> {
        let items = self.fields.get(name).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Whether a field names this person or group. A setting that this release does not know names its person in words.
    pub fn concerns(&self, subject: Subject, id: &str) -> bool {
        let in_words = || {
            let unknown_setting = self.kind.is_none() && self.is_of_kind(SETTING_CHANGED);
            subject == Subject::Person && unknown_setting && text(self.stored, "what").contains(id)
        };
        let named = || subject_fields(subject).any(|name| self.text(name).eq_ignore_ascii_case(id));
        !id.is_empty() && (named() || in_words())
    }

    /// The ids of the people and groups that its fields name, whether or not there are such.
    pub fn subjects(&self) -> BTreeSet<&str> {
        let names = [Subject::Person, Subject::Group].into_iter().flat_map(subject_fields);
        names.map(|name| self.text(name)).filter(|id| !id.is_empty()).collect()
    }

    /// The change in words: its kind, then the sentence of the table. A kind that this release does not know prints as
    /// JSON.
    pub fn describe(&self) -> String {
        let name = text(self.stored, "kind");
        let sentence = match self.kind {
            _ if name == SETTING_CHANGED => SettingWords::stored(self.stored).sentence(),
            Some(kind) => kind.sentence(self.stored),
            None => self.stored.to_string(),
        };
        format!("{name}  {sentence}").trim_end().to_owned()
    }
}

/// The names of the fields that name a person or a group in any kind: a kind of a later release uses them as well.
fn subject_fields(subject: Subject) -> impl Iterator<Item = &'static str> {
    let fields = kinds().flat_map(|kind| kind.fields);
    fields.filter(move |field| field.subjects.contains(&subject)).map(|field| field.name)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}
