//! The first half of a verification: whether the heads follow from one another, and what they say of deleted and lost
//! records.

use super::digest::RecordHash;
use super::finding::{ChainFinding, FindingKind, VerifyError};
use super::head::AuditHead;
use std::io;
use time::Date;

/// Where heads are read from, one at a time: all of them can be more than memory holds.
pub trait HeadSource {
    /// The bytes of that head, if there is one.
    fn head(&mut self, number: u64) -> io::Result<Option<Vec<u8>>>;
}

/// A record that says that the state was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRestore {
    /// Its own op.
    pub op: String,
    /// The head that lists it.
    pub head: u64,
    /// Records of earlier heads from here on may be lost.
    pub from: String,
}

/// Heads that follow from one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadSummary {
    /// The numbers of the first and the last one.
    pub first: u64,
    pub last: u64,
    pub first_day: Date,
    pub last_day: Date,
    /// The hash of the last one. No head vouches for it.
    pub last_hash: RecordHash,
    pub records: u64,
    /// Those that were committed late.
    pub late: u64,
    /// Heads up to this one have had their records deleted, by what later heads say.
    pub expired: Option<u64>,
    pub restores: Vec<StateRestore>,
    /// The last head behind the last one that says that something was deleted or lost, and its hash.
    pub excused_by: Option<(u64, RecordHash)>,
}

impl HeadSummary {
    /// Whether a record that is not there was deleted, or lost in a restore.
    pub(super) fn explains(&self, op: &str, head: u64) -> Option<GoneBecause> {
        if self.expired.is_some_and(|expired| head <= expired) {
            return Some(GoneBecause::Expired);
        }
        let is_lost = |restore: &StateRestore| {
            head < restore.head && restore.from.as_str() <= op && op < restore.op.as_str()
        };
        self.restores.iter().any(is_lost).then_some(GoneBecause::Lost)
    }
}

/// Why a sealed record need not be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GoneBecause {
    Expired,
    Lost,
}

/// A head as the next one sees it.
struct Link {
    head: AuditHead,
    hash: RecordHash,
}

/// Checks the heads from `first` to `last`.
pub fn check_heads(source: &mut dyn HeadSource, first: u64, last: u64) -> Result<HeadSummary, VerifyError> {
    let before = read(source, first)?;
    if first == 0 && before.head.previous != RecordHash::ZERO {
        return Err(ChainFinding::of_head(FindingKind::Changed, 0).into());
    }
    let mut summary = HeadSummary {
        first,
        last,
        first_day: before.head.day,
        last_day: before.head.day,
        last_hash: before.hash,
        records: 0,
        late: 0,
        expired: None,
        restores: Vec::new(),
        excused_by: None,
    };
    add(&mut summary, &before.head);
    let mut before = before;
    for number in first.saturating_add(1)..=last {
        let link = read(source, number)?;
        if link.head.previous != before.hash {
            return Err(broken_link(source, number, last, &link)?.into());
        }
        if link.head.tenant != before.head.tenant || link.head.day < before.head.day {
            return Err(ChainFinding::of_head(FindingKind::Malformed, number).into());
        }
        add(&mut summary, &link.head);
        summary.last_day = link.head.day;
        summary.last_hash = link.hash;
        before = link;
    }
    add_what_follows(source, &mut summary, &before.head)?;
    Ok(summary)
}

/// Heads behind the last one, as far as they follow from it, say too what was deleted or lost.
fn add_what_follows(
    source: &mut dyn HeadSource,
    summary: &mut HeadSummary,
    last: &AuditHead,
) -> io::Result<()> {
    let (mut previous, mut day) = (summary.last_hash, last.day);
    for number in summary.last.saturating_add(1).. {
        let Some(bytes) = source.head(number)? else { return Ok(()) };
        let follows = |head: &AuditHead| {
            head.number == number
                && head.previous == previous
                && head.tenant == last.tenant
                && head.day >= day
        };
        let Some(head) = AuditHead::parse(&bytes).ok().filter(follows) else { return Ok(()) };
        (previous, day) = (RecordHash::of(&bytes), head.day);
        if head.entries.iter().any(|entry| entry.expired.is_some() || entry.restored.is_some()) {
            add_declarations(summary, &head);
            summary.excused_by = Some((number, previous));
        }
    }
    Ok(())
}

/// Head `number` does not have the hash of the head before. Where the next head does not have its hash either, it is the one
/// that changed.
fn broken_link(source: &mut dyn HeadSource, number: u64, last: u64, link: &Link) -> io::Result<ChainFinding> {
    let next = if number < last { source.head(number + 1)? } else { None };
    let next = next.and_then(|bytes| AuditHead::parse(&bytes).ok());
    let is_vouched_for = next.is_none_or(|next| next.previous == link.hash);
    let changed = if is_vouched_for { number.saturating_sub(1) } else { number };
    Ok(ChainFinding::of_head(FindingKind::Changed, changed))
}

fn read(source: &mut dyn HeadSource, number: u64) -> Result<Link, VerifyError> {
    let finding = |kind| VerifyError::from(ChainFinding::of_head(kind, number));
    let bytes = source.head(number)?.ok_or_else(|| finding(FindingKind::Missing))?;
    let head = AuditHead::parse(&bytes).map_err(|_| finding(FindingKind::Malformed))?;
    if head.number != number {
        return Err(finding(FindingKind::Malformed));
    }
    Ok(Link { hash: RecordHash::of(&bytes), head })
}

fn add(summary: &mut HeadSummary, head: &AuditHead) {
    summary.records += u64::try_from(head.entries.len()).unwrap_or(u64::MAX);
    summary.late += head.entries.iter().map(|entry| u64::from(entry.late)).sum::<u64>();
    add_declarations(summary, head);
}

fn add_declarations(summary: &mut HeadSummary, head: &AuditHead) {
    for entry in &head.entries {
        // What a head says of itself, or of later ones, counts for nothing.
        let expired = entry.expired.filter(|expired| *expired < head.number);
        summary.expired = summary.expired.max(expired);
        if let Some(from) = &entry.restored {
            let restore = StateRestore { op: entry.op.clone(), head: head.number, from: from.clone() };
            summary.restores.push(restore);
        }
    }
}
