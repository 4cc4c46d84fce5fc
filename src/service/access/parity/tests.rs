//! The comparison over tables.

use super::compare::{Comparison, compare, compare_grants};
use super::difference::{Difference, DifferenceKind, ParityFinding, ParityPlace};
use super::gather::PersonGrant;
use super::lists::{
    ListedGroup, ListedKind, ListedMember, OurGroup, OurList, OurPerson, ProviderList, user_name_keys,
};
use crate::id::{GroupId, MemberId, PrincipalId, UserId};
use crate::rbac::{BackupRole, BindingName, ReasonCode, Scope};
use crate::service::access::doctor::facts::SentId;
use crate::service::access::grants::GrantView;
use std::collections::BTreeSet;
use time::OffsetDateTime;
use uuid::Uuid;

fn user(number: u128) -> UserId {
    UserId::new(Uuid::from_u128(number))
}

fn principal(number: u128) -> PrincipalId {
    PrincipalId::new(Uuid::from_u128(0xaaaa_0000 + number))
}

fn object_id(number: u128) -> String {
    principal(number).to_string()
}

fn name(number: u128) -> String {
    format!("p{number}@contoso.example")
}

/// A person of ours, whose object id arrived.
fn own(number: u128) -> OurPerson {
    OurPerson {
        user: user(number),
        user_name: name(number),
        external_id: Some(object_id(number)),
        principal: Some(principal(number)),
        active: true,
    }
}

/// A person of ours, of whom something else arrived as `externalId`.
fn own_with(number: u128, external_id: Option<&str>) -> OurPerson {
    OurPerson { external_id: external_id.map(str::to_owned), principal: None, ..own(number) }
}

fn inactive(number: u128) -> OurPerson {
    OurPerson { active: false, ..own(number) }
}

fn listed(number: u128) -> ListedMember {
    ListedMember {
        kind: ListedKind::Person,
        id: Some(object_id(number)),
        user_name: Some(name(number)),
        display_name: None,
        active: Some(true),
        line: None,
    }
}

fn disabled(number: u128) -> ListedMember {
    ListedMember { active: Some(false), ..listed(number) }
}

fn listed_group(number: u128, label: &str) -> ListedMember {
    ListedMember {
        kind: ListedKind::Group,
        user_name: None,
        display_name: Some(label.to_owned()),
        active: None,
        ..listed(number)
    }
}

fn group_of(number: u128, members: &[MemberId]) -> OurGroup {
    OurGroup {
        id: GroupId::new(Uuid::from_u128(number)),
        name: Some(format!("group {number}")),
        external_id: Some(object_id(number)),
        bindings: BTreeSet::new(),
        members: members.to_vec(),
    }
}

fn people(numbers: &[u128]) -> Vec<MemberId> {
    numbers.iter().map(|number| user(*number).into()).collect()
}

/// A group of the file of that group.
fn of_file(members: Vec<ListedMember>) -> ProviderList {
    let ours = Some(GroupId::new(Uuid::from_u128(100)));
    let group = ListedGroup { id: None, name: "group 100".to_owned(), ours, members };
    ProviderList { groups: vec![group], assigned: None }
}

/// Everything that Entra ID has: groups by their numbers, and people who are assigned themselves.
fn whole(groups: Vec<(u128, Vec<ListedMember>)>, assigned: Vec<ListedMember>) -> ProviderList {
    let group = |(number, members)| ListedGroup {
        id: Some(object_id(number)),
        name: format!("group {number}"),
        ours: None,
        members,
    };
    ProviderList { groups: groups.into_iter().map(group).collect(), assigned: Some(assigned) }
}

/// What was found, as place, name and code.
fn told(comparison: &Comparison) -> Vec<(String, String, &'static str)> {
    let place = |place: &ParityPlace| match place {
        ParityPlace::Groups => "groups".to_owned(),
        ParityPlace::People => "people".to_owned(),
        ParityPlace::Group(name) => name.clone(),
        ParityPlace::Azure => "azure".to_owned(),
    };
    let told = |finding: &ParityFinding| {
        (place(&finding.place), finding.subject.name.clone(), finding.difference.code())
    };
    let mut all: Vec<_> = comparison.findings.iter().map(told).collect();
    all.sort();
    all
}

