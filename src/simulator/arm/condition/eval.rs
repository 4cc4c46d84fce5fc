//! What an expression says of an access.

use super::access_check::AccessCheck;
use super::operator::like;
use super::parse::{Attribute, Expression, Operand};

/// Whether it is true.
/// Facts: F-026.
pub fn holds(expression: &Expression, access: &AccessCheck) -> bool {
    match expression {
        Expression::Not(inner) => !holds(inner, access),
        Expression::All(terms) => terms.iter().all(|term| holds(term, access)),
        Expression::Any(terms) => terms.iter().any(|term| holds(term, access)),
        Expression::Action(pattern) => action_matches(pattern, &access.action),
        Expression::SubOperation => false,
        Expression::Exists(attribute) => !values(attribute, access).is_empty(),
        Expression::Compare { left, cross, operator, right } => {
            let compare = |left: &str, right: &str| operator.holds(left, right);
            cross.holds(operand(left, access), operand(right, access), compare)
        }
    }
}

/// Whether an action matches a pattern, as in the permissions of a role: `*` for any characters, without case.
/// Facts: F-100.
pub fn action_matches(pattern: &str, action: &str) -> bool {
    like(&action.to_ascii_lowercase(), &pattern.to_ascii_lowercase())
}

fn operand<'a>(operand: &'a Operand, access: &'a AccessCheck) -> &'a [String] {
    match operand {
        Operand::Attribute(attribute) => values(attribute, access),
        Operand::Values(values) => values,
    }
}

fn values<'a>(attribute: &Attribute, access: &'a AccessCheck) -> &'a [String] {
    access.values(attribute.source, &attribute.name)
}
