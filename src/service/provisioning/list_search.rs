//! Searches (RFC 7644 sections 3.4.2.2 and 3.4.2.3): lookups by index, and bounded scans for everything else.
//!
//! The first page of a walk says whether the search is within its limits, and how many match. A later page reads on from where
//! the one before ended, or everything once more where there is an order. It is not limited, so a walk that has begun is never
//! refused.

use crate::id::{GroupId, UserId};
use crate::scim::{IndexLookup, ListQuery, ResourceType, TypeQuery};
use crate::service::ServiceError;
use crate::service::join_reads::join_reads;
use crate::service::provisioning::group_view::GroupView;
use crate::service::provisioning::list_limits::ListLimits;
use crate::service::provisioning::list_page::ListPage;
use crate::service::provisioning::list_position::ListPosition;
use crate::service::provisioning::listed_kind::{ListedKind, RelationsWanted, ShownResource};
use crate::service::provisioning::matches::{MatchedPage, MatchedRow, MatchedRows, PageRange};
use crate::service::provisioning::projection_needs::ProjectionNeeds;
use crate::service::provisioning::read_gate::ReadGate;
use crate::service::provisioning::render::{RenderOptions, ResourceRenderer, UnreadablePolicy};
use crate::service::provisioning::resource_kind::ResourceKind;
use crate::service::provisioning::stream::{ResourceSink, StreamStop};
use crate::store::resources::{ResourceId, id_of};
use crate::store::{StoreError, TableRow};
use std::collections::BTreeSet;
use tokio::sync::OwnedSemaphorePermit;
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

/// Finds one page.
pub(super) struct ListSearch<'a> {
    pub view: &'a GroupView,
    pub query: &'a ListQuery,
    pub limits: ListLimits,
    pub gate: &'a ReadGate,
    pub range: &'a PageRange,
    /// How many matched when the first page was read; `None`: this is the first.
    pub total: Option<usize>,
}

/// What a search says of its page.
pub(super) struct SearchedPage {
    pub total: usize,
    pub has_previous: bool,
    pub has_next: bool,
}

