//! A report as a table for people.

use super::words::{day, who, why};
use crate::audit::rfc3339;
use crate::cli::short_scope::ShortScopes;
use crate::error_chain::escape_control;
use crate::id::PrincipalId;
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::verbs::Verb;
use crate::service::access::report::{AccessReport, ReportRow};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// Characters of a name before it is cut short.
const NAME_CHARS_MAX: usize = 40;
/// Scopes that the headline names.
const SCOPES_MAX: usize = 3;

pub(super) fn write(out: &mut impl Write, report: &AccessReport) -> io::Result<()> {
    let targets: Vec<ArmScope> = report.targets.iter().map(ArmScope::from).collect();
    let short = ShortScopes::of(targets.iter().chain(report.rows.iter().map(|row| &row.scope)));
    let at = report.at.map_or_else(|| "now".to_owned(), |time| format!("at {}", rfc3339(time)));
    let shown: Vec<String> = targets.iter().take(SCOPES_MAX).map(|target| short.name(target)).collect();
    let more = targets.len().saturating_sub(SCOPES_MAX);
    let more = if more > 0 { format!(" and {more} more scopes") } else { String::new() };
    writeln!(out, "Who can act on the backups of {}{more}, {at}\n", shown.join(", "))?;
    if report.rows.is_empty() {
        writeln!(out, "nobody, as far as can be seen")?;
    } else {
        write_rows(out, report, &short, targets.len())?;
    }
    writeln!(out, "\nNot seen:")?;
    report.unseen.iter().try_for_each(|unseen| writeln!(out, "  {}", escape_control(unseen)))
}

fn write_rows(
    out: &mut impl Write,
    report: &AccessReport,
    short: &ShortScopes,
    targets: usize,
) -> io::Result<()> {
    let shared = shared_names(&report.rows);
    let mut lines = vec![head(targets)];
    lines.extend(report.rows.iter().map(|row| cells(row, short, targets, &shared)));
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for line in &lines {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn head(targets: usize) -> Vec<String> {
    let mut head = vec!["who"];
    head.extend(Verb::ALL.map(heading));
    head.extend(["role", "made at"]);
    head.extend((targets > 1).then_some("reaches"));
    head.extend(["since", "why"]);
    head.into_iter().map(str::to_owned).collect()
}

const fn heading(verb: Verb) -> &'static str {
    match verb {
        Verb::Restore => "restore",
        Verb::DeleteData => "delete",
        Verb::ChangePolicy => "policy",
        Verb::DetachGuard => "guard",
        Verb::GiveAccess => "access",
    }
}

/// Names of more than one holder: their rows show the object id too.
fn shared_names(rows: &[ReportRow]) -> BTreeSet<String> {
    let mut holders: BTreeMap<String, PrincipalId> = BTreeMap::new();
    let mut shared = BTreeSet::new();
    for row in rows {
        let name = shown_name(row);
        if *holders.entry(name.clone()).or_insert(row.holder) != row.holder {
            shared.insert(name);
        }
    }
    shared
}

fn shown_name(row: &ReportRow) -> String {
    cut(&escape_control(&who(row)))
}

fn cells(row: &ReportRow, short: &ShortScopes, targets: usize, shared: &BTreeSet<String>) -> Vec<String> {
    let can = |verb: Verb| match row.verbs {
        None => "?",
        Some(verbs) if verbs.has(verb) => "yes",
        Some(_) => "-",
    };
    let name = shown_name(row);
    let mut cells = vec![if shared.contains(&name) { format!("{name} {}", row.holder) } else { name }];
    cells.extend(Verb::ALL.map(|verb| can(verb).to_owned()));
    cells.extend([cut(&escape_control(&row.role_name)), short.name(&row.scope)]);
    let reaches = match row.targets.as_slice() {
        [only] => short.name(&ArmScope::from(only)),
        several if several.len() == targets => "all".to_owned(),
        several => format!("{} scopes", several.len()),
    };
    cells.extend((targets > 1).then_some(reaches));
    cells.extend([row.since.map(day).unwrap_or_default(), escape_control(&why(row))]);
    cells
}

fn cut(text: &str) -> String {
    match text.chars().count() > NAME_CHARS_MAX {
        true => text.chars().take(NAME_CHARS_MAX - 1).chain(['\u{2026}']).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::azure_access::HolderKind;
    use crate::rbac::AssignmentName;
    use crate::service::access::report::RowSource;
    use uuid::Uuid;

    #[test]
    fn of_two_with_one_name_the_object_ids_are_shown() {
        let row = |holder: u128, assignment: u128, name: &str| ReportRow {
            targets: Vec::new(),
            holder: PrincipalId::new(Uuid::from_u128(holder)),
            kind: HolderKind::User,
            user: None,
            name: Some(name.to_owned()),
            through: None,
            through_name: None,
            assignment: AssignmentName::parse(&Uuid::from_u128(assignment).to_string()).unwrap(),
            scope: ArmScope::parse("/subscriptions/s").unwrap(),
            role: Uuid::nil(),
            role_name: "Owner".to_owned(),
            conditional: false,
            verbs: None,
            since: None,
            given: RowSource::Others {
                created_by: None,
                created_by_name: None,
                created_on: None,
                first_seen: None,
            },
        };
        let rows = vec![row(1, 1, "ana"), row(1, 2, "ana"), row(2, 3, "ben"), row(3, 4, "ben")];
        let mut out = Vec::new();
        write(&mut out, &AccessReport { rows, ..AccessReport::default() }).unwrap();
        let out = String::from_utf8(out).unwrap();
        let shown = |id: u128| out.contains(&Uuid::from_u128(id).to_string());
        assert_eq!([1, 2, 3].map(shown), [false, true, true], "{out}");
    }
}
