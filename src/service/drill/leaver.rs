//! The leaver and the group of a drill, as a client would send them.

use crate::id::PrincipalId;
use crate::scim::urn;
use serde_json::{Value, json};

/// What the leaver and the group of a drill are called. The names are reserved.
#[derive(Debug, Clone, Copy)]
pub struct DrillNames {
    /// The userName.
    pub leaver: &'static str,
    /// The displayName.
    pub group: &'static str,
}

/// Of the drills of the service itself.
pub(super) const BY_THE_SERVICE: DrillNames =
    DrillNames { leaver: "azure-backup-scim-drill-leaver", group: "Drill of Azure Backup SCIM" };
/// Of those that are played over SCIM.
pub const FROM_OUTSIDE: DrillNames = DrillNames {
    leaver: "azure-backup-scim-drill-leaver-from-outside",
    group: "Drill of Azure Backup SCIM from outside",
};

impl DrillNames {
    /// The leaver. Its Entra object is a managed identity.
    pub fn user_body(&self, principal: PrincipalId) -> Value {
        let principal = principal.to_string();
        json!({
            "schemas": [urn::USER, urn::BACKUP_USER],
            "userName": self.leaver,
            "displayName": "Drill leaver of Azure Backup SCIM",
            "externalId": principal,
            "userType": "ServicePrincipal",
            "active": true,
            urn::BACKUP_USER: { "entraObjectId": principal },
        })
    }

    /// The group that the binding names, with the leaver in it.
    pub fn group_body(&self, external_id: &str, member: &str) -> Value {
        json!({
            "schemas": [urn::GROUP],
            "displayName": self.group,
            "externalId": external_id,
            "members": [{ "value": member }],
        })
    }
}

/// The leaver leaves.
pub fn leaves_body() -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": "replace", "path": "active", "value": false }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::UserId;
    use crate::scim::{GroupInput, PatchRequest, ResourceType, UserInput};
    use uuid::Uuid;

    #[test]
    fn the_bodies_are_those_of_scim() {
        let id = Uuid::from_u128(7);
        for names in [BY_THE_SERVICE, FROM_OUTSIDE] {
            assert!(UserInput::parse(&names.user_body(PrincipalId::new(id))).is_ok());
            assert!(GroupInput::parse(&names.group_body("drill", &UserId::new(id).to_string())).is_ok());
        }
        assert!(PatchRequest::parse(ResourceType::User, &leaves_body()).is_ok());
    }
}
