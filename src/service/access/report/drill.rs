//! What a report leaves out: the role that a drill gives to its leaver.

use super::history::{AccessSpan, SpanSource};
use crate::id::UserId;
use crate::rbac::DRILL_BINDING;

/// Whether it is the role of the binding of drills alone, of a leaver. What a client gives to a leaver through another group, and
/// what others give, is not of the drill.
pub(super) fn is_role_of(span: &AccessSpan, is_leaver: impl Fn(UserId) -> bool) -> bool {
    match &span.source {
        SpanSource::Ours(given) => {
            // Of a grant without bindings it is not known whose it is.
            let by_drill =
                !given.bindings.is_empty() && given.bindings.iter().all(|name| name == DRILL_BINDING);
            by_drill && given.user.is_some_and(is_leaver)
        }
        SpanSource::Foreign(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PrincipalId;
    use crate::rbac::AssignmentName;
    use crate::rbac::arm_scope::ArmScope;
    use crate::service::access::report::history::{GivenByUs, SetOff};
    use time::macros::datetime;
    use uuid::Uuid;

    fn span(bindings: &[&str]) -> AccessSpan {
        let id = Uuid::from_u128(1);
        let given = GivenByUs {
            user: Some(UserId::new(id)),
            bindings: bindings.iter().map(|&name| name.to_owned()).collect(),
            reasons: Vec::new(),
            set_off: SetOff::default(),
            confirmed: true,
            taken: None,
        };
        AccessSpan {
            assignment: AssignmentName::parse(&id.to_string()).unwrap(),
            principal: PrincipalId::new(id),
            scope: ArmScope::parse("/subscriptions/00000000-0000-0000-0000-00000000000a").unwrap(),
            role: id,
            role_name: String::new(),
            from: datetime!(2026-03-01 10:00 UTC),
            since: datetime!(2026-03-01 10:00 UTC),
            until: None,
            source: SpanSource::Ours(given),
        }
    }

    #[test]
    fn only_the_role_of_the_binding_of_drills_is_left_out_and_only_of_a_leaver() {
        let leaver = UserId::new(Uuid::from_u128(1));
        assert!(is_role_of(&span(&["drill"]), |user| user == leaver));
        assert!(!is_role_of(&span(&["drill"]), |user| user != leaver));
        for bindings in [&[][..], &["operators"], &["drill", "operators"]] {
            assert!(!is_role_of(&span(bindings), |user| user == leaver), "{bindings:?}");
        }
    }
}
