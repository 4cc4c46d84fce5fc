//! Versions of resources, as weak entity tags (RFC 7644 section 3.14).

/// The version of a resource: its revision and, where others touched it since, the last touch.
pub fn version(revision: i64, touch: Option<&str>) -> String {
    match touch {
        None => format!("W/\"{revision}\""),
        Some(touch) => {
            let plain: String =
                touch.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.:".contains(*c)).collect();
            format!("W/\"{revision}.{plain}\"")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_weak_tag_of_revision_and_touch() {
        assert_eq!(version(7, None), "W/\"7\"");
        assert_eq!(version(7, Some("0198-ab")), "W/\"7.0198-ab\"");
        assert_eq!(version(7, Some("a\" b")), "W/\"7.ab\"");
    }
}
