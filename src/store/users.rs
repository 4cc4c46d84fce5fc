//! Rows that only users have: the pin of an Entra object id, and the names for audit output.

use crate::id::{GroupId, OpId, PrincipalId, UserId};
use crate::ports::tables::{ETag, EtagMatch, TableRow, TableWrite};
use crate::scim::compare::{self, CaseMode};
use crate::scim::{Resource, ResourceType};
use crate::store::batch::{BatchPart, WriteBatch};
use crate::store::codec::{RowFields, RowReader};
use crate::store::ledger_walk::LedgerPosition;
use crate::store::named_like::NamedLike;
use crate::store::resources::{self, ResourceId, User};
use crate::store::{StateStore, StoreError, keys, ledger};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A header, as far as access is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderState<T> {
    Gone,
    /// It is there, and cannot be read.
    Unreadable,
    Readable(T),
}

impl<T> HeaderState<T> {
    /// What it says, where it can be read.
    pub fn readable(self) -> Option<T> {
        match self {
            HeaderState::Readable(value) => Some(value),
            HeaderState::Gone | HeaderState::Unreadable => None,
        }
    }

    pub fn map<U>(self, into: impl FnOnce(T) -> U) -> HeaderState<U> {
        match self {
            HeaderState::Gone => HeaderState::Gone,
            HeaderState::Unreadable => HeaderState::Unreadable,
            HeaderState::Readable(value) => HeaderState::Readable(into(value)),
        }
    }

    pub fn as_ref(&self) -> HeaderState<&T> {
        match self {
            HeaderState::Gone => HeaderState::Gone,
            HeaderState::Unreadable => HeaderState::Unreadable,
            HeaderState::Readable(value) => HeaderState::Readable(value),
        }
    }
}

/// A person's header, as far as access is concerned.
#[derive(Debug, Clone)]
pub struct PersonHeader {
    pub resource: Resource,
    /// The Entra object id first pinned.
    pub pinned: Option<PrincipalId>,
    pub etag: ETag,
}

/// A group's header, as far as access is concerned.
#[derive(Debug, Clone)]
pub struct GroupHeader {
    pub resource: Resource,
    /// Whether the group may be a member of other groups.
    pub may_be_nested: bool,
}

impl StateStore {
    /// The header of a person.
    pub async fn person(&self, user: UserId) -> Result<HeaderState<PersonHeader>, StoreError> {
        self.header_state(user, read_person).await
    }

    /// The attributes of a group.
    pub async fn group_attributes(&self, group: GroupId) -> Result<HeaderState<Resource>, StoreError> {
        self.header_state(group, read_group).await
    }

    /// The same, and whether the group may be a member of other groups.
    pub async fn group_header(&self, group: GroupId) -> Result<HeaderState<GroupHeader>, StoreError> {
        let read = |row: &TableRow| {
            Ok(GroupHeader { resource: read_group(row)?, may_be_nested: resources::may_be_nested(row) })
        };
        self.header_state(group, read).await
    }

    /// The userName in the row that outlives a user.
    pub async fn kept_user_name(&self, user: UserId) -> Result<Option<String>, StoreError> {
        let Some(row) = self.get(&keys::names(user)).await? else { return Ok(None) };
        let names = self.readable(&row, RowReader::new(&row).and_then(|reader| reader.json("names")));
        Ok(names.and_then(|names| names.get("userName")?.as_str().map(str::to_owned)))
    }

    /// The user's names and addresses, where a row with them is there; none of them where it cannot be read.
    pub async fn kept_names(&self, user: UserId) -> Result<Option<Vec<String>>, StoreError> {
        let Some(row) = self.get(&keys::names(user)).await? else { return Ok(None) };
        let names = self.readable(&row, RowReader::new(&row).and_then(|reader| reader.json("names")));
        let members = names.as_ref().and_then(Value::as_object).into_iter().flatten();
        let texts = members.flat_map(|(_, value)| match value {
            Value::Array(list) => list.iter().collect(),
            single => vec![single],
        });
        Ok(Some(texts.filter_map(Value::as_str).map(str::to_owned).collect()))
    }

    /// Users whose userName or a mail address in the row that outlives them compares equal, living or deleted, at most so many.
    pub async fn users_once_called(&self, name: &str, users_max: usize) -> Result<Vec<UserId>, StoreError> {
        let folded = compare::key(name, CaseMode::Folded);
        let is_it =
            |value: &Value| value.as_str().is_some_and(|text| compare::key(text, CaseMode::Folded) == folded);
        let mut users = Vec::new();
        let (from, to) = keys::range_of("n:");
        let mut pages = self.pages(from, to);
        while users.len() < users_max
            && let Some(rows) = pages.next().await?
        {
            for row in &rows {
                let names = RowReader::new(row).and_then(|reader| reader.json("names"));
                let Some(names) = self.readable(row, names) else { continue };
                let mails = names.get("emails").and_then(Value::as_array).into_iter().flatten();
                if names.get("userName").into_iter().chain(mails).any(is_it) {
                    users.extend(UserId::parse(keys::last_part(&row.key)));
                }
            }
        }
        users.truncate(users_max);
        Ok(users)
    }

