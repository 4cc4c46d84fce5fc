//! Who or what has some words in its names: suggestions where a text means nothing exactly.

use crate::scim::compare::{self, CaseMode};

/// Names that are told; more are counted.
pub const TOLD_MAX: usize = 10;
/// Rows that are read for it.
const ROWS_MAX: usize = 100_000;

/// Those with the words in their names, in the order of the rows.
#[derive(Debug, Clone)]
pub struct NamedLike<I> {
    words: Vec<String>,
    rows_read: usize,
    /// Each by its first name, at most [`TOLD_MAX`].
    pub told: Vec<(I, String)>,
    /// How many more there are among the rows that were read.
    pub more: usize,
}

impl<I> NamedLike<I> {
    pub(super) fn of(words: &str) -> Self {
        let words = words.split_whitespace().map(|word| compare::key(word, CaseMode::Folded));
        let words = words.filter(|word| !word.is_empty()).collect();
        Self { words, rows_read: 0, told: Vec::new(), more: 0 }
    }

    pub(super) fn may_read_on(&self) -> bool {
        !self.words.is_empty() && !self.is_cut()
    }

    /// There are rows that were not read.
    pub const fn is_cut(&self) -> bool {
        self.rows_read >= ROWS_MAX
    }

    /// Takes one of a row, where every word is in one of its names.
    pub(super) fn take(&mut self, id: I, names: &[&str]) {
        self.rows_read += 1;
        let keys: Vec<String> = names.iter().map(|name| compare::key(name, CaseMode::Folded)).collect();
        let is_there = |word: &String| keys.iter().any(|key| key.contains(word));
        let Some(first) = names.first().filter(|_| self.words.iter().all(is_there)) else { return };
        match self.told.len() < TOLD_MAX {
            true => self.told.push((id, (*first).to_owned())),
            false => self.more += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &str, expected: &[usize]) {
        let mut found = NamedLike::of(words);
        if found.may_read_on() {
            found.take(1, &["kim.sorensen@contoso.example", "Kim Sorensen"]);
            found.take(2, &["ana@contoso.example", "Ana KIM"]);
            found.take(3, &[]);
        }
        assert_eq!(found.told.iter().map(|(id, _)| *id).collect::<Vec<_>>(), expected, "{words}");
    }

    #[test]
    fn every_word_is_in_a_name_without_case() {
        check("KIM", &[1, 2]);
        check("sorensen  Kim", &[1]);
        check("contoso", &[1, 2]);
        check("kim-sorensen", &[]);
        check(" ", &[]);
        check("\u{200b}", &[]);
    }

    #[test]
    fn ten_are_told_and_the_others_counted() {
        let mut found = NamedLike::of("a");
        (0..25).for_each(|id| found.take(id, &["ana"]));
        assert_eq!((found.told.len(), found.more, found.is_cut()), (10, 15, false));
    }
}
