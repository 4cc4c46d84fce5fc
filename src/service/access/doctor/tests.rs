//! What is found, by tables: the right as it should be, and one thing wrong at a time.

use super::facts::{
    BindingsFact, BoundScopes, ClockFacts, DoctorFacts, PeopleFacts, ScopeFacts, SentId, ServiceIdentity,
    SubscriptionFacts, TokenFacts, WorkFacts,
};
use super::finding::Level;
use super::people::sent_id;
use super::*;
use crate::id::{GroupId, PrincipalId};
use crate::ports::azure_access::{AccessAssignment, DirectoryError, HolderKind, LockLevel, ManagementLock};
use crate::ports::role_assignments::{AssignmentError, RejectionReason};
use crate::ports::secrets::{SecretError, SecretVersion};
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::verbs::{Permission, RoleDefinition};
use crate::rbac::{AssignmentName, BackupRole, BindingName, Scope};
use crate::service::access::groups::{ArrivedGroup, GroupOverview, UnmatchedBinding};
use crate::store::overdue::OverdueCount;
use crate::store::sweep_schedule::SweepCounts;
use std::collections::{BTreeMap, BTreeSet};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use uuid::{Uuid, uuid};

const NOW: OffsetDateTime = datetime!(2026-03-01 12:00 UTC);
const SUBSCRIPTION: &str = "/subscriptions/00000000-0000-0000-0000-000000000001";
const ADMINISTRATOR: Uuid = uuid!("f58310d9-a9f6-439a-9e8d-f62e7b41a168");
const OWNER: Uuid = uuid!("8e3af657-a8ff-443c-a75c-2fe8c4bcb635");
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

fn role(id: Uuid, name: &str, actions: &[&str]) -> (Uuid, RoleDefinition) {
    let actions = actions.iter().map(|action| (*action).to_owned()).collect();
    let permissions = vec![Permission { actions, not_actions: Vec::new() }];
    (id, RoleDefinition { id, name: name.to_owned(), permissions })
}

