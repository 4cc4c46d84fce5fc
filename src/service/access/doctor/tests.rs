//! What is found, by tables: the right as it should be, and one thing wrong at a time.

use super::damage::{DamageReach, ReachedRoles};
use super::facts::{
    BindingsFact, BoundScopes, ClockFacts, DoctorFacts, InstallationFacts, PeopleFacts, RoleFacts,
    ScopeFacts, SentId, ServiceIdentity, SubscriptionFacts, TokenFacts, WorkFacts,
};
use super::finding::Level;
use super::identity::IdentityEvidence;
use super::people::sent_id;
use super::*;
use crate::id::{GroupId, InstanceId, PrincipalId};
use crate::ports::azure_access::{AccessAssignment, DirectoryError, HolderKind, LockLevel, ManagementLock};
use crate::ports::connectivity::{Dependency, UnreachableKind};
use crate::ports::role_assignments::{AssignmentError, RejectionReason};
use crate::ports::secrets::{SecretError, SecretVersion};
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::verbs::{Permission, RoleDefinition};
use crate::rbac::{AssignmentName, BackupRole, BindingName, Scope};
use crate::service::access::groups::{ArrivedGroup, GroupOverview, UnmatchedBinding};
use crate::store::audit_chain::ChainState;
use crate::store::overdue::{OverdueCount, StoredUnreachable};
use crate::store::state_hold::StateHold;
use crate::store::sweep_schedule::SweepCounts;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration as StdDuration;
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use uuid::{Uuid, uuid};

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
const SUBSCRIPTION: &str = "/subscriptions/00000000-0000-0000-0000-000000000001";
const ADMINISTRATOR: Uuid = uuid!("f58310d9-a9f6-439a-9e8d-f62e7b41a168");
const OWNER: Uuid = uuid!("8e3af657-a8ff-443c-a75c-2fe8c4bcb635");
const CONTRIBUTOR: Uuid = uuid!("b24988ac-6180-42a0-ab88-20f7382dd24c");
const TAKER: Uuid = uuid!("aaaaaaaa-0000-4000-8000-000000000001");
/// A custom role with the name of another one.
const DEFINER: Uuid = uuid!("aaaaaaaa-0000-4000-8000-000000000002");
const ACCESS_ADMINISTRATOR: Uuid = uuid!("18d7d88d-d35e-4fb5-a5c3-7773c20a72d9");
const READER: Uuid = uuid!("acdd72a7-3385-48ef-bd42-f606fba81ae7");
const OPERATOR: BackupRole = BackupRole::Operator;

fn group() -> String {
    format!("{SUBSCRIPTION}/resourceGroups/backup")
}

fn east() -> String {
    format!("{}/providers/Microsoft.RecoveryServices/vaults/east", group())
}

fn service() -> PrincipalId {
    PrincipalId::new(Uuid::from_u128(7))
}

/// As `infra/delegation.bicep` makes it.
fn condition(give: &[BackupRole]) -> String {
    let ids = |roles: &[BackupRole]| {
        let ids: Vec<String> = roles.iter().map(|role| role.definition_id().to_string()).collect();
        ids.join(", ")
    };
    let none = Uuid::nil().to_string();
    let written = if give.is_empty() { none } else { ids(give) };
    let kinds = "'User', 'ServicePrincipal'";
    include_str!("../../../../infra/delegation-condition.txt")
        .replace("__WRITE_ROLES__", &written)
        .replace("__DELETE_ROLES__", &ids(&BackupRole::ALL))
        .replace("__WRITE_PRINCIPAL_TYPES__", kinds)
        .replace("__DELETE_PRINCIPAL_TYPES__", kinds)
}

fn right(at: &str, condition: Option<&str>) -> AccessAssignment {
    AccessAssignment {
        name: AssignmentName::new(Uuid::new_v5(&Uuid::nil(), at.as_bytes())),
        scope: ArmScope::parse(at).unwrap(),
        role: ADMINISTRATOR,
        principal: service(),
        holder: HolderKind::ServicePrincipal,
        condition: condition.map(str::to_owned),
        created_on: None,
        created_by: None,
    }
}

fn custom_right() -> AccessAssignment {
    AccessAssignment { role: DEFINER, name: AssignmentName::new(Uuid::from_u128(99)), ..right(&east(), None) }
}

fn roles() -> RoleFacts {
    let rights =
        ["Microsoft.Authorization/roleAssignments/write", "Microsoft.Authorization/roleAssignments/delete"];
    let role = |id: Uuid, name: &str, actions: &[&str], not_actions: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let permissions = vec![Permission { actions: owned(actions), not_actions: owned(not_actions) }];
        (id, Ok(RoleDefinition { id, name: name.to_owned(), permissions }))
    };
    [
        role(ADMINISTRATOR, "Administrator", &rights, &[]),
        role(OWNER, "Owner", &["*"], &[]),
        role(CONTRIBUTOR, "Contributor", &["*"], &["Microsoft.Authorization/*"]),
        role(READER, "Reader", &["*/read"], &[]),
        role(TAKER, "Taker", &rights[1..], &[]),
        role(DEFINER, "Owner", &["Microsoft.Authorization/roleDefinitions/*"], &[]),
    ]
    .into()
}

