//! Whether this installation is in order, and what it can do at most. `gather` reads; everything else judges what was read.

mod audit;
mod azure;
pub mod damage;
pub mod facts;
pub mod finding;
pub mod gather;
mod identity;
mod installation;
mod limits;
pub(in crate::service::access) mod people;
mod reach;
mod right;
mod rights;
mod work;

use damage::GreatestDamage;
use facts::DoctorFacts;
use finding::{Finding, Level};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    pub damage: GreatestDamage,
    /// There are scopes, and of none the role assignments could be read.
    pub is_azure_unread: bool,
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
    let (mut findings, damage) = rights::check_rights(facts);
    findings.extend(limits::check_limits(facts));
    findings.extend(people::check_people(facts));
    findings.extend(installation::check_installation(facts));
    findings.extend(work::check_work(facts));
    findings.extend(audit::check_audit(facts));
    findings.extend(reach::check_reach(facts));
    findings.extend(identity::check_identity(&facts.identity));
    let is_azure_unread =
        !facts.scopes.is_empty() && facts.scopes.iter().all(|scope| scope.assignments.is_err());
    Diagnosis { damage, is_azure_unread, findings: finding::merged(findings) }
}

#[cfg(test)]
mod tests;
