//! Builds the services and hands each of them its ports. The only place that does.

use crate::ports::clock::Clock;
use crate::ports::ids::Ids;
use crate::ports::role_assignments::RoleAssignments;
use crate::ports::tables::TableOps;
use crate::service::effects::Effects;
use crate::service::provisioning::Provisioning;
use crate::service::reconcile::{EffectLimits, Reconciler};
use crate::service::snapshots::Snapshots;
use crate::service::tick::Tick;
use crate::store::Store;
use std::sync::Arc;
use std::time::Duration;

/// The real ends of the ports, and the settings.
pub struct Parts {
    pub tables: Arc<dyn TableOps>,
    pub assignments: Arc<dyn RoleAssignments>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn Ids>,
    /// The partition of this installation: `[a-z0-9-]{1,36}`.
    pub tenant: String,
    /// Public, ends in `/scim/v2`.
    pub base_url: String,
    pub effects: EffectLimits,
    /// How long a SCIM answer waits for its effects in Azure.
    pub inline_wait: Duration,
    /// How long one tick goes on.
    pub tick_deadline: Duration,
}

/// A service, ready to be served.
#[derive(Clone)]
pub struct Service {
    pub provisioning: Arc<Provisioning>,
    pub snapshots: Arc<Snapshots>,
    pub tick: Arc<Tick>,
    pub store: Store,
}

/// Puts a service together. Nothing is read yet.
pub fn build(parts: Parts) -> Service {
    let store = Store::new(parts.tables, parts.tenant, parts.clock, parts.ids);
    let snapshots = Arc::new(Snapshots::new(store.clone()));
    let reconciler = Reconciler::new(store.clone(), parts.assignments.clone(), snapshots.clone(), parts.effects);
    let effects = Effects::new(store.clone(), reconciler, snapshots.clone(), parts.inline_wait);
    let known = snapshots.clone();
    let principal_from = Arc::new(move || known.principal_from());
    let provisioning = Arc::new(Provisioning::new(store.clone(), effects.clone(), principal_from, parts.base_url));
    let tick = Arc::new(Tick::new(effects, parts.assignments, parts.tick_deadline));
    Service { provisioning, snapshots, tick, store }
}
