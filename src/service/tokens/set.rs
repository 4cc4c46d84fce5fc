//! The tokens that may call: hashes with labels and windows, and which versions of a secret they are made of.

use crate::ports::secrets::SecretVersion;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use subtle::ConstantTimeEq;
use time::OffsetDateTime;

/// A shorter token can be guessed.
pub const TOKEN_CHARS_MIN: usize = 32;
/// Versions of one label that are valid side by side: the newest, and the one before it while callers change over.
const OVERLAP: usize = 2;
/// Labels that are told apart. More would be more vault reads than a start can wait for.
const LABELS_MAX: usize = 16;
/// Characters of a label.
const LABEL_CHARS_MAX: usize = 64;
/// The label of a version that has none of its own.
const UNLABELLED: &str = "unlabelled";

/// What the service calls itself in audit records: no caller may bear that name.
const RESERVED: &str = "service";

/// SHA-256 of a token.
pub(super) type TokenHash = [u8; 32];

/// Why a token cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("there is no bearer token")]
    Empty,
    #[error("the bearer token labelled {label:?} has fewer than {TOKEN_CHARS_MIN} characters")]
    TooShort { label: String },
    #[error("the bearer token labelled {label:?} holds characters that no bearer token has (RFC 6750 2.1)")]
    Characters { label: String },
}

/// One token, as its hash.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct TokenEntry {
    pub(super) version: String,
    label: String,
    hash: TokenHash,
    created: OffsetDateTime,
    not_before: Option<OffsetDateTime>,
    expires: Option<OffsetDateTime>,
}

impl TokenEntry {
    /// Checks and hashes the value of a version. Line ends around it are what a file brought along.
    pub(super) fn new(version: &SecretVersion, value: &SecretString) -> Result<Self, TokenError> {
        let token = value.expose_secret().trim();
        let label = label(version);
        if token.len() < TOKEN_CHARS_MIN {
            return Err(TokenError::TooShort { label });
        }
        if !is_b64token(token) {
            return Err(TokenError::Characters { label });
        }
        Ok(Self::with_hash(version, hash(token)))
    }

    /// The same token under the attributes that its version has now.
    pub(super) fn renewed(&self, version: &SecretVersion) -> Self {
        Self::with_hash(version, self.hash)
    }

    fn with_hash(version: &SecretVersion, hash: TokenHash) -> Self {
        Self {
            version: version.id.clone(),
            label: label(version),
            hash,
            created: version.created,
            not_before: version.not_before,
            expires: version.expires,
        }
    }

    fn is_valid(&self, now: OffsetDateTime) -> bool {
        self.not_before.is_none_or(|from| from <= now) && self.expires.is_none_or(|to| now < to)
    }
}

/// The tokens that may call, by label. Holds hashes only.
#[derive(Clone, Default)]
pub struct TokenSet(pub(super) Vec<TokenEntry>);

impl TokenSet {
    /// Checks and hashes fixed tokens, each with the label that audit records show.
    pub fn new(tokens: impl IntoIterator<Item = (String, SecretString)>) -> Result<Self, TokenError> {
        let entries: Vec<_> =
            tokens.into_iter().map(|(label, token)| fixed(label, &token)).collect::<Result<_, _>>()?;
        if entries.is_empty() { Err(TokenError::Empty) } else { Ok(Self(entries)) }
    }

    /// The label of a token that is valid now. Compares with every token, whatever matches.
    pub(super) fn label_of(&self, presented: &TokenHash, now: OffsetDateTime) -> Option<&str> {
        let mut found = None;
        for entry in &self.0 {
            if bool::from(entry.hash.ct_eq(presented)) && entry.is_valid(now) {
                found = Some(entry.label.as_str());
            }
        }
        found
    }

    /// The tokens whose versions are among those, under the attributes that these have now.
    pub(super) fn renewed(&self, versions: &[&SecretVersion]) -> Self {
        let renewed = self.0.iter().filter_map(|entry| {
            let version = versions.iter().find(|version| version.id == entry.version)?;
            Some(entry.renewed(version))
        });
        Self(renewed.collect())
    }

