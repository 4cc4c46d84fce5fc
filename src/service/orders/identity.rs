//! `accept-identity` and `retry PERSON`.

use crate::audit::AuditEvent;
use crate::id::{PrincipalId, UserId};
use crate::orders::Order;
use crate::service::orders::{OrderDecision, OrderEffect, OrderRefusal, Orders, request_of};
use crate::service::reconcile::desired;
use crate::store::users::{self, HeaderState};
use crate::store::{StoreError, reconcile_queue};

impl Orders {
    /// The user's present object id becomes the one that is expected, if it is the one that the operator saw.
    pub(super) async fn accept_identity(
        &self,
        order: &Order,
        user: UserId,
        principal: PrincipalId,
    ) -> Result<OrderDecision, StoreError> {
        let HeaderState::Readable(person) = self.store.person(user).await? else {
            return Ok(OrderDecision::Refuse(OrderRefusal::NoSuchUser));
        };
        let snapshot = self.active_bindings.read(&self.store.pointer().await?).await?;
        if desired::principal_of(&person.resource, snapshot.principal_from()) != Some(principal) {
            return Ok(OrderDecision::Refuse(OrderRefusal::OtherIdentity));
        }
        if person.pinned == Some(principal) {
            return Ok(OrderDecision::Refuse(OrderRefusal::AcceptedAlready));
        }
        let mut writes = vec![users::remember_principal(user, principal, &person.etag)];
        writes.extend(reconcile_queue::enqueue_now(user, &request_of(order)));
        let principal_before = person.pinned;
        Ok(OrderDecision::CarryOut(OrderEffect {
            writes,
            changes: vec![AuditEvent::IdentityAccepted { person: user, principal_before, principal }],
            detail: "accepted; the user is reconciled".to_owned(),
        }))
    }

    /// A change of what decided ends the pauses of earlier failures.
    pub(super) async fn retry_person(
        &self,
        order: &Order,
        user: UserId,
    ) -> Result<OrderDecision, StoreError> {
        Ok(OrderDecision::CarryOut(OrderEffect {
            writes: reconcile_queue::enqueue_now(user, &request_of(order)),
            changes: Vec::new(),
            detail: "the user is reconciled".to_owned(),
        }))
    }
}
