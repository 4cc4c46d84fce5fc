//! The brake: `revoke` and `lift`, by Entra object id.
//!
//! The row of the brake decides. The record that holds the object id is enqueued with it, and once more by a job that reads the
//! holder after the brake was committed: a record that took the object id in between was planned without the brake.

use crate::audit::AuditEvent;
use crate::id::PrincipalId;
use crate::service::orders::pause::lever_of;
use crate::service::orders::{CarriedOrder, OrderDecision, OrderEffect, OrderRefusal, Orders};
use crate::store::jobs::JobKind;
use crate::store::ledger::PrincipalHolder;
use crate::store::levers::{self, BRAKES_MAX};
use crate::store::reconcile_queue::Priority;
use crate::store::{StoreError, TableWrite, reconcile_queue};
use std::fmt;
use time::OffsetDateTime;

impl Orders {
    pub(super) async fn revoke(
        &self,
        order: &CarriedOrder<'_>,
        principal: PrincipalId,
        now: OffsetDateTime,
    ) -> Result<OrderDecision, StoreError> {
        let brakes = self.store.levers().await?.brakes;
        if brakes.contains_key(&principal) {
            return Ok(OrderDecision::Refuse(OrderRefusal::Braked));
        }
        if brakes.len() >= BRAKES_MAX {
            return Ok(OrderDecision::Refuse(OrderRefusal::TooManyBrakes { max: BRAKES_MAX }));
        }
        let mut writes = vec![levers::brake(principal, &lever_of(order, now))];
        let records = self.enqueue_records(order, Priority::Leaver, principal, &mut writes).await?;
        Ok(OrderDecision::CarryOut(OrderEffect {
            writes,
            changes: vec![AuditEvent::BrakeChanged { principal, braked: true }],
            detail: format!("braked; {records}"),
        }))
    }

    pub(super) async fn lift(
        &self,
        order: &CarriedOrder<'_>,
        principal: PrincipalId,
    ) -> Result<OrderDecision, StoreError> {
        let levers = self.store.levers().await?;
        let Some(brake) = levers.brakes.get(&principal) else {
            return Ok(OrderDecision::Refuse(OrderRefusal::NotBraked));
        };
        let mut writes = vec![levers::lift(principal, brake)];
        let records = self.enqueue_records(order, Priority::Gain, principal, &mut writes).await?;
        Ok(OrderDecision::CarryOut(OrderEffect {
            writes,
            changes: vec![AuditEvent::BrakeChanged { principal, braked: false }],
            detail: format!("lifted; {records}"),
        }))
    }

    /// The record that holds the object id, those that name it, and a job that reads the holder again afterwards.
    async fn enqueue_records(
        &self,
        order: &CarriedOrder<'_>,
        priority: Priority,
        principal: PrincipalId,
        writes: &mut Vec<TableWrite>,
    ) -> Result<EnqueuedRecords, StoreError> {
        let holder = self.store.holder(principal).await?;
        let users = self.store.users_of(principal).await?;
        let request = order.request(priority);
        writes.extend(users.iter().flat_map(|user| reconcile_queue::enqueue_now(*user, &request)));
        writes.push(order.job(JobKind::PrincipalHolder(principal), priority));
        Ok(EnqueuedRecords { number: users.len(), is_searched: holder == PrincipalHolder::Unreadable })
    }
}

/// The records that an order enqueued.
struct EnqueuedRecords {
    number: usize,
    /// The row that says who holds the object id cannot be read: a job searches the ledgers for it.
    is_searched: bool,
}

impl fmt::Display for EnqueuedRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            _ if self.is_searched => f.write_str("every user who may hold this object id is enqueued"),
            0 => f.write_str("no user holds this object id now, or names it as externalId"),
            1 => f.write_str("one user is enqueued"),
            more => write!(f, "{more} users are enqueued"),
        }
    }
}
