//! What the host would have sent to Application Insights: calls (`requests`) and console lines (`traces`).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// More lines than this are not kept; the newest go.
const LINES_MAX: usize = 100_000;

/// One call of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub function: String,
    pub invocation_id: String,
    /// As the handler saw it.
    pub traceparent: String,
    pub method: String,
    /// The path that the client sent, without its query.
    pub path: String,
    /// What the client was answered.
    pub status: u16,
    pub duration: Duration,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// No failure on the way. A 500 that the handler answered is a success; alerts must use the status.
    pub success: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Facts: F-150.
    Information,
    /// Facts: F-150.
    Warning,
    /// Facts: F-150.
    Error,
}

/// One line that the handler wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub level: Level,
    pub text: String,
    /// Began with the prefix that sends a line to the host's own logs; it does not appear in Application Insights.
    pub diverted: bool,
}

const DIVERTING_PREFIX: &str = "LanguageWorkerConsoleLog";

impl Line {
    pub fn stdout(text: &str) -> Self {
        Self::new(Level::Information, text)
    }

    /// The host reads the level of an error line from its text.
    pub fn stderr(text: &str, stderr_is_for_errors: bool) -> Self {
        let lower = text.to_lowercase();
        let bad = ["error", "fail", "severe", "unhandled exception"].iter().any(|word| lower.contains(word));
        let level = if lower.contains("warn") {
            Level::Warning
        } else if stderr_is_for_errors || bad {
            Level::Error
        } else {
            Level::Information
        };
        Self::new(level, text)
    }

    fn new(level: Level, text: &str) -> Self {
        let short = text.strip_prefix(DIVERTING_PREFIX);
        Self { level, text: short.unwrap_or(text).to_owned(), diverted: short.is_some() }
    }
}

/// Called with each line as it comes.
pub type Relay = Box<dyn Fn(&Line) + Send + Sync>;

/// Everything recorded so far.
#[derive(Default)]
pub struct Records {
    calls: Mutex<Vec<Call>>,
    lines: Mutex<Vec<Line>>,
    relay: Option<Relay>,
}

impl Records {
    pub fn new(relay: Option<Relay>) -> Self {
        Self { relay, ..Self::default() }
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn push_line(&self, line: Line) {
        if let Some(relay) = &self.relay {
            relay(&line);
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < LINES_MAX {
            lines.push(line);
        }
    }

    fn push_call(&self, call: Call) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }
}

/// A call under way. It is recorded once: when it is finished, or as a failure when it is dropped before.
pub struct OpenCall {
    records: std::sync::Arc<Records>,
    started: Instant,
    call: Option<Call>,
}

impl OpenCall {
    pub fn new(records: std::sync::Arc<Records>, call: Call) -> Self {
        Self { records, started: Instant::now(), call: Some(call) }
    }

    pub fn change(&mut self, change: impl FnOnce(&mut Call)) {
        if let Some(call) = &mut self.call {
            change(call);
        }
    }

    /// Facts: F-187.
    pub fn finish(&mut self, success: bool) {
        if let Some(mut call) = self.call.take() {
            call.duration = self.started.elapsed();
            call.success = success;
            self.records.push_call(call);
        }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.finish(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Facts: F-150.
    #[test]
    fn standard_error_is_an_error_unless_its_text_says_warn() {
        assert_eq!(Line::stderr("{\"level\":\"WARN\"}", true).level, Level::Warning);
        assert_eq!(Line::stderr("listening", true).level, Level::Error);
        assert_eq!(Line::stdout("an error").level, Level::Information);
    }

    #[test]
    fn with_the_switch_off_standard_error_is_information_unless_its_text_says_error() {
        assert_eq!(Line::stderr("listening", false).level, Level::Information);
        assert_eq!(Line::stderr("it Failed", false).level, Level::Error);
        assert_eq!(Line::stderr("a warning, no error", false).level, Level::Warning);
    }

    #[test]
    fn a_prefix_diverts_a_line_to_the_hosts_own_logs() {
        let line = Line::stdout("LanguageWorkerConsoleLogstarted");
        assert!(line.diverted);
        assert_eq!(line.text, "started");
    }
}
