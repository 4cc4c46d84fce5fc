//! A comparison as text and as JSON.

use super::words::{ProviderWords, details, heading, next_step};
use crate::cli::counted::counted;
use crate::cli::json_line::json_line;
use crate::cli::operator::OperatorArguments;
use crate::error_chain::escape_control;
use crate::rbac::BindingName;
use crate::service::access::parity::compare::{Comparison, ParityCounts};
use crate::service::access::parity::difference::{
    Difference, DifferenceKind, ParityFinding, ParityPlace, ParitySubject,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

/// A comparison as the command made it.
pub(super) struct MadeComparison<'a> {
    pub comparison: Comparison,
    pub provider: ProviderWords,
    /// The list has everyone, not the members of one group.
    pub is_whole: bool,
    /// Groups that are assigned and gone.
    pub gone: Vec<String>,
    pub to_reconcile: usize,
    /// Those whose roles were compared with what Azure holds.
    pub bindings: BTreeSet<BindingName>,
    pub operator: &'a OperatorArguments,
}

/// What is alike in heading and next step: shown together.
type Alike<'a> = BTreeMap<(DifferenceKind, String, String), Vec<&'a ParityFinding>>;

pub(super) fn write_text(out: &mut impl Write, made: &MadeComparison<'_>) -> io::Result<()> {
    if matches_no_one(&made.comparison) {
        writeln!(
            out,
            "Nothing in the list matches anyone here. Before you do anything below: are the columns, the group and the \
             installation the right ones?\n"
        )?;
    }
    let mut places: BTreeMap<&ParityPlace, Alike<'_>> = BTreeMap::new();
    for finding in &made.comparison.findings {
        let difference = &finding.difference;
        let key = (difference.kind(), heading(difference), next_step(difference, made.provider));
        places.entry(&finding.place).or_default().entry(key).or_default().push(finding);
    }
    for (place, alike) in &places {
        writeln!(out, "{}", escape_control(&title(place)))?;
        for ((_, heading, next), findings) in alike {
            writeln!(out, "  {heading}")?;
            for finding in findings {
                writeln!(out, "    {}", escape_control(&line(finding)))?;
            }
            writeln!(out, "    next: {next}")?;
        }
        writeln!(out)?;
    }
    writeln!(out, "{}", summary(made))?;
    if !made.comparison.findings.is_empty() {
        let explain = made.operator.command_line("explain PERSON");
        writeln!(out, "What a person holds, and why: {explain}")?;
    }
    notes(made).iter().try_for_each(|note| writeln!(out, "not compared: {}", escape_control(note)))
}

/// Whether two lists that have nothing in common were compared: more likely a mistake than a difference of everyone.
fn matches_no_one(comparison: &Comparison) -> bool {
    let ParityCounts { people_there, people_here, .. } = comparison.counts;
    let is_missing =
        |finding: &&ParityFinding| matches!(finding.difference, Difference::NotProvisioned { .. });
    people_there > 0
        && people_here > 0
        && comparison.findings.iter().filter(is_missing).count() == people_there
}

fn title(place: &ParityPlace) -> String {
    match place {
        ParityPlace::Groups => "groups".to_owned(),
        ParityPlace::People => "people".to_owned(),
        ParityPlace::Group(name) => format!("group {name}"),
        ParityPlace::Azure => "Azure".to_owned(),
    }
}

fn line(finding: &ParityFinding) -> String {
    let ParitySubject { name, provider_id, id, line } = &finding.subject;
    let mut parts = vec![name.clone()];
    parts.extend(provider_id.as_ref().filter(|id| *id != name).map(|id| format!("id {id}")));
    parts.extend(id.as_ref().map(|id| format!("SCIM id {id}")));
    parts.extend(line.map(|line| format!("line {line}")));
    parts.extend(details(finding));
    parts.join(", ")
}

