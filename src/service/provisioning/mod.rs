//! Provisioning: what a SCIM client asks to be created, read, changed, deleted and listed.
//!
//! A write has three steps: read what it needs, decide with a pure function (`plan_…`), commit one transaction. A
//! row that changed meanwhile means reading again. What follows from a commit is the business of [`InlineReconciler`], and
//! what a person may do in Azure is decided elsewhere.

pub(in crate::service) mod binding_rules;
mod bulk;
mod conflict_retry;
mod create;
mod cursor;
mod delete;
mod group_view;
mod groups;
mod known_members;
mod list;
mod list_limits;
mod list_page;
mod list_position;
mod list_search;
mod listed_kind;
mod matches;
mod member_job;
mod members;
mod memberships;
mod projection_needs;
mod read;
mod read_gate;
mod render;
mod rendered_resource;
mod request_target;
mod resource_answer;
mod resource_kind;
mod stream;
mod users;
mod write_plan;

pub use binding_rules::{BindingRules, BindingRulesSource};
pub use bulk::OperationResult;
pub use list_limits::ListLimits;
pub use rendered_resource::RenderedResource;
pub use request_target::RequestTarget;
pub use resource_answer::ResourceAnswer;
pub use stream::{ResourceListing, ResourceStream};

use crate::id::PrincipalId;
use crate::scim::{
    self, AskedAttributes, DecidingAttributes, DropReason, DroppedAttributes, EditedResource, Resource,
    ResourceType,
};
use crate::service::bindings::active::ActiveBindings;
use crate::service::health::HealthStatus;
use crate::service::keyed_mutex::KeyedMutex;
use crate::service::reconcile::desired::principal_of;
use crate::service::reconcile_queue::inline::{FollowUp, InlineReconciler};
use crate::service::request_log::RequestLog;
use crate::service::{ScimCaller, ServiceError};
use crate::store::batch::BatchPart;
use crate::store::counters::ResourceCounters;
use crate::store::cursor_key::CursorKey;
use crate::store::request_log::{RefusalKind, UnappliedCall};
use crate::store::resources::{ResourceId, StoredResource};
use crate::store::{CommittedWrites, FoundRow, MayMiss, StateStore, StoreError};
use conflict_retry::ConflictRetry;
use group_view::GroupView;
use read_gate::ReadGate;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::OnceCell;
use write_plan::{WriteKind, WriteOperation, WritePlan};

/// What the request log calls the removal of members.
const REMOVE_MEMBERS: &str = "remove members";

/// What provisioning works with.
pub struct ProvisioningDeps {
    pub store: StateStore,
    /// Ends in `/scim/v2`.
    pub base_url: String,
    pub rules: BindingRulesSource,
    pub active_bindings: Arc<ActiveBindings>,
    pub health: Arc<HealthStatus>,
    pub inline: Arc<InlineReconciler>,
    pub request_log: Arc<RequestLog>,
}

/// The use cases behind `/Users` and `/Groups`.
pub struct Provisioning {
    store: StateStore,
    base_url: String,
    rules: BindingRulesSource,
    active_bindings: Arc<ActiveBindings>,
    health: Arc<HealthStatus>,
    inline: Arc<InlineReconciler>,
    request_log: Arc<RequestLog>,
    queue: Arc<KeyedMutex>,
    counters: ResourceCounters,
    view: GroupView,
    list_limits: ListLimits,
    gate: ReadGate,
    /// Read when it is first needed.
    cursor_key: Arc<OnceCell<CursorKey>>,
}

/// A resource as a request left it, and what is to be done about it.
struct WrittenResource<I> {
    stored: StoredResource<I>,
    follow_up: FollowUp,
}

impl<I> WrittenResource<I> {
    /// Nothing was to be done.
    fn unchanged(stored: StoredResource<I>) -> Self {
        Self { stored, follow_up: FollowUp::default() }
    }
}

/// Attributes that a request wants changed and that stay as they were, because writing them turned out to be impossible:
/// a request that takes access away is carried out without them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SkippedAttributes {
    Nothing,
    /// The unique name: another resource has it.
    UniqueName,
    /// Every attribute but `active`: all of them do not fit.
    AllButActive,
}

impl SkippedAttributes {
    /// What to skip after this attempt; none where nothing can be gained by it.
    fn after(self, attempt: &Result<WriteAttempt, ServiceError>) -> Option<Self> {
        match attempt {
            Ok(WriteAttempt::Conflict { part: BatchPart::Name, found: FoundRow::There })
                if self == SkippedAttributes::Nothing =>
            {
                Some(SkippedAttributes::UniqueName)
            }
            Err(error) if self != SkippedAttributes::AllButActive => {
                let too_large = error.scim_error().is_some_and(scim::Error::is_payload_too_large);
                too_large.then_some(SkippedAttributes::AllButActive)
            }
            _ => None,
        }
    }

    fn keep_current<I: ResourceId>(self, edited: &mut EditedResource, current: &Resource) {
        match self {
            SkippedAttributes::Nothing => {}
            SkippedAttributes::UniqueName => {
                edited.keep_current(current, DropReason::Taken, |name| name == I::NAME);
            }
            SkippedAttributes::AllButActive => {
                edited.keep_current(current, DropReason::TooLarge, |name| name != "active");
            }
        }
    }
}

/// What came of a commit.
enum WriteAttempt {
    Done(CommittedWrites),
    /// Nothing was written: the row of this part is not as the write requires.
    Conflict {
        part: BatchPart,
        found: FoundRow,
    },
}

