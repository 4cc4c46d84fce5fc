//! `explain`: why a person has, or has not, what each binding gives; whose an assignment is, and why it is there.

pub(super) mod answers;
mod assignment;
pub(super) mod mend;
mod others;
mod past;

use crate::audit::rfc3339;
use crate::cli::json_line::json_line;
use crate::cli::operator::{OperatorArguments, OperatorError, active_bindings, one_person_ever, run_command};
use crate::cli::past::{history, lines_about_past, moment};
use crate::error_chain::escape_control;
use crate::id::{PrincipalId, UserId};
use crate::service::access::assignments::find_assignment;
use crate::service::access::explain::behind::{BrakeInForce, OtherHolder};
use crate::service::access::explain::{self, ExplainedBindings, Explanation};
use crate::service::access::grants::GrantView;
use crate::service::access::preview::PersonState;
use crate::service::bindings::active::ActiveSnapshot;
use crate::store::StateStore;
use answers::{answer_json, seconds, write_bindings};
use assignment::Told;
pub(in crate::cli) use mend::Mend;
use others::OthersGave;
use past::PastAccess;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::process::ExitCode;

/// Groups of a person that the text lists; --json has them all.
const GROUPS_LISTED_MAX: usize = 50;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A person: a userName, mail address, Entra object id or SCIM id; of a deleted user too. Or a role assignment, by its
    /// resource id or its name.
    #[arg(value_name = "PERSON|ASSIGNMENT")]
    about: String,
    /// What a person held at a past moment, by the audit: 2026-11-25, 2026-11-25T12:00:00Z, or back from now as 90m, 24h, 7d.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: OperatorArguments,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    run_command(async {
        let access = arguments.operator.whole_state().await?;
        let (store, about) = (&access.store, &arguments.about);
        if let Some(text) = &arguments.at {
            about_past(arguments, store, text).await?;
            return Ok(ExitCode::SUCCESS);
        }
        let person = if about.starts_with('/') { None } else { Some(one_person_ever(store, about).await?) };
        let snapshot = active_bindings(store).read(&store.pointer().await?).await?;
        match person.and_then(|person| Some((person.user?, person.principals))) {
            Some((user, principals)) => about_person(arguments, store, snapshot, user, &principals).await?,
            None => about_assignment(arguments, store, snapshot).await?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn about_past(arguments: &Arguments, store: &StateStore, at: &str) -> Result<(), OperatorError> {
    let time = moment(at, store.table_time().await?)?;
    let person = one_person_ever(store, &arguments.about).await?;
    let history = history(store).await?;
    let mut past = PastAccess::of(&history, &person, time);
    past.name_groups(store).await?;
    let mut out = io::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", json_line(&past.to_json()))?;
        return Ok(());
    }
    past.write_text(&mut out)?;
    let audit = arguments.operator.command_line("audit --kind bindings-activated --since 365d");
    writeln!(out, "\nWhat the bindings said then is in the audit:\n\n  {audit}")?;
    Ok(())
}

async fn about_assignment(
    arguments: &Arguments,
    store: &StateStore,
    snapshot: ActiveSnapshot,
) -> Result<(), OperatorError> {
    let named = assignment::named(&arguments.about);
    let known = match named {
        Some(name) => find_assignment(store, name).await?,
        None => None,
    };
    let known = known.ok_or_else(|| OperatorError::Usage(unknown(named.is_some())))?;
    let told = Told::of(store, snapshot, known).await?;
    let mut out = io::stdout().lock();
    match arguments.json {
        true => writeln!(out, "{}", json_line(&assignment::to_json(&told)))?,
        false => assignment::write_text(&mut out, &told)?,
    }
    Ok(())
}

