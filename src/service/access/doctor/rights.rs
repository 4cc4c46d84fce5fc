//! The service's own right as Azure holds it, beside what the bindings need.

use super::facts::{BoundScopes, DoctorFacts, ScopeFacts, ServiceIdentity};
use super::finding::{Finding, Mender};
use super::right::{Narrowing, OUR_KINDS, RightReach, ServiceRight, role_name};
use crate::id::PrincipalId;
use crate::ports::azure_access::AccessAssignment;
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::condition::{AssignmentAction, Verdict};
use crate::rbac::{AssignmentName, BackupRole, Scope};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// How the rights are made as they should be.
const DELEGATE: &str = "run infra/delegate.sh with this bindings.json";

/// The greatest damage that the service can do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GreatestDamage {
    /// Which Entra object the service is, is not known.
    pub is_unknown: bool,
    /// Not every scope could be read.
    pub is_partial: bool,
    /// Where it can give any role.
    pub any_role_at: BTreeSet<ArmScope>,
    /// What it can give elsewhere, by the role.
    pub roles: BTreeMap<String, BTreeSet<ArmScope>>,
    pub kinds: BTreeSet<&'static str>,
}

impl GreatestDamage {
    /// The roles that it can give at the same scopes, together.
    pub fn by_scopes(&self) -> BTreeMap<&BTreeSet<ArmScope>, Vec<String>> {
        let mut by_scopes: BTreeMap<&BTreeSet<ArmScope>, Vec<String>> = BTreeMap::new();
        for (role, scopes) in &self.roles {
            by_scopes.entry(scopes).or_default().push(role.clone());
        }
        by_scopes
    }
}

/// What the rights let the service do, at most and at least.
pub fn judge(facts: &DoctorFacts) -> (Vec<Finding>, GreatestDamage) {
    let is_partial = facts.scopes.iter().any(|scope| scope.assignments.is_err())
        || facts.subscriptions.iter().any(|subscription| subscription.assignments.is_err());
    let bound = facts.bindings.bound();
    let id = match &facts.identity {
        ServiceIdentity::Unknown { candidates } => {
            let damage = GreatestDamage { is_unknown: true, is_partial, ..GreatestDamage::default() };
            return (without_identity(facts, &bound, candidates), damage);
        }
        known => known.id(),
    };
    let rights = rights_of(facts, id);
    let mut findings = Vec::new();
    let mut damage = GreatestDamage { is_partial, ..GreatestDamage::default() };
    for right in rights.values() {
        let here = bound_at(&bound, &right.assignment.scope);
        findings.extend(too_wide(right, &here, facts));
        findings.extend(not_needed(right, &bound, facts));
        add_damage(&mut damage, right, facts);
    }
    for scope in &facts.scopes {
        let is_needed =
            bound.roles.contains_key(&scope.scope) || facts.scopes_in_ledger.contains(&scope.scope);
        findings.extend(too_narrow(scope, is_needed, &rights, &bound));
    }
    if findings.is_empty() && !rights.is_empty() {
        let what = format!("rights to give roles, each as the bindings need it: {}", rights.len());
        findings.push(Finding::ok("rights", what));
    }
    if let Some(subscription) =
        facts.subscriptions.iter().find(|subscription| subscription.assignments.is_err())
    {
        let what = format!("rights elsewhere in subscription {}", subscription.id);
        findings.push(Finding::not_checked("rights", what, "its role assignments could not be read"));
    }
    (findings, damage)
}

/// Where no service principal holds a right, none is the service's.
fn without_identity(
    facts: &DoctorFacts,
    bound: &BoundScopes,
    candidates: &BTreeSet<PrincipalId>,
) -> Vec<Finding> {
    if !candidates.is_empty() {
        return Vec::new();
    }
    let read = facts.scopes.iter().filter(|scope| scope.assignments.is_ok());
    let needed = read.filter(|scope| bound.roles.contains_key(&scope.scope));
    needed.map(|scope| no_right(&scope.scope)).collect()
}

fn no_right(scope: &Scope) -> Finding {
    Finding::error(
        "rights",
        "the service has no right to give roles",
        "people neither get nor lose roles there",
    )
    .at(scope)
    .mend(Mender::AzureAdmin, DELEGATE)
}

