//! The comparison. Pure: reads nothing.

use super::difference::{Difference, ParityFinding, ParityPlace, ParitySubject};
use super::gather::PersonGrant;
use super::group_pairs::{GroupIndex, pair};
use super::lists::{
    ListedGroup, ListedKind, ListedMember, OurGroup, OurList, OurPerson, ProviderList, id_key, name_key,
};
use super::person_matches::{ListedPeople, ListedPerson, MatchedBy, PersonMatch, PersonMatches, is_called};
use crate::id::{MemberId, UserId};
use crate::service::access::doctor::facts::SentId;
use crate::service::access::doctor::people::sent_id;
use std::collections::{BTreeMap, BTreeSet};

/// From so many people on, and more than half of those who could be compared, it is the mapping and not a person.
const MAPPING_MIN: usize = 10;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    pub findings: Vec<ParityFinding>,
    pub counts: ParityCounts,
}

/// What was compared, and what was left out of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ParityCounts {
    /// Groups that both have.
    pub groups: usize,
    pub people_there: usize,
    /// Active ones: of a whole list all of them, else those of the groups that were compared.
    pub people_here: usize,
    /// Service principals, devices and contacts in the list: they are not provisioned.
    pub others: usize,
    /// People who are disabled there, and are missing here: they would hold nothing.
    pub disabled_missing: usize,
    /// People who are inactive here, and are not in the list: they hold nothing.
    pub inactive_extra: usize,
    /// People who are inactive here, and of whom the list does not say whether they are there.
    pub maybe_inactive: usize,
    /// Members here whose users are gone or cannot be read.
    pub unreadable: usize,
    /// People whose userName the list does not have.
    pub unnamed: usize,
}

/// Compares the lists.
pub fn compare(there: &ProviderList, here: &OurList) -> Comparison {
    let index = GroupIndex::of(&here.groups);
    let pairs = pair(&there.groups, &index);
    let listed = ListedPeople::of(&there.groups, there.assigned.as_deref());
    let matches = PersonMatches::of(&listed.people, &here.people);
    let own = here.people.iter().enumerate().map(|(place, person)| (person.user, place)).collect();
    let mut comparing =
        Comparing { there, here, index, pairs, listed, matches, own, found: Comparison::default() };
    comparing.groups();
    comparing.rows();
    comparing.people();
    for place in 0..there.groups.len() {
        comparing.members(place);
    }
    if there.is_whole() {
        comparing.not_assigned();
    }
    comparing.count();
    comparing.found
}

/// What Azure holds beside what is wanted of it.
pub fn compare_grants(grants: Vec<PersonGrant>) -> Vec<ParityFinding> {
    let finding = |of: PersonGrant| {
        let difference = match (of.grant.wanted, of.grant.holds) {
            (true, false) => Difference::NotHeld(of.grant),
            (false, true) => Difference::StillHeld(of.grant),
            _ => return None,
        };
        let subject =
            ParitySubject { name: of.name, id: Some(of.user.to_string()), ..ParitySubject::default() };
        Some(ParityFinding { place: ParityPlace::Azure, subject, difference })
    };
    grants.into_iter().filter_map(finding).collect()
}

struct Comparing<'a> {
    there: &'a ProviderList,
    here: &'a OurList,
    index: GroupIndex<'a>,
    /// For each group of the list ours.
    pairs: Vec<Option<usize>>,
    listed: ListedPeople<'a>,
    matches: PersonMatches<'a>,
    own: BTreeMap<UserId, usize>,
    found: Comparison,
}