async fn about_person(
    arguments: &Arguments,
    store: &StateStore,
    snapshot: ActiveSnapshot,
    user: UserId,
    principals: &BTreeSet<PrincipalId>,
) -> Result<(), OperatorError> {
    let Some(explanation) = explain::explain(store, snapshot, user).await? else {
        let past = lines_about_past(&arguments.operator, &user.to_string());
        return Err(OperatorError::Usage(format!("the user is gone, and left nothing here\n{past}")));
    };
    let by_others = OthersGave::to(store, principals).await?;
    let mut out = io::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", json_line(&to_json(&explanation, &by_others)))?;
        return Ok(());
    }
    write_text(&mut out, &explanation, &by_others)?;
    write_next(&mut out, &explanation, &arguments.operator)?;
    Ok(())
}

/// What else there is to read.
fn write_next(
    out: &mut impl Write,
    explanation: &Explanation,
    operator: &OperatorArguments,
) -> io::Result<()> {
    let id = explanation.user.to_string();
    if explanation.state != PersonState::Active {
        writeln!(out, "\n{}", lines_about_past(operator, &id))?;
    }
    let report = operator.command_line(&format!("report --person {id}"));
    writeln!(out, "\nWhat Azure shows now, also through Entra groups:\n\n  {report}")
}

fn unknown(may_be_an_id: bool) -> String {
    match may_be_an_id {
        true => "no user has this object id, and no role assignment of this name is known; of an object that is no user, \
                 `report --person ID` says what others gave it"
            .to_owned(),
        false => "this is no role assignment: its id ends in /roleAssignments/NAME".to_owned(),
    }
}

fn write_text(out: &mut impl Write, explanation: &Explanation, by_others: &OthersGave) -> io::Result<()> {
    let Explanation { user, user_name, state, principal, waits_for, bindings, others, .. } = explanation;
    let name = user_name.as_deref().map_or_else(|| user.to_string(), escape_control);
    writeln!(out, "{name}: {}", state.as_str())?;
    writeln!(out, "  SCIM id {user}")?;
    match (principal, waits_for) {
        (Some(principal), None) => writeln!(out, "  object id {principal}")?,
        (Some(principal), Some(_)) => writeln!(out, "  object id {principal}, which another user holds")?,
        (None, _) if *state == PersonState::Active && *bindings != ExplainedBindings::Unreadable => {
            writeln!(out, "  no Entra object id{}", in_its_place(explanation))?;
        }
        (None, _) => {}
    }
    write_hindrance(out, explanation)?;
    match bindings {
        ExplainedBindings::Known(bindings) => write_bindings(out, *state, bindings)?,
        ExplainedBindings::Absent => writeln!(out, "\nNo bindings were ever stored: nothing is given.")?,
        ExplainedBindings::Unreadable => writeln!(
            out,
            "\nThe active bindings cannot be read: what is held stays, unless the person is gone or inactive."
        )?,
    }
    for GrantView { binding, role, scope, holds, reason, since, .. } in others {
        let state = if *holds { "holds it" } else { "does not hold it" };
        writeln!(out, "\nin the ledger, through {binding}: {role} at {}", scope.as_str())?;
        writeln!(out, "  {state} since {} ({reason})", seconds(*since))?;
    }
    if explanation.rows_unreadable > 0 {
        let rows = explanation.rows_unreadable;
        writeln!(
            out,
            "\nRows of the ledger that cannot be read: {rows}. The person may hold more than this."
        )?;
    }
    if explanation.groups_are_cut {
        writeln!(out, "\nThe person is in more groups than are read: those beyond the limit give nothing.")?;
    }
    by_others.write_text(out)?;
    match groups_line(explanation) {
        Some(line) => writeln!(out, "\n{line}"),
        None => Ok(()),
    }
}

/// What was sent in place of an object id: a mapping that sends something else is the commonest mistake.
pub(super) fn in_its_place(explanation: &Explanation) -> String {
    let sent = explanation.sent_for_object_id.iter();
    let sent =
        sent.map(|(name, text)| format!("{name} is {:?}, which is no object id", escape_control(text)));
    let sent: Vec<String> = sent.collect();
    match sent.is_empty() {
        true => String::new(),
        false => format!(": the identity provider sends another attribute, {}", sent.join(" and ")),
    }
}