#[track_caller]
fn check(
    there: ProviderList,
    own: Vec<OurPerson>,
    groups: Vec<OurGroup>,
    expected: &[(&str, &str, &str)],
) -> Comparison {
    let found = compare(&there, &OurList { people: own, groups });
    let expected: Vec<_> =
        expected.iter().map(|(place, name, code)| ((*place).to_owned(), (*name).to_owned(), *code)).collect();
    assert_eq!(told(&found), expected, "{:#?}", found.findings);
    found
}

#[test]
fn lists_that_are_equal_have_no_difference() {
    let found = check(
        of_file(vec![listed(1), listed(2)]),
        vec![own(1), own(2), own(3)],
        vec![group_of(100, &people(&[1, 2]))],
        &[],
    );
    assert_eq!((found.counts.people_there, found.counts.people_here), (2, 2));
    let found = check(
        whole(vec![(100, vec![listed(1), listed(2)]), (101, vec![listed(2)])], vec![listed(3)]),
        vec![own(1), own(2), own(3), inactive(4)],
        vec![group_of(100, &people(&[1, 2])), group_of(101, &people(&[2]))],
        &[],
    );
    assert_eq!((found.counts.groups, found.counts.people_there, found.counts.people_here), (2, 3, 3));
    check(of_file(Vec::new()), Vec::new(), vec![group_of(100, &[])], &[]);
}

#[test]
fn who_is_missing_is_not_provisioned_or_not_a_member() {
    let there = of_file(vec![listed(1), listed(2), listed(3), disabled(4), disabled(5)]);
    let group = group_of(100, &people(&[1]));
    let found = check(
        there,
        vec![own(1), own(3), inactive(5)],
        vec![group],
        &[
            ("group 100", "p2@contoso.example", "not-provisioned"),
            ("group 100", "p3@contoso.example", "not-a-member"),
        ],
    );
    assert_eq!(found.counts.disabled_missing, 2);
    // Of an inactive user it is said.
    let found = check(
        of_file(vec![ListedMember { active: None, ..listed(1) }]),
        vec![inactive(1)],
        vec![group_of(100, &[])],
        &[("group 100", "p1@contoso.example", "not-a-member")],
    );
    assert_eq!(found.findings[0].difference, Difference::NotMember { active: false });
    // A member who is inactive here may be so there as well: the list does not say.
    let found = check(
        of_file(vec![ListedMember { active: None, ..listed(1) }, disabled(2)]),
        vec![inactive(1), inactive(2)],
        vec![group_of(100, &people(&[1, 2]))],
        &[],
    );
    assert_eq!(found.counts.maybe_inactive, 1);
}

#[test]
fn a_name_that_another_id_has_here_is_told_with_the_missing_person() {
    // The id of 2 was given the name of 1: 1 is not here.
    let renamed = OurPerson { user_name: name(1), ..own(2) };
    let found = check(
        of_file(vec![listed(1), listed(2)]),
        vec![renamed],
        vec![group_of(100, &people(&[2]))],
        &[
            ("group 100", "p1@contoso.example", "not-provisioned"),
            ("group 100", "p2@contoso.example", "other-user-name"),
        ],
    );
    let missing = found.findings.iter().find(|finding| finding.difference.code() == "not-provisioned");
    assert_eq!(missing.unwrap().difference, Difference::NotProvisioned { name_holder: Some(user(2)) });
}

#[test]
fn who_is_extra_is_active_and_not_listed() {
    let found = check(
        of_file(vec![listed(1)]),
        vec![own(1), own(2), inactive(3)],
        vec![group_of(100, &people(&[1, 2, 3, 9]))],
        &[("group 100", "p2@contoso.example", "not-listed")],
    );
    assert_eq!((found.counts.inactive_extra, found.counts.unreadable), (1, 1));
}

