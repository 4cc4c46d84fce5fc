//! How a plan is printed: by binding and by what happens, people by their userNames, and the totals.

use super::made_plan::{MadePlan, PlannedWith};
use crate::cli::counted::counted;
use crate::error_chain::escape_control;
use crate::rbac::ledger::StepKind;
use crate::rbac::{BackupRole, BindingName, ReasonCode, Scope};
use crate::service::access::preview::{
    FullBinding, PersonPlan, PersonState, PlannedStep, PlannedWait, TenantPlan,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// People of one list, unless everybody is listed.
const LISTED_MAX: usize = 20;

/// What is exact about the limits, and what is not.
const WHO_WAITS: &str = "\
The numbers hold if nothing else changes. Who waits depends on who is reconciled first: this plan takes people by
their ids, and revocations by the age of the change.";

/// What happens to a list of people, in the order in which it is printed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Heading {
    Revokes { role: BackupRole, scope: Scope },
    Grants { role: BackupRole, scope: Scope },
    Keeps { role: BackupRole, scope: Scope, before: Vec<BindingName>, after: Vec<BindingName> },
    Waits { kind: StepKind, role: BackupRole, scope: Scope, reason: ReasonCode },
}

/// The text of a plan.
pub(super) struct PlanText<'a> {
    made: &'a MadePlan,
    all: bool,
    /// Last parts of scopes that name more than one.
    shared: BTreeSet<String>,
}

impl<'a> PlanText<'a> {
    pub(super) fn new(made: &'a MadePlan, all: bool) -> Self {
        let mut scopes: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for scope in scopes_of(&made.plan) {
            scopes.entry(scope.short_name().to_ascii_lowercase()).or_default().insert(scope.folded());
        }
        let shared = scopes.into_iter().filter(|(_, scopes)| scopes.len() > 1).map(|(name, _)| name);
        Self { made, all, shared: shared.collect() }
    }

    fn scope<'s>(&self, scope: &'s Scope) -> &'s str {
        let name = scope.short_name();
        if self.shared.contains(&name.to_ascii_lowercase()) { scope.as_str() } else { name }
    }

    fn heading(&self, heading: &Heading, people: usize) -> String {
        let people = counted(people, "person", "people");
        match heading {
            Heading::Revokes { role, scope } => {
                format!("revokes {role} @ {} from {people}", self.scope(scope))
            }
            Heading::Grants { role, scope } => {
                format!("grants {role} @ {} to {people}", self.scope(scope))
            }
            Heading::Keeps { role, scope, before, after } => {
                let (before, after) = (names(before), names(after));
                format!("keeps {role} @ {} for {people}: {before} -> {after}", self.scope(scope))
            }
            Heading::Waits { kind, role, scope, reason } => {
                let (verb, of) = match kind {
                    StepKind::Grant => ("does not grant", "to"),
                    StepKind::Revoke => ("does not revoke", "from"),
                };
                format!("{verb} {role} @ {} {of} {people}: {reason}", self.scope(scope))
            }
        }
    }

    fn people(&self, f: &mut fmt::Formatter<'_>, people: &[String]) -> fmt::Result {
        let listed = if self.all || people.len() <= LISTED_MAX { people.len() } else { LISTED_MAX };
        for person in people.iter().take(listed) {
            writeln!(f, "    {person}")?;
        }
        match people.len() - listed {
            0 => Ok(()),
            more => writeln!(f, "    and {more} more (--all lists them)"),
        }
    }

    fn first_line(&self) -> String {
        match &self.made.with {
            PlannedWith::Active { stamp: Some(stamp) } => format!("Plan with the active bindings, {stamp}"),
            PlannedWith::Active { stamp: None } => "Plan: no bindings are active".to_owned(),
            PlannedWith::File { path } => {
                format!("Plan with {}", escape_control(&path.display().to_string()))
            }
            PlannedWith::Pending { stamp } => format!("Plan with the bundled bindings that wait, {stamp}"),
        }
    }

    /// What the limits make wait.
    fn limits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MadePlan { plan, next, .. } = self.made;
        if plan.people.iter().all(|person| person.limited.is_empty()) {
            return Ok(());
        }
        writeln!(f)?;
        for (name, full) in &plan.full {
            let waiting = counted(full.waiting, "person waits", "people wait");
            let people = counted(full.people, "person", "people");
            let wanted = full.people_wanted();
            writeln!(
                f,
                "{name} is full with {people}; {waiting}. For all of them: \"maxPrincipals\": {wanted}"
            )?;
        }
        let (revocations, grants) = plan.would_be_held();
        if revocations + grants > 0 {
            let revocations = counted(revocations, "revocation", "revocations");
            let grants = counted(grants, "grant", "grants");
            let reason = ReasonCode::HeldByBreaker;
            writeln!(f, "A breaker would trip and hold {revocations} and {grants} ({reason}). Once it did:")?;
            writeln!(f, "\n  {}\n", next.breaker)?;
        }
        writeln!(f, "{WHO_WAITS}")
    }

    /// What the operator may do next.
    fn last_lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MadePlan { with, wait, waiting, next, .. } = self.made;
        match (with, wait) {
            (PlannedWith::Pending { .. }, _) => {
                writeln!(f, "\nTo let it happen:\n\n  {}", next.apply)?;
            }
            (PlannedWith::File { .. }, Some(cause)) => {
                writeln!(f, "\nOnce it is packaged, this file waits for an operator ({cause}):")?;
                writeln!(f, "\n  {}", next.apply)?;
            }
            (PlannedWith::File { .. }, None) => {
                writeln!(f, "\nOnce it is packaged, this file becomes active without an order.")?;
            }
            (PlannedWith::Active { .. }, _) => {}
        }
        match waiting {
            Some(stamp) => {
                let reason = ReasonCode::BindingsPending;
                writeln!(
                    f,
                    "\nThe bundled bindings {stamp} wait for an operator ({reason}). To see their plan:"
                )?;
                writeln!(f, "\n  {}", next.pending)
            }
            None => Ok(()),
        }
    }
}