fn summary(made: &MadeComparison<'_>) -> String {
    let ParityCounts { groups, people_there, people_here, .. } = made.comparison.counts;
    let people = |number| counted(number, "person", "people");
    let scope =
        if made.is_whole { format!("{} and ", counted(groups, "group", "groups")) } else { String::new() };
    let compared = format!("{scope}{} there, {} here", people(people_there), people(people_here));
    if made.comparison.findings.is_empty() {
        return format!("no difference: {compared}");
    }
    let number = |kind: DifferenceKind| {
        let of_kind = |finding: &&ParityFinding| finding.difference.kind() == kind;
        let number = made.comparison.findings.iter().filter(of_kind).count();
        (number > 0).then(|| format!("{number} {}", in_total(kind)))
    };
    let numbers: Vec<String> = DifferenceKind::ALL.into_iter().filter_map(number).collect();
    let all = counted(made.comparison.findings.len(), "difference", "differences");
    format!("{all}: {} ({compared})", numbers.join(", "))
}

const fn in_total(kind: DifferenceKind) -> &'static str {
    match kind {
        DifferenceKind::Missing => "missing",
        DifferenceKind::Extra => "extra",
        DifferenceKind::Different => "different",
        DifferenceKind::Row => "in lines of the file",
        DifferenceKind::Azure => "in Azure",
    }
}

/// What was left out, or could not be compared.
fn notes(made: &MadeComparison<'_>) -> Vec<String> {
    let ParityCounts {
        others, disabled_missing, inactive_extra, maybe_inactive, unreadable, unnamed, ..
    } = made.comparison.counts;
    let there = made.provider.name();
    let mut notes = Vec::new();
    let mut note =
        |number: usize, text: String| notes.extend((number > 0).then(|| format!("{number} {text}")));
    note(others, "service principals, devices or contacts: they are not provisioned".to_owned());
    note(
        disabled_missing,
        format!("missing, of people whom {there} has disabled: nothing would be given to them"),
    );
    note(inactive_extra, "extra, of people who are inactive here: nothing is given to them".to_owned());
    note(
        maybe_inactive,
        format!(
            "people who are inactive here, so that they get nothing: the list does not say whether {there} has disabled them"
        ),
    );
    note(
        unreadable,
        "of our users or members, which cannot be read: who is missing may be one of them".to_owned(),
    );
    let shown_by = match made.is_whole {
        true => "Microsoft Graph: User.Read.All",
        false => "--columns userName=COLUMN",
    };
    note(unnamed, format!("people whose userName {there} did not show ({shown_by})"));
    note(made.to_reconcile, "people who wait for their reconcile: their roles".to_owned());
    notes.extend(
        made.gone.iter().map(|group| format!("the group {group}: it is assigned to the app, and gone")),
    );
    if made.is_whole && made.comparison.counts.people_there == 0 {
        notes.push(
            "everyone, if the provisioning scope is \"Sync all users and groups\": nothing is assigned to the app"
                .to_owned(),
        );
    }
    if made.bindings.is_empty() {
        notes.push("Azure: no binding means a group that was compared".to_owned());
    }
    notes
}

pub(super) fn write_json(out: &mut impl Write, made: &MadeComparison<'_>) -> io::Result<()> {
    let counts = &made.comparison.counts;
    let findings: Vec<Value> =
        made.comparison.findings.iter().map(|finding| finding_json(finding, made.provider)).collect();
    let bindings: Vec<&str> = made.bindings.iter().map(BindingName::as_str).collect();
    let made = json!({
        "findings": findings,
        "groups": counts.groups, "peopleThere": counts.people_there, "peopleHere": counts.people_here,
        "bindings": bindings, "notCompared": notes(made),
    });
    writeln!(out, "{}", json_line(&made))
}

fn finding_json(finding: &ParityFinding, provider: ProviderWords) -> Value {
    let ParityFinding { place, subject, difference } = finding;
    let group = match place {
        ParityPlace::Group(name) => Some(name),
        _ => None,
    };
    let grant = match difference {
        Difference::NotHeld(grant) | Difference::StillHeld(grant) => Some(json!({
            "binding": grant.binding.as_str(), "role": grant.role.name(), "scope": grant.scope.as_str(),
            "reason": grant.reason.as_str(),
        })),
        _ => None,
    };
    json!({
        "kind": difference.kind().as_str(), "code": difference.code(), "group": group,
        "name": subject.name, "providerId": subject.provider_id, "id": subject.id, "line": subject.line,
        "what": heading(difference), "details": details(finding), "grant": grant,
        "next": next_step(difference, provider),
    })
}