    /// Users with every one of these words in their userName, displayName or mail addresses, living or deleted: of each the
    /// userName.
    pub async fn users_named_like(&self, words: &str) -> Result<NamedLike<UserId>, StoreError> {
        let mut found = NamedLike::of(words);
        let (from, to) = keys::range_of("n:");
        let mut pages = self.pages(from, to);
        while found.may_read_on()
            && let Some(rows) = pages.next().await?
        {
            for row in &rows {
                let names = RowReader::new(row).and_then(|reader| reader.json("names"));
                let (Some(names), Ok(user)) =
                    (self.readable(row, names), UserId::parse(keys::last_part(&row.key)))
                else {
                    continue;
                };
                let mails = names.get("emails").and_then(Value::as_array).into_iter().flatten();
                let all = ["userName", "displayName"].into_iter().filter_map(|name| names.get(name));
                let all: Vec<&str> = all.chain(mails).filter_map(Value::as_str).collect();
                found.take(user, &all);
            }
        }
        Ok(found)
    }

    /// Users whose ledgers have something of an Entra object, living or deleted, at most so many.
    pub async fn users_once_of(
        &self,
        principal: PrincipalId,
        users_max: usize,
    ) -> Result<BTreeSet<UserId>, StoreError> {
        let mut users = BTreeSet::new();
        let mut pages = self.ledger_pages(&LedgerPosition::default());
        while users.len() < users_max
            && let Some(rows) = pages.next().await?
        {
            users.extend(rows.iter().filter(|row| row.names_principal(principal)).filter_map(|row| row.user));
        }
        Ok(users.into_iter().take(users_max).collect())
    }

    async fn header_state<T>(
        &self,
        id: impl ResourceId,
        read: impl Fn(&TableRow) -> Result<T, StoreError>,
    ) -> Result<HeaderState<T>, StoreError> {
        let Some(row) = self.get(&id.header_key()).await? else { return Ok(HeaderState::Gone) };
        Ok(self.readable(&row, read(&row)).map_or(HeaderState::Unreadable, HeaderState::Readable))
    }
}

/// Reads the header of a user, as far as access is concerned.
pub(super) fn read_person(row: &TableRow) -> Result<PersonHeader, StoreError> {
    Ok(PersonHeader {
        resource: document(row, ResourceType::User)?,
        pinned: RowReader::new(row)?.parsed_opt("pinned", PrincipalId::parse)?,
        etag: row.etag.clone(),
    })
}

/// Reads the attributes in the header of a group.
pub(super) fn read_group(row: &TableRow) -> Result<Resource, StoreError> {
    document(row, ResourceType::Group)
}

fn document(row: &TableRow, kind: ResourceType) -> Result<Resource, StoreError> {
    match RowReader::new(row)?.json("doc")? {
        Value::Object(attributes) => Ok(Resource::from_stored(kind, attributes)),
        _ => Err(StoreError::Corrupt { row: row.key.clone(), property: "doc".to_owned() }),
    }
}

/// The header remembers the Entra object id that was pinned first, if it still has that version.
pub fn remember_principal(user: UserId, principal: PrincipalId, version: &ETag) -> TableWrite {
    let properties = RowFields::some().text("pinned", principal.to_string()).done();
    TableWrite::Merge { key: keys::user(user), properties, condition: EtagMatch::Exact(version.clone()) }
}

/// The record takes the Entra object id, if no record holds it.
pub fn pin(user: UserId, principal: PrincipalId, op: OpId) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for write in ledger::pin(user, principal, op) {
        batch.push(BatchPart::Pin, write);
    }
    batch
}

/// The names and addresses of a person, for audit output. They outlive the user until they are erased.
pub fn names(user: &User) -> TableWrite {
    let properties = RowFields::row().bytes("names", names_of(&user.resource).to_string().as_bytes()).done();
    TableWrite::InsertOrReplace { key: keys::names(user.id), properties }
}

/// The names and addresses are no longer kept.
pub fn erase_names(user: UserId) -> TableWrite {
    TableWrite::Delete { key: keys::names(user), condition: EtagMatch::Any }
}

/// Whether the names row must be written again.
pub fn names_differ(before: &Resource, after: &Resource) -> bool {
    names_of(before) != names_of(after)
}

fn names_of(resource: &Resource) -> Value {
    json!({
        "userName": resource.text("userName"),
        "displayName": resource.text("displayName"),
        "emails": resource.emails(),
    })
}
