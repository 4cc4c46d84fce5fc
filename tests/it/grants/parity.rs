//! `parity`: differences that are planted into random lists are found, and nothing else.

use crate::support::dice::Dice;
use azure_backup_scim::id::{GroupId, MemberId, PrincipalId, UserId};
use azure_backup_scim::service::access::parity::compare::compare;
use azure_backup_scim::service::access::parity::difference::{ParityFinding, ParityPlace};
use azure_backup_scim::service::access::parity::lists::{
    ListedGroup, ListedKind, ListedMember, OurGroup, OurList, OurPerson, ProviderList,
};
use std::collections::BTreeSet;
use uuid::Uuid;

const ROUNDS: u64 = 400;
/// Fewer than make a mapping of it.
const PLANTED_MAX: usize = 9;

/// What is planted for one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plant {
    NotProvisioned,
    NotMember,
    NotListed,
    NotAssigned,
    OtherUserName,
    OtherId,
    OtherActive,
}

const PLANTS: [Plant; 7] = [
    Plant::NotProvisioned,
    Plant::NotMember,
    Plant::NotListed,
    Plant::NotAssigned,
    Plant::OtherUserName,
    Plant::OtherId,
    Plant::OtherActive,
];

/// Two equal lists, and what was planted into them.
struct Lists {
    there: ProviderList,
    here: OurList,
    /// Place, userName and code of each difference.
    expected: Vec<(String, String, String)>,
}

fn object_id(number: usize) -> PrincipalId {
    PrincipalId::new(Uuid::from_u128(0xaaaa_0000_0000 + number as u128))
}

fn user(number: usize) -> UserId {
    UserId::new(Uuid::from_u128(number as u128))
}

fn listed(number: usize) -> ListedMember {
    ListedMember {
        kind: ListedKind::Person,
        id: Some(object_id(number).to_string()),
        user_name: Some(format!("p{number}@contoso.example")),
        display_name: None,
        active: Some(true),
        line: None,
    }
}

fn own(number: usize) -> OurPerson {
    OurPerson {
        user: user(number),
        user_name: format!("P{number}@Contoso.Example"),
        external_id: Some(object_id(number).to_string()),
        principal: Some(object_id(number)),
        active: true,
    }
}

impl Lists {
    /// So many people in so many groups. Everyone is in the first group, and assigned themselves.
    fn equal(dice: &mut Dice, people: usize, groups: usize, is_whole: bool) -> Self {
        let (mut there, mut here) = (Vec::new(), Vec::new());
        for group in 0..groups {
            let id = GroupId::new(Uuid::from_u128(900_000 + group as u128));
            let members: Vec<usize> = (0..people).filter(|_| group == 0 || dice.roll(2) == 0).collect();
            let external_id = Some(object_id(900_000 + group).to_string());
            there.push(ListedGroup {
                id: external_id.clone().filter(|_| is_whole),
                name: format!("g{group}"),
                ours: (!is_whole).then_some(id),
                members: members.iter().map(|number| listed(*number)).collect(),
            });
            here.push(OurGroup {
                id,
                name: Some(format!("G{group}")),
                external_id,
                bindings: BTreeSet::new(),
                members: members.iter().map(|number| MemberId::User(user(*number))).collect(),
            });
        }
        let assigned = is_whole.then(|| (0..people).map(listed).collect());
        Self {
            there: ProviderList { groups: there, assigned },
            here: OurList { people: (0..people).map(own).collect(), groups: here },
            expected: Vec::new(),
        }
    }

    fn expect(&mut self, place: &str, number: usize, code: &str) {
        // A difference of a person is shown with the one group of a file.
        let place = if place == "people" && self.there.assigned.is_none() { "g0" } else { place };
        self.expected.push((place.to_owned(), format!("p{number}@contoso.example"), code.to_owned()));
    }

    fn each_listed(&mut self, number: usize, change: impl Fn(&mut ListedMember)) {
        let assigned = self.there.assigned.iter_mut().flatten();
        let members = self.there.groups.iter_mut().flat_map(|group| &mut group.members);
        let id = listed(number).id;
        members.chain(assigned).filter(|member| member.id == id).for_each(change);
    }

    /// The person is not in the first group there any more; `also` in no other, and not assigned.
    fn unlist(&mut self, number: usize, also: bool) {
        let id = listed(number).id;
        let groups = if also { self.there.groups.len() } else { 1 };
        self.there
            .groups
            .iter_mut()
            .take(groups)
            .for_each(|group| group.members.retain(|member| member.id != id));
        if also {
            self.there.assigned.iter_mut().for_each(|people| people.retain(|member| member.id != id));
        }
    }

    fn plant(&mut self, plant: Plant, number: usize) {
        let own = self.here.people.iter_mut().find(|own| own.user == user(number)).unwrap();
        match plant {
            Plant::NotProvisioned => {
                self.here.people.retain(|own| own.user != user(number));
                let member = MemberId::User(user(number));
                self.here.groups.iter_mut().for_each(|group| group.members.retain(|own| *own != member));
                self.expect("people", number, "not-provisioned");
            }
            Plant::NotMember => {
                let member = MemberId::User(user(number));
                self.here.groups[0].members.retain(|own| *own != member);
                self.expect("g0", number, "not-a-member");
            }
            Plant::NotListed => {
                self.unlist(number, false);
                self.expect("g0", number, "not-listed");
            }
            Plant::NotAssigned => {
                self.unlist(number, true);
                let is_whole = self.there.assigned.is_some();
                self.expect("people", number, if is_whole { "not-assigned" } else { "not-listed" });
            }
            Plant::OtherUserName => {
                own.user_name = format!("former{number}@contoso.example");
                self.expect("people", number, "other-user-name");
            }
            Plant::OtherId => {
                (own.external_id, own.principal) = (Some(format!("p{number}")), None);
                self.expect("people", number, "other-id");
            }
            Plant::OtherActive => {
                self.each_listed(number, |member| member.active = Some(false));
                self.expect("people", number, "other-active");
            }
        }
    }

    fn check(mut self, seed: u64) {
        let found = compare(&self.there, &self.here).findings;
        let told = |finding: &ParityFinding| {
            let place = match &finding.place {
                ParityPlace::Group(name) => name.clone(),
                ParityPlace::People => "people".to_owned(),
                place => format!("{place:?}"),
            };
            (place, finding.subject.name.to_lowercase(), finding.difference.code().to_owned())
        };
        let mut told: Vec<_> = found.iter().map(told).collect();
        told.sort();
        self.expected.sort();
        assert_eq!(told, self.expected, "seed {seed}: {found:#?}");
    }
}

#[test]
fn what_is_planted_into_random_lists_is_found_and_nothing_else() {
    let mut planted = [0; PLANTS.len()];
    for seed in 0..ROUNDS {
        let mut dice = Dice::new(seed);
        let is_whole = dice.roll(2) == 0;
        let (people, groups) = (1 + dice.roll(40), if is_whole { 1 + dice.roll(4) } else { 1 });
        let mut lists = Lists::equal(&mut dice, people, groups, is_whole);
        let mut left: Vec<usize> = (0..people).collect();
        for _ in 0..dice.roll(PLANTED_MAX.min(people) + 1) {
            let number = left.swap_remove(dice.roll(left.len()));
            let kind = dice.roll(PLANTS.len());
            planted[kind] += 1;
            lists.plant(PLANTS[kind], number);
        }
        lists.check(seed);
    }
    assert!(planted.iter().all(|number| *number > 50), "{planted:?}");
}
