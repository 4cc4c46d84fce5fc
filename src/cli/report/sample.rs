//! A row for tests.

use crate::id::PrincipalId;
use crate::ports::azure_access::HolderKind;
use crate::rbac::AssignmentName;
use crate::rbac::arm_scope::ArmScope;
use crate::service::access::report::{ReportRow, RowSource};
use uuid::Uuid;

pub(super) fn row(holder: u128, assignment: u128, name: &str) -> ReportRow {
    ReportRow {
        targets: Vec::new(),
        holder: PrincipalId::new(Uuid::from_u128(holder)),
        kind: HolderKind::User,
        user: None,
        name: Some(name.to_owned()),
        through: None,
        through_name: None,
        assignment: AssignmentName::new(Uuid::from_u128(assignment)),
        scope: ArmScope::parse("/subscriptions/s").unwrap(),
        role: Uuid::nil(),
        role_name: "Owner".to_owned(),
        conditional: false,
        verbs: None,
        since: None,
        given: RowSource::Others {
            created_by: None,
            created_by_name: None,
            created_on: None,
            first_seen: None,
        },
    }
}
