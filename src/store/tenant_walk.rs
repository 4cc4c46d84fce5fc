//! Everything that decides access in a tenant, read by ranges: people with their memberships and ledgers in the order of their
//! ids, groups, pins, and who holds which principal. The reads grow with the rows, page by page, never with a read per person.

use crate::id::{GroupId, PrincipalId, UserId};
use crate::ports::tables::TableRow;
use crate::scim::Resource;
use crate::store::ledger::{PrincipalHolder, UserLedger};
use crate::store::members::DIRECT_GROUPS_MAX;
use crate::store::resources::{self, ResourceId};
use crate::store::users::{self, HeaderState, PersonHeader};
use crate::store::{RowPages, StateStore, StoreError, keys, members};
use futures_util::try_join;
use std::collections::VecDeque;
use std::iter;

/// Everything that the rows say of one person.
#[derive(Debug, Clone)]
pub struct PersonRecord {
    pub user: UserId,
    pub header: HeaderState<PersonHeader>,
    /// The groups of the membership rows, whether the groups exist or not; those beyond the limit are left out, and those that
    /// the person is in through other groups.
    pub groups: Vec<GroupId>,
    pub ledger: UserLedger,
}

/// The rows of one range, a page at a time.
struct RowQueue<'a> {
    pages: Option<RowPages<'a>>,
    rows: VecDeque<TableRow>,
    keeps: fn(&TableRow) -> bool,
}

impl<'a> RowQueue<'a> {
    fn of(store: &'a StateStore, prefix: &str) -> Self {
        let (from, to) = keys::range_of(prefix);
        Self { pages: Some(store.pages(from, to)), rows: VecDeque::new(), keeps: |_| true }
    }

    /// The same without the rows that are about a group in a group.
    fn of_people(store: &'a StateStore, prefix: &str) -> Self {
        Self { keeps: |row| !members::is_of_group(row), ..Self::of(store, prefix) }
    }

    /// Reads the next page where no row is left of the last one.
    async fn fill(&mut self) -> Result<(), StoreError> {
        while self.rows.is_empty()
            && let Some(pages) = &mut self.pages
        {
            match pages.next().await? {
                Some(rows) => self.rows = rows.into_iter().filter(self.keeps).collect(),
                None => self.pages = None,
            }
        }
        Ok(())
    }

    /// The user whom the next row is about.
    fn user(&self) -> Option<UserId> {
        self.rows.front().and_then(user_of)
    }

    /// The next row, if it is about that user.
    async fn next_of(&mut self, user: UserId) -> Result<Option<TableRow>, StoreError> {
        self.fill().await?;
        Ok(if self.user() == Some(user) { self.rows.pop_front() } else { None })
    }
}

/// The user in a key: behind its first colon.
fn user_of(row: &TableRow) -> Option<UserId> {
    UserId::parse(row.key.split(':').nth(1)?).ok()
}

/// The people of a tenant in the order of their ids: those with a header, a membership row or a ledger row.
pub struct PeopleWalk<'a> {
    store: &'a StateStore,
    headers: RowQueue<'a>,
    memberships: RowQueue<'a>,
    ledgers: RowQueue<'a>,
}

impl PeopleWalk<'_> {
    /// The next person; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<PersonRecord>, StoreError> {
        let Some(user) = self.next_user().await? else { return Ok(None) };
        let header = self.headers.next_of(user).await?;
        let header = match header {
            Some(row) => {
                let read = self.store.readable(&row, users::read_person(&row));
                read.map_or(HeaderState::Unreadable, HeaderState::Readable)
            }
            // The page of headers may be older than those of the other rows.
            None => self.store.person(user).await?,
        };
        let mut groups = Vec::new();
        while let Some(row) = self.memberships.next_of(user).await? {
            groups.extend(self.store.ids_of::<GroupId>(&[row]));
        }
        groups.truncate(DIRECT_GROUPS_MAX);
        let mut ledger = UserLedger::default();
        let prefix = keys::ledger_prefix(user);
        while let Some(row) = self.ledgers.next_of(user).await? {
            self.store.take_ledger_row(&row, &prefix, &mut ledger);
        }
        Ok(Some(PersonRecord { user, header, groups, ledger }))
    }

    /// The smallest id that a row is about. A row whose key names no user says nothing.
    async fn next_user(&mut self) -> Result<Option<UserId>, StoreError> {
        loop {
            try_join!(self.headers.fill(), self.memberships.fill(), self.ledgers.fill())?;
            let mut dropped = false;
            for queue in [&mut self.headers, &mut self.memberships, &mut self.ledgers] {
                while let Some(row) = queue.rows.front().filter(|row| user_of(row).is_none()) {
                    self.store.cannot_read(&row.key, &StoreError::corrupt_key(row));
                    queue.rows.pop_front();
                    dropped = true;
                }
            }
            if !dropped {
                let next = [&self.headers, &self.memberships, &self.ledgers];
                return Ok(next.into_iter().filter_map(RowQueue::user).min());
            }
        }
    }
}

