//! Lists (RFC 7644 section 3.4.2): pages by counter, lookups by index, and bounded scans for everything else.

use super::{Provisioning, together};
use crate::id::{GroupId, UserId};
use crate::scim::{self, Filter, ListQuery, Lookup, ScimType};
use crate::service::{Listing, ServiceError};
use crate::store::StoreError;
use crate::store::jobs::JobKind;
use crate::store::resources::{Group, ResourceId, Stored, User};
use futures_util::try_join;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Rows that a filter may go through which no index answers.
const FILTER_SCAN_ROWS_MAX: usize = 20_000;
/// Members that one page carries; it ends early, but never empty.
const PAGE_MEMBERS_MAX: usize = 10_000;
/// Groups whose members are read together.
const GROUPS_AT_ONCE: usize = 8;

/// What is needed beside the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// The memberships: a user's groups, a group's members.
    pub view: bool,
    /// What the person holds in Azure.
    pub access: bool,
}

impl Needs {
    /// Those that `asks` names.
    pub fn of<I: Kind>(asks: impl Fn(&str) -> bool) -> Self {
        Self { view: asks(I::VIEW), access: I::ACCESS.iter().any(|attribute| asks(attribute)) }
    }

    const fn any(self) -> bool {
        self.view || self.access
    }
}

/// What a list does when it meets very many members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// A page ends.
    PageEnds,
    /// A scan is refused.
    ScanRefused,
    /// An index gave the candidates; each is read to its end.
    None,
}

/// What users and groups do differently.
pub trait Kind: ResourceId {
    /// The attribute that shows memberships.
    const VIEW: &'static str;
    /// The attributes that show what a person holds.
    const ACCESS: &'static [&'static str];

    /// The job that empties the memberships after a delete.
    fn emptying(self) -> JobKind;
    /// The person whose access a delete takes at once.
    fn person(self) -> Option<UserId>;
}

impl Kind for UserId {
    const VIEW: &'static str = "groups";
    const ACCESS: &'static [&'static str] = &["grants", "grantState"];

    fn emptying(self) -> JobKind {
        JobKind::DeleteUser(self)
    }
    fn person(self) -> Option<UserId> {
        Some(self)
    }
}

impl Kind for GroupId {
    const VIEW: &'static str = "members";
    const ACCESS: &'static [&'static str] = &[];

    fn emptying(self) -> JobKind {
        JobKind::DeleteGroup(self)
    }
    fn person(self) -> Option<UserId> {
        None
    }
}

/// Renders many resources of one kind, in their order.
pub trait Render: Kind {
    async fn render(
        provisioning: &Provisioning,
        stored: Vec<Stored<Self>>,
        needs: Needs,
        limit: Limit,
    ) -> Result<Vec<Value>, ServiceError>;
}

impl Provisioning {
    /// One page of what matches the query.
    pub(super) async fn list<I: Render>(&self, query: &ListQuery) -> Result<Listing, ServiceError> {
        match (&query.filter, &query.sort) {
            (None, None) => self.page::<I>(query).await,
            _ => self.search::<I>(query).await,
        }
    }

    /// A page in the order of the ids: totals and the place of the first come from the counters.
    async fn page<I: Render>(&self, query: &ListQuery) -> Result<Listing, ServiceError> {
        let offset = query.start_index.saturating_sub(1);
        let (total, stored) = if offset == 0 {
            let first = self.store.page_from::<I>("", 0, query.count);
            let (totals, stored) = try_join!(self.store.totals::<I>(), first)?;
            (totals.total(), stored)
        } else {
            let totals = self.store.totals::<I>().await?;
            let stored = match totals.place(offset) {
                Some(place) => self.store.page_from::<I>(&place.bucket, place.skip, query.count).await?,
                None => Vec::new(),
            };
            (totals.total(), stored)
        };
        let needs = Needs::of::<I>(|attribute| query.projection.wants(attribute));
        Ok(Listing { total, resources: I::render(self, stored, needs, Limit::PageEnds).await? })
    }

