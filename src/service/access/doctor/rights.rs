//! The service's own rights as Azure holds them, beside what the bindings need.

use super::damage::{GreatestDamage, joined, plural};
use super::facts::{DoctorFacts, ScopeFacts, ServiceIdentity};
use super::finding::{Finding, Mender};
use super::identity::listed;
use super::right::{Narrowing, OUR_KINDS, ServiceRight, role_name};
use crate::id::PrincipalId;
use crate::ports::azure_access::AccessAssignment;
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::condition::{AssignmentAction, Verdict};
use crate::rbac::verbs::{RoleVerbs, VaultKind, Verb};
use crate::rbac::{AssignmentName, BackupRole, Scope};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// How the rights are made as they should be.
const DELEGATE: &str = "run infra/delegate.sh with this bindings.json";
const NAME_IT: &str = "name the service with --identity or SERVICE_PRINCIPAL_ID";
/// Why nothing is known of the rights.
const NOTHING_READ: &str = "no role assignments could be read";
const NO_IDENTITY: &str = "its Entra object id is not known";
/// What the service holds is judged by these verbs alone.
const BACKUP_VERBS: [Verb; 4] = [Verb::Restore, Verb::DeleteData, Verb::ChangePolicy, Verb::DetachGuard];

type Rights<'a> = BTreeMap<AssignmentName, ServiceRight<'a>>;

/// Where the service needs rights.
struct Needs {
    bound: BTreeMap<ArmScope, BTreeSet<BackupRole>>,
    retired: BTreeSet<ArmScope>,
    in_ledger: BTreeSet<ArmScope>,
    /// The assignments that reach a scope that is bound or in the ledger.
    reaching: BTreeSet<AssignmentName>,
}

impl Needs {
    /// Or why that is not known.
    fn of(facts: &DoctorFacts) -> Result<Self, &'static str> {
        let bound = facts.bindings.known()?;
        let mut needs = Self {
            bound: bound.roles.iter().map(|(scope, roles)| (scope.into(), roles.clone())).collect(),
            retired: bound.retired.iter().map(ArmScope::from).collect(),
            in_ledger: facts.scopes_in_ledger.iter().map(ArmScope::from).collect(),
            reaching: BTreeSet::new(),
        };
        let needed = facts.scopes.iter().filter(|facts| needs.has(&ArmScope::from(&facts.scope)));
        let reaching = needed.flat_map(|facts| facts.assignments.iter().flatten());
        needs.reaching = reaching.map(|listed| listed.name).collect();
        Ok(needs)
    }

    /// Whether a right is needed at exactly that scope.
    fn has(&self, scope: &ArmScope) -> bool {
        self.bound.contains_key(scope) || self.in_ledger.contains(scope)
    }
}

/// What the rights let the service do, at most and at least.
pub fn check_rights(facts: &DoctorFacts) -> (Vec<Finding>, GreatestDamage) {
    let mut damage = GreatestDamage { is_partial: is_partial(facts), ..GreatestDamage::default() };
    let is_listed = facts.scopes.iter().any(|scope| scope.assignments.is_ok())
        || facts.subscriptions.iter().any(|subscription| subscription.assignments.is_ok());
    if !is_listed {
        damage.unknown = Some(NOTHING_READ);
        damage.is_partial = true;
        let what = "what the service can give and take";
        return (vec![Finding::not_checked("rights", what, NOTHING_READ)], damage);
    }
    let needs = Needs::of(facts);
    let Some(id) = facts.identity.id() else {
        damage.unknown = Some(NO_IDENTITY);
        damage.is_partial = true;
        let mut findings = needs.map_or_else(needs_unknown, |needs| without_identity(facts, &needs));
        findings.extend(any_role_of_others(facts, None));
        return (findings, damage);
    };
    let held = held_by(facts, id);
    let rights = rights_of(&held, facts);
    for right in rights.values() {
        damage.add(right, &facts.roles);
    }
    for held in held.values() {
        let verbs = backup_verbs(held, facts);
        if !verbs.is_empty() {
            damage.acts.entry(verbs).or_default().insert(held.scope.clone());
        }
    }
    let mut findings = needs.map_or_else(needs_unknown, |needs| beside_needs(facts, &rights, &needs));
    if rights.is_empty() && facts.is_simulated {
        damage.unknown = Some("the simulated Azure lets it do everything, and no right of it was made");
    } else if rights.is_empty() && !facts.scopes_in_ledger.is_empty() {
        damage.unknown = Some("the ledger has assignments of it, and no right of it was seen");
    }
    damage.is_partial |= damage.unknown.is_some();
    let all_read = rights.values().all(ServiceRight::is_role_read);
    if findings.is_empty() && all_read && !rights.is_empty() {
        let what = format!("rights to give roles, each as the bindings need it: {}", rights.len());
        findings.push(Finding::ok("rights", what));
    }
    if !matches!(facts.identity, ServiceIdentity::Named(_)) {
        findings.extend(any_role_of_others(facts, Some(id)));
    }
    findings.extend(held.values().filter_map(|held| other_role(held, facts)));
    findings.extend(facts.subscriptions.iter().filter_map(|subscription| {
        let what = format!("rights elsewhere in subscription {}", subscription.id);
        let error = subscription.assignments.as_ref().err()?;
        Some(Finding::not_checked("rights", what, error.to_string()))
    }));
    (findings, damage)
}

