//! Whether this installation is in order, and what it can do at most. `gather` reads; everything else judges what was read.

pub mod facts;
pub mod finding;
pub mod gather;
mod limits;
mod people;
mod reach;
mod right;
pub mod rights;
mod work;

use facts::DoctorFacts;
use finding::{Finding, Level};
use rights::GreatestDamage;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    pub damage: GreatestDamage,
    /// The worst first.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// Whether something needs a person.
    pub fn has_findings(&self) -> bool {
        self.findings.iter().any(|finding| matches!(finding.level, Level::Error | Level::Warning))
    }
}

/// Judges what was read.
pub fn examine(facts: &DoctorFacts) -> Diagnosis {
    let (mut findings, damage) = rights::judge(facts);
    findings.extend(limits::judge(facts));
    findings.extend(people::judge(facts));
    findings.extend(work::judge(facts));
    findings.extend(reach::judge(facts));
    Diagnosis { damage, findings: finding::merged(findings) }
}

#[cfg(test)]
mod tests;
