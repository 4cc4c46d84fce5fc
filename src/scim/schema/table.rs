//! The rows of the attribute table.

use crate::scim::schema::attribute::{Attribute, Mutability, Returned, Schema};
use crate::scim::urn;

const TYPE_MAIL: &[&str] = &["work", "home", "other"];
const TYPE_PHONE: &[&str] = &["work", "home", "mobile", "fax", "pager", "other"];
const TYPE_IM: &[&str] = &["aim", "gtalk", "icq", "xmpp", "msn", "skype", "qq", "yahoo"];

/// Attributes of every resource, which no schema lists (RFC 7643 section 3.1).
pub const COMMON: &[Attribute] = &[
    Attribute::reference("schemas", &["uri"], "The URNs of the schemas whose attributes are present.")
        .multi()
        .required()
        .returned(Returned::Always),
    Attribute::string("id", "The identifier that this service gave the resource.")
        .own_id()
        .read_only()
        .unique()
        .returned(Returned::Always),
    Attribute::string("externalId", "The identifier that the identity provider gave the resource.")
        .exact()
        .deciding(),
    Attribute::complex("meta", META, "What this service knows about the resource itself.").read_only(),
];

const META: &[Attribute] = &[
    Attribute::string("resourceType", "The kind of resource.").exact().read_only(),
    Attribute::date_time("created", "When it was created.").read_only(),
    Attribute::date_time("lastModified", "When it was last changed.").read_only(),
    Attribute::reference("location", &["uri"], "The address of the resource.").read_only(),
    Attribute::string("version", "The version, as a weak entity tag.").exact().read_only(),
];

/// RFC 7643 section 4.1.
pub(super) const USER: Schema =
    Schema { urn: urn::USER, name: "User", description: "User Account", attributes: USER_ATTRIBUTES };

const USER_ATTRIBUTES: &[Attribute] = &[
    Attribute::string("userName", "The name the user signs in with; unique, whatever its case.")
        .required()
        .unique()
        .plain()
        .deciding(),
    Attribute::complex("name", NAME, "The parts of the user's name."),
    Attribute::string("displayName", "The name to show for the user."),
    Attribute::string("nickName", "What the user is called casually."),
    Attribute::reference("profileUrl", &["external"], "A page about the user."),
    Attribute::string("title", "The user's job title."),
    Attribute::string(
        "userType",
        "How the user relates to the organisation, such as employee or contractor.",
    )
    .deciding(),
    Attribute::string("preferredLanguage", "The user's preferred languages, as in Accept-Language."),
    Attribute::string("locale", "The language tag by which dates, numbers and currency are written."),
    Attribute::string("timezone", "The user's time zone, from the IANA database."),
    Attribute::boolean("active", "Whether the user may hold access; an inactive user holds none.").deciding(),
    Attribute::string("password", "Accepted and forgotten; this service signs nobody in.")
        .exact()
        .mutability(Mutability::WriteOnly)
        .returned(Returned::Never),
    Attribute::complex("emails", EMAIL, "The user's mail addresses.").multi(),
    Attribute::complex("phoneNumbers", PHONE, "The user's telephone numbers.").multi(),
    Attribute::complex("ims", IM, "The user's instant messaging addresses.").multi(),
    Attribute::complex("photos", PHOTO, "Pictures of the user.").multi(),
    Attribute::complex("addresses", ADDRESS, "The user's postal addresses.").multi(),
    Attribute::complex(
        "groups",
        GROUP_OF_USER,
        "The groups the user is in, directly or through other groups.",
    )
    .multi()
    .read_only(),
    Attribute::complex("entitlements", PLAIN_VALUE, "Things the user is entitled to elsewhere.").multi(),
    Attribute::complex("roles", PLAIN_VALUE, "Roles of the user elsewhere; they grant nothing here.").multi(),
    Attribute::complex("x509Certificates", CERTIFICATE, "The user's certificates.").multi(),
];

const NAME: &[Attribute] = &[
    Attribute::string("formatted", "The full name, ready to show."),
    Attribute::string("familyName", "The family name."),
    Attribute::string("givenName", "The given name."),
    Attribute::string("middleName", "The middle names."),
    Attribute::string("honorificPrefix", "What stands before the name, such as Dr."),
    Attribute::string("honorificSuffix", "What stands after the name, such as III."),
];

const DISPLAY: Attribute = Attribute::string("display", "A label for people.");
const PRIMARY: Attribute = Attribute::boolean("primary", "Whether this value is preferred; at most one is.");

/// The `type` sub-attribute with its suggested values.
const fn value_type(canonical_values: &'static [&'static str]) -> Attribute {
    Attribute::string("type", "What the value is used for.").canonical(canonical_values)
}

const EMAIL: &[Attribute] =
    &[Attribute::string("value", "The mail address."), DISPLAY, value_type(TYPE_MAIL), PRIMARY];

const PHONE: &[Attribute] =
    &[Attribute::string("value", "The telephone number."), DISPLAY, value_type(TYPE_PHONE), PRIMARY];