impl Provisioning {
    pub fn new(deps: ProvisioningDeps) -> Self {
        let ProvisioningDeps { store, base_url, rules, active_bindings, health, inline, request_log } = deps;
        let view = GroupView {
            store: store.clone(),
            active_bindings: active_bindings.clone(),
            base_url: base_url.clone(),
        };
        let list_limits = ListLimits::default();
        let gate = ReadGate::new(list_limits.lists_max);
        Self {
            store,
            base_url,
            rules,
            active_bindings,
            health,
            inline,
            request_log,
            queue: Arc::default(),
            counters: ResourceCounters::default(),
            view,
            list_limits,
            gate,
            cursor_key: Arc::default(),
        }
    }

    /// The same with other limits of lists.
    pub fn with_list_limits(self, list_limits: ListLimits) -> Self {
        Self { gate: ReadGate::new(list_limits.lists_max), list_limits, ..self }
    }

    fn operation(&self, caller: &ScimCaller) -> WriteOperation {
        let origin = caller.origin(self.store.ids.op());
        let operation = WriteOperation::new(origin, self.store.clock.now(), self.inline.has_room());
        operation.in_request(caller.request).fenced(caller.fence.clone())
    }

    fn conflict_retry(&self, caller: &ScimCaller) -> ConflictRetry<'_> {
        match caller.bulk_deadline() {
            None => ConflictRetry::new(&self.store),
            Some(deadline) => ConflictRetry::in_bulk(&self.store, deadline),
        }
    }

    fn principal(&self, resource: &Resource) -> Option<PrincipalId> {
        principal_of(resource, &(self.rules)().sources)
    }

    /// What a write asks for, as the request log keeps it.
    pub fn asked(&self, kind: ResourceType, body: &Value) -> AskedAttributes {
        let deciding = self.deciding();
        body.as_object().map(|body| AskedAttributes::of(kind, body, &deciding)).unwrap_or_default()
    }

    fn deciding(&self) -> Arc<DecidingAttributes> {
        (self.rules)().deciding
    }

    /// One line about attributes that a request names and that cannot be kept: the mapping of the client has to change.
    fn log_dropped<I: ResourceId>(&self, caller: &ScimCaller, id: I, dropped: &DroppedAttributes) {
        if !dropped.is_empty() {
            tracing::info!(
                resource.type = I::KIND.name(),
                resource.id = %id,
                token = caller.token_label,
                attributes = %dropped,
                "attributes of a request were dropped, the rest was applied"
            );
        }
    }

    /// Notes what a request asked for and no audit record has: where nothing `changed`, what was dropped; and who was to be taken
    /// out of the group and is no member of it.
    fn note_left_out<I: ResourceId>(
        &self,
        caller: &ScimCaller,
        id: I,
        (changed, dropped): (bool, &DroppedAttributes),
        absent: &BTreeSet<String>,
    ) {
        self.log_dropped(caller, id, dropped);
        let is_recorded = changed || dropped.is_empty();
        let asked = !is_recorded || !absent.is_empty();
        let Some(request) = caller.request.filter(|_| asked) else { return };
        let left_out = if is_recorded { String::new() } else { format!("; left out: {dropped}") };
        let (mut names, mut values, mut is_absent) = (Vec::new(), Vec::new(), "");
        if !is_recorded {
            names = dropped.names();
        }
        if !absent.is_empty() {
            is_absent = "; no member of the group has the ids that were to be taken out";
            names.push(REMOVE_MEMBERS.to_owned());
            values.push((REMOVE_MEMBERS.to_owned(), absent.iter().cloned().collect()));
        }
        let what = if changed { "the rest was applied" } else { "nothing changed" };
        let call = UnappliedCall {
            token: caller.token_label.clone(),
            method: String::new(),
            about: I::KIND.name().to_owned(),
            target: Some(id.to_string()),
            status: WriteKind::Change.status(),
            scim_type: None,
            detail: format!("{what}{is_absent}{left_out}"),
            names,
            values,
        };
        let (status, route) = (call.status, format!("PATCH or PUT /{}/{{id}}", I::KIND.endpoint()));
        if !self.request_log.note(request, caller.operation, call) {
            self.request_log.count(RefusalKind { status, scim_type: None, route, user_agent: String::new() });
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
        let record = operation.record(plan);
        let fenced = operation.fence.clone().map(|fence| {
            let mut batch = plan.batch.clone();
            batch.push(BatchPart::Fence, fence);
            batch
        });
        let batch = fenced.as_ref().unwrap_or(&plan.batch);
        let mut outcome = self.store.commit_batch(&record, batch, may_miss).await;
        if let Err(StoreError::Conflict { index, found: FoundRow::There }) = outcome
            && batch.part(index) == Some(BatchPart::Request)
        {
            outcome = self.store.commit_batch(&record, &batch.merging(index), may_miss).await;
            // What the row says now is not known, so its version stands for no read.
            outcome = outcome.map(|committed| committed.without_etag(index));
        }
        match outcome {
            Ok(committed) => Ok(WriteAttempt::Done(committed)),
            Err(StoreError::Conflict { index, found }) => match batch.part(index) {
                Some(BatchPart::Fence) => Err(StoreError::Conflict { index, found }.into()),
                part => Ok(WriteAttempt::Conflict { part: part.unwrap_or(BatchPart::Header), found }),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Starts what follows from a commit. An operation of a bulk request does not wait for it: others come after it.
    async fn start_follow_up(&self, caller: &ScimCaller, follow_up: FollowUp) {
        match caller.bulk_deadline() {
            None => self.inline.start_and_wait(follow_up).await,
            Some(_) => drop(self.inline.start(follow_up)),
        }
    }
}

fn not_found<I: ResourceId>() -> ServiceError {
    scim::Error::no_such_resource(I::KIND).into()
}

fn name_taken<I: ResourceId>() -> ServiceError {
    scim::Error::uniqueness(I::KIND, I::NAME).into()
}
