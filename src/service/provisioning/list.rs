//! Lists (RFC 7644 section 3.4.2, RFC 9865): pages by counter, by index or by cursor. What has a filter or an order is searched.
//!
//! No list holds what it goes through: headers come in pages of bounded size, are shown one at a time, and of a search only
//! ids, sort keys and a little more are kept. What the page shows is read while it is sent.

use crate::id::{GroupId, UserId};
use crate::scim::{ListQuery, PageCursors, Paging, ResourceType};
use crate::service::provisioning::Provisioning;
use crate::service::provisioning::cursor::{Cursor, CursorSealer, WalkDirection};
use crate::service::provisioning::group_view::GroupView;
use crate::service::provisioning::list_limits::ListLimits;
use crate::service::provisioning::list_page::{ListPage, PageOptions};
use crate::service::provisioning::list_position::ListPosition;
use crate::service::provisioning::list_search::ListSearch;
use crate::service::provisioning::matches::PageRange;
use crate::service::provisioning::read_gate::ReadGate;
use crate::service::provisioning::stream::{ResourceListing, ResourceSink, StreamStop};
use crate::service::{ScimCaller, ServiceError};
use crate::store::counters::ResourceTotals;
use crate::store::cursor_key::CursorKey;
use crate::store::resources::{ResourceId, id_of};
use crate::store::{RowPages, StateStore, StoreError, TableRow};
use futures_util::try_join;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::OnceCell;
use uuid::Uuid;

/// Bytes of headers that a page holds which is read from its end.
const BACKWARD_BYTES_MAX: usize = 8 * 1024 * 1024;

impl Provisioning {
    /// One page of what matches the query.
    pub async fn list(
        &self,
        caller: &ScimCaller,
        query: &ListQuery,
    ) -> Result<ResourceListing, ServiceError> {
        let lister = Lister {
            view: self.view.clone(),
            query: query.clone(),
            token_label: caller.token_label.clone(),
            limits: self.list_limits,
            gate: self.gate.clone(),
            cursor_key: self.cursor_key.clone(),
        };
        ResourceListing::of(move |sink| async move { lister.run(&sink).await }).await
    }
}

/// Reads one page.
struct Lister {
    view: GroupView,
    query: ListQuery,
    token_label: String,
    limits: ListLimits,
    gate: ReadGate,
    cursor_key: Arc<OnceCell<CursorKey>>,
}

/// Which page of which walk is read.
struct WalkPage {
    range: PageRange,
    /// How many resources matched when the walk began, where it did before.
    total: Option<usize>,
    /// Seals the cursors of the page; none where it is not read by cursor.
    sealer: Option<CursorSealer>,
}

/// What is beside a page.
#[derive(Debug, Clone, Copy, Default)]
struct Neighbourhood {
    has_previous: bool,
    has_next: bool,
}

impl Lister {
    async fn run(&self, sink: &ResourceSink) -> Result<PageCursors, StreamStop> {
        let walk = self.walk_page().await?;
        if !self.query.lists_all() {
            return self.search(&walk, sink).await;
        }
        if self.query.count == 0 {
            sink.total(self.totals().await?.total()).await?;
            return Ok(PageCursors::default());
        }
        let _turn = self.gate.enter().await?;
        let mut page = ListPage::new(self.page_options(true, sink));
        let beside = match &walk.range {
            PageRange::Offset(0) => self.forward(&walk, None, &mut page, sink).await?,
            PageRange::After(position) => self.forward(&walk, Some(position), &mut page, sink).await?,
            PageRange::Offset(offset) => self.at_index(*offset, &walk, &mut page, sink).await?,
            PageRange::Before(position) => self.backward(position, &mut page, sink).await?,
        };
        self.cursors(&walk, &page, beside, walk.total.unwrap_or_default())
    }