fn is_partial(facts: &DoctorFacts) -> bool {
    facts.scopes.iter().any(|scope| scope.assignments.is_err())
        || facts.subscriptions.iter().any(|subscription| subscription.assignments.is_err())
}

fn needs_unknown(why: &str) -> Vec<Finding> {
    vec![Finding::not_checked("rights", "whether the service's rights are what the bindings need", why)]
}

fn rights_of<'a>(held: &BTreeMap<AssignmentName, &'a AccessAssignment>, facts: &DoctorFacts) -> Rights<'a> {
    held.iter().filter_map(|(name, held)| Some((*name, ServiceRight::of(held, &facts.roles)?))).collect()
}

/// Where objects that may be the service, too, can give any role.
fn any_role_of_others(facts: &DoctorFacts, known: Option<PrincipalId>) -> Vec<Finding> {
    let (mut certain, mut unread) = (BTreeSet::new(), BTreeSet::new());
    let mut at = BTreeSet::new();
    for id in facts.may_be_service.iter().copied().filter(|id| Some(*id) != known) {
        for right in rights_of(&held_by(facts, id), facts).values() {
            let mut damage = GreatestDamage::default();
            damage.add(right, &facts.roles);
            if !right.is_role_read() {
                unread.insert(id);
            } else if !damage.give.any_role_at().is_empty() {
                certain.insert(id);
                at.insert(right.assignment.scope.clone());
            }
        }
    }
    let mut findings = Vec::new();
    if !certain.is_empty() {
        let what = "what may be the service, too, can give any role";
        let mut finding = Finding::error("rights", what, listed(&certain)).mend(Mender::Operator, NAME_IT);
        finding.at.extend(at);
        findings.push(finding);
    }
    if !unread.is_empty() {
        let why = format!("the definitions of their roles could not be read: {}", listed(&unread));
        let what = "what others that may be the service can give and take";
        findings.push(Finding::not_checked("rights", what, why).mend(Mender::Operator, NAME_IT));
    }
    findings
}

/// Where no service principal holds a right, none is the service's.
fn without_identity(facts: &DoctorFacts, needs: &Needs) -> Vec<Finding> {
    match &facts.identity {
        ServiceIdentity::Unknown { candidates } if candidates.is_empty() => {}
        _ => return needs_unknown(NO_IDENTITY),
    }
    if is_partial(facts) {
        let what = "whether a service principal has a right to give roles";
        return vec![Finding::not_checked("rights", what, "none was seen, and not everything could be read")];
    }
    let bound = facts.scopes.iter().filter(|facts| needs.bound.contains_key(&ArmScope::from(&facts.scope)));
    bound.map(|at| no_right(&at.scope, facts.is_simulated)).collect()
}

/// `is_unneeded`: the simulated Azure, where no right of the service was made, enforces none.
fn no_right(scope: &Scope, is_unneeded: bool) -> Finding {
    if is_unneeded {
        let what = "the service's rights";
        let why =
            "the simulated Azure of `local` lets the service do everything, and no right of it was made";
        return Finding::not_checked("rights", what, why).at(scope);
    }
    let what = "the service was not seen to have a right to give roles";
    let why = "people neither get nor lose roles there, unless it has one through a group or Privileged Identity \
               Management, or is another object";
    Finding::error("rights", what, why).at(scope).mend(Mender::AzureAdmin, DELEGATE)
}

/// What that object holds, at the scopes, above them and elsewhere in their subscriptions.
fn held_by(facts: &DoctorFacts, id: PrincipalId) -> BTreeMap<AssignmentName, &AccessAssignment> {
    let at_scopes = facts.scopes.iter().flat_map(|scope| scope.assignments.iter().flatten());
    let elsewhere =
        facts.subscriptions.iter().flat_map(|subscription| subscription.assignments.iter().flatten());
    let own = at_scopes.chain(elsewhere).filter(|assignment| assignment.principal == id);
    own.map(|assignment| (assignment.name, assignment)).collect()
}

