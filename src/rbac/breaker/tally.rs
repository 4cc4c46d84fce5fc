//! What is counted of one binding, and of all.

use super::ops::{JudgedOp, people_left};
use super::window::Window;
use super::{BatchKind, FIRST_SYNC, GrantLimits, RevocationLimits};
use crate::id::{OpId, UserId};
use crate::rbac::BindingName;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// A person in a tally: a part of the SCIM id, which is random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HolderId(u64);

impl HolderId {
    /// The bytes of one person in a row.
    pub const BYTES: usize = 8;

    /// Reads what [`bytes`](Self::bytes) wrote.
    pub const fn of_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(u64::from_be_bytes(bytes))
    }

    pub const fn bytes(self) -> [u8; Self::BYTES] {
        self.0.to_be_bytes()
    }
}

impl From<UserId> for HolderId {
    fn from(user: UserId) -> Self {
        let (first, second) = user.uuid().as_u64_pair();
        // The two halves have fixed bits at different places.
        Self(first ^ second)
    }
}

/// What is counted of one binding. Sets of people, so that a person who is met twice counts once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BindingTally {
    /// People who hold the role through it, or are about to, and whose revocation is not held.
    pub holders: BTreeSet<HolderId>,
    /// People who hold it because a batch keeps it.
    pub kept: BTreeSet<HolderId>,
    /// People who were turned away because the binding is full.
    pub turned_away: BTreeSet<HolderId>,
    /// When it first gave the role to anyone.
    pub first_grant: Option<OffsetDateTime>,
    /// What was counted before cannot be read: nothing new is given until then.
    pub no_grants_before: Option<OffsetDateTime>,
    pub window: Window,
    pub ops: Vec<JudgedOp>,
}

impl BindingTally {
    /// People who hold the role.
    pub fn people(&self) -> usize {
        self.holders.len() + self.kept.len()
    }

    pub(super) fn has(&self, holder: HolderId) -> bool {
        self.holders.contains(&holder) || self.kept.contains(&holder)
    }

    /// Whether an operation of that size must wait for an operator.
    pub(super) fn trips(
        &self,
        holder: HolderId,
        size: usize,
        limits: &RevocationLimits,
        now: OffsetDateTime,
    ) -> bool {
        let people = self.window.people_at_start(self.holders.len(), now);
        let too_many = self.window.revoked(now).saturating_add(size) > limits.of(people);
        let rest = self.holders.len().saturating_sub(people_left(&self.ops, now));
        let is_team = people.max(self.holders.len()) >= limits.emptied_from;
        too_many || is_team && self.holders.contains(&holder) && rest <= size
    }

    /// Whether one more new person of this hour must wait for an operator.
    pub(super) fn is_spent(&self, limits: GrantLimits, now: OffsetDateTime) -> bool {
        let filling = self.first_grant.is_none_or(|first| now < first + FIRST_SYNC);
        !filling && self.window.granted(now) >= limits.new_grants_max as usize
    }

    /// Whether no further person fits.
    pub(super) fn is_full(&self, limits: GrantLimits) -> bool {
        self.people() >= limits.max_principals as usize
    }

    pub(super) fn admit(&mut self, holder: HolderId, counts: bool, now: OffsetDateTime) {
        if counts {
            self.window.grant(self.holders.len(), now);
        }
        self.turned_away.remove(&holder);
        self.holders.insert(holder);
        self.first_grant.get_or_insert(now);
    }

    /// Takes what a walk over the ledger found. `before`: this tally as it was when the walk began; people who came since stay.
    pub fn recount(&mut self, before: &BindingTally, holders: BTreeSet<HolderId>, kept: BTreeSet<HolderId>) {
        let came: BTreeSet<HolderId> = self.holders.difference(&before.holders).copied().collect();
        let left: BTreeSet<HolderId> = before.holders.difference(&self.holders).copied().collect();
        self.kept = kept.union(&self.kept.difference(&before.kept).copied().collect()).copied().collect();
        self.holders = holders.difference(&left).copied().chain(came).collect();
        self.holders.retain(|holder| !self.kept.contains(holder));
        self.turned_away.clear();
    }

    /// Goes on counting people whose reconcile is under way.
    pub fn keep_counted<'a>(&mut self, holders: impl IntoIterator<Item = &'a HolderId>) {
        self.holders.extend(holders);
        self.holders.retain(|holder| !self.kept.contains(holder));
    }
}

/// A batch that operations may still join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenBatch {
    pub id: OpId,
    /// The end of its window.
    pub until: OffsetDateTime,
    pub bindings: BTreeSet<BindingName>,
}

/// What is counted of all bindings together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TenantTally {
    /// People who hold anything, by the last walk over the ledger.
    pub people: usize,
    pub window: Window,
    pub ops: Vec<JudgedOp>,
    pub open: BTreeMap<BatchKind, OpenBatch>,
}

impl TenantTally {
    pub(super) fn trips(
        &self,
        size: usize,
        people_min: usize,
        limits: &RevocationLimits,
        now: OffsetDateTime,
    ) -> bool {
        let people = self.window.people_at_start(self.people, now).max(people_min);
        self.window.revoked(now).saturating_add(size) > limits.of(people)
    }
}