/// The rights of that object, at the scopes, above them and elsewhere in their subscriptions.
fn rights_of(facts: &DoctorFacts, id: Option<PrincipalId>) -> BTreeMap<AssignmentName, ServiceRight<'_>> {
    let at_scopes = facts.scopes.iter().filter_map(|scope| scope.assignments.as_ref().ok());
    let elsewhere =
        facts.subscriptions.iter().filter_map(|subscription| subscription.assignments.as_ref().ok());
    let all = at_scopes.chain(elsewhere).flatten();
    let own = all.filter(|assignment: &&AccessAssignment| Some(assignment.principal) == id);
    own.filter_map(|assignment| Some((assignment.name, ServiceRight::of(assignment, &facts.roles)?)))
        .collect()
}

fn bound_at(bound: &BoundScopes, scope: &ArmScope) -> BTreeSet<BackupRole> {
    let here = bound.roles.iter().find(|(bound, _)| ArmScope::from(*bound) == *scope);
    here.map(|(_, roles)| roles.clone()).unwrap_or_default()
}

/// What a right allows beyond what is bound at exactly its scope.
fn too_wide(right: &ServiceRight<'_>, bound: &BTreeSet<BackupRole>, facts: &DoctorFacts) -> Vec<Finding> {
    let scope = right.assignment.scope.clone();
    let (give, take) = (right.reach(AssignmentAction::Give), right.reach(AssignmentAction::Take));
    let replace = format!("delete the assignment {}, and {DELEGATE}", right.assignment.name);
    let finding = |level_is_error: bool, what: String, why: &str| {
        let made = match level_is_error {
            true => Finding::error("rights", what, why),
            false => Finding::warning("rights", what, why),
        };
        made.at(scope.clone()).mend(Mender::AzureAdmin, replace.clone())
    };
    if give.is_any && right.narrowing == Narrowing::Nothing {
        let what = "the service's right has no condition".to_owned();
        return vec![finding(true, what, "it can give any role to anyone there and below, Owner included")];
    }
    if right.narrowing == Narrowing::NotUnderstood {
        let what = "the condition of the service's right cannot be understood".to_owned();
        return vec![finding(true, what, "what it allows is not known: any role must be expected")];
    }
    let mut findings = Vec::new();
    let bound: BTreeSet<Uuid> = bound.iter().map(|role| role.definition_id()).collect();
    let beyond: BTreeSet<Uuid> = give.roles.difference(&bound).copied().collect();
    if give.is_any {
        let spared = "the condition excludes some roles at most";
        findings.push(finding(true, "the service's right lets it give any role".to_owned(), spared));
    } else if !beyond.is_empty() {
        let what = format!("the service's right lets it give {}", names(&beyond, facts));
        findings.push(finding(holds_others(&beyond), what, "no binding gives that there"));
    }
    if !give.other_kinds().is_empty() {
        let what = format!("the service's right lets it give roles to {}", plural(&give.other_kinds()));
        findings.push(finding(false, what, "it gives roles to users and service principals only"));
    }
    if take.is_any || holds_others(&take.roles) {
        let others = take.roles.iter().filter(|role| BackupRole::from_definition(**role).is_none()).copied();
        let which = if take.is_any { "any role".to_owned() } else { names(&others.collect(), facts) };
        let what = format!("the service's right lets it take {which} away");
        findings.push(finding(false, what, "it takes backup roles away only"));
    }
    findings
}

fn holds_others(roles: &BTreeSet<Uuid>) -> bool {
    roles.iter().any(|role| BackupRole::from_definition(*role).is_none())
}

fn names(roles: &BTreeSet<Uuid>, facts: &DoctorFacts) -> String {
    let names: BTreeSet<String> = roles.iter().map(|role| role_name(*role, &facts.roles)).collect();
    joined(&names.into_iter().collect::<Vec<_>>())
}

/// Kinds of principals as prose has them.
pub fn plural(kinds: &[&str]) -> String {
    let word = |kind: &&str| {
        match *kind {
            "User" => "users",
            "ServicePrincipal" => "service principals",
            "Group" => "groups",
            "ForeignGroup" => "groups of other tenants",
            other => other,
        }
        .to_owned()
    };
    joined(&kinds.iter().map(word).collect::<Vec<_>>())
}

