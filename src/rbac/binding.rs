//! What the rules need to know of a binding. The file format is in `crate::bindings`.

use std::fmt;

/// The name of the binding that drills go through.
pub const DRILL_BINDING: &str = "drill";

/// The name of a binding in `bindings.json`: 1 to 64 of `[a-z0-9-]`, unique in the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindingName(String);

impl BindingName {
    /// Checks the form.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=64).contains(&text.len());
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        (fits && plain).then(|| Self(text.to_owned()))
    }

    /// Whether it has the name of the binding that drills go through. Another may have had it before it was reserved.
    pub fn is_of_drills(&self) -> bool {
        self.0 == DRILL_BINDING
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BindingName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a binding gives its role. `eligible` and `timeboxed` come later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BindingKind {
    /// A standing role assignment.
    Active,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_plain_and_in_lower_case() {
        for text in ["a", "operators-east", "0", "-", &"a".repeat(64)] {
            assert_eq!(BindingName::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "A", "a b", "a_b", "a/b", "caf\u{e9}", "a\n", &"a".repeat(65)] {
            assert_eq!(BindingName::parse(text), None, "{text:?}");
        }
    }
}
