//! The rows of the page of facts: a heading with id and fact, labelled lines, and a command in a fence.

use super::super::markdown::{Document, heading};

/// A row.
#[derive(Debug, Clone)]
pub struct Fact {
    pub id: String,
    pub section: String,
    /// Label and text, in their order.
    pub lines: Vec<(String, String)>,
    pub commands: Vec<String>,
}

impl Fact {
    /// What a label says; nothing where there is none.
    pub fn line(&self, label: &str) -> &str {
        self.lines.iter().find(|(name, _)| name == label).map_or("", |(_, text)| text)
    }

    fn take(&mut self, line: &str) {
        if let Some((label, text)) = line.strip_prefix("- ").and_then(|line| line.split_once(':')) {
            self.lines.push((label.to_owned(), text.trim().to_owned()));
        } else if let Some((_, text)) = self.lines.last_mut().filter(|_| line.starts_with("  ")) {
            text.push_str(&format!(" {}", line.trim()));
        }
    }
}

/// Every row, in the order of the page.
pub fn facts(page: &Document) -> Vec<Fact> {
    let mut facts: Vec<Fact> = Vec::new();
    let mut section = String::new();
    let mut is_command = false;
    let mut is_open = false;
    for line in page.text.lines() {
        let fence = line.starts_with("```");
        is_command ^= fence;
        if fence {
            continue;
        }
        if let Some(title) = heading(line).filter(|_| !is_command) {
            is_open = line.starts_with("### F-");
            if is_open {
                let id = title.split(' ').next().unwrap_or_default().to_owned();
                let section = section.clone();
                facts.push(Fact { id, section, lines: Vec::new(), commands: Vec::new() });
            } else {
                section = title.to_owned();
            }
        } else if let Some(fact) = facts.last_mut().filter(|_| is_open) {
            if is_command {
                fact.commands.push(line.to_owned());
            } else {
                fact.take(line);
            }
        }
    }
    facts
}
