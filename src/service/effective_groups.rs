//! The groups that a person is in, directly or through groups that are in one another: upwards, breadth first by id, safe
//! against cycles, bounded in depth and number. What lies beyond gives nothing.

use crate::id::{GroupId, MemberId};
use crate::service::join_reads::join_reads;
use crate::store::members::{GROUPS_UPWARDS_MAX, NESTING_DEPTH_MAX};
use crate::store::{StateStore, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::iter;

/// A group that a person is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectiveGroup {
    pub id: GroupId,
    /// The group that is in this one, on the shortest way up from the person. `None`: the person is a direct member.
    pub through: Option<GroupId>,
}

/// The groups of one person, nearest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EffectiveGroups {
    pub groups: Vec<EffectiveGroup>,
    /// There are more, beyond the bounds: those give nothing.
    pub is_cut: bool,
}

impl EffectiveGroups {
    /// The groups from the person's own up to that one; none where the person is not in it.
    pub fn way_to(&self, group: GroupId) -> Vec<GroupId> {
        let find = |id: GroupId| self.groups.iter().find(|group| group.id == id);
        let inner = |group: &&EffectiveGroup| group.through.and_then(find);
        let mut way: Vec<GroupId> = iter::successors(find(group), inner).map(|group| group.id).collect();
        way.reverse();
        way
    }
}

/// The walk upwards, one level at a time.
struct UpwardWalk {
    groups_max: usize,
    seen: BTreeSet<GroupId>,
    next: BTreeMap<GroupId, Option<GroupId>>,
    levels: usize,
    is_cut: bool,
}

impl UpwardWalk {
    fn new(direct: impl IntoIterator<Item = GroupId>, groups_max: usize) -> Self {
        let next = direct.into_iter().map(|group| (group, None)).collect();
        Self { groups_max, seen: BTreeSet::new(), next, levels: 0, is_cut: false }
    }

    /// The groups of the next level in the order of their ids; none at the end, or beyond the bounds.
    fn next_level(&mut self) -> Vec<EffectiveGroup> {
        let mut level = std::mem::take(&mut self.next);
        level.retain(|group, _| !self.seen.contains(group));
        let room = if self.levels <= NESTING_DEPTH_MAX { self.groups_max - self.seen.len() } else { 0 };
        self.is_cut |= level.len() > room;
        self.levels += 1;
        let level: Vec<EffectiveGroup> =
            level.into_iter().take(room).map(|(id, through)| EffectiveGroup { id, through }).collect();
        self.seen.extend(level.iter().map(|group| group.id));
        level
    }

    /// What a group of the last level is in.
    fn go_up(&mut self, from: GroupId, parents: &[GroupId]) {
        for parent in parents {
            self.next.entry(*parent).or_insert(Some(from));
        }
    }
}

/// Groups that were read, each with the groups that it is in. One that is gone is left out: nothing is had through it.
#[derive(Debug, Clone)]
pub struct GroupGraph<T> {
    groups: BTreeMap<GroupId, (T, Vec<GroupId>)>,
}

impl<T> Default for GroupGraph<T> {
    fn default() -> Self {
        Self { groups: BTreeMap::new() }
    }
}

impl<T> GroupGraph<T> {
    /// What was read of each group.
    pub fn nodes(&self) -> impl Iterator<Item = &T> {
        self.groups.values().map(|(node, _)| node)
    }

    /// Reads these groups and those above, level by level. `read` is what is wanted of a group, and the groups that it is in;
    /// `None`: it is gone.
    pub async fn read<F>(
        direct: impl IntoIterator<Item = GroupId>,
        groups_max: usize,
        read: impl Fn(GroupId) -> F,
    ) -> Result<Self, StoreError>
    where
        F: Future<Output = Result<Option<(T, Vec<GroupId>)>, StoreError>>,
    {
        let mut graph = Self::default();
        graph.read_above(direct, groups_max, read).await?;
        Ok(graph)
    }

    /// Reads what is not known of these groups and those above. Returns which groups were read.
    pub async fn read_above<F>(
        &mut self,
        direct: impl IntoIterator<Item = GroupId>,
        groups_max: usize,
        read: impl Fn(GroupId) -> F,
    ) -> Result<Vec<GroupId>, StoreError>
    where
        F: Future<Output = Result<Option<(T, Vec<GroupId>)>, StoreError>>,
    {
        let mut walk = UpwardWalk::new(direct, groups_max);
        let mut all_read = Vec::new();
        loop {
            let level = walk.next_level();
            if level.is_empty() {
                return Ok(all_read);
            }
            let unknown: Vec<GroupId> =
                level.iter().map(|group| group.id).filter(|id| !self.groups.contains_key(id)).collect();
            let found = join_reads(unknown.iter().map(|id| read(*id))).await?;
            let found = unknown.iter().zip(found).filter_map(|(id, found)| Some((*id, found?)));
            self.groups.extend(found);
            all_read.extend(unknown);
            for group in level {
                walk.go_up(group.id, self.parents(group.id));
            }
        }
    }

    /// Whether [`Self::read_above`] would read nothing.
    pub fn is_read_above(&self, direct: &[GroupId], groups_max: usize) -> bool {
        let mut walk = UpwardWalk::new(direct.iter().copied(), groups_max);
        loop {
            let level = walk.next_level();
            if level.is_empty() {
                return true;
            }
            for group in level {
                let Some((_, parents)) = self.groups.get(&group.id) else { return false };
                walk.go_up(group.id, parents);
            }
        }
    }

