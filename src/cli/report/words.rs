//! A row of a report in words.

use crate::audit::rfc3339;
use crate::ports::azure_access::HolderKind;
use crate::rbac::BackupRole;
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
            let how = if BackupRole::from_definition(row.role).is_some() { "made by hand" } else { "given" };
            format!("not by this service: {how}{by}{on}{seen}")
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
