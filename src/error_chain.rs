//! An error with everything beneath it, for the place that logs or prints it; and foreign text, made safe for a terminal.

use std::error::Error;
use std::fmt;

/// Prints an error and its causes, outermost first.
pub struct ErrorChain<'a>(pub &'a dyn Error);

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// The text with what a terminal would obey, and what would break or turn round its line, shown as an escape
/// (`\u{1b}`): some of it was written by others.
pub fn escape_control(text: &str) -> String {
    text.chars().map(|c| if acts(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}

/// The same for one line of JSON: what acts becomes an escape that JSON has, so that what reads it finds the text as it was.
pub fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        match acts(c) {
            true => c.encode_utf16(&mut units).iter().for_each(|unit| escaped += &format!("\\u{unit:04x}")),
            false => escaped.push(c),
        }
    }
    escaped
}

/// Controls, the separators of lines and paragraphs, what sets the direction of a text (Unicode Bidi_Control), and what cannot be
/// seen.
fn acts(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let hides = matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}'
            | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    );
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || turns || hides
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_acts_on_a_terminal_is_escaped_and_json_reads_as_before() {
        let text = "a\u{1b}[2J\u{9b}31m\u{202e}\u{2028}\u{200b}\u{180e}\u{e0041}\u{7f}\u{85}é😀\n";
        let line = escape_json(&json!({ "name": text }).to_string());
        assert!(!line.chars().any(acts), "{line:?}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["name"], text);
        assert!(!escape_control(text).chars().any(acts));
        assert!(escape_control(text).contains("é😀"));
    }
}