/// The operator role is bound at the vault, and these assignments are there.
fn facts(assignments: Vec<AccessAssignment>) -> DoctorFacts {
    let scope = Scope::parse(&east()).unwrap();
    let bound = BoundScopes {
        roles: BTreeMap::from([(scope.clone(), BTreeSet::from([OPERATOR]))]),
        retired: BTreeSet::new(),
    };
    DoctorFacts {
        bindings: BindingsFact::Known(bound),
        identity: ServiceIdentity::Named(service()),
        may_be_service: BTreeSet::from([service()]),
        is_simulated: false,
        orders: Ok(()),
        requests: Ok(()),
        scopes: vec![ScopeFacts { scope, assignments: Ok(assignments), locks: Ok(Vec::new()) }],
        subscriptions: Vec::new(),
        roles: roles(),
        scopes_in_ledger: BTreeSet::new(),
        people: PeopleFacts { active: 2, ..PeopleFacts::default() },
        groups: GroupOverview::default(),
        installation: InstallationFacts::default(),
        work: WorkFacts {
            now: NOW,
            counted: Some(NOW),
            overdue: OverdueCount::default(),
            unreachable: BTreeMap::new(),
            overdue_unreadable: false,
            oldest_request: Some(NOW - Duration::minutes(1)),
            paused: false,
            brakes: 0,
            batches: 0,
            pending: None,
            scopes_refused: 0,
            swept: SweepCounts { counted: Some(NOW), ..SweepCounts::default() },
            sweep_unreadable: false,
            chain: None,
        },
        clocks: ClockFacts { here: NOW, tables: NOW },
        directory: Ok(()),
        tokens: TokenFacts::Read(vec![token(1, None)]),
    }
}

fn token(days_old: i64, days_left: Option<i64>) -> SecretVersion {
    SecretVersion {
        id: "1".to_owned(),
        enabled: true,
        created: NOW - Duration::days(days_old),
        not_before: None,
        expires: days_left.map(|days| NOW + Duration::days(days)),
        label: None,
    }
}

/// Everything is as it should be.
fn well() -> DoctorFacts {
    facts(vec![right(&east(), Some(&condition(&[OPERATOR])))])
}

/// What needs a person, as `level check: what`.
fn needs(facts: &DoctorFacts) -> Vec<String> {
    let findings = examine(facts).findings.into_iter().filter(|finding| finding.level != Level::Ok);
    findings
        .map(|finding| format!("{} {}: {}", finding.level.as_str(), finding.check, finding.what))
        .collect()
}

#[track_caller]
fn check(facts: &DoctorFacts, expected: &[&str]) {
    assert_eq!(needs(facts), expected);
}

/// Whether it says that all is well with that.
fn says_ok(facts: &DoctorFacts, check: &str) -> bool {
    examine(facts).findings.iter().any(|finding| finding.check == check && finding.level == Level::Ok)
}

/// Who can mend the first finding that is called so, and how.
#[track_caller]
fn mend(facts: &DoctorFacts, what: &str) -> String {
    let found = examine(facts).findings.into_iter().find(|finding| finding.what.starts_with(what));
    let (who, how) = found.unwrap_or_else(|| panic!("{what}: {:?}", needs(facts))).mend.unwrap();
    format!("{}: {how}", who.as_str())
}

/// Roles in reach at one scope.
fn reached(roles: &[ReachedRoles], at: &str) -> BTreeMap<ReachedRoles, BTreeSet<ArmScope>> {
    let scope = ArmScope::parse(at).unwrap();
    roles.iter().map(|role| (role.clone(), BTreeSet::from([scope.clone()]))).collect()
}

fn one(role: &str) -> ReachedRoles {
    ReachedRoles::One(role.to_owned())
}

#[test]
fn an_installation_in_order_has_no_findings() {
    let diagnosis = examine(&well());
    check(&well(), &[]);
    assert!(!diagnosis.has_findings());
    let damage = diagnosis.damage;
    assert_eq!(damage.give.roles, reached(&[one("Backup Operator")], &east()));
    assert_eq!(damage.give.kinds, BTreeSet::from(["User", "ServicePrincipal"]));
    let backup = BackupRole::ALL.map(|role| one(role.name()));
    assert_eq!(damage.take.roles, reached(&backup, &east()));
    assert_eq!(damage.take.kinds, damage.give.kinds);
    assert!(!damage.is_partial && damage.unknown.is_none());
}

#[test]
fn a_right_that_is_missing_or_too_narrow_is_found() {
    check(&facts(vec![]), &["error rights: the service was not seen to have a right to give roles"]);
    let other = AccessAssignment { principal: PrincipalId::new(Uuid::nil()), ..right(&east(), None) };
    check(&facts(vec![other]), &["error rights: the service was not seen to have a right to give roles"]);
    let reads = AccessAssignment { role: READER, ..right(&east(), None) };
    check(&facts(vec![reads]), &["error rights: the service was not seen to have a right to give roles"]);

    let nothing = condition(&[]);
    check(
        &facts(vec![right(&east(), Some(&nothing))]),
        &[
            "error rights: the service cannot give Backup Operator to users",
            "error rights: the service cannot give Backup Operator to service principals",
        ],
    );
    let user_only = condition(&[OPERATOR]).replace(", 'ServicePrincipal'", "");
    check(
        &facts(vec![right(&east(), Some(&user_only))]),
        &[
            "error rights: the service cannot give Backup Operator to service principals",
            "error rights: the service cannot take Backup Contributor, Backup Operator and Backup Reader away from \
             service principals",
        ],
    );
    let pinned = format!(
        "({}) AND @Request[Microsoft.Authorization/roleAssignments:PrincipalId] GuidEquals {OWNER}",
        condition(&[OPERATOR])
    );
    let found = needs(&facts(vec![right(&east(), Some(&pinned))]));
    assert!(found[0].contains("whether the service may give Backup Operator to users depends"), "{found:?}");
}