    /// Whether any token is valid now.
    pub(super) fn is_usable(&self, now: OffsetDateTime) -> bool {
        self.0.iter().any(|entry| entry.is_valid(now))
    }

    /// When the newest valid token of each label was made, the earliest of those.
    pub(super) fn made(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let mut newest: BTreeMap<&str, OffsetDateTime> = BTreeMap::new();
        for entry in self.0.iter().filter(|entry| entry.is_valid(now)) {
            let made = newest.entry(&entry.label).or_insert(entry.created);
            *made = entry.created.max(*made);
        }
        newest.into_values().min()
    }

    /// When the last token of some label runs out, the earliest of those.
    pub(super) fn runs_out(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        self.last_ends(now).into_values().min()
    }

    /// When the last token of each label runs out. A label of which one never does is left out.
    pub(super) fn last_ends(&self, now: OffsetDateTime) -> BTreeMap<&str, OffsetDateTime> {
        let mut ends: BTreeMap<&str, Vec<Option<OffsetDateTime>>> = BTreeMap::new();
        for entry in self.0.iter().filter(|entry| entry.is_valid(now)) {
            ends.entry(&entry.label).or_default().push(entry.expires);
        }
        ends.into_iter().filter_map(|(label, ends)| Some((label, last_end(ends)?))).collect()
    }
}

/// When the last of some tokens runs out. `None`: one of them never does, or there are none.
pub(in crate::service) fn last_end(
    ends: impl IntoIterator<Item = Option<OffsetDateTime>>,
) -> Option<OffsetDateTime> {
    ends.into_iter().reduce(|one, other| Some(one?.max(other?))).flatten()
}

impl fmt::Debug for TokenSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|entry| &entry.label)).finish()
    }
}

/// SHA-256 of a token.
pub(super) fn hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

fn fixed(label: String, token: &SecretString) -> Result<TokenEntry, TokenError> {
    let version = SecretVersion {
        id: label.clone(),
        enabled: true,
        created: OffsetDateTime::UNIX_EPOCH,
        not_before: None,
        expires: None,
        label: Some(label),
    };
    TokenEntry::new(&version, token)
}

/// `b64token` of RFC 6750 2.1.
pub fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    !body.is_empty() && body.bytes().all(plain)
}

/// Which versions count: of each label the two newest by creation, and the newest one whose window is still to come. One
/// that is disabled or over is no token, and still takes its place: else disabling a leaked token would revive the one that
/// it replaced.
pub(super) fn choose(versions: &[SecretVersion], now: OffsetDateTime) -> Vec<&SecretVersion> {
    let mut chosen: Vec<_> = versions.iter().collect();
    chosen.sort_by(|one, other| other.created.cmp(&one.created).then_with(|| one.id.cmp(&other.id)));
    let mut taken: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    chosen.retain(|version| {
        let (now_valid, coming) = taken.entry(label(version)).or_default();
        let (count, most) = match version.not_before.is_some_and(|from| from > now) {
            true => (coming, 1),
            false => (now_valid, OVERLAP),
        };
        *count += 1;
        *count <= most && version.enabled && version.expires.is_none_or(|end| now < end)
    });
    let mut labels = BTreeSet::new();
    chosen.retain(|version| {
        let label = label(version);
        labels.contains(&label) || (labels.len() < LABELS_MAX && labels.insert(label))
    });
    chosen
}

/// The versions that count and whose window has begun, by their label.
pub(in crate::service) fn valid_by_label(
    versions: &[SecretVersion],
    now: OffsetDateTime,
) -> BTreeMap<String, Vec<&SecretVersion>> {
    let mut valid: BTreeMap<String, Vec<&SecretVersion>> = BTreeMap::new();
    for version in choose(versions, now) {
        if version.not_before.is_none_or(|from| from <= now) {
            valid.entry(label(version)).or_default().push(version);
        }
    }
    valid
}

/// What audit records show. A tag that could not stand there is as good as none.
pub(super) fn label(version: &SecretVersion) -> String {
    let usable = version.label.as_deref().filter(|text| is_label(text));
    usable.unwrap_or(UNLABELLED).to_owned()
}

/// Whether a version has a tag that is not used as its label.
pub(super) fn is_mislabelled(version: &SecretVersion) -> bool {
    version.label.as_deref().is_some_and(|text| !is_label(text))
}

