//! `recover --begin`: what follows a loss of the state.

use crate::audit::AuditEvent;
use crate::service::orders::pause::lever_of;
use crate::service::orders::{CarriedOrder, OrderDecision, OrderEffect, OrderRefusal, Orders};
use crate::store::StoreError;
use crate::store::levers;
use crate::store::orders::PlacedOrder;
use crate::store::state_hold::StateHold;
use std::time::Duration;
use time::OffsetDateTime;

/// Orders among which the one is looked for that begins anew.
const ORDERS_MAX: usize = 100;

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
        let (Some(StateHold::Lost(Some(lost))), Some(instance)) = (&settings.hold, settings.instance) else {
            return Ok(OrderDecision::Refuse(OrderRefusal::NotLost));
        };
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
}
