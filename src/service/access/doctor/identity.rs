//! Which Entra object the service is: what is named, what made its assignments, what holds its rights, and what Entra ID knows.

use super::damage::joined;
use super::facts::{RoleFacts, ScopeFacts, ServiceIdentity};
use super::finding::{Finding, Mender};
use super::right::ServiceRight;
use crate::id::PrincipalId;
use crate::ports::azure_access::{AccessAssignment, HolderKind};
use crate::rbac::AssignmentName;
use crate::rbac::arm_scope::ArmScope;
use std::collections::BTreeSet;

/// Objects that one line names.
const IDS_SHOWN_MAX: usize = 5;

/// What speaks for one object or another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdentityEvidence {
    /// The caller, or a setting, says so.
    pub named: Option<PrincipalId>,
    /// They made the assignments of the ledger.
    pub makers: BTreeSet<PrincipalId>,
    /// Service principals that hold a right to give roles at exactly a scope.
    pub holders: BTreeSet<PrincipalId>,
    /// Service principals that may hold one: at a scope above, or by a role that could not be read.
    pub others: BTreeSet<PrincipalId>,
    /// Those that Entra ID does not show, where it answers.
    pub missing: BTreeSet<PrincipalId>,
}

/// Who made the assignments of the ledger.
pub fn makers(scopes: &[ScopeFacts], ours: &BTreeSet<AssignmentName>) -> BTreeSet<PrincipalId> {
    let listed = scopes.iter().filter_map(|facts| facts.assignments.as_ref().ok()).flatten();
    listed.filter(|listed| ours.contains(&listed.name)).filter_map(|listed| listed.created_by).collect()
}

impl IdentityEvidence {
    /// What the assignments say.
    pub fn of(
        named: Option<PrincipalId>,
        makers: BTreeSet<PrincipalId>,
        scopes: &[ScopeFacts],
        roles: &RoleFacts,
    ) -> Self {
        let mut evidence = Self { named, makers, ..Self::default() };
        for facts in scopes {
            let here = ArmScope::from(&facts.scope);
            let is_service = |listed: &&AccessAssignment| listed.holder == HolderKind::ServicePrincipal;
            let listed = facts.assignments.iter().flatten().filter(is_service);
            for right in listed.filter_map(|listed| ServiceRight::of(listed, roles)) {
                let is_certain = right.is_role_read() && right.assignment.scope == here;
                let side = if is_certain { &mut evidence.holders } else { &mut evidence.others };
                side.insert(right.assignment.principal);
            }
        }
        evidence
    }

    /// Everything that may be the service.
    pub fn objects(&self) -> BTreeSet<PrincipalId> {
        let seen = self.makers.iter().chain(&self.holders).chain(&self.others);
        seen.copied().chain(self.named).collect()
    }

    /// The one that it is, unless something speaks against it.
    pub fn identify(&self) -> ServiceIdentity {
        let only = |ids: &BTreeSet<PrincipalId>| ids.first().copied().filter(|_| ids.len() == 1);
        let (id, found) = match (self.named, only(&self.makers), only(&self.holders)) {
            (Some(id), ..) => (id, ServiceIdentity::Named(id)),
            (None, Some(id), _) => (id, ServiceIdentity::MadeOurs(id)),
            (None, None, Some(id)) => (id, ServiceIdentity::OnlyHolder(id)),
            (None, None, None) => return ServiceIdentity::Unknown { candidates: self.objects() },
        };
        match self.contradiction(id) {
            Some(by) => ServiceIdentity::Contradicted { id, by },
            None => found,
        }
    }

    fn contradiction(&self, id: PrincipalId) -> Option<String> {
        let holds = self.holders.contains(&id) || self.others.contains(&id);
        let made = self.makers.contains(&id);
        // A login that may not read service principals is shown none of them.
        let shows_another = self.holders.union(&self.others).any(|other| !self.missing.contains(other));
        if self.missing.contains(&id) && (shows_another || !(holds || made)) {
            return Some("Entra ID shows this login no object of that id".to_owned());
        }
        // The identity may have been made anew; one that is named may only have lost its right.
        if self.named.is_none() && !holds && !self.holders.is_empty() {
            return Some(format!(
                "these hold rights to give roles, and it does not: {}",
                listed(&self.holders)
            ));
        }
        if !holds && !made && !self.makers.is_empty() {
            return Some(format!("these made the assignments of the ledger: {}", listed(&self.makers)));
        }
        None
    }
}

/// The first of them, and how many more there are.
pub fn listed(ids: &BTreeSet<PrincipalId>) -> String {
    let mut shown: Vec<String> = ids.iter().take(IDS_SHOWN_MAX).map(ToString::to_string).collect();
    let more = ids.len() - shown.len();
    shown.extend((more > 0).then(|| format!("{more} more")));
    joined(&shown)
}