    /// Which page is asked for. A cursor is opened with the key that all processes share.
    async fn walk_page(&self) -> Result<WalkPage, ServiceError> {
        let given = match &self.query.paging {
            Paging::Index { start } => {
                let range = PageRange::Offset(start.saturating_sub(1));
                return Ok(WalkPage { range, total: None, sealer: None });
            }
            Paging::Cursor(given) => given,
        };
        let store = &self.view.store;
        let key = self.cursor_key.get_or_try_init(|| store.cursor_key()).await?;
        let sealer = CursorSealer::new(key, &self.query.identity, &self.token_label)?;
        let cursor = given.as_deref().map(|text| sealer.open(text, store.clock.now())).transpose()?;
        let (range, total) = match cursor {
            None => (PageRange::Offset(0), None),
            Some(Cursor { direction, position, total }) => match direction {
                WalkDirection::Forward => (PageRange::After(position), Some(total)),
                WalkDirection::Backward => (PageRange::Before(position), Some(total)),
            },
        };
        Ok(WalkPage { range, total, sealer: Some(sealer) })
    }

    fn page_options<'a>(&'a self, neighbours: bool, sink: &'a ResourceSink) -> PageOptions<'a> {
        let members_max = self.limits.page_members_max;
        PageOptions { view: &self.view, query: &self.query, sink, neighbours, members_max }
    }

    /// The cursors of a page that was read: the next page begins after what this one showed last, whatever changes meanwhile.
    fn cursors(
        &self,
        walk: &WalkPage,
        page: &ListPage<'_>,
        beside: Neighbourhood,
        total: usize,
    ) -> Result<PageCursors, StreamStop> {
        let Some(sealer) = &walk.sealer else { return Ok(PageCursors::default()) };
        let now = self.view.store.clock.now();
        let seal = |direction, position: &ListPosition| {
            sealer.seal(&Cursor { direction, position: position.clone(), total }, now)
        };
        let next = page.last.as_ref().filter(|_| beside.has_next || page.is_cut);
        let previous = page.first.as_ref().filter(|_| beside.has_previous);
        Ok(PageCursors {
            next: next.map(|last| seal(WalkDirection::Forward, last)).transpose()?,
            previous: previous.map(|first| seal(WalkDirection::Backward, first)).transpose()?,
        })
    }

    async fn search(&self, walk: &WalkPage, sink: &ResourceSink) -> Result<PageCursors, StreamStop> {
        let search = ListSearch {
            view: &self.view,
            query: &self.query,
            limits: self.limits,
            gate: &self.gate,
            range: &walk.range,
            total: walk.total,
        };
        let mut page = ListPage::new(self.page_options(false, sink));
        let found = search.run(&mut page, sink).await?;
        let beside = Neighbourhood { has_previous: found.has_previous, has_next: found.has_next };
        self.cursors(walk, &page, beside, found.total)
    }

    /// A page in the order of the ids, from the first resource on or after that one. Totals come from the counters.
    async fn forward(
        &self,
        walk: &WalkPage,
        after: Option<&ListPosition>,
        page: &mut ListPage<'_>,
        sink: &ResourceSink,
    ) -> Result<Neighbourhood, StreamStop> {
        let from = after.map(|position| position.kind);
        let kind =
            self.query.types().map(|(kind, _)| kind).find(|kind| from.is_none_or(|from| *kind >= from));
        let Some(kind) = kind else { return Ok(Neighbourhood::default()) };
        let mut pages = match after {
            Some(position) if position.kind == kind => headers_after(&self.view.store, position),
            _ => headers_from(&self.view.store, kind, ""),
        };
        let wanted = page.left + walk.looks_ahead();
        let (totals, first) = try_join!(self.totals(), pages.at_most(wanted))?;
        sink.total(totals.total()).await?;
        let start = ListStart { kind, pages, first, skip: 0 };
        let has_next = self.show_from(start, walk, &totals, page).await?;
        Ok(Neighbourhood { has_previous: after.is_some(), has_next })
    }

