//! What the state says of the work that waits.

use super::facts::{DoctorFacts, WorkFacts};
use super::finding::{Finding, Mender};
use crate::audit::rfc3339;
use std::time::Duration;

/// A tick that is longer ago means that no process ticks.
const NO_TICK_AFTER: Duration = Duration::from_secs(900);

/// What is left undone, and what holds it.
pub fn judge(facts: &DoctorFacts) -> Vec<Finding> {
    let work = &facts.work;
    let mut findings: Vec<Finding> = ticks(work).into_iter().collect();
    findings.extend(overdue(work));
    findings.extend(held(work));
    if let Some(stamp) = &work.pending {
        let what = format!("a bundled file of bindings waits ({stamp})");
        findings.push(
            Finding::warning("work", what, "the former bindings stay active")
                .mend(Mender::Operator, "`plan --pending`, then `apply`"),
        );
    }
    findings.extend(seen(work));
    if findings.is_empty() {
        findings.push(Finding::ok("work", "nothing is overdue, held or refused, and a process ticks"));
    }
    findings
}

fn ticks(work: &WorkFacts) -> Option<Finding> {
    let restart = "start the service, and look for `a tick ended early` in its log";
    match work.counted {
        None => Some(
            Finding::warning("work", "no process has ticked yet", "what waits is not taken up")
                .mend(Mender::Operator, restart),
        ),
        Some(counted) if counted + NO_TICK_AFTER < work.now => Some(
            Finding::error(
                "work",
                format!("no process has ticked since {}", rfc3339(counted)),
                "what waits is not taken up",
            )
            .mend(Mender::Operator, restart),
        ),
        Some(_) => None,
    }
}

fn overdue(work: &WorkFacts) -> Option<Finding> {
    let overdue = &work.overdue;
    if overdue.people == 0 {
        return None;
    }
    let reasons: Vec<String> =
        overdue.by_reason.iter().map(|(reason, people)| format!("{reason} {people}")).collect();
    let since = overdue.oldest.map(|oldest| format!(", the first since {}", rfc3339(oldest)));
    let why = format!("by reason: {}{}", reasons.join(", "), since.unwrap_or_default());
    let what = format!("{} people still hold what was taken from them", overdue.people);
    Some(
        Finding::error("work", what, why)
            .mend(Mender::Operator, "`explain` one of them; /healthz with a token names them"),
    )
}

fn held(work: &WorkFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if work.paused {
        findings.push(
            Finding::warning("work", "an operator's pause lasts", "only people who leave lose roles")
                .mend(Mender::Operator, "`resume`"),
        );
    }
    if work.batches > 0 {
        let what = format!("batches that a breaker holds: {}", work.batches);
        let why = format!("{} people wait in them", work.overdue.in_batches);
        findings.push(
            Finding::warning("work", what, why).mend(Mender::Operator, "`breaker`: release or reject them"),
        );
    }
    findings
}

fn seen(work: &WorkFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if work.scopes_refused > 0 {
        let what = format!("Azure refuses to list {} scopes to the service", work.scopes_refused);
        findings.push(
            Finding::error("work", what, "what changes there by hand is not seen")
                .mend(Mender::AzureAdmin, "give the service its right at the scopes"),
        );
    }
    let foreign = work.swept.foreign_assignments.number();
    if foreign > 0 {
        let what = format!("assignments at bound scopes that others made: {foreign}");
        findings.push(
            Finding::warning("work", what, "they give access to backups beside the bindings")
                .mend(Mender::AzureAdmin, "`report` lists them; delete what should not be"),
        );
    }
    findings
}