#[test]
fn a_right_that_is_too_wide_is_found_and_is_the_greatest_damage() {
    let wide = |condition: Option<&str>| facts(vec![right(&east(), condition)]);
    check(&wide(None), &["error rights: the service's right has no condition"]);
    assert_eq!(examine(&wide(None)).damage.give.roles, reached(&[ReachedRoles::Any], &east()));
    let unreadable = wide(Some("what is this"));
    check(&unreadable, &["error rights: the condition of the service's right cannot be understood"]);
    assert_eq!(examine(&unreadable).damage.give.any_role_at().len(), 1);

    let all = condition(&BackupRole::ALL);
    check(
        &wide(Some(&all)),
        &["warning rights: the service's right lets it give Backup Contributor and Backup Reader"],
    );
    let owner = condition(&[OPERATOR]).replacen(
        &OPERATOR.definition_id().to_string(),
        &format!("{}, {OWNER}", OPERATOR.definition_id()),
        1,
    );
    check(&wide(Some(&owner)), &["error rights: the service's right leads to any role, through Owner"]);
    let all_but = |left_out: &str| {
        format!(
            "@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAllValues:GuidNotEquals {{{left_out}}} \
             OR !(ActionMatches{{'Microsoft.Authorization/roleAssignments/write'}})"
        )
    };
    let all_but_owner = all_but(&OWNER.to_string());
    assert_eq!(
        examine(&wide(Some(&all_but_owner))).damage.give.roles,
        reached(&[ReachedRoles::Any], &east())
    );
    let all_but_these = all_but(&format!("{OWNER}, {ACCESS_ADMINISTRATOR}, {ADMINISTRATOR}"));
    check(
        &wide(Some(&all_but_these)),
        &[
            "error rights: the service's right lets it give any role",
            "warning rights: the service's right lets it give roles to groups and groups of other tenants",
            "warning rights: the service's right lets it take any role away",
            "warning rights: the service's right lets it take roles away from groups and groups of other tenants",
        ],
    );
    let named = ["User Access Administrator", "Owner", "Role Based Access Control Administrator"];
    let but = ReachedRoles::AnyBut(named.map(str::to_owned).into());
    assert_eq!(examine(&wide(Some(&all_but_these))).damage.give.roles, reached(&[but], &east()));
    let to_groups = condition(&[OPERATOR]).replacen("'User', 'Serv", "'User', 'Group', 'Serv", 1);
    check(&wide(Some(&to_groups)), &["warning rights: the service's right lets it give roles to groups"]);
    let mut from_groups = condition(&[OPERATOR]);
    from_groups.insert_str(from_groups.rfind("'User'").unwrap(), "'Group', ");
    check(
        &wide(Some(&from_groups)),
        &["warning rights: the service's right lets it take roles away from groups"],
    );
}

#[test]
fn what_the_service_can_do_beside_its_right_is_found() {
    let good = right(&east(), Some(&condition(&[OPERATOR])));
    let beside = |role: Uuid, at: &str| {
        let other =
            AccessAssignment { role, name: AssignmentName::new(Uuid::from_u128(99)), ..right(at, None) };
        facts(vec![good.clone(), other])
    };
    check(&beside(CONTRIBUTOR, &group()), &["error rights: the service also holds Contributor"]);
    let found = examine(&beside(CONTRIBUTOR, &group())).findings;
    let why = found[0].why.as_deref().unwrap();
    assert_eq!(
        why,
        "it can act on backups there and below (restore, delete-data, change-policy, detach-guard)"
    );
    let how = mend(&beside(CONTRIBUTOR, &group()), "the service also");
    let id = format!("{}/providers/Microsoft.Authorization/roleAssignments/{}", group(), Uuid::from_u128(99));
    assert_eq!(how, format!("Azure admin: delete the assignment {id} (Contributor)"));
    let acts = examine(&beside(CONTRIBUTOR, &group())).damage.acts;
    assert!(acts.keys().any(|verbs| verbs.contains(&"restore")), "{acts:?}");
    check(&beside(READER, SUBSCRIPTION), &[]);
    let reads = format!(
        "the service also holds \"Reader\" ({READER}), which has no verb of this list on backups there: restore, \
         delete-data, change-policy, detach-guard"
    );
    assert!(examine(&beside(READER, SUBSCRIPTION)).findings.iter().any(|finding| finding.what == reads));
    // No vault is inside another resource.
    let account = format!("{}/providers/Microsoft.Storage/storageAccounts/state", group());
    check(&beside(CONTRIBUTOR, &account), &[]);
    // It gives nothing, and takes everything.
    let taker = beside(TAKER, &group());
    assert_eq!(examine(&taker).damage.take.any_role_at().len(), 1);
    assert!(
        needs(&taker).contains(&"warning rights: the service's right lets it take any role away".to_owned())
    );
}

#[test]
fn a_role_that_could_not_be_read_may_give_and_take_what_its_condition_allows() {
    let mut unread = well();
    unread.roles.insert(ADMINISTRATOR, Err("azure throttles role assignments".to_owned()));
    check(
        &unread,
        &["not-checked rights: what the role Role Based Access Control Administrator lets the service do"],
    );
    let Diagnosis { damage, .. } = examine(&unread);
    assert!(damage.is_partial);
    assert_eq!(damage.give.roles, reached(&[one("Backup Operator")], &east()));
    unread.scopes[0].assignments = Ok(vec![right(&east(), None)]);
    assert_eq!(examine(&unread).damage.give.roles, reached(&[ReachedRoles::Any], &east()));
    assert_eq!(examine(&unread).damage.take.roles, reached(&[ReachedRoles::Any], &east()));
}

#[test]
fn a_right_that_was_not_read_is_not_as_the_bindings_need_it() {
    assert!(says_ok(&well(), "rights"));
    let mut unread = well();
    unread.roles.remove(&ADMINISTRATOR);
    assert!(!says_ok(&unread, "rights"));
    let what =
        "not-checked rights: what the role Role Based Access Control Administrator lets the service do";
    check(&unread, &[what]);
    // Another one beside it makes the whole not known.
    let mut both = facts(vec![right(&east(), Some(&condition(&[OPERATOR]))), custom_right()]);
    both.roles.remove(&DEFINER);
    assert!(!says_ok(&both, "rights") && examine(&both).damage.is_partial);
    // A right that only the subscription shows, at a scope that could not be read.
    let mut hidden = well();
    let listed = hidden.scopes[0].assignments.clone();
    hidden.subscriptions.push(SubscriptionFacts { id: "1".to_owned(), assignments: listed });
    hidden.scopes[0].assignments = Err(AssignmentError::Unknown { detail: "reset".to_owned() });
    assert!(!says_ok(&hidden, "rights"));
    assert!(
        needs(&hidden)
            .contains(&"not-checked rights: whether the service's right is what is needed".to_owned())
    );
}

