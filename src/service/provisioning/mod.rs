//! Provisioning: what a SCIM client asks to be created, read, changed, deleted and listed.
//!
//! A write has three steps: read what it needs, decide with a pure function (`plan_…`), commit one transaction. A
//! row that changed meanwhile means reading again. What follows from a commit is [`Effects`]' business, and what a
//! person may do in Azure is decided elsewhere.

mod conflict_retry;
mod create;
mod delete;
mod group_view;
mod groups;
mod list;
mod matches;
mod members;
mod read;
mod read_gate;
mod render;
mod resource_kind;
pub mod stream;
mod users;
mod write_plan;

pub use list::ListLimits;

use crate::id::PrincipalId;
use crate::scim::{self, DecidingAttributes, EditedResource, Resource, ScimType};
use crate::service::bindings::active::{ActiveBindings, BindingRulesSource};
use crate::service::health::HealthStatus;
use crate::service::join_reads::join_reads;
use crate::service::keyed_mutex::KeyedMutex;
use crate::service::reconcile::desired::principal_of;
use crate::service::reconcile_queue::inline::{FollowUp, InlineReconciler};
use crate::service::{ScimCaller, ServiceError};
use crate::store::batch::BatchPart;
use crate::store::counters::ResourceCounters;
use crate::store::resources::{ResourceId, StoredResource};
use crate::store::{CommittedWrites, FoundRow, MayMiss, StateStore, StoreError};
use conflict_retry::ConflictRetry;
use group_view::GroupView;
use read_gate::ReadGate;
use std::sync::Arc;
use write_plan::{WriteOperation, WritePlan};

/// What provisioning works with.
pub struct ProvisioningDeps {
    pub store: StateStore,
    /// Ends in `/scim/v2`.
    pub base_url: String,
    pub rules: BindingRulesSource,
    pub active_bindings: Arc<ActiveBindings>,
    pub health: Arc<HealthStatus>,
    pub inline: Arc<InlineReconciler>,
}

/// The use cases behind `/Users` and `/Groups`.
pub struct Provisioning {
    store: StateStore,
    base_url: String,
    rules: BindingRulesSource,
    active_bindings: Arc<ActiveBindings>,
    health: Arc<HealthStatus>,
    inline: Arc<InlineReconciler>,
    queue: Arc<KeyedMutex>,
    counters: ResourceCounters,
    view: GroupView,
    list_limits: ListLimits,
    gate: ReadGate,
}

/// A resource as a request left it, and what is to be done about it.
struct Written<I> {
    stored: StoredResource<I>,
    work: FollowUp,
}

impl<I> Written<I> {
    /// Nothing was to be done.
    fn unchanged(stored: StoredResource<I>) -> Self {
        Self { stored, work: FollowUp::default() }
    }
}

/// What a request that takes access away leaves as it was, because writing it turned out to be impossible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forgone {
    Nothing,
    /// The unique name: it is another's.
    Name,
    /// Every attribute but `active`: all of them do not fit.
    Attributes,
}

impl Forgone {
    /// What to forgo after this attempt; none where nothing can be gained by it.
    fn after(self, attempt: &Result<WriteAttempt, ServiceError>) -> Option<Self> {
        match attempt {
            Ok(WriteAttempt::Met(BatchPart::Name, FoundRow::There)) if self == Forgone::Nothing => {
                Some(Forgone::Name)
            }
            Err(ServiceError::Scim(error)) if error.status == 413 && self != Forgone::Attributes => {
                Some(Forgone::Attributes)
            }
            _ => None,
        }
    }

    fn take_from<I: ResourceId>(self, edited: &mut EditedResource, current: &Resource) {
        match self {
            Forgone::Nothing => {}
            Forgone::Name => edited.keep_current(current, |name| name == I::NAME),
            Forgone::Attributes => edited.keep_current(current, |name| name != "active"),
        }
    }
}

/// What came of a commit.
enum WriteAttempt {
    Done(CommittedWrites),
    /// Nothing was written: the write that plays this part met a row that is so.
    Met(BatchPart, FoundRow),
}

impl Provisioning {
    pub fn new(deps: ProvisioningDeps) -> Self {
        let ProvisioningDeps { store, base_url, rules, active_bindings, health, inline } = deps;
        let view = GroupView { store: store.clone(), base_url: base_url.clone() };
        let list_limits = ListLimits::default();
        let gate = ReadGate::new(list_limits.lists_max);
        Self {
            store,
            base_url,
            rules,
            active_bindings,
            health,
            inline,
            queue: Arc::default(),
            counters: ResourceCounters::default(),
            view,
            list_limits,
            gate,
        }
    }

    /// The same with other limits of lists.
    pub fn with_list_limits(self, list_limits: ListLimits) -> Self {
        Self { gate: ReadGate::new(list_limits.lists_max), list_limits, ..self }
    }

    fn operation(&self, caller: &ScimCaller) -> WriteOperation {
        WriteOperation::new(caller.origin(self.store.ids.op()), self.store.clock.now())
    }

    fn tries(&self) -> ConflictRetry<'_> {
        ConflictRetry::new(&self.store)
    }

    fn principal(&self, resource: &Resource) -> Option<PrincipalId> {
        principal_of(resource, &(self.rules)().sources)
    }

    fn deciding(&self) -> Arc<DecidingAttributes> {
        (self.rules)().deciding
    }

    /// One line about what a request wanted and could not have: somebody maps what cannot be kept.
    fn log_dropped<I: ResourceId>(&self, caller: &ScimCaller, id: I, dropped: &[String]) {
        if !dropped.is_empty() {
            tracing::info!(
                resource.type = I::KIND.name(),
                resource.id = %id,
                token = caller.token_label,
                attributes = dropped.join(", "),
                "attributes of a request were dropped, the rest was applied"
            );
        }
    }

    async fn commit(
        &self,
        operation: &WriteOperation,
        plan: &WritePlan,
    ) -> Result<WriteAttempt, ServiceError> {
        self.commit_with(operation, plan, MayMiss::Indexes).await
    }

    async fn commit_with(
        &self,
        operation: &WriteOperation,
        plan: &WritePlan,
        may_miss: MayMiss,
    ) -> Result<WriteAttempt, ServiceError> {
        match self.store.commit_batch(&operation.record(plan), &plan.batch, may_miss).await {
            Ok(committed) => Ok(WriteAttempt::Done(committed)),
            Err(StoreError::Conflict { index, found }) => {
                Ok(WriteAttempt::Met(plan.batch.part(index).unwrap_or(BatchPart::Header), found))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sets off what a commit left to do; nothing, where nothing was committed.
    async fn follow_up(&self, work: FollowUp) {
        self.inline.start_and_wait(work).await;
    }
}

/// Reads the id of a path. What cannot be an id is nobody's.
fn parse_id<I: ResourceId>(text: &str) -> Result<I, ServiceError> {
    I::from_text(text).ok_or_else(not_found::<I>)
}

fn not_found<I: ResourceId>() -> ServiceError {
    scim::Error::new(404, None, format!("there is no {} with this id", I::KIND.name())).into()
}

fn taken<I: ResourceId>() -> ServiceError {
    let (kind, name) = (I::KIND.name(), I::NAME);
    let detail = format!("a {kind} with this {name} exists; find it with the filter {name} eq \"…\"");
    scim::Error::new(409, Some(ScimType::Uniqueness), detail).into()
}
