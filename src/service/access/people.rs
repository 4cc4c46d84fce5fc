//! Finding the person whom an operator means: by SCIM id, Entra object id, userName or mail address.

use crate::bindings::PrincipalSource;
use crate::id::{PrincipalId, UserId};
use crate::scim::compare::{self, CaseMode};
use crate::scim::{IndexLookup, Resource};
use crate::service::reconcile::desired;
use crate::store::users::HeaderState;
use crate::store::{StateStore, StoreError};
use std::collections::BTreeSet;

/// Candidates that are read of each index: where so many are found, there may be more. An operator who means one of more has
/// to say it by id.
pub const CANDIDATES_MAX: usize = 20;

/// A person who may be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPerson {
    /// `None`: no one record has this object id.
    pub user: Option<UserId>,
    /// Of a record that is gone or cannot be read: the name that outlives it, if there is one.
    pub user_name: Option<String>,
    pub active: bool,
    /// The object ids that are meant: the one that was named, or every one of the person that no other record holds.
    pub principals: BTreeSet<PrincipalId>,
    /// The object id that the record names now.
    pub present: Option<PrincipalId>,
}

/// Whom a text can mean. Empty: no person. The SCIM id of a record means that record; any other UUID means exactly that object id,
/// whichever records carry it.
pub async fn find_people(
    store: &StateStore,
    sources: &[PrincipalSource],
    text: &str,
) -> Result<Vec<FoundPerson>, StoreError> {
    if let Ok(user) = UserId::parse(text)
        && let Some(person) = read_person(store, sources, user).await?
    {
        return Ok(vec![person.found]);
    }
    if let Ok(principal) = PrincipalId::parse(text) {
        return Ok(vec![object_id(store, sources, principal).await?]);
    }
    let mut users: BTreeSet<UserId> = BTreeSet::new();
    for lookup in [IndexLookup::UserName, IndexLookup::ExternalId, IndexLookup::Email] {
        users.extend(store.find_first::<UserId>(&lookup(text.to_owned()), CANDIDATES_MAX).await?);
    }
    let mut people = Vec::new();
    for user in users {
        let person = read_person(store, sources, user).await?;
        people.extend(person.filter(|person| person.is_called(text)).map(|person| person.found));
    }
    Ok(people)
}

/// The same, and where no living person is meant, deleted ones: by the userName or a mail address that outlived them, or by an
/// object id in their ledgers. Reads the names, or the ledgers, of everyone. An order must not mean them: what a deleted record
/// was once called may be another person's by now.
pub async fn find_people_ever(
    store: &StateStore,
    sources: &[PrincipalSource],
    text: &str,
) -> Result<Vec<FoundPerson>, StoreError> {
    let living = find_people(store, sources, text).await?;
    if living.iter().any(|person| person.user.is_some()) {
        return Ok(living);
    }
    let users = match PrincipalId::parse(text) {
        Ok(principal) => store.users_once_of(principal, CANDIDATES_MAX).await?,
        Err(_) => store.users_once_called(text, CANDIDATES_MAX).await?.into_iter().collect(),
    };
    let mut people = Vec::new();
    for user in users {
        people.extend(read_person(store, sources, user).await?.map(|person| person.found));
    }
    Ok(if people.is_empty() { living } else { people })
}

/// Exactly this object id. `user`: where one record alone holds or names it.
async fn object_id(
    store: &StateStore,
    sources: &[PrincipalSource],
    principal: PrincipalId,
) -> Result<FoundPerson, StoreError> {
    let mut users: BTreeSet<UserId> = store.holder(principal).await?.record().into_iter().collect();
    let named = IndexLookup::ExternalId(principal.to_string());
    users.extend(store.find_first::<UserId>(&named, CANDIDATES_MAX).await?);
    let mut people = Vec::new();
    for user in users {
        let person = read_person(store, sources, user).await?.map(|person| person.found);
        people.extend(person.filter(|person| person.principals.contains(&principal)));
    }
    let only = people.pop().filter(|_| people.is_empty());
    let found = only.unwrap_or_else(|| FoundPerson {
        user: None,
        user_name: None,
        active: false,
        principals: BTreeSet::new(),
        present: None,
    });
    Ok(FoundPerson { principals: BTreeSet::from([principal]), ..found })
}

/// A record that was read.
struct ReadPerson {
    found: FoundPerson,
    resource: Option<Resource>,
}

impl ReadPerson {
    /// What an index gives is only a candidate: a row of it may be left over.
    fn is_called(&self, text: &str) -> bool {
        let Some(resource) = &self.resource else { return true };
        let folded = compare::key(text, CaseMode::Folded);
        let mut names = resource.emails().into_iter().chain(resource.text("userName"));
        let exact = compare::key(text, CaseMode::Exact);
        names.any(|name| compare::key(name, CaseMode::Folded) == folded)
            || resource.text("externalId").is_some_and(|own| compare::key(own, CaseMode::Exact) == exact)
    }
}

/// `None`: there is no such record, and none that left anything.
async fn read_person(
    store: &StateStore,
    sources: &[PrincipalSource],
    user: UserId,
) -> Result<Option<ReadPerson>, StoreError> {
    let ledger = store.ledger(user).await?;
    let mut principals: BTreeSet<PrincipalId> = ledger.pins.iter().map(|pin| pin.principal).collect();
    let header = store.person(user).await?;
    let HeaderState::Readable(person) = header else {
        let user_name = store.kept_user_name(user).await?;
        let left = !ledger.entries.is_empty() || user_name.is_some();
        let is_known = matches!(header, HeaderState::Unreadable) || left;
        for principal in ledger.entries.iter().map(|stored| stored.entry.principal) {
            let is_of_another = store.holder(principal).await?.record().is_some_and(|holder| holder != user);
            principals.extend((!is_of_another).then_some(principal));
        }
        let found = FoundPerson { user: Some(user), user_name, active: false, principals, present: None };
        return Ok(is_known.then_some(ReadPerson { found, resource: None }));
    };
    let present = desired::principal_of(&person.resource, sources);
    // A SCIM caller can write another person's object id into a record: it stays that person's.
    for named in person.pinned.into_iter().chain(present) {
        let is_of_another = store.holder(named).await?.record().is_some_and(|holder| holder != user);
        principals.extend((!is_of_another).then_some(named));
    }
    let found = FoundPerson {
        user: Some(user),
        user_name: person.resource.text("userName").map(str::to_owned),
        active: person.resource.active(),
        principals,
        present,
    };
    Ok(Some(ReadPerson { found, resource: Some(person.resource) }))
}
