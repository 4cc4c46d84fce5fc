//! Headers in, resources out, one at a time.

use crate::events::log_event;
use crate::ports::tables::ETag;
use crate::scim::Projection;
use crate::service::ServiceError;
use crate::service::provisioning::group_view::GroupView;
use crate::service::provisioning::listed_kind::{ListedKind, RelationsWanted, ShownText, StoredText};
use crate::store::StoreError;
use crate::store::TableRow;
use crate::store::resources::{StoredHeader, StoredResource, id_of};
use std::collections::VecDeque;

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
    pub wanted: RelationsWanted<'a>,
    pub unreadable: UnreadablePolicy,
}

/// Resources that are shown one after the other. The attributes of one are held at a time.
pub(super) struct ResourceRenderer<'a, I: ListedKind> {
    options: RenderOptions<'a>,
    rows: VecDeque<TableRow>,
    /// How many of the rows come next whose relations were read.
    ready: usize,
    relations: I::Relations,
    /// The id of the header that came last.
    last: Option<I>,
    bytes: usize,
}

impl<'a, I: ListedKind> ResourceRenderer<'a, I> {
    pub fn new(options: RenderOptions<'a>) -> Self {
        let relations = I::Relations::default();
        Self { options, rows: VecDeque::new(), ready: 0, relations, last: None, bytes: 0 }
    }

    /// Adds headers that come next, after the ones before were shown.
    pub fn add(&mut self, rows: impl IntoIterator<Item = TableRow>) {
        self.rows.extend(rows);
    }

    /// The id of what was shown last.
    pub const fn last(&self) -> Option<I> {
        self.last
    }

    /// The next one with its header; `None` where there is no more.
    pub async fn next(&mut self) -> Result<Option<(TableRow, I::Shown)>, ServiceError> {
        while let Some(row) = self.next_row().await? {
            let RenderOptions { view, wanted, .. } = self.options;
            let Some(stored) = self.unless_left_out(&row, StoredResource::read_to_show(&row))? else {
                continue;
            };
            if let Some(shown) = I::show(view, stored, &mut self.relations, wanted.needs).await? {
                return Ok(Some((row, shown)));
            }
        }
        Ok(None)
    }

    /// The next one as text; `None` where there is no more.
    pub async fn next_text(&mut self, projection: &Projection) -> Result<Option<ShownText>, ServiceError> {
        while let Some(row) = self.next_row().await? {
            let RenderOptions { view, wanted, .. } = self.options;
            let Some(header) = self.unless_left_out(&row, StoredHeader::read(&row))? else { continue };
            let Some(document) = self.unless_left_out(&row, header.document(&row))? else { continue };
            let stored = StoredText { row: &row, header: &header, document: &document };
            let shown = I::show_text(view, stored, &mut self.relations, wanted.needs, projection).await?;
            if shown.is_some() {
                return Ok(shown);
            }
        }
        Ok(None)
    }

    /// The next header, whose relations were read.
    async fn next_row(&mut self) -> Result<Option<TableRow>, ServiceError> {
        if self.ready == 0 {
            self.read_batch().await?;
        }
        let Some(row) = self.rows.pop_front() else { return Ok(None) };
        self.last = id_of(&row);
        self.ready -= 1;
        self.bytes += row.bytes();
        if self.bytes > TURN_BYTES {
            self.bytes = 0;
            tokio::task::yield_now().await;
        }
        Ok(Some(row))
    }

    /// Reads what belongs to the next rows.
    async fn read_batch(&mut self) -> Result<(), ServiceError> {
        let RenderOptions { view, wanted, .. } = self.options;
        let ids = self.rows.iter().filter_map(|row| Some((id_of(row)?, row.etag.clone())));
        let headers: Vec<(I, ETag)> = ids.take(I::read_at_once(wanted.needs)).collect();
        if headers.is_empty() {
            self.ready = self.rows.len();
            return Ok(());
        }
        let read = I::read_relations(view, &mut self.relations, headers, wanted).await?;
        let mut with_id = self.rows.iter().enumerate().filter(|(_, row)| id_of::<I>(row).is_some());
        self.ready = with_id.nth(read).map_or(self.rows.len(), |(at, _)| at);
        Ok(())
    }

    /// None where a header cannot be read, and is left out of the list.
    fn unless_left_out<T>(
        &self,
        row: &TableRow,
        read: Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match read {
            Err(error @ (StoreError::Corrupt { .. } | StoreError::TooNew { .. }))
                if self.options.unreadable == UnreadablePolicy::LeaveOut =>
            {
                log_event!(RowUnreadable, row = row.key, error = %error, "a resource that cannot be read is left out of a list");
                Ok(None)
            }
            read => read.map(Some),
        }
    }
}
