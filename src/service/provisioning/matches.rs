//! What a search has found: the number of all matches, and of those that may be on the page their headers or ids.

use crate::scim::{ListQuery, SortKey, SortOrder};
use crate::store::TableRow;

/// Bytes of headers that are kept from the search for the page. What comes after that is read again.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// One match. Without the header it is read again.
pub(super) struct MatchedRow<I> {
    pub id: I,
    pub header: Option<TableRow>,
    key: Option<SortKey>,
}

/// The matches of one query, found in the order of their ids.
pub(super) struct MatchedRows<'a, I> {
    sort: Option<&'a SortOrder>,
    before: usize,
    count: usize,
    total: usize,
    kept_bytes: usize,
    found: Vec<MatchedRow<I>>,
}

impl<'a, I> MatchedRows<'a, I> {
    pub fn of(query: &'a ListQuery) -> Self {
        Self {
            sort: query.sort.as_ref(),
            before: query.start_index.saturating_sub(1),
            count: query.count,
            total: 0,
            kept_bytes: 0,
            found: Vec::new(),
        }
    }

    /// One more. `key` is what the order compares.
    pub fn add(&mut self, id: I, header: TableRow, key: Option<SortKey>) {
        let place = self.total;
        self.total += 1;
        // In the order of the ids it is known already who is on the page.
        let on_page = place >= self.before && place - self.before < self.count;
        if self.sort.is_none() && !on_page {
            return;
        }
        let bytes = header.bytes();
        let keep = self.count > 0 && self.kept_bytes.saturating_add(bytes) <= KEPT_BYTES_MAX;
        if keep {
            self.kept_bytes += bytes;
        }
        self.found.push(MatchedRow { id, header: keep.then_some(header), key });
    }

    pub fn total(&self) -> usize {
        self.total
    }

    /// Those of the page in their order.
    pub fn page(mut self) -> Vec<MatchedRow<I>> {
        let Some(sort) = self.sort else { return self.found };
        // Stable: equals stay in the order of their ids.
        self.found.sort_by(|left, right| match (&left.key, &right.key) {
            (Some(left), Some(right)) => sort.compare(left, right),
            _ => std::cmp::Ordering::Equal,
        });
        self.found.into_iter().skip(self.before).take(self.count).collect()
    }
}