impl ListSearch<'_> {
    /// Every candidate is compared with the filter; then the page is cut out, and only it gets what the projection wants.
    pub async fn run(
        &self,
        page: &mut ListPage<'_>,
        sink: &ResourceSink,
    ) -> Result<SearchedPage, StreamStop> {
        let view = match self.total {
            None => {
                GroupView { store: self.view.store.metered(self.limits.filter_scan), ..self.view.clone() }
            }
            Some(_) => self.view.clone(),
        };
        let mut matches = MatchedRows::of(self.query.sort(), self.range, self.query.count);
        let mut turn = None;
        for (kind, query) in self.query.types() {
            let Some(bounds) = self.bounds(kind) else { continue };
            let find = FindMatches { search: self, view: &view, query, bounds };
            match kind {
                ResourceType::User => find.run::<UserId>(&mut matches, &mut turn, sink).await?,
                ResourceType::Group => find.run::<GroupId>(&mut matches, &mut turn, sink).await?,
            }
        }
        // Under an order everything was read once more, so the number is known afresh.
        let total = self.total.filter(|_| self.query.sort().is_none()).unwrap_or(matches.total());
        let is_first = self.total.is_none();
        let MatchedPage { rows, has_previous, has_next } = matches.page();
        if is_first && total <= NARROW_MAX && self.query.count > 0 {
            self.send_few_matches(total, rows, page, sink).await?;
        } else if let PageRange::Before(_) = self.range {
            sink.total(total).await?;
            self.send_backward(rows, page, sink).await?;
        } else {
            sink.total(total).await?;
            self.send_matches(rows, page).await?;
        }
        drop(turn);
        let has_previous = has_previous || (page.is_cut && matches!(self.range, PageRange::Before(_)));
        Ok(SearchedPage { total, has_previous, has_next })
    }

    /// Between which ids of that type the page can lie; `None`: nowhere.
    fn bounds(&self, kind: ResourceType) -> Option<IdBounds> {
        let everything = IdBounds::default();
        match self.range {
            _ if self.query.sort().is_some() => Some(everything),
            PageRange::Offset(_) => Some(everything),
            PageRange::After(position) if position.kind == kind => {
                Some(IdBounds { after: Some(position.id), before: None })
            }
            PageRange::Before(position) if position.kind == kind => {
                Some(IdBounds { after: None, before: Some(position.id) })
            }
            PageRange::After(position) => (kind > position.kind).then_some(everything),
            PageRange::Before(position) => (kind < position.kind).then_some(everything),
        }
    }

    /// The total is of those that are still there when they are shown: who looks up one name gets one user or none.
    async fn send_few_matches(
        &self,
        total: usize,
        matches: Vec<MatchedRow>,
        page: &mut ListPage<'_>,
        sink: &ResourceSink,
    ) -> Result<(), StreamStop> {
        let wanted = matches.len();
        page.kept = Some(Vec::new());
        self.send_matches(matches, page).await?;
        let gone = if page.is_cut { 0 } else { wanted.saturating_sub(page.shown) };
        sink.total(total.saturating_sub(gone)).await?;
        for text in page.kept.take().into_iter().flatten() {
            sink.resource(text).await?;
        }
        Ok(())
    }

    /// From the end of the page on: where it would have too many members, it is the first groups that it does without.
    async fn send_backward(
        &self,
        mut matches: Vec<MatchedRow>,
        page: &mut ListPage<'_>,
        sink: &ResourceSink,
    ) -> Result<(), StreamStop> {
        matches.reverse();
        page.kept = Some(Vec::new());
        self.send_matches(matches, page).await?;
        for text in page.turn_around() {
            sink.resource(text).await?;
        }
        Ok(())
    }

    /// Sends the page of a search. A match whose header was not kept is shown as it is now.
    async fn send_matches(
        &self,
        matches: Vec<MatchedRow>,
        page: &mut ListPage<'_>,
    ) -> Result<(), StreamStop> {
        let mut size = HEADERS_AT_ONCE_FIRST;
        let mut rest = matches.into_iter().peekable();
        while let Some(next) = rest.peek() {
            let is_kept = next.header.is_some();
            let alike = std::iter::from_fn(|| rest.next_if(|next| next.header.is_some() == is_kept));
            let chunk: Vec<MatchedRow> = alike.take(if is_kept { usize::MAX } else { size }).collect();
            let positions = chunk.iter().map(|row| row.position.clone()).collect();
            let rows = match is_kept {
                true => chunk.into_iter().filter_map(|row| Some((row.position.kind, row.header?))).collect(),
                false => self.read_again(&chunk, &mut size).await?,
            };
            rows.into_iter().for_each(|(kind, row)| page.add(kind, [row]));
            if !page.show(positions).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn read_again(
        &self,
        chunk: &[MatchedRow],
        size: &mut usize,
    ) -> Result<Vec<(ResourceType, TableRow)>, StoreError> {
        let reads = chunk.iter().map(|row| async move {
            let ListPosition { kind, id, .. } = row.position;
            let header = match kind {
                ResourceType::User => self.view.store.header(UserId::of(id)).await?,
                ResourceType::Group => self.view.store.header(GroupId::of(id)).await?,
            };
            Ok::<_, StoreError>(header.map(|header| (kind, header)))
        });
        let rows: Vec<_> = join_reads(reads).await?.into_iter().flatten().collect();
        *size = at_once(rows.iter().map(|(_, row)| row));
        Ok(rows)
    }
}

/// Ids between which is searched.
#[derive(Debug, Clone, Copy, Default)]
struct IdBounds {
    after: Option<Uuid>,
    before: Option<Uuid>,
}

impl IdBounds {
    fn holds(&self, id: Uuid) -> bool {
        self.after.is_none_or(|after| id > after) && self.before.is_none_or(|before| id < before)
    }
}

/// Finds the matches of one type.
struct FindMatches<'a> {
    search: &'a ListSearch<'a>,
    view: &'a GroupView,
    query: &'a TypeQuery,
    bounds: IdBounds,
}