/// The operator role is bound at the vault, and these assignments are there.
fn facts(assignments: Vec<AccessAssignment>) -> DoctorFacts {
    let scope = Scope::parse(&east()).unwrap();
    let bound = BoundScopes {
        roles: BTreeMap::from([(scope.clone(), BTreeSet::from([OPERATOR]))]),
        retired: BTreeSet::new(),
    };
    let actions =
        ["Microsoft.Authorization/roleAssignments/write", "Microsoft.Authorization/roleAssignments/delete"];
    DoctorFacts {
        bindings: BindingsFact::Known(bound),
        identity: ServiceIdentity::Named(service()),
        scopes: vec![ScopeFacts { scope, assignments: Ok(assignments), locks: Ok(Vec::new()) }],
        subscriptions: Vec::new(),
        roles: [role(ADMINISTRATOR, "Administrator", &actions), role(OWNER, "Owner", &["*"])].into(),
        scopes_in_ledger: BTreeSet::new(),
        people: PeopleFacts { active: 2, ..PeopleFacts::default() },
        groups: GroupOverview::default(),
        work: WorkFacts {
            now: NOW,
            counted: Some(NOW),
            overdue: OverdueCount::default(),
            paused: false,
            batches: 0,
            pending: None,
            scopes_refused: 0,
            swept: SweepCounts::default(),
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

#[test]
fn an_installation_in_order_has_no_findings() {
    let diagnosis = examine(&well());
    check(&well(), &[]);
    assert!(!diagnosis.has_findings());
    let damage = diagnosis.damage;
    let here = BTreeSet::from([ArmScope::parse(&east()).unwrap()]);
    assert_eq!(damage.roles, BTreeMap::from([("Backup Operator".to_owned(), here)]));
    assert_eq!(damage.kinds, BTreeSet::from(["User", "ServicePrincipal"]));
    assert!(damage.any_role_at.is_empty() && !damage.is_partial && !damage.is_unknown);
}

#[test]
fn a_right_that_is_missing_or_too_narrow_is_found() {
    check(&facts(vec![]), &["error rights: the service has no right to give roles"]);
    let other = AccessAssignment { principal: PrincipalId::new(Uuid::nil()), ..right(&east(), None) };
    check(&facts(vec![other]), &["error rights: the service has no right to give roles"]);
    let reads =
        AccessAssignment { role: uuid!("acdd72a7-3385-48ef-bd42-f606fba81ae7"), ..right(&east(), None) };
    check(&facts(vec![reads]), &["error rights: the service has no right to give roles"]);

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
    assert_eq!(examine(&wide(None)).damage.any_role_at.len(), 1);
    let unreadable = wide(Some("what is this"));
    check(&unreadable, &["error rights: the condition of the service's right cannot be understood"]);
    assert_eq!(examine(&unreadable).damage.any_role_at.len(), 1);

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
    check(&wide(Some(&owner)), &["error rights: the service's right lets it give Owner"]);
    assert!(examine(&wide(Some(&owner))).damage.roles.contains_key("Owner"));
    let all_but_owner = format!(
        "@Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAllValues:GuidNotEquals {{{OWNER}}} \
         OR !(ActionMatches{{'Microsoft.Authorization/roleAssignments/write'}})"
    );
    check(
        &wide(Some(&all_but_owner)),
        &[
            "error rights: the service's right lets it give any role",
            "warning rights: the service's right lets it give roles to groups and groups of other tenants",
            "warning rights: the service's right lets it take any role away",
        ],
    );
    let to_groups = condition(&[OPERATOR]).replacen("'User', 'Serv", "'User', 'Group', 'Serv", 1);
    check(&wide(Some(&to_groups)), &["warning rights: the service's right lets it give roles to groups"]);
}

#[test]
fn a_right_above_or_elsewhere_is_found() {
    let good = condition(&[OPERATOR]);
    let above = AccessAssignment { role: OWNER, ..right(SUBSCRIPTION, None) };
    check(
        &facts(vec![above.clone(), right(&east(), Some(&good))]),
        &[
            "error rights: the service's right has no condition",
            "warning rights: the service holds a right where nothing is bound",
        ],
    );
    let mut elsewhere = well();
    let west = right(&east().replace("east", "west"), Some(&good));
    elsewhere.subscriptions.push(SubscriptionFacts { id: "1".to_owned(), assignments: Ok(vec![west]) });
    check(
        &elsewhere,
        &[
            "warning rights: the service's right lets it give Backup Operator",
            "warning rights: the service holds a right where nothing is bound",
        ],
    );
}

#[test]
fn a_retired_scope_needs_its_right_while_the_ledger_has_rows_there() {
    let mut retired = facts(vec![right(&east(), Some(&condition(&[])))]);
    let scope = retired.scopes[0].scope.clone();
    let bound = BoundScopes { roles: BTreeMap::new(), retired: BTreeSet::from([scope.clone()]) };
    retired.bindings = BindingsFact::Known(bound);
    check(&retired, &["warning rights: the scope is retired, and its right can go"]);
    retired.scopes_in_ledger.insert(scope);
    check(&retired, &[]);
    retired.scopes[0].assignments = Ok(Vec::new());
    check(&retired, &["error rights: the service has no right to give roles"]);
}

#[test]
fn without_an_identity_nothing_is_said_of_its_right() {
    let mut unknown = well();
    unknown.identity = ServiceIdentity::Unknown { candidates: BTreeSet::from([service()]) };
    check(&unknown, &["warning identity: which Entra object the service is, is not known"]);
    assert!(examine(&unknown).damage.is_unknown);
    unknown.identity = ServiceIdentity::Unknown { candidates: BTreeSet::new() };
    check(&unknown, &["error rights: the service has no right to give roles"]);
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
            "not-checked rights: rights elsewhere in subscription 1",
            "not-checked locks: management locks",
            "not-checked quota: how many role assignments subscription 1 has",
            "not-checked azure: this login may not read the role assignments",
        ],
    );
    let diagnosis = examine(&hidden);
    assert!(!diagnosis.has_findings() && diagnosis.damage.is_partial);

    hidden.scopes[0].assignments = Err(refused(RejectionReason::ScopeNotFound));
    assert!(needs(&hidden).contains(&"error azure: the scope does not exist in Azure".to_owned()));
    hidden.scopes[0].assignments = Err(AssignmentError::Unknown { detail: "reset".to_owned() });
    assert!(needs(&hidden).contains(&"error azure: Azure Resource Manager does not answer".to_owned()));
}

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
        &["error locks: a management lock (CanNotDelete) forbids taking roles away (revocable: no)"],
    );
    check(
        &locked(LockLevel::ReadOnly),
        &[
            "error locks: a management lock (ReadOnly) forbids giving roles and taking them away (revocable: no)",
        ],
    );
    check(&locked(LockLevel::Other), &["warning locks: a management lock of an unknown level"]);
}

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

