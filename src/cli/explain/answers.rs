//! The answers about bindings, as text and as JSON.

use super::mend::Mend;
use crate::audit::rfc3339;
use crate::error_chain::escape_control;
use crate::rbac::ReasonCode;
use crate::service::access::explain::{Answer, BindingAnswer};
use crate::service::access::preview::PersonState;
use serde_json::{Value, json};
use std::io::{self, Write};
use time::OffsetDateTime;

pub(super) fn write_bindings(
    out: &mut impl Write,
    state: PersonState,
    bindings: &[BindingAnswer],
) -> io::Result<()> {
    if let Some(mend) = Mend::of_state(state) {
        writeln!(out, "\nNo binding gives anything to a user who is {}.", state.as_str())?;
        write_mend(out, &mend)?;
        return bindings
            .iter()
            .filter(|answer| answer.holds)
            .try_for_each(|answer| write_answer(out, answer));
    }
    let (strange, mut others): (Vec<_>, Vec<_>) = bindings.iter().partition(|answer| is_strange(answer));
    others.sort_by_key(|answer| {
        let is_hindered = matches!(answer.answer, Answer::Wanted { .. } | Answer::Blocked { .. });
        !answer.holds && !is_hindered
    });
    others.into_iter().try_for_each(|answer| write_answer(out, answer))?;
    if strange.is_empty() {
        return Ok(());
    }
    let named = strange.iter().filter_map(|answer| match &answer.answer {
        Answer::NotMember { group, .. } => Some(format!("{} ({})", escape_control(group), answer.binding)),
        _ => None,
    });
    writeln!(out, "\nnot a member of: {}", named.collect::<Vec<_>>().join(", "))?;
    write_mend(out, &Mend::of_stranger())
}

/// The person has nothing to do with the binding.
pub(in crate::cli) fn is_strange(answer: &BindingAnswer) -> bool {
    matches!(answer.answer, Answer::NotMember { reason: None, .. }) && !answer.holds
}

fn write_answer(out: &mut impl Write, answer: &BindingAnswer) -> io::Result<()> {
    let BindingAnswer { binding, role, scope, .. } = answer;
    writeln!(out, "\n{binding}: {role} at {}", scope.as_str())?;
    writeln!(out, "  {}", sentence(answer))?;
    let since = answer.since.map(seconds).unwrap_or_default();
    match answer.still_held {
        Some(ReasonCode::KeptByOrder) => {
            writeln!(out, "  still holds it: an operator rejected the revocation (kept-by-order)")?;
        }
        Some(ReasonCode::ForeignAssignment) => {
            writeln!(out, "  still holds it: an assignment that this service did not make gives the same")?;
        }
        Some(reason) => writeln!(out, "  still holds it; it is to be taken, since {since} ({reason})")?,
        None => {}
    }
    Mend::of(answer).map_or(Ok(()), |mend| write_mend(out, &mend))
}

fn write_mend(out: &mut impl Write, Mend { who, how }: &Mend) -> io::Result<()> {
    writeln!(out, "  what would change it: {how} ({who})")
}

/// Yes or no, and why, in a sentence.
pub(in crate::cli) fn sentence(answer: &BindingAnswer) -> String {
    let since = answer.since.map(|since| format!(" since {}", seconds(since))).unwrap_or_default();
    match &answer.answer {
        Answer::Wanted { way, reason: ReasonCode::Member } => format!("yes{since}: {}", escape_control(way)),
        Answer::Wanted { way, reason: ReasonCode::ForeignAssignment } => {
            format!("yes{since}, by an assignment that others made: {}", escape_control(way))
        }
        Answer::Wanted { way, reason } if answer.holds => {
            format!("yes{since} ({reason}): {}", escape_control(way))
        }
        Answer::Wanted { way, reason } => format!("not yet ({reason}): {}", escape_control(way)),
        Answer::Blocked { way: Some(way), reason } => format!("no ({reason}): {}", escape_control(way)),
        Answer::Blocked { way: None, reason } => format!("no ({reason})"),
        Answer::Deleted => "no: the user is deleted".to_owned(),
        Answer::Inactive => "no: the user is not active".to_owned(),
        Answer::NoGroup { attribute, value } => {
            format!("no: there is no group whose {attribute} is {:?}", escape_control(value))
        }
        Answer::NotMember { group, reason: None } => format!("no: not a member of {}", escape_control(group)),
        Answer::NotMember { group, reason: Some(reason) } => {
            format!("no: not a member of {}, and it gives nothing new ({reason})", escape_control(group))
        }
        Answer::NoMatch { condition, values } => {
            let shown = values.iter().map(|(attribute, value)| match value {
                Some(value) => format!("{attribute} is {}", escape_control(&value.to_string())),
                None => format!("{attribute} is not set"),
            });
            let shown: Vec<String> = shown.collect();
            format!("no: where {} does not match; {}", escape_control(condition), shown.join(", "))
        }
    }
}

pub(in crate::cli) fn seconds(time: OffsetDateTime) -> String {
    rfc3339(time.replace_nanosecond(0).unwrap_or(time))
}

pub(in crate::cli) fn answer_json(answer: &BindingAnswer) -> Value {
    let mend = Mend::of(answer);
    let (way, values, condition) = match &answer.answer {
        Answer::Wanted { way, .. } => (Some(way), None, None),
        Answer::Blocked { way, .. } => (way.as_ref(), None, None),
        Answer::NoMatch { condition, values } => (None, Some(values), Some(condition)),
        _ => (None, None, None),
    };
    json!({
        "binding": answer.binding.as_str(), "role": answer.role.name(), "scope": answer.scope.as_str(),
        "wanted": matches!(answer.answer, Answer::Wanted { .. }), "holds": answer.holds,
        "why": answer.answer.code(), "sentence": sentence(answer), "path": way,
        "where": condition, "values": values, "since": answer.since.map(rfc3339),
        "stillHeld": answer.still_held.map(ReasonCode::as_str),
        "change": mend.as_ref().map(|mend| &mend.how), "who": mend.as_ref().map(|mend| mend.who),
    })
}
