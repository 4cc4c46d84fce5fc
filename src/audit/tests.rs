//! The stored form and the text of every kind, against files that the release before the table wrote.

use super::*;
use crate::id::{GroupId, OpId, PrincipalId, UserId};
use crate::rbac::ledger::StepKind;
use crate::rbac::{AssignmentName, BackupRole, BindingName, ReasonCode, Scope};
use crate::scim::ResourceType;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Pairs of lines: a stored change, and how it prints. One pair for each of `changes()`.
const WRITTEN: &str = include_str!("tests/written.txt");
/// The same for changes that this release does not write: of releases before, of later ones, and damaged ones.
const EARLIER: &str = include_str!("tests/earlier.txt");

fn pairs(file: &'static str) -> Vec<(&'static str, &'static str)> {
    let lines: Vec<&str> = file.lines().collect();
    assert_eq!(lines.len() % 2, 0);
    lines.chunks(2).map(|pair| (pair[0], pair[1])).collect()
}

fn user() -> UserId {
    UserId::new(Uuid::from_u128(0x11))
}

fn group(number: u128) -> GroupId {
    GroupId::new(Uuid::from_u128(number))
}

fn principal() -> PrincipalId {
    PrincipalId::new(Uuid::from_u128(0x33))
}

fn assignment(number: u128) -> AssignmentName {
    AssignmentName::new(Uuid::from_u128(number))
}

fn open() -> OpId {
    OpId::new(Uuid::from_u128(0x55))
}