#[test]
fn a_role_that_leads_to_any_role_is_any_role() {
    let any = reached(&[ReachedRoles::Any], &east());
    let giving = |role: Uuid| {
        let both = format!("{}, {role}", OPERATOR.definition_id());
        let condition = condition(&[OPERATOR]).replacen(&OPERATOR.definition_id().to_string(), &both, 1);
        facts(vec![right(&east(), Some(&condition))])
    };
    let unread = Uuid::from_u128(5);
    for role in [OWNER, ACCESS_ADMINISTRATOR, ADMINISTRATOR, DEFINER, unread] {
        let Diagnosis { damage, .. } = examine(&giving(role));
        assert_eq!((&damage.give.roles, &damage.take.roles), (&any, &any), "{role}");
        assert_eq!(damage.give.kinds.len(), 4);
    }
    for role in [CONTRIBUTOR, READER] {
        assert!(examine(&giving(role)).damage.give.any_role_at().is_empty(), "{role}");
    }
    let way = format!("error rights: the service's right leads to any role, through \"Owner\" ({DEFINER})");
    assert!(needs(&giving(DEFINER)).contains(&way), "{:?}", needs(&giving(DEFINER)));
    // It holds such a role: what narrows its right does not narrow that.
    let name = AssignmentName::new(Uuid::from_u128(99));
    let held = AccessAssignment { role: DEFINER, name, ..right(&east(), Some(&condition(&[OPERATOR]))) };
    let beside = facts(vec![right(&east(), Some(&condition(&[OPERATOR]))), held]);
    check(&beside, &[way.as_str()]);
    assert!(!examine(&beside).damage.give.any_role_at().is_empty());
}

#[test]
fn where_the_identity_is_not_known_each_candidate_is_looked_at() {
    let pipeline = PrincipalId::new(Uuid::from_u128(8));
    let owner = AccessAssignment { role: OWNER, principal: pipeline, ..right(SUBSCRIPTION, None) };
    let mut several = facts(vec![right(&east(), Some(&condition(&[OPERATOR]))), owner]);
    several.may_be_service = BTreeSet::from([service(), pipeline]);
    let any = "error rights: what may be the service, too, can give any role";
    check(&several, &[]);
    several.identity = ServiceIdentity::MadeOurs(service());
    check(&several, &[any]);
    several.identity = ServiceIdentity::Unknown { candidates: several.may_be_service.clone() };
    let unknown = [
        any,
        "warning identity: the service's Entra object id is not known",
        "not-checked rights: whether the service's rights are what the bindings need",
    ];
    check(&several, &unknown);
    let damage = examine(&several).damage;
    assert!(damage.is_partial && damage.unknown.is_some());
    // What it says is known by its id.
    several.roles.remove(&OWNER);
    check(&several, &unknown);
    let custom = AccessAssignment { role: DEFINER, principal: pipeline, ..right(SUBSCRIPTION, None) };
    several.scopes[0].assignments.as_mut().unwrap()[1] = custom;
    several.roles.remove(&DEFINER);
    check(
        &several,
        &[
            unknown[1],
            unknown[2],
            "not-checked rights: what others that may be the service can give and take",
        ],
    );
    several.identity = ServiceIdentity::Unknown {
        candidates: (0..1100).map(|id| PrincipalId::new(Uuid::from_u128(id))).collect(),
    };
    let found = examine(&several).findings;
    let why = found.iter().find(|finding| finding.check == "identity").unwrap().why.clone().unwrap();
    assert!(why.len() < 300 && why.ends_with("and 1095 more"), "{why}");
}

#[test]
fn the_simulated_azure_enforces_no_rights() {
    let mut simulated = facts(Vec::new());
    simulated.is_simulated = true;
    check(&simulated, &["not-checked rights: the service's rights"]);
    assert!(examine(&simulated).damage.unknown.is_some() && examine(&simulated).damage.is_partial);
    // Nor is it said of a service that gave roles that it can give none.
    let mut gave = facts(Vec::new());
    assert!(examine(&gave).damage.unknown.is_none());
    gave.scopes_in_ledger.insert(gave.scopes[0].scope.clone());
    assert!(examine(&gave).damage.unknown.is_some());
    simulated.identity = ServiceIdentity::Unknown { candidates: BTreeSet::new() };
    check(&simulated, &["not-checked rights: the service's rights"]);
}

#[test]
fn without_the_bindings_only_the_damage_is_known() {
    for (bindings, finding) in [
        (BindingsFact::Absent, "warning bindings: no bindings were ever stored"),
        (BindingsFact::Unreadable, "error bindings: the active bindings cannot be read"),
    ] {
        let mut unbound = well();
        unbound.bindings = bindings;
        unbound.people.without_id = BTreeMap::from([(SentId::Guid, 2)]);
        check(
            &unbound,
            &[
                finding,
                "not-checked rights: whether the service's rights are what the bindings need",
                "not-checked people: whether people have an Entra object id",
                "not-checked groups: whether the bindings find their groups",
            ],
        );
        assert_eq!(examine(&unbound).damage.give, examine(&well()).damage.give);
    }
}

#[test]
fn where_nothing_was_listed_nothing_is_said_of_the_damage() {
    let mut empty = well();
    empty.scopes.clear();
    check(&empty, &["not-checked rights: what the service can give and take"]);
    let damage = examine(&empty).damage;
    assert_eq!(damage.unknown, Some("no role assignments could be read"));
    assert_eq!((damage.give, damage.take), (DamageReach::default(), DamageReach::default()));
}

