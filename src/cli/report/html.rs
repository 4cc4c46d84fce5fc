//! The report as one page: a file that opens without a server and asks nothing of any. Its content security policy allows
//! its own script and its own style, by their hashes, and nothing else.

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::io::{self, Write};

const SKELETON: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
/// In one function, so that no name of it is a property of the window.
const SCRIPT: &str = concat!(
    "\"use strict\";\n(() => {\n",
    include_str!("page/text.js"),
    include_str!("page/data.js"),
    include_str!("page/view.js"),
    include_str!("page/reason.js"),
    include_str!("page/table.js"),
    include_str!("page/draw.js"),
    include_str!("page/choices.js"),
    include_str!("page/page.js"),
    "})();\n",
);

/// Writes the page. What `data` holds is described at the top of `page/data.js`.
pub(super) fn write(out: &mut impl Write, data: &Value) -> io::Result<()> {
    let (style, script) = (as_parsed(STYLE), as_parsed(SCRIPT));
    let mut rest = SKELETON;
    while let Some((before, name, after)) = placeholder(rest) {
        out.write_all(before.as_bytes())?;
        match name {
            "policy" => out.write_all(policy(&style, &script).as_bytes())?,
            "style" => out.write_all(style.as_bytes())?,
            "script" => out.write_all(script.as_bytes())?,
            "data" => write_json(out, data)?,
            _ => return Err(io::Error::other(format!("the skeleton of the page asks for {name}"))),
        }
        rest = after;
    }
    out.write_all(rest.as_bytes())
}

/// The next `{{name}}`, with what comes before and after it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("{{")?;
    let (name, after) = rest.split_once("}}")?;
    Some((before, name, after))
}

/// As a browser reads it, and hashes it: a checkout on Windows may have other line ends.
fn as_parsed(text: &str) -> String {
    text.replace("\r\n", "\n")
}

fn policy(style: &str, script: &str) -> String {
    let (style, script) = (hash(style), hash(script));
    format!(
        "default-src 'none'; script-src '{script}'; style-src '{style}'; base-uri 'none'; form-action 'none'"
    )
}

/// A hash source of a content security policy.
fn hash(text: &str) -> String {
    format!("sha256-{}", base64(&Sha256::digest(text.as_bytes())))
}

/// With padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let digit = |at: usize| match at <= chunk.len() {
            true => DIGITS.get((bits >> (18 - 6 * at) & 63) as usize).map_or('=', |digit| char::from(*digit)),
            false => '=',
        };
        [digit(0), digit(1), digit(2), digit(3)]
    };
    bytes.chunks(3).flat_map(group).collect()
}

/// Writes JSON that cannot end the element it is in: what could be markup only occurs in its strings, and is escaped there.
fn write_json(out: &mut impl Write, data: &Value) -> io::Result<()> {
    let text = serde_json::to_string(data)?;
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once(is_markup) {
        out.write_all(before.as_bytes())?;
        let found = rest.get(before.len()..).and_then(|behind| behind.chars().next()).unwrap_or_default();
        write!(out, "\\u{:04x}", u32::from(found))?;
        rest = after;
    }
    out.write_all(rest.as_bytes())
}

const fn is_markup(c: char) -> bool {
    matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn page(data: &Value) -> String {
        let mut out = Vec::new();
        write(&mut out, data).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// The text of the only element that begins with this tag.
    #[track_caller]
    fn element<'a>(page: &'a str, tag: &str, end: &str) -> &'a str {
        let (_, rest) = page.split_once(tag).unwrap();
        assert!(!rest.contains(tag), "{tag} is there once");
        rest.split_once(end).unwrap().0
    }

    #[test]
    fn data_cannot_end_its_element_and_is_the_same_when_read() {
        let hostile =
            "</script><script>alert(1)</script><!-- &lt; \u{2028}\u{2029} {{script}} \u{202e} \u{0} ß";
        let data = json!({ "people": [{ "name": hostile }], "</script>": 1 });
        let page = page(&data);
        let written = element(&page, "<script type=\"application/json\" id=\"data\">", "</script>");
        assert!(!written.contains(is_markup), "{written}");
        assert_eq!(serde_json::from_str::<Value>(written).unwrap(), data);
        assert_eq!(page.matches("</script>").count(), 2, "that of the data, and that of the script");
    }

    #[test]
    fn the_policy_has_the_hashes_of_the_script_and_of_the_style() {
        let page = page(&json!({}));
        let hash_of = |text: &str| format!("sha256-{}", base64(&Sha256::digest(text)));
        let script = hash_of(element(&page, "<script>", "</script>"));
        let style = hash_of(element(&page, "<style>", "</style>"));
        let expected = format!(
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src '{script}'; \
             style-src '{style}'; base-uri 'none'; form-action 'none'\">"
        );
        assert!(page.contains(&expected), "{page}");
    }

    #[test]
    fn script_and_style_cannot_end_their_elements() {
        for text in [STYLE, SCRIPT] {
            let text = text.to_lowercase();
            assert!(!["</script", "</style", "<!--", "{{"].iter().any(|end| text.contains(end)));
        }
    }

    #[test]
    fn line_ends_are_those_that_a_browser_hashes() {
        assert_eq!(as_parsed("a\r\nb\n"), "a\nb\n");
    }

    #[test]
    fn base64_has_its_padding() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("\u{fff}", "4L+/"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(base64(bytes.as_bytes()), expected);
        }
    }
}