#[test]
fn in_a_whole_list_a_person_without_an_assignment_is_told_once() {
    // 2 is only out of one group, 3 is out of all, 4 never was in one, 5 is assigned directly, 6 left and is inactive.
    let found = check(
        whole(vec![(100, vec![listed(1)]), (101, vec![listed(1), listed(2)])], vec![listed(5)]),
        vec![own(1), own(2), own(3), own(4), own(5), inactive(6)],
        vec![group_of(100, &people(&[1, 2, 3, 6])), group_of(101, &people(&[1, 2, 3]))],
        &[
            ("group 100", "p2@contoso.example", "not-listed"),
            ("people", "p3@contoso.example", "not-assigned"),
            ("people", "p4@contoso.example", "not-assigned"),
        ],
    );
    let of =
        |name: &str| found.findings.iter().find(|finding| finding.subject.name.starts_with(name)).unwrap();
    let groups = vec!["group 100".to_owned(), "group 101".to_owned()];
    assert_eq!(of("p3").difference, Difference::NotAssigned { groups });
    assert_eq!(of("p4").difference, Difference::NotAssigned { groups: Vec::new() });
    // The file of one group says nothing of them.
    check(of_file(vec![listed(1)]), vec![own(1), own(4)], vec![group_of(100, &people(&[1]))], &[]);
}

#[test]
fn who_is_assigned_themselves_must_be_here() {
    check(
        whole(Vec::new(), vec![listed(1), listed(2)]),
        vec![own(1)],
        Vec::new(),
        &[("people", "p2@contoso.example", "not-provisioned")],
    );
}

#[test]
fn what_differs_is_told_once_however_many_groups_a_person_is_in() {
    let groups = vec![(100, vec![disabled(1)]), (101, vec![disabled(1)])];
    let renamed = OurPerson { user_name: "old@contoso.example".to_owned(), ..own(1) };
    check(
        whole(groups, Vec::new()),
        vec![renamed],
        vec![group_of(100, &people(&[1])), group_of(101, &people(&[1]))],
        &[
            ("people", "p1@contoso.example", "other-active"),
            ("people", "p1@contoso.example", "other-user-name"),
        ],
    );
    check(
        of_file(vec![listed(1), ListedMember { active: None, ..listed(2) }]),
        vec![inactive(1), inactive(2)],
        vec![group_of(100, &people(&[1, 2]))],
        &[("group 100", "p1@contoso.example", "other-active")],
    );
}

/// One member, one person here: how the ids compare.
#[track_caller]
fn check_id(there: Option<&str>, here: OurPerson, expected: Option<(SentId, Option<&str>)>) {
    let member = ListedMember { id: there.map(str::to_owned), ..listed(1) };
    let found = compare(
        &of_file(vec![member]),
        &OurList { people: vec![here], groups: vec![group_of(100, &people(&[1]))] },
    );
    let expected = expected.map(|(sent, here)| Difference::OtherId { sent, here: here.map(str::to_owned) });
    let differences: Vec<_> = found.findings.into_iter().map(|finding| finding.difference).collect();
    assert_eq!(differences, Vec::from_iter(expected));
}

#[test]
fn another_id_says_what_was_sent_in_its_place() {
    let id = object_id(1);
    check_id(Some(&id), own(1), None);
    check_id(Some(&id.to_uppercase()), own(1), None);
    check_id(None, own(1), None);
    check_id(Some("00u1"), own_with(1, Some("00u1")), None);
    // The object id came as entraObjectId, and something else as externalId: both mean the person.
    check_id(Some(&id), OurPerson { external_id: Some("E42".to_owned()), ..own(1) }, None);
    check_id(Some("E42"), OurPerson { external_id: Some("E42".to_owned()), ..own(1) }, None);
    check_id(Some(&id), own_with(1, None), Some((SentId::Nothing, None)));
    check_id(Some(&id), own_with(1, Some("p1")), Some((SentId::Name, Some("p1"))));
    check_id(
        Some(&id),
        own_with(1, Some("p1@contoso.example")),
        Some((SentId::MailAddress, Some("p1@contoso.example"))),
    );
    let other = object_id(2);
    let another = OurPerson { principal: Some(principal(2)), external_id: None, ..own(1) };
    check_id(Some(&id), another, Some((SentId::Guid, Some(&other))));
    let braces = format!("{{{id}}}");
    check_id(Some(&id), own_with(1, Some(&braces)), Some((SentId::GuidSpelling, Some(&braces))));
}

#[test]
fn of_several_users_with_one_id_the_others_are_told() {
    let copy = OurPerson { user: user(7), user_name: "copy@contoso.example".to_owned(), ..own(1) };
    let found = check(
        of_file(vec![listed(1)]),
        vec![copy, own(1)],
        vec![group_of(100, &people(&[1]))],
        &[("group 100", "p1@contoso.example", "shared-id")],
    );
    assert_eq!(found.findings[0].difference, Difference::SharedId { others: vec![user(7)] });
    assert_eq!(found.findings[0].subject.id, Some(user(1).to_string()));
}

