//! Cursors (RFC 9865): where a walk through a list goes on, sealed for one query and one client.
//!
//! A cursor travels in URLs, and so ends in the logs of others. It is encrypted and authenticated under a key that HMAC-SHA256
//! derives from the installation's key and from what the cursor is for: the endpoint, the filter, the order and the label of the
//! token. It opens for nothing else, and shows nothing: under an order it holds the sort value of one resource. A rotation of
//! the token keeps its label, and so ends no walk.

use crate::scim::page::CURSOR_TIMEOUT;
use crate::scim::{self, QueryIdentity, ResourceType, SortKey};
use crate::service::provisioning::list_position::ListPosition;
use crate::store::cursor_key::CursorKey;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use time::OffsetDateTime;
use uuid::Uuid;

/// Characters of the text of a cursor. A sort value has at most 256 characters, which are 1,024 bytes.
const CURSOR_CHARS_MAX: usize = 1_600;

/// The layout of what is sealed.
const LAYOUT: u8 = 1;
/// Bytes of it before the sort value: layout, direction, type, id, expiry, total.
const FIXED_BYTES: usize = 1 + 1 + 1 + 16 + 8 + 8;

/// In which direction of the list the page lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WalkDirection {
    /// After the position.
    Forward,
    /// Before the position.
    Backward,
}

/// What a cursor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    pub direction: WalkDirection,
    /// The page begins after it, or ends before it.
    pub position: ListPosition,
    /// How many resources matched when the first page was read.
    pub total: usize,
}

/// Seals and opens the cursors of one query by one client.
pub(super) struct CursorSealer {
    key: LessSafeKey,
    nonces: hmac::Key,
}

impl CursorSealer {
    /// For that query, of a client whose token has that label.
    pub fn new(key: &CursorKey, identity: &QueryIdentity, token_label: &str) -> Result<Self, scim::Error> {
        let root = hmac::Key::new(hmac::HMAC_SHA256, key.bytes());
        let seal = derived(&root, "seal", identity, token_label);
        let nonces = derived(&root, "nonce", identity, token_label);
        let key = UnboundKey::new(&CHACHA20_POLY1305, seal.as_ref()).map_err(|_| cannot_seal())?;
        Ok(Self { key: LessSafeKey::new(key), nonces: hmac::Key::new(hmac::HMAC_SHA256, nonces.as_ref()) })
    }

    /// The cursor as text: unreserved characters of RFC 3986 only.
    pub fn seal(&self, cursor: &Cursor, now: OffsetDateTime) -> Result<String, scim::Error> {
        let mut bytes = to_bytes(cursor, now + CURSOR_TIMEOUT);
        // Made from what is sealed, so that it repeats only with it.
        let digest = hmac::sign(&self.nonces, &bytes);
        let nonce = digest.as_ref().first_chunk::<NONCE_LEN>().ok_or_else(cannot_seal)?;
        let unique = Nonce::assume_unique_for_key(*nonce);
        self.key.seal_in_place_append_tag(unique, Aad::empty(), &mut bytes).map_err(|_| cannot_seal())?;
        Ok(BASE64_URL_SAFE_NO_PAD.encode([nonce, bytes.as_slice()].concat()))
    }

    /// What the text says, where it was sealed for this query and client and is not too old.
    pub fn open(&self, text: &str, now: OffsetDateTime) -> Result<Cursor, scim::Error> {
        let opened = if text.len() > CURSOR_CHARS_MAX { None } else { self.unsealed(text) };
        let (cursor, expires) = opened.ok_or_else(scim::Error::invalid_cursor)?;
        if now >= expires {
            return Err(scim::Error::expired_cursor(CURSOR_TIMEOUT.as_secs()));
        }
        Ok(cursor)
    }

    fn unsealed(&self, text: &str) -> Option<(Cursor, OffsetDateTime)> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        from_bytes(self.key.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?)
    }
}

/// A key for one purpose, query and client. Each part has its length in front, so that no two lists of parts are the same bytes.
fn derived(root: &hmac::Key, purpose: &str, identity: &QueryIdentity, token_label: &str) -> hmac::Tag {
    let QueryIdentity { endpoint, filter, sort_by, sort_order } = identity;
    let mut context = hmac::Context::with_key(root);
    for part in ["cursor", purpose, endpoint, filter, sort_by, sort_order, token_label] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    context.sign()
}

fn cannot_seal() -> scim::Error {
    scim::Error::internal("a cursor cannot be made")
}

fn to_bytes(cursor: &Cursor, expires: OffsetDateTime) -> Vec<u8> {
    let Cursor { direction, position, total } = cursor;
    let mut bytes = vec![
        LAYOUT,
        u8::from(*direction == WalkDirection::Backward),
        u8::from(position.kind == ResourceType::Group),
    ];
    bytes.extend(position.id.as_bytes());
    bytes.extend(expires.unix_timestamp().to_be_bytes());
    bytes.extend((*total as u64).to_be_bytes());
    bytes.extend(position.key.iter().flat_map(SortKey::to_bytes));
    bytes
}

