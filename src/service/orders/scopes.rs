//! `retry SCOPE` and `forget SCOPE`.

use crate::ports::role_assignments::{AssignmentError, RejectionReason};
use crate::rbac::Scope;
use crate::service::orders::{CarriedOrder, OrderDecision, OrderEffect, OrderRefusal, Orders};
use crate::service::throttling::store_throttle;
use crate::store::jobs::JobKind;
use crate::store::ledger_walk::{LedgerPosition, LedgerRow};
use crate::store::reconcile_queue::Priority;
use crate::store::throttles::CallKind;
use crate::store::{StoreError, scope_blocks};
use std::time::Duration;
use time::OffsetDateTime;

/// Refusals of a scope that one order ends: by role, type of principal and kind of step there are fewer.
const BLOCKS_MAX: usize = 40;

/// How long Azure is given to answer whether the scope is there.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

impl Orders {
    /// Ends what the scope refuses, and reconciles everyone who waits there.
    pub(super) async fn retry_scope(
        &self,
        order: &CarriedOrder<'_>,
        scope: &Scope,
    ) -> Result<OrderDecision, StoreError> {
        let blocks = self.store.scope_blocks().await?;
        let here = blocks.keys().filter(|key| key.scope == scope.folded());
        let mut writes: Vec<_> = here.take(BLOCKS_MAX).map(scope_blocks::lift).collect();
        if writes.is_empty() && !self.has_row(|row| row.is_busy_at(scope)).await? {
            return Ok(OrderDecision::Refuse(OrderRefusal::NothingAtScope));
        }
        writes.push(order.job(JobKind::PeopleOfScope(scope.clone()), Priority::Gain));
        Ok(OrderDecision::CarryOut(OrderEffect {
            writes,
            changes: Vec::new(),
            detail: "everyone whose steps failed or wait at the scope is enqueued".to_owned(),
        }))
    }

    /// Closes what the ledger has at a scope that Azure says is gone.
    pub(super) async fn forget(
        &self,
        order: &CarriedOrder<'_>,
        scope: &Scope,
        now: OffsetDateTime,
    ) -> Result<OrderDecision, StoreError> {
        let throttles = self.store.settings().await?.throttles;
        if throttles.until(scope, CallKind::Ask, now).is_some() {
            let answer = "it asked to wait; order again later".to_owned();
            return Ok(OrderDecision::Refuse(OrderRefusal::ScopeNotGone { answer }));
        }
        let answer = match self.assignments.list(scope, ASK_TIMEOUT).await {
            Err(AssignmentError::Rejected { reason: RejectionReason::ScopeNotFound, .. }) => None,
            Err(AssignmentError::Rejected { code, .. }) => Some(code),
            Err(AssignmentError::Throttled { retry_after, .. }) => {
                let kind = CallKind::Ask;
                store_throttle(&self.store, &self.health, scope, kind, now, retry_after).await?;
                Some("it asked to wait; order again later".to_owned())
            }
            Err(AssignmentError::Unknown { .. }) => Some("it gave no answer".to_owned()),
            Ok(_) => Some("the scope exists".to_owned()),
        };
        if let Some(answer) = answer {
            return Ok(OrderDecision::Refuse(OrderRefusal::ScopeNotGone { answer }));
        }
        if !self.has_row(|row| row.holds_at(scope)).await? {
            return Ok(OrderDecision::Refuse(OrderRefusal::NothingAtScope));
        }
        Ok(OrderDecision::CarryOut(OrderEffect {
            writes: vec![order.job(JobKind::ForgetScope(scope.clone()), Priority::Gain)],
            changes: Vec::new(),
            detail: "azure says that the scope is gone; what the ledger has there is closed".to_owned(),
        }))
    }

    /// Whether a row of the ledgers is so.
    async fn has_row(&self, is_so: impl Fn(&LedgerRow) -> bool) -> Result<bool, StoreError> {
        let mut pages = self.store.ledger_pages(&LedgerPosition::default());
        while let Some(rows) = pages.next().await? {
            if rows.iter().any(&is_so) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