    /// A page in the order of the ids, from resource number `offset` on: the counters say where that is.
    async fn at_index(
        &self,
        mut offset: usize,
        walk: &WalkPage,
        page: &mut ListPage<'_>,
        sink: &ResourceSink,
    ) -> Result<Neighbourhood, StreamStop> {
        let totals = self.totals().await?;
        sink.total(totals.total()).await?;
        for (kind, of_kind) in totals.each() {
            if let Some(place) = of_kind.place(offset) {
                let mut pages = headers_from(&self.view.store, kind, &place.bucket);
                let first = pages.at_most(place.skip.saturating_add(page.left)).await?;
                let start = ListStart { kind, pages, first, skip: place.skip };
                let has_next = self.show_from(start, walk, &totals, page).await?;
                return Ok(Neighbourhood { has_previous: true, has_next });
            }
            offset -= of_kind.total();
        }
        Ok(Neighbourhood::default())
    }

    /// Shows what these pages hold, and then the types that come after, until the page is full: importers stop at a short page,
    /// so what is left out is made up for. Says whether there is more.
    async fn show_from(
        &self,
        start: ListStart<'_>,
        walk: &WalkPage,
        totals: &ListTotals,
        page: &mut ListPage<'_>,
    ) -> Result<bool, StreamStop> {
        let ListStart { mut kind, mut pages, first: mut rows, mut skip } = start;
        loop {
            while let Some(mut some) = rows {
                let skipped = skip.min(some.len());
                some.drain(..skipped);
                skip -= skipped;
                let ahead = some.split_off(page.left.min(some.len()));
                if !show_rows(kind, some, page).await? {
                    return Ok(!ahead.is_empty() || !pages.is_at_end() || totals.has_after(kind));
                }
                rows = match ahead.is_empty() {
                    false => Some(ahead),
                    true => pages.at_most(skip.saturating_add(page.left + walk.looks_ahead())).await?,
                };
            }
            let Some(next) = self.query.types().map(|(kind, _)| kind).find(|next| *next > kind) else {
                return Ok(false);
            };
            (kind, pages) = (next, headers_from(&self.view.store, next, ""));
            rows = pages.at_most(page.left + walk.looks_ahead()).await?;
        }
    }

    /// A page in the order of the ids that ends before that resource.
    async fn backward(
        &self,
        before: &ListPosition,
        page: &mut ListPage<'_>,
        sink: &ResourceSink,
    ) -> Result<Neighbourhood, StreamStop> {
        let totals = self.totals().await?;
        sink.total(totals.total()).await?;
        let mut found = Vec::new();
        let (mut wanted, mut has_previous) = (page.left, false);
        for (kind, of_kind) in totals.each().rev().filter(|(kind, _)| *kind <= before.kind) {
            let id = (kind == before.kind).then_some(before.id);
            if wanted == 0 || has_previous {
                has_previous |= of_kind.total() > 0;
                break;
            }
            let last = match kind {
                ResourceType::User => last_headers::<UserId>(&self.view.store, of_kind, id, wanted).await?,
                ResourceType::Group => last_headers::<GroupId>(&self.view.store, of_kind, id, wanted).await?,
            };
            has_previous = last.has_more;
            wanted -= last.rows.len();
            found.push((kind, Vec::from(last.rows)));
        }
        let (mut last, mut held) = (None, Vec::new());
        for (kind, mut rows) in found {
            // Only groups have members, of which a page may have too many: then it is the first groups that it does without.
            if kind == ResourceType::Group {
                rows.reverse();
                page.kept = Some(Vec::new());
                show_rows(kind, rows, page).await?;
                held = page.turn_around();
                last = page.last.take();
            } else if !page.is_cut {
                page.first = None;
                show_rows(kind, rows, page).await?;
            }
        }
        for text in held {
            sink.resource(text).await?;
        }
        page.last = last.or(page.last.take());
        Ok(Neighbourhood { has_previous: has_previous || page.is_cut, has_next: true })
    }

    async fn totals(&self) -> Result<ListTotals, StoreError> {
        let (users, groups) = try_join!(self.totals_of::<UserId>(), self.totals_of::<GroupId>())?;
        Ok(ListTotals(users.into_iter().chain(groups).collect()))
    }

