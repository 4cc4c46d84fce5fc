//! Headers in, resources out, one at a time.

use crate::id::UserId;
use crate::service::ServiceError;
use crate::service::provisioning::group_view::GroupView;
use crate::service::provisioning::resource_kind::{ListedKind, ProjectionNeeds, ShownResource};
use crate::store::StoreError;
use crate::store::TableRow;
use crate::store::resources::{StoredResource, id_of};
use std::collections::VecDeque;

/// Bytes of headers after which others get a turn.
const TURN_BYTES: usize = 256 * 1024;

/// What is done about a header that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnreadablePolicy {
    /// It is left out and logged: it hurts only itself. A request for that resource itself fails.
    LeftOut,
    /// The request fails: it asks for that resource, and an answer without it would be taken to mean that there is none.
    Fails,
}

/// How headers become resources.
#[derive(Clone, Copy)]
pub(super) struct RenderManner<'a> {
    pub view: &'a GroupView,
    pub needs: ProjectionNeeds,
    /// The only members that matter, where the others do not.
    pub among: Option<&'a [UserId]>,
    pub unreadable: UnreadablePolicy,
}

/// Resources that are shown one after the other. The attributes of one are held at a time.
pub(super) struct RenderContext<'a, I: ListedKind> {
    manner: RenderManner<'a>,
    rows: std::vec::IntoIter<TableRow>,
    together: VecDeque<TableRow>,
    beside: Option<I::Beside>,
    bytes: usize,
}

impl<'a, I: ListedKind> RenderContext<'a, I> {
    pub fn new(manner: RenderManner<'a>, rows: Vec<TableRow>) -> Self {
        Self { manner, rows: rows.into_iter(), together: VecDeque::new(), beside: None, bytes: 0 }
    }

    /// The next one with its header; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<(TableRow, ShownResource)>, ServiceError> {
        loop {
            let Some(row) = self.together.pop_front() else {
                if !self.read_on().await? {
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
    async fn read_on(&mut self) -> Result<bool, ServiceError> {
        let RenderManner { view, needs, among, .. } = self.manner;
        self.together = self.rows.by_ref().take(I::at_once(needs)).collect();
        if self.together.is_empty() {
            return Ok(false);
        }
        let headers = self.together.iter().filter_map(|row| Some((id_of(row)?, row.etag.clone())));
        self.beside = Some(I::read_beside(view, headers.collect(), needs, among).await?);
        Ok(true)
    }

    fn show(&self, row: &TableRow) -> Result<Option<ShownResource>, ServiceError> {
        let stored = match StoredResource::<I>::read(row) {
            Ok(stored) => stored,
            Err(error @ (StoreError::Corrupt { .. } | StoreError::TooNew { .. }))
                if self.manner.unreadable == UnreadablePolicy::LeftOut =>
            {
                tracing::error!(row = row.key, error = %error, "a resource that cannot be read is left out of a list");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        Ok(self.beside.as_ref().and_then(|beside| I::show(self.manner.view, &stored, beside)))
    }
}
