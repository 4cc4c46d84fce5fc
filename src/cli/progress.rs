//! How far long work is, where a person watches: on a terminal, on one line that goes away. A pipe sees nothing of it.

use std::io::{self, IsTerminal};

/// A number that grows.
pub(super) struct Progress {
    what: &'static str,
    every: usize,
    shown: bool,
}

impl Progress {
    /// `every`: how much the number grows between two updates.
    pub(super) fn begin(what: &'static str, every: usize) -> Self {
        Self { what, every, shown: io::stderr().is_terminal() }
    }

    #[expect(clippy::print_stderr, reason = "not part of the result")]
    pub(super) fn show(&self, number: usize) {
        if self.shown && number.is_multiple_of(self.every) {
            eprint!("\r{}: {number}", self.what);
        }
    }

    #[expect(clippy::print_stderr, reason = "not part of the result")]
    pub(super) fn end(&self) {
        if self.shown {
            eprint!("\r\u{1b}[K");
        }
    }
}
