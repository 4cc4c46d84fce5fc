//! `accept-identity`, `retry PERSON` and `erase PERSON`.

use crate::audit::AuditEvent;
use crate::id::{PrincipalId, UserId};
use crate::scim::ResourceType;
use crate::service::bindings::active::ActiveSnapshot;
use crate::service::deferred::log_deferred;
use crate::service::orders::{CarriedOrder, OrderDecision, OrderEffect, OrderRefusal, Orders};
use crate::service::reconcile::desired;
use crate::store::reconcile_queue::{self, Priority};
use crate::store::request_log::SoughtNames;
use crate::store::users::{self, HeaderState};
use crate::store::{StoreError, scope_blocks};
use futures_util::try_join;
use std::collections::BTreeSet;

/// Refusals of scopes that one order ends.
const BLOCKS_MAX: usize = 40;

impl Orders {
    /// The user's present object id becomes the one that is expected, if it is the one that the operator saw.
    pub(super) async fn accept_identity(
        &self,
        order: &CarriedOrder<'_>,
        user: UserId,
        principal: PrincipalId,
    ) -> Result<OrderDecision, StoreError> {
        let HeaderState::Readable(person) = self.store.person(user).await? else {
            return Ok(OrderDecision::Refuse(OrderRefusal::NoSuchUser));
        };
        let snapshot = self.active_bindings.read(&self.store.pointer().await?).await?;
        if matches!(snapshot, ActiveSnapshot::Unreadable) {
            return Ok(OrderDecision::Refuse(OrderRefusal::BindingsUnreadable));
        }
        if desired::principal_of(&person.resource, snapshot.principal_from()) != Some(principal) {
            return Ok(OrderDecision::Refuse(OrderRefusal::OtherIdentity));
        }
        if person.pinned == Some(principal) {
            return Ok(OrderDecision::Refuse(OrderRefusal::AcceptedAlready));
        }
        let mut writes = vec![users::remember_principal(user, principal, &person.etag)];
        writes.extend(reconcile_queue::enqueue_now(user, &order.request(Priority::Gain)));
        let principal_before = person.pinned;
        Ok(OrderDecision::CarryOut(OrderEffect {
            writes,
            changes: vec![AuditEvent::IdentityAccepted { person: user, principal_before, principal }],
            detail: "accepted; the user is enqueued".to_owned(),
        }))
    }

    /// Records name people by their SCIM ids alone, so nothing of them changes. What the request log has of the user goes with
    /// the names.
    pub(super) async fn erase(&self, user: UserId) -> Result<OrderDecision, StoreError> {
        let (exists, kept, ledger) =
            try_join!(self.store.exists(user), self.store.kept_names(user), self.store.ledger(user))?;
        if exists {
            return Ok(OrderDecision::Refuse(OrderRefusal::StillExists));
        }
        let Some(mut names) = kept else {
            return Ok(OrderDecision::Refuse(OrderRefusal::NothingToErase));
        };
        names.push(user.to_string());
        // Requests name people by their object ids as well.
        names.extend(ledger.pins.iter().map(|pin| pin.principal.to_string()));
        names.extend(ledger.entries.iter().map(|stored| stored.entry.principal.to_string()));
        // Where that table is away, other orders must not wait for it.
        if let Err(error) = self.request_log.erase(&SoughtNames::new(ResourceType::User, &names)).await {
            log_deferred("erasing a user in the request log", &error);
            return Ok(OrderDecision::Refuse(OrderRefusal::RequestLogAway));
        }
        Ok(OrderDecision::CarryOut(OrderEffect {
            writes: vec![users::erase_names(user)],
            changes: Vec::new(),
            detail: "the names and addresses are erased; the audit keeps the SCIM id".to_owned(),
        }))
    }

    /// A change of what decided ends the pauses of earlier failures, and what the scopes of the user's failed steps refuse is
    /// probed again.
    pub(super) async fn retry_person(
        &self,
        order: &CarriedOrder<'_>,
        user: UserId,
    ) -> Result<OrderDecision, StoreError> {
        let (exists, ledger) = try_join!(self.store.exists(user), self.store.ledger(user))?;
        if !exists && ledger.entries.is_empty() {
            return Ok(OrderDecision::Refuse(OrderRefusal::NoSuchUser));
        }
        let failed = ledger.entries.iter().filter(|stored| stored.entry.retry.is_some());
        let scopes: BTreeSet<&str> = failed.map(|stored| stored.entry.scope.folded()).collect();
        let blocks = self.store.scope_blocks().await?;
        let theirs = blocks.keys().filter(|key| scopes.contains(key.scope.as_str())).take(BLOCKS_MAX);
        let mut writes: Vec<_> = theirs.map(scope_blocks::lift).collect();
        writes.extend(reconcile_queue::enqueue_now(user, &order.request(Priority::Leaver)));
        let detail = "the user is enqueued".to_owned();
        Ok(OrderDecision::CarryOut(OrderEffect { writes, changes: Vec::new(), detail }))
    }
}
