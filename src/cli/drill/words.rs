//! A drill in words, and as JSON.

use crate::audit::rfc3339;
use crate::error_chain::escape_control;
use crate::ports::role_assignments::EFFECTIVE_AFTER;
use crate::store::drills::{DrillResult, StepTimes};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

pub(super) fn to_text(result: &DrillResult) -> String {
    let drill = &result.drill;
    let how = match &drill.failure {
        None => "green".to_owned(),
        Some(failure) => format!("red in phase {}: {}", failure.phase, failure.reason),
    };
    let mut lines = vec![format!("drill {}  {}  {how}", drill.id, moment(result.ended))];
    lines.extend(line_of("grant", &drill.grant, "held in Azure"));
    lines.extend(line_of("revocation", &drill.revocation, "gone in Azure"));
    let effective = effective(&drill.revocation).map(moment);
    lines.extend(effective.map(|at| format!("  in force everywhere by {at}")));
    escape_lines(&lines)
}

fn escape_lines(lines: &[String]) -> String {
    lines.iter().map(|line| escape_control(line)).collect::<Vec<_>>().join("\n")
}

/// When it was received, and how long after that the rest was.
fn line_of(step: &str, times: &StepTimes, seen: &str) -> Option<String> {
    let received = times.received?;
    let after = |what: &str, time: Option<OffsetDateTime>| {
        Some(format!(", {what} after {} ms", (time? - received).whole_milliseconds()))
    };
    let rest = [after("opened", times.opened), after("confirmed", times.confirmed), after(seen, times.seen)];
    let rest: String = rest.into_iter().flatten().collect();
    Some(format!("  {step:<10}  received {}{rest}", moment(received)))
}

/// A time to the millisecond.
pub(super) fn moment(time: OffsetDateTime) -> String {
    rfc3339(time.replace_millisecond(time.millisecond()).unwrap_or(time))
}

/// By when Azure has ended it everywhere.
fn effective(revocation: &StepTimes) -> Option<OffsetDateTime> {
    revocation.confirmed.map(|confirmed| confirmed + EFFECTIVE_AFTER)
}

pub(super) fn to_json(result: &DrillResult) -> Value {
    let drill = &result.drill;
    let mut revocation = times_json(&drill.revocation);
    revocation.insert("effective".to_owned(), json!(effective(&drill.revocation).map(moment)));
    json!({
        "drill": drill.id.to_string(), "state": if result.is_green() { "green" } else { "red" },
        "phase": drill.failure.as_ref().map(|failure| &failure.phase),
        "reason": drill.failure.as_ref().map(|failure| &failure.reason),
        "setOff": drill.set_off, "began": moment(drill.began), "ended": moment(result.ended),
        "grant": times_json(&drill.grant), "revocation": revocation,
    })
}

fn times_json(times: &StepTimes) -> Map<String, Value> {
    times.each().into_iter().map(|(name, time)| (name.to_owned(), json!(time.map(moment)))).collect()
}
