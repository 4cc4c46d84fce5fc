//! The leaver and the group of a drill, as a client would send them.

use crate::id::PrincipalId;
use crate::scim::urn;
use serde_json::{Value, json};

/// The userName of the leaver.
pub(super) const LEAVER_NAME: &str = "azure-backup-scim-drill-leaver";
/// The displayName of the group.
pub(super) const GROUP_NAME: &str = "Drill of Azure Backup SCIM";

/// The leaver. Its Entra object is a managed identity.
pub fn user_body(principal: PrincipalId) -> Value {
    let principal = principal.to_string();
    json!({
        "schemas": [urn::USER, urn::BACKUP_USER],
        "userName": LEAVER_NAME,
        "displayName": "Drill leaver of Azure Backup SCIM",
        "externalId": principal,
        "userType": "ServicePrincipal",
        "active": true,
        urn::BACKUP_USER: { "entraObjectId": principal },
    })
}

/// The group that the binding names, with the leaver in it.
pub fn group_body(external_id: &str, member: &str) -> Value {
    json!({
        "schemas": [urn::GROUP],
        "displayName": GROUP_NAME,
        "externalId": external_id,
        "members": [{ "value": member }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::UserId;
    use crate::scim::{GroupInput, UserInput};
    use uuid::Uuid;

    #[test]
    fn both_bodies_are_those_of_scim() {
        let id = Uuid::from_u128(7);
        assert!(UserInput::parse(&user_body(PrincipalId::new(id))).is_ok());
        assert!(GroupInput::parse(&group_body("drill", &UserId::new(id).to_string())).is_ok());
    }
}