#[test]
fn names_compare_without_case_and_a_guest_by_the_address_that_entra_sends() {
    let listed = |name: &str| ListedMember { id: None, user_name: Some(name.to_owned()), ..listed(1) };
    let own = |name: &str| OurPerson { user_name: name.to_owned(), ..own_with(1, None) };
    let group = || vec![group_of(100, &people(&[1]))];
    check(of_file(vec![listed("ANA@Contoso.Example")]), vec![own("ana@contoso.example")], group(), &[]);
    let guest = "ana_b_fabrikam.example#EXT#@contoso.example";
    check(of_file(vec![listed(guest)]), vec![own("ana_b@fabrikam.example")], group(), &[]);
    check(of_file(vec![listed(guest)]), vec![own(guest)], group(), &[]);
}

/// Facts: F-175.
#[test]
fn a_guest_has_the_name_of_the_invited_address_too() {
    let keys = |name: &str| user_name_keys(name);
    assert_eq!(keys("ana@contoso.example"), ["ana@contoso.example"]);
    assert_eq!(
        keys("Ana_fabrikam.example#EXT#@contoso.example"),
        ["ana_fabrikam.example#ext#@contoso.example", "ana@fabrikam.example"]
    );
    assert_eq!(keys("ana#EXT#@contoso.example"), ["ana#ext#@contoso.example"]);
}

#[test]
fn lines_that_repeat_or_name_no_one_are_told_with_their_numbers() {
    let at = |line, member: ListedMember| ListedMember { line: Some(line), ..member };
    let nameless = ListedMember { id: None, user_name: None, ..listed(3) };
    let only_name = ListedMember { id: None, ..listed(1) };
    let found = check(
        of_file(vec![
            at(2, listed(1)),
            at(3, listed(2)),
            at(4, listed(1)),
            at(5, nameless),
            at(6, only_name),
        ]),
        vec![own(1), own(2)],
        vec![group_of(100, &people(&[1, 2]))],
        &[
            ("group 100", "p1@contoso.example", "duplicate-row"),
            ("group 100", "p1@contoso.example", "duplicate-row"),
            ("group 100", "without a name", "row-without-id"),
        ],
    );
    let lines: Vec<_> = found
        .findings
        .iter()
        .map(|finding| (finding.subject.line, finding.difference.kind(), finding.difference.clone()))
        .collect();
    assert_eq!(lines[0], (Some(4), DifferenceKind::Row, Difference::DuplicateRow { first: 2 }));
    assert_eq!(lines[1], (Some(6), DifferenceKind::Row, Difference::DuplicateRow { first: 2 }));
    assert_eq!(lines[2].0, Some(5));
    assert_eq!(found.counts.people_there, 2);
}

#[test]
fn groups_are_paired_by_id_and_by_name() {
    let renamed = OurGroup { name: Some("old name".to_owned()), ..group_of(101, &[]) };
    let without_id = OurGroup { external_id: None, ..group_of(102, &[]) };
    let other_id = OurGroup { external_id: Some("night-shift".to_owned()), ..group_of(103, &[]) };
    let groups =
        vec![group_of(100, &people(&[1])), renamed, without_id, other_id, group_of(105, &people(&[1, 2]))];
    let there = whole(
        vec![
            (100, vec![listed(1)]),
            (101, Vec::new()),
            (102, Vec::new()),
            (103, Vec::new()),
            (104, vec![listed(1), listed(3)]),
        ],
        vec![listed(2)],
    );
    let found = check(
        there,
        vec![own(1), own(2)],
        groups,
        &[
            ("groups", "group 101", "other-group-name"),
            ("groups", "group 102", "other-group-id"),
            ("groups", "group 103", "other-group-id"),
            ("groups", "group 104", "group-not-provisioned"),
            ("groups", "group 105", "group-not-assigned"),
        ],
    );
    let of = |name: &str| {
        found.findings.iter().find(|finding| finding.subject.name == name).unwrap().difference.clone()
    };
    // Person 3 is in a group that is missing and nowhere else: that is one difference.
    assert_eq!(of("group 104"), Difference::GroupNotProvisioned { people: 2, unknown: 1 });
    assert_eq!(of("group 105"), Difference::GroupNotAssigned { members: 2 });
    assert_eq!(of("group 101"), Difference::OtherGroupName { here: "old name".to_owned() });
    assert_eq!(of("group 103"), Difference::OtherGroupId { here: Some("night-shift".to_owned()) });
    assert_eq!(found.counts.groups, 4);
}

