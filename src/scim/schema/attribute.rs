//! Attributes and their characteristics (RFC 7643 sections 2.2, 2.3 and 7).

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
pub(in crate::scim) fn find(attributes: &'static [Attribute], name: &str) -> Option<&'static Attribute> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

/// The data types that occur (RFC 7643 section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
pub enum Mutability {
    ReadOnly,
    ReadWrite,
    Immutable,
    WriteOnly,
}

/// When an attribute is in an answer (RFC 7643 section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returned {
    Always,
    Never,
    Default,
    Request,
}

/// How far a value is unique (RFC 7643 section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    pub(super) const fn boolean(name: &'static str, description: &'static str) -> Self {
        Self { kind: AttributeType::Boolean, ..Self::string(name, description) }
    }

    pub(super) const fn date_time(name: &'static str, description: &'static str) -> Self {
        Self { kind: AttributeType::DateTime, ..Self::string(name, description) }
    }

    pub(super) const fn reference(
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

    pub(super) const fn binary(name: &'static str, description: &'static str) -> Self {
        Self { kind: AttributeType::Binary, case_exact: true, ..Self::string(name, description) }
    }

    pub(super) const fn complex(
        name: &'static str,
        sub_attributes: &'static [Attribute],
        description: &'static str,
    ) -> Self {
        Self { kind: AttributeType::Complex, sub_attributes, ..Self::string(name, description) }
    }

    pub(super) const fn multi(self) -> Self {
        Self { multi_valued: true, ..self }
    }

    pub(super) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub(super) const fn exact(self) -> Self {
        Self { case_exact: true, ..self }
    }

    pub(super) const fn plain(self) -> Self {
        Self { plain_text: true, ..self }
    }

    pub(super) const fn deciding(self) -> Self {
        Self { deciding: true, ..self }
    }

    pub(super) const fn multi_line(self) -> Self {
        Self { multi_line: true, ..self }
    }

    pub(super) const fn own_id(self) -> Self {
        Self { own_id: true, ..self.exact() }
    }

    pub(super) const fn unique(self) -> Self {
        Self { uniqueness: Uniqueness::Server, ..self }
    }

    pub(super) const fn mutability(self, mutability: Mutability) -> Self {
        Self { mutability, ..self }
    }

    pub(super) const fn read_only(self) -> Self {
        self.mutability(Mutability::ReadOnly)
    }

    pub(super) const fn returned(self, returned: Returned) -> Self {
        Self { returned, ..self }
    }

    pub(super) const fn canonical(self, canonical_values: &'static [&'static str]) -> Self {
        Self { canonical_values, ..self }
    }

    /// The sub-attribute of that name, in any case.
    pub fn sub(&self, name: &str) -> Option<&'static Attribute> {
        find(self.sub_attributes, name)
    }

    /// The sub-attribute that is compared for the whole (RFC 7643 section 2.4).
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
