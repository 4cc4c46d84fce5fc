//! Whether the audit is sealed, and whether what was sealed is evidence.

use super::facts::DoctorFacts;
use super::finding::{Finding, Mender};
use crate::store::audit_chain::ChainState;

/// What is wrong with the chain of heads. Before the first head there is nothing to say.
pub fn check_audit(facts: &DoctorFacts) -> Vec<Finding> {
    let Some(chain) = facts.work.chain.as_ref().filter(|chain| chain.next > 0) else { return Vec::new() };
    let mut findings = Vec::new();
    findings.extend(damaged(chain));
    if chain.forked {
        let what = format!("the container has another head {} of the audit than the table", chain.published);
        findings.push(
            Finding::error("audit", what, "nothing more is sealed")
                .mend(Mender::BackupAdmin, "give this installation a container of its own"),
        );
    } else if chain.is_behind(facts.work.now) {
        let what = format!("the audit of {} is not sealed", chain.day);
        findings.push(
            Finding::warning("audit", what, "until it is, its records can be changed without a trace")
                .mend(Mender::BackupAdmin, "the log says why: the container may refuse the service"),
        );
    }
    if chain.published == 0 {
        let why = "they prove nothing against a person who can write the table";
        findings.push(
            Finding::warning("audit", "the heads of the audit are in the table alone", why)
                .mend(Mender::BackupAdmin, "deploy the container, and set AUDIT_HEADS_ENDPOINT"),
        );
    }
    findings
}

fn damaged(chain: &ChainState) -> Option<Finding> {
    let first = chain.damaged.first()?;
    let what =
        format!("sealed audit records were changed or removed: heads {}, first {first}", chain.damaged.len());
    let finding = Finding::error("audit", what, "the table no longer holds what was sealed");
    Some(finding.mend(Mender::Operator, "`audit export`, then `audit verify`: it names the first record"))
}
