//! What the state says of the work that waits.

use super::facts::{DoctorFacts, WorkFacts};
use super::finding::{Finding, Mender};
use crate::audit::rfc3339;
use crate::ports::connectivity::KNOWN_FOR;
use std::collections::BTreeMap;
use std::time::Duration;

/// A sweep begins every hour. One that began longer ago, and none after it that ended, means that they do not come to an end.
const NO_SWEEP_AFTER: Duration = Duration::from_secs(6 * 3600);
/// A change that is older should be reconciled.
const WAITS_AFTER: Duration = Duration::from_secs(3600);
/// A tick that is longer ago means that no process ticks.
const NO_TICK_AFTER: Duration = Duration::from_secs(900);

/// What is left undone, and what holds it.
pub fn check_work(facts: &DoctorFacts) -> Vec<Finding> {
    let work = &facts.work;
    let mut findings = Vec::new();
    if work.overdue_unreadable {
        findings.push(unread("tick", "whether revocations are overdue is not known"));
    } else {
        findings.extend(ticks(work));
        findings.extend(unreachable(work));
        findings.extend(overdue(work));
        findings.extend(waits(work));
    }
    findings.extend(held(work));
    if let Some(stamp) = &work.pending {
        let what = format!("a bundled file of bindings waits ({stamp})");
        findings.push(
            Finding::warning("work", what, "the former bindings stay active")
                .mend(Mender::Operator, "`plan --pending`, then `apply`"),
        );
    }
    if work.sweep_unreadable {
        findings.push(unread("sweep", "what it found is not known"));
    } else {
        findings.extend(sweeps(work));
        findings.extend(seen(work));
    }
    if findings.is_empty() {
        let what = "by the last tick and sweep nothing is overdue, held or refused, and a process ticks";
        findings.push(Finding::ok("work", what));
    }
    if work.brakes > 0 {
        let what =
            format!("people whom operators revoked, and who get no role until `lift`: {}", work.brakes);
        findings.push(Finding::ok("work", what));
    }
    findings
}

fn unread(row: &str, why: &str) -> Finding {
    Finding::error("work", format!("the row that the last {row} left cannot be read"), why)
        .mend(Mender::Operator, "deploy the release that wrote it; else the next one writes it anew")
}

/// It may be quarantined: only the process knows that.
fn waits(work: &WorkFacts) -> Option<Finding> {
    let oldest = work.oldest_request.filter(|oldest| *oldest + WAITS_AFTER < work.now)?;
    let what = format!("a change of {} waits for its reconcile", rfc3339(oldest));
    Some(
        Finding::warning("work", what, "what it gives or takes has not happened")
            .mend(Mender::Operator, "/healthz with a token names what is set aside"),
    )
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

fn sweeps(work: &WorkFacts) -> Option<Finding> {
    let what = match work.swept.counted {
        None => "no sweep has ended yet".to_owned(),
        Some(began) if began + NO_SWEEP_AFTER < work.now => {
            format!("no sweep that began after {} has ended", rfc3339(began))
        }
        Some(_) => return None,
    };
    Some(
        Finding::warning(
            "work",
            what,
            "what is changed by hand in Azure is not seen, nor what waits for Azure",
        )
        .mend(Mender::Operator, "look for `sweep` in the log of the service"),
    )
}

/// From where the service runs; what this command reaches from here is found apart.
fn unreachable(work: &WorkFacts) -> Vec<Finding> {
    let known = work.unreachable.iter().filter(|(_, stored)| stored.seen + KNOWN_FOR > work.now);
    known
        .map(|(dependency, stored)| {
            let (name, since) = (dependency.as_str(), rfc3339(stored.since));
            let what = format!("the service does not reach {name} since {since}: {}", stored.kind.as_str());
            let how = "its log names the address and the cause: `a dependency cannot be reached`";
            Finding::error("work", what, stored.kind.in_words()).mend(Mender::Operator, how)
        })
        .collect()
}

fn overdue(work: &WorkFacts) -> Option<Finding> {
    let overdue = &work.overdue;
    if overdue.people == 0 {
        return None;
    }
    let since = overdue.oldest.map(|oldest| format!(", the first since {}", rfc3339(oldest)));
    let why = format!("{}{}", by_reason(&overdue.by_reason), since.unwrap_or_default());
    let what = format!("{} people still hold what was taken from them", overdue.people);
    Some(
        Finding::error("work", what, why)
            .mend(Mender::Operator, "`explain` one of them; /healthz with a token names them"),
    )
}

fn by_reason(numbers: &BTreeMap<String, usize>) -> String {
    let reasons: Vec<String> = numbers.iter().map(|(reason, number)| format!("{reason} {number}")).collect();
    format!("by reason: {}", reasons.join(", "))
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
    if work.swept.scopes_unsurveyed > 0 {
        let what = format!(
            "Azure did not show the service everything that others gave at {} scopes",
            work.swept.scopes_unsurveyed
        );
        findings.push(
            Finding::warning("work", what, "access that was given by hand there may not be recorded")
                .mend(Mender::Operator, "look for `who else has access` in the log of the service"),
        );
    }
    let waiting: usize = work.swept.by_reason.values().sum();
    if waiting > 0 {
        let what = format!("grants that wait or are refused: {waiting}");
        findings.push(
            Finding::warning("work", what, by_reason(&work.swept.by_reason))
                .mend(Mender::Operator, "`plan` lists the people; see the reason codes"),
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
