use serde_json::{Map, Value, json};
use std::fmt;
pub enum ResourceType {
    User,
    Group,
}
pub enum ScimType {
    TooMany,
    InvalidValue,
}
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    pub detail: String,
}
impl Error {
    pub fn new(_s: u16, _t: Option<ScimType>, d: impl Into<String>) -> Self {
        Self { detail: d.into() }
    }
}
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(String);
impl Filter {
    pub fn parse(_kind: ResourceType, text: &str) -> Result<Filter, Error> {
        Ok(Filter(text.to_owned()))
    }
    pub fn reads(&self, attribute: &str) -> bool {
        self.0.contains(attribute)
    }
    pub fn matches(&self, _v: &Value) -> bool {
        true
    }
}
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
#[derive(Clone, Debug, PartialEq)]
pub struct Resource(Map<String, Value>);
impl Resource {
    pub fn from_stored(_k: ResourceType, m: Map<String, Value>) -> Self {
        Self(m)
    }
    pub fn text(&self, a: &str) -> Option<&str> {
        self.0.get(a)?.as_str()
    }
    pub fn entra_object_id(&self) -> Option<&str> {
        None
    }
    pub fn active(&self) -> bool {
        true
    }
}
pub struct Meta {
    pub id: String,
    pub created: String,
    pub last_modified: String,
    pub version: String,
    pub base_url: String,
}
pub struct GroupRef {
    pub id: String,
    pub display: String,
    pub direct: bool,
}
#[derive(Debug, Clone, Default)]
pub struct Access {
    pub grants: Vec<Value>,
    pub grant_state: Option<String>,
}
pub mod user {
    use super::*;
    pub fn render(_r: &Resource, _m: &Meta, _g: Option<&[GroupRef]>, _a: Option<&Access>) -> Value {
        json!({})
    }
}
pub mod compare {
    pub enum Mode {
        Folded,
        Exact,
    }
    pub fn key(text: &str, _mode: Mode) -> String {
        text.to_owned()
    }
}