/// As a sentence has them: a, b and c.
pub fn joined(texts: &[String]) -> String {
    match texts.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

/// A right where nothing is bound, and one at a scope that nobody needs any more.
fn not_needed(right: &ServiceRight<'_>, bound: &BoundScopes, facts: &DoctorFacts) -> Option<Finding> {
    let scope = &right.assignment.scope;
    let delete = format!("delete the assignment {}", right.assignment.name);
    let is_here = |other: &&Scope| ArmScope::from(*other) == *scope;
    if bound.roles.keys().any(|other| is_here(&other)) {
        return None;
    }
    if facts.scopes_in_ledger.iter().any(|other| is_here(&other)) {
        return None;
    }
    let finding = match bound.retired.iter().any(|other| is_here(&other)) {
        true => Finding::warning(
            "rights",
            "the scope is retired, and its right can go",
            "the service holds nothing there",
        ),
        false => {
            let what = "the service holds a right where nothing is bound";
            Finding::warning("rights", what, "no binding needs it")
        }
    };
    Some(finding.at(scope.clone()).mend(Mender::AzureAdmin, delete))
}

/// What the bindings need and the rights do not allow.
fn too_narrow(
    facts: &ScopeFacts,
    is_needed: bool,
    rights: &BTreeMap<AssignmentName, ServiceRight<'_>>,
    bound: &BoundScopes,
) -> Vec<Finding> {
    let (scope, Ok(assignments)) = (&facts.scope, &facts.assignments) else { return Vec::new() };
    let reaching: Vec<&ServiceRight<'_>> =
        assignments.iter().filter_map(|listed| rights.get(&listed.name)).collect();
    let verdict = |action, role: BackupRole, kind: &str| {
        let verdicts = reaching.iter().map(|right| right.verdict(action, role.definition_id(), kind));
        verdicts.max().unwrap_or(Verdict::No)
    };
    let roles = bound.roles.get(scope).cloned().unwrap_or_default();
    if reaching.is_empty() {
        return if is_needed { vec![no_right(scope)] } else { Vec::new() };
    }
    let is_understood = reaching.iter().all(|right| right.narrowing != Narrowing::NotUnderstood);
    let mut findings = Vec::new();
    for kind in OUR_KINDS {
        let to = plural(&[kind]);
        for (action, needed) in
            [(AssignmentAction::Give, roles.clone()), (AssignmentAction::Take, BackupRole::ALL.into())]
        {
            let of = |wanted: Verdict| {
                let found = needed.iter().filter(|role| verdict(action, **role, kind) == wanted);
                joined(&found.map(|role| role.name().to_owned()).collect::<Vec<_>>())
            };
            let (no, depends) = (of(Verdict::No), of(Verdict::Depends));
            if !no.is_empty() {
                findings.push(missing(action, &no, &to).at(scope).mend(Mender::AzureAdmin, DELEGATE));
            }
            if !depends.is_empty() && is_understood {
                let what = format!(
                    "whether the service may {} depends on more than role and kind",
                    verb(action, &depends, &to)
                );
                let why = "the condition names something else, such as single principals";
                findings
                    .push(Finding::warning("rights", what, why).at(scope).mend(Mender::AzureAdmin, DELEGATE));
            }
        }
    }
    findings
}

fn missing(action: AssignmentAction, roles: &str, to: &str) -> Finding {
    let what = format!("the service cannot {}", verb(action, roles, to));
    let why = match action {
        AssignmentAction::Give => "members of the groups wait there (not-authorized)",
        AssignmentAction::Take => "people who leave keep their roles there (not-authorized)",
    };
    Finding::error("rights", what, why)
}

fn verb(action: AssignmentAction, roles: &str, to: &str) -> String {
    match action {
        AssignmentAction::Give => format!("give {roles} to {to}"),
        AssignmentAction::Take => format!("take {roles} away from {to}"),
    }
}

fn add_damage(damage: &mut GreatestDamage, right: &ServiceRight<'_>, facts: &DoctorFacts) {
    let RightReach { is_any, roles, kinds } = right.reach(AssignmentAction::Give);
    let scope = right.assignment.scope.clone();
    if is_any {
        damage.any_role_at.insert(scope);
    } else if !roles.is_empty() {
        damage.kinds.extend(kinds);
        for role in roles {
            damage.roles.entry(role_name(role, &facts.roles)).or_default().insert(scope.clone());
        }
    }
}
