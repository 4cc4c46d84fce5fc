//! Dates and times as clients write them (RFC 7643 section 2.3.5).

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Without a zone the text is taken for UTC.
pub(super) fn parse(text: &str) -> Option<OffsetDateTime> {
    let parse = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    parse(text).or_else(|| parse(&format!("{text}Z")))
}
