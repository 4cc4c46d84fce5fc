//! A report as a table for people.

use super::words::{day, who, why};
use crate::audit::rfc3339;
use crate::cli::counted::counted;
use crate::cli::short_scope::ShortScopes;
use crate::error_chain::escape_control;
use crate::id::PrincipalId;
use crate::ports::azure_access::HolderKind;
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::verbs::Verb;
use crate::service::access::report::{AccessReport, ReportRow};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// Characters of a name before it is cut short.
const NAME_CHARS_MAX: usize = 40;
/// Scopes that the headline names.
const SCOPES_MAX: usize = 3;

/// `more_to_read`: said below the rows.
pub(super) fn write(
    out: &mut impl Write,
    report: &AccessReport,
    more_to_read: Option<&str>,
) -> io::Result<()> {
    let targets: Vec<ArmScope> = report.targets.iter().map(ArmScope::from).collect();
    let short = ShortScopes::of(targets.iter().chain(report.rows.iter().map(|row| &row.scope)));
    let at = report.at.map_or_else(|| "now".to_owned(), |time| format!("at {}", rfc3339(time)));
    let shown: Vec<String> = targets.iter().take(SCOPES_MAX).map(|target| short.name(target)).collect();
    let more = targets.len().saturating_sub(SCOPES_MAX);
    let more =
        if more > 0 { format!(" and {}", counted(more, "more scope", "more scopes")) } else { String::new() };
    writeln!(out, "Who can act on the backups of {}{more}, {at}\n", shown.join(", "))?;
    if let Some(begins) = report.audit_begins_later {
        let begins = rfc3339(begins.replace_nanosecond(0).unwrap_or(begins));
        writeln!(
            out,
            "Nothing was recorded at that moment: the audit begins at {begins}. Only what sweeps saw later\nand Azure dates back to it is listed.\n"
        )?;
    }
    if report.rows.is_empty() {
        writeln!(out, "nobody, as far as can be seen")?;
    } else {
        write_rows(out, report, &short, targets.len())?;
        writeln!(out, "\n{}", totals(&report.rows))?;
    }
    if let Some(more) = more_to_read {
        writeln!(out, "\n{more}")?;
    }
    writeln!(out, "\nNot seen:")?;
    report.unseen.iter().try_for_each(|unseen| writeln!(out, "  {}", escape_control(unseen)))
}

/// How many hold how many roles.
fn totals(rows: &[ReportRow]) -> String {
    let holders: BTreeMap<PrincipalId, bool> = rows.iter().map(|row| (row.holder, is_person(row))).collect();
    let people = holders.values().filter(|is_person| **is_person).count();
    let others = holders.len() - people;
    let who = [(people, "person", "people"), (others, "other", "others")];
    let who: Vec<String> = who
        .into_iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(n, one, many)| counted(n, one, many))
        .collect();
    let hold = if holders.len() == 1 { "holds" } else { "hold" };
    format!("{} {hold} {}", who.join(" and "), counted(rows.len(), "role", "roles"))
}

/// A user, as Azure says, or as this installation knows.
fn is_person(row: &ReportRow) -> bool {
    row.kind == HolderKind::User || row.kind == HolderKind::Other && row.user.is_some()
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
    use super::super::sample::row;
    use super::*;
    use crate::rbac::Scope;
    use time::macros::datetime;
    use uuid::Uuid;

    fn text_of(report: &AccessReport) -> String {
        let mut out = Vec::new();
        write(&mut out, report, None).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn of_two_with_one_name_the_object_ids_are_shown() {
        let rows = vec![row(1, 1, "ana"), row(1, 2, "ana"), row(2, 3, "ben"), row(3, 4, "ben")];
        let out = text_of(&AccessReport { rows, ..AccessReport::default() });
        let shown = |id: u128| out.contains(&Uuid::from_u128(id).to_string());
        assert_eq!([1, 2, 3].map(shown), [false, true, true], "{out}");
    }

    #[test]
    fn holders_and_roles_are_counted() {
        let group = ReportRow { kind: HolderKind::Group, ..row(3, 4, "admins") };
        let check = |rows: Vec<ReportRow>, expected: &str| {
            let out = text_of(&AccessReport { rows, ..AccessReport::default() });
            assert!(out.contains(&format!("\n\n{expected}\n")), "{out}");
        };
        check(
            vec![row(1, 1, "ana"), row(1, 2, "ana"), row(2, 3, "ben"), group.clone()],
            "2 people and 1 other hold 4 roles",
        );
        check(vec![row(1, 1, "ana")], "1 person holds 1 role");
        check(vec![group.clone(), row(1, 1, "ana")], "1 person and 1 other hold 2 roles");
        check(vec![group], "1 other holds 1 role");
    }

    #[test]
    fn a_moment_before_the_audit_is_said_above_the_table() {
        let begins = Some(datetime!(2026-11-25 12:00 UTC));
        let rows = vec![row(1, 1, "ana")];
        let out = text_of(&AccessReport { rows, audit_begins_later: begins, ..AccessReport::default() });
        let (said, table) = (out.find("the audit begins at 2026-11-25T12:00:00Z"), out.find("ana"));
        assert!(said.is_some() && said < table, "{out}");
    }

    #[test]
    fn one_more_scope_is_one_scope() {
        let scope = |name: &str| {
            Scope::parse(&format!(
                "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/{name}"
            ))
            .unwrap()
        };
        let targets = ["a", "b", "c", "d"].map(scope).to_vec();
        let out = text_of(&AccessReport { targets, ..AccessReport::default() });
        assert!(out.contains(" and 1 more scope, now"), "{out}");
    }
}
