//! `repin BINDING GROUP`.

use crate::audit::AuditEvent;
use crate::bindings::Selector;
use crate::id::GroupId;
use crate::orders::Order;
use crate::rbac::BindingName;
use crate::service::bindings::active::ActiveSnapshot;
use crate::service::orders::{OrderDecision, OrderEffect, OrderRefusal, Orders, request_of};
use crate::service::reconcile::desired::{GroupFacts, selects};
use crate::store::pins::{self, PinRow};
use crate::store::users::HeaderState;
use crate::store::{StoreError, reconcile_queue};

impl Orders {
    /// The selector of a binding means another group from now on: the members of both groups are reconciled.
    pub(super) async fn repin(
        &self,
        order: &Order,
        binding: &BindingName,
        group: GroupId,
    ) -> Result<OrderDecision, StoreError> {
        let snapshot = match self.active_bindings.read(&self.store.pointer().await?).await? {
            ActiveSnapshot::Known(snapshot) => snapshot,
            ActiveSnapshot::Absent => return Ok(OrderDecision::Refuse(OrderRefusal::NoSuchBinding)),
            ActiveSnapshot::Unreadable => return Ok(OrderDecision::Refuse(OrderRefusal::BindingsUnreadable)),
        };
        let named = snapshot.by_selector_key().find(|(_, configured)| &configured.name == binding);
        let Some((key, configured)) = named else {
            return Ok(OrderDecision::Refuse(OrderRefusal::NoSuchBinding));
        };
        let selector = &configured.selector;
        if let Some(refusal) = self.refusal_of(selector, group).await? {
            return Ok(OrderDecision::Refuse(refusal));
        }
        let pin = self.store.selector_pin(key).await?;
        let pinned = pin.as_ref().and_then(PinRow::pinned);
        if pinned.is_some_and(|pin| pin.group == group) {
            return Ok(OrderDecision::Refuse(OrderRefusal::PinnedAlready));
        }
        let group_before = pinned.map(|pin| pin.group);
        let read = match &pin {
            Some(PinRow::Unreadable) => self.store.selector_pin_version(key).await?,
            _ => pinned.map(|pin| pin.etag.clone()),
        };
        let value = selector.value();
        let attribute = selector.attribute();
        let mut writes =
            pins::pin_selector(key.clone(), attribute, &value, group, order.id, read.as_ref()).to_vec();
        let groups = group_before.into_iter().chain([group]);
        writes.extend(groups.map(|group| reconcile_queue::enqueue_group(group, &request_of(order))));
        Ok(OrderDecision::CarryOut(OrderEffect {
            writes,
            changes: vec![AuditEvent::SelectorPinned { attribute, group_before, group }],
            detail: "pinned; the members of both groups are reconciled".to_owned(),
        }))
    }

    async fn refusal_of(
        &self,
        selector: &Selector,
        group: GroupId,
    ) -> Result<Option<OrderRefusal>, StoreError> {
        if matches!(selector, Selector::Id(_)) {
            return Ok(Some(OrderRefusal::SelectsById));
        }
        let HeaderState::Readable(resource) = self.store.group_attributes(group).await? else {
            return Ok(Some(OrderRefusal::NotACandidate));
        };
        let carries = selects(selector, &GroupFacts { id: group, resource });
        Ok((!carries).then_some(OrderRefusal::NotACandidate))
    }
}