const IM: &[Attribute] =
    &[Attribute::string("value", "The messaging address."), DISPLAY, value_type(TYPE_IM), PRIMARY];

const PHOTO: &[Attribute] = &[
    Attribute::reference("value", &["external"], "The address of the picture."),
    DISPLAY,
    value_type(&["photo", "thumbnail"]),
    PRIMARY,
];

const PLAIN_VALUE: &[Attribute] =
    &[Attribute::string("value", "The value."), DISPLAY, value_type(&[]), PRIMARY];

const CERTIFICATE: &[Attribute] =
    &[Attribute::binary("value", "The certificate, DER in base64."), DISPLAY, value_type(&[]), PRIMARY];

const ADDRESS: &[Attribute] = &[
    Attribute::string("formatted", "The full address, ready to show.").multi_line(),
    Attribute::string("streetAddress", "Street and house number.").multi_line(),
    Attribute::string("locality", "The town."),
    Attribute::string("region", "The state or region."),
    Attribute::string("postalCode", "The postal code."),
    Attribute::string("country", "The country, as an ISO 3166-1 code."),
    value_type(TYPE_MAIL),
    PRIMARY,
];

const GROUP_OF_USER: &[Attribute] = &[
    Attribute::string("value", "The id of the group.").own_id().read_only(),
    Attribute::reference("$ref", &["Group"], "The address of the group.").read_only(),
    Attribute::string("display", "The name of the group.").read_only(),
    Attribute::string("type", "Whether the user is a member itself or through another group.")
        .canonical(&["direct", "indirect"])
        .read_only(),
];

/// RFC 7643 section 4.3.
pub(super) const ENTERPRISE_USER: Schema = Schema {
    urn: urn::ENTERPRISE_USER,
    name: "EnterpriseUser",
    description: "Enterprise User",
    attributes: &[
        Attribute::string("employeeNumber", "The number the organisation gave the user."),
        Attribute::string("costCenter", "The cost centre."),
        Attribute::string("organization", "The organisation."),
        Attribute::string("division", "The division."),
        Attribute::string("department", "The department."),
        Attribute::complex("manager", MANAGER, "The user's manager."),
    ],
};

const MANAGER: &[Attribute] = &[
    Attribute::string("value", "The id of the manager."),
    Attribute::reference("$ref", &["User"], "The address of the manager."),
    Attribute::string("displayName", "The name of the manager.").read_only(),
];

/// Our own extension: which Entra object a user is, and what it was granted.
pub(super) const BACKUP_USER: Schema = Schema {
    urn: urn::BACKUP_USER,
    name: "AzureBackupUser",
    description: "The Entra object of a user, and its backup roles in Azure.",
    attributes: &[
        Attribute::string("entraObjectId", "The object id of the user in Microsoft Entra ID, a GUID.")
            .deciding(),
        Attribute::complex("grants", GRANT, "The backup roles that are wanted for the user or held.")
            .multi()
            .read_only()
            .returned(Returned::Request),
        Attribute::string("grantState", "The worst state among the grants.")
            .canonical(GRANT_STATES)
            .read_only()
            .returned(Returned::Request),
    ],
};

const GRANT_STATES: &[&str] =
    &["held", "held-by-other", "granting", "revoking", "waiting", "refused", "failed"];

const GRANT: &[Attribute] = &[
    Attribute::string("binding", "The binding that gives the role.").exact().read_only(),
    Attribute::string("role", "The backup role.").read_only(),
    Attribute::string("scope", "The Azure resource the role is for.").read_only(),
    Attribute::boolean("wanted", "Whether the user should hold it.").read_only(),
    Attribute::boolean("holds", "Whether the user holds it, as far as is known.").read_only(),
    Attribute::boolean("settled", "Whether that is certain: no call to Azure is under way.").read_only(),
    Attribute::string("state", "How far the grant or the revocation is.").canonical(GRANT_STATES).read_only(),
    Attribute::string("reason", "Why it is in that state.").read_only(),
    Attribute::string("path", "How the user is in the group of the binding, through other groups or not.")
        .read_only(),
    Attribute::date_time("since", "Since when it is wanted, or not wanted any more.").read_only(),
];

/// RFC 7643 section 4.2. Of a member only what section 8.7.1 lists: its name is not kept here.
pub(super) const GROUP: Schema = Schema {
    urn: urn::GROUP,
    name: "Group",
    description: "Group",
    attributes: &[
        Attribute::string("displayName", "The name of the group; unique, whatever its case.")
            .required()
            .unique()
            .deciding(),
        Attribute::complex("members", MEMBER, "Who is in the group.").multi().deciding(),
    ],
};

const MEMBER: &[Attribute] = &[
    Attribute::string("value", "The id of the member.").own_id().mutability(Mutability::Immutable),
    Attribute::reference("$ref", &["User", "Group"], "The address of the member.")
        .mutability(Mutability::Immutable),
    Attribute::string("type", "The kind of member.")
        .canonical(&["User", "Group"])
        .mutability(Mutability::Immutable),
];
