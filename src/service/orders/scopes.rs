//! `retry SCOPE` and `forget SCOPE`.

use crate::orders::Order;
use crate::ports::role_assignments::{AssignmentError, RejectionReason};
use crate::rbac::Scope;
use crate::service::orders::{OrderDecision, OrderEffect, OrderRefusal, Orders, job_of};
use crate::store::jobs::JobKind;
use crate::store::{StoreError, scope_blocks};
use std::time::Duration;

/// How long Azure is given to answer whether the scope is there.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

impl Orders {
    /// Ends what the scope refuses, and reconciles everyone who waits there.
    pub(super) async fn retry_scope(
        &self,
        order: &Order,
        scope: &Scope,
    ) -> Result<OrderDecision, StoreError> {
        let blocks = self.store.scope_blocks().await?;
        let here = blocks.keys().filter(|key| key.scope == scope.folded());
        let mut writes: Vec<_> = here.map(scope_blocks::lift).collect();
        writes.push(job_of(order, JobKind::PeopleOfScope(scope.clone())));
        Ok(OrderDecision::CarryOut(OrderEffect {
            writes,
            changes: Vec::new(),
            detail: "everyone who has or waits for something at the scope is reconciled".to_owned(),
        }))
    }

    /// Closes what the ledger has at a scope that Azure says is gone.
    pub(super) async fn forget(&self, order: &Order, scope: &Scope) -> Result<OrderDecision, StoreError> {
        let answer = match self.assignments.list(scope, ASK_TIMEOUT).await {
            Err(AssignmentError::Rejected { reason: RejectionReason::ScopeNotFound, .. }) => None,
            Err(AssignmentError::Rejected { code, .. }) => Some(code),
            Err(AssignmentError::Throttled { .. } | AssignmentError::Unknown { .. }) => {
                Some("no answer".to_owned())
            }
            Ok(_) => Some("the scope exists".to_owned()),
        };
        if let Some(answer) = answer {
            return Ok(OrderDecision::Refuse(OrderRefusal::ScopeNotGone { answer }));
        }
        Ok(OrderDecision::CarryOut(OrderEffect {
            writes: vec![job_of(order, JobKind::ForgetScope(scope.clone()))],
            changes: Vec::new(),
            detail: "azure says that the scope is gone; what the ledger has there is closed".to_owned(),
        }))
    }
}
