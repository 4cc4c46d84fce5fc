//! The second half of a verification: the lines of an exported file beside the records that the heads list.

use super::check::{GoneBecause, HeadSource, HeadSummary};
use super::digest::RecordHash;
use super::finding::{ChainFinding, FindingKind, VerifyError};
use super::head::{AuditHead, HeadEntry, is_op};
use std::io;

const BEGINNING: &[u8] = b"{\"op\":\"";
const OP_BYTES: usize = 36;

/// A line of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordLine {
    /// Counted from 1.
    pub number: u64,
    /// What it says of its op, where it begins as a record does.
    pub op: Option<[u8; OP_BYTES]>,
    pub hash: RecordHash,
}

/// The op that a line begins with.
pub fn op_of_line(line: &[u8]) -> Option<[u8; OP_BYTES]> {
    let (op, rest) = line.strip_prefix(BEGINNING)?.split_first_chunk::<OP_BYTES>()?;
    let is_record = rest.first() == Some(&b'"') && std::str::from_utf8(op).is_ok_and(is_op);
    is_record.then_some(*op)
}

/// What was verified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerifiedRecords {
    pub records: u64,
    /// Records that are not in the file, and were deleted because of their age.
    pub expired: u64,
    /// Records that are not in the file, and were lost in a restore.
    pub lost: u64,
}

/// Compares the lines with what `summary`, the answer of [`super::check_heads`], and the heads list.
pub fn verify_records(
    source: &mut dyn HeadSource,
    summary: &HeadSummary,
    mut lines: impl Iterator<Item = io::Result<RecordLine>>,
) -> Result<VerifiedRecords, VerifyError> {
    let mut expected = Expected { source, summary, head: None, number: summary.first, at: 0 };
    let mut verified = VerifiedRecords::default();
    let mut lines_read = 0;
    while let Some(line) = lines.next() {
        let line = line?;
        lines_read = line.number;
        let entry = expected.next()?;
        if entry.as_ref().is_some_and(|entry| entry.hash == line.hash) {
            verified.records += 1;
            expected.at += 1;
            continue;
        }
        let entry = entry.cloned();
        expected.resync(entry.as_ref(), &line, &mut lines, &mut verified)?;
    }
    expected.rest_is_gone(lines_read + 1, &mut verified)?;
    Ok(verified)
}

/// Where the heads are read.
struct Expected<'a> {
    source: &'a mut dyn HeadSource,
    summary: &'a HeadSummary,
    head: Option<AuditHead>,
    /// The number of the next head, or of `head` plus one.
    number: u64,
    /// The next entry of `head`.
    at: usize,
}

