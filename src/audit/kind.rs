//! A kind of record: its name, its fields and its wording, as the table in `event` gives them.

use super::field::Subject;
use serde_json::{Map, Value, json};

/// The kind under which records of a setting are stored: `what` changed from `before` to `after`. Records of every
/// release have that form, so a release reads the settings that the next one records.
pub const SETTING_CHANGED: &str = "setting-changed";

/// One row of the table.
#[derive(Debug)]
pub struct AuditKind {
    /// The stable name.
    pub name: &'static str,
    pub(super) fields: &'static [FieldColumn],
    pub(super) form: KindForm,
}

/// A field of a kind.
#[derive(Debug)]
pub struct FieldColumn {
    /// Its name in the JSON of a record.
    pub name: &'static str,
    /// Its name in the table, which the wording uses.
    pub placeholder: &'static str,
    /// Whom it names.
    pub subjects: &'static [Subject],
    /// The stored field from its text.
    pub from_text: fn(&str) -> Option<Value>,
}

/// How a kind is stored and worded.
#[derive(Debug)]
pub enum KindForm {
    /// Stored under its own name with its fields.
    Fields { sentence: fn(&Value) -> String },
    /// Stored as `setting-changed`. The templates read what `words` writes.
    Setting { words: fn(&Value) -> SettingWords, templates: SettingTemplates },
}

/// `what` changed, from `before` to `after`.
#[derive(Debug, PartialEq, Eq)]
pub struct SettingWords {
    pub what: String,
    pub before: String,
    pub after: String,
}

impl SettingWords {
    /// The words of a stored `setting-changed`.
    pub fn stored(change: &Value) -> Self {
        let field = |name| change.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { what: field("what"), before: field("before"), after: field("after") }
    }

    fn to_stored(&self) -> Value {
        json!({"kind": SETTING_CHANGED, "what": self.what, "before": self.before, "after": self.after})
    }

    pub fn sentence(&self) -> String {
        let or_none = |text: &'_ str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
        format!("{}: {} -> {}", self.what, or_none(&self.before), or_none(&self.after))
    }
}

/// The texts of a setting, each with at most one `{placeholder}`.
#[derive(Debug)]
pub struct SettingTemplates {
    pub what: &'static str,
    pub before: &'static str,
    pub after: &'static str,
}

impl AuditKind {
    /// Its fields by their names in the JSON of a record, in the order of the table.
    pub fn field_names(&self) -> impl Iterator<Item = &'static str> {
        self.fields.iter().map(|field| field.name)
    }

    /// The kind under which its records are stored.
    pub const fn stored_name(&self) -> &'static str {
        match self.form {
            KindForm::Fields { .. } => self.name,
            KindForm::Setting { .. } => SETTING_CHANGED,
        }
    }

    /// A change of this kind as it is stored.
    pub(super) fn to_stored(&self, mut fields: Map<String, Value>) -> Value {
        match self.form {
            KindForm::Fields { .. } => {
                fields.insert("kind".to_owned(), json!(self.name));
                Value::Object(fields)
            }
            KindForm::Setting { words, .. } => words(&Value::Object(fields)).to_stored(),
        }
    }

    /// The fields of this kind, where the words of a stored setting are its own.
    pub(super) fn fields_of_setting(&self, words: &SettingWords) -> Option<Value> {
        let KindForm::Setting { templates, .. } = &self.form else { return None };
        let mut fields = Map::new();
        for (template, text) in [
            (templates.what, &words.what),
            (templates.before, &words.before),
            (templates.after, &words.after),
        ] {
            if let Some((placeholder, text)) = match_template(template, text)? {
                let field = self.fields.iter().find(|field| field.placeholder == placeholder)?;
                fields.insert(field.name.to_owned(), (field.from_text)(text)?);
            }
        }
        Some(Value::Object(fields))
    }

    /// What a change of this kind says, from its fields.
    pub(super) fn sentence(&self, fields: &Value) -> String {
        match self.form {
            KindForm::Fields { sentence } => sentence(fields),
            KindForm::Setting { words, .. } => words(fields).sentence(),
        }
    }
}

/// Whether `text` is of `template`: `Some(None)` if it has no placeholder, otherwise the placeholder and its text.
fn match_template<'a>(template: &'static str, text: &'a str) -> Option<Option<(&'static str, &'a str)>> {
    let Some((prefix, rest)) = template.split_once('{') else {
        return (template == text).then_some(None);
    };
    let (placeholder, suffix) = rest.split_once('}')?;
    let text = text.strip_prefix(prefix)?.strip_suffix(suffix)?;
    Some(Some((placeholder, text)))
}
