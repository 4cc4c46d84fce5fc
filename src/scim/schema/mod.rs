//! The attribute table (RFC 7643 sections 2.2, 4 and 7): what each attribute is, in one place.
//!
//! Validation, PATCH, filters, sorting, projection and the `/Schemas` answer read it. There is no second list.

mod attribute;
mod table;

pub(super) use attribute::find;
pub(crate) use attribute::{Attribute, AttributeType, Mutability, Returned, Schema, Uniqueness};
pub use table::COMMON;

/// The two kinds of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceType {
    /// A person, or a machine that acts like one.
    User,
    /// A set of users and groups.
    Group,
}

impl ResourceType {
    /// The name under `meta.resourceType`.
    pub const fn name(self) -> &'static str {
        match self {
            ResourceType::User => "User",
            ResourceType::Group => "Group",
        }
    }

    /// The kind that is not this one.
    pub const fn other(self) -> Self {
        match self {
            ResourceType::User => ResourceType::Group,
            ResourceType::Group => ResourceType::User,
        }
    }

    /// The last segment of the endpoint.
    pub const fn endpoint(self) -> &'static str {
        match self {
            ResourceType::User => "Users",
            ResourceType::Group => "Groups",
        }
    }

    /// The URN of the core schema.
    pub const fn schema(self) -> &'static str {
        self.core().urn
    }

    /// The core schema.
    pub const fn core(self) -> &'static Schema {
        match self {
            ResourceType::User => &table::USER,
            ResourceType::Group => &table::GROUP,
        }
    }

    /// The extensions a resource of this kind may carry.
    pub const fn extensions(self) -> &'static [&'static Schema] {
        match self {
            ResourceType::User => &[&table::ENTERPRISE_USER, &table::BACKUP_USER],
            ResourceType::Group => &[],
        }
    }

    /// The extension of that URN, in any case.
    pub fn extension(self, urn: &str) -> Option<&'static Schema> {
        self.extensions().iter().copied().find(|schema| schema.urn.eq_ignore_ascii_case(urn))
    }
}

/// Every schema that `/Schemas` lists.
pub const SCHEMAS: [&Schema; 4] = [&table::USER, &table::ENTERPRISE_USER, &table::BACKUP_USER, &table::GROUP];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::urn;

    #[track_caller]
    fn check(attributes: &[Attribute], above: &str) {
        for attribute in attributes {
            let name = format!("{above}{}", attribute.name);
            assert_eq!(
                attribute.kind == AttributeType::Complex,
                !attribute.sub_attributes.is_empty(),
                "{name}"
            );
            assert_eq!(
                attribute.kind == AttributeType::Reference,
                !attribute.reference_types.is_empty(),
                "{name}"
            );
            assert!(attribute.description.ends_with('.'), "{name} needs a sentence");
            let twins = attributes.iter().filter(|other| other.name.eq_ignore_ascii_case(attribute.name));
            assert_eq!(twins.count(), 1, "{name} occurs twice");
            check(attribute.sub_attributes, &format!("{name}."));
        }
    }

    #[test]
    fn the_table_is_consistent() {
        check(COMMON, "");
        for schema in SCHEMAS {
            check(schema.attributes, &format!("{}:", schema.urn));
        }
    }

    #[test]
    fn names_are_found_in_any_case() {
        let core = ResourceType::User.core();
        assert_eq!(core.attribute("USERNAME").map(|a| a.name), Some("userName"));
        assert_eq!(core.attribute("emails").and_then(|a| a.sub("Type")).map(|a| a.name), Some("type"));
        assert_eq!(core.attribute("manager"), None);
        assert!(ResourceType::User.extension(&urn::ENTERPRISE_USER.to_uppercase()).is_some());
        assert!(ResourceType::Group.extension(urn::ENTERPRISE_USER).is_none());
    }
}
