//! People, groups and service principals as members of one collection.

use super::graph_group::{GraphGroup, GraphServicePrincipal};
use super::graph_user::GraphUser;
use super::object_type::ObjectType;
use crate::simulator::request::NotRecognised;
use crate::simulator::state::AzureState;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The properties that can be selected in a collection of directory objects.
/// Facts: F-179.
const PROPERTIES: [&str; 4] = ["id", "displayName", "userPrincipalName", "accountEnabled"];
/// The properties that Graph returns by default.
const SHOWN_UNASKED: [&str; 3] = ["id", "displayName", "userPrincipalName"];

/// An object of the directory.
#[derive(Debug, Clone, Copy)]
pub enum DirectoryObject<'a> {
    User(&'a GraphUser),
    Group(&'a GraphGroup),
    ServicePrincipal(&'a GraphServicePrincipal),
}

impl<'a> DirectoryObject<'a> {
    /// The object of that id.
    pub fn find(state: &'a AzureState, id: Uuid) -> Option<Self> {
        let user = state.users.get(&id).map(Self::User);
        let group = || state.groups.get(&id).map(Self::Group);
        user.or_else(group).or_else(|| state.service_principals.get(&id).map(Self::ServicePrincipal))
    }

    /// Its type.
    pub const fn object_type(self) -> ObjectType {
        match self {
            Self::User(_) => ObjectType::User,
            Self::Group(_) => ObjectType::Group,
            Self::ServicePrincipal(_) => ObjectType::ServicePrincipal,
        }
    }

    /// As an element of a collection. Of a type that the caller may not read Graph shows type and id, and null for the
    /// rest.
    /// Facts: F-052.
    pub fn body(self, state: &AzureState, select: &[&'static str]) -> Value {
        let hidden = state.hidden_types.contains(&self.object_type());
        let mut body = Map::new();
        body.insert("@odata.type".to_owned(), json!(self.object_type().odata_type()));
        for name in select {
            if let Some(value) = self.property(name) {
                let shown = if hidden && *name != "id" { Value::Null } else { value };
                body.insert((*name).to_owned(), shown);
            }
        }
        Value::Object(body)
    }

    /// A property that objects of its type have.
    fn property(self, name: &str) -> Option<Value> {
        let (id, display_name) = (self.id(), self.display_name());
        match (name, self) {
            ("id", _) => Some(json!(id)),
            ("displayName", _) => Some(json!(display_name)),
            ("userPrincipalName", Self::User(user)) => Some(json!(user.user_principal_name)),
            ("accountEnabled", Self::User(user)) => Some(json!(user.account_enabled)),
            ("accountEnabled", Self::ServicePrincipal(_)) => Some(json!(true)),
            _ => None,
        }
    }

    pub const fn id(self) -> Uuid {
        match self {
            Self::User(user) => user.id,
            Self::Group(group) => group.id,
            Self::ServicePrincipal(principal) => principal.id,
        }
    }

    pub fn display_name(self) -> &'a str {
        match self {
            Self::User(user) => &user.display_name,
            Self::Group(group) => &group.display_name,
            Self::ServicePrincipal(principal) => &principal.display_name,
        }
    }
}

/// The properties that a request selects; those of the default if it selects none.
/// Facts: F-052.
pub fn selected(select: Option<&str>) -> Result<Vec<&'static str>, NotRecognised> {
    let Some(select) = select else { return Ok(SHOWN_UNASKED.to_vec()) };
    let property = |name: &str| {
        let known = PROPERTIES.into_iter().find(|known| known.eq_ignore_ascii_case(name.trim()));
        known.ok_or_else(|| NotRecognised::because(format!("unknown property {name:?}")))
    };
    select.split(',').map(property).collect()
}
