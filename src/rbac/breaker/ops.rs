//! The operations that were judged: each once, for all its people.

use super::window::minute_of;
use crate::id::OpId;
use time::OffsetDateTime;

/// An operation is remembered for so long; one that is judged again is counted again.
const REMEMBERED_MINUTES: i64 = 24 * 60;
/// Operations that one tally remembers; the oldest go first.
const OPS_MAX: usize = 500;

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
    /// Its people who were not met yet, at most.
    pub left: usize,
    pub verdict: OpVerdict,
}

/// The operations of a tally, oldest first.
pub(super) fn verdict_of(ops: &[JudgedOp], op: Option<OpId>) -> Option<OpVerdict> {
    ops.iter().rev().find(|judged| Some(judged.op) == op).map(|judged| judged.verdict)
}

/// Remembers an operation, if it has an id: one of a single person has none.
pub(super) fn remember(
    ops: &mut Vec<JudgedOp>,
    op: Option<OpId>,
    left: usize,
    verdict: OpVerdict,
    now: OffsetDateTime,
) {
    let Some(op) = op else { return };
    let minute = minute_of(now);
    ops.retain(|judged| judged.op != op && judged.minute > minute - REMEMBERED_MINUTES);
    ops.push(JudgedOp { op, minute, left, verdict });
    let surplus = ops.len().saturating_sub(OPS_MAX);
    ops.drain(..surplus);
}

/// One more of its people was met.
pub(super) fn meet(ops: &mut [JudgedOp], op: Option<OpId>) {
    for judged in ops.iter_mut().filter(|judged| Some(judged.op) == op) {
        judged.left = judged.left.saturating_sub(1);
    }
}

/// People whom operations that passed still take from.
pub(super) fn people_left(ops: &[JudgedOp]) -> usize {
    ops.iter().filter(|judged| judged.verdict == OpVerdict::Passed).map(|judged| judged.left).sum()
}