/// The groups that a person is in, and the bindings that mean them, where these are known.
fn groups_line(explanation: &Explanation) -> Option<String> {
    if explanation.state != PersonState::Active {
        return None;
    }
    let are_known = matches!(explanation.bindings, ExplainedBindings::Known(_));
    let named = explanation.groups.iter().take(GROUPS_LISTED_MAX).map(|group| {
        let bindings: Vec<&str> = group.bindings.iter().map(|binding| binding.as_str()).collect();
        let bound = match (are_known, bindings.is_empty()) {
            (false, _) => String::new(),
            (true, true) => " (not bound)".to_owned(),
            (true, false) => format!(" (bound by {})", bindings.join(", ")),
        };
        format!("{}{bound}", escape_control(&group.name))
    });
    let named: Vec<String> = named.collect();
    let more = explanation.groups.len() - named.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(match named.is_empty() {
        true => "groups: none".to_owned(),
        false => format!("groups: {}{more}", named.join(", ")),
    })
}

/// The brake, or who else holds the object id.
fn write_hindrance(out: &mut impl Write, explanation: &Explanation) -> io::Result<()> {
    if let Some(OtherHolder { user, user_name }) = &explanation.other_holder {
        let name = user_name.as_deref().map_or_else(|| "no name is kept".to_owned(), escape_control);
        writeln!(out, "  that user: {name}, SCIM id {user}")?;
    }
    if let Some(BrakeInForce { since, who, because }) = &explanation.brake {
        let since = since.map(|since| format!(" since {}", seconds(since))).unwrap_or_default();
        let by = who.as_deref().map(|who| format!(" by {}", escape_control(who))).unwrap_or_default();
        let why = because.as_deref().map(|why| format!(": {}", escape_control(why))).unwrap_or_default();
        writeln!(out, "  braked{since}{by}{why}")?;
    }
    Ok(())
}

fn to_json(explanation: &Explanation, by_others: &OthersGave) -> Value {
    let Explanation { user, user_name, state, principal, waits_for, bindings, others, .. } = explanation;
    let id = |id: &crate::id::PrincipalId| id.to_string();
    let (known, bindings) = match bindings {
        ExplainedBindings::Known(all) => ("known", all.iter().map(answer_json).collect()),
        ExplainedBindings::Absent => ("absent", Vec::new()),
        ExplainedBindings::Unreadable => ("unreadable", Vec::new()),
    };
    let others: Vec<Value> = others
        .iter()
        .map(|grant| {
            json!({
                "binding": grant.binding.as_str(), "role": grant.role.name(), "scope": grant.scope.as_str(),
                "holds": grant.holds, "reason": grant.reason.as_str(), "since": rfc3339(grant.since),
            })
        })
        .collect();
    let groups = explanation.groups.iter().map(|group| {
        let bindings: Vec<&str> = group.bindings.iter().map(|binding| binding.as_str()).collect();
        json!({ "id": group.id.to_string(), "name": group.name, "bindings": bindings })
    });
    let holder = explanation.other_holder.as_ref();
    let holder = holder.map(|other| json!({ "person": other.user.to_string(), "userName": other.user_name }));
    let brake = explanation.brake.as_ref().map(
        |brake| json!({ "since": brake.since.map(rfc3339), "who": brake.who, "because": brake.because }),
    );
    json!({
        "person": user.to_string(), "userName": user_name, "state": state.as_str(),
        "objectId": principal.as_ref().map(id),
        "sentForObjectId": explanation.sent_for_object_id.iter().cloned().collect::<BTreeMap<_, _>>(),
        "heldByAnother": waits_for.is_some(),
        "otherHolder": holder, "brake": brake, "groups": groups.collect::<Vec<_>>(),
        "activeBindings": known, "bindings": bindings, "others": others,
        "byOthers": by_others.to_json(), "byOthersUnreadable": by_others.unreadable,
        "rowsUnreadable": explanation.rows_unreadable, "groupsAreCut": explanation.groups_are_cut,
    })
}
