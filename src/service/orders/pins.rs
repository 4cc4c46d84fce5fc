//! `repin BINDING GROUP`.

use crate::audit::AuditEvent;
use crate::bindings::Selector;
use crate::id::GroupId;
use crate::rbac::BindingName;
use crate::service::bindings::active::ActiveSnapshot;
use crate::service::orders::{CarriedOrder, OrderDecision, OrderEffect, OrderRefusal, Orders};
use crate::service::reconcile::desired::{GroupFacts, selects};
use crate::store::StoreError;
use crate::store::jobs::JobKind;
use crate::store::pins::{self, PinRow};
use crate::store::reconcile_queue::{self, Priority};
use crate::store::users::HeaderState;

impl Orders {
    /// The selector of a binding means another group from now on, for every binding that has it: the members of both groups are
    /// reconciled.
    pub(super) async fn repin(
        &self,
        order: &CarriedOrder<'_>,
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
            pins::pin_selector(key.clone(), attribute, &value, group, order.op, read.as_ref()).to_vec();
        let groups = group_before.into_iter().chain([group]);
        let request = order.request(Priority::Rebinding);
        writes.extend(groups.map(|group| reconcile_queue::enqueue_group(group, &request)));
        if matches!(pin, Some(PinRow::Unreadable)) {
            // Whose members held the role is not known.
            let everyone = JobKind::PeopleOfScope(configured.scope.clone());
            writes.push(order.job(everyone, Priority::Rebinding));
        }
        let bindings = snapshot.by_selector_key().filter(|(other, _)| *other == key);
        let names: Vec<&str> = bindings.map(|(_, binding)| binding.name.as_str()).collect();
        Ok(OrderDecision::CarryOut(OrderEffect {
            writes,
            changes: vec![AuditEvent::SelectorPinned { attribute, group_before, group }],
            detail: format!("pinned for {}; the members of both groups are enqueued", names.join(", ")),
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
