//! When two texts are the same: the one function that index, filter, sort and `where` compare by.

use crate::scim::schema::Attribute;
use unicode_normalization::UnicodeNormalization;

/// The version of the keys. It is stored with each row; a change of `key` counts it up.
pub const VERSION: i64 = 1;

/// How an attribute compares, by its `caseExact` (RFC 7643 section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaseMode {
    /// Trimmed, compatibility-normalised, case folded.
    Folded,
    /// As written.
    Exact,
}

impl CaseMode {
    /// The mode of an attribute.
    pub const fn of(attribute: &Attribute) -> Self {
        if attribute.case_exact { CaseMode::Exact } else { CaseMode::Folded }
    }
}

/// The compare key of a text. Zero-width and bidirectional marks are no part of it in either mode, so that what
/// looks the same compares the same.
pub fn key(text: &str, mode: CaseMode) -> String {
    if text.is_ascii() {
        return match mode {
            CaseMode::Exact => text.to_owned(),
            CaseMode::Folded => text.trim().to_ascii_lowercase(),
        };
    }
    let visible = text.chars().filter(|c| !is_mark(*c));
    match mode {
        CaseMode::Exact => visible.collect(),
        CaseMode::Folded => {
            let normal: String = visible.nfkc().collect();
            let folded = caseless::default_case_fold_str(&normal);
            let normal: String = folded.nfkc().filter(|c| !is_mark(*c)).collect();
            normal.trim().to_owned()
        }
    }
}

/// A text as it is compared once more where a hit gives access: nothing is dropped from it but its case, and that only
/// where the attribute is not exact. Two ways to encode the same characters stay the same text.
pub fn verbatim(text: &str, mode: CaseMode) -> String {
    match mode {
        CaseMode::Exact => text.to_owned(),
        CaseMode::Folded if text.is_ascii() => text.to_ascii_lowercase(),
        CaseMode::Folded => text.nfd().flat_map(lower_case).collect(),
    }
}

/// What cannot be seen in a text, and so makes two texts look alike: every default-ignorable code point (Unicode, chapter
/// 5.21) but the variation selectors that emoji need, line and paragraph separators, and interlinear annotations.
pub(super) const fn is_hidden(c: char) -> bool {
    is_mark(c)
        || matches!(
            c,
            '\u{AD}' | '\u{34F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'
                ..='\u{180F}'
        )
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{206F}' | '\u{3164}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}')
        || matches!(c, '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

/// Whether a text has a character that cannot be seen.
pub fn has_hidden(text: &str) -> bool {
    text.chars().any(is_hidden)
}

/// Marks that change how a text looks, or hide in it, without being seen: those that keys leave out. Stored keys were
/// made with exactly these.
const fn is_mark(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}' | '\u{061C}')
}

/// A letter in lower case, where that is its only other case: a long s is no s, and one letter is not two.
fn lower_case(letter: char) -> impl Iterator<Item = char> {
    let lower = letter.to_lowercase();
    let same = lower.clone().flat_map(char::to_uppercase).eq(letter.to_uppercase());
    let (folded, itself) = if same { (Some(lower), None) } else { (None, Some(letter)) };
    folded.into_iter().flatten().chain(itself)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(left: &str, right: &str, folded: bool, exact: bool) {
        assert_eq!(
            key(left, CaseMode::Folded) == key(right, CaseMode::Folded),
            folded,
            "folded {left:?} {right:?}"
        );
        assert_eq!(
            key(left, CaseMode::Exact) == key(right, CaseMode::Exact),
            exact,
            "exact {left:?} {right:?}"
        );
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
            let once = key(text, CaseMode::Folded);
            assert_eq!(key(&once, CaseMode::Folded), once, "{text:?}");
        }
        assert_eq!(key(" \u{200B}\u{2060} ", CaseMode::Folded), "");
    }

    #[track_caller]
    fn verbatim_check(left: &str, right: &str, folded: bool) {
        assert_eq!(
            verbatim(left, CaseMode::Folded) == verbatim(right, CaseMode::Folded),
            folded,
            "{left:?} {right:?}"
        );
        assert_eq!(verbatim(left, CaseMode::Exact) == verbatim(right, CaseMode::Exact), left == right);
    }

    #[test]
    fn a_verbatim_comparison_forgives_nothing_but_case() {
        verbatim_check("Vault Operators", "vault OPERATORS", true);
        verbatim_check("Straße", "STRASSE", false);
        verbatim_check("STRA\u{df}E", "stra\u{df}e", true);
        verbatim_check("ΟΠΣ", "οπσ", true);
        for alike in ["vault-reader\u{17f}", "vault-reader\u{ff53}"] {
            verbatim_check("vault-readers", alike, false);
        }
        verbatim_check("e\u{301}", "É", true);
        for other in ["ops\u{200B}", "\u{FEFF}ops", "o\u{AD}ps", " ops", "ops ", "ｏps", "o\u{E0041}ps"] {
            verbatim_check("ops", other, false);
        }
    }

    #[test]
    fn what_cannot_be_seen_is_hidden_and_what_emoji_need_is_not() {
        for c in "\u{AD}\u{34F}\u{61C}\u{115F}\u{1160}\u{17B5}\u{180B}\u{180E}\u{200B}\u{200D}\u{202E}\u{2028}\u{2029}\u{2060}\u{2064}\u{206F}".chars() {
            assert!(is_hidden(c), "{c:?}");
        }
        for c in "\u{3164}\u{FEFF}\u{FFA0}\u{FFF0}\u{FFF9}\u{FFFB}\u{1BCA0}\u{1D173}\u{E0001}\u{E0041}\u{E0100}\u{E0FFF}".chars() {
            assert!(is_hidden(c), "{c:?}");
        }
        for c in "\u{FE00}\u{FE0F}\u{FFFC}\u{FFFD}é🛡a \u{A0}".chars() {
            assert!(!is_hidden(c), "{c:?}");
        }
    }
}
