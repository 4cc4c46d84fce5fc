//! Which group of ours is which of the identity provider's.

use super::lists::{ListedGroup, OurGroup, id_key, name_key};
use std::collections::{BTreeMap, BTreeSet};

/// Our groups, as they are found.
pub(super) struct GroupIndex<'a> {
    groups: &'a [OurGroup],
    by_id: BTreeMap<String, Vec<usize>>,
    by_name: BTreeMap<String, Vec<usize>>,
}

impl<'a> GroupIndex<'a> {
    pub fn of(groups: &'a [OurGroup]) -> Self {
        let (mut by_id, mut by_name) = (BTreeMap::<_, Vec<usize>>::new(), BTreeMap::<_, Vec<usize>>::new());
        for (place, group) in groups.iter().enumerate() {
            if let Some(id) = &group.external_id {
                by_id.entry(id_key(id)).or_default().push(place);
            }
            if let Some(name) = &group.name {
                by_name.entry(name_key(name)).or_default().push(place);
            }
        }
        Self { groups, by_id, by_name }
    }

    /// The group that carries the provider's id, of several the one of the same name.
    fn carrier(&self, id: Option<&str>, name: Option<&str>) -> Option<usize> {
        let carriers = self.by_id.get(&id_key(id?))?;
        let named = name.and_then(|name| self.by_name.get(&name_key(name)));
        let is_named = |place: &&usize| named.is_some_and(|named| named.contains(place));
        carriers.iter().find(is_named).or_else(|| carriers.first()).copied()
    }

    fn named(&self, name: Option<&str>) -> Option<usize> {
        self.by_name.get(&name_key(name?))?.first().copied()
    }

    /// The group that carries the provider's id, else the one of that name.
    pub fn find(&self, id: Option<&str>, name: Option<&str>) -> Option<usize> {
        self.carrier(id, name).or_else(|| self.named(name))
    }

    pub fn get(&self, place: usize) -> Option<&'a OurGroup> {
        self.groups.get(place)
    }
}

/// For each group of the identity provider ours, each at most once: first those that carry the id.
pub(super) fn pair(listed: &[ListedGroup], index: &GroupIndex<'_>) -> Vec<Option<usize>> {
    let mut taken = BTreeSet::new();
    let mut pairs = vec![None; listed.len()];
    for (group, pair) in listed.iter().zip(&mut pairs) {
        let place = match group.ours {
            Some(ours) => index.groups.iter().position(|own| own.id == ours),
            None => index.carrier(group.id.as_deref(), Some(&group.name)),
        };
        *pair = place.filter(|place| taken.insert(*place));
    }
    for (group, pair) in listed.iter().zip(&mut pairs).filter(|(group, _)| group.ours.is_none()) {
        *pair = pair.or_else(|| index.named(Some(&group.name)).filter(|place| taken.insert(*place)));
    }
    pairs
}