#[test]
fn a_right_that_is_needed_below_its_scope_is_replaced_before_it_is_deleted() {
    let above = facts(vec![right(&group(), Some(&condition(&[OPERATOR])))]);
    let what = "the service holds a right where nothing is bound";
    let id = |right: &AccessAssignment| {
        let (scope, name) = (&right.scope, right.name);
        format!(
            "{scope}/providers/Microsoft.Authorization/roleAssignments/{name} (Role Based Access Control Administrator)"
        )
    };
    let delete = format!("delete the assignment {}", id(&right(&group(), None)));
    let both = format!("Azure admin: run infra/delegate.sh with this bindings.json, then {delete}");
    assert_eq!(mend(&facts(vec![right(&group(), Some(&condition(&[])))]), what), both);
    assert_eq!(mend(&above, "the service's right lets it give Backup Operator"), both);
    let mut elsewhere = well();
    let far = right(&group().replace("backup", "other"), Some(&condition(&[])));
    let delete = format!("Azure admin: delete the assignment {}", id(&far));
    elsewhere.subscriptions.push(SubscriptionFacts { id: "1".to_owned(), assignments: Ok(vec![far]) });
    assert_eq!(mend(&elsewhere, what), delete);
    // Deleted, and nothing else, it may be the assignment that the script has just narrowed.
    let wide = facts(vec![right(&east(), None)]);
    let how = mend(&wide, "the service's right has no condition");
    assert!(
        how.starts_with("Azure admin: run infra/delegate.sh with this bindings.json; if it fails"),
        "{how}"
    );
}

#[test]
fn a_right_above_or_elsewhere_is_found() {
    let good = condition(&[OPERATOR]);
    let above = AccessAssignment { role: OWNER, ..right(SUBSCRIPTION, None) };
    check(
        &facts(vec![above.clone(), right(&east(), Some(&good))]),
        &["error rights: the service's right has no condition", "error rights: the service also holds Owner"],
    );
    let mut elsewhere = well();
    let west = right(&east().replace("east", "west"), Some(&good));
    elsewhere.subscriptions.push(SubscriptionFacts { id: "1".to_owned(), assignments: Ok(vec![west]) });
    check(&elsewhere, &["warning rights: the service's right lets it give Backup Operator"]);
}

#[test]
fn a_retired_scope_needs_its_right_while_the_ledger_has_rows_there() {
    let mut retired = facts(vec![right(&east(), Some(&condition(&[])))]);
    let scope = retired.scopes[0].scope.clone();
    let bound = BoundScopes { roles: BTreeMap::new(), retired: BTreeSet::from([scope.clone()]) };
    retired.bindings = BindingsFact::Known(bound);
    check(&retired, &["warning rights: the scope is retired, and its right can go"]);
    retired.people.rows_unreadable = 1;
    check(
        &retired,
        &[
            "error people: 1 rows cannot be read",
            "not-checked rights: whether the right can go",
            "not-checked people: whether all people have an Entra object id",
            "not-checked groups: whether every binding finds its one group",
        ],
    );
    retired.people.rows_unreadable = 0;
    retired.scopes_in_ledger.insert(scope);
    check(&retired, &[]);
    retired.scopes[0].assignments = Ok(Vec::new());
    check(&retired, &["error rights: the service was not seen to have a right to give roles"]);
}

#[test]
fn without_an_identity_nothing_is_said_of_its_right() {
    let mut unknown = well();
    unknown.identity = ServiceIdentity::Unknown { candidates: BTreeSet::from([service()]) };
    let needs = "not-checked rights: whether the service's rights are what the bindings need";
    check(&unknown, &["warning identity: the service's Entra object id is not known", needs]);
    assert!(examine(&unknown).damage.unknown.is_some());
    let by = "these made the assignments of the ledger: x".to_owned();
    unknown.identity = ServiceIdentity::Contradicted { id: service(), by };
    check(&unknown, &[&format!("warning identity: the service is probably not {}", service()), needs]);
    assert!(examine(&unknown).damage.unknown.is_some());
    unknown.identity = ServiceIdentity::Unknown { candidates: BTreeSet::new() };
    check(&unknown, &["error rights: the service was not seen to have a right to give roles"]);
    // Another one may be where it could not be looked for.
    unknown.scopes.push(unread_scope(AssignmentError::Unknown { detail: "reset".to_owned() }));
    check(
        &unknown,
        &[
            "not-checked rights: whether a service principal has a right to give roles",
            "not-checked azure: the role assignments could not be read",
        ],
    );
}

#[test]
fn a_right_to_give_roles_makes_a_service_principal_one_that_may_be_the_service() {
    let good = condition(&[OPERATOR]);
    let evidence = |assignments| {
        let DoctorFacts { scopes, roles, .. } = facts(assignments);
        IdentityEvidence::of(None, BTreeSet::new(), &scopes, &roles)
    };
    let here = evidence(vec![right(&east(), Some(&good))]);
    assert_eq!((here.holders.len(), here.others.len()), (1, 0));
    assert_eq!(here.identify(), ServiceIdentity::OnlyHolder(service()));
    let inherited = evidence(vec![right(&group(), Some(&good))]);
    assert_eq!((inherited.holders.len(), inherited.others.len()), (0, 1));
    let unread = AccessAssignment { role: Uuid::from_u128(5), ..right(&east(), None) };
    assert_eq!(evidence(vec![unread]).others, BTreeSet::from([service()]));
    let person = AccessAssignment { holder: HolderKind::User, ..right(&east(), None) };
    let reads = AccessAssignment { role: READER, ..right(&east(), None) };
    assert_eq!(evidence(vec![person, reads]), IdentityEvidence::default());
}

