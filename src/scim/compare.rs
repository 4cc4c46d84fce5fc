//! When two texts are the same: the one function that index, filter, sort and `where` compare by.

use super::schema::Attribute;
use unicode_normalization::UnicodeNormalization;

/// The version of the keys. It is stored with each row; whoever changes `key` counts it up.
pub const VERSION: i64 = 1;

/// How an attribute compares, by its `caseExact` (RFC 7643 section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Trimmed, compatibility-normalised, case folded.
    Folded,
    /// As written.
    Exact,
}

impl Mode {
    /// The mode of an attribute.
    pub const fn of(attribute: &Attribute) -> Self {
        if attribute.case_exact { Mode::Exact } else { Mode::Folded }
    }
}

/// The compare key of a text. Zero-width and bidirectional marks are no part of it in either mode, so that what
/// looks the same compares the same.
pub fn key(text: &str, mode: Mode) -> String {
    if text.is_ascii() {
        return match mode {
            Mode::Exact => text.to_owned(),
            Mode::Folded => text.trim().to_ascii_lowercase(),
        };
    }
    let visible = text.chars().filter(|c| !is_mark(*c));
    match mode {
        Mode::Exact => visible.collect(),
        Mode::Folded => {
            let normal: String = visible.nfkc().collect();
            let folded = caseless::default_case_fold_str(&normal);
            let normal: String = folded.nfkc().filter(|c| !is_mark(*c)).collect();
            normal.trim().to_owned()
        }
    }
}

/// Marks that change how a text looks, or hide in it, without being seen.
pub(super) const fn is_mark(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' | '\u{061C}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(left: &str, right: &str, folded: bool, exact: bool) {
        assert_eq!(key(left, Mode::Folded) == key(right, Mode::Folded), folded, "folded {left:?} {right:?}");
        assert_eq!(key(left, Mode::Exact) == key(right, Mode::Exact), exact, "exact {left:?} {right:?}");
    }

    #[test]
    fn folded_keys_ignore_case_width_and_marks_and_exact_keys_only_marks() {
        check("Ana@Contoso.example", "ana@contoso.EXAMPLE", true, false);
        check(" ana ", "ana", true, false);
        check("Straße", "STRASSE", true, false);
        check("ﬁle", "FILE", true, false);
        check("e\u{301}", "É", true, false);
        check("Σίσυφος", "ΣΊΣΥΦΟΣ", true, false);
        check("an\u{200B}a", "ana", true, true);
        check("\u{FEFF}ana\u{202E}", "ana", true, true);
        check("🛡\u{FE0F}", "🛡", false, false);
        check("ana", "anna", false, false);
    }

    #[test]
    fn a_folded_key_is_its_own_key() {
        for text in ["İstanbul", "ǅ", "ͅΑ", "ẞ", "\u{1E9E}ﬀ", " a\u{a0}", "\u{200D}x\u{345}"] {
            let once = key(text, Mode::Folded);
            assert_eq!(key(&once, Mode::Folded), once, "{text:?}");
        }
        assert_eq!(key(" \u{200B}\u{2060} ", Mode::Folded), "");
    }
}
