//! Reading our list, and what Azure holds beside it. The reads grow with the rows, page by page.

use super::lists::{OurGroup, OurPerson};
use crate::id::{MemberId, UserId};
use crate::rbac::BindingName;
use crate::service::access::grants::{GrantView, grants_of, held_through_others};
use crate::service::access::groups::overview;
use crate::service::bindings::active::ActiveSnapshot;
use crate::service::reconcile::desired;
use crate::store::tenant_walk::PersonRecord;
use crate::store::users::HeaderState;
use crate::store::waiting_requests::WaitingRequests;
use crate::store::{StateStore, StoreError};
use std::collections::BTreeSet;

/// The people of this installation, with what differs between what is wanted for them and what they hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OurPeople {
    pub people: Vec<OurPerson>,
    /// Of the bindings that were asked for.
    pub grants: Vec<PersonGrant>,
    /// People of the groups whose reconcile is still to come, and of whom nothing differs so far.
    pub to_reconcile: usize,
    /// Users that cannot be read.
    pub unreadable: usize,
}

/// A role of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonGrant {
    pub user: UserId,
    /// The userName, or the id where there is none.
    pub name: String,
    pub grant: GrantView,
}

/// Every group, without its members.
pub async fn our_groups(store: &StateStore, snapshot: &ActiveSnapshot) -> Result<Vec<OurGroup>, StoreError> {
    let found = overview(store, snapshot).await?.groups.into_iter().map(|group| {
        let bindings = group.bindings.into_iter().map(|(binding, _)| binding);
        OurGroup {
            id: group.id,
            name: group.display_name,
            external_id: group.external_id,
            bindings: bindings.chain(group.above).collect(),
            members: Vec::new(),
        }
    });
    Ok(found.collect())
}

/// Adds the direct members.
pub async fn add_members(store: &StateStore, groups: &mut [&mut OurGroup]) -> Result<(), StoreError> {
    for group in groups {
        group.members = store.members(group.id, usize::MAX).await?;
    }
    Ok(())
}

/// Everyone but the leaver of a drill, with what differs of these bindings. `groups`: those that are compared. `progress` is given the number of people so
/// far.
pub async fn our_people(
    store: &StateStore,
    snapshot: &ActiveSnapshot,
    groups: &[OurGroup],
    bindings: &BTreeSet<BindingName>,
    progress: &dyn Fn(usize),
) -> Result<OurPeople, StoreError> {
    let of_drill = store.drill_marks().await?.user;
    let requests = store.waiting_requests().await?;
    let members: BTreeSet<UserId> =
        groups.iter().flat_map(|group| &group.members).filter_map(MemberId::user).collect();
    let mut found = OurPeople::default();
    let mut people = store.people();
    let mut number = 0;
    while let Some(record) = people.next().await? {
        if Some(record.user) == of_drill {
            continue;
        }
        number += 1;
        progress(number);
        let grants = differing_grants(store, &record, bindings).await?;
        // A step that failed waits too, and is told with its reason.
        let is_to_come =
            grants.is_empty() && members.contains(&record.user) && is_waiting(&requests, &record);
        found.to_reconcile += usize::from(is_to_come);
        found.grants.extend(grants);
        match record.header {
            HeaderState::Readable(header) => found.people.push(OurPerson {
                user: record.user,
                user_name: header.resource.text("userName").unwrap_or_default().to_owned(),
                external_id: header.resource.text("externalId").map(str::to_owned),
                principal: desired::principal_of(&header.resource, snapshot.principal_from()),
                active: header.resource.active(),
            }),
            HeaderState::Unreadable => found.unreadable += 1,
            HeaderState::Gone => {}
        }
    }
    Ok(found)
}

fn is_waiting(requests: &WaitingRequests, record: &PersonRecord) -> bool {
    requests.of(record.user, &record.groups, std::iter::empty()).is_some()
}

async fn differing_grants(
    store: &StateStore,
    record: &PersonRecord,
    bindings: &BTreeSet<BindingName>,
) -> Result<Vec<PersonGrant>, StoreError> {
    if bindings.is_empty() {
        return Ok(Vec::new());
    }
    let mut grants = grants_of(&record.ledger);
    grants.extend(held_through_others(store, &record.ledger).await?);
    grants.retain(|grant| grant.wanted != grant.holds && bindings.contains(&grant.binding));
    if grants.is_empty() {
        return Ok(Vec::new());
    }
    let name = match record.header.as_ref().readable().and_then(|header| header.resource.text("userName")) {
        Some(name) => Some(name.to_owned()),
        // Of a user who is gone.
        None => store.kept_user_name(record.user).await?,
    };
    let name = name.unwrap_or_else(|| record.user.to_string());
    let of_person = |grant| PersonGrant { user: record.user, name: name.clone(), grant };
    Ok(grants.into_iter().map(of_person).collect())
}
