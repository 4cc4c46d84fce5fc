//! What is wrong with a bindings file, and where.

use crate::error_chain::escape_control;
use std::fmt;

/// One mistake: its place, and what is wrong and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingsMistake {
    /// A JSON pointer (RFC 6901); empty for the file as a whole.
    pub place: String,
    pub text: String,
}

impl fmt::Display for BindingsMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" => write!(f, "the file: {}", escape_control(&self.text)),
            place => write!(f, "{}: {}", escape_control(place), escape_control(&self.text)),
        }
    }
}

/// Every mistake of a file, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingsError {
    pub mistakes: Vec<BindingsMistake>,
}

impl fmt::Display for BindingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.mistakes.len();
        write!(f, "{count} mistake{} in the bindings file", if count == 1 { "" } else { "s" })?;
        self.mistakes.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for BindingsError {}

/// A place in a document, built on the way down.
#[derive(Debug, Clone, Default)]
pub(super) struct JsonPointer(String);

impl JsonPointer {
    /// The member `key` of the object here.
    pub(super) fn key(&self, key: &str) -> Self {
        Self(format!("{}/{}", self.0, key.replace('~', "~0").replace('/', "~1")))
    }

    /// The element `index` of the list here.
    pub(super) fn index(&self, index: usize) -> Self {
        Self(format!("{}/{index}", self.0))
    }
}

impl fmt::Display for JsonPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct BindingsMistakes(Vec<BindingsMistake>);

impl BindingsMistakes {
    pub(super) fn add(&mut self, place: &JsonPointer, text: impl Into<String>) {
        self.0.push(BindingsMistake { place: place.to_string(), text: text.into() });
    }

    /// Returns the value, or records the mistake.
    pub(super) fn keep<T>(&mut self, place: &JsonPointer, result: Result<T, String>) -> Option<T> {
        result.map_err(|text| self.add(place, text)).ok()
    }

    /// The value, if there was no mistake at all.
    pub(super) fn into_result<T>(self, value: Option<T>) -> Result<T, BindingsError> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(BindingsError { mistakes: self.0 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_and_not_sent() {
        let mistake = BindingsMistake { place: "/\u{1b}[2J\r\n".to_owned(), text: "is \u{202e}x".to_owned() };
        assert_eq!(mistake.to_string(), r"/\u{1b}[2J\u{d}\u{a}: is \u{202e}x");
    }
}
