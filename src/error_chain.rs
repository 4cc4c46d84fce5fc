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

/// Controls, the separators of lines and paragraphs, and what sets the direction of a text (Unicode Bidi_Control).
fn acts(c: char) -> bool {
    let turns =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || turns
}
