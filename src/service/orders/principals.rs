//! The brake: `revoke` and `lift`, by Entra object id.
//!
//! The row of the brake decides. The record that holds the object id is enqueued with it, and once more by a job that reads the
//! holder after the brake was committed: a record that took the object id in between was planned without the brake.

use crate::audit::AuditEvent;
use crate::id::{PrincipalId, UserId};
use crate::orders::Order;
use crate::scim::IndexLookup;
use crate::service::orders::pause::lever_of;
use crate::service::orders::{OrderDecision, OrderEffect, OrderRefusal, Orders, job_of, request_of};
use crate::store::jobs::JobKind;
use crate::store::ledger::PrincipalHolder;
use crate::store::levers;
use crate::store::{StoreError, TableWrite, reconcile_queue};
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// Records of one object id that an order enqueues at once. The others are reconciled within an hour.
const RECORDS_MAX: usize = 20;

impl Orders {
    pub(super) async fn revoke(
        &self,
        order: &Order,
        principal: PrincipalId,
        now: OffsetDateTime,
    ) -> Result<OrderDecision, StoreError> {
        if self.store.levers().await?.brakes.contains_key(&principal) {
            return Ok(OrderDecision::Refuse(OrderRefusal::Braked));
        }
        let mut writes = vec![levers::brake(principal, &lever_of(order, now))];
        let records = self.enqueue_records(order, principal, &mut writes).await?;
        Ok(OrderDecision::CarryOut(OrderEffect {
            writes,
            changes: vec![AuditEvent::BrakeChanged { principal, braked: true }],
            detail: format!("braked; {}", in_words(records)),
        }))
    }

    pub(super) async fn lift(
        &self,
        order: &Order,
        principal: PrincipalId,
    ) -> Result<OrderDecision, StoreError> {
        let levers = self.store.levers().await?;
        let Some(brake) = levers.brakes.get(&principal) else {
            return Ok(OrderDecision::Refuse(OrderRefusal::NotBraked));
        };
        let mut writes = vec![levers::lift(principal, brake)];
        let records = self.enqueue_records(order, principal, &mut writes).await?;
        Ok(OrderDecision::CarryOut(OrderEffect {
            writes,
            changes: vec![AuditEvent::BrakeChanged { principal, braked: false }],
            detail: format!("lifted; {}", in_words(records)),
        }))
    }

    /// The record that holds the object id, those that name it, and a job that reads the holder again afterwards.
    async fn enqueue_records(
        &self,
        order: &Order,
        principal: PrincipalId,
        writes: &mut Vec<TableWrite>,
    ) -> Result<usize, StoreError> {
        let holder = self.store.holder(principal).await?;
        let mut users: BTreeSet<UserId> = holder.record().into_iter().collect();
        let by_external_id = IndexLookup::ExternalId(principal.to_string());
        users.extend(self.store.find::<UserId>(&by_external_id).await?.into_iter().take(RECORDS_MAX));
        let request = request_of(order);
        writes.extend(users.iter().flat_map(|user| reconcile_queue::enqueue_now(*user, &request)));
        writes.push(job_of(order, JobKind::PrincipalHolder(principal)));
        if holder == PrincipalHolder::Unreadable {
            tracing::error!(principal.id = %principal, "the record that holds an object id cannot be read");
        }
        Ok(users.len())
    }
}

fn in_words(records: usize) -> String {
    match records {
        0 => "no user has this object id now".to_owned(),
        1 => "one user is reconciled".to_owned(),
        more => format!("{more} users are reconciled"),
    }
}
