//! Row keys as design.md writes them down, made here once more: what the store makes of them is compared with that.

use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use time::OffsetDateTime;

fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The pin of a selector.
pub fn selector(attribute: &str, value: &str) -> String {
    format!("b:{}", hash(&format!("{attribute}\n{value}")))
}

/// The index of a group's externalId.
pub fn group_external_prefix(text: &str) -> String {
    format!("gx:{}:", hash(text))
}

/// The owner of a group's displayName, which is in lower case already.
pub fn group_name(text: &str) -> String {
    format!("gn:{}", hash(text))
}

/// The id at the end of a key.
pub fn last_part(key: &str) -> &str {
    key.rsplit(':').next().unwrap()
}

/// The time in the key of a request of later.
pub fn request_time(key: &str) -> OffsetDateTime {
    azure_backup_scim::id::parse_stamp(key.split(':').nth(1).unwrap()).unwrap()
}
