//! Finding the person whom an operator means: by userName, mail address, Entra object id or SCIM id.

use crate::bindings::PrincipalSource;
use crate::id::{PrincipalId, UserId};
use crate::scim::{IndexLookup, Resource};
use crate::service::reconcile::desired;
use crate::store::users::HeaderState;
use crate::store::{StateStore, StoreError};
use std::collections::BTreeSet;

/// Candidates that are read. An operator who means one of more has to say it by id.
const CANDIDATES_MAX: usize = 20;

/// A person who may be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPerson {
    /// `None`: no record has this object id.
    pub user: Option<UserId>,
    /// `None`: the record is gone or cannot be read.
    pub user_name: Option<String>,
    pub active: bool,
    /// The object ids of this person: the one that the record names now, those that it holds, and the one first pinned.
    pub principals: BTreeSet<PrincipalId>,
    /// The object id that the record names now.
    pub present: Option<PrincipalId>,
}

/// Whom a text can mean. Empty: no person.
pub async fn find_people(
    store: &StateStore,
    sources: &[PrincipalSource],
    text: &str,
) -> Result<Vec<FoundPerson>, StoreError> {
    let mut users: BTreeSet<UserId> = BTreeSet::new();
    if let Ok(user) = UserId::parse(text) {
        let is_known = store.exists(user).await? || !store.ledger(user).await?.entries.is_empty();
        users.extend(is_known.then_some(user));
    }
    let principal = PrincipalId::parse(text).ok();
    if let Some(principal) = principal {
        users.extend(store.holder(principal).await?.record());
    }
    let text = text.to_owned();
    for lookup in [IndexLookup::UserName, IndexLookup::ExternalId, IndexLookup::Email] {
        users.extend(store.find::<UserId>(&lookup(text.clone())).await?.into_iter().take(CANDIDATES_MAX));
    }
    let mut people = Vec::new();
    for user in users.into_iter().take(CANDIDATES_MAX) {
        let person = read_person(store, sources, user).await?;
        people.extend(person.filter(|person| carries(person, &text, principal)));
    }
    if let (Some(principal), true) = (principal, people.is_empty()) {
        people.push(FoundPerson {
            user: None,
            user_name: None,
            active: false,
            principals: BTreeSet::from([principal]),
            present: Some(principal),
        });
    }
    Ok(people)
}

/// What an index gives is only a candidate: the row of a name may be left over.
fn carries(person: &FoundPerson, text: &str, principal: Option<PrincipalId>) -> bool {
    let by_id = person.user.is_some_and(|user| UserId::parse(text) == Ok(user));
    let by_principal = principal.is_some_and(|principal| person.principals.contains(&principal));
    by_id || by_principal || person.user_name.is_some()
}

async fn read_person(
    store: &StateStore,
    sources: &[PrincipalSource],
    user: UserId,
) -> Result<Option<FoundPerson>, StoreError> {
    let held = store.ledger(user).await?.pins.into_iter().map(|pin| pin.principal);
    let mut principals: BTreeSet<PrincipalId> = held.collect();
    let header = store.person(user).await?;
    let HeaderState::Readable(person) = header else {
        let known = !principals.is_empty() || matches!(header, HeaderState::Unreadable);
        let gone =
            FoundPerson { user: Some(user), user_name: None, active: false, principals, present: None };
        return Ok(known.then_some(gone));
    };
    let present = desired::principal_of(&person.resource, sources);
    principals.extend(person.pinned.into_iter().chain(present));
    Ok(Some(FoundPerson {
        user: Some(user),
        user_name: person.resource.text("userName").map(str::to_owned),
        active: Resource::active(&person.resource),
        principals,
        present,
    }))
}
