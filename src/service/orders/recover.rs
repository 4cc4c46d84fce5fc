//! `recover HASH` and `recover --begin`: what follows a loss of the state.

use crate::audit::AuditEvent;
use crate::error_chain::ErrorChain;
use crate::events::log_event;
use crate::ports::role_assignments::AssignmentError;
use crate::service::orders::pause::lever_of;
use crate::service::orders::{CarriedOrder, OrderDecision, OrderEffect, OrderRefusal, Orders};
use crate::service::state::recover::{self, RecoverError, RecoverPlan};
use crate::service::throttling::store_throttle;
use crate::store::StoreError;
use crate::store::jobs::JobKind;
use crate::store::levers;
use crate::store::orders::PlacedOrder;
use crate::store::reconcile_queue::Priority;
use crate::store::state_hold::StateHold;
use crate::store::throttles::CallKind;
use std::time::Duration;
use time::OffsetDateTime;

/// Orders among which the one is looked for that begins anew.
const ORDERS_MAX: usize = 10_000;

impl Orders {
    /// The only order that is carried out while the state is lost. The others stay placed.
    pub async fn begin_anew(&self) -> Result<(), StoreError> {
        let placed = self.table.placed(ORDERS_MAX).await?;
        let begins: Vec<PlacedOrder> = placed.into_iter().filter(PlacedOrder::begins_anew).collect();
        self.carry_out_all(&begins, Duration::MAX).await
    }

    /// The state begins anew: SCIM is answered, and the identity provider pushes everyone again. The service is paused: what Azure
    /// holds is to come back into the ledger, by `recover`, before anything is sent over it.
    pub(super) async fn recover_begin(
        &self,
        order: &CarriedOrder<'_>,
        now: OffsetDateTime,
    ) -> Result<OrderDecision, StoreError> {
        let settings = self.store.settings().await?;
        let lost = match &settings.hold {
            Some(StateHold::Lost(Some(lost))) => lost,
            // A restore has begun, or another process will say that it was lost. Nothing is written into what is restored.
            Some(_) => return Ok(OrderDecision::NotYet),
            None => return Ok(OrderDecision::Refuse(OrderRefusal::NotLost)),
        };
        let Some(instance) = settings.instance else { return Ok(OrderDecision::NotYet) };
        let mut writes = vec![lost.end()];
        let mut changes = vec![AuditEvent::StateBegun { instance: instance.to_string() }];
        if settings.levers.pause.is_none() {
            writes.push(levers::pause(&lever_of(order, now)));
            changes.push(AuditEvent::PauseChanged { paused: true });
        }
        let detail = format!(
            "the state begins anew as installation {instance}, paused: let the identity provider push everyone, then \
             `recover`, then `resume`"
        );
        Ok(OrderDecision::CarryOut(OrderEffect { writes, changes, detail }))
    }

    /// The plan is made anew, by the service's own right to read. A job carries it out: the rows are many.
    pub(super) async fn recover(
        &self,
        order: &CarriedOrder<'_>,
        hash: &str,
        now: OffsetDateTime,
    ) -> Result<OrderDecision, StoreError> {
        let snapshot = self.active_bindings.read(&self.store.pointer().await?).await?;
        let (store, assignments) = (self.store.clone(), self.assignments.clone());
        let planning = async move {
            match recover::plan(&store, snapshot, assignments.as_ref(), &|_| {}).await {
                Err(RecoverError::Store(error)) => Err(error),
                planned => Ok(planned),
            }
        };
        let planned = self.recover_planner.plan((), self.store.clock.clone(), planning).await?;
        let plan = match planned {
            None => return Ok(OrderDecision::NotYet),
            Some(Ok(plan)) => plan,
            Some(Err(error)) => return self.without_plan(error, now).await,
        };
        if plan.is_empty() && plan.unlisted.is_empty() {
            return Ok(OrderDecision::Refuse(OrderRefusal::NothingLost));
        }
        if plan.is_empty() {
            let why =
                format!("nothing was lost elsewhere, and {} scopes were not listed", plan.unlisted.len());
            return Ok(OrderDecision::Refuse(OrderRefusal::RecoverUnknown { why }));
        }
        let planned = plan.hash();
        if planned != hash {
            return Ok(OrderDecision::Refuse(OrderRefusal::RecoverMoved { hash: planned }));
        }
        Ok(OrderDecision::CarryOut(OrderEffect {
            writes: vec![order.job(JobKind::Recover(Box::new(plan.rows())), Priority::Leaver)],
            changes: Vec::new(),
            detail: described(&plan),
        }))
    }

    /// What passes is waited for: the order stays placed.
    async fn without_plan(
        &self,
        error: RecoverError,
        now: OffsetDateTime,
    ) -> Result<OrderDecision, StoreError> {
        match &error {
            RecoverError::Azure { scope, source: AssignmentError::Throttled { retry_after, .. } } => {
                store_throttle(&self.store, &self.health, scope, CallKind::Ask, now, *retry_after).await?;
                Ok(OrderDecision::NotYet)
            }
            RecoverError::Azure { source: AssignmentError::Unknown { .. }, .. } => {
                log_event!(WorkDeferred, error = %ErrorChain(&error), "the plan of a recovery is made again by the next tick");
                Ok(OrderDecision::NotYet)
            }
            _ => {
                let why = ErrorChain(&error).to_string();
                Ok(OrderDecision::Refuse(OrderRefusal::RecoverUnknown { why }))
            }
        }
    }
}

fn described(plan: &RecoverPlan) -> String {
    let kept = plan.lost.iter().filter(|lost| lost.is_wanted).count();
    let revoked = plan.lost.len() - kept;
    let unlisted = match plan.unlisted.len() {
        0 => String::new(),
        scopes => format!("; {scopes} scopes were not listed"),
    };
    let more = if plan.is_cut { "; there is more, so recover once more afterwards" } else { "" };
    format!(
        "{} assignments come back into the ledger: {kept} stay, {revoked} are revoked{unlisted}{more}",
        plan.lost.len()
    )
}
