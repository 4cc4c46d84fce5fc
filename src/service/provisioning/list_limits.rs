//! What lists may cost.

use crate::store::ReadLimits;

/// The limits of one list, and of all lists together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListLimits {
    /// What a filter or an order reads at most to find its matches: headers, memberships, ledger and indexes all count.
    pub filter_scan: ReadLimits,
    /// Members that one page carries; it ends early, but never empty.
    pub page_members_max: usize,
    /// Lists that are read at a time.
    pub lists_max: usize,
}

impl Default for ListLimits {
    fn default() -> Self {
        Self {
            filter_scan: ReadLimits { rows_max: 20_000, bytes_max: 256 * 1024 * 1024 },
            page_members_max: 10_000,
            lists_max: 4,
        }
    }
}