/// A group of a tenant.
#[derive(Debug, Clone)]
pub struct ListedGroup {
    pub id: GroupId,
    /// `None`: its attributes cannot be read.
    pub resource: Option<Resource>,
    /// Whether it may be a member of other groups.
    pub may_be_nested: bool,
}

/// The groups of a tenant, page by page.
pub struct GroupWalk<'a> {
    store: &'a StateStore,
    pages: RowPages<'a>,
}

impl GroupWalk<'_> {
    /// The next groups; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<ListedGroup>>, StoreError> {
        let Some(rows) = self.pages.next().await? else { return Ok(None) };
        let read = |row: &TableRow| {
            let id = *self.store.ids_of::<GroupId>(std::slice::from_ref(row)).first()?;
            let resource = self.store.readable(row, users::read_group(row));
            Some(ListedGroup { id, resource, may_be_nested: resources::may_be_nested(row) })
        };
        Ok(Some(rows.iter().filter_map(read).collect()))
    }
}

/// Who holds which principal, in the order of the principals.
#[derive(Debug, Clone, Default)]
pub struct PrincipalHolders(Vec<(PrincipalId, PrincipalHolder)>);

impl PrincipalHolders {
    /// Who holds that one.
    pub fn of(&self, principal: PrincipalId) -> PrincipalHolder {
        let found = self.place(principal).and_then(|place| self.0.get(place));
        found.map_or(PrincipalHolder::Free, |(_, holder)| *holder)
    }

    /// The place of a principal among those that are held.
    pub fn place(&self, principal: PrincipalId) -> Option<usize> {
        self.0.binary_search_by_key(&principal, |(held, _)| *held).ok()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &(PrincipalId, PrincipalHolder)> {
        self.0.iter()
    }

    /// Principals that are held.
    pub fn number(&self) -> usize {
        self.0.len()
    }
}

impl StateStore {
    /// The people of this tenant, from the first on.
    pub fn people(&self) -> PeopleWalk<'_> {
        PeopleWalk {
            store: self,
            headers: RowQueue::of(self, UserId::HEADERS),
            memberships: RowQueue::of_people(self, keys::MEMBERSHIPS),
            ledgers: RowQueue::of(self, keys::LEDGER),
        }
    }

    /// The groups of this tenant, from the first on.
    pub fn groups(&self) -> GroupWalk<'_> {
        GroupWalk { store: self, pages: self.headers_from::<GroupId>("") }
    }

    /// Who holds which principal.
    pub async fn holders(&self) -> Result<PrincipalHolders, StoreError> {
        let mut queue = RowQueue::of(self, keys::PRINCIPALS);
        let mut holders = Vec::new();
        loop {
            queue.fill().await?;
            if queue.rows.is_empty() {
                return Ok(PrincipalHolders(holders));
            }
            for row in iter::from_fn(|| queue.rows.pop_front()) {
                let principal = PrincipalId::parse(keys::last_part(&row.key));
                let principal = principal.map_err(|_| StoreError::corrupt_key(&row));
                let principal = self.readable(&row, principal);
                holders.extend(principal.map(|principal| (principal, self.holder_in(&row))));
            }
        }
    }
}