impl<'a> Comparing<'a> {
    fn pair(&self, place: usize) -> Option<&'a OurGroup> {
        self.index.get((*self.pairs.get(place)?)?)
    }

    fn person_match(&self, place: usize) -> Option<(&PersonMatch, &'a OurPerson)> {
        let found = self.matches.matches.get(place)?.as_ref()?;
        Some((found, self.here.people.get(found.place)?))
    }

    fn add(&mut self, place: ParityPlace, subject: ParitySubject, difference: Difference) {
        self.found.findings.push(ParityFinding { place, subject, difference });
    }

    /// Groups as a whole.
    fn groups(&mut self) {
        for (place, group) in self.there.groups.iter().enumerate() {
            let subject = ParitySubject {
                name: group.name.clone(),
                provider_id: group.id.clone(),
                id: self.pair(place).map(|own| own.id.to_string()),
                line: None,
            };
            match self.pair(place) {
                Some(own) => {
                    self.found.counts.groups += 1;
                    for difference in differences_of_groups(group, own) {
                        self.add(ParityPlace::Groups, subject.clone(), difference);
                    }
                }
                None => {
                    let people = self.listed.of_groups.get(place).map(Vec::as_slice).unwrap_or_default();
                    let unknown =
                        people.iter().filter(|person| self.person_match(**person).is_none()).count();
                    let difference = Difference::GroupNotProvisioned { people: people.len(), unknown };
                    self.add(ParityPlace::Groups, subject, difference);
                }
            }
        }
        if !self.there.is_whole() {
            return;
        }
        let paired: BTreeSet<usize> = self.pairs.iter().flatten().copied().collect();
        for (place, own) in self.here.groups.iter().enumerate() {
            if !paired.contains(&place) {
                let difference = Difference::GroupNotAssigned { members: own.members.len() };
                self.add(ParityPlace::Groups, subject_of_group(own), difference);
            }
        }
    }

    /// Lines that cannot be compared.
    fn rows(&mut self) {
        let repeated: Vec<_> = std::mem::take(&mut self.listed.repeated);
        for (place, member, first) in repeated {
            self.add(self.place_of(place), subject_of(member, None), Difference::DuplicateRow { first });
        }
        let nameless: Vec<_> = std::mem::take(&mut self.listed.nameless);
        for (place, member) in nameless {
            self.add(self.place_of(place), subject_of(member, None), Difference::RowWithoutId);
        }
    }

    fn place_of(&self, group: usize) -> ParityPlace {
        ParityPlace::Group(self.there.groups.get(group).map(|group| group.name.clone()).unwrap_or_default())
    }

    /// Where a difference of a person is shown who may be in several groups.
    fn place_of_person(&self, person: &ListedPerson<'_>) -> ParityPlace {
        match person.groups.first().filter(|_| !self.there.is_whole()) {
            Some(group) => self.place_of(*group),
            None => ParityPlace::People,
        }
    }

    /// The people of the list, each once.
    fn people(&mut self) {
        let (mut names, mut ids) = (Vec::new(), Vec::new());
        let mut matched_by_id = 0;
        for at in 0..self.listed.people.len() {
            let Some(person) = self.listed.people.get(at) else { continue };
            let (member, place) = (person.member, self.place_of_person(person));
            self.found.counts.unnamed += usize::from(member.user_name.is_none());
            let Some((found, own)) = self.person_match(at) else {
                self.not_provisioned(at);
                continue;
            };
            let subject = subject_of(member, Some(own));
            let finding =
                |difference| ParityFinding { place: place.clone(), subject: subject.clone(), difference };
            let others = found.others.clone();
            matched_by_id += usize::from(found.by == MatchedBy::Id);
            if found.by == MatchedBy::UserName && member.id.is_some() {
                ids.push(finding(other_id(own)));
            }
            if !is_called(member, &own.user_name) {
                let difference = Difference::OtherUserName { here: own.user_name.clone() };
                names.push(finding(difference));
            }
            match member.active {
                Some(active) if active != own.active => {
                    self.add(place.clone(), subject.clone(), Difference::OtherActive { here: own.active });
                }
                None if !own.active => self.found.counts.maybe_inactive += 1,
                _ => {}
            }
            if !others.is_empty() {
                self.add(place, subject, Difference::SharedId { others });
            }
        }
        let matched = matched_by_id + ids.len();
        self.add_or_merge(names, matched_by_id, user_name_mapping);
        self.add_or_merge(ids, matched, id_mapping);
    }

    fn not_provisioned(&mut self, at: usize) {
        let Some(person) = self.listed.people.get(at) else { return };
        // The finding about their group counts those whom only missing groups have.
        let has_place = person.groups.iter().any(|group| self.pair(*group).is_some());
        if !has_place && !person.is_assigned {
            return;
        }
        if person.member.active == Some(false) {
            self.found.counts.disabled_missing += 1;
            return;
        }
        let difference = Difference::NotProvisioned { name_holder: self.matches.name_holder(person.member) };
        self.add(self.place_of_person(person), subject_of(person.member, None), difference);
    }

    /// Where most of those who can be compared differ in the same way, it is said once.
    fn add_or_merge(
        &mut self,
        found: Vec<ParityFinding>,
        matched: usize,
        merge: fn(&[ParityFinding], usize) -> Difference,
    ) {
        if found.len() < MAPPING_MIN || found.len() * 2 <= matched {
            self.found.findings.extend(found);
            return;
        }
        let place = found.first().map_or(ParityPlace::People, |finding| finding.place.clone());
        let subject = ParitySubject { name: format!("{} people", found.len()), ..ParitySubject::default() };
        self.add(place, subject, merge(&found, matched));
    }

    /// The members of one group that both have.
    fn members(&mut self, at: usize) {
        let (Some(group), Some(own)) = (self.there.groups.get(at), self.pair(at)) else { return };
        let place = self.place_of(at);
        let members: BTreeSet<MemberId> = own.members.iter().copied().collect();
        let mut expected: BTreeSet<MemberId> = BTreeSet::new();
        for person in self.listed.of_groups.get(at).cloned().unwrap_or_default() {
            let Some((_, own)) = self.person_match(person) else { continue };
            expected.insert(own.user.into());
            let Some(listed) = self.listed.people.get(person) else { continue };
            match (members.contains(&own.user.into()), listed.member.active) {
                (true, _) => {}
                (false, Some(false)) => self.found.counts.disabled_missing += 1,
                (false, _) => {
                    let difference = Difference::NotMember { active: own.active };
                    self.add(place.clone(), subject_of(listed.member, Some(own)), difference);
                }
            }
        }
        expected.extend(self.nested(group, &members, &place));
        for member in members.difference(&expected) {
            self.extra(*member, &place);
        }
    }

    /// The groups in a group; those of ours that belong there.
    fn nested(
        &mut self,
        group: &ListedGroup,
        members: &BTreeSet<MemberId>,
        place: &ParityPlace,
    ) -> Vec<MemberId> {
        let mut expected = Vec::new();
        for inner in &group.members {
            match inner.kind {
                ListedKind::Person => continue,
                ListedKind::Other => {
                    self.found.counts.others += 1;
                    continue;
                }
                ListedKind::Group => {}
            }
            let name = inner.display_name.as_deref().or(inner.user_name.as_deref());
            let own = self.index.find(inner.id.as_deref(), name).and_then(|place| self.index.get(place));
            let mut subject = subject_of(inner, None);
            subject.name = name.map_or_else(|| inner.label(), str::to_owned);
            let Some(own) = own else {
                self.add(place.clone(), subject, Difference::NestedNotProvisioned);
                continue;
            };
            subject.id = Some(own.id.to_string());
            expected.push(own.id.into());
            if !members.contains(&own.id.into()) {
                self.add(place.clone(), subject, Difference::NestedNotMember);
            }
        }
        expected
    }

    /// A member of ours whom the list does not have in this group.
    fn extra(&mut self, member: MemberId, place: &ParityPlace) {
        let user = match member {
            MemberId::User(user) => user,
            MemberId::Group(inner) => {
                let Some(own) = self.here.groups.iter().find(|own| own.id == inner) else {
                    self.found.counts.unreadable += 1;
                    return;
                };
                self.add(place.clone(), subject_of_group(own), Difference::NestedNotListed);
                return;
            }
        };
        let at = self.own.get(&user).copied();
        let Some((at, person)) = at.and_then(|at| Some((at, self.here.people.get(at)?))) else {
            self.found.counts.unreadable += 1;
            return;
        };
        let is_listed = self.matches.matched.contains(&at);
        match person.active {
            false => self.found.counts.inactive_extra += 1,
            // Said of the person.
            true if self.there.is_whole() && !is_listed => {}
            true => self.add(place.clone(), subject_of_person(person), Difference::NotListed),
        }
    }

    /// Active people of ours whom the whole list does not have.
    fn not_assigned(&mut self) {
        let mut groups: BTreeMap<UserId, Vec<String>> = BTreeMap::new();
        for own in &self.here.groups {
            for user in own.members.iter().filter_map(MemberId::user) {
                groups.entry(user).or_default().push(own.label());
            }
        }
        for (at, person) in self.here.people.iter().enumerate() {
            if person.active && !self.matches.matched.contains(&at) {
                let groups = groups.remove(&person.user).unwrap_or_default();
                let difference = Difference::NotAssigned { groups };
                self.add(ParityPlace::People, subject_of_person(person), difference);
            }
        }
    }

    fn count(&mut self) {
        let is_active = |user: &UserId| {
            let person = self.own.get(user).and_then(|at| self.here.people.get(*at));
            person.is_some_and(|person| person.active)
        };
        let people_here = match self.there.is_whole() {
            true => self.here.people.iter().filter(|person| person.active).count(),
            false => {
                let groups = self.pairs.iter().flatten().filter_map(|place| self.index.get(*place));
                let members = groups.flat_map(|own| &own.members).filter_map(MemberId::user);
                members.collect::<BTreeSet<UserId>>().iter().filter(|user| is_active(user)).count()
            }
        };
        self.found.counts.people_here = people_here;
        self.found.counts.people_there = self.listed.people.len();
    }
}

