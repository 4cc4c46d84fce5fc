//! Which user is which person of the identity provider: by id, else by userName.

use super::lists::{ListedGroup, ListedKind, ListedMember, OurPerson, name_key, user_name_keys};
use crate::id::UserId;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// A person of the identity provider, once, in however many groups.
pub(super) struct ListedPerson<'a> {
    pub member: &'a ListedMember,
    /// The places of the groups that they are in.
    pub groups: Vec<usize>,
    /// Assigned to the app themselves.
    pub is_assigned: bool,
}

/// The people of a list.
#[derive(Default)]
pub(super) struct ListedPeople<'a> {
    pub people: Vec<ListedPerson<'a>>,
    /// For each group the places of its people.
    pub of_groups: Vec<Vec<usize>>,
    /// Lines that say again what an earlier one does, with the place of their group and the first line.
    pub repeated: Vec<(usize, &'a ListedMember, u64)>,
    /// Lines that name no one, with the place of their group.
    pub nameless: Vec<(usize, &'a ListedMember)>,
    by_id: BTreeMap<String, usize>,
    by_name: BTreeMap<String, usize>,
}

impl<'a> ListedPeople<'a> {
    pub fn of(groups: &'a [ListedGroup], assigned: Option<&'a [ListedMember]>) -> Self {
        let mut all = Self::default();
        for (place, group) in groups.iter().enumerate() {
            let mut lines: BTreeMap<usize, Option<u64>> = BTreeMap::new();
            for member in group.members.iter().filter(|member| member.kind == ListedKind::Person) {
                let Some(person) = all.add(member) else {
                    all.nameless.push((place, member));
                    continue;
                };
                match lines.entry(person) {
                    Entry::Vacant(entry) => drop(entry.insert(member.line)),
                    // An answer of Graph has no lines, and says each once.
                    Entry::Occupied(first) => {
                        all.repeated.extend(first.get().map(|first| (place, member, first)));
                    }
                }
            }
            let people: Vec<usize> = lines.into_keys().collect();
            for person in &people {
                all.people.get_mut(*person).into_iter().for_each(|person| person.groups.push(place));
            }
            all.of_groups.push(people);
        }
        for member in assigned.into_iter().flatten().filter(|member| member.kind == ListedKind::Person) {
            if let Some(person) = all.add(member).and_then(|place| all.people.get_mut(place)) {
                person.is_assigned = true;
            }
        }
        all
    }

    /// The place of a person. `None`: the list says neither id nor userName.
    fn add(&mut self, member: &'a ListedMember) -> Option<usize> {
        let (id, name) = (member.id_key(), member.user_name.as_deref().map(name_key));
        let known = id.as_ref().and_then(|id| self.by_id.get(id)).copied();
        // Two people may have had one name after the other: where both have an id, it decides.
        let named = name.as_ref().and_then(|name| self.by_name.get(name)).copied();
        let may_be_same = |place: &usize| {
            id.is_none() || self.people.get(*place).is_some_and(|person| person.member.id.is_none())
        };
        if let Some(place) = known.or_else(|| named.filter(may_be_same)) {
            return Some(place);
        }
        if id.is_none() && name.is_none() {
            return None;
        }
        let place = self.people.len();
        self.people.push(ListedPerson { member, groups: Vec::new(), is_assigned: false });
        id.map(|id| self.by_id.insert(id, place));
        name.map(|name| self.by_name.entry(name).or_insert(place));
        Some(place)
    }
}

/// How a user was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MatchedBy {
    Id,
    UserName,
}

/// The user who is a person of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PersonMatch {
    /// The place among our people.
    pub place: usize,
    pub by: MatchedBy,
    /// Other users who name the same id.
    pub others: Vec<UserId>,
}

/// The matches of a list, person by person.
pub(super) struct PersonMatches<'a> {
    pub matches: Vec<Option<PersonMatch>>,
    /// The places of our people who are in the list.
    pub matched: BTreeSet<usize>,
    ours: &'a [OurPerson],
    by_name: BTreeMap<String, usize>,
}

impl<'a> PersonMatches<'a> {
    pub fn of(people: &[ListedPerson<'_>], ours: &'a [OurPerson]) -> Self {
        let mut by_id: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut by_name = BTreeMap::new();
        for (place, person) in ours.iter().enumerate() {
            for id in person.id_keys() {
                by_id.entry(id).or_default().push(place);
            }
            by_name.insert(name_key(&person.user_name), place);
        }
        let mut found = Self { matches: vec![None; people.len()], matched: BTreeSet::new(), ours, by_name };
        for (place, person) in people.iter().enumerate() {
            let carriers = person.member.id_key().and_then(|id| by_id.get(&id));
            let found_by_id = carriers.and_then(|carriers| found.by_id(person.member, carriers));
            found.take(place, found_by_id);
        }
        for (place, person) in people.iter().enumerate() {
            if found.matches.get(place).is_some_and(Option::is_none) {
                let named = found.named(person.member).filter(|named| !found.matched.contains(named));
                let by_name =
                    named.map(|place| PersonMatch { place, by: MatchedBy::UserName, others: Vec::new() });
                found.take(place, by_name);
            }
        }
        found
    }

    fn take(&mut self, place: usize, found: Option<PersonMatch>) {
        self.matched.extend(found.as_ref().map(|found| found.place));
        if let Some(of) = self.matches.get_mut(place) {
            *of = found;
        }
    }

    /// The user who carries the id; of several the one of the same userName, else an active one.
    fn by_id(&self, member: &ListedMember, carriers: &[usize]) -> Option<PersonMatch> {
        let free: Vec<usize> =
            carriers.iter().copied().filter(|place| !self.matched.contains(place)).collect();
        let of = |place: &usize| self.ours.get(*place);
        let is_named = |place: &&usize| of(place).is_some_and(|own| is_called(member, &own.user_name));
        let is_active = |place: &&usize| of(place).is_some_and(|own| own.active);
        let chosen = free.iter().find(is_named).or_else(|| free.iter().find(is_active));
        let place = *chosen.or_else(|| free.first())?;
        let others = carriers.iter().filter(|other| **other != place).filter_map(of).map(|own| own.user);
        Some(PersonMatch { place, by: MatchedBy::Id, others: others.collect() })
    }

    fn named(&self, member: &ListedMember) -> Option<usize> {
        let keys = user_name_keys(member.user_name.as_deref()?);
        keys.iter().find_map(|key| self.by_name.get(key)).copied()
    }

    /// The user who has the userName of a person whose id none has.
    pub fn name_holder(&self, member: &ListedMember) -> Option<UserId> {
        Some(self.ours.get(self.named(member)?)?.user)
    }
}

/// Whether the identity provider may send that userName for the member. One whose name it does not show may have any.
pub(super) fn is_called(member: &ListedMember, user_name: &str) -> bool {
    let name = member.user_name.as_deref();
    name.is_none_or(|name| user_name_keys(name).contains(&name_key(user_name)))
}
