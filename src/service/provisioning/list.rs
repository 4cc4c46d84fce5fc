//! Lists (RFC 7644 section 3.4.2): pages by counter, lookups by index, and bounded scans for everything else.
//!
//! No list holds what it goes through: headers come in pages of bounded size, are shown one at a time, and of a search only
//! ids, sort keys and a little more are kept. What the page shows is read while it is sent.

use crate::id::UserId;
use crate::scim::{IndexLookup, ListQuery};
use crate::service::ServiceError;
use crate::service::join_reads::join_reads;
use crate::service::provisioning::Provisioning;
use crate::service::provisioning::group_view::GroupView;
use crate::service::provisioning::list_limits::ListLimits;
use crate::service::provisioning::listed_kind::{ListedKind, RelationsWanted, ShownResource};
use crate::service::provisioning::matches::{MatchedRow, MatchedRows};
use crate::service::provisioning::projection_needs::ProjectionNeeds;
use crate::service::provisioning::read_gate::ReadGate;
use crate::service::provisioning::render::{RenderOptions, ResourceRenderer, UnreadablePolicy};
use crate::service::provisioning::resource_kind::ResourceKind;
use crate::service::provisioning::stream::{ResourceListing, ResourceSink, StreamStop};
use crate::store::TableRow;
use crate::store::resources::{ResourceId, id_of};
use crate::store::{RowPages, StoreError};
use futures_util::try_join;
use std::collections::BTreeSet;
use uuid::Uuid;

/// Candidates that are read without a turn: a lookup of one name never waits behind large lists. So few matches are shown before
/// their number is said.
const NARROW_MAX: usize = 8;

/// Headers that are read together by their ids, at first and at least.
const HEADERS_AT_ONCE_FIRST: usize = 8;

/// Headers that are read together by their ids, at most.
const HEADERS_AT_ONCE_MAX: usize = 32;

/// Bytes of headers that are read together by their ids, about.
const HEADERS_BYTES: usize = 1024 * 1024;

impl Provisioning {
    /// One page of what matches the query.
    pub(super) async fn list<I: ListedKind>(
        &self,
        query: &ListQuery,
    ) -> Result<ResourceListing, ServiceError> {
        let lister = Lister {
            view: self.view.clone(),
            query: query.clone(),
            limits: self.list_limits,
            gate: self.gate.clone(),
        };
        ResourceListing::of(move |sink| async move { lister.run::<I>(&sink).await }).await
    }
}

/// Reads one page.
struct Lister {
    view: GroupView,
    query: ListQuery,
    limits: ListLimits,
    gate: ReadGate,
}

/// What one page has shown so far, and what it shows resources with.
struct PageProgress<'a, I: ListedKind> {
    renderer: ResourceRenderer<'a, I>,
    left: usize,
    shown: usize,
    members: usize,
    /// The page has more members than a page may have, and ended before its time.
    is_cut: bool,
    /// What is shown is kept here until the total is said.
    kept: Option<Vec<String>>,
}

impl Lister {
    async fn run<I: ListedKind>(&self, sink: &ResourceSink) -> Result<(), StreamStop> {
        match (&self.query.filter, &self.query.sort) {
            (None, None) => self.by_counter::<I>(sink).await,
            _ => self.search::<I>(sink).await,
        }
    }

    /// A page in the order of the ids: totals and the place of the first come from the counters.
    async fn by_counter<I: ListedKind>(&self, sink: &ResourceSink) -> Result<(), StreamStop> {
        let store = &self.view.store;
        let offset = self.query.start_index.saturating_sub(1);
        let count = self.query.count;
        if count == 0 {
            return sink.total(store.totals::<I>().await?.total()).await;
        }
        let _turn = self.gate.enter().await?;
        let mut pages = store.headers_from::<I>("");
        if offset == 0 {
            let (totals, first) = try_join!(store.totals::<I>(), pages.at_most(count))?;
            sink.total(totals.total()).await?;
            return self.send_pages::<I>(pages, first, 0, sink).await;
        }
        let totals = store.totals::<I>().await?;
        sink.total(totals.total()).await?;
        let Some(place) = totals.place(offset) else { return Ok(()) };
        pages = store.headers_from::<I>(&place.bucket);
        let first = pages.at_most(place.skip.saturating_add(count)).await?;
        self.send_pages::<I>(pages, first, place.skip, sink).await
    }