#[test]
fn what_is_sent_in_place_of_an_object_id_is_told() {
    for (text, expected) in [
        (None, SentId::Nothing),
        (Some(" "), SentId::Nothing),
        (Some("ana@contoso.example"), SentId::MailAddress),
        (Some("00417"), SentId::Number),
        (Some("aaaaaaaa-0000-0000-0000-000000000001"), SentId::Guid),
        (Some("ana.b"), SentId::Name),
    ] {
        assert_eq!(sent_id(text), expected, "{text:?}");
    }
    let mut mapped = well();
    mapped.people =
        PeopleFacts { active: 120, without_id: BTreeMap::from([(SentId::Name, 119)]), rows_unreadable: 0 };
    check(&mapped, &["warning people: 119 of 120 active people have no Entra object id"]);
    let people = |facts: &DoctorFacts| {
        let found = examine(facts).findings.into_iter().find(|finding| finding.check == "people").unwrap();
        (found.level, found.why.unwrap(), found.mend.unwrap())
    };
    let (_, why, (who, _)) = people(&mapped);
    assert!(why.contains("119 of 120 send a name as externalId, such as mailNickname"), "{why}");
    assert_eq!(who.as_str(), "identity admin");
    mapped.people.without_id = BTreeMap::from([(SentId::Guid, 120)]);
    let (level, _, (who, _)) = people(&mapped);
    assert_eq!((level, who.as_str()), (Level::Error, "backup admin"));
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
        paused: true,
        batches: 1,
        pending: Some("2026-03-01".to_owned()),
        scopes_refused: 2,
        ..waits.work
    };
    waits.work.swept.foreign_assignments.add("x");
    check(
        &waits,
        &[
            "error work: no process has ticked since 2026-03-01T11:44:00Z",
            "error work: 3 people still hold what was taken from them",
            "error work: Azure refuses to list 2 scopes to the service",
            "warning work: an operator's pause lasts",
            "warning work: batches that a breaker holds: 1",
            "warning work: a bundled file of bindings waits (2026-03-01)",
            "warning work: assignments at bound scopes that others made: 1",
        ],
    );
    waits.work = WorkFacts { counted: None, ..well().work };
    check(&waits, &["warning work: no process has ticked yet"]);
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
    check_token(read(&[disabled, token(9, Some(-1))]), "error no bearer token is valid now");
    check_token(read(&[token(9, Some(29))]), "warning the last bearer token expires on 2026-03-30");
    check_token(
        read(&[token(9, Some(29)), token(20, None)]),
        "ok 2 bearer tokens are valid, the newest 9 days old",
    );
    check_token(read(&[token(400, None)]), "warning the newest bearer token is 400 days old");
    check_token(TokenFacts::NoVault, "not-checked the bearer tokens");
    let refused = SecretError::Refused { name: "s".to_owned(), status: 403 };
    check_token(TokenFacts::Failed(refused), "not-checked the bearer tokens");

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
    late = well();
    late.clocks.here = NOW + Duration::seconds(120);
    check(&late, &[]);
}
