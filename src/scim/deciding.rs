//! The attributes that access can depend on. A mistake in one of them refuses the request; a mistake anywhere else is
//! dropped, so that it never keeps in who was to leave.

use crate::scim::attr_path::AttrPath;
use crate::scim::filter::Filter;
use crate::scim::schema::{ResourceType, Schema};

/// What the attribute table says, and beside it the attributes of people that the conditions of bindings read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DecidingAttributes {
    /// The extension, none for the core schema; and the name.
    read: Vec<(Option<&'static str>, &'static str)>,
}

impl DecidingAttributes {
    /// What these conditions read.
    pub fn of<'a>(conditions: impl IntoIterator<Item = &'a Filter>) -> Self {
        let paths = conditions.into_iter().flat_map(Filter::attributes);
        let mut read: Vec<_> = paths.map(|path| named(&path)).collect();
        read.sort_unstable();
        read.dedup();
        Self { read }
    }

    /// Is that attribute one of them?
    pub(super) fn holds(&self, kind: ResourceType, path: &AttrPath) -> bool {
        path.attribute.deciding || (kind == ResourceType::User && self.read.contains(&named(path)))
    }

    /// Has that extension one of them?
    pub(super) fn holds_some_of(&self, schema: &Schema) -> bool {
        let read = |name: &str| self.read.iter().any(|(urn, read)| *urn == Some(schema.urn) && *read == name);
        schema.attributes.iter().any(|attribute| attribute.deciding || read(attribute.name))
    }
}

fn named(path: &AttrPath) -> (Option<&'static str>, &'static str) {
    (path.extension.map(|schema| schema.urn), path.attribute.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ResourceType::{Group, User};

    #[track_caller]
    fn check(deciding: &DecidingAttributes, kind: ResourceType, name: &str, expected: bool) {
        let path = AttrPath::resolve(kind, name).unwrap();
        assert_eq!(deciding.holds(kind, &path), expected, "{name}");
    }

    #[test]
    fn names_activity_identity_and_members_always_decide() {
        let table = DecidingAttributes::default();
        for name in ["userName", "externalId", "active", "userType", "entraObjectId"] {
            check(&table, User, name, true);
        }
        for name in ["displayName", "externalId", "members"] {
            check(&table, Group, name, true);
        }
        for name in ["displayName", "emails", "department", "password", "groups"] {
            check(&table, User, name, false);
        }
    }

    #[test]
    fn what_a_condition_reads_decides_for_people() {
        let conditions = [
            "department eq \"Finance\" and not (emails[type eq \"work\"].value ew \"@x\")",
            "displayName pr or department pr",
        ];
        let filters = conditions.map(|text| Filter::parse(User, text).unwrap());
        let deciding = DecidingAttributes::of(&filters);
        for name in ["department", "emails", "emails.display", "displayName", "userName"] {
            check(&deciding, User, name, true);
        }
        check(&deciding, User, "division", false);
        check(&deciding, User, "title", false);
        let [enterprise, own] = User.extensions() else { panic!("two extensions") };
        assert!(deciding.holds_some_of(enterprise) && deciding.holds_some_of(own));
        assert!(!DecidingAttributes::default().holds_some_of(enterprise));
    }
}
