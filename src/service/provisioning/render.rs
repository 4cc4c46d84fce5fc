//! Headers in, resources out, one at a time.

use crate::service::ServiceError;
use crate::service::provisioning::group_view::GroupView;
use crate::service::provisioning::listed_kind::{ListedKind, ShownResource};
use crate::service::provisioning::projection_needs::ProjectionNeeds;
use crate::store::StoreError;
use crate::store::TableRow;
use crate::store::resources::{StoredResource, id_of};
use std::collections::VecDeque;
use uuid::Uuid;

/// Bytes of headers after which others get a turn.
const TURN_BYTES: usize = 256 * 1024;

/// What is done about a header that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnreadablePolicy {
    /// It is left out and logged, and the rest of the list is answered. A request for that resource itself fails.
    LeaveOut,
    /// The request fails: it asks for that resource, and an answer without it would be taken to mean that there is none.
    Fail,
}

/// How headers become resources.
#[derive(Clone, Copy)]
pub(super) struct RenderOptions<'a> {
    pub view: &'a GroupView,
    pub needs: ProjectionNeeds,
    /// The only members that matter, where the others do not.
    pub among: Option<&'a [Uuid]>,
    pub unreadable: UnreadablePolicy,
}

/// Resources that are shown one after the other. The attributes of one are held at a time.
pub(super) struct ResourceRenderer<'a, I: ListedKind> {
    options: RenderOptions<'a>,
    rows: std::vec::IntoIter<TableRow>,
    together: VecDeque<TableRow>,
    relations: Option<I::Relations>,
    bytes: usize,
}

impl<'a, I: ListedKind> ResourceRenderer<'a, I> {
    pub fn new(options: RenderOptions<'a>, rows: Vec<TableRow>) -> Self {
        Self { options, rows: rows.into_iter(), together: VecDeque::new(), relations: None, bytes: 0 }
    }

    /// The next one with its header; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<(TableRow, ShownResource)>, ServiceError> {
        loop {
            let Some(row) = self.together.pop_front() else {
                if !self.read_batch().await? {
                    return Ok(None);
                }
                continue;
            };
            self.bytes += row.bytes();
            if self.bytes > TURN_BYTES {
                self.bytes = 0;
                tokio::task::yield_now().await;
            }
            if let Some(shown) = self.show(&row)? {
                return Ok(Some((row, shown)));
            }
        }
    }

    /// Reads what belongs to the next rows; false at the end.
    async fn read_batch(&mut self) -> Result<bool, ServiceError> {
        let RenderOptions { view, needs, among, .. } = self.options;
        self.together = self.rows.by_ref().take(I::read_at_once(needs)).collect();
        if self.together.is_empty() {
            return Ok(false);
        }
        let headers = self.together.iter().filter_map(|row| Some((id_of(row)?, row.etag.clone())));
        self.relations = Some(I::read_relations(view, headers.collect(), needs, among).await?);
        Ok(true)
    }

    fn show(&self, row: &TableRow) -> Result<Option<ShownResource>, ServiceError> {
        let stored = match StoredResource::<I>::read(row) {
            Ok(stored) => stored,
            Err(error @ (StoreError::Corrupt { .. } | StoreError::TooNew { .. }))
                if self.options.unreadable == UnreadablePolicy::LeaveOut =>
            {
                tracing::error!(row = row.key, error = %error, "a resource that cannot be read is left out of a list");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        Ok(self.relations.as_ref().and_then(|relations| I::show(self.options.view, &stored, relations)))
    }
}