    /// One more group, and the groups that it is in.
    pub fn add(&mut self, group: GroupId, value: T, parents: Vec<GroupId>) {
        self.groups.insert(group, (value, parents));
    }

    /// What was read of a group.
    pub fn get(&self, group: GroupId) -> Option<&T> {
        self.groups.get(&group).map(|(value, _)| value)
    }

    /// The groups that a group is in, as far as they were read.
    pub fn parents(&self, group: GroupId) -> &[GroupId] {
        self.groups.get(&group).map_or(&[], |(_, parents)| parents)
    }

    /// The same as [`Self::get`], taken out.
    pub fn take(&mut self, group: GroupId) -> Option<T> {
        self.groups.remove(&group).map(|(value, _)| value)
    }

    /// The groups of a person who is a direct member of these, as far as they were read.
    pub fn above(&self, direct: &[GroupId]) -> EffectiveGroups {
        let mut walk = UpwardWalk::new(direct.iter().copied(), GROUPS_UPWARDS_MAX);
        let mut groups = Vec::new();
        loop {
            let level = walk.next_level();
            if level.is_empty() {
                return EffectiveGroups { groups, is_cut: walk.is_cut };
            }
            for group in level {
                if let Some((_, parents)) = self.groups.get(&group.id) {
                    walk.go_up(group.id, parents);
                    groups.push(group);
                }
            }
        }
    }
}

/// The groups that a group is a direct member of.
pub async fn parents_of(store: &StateStore, group: GroupId) -> Result<Vec<GroupId>, StoreError> {
    // One more than counts tells that there are too many.
    store.groups_of(MemberId::Group(group), GROUPS_UPWARDS_MAX + 1).await
}

/// The same of a group whose header was read: most are in no other, and that is known without asking.
pub async fn parents_if(
    store: &StateStore,
    group: GroupId,
    may_be_nested: bool,
) -> Result<Vec<GroupId>, StoreError> {
    if may_be_nested { parents_of(store, group).await } else { Ok(Vec::new()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn id(n: usize) -> GroupId {
        GroupId::new(Uuid::from_u128(n as u128))
    }

    /// Pairs: a group, and one that it is in. Of the groups in `gone` nothing was read.
    fn graph(pairs: &[(usize, usize)], gone: &[usize]) -> GroupGraph<()> {
        let mut graph = GroupGraph::default();
        let all: BTreeSet<usize> = pairs.iter().flat_map(|(inner, outer)| [*inner, *outer]).collect();
        for group in all.into_iter().filter(|group| !gone.contains(group)) {
            let parents = pairs.iter().filter(|(inner, _)| *inner == group).map(|(_, outer)| id(*outer));
            graph.add(id(group), (), parents.collect());
        }
        graph
    }

    #[track_caller]
    fn check(graph: &GroupGraph<()>, direct: &[usize], expected: &[(usize, Option<usize>)], is_cut: bool) {
        let direct: Vec<GroupId> = direct.iter().map(|group| id(*group)).collect();
        let found = graph.above(&direct);
        let expected: Vec<EffectiveGroup> = expected
            .iter()
            .map(|(group, through)| EffectiveGroup { id: id(*group), through: through.map(id) })
            .collect();
        assert_eq!(found, EffectiveGroups { groups: expected, is_cut });
    }

    #[test]
    fn the_shortest_way_up_counts_and_cycles_end() {
        let diamond = graph(&[(1, 2), (1, 3), (2, 4), (3, 4), (4, 1)], &[]);
        check(&diamond, &[1], &[(1, None), (2, Some(1)), (3, Some(1)), (4, Some(2))], false);
        check(&diamond, &[4, 2], &[(2, None), (4, None), (1, Some(4)), (3, Some(1))], false);
        let itself = graph(&[(1, 1)], &[]);
        check(&itself, &[1], &[(1, None)], false);
    }

    #[test]
    fn nothing_is_had_through_a_group_that_is_gone() {
        let chain = [(1, 2), (2, 3)];
        check(&graph(&chain, &[2]), &[1], &[(1, None)], false);
        check(&graph(&chain, &[1]), &[1], &[], false);
    }

    #[test]
    fn what_lies_beyond_the_bounds_gives_nothing() {
        let chain: Vec<(usize, usize)> = (1..=NESTING_DEPTH_MAX + 1).map(|n| (n, n + 1)).collect();
        let deep = graph(&chain, &[]);
        let found = deep.above(&[id(1)]);
        assert_eq!((found.groups.len(), found.is_cut), (NESTING_DEPTH_MAX + 1, true));
        assert_eq!(deep.above(&[id(2)]).groups.len(), NESTING_DEPTH_MAX + 1);
        assert!(!deep.above(&[id(2)]).is_cut);

        let fan: Vec<(usize, usize)> = (2..=GROUPS_UPWARDS_MAX + 1).map(|n| (1, n)).collect();
        let wide = graph(&fan, &[]).above(&[id(1)]);
        assert_eq!((wide.groups.len(), wide.is_cut), (GROUPS_UPWARDS_MAX, true));
        assert_eq!(wide.groups.last().unwrap().id, id(GROUPS_UPWARDS_MAX));
        assert!(!graph(&fan, &[]).above(&[id(2)]).is_cut);
    }
}
