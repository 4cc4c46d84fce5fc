//! The fields of audit records: how each type is stored as JSON and read back.
//!
//! Reading never fails. Records of other releases may lack a field or hold something else in it; it then reads as empty.

use crate::id::{GroupId, OpId, PrincipalId, UserId};
use crate::rbac::ledger::StepKind;
use crate::rbac::{AssignmentName, BackupRole, BindingName, ReasonCode, Scope};
use crate::scim::ResourceType;
use serde_json::{Value, json};
use std::fmt;

/// Whom the id in a field can be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Person,
    Group,
}

/// The SCIM id of a user or of a group, or the text that a request sent in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectId(String);

impl SubjectId {
    /// Takes the id as it prints.
    pub fn new(id: impl ToString) -> Self {
        Self(id.to_string())
    }
}

/// A type that a field of a record can have.
pub trait AuditField {
    /// What is read back.
    type Read<'a>: fmt::Display;
    /// Whom the field names.
    const SUBJECTS: &'static [Subject] = &[];

    /// The field as stored.
    fn to_value(&self) -> Value;
    /// The field as it reads.
    fn read(value: Option<&Value>) -> Self::Read<'_>;
    /// The field as stored, from the text that it reads as; `None` where that text cannot be this field's.
    fn from_text(text: &str) -> Option<Value>;
}

/// A type that is stored as text and is never empty.
pub trait AuditText {
    const SUBJECTS: &'static [Subject] = &[];

    fn to_text(&self) -> String;
}

macro_rules! audit_text {
    ($($name:ty: [$($subject:ident),*] $text:expr;)*) => {
        $(impl AuditText for $name {
            const SUBJECTS: &'static [Subject] = &[$(Subject::$subject),*];

            fn to_text(&self) -> String {
                let text: fn(&Self) -> String = $text;
                text(self)
            }
        })*
    };
}

audit_text! {
    UserId: [Person] ToString::to_string;
    PrincipalId: [Person] ToString::to_string;
    GroupId: [Group] ToString::to_string;
    SubjectId: [Person, Group] |id| id.0.clone();
    OpId: [] ToString::to_string;
    AssignmentName: [] ToString::to_string;
    BindingName: [] ToString::to_string;
    BackupRole: [] |role| role.name().to_owned();
    ResourceType: [] |resource_type| resource_type.name().to_owned();
    Scope: [] |scope| scope.as_str().to_owned();
    StepKind: [] |kind| kind.as_str().to_owned();
    String: [] Clone::clone;
    &'static str: [] ToString::to_string;
}

fn text(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

impl<T: AuditText> AuditField for T {
    type Read<'a> = &'a str;
    const SUBJECTS: &'static [Subject] = T::SUBJECTS;

    fn to_value(&self) -> Value {
        Value::String(self.to_text())
    }

    fn read(value: Option<&Value>) -> &str {
        text(value)
    }

    fn from_text(text: &str) -> Option<Value> {
        (!text.is_empty()).then(|| json!(text))
    }
}

/// Stored as text or null, read as text or nothing.
impl<T: AuditText> AuditField for Option<T> {
    type Read<'a> = &'a str;
    const SUBJECTS: &'static [Subject] = T::SUBJECTS;

    fn to_value(&self) -> Value {
        json!(self.as_ref().map(AuditText::to_text))
    }

    fn read(value: Option<&Value>) -> &str {
        text(value)
    }

    fn from_text(text: &str) -> Option<Value> {
        Some(if text.is_empty() { Value::Null } else { json!(text) })
    }
}

/// The reason of a wait, or `ended`.
impl AuditField for Option<ReasonCode> {
    type Read<'a> = &'a str;

    fn to_value(&self) -> Value {
        json!(self.map_or("ended", ReasonCode::as_str))
    }

    fn read(value: Option<&Value>) -> &str {
        text(value)
    }

    fn from_text(text: &str) -> Option<Value> {
        String::from_text(text)
    }
}

/// A list that reads as its items with commas between them.
#[derive(Debug)]
pub struct TextList<'a>(Vec<&'a str>);

impl TextList<'_> {
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The list after `before`; nothing where the list is empty.
    pub fn after(&self, before: &str) -> String {
        if self.0.is_empty() { String::new() } else { format!("{before}{self}") }
    }
}

impl fmt::Display for TextList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

impl<T: AuditText> AuditField for Vec<T> {
    type Read<'a> = TextList<'a>;

    fn to_value(&self) -> Value {
        json!(self.iter().map(AuditText::to_text).collect::<Vec<_>>())
    }

    fn read(value: Option<&Value>) -> TextList<'_> {
        let items = value.and_then(Value::as_array);
        TextList(items.into_iter().flatten().filter_map(Value::as_str).collect())
    }

    fn from_text(text: &str) -> Option<Value> {
        Some(json!(text.split(", ").filter(|item| !item.is_empty()).collect::<Vec<_>>()))
    }
}

impl AuditField for bool {
    type Read<'a> = bool;

    fn to_value(&self) -> Value {
        json!(self)
    }

    fn read(value: Option<&Value>) -> bool {
        value.and_then(Value::as_bool).unwrap_or_default()
    }

    fn from_text(text: &str) -> Option<Value> {
        text.parse::<bool>().ok().map(Value::from)
    }
}

impl AuditField for i64 {
    type Read<'a> = i64;

    fn to_value(&self) -> Value {
        json!(self)
    }

    fn read(value: Option<&Value>) -> i64 {
        value.and_then(Value::as_i64).unwrap_or_default()
    }

    fn from_text(text: &str) -> Option<Value> {
        text.parse::<i64>().ok().map(Value::from)
    }
}
