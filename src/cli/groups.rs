//! `groups`: what arrived from the identity provider, and which bindings mean it.

use crate::cli::json_line::json_line;
use crate::cli::operator::{OperatorArguments, OperatorError, active_bindings, run_command};
use crate::error_chain::escape_control;
use crate::rbac::BindingName;
use crate::service::access::groups::{ArrivedGroup, GroupOverview, UnmatchedBinding, overview};
use crate::service::bindings::active::ActiveSnapshot;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::process::ExitCode;

/// Characters of a binding's name.
const NAME_CHARS_MAX: usize = 64;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only groups that no binding means, each with a binding to complete and paste.
    #[arg(long)]
    unbound: bool,
    /// One line of JSON per group, and per binding that means none.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    operator: OperatorArguments,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    run_command(async {
        let access = arguments.operator.whole_state().await?;
        let snapshot = active_bindings(&access.store).read(&access.store.pointer().await?).await?;
        if matches!(snapshot, ActiveSnapshot::Unreadable) {
            return Err(OperatorError::Bindings);
        }
        let GroupOverview { groups, without_group } = overview(&access.store, &snapshot).await?;
        let is_shown =
            |group: &&ArrivedGroup| !arguments.unbound || group.bindings.is_empty() && group.above.is_empty();
        let shown = groups.iter().filter(is_shown);
        let mut out = io::stdout().lock();
        for group in shown {
            match arguments.json {
                true => writeln!(out, "{}", json_line(&to_json(group, arguments.unbound)))?,
                false => write_group(&mut out, group, arguments.unbound)?,
            }
        }
        let unmatched = if arguments.unbound { Vec::new() } else { without_group };
        for binding in &unmatched {
            match arguments.json {
                true => writeln!(out, "{}", json_line(&unmatched_json(binding)))?,
                false => write_unmatched(&mut out, binding)?,
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn write_group(out: &mut impl Write, group: &ArrivedGroup, unbound: bool) -> io::Result<()> {
    let name = group.display_name.as_deref().map_or_else(|| "(cannot be read)".to_owned(), escape_control);
    let external = match &group.external_id {
        Some(value) => format!("externalId \"{}\"", escape_control(value)),
        None => "no externalId".to_owned(),
    };
    writeln!(out, "{name}\n  id {}, {external}", group.id)?;
    for (binding, reason) in &group.bindings {
        match reason {
            None => writeln!(out, "  bound by {binding}")?,
            Some(reason) => writeln!(out, "  bound by {binding}, which gives nothing new ({reason})")?,
        }
    }
    for binding in &group.above {
        writeln!(out, "  in a group that is bound by {binding}")?;
    }
    if group.bindings.is_empty() && group.above.is_empty() {
        writeln!(out, "  not bound")?;
    }
    match (unbound, binding_for(group)) {
        (true, Some(binding)) => writeln!(out, "  {}", json_line(&binding)),
        _ => Ok(()),
    }
}

fn write_unmatched(out: &mut impl Write, unmatched: &UnmatchedBinding) -> io::Result<()> {
    let UnmatchedBinding { binding, attribute, value, reason } = unmatched;
    let value = escape_control(value);
    let what = match reason {
        Some(reason) => format!("its group is not known ({reason})"),
        None => format!("no group has the {attribute} \"{value}\". Is it assigned to the app?"),
    };
    writeln!(out, "binding {binding}: {what}")
}

fn unmatched_json(unmatched: &UnmatchedBinding) -> Value {
    let UnmatchedBinding { binding, attribute, value, reason } = unmatched;
    json!({
        "kind": "binding-without-group", "binding": binding.as_str(), "attribute": attribute, "value": value,
        "reason": reason.map(|reason| reason.as_str()),
    })
}

/// A binding of the group, with the least role and a scope to fill in. By `externalId` where the identity provider sends one
/// that no other group has: Okta sends none, and the name of a group can change.
fn binding_for(group: &ArrivedGroup) -> Option<Value> {
    let name = group.display_name.as_deref()?;
    let selector = match group.external_id.as_ref().filter(|_| group.is_only_of_external_id) {
        Some(value) => json!({ "externalId": value }),
        None => json!({ "id": group.id.to_string() }),
    };
    let slug: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let parts: Vec<&str> = slug.split('-').filter(|part| !part.is_empty()).collect();
    let slug: String = parts.join("-").chars().take(NAME_CHARS_MAX).collect();
    let slug = if slug.is_empty() { group.id.to_string() } else { slug };
    Some(json!({ "name": slug, "group": selector, "role": "Backup Reader", "scope": "SCOPE" }))
}

fn to_json(group: &ArrivedGroup, unbound: bool) -> Value {
    let bindings: Vec<Value> = group
        .bindings
        .iter()
        .map(|(binding, reason)| {
            json!({ "binding": binding.as_str(), "reason": reason.map(|reason| reason.as_str()) })
        })
        .collect();
    let above: Vec<&str> = group.above.iter().map(BindingName::as_str).collect();
    let suggestion = if unbound { binding_for(group) } else { None };
    json!({
        "kind": "group", "id": group.id.to_string(), "displayName": group.display_name, "externalId": group.external_id,
        "bindings": bindings, "above": above, "suggestion": suggestion,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::Bindings;
    use crate::id::GroupId;
    use uuid::Uuid;

    /// What is suggested for a group of that name, by its `externalId` or its id.
    #[track_caller]
    fn check(name: &str, external_id: Option<&str>, expected: &str) {
        let group = ArrivedGroup {
            id: GroupId::new(Uuid::from_u128(7)),
            display_name: Some(name.to_owned()),
            external_id: external_id.map(str::to_owned),
            is_only_of_external_id: true,
            bindings: Vec::new(),
            above: Default::default(),
        };
        let mut binding = binding_for(&group).unwrap();
        assert_eq!(binding["name"], expected);
        binding["scope"] = json!("/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup");
        let file = json!({ "version": 1, "bindings": [binding] });
        assert!(Bindings::parse(file.to_string().as_bytes()).is_ok(), "{file}");
    }

    #[test]
    fn what_is_suggested_is_a_binding_once_its_scope_is_filled_in() {
        check("Night Shift", Some("n1"), "night-shift");
        check("Night  Shift (EMEA)", None, "night-shift-emea");
        check("\u{202e}夜勤", None, "00000000-0000-0000-0000-000000000007");
        check(&"x".repeat(200), None, &"x".repeat(64));
    }
}