fn from_bytes(bytes: &[u8]) -> Option<(Cursor, OffsetDateTime)> {
    let (fixed, key) = bytes.split_first_chunk::<FIXED_BYTES>()?;
    let ([layout, backward, group], rest) = fixed.split_first_chunk::<3>()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (expires, total) = rest.split_first_chunk::<8>()?;
    if *layout != LAYOUT {
        return None;
    }
    let key = if key.is_empty() { None } else { Some(SortKey::from_bytes(key)?) };
    let kind = if *group == 1 { ResourceType::Group } else { ResourceType::User };
    let cursor = Cursor {
        direction: if *backward == 1 { WalkDirection::Backward } else { WalkDirection::Forward },
        position: ListPosition { kind, id: Uuid::from_bytes(*id), key },
        total: usize::try_from(u64::from_be_bytes(total.try_into().ok()?)).ok()?,
    };
    Some((cursor, OffsetDateTime::from_unix_timestamp(i64::from_be_bytes(*expires)).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::ListQuery;
    use std::time::Duration;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-30 12:00 UTC);

    fn query(pairs: &[(&str, &str)]) -> ListQuery {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        ListQuery::from_pairs(ResourceType::User, &pairs).unwrap()
    }

    fn sealer(pairs: &[(&str, &str)], label: &str) -> CursorSealer {
        CursorSealer::new(&CursorKey::new([7; 32]), &query(pairs).identity, label).unwrap()
    }

    fn cursor(key: Option<SortKey>) -> Cursor {
        let position = ListPosition { kind: ResourceType::Group, id: Uuid::from_u128(0xA1), key };
        Cursor { direction: WalkDirection::Backward, position, total: 4_711 }
    }

    fn sort_key(name: &str) -> SortKey {
        let sorted = query(&[("sortBy", "userName")]);
        sorted.sort().unwrap().key(&serde_json::json!({"userName": name}))
    }

    #[track_caller]
    fn refused(opened: Result<Cursor, scim::Error>, scim_type: &str) {
        let error = opened.unwrap_err();
        assert_eq!((error.status, error.scim_type.unwrap().keyword()), (400, scim_type));
    }

    #[test]
    fn a_cursor_says_what_was_sealed_in_unreserved_characters() {
        let sealer = sealer(&[], "entra");
        for key in [None, Some(sort_key("Ana")), Some(sort_key(""))] {
            for direction in [WalkDirection::Forward, WalkDirection::Backward] {
                let sealed = Cursor { direction, ..cursor(key.clone()) };
                let text = sealer.seal(&sealed, NOW).unwrap();
                assert!(
                    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)),
                    "{text}"
                );
                assert_eq!(sealer.open(&text, NOW).unwrap(), sealed);
            }
        }
    }

    #[test]
    fn a_cursor_shows_nothing_of_the_sort_value_and_is_bounded() {
        let sealer = sealer(&[("sortBy", "userName")], "entra");
        let text = sealer.seal(&cursor(Some(sort_key("ana@contoso.example"))), NOW).unwrap();
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(&text).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("ana"));
        let longest = sealer.seal(&cursor(Some(sort_key(&"\u{10437}".repeat(5_000)))), NOW).unwrap();
        assert!((1_400..=CURSOR_CHARS_MAX).contains(&longest.len()), "{}", longest.len());
        assert!(sealer.open(&longest, NOW).is_ok());
    }

    #[test]
    fn every_bit_and_every_character_counts() {
        let sealer = sealer(&[], "entra");
        let text = sealer.seal(&cursor(Some(sort_key("ana"))), NOW).unwrap();
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(&text).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            refused(sealer.open(&BASE64_URL_SAFE_NO_PAD.encode(flipped), NOW), "invalidCursor");
        }
        for length in 0..text.len() {
            refused(sealer.open(text.get(..length).unwrap(), NOW), "invalidCursor");
        }
        let padded = [text.clone() + "A", text.clone() + "=", text.clone() + " ", "A".repeat(100_000)];
        for wrong in padded.iter().map(String::as_str).chain(["", "x", "nonsense", "\u{e4}"]) {
            refused(sealer.open(wrong, NOW), "invalidCursor");
        }
    }

    #[test]
    fn a_cursor_opens_for_its_query_its_client_and_its_installation_only() {
        let pairs = [("filter", "title pr"), ("sortBy", "userName")];
        let text = sealer(&pairs, "entra").seal(&cursor(None), NOW).unwrap();
        assert!(
            sealer(&[pairs[0], pairs[1], ("count", "7"), ("attributes", "id")], "entra")
                .open(&text, NOW)
                .is_ok()
        );
        refused(sealer(&pairs, "okta").open(&text, NOW), "invalidCursor");
        for other in [
            vec![],
            vec![pairs[0]],
            vec![pairs[1]],
            vec![("filter", "name pr"), pairs[1]],
            vec![pairs[0], ("sortBy", "title")],
            vec![pairs[0], pairs[1], ("sortOrder", "descending")],
        ] {
            refused(sealer(&other, "entra").open(&text, NOW), "invalidCursor");
        }
        let identity = &query(&pairs).identity;
        let groups = QueryIdentity { endpoint: "Groups", ..identity.clone() };
        let key = CursorKey::new([7; 32]);
        refused(CursorSealer::new(&key, &groups, "entra").unwrap().open(&text, NOW), "invalidCursor");
        let key = CursorKey::new([8; 32]);
        refused(CursorSealer::new(&key, identity, "entra").unwrap().open(&text, NOW), "invalidCursor");
    }

    #[test]
    fn a_cursor_expires() {
        let sealer = sealer(&[], "entra");
        let text = sealer.seal(&cursor(None), NOW).unwrap();
        assert!(sealer.open(&text, NOW + CURSOR_TIMEOUT - Duration::from_secs(1)).is_ok());
        refused(sealer.open(&text, NOW + CURSOR_TIMEOUT), "expiredCursor");
    }
}
