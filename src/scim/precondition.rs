//! Conditions of a request on the version of a resource: `If-Match` and `If-None-Match` (RFC 9110 section 13.1, RFC 7644
//! section 3.14).
//!
//! Versions are weak entity tags, so both headers compare weakly: that is what RFC 7644 needs. The strong comparison that RFC
//! 9110 has for `If-Match` would never match one of them.

use crate::scim::error::Error;
use crate::scim::schema::ResourceType;

/// The conditions of one request. The default has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    if_match: Option<VersionSet>,
    if_none_match: Option<VersionSet>,
}

/// The versions that a header names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum VersionSet {
    /// `*`: whichever the resource has.
    Any,
    /// The opaque parts of these tags, without quotes.
    OneOf(Vec<String>),
}

/// What becomes of a read whose conditions were judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadCondition {
    /// The resource is shown.
    Changed,
    /// The client has this version: 304.
    NotModified,
}

impl Preconditions {
    /// Reads the values of both headers, where they were sent. A header that is neither `*` nor a list of entity tags is 400:
    /// a write must not go ahead because its condition was not understood.
    pub fn parse(if_match: Option<&str>, if_none_match: Option<&str>) -> Result<Self, Error> {
        let header = |name, value: Option<&str>| value.map(|text| VersionSet::parse(name, text)).transpose();
        Ok(Self {
            if_match: header("If-Match", if_match)?,
            if_none_match: header("If-None-Match", if_none_match)?,
        })
    }

    /// The version that an operation of a bulk request names counts as `If-Match` (RFC 7644 section 3.7).
    pub(super) fn of_version(version: Option<&str>) -> Result<Self, Error> {
        let if_match = version.map(|text| VersionSet::parse("version", text)).transpose()?;
        Ok(Self { if_match, if_none_match: None })
    }

    /// Judges a write on a resource that has this version; 412 where a condition does not hold.
    pub(crate) fn check_write(&self, version: &str) -> Result<(), Error> {
        match self.check_read(version)? {
            ReadCondition::Changed => Ok(()),
            ReadCondition::NotModified => {
                Err(Error::precondition_failed("the resource is in a version that If-None-Match names"))
            }
        }
    }

    /// Judges a read of a resource that has this version; 412 where `If-Match` does not hold.
    pub(crate) fn check_read(&self, version: &str) -> Result<ReadCondition, Error> {
        if self.if_match.as_ref().is_some_and(|versions| !versions.contains(version)) {
            let detail =
                "the resource is not in a version that If-Match names: it was changed; read it again";
            return Err(Error::precondition_failed(detail));
        }
        match &self.if_none_match {
            Some(versions) if versions.contains(version) => Ok(ReadCondition::NotModified),
            _ => Ok(ReadCondition::Changed),
        }
    }

    /// The error about a resource that does not exist: 412 where the request requires that there is one, else 404.
    pub(crate) fn missing(&self, kind: ResourceType) -> Error {
        match self.if_match {
            Some(VersionSet::Any) => {
                let detail = format!("If-Match requires a {}, and there is none with this id", kind.name());
                Error::precondition_failed(detail)
            }
            _ => Error::no_such_resource(kind),
        }
    }
}

impl VersionSet {
    /// RFC 9110 section 13.1.1. Empty elements of the list do not count (section 5.6.1.2).
    fn parse(header: &str, text: &str) -> Result<Self, Error> {
        let malformed = || {
            Error::invalid_value(format!("{header} takes * or versions such as W/\"1\", with commas between"))
        };
        if text.trim() == "*" {
            return Ok(VersionSet::Any);
        }
        let mut tags = Vec::new();
        let mut rest = text;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if rest.is_empty() {
                break;
            }
            let (tag, after) = entity_tag(rest).ok_or_else(malformed)?;
            let after = after.trim_start_matches([' ', '\t']);
            if !after.is_empty() && !after.starts_with(',') {
                return Err(malformed());
            }
            tags.push(tag.to_owned());
            rest = after;
        }
        if tags.is_empty() { Err(malformed()) } else { Ok(VersionSet::OneOf(tags)) }
    }

    fn contains(&self, version: &str) -> bool {
        match self {
            VersionSet::Any => true,
            VersionSet::OneOf(tags) => {
                let opaque = entity_tag(version).map(|(opaque, _)| opaque);
                opaque.is_some_and(|opaque| tags.iter().any(|tag| tag == opaque))
            }
        }
    }
}