fn unread_scope(error: AssignmentError) -> ScopeFacts {
    let scope = Scope::parse(&east().replace("east", "west")).unwrap();
    ScopeFacts { scope, assignments: Err(error), locks: Ok(Vec::new()) }
}

#[test]
fn what_could_not_be_read_is_said_and_is_no_finding() {
    let refused =
        |reason| AssignmentError::Rejected { reason, code: "C".to_owned(), status: 403, correlation: None };
    let mut hidden = well();
    hidden.scopes[0].assignments = Err(refused(RejectionReason::NotAuthorized));
    hidden.scopes[0].locks = Err(refused(RejectionReason::NotAuthorized));
    let error = refused(RejectionReason::NotAuthorized);
    hidden.subscriptions.push(SubscriptionFacts { id: "1".to_owned(), assignments: Err(error) });
    check(
        &hidden,
        &[
            "not-checked rights: what the service can give and take",
            "not-checked locks: management locks",
            "not-checked quota: how many role assignments subscription 1 has",
            "not-checked azure: this login may not read the role assignments",
        ],
    );
    let diagnosis = examine(&hidden);
    assert!(!diagnosis.has_findings() && diagnosis.damage.unknown.is_some());
    assert!(diagnosis.is_azure_unread && diagnosis.damage.is_partial);
    assert!(!examine(&well()).is_azure_unread);

    hidden.scopes[0].assignments = Err(refused(RejectionReason::ScopeNotFound));
    assert!(needs(&hidden).contains(&"error azure: the scope does not exist in Azure".to_owned()));
    hidden.scopes[0].assignments = Err(AssignmentError::Unknown { detail: "reset".to_owned() });
    assert!(needs(&hidden).contains(&"error azure: Azure Resource Manager does not answer".to_owned()));

    let throttled = || AssignmentError::Throttled { retry_after: StdDuration::ZERO, correlation: None };
    let mut busy = well();
    busy.scopes.push(unread_scope(throttled()));
    check(
        &busy,
        &[
            "not-checked rights: whether the service's right is what is needed",
            "not-checked azure: the role assignments could not be read",
        ],
    );
    assert!(!says_ok(&busy, "rights"));
    busy.scopes.remove(0);
    assert!(!examine(&busy).has_findings(), "{:?}", needs(&busy));

    let mut elsewhere = well();
    for (id, error) in [("1", throttled()), ("2", refused(RejectionReason::NotAuthorized))] {
        elsewhere.subscriptions.push(SubscriptionFacts { id: id.to_owned(), assignments: Err(error) });
    }
    let found = examine(&elsewhere).findings;
    let of = |what: &str| found.iter().find(|finding| finding.what == what).unwrap().why.clone().unwrap();
    assert!(of("rights elsewhere in subscription 1").contains("throttles"));
    assert!(of("rights elsewhere in subscription 2").contains("rejects"));
    assert!(examine(&elsewhere).damage.is_partial);
}

/// Facts: F-005.
#[test]
fn a_lock_is_an_error_and_says_what_it_forbids() {
    let locked = |level| {
        let mut facts = well();
        let scope = ArmScope::parse(&group()).unwrap();
        facts.scopes[0].locks = Ok(vec![ManagementLock { name: "l".to_owned(), scope, level }]);
        facts
    };
    check(
        &locked(LockLevel::CanNotDelete),
        &["error locks: a management lock (CanNotDelete) forbids taking roles away"],
    );
    check(
        &locked(LockLevel::ReadOnly),
        &["error locks: a management lock (ReadOnly) forbids giving roles and taking them away"],
    );
    check(&locked(LockLevel::Other), &["warning locks: a management lock of an unknown level"]);
}

/// Facts: F-092.
#[test]
fn a_subscription_fills_up() {
    for (number, level) in
        [(3199, Level::Ok), (3200, Level::Warning), (3799, Level::Warning), (3800, Level::Error)]
    {
        let mut full = well();
        let one = |number: u128| AccessAssignment {
            name: AssignmentName::new(Uuid::from_u128(number)),
            principal: PrincipalId::new(Uuid::nil()),
            ..right(&east(), None)
        };
        let inherited = right("/", None);
        let assignments =
            (0..number).map(one).chain([AccessAssignment { principal: one(1).principal, ..inherited }]);
        let id = "00000000-0000-0000-0000-000000000001".to_owned();
        full.subscriptions.push(SubscriptionFacts { id, assignments: Ok(assignments.collect()) });
        let found = examine(&full).findings;
        let quota = found.iter().find(|finding| finding.check == "quota").unwrap();
        assert_eq!(quota.level, level, "{number}");
        assert!(quota.what.contains(&format!("has {number} of 4000")), "{}", quota.what);
    }
}

/// Facts: F-163.
#[test]
fn what_is_sent_in_place_of_an_object_id_is_told() {
    for (text, expected) in [
        (None, SentId::Nothing),
        (Some(" "), SentId::Nothing),
        (Some("ana@contoso.example"), SentId::MailAddress),
        (Some("00417"), SentId::Number),
        (Some("aaaaaaaa-0000-0000-0000-000000000001"), SentId::Guid),
        (Some("{aaaaaaaa-0000-0000-0000-000000000001}"), SentId::GuidSpelling),
        (Some("aaaaaaaa000000000000000000000001"), SentId::GuidSpelling),
        (Some(" aaaaaaaa-0000-0000-0000-000000000001"), SentId::GuidSpelling),
        (Some("ana.b"), SentId::Name),
    ] {
        assert_eq!(sent_id(text), expected, "{text:?}");
    }
    let mut mapped = well();
    mapped.people = PeopleFacts {
        active: 120,
        without_id: BTreeMap::from([(SentId::Name, 119)]),
        ..PeopleFacts::default()
    };
    mapped.people.names_without_id = vec!["ana".to_owned(), "bo".to_owned()];
    check(&mapped, &["warning people: 119 of 120 active people have no Entra object id"]);
    let people = |facts: &DoctorFacts| {
        let found = examine(facts).findings.into_iter().find(|finding| finding.check == "people").unwrap();
        (found.level, found.why.unwrap(), found.mend.unwrap())
    };
    let (_, why, (who, _)) = people(&mapped);
    assert!(
        why.contains(
            "119 of 120 send a name as externalId, such as mailNickname. They are ana, bo and 117 more"
        ),
        "{why}"
    );
    assert_eq!(who.as_str(), "identity admin");
    mapped.people.without_id = BTreeMap::from([(SentId::Guid, 120)]);
    let (level, _, (who, _)) = people(&mapped);
    assert_eq!((level, who.as_str()), (Level::Error, "backup admin"));
    mapped.people.without_id = BTreeMap::from([(SentId::GuidSpelling, 120)]);
    assert_eq!(people(&mapped).2.0.as_str(), "identity admin");
}