impl fmt::Display for PlanText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plan = &self.made.plan;
        writeln!(f, "{}", self.first_line())?;
        for (binding, headings) in grouped(plan) {
            writeln!(f, "\n{binding}")?;
            for (heading, people) in headings {
                writeln!(f, "  {}", self.heading(&heading, people.len()))?;
                self.people(f, &people)?;
            }
        }
        totals(f, plan)?;
        self.limits(f)?;
        self.last_lines(f)
    }
}

/// People by binding and by what happens to them.
fn grouped(plan: &TenantPlan) -> BTreeMap<BindingName, BTreeMap<Heading, Vec<String>>> {
    let mut grouped: BTreeMap<BindingName, BTreeMap<Heading, Vec<String>>> = BTreeMap::new();
    let mut add = |bindings: &[BindingName], heading: Heading, person: String| {
        for binding in bindings {
            let people = grouped.entry(binding.clone()).or_default().entry(heading.clone()).or_default();
            people.push(person.clone());
        }
    };
    for person in &plan.people {
        for step in &person.steps {
            let (role, scope) = (step.role, step.scope.clone());
            let heading = match step.kind {
                StepKind::Grant => Heading::Grants { role, scope },
                StepKind::Revoke => Heading::Revokes { role, scope },
            };
            let through = step.reasons.iter().filter(|reason| !reason.through.is_empty());
            let notes = through.map(ToString::to_string).chain(step.failing.map(failed_before));
            add(&step.bindings, heading, shown(person, notes));
        }
        for kept in &person.kept {
            let (role, scope) = (kept.role, kept.scope.clone());
            let (before, after) = (kept.before.clone(), kept.after.clone());
            let heading = Heading::Keeps { role, scope, before, after };
            add(&kept.after, heading, shown(person, None::<String>));
        }
        for wait in &person.waits {
            let (kind, role, reason, scope) = (wait.kind, wait.role, wait.reason, wait.scope.clone());
            add(&wait.bindings, Heading::Waits { kind, role, scope, reason }, shown(person, None::<String>));
        }
    }
    grouped.values_mut().flat_map(BTreeMap::values_mut).for_each(|people| people.sort_unstable());
    grouped
}

fn failed_before(reason: ReasonCode) -> String {
    format!("failed before: {reason}")
}

/// A person in a list. Names were written by others.
fn shown(person: &PersonPlan, notes: impl IntoIterator<Item = String>) -> String {
    let name = person.name.as_deref().map(escape_control);
    let name = name.unwrap_or_else(|| person.person.to_string());
    let state = (person.state != PersonState::Active).then(|| person.state.as_str().to_owned());
    let notes: Vec<String> = state.into_iter().chain(notes).collect();
    if notes.is_empty() { name } else { format!("{name} ({})", notes.join(", ")) }
}

fn totals(f: &mut fmt::Formatter<'_>, plan: &TenantPlan) -> fmt::Result {
    let by_binding = plan.by_binding();
    let width = by_binding.keys().map(|name| name.as_str().len()).max().unwrap_or(0).max("binding".len());
    if !by_binding.is_empty() {
        writeln!(f, "\n{:width$}  grants  revocations  kept  not done", "binding")?;
    }
    for (name, of) in by_binding {
        let name = name.as_str();
        writeln!(
            f,
            "{name:width$}  {:>6}  {:>11}  {:>4}  {:>8}",
            of.grants, of.revocations, of.kept, of.waits
        )?;
    }
    let (revocations, grants) = plan.revocations_and_grants();
    let deleted = plan.deleted_read;
    let read = counted(plan.people_read.saturating_sub(deleted), "person", "people");
    let read = if deleted == 0 { read } else { format!("{read} and {deleted} deleted") };
    let grants = counted(grants, "grant", "grants");
    let revocations = counted(revocations, "revocation", "revocations");
    writeln!(f, "\n{read} read: {grants}, {revocations}")?;
    writeln!(f, "plan {}", plan.hash())
}

