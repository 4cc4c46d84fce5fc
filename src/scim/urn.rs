//! The URNs that name schemas and messages (RFC 7643 section 10, RFC 7644 section 8.2).

/// The core User schema (RFC 7643 section 4.1).
pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// The core Group schema (RFC 7643 section 4.2).
pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// The enterprise User extension (RFC 7643 section 4.3).
pub const ENTERPRISE_USER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
/// Our own User extension: the Entra object, and what this service granted.
pub const BACKUP_USER: &str = "urn:ietf:params:scim:schemas:extension:azurebackup:2.0:User";
/// The schema of a schema (RFC 7643 section 7).
pub const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";
/// The schema of a resource type (RFC 7643 section 6).
pub const RESOURCE_TYPE: &str = "urn:ietf:params:scim:schemas:core:2.0:ResourceType";
/// The schema of the service provider's configuration (RFC 7643 section 5).
pub const SERVICE_PROVIDER_CONFIG: &str = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig";
/// The answer to a query (RFC 7644 section 3.4.2).
pub const LIST_RESPONSE: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
/// The answer to a bulk request (RFC 7644 section 3.7.3).
pub const BULK_RESPONSE: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";
/// An error answer (RFC 7644 section 3.12).
pub const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// What follows `urn` and a colon in `text`, the case of the URN aside; `Some("")` for the URN alone.
pub(super) fn strip<'a>(text: &'a str, urn: &str) -> Option<&'a str> {
    let head = text.get(..urn.len())?;
    let rest = text.get(urn.len()..)?;
    match rest.strip_prefix(':') {
        _ if !head.eq_ignore_ascii_case(urn) => None,
        None if rest.is_empty() => Some(""),
        after => after,
    }
}

/// What follows `urn` in `text` however it is set apart, the case of the URN aside; a longer URN is another one.
pub(super) fn after<'a>(text: &'a str, urn: &str) -> Option<&'a str> {
    let head = text.get(..urn.len())?;
    let rest = text.get(urn.len()..)?;
    let same = head.eq_ignore_ascii_case(urn) && !rest.starts_with(char::is_alphanumeric);
    same.then(|| rest.trim_start_matches(|c: char| !c.is_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, rest: Option<&str>) {
        assert_eq!(strip(text, USER), rest, "{text}");
    }

    #[test]
    fn a_urn_is_stripped_whatever_its_case() {
        check("urn:ietf:params:scim:schemas:core:2.0:User:userName", Some("userName"));
        check("URN:IETF:params:scim:schemas:core:2.0:user:name.givenName", Some("name.givenName"));
        check("urn:ietf:params:scim:schemas:core:2.0:User", Some(""));
        check("urn:ietf:params:scim:schemas:core:2.0:Username", None);
        check("urn:ietf:params:scim:schemas:core:2.0:Group:displayName", None);
        check("ürn", None);
    }

    #[test]
    fn what_follows_a_urn_is_found_however_it_is_set_apart() {
        assert_eq!(after("URN:ietf:params:scim:schemas:core:2.0:User.active", USER), Some("active"));
        assert_eq!(after(USER, USER), Some(""));
        assert_eq!(after("urn:ietf:params:scim:schemas:core:2.0:Users:active", USER), None);
        assert_eq!(after(GROUP, USER), None);
    }
}