    /// All candidates are judged; then the page is cut out, and only it gets what the projection wants.
    async fn search<I: Render>(&self, query: &ListQuery) -> Result<Listing, ServiceError> {
        let asked = |attribute: &str| {
            query.filter.as_ref().is_some_and(|filter| filter.reads(attribute))
                || query.sort.as_ref().is_some_and(|sort| sort.reads(attribute))
        };
        let (candidates, limit) = self.candidates::<I>(query.filter.as_ref()).await?;
        let mut by_id: BTreeMap<String, Stored<I>> =
            candidates.iter().map(|stored| (stored.id.to_string(), stored.clone())).collect();
        let mut matches = I::render(self, candidates, Needs::of::<I>(asked), limit).await?;
        matches.retain(|body| query.filter.as_ref().is_none_or(|filter| filter.matches(body)));
        if let Some(sort) = &query.sort {
            sort.sort(&mut matches);
        }
        let total = matches.len();
        let page = matches.into_iter().skip(query.start_index.saturating_sub(1)).take(query.count);
        let needs = Needs::of::<I>(|attribute| query.projection.wants(attribute));
        let resources = if needs.any() {
            let stored = page.filter_map(|body| by_id.remove(body.get("id")?.as_str()?)).collect();
            I::render(self, stored, needs, Limit::PageEnds).await?
        } else {
            page.collect()
        };
        Ok(Listing { total, resources })
    }

    /// Everything that may match, in the order of the ids.
    async fn candidates<I: ResourceId>(
        &self,
        filter: Option<&Filter>,
    ) -> Result<(Vec<Stored<I>>, Limit), StoreError> {
        match filter.and_then(Filter::lookup) {
            Some(lookups) => {
                let stored = self.looked_up(&lookups).await?;
                Ok((stored, Limit::None))
            }
            None => Ok((self.store.all(FILTER_SCAN_ROWS_MAX).await?, Limit::ScanRefused)),
        }
    }

    async fn looked_up<I: ResourceId>(&self, lookups: &[Lookup]) -> Result<Vec<Stored<I>>, StoreError> {
        let found =
            together(lookups.iter().map(|lookup| self.store.find::<I>(lookup, FILTER_SCAN_ROWS_MAX))).await?;
        let ids: BTreeSet<I> = found.into_iter().flatten().collect();
        Ok(self.headers(ids.into_iter()).await?.into_values().collect())
    }
}

impl Render for UserId {
    async fn render(
        provisioning: &Provisioning,
        users: Vec<User>,
        needs: Needs,
        _limit: Limit,
    ) -> Result<Vec<Value>, ServiceError> {
        let order: Vec<UserId> = users.iter().map(|user| user.id).collect();
        let accesses = together(order.iter().map(|id| provisioning.access(*id, &needs))).await?;
        if !needs.view {
            let bodies = users.iter().zip(&accesses);
            return Ok(bodies
                .map(|(user, access)| provisioning.user_rendered(user, None, access.as_ref()).body)
                .collect());
        }
        let found = provisioning.with_groups(users).await?;
        let bodies = order.iter().zip(&accesses).filter_map(|(id, access)| {
            let (user, groups) = found.get(id)?;
            Some(provisioning.user_rendered(user, Some(groups), access.as_ref()).body)
        });
        Ok(bodies.collect())
    }
}

impl Render for GroupId {
    async fn render(
        provisioning: &Provisioning,
        groups: Vec<Group>,
        needs: Needs,
        limit: Limit,
    ) -> Result<Vec<Value>, ServiceError> {
        if !needs.view {
            return Ok(groups.iter().map(|group| provisioning.group_rendered(group, None).body).collect());
        }
        let mut bodies = Vec::new();
        let mut carried = 0;
        for some in groups.chunks(GROUPS_AT_ONCE) {
            let found = together(some.iter().map(|group| provisioning.with_members(group.clone()))).await?;
            for (group, members) in found.into_iter().flatten() {
                carried += members.len();
                match limit {
                    Limit::PageEnds if carried > PAGE_MEMBERS_MAX && !bodies.is_empty() => return Ok(bodies),
                    Limit::ScanRefused if carried > FILTER_SCAN_ROWS_MAX => return Err(scan_refused()),
                    _ => bodies.push(provisioning.group_rendered(&group, Some(&members)).body),
                }
            }
        }
        Ok(bodies)
    }
}

fn scan_refused() -> ServiceError {
    let detail =
        format!("answering this would read more than {FILTER_SCAN_ROWS_MAX} rows; narrow the filter");
    scim::Error::new(400, Some(ScimType::TooMany), detail).into()
}
