//! `explain`: why a person has, or has not, what each binding gives; whose an assignment is, and why it is there.

mod answers;
mod assignment;
mod mend;
mod past;

use crate::audit::rfc3339;
use crate::cli::operator::{OperatorArguments, OperatorError, active_bindings, one_person_ever, run_command};
use crate::cli::past::{history, moment};
use crate::error_chain::escape_control;

use crate::service::access::assignments::{KnownAssignment, find_assignment};
use crate::service::access::explain::{self, ExplainedBindings, Explanation};
use crate::service::access::grants::GrantView;
use crate::service::access::preview::PersonState;
use answers::{answer_json, seconds, write_bindings};
use past::PastAccess;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::process::ExitCode;

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
        let access = arguments.operator.access()?;
        let store = &access.store;
        let about = &arguments.about;
        if let Some(text) = &arguments.at {
            let time = moment(text, store.table_time().await?)?;
            let person = one_person_ever(store, about).await?;
            let history = history(store).await?;
            let past = PastAccess::of(&history, &person, time);
            let mut out = io::stdout().lock();
            match arguments.json {
                true => writeln!(out, "{}", past.to_json())?,
                false => past.write_text(&mut out)?,
            }
            return Ok(ExitCode::SUCCESS);
        }
        let person = if about.starts_with('/') { None } else { Some(one_person_ever(store, about).await?) };
        let user = person.as_ref().and_then(|person| person.user);
        let snapshot = active_bindings(store).read(&store.pointer().await?).await?;
        let Some(user) = user else {
            let named = assignment::named(about);
            let known = match named {
                Some(name) => find_assignment(store, name).await?,
                None => None,
            };
            let known = known.ok_or_else(|| OperatorError::Usage(unknown(named.is_some())))?;
            let explanation = match &known {
                KnownAssignment::Ours { user, .. } => explain::explain(store, snapshot, *user).await?,
                KnownAssignment::Foreign(_) => None,
            };
            let mut out = io::stdout().lock();
            match arguments.json {
                true => writeln!(out, "{}", assignment::to_json(&known, explanation.as_ref()))?,
                false => assignment::write_text(&mut out, &known, explanation.as_ref())?,
            }
            return Ok(ExitCode::SUCCESS);
        };
        let Some(explanation) = explain::explain(store, snapshot, user).await? else {
            return Err(OperatorError::Usage(format!(
                "the user is gone, and left nothing here; what was held and when it went: audit --since 365d --person {user}"
            )));
        };
        let mut out = io::stdout().lock();
        match arguments.json {
            true => writeln!(out, "{}", to_json(&explanation))?,
            false => write_text(&mut out, &explanation)?,
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn unknown(may_be_an_id: bool) -> String {
    match may_be_an_id {
        true => "no user has this object id, and no role assignment of this name is known".to_owned(),
        false => "this is no role assignment: its id ends in /roleAssignments/NAME".to_owned(),
    }
}

fn write_text(out: &mut impl Write, explanation: &Explanation) -> io::Result<()> {
    let Explanation { user, user_name, state, principal, waits_for, bindings, others, .. } = explanation;
    let name = user_name.as_deref().map_or_else(|| user.to_string(), escape_control);
    writeln!(out, "{name}: {}", state.as_str())?;
    writeln!(out, "  SCIM id {user}")?;
    match (principal, waits_for) {
        (Some(principal), None) => writeln!(out, "  object id {principal}")?,
        (Some(principal), Some(_)) => writeln!(out, "  object id {principal}, which another user holds")?,
        (None, _) if *state == PersonState::Active && *bindings != ExplainedBindings::Unreadable => {
            writeln!(out, "  no Entra object id")?;
        }
        (None, _) => {}
    }
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
    if *state != PersonState::Active {
        writeln!(
            out,
            "\nWhat was held before, and when it went: explain {user} --at TIME, audit --since 365d --person {user}"
        )?;
    }
    Ok(())
}

fn to_json(explanation: &Explanation) -> Value {
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
    json!({
        "person": user.to_string(), "userName": user_name, "state": state.as_str(),
        "objectId": principal.as_ref().map(id), "heldByAnother": waits_for.is_some(),
        "activeBindings": known, "bindings": bindings, "others": others,
        "rowsUnreadable": explanation.rows_unreadable, "groupsAreCut": explanation.groups_are_cut,
    })
}
