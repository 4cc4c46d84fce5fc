//! The binding of drills, as packaging adds it.

use super::mistake::{BindingsMistakes, JsonPointer};
use super::{Bindings, BindingsError, ConfiguredBinding, Selector};
use crate::rbac::{BackupRole, DRILL_BINDING};
use serde_json::{Value, json};

/// The `externalId` of the group of drills.
pub const DRILL_GROUP: &str = "azure-backup-scim-drill";

/// The file with that binding too. What is no file stays as it is: reading it says what is wrong.
pub fn with_drill(bytes: &[u8], scope: &str) -> Vec<u8> {
    let Ok(mut file) = serde_json::from_slice::<Value>(bytes) else { return bytes.to_vec() };
    let Some(list) = file.get_mut("bindings").and_then(Value::as_array_mut) else { return bytes.to_vec() };
    list.push(json!({
        "name": DRILL_BINDING,
        "group": { "externalId": DRILL_GROUP },
        "role": BackupRole::Reader.name(),
        "scope": scope,
    }));
    format!("{file:#}\n").into_bytes()
}

impl ConfiguredBinding {
    /// Whether drills go through it: its group exists only while one runs. The name alone does not make it that.
    pub fn is_drill(&self) -> bool {
        let is_for_drills = matches!(&self.selector, Selector::ExternalId(value) if value == DRILL_GROUP);
        self.name.is_of_drills() && is_for_drills && self.role == BackupRole::Reader
    }
}

impl Bindings {
    /// Reads a file that is to be packaged. Another binding with the name of that of drills is a mistake there. A service takes
    /// it all the same, as any other: a file from before the name was reserved goes on to give and to take.
    pub fn parse_for_package(bytes: &[u8]) -> Result<Self, BindingsError> {
        let bindings = Self::parse(bytes)?;
        let mut mistakes = BindingsMistakes::default();
        let others = bindings.bindings.iter().enumerate();
        for (index, _) in others.filter(|(_, binding)| binding.name.is_of_drills() && !binding.is_drill()) {
            let what = format!(
                "\"{DRILL_BINDING}\" is reserved for the binding of drills, which gives {} to the group with the \
                 externalId \"{DRILL_GROUP}\": choose another name",
                BackupRole::Reader.name()
            );
            mistakes.add(&JsonPointer::default().key("bindings").index(index).key("name"), what);
        }
        mistakes.into_result(Some(bindings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: &str = "/subscriptions/00000000-0000-0000-0000-00000000000a/resourceGroups/rg-prod-drill";

    #[test]
    fn the_binding_is_added_to_those_of_the_file_and_only_once() {
        let file = json!({"version": 1, "retired": [format!("{SCOPE}-old")], "bindings": []}).to_string();
        let with = with_drill(file.as_bytes(), SCOPE);
        let bindings = Bindings::parse(&with).unwrap().bindings;
        assert_eq!(bindings.len(), 1);
        assert!(bindings[0].is_drill());
        assert_eq!(bindings[0].selector, Selector::ExternalId(DRILL_GROUP.to_owned()));
        assert_eq!(bindings[0].scope.as_str(), SCOPE);
        assert!(Bindings::parse(&with_drill(&with, SCOPE)).is_err());
        assert_eq!(with_drill(b"nonsense", SCOPE), b"nonsense");
    }

    #[test]
    fn a_binding_that_has_only_the_name_is_an_ordinary_one_and_is_not_packaged() {
        let file = |group: Value, role: &str| {
            let first =
                json!({"name": "a", "group": {"externalId": "a"}, "role": "Backup Reader", "scope": SCOPE});
            let second = json!({"name": "drill", "group": group, "role": role, "scope": SCOPE});
            json!({"version": 1, "bindings": [first, second]}).to_string()
        };
        let own = json!({"externalId": DRILL_GROUP});
        let named = json!({"displayName": DRILL_GROUP, "allowDisplayName": true});
        let others = [
            (own.clone(), "Backup Operator"),
            (json!({"externalId": "b"}), "Backup Reader"),
            (named, "Backup Reader"),
        ];
        for (group, role) in others {
            let text = file(group, role);
            assert!(!Bindings::parse(text.as_bytes()).unwrap().bindings[1].is_drill(), "{text}");
            let mistakes = Bindings::parse_for_package(text.as_bytes()).unwrap_err().mistakes;
            let places: Vec<&str> = mistakes.iter().map(|mistake| mistake.place.as_str()).collect();
            assert_eq!(places, ["/bindings/1/name"]);
            assert!(mistakes[0].text.contains("is reserved for the binding of drills"), "{mistakes:?}");
        }
        assert!(
            Bindings::parse_for_package(file(own, "Backup Reader").as_bytes()).unwrap().bindings[1]
                .is_drill()
        );
        assert!(Bindings::parse_for_package(b"[]").is_err());
    }
}
