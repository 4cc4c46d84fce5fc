//! The names of people and groups for one output, each read once.

use crate::error_chain::escape_control;
use crate::id::{GroupId, UserId};
use crate::service::access::names::name_of;
use crate::service::audit::query;
use crate::store::{StateStore, StoreError};
use serde_json::Value;
use std::collections::BTreeMap;

/// What was read of names.
pub(super) struct KnownNames<'a> {
    pub(super) store: &'a StateStore,
    known: BTreeMap<String, Option<String>>,
}

impl<'a> KnownNames<'a> {
    /// None yet.
    pub(super) fn new(store: &'a StateStore) -> Self {
        Self { store, known: BTreeMap::new() }
    }

    /// The name behind an id, if there is one.
    pub(super) async fn of(&mut self, id: &str) -> Result<Option<&String>, StoreError> {
        if !self.known.contains_key(id) {
            let name = name_of(self.store, id).await?;
            self.known.insert(id.to_owned(), name);
        }
        Ok(self.known.get(id).and_then(Option::as_ref))
    }

    /// Whether an id that has a name is that of an Entra object, and no SCIM id.
    pub(super) async fn is_of_entra(&self, id: &str) -> Result<bool, StoreError> {
        let (user, group) = (UserId::parse(id).ok(), GroupId::parse(id).ok());
        let user_name = match user {
            Some(user) => self.store.kept_user_name(user).await?,
            None => None,
        };
        let is_group = match group {
            Some(group) => self.store.exists(group).await?,
            None => false,
        };
        Ok(user_name.is_none() && !is_group)
    }

    /// The name behind an id, else the id; fit for a terminal.
    pub(super) async fn shown(&mut self, id: &str) -> Result<String, StoreError> {
        Ok(escape_control(self.of(id).await?.map_or(id, String::as_str)))
    }

    /// The names of those whom a record names.
    pub(super) async fn of_record(&mut self, record: &Value) -> Result<BTreeMap<String, String>, StoreError> {
        let mut names = BTreeMap::new();
        for id in query::subjects(record) {
            if let Some(name) = self.of(&id).await? {
                names.insert(id, name.clone());
            }
        }
        Ok(names)
    }
}