fn subject_of(member: &ListedMember, own: Option<&OurPerson>) -> ParitySubject {
    ParitySubject {
        name: member
            .user_name
            .clone()
            .or(own.map(|own| own.user_name.clone()))
            .unwrap_or_else(|| member.label()),
        provider_id: member.id.clone(),
        id: own.map(|own| own.user.to_string()),
        line: member.line,
    }
}

fn subject_of_person(person: &OurPerson) -> ParitySubject {
    let provider_id = person.principal.map(|id| id.to_string()).or_else(|| person.external_id.clone());
    let (name, id) = (person.user_name.clone(), Some(person.user.to_string()));
    ParitySubject { name, provider_id, id, line: None }
}

fn subject_of_group(own: &OurGroup) -> ParitySubject {
    let (provider_id, id) = (own.external_id.clone(), Some(own.id.to_string()));
    ParitySubject { name: own.label(), provider_id, id, line: None }
}

fn differences_of_groups(group: &ListedGroup, own: &OurGroup) -> Vec<Difference> {
    let mut differences = Vec::new();
    if group.ours.is_some() {
        return differences;
    }
    let here = own.external_id.clone();
    if group.id.as_deref().map(id_key) != here.as_deref().map(id_key) {
        differences.push(Difference::OtherGroupId { here });
    }
    if own.name.as_deref().is_some_and(|name| name_key(name) != name_key(&group.name)) {
        differences.push(Difference::OtherGroupName { here: own.label() });
    }
    differences
}