#[test]
fn a_binding_without_a_group_names_the_one_that_may_be_meant() {
    let mut unmatched = well();
    unmatched.groups.without_group.push(UnmatchedBinding {
        binding: BindingName::parse("operators-east").unwrap(),
        attribute: "externalId",
        value: "Vault Operators".to_owned(),
        reason: None,
    });
    let how = |facts: &DoctorFacts| {
        let found = examine(facts).findings.into_iter().find(|finding| finding.check == "groups").unwrap();
        found.mend.unwrap().1
    };
    check(
        &unmatched,
        &[
            "warning groups: the binding operators-east finds no group whose externalId is \"Vault Operators\"",
        ],
    );
    assert!(how(&unmatched).starts_with("assign the group"));
    unmatched.groups.groups.push(ArrivedGroup {
        id: GroupId::new(Uuid::from_u128(3)),
        display_name: Some("vault operators".to_owned()),
        external_id: Some("g-17".to_owned()),
        is_only_of_external_id: true,
        bindings: Vec::new(),
        above: BTreeSet::new(),
    });
    assert_eq!(
        how(&unmatched),
        "the group \"vault operators\" may be meant: select it by the externalId \"g-17\""
    );
}

/// Seen so long ago for the last time.
fn not_reached(kind: UnreachableKind, minutes_ago: i64) -> StoredUnreachable {
    StoredUnreachable { kind, since: NOW - Duration::minutes(30), seen: NOW - Duration::minutes(minutes_ago) }
}

#[test]
fn what_waits_is_found() {
    let mut waits = well();
    waits.work = WorkFacts {
        counted: Some(NOW - Duration::minutes(16)),
        overdue: OverdueCount {
            people: 3,
            by_reason: BTreeMap::from([("scope-locked".to_owned(), 3)]),
            ..OverdueCount::default()
        },
        unreachable: BTreeMap::from([
            (Dependency::Arm, not_reached(UnreachableKind::CertificateNotTrusted, 5)),
            (Dependency::Identity, not_reached(UnreachableKind::Refused, 20)),
        ]),
        paused: true,
        batches: 1,
        pending: Some("2026-03-01".to_owned()),
        scopes_refused: 2,
        ..waits.work
    };
    waits.work.swept = SweepCounts {
        by_reason: BTreeMap::from([("pending-principal".to_owned(), 2), ("max-principals".to_owned(), 1)]),
        scopes_unsurveyed: 1,
        counted: Some(NOW - Duration::hours(7)),
        ..SweepCounts::default()
    };
    waits.work.swept.foreign_assignments.add("x");
    check(
        &waits,
        &[
            "error work: no process has ticked since 2026-03-01T11:44:00Z",
            "error work: the service does not reach arm since 2026-03-01T11:30:00Z: certificate-not-trusted",
            "error work: 3 people still hold what was taken from them",
            "error work: Azure refuses to list 2 scopes to the service",
            "warning work: an operator's pause lasts",
            "warning work: batches that a breaker holds: 1",
            "warning work: a bundled file of bindings waits (2026-03-01)",
            "warning work: no sweep that began after 2026-03-01T05:00:00Z has ended",
            "warning work: Azure did not show the service everything that others gave at 1 scopes",
            "warning work: grants that wait or are refused: 3",
            "warning work: assignments at bound scopes that others made: 1",
        ],
    );
    waits.work = WorkFacts { counted: None, swept: SweepCounts::default(), ..well().work };
    check(&waits, &["warning work: no process has ticked yet", "warning work: no sweep has ended yet"]);
}

#[test]
fn an_audit_that_proves_nothing_is_named() {
    let mut facts = well();
    let mut chain = ChainState::new(NOW.date());
    facts.work.chain = Some(chain.clone());
    check(&facts, &[]);
    chain.next = 9;
    facts.work.chain = Some(chain.clone());
    check(&facts, &["warning audit: the heads of the audit are in the table alone"]);
    chain.published = 9;
    facts.work.chain = Some(chain.clone());
    check(&facts, &[]);
    chain.damaged = vec![3, 5];
    chain.day = (NOW - Duration::days(4)).date();
    facts.work.chain = Some(chain.clone());
    let behind = format!("warning audit: the audit of {} is not sealed", chain.day);
    let damaged = "error audit: sealed audit records were changed or removed: heads 2, first 3";
    check(&facts, &[damaged, &behind]);
    chain.damaged.clear();
    chain.forked = true;
    facts.work.chain = Some(chain);
    check(&facts, &["error audit: the container has another head 9 of the audit than the table"]);
}