    /// Sends what these pages hold after the first `skip`, until the answer is full: importers stop at a short page, so what is
    /// left out is made up for.
    async fn send_pages<I: ListedKind>(
        &self,
        mut pages: RowPages<'_>,
        first: Option<Vec<TableRow>>,
        mut skip: usize,
        sink: &ResourceSink,
    ) -> Result<(), StreamStop> {
        let mut rows = first;
        let mut page = self.empty_page(true);
        while let Some(mut some) = rows {
            let skipped = skip.min(some.len());
            some.drain(..skipped);
            skip -= skipped;
            if !self.send::<I>(some, &mut page, sink).await? {
                return Ok(());
            }
            rows = pages.at_most(skip.saturating_add(page.left)).await?;
        }
        Ok(())
    }

    /// `neighbours`: the page shows every resource between its first and its last one, in the order of their ids.
    fn empty_page<I: ListedKind>(&self, neighbours: bool) -> PageProgress<'_, I> {
        let needs = ProjectionNeeds::of::<I>(|attribute| self.query.projection.wants(attribute));
        let wanted = RelationsWanted { needs, among: None, neighbours };
        let options = RenderOptions { view: &self.view, wanted, unreadable: UnreadablePolicy::LeaveOut };
        let renderer = ResourceRenderer::new(options);
        let (left, kept) = (self.query.count, None);
        PageProgress { renderer, left, shown: 0, members: 0, is_cut: false, kept }
    }

    /// Sends these resources; false where the page has ended.
    async fn send<I: ListedKind>(
        &self,
        rows: Vec<TableRow>,
        page: &mut PageProgress<'_, I>,
        sink: &ResourceSink,
    ) -> Result<bool, StreamStop> {
        page.renderer.add(rows);
        while let Some(shown) = page.renderer.next_text(&self.query.projection).await? {
            page.members += shown.members;
            if page.members > self.limits.page_members_max && page.shown > 0 {
                page.is_cut = true;
                return Ok(false);
            }
            match &mut page.kept {
                Some(kept) => kept.push(shown.text),
                None => sink.resource(shown.text).await?,
            }
            page.shown += 1;
            page.left = page.left.saturating_sub(1);
            if page.left == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Every candidate is compared with the filter; then the page is cut out, and only it gets what the projection wants.
    async fn search<I: ListedKind>(&self, sink: &ResourceSink) -> Result<(), StreamStop> {
        let metered =
            GroupView { store: self.view.store.metered(self.limits.filter_scan), ..self.view.clone() };
        let among = self.deciding_members::<I>();
        let mut matches = MatchedRows::<I>::of(&self.query);
        let mut turn = None;
        match self.query.filter.as_ref().and_then(|filter| filter.lookup()) {
            Some(lookups) => {
                let mut candidates = self.candidates(&metered, among.as_deref(), UnreadablePolicy::Fail);
                let mut ids = find_ids::<I>(&metered, &lookups).await?;
                if ids.len() > NARROW_MAX {
                    turn = Some(self.gate.enter().await?);
                }
                let mut size = HEADERS_AT_ONCE_FIRST;
                while !ids.is_empty() {
                    let rows = next_headers(&metered, &mut ids, &mut size).await?;
                    candidates.add(rows);
                    self.add_matches(&mut candidates, &mut matches).await?;
                    sink.check()?;
                }
            }
            None => {
                turn = Some(self.gate.enter().await?);
                let mut candidates = self.candidates(&metered, among.as_deref(), UnreadablePolicy::LeaveOut);
                let mut pages = metered.store.headers_from::<I>("");
                while let Some(rows) = pages.next().await? {
                    candidates.add(rows);
                    self.add_matches(&mut candidates, &mut matches).await?;
                    sink.check()?;
                }
            }
        }
        let total = matches.total();
        let mut page = self.empty_page(false);
        if total <= NARROW_MAX && self.query.count > 0 {
            self.send_few_matches(total, matches.page(), page, sink).await?;
        } else {
            sink.total(total).await?;
            self.send_matches(matches.page(), &mut page, sink).await?;
        }
        drop(turn);
        Ok(())
    }

    /// The total is of those that are still there when they are shown: who looks up one name gets one user or none.
    async fn send_few_matches<I: ListedKind>(
        &self,
        total: usize,
        matches: Vec<MatchedRow<I>>,
        mut page: PageProgress<'_, I>,
        sink: &ResourceSink,
    ) -> Result<(), StreamStop> {
        let wanted = matches.len();
        page.kept = Some(Vec::new());
        self.send_matches(matches, &mut page, sink).await?;
        let gone = if page.is_cut { 0 } else { wanted.saturating_sub(page.shown) };
        sink.total(total.saturating_sub(gone)).await?;
        for text in page.kept.into_iter().flatten() {
            sink.resource(text).await?;
        }
        Ok(())
    }

    /// What the filter and the order read of the candidates. A scan leaves out what it cannot read, and meets neighbours; an
    /// index names some.
    fn candidates<'a, I: ListedKind>(
        &self,
        view: &'a GroupView,
        among: Option<&'a [Uuid]>,
        unreadable: UnreadablePolicy,
    ) -> ResourceRenderer<'a, I> {
        let ListQuery { filter, sort, .. } = &self.query;
        let asked = |attribute: &str| {
            filter.as_ref().is_some_and(|filter| filter.reads(attribute))
                || sort.as_ref().is_some_and(|sort| sort.reads(attribute))
        };
        let neighbours = unreadable == UnreadablePolicy::LeaveOut;
        let wanted = RelationsWanted { needs: ProjectionNeeds::of::<I>(asked), among, neighbours };
        ResourceRenderer::new(RenderOptions { view, wanted, unreadable })
    }

    /// Adds those of these candidates that match.
    async fn add_matches<I: ListedKind>(
        &self,
        candidates: &mut ResourceRenderer<'_, I>,
        matches: &mut MatchedRows<'_, I>,
    ) -> Result<(), ServiceError> {
        let ListQuery { filter, sort, .. } = &self.query;
        while let Some((row, shown)) = candidates.next().await? {
            let body = shown.body(&self.view);
            if filter.as_ref().is_none_or(|filter| filter.matches(&body))
                && let Some(id) = id_of(&row)
            {
                matches.add(id, row, sort.as_ref().map(|sort| sort.key(&body)));
            }
        }
        Ok(())
    }

    /// The only members that the filter reads.
    fn deciding_members<I: ResourceKind>(&self) -> Option<Vec<Uuid>> {
        let sorts = self.query.sort.as_ref().is_some_and(|sort| sort.reads(I::VIEW));
        let values = self.query.filter.as_ref().filter(|_| !sorts)?.deciding_members()?;
        Some(values.iter().filter_map(|value| Some(UserId::parse(value).ok()?.uuid())).collect())
    }

    /// Sends the page of a search. A match whose header was not kept is shown as it is now.
    async fn send_matches<I: ListedKind>(
        &self,
        matches: Vec<MatchedRow<I>>,
        page: &mut PageProgress<'_, I>,
        sink: &ResourceSink,
    ) -> Result<(), StreamStop> {
        let mut size = HEADERS_AT_ONCE_FIRST;
        let mut rest = matches.into_iter().peekable();
        while rest.peek().is_some() {
            let kept = std::iter::from_fn(|| rest.next_if(|next| next.header.is_some())?.header);
            let mut rows: Vec<TableRow> = kept.collect();
            if rows.is_empty() {
                let again = std::iter::from_fn(|| rest.next_if(|next| next.header.is_none()));
                let again: Vec<I> = again.take(size).map(|next| next.id).collect();
                rows = read_headers(&self.view, again, &mut size).await?;
            }
            if !self.send::<I>(rows, page, sink).await? {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The ids that an index lists, or several together.
async fn find_ids<I: ResourceId>(
    view: &GroupView,
    lookups: &[IndexLookup],
) -> Result<BTreeSet<I>, StoreError> {
    let found = join_reads(lookups.iter().map(|lookup| view.store.find::<I>(lookup))).await?;
    Ok(found.into_iter().flatten().collect())
}

/// The next headers of these ids.
async fn next_headers<I: ResourceId>(
    view: &GroupView,
    ids: &mut BTreeSet<I>,
    size: &mut usize,
) -> Result<Vec<TableRow>, StoreError> {
    let next: Vec<I> = std::iter::from_fn(|| ids.pop_first()).take(*size).collect();
    read_headers(view, next, size).await
}

/// The headers of these ids, as far as they exist. `size` becomes how many are to be read next: fewer where they are large.
async fn read_headers<I: ResourceId>(
    view: &GroupView,
    ids: Vec<I>,
    size: &mut usize,
) -> Result<Vec<TableRow>, StoreError> {
    let found = join_reads(ids.into_iter().map(|id| view.store.header(id))).await?;
    let rows: Vec<TableRow> = found.into_iter().flatten().collect();
    let bytes: usize = rows.iter().map(TableRow::bytes).sum();
    let each = (bytes / rows.len().max(1)).max(1);
    *size = (HEADERS_BYTES / each).clamp(HEADERS_AT_ONCE_FIRST, HEADERS_AT_ONCE_MAX);
    Ok(rows)
}