fn beside_needs(facts: &DoctorFacts, rights: &Rights<'_>, needs: &Needs) -> Vec<Finding> {
    let mut findings = Vec::new();
    for right in rights.values().filter(|right| right.is_role_read()) {
        let wide = too_wide(right, needs, facts);
        let more = if wide.is_empty() { not_needed(right, needs, facts) } else { None };
        findings.extend(wide.into_iter().chain(more));
    }
    for scope in &facts.scopes {
        findings.extend(too_narrow(scope, rights, needs, facts.is_simulated));
    }
    findings
}

/// A role that the service holds beside its right, and what it lets it do to backups.
fn other_role(held: &AccessAssignment, facts: &DoctorFacts) -> Option<Finding> {
    let name = role_name(held.role, &facts.roles);
    let unread = match facts.roles.get(&held.role) {
        Some(Ok(_)) => None,
        Some(Err(why)) => Some(why.as_str()),
        None => Some("its definition was not asked for"),
    };
    if let Some(why) = unread {
        let what = format!("what the role {name} lets the service do");
        return Some(Finding::not_checked("rights", what, why).at(held.scope.clone()));
    }
    let verbs = backup_verbs(held, facts);
    let what = format!("the service also holds {name}");
    if !verbs.is_empty() {
        let why = format!("it can act on backups there and below ({})", verbs.join(", "));
        let delete = format!("delete {}", assignment_id(held, facts));
        let finding = Finding::error("rights", what, why).at(held.scope.clone());
        return Some(finding.mend(Mender::AzureAdmin, delete));
    }
    let is_right = ServiceRight::of(held, &facts.roles).is_some();
    let none = BACKUP_VERBS.map(Verb::as_str).join(", ");
    let what = format!("{what}, which has no verb of this list on backups there: {none}");
    (!is_right).then(|| Finding::ok("rights", what).at(held.scope.clone()))
}

/// What an assignment lets its holder do to backups, as far as its definition was read.
fn backup_verbs(held: &AccessAssignment, facts: &DoctorFacts) -> Vec<&'static str> {
    let Some(Ok(role)) = facts.roles.get(&held.role) else { return Vec::new() };
    if !may_hold_vaults(&held.scope) {
        return Vec::new();
    }
    let verbs = RoleVerbs::of(&role.permissions).at(VaultKind::at(&held.scope));
    BACKUP_VERBS.into_iter().filter(|verb| verbs.has(*verb)).map(Verb::as_str).collect()
}

/// As Azure names it, and its role.
fn assignment_id(assignment: &AccessAssignment, facts: &DoctorFacts) -> String {
    let AccessAssignment { name, scope, role, .. } = assignment;
    let above = scope.as_str().trim_end_matches('/');
    let role = role_name(*role, &facts.roles);
    format!("the assignment {above}/providers/Microsoft.Authorization/roleAssignments/{name} ({role})")
}

/// Whether vaults may be at that scope or below: not within another resource.
fn may_hold_vaults(scope: &ArmScope) -> bool {
    let in_group = scope.folded().split_once("/resourcegroups/").map(|(_, rest)| rest);
    match in_group.and_then(|rest| rest.split_once("/providers/")) {
        Some((_, resource)) => ["microsoft.recoveryservices/", "microsoft.dataprotection/"]
            .iter()
            .any(|kind| resource.starts_with(kind)),
        None => true,
    }
}

