//! Requests in the words of an admin of an identity provider.

use crate::audit::{RecordedChange, rfc3339};
use crate::cli::counted::counted;
use crate::cli::explain::answers::sentence;
use crate::cli::explain::in_its_place;
use crate::cli::explain::mend::Mend;
use crate::cli::known_names::KnownNames;
use crate::cli::short_scope::short;
use crate::error_chain::escape_control;
use crate::id::RequestId;
use crate::rbac::ReasonCode;
use crate::rbac::arm_scope::ArmScope;
use crate::service::access::explain::{Answer, BindingAnswer, ExplainedBindings, Explanation};
use crate::service::access::groups::ArrivedGroup;
use crate::service::access::preview::PersonState;
use crate::service::request_log::history::AppliedRequest;
use crate::store::StoreError;
use crate::store::request_log::{RefusalCount, UnappliedRequest};
use serde_json::Value;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// What records have in place of the text of a member that is no id.
const NO_ID: &str = "not-an-id";
/// Changes of one kind that one line names.
const NAMED_MAX: usize = 5;
/// Lines about effects below one request.
const EFFECTS_MAX: usize = 20;

/// A request that was applied: what it changed, what was left out, and what Azure answered.
pub(super) async fn of_applied(
    applied: &AppliedRequest,
    names: &mut KnownNames<'_>,
) -> Result<Vec<String>, StoreError> {
    let status = applied.status.map(|status| format!(" {status}")).unwrap_or_default();
    let request = applied.request.as_ref().map(|request| format!("  (request {request})"));
    let token = escape_control(&applied.token);
    let head = format!("{}  {token}  stored{status}{}", clock(applied.time), request.unwrap_or_default());
    let mut changed: BTreeMap<(u8, String), Vec<String>> = BTreeMap::new();
    for stored in &applied.changes {
        let ChangeWords { rank, before, name } = change(stored, names).await?;
        changed.entry((rank, before)).or_default().push(name);
    }
    let changed = changed.into_iter().map(|((_, before), named)| {
        let more = named.len().saturating_sub(NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let shown: Vec<String> = named.into_iter().take(NAMED_MAX).collect();
        format!("    {before}{}{more}", shown.join(", "))
    });
    let mut lines: Vec<String> = [head].into_iter().chain(changed).collect();
    let opened = opened_steps(applied);
    for (time, stored) in applied.effects.iter().take(EFFECTS_MAX) {
        let line = effect(stored, &opened, names).await?;
        lines.extend(line.map(|line| format!("    Azure, {}: {line}", clock(*time))));
    }
    let more = applied.effects.len().saturating_sub(EFFECTS_MAX);
    if more > 0 {
        lines.push(format!("    Azure: {more} more, which --json lists"));
    }
    Ok(lines)
}

/// A change in words. Changes with the same rank and beginning share a line.
struct ChangeWords {
    rank: u8,
    before: String,
    name: String,
}

async fn change(stored: &Value, names: &mut KnownNames<'_>) -> Result<ChangeWords, StoreError> {
    let change = RecordedChange::read(stored);
    let group = names.shown(change.text("group")).await?;
    let member = names.shown(change.text("member")).await?;
    let about = names.shown(change.text("id")).await?;
    let noun = change.text("type").to_ascii_lowercase();
    let (rank, before, name) = match kind(stored) {
        "resource-created" => (0, format!("created the {noun} "), about),
        "resource-deleted" => (0, format!("deleted the {noun} "), about),
        "resource-changed" => {
            let attributes = change.list("attributes").join(", ");
            (1, format!("changed the {noun} {about}: "), escape_control(&attributes))
        }
        "member-added" => (2, format!("added to {group}: "), member),
        "member-removed" => (3, format!("removed from {group}: "), member),
        "member-dropped" if change.text("member") == NO_ID => {
            let text = "what was sent is no SCIM id, and is not kept".to_owned();
            (4, format!("left out of {group}, since members are named by the SCIM id: "), text)
        }
        "member-dropped" => {
            (4, format!("left out of {group}, since nothing that can be its member has this id: "), member)
        }
        "attributes-dropped" => (5, "left out: ".to_owned(), dropped(&change)),
        _ if change.is_of_kind("principal-pinned") => {
            let person = names.shown(change.text("person")).await?;
            (6, format!("{person} is the Entra object "), escape_control(change.text("principal")))
        }
        _ if change.is_of_kind("principal-released") => {
            let person = names.shown(change.text("person")).await?;
            (6, format!("{person} is no longer the Entra object "), escape_control(change.text("principal")))
        }
        _ if change.is_of_kind("selector-pinned") => {
            (6, format!("the binding that asks for this {} means ", change.text("attribute")), group)
        }
        _ => (7, String::new(), escape_control(&change.describe())),
    };
    Ok(ChangeWords { rank, before, name })
}

fn kind(stored: &Value) -> &str {
    stored.get("kind").and_then(Value::as_str).unwrap_or_default()
}

fn dropped(change: &RecordedChange<'_>) -> String {
    let reasons = change.list("reasons");
    let named = change.list("attributes").into_iter().enumerate().map(|(place, name)| {
        let why = reasons.get(place).map(|reason| format!(" ({reason})")).unwrap_or_default();
        escape_control(&format!("{name}{why}"))
    });
    named.collect::<Vec<_>>().join(", ")
}

/// Role and scope of the steps that were opened, by assignment.
fn opened_steps(applied: &AppliedRequest) -> BTreeMap<String, String> {
    let opened = applied.effects.iter().map(|(_, effect)| effect);
    let opened = opened.filter(|effect| kind(effect) == "effect-opened").map(RecordedChange::read);
    let named = opened.map(|step| {
        let what = format!("{} at {}", step.text("role"), short_scope(step.text("scope")));
        (step.text("assignment").to_owned(), escape_control(&what))
    });
    named.collect()
}

/// What Azure answered, or what waits; nothing of a step that was only opened.
async fn effect(
    stored: &Value,
    opened: &BTreeMap<String, String>,
    names: &mut KnownNames<'_>,
) -> Result<Option<String>, StoreError> {
    let change = RecordedChange::read(stored);
    let person = names.shown(change.text("person")).await?;
    let is = |name: &str| stored.get(name).and_then(Value::as_bool).unwrap_or_default();
    let assignment = change.text("assignment");
    let what = opened.get(assignment).map_or(assignment, String::as_str);
    let operation = change.text("operation");
    Ok(match kind(stored) {
        "effect-answered" if is("executed") => Some(format!("{operation} done: {what} for {person}")),
        "effect-answered" => {
            let code = escape_control(change.text("code"));
            Some(format!("{operation} not done ({code}): {what} for {person}"))
        }
        "effect-observed" => {
            let holds = if is("held") { "holds" } else { "does not hold" };
            Some(format!("{person} {holds} {what}"))
        }
        "wait-changed" => Some(change.text("reason")).filter(|reason| !reason.is_empty()).map(|reason| {
            format!(
                "{operation} for {person} waits under {}: {}",
                change.text("binding"),
                escape_control(reason)
            )
        }),
        "step-held" => Some(format!("{operation} for {person} is held in batch {}", change.text("batch"))),
        _ => None,
    })
}

/// What a person has now through the bindings, and what would change it.
pub(super) fn of_present(explanation: &Explanation) -> Vec<String> {
    let name = explanation.user_name.as_deref().map_or_else(|| explanation.user.to_string(), escape_control);
    let answers = match &explanation.bindings {
        ExplainedBindings::Known(answers) => answers.as_slice(),
        ExplainedBindings::Absent => {
            return vec!["now: no bindings were ever stored: nothing is given".to_owned()];
        }
        ExplainedBindings::Unreadable => {
            return vec!["now: the active bindings cannot be read: nothing new is given".to_owned()];
        }
    };
    if let Some(mend) = Mend::of_state(explanation.state) {
        let state = explanation.state.as_str();
        let still = match answers.iter().filter(|answer| answer.holds).count() {
            0 => "holds no role of the bindings",
            _ => "still holds a role that is being taken",
        };
        return vec![format!(
            "now: {name} is {state} and {still}; to give roles, {} ({})",
            mend.how, mend.who
        )];
    }
    // The bindings of groups that the person is not in say nothing about a request.
    let is_told = |answer: &&BindingAnswer| {
        answer.holds || !matches!(answer.answer, Answer::NoGroup { .. } | Answer::NotMember { .. })
    };
    let told = answers.iter().filter(is_told);
    let lines: Vec<String> = told.flat_map(|answer| of_answer(&name, answer, explanation)).collect();
    match lines.is_empty() && explanation.state == PersonState::Active {
        true => vec![of_unbound(&name, explanation)],
        false => lines,
    }
}

fn of_unbound(name: &str, explanation: &Explanation) -> String {
    match explanation.groups.is_empty() {
        true => format!("now: {name} is in no group, so no role is due"),
        false => format!("now: no binding means a group of {name}, so no role is due; see `groups`"),
    }
}

fn of_answer(name: &str, answer: &BindingAnswer, explanation: &Explanation) -> Vec<String> {
    let BindingAnswer { binding, role, scope, .. } = answer;
    let sent = match &answer.answer {
        Answer::Wanted { reason: ReasonCode::PendingPrincipal, .. }
        | Answer::Blocked { reason: ReasonCode::PendingPrincipal, .. } => {
            format!("; no Entra object id{}", in_its_place(explanation))
        }
        _ => String::new(),
    };
    let since = answer.since.filter(|_| !answer.holds).map(|since| format!(", since {}", clock(since)));
    let since = since.unwrap_or_default();
    let place = escape_control(&short_scope(scope.as_str()));
    let now = format!("now: {name}, {role} at {place} ({binding}): {}{since}{sent}", sentence(answer));
    let mend = Mend::of(answer).map(|Mend { who, how }| format!("     what would change it: {how} ({who})"));
    [now].into_iter().chain(mend).collect()
}

fn short_scope(scope: &str) -> String {
    ArmScope::parse(scope).map_or_else(|| scope.to_owned(), |scope| short(&scope))
}

/// What a group gives its people: said where that is nothing, and why that may be.
pub(super) fn of_group(group: &ArrivedGroup) -> Option<String> {
    if !group.bindings.is_empty() || !group.above.is_empty() {
        return None;
    }
    let name = group.display_name.as_deref().map_or_else(|| group.id.to_string(), escape_control);
    let external = match &group.external_id {
        Some(value) => format!("its externalId is {:?}", escape_control(value)),
        None => "it has no externalId, which a binding could ask for".to_owned(),
    };
    Some(format!(
        "now: no binding means {name}, so its members get no role from it; {external}; `groups --unbound` prints a \
         binding to complete"
    ))
}

/// A request that was refused, or changed nothing.
pub(super) async fn of_unapplied(
    unapplied: &UnappliedRequest,
    names: &mut KnownNames<'_>,
) -> Result<Vec<String>, StoreError> {
    let UnappliedRequest { request, operation, first, last, times, call, .. } = unapplied;
    let outcome = match call.status {
        200..=299 => "not applied as a whole".to_owned(),
        status => format!("refused {status}"),
    };
    let keyword = call.scim_type.as_deref().map(|keyword| format!(" {keyword}")).unwrap_or_default();
    let again = match times {
        1 => String::new(),
        times => format!(", {times} times until {}", clock(*last)),
    };
    let place = operation.map(|number| format!(", operation {number}")).unwrap_or_default();
    let token = escape_control(&call.token);
    let head = format!("{}  {token}  {outcome}{keyword}{again}  (request {request}{place})", clock(*first));
    let method = if call.method.is_empty() { "PUT or PATCH" } else { call.method.as_str() };
    let target = match &call.target {
        Some(target) => format!(" {}", names.shown(target).await?),
        None => String::new(),
    };
    let is_valued = |name: &String| call.values.iter().any(|(valued, _)| valued == name);
    let mut values = Vec::new();
    for (name, texts) in &call.values {
        let mut shown = Vec::new();
        for text in texts {
            let known = if name.trim_start_matches("remove ").starts_with("members") {
                names.of(text).await?.cloned()
            } else {
                None
            };
            shown.push(match known {
                // An Entra object has a name too, and is no member by that id.
                Some(name) if names.is_of_entra(text).await? => {
                    format!("{name} by the Entra object id {text}")
                }
                Some(name) => name,
                None => format!("{text:?}"),
            });
        }
        values.push(format!("{name} {}", shown.join(", ")));
    }
    let values = values.into_iter();
    let asked: Vec<String> =
        values.chain(call.names.iter().filter(|name| !is_valued(name)).cloned()).collect();
    let asked = if asked.is_empty() { String::new() } else { format!(": {}", asked.join(", ")) };
    Ok(vec![
        head,
        escape_control(&format!("    {method} {}{target}{asked}", call.about)),
        escape_control(&format!("    {}", call.detail)),
    ])
}

/// That no row has this id.
pub(super) fn of_missing(id: RequestId, is_empty: bool) -> String {
    let time = id.time().map(clock).unwrap_or_default();
    let what = match is_empty {
        true => {
            "it changed nothing, or it was only counted, or it is not written yet (10 s), or it is older than 30 days"
        }
        false => "it may be one of these equal requests",
    };
    format!("no record has the id of this request, which came at {time}: {what}")
}

/// How often requests of one kind were refused within an hour.
pub(super) fn of_count(count: &RefusalCount) -> String {
    let kind = &count.kind;
    let keyword = kind.scim_type.as_deref().map(|keyword| format!(" {keyword}")).unwrap_or_default();
    let agent = match kind.user_agent.as_str() {
        "" => "a client without a name".to_owned(),
        agent => format!("{:?}", escape_control(agent)),
    };
    let why = if kind.status == 401 { ", no valid bearer token" } else { "" };
    let route = escape_control(&kind.route);
    let hour = clock(count.hour);
    let times = counted(usize::try_from(count.count).unwrap_or(usize::MAX), "time", "times");
    format!("in the hour of {hour}: {times} {}{keyword}{why}: {route} by {agent}", kind.status)
}

/// The time of a line, to the second.
fn clock(time: OffsetDateTime) -> String {
    rfc3339(time.replace_nanosecond(0).unwrap_or(time)).replacen('T', " ", 1)
}