fn names(names: &[BindingName]) -> String {
    names.iter().map(BindingName::as_str).collect::<Vec<_>>().join(", ")
}

fn scopes_of(plan: &TenantPlan) -> impl Iterator<Item = &Scope> {
    plan.people.iter().flat_map(|person| {
        let steps = person.steps.iter().map(|step| &step.scope);
        let kept = person.kept.iter().map(|kept| &kept.scope);
        steps.chain(kept).chain(person.waits.iter().map(|wait| &wait.scope))
    })
}

/// A person, for a program.
pub(super) fn person_json(person: &PersonPlan) -> Value {
    let list = |names: &[BindingName]| names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    let steps = person.steps.iter().map(|step| {
        json!({
            "verb": step.kind.as_str(), "role": step.role.name(), "scope": step.scope.as_str(),
            "principal": step.principal.to_string(), "bindings": list(&step.bindings),
            "reasons": step.reasons.iter().map(ToString::to_string).collect::<Vec<_>>(), "failedBefore": step.failing,
        })
    });
    let kept = person.kept.iter().map(|kept| {
        json!({
            "role": kept.role.name(), "scope": kept.scope.as_str(),
            "before": list(&kept.before), "after": list(&kept.after),
        })
    });
    let is_foreseen = |wait: &PlannedWait| {
        let same =
            |step: &PlannedStep| (step.kind, step.role, &step.scope) == (wait.kind, wait.role, &wait.scope);
        person.limited.iter().any(|limited| same(&limited.step))
    };
    let waits = person.waits.iter().map(|wait| {
        json!({
            "verb": wait.kind.as_str(), "role": wait.role.name(), "scope": wait.scope.as_str(),
            "bindings": list(&wait.bindings), "reason": wait.reason, "foreseen": is_foreseen(wait),
        })
    });
    json!({
        "person": person.person.to_string(), "userName": person.name, "state": person.state.as_str(),
        "steps": steps.collect::<Vec<_>>(), "kept": kept.collect::<Vec<_>>(), "notDone": waits.collect::<Vec<_>>(),
    })
}

/// What the breakers would hold, for a program.
pub(super) fn held_json(plan: &TenantPlan) -> Value {
    let (revocations, grants) = plan.would_be_held();
    json!({ "revocations": revocations, "grants": grants })
}

/// The bindings that are full, for a program.
pub(super) fn full_json(plan: &TenantPlan) -> Map<String, Value> {
    let of = |full: &FullBinding| json!({ "people": full.people, "waiting": full.waiting });
    plan.full.iter().map(|(name, full)| (name.as_str().to_owned(), of(full))).collect()
}

