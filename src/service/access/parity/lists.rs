//! The two lists, as plain values: what the identity provider has, and what arrived here.

use crate::id::{GroupId, MemberId, PrincipalId, UserId};
use crate::rbac::BindingName;
use crate::scim::compare::{self, CaseMode};
use std::collections::BTreeSet;

/// What a member is for the identity provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListedKind {
    Person,
    Group,
    /// A service principal, a device, a contact: not provisioned.
    Other,
}

/// A member of a group, or who is assigned to the app, as the identity provider says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedMember {
    pub kind: ListedKind,
    /// The provider's id: of Entra ID the object id.
    pub id: Option<String>,
    pub user_name: Option<String>,
    pub display_name: Option<String>,
    pub active: Option<bool>,
    /// The line of a file.
    pub line: Option<u64>,
}

impl ListedMember {
    /// How it is named to people.
    pub fn label(&self) -> String {
        let known = [&self.user_name, &self.display_name, &self.id].into_iter().flatten().next();
        known.cloned().unwrap_or_else(|| "without a name".to_owned())
    }

    /// The provider's id, as ids compare.
    pub fn id_key(&self) -> Option<String> {
        self.id.as_deref().map(id_key)
    }
}

/// A group, as the identity provider says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    pub id: Option<String>,
    pub name: String,
    /// Our group, where the caller named it; otherwise it is found by id and by name.
    pub ours: Option<GroupId>,
    pub members: Vec<ListedMember>,
}

/// What the identity provider has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderList {
    pub groups: Vec<ListedGroup>,
    /// The people who are assigned to the app themselves. `Some`: the list is whole, and who or what is not in it should not be
    /// here.
    pub assigned: Option<Vec<ListedMember>>,
}

impl ProviderList {
    /// Whether everyone who should be here is in it.
    pub const fn is_whole(&self) -> bool {
        self.assigned.is_some()
    }
}

/// A user of this installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OurPerson {
    pub user: UserId,
    pub user_name: String,
    pub external_id: Option<String>,
    /// By the sources of the active bindings.
    pub principal: Option<PrincipalId>,
    pub active: bool,
}

impl OurPerson {
    /// The provider's ids that mean this user, as ids compare.
    pub fn id_keys(&self) -> BTreeSet<String> {
        let principal = self.principal.map(|principal| principal.to_string());
        self.external_id.as_deref().map(id_key).into_iter().chain(principal).collect()
    }
}

/// A group of this installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OurGroup {
    pub id: GroupId,
    /// `None`: the group cannot be read.
    pub name: Option<String>,
    pub external_id: Option<String>,
    /// The bindings that mean it, or a group that it is in.
    pub bindings: BTreeSet<BindingName>,
    /// Its direct members, where they were read.
    pub members: Vec<MemberId>,
}

impl OurGroup {
    /// How it is named to people.
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.id.to_string())
    }
}

/// What arrived here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OurList {
    pub people: Vec<OurPerson>,
    /// With their members where the provider's list has them.
    pub groups: Vec<OurGroup>,
}

/// An id as ids compare: a GUID in any case, anything else as it is written.
pub fn id_key(id: &str) -> String {
    match PrincipalId::parse(id.trim()) {
        Ok(principal) => principal.to_string(),
        Err(_) => compare::key(id, CaseMode::Exact),
    }
}

/// A name as names compare: the key of the index of userNames.
pub fn name_key(name: &str) -> String {
    compare::key(name, CaseMode::Folded)
}

/// The keys of the userNames that the identity provider may send for this one. Of a guest, `ana_contoso.example#EXT#@fabrikam`,
/// Entra ID sends `ana@contoso.example` unless the mapping says otherwise (docs/azure-facts.md, F-175).
pub fn user_name_keys(name: &str) -> Vec<String> {
    let mut keys = vec![name_key(name)];
    let folded = name.to_ascii_lowercase();
    let invited = folded.split_once("#ext#").and_then(|(invited, _)| name.get(..invited.len()));
    if let Some((local, domain)) = invited.and_then(|invited| invited.rsplit_once('_')) {
        keys.push(name_key(&format!("{local}@{domain}")));
    }
    keys
}