/// What a right allows beyond what is bound at exactly its scope.
fn too_wide(right: &ServiceRight<'_>, needs: &Needs, facts: &DoctorFacts) -> Vec<Finding> {
    let scope = &right.assignment.scope;
    let this = assignment_id(right.assignment, facts);
    let (give, take) = (right.reach(AssignmentAction::Give), right.reach(AssignmentAction::Take));
    // Where a scope is delegated this may be the very assignment that the script narrows.
    let replace = match needs.bound.contains_key(scope) || needs.retired.contains(scope) {
        true => format!(
            "{DELEGATE}; if it fails (RoleAssignmentExists) or changes nothing, delete {this} and run it again"
        ),
        false if needs.reaching.contains(&right.assignment.name) => format!("{DELEGATE}, then delete {this}"),
        false => format!("delete {this}"),
    };
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
    let ways = right.ways_to_any(&give, &facts.roles);
    let mut findings = Vec::new();
    let bound = needs.bound.get(scope).into_iter().flatten();
    let bound: BTreeSet<Uuid> = bound.map(|role| role.definition_id()).collect();
    let beyond: BTreeSet<Uuid> = give.roles.difference(&bound).copied().collect();
    if give.is_any {
        let spared = "the condition does not name the roles that it may give: a role among them may lead to all others";
        findings.push(finding(true, "the service's right lets it give any role".to_owned(), spared));
    } else if !beyond.is_empty() {
        let what = format!("the service's right lets it give {}", names(&beyond, facts));
        findings.push(finding(holds_others(&beyond), what, "no binding gives that there"));
    }
    if !give.is_any && !ways.is_empty() {
        // It says more than that the role can be given.
        findings.clear();
        let ways: Vec<String> = ways.into_iter().collect();
        let what = format!("the service's right leads to any role, through {}", joined(&ways));
        let why = "whom it gives such a role, or what has it, can give any role, Owner included";
        findings.push(finding(true, what, why));
    }
    let ours = "it gives roles to users and service principals only";
    if !give.other_kinds().is_empty() {
        let what = format!("the service's right lets it give roles to {}", plural(&give.other_kinds()));
        findings.push(finding(false, what, ours));
    }
    if take.is_any || holds_others(&take.roles) {
        let others = take.roles.iter().filter(|role| BackupRole::from_definition(**role).is_none()).copied();
        let which = if take.is_any { "any role".to_owned() } else { names(&others.collect(), facts) };
        let what = format!("the service's right lets it take {which} away");
        findings.push(finding(false, what, "it takes backup roles away only"));
    }
    if !take.other_kinds().is_empty() {
        let kinds = plural(&take.other_kinds());
        let what = format!("the service's right lets it take roles away from {kinds}");
        findings.push(finding(false, what, ours));
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

/// A right where nothing is bound, and one at a scope that nothing needs any more.
fn not_needed(right: &ServiceRight<'_>, needs: &Needs, facts: &DoctorFacts) -> Option<Finding> {
    let AccessAssignment { scope, name, .. } = right.assignment;
    let this = assignment_id(right.assignment, facts);
    if needs.has(scope) {
        return None;
    }
    if facts.people.rows_unreadable > 0 {
        let what = "whether the right can go";
        let why = "the rows that cannot be read may need it to take roles away";
        return Some(Finding::not_checked("rights", what, why).at(scope.clone()));
    }
    let (what, why) = match needs.retired.contains(scope) {
        true => ("the scope is retired, and its right can go", "the service holds nothing there"),
        false => ("the service holds a right where nothing is bound", "no binding needs it"),
    };
    let delete = format!("delete {this}");
    let (why, how) = match needs.reaching.contains(name) {
        true => (
            "no binding is at exactly that scope; those below it need rights of their own",
            format!("{DELEGATE}, then {delete}"),
        ),
        false => (why, delete),
    };
    Some(Finding::warning("rights", what, why).at(scope.clone()).mend(Mender::AzureAdmin, how))
}

/// What the bindings need and the rights do not allow.
fn too_narrow(facts: &ScopeFacts, rights: &Rights<'_>, needs: &Needs, is_simulated: bool) -> Vec<Finding> {
    let scope = &facts.scope;
    let here = ArmScope::from(scope);
    let assignments = match &facts.assignments {
        Ok(assignments) => assignments,
        Err(error) => {
            let what = "whether the service's right is what is needed";
            return vec![Finding::not_checked("rights", what, error.to_string()).at(scope)];
        }
    };
    let reaching: Vec<&ServiceRight<'_>> =
        assignments.iter().filter_map(|listed| rights.get(&listed.name)).collect();
    if reaching.is_empty() {
        let is_unneeded = is_simulated && rights.is_empty();
        return if needs.has(&here) { vec![no_right(scope, is_unneeded)] } else { Vec::new() };
    }
    let verdict = |action, role: BackupRole, kind: &str| {
        let verdicts = reaching.iter().map(|right| right.verdict(action, role.definition_id(), kind));
        verdicts.max().unwrap_or(Verdict::No)
    };
    let roles = needs.bound.get(&here).cloned().unwrap_or_default();
    let is_understood =
        |right: &&ServiceRight<'_>| right.is_role_read() && right.narrowing != Narrowing::NotUnderstood;
    let is_understood = reaching.iter().all(is_understood);
    let mut findings = Vec::new();
    for kind in OUR_KINDS {
        let to = plural(&BTreeSet::from([kind]));
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