/// Whether it is known which object the service is.
pub fn check_identity(identity: &ServiceIdentity) -> Option<Finding> {
    let found = |how: &str, id| Some(Finding::ok("identity", format!("the service is {id} ({how})")));
    let name = "name its object id, which is not its client id, with --identity or SERVICE_PRINCIPAL_ID";
    match identity {
        ServiceIdentity::Named(id) => found("as named", id),
        ServiceIdentity::MadeOurs(id) => found("it made the assignments of the ledger", id),
        ServiceIdentity::OnlyHolder(id) => {
            found("it alone was seen to hold a right to give roles at the scopes of the bindings", id)
        }
        ServiceIdentity::Contradicted { id, by } => Some(
            Finding::warning("identity", format!("the service is probably not {id}"), by)
                .mend(Mender::Operator, name),
        ),
        ServiceIdentity::Unknown { candidates } if candidates.is_empty() => None,
        ServiceIdentity::Unknown { candidates } => {
            let why = format!("each of these may be it: {}", listed(candidates));
            let what = "the service's Entra object id is not known";
            Some(Finding::warning("identity", what, why).mend(Mender::Operator, name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn id(number: u128) -> PrincipalId {
        PrincipalId::new(Uuid::from_u128(number))
    }

    fn ids<const N: usize>(numbers: [u128; N]) -> BTreeSet<PrincipalId> {
        numbers.map(id).into()
    }

    #[track_caller]
    fn check(evidence: &IdentityEvidence, expected: ServiceIdentity) {
        assert_eq!(evidence.identify(), expected);
    }

    /// Object 1 is doubted, because of something that begins so.
    #[track_caller]
    fn check_doubt(evidence: &IdentityEvidence, expected: &str) {
        match evidence.identify() {
            ServiceIdentity::Contradicted { id: found, by } if found == id(1) => {
                assert!(by.starts_with(expected), "{by}");
            }
            found => panic!("{found:?}"),
        }
    }

    #[test]
    fn the_service_is_what_is_named_else_what_made_its_assignments_else_the_only_holder() {
        let all = IdentityEvidence {
            named: Some(id(1)),
            makers: ids([1]),
            holders: ids([1, 2]),
            ..IdentityEvidence::default()
        };
        check(&all, ServiceIdentity::Named(id(1)));
        check(&IdentityEvidence { named: None, ..all.clone() }, ServiceIdentity::MadeOurs(id(1)));
        let holder = IdentityEvidence {
            named: None,
            makers: ids([]),
            holders: ids([1]),
            ..IdentityEvidence::default()
        };
        check(&holder, ServiceIdentity::OnlyHolder(id(1)));
        let several = IdentityEvidence { named: None, makers: ids([]), ..all };
        check(&several, ServiceIdentity::Unknown { candidates: ids([1, 2]) });
        check(&IdentityEvidence::default(), ServiceIdentity::Unknown { candidates: ids([]) });
    }

    #[test]
    fn a_right_above_a_scope_makes_a_candidate() {
        let above = IdentityEvidence { others: ids([1]), ..IdentityEvidence::default() };
        check(&above, ServiceIdentity::Unknown { candidates: ids([1]) });
    }

    #[test]
    fn a_client_id_in_place_of_the_object_id_is_doubted() {
        let named = IdentityEvidence { named: Some(id(1)), ..IdentityEvidence::default() };
        check(&named, ServiceIdentity::Named(id(1)));
        check_doubt(&IdentityEvidence { missing: ids([1]), ..named.clone() }, "Entra ID shows this login no");
        check_doubt(&IdentityEvidence { makers: ids([2]), ..named.clone() }, "these made");
        // Its right is not there yet, and another one has a right there.
        check(&IdentityEvidence { holders: ids([2]), ..named }, ServiceIdentity::Named(id(1)));
    }

    #[test]
    fn an_identity_that_was_made_anew_is_not_taken_for_the_former_one() {
        let made = IdentityEvidence { makers: ids([1]), ..IdentityEvidence::default() };
        check(&IdentityEvidence { missing: ids([1]), ..made.clone() }, ServiceIdentity::MadeOurs(id(1)));
        check_doubt(&IdentityEvidence { holders: ids([2]), ..made.clone() }, "these hold");
        // The right of the former one is still listed.
        let both = IdentityEvidence { holders: ids([1, 2]), missing: ids([1]), ..made.clone() };
        check_doubt(&both, "Entra ID shows this login no");
        check(&IdentityEvidence { named: Some(id(2)), ..both.clone() }, ServiceIdentity::Named(id(2)));
        // It may show no service principal at all.
        check(&IdentityEvidence { missing: ids([1, 2]), ..both }, ServiceIdentity::MadeOurs(id(1)));
    }
}
