//! What a checked file says.

use crate::id::GroupId;
use crate::rbac::breaker::GrantLimits;
use crate::rbac::{BackupRole, BindingKind, BindingName, Scope};
use crate::scim::{self, compare};
use std::collections::BTreeSet;

/// Bytes of a file: ten chunks of 60 KiB is what a stored snapshot holds.
pub const FILE_BYTES_MAX: usize = 10 * 60 * 1024;
/// Bindings of a file.
pub const BINDINGS_MAX: usize = 2000;
/// Characters of an `externalId` or a `displayName` of a selector.
pub const SELECTOR_CHARS_MAX: usize = 256;

/// A checked file.
#[derive(Debug, Clone, PartialEq)]
pub struct Bindings {
    /// The attributes that may hold the Entra object id of a person, in this order.
    pub principal_from: Vec<PrincipalSource>,
    /// Scopes that were bound once: they give nothing and are still swept.
    pub retired: Vec<Scope>,
    /// In the order of the file.
    pub bindings: Vec<ConfiguredBinding>,
}

/// Where the Entra object id of a person comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrincipalSource {
    /// The attribute of our own extension.
    EntraObjectId,
    /// The core attribute, where it has the form of a GUID.
    ExternalId,
}

impl PrincipalSource {
    /// Every source.
    pub const ALL: [PrincipalSource; 2] = [PrincipalSource::EntraObjectId, PrincipalSource::ExternalId];

    /// The name of the attribute, as written in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            PrincipalSource::EntraObjectId => "entraObjectId",
            PrincipalSource::ExternalId => "externalId",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == text)
    }
}

/// One group, one role, one scope.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfiguredBinding {
    pub name: BindingName,
    pub selector: Selector,
    /// `where`: of the group's members only the people who match.
    pub condition: Option<scim::Filter>,
    pub role: BackupRole,
    pub scope: Scope,
    pub kind: BindingKind,
    /// `maxPrincipals` and `newGrantsMax`: how many people it gives the role, in all and in an hour.
    pub limits: GrantLimits,
}

impl ConfiguredBinding {
    /// Whether nothing changes for anyone where `earlier` becomes this one. The limits bound new grants only: people who hold the
    /// role keep it under lower ones, and only more room lets someone in who waits for it.
    pub fn changes_nothing_after(&self, earlier: &ConfiguredBinding) -> bool {
        let has_more_room = self.limits.max_principals > earlier.limits.max_principals;
        let same_access = Self { limits: earlier.limits, ..self.clone() } == *earlier;
        same_access && !has_more_room
    }
}

/// How a binding names its SCIM group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    ExternalId(String),
    Id(GroupId),
    /// Only with `allowDisplayName`: with the right to rename a group one could claim it.
    DisplayName(String),
}

impl Selector {
    /// The attribute that is compared.
    pub const fn attribute(&self) -> &'static str {
        match self {
            Selector::ExternalId(_) => "externalId",
            Selector::Id(_) => "id",
            Selector::DisplayName(_) => "displayName",
        }
    }

    /// The value as the file has it.
    pub fn value(&self) -> String {
        match self {
            Selector::ExternalId(text) | Selector::DisplayName(text) => text.clone(),
            Selector::Id(id) => id.to_string(),
        }
    }

    /// The compare key of the value: two selectors with the same attribute and key claim the same group.
    pub fn key(&self) -> String {
        match self {
            Selector::ExternalId(text) => compare::key(text, compare::CaseMode::Exact),
            Selector::Id(id) => id.to_string(),
            Selector::DisplayName(text) => compare::key(text, compare::CaseMode::Folded),
        }
    }
}

impl Bindings {
    /// Every scope of the file, bound or retired, once.
    pub fn scopes(&self) -> Vec<Scope> {
        let bound = self.bindings.iter().map(|binding| &binding.scope);
        let unique: BTreeSet<&Scope> = bound.chain(&self.retired).collect();
        unique.into_iter().cloned().collect()
    }

    /// The bindings that give that role there.
    pub fn giving(&self, role: BackupRole, scope: &Scope) -> Vec<BindingName> {
        let gives = |binding: &&ConfiguredBinding| binding.role == role && &binding.scope == scope;
        self.bindings.iter().filter(gives).map(|binding| binding.name.clone()).collect()
    }
}