/// What a user has in the place of the id. One whose object id comes from elsewhere has another person's.
fn other_id(own: &OurPerson) -> Difference {
    let principal = own.principal.map(|id| id.to_string());
    let sent = if principal.is_some() { SentId::Guid } else { sent_id(own.external_id.as_deref()) };
    Difference::OtherId { sent, here: principal.or_else(|| own.external_id.clone()) }
}

fn user_name_mapping(found: &[ParityFinding], matched: usize) -> Difference {
    let example = found.iter().find_map(|finding| match &finding.difference {
        Difference::OtherUserName { here } => Some(format!("{} is {here} here", finding.subject.name)),
        _ => None,
    });
    Difference::UserNameMapping { people: found.len(), matched, example: example.unwrap_or_default() }
}

fn id_mapping(found: &[ParityFinding], matched: usize) -> Difference {
    let mut sent = BTreeSet::new();
    let mut example = None;
    for ParityFinding { subject, difference, .. } in found {
        let Difference::OtherId { sent: one, here } = difference else { continue };
        sent.insert(*one);
        let has = here.as_ref().map_or_else(|| "none".to_owned(), |here| format!("{here:?}"));
        example.get_or_insert_with(|| format!("{} has {has}", subject.name));
    }
    Difference::IdMapping { people: found.len(), matched, sent, example: example.unwrap_or_default() }
}
