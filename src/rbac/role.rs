//! The closed list of backup roles.

use std::fmt;
use uuid::{Uuid, uuid};

/// A built-in role of Azure Backup that this service may hand out. Its ids are the same in every tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BackupRole {
    /// Manages backup: restores, deletes, writes policies.
    Contributor,
    /// Runs backups and restores, deletes nothing.
    Operator,
    /// Sees everything, restores nothing.
    Reader,
}

impl BackupRole {
    /// Every role, strongest first.
    pub const ALL: [BackupRole; 3] = [BackupRole::Contributor, BackupRole::Operator, BackupRole::Reader];

    /// The GUID of the built-in role definition.
    pub const fn definition_id(self) -> Uuid {
        match self {
            BackupRole::Contributor => uuid!("5e467623-bb1f-42f4-a55d-6e525e11384b"),
            BackupRole::Operator => uuid!("00c29273-979b-4161-815c-10b084fb9324"),
            BackupRole::Reader => uuid!("a795c7a0-d4a2-40c1-ae25-d81f01202912"),
        }
    }

    /// Azure's name of the role, as written in `bindings.json`.
    pub const fn name(self) -> &'static str {
        match self {
            BackupRole::Contributor => "Backup Contributor",
            BackupRole::Operator => "Backup Operator",
            BackupRole::Reader => "Backup Reader",
        }
    }

    /// The role of that exact name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// The role of that definition GUID.
    pub fn from_definition(id: Uuid) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.definition_id() == id)
    }
}

impl fmt::Display for BackupRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_found_by_its_name_and_by_its_definition() {
        for role in BackupRole::ALL {
            assert_eq!(BackupRole::parse(role.name()), Some(role));
            assert_eq!(BackupRole::from_definition(role.definition_id()), Some(role));
            assert_eq!(role.to_string(), role.name());
        }
    }

    #[test]
    fn names_are_exact_and_the_list_is_closed() {
        for name in [
            "",
            "backup operator",
            "Backup Operator ",
            "Owner",
            "User Access Administrator",
            "Backup MUA Admin",
        ] {
            assert_eq!(BackupRole::parse(name), None, "{name:?}");
        }
        let owner = uuid!("8e3af657-a8ff-443c-a75c-2fe8c4bcb635");
        assert_eq!(BackupRole::from_definition(owner), None);
        assert_eq!(BackupRole::from_definition(Uuid::nil()), None);
    }

    #[test]
    fn the_strongest_comes_first() {
        assert!(BackupRole::ALL.is_sorted());
        assert!(BackupRole::Contributor < BackupRole::Operator && BackupRole::Operator < BackupRole::Reader);
    }
}
