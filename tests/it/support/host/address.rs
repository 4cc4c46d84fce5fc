//! What becomes of a path and a query on their way through the host.
//!
//! The host's server decodes the path once, all but `%2F`. Proxying encodes that text again and makes an address of the
//! query, which escapes what does not belong in one. Forwarding makes an address of the path, in which `#` and `?` end
//! it, and takes the query apart and builds it anew.

use std::fmt::Write;

/// The path cannot be decoded: the server answers 400 by itself.
#[derive(Debug, PartialEq, Eq)]
pub struct BadPath;

/// The path as the router sees it: decoded once, one UTF-8 sequence at a time, dot segments taken out. `%2F` and what is no
/// UTF-8 stay as they were written.
/// Facts: F-125, F-126.
pub fn decode(raw: &str) -> Result<String, BadPath> {
    if !raw.is_ascii() || !raw.starts_with('/') {
        return Err(BadPath);
    }
    let mut decoded = String::new();
    let mut rest = raw;
    while let Some(at) = rest.find('%') {
        let (before, escapes) = rest.split_at(at);
        decoded.push_str(before);
        if escape(escapes) == Some(0) {
            return Err(BadPath);
        }
        let (text, after) = match escaped_character(escapes) {
            Some((character, length)) if character != '/' => {
                (character.to_string(), escapes.get(length..).unwrap_or_default())
            }
            _ => ("%".to_owned(), escapes.get(1..).unwrap_or_default()),
        };
        decoded.push_str(&text);
        rest = after;
    }
    decoded.push_str(rest);
    Ok(without_dot_segments(&decoded))
}

/// The character that the escapes at the start encode, and how long they are.
fn escaped_character(text: &str) -> Option<(char, usize)> {
    let count = match escape(text)? {
        0..=0x7F => 1,
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => return None,
    };
    let escapes = (0..count).map(|at| escape(text.get(at * 3..)?));
    let bytes = escapes.collect::<Option<Vec<u8>>>()?;
    let character = std::str::from_utf8(&bytes).ok()?.chars().next()?;
    Some((character, count * 3))
}

/// The byte of an escape at the start.
fn escape(text: &str) -> Option<u8> {
    let digits = text.strip_prefix('%')?.get(..2)?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u8::from_str_radix(digits, 16).ok())?
}

fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let last = segments.len().saturating_sub(1);
    for (at, segment) in segments.into_iter().enumerate() {
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if at == last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

/// How a proxied path leaves: every character that needs it is encoded, the percent sign too.
/// Facts: F-125.
pub fn proxied_path(decoded: &str) -> String {
    encode(decoded, |byte| is_unreserved(byte) || b"!$&'()*+,;=:@/".contains(&byte))
}

/// How a proxied query leaves: what an address cannot hold is escaped, and needless escapes are undone. Others stay.
/// Facts: F-127.
pub fn proxied_query(raw: &str) -> String {
    let mut query = String::new();
    let mut rest = raw;
    while let Some(character) = rest.chars().next() {
        let mut taken = character.len_utf8();
        match escape(rest) {
            Some(byte) => {
                taken = 3;
                match rest.get(..taken) {
                    Some(written) if !is_unreserved(byte) => query.push_str(written),
                    _ => query.push(char::from(byte)),
                }
            }
            None => query.push_str(&encode(&character.to_string(), |byte| {
                is_unreserved(byte) || b"!$&'()*+,;=:@/?[]".contains(&byte)
            })),
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    query
}

/// How a forwarded path leaves: read as an address, whose path ends at `#` or `?`, and where `\` is a slash.
/// Facts: F-071.
pub fn forwarded_path(decoded: &str) -> String {
    let path = decoded.split(['#', '?']).next().unwrap_or_default().replace('\\', "/");
    let mut address = String::new();
    let mut rest = path.as_str();
    while let Some(character) = rest.chars().next() {
        let mut taken = character.len_utf8();
        match escape(rest) {
            Some(byte) if is_unreserved(byte) => {
                address.push(char::from(byte));
                taken = 3;
            }
            Some(_) => {
                address.push_str(rest.get(..3).unwrap_or_default());
                taken = 3;
            }
            None => address.push_str(&encode(&character.to_string(), stays_in_an_address)),
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    without_dot_segments(&address)
}

fn stays_in_an_address(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@/[]".contains(&byte)
}

/// How a forwarded query leaves: pairs read, equal names (case aside) joined by commas, written anew.
/// Facts: F-136.
pub fn forwarded_query(raw: &str) -> String {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = unescape(name);
        let value = unescape(value);
        match pairs.iter_mut().find(|(other, _)| other.eq_ignore_ascii_case(&name)) {
            Some((_, values)) => {
                values.push(',');
                values.push_str(&value);
            }
            None => pairs.push((name, value)),
        }
    }
    let write = |text: &str| encode(text, is_unreserved);
    let pairs = pairs.iter().map(|(name, value)| format!("{}={}", write(name), write(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let mut taken = character.len_utf8();
        match (escape(rest), character) {
            (Some(byte), _) => {
                bytes.push(byte);
                taken = 3;
            }
            (None, '+') => bytes.push(b' '),
            (None, _) => bytes.extend(character.to_string().into_bytes()),
        }
        rest = rest.get(taken..).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The value of one query parameter, its name without case.
/// Facts: F-124.
pub fn query_value(raw: &str, name: &str) -> Option<String> {
    let pairs = raw.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .into_iter()
        .find(|(given, _)| unescape(given).eq_ignore_ascii_case(name))
        .map(|(_, value)| unescape(value))
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn encode(text: &str, stays: impl Fn(u8) -> bool) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if stays(byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, proxied: &str, forwarded: &str) {
        let decoded = decode(raw).unwrap();
        assert_eq!(
            (proxied_path(&decoded).as_str(), forwarded_path(&decoded).as_str()),
            (proxied, forwarded),
            "{raw}"
        );
    }

    #[test]
    fn plain_paths_stay_as_they_are() {
        check("/scim/v2/Users", "/scim/v2/Users", "/scim/v2/Users");
        check("/a/(b)!$&'*+,;=:@~", "/a/(b)!$&'*+,;=:@~", "/a/(b)!$&'*+,;=:@~");
        check("/a//b/", "/a//b/", "/a//b/");
    }

    /// Facts: F-071.
    #[test]
    fn the_two_transports_differ_where_the_reference_says_so() {
        check("/a%2Fb", "/a%252Fb", "/a%2Fb");
        check("/a%2fb%41", "/a%252fbA", "/a%2fbA");
        check("/a%23b", "/a%23b", "/a");
        check("/a%3Fb", "/a%3Fb", "/a");
        check("/a%5Cb", "/a%5Cb", "/a/b");
        check("/a%2541", "/a%2541", "/aA");
        check("/a%252Fb", "/a%252Fb", "/a%2Fb");
        check("/a%25zz", "/a%25zz", "/a%25zz");
    }

    /// Facts: F-125.
    #[test]
    fn text_beyond_ascii_and_spaces_are_encoded_again() {
        check("/M%C3%BCller%20x%22", "/M%C3%BCller%20x%22", "/M%C3%BCller%20x%22");
        // No UTF-8: the escape stays, and its percent sign is a character like any other.
        check("/%FF", "/%25FF", "/%FF");
        check("/100%", "/100%25", "/100%25");
    }

    /// Facts: F-125.
    #[test]
    fn escapes_are_decoded_one_sequence_at_a_time() {
        check("/a%C3%BC%FFb", "/a%C3%BC%25FFb", "/a%C3%BC%FFb");
        check("/%C3%41%E2%82%C3%BC", "/%25C3A%25E2%2582%C3%BC", "/%C3A%E2%82%C3%BC");
        check("/%ED%A0%80%C0%AF%F5", "/%25ED%25A0%2580%25C0%25AF%25F5", "/%ED%A0%80%C0%AF%F5");
        assert_eq!(decode("/%C3%00"), Err(BadPath));
    }

    /// Facts: F-127.
    #[test]
    fn a_proxied_query_is_escaped_in_part() {
        #[track_caller]
        fn check(raw: &str, expected: &str) {
            assert_eq!(proxied_query(raw), expected);
        }
        check("filter=a+eq+%22b%22&flag&x=%2F%2f", "filter=a+eq+%22b%22&flag&x=%2F%2f");
        check("a=%41%7e%zz%4", "a=A~%25zz%254");
        check("a=[1]|{2}#\\^`<>\"", "a=[1]%7C%7B2%7D%23%5C%5E%60%3C%3E%22");
        check("", "");
    }

    /// Facts: F-126.
    #[test]
    fn dot_segments_are_gone_before_routing() {
        check("/scim/v2/../../Reconcile", "/Reconcile", "/Reconcile");
        check("/a/%2e%2E/b/.", "/b/", "/b/");
        assert_eq!(decode("/../.."), Ok("/".to_owned()));
    }

    /// Facts: F-126.
    #[test]
    fn what_cannot_be_a_path_is_refused() {
        assert_eq!(decode("/a%00b"), Err(BadPath));
        assert_eq!(decode("*"), Err(BadPath));
    }

    /// Facts: F-136.
    #[test]
    fn a_forwarded_query_is_taken_apart_and_built_anew() {
        #[track_caller]
        fn check(raw: &str, expected: &str) {
            assert_eq!(forwarded_query(raw), expected);
        }
        check("filter=a+eq+%22b%22", "filter=a%20eq%20%22b%22");
        check("a=1&A=2&b=&a=3", "a=1%2C2%2C3&b=");
        check("flag&&x=1=2", "flag=&x=1%3D2");
        check("", "");
    }
}
