//! What a search has found: the number of all matches, and of those that may be on the page their headers or ids.

use crate::scim::SortOrder;
use crate::service::provisioning::list_position::ListPosition;
use crate::store::TableRow;
use std::cmp::Ordering;
use std::collections::VecDeque;

/// Bytes of headers that are kept from the search for the page. What comes after that is read again.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// Which part of the list a page shows.
#[derive(Debug, Clone)]
pub(super) enum PageRange {
    /// What comes after so many.
    Offset(usize),
    /// What comes next after a position.
    After(ListPosition),
    /// What comes last before a position.
    Before(ListPosition),
}

/// One match. Without the header it is read again.
pub(super) struct MatchedRow {
    pub position: ListPosition,
    pub header: Option<TableRow>,
}

/// The matches of one query, found in the order of their types and ids.
pub(super) struct MatchedRows<'a> {
    sort: Option<&'a SortOrder>,
    range: &'a PageRange,
    count: usize,
    total: usize,
    kept_bytes: usize,
    found: VecDeque<MatchedRow>,
}

/// The page of a search.
pub(super) struct MatchedPage {
    pub rows: Vec<MatchedRow>,
    /// There is something before it.
    pub has_previous: bool,
    /// There is something after it.
    pub has_next: bool,
}

impl<'a> MatchedRows<'a> {
    pub fn of(sort: Option<&'a SortOrder>, range: &'a PageRange, count: usize) -> Self {
        Self { sort, range, count, total: 0, kept_bytes: 0, found: VecDeque::new() }
    }

    /// One more.
    pub fn add(&mut self, position: ListPosition, header: TableRow) {
        let place = self.total;
        self.total += 1;
        match (self.sort, self.range) {
            // In the order of the ids it is known already who is on the page.
            (None, PageRange::Offset(before)) if place < *before || place - before >= self.count => return,
            (None, PageRange::Before(_)) if self.found.len() > self.count => self.forget_first(),
            _ => {}
        }
        let bytes = header.bytes();
        let keep = self.count > 0 && self.kept_bytes.saturating_add(bytes) <= KEPT_BYTES_MAX;
        if keep {
            self.kept_bytes += bytes;
        }
        self.found.push_back(MatchedRow { position, header: keep.then_some(header) });
    }

    fn forget_first(&mut self) {
        let bytes = self.found.pop_front().and_then(|first| first.header).map_or(0, |header| header.bytes());
        self.kept_bytes = self.kept_bytes.saturating_sub(bytes);
    }

    /// Whether the page is known, whatever else matches.
    pub fn is_complete(&self) -> bool {
        self.sort.is_none() && matches!(self.range, PageRange::After(_)) && self.found.len() > self.count
    }

    /// How many were found.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Those of the page in their order.
    pub fn page(self) -> MatchedPage {
        let Self { sort, range, count, total, found, .. } = self;
        let mut rows = Vec::from(found);
        rows.sort_by(|left, right| left.position.compare(&right.position, sort));
        let is = |order, position: &ListPosition| {
            rows.partition_point(|row| row.position.compare(position, sort) <= order)
        };
        let (first, end) = match range {
            PageRange::Offset(before) if sort.is_none() => {
                let has_next = total > before.saturating_add(count);
                return MatchedPage { rows, has_previous: *before > 0, has_next };
            }
            PageRange::Offset(before) => (*before, before.saturating_add(count)),
            PageRange::After(position) => {
                let first = is(Ordering::Equal, position);
                (first, first.saturating_add(count))
            }
            PageRange::Before(position) => {
                let end = is(Ordering::Less, position);
                (end.saturating_sub(count), end)
            }
        };
        let has_previous = first > 0 || (sort.is_none() && matches!(range, PageRange::After(_)));
        let has_next = end < rows.len() || (sort.is_none() && matches!(range, PageRange::Before(_)));
        rows.truncate(end);
        MatchedPage { rows: rows.into_iter().skip(first).collect(), has_previous, has_next }
    }
}
