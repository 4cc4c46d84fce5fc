//! `apply HASH`: a bundled file that waits becomes active, if its plan is still the one that the operator saw.

use crate::audit::{ChangeCause, ChangeOrigin};
use crate::service::access::preview::TenantPlan;
use crate::service::bindings::active::Activated;
use crate::service::bindings::pending::{FilePlan, WaitingFile, plan_of_file, waiting_file};
use crate::service::deferred::log_deferred;
use crate::service::orders::background_planner::PlannedOver;
use crate::service::orders::{CarriedOrder, OrderDecision, OrderEffect, OrderRefusal, Orders};
use crate::store::StoreError;
use crate::store::pending_bindings::{self, PendingBindings, PendingRow};

impl Orders {
    /// The plan is made anew. The marks of what follows name bindings as their cause, and the operator: this plan was judged.
    pub(super) async fn apply(
        &self,
        order: &CarriedOrder<'_>,
        hash: &str,
    ) -> Result<OrderDecision, StoreError> {
        let pointer = self.store.pointer().await?;
        let Some(WaitingFile { row, pending, file }) = waiting_file(&self.store, &pointer).await? else {
            return Ok(OrderDecision::Refuse(OrderRefusal::NothingWaits));
        };
        let Some(file) = file else {
            return Ok(OrderDecision::Refuse(OrderRefusal::WaitingUnreadable));
        };
        let active = self.active_bindings.read(&pointer).await?;
        let over = PlannedOver {
            pointer: pointer.pointer().map(|pointer| pointer.etag.clone()),
            waiting: row.etag.clone(),
        };
        let store = self.store.clone();
        let planning = async move { plan_of_file(&store, active, file, None, &|_| {}).await };
        let Some(FilePlan { plan, .. }) =
            self.file_planner.plan(over, self.store.clock.clone(), planning).await?
        else {
            return Ok(OrderDecision::NotYet);
        };
        let planned = plan.hash();
        if planned != hash {
            self.note_plan(&row, &pending, &plan).await;
            return Ok(OrderDecision::Refuse(OrderRefusal::PlanMoved { hash: planned }));
        }
        let below = self.store.pointer_to_replace(&pointer).await?;
        let activated = Activated {
            stamp: &pending.stamp,
            hash: &pending.hash,
            bytes: None,
            below: below.as_ref(),
            waiting: Some(&row),
        };
        let cause = ChangeCause::Snapshot;
        let origin = ChangeOrigin { cause, actor: order.order.who.clone(), op: order.op };
        let (revocations, grants) = plan.revocations_and_grants();
        Ok(OrderDecision::CarryOut(OrderEffect {
            writes: activated.writes(&origin),
            changes: activated.changes(),
            detail: format!(
                "bindings {} (SHA-256 {}) are active: they cause {revocations} revocations, {grants} grants",
                pending.stamp, pending.hash
            ),
        }))
    }

    /// Health names the plan that was made last. It decides nothing, so a failure does not matter.
    async fn note_plan(&self, row: &PendingRow, pending: &PendingBindings, plan: &TenantPlan) {
        let (revocations, grants) = plan.revocations_and_grants();
        let noted = PendingBindings { plan: plan.hash(), revocations, grants, ..pending.clone() };
        let write = pending_bindings::write(&noted, Some(row));
        if let Err(error) = self.store.transact_unjournaled(&[write]).await {
            log_deferred("the plan of the file that waits", &error);
        }
    }
}
