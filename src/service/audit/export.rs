//! The sealed records in their official order, as an exported file has them.

use crate::audit::chain::{AuditHead, HeadEntry};
use crate::store::audit_chain::{ChainState, StoredHead};
use crate::store::{PAGE_ROWS_MAX, StateStore, StoreError};
use std::collections::BTreeMap;
use std::io::{self, Write};
use time::Date;

/// Why an export ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot write")]
    Write(#[from] io::Error),
    #[error("head {number} cannot be read")]
    Head { number: u64 },
}

/// Days of the chain, both included; none is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExportedDays {
    pub since: Option<Date>,
    pub until: Option<Date>,
}

impl ExportedDays {
    fn has(&self, day: Date) -> bool {
        self.since.is_none_or(|since| day >= since) && self.until.is_none_or(|until| day <= until)
    }
}

/// What was exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    pub heads: u64,
    pub records: u64,
    /// Records of the heads that are no longer in the table.
    pub gone: u64,
}

/// Writes the records of each head of these days to `records`, and gives these heads and all behind them to `take_head`.
pub async fn export(
    store: &StateStore,
    days: ExportedDays,
    records: &mut dyn Write,
    mut take_head: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> Result<Exported, ExportError> {
    let mut exported = Exported::default();
    let Some(chain) = store.audit_chain().await?.value else { return Ok(exported) };
    let ChainState { next, expired, .. } = chain.state;
    for number in 0..next {
        let StoredHead { text, after, .. } =
            store.audit_head(number).await?.ok_or(ExportError::Head { number })?;
        let head = AuditHead::parse(&text).map_err(|_| ExportError::Head { number })?;
        // Heads behind the days say what was deleted or lost of them.
        if days.since.is_none_or(|since| head.day >= since) {
            take_head(number, &text)?;
        }
        if !days.has(head.day) {
            continue;
        }
        exported.heads += 1;
        let listed = u64::try_from(head.entries.len()).unwrap_or(u64::MAX);
        // A deletion that is under way counts as done: it is in the chain.
        let written = if number < expired { 0 } else { write_head(store, &head, &after, records).await? };
        exported.records += written;
        exported.gone += listed.saturating_sub(written);
    }
    Ok(exported)
}

/// The records of one head that are there: those that were late, then the others.
async fn write_head(
    store: &StateStore,
    head: &AuditHead,
    after: &str,
    records: &mut dyn Write,
) -> Result<u64, ExportError> {
    let mut written = 0;
    let mut write = |line: &str| {
        written += 1;
        writeln!(records, "{line}")
    };
    for entry in head.entries.iter().filter(|entry| entry.late) {
        if let Some(found) = store.journal_line(&entry.op).await? {
            write(&found.line)?;
        }
    }
    let own: BTreeMap<&str, &HeadEntry> =
        head.entries.iter().filter(|entry| !entry.late).map(|entry| (entry.op.as_str(), entry)).collect();
    let mut pages = store.journal_lines(after, &head.through);
    while let Some(lines) = pages.at_most(PAGE_ROWS_MAX).await? {
        // Others are late, and in a later head.
        lines
            .iter()
            .filter(|found| own.contains_key(found.op.as_str()))
            .try_for_each(|found| write(&found.line))?;
    }
    Ok(written)
}
