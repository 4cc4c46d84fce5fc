//! The word that was probably meant.

/// The one of `known` that differs least from `word`, if it differs little: case does not count, and a letter that is missing,
/// too much, wrong or swapped with its neighbour counts one.
pub fn near_word<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().take(WORD_CHARS_MAX).collect();
    let most = (word.len() / 3).clamp(1, 3);
    let distances = known.into_iter().map(|known| {
        let letters: Vec<char> = known.to_lowercase().chars().take(WORD_CHARS_MAX).collect();
        (distance(&word, &letters), known)
    });
    distances
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Letters that are compared.
const WORD_CHARS_MAX: usize = 64;

/// Steps from one word to the other, each a letter inserted, removed, replaced or swapped with its neighbour.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let at = |line: &[usize], place: usize| line.get(place).copied().unwrap_or(usize::MAX / 2);
            let replaced = at(&last, column) + usize::from(letter != other);
            let mut best = replaced.min(at(&last, column + 1) + 1).min(at(&next, column) + 1);
            let is_swapped = row > 0
                && column > 0
                && from.get(row - 1) == Some(other)
                && to.get(column - 1) == Some(letter);
            if is_swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut last, next);
    }
    last.last().copied().unwrap_or_default()
}

/// How a mistake suggests it.
pub(super) fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    near_word(word, known).map(|near| format!("did you mean {near:?}? ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, expected: Option<&str>) {
        let known =
            ["name", "group", "where", "role", "scope", "maxPrincipals", "Backup Operator", "Backup Reader"];
        assert_eq!(near_word(word, known), expected, "{word}");
    }

    #[test]
    fn the_word_that_differs_least_is_meant() {
        check("Name", Some("name"));
        check("gruop", Some("group"));
        check("wher", Some("where"));
        check("maxPrincipal", Some("maxPrincipals"));
        check("backup operater", Some("Backup Operator"));
        for word in ["", "owner", "xyzzy", "Contributor", &"x".repeat(10_000)] {
            check(word, None);
        }
    }
}
