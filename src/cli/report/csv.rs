//! A report as comma-separated values (RFC 4180), safe to open in a spreadsheet.

use super::words::{who, why};
use crate::audit::rfc3339;
use crate::error_chain::escape_control;
use crate::rbac::verbs::Verb;
use crate::service::access::report::{AccessReport, ReportRow};
use std::io::{self, Write};

/// One line for each row and each scope that it reaches, and nothing else: what was not seen is said apart.
pub(super) fn write(out: &mut impl Write, report: &AccessReport) -> io::Result<()> {
    let mut head = vec!["who".to_owned(), "objectId".to_owned(), "user".to_owned(), "scope".to_owned()];
    head.extend(Verb::ALL.map(|verb| verb.as_str().to_owned()));
    head.extend(["role", "madeAt", "since", "conditional", "assignment", "why"].map(str::to_owned));
    line(out, &head)?;
    for row in &report.rows {
        for target in &row.targets {
            line(out, &fields(row, target.as_str()))?;
        }
    }
    Ok(())
}

fn fields(row: &ReportRow, target: &str) -> Vec<String> {
    let can = |verb: Verb| match row.verbs {
        None => "unknown",
        Some(verbs) if verbs.has(verb) => "yes",
        Some(_) => "no",
    };
    let mut fields = vec![
        who(row),
        row.holder.to_string(),
        row.user.map(|user| user.to_string()).unwrap_or_default(),
        target.to_owned(),
    ];
    fields.extend(Verb::ALL.map(|verb| can(verb).to_owned()));
    fields.extend([
        row.role_name.clone(),
        row.scope.as_str().to_owned(),
        row.since.map(rfc3339).unwrap_or_default(),
        row.conditional.to_string(),
        row.assignment.to_string(),
        why(row),
    ]);
    fields
}

fn line(out: &mut impl Write, fields: &[String]) -> io::Result<()> {
    let fields: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
    write!(out, "{}\r\n", fields.join(","))
}

/// Quoted, and never a formula: spreadsheets calculate what begins with one of these.
fn quoted(field: &str) -> String {
    let shown = escape_control(field);
    let guard = if shown.trim_start().starts_with(['=', '+', '-', '@', '|', '%']) { "'" } else { "" };
    format!("\"{guard}{}\"", shown.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_never_a_formula_and_never_ends_early() {
        let check = |field: &str, expected: &str| assert_eq!(quoted(field), expected);
        check("ana@contoso.example", "\"ana@contoso.example\"");
        check("=1+2", "\"'=1+2\"");
        check("  @SUM(A1)", "\"'  @SUM(A1)\"");
        check("-2", "\"'-2\"");
        check("a\",\"b", "\"a\"\",\"\"b\"");
        check("\t=1\r\n", "\"\\u{9}=1\\u{d}\\u{a}\"");
    }
}
