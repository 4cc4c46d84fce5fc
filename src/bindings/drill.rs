//! The binding of drills, as packaging adds it.

use serde_json::{Value, json};

/// The `externalId` of the group of drills.
pub const DRILL_GROUP: &str = "azure-backup-scim-drill";

/// The file with that binding too. What is no file stays as it is: reading it says what is wrong.
pub fn with_drill(bytes: &[u8], scope: &str) -> Vec<u8> {
    let Ok(mut file) = serde_json::from_slice::<Value>(bytes) else { return bytes.to_vec() };
    let Some(list) = file.get_mut("bindings").and_then(Value::as_array_mut) else { return bytes.to_vec() };
    list.push(json!({
        "name": crate::rbac::DRILL_BINDING,
        "group": { "externalId": DRILL_GROUP },
        "role": "Backup Reader",
        "scope": scope,
    }));
    format!("{file:#}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::{Bindings, Selector};

    const SCOPE: &str = "/subscriptions/00000000-0000-0000-0000-00000000000a/resourceGroups/rg-prod-drill";

    #[test]
    fn the_binding_is_added_to_those_of_the_file_and_only_once() {
        let file = json!({"version": 1, "retired": [format!("{SCOPE}-old")], "bindings": []}).to_string();
        let with = with_drill(file.as_bytes(), SCOPE);
        let bindings = Bindings::parse(&with).unwrap().bindings;
        assert_eq!(bindings.len(), 1);
        assert!(bindings[0].name.is_drill());
        assert_eq!(bindings[0].selector, Selector::ExternalId(DRILL_GROUP.to_owned()));
        assert_eq!(bindings[0].scope.as_str(), SCOPE);
        assert!(Bindings::parse(&with_drill(&with, SCOPE)).is_err());
        assert_eq!(with_drill(b"nonsense", SCOPE), b"nonsense");
    }
}
