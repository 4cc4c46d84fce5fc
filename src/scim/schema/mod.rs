//! The attribute table (RFC 7643 sections 2.2, 4 and 7): what each attribute is, in one place.
//!
//! Validation, PATCH, filters, sorting, projection and the `/Schemas` answer read it. There is no second list.

mod table;

use crate::scim::urn;
pub use table::COMMON;

/// The two kinds of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// A named set of attributes.
#[derive(Debug, PartialEq)]
pub struct Schema {
    /// The URN, which is also the id.
    pub urn: &'static str,
    /// A short name for people.
    pub name: &'static str,
    /// What it describes.
    pub description: &'static str,
    /// Its attributes.
    pub attributes: &'static [Attribute],
}

impl Schema {
    /// The attribute of that name, in any case.
    pub fn attribute(&self, name: &str) -> Option<&'static Attribute> {
        find(self.attributes, name)
    }
}

/// The attribute of that name, in any case (RFC 7643 section 2.1).
pub(super) fn find(attributes: &'static [Attribute], name: &str) -> Option<&'static Attribute> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

/// The data types that occur (RFC 7643 section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the RFC's own words")]
pub enum AttributeType {
    String,
    Boolean,
    DateTime,
    Reference,
    Binary,
    Complex,
}

/// Who may write an attribute, and when (RFC 7643 section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the RFC's own words")]
pub enum Mutability {
    ReadOnly,
    ReadWrite,
    Immutable,
    WriteOnly,
}

/// When an attribute is in an answer (RFC 7643 section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the RFC's own words")]
pub enum Returned {
    Always,
    Never,
    Default,
    Request,
}

/// How far a value is unique (RFC 7643 section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the RFC's own words")]
pub enum Uniqueness {
    None,
    Server,
}

/// One attribute or sub-attribute and its characteristics (RFC 7643 section 2.2).
#[derive(Debug, PartialEq)]
pub struct Attribute {
    /// The canonical spelling.
    pub name: &'static str,
    /// The data type.
    pub kind: AttributeType,
    /// A list of values.
    pub multi_valued: bool,
    /// A resource must have it.
    pub required: bool,
    /// Compared as written.
    pub case_exact: bool,
    /// What cannot be seen is refused, because people are recognised by it.
    pub plain_text: bool,
    /// Access can depend on it: a mistake in it refuses the request, where a mistake elsewhere is dropped.
    pub deciding: bool,
    /// Line breaks are part of the value (RFC 7643 section 4.1.2).
    pub multi_line: bool,
    /// An id that this service gave; read in any case.
    pub own_id: bool,
    /// Who may write it.
    pub mutability: Mutability,
    /// When it is in an answer.
    pub returned: Returned,
    /// How far it is unique.
    pub uniqueness: Uniqueness,
    /// Suggested values; others are accepted.
    pub canonical_values: &'static [&'static str],
    /// What a reference may point at.
    pub reference_types: &'static [&'static str],
    /// The parts of a complex attribute.
    pub sub_attributes: &'static [Attribute],
    /// What it means.
    pub description: &'static str,
}

impl Attribute {
    /// A readable and writable single-valued string that compares without case.
    pub(super) const fn string(name: &'static str, description: &'static str) -> Self {
        Self {
            name,
            kind: AttributeType::String,
            multi_valued: false,
            required: false,
            case_exact: false,
            plain_text: false,
            deciding: false,
            multi_line: false,
            own_id: false,
            mutability: Mutability::ReadWrite,
            returned: Returned::Default,
            uniqueness: Uniqueness::None,
            canonical_values: &[],
            reference_types: &[],
            sub_attributes: &[],
            description,
        }
    }

    const fn boolean(name: &'static str, description: &'static str) -> Self {
        Self { kind: AttributeType::Boolean, ..Self::string(name, description) }
    }

    const fn date_time(name: &'static str, description: &'static str) -> Self {
        Self { kind: AttributeType::DateTime, ..Self::string(name, description) }
    }

    const fn reference(
        name: &'static str,
        reference_types: &'static [&'static str],
        description: &'static str,
    ) -> Self {
        Self {
            kind: AttributeType::Reference,
            case_exact: true,
            reference_types,
            ..Self::string(name, description)
        }
    }

    const fn binary(name: &'static str, description: &'static str) -> Self {
        Self { kind: AttributeType::Binary, case_exact: true, ..Self::string(name, description) }
    }

    const fn complex(
        name: &'static str,
        sub_attributes: &'static [Attribute],
        description: &'static str,
    ) -> Self {
        Self { kind: AttributeType::Complex, sub_attributes, ..Self::string(name, description) }
    }

    const fn multi(self) -> Self {
        Self { multi_valued: true, ..self }
    }

    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    const fn exact(self) -> Self {
        Self { case_exact: true, ..self }
    }

    const fn plain(self) -> Self {
        Self { plain_text: true, ..self }
    }

    const fn deciding(self) -> Self {
        Self { deciding: true, ..self }
    }

    const fn multi_line(self) -> Self {
        Self { multi_line: true, ..self }
    }

    const fn own_id(self) -> Self {
        Self { own_id: true, ..self.exact() }
    }

    const fn unique(self) -> Self {
        Self { uniqueness: Uniqueness::Server, ..self }
    }

    const fn mutability(self, mutability: Mutability) -> Self {
        Self { mutability, ..self }
    }

    const fn read_only(self) -> Self {
        self.mutability(Mutability::ReadOnly)
    }

    const fn returned(self, returned: Returned) -> Self {
        Self { returned, ..self }
    }

    const fn canonical(self, canonical_values: &'static [&'static str]) -> Self {
        Self { canonical_values, ..self }
    }

    /// The sub-attribute of that name, in any case.
    pub fn sub(&self, name: &str) -> Option<&'static Attribute> {
        find(self.sub_attributes, name)
    }

    /// The sub-attribute that stands for the whole (RFC 7643 section 2.4).
    pub fn value(&self) -> Option<&'static Attribute> {
        self.sub("value")
    }

    /// Clients may not write it.
    pub fn is_read_only(&self) -> bool {
        self.mutability == Mutability::ReadOnly
    }

    /// Accepted from clients and forgotten at once: `schemas` follows from the content, a password is not ours to keep.
    pub fn is_dropped(&self) -> bool {
        self.returned == Returned::Never || self.name == "schemas"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
