//! A row of a report in words.

use crate::audit::rfc3339;
use crate::cli::short_scope::short;
use crate::ports::azure_access::HolderKind;
use crate::rbac::arm_scope::ArmScope;
use crate::service::access::report::history::GivenByUs;
use crate::service::access::report::{ReportRow, RowSource};
use time::OffsetDateTime;

/// Who it is: a name, or else the object id; of what is no person, what it is.
pub(super) fn who(row: &ReportRow) -> String {
    let name = row.name.clone().unwrap_or_else(|| row.holder.to_string());
    match row.kind {
        HolderKind::Group => format!("{name} (group)"),
        HolderKind::ServicePrincipal => format!("{name} (application)"),
        HolderKind::User | HolderKind::Other => name,
    }
}

/// Why the holder has it, in a sentence.
pub(super) fn why(row: &ReportRow) -> String {
    let given = match &row.given {
        RowSource::Ours(given) => why_ours(given),
        RowSource::Others { created_by, created_by_name, created_on, first_seen } => {
            let creator = created_by_name.clone().or_else(|| created_by.map(|creator| creator.to_string()));
            let by = creator.map(|creator| format!(" by {creator}")).unwrap_or_default();
            let on = created_on.map(|time| format!(" on {}", day(time))).unwrap_or_default();
            let seen = first_seen.map(|time| format!(", first seen on {}", day(time))).unwrap_or_default();
            let is_direct = row.targets.iter().any(|target| ArmScope::from(target) == row.scope);
            let made = match is_direct {
                true => "made by hand".to_owned(),
                false if by.is_empty() && on.is_empty() => format!("inherited from {}", short(&row.scope)),
                false => format!("inherited from {}, made", short(&row.scope)),
            };
            format!("not by this service: {made}{by}{on}{seen}")
        }
    };
    let condition = if row.conditional { "; a condition narrows it" } else { "" };
    match &row.through {
        Some(group) => {
            let name = row.through_name.clone().unwrap_or_else(|| group.to_string());
            format!("member of the Entra group {name}: {given}{condition}")
        }
        None => format!("{given}{condition}"),
    }
}

fn why_ours(given: &GivenByUs) -> String {
    let bindings = given.bindings.join(", ");
    let reasons = match given.reasons.as_slice() {
        [] if bindings.is_empty() => "by this service, which has no record of it any more".to_owned(),
        [] => format!("binding {bindings}"),
        reasons => reasons.join("; "),
    };
    let set_off = match given.set_off.op.as_str() {
        "" => String::new(),
        op => format!(" ({} of {}, operation {op})", given.set_off.cause, given.set_off.actor),
    };
    let unconfirmed = if given.confirmed { "" } else { "; Azure has not confirmed it yet" };
    let taken = match &given.taken {
        Some(taken) => format!("; being taken: {} ({})", taken.reasons.join(", "), taken.set_off.actor),
        None => String::new(),
    };
    format!("{reasons}{set_off}{unconfirmed}{taken}")
}

pub(super) fn day(time: OffsetDateTime) -> String {
    rfc3339(time).chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::row;
    use super::*;
    use crate::rbac::Scope;
    use time::macros::datetime;

    #[test]
    fn what_was_made_there_is_made_by_hand_and_what_was_made_above_is_inherited() {
        let vault = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup";
        let target = Scope::parse(vault).unwrap();
        let given = RowSource::Others {
            created_by: None,
            created_by_name: Some("tom".to_owned()),
            created_on: Some(datetime!(2026-11-26 8:00 UTC)),
            first_seen: None,
        };
        let check = |scope: ArmScope, expected: &str| {
            let given = given.clone();
            let row = ReportRow { targets: vec![target.clone()], scope, given, ..row(1, 1, "ana") };
            assert_eq!(why(&row), format!("not by this service: {expected} by tom on 2026-11-26"));
        };
        check(ArmScope::from(&target), "made by hand");
        check(ArmScope::parse("/subscriptions/s").unwrap(), "inherited from subscription s, made");
    }
}
