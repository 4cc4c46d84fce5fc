//! What a report leaves out: the role that a drill gives to its leaver.

use super::history::{AccessSpan, SpanSource};
use crate::id::UserId;
use crate::rbac::DRILL_BINDING;

/// Whether it is the role of the binding of drills alone, of a leaver. What a client gives to a leaver through another group, and
/// what others give, is not of the drill.
pub(super) fn is_role_of(span: &AccessSpan, is_leaver: impl Fn(UserId) -> bool) -> bool {
    match &span.source {
        SpanSource::Ours(given) => {
            let by_drill = given.bindings.iter().all(|binding| binding == DRILL_BINDING);
            by_drill && given.user.is_some_and(is_leaver)
        }
        SpanSource::Foreign(_) => false,
    }
}