/// The opaque part of the entity tag that a text begins with, and what follows (RFC 9110 section 8.8.3).
fn entity_tag(text: &str) -> Option<(&str, &str)> {
    let quoted = text.strip_prefix("W/").unwrap_or(text).strip_prefix('"')?;
    let (opaque, after) = quoted.split_once('"')?;
    opaque.chars().all(|c| c > ' ' && c != '\u{7F}').then_some((opaque, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::error::ScimType;

    #[track_caller]
    fn names(text: &str, tags: &[&str]) {
        let versions = VersionSet::parse("If-Match", text).unwrap();
        assert_eq!(versions, VersionSet::OneOf(tags.iter().map(|tag| (*tag).to_owned()).collect()), "{text}");
    }

    #[test]
    fn a_header_is_a_star_or_a_list_of_tags() {
        assert_eq!(VersionSet::parse("If-Match", " * "), Ok(VersionSet::Any));
        names(r#"W/"7""#, &["7"]);
        names(r#""7""#, &["7"]);
        names(r#"W/"7", "8.x" ,W/"9""#, &["7", "8.x", "9"]);
        names("\t, ,W/\"7\",,\t\"8\",", &["7", "8"]);
        names(r#""a,b", """#, &["a,b", ""]);
        names("\"\u{fffd}*\"", &["\u{fffd}*"]);
    }

    #[test]
    fn anything_else_is_a_mistake() {
        let wrong = [
            "",
            " ",
            ",",
            "7",
            "W/7",
            r#"w/"7""#,
            r#"W/ "7""#,
            r#"W/"7"#,
            r#"7""#,
            r#""7" "8""#,
            r#""7"8"#,
            r#"*, "7""#,
            r#""7", *"#,
            "*, *",
            r#""a b""#,
            "\"a\u{7F}\"",
            "'7'",
            r#"W/W/"7""#,
            "**",
        ];
        for text in wrong {
            let error = Preconditions::parse(None, Some(text)).unwrap_err();
            assert_eq!((error.status, error.scim_type), (400, Some(ScimType::InvalidValue)), "{text}");
            assert!(error.detail.starts_with("If-None-Match takes"), "{}", error.detail);
            assert_eq!(Preconditions::parse(Some(text), None).unwrap_err().status, 400, "{text}");
        }
    }

    /// `Ok`: what becomes of a read. The status where it is refused.
    fn read(if_match: Option<&str>, if_none_match: Option<&str>) -> Result<ReadCondition, u16> {
        let preconditions = Preconditions::parse(if_match, if_none_match).unwrap();
        preconditions.check_read(r#"W/"7.0198-ab""#).map_err(|error| error.status)
    }

    fn write(if_match: Option<&str>, if_none_match: Option<&str>) -> Result<(), u16> {
        let preconditions = Preconditions::parse(if_match, if_none_match).unwrap();
        preconditions.check_write(r#"W/"7.0198-ab""#).map_err(|error| error.status)
    }

    const OURS: Option<&str> = Some(r#"W/"7.0198-ab""#);
    const STRONG: Option<&str> = Some(r#""7.0198-ab""#);
    const LISTED: Option<&str> = Some(r#""6", W/"7.0198-ab""#);
    const OTHERS: Option<&str> = Some(r#"W/"7", W/"7.0198-a", "7.0198-abc", "*""#);
    const ANY: Option<&str> = Some("*");

    #[test]
    fn if_match_lets_the_same_version_pass_in_either_spelling() {
        for same in [None, OURS, STRONG, LISTED, ANY] {
            assert_eq!(read(same, None), Ok(ReadCondition::Changed), "{same:?}");
            assert_eq!(write(same, None), Ok(()), "{same:?}");
        }
        assert_eq!(read(OTHERS, None), Err(412));
        assert_eq!(write(OTHERS, None), Err(412));
    }

    #[test]
    fn if_none_match_stops_the_same_version_in_either_spelling() {
        for same in [OURS, STRONG, LISTED, ANY] {
            assert_eq!(read(None, same), Ok(ReadCondition::NotModified), "{same:?}");
            assert_eq!(write(None, same), Err(412), "{same:?}");
        }
        assert_eq!(read(None, OTHERS), Ok(ReadCondition::Changed));
        assert_eq!(write(None, OTHERS), Ok(()));
    }

    #[test]
    fn both_headers_count_and_if_match_comes_first() {
        assert_eq!(read(OURS, OURS), Ok(ReadCondition::NotModified));
        assert_eq!(read(OTHERS, OURS), Err(412));
        assert_eq!(write(OURS, OTHERS), Ok(()));
        assert_eq!(write(OURS, OURS), Err(412));
    }

    #[test]
    fn what_is_missing_is_404_unless_something_must_be_there() {
        let missing = |if_match, if_none_match| {
            Preconditions::parse(if_match, if_none_match).unwrap().missing(ResourceType::User).status
        };
        assert_eq!(missing(None, None), 404);
        assert_eq!(missing(OURS, None), 404);
        assert_eq!(missing(None, ANY), 404);
        assert_eq!(missing(ANY, None), 412);
    }
}