fn texts(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn bindings(names: &[&str]) -> Vec<BindingName> {
    names.iter().map(|name| BindingName::parse(name).unwrap()).collect()
}

/// A change of every kind, and more than one where the kind has more than one wording.
fn changes() -> Vec<AuditEvent> {
    [resources(), members(), effects(), waits(), settings(), orders(), breakers(), seen(), chain(), drills()]
        .concat()
}

fn resources() -> Vec<AuditEvent> {
    vec![
        AuditEvent::ResourceCreated {
            resource_type: ResourceType::User,
            id: SubjectId::new(user()),
            before: 0,
            after: 1,
            attributes: texts(&["active", "userName"]),
        },
        AuditEvent::ResourceChanged {
            resource_type: ResourceType::Group,
            id: SubjectId::new(group(0x22)),
            before: 3,
            after: 4,
            attributes: texts(&["members"]),
        },
        AuditEvent::ResourceDeleted {
            resource_type: ResourceType::User,
            id: SubjectId::new(user()),
            before: 4,
            after: 5,
            attributes: Vec::new(),
        },
    ]
}

fn members() -> Vec<AuditEvent> {
    let group = group(0x22);
    vec![
        AuditEvent::MemberAdded { group, member: SubjectId::new(user()), revision: 4 },
        AuditEvent::MemberRemoved { group, member: SubjectId::new(user()), revision: 4 },
        AuditEvent::MemberDropped { group, member: SubjectId::new("not-an-id"), revision: 4 },
        AuditEvent::AttributesDropped {
            resource_type: ResourceType::User,
            id: SubjectId::new(user()),
            revision: 2,
            attributes: texts(&["photos", "x509Certificates"]),
            reasons: texts(&["unusable-value", "unknown-attribute"]),
        },
    ]
}

fn effects() -> Vec<AuditEvent> {
    let (person, principal, assignment, open) = (user(), principal(), assignment(0x44), open());
    let opened = |names: &[&str], reasons: &[&str], wanted: bool| AuditEvent::EffectOpened {
        person,
        principal,
        bindings: bindings(names),
        role: BackupRole::Operator,
        scope: Scope::parse("/subscriptions/6f9619ff-8b86-4d01-b42d-00cf4fc964ff/resourceGroups/rg-East")
            .unwrap(),
        assignment,
        reasons: texts(reasons),
        held_before: !wanted,
        wanted,
        follows: (!wanted).then_some(open),
    };
    let answered =
        |operation, executed, code: Option<&str>, correlation: Option<&str>| AuditEvent::EffectAnswered {
            person,
            principal,
            assignment,
            operation,
            open,
            executed,
            code: code.map(str::to_owned),
            correlation: correlation.map(str::to_owned),
        };
    vec![
        opened(
            &["east", "west"],
            &["member of group g of binding east", "member of group h of binding west"],
            true,
        ),
        opened(&["east"], &["the user is inactive"], false),
        answered(StepKind::Grant, true, None, Some("c-1")),
        answered(StepKind::Revoke, false, Some("ScopeLocked"), None),
        AuditEvent::EffectObserved { person, principal, assignment, open, held: true },
        AuditEvent::EffectObserved { person, principal, assignment, open, held: false },
        AuditEvent::DifferenceFound { person, principal, assignment, ledger_held: true, azure_held: false },
    ]
}

fn waits() -> Vec<AuditEvent> {
    let wait = |operation, reason| AuditEvent::WaitChanged {
        person: user(),
        binding: BindingName::parse("east").unwrap(),
        operation,
        reason,
    };
    vec![wait(StepKind::Grant, Some(ReasonCode::PendingPrincipal)), wait(StepKind::Revoke, None)]
}

fn settings() -> Vec<AuditEvent> {
    let (person, principal) = (user(), principal());
    let activated = |before: Option<&str>, after: &str| AuditEvent::BindingsActivated {
        before: before.map(str::to_owned),
        after: after.to_owned(),
    };
    let pinned =
        |attribute, group_before| AuditEvent::SelectorPinned { attribute, group_before, group: group(0x22) };
    let foreign = |before: Option<u128>, after: Option<u128>| AuditEvent::ForeignAssignmentChanged {
        assignment: assignment(0x44),
        before: before.map(assignment),
        after: after.map(assignment),
    };
    vec![
        activated(None, "20261125T120000Z"),
        activated(Some("20261125T120000Z"), "20261126T120000Z"),
        AuditEvent::PrincipalPinned { person, principal },
        AuditEvent::PrincipalReleased { person, principal },
        pinned("displayName", None),
        pinned("externalId", Some(group(0x23))),
        foreign(None, Some(0x45)),
        foreign(Some(0x45), None),
        foreign(Some(0x45), Some(0x44)),
        AuditEvent::AssignmentBindingsChanged {
            assignment: assignment(0x44),
            before: bindings(&["east"]),
            after: bindings(&["east", "west"]),
        },
        AuditEvent::AssignmentHandedOver { assignment: assignment(0x44) },
        AuditEvent::BindingsPending { before: None, after: Some("20261126T120000Z".to_owned()) },
        AuditEvent::BindingsPending { before: Some("20261126T120000Z".to_owned()), after: None },
    ]
}

fn seen() -> Vec<AuditEvent> {
    let foreign = |seen, verbs: &[&str], made: bool| AuditEvent::ForeignAccessSeen {
        seen,
        principal: principal(),
        holder: "Group",
        assignment: assignment(0x44),
        role: "Owner".to_owned(),
        role_definition: "8e3af657-a8ff-443c-a75c-2fe8c4bcb635".to_owned(),
        scope: "/subscriptions/00000000-0000-0000-0000-000000000001".to_owned(),
        subscription: "00000000-0000-0000-0000-000000000001".to_owned(),
        verbs: texts(verbs),
        conditional: made,
        created_on: made.then(|| "2026-11-25T12:00:00Z".to_owned()),
        created_by: made.then(|| PrincipalId::new(Uuid::from_u128(0x34))),
    };
    let role = |verbs: &[&str]| AuditEvent::RoleVerbsSeen {
        role: BackupRole::Operator,
        role_definition: BackupRole::Operator.definition_id().to_string(),
        verbs: texts(verbs),
    };
    vec![
        foreign("appeared", &["restore", "give-access"], true),
        foreign("gone", &["unknown"], false),
        role(&["restore", "detach-guard"]),
        role(&[]),
    ]
}

fn orders() -> Vec<AuditEvent> {
    let carried_out = |verb: &str, target: &str, detail: &str| AuditEvent::OrderCarriedOut {
        order: open(),
        verb: verb.to_owned(),
        target: target.to_owned(),
        because: "incident 7".to_owned(),
        detail: detail.to_owned(),
    };
    vec![
        carried_out("pause", "", "paused"),
        carried_out("forget", "/subscriptions/s", "closed"),
        AuditEvent::OrderRefused {
            order: open(),
            verb: "resume".to_owned(),
            target: String::new(),
            because: "incident 7".to_owned(),
            refusal: "the service is not paused".to_owned(),
        },
        AuditEvent::PauseChanged { paused: true },
        AuditEvent::PauseChanged { paused: false },
        AuditEvent::BrakeChanged { principal: principal(), braked: true },
        AuditEvent::BrakeChanged { principal: principal(), braked: false },
        AuditEvent::IdentityAccepted {
            person: user(),
            principal_before: Some(PrincipalId::new(Uuid::from_u128(0x34))),
            principal: principal(),
        },
    ]
}

fn breakers() -> Vec<AuditEvent> {
    let batch = OpId::new(Uuid::from_u128(0x66));
    let tripped =
        |holds, names: &[&str]| AuditEvent::BreakerTripped { batch, holds, bindings: bindings(names) };
    vec![
        tripped("revocations", &["east", "west"]),
        tripped("grants", &["east"]),
        AuditEvent::StepHeld {
            person: user(),
            assignment: assignment(0x44),
            operation: StepKind::Revoke,
            batch,
        },
        AuditEvent::BatchDecided { batch, decision: "released" },
        AuditEvent::BatchDecided { batch, decision: "rejected" },
    ]
}

fn chain() -> Vec<AuditEvent> {
    let hash = "0011223344556677889900112233445566778899001122334455667788990011".to_owned();
    vec![
        AuditEvent::AuditExpired { through_head: 29, through_day: "2025-10-30".to_owned(), months: 13 },
        AuditEvent::StateRestored { exported: "2026-11-25T12:00:00Z".to_owned(), rows: 1234, hash },
        AuditEvent::StateBegun { instance: "00000000-0000-4000-8000-000000000077".to_owned() },
        AuditEvent::AssignmentRecovered {
            person: user(),
            principal: principal(),
            role: BackupRole::Operator,
            scope: Scope::parse("/subscriptions/00000000-0000-0000-0000-000000000001").unwrap(),
            assignment: assignment(0x44),
        },
    ]
}

fn drills() -> Vec<AuditEvent> {
    let ended = |failure: Option<(&str, &str)>, times: &[&str]| AuditEvent::DrillEnded {
        drill: open(),
        person: user(),
        green: failure.is_none(),
        phase: failure.map(|(phase, _)| phase.to_owned()),
        reason: failure.map(|(_, reason)| reason.to_owned()),
        times: texts(times),
    };
    vec![
        AuditEvent::DrillBegan {
            drill: open(),
            person: user(),
            group: group(0x22),
            principal: principal(),
            set_off: "timer".to_owned(),
        },
        ended(None, &["grant received 2026-11-25T12:00:00Z", "revocation seen 2026-11-25T12:00:01Z"]),
        ended(Some(("deactivated", "scope-locked")), &[]),
    ]
}

#[test]
fn every_kind_is_stored_and_printed_as_before() {
    let written = pairs(WRITTEN);
    assert_eq!(changes().len(), written.len());
    for (change, (stored, line)) in changes().iter().zip(written) {
        assert_eq!(change.to_json().to_string(), stored);
        assert_eq!(RecordedChange::read(&change.to_json()).describe(), line);
    }
}

#[test]
fn every_kind_has_an_example() {
    let examples: BTreeSet<&str> = changes().iter().map(|change| change.kind().name).collect();
    let all: BTreeSet<&str> = kinds().map(|kind| kind.name).collect();
    assert_eq!(examples, all);
}

#[test]
fn records_of_earlier_releases_print_as_before() {
    for (stored, line) in pairs(EARLIER) {
        let stored: Value = serde_json::from_str(stored).unwrap();
        assert_eq!(RecordedChange::read(&stored).describe(), line, "{stored}");
    }
}

#[test]
fn a_stored_change_is_read_as_the_kind_that_was_recorded() {
    for change in changes() {
        let stored = change.to_json();
        let read = RecordedChange::read(&stored);
        let kind = change.kind();
        assert_eq!(stored["kind"], kind.stored_name());
        for name in [kind.name, kind.stored_name()] {
            assert!(read.is_of_kind(name), "{stored} is no {name}");
        }
        let others = kinds().filter(|other| other.name != kind.name);
        assert_eq!(others.filter(|other| read.is_of_kind(other.name)).count(), 0, "{stored}");
        let mut fields = change.fields();
        if kind.stored_name() == kind.name {
            fields.insert("kind".to_owned(), json!(kind.name));
        }
        assert_eq!(*read.fields, Value::Object(fields));
    }
}

#[test]
fn a_setting_that_is_stored_under_its_own_name_is_read_as_well() {
    for change in settings() {
        let mut own = Value::Object(change.fields());
        own["kind"] = json!(change.kind().name);
        let stored = change.to_json();
        let (own, stored) = (RecordedChange::read(&own), RecordedChange::read(&stored));
        assert!(own.is_of_kind(change.kind().name) && !own.is_of_kind(SETTING_CHANGED));
        assert_eq!(own.describe().split_once("  ").unwrap().1, stored.describe().split_once("  ").unwrap().1);
        for name in change.kind().field_names() {
            assert_eq!(own.text(name), stored.text(name), "{name}");
        }
    }
}

#[test]
fn a_setting_whose_words_are_not_those_of_a_kind_stays_a_setting() {
    let unpinned = json!({"kind": "setting-changed", "what": "pin of user u-1", "before": "", "after": ""});
    let other = json!({"kind": "setting-changed", "what": "brake of u-1", "before": "on", "after": "off"});
    for stored in [unpinned, other] {
        let read = RecordedChange::read(&stored);
        assert!(read.is_of_kind(SETTING_CHANGED));
        assert_eq!(kinds().filter(|kind| read.is_of_kind(kind.name)).count(), 0);
        assert!(read.concerns(Subject::Person, "u-1"));
        assert!(!read.concerns(Subject::Person, "u-2"));
        assert!(!read.concerns(Subject::Person, ""));
        assert!(!read.concerns(Subject::Group, "u-1"));
    }
}

#[test]
fn names_of_kinds_and_fields_are_stable_words() {
    let words = |name: &str| name.split('-').all(|word| word.bytes().all(|b| b.is_ascii_lowercase()));
    let mut names: Vec<&str> = kinds().map(|kind| kind.name).collect();
    assert!(names.iter().all(|name| words(name) && *name != SETTING_CHANGED), "{names:?}");
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), kinds().count());
    for kind in kinds() {
        let fields: BTreeSet<&str> = kind.field_names().collect();
        assert_eq!(fields.len(), kind.field_names().count(), "{}", kind.name);
        assert!(!fields.contains("kind") && !fields.contains("what"), "{}", kind.name);
    }
}

#[test]
fn the_fields_that_name_people_and_groups_are_these() {
    let fields = |subject| {
        let columns = kinds().flat_map(|kind| kind.fields);
        columns
            .filter(|field| field.subjects.contains(&subject))
            .map(|field| field.name)
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(
        fields(Subject::Person),
        BTreeSet::from(["createdBy", "id", "member", "person", "principal", "principalBefore"])
    );
    assert_eq!(fields(Subject::Group), BTreeSet::from(["group", "groupBefore", "id", "member"]));
}
