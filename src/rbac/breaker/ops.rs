//! The operations that were judged: each once, for all its people.

use super::window::{first_minute, minute_of};
use crate::id::{GroupId, OpId, UserId};
use time::OffsetDateTime;
use uuid::Uuid;

/// An operation is remembered for so long; one that is judged again is counted again.
const REMEMBERED_MINUTES: i64 = 24 * 60;
/// Operations that one tally remembers; the oldest go first.
const OPS_MAX: usize = 500;
/// Those of one person among them.
const OPS_OF_ONE_MAX: usize = 100;

/// The operation that took something from a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenBy {
    pub op: OpId,
    /// From how many people it takes something.
    pub size: usize,
}

impl TakenBy {
    /// An operation that takes something from so many people.
    pub fn operation(op: OpId, size: usize) -> Self {
        Self { op, size: size.max(1) }
    }

    /// What an operation takes from the people of a group, as an operation of its own: the same request may take something from
    /// others, and the smaller part must not decide for the larger one.
    pub fn people_of_group(op: OpId, group: GroupId, size: usize) -> Self {
        Self::operation(OpId::new(Uuid::new_v5(&op.uuid(), group.uuid().as_bytes())), size)
    }

    /// A change that concerns one person alone, as an operation of its own: others may have been enqueued with it.
    pub fn one_person(op: OpId, user: UserId) -> Self {
        Self { op: OpId::new(Uuid::new_v5(&op.uuid(), user.uuid().as_bytes())), size: 1 }
    }
}

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpVerdict {
    Passed,
    /// Its revocations are held in that batch.
    Held(OpId),
}

/// An operation that takes a role from several people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JudgedOp {
    pub op: OpId,
    /// The minute in which it was judged, since the epoch.
    pub minute: i64,
    /// Its people.
    pub size: usize,
    /// Those who were not met yet, at most.
    pub left: usize,
    pub verdict: OpVerdict,
}

/// What was said of an operation.
pub(super) fn verdict_of(ops: &[JudgedOp], op: OpId) -> Option<OpVerdict> {
    ops.iter().rev().find(|judged| judged.op == op).map(|judged| judged.verdict)
}

/// Remembers an operation: its further steps, and a judgement that is repeated, are not counted again.
pub(super) fn remember(ops: &mut Vec<JudgedOp>, taken: TakenBy, verdict: OpVerdict, now: OffsetDateTime) {
    let TakenBy { op, size } = taken;
    let minute = minute_of(now);
    ops.retain(|judged| judged.op != op && judged.minute > minute - REMEMBERED_MINUTES);
    ops.push(JudgedOp { op, minute, size, left: size, verdict });
    forget_oldest(ops, OPS_OF_ONE_MAX, |judged| judged.size == 1);
    forget_oldest(ops, OPS_MAX, |_| true);
}

fn forget_oldest(ops: &mut Vec<JudgedOp>, most: usize, of: impl Fn(&JudgedOp) -> bool) {
    let mut surplus = ops.iter().filter(|judged| of(judged)).count().saturating_sub(most);
    ops.retain(|judged| {
        let goes = surplus > 0 && of(judged);
        surplus -= usize::from(goes);
        !goes
    });
}

/// One more of its people was met.
pub(super) fn meet(ops: &mut [JudgedOp], op: OpId) {
    for judged in ops.iter_mut().filter(|judged| judged.op == op) {
        judged.left = judged.left.saturating_sub(1);
    }
}

/// People whom operations that passed in the window still take from. Later they were met, or had nothing to lose.
pub(super) fn people_left(ops: &[JudgedOp], now: OffsetDateTime) -> usize {
    let counts =
        |judged: &&JudgedOp| judged.verdict == OpVerdict::Passed && judged.minute >= first_minute(now);
    ops.iter().filter(counts).map(|judged| judged.left).sum()
}