/// Facts: F-174.
#[test]
fn a_group_in_a_group_is_compared_as_a_member() {
    let inner = |number| MemberId::Group(GroupId::new(Uuid::from_u128(number)));
    let job = ListedMember { kind: ListedKind::Other, ..listed(50) };
    let there = of_file(vec![
        listed_group(101, "group 101"),
        listed_group(102, "group 102"),
        listed_group(104, "unknown"),
        job,
    ]);
    let groups = vec![
        group_of(100, &[inner(101), inner(103)]),
        group_of(101, &[]),
        group_of(102, &[]),
        group_of(103, &[]),
    ];
    let found = check(
        there,
        Vec::new(),
        groups,
        &[
            ("group 100", "group 102", "nested-not-a-member"),
            ("group 100", "group 103", "nested-not-listed"),
            ("group 100", "unknown", "nested-not-provisioned"),
        ],
    );
    assert_eq!(found.counts.others, 1);
}

#[test]
fn what_most_people_have_in_common_is_the_mapping() {
    let numbers: Vec<u128> = (1..=12).collect();
    let group = || vec![group_of(100, &people(&numbers))];
    let there = || of_file(numbers.iter().map(|number| listed(*number)).collect());
    let nickname = |number: &u128| own_with(*number, Some(&format!("p{number}")));
    let ours: Vec<OurPerson> = numbers.iter().map(nickname).collect();
    let found = check(there(), ours, group(), &[("group 100", "12 people", "id-mapping")]);
    let Difference::IdMapping { people, matched, sent, example } = &found.findings[0].difference else {
        panic!("{found:?}")
    };
    assert_eq!((*people, *matched, sent), (12, 12, &BTreeSet::from([SentId::Name])));
    assert_eq!(example, "p1@contoso.example has \"p1\"");

    let by_mail = |number: &u128| OurPerson { user_name: format!("m{number}@x.example"), ..own(*number) };
    let ours: Vec<OurPerson> = numbers.iter().map(by_mail).collect();
    check(there(), ours, group(), &[("group 100", "12 people", "user-name-mapping")]);
    // Nine of twelve are people.
    let ours = numbers.iter().map(|number| if *number < 10 { by_mail(number) } else { own(*number) });
    let found = compare(&there(), &OurList { people: ours.collect(), groups: group() });
    assert_eq!(told(&found).iter().filter(|(.., code)| *code == "other-user-name").count(), 9);
}

#[test]
fn an_answer_of_graph_that_names_a_person_twice_is_no_duplicate_row() {
    let there = whole(vec![(100, vec![listed(1), listed(1)])], vec![listed(1), listed(1)]);
    check(there, vec![own(1)], vec![group_of(100, &people(&[1]))], &[]);
}

#[test]
fn people_whose_names_are_hidden_are_compared_by_their_ids() {
    let hidden = |number| ListedMember { user_name: None, active: None, ..listed(number) };
    let found = check(
        of_file(vec![hidden(1), hidden(2)]),
        vec![own(1), own(3)],
        vec![group_of(100, &people(&[1]))],
        &[("group 100", &object_id(2), "not-provisioned")],
    );
    assert_eq!(found.counts.unnamed, 2);
}

#[test]
fn of_grants_what_is_wanted_and_not_held_and_the_other_way_round_is_told() {
    let grant = |wanted, holds| PersonGrant {
        user: user(1),
        name: name(1),
        grant: GrantView {
            binding: BindingName::parse("b").unwrap(),
            role: BackupRole::Operator,
            scope: Scope::parse("/subscriptions/00000000-0000-0000-0000-000000000001").unwrap(),
            wanted,
            holds,
            settled: true,
            reason: ReasonCode::ScopeLocked,
            since: OffsetDateTime::UNIX_EPOCH,
        },
    };
    let findings =
        compare_grants(vec![grant(true, true), grant(true, false), grant(false, true), grant(false, false)]);
    let found = Comparison { findings, ..Comparison::default() };
    let azure = |code| ("azure".to_owned(), name(1), code);
    assert_eq!(told(&found), [azure("not-held"), azure("still-held")]);
}