/// Whether a text can be the label of a version.
pub fn is_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    (1..=LABEL_CHARS_MAX).contains(&text.len()) && text.bytes().all(plain) && text != RESERVED
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const TOKEN: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
    const NOON: OffsetDateTime = datetime!(2026-11-25 12:00 UTC);

    fn tokens(tokens: &[(&str, &str)]) -> Result<TokenSet, TokenError> {
        TokenSet::new(tokens.iter().map(|(label, token)| ((*label).to_owned(), (*token).to_owned().into())))
    }

    #[test]
    fn weak_sets_are_refused() {
        let label = || "entra".to_owned();
        assert_eq!(tokens(&[]).unwrap_err(), TokenError::Empty);
        for token in ["", "short", "abcdefghijklmnopqrstuvwxyz01234", "                                    "]
        {
            assert_eq!(tokens(&[("entra", token)]).unwrap_err(), TokenError::TooShort { label: label() });
        }
        for token in ["abcdefghijklmnop qrstuvwxyz0123456789", "===================================="] {
            assert_eq!(tokens(&[("entra", token)]).unwrap_err(), TokenError::Characters { label: label() });
        }
    }

    #[test]
    fn a_token_is_known_by_its_label_and_never_printed() {
        let other = TOKEN.to_uppercase();
        let set = tokens(&[("entra", TOKEN), ("okta", &other)]).unwrap();
        assert_eq!(set.label_of(&hash(TOKEN), NOON), Some("entra"));
        assert_eq!(set.label_of(&hash(&other), NOON), Some("okta"));
        assert_eq!(set.label_of(&hash(""), NOON), None);
        assert_eq!(set.label_of(&hash("bcdefghijklmnopqrstuvwxyz0123456789"), NOON), None);
        assert_eq!(format!("{set:?}"), r#"["entra", "okta"]"#);
    }

    #[test]
    fn a_line_end_is_no_part_of_a_token() {
        let set = tokens(&[("entra", &format!("{TOKEN}\r\n"))]).unwrap();
        assert_eq!(set.label_of(&hash(TOKEN), NOON), Some("entra"));
    }

    fn version(id: &str, day: u8, label: Option<&str>) -> SecretVersion {
        SecretVersion {
            id: id.to_owned(),
            enabled: true,
            created: NOON.replace_day(day).unwrap(),
            not_before: None,
            expires: None,
            label: label.map(str::to_owned),
        }
    }

    #[track_caller]
    fn check(versions: &[SecretVersion], expected: &[&str]) {
        let ids: Vec<_> = choose(versions, NOON).into_iter().map(|version| version.id.as_str()).collect();
        assert_eq!(ids, expected);
    }

    #[test]
    fn tokens_are_as_old_as_the_newest_of_each_label() {
        let entry = |version: &SecretVersion| TokenEntry::new(version, &TOKEN.to_owned().into()).unwrap();
        let set = |versions: &[SecretVersion]| TokenSet(versions.iter().map(entry).collect());
        let made = |day: u8| NOON.replace_day(day).ok();
        let [old, new, other] =
            [version("a", 1, Some("entra")), version("b", 9, Some("entra")), version("c", 5, Some("okta"))];
        assert_eq!(set(&[old.clone(), new.clone(), other.clone()]).made(NOON), made(5));
        assert_eq!(set(&[old.clone(), new]).made(NOON), made(9));
        let over = SecretVersion { expires: made(2), ..old };
        assert_eq!((set(&[over.clone(), other]).made(NOON), set(&[over]).made(NOON)), (made(5), None));
    }

    /// Facts: F-041.
    #[test]
    fn the_newest_two_of_each_label_count() {
        let plain = [version("a", 1, None), version("b", 2, None), version("c", 3, None)];
        check(&plain, &["c", "b"]);
        let labelled = [
            version("a", 1, Some("entra")),
            version("b", 2, Some("okta")),
            version("c", 3, Some("okta")),
            version("d", 4, Some("okta")),
            version("e", 5, Some("no label: <script>")),
        ];
        check(&labelled, &["e", "d", "c", "a"]);
    }

    #[test]
    fn a_version_counts_only_while_it_is_enabled_and_not_over() {
        let mut versions =
            [version("a", 1, None), version("b", 2, None), version("c", 3, None), version("d", 4, None)];
        versions[2].enabled = false;
        check(&versions, &["d"]);
        versions[3].expires = Some(NOON + time::Duration::SECOND);
        check(&versions, &["d"]);
        versions[3].expires = Some(NOON);
        check(&versions, &[]);
    }

    #[test]
    fn a_version_that_is_disabled_or_over_never_revives_the_one_before_the_last() {
        let plain =
            || [version("a", 1, None), version("b", 2, None), version("c", 3, None), version("d", 4, None)];
        let mut versions = plain();
        versions[3].enabled = false;
        check(&versions, &["c"]);
        versions[3].enabled = true;
        versions[3].expires = Some(NOON);
        check(&versions, &["c"]);
        let mut same_second = plain();
        same_second.iter_mut().for_each(|version| version.created = NOON);
        same_second[0].enabled = false;
        check(&same_second, &["b"]);
        let mut still_to_come = plain();
        still_to_come[2..]
            .iter_mut()
            .for_each(|version| version.not_before = Some(NOON + time::Duration::HOUR));
        still_to_come[3].enabled = false;
        check(&still_to_come, &["b", "a"]);
    }

    #[test]
    fn labels_without_a_usable_version_leave_room_for_the_others() {
        let mut versions: Vec<_> =
            (0..40).map(|n| version(&format!("v{n:02}"), 2, Some(&format!("label-{n:02}")))).collect();
        versions.iter_mut().for_each(|version| version.enabled = false);
        versions.push(version("live", 1, Some("entra")));
        check(&versions, &["live"]);
    }

    #[test]
    fn a_version_that_is_still_to_come_displaces_none() {
        let mut versions =
            [version("a", 1, None), version("b", 2, None), version("c", 3, None), version("d", 4, None)];
        versions[3].not_before = Some(NOON + time::Duration::HOUR);
        check(&versions, &["d", "c", "b"]);
        let entry = TokenEntry::new(&versions[3], &TOKEN.to_owned().into()).unwrap();
        let set = TokenSet(vec![entry]);
        assert_eq!(set.label_of(&hash(TOKEN), NOON), None);
        assert_eq!(set.label_of(&hash(TOKEN), NOON + time::Duration::HOUR), Some("unlabelled"));
    }

    #[test]
    fn many_labels_do_not_make_many_reads() {
        let versions: Vec<_> =
            (0..40).map(|n| version(&format!("v{n:02}"), 1, Some(&format!("label-{n:02}")))).collect();
        assert_eq!(choose(&versions, NOON).len(), LABELS_MAX);
    }

    /// Facts: F-044.
    #[test]
    fn what_runs_out_is_the_last_token_of_a_label() {
        let mut versions =
            [version("a", 1, Some("entra")), version("b", 2, Some("entra")), version("c", 3, Some("okta"))];
        let days = |n| NOON + time::Duration::days(n);
        versions[0].expires = Some(days(1));
        let set = |versions: &[SecretVersion]| {
            let entry = |version| TokenEntry::new(version, &TOKEN.to_owned().into()).unwrap();
            TokenSet(versions.iter().map(entry).collect())
        };
        assert_eq!(set(&versions).runs_out(NOON), None);
        versions[1].expires = Some(days(30));
        assert_eq!(set(&versions).runs_out(NOON), Some(days(30)));
        versions[2].expires = Some(days(7));
        assert_eq!(set(&versions).runs_out(NOON), Some(days(7)));
    }

    #[test]
    fn a_label_that_could_mislead_counts_as_none_and_is_logged() {
        let seen = |text| (label(&version("v", 1, text)), is_mislabelled(&version("v", 1, text)));
        assert_eq!(seen(Some("entra-prod")), ("entra-prod".to_owned(), false));
        assert_eq!(seen(None), ("unlabelled".to_owned(), false));
        for text in ["entra prod", "", "service", "é", &"x".repeat(65)] {
            assert_eq!(seen(Some(text)), ("unlabelled".to_owned(), true), "{text:?}");
        }
    }
}
