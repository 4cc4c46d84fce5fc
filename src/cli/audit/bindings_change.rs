//! What changed from one file of bindings to the next, for the record that says that it did.

use crate::bindings::{Bindings, ConfiguredBinding};
use crate::error_chain::escape_control;
use crate::rbac::Scope;
use std::collections::BTreeMap;

/// A line for each binding and each retired scope that is not as it was.
pub(super) fn lines(before: &Bindings, after: &Bindings) -> Vec<String> {
    let by_name = |bindings: &'_ Bindings| -> BTreeMap<String, String> {
        let named = bindings.bindings.iter().map(|binding| (binding.name.to_string(), described(binding)));
        named.collect()
    };
    let (old, new) = (by_name(before), by_name(after));
    let mut lines = Vec::new();
    for (name, now) in &new {
        match old.get(name) {
            None => lines.push(format!("added binding {name}: {now}")),
            Some(was) if was != now => lines.push(format!("changed binding {name}: {now}; before: {was}")),
            Some(_) => {}
        }
    }
    let gone = old.iter().filter(|(name, _)| !new.contains_key(*name));
    lines.extend(gone.map(|(name, was)| format!("removed binding {name}: {was}")));
    let is_new = |scopes: &[Scope], scope: &&Scope| !scopes.contains(scope);
    let retired = after.retired.iter().filter(|scope| is_new(&before.retired, scope));
    lines.extend(retired.map(|scope| format!("retired {scope}")));
    let dropped = before.retired.iter().filter(|scope| is_new(&after.retired, scope));
    lines.extend(dropped.map(|scope| format!("no longer retired: {scope}")));
    lines.iter().map(|line| escape_control(line)).collect()
}

fn described(binding: &ConfiguredBinding) -> String {
    let ConfiguredBinding { selector, condition, role, scope, limits, .. } = binding;
    let (attribute, value) = (selector.attribute(), selector.value());
    let condition = condition.as_ref().map(|filter| format!(" where {filter}")).unwrap_or_default();
    let (most, hourly) = (limits.max_principals, limits.new_grants_max);
    format!(
        "{role} at {scope} for the group whose {attribute} is {value:?}{condition}, at most {most} people, {hourly} new ones an hour"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup";

    fn file(bindings: &[Value], retired: &[&str]) -> Bindings {
        let file = json!({ "version": 1, "retired": retired, "bindings": bindings });
        Bindings::parse(file.to_string().as_bytes()).unwrap()
    }

    fn binding(name: &str, role: &str) -> Value {
        json!({ "name": name, "group": { "externalId": name }, "role": role, "scope": GROUP })
    }

    #[test]
    fn what_is_not_as_it_was_has_a_line() {
        let (reader, operator) = (binding("a", "Backup Reader"), binding("a", "Backup Operator"));
        let (kept, other) = (binding("b", "Backup Reader"), binding("c", "Backup Contributor"));
        let west = format!("{GROUP}2");
        let before = file(&[reader, kept.clone(), other], &[]);
        let after = file(&[operator, kept, binding("d", "Backup Reader")], &[&west]);
        let lines = lines(&before, &after);
        assert_eq!(lines.len(), 4, "{lines:#?}");
        assert!(
            lines[0].starts_with("changed binding a: Backup Operator at ")
                && lines[0].contains("before: Backup Reader")
        );
        assert!(lines[1].starts_with("added binding d: Backup Reader at "));
        assert!(lines[2].starts_with("removed binding c: Backup Contributor at "));
        assert_eq!(lines[3], format!("retired {west}"));
    }

    #[test]
    fn the_same_file_has_no_line() {
        let same = file(&[binding("a", "Backup Reader")], &[]);
        assert_eq!(lines(&same, &same), Vec::<String>::new());
    }
}