    /// None: the query is not about that type.
    async fn totals_of<I: ResourceId>(&self) -> Result<Option<(ResourceType, ResourceTotals)>, StoreError> {
        match self.query.of(I::KIND) {
            None => Ok(None),
            Some(_) => Ok(Some((I::KIND, self.view.store.totals::<I>().await?))),
        }
    }
}

impl WalkPage {
    /// A page that is read by cursor says whether there is a next one.
    const fn looks_ahead(&self) -> usize {
        if self.sealer.is_some() { 1 } else { 0 }
    }
}

/// Where a page in the order of the ids begins.
struct ListStart<'a> {
    kind: ResourceType,
    pages: RowPages<'a>,
    /// The first of these pages.
    first: Option<Vec<TableRow>>,
    /// Rows of them before the page.
    skip: usize,
}

/// How many resources there are of each type that is listed.
struct ListTotals(Vec<(ResourceType, ResourceTotals)>);

impl ListTotals {
    fn total(&self) -> usize {
        self.0.iter().map(|(_, totals)| totals.total()).sum()
    }

    fn each(&self) -> impl DoubleEndedIterator<Item = (ResourceType, &ResourceTotals)> {
        self.0.iter().map(|(kind, totals)| (*kind, totals))
    }

    /// Whether there are resources of a type that comes later.
    fn has_after(&self, kind: ResourceType) -> bool {
        self.each().any(|(other, totals)| other > kind && totals.total() > 0)
    }
}

/// Shows headers of one type; false where the page has ended.
async fn show_rows(
    kind: ResourceType,
    rows: Vec<TableRow>,
    page: &mut ListPage<'_>,
) -> Result<bool, StreamStop> {
    let ids = rows.iter().filter_map(id_of::<UserId>);
    let positions = ids.map(|id| ListPosition { kind, id: id.uuid(), key: None }).collect();
    page.add(kind, rows);
    page.show(positions).await
}

fn headers_from<'a>(store: &'a StateStore, kind: ResourceType, bucket: &str) -> RowPages<'a> {
    match kind {
        ResourceType::User => store.headers_from::<UserId>(bucket),
        ResourceType::Group => store.headers_from::<GroupId>(bucket),
    }
}

fn headers_after<'a>(store: &'a StateStore, position: &ListPosition) -> RowPages<'a> {
    match position.kind {
        ResourceType::User => store.headers_after(UserId::of(position.id)),
        ResourceType::Group => store.headers_after(GroupId::of(position.id)),
    }
}

/// The last headers before a place.
struct LastHeaders {
    rows: VecDeque<TableRow>,
    /// There are more before them.
    has_more: bool,
}

/// The last `wanted` headers of a type before that id, or of all. A table is read forwards only: the counters say where to begin.
async fn last_headers<I: ResourceId>(
    store: &StateStore,
    totals: &ResourceTotals,
    before: Option<Uuid>,
    wanted: usize,
) -> Result<LastHeaders, StoreError> {
    let before = before.map(I::of);
    let mut reach = wanted.saturating_add(1);
    loop {
        let bucket = totals.back_from(before, reach);
        let mut pages = match before {
            Some(id) => store.headers_before(bucket.unwrap_or_default(), id),
            None => store.headers_from::<I>(bucket.unwrap_or_default()),
        };
        let mut last = LastHeaders { rows: VecDeque::new(), has_more: false };
        let mut bytes: usize = 0;
        while let Some(rows) = pages.next().await? {
            for row in rows {
                bytes += row.bytes();
                last.rows.push_back(row);
                while last.rows.len() > wanted || (bytes > BACKWARD_BYTES_MAX && last.rows.len() > 1) {
                    bytes -= last.rows.pop_front().map_or(0, |row| row.bytes());
                    last.has_more = true;
                }
            }
        }
        if last.has_more || bucket.is_none() {
            return Ok(last);
        }
        reach = reach.saturating_mul(2);
    }
}