#[test]
fn what_the_last_tick_and_sweep_left_is_not_guessed_at() {
    let mut unread = well();
    unread.work = WorkFacts {
        counted: None,
        overdue_unreadable: true,
        swept: SweepCounts::default(),
        sweep_unreadable: true,
        ..unread.work
    };
    check(
        &unread,
        &[
            "error work: the row that the last tick left cannot be read",
            "error work: the row that the last sweep left cannot be read",
        ],
    );
    assert!(!says_ok(&unread, "work"));
    let mut waits = well();
    waits.work.oldest_request = Some(NOW - Duration::hours(2));
    check(&waits, &["warning work: a change of 2026-03-01T10:00:00Z waits for its reconcile"]);
    let mut braked = well();
    braked.work.brakes = 2;
    let found = examine(&braked).findings;
    let what = "people whom operators revoked, and who get no role until `lift`: 2";
    assert!(found.iter().any(|finding| finding.what == what), "{found:?}");
}

#[test]
fn clocks_tokens_and_the_directory_are_judged() {
    #[track_caller]
    fn check_token(tokens: TokenFacts, expected: &str) {
        let facts = DoctorFacts { tokens, ..well() };
        let found = examine(&facts).findings;
        let token = found.iter().find(|finding| finding.check == "tokens").unwrap();
        assert_eq!(format!("{} {}", token.level.as_str(), token.what), expected);
    }
    let read = |versions: &[SecretVersion]| TokenFacts::Read(versions.to_vec());
    let disabled = SecretVersion { enabled: false, ..token(1, None) };
    check_token(read(&[]), "error no bearer token is valid now");
    check_token(read(&[disabled.clone(), token(9, Some(-1))]), "error no bearer token is valid now");
    // The two newest count, whatever they are: a third one is no token.
    check_token(read(&[disabled.clone(), disabled, token(9, None)]), "error no bearer token is valid now");
    check_token(
        read(&[token(9, Some(29))]),
        "warning the last bearer token of the label unlabelled expires on 2026-03-30",
    );
    check_token(
        read(&[token(9, Some(29)), token(20, None)]),
        "ok bearer tokens that are enabled and in time: 2 (their values are not read)",
    );
    let okta = SecretVersion { label: Some("okta".to_owned()), ..token(9, Some(1)) };
    check_token(
        read(&[token(1, None), okta]),
        "warning the last bearer token of the label okta expires on 2026-03-02",
    );
    let coming = SecretVersion { not_before: Some(NOW + Duration::HOUR), ..token(0, None) };
    check_token(read(&[coming]), "error no bearer token is valid now");
    check_token(
        read(&[token(400, None)]),
        "warning the newest bearer token of the label unlabelled is 400 days old",
    );
    check_token(TokenFacts::NoVault, "not-checked the bearer tokens");
    let name = || "s".to_owned();
    check_token(
        TokenFacts::Failed(SecretError::Missing { name: name() }),
        "error the vault has no secret \"s\"",
    );
    for (error, is_right) in [
        (SecretError::Refused { name: name(), status: 403 }, true),
        (SecretError::Throttled { retry_after: StdDuration::ZERO }, false),
        (SecretError::Away { detail: "reset".to_owned() }, false),
    ] {
        let facts = DoctorFacts { tokens: TokenFacts::Failed(error), ..well() };
        check(&facts, &["not-checked tokens: the bearer tokens"]);
        let found = examine(&facts).findings;
        let token = found.iter().find(|finding| finding.check == "tokens").unwrap();
        assert_eq!(token.mend.is_some(), is_right, "{token:?}");
    }

    let mut late = well();
    late.clocks.here = NOW - Duration::seconds(121);
    late.directory = Err(DirectoryError::Refused { code: "C".to_owned() });
    check(
        &late,
        &[
            "warning graph: Microsoft Graph cannot be read",
            "warning clock: this machine's clock is 121 s behind that of the tables",
        ],
    );
    late.is_simulated = true;
    check(&late, &["warning graph: Microsoft Graph cannot be read"]);
    late = well();
    late.orders = Err("storage cannot be reached".to_owned());
    check(&late, &["error tables: the table of orders cannot be read"]);
    late = well();
    late.requests = Err("TableNotFound".to_owned());
    check(&late, &["warning tables: the table of the request log cannot be read"]);
    late = well();
    late.clocks.here = NOW + Duration::seconds(120);
    check(&late, &[]);
}

#[test]
fn an_installation_whose_loss_would_not_be_noticed_is_a_finding_with_what_to_type() {
    let id = |n: u128| InstanceId::new(Uuid::from_u128(n));
    let lines = |installation: InstallationFacts, is_simulated| -> Vec<String> {
        let facts = DoctorFacts { installation, is_simulated, ..well() };
        let findings = super::installation::check_installation(&facts);
        let mend = |finding: &Finding| finding.mend.as_ref().map(|(_, how)| how.clone()).unwrap_or_default();
        findings
            .iter()
            .map(|finding| format!("{} {}: {}", finding.level.as_str(), finding.what, mend(finding)))
            .collect()
    };
    let of = |row: u128, setting: Option<u128>| InstallationFacts {
        id: Some(id(row)),
        setting: setting.map(id),
        hold: None,
    };
    let set = format!("`azd env set INSTANCE_ID {}`, then `azd provision`", id(1));
    assert_eq!(lines(of(1, None), false), [format!("warning INSTANCE_ID is not set: {set}")]);
    let differs = format!("error INSTANCE_ID names {}, and the state is of {}: {set}", id(2), id(1));
    assert_eq!(lines(of(1, Some(2)), false), [differs]);
    assert_eq!(
        lines(of(1, Some(1)), false),
        [format!("ok INSTANCE_ID names this installation, {}: ", id(1))]
    );
    assert!(lines(InstallationFacts::default(), false).is_empty() && lines(of(1, None), true).is_empty());
    let lost = InstallationFacts { hold: Some(StateHold::Lost(None)), ..of(1, Some(1)) };
    assert!(lines(lost, false)[0].contains("recover --begin"));
    let restoring = InstallationFacts { hold: Some(StateHold::Restoring), ..of(1, Some(1)) };
    assert!(lines(restoring, false)[0].contains("state restore"));
}