impl Expected<'_> {
    /// The next record; `None` at the end.
    fn next(&mut self) -> Result<Option<&HeadEntry>, VerifyError> {
        loop {
            let has_more = self.head.as_ref().is_some_and(|head| self.at < head.entries.len());
            if has_more {
                return Ok(self.head.as_ref().and_then(|head| head.entries.get(self.at)));
            }
            if self.number > self.summary.last {
                return Ok(None);
            }
            self.head = Some(read_again(self.source, self.number)?);
            self.number += 1;
            self.at = 0;
        }
    }

    fn finding(&self, kind: FindingKind, op: &str, line: u64) -> ChainFinding {
        let (head, day) = self.head.as_ref().map(|head| (head.number, head.day)).unzip();
        ChainFinding { kind, record: Some(op.to_owned()), head, day, line: Some(line), missing: 0 }
    }

    /// A line is not the expected record. Goes on behind a gap that is explained; everything else is a finding.
    fn resync(
        &mut self,
        entry: Option<&HeadEntry>,
        line: &RecordLine,
        lines: &mut impl Iterator<Item = io::Result<RecordLine>>,
        verified: &mut VerifiedRecords,
    ) -> Result<(), VerifyError> {
        let op = line.op.as_ref().and_then(|op| std::str::from_utf8(op).ok()).unwrap_or_default();
        let added = |head| ChainFinding {
            kind: FindingKind::Added,
            record: Some(op.to_owned()),
            head,
            day: None,
            line: Some(line.number),
            missing: 0,
        };
        if let Some(entry) = entry {
            if entry.op == op {
                return Err(self.finding(FindingKind::Changed, op, line.number).into());
            }
            if self.is_expected_later(op)? {
                return self.skip_to(op, line, lines, verified);
            }
        }
        if let Some(finding) = self.expected_before(op, line)? {
            return Err(finding.into());
        }
        let Some(entry) = entry else { return Err(added(None).into()) };
        let next = lines.next().transpose()?;
        if next.is_some_and(|next| next.hash == entry.hash) {
            return Err(added(None).into());
        }
        Err(self.finding(FindingKind::Changed, &entry.op, line.number).into())
    }

    fn is_expected_later(&mut self, op: &str) -> Result<bool, VerifyError> {
        if op.is_empty() {
            return Ok(false);
        }
        let here = self.head.iter().flat_map(|head| head.entries.iter().skip(self.at));
        if here.clone().any(|entry| entry.op == op) {
            return Ok(true);
        }
        for number in self.number..=self.summary.last {
            if read_again(self.source, number)?.entries.iter().any(|entry| entry.op == op) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A record that was expected before, with its own place.
    fn expected_before(&mut self, op: &str, line: &RecordLine) -> Result<Option<ChainFinding>, VerifyError> {
        if op.is_empty() {
            return Ok(None);
        }
        for number in self.summary.first..self.number {
            let head = read_again(self.source, number)?;
            if head.entries.iter().any(|entry| entry.op == op && entry.hash == line.hash) {
                let (head, day) = (Some(head.number), Some(head.day));
                let record = Some(op.to_owned());
                let kind = FindingKind::Reordered;
                return Ok(Some(ChainFinding {
                    kind,
                    record,
                    head,
                    day,
                    line: Some(line.number),
                    missing: 0,
                }));
            }
        }
        Ok(None)
    }

    /// Leaves out the expected records before `op`, the one of the line, which were deleted or lost.
    fn skip_to(
        &mut self,
        op: &str,
        line: &RecordLine,
        lines: &mut impl Iterator<Item = io::Result<RecordLine>>,
        verified: &mut VerifiedRecords,
    ) -> Result<(), VerifyError> {
        while let Some(entry) = self.next()?.cloned() {
            if entry.hash == line.hash {
                verified.records += 1;
                self.at += 1;
                return Ok(());
            }
            if entry.op == op {
                return Err(self.finding(FindingKind::Changed, op, line.number).into());
            }
            if self.leave_out(&entry, verified) {
                continue;
            }
            let finding = self.finding(FindingKind::Missing, &entry.op, line.number);
            return Err(self.gap(finding, &entry.op, op, line, lines)?.into());
        }
        Ok(())
    }

    /// What it means that a record is not where it should be, while the line has the op of a later one.
    fn gap(
        &mut self,
        finding: ChainFinding,
        missing: &str,
        op: &str,
        line: &RecordLine,
        lines: &mut impl Iterator<Item = io::Result<RecordLine>>,
    ) -> Result<ChainFinding, VerifyError> {
        let (start, place) = (self.number, (self.head.clone(), self.at));
        let mut gap = 0;
        let mut is_that_record = false;
        while let Some(entry) = self.next()?.cloned() {
            if entry.op == op {
                is_that_record = entry.hash == line.hash;
                break;
            }
            let mut gone = VerifiedRecords::default();
            if !self.leave_out(&entry, &mut gone) {
                gap += 1;
                self.at += 1;
            }
        }
        (self.number, (self.head, self.at)) = (start, place);
        // The op of the line is not its own: it is a record that was changed.
        if !is_that_record {
            return Ok(ChainFinding { kind: FindingKind::Changed, ..finding });
        }
        for later in lines {
            if later?.op.is_some_and(|later| later == missing.as_bytes()) {
                return Ok(ChainFinding { kind: FindingKind::Reordered, ..finding });
            }
        }
        Ok(ChainFinding { missing: gap, ..finding })
    }

    /// At the end of the file: what is still expected must be explained.
    fn rest_is_gone(&mut self, line: u64, verified: &mut VerifiedRecords) -> Result<(), VerifyError> {
        while let Some(entry) = self.next()?.cloned() {
            if !self.leave_out(&entry, verified) {
                let mut finding = self.finding(FindingKind::Missing, &entry.op, line);
                finding.missing = self.count_missing()?;
                return Err(finding.into());
            }
        }
        Ok(())
    }

    /// Passes over an expected record that was deleted or lost.
    fn leave_out(&mut self, entry: &HeadEntry, verified: &mut VerifiedRecords) -> bool {
        let head = self.head.as_ref().map_or(0, |head| head.number);
        match self.summary.explains(&entry.op, head) {
            Some(GoneBecause::Expired) => verified.expired += 1,
            Some(GoneBecause::Lost) => verified.lost += 1,
            None => return false,
        }
        self.at += 1;
        true
    }

    /// Expected records from here on that nothing explains.
    fn count_missing(&mut self) -> Result<u64, VerifyError> {
        let mut missing = 0;
        while let Some(entry) = self.next()?.cloned() {
            let mut gone = VerifiedRecords::default();
            if !self.leave_out(&entry, &mut gone) {
                missing += 1;
                self.at += 1;
            }
        }
        Ok(missing)
    }
}

/// A head that was checked before.
fn read_again(source: &mut dyn HeadSource, number: u64) -> Result<AuditHead, VerifyError> {
    let bytes = source.head(number)?.ok_or(io::ErrorKind::NotFound).map_err(io::Error::from)?;
    Ok(AuditHead::parse(&bytes).map_err(io::Error::other)?)
}
