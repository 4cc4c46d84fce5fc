//! Scopes as people call them.

use crate::error_chain::escape_control;
use crate::rbac::arm_scope::ArmScope;
use std::collections::BTreeMap;

/// Short names for the scopes of one output: as short as they can be without two of them being called the same.
pub(super) struct ShortScopes(BTreeMap<ArmScope, String>);

impl ShortScopes {
    pub(super) fn of<'a>(scopes: impl IntoIterator<Item = &'a ArmScope>) -> Self {
        let scopes: Vec<&ArmScope> = scopes.into_iter().collect();
        let mut called: BTreeMap<String, Vec<&ArmScope>> = BTreeMap::new();
        for scope in scopes {
            let same = called.entry(short(scope)).or_default();
            if !same.contains(&scope) {
                same.push(scope);
            }
        }
        let names = called.into_iter().flat_map(|(name, scopes)| {
            let is_only = scopes.len() == 1;
            scopes.into_iter().map(move |scope| {
                (scope.clone(), if is_only { name.clone() } else { scope.as_str().to_owned() })
            })
        });
        Self(names.map(|(scope, name)| (scope, escape_control(&name))).collect())
    }

    /// What that scope is called; whole where it was not among them.
    pub(super) fn name(&self, scope: &ArmScope) -> String {
        self.0.get(scope).cloned().unwrap_or_else(|| escape_control(scope.as_str()))
    }
}

/// What a scope is called where nothing tells two of one name apart.
pub(super) fn short(scope: &ArmScope) -> String {
    let parts: Vec<&str> = scope.as_str().split('/').skip(1).collect();
    match parts.as_slice() {
        [""] => "tenant root".to_owned(),
        [_, id] => format!("subscription {id}"),
        [first, _, _, name] if first.eq_ignore_ascii_case("providers") => format!("management group {name}"),
        [_, _, _, group] => format!("resource group {group}"),
        [.., name] => (*name).to_owned(),
        [] => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIPTION: &str = "/subscriptions/00000000-0000-0000-0000-000000000001";

    #[track_caller]
    fn check(scopes: &[&str], expected: &[&str]) {
        let scopes: Vec<ArmScope> = scopes.iter().map(|text| ArmScope::parse(text).unwrap()).collect();
        let short = ShortScopes::of(&scopes);
        assert_eq!(scopes.iter().map(|scope| short.name(scope)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_scope_is_called_by_its_own_name() {
        let vault =
            format!("{SUBSCRIPTION}/resourceGroups/a/providers/Microsoft.RecoveryServices/vaults/east");
        let group = format!("{SUBSCRIPTION}/resourceGroups/a");
        check(
            &["/", "/providers/Microsoft.Management/managementGroups/m", SUBSCRIPTION, &group, &vault],
            &[
                "tenant root",
                "management group m",
                "subscription 00000000-0000-0000-0000-000000000001",
                "resource group a",
                "east",
            ],
        );
    }

    #[test]
    fn two_scopes_of_one_name_are_told_in_full() {
        let vault = |group: &str| {
            format!("{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.RecoveryServices/vaults/east")
        };
        check(&[&vault("a"), &vault("b"), &vault("a")], &[&vault("a"), &vault("b"), &vault("a")]);
    }
}
