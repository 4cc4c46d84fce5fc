//! The `$filter` texts that ARM documents for role assignments and role definitions.

use uuid::Uuid;

/// A part of a filter that the simulator does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown filter {term:?}")]
pub struct FilterError {
    pub term: String,
}

impl FilterError {
    fn unknown(term: &str) -> Self {
        Self { term: term.to_owned() }
    }
}

/// A filter over role assignments or deny assignments. Empty: at, above and below the scope.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AssignmentFilter {
    /// `atScope()`: at the scope or above it, nothing below.
    pub at_scope: bool,
    /// `principalId eq '…'` or `assignedTo('…')`. Group membership is not resolved.
    pub principal: Option<Uuid>,
}

impl AssignmentFilter {
    /// Parses a filter.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        for term in terms(text) {
            if term.eq_ignore_ascii_case("atScope()") {
                filter.at_scope = true;
            } else if let Some(id) = principal(term) {
                filter.principal = Some(id);
            } else {
                return Err(FilterError::unknown(term));
            }
        }
        Ok(filter)
    }
}

fn principal(term: &str) -> Option<Uuid> {
    let assigned_to = || term.strip_prefix("assignedTo(")?.strip_suffix(')').map(str::trim);
    let quoted = equals(term, "principalId").or_else(|| assigned_to().and_then(unquote))?;
    Uuid::try_parse(quoted).ok()
}

/// A filter over role definitions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DefinitionFilter {
    /// `roleName eq '…'`.
    pub role_name: Option<String>,
    /// `type eq '…'`: `BuiltInRole` or `CustomRole`.
    pub kind: Option<&'static str>,
}

impl DefinitionFilter {
    /// Parses a filter. `atScopeAndBelow()` selects nothing more here.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        for term in terms(text) {
            if let Some(name) = equals(term, "roleName") {
                filter.role_name = Some(name.to_owned());
            } else if let Some(kind) = equals(term, "type") {
                let known = ["BuiltInRole", "CustomRole"].into_iter().find(|known| *known == kind);
                filter.kind = Some(known.ok_or_else(|| FilterError::unknown(term))?);
            } else if term != "atScopeAndBelow()" {
                return Err(FilterError::unknown(term));
            }
        }
        Ok(filter)
    }
}

fn terms(text: &str) -> impl Iterator<Item = &str> {
    text.split(" and ").map(str::trim).filter(|term| !term.is_empty())
}

/// The literal of `attribute eq 'literal'`.
fn equals<'a>(term: &'a str, attribute: &str) -> Option<&'a str> {
    unquote(term.strip_prefix(attribute)?.trim_start().strip_prefix("eq ")?.trim())
}

fn unquote(text: &str) -> Option<&str> {
    text.strip_prefix('\'')?.strip_suffix('\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "aaaaaaaa-0000-0000-0000-000000000001";

    #[track_caller]
    fn check(text: &str, at_scope: bool, principal: bool) {
        let principal = principal.then(|| Uuid::try_parse(ID).unwrap());
        assert_eq!(AssignmentFilter::parse(text), Ok(AssignmentFilter { at_scope, principal }));
    }

    /// Facts: F-094.
    #[test]
    fn documented_filters_are_read() {
        check("", false, false);
        check("atScope()", true, false);
        check(&format!("principalId eq '{ID}'"), false, true);
        check(&format!("assignedTo('{ID}')"), false, true);
        check(&format!("atScope() and principalId eq '{ID}'"), true, true);
    }

    #[test]
    fn anything_else_is_named() {
        for text in ["roleDefinitionId eq 'x'", "principalId eq 'x'", "atScope() or atScope()"] {
            assert!(AssignmentFilter::parse(text).is_err(), "{text}");
        }
    }
}