/// The totals of each binding, for a program.
pub(super) fn totals_json(plan: &TenantPlan) -> Map<String, Value> {
    let of = |totals: &crate::service::access::preview::BindingTotals| {
        json!({
            "grants": totals.grants, "revocations": totals.revocations, "kept": totals.kept,
            "notDone": totals.waits,
        })
    };
    plan.by_binding().iter().map(|(name, totals)| (name.as_str().to_owned(), of(totals))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::plan::made_plan::NextLines;
    use crate::id::{PrincipalId, UserId};
    use crate::rbac::AssignmentName;
    use crate::service::access::preview::LimitedStep;
    use uuid::Uuid;

    const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups";

    fn vault(group: &str) -> Scope {
        Scope::parse(&format!("{GROUP}/{group}/providers/Microsoft.RecoveryServices/vaults/east")).unwrap()
    }

    fn person(number: u128, name: Option<&str>, scope: Scope, state: PersonState) -> PersonPlan {
        let step = PlannedStep {
            kind: StepKind::Revoke,
            assignment: AssignmentName::new(Uuid::from_u128(number)),
            principal: PrincipalId::new(Uuid::from_u128(number)),
            role: BackupRole::Operator,
            scope,
            bindings: vec![BindingName::parse("operators").unwrap()],
            reasons: Vec::new(),
            failing: None,
        };
        PersonPlan {
            person: UserId::new(Uuid::from_u128(number)),
            state,
            name: name.map(str::to_owned),
            steps: vec![step],
            kept: Vec::new(),
            waits: Vec::new(),
            limited: Vec::new(),
            waits_for: None,
        }
    }

    fn text(people: Vec<PersonPlan>, all: bool) -> String {
        text_of(TenantPlan { people_read: people.len(), people, ..TenantPlan::default() }, all)
    }

    fn text_of(plan: TenantPlan, all: bool) -> String {
        let line = |words: &str| format!("azure-backup-scim {words} --tables T");
        let next =
            NextLines { apply: line("apply"), pending: line("plan --pending"), breaker: line("breaker") };
        let made = MadePlan {
            with: PlannedWith::Active { stamp: None },
            plan,
            wait: None,
            waiting: Some("20260301T080000Z".to_owned()),
            next,
        };
        PlanText::new(&made, all).to_string()
    }

    /// A person whose only step a limit makes wait.
    fn limited(number: u128, kind: StepKind, reason: ReasonCode) -> PersonPlan {
        let mut person = person(number, None, vault("rg"), PersonState::Active);
        let step = PlannedStep { kind, ..person.steps.remove(0) };
        let (role, scope, bindings) = (step.role, step.scope.clone(), step.bindings.clone());
        person.waits.push(PlannedWait { kind, role, scope, bindings, reason });
        person.limited.push(LimitedStep { step, reason });
        person
    }

    #[test]
    fn deleted_users_are_counted_apart() {
        let plan = TenantPlan { people_read: 3, deleted_read: 2, ..TenantPlan::default() };
        assert!(text_of(plan, false).contains("\n1 person and 2 deleted read: "));
    }

    #[test]
    fn what_the_limits_make_wait_is_counted_and_has_a_line_to_type() {
        let full = limited(1, StepKind::Grant, ReasonCode::MaxPrincipals);
        let held = limited(2, StepKind::Grant, ReasonCode::HeldByBreaker);
        let gone = limited(3, StepKind::Revoke, ReasonCode::HeldByBreaker);
        let people = vec![full, held, gone];
        let operators = BindingName::parse("operators").unwrap();
        let full = [(operators, FullBinding { people: 500, waiting: 1 })].into();
        let plan = TenantPlan { people, full, ..TenantPlan::default() };
        assert!(!plan.changes_nothing());
        let person = person_json(&plan.people[0]);
        assert_eq!((&person["steps"], &person["notDone"][0]["foreseen"]), (&json!([]), &json!(true)));
        assert_eq!(held_json(&plan), json!({"revocations": 1, "grants": 1}));
        let text = text_of(plan, false);
        for line in [
            "  does not grant Backup Operator @ east to 1 person: max-principals",
            "operators       0            0     0         3",
            "operators is full with 500 people; 1 person waits. For all of them: \"maxPrincipals\": 501",
            "A breaker would trip and hold 1 revocation and 1 grant (held-by-breaker). Once it did:",
            "  azure-backup-scim breaker --tables T",
            "  azure-backup-scim plan --pending --tables T",
        ] {
            assert!(text.lines().any(|printed| printed == line), "{line}\n{text}");
        }
    }

    #[test]
    fn who_waits_only_for_room_changes_nothing() {
        let people = vec![limited(1, StepKind::Grant, ReasonCode::MaxPrincipals)];
        assert!(TenantPlan { people, ..TenantPlan::default() }.changes_nothing());
    }

    #[test]
    fn a_name_that_was_made_to_be_obeyed_is_printed_as_it_is() {
        let hostile = "ana\u{1b}[2J\u{202e}\n  grants everything";
        let text = text(vec![person(1, Some(hostile), vault("rg"), PersonState::Inactive)], false);
        assert!(text.contains("    ana\\u{1b}[2J\\u{202e}\\u{a}  grants everything (inactive)\n"), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'));
    }

    #[test]
    fn a_long_list_is_cut_short_unless_everyone_is_asked_for() {
        let people =
            || (0..25).map(|number| person(number, None, vault("rg"), PersonState::Active)).collect();
        let short = text(people(), false);
        assert!(short.contains("revokes Backup Operator @ east from 25 people"), "{short}");
        assert!(short.contains("    and 5 more (--all lists them)"), "{short}");
        let all = text(people(), true);
        assert!(!all.contains("more (") && all.contains(&Uuid::from_u128(24).to_string()), "{all}");
    }

    #[test]
    fn vaults_of_one_name_are_told_apart() {
        let one = || person(1, Some("ana"), vault("rg-a"), PersonState::Active);
        let other = person(2, Some("ben"), vault("rg-b"), PersonState::Active);
        assert!(text(vec![one()], false).contains("@ east from"));
        let text = text(vec![one(), other], false);
        assert!(text.contains("resourceGroups/rg-a/") && text.contains("resourceGroups/rg-b/"), "{text}");
    }
}