impl FindMatches<'_> {
    async fn run<I: ListedKind>(
        &self,
        matches: &mut MatchedRows<'_>,
        turn: &mut Option<OwnedSemaphorePermit>,
        sink: &ResourceSink,
    ) -> Result<(), StreamStop> {
        let among = self.deciding_members::<I>();
        match self.query.filter.as_ref().and_then(|filter| filter.lookup()) {
            Some(lookups) => {
                let mut candidates = self.candidates::<I>(among.as_deref(), UnreadablePolicy::Fail);
                let mut ids = find_ids::<I>(self.view, &lookups).await?;
                ids.retain(|id| self.bounds.holds(id.uuid()));
                if ids.len() > NARROW_MAX {
                    self.enter(turn).await?;
                }
                let mut size = HEADERS_AT_ONCE_FIRST;
                while !ids.is_empty() && !matches.is_complete() {
                    candidates.add(next_headers(self.view, &mut ids, &mut size).await?);
                    self.add_matches(&mut candidates, matches).await?;
                    sink.check()?;
                }
            }
            None => {
                self.enter(turn).await?;
                let mut candidates = self.candidates::<I>(among.as_deref(), UnreadablePolicy::LeaveOut);
                let mut pages = match (self.bounds.after, self.bounds.before) {
                    (Some(after), _) => self.view.store.headers_after(I::of(after)),
                    (None, Some(before)) => self.view.store.headers_before("", I::of(before)),
                    (None, None) => self.view.store.headers_from::<I>(""),
                };
                while !matches.is_complete()
                    && let Some(rows) = pages.next().await?
                {
                    candidates.add(rows);
                    self.add_matches(&mut candidates, matches).await?;
                    sink.check()?;
                }
            }
        }
        Ok(())
    }

    async fn enter(&self, turn: &mut Option<OwnedSemaphorePermit>) -> Result<(), ServiceError> {
        if turn.is_none() {
            *turn = Some(self.search.gate.enter().await?);
        }
        Ok(())
    }

    /// What the filter and the order read of the candidates. A scan leaves out what it cannot read, and meets neighbours; an
    /// index names some.
    fn candidates<'a, I: ListedKind>(
        &'a self,
        among: Option<&'a [Uuid]>,
        unreadable: UnreadablePolicy,
    ) -> ResourceRenderer<'a, I> {
        let TypeQuery { filter, sort, .. } = self.query;
        let asked = |attribute: &str| {
            filter.as_ref().is_some_and(|filter| filter.reads(attribute))
                || sort.as_ref().is_some_and(|sort| sort.reads(attribute))
        };
        let neighbours = unreadable == UnreadablePolicy::LeaveOut;
        let wanted = RelationsWanted { needs: ProjectionNeeds::of::<I>(asked), among, neighbours };
        ResourceRenderer::new(RenderOptions { view: self.view, wanted, unreadable })
    }

    /// Adds those of these candidates that match.
    async fn add_matches<I: ListedKind>(
        &self,
        candidates: &mut ResourceRenderer<'_, I>,
        matches: &mut MatchedRows<'_>,
    ) -> Result<(), ServiceError> {
        let TypeQuery { filter, sort, .. } = self.query;
        while !matches.is_complete()
            && let Some((row, shown)) = candidates.next().await?
        {
            let body = shown.body(self.view);
            if filter.as_ref().is_none_or(|filter| filter.matches(&body))
                && let Some(id) = id_of::<I>(&row)
            {
                let key = sort.as_ref().map(|sort| sort.key(&body));
                matches.add(ListPosition { kind: I::KIND, id: id.uuid(), key }, row);
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
}

/// The ids that an index lists, or several together.
async fn find_ids<I: ResourceId>(
    view: &GroupView,
    lookups: &[IndexLookup],
) -> Result<BTreeSet<I>, StoreError> {
    let found = join_reads(lookups.iter().map(|lookup| view.store.find::<I>(lookup))).await?;
    Ok(found.into_iter().flatten().collect())
}

/// The next headers of these ids, as far as they exist. `size` becomes how many are to be read next.
async fn next_headers<I: ResourceId>(
    view: &GroupView,
    ids: &mut BTreeSet<I>,
    size: &mut usize,
) -> Result<Vec<TableRow>, StoreError> {
    let next: Vec<I> = std::iter::from_fn(|| ids.pop_first()).take(*size).collect();
    let found = join_reads(next.into_iter().map(|id| view.store.header(id))).await?;
    let rows: Vec<TableRow> = found.into_iter().flatten().collect();
    *size = at_once(rows.iter());
    Ok(rows)
}

/// How many headers like these are read together: fewer where they are large.
fn at_once<'a>(rows: impl ExactSizeIterator<Item = &'a TableRow>) -> usize {
    let number = rows.len().max(1);
    let bytes: usize = rows.map(TableRow::bytes).sum();
    (HEADERS_BYTES / (bytes / number).max(1)).clamp(HEADERS_AT_ONCE_FIRST, HEADERS_AT_ONCE_MAX)
}
