//! Bulk requests: one operation after the other, each as it would be alone, with its own result.
//!
//! Nothing is held together: an operation is a transaction of its own, so what a cut leaves is a set of whole operations, each
//! after those that it refers to.

use crate::error_chain::ErrorChain;
use crate::events::log_event;
use crate::id::{GroupId, UserId};
use crate::scim::bulk::{self, BulkAction, BulkCall, BulkStep, ReferenceState, ResourceBody};
use crate::scim::{self, BulkOperation, BulkRequest, PatchRequest, Preconditions, Projection, ResourceType};
use crate::service::provisioning::resource_answer::ResourceAnswer;
use crate::service::provisioning::{Provisioning, RenderedResource, RequestTarget};
use crate::service::{ScimCaller, ServiceError};
use crate::store::StoreError;
use crate::store::resources::{self, ResourceId};
use std::collections::HashMap;
use std::time::Duration;

/// How long a bulk request is worked on. Operations that were not begun by then are not carried out.
const ELAPSED_MAX: Duration = Duration::from_secs(20);

/// What became of one operation.
#[derive(Debug)]
pub struct OperationResult {
    /// Its place in the request, from 1.
    pub number: usize,
    pub method: String,
    pub bulk_id: Option<String>,
    /// The address of the resource, where there is one.
    pub location: Option<String>,
    pub version: Option<String>,
    /// The status of a success.
    pub outcome: Result<u16, ServiceError>,
}

/// An operation on its way.
struct OperationState {
    method: String,
    bulk_id: Option<String>,
    call: Option<Result<BulkCall, scim::Error>>,
    /// What is added to the resource that it has created.
    join: Option<(ResourceType, PatchRequest)>,
    location: Option<String>,
    version: Option<String>,
    /// None: it was not begun.
    outcome: Option<Result<u16, ServiceError>>,
}

/// What came of an operation that was to create something.
enum CreateOutcome {
    /// The id of the new resource.
    Created(String),
    Failed {
        existing: NameOwner,
    },
}

/// Who has the name that an operation was to give.
enum NameOwner {
    /// No one, or the operation says no name.
    Nobody,
    /// The resource of this id.
    Resource(String),
    /// That could not be read.
    Unknown,
}

/// The operations of a request while they are carried out.
struct BulkRun<'a> {
    service: &'a Provisioning,
    caller: ScimCaller,
    deadline: Duration,
    errors_left: u64,
    operations: Vec<OperationState>,
    /// What came of each bulkId.
    created: HashMap<String, CreateOutcome>,
    /// The bulkIds of all operations that create.
    creators: HashMap<String, usize>,
}

impl Provisioning {
    /// Carries out a bulk request (RFC 7644 section 3.7). The results are in the order of the request; of operations that were
    /// not begun because of too many errors there is none.
    pub async fn run_bulk(&self, caller: &ScimCaller, mut request: BulkRequest) -> Vec<OperationResult> {
        let deadline = self.store.clock.monotonic() + ELAPSED_MAX;
        let steps = bulk::order(&mut request.operations);
        let creators = request.operations.iter().enumerate();
        let creators = creators.filter_map(|(at, one)| Some((one.creates()?.to_owned(), at))).collect();
        let mut run = BulkRun {
            service: self,
            caller: caller.in_bulk(deadline),
            deadline,
            errors_left: request.errors_max.map_or(u64::MAX, |errors| errors.max(1)),
            operations: request.operations.into_iter().map(OperationState::new).collect(),
            created: HashMap::new(),
            creators,
        };
        for step in steps {
            match step {
                BulkStep::Run(at) if run.errors_left > 0 => run.run_operation(at).await,
                BulkStep::Run(_) => {}
                BulkStep::Join(at) => run.join(at).await,
            }
        }
        let results = (1..).zip(run.operations);
        results.filter_map(|(number, operation)| operation.result(number)).collect()
    }
}

impl OperationState {
    fn new(operation: BulkOperation) -> Self {
        let BulkOperation { method, bulk_id, call } = operation;
        Self { method, bulk_id, call: Some(call), join: None, location: None, version: None, outcome: None }
    }

    fn result(self, number: usize) -> Option<OperationResult> {
        let Self { method, bulk_id, location, version, outcome, .. } = self;
        Some(OperationResult { number, method, bulk_id, location, version, outcome: outcome? })
    }

    /// Shows the resource as it is now.
    fn show(&mut self, resource: &RenderedResource) {
        self.location = Some(resource.location.clone());
        self.version = Some(resource.version.clone());
    }
}

/// What a success says.
struct OperationSuccess {
    status: u16,
    resource: Option<RenderedResource>,
}

impl BulkRun<'_> {
    async fn run_operation(&mut self, at: usize) {
        let Some(mut call) = self.operations.get_mut(at).and_then(|operation| operation.call.take()) else {
            return;
        };
        self.caller.operation = Some(at + 1);
        let name = call.as_mut().ok().and_then(BulkCall::new_name);
        let kind = call.as_ref().ok().map(|call| call.kind);
        if let (Ok(call), Some(operation)) = (&call, self.operations.get_mut(at)) {
            operation.location = self.service.location_of(call);
        }
        let is_late = self.is_late();
        let outcome = match call {
            _ if is_late => Err(not_begun()),
            Err(error) => Err(error.into()),
            Ok(call) => self.carry_out(at, call).await,
        };
        // Whatever it failed of, what it was to create may exist: the request may be sent again.
        let existing = match (&outcome, kind, name) {
            (Err(_), Some(kind), Some(name)) if !is_late => self.name_owner(kind, &name).await,
            _ => NameOwner::Nobody,
        };
        let is_failed = outcome.is_err() && !is_late;
        let Some(operation) = self.operations.get_mut(at) else { return };
        let created = match outcome {
            Ok(OperationSuccess { status, resource }) => {
                resource.iter().for_each(|resource| operation.show(resource));
                operation.outcome = Some(Ok(status));
                resource.map(|resource| resource.id)
            }
            Err(error) => {
                operation.outcome = Some(Err(error));
                None
            }
        };
        if let Some(bulk_id) = operation.bulk_id.clone().filter(|_| operation.method == "POST") {
            let outcome = created.map_or(CreateOutcome::Failed { existing }, CreateOutcome::Created);
            self.created.insert(bulk_id, outcome);
        }
        self.errors_left -= u64::from(is_failed);
    }

    async fn carry_out(&mut self, at: usize, mut call: BulkCall) -> Result<OperationSuccess, ServiceError> {
        let members = self.lost_members(&mut call).await?;
        let join = call.resolve(|bulk_id| match members.get(bulk_id) {
            Some(id) => ReferenceState::LostMember(id),
            None => self.state_of(bulk_id),
        });
        if let Some(operation) = self.operations.get_mut(at) {
            operation.location = self.service.location_of(&call);
            operation.join = join?.map(|join| (call.kind, join));
        }
        let BulkCall { kind, preconditions, action } = call;
        match kind {
            ResourceType::User => self.service.run_for_user(&self.caller, preconditions, action).await,
            ResourceType::Group => self.service.run_for_group(&self.caller, preconditions, action).await,
        }
    }

    fn state_of(&self, bulk_id: &str) -> ReferenceState<'_> {
        match self.created.get(bulk_id) {
            Some(CreateOutcome::Created(id)) => ReferenceState::Created(id),
            Some(CreateOutcome::Failed { .. }) => ReferenceState::Lost,
            None if self.creators.contains_key(bulk_id) => ReferenceState::Pending,
            None => ReferenceState::Lost,
        }
    }

    /// The lost references of a change of a group that mean members of it, with their ids: what they were to create exists.
    /// 503 where that is not known of one and everyone who is not named would be removed.
    async fn lost_members(&self, call: &mut BulkCall) -> Result<HashMap<String, String>, ServiceError> {
        let mut members = HashMap::new();
        let Some((group, references)) = call.group_references() else { return Ok(members) };
        let Some(group) = GroupId::from_text(&group) else { return Ok(members) };
        for bulk_id in references {
            let id = match self.created.get(&bulk_id) {
                Some(CreateOutcome::Failed { existing: NameOwner::Resource(id) }) => id,
                Some(CreateOutcome::Failed { existing: NameOwner::Unknown }) if call.replaces_members() => {
                    let detail = "whether a resource that this operation refers to exists cannot be read now";
                    return Err(scim::Error::unavailable(detail).into());
                }
                _ => continue,
            };
            let Some(existing) = UserId::from_text(id) else { continue };
            if self.service.store.find_member(group, existing.uuid()).await?.is_some() {
                members.insert(bulk_id, id.clone());
            }
        }
        Ok(members)
    }

    async fn name_owner(&self, kind: ResourceType, name: &str) -> NameOwner {
        match kind {
            ResourceType::User => owner(self.service.store.owner::<UserId>(name).await),
            ResourceType::Group => owner(self.service.store.owner::<GroupId>(name).await),
        }
    }

    /// Adds what refers to resources that were created after this one. Where that cannot be done now, the operation is not
    /// whole, and its result says so.
    async fn join(&mut self, at: usize) {
        let Some(operation) = self.operations.get_mut(at) else { return };
        let Some((kind, join)) = operation.join.take() else { return };
        self.caller.operation = Some(at + 1);
        let Some(bulk_id) = operation.bulk_id.clone() else { return };
        let Some(CreateOutcome::Created(id)) = self.created.get(&bulk_id) else { return };
        let id = id.clone();
        let (rest, lost) = join.resolve_pending(kind, |bulk_id| self.state_of(bulk_id));
        let joined = match rest {
            _ if self.is_late() => Err(not_joined()),
            Some(patch) => self.add(kind, id, patch).await,
            None => Ok(None),
        };
        let failed = match joined {
            Ok(resource) => {
                let operation = self.operations.get_mut(at);
                resource.iter().zip(operation).for_each(|(resource, operation)| operation.show(resource));
                lost.map(ServiceError::from)
            }
            Err(error) => Some(error),
        };
        if let (Some(error), Some(operation)) = (failed, self.operations.get_mut(at)) {
            operation.outcome = Some(Err(error));
            self.errors_left = self.errors_left.saturating_sub(1);
        }
    }

    async fn add(
        &self,
        kind: ResourceType,
        id: String,
        patch: PatchRequest,
    ) -> Result<Option<RenderedResource>, ServiceError> {
        let action = BulkAction::Patch(id, patch);
        let preconditions = Preconditions::default();
        let added = match kind {
            ResourceType::User => self.service.run_for_user(&self.caller, preconditions, action).await,
            ResourceType::Group => self.service.run_for_group(&self.caller, preconditions, action).await,
        };
        added.map(|success| success.resource)
    }

    fn is_late(&self) -> bool {
        self.service.store.clock.monotonic() >= self.deadline
    }
}

/// Whether the owner still exists does not matter: who is gone is a member of nothing.
fn owner<I: ResourceId>(owner: Result<Option<resources::NameOwner<I>>, StoreError>) -> NameOwner {
    match owner {
        Ok(Some(owner)) => NameOwner::Resource(owner.id.to_string()),
        // A row that is damaged says nothing, and would keep everyone else in for ever.
        Ok(None) | Err(StoreError::Corrupt { .. }) => NameOwner::Nobody,
        Err(error) => {
            log_event!(WorkDeferred, error = %ErrorChain(&error), "who has the name of a failed operation could not be read");
            NameOwner::Unknown
        }
    }
}

fn not_begun() -> ServiceError {
    let detail = "the bulk request took too long, and this operation was not begun; send it again";
    scim::Error::unavailable(detail).into()
}

fn not_joined() -> ServiceError {
    let detail = "the resource was created, but the bulk request took too long to add what it refers to; add it with a PATCH";
    scim::Error::unavailable(detail).into()
}

/// The id alone: the result of an operation shows nothing else, so nothing else is read.
fn bare(kind: ResourceType) -> Result<Projection, scim::Error> {
    Projection::parse(kind, Some("id"), None)
}

fn target<I: ResourceId>(id: &str, preconditions: Preconditions) -> Result<RequestTarget<I>, scim::Error> {
    match I::from_text(id) {
        Some(id) => Ok(RequestTarget { id, preconditions }),
        None => Err(preconditions.missing(I::KIND)),
    }
}

fn changed(resource: RenderedResource) -> OperationSuccess {
    OperationSuccess { status: 200, resource: Some(resource) }
}

fn created(resource: RenderedResource) -> OperationSuccess {
    OperationSuccess { status: 201, resource: Some(resource) }
}

const DELETED: OperationSuccess = OperationSuccess { status: 204, resource: None };

/// A body of the other kind cannot be: the path says which one is read.
fn wrong_kind() -> ServiceError {
    scim::Error::invalid_syntax("the data does not belong to the path").into()
}

impl Provisioning {
    /// The address of a resource that an operation names.
    fn location_of(&self, call: &BulkCall) -> Option<String> {
        let id = match &call.action {
            BulkAction::Create(_) => return None,
            BulkAction::Replace(id, _) | BulkAction::Patch(id, _) | BulkAction::Delete(id) => id,
        };
        let id = UserId::from_text(id)?;
        Some(format!("{}/{}/{id}", self.base_url, call.kind.endpoint()))
    }

    async fn run_for_user(
        &self,
        caller: &ScimCaller,
        preconditions: Preconditions,
        action: BulkAction,
    ) -> Result<OperationSuccess, ServiceError> {
        let shown = bare(ResourceType::User)?;
        match action {
            BulkAction::Create(ResourceBody::User(user)) => {
                self.create_user(caller, &user, &shown).await.map(created)
            }
            BulkAction::Replace(id, ResourceBody::User(user)) => {
                let target = target::<UserId>(&id, preconditions)?;
                self.replace_user(caller, target, &user, &shown).await.map(changed)
            }
            BulkAction::Patch(id, patch) => {
                let target = target::<UserId>(&id, preconditions)?;
                self.patch_user(caller, target, &patch, &shown).await.map(changed)
            }
            BulkAction::Delete(id) => {
                self.delete_user(caller, target::<UserId>(&id, preconditions)?).await.map(|()| DELETED)
            }
            BulkAction::Create(_) | BulkAction::Replace(..) => Err(wrong_kind()),
        }
    }

    async fn run_for_group(
        &self,
        caller: &ScimCaller,
        preconditions: Preconditions,
        action: BulkAction,
    ) -> Result<OperationSuccess, ServiceError> {
        let shown = bare(ResourceType::Group)?;
        match action {
            BulkAction::Create(ResourceBody::Group(group)) => {
                self.create_group(caller, &group, &shown).await.map(created)
            }
            BulkAction::Replace(id, ResourceBody::Group(group)) => {
                let target = target::<GroupId>(&id, preconditions)?;
                self.replace_group(caller, target, &group, &shown).await.map(changed)
            }
            BulkAction::Patch(id, patch) => {
                let target = target::<GroupId>(&id, preconditions)?;
                let patched = self.patch_group(caller, target, &patch, &shown).await?;
                Ok(OperationSuccess { status: 200, resource: ResourceAnswer::shown(patched) })
            }
            BulkAction::Delete(id) => {
                self.delete_group(caller, target::<GroupId>(&id, preconditions)?).await.map(|()| DELETED)
            }
            BulkAction::Create(_) | BulkAction::Replace(..) => Err(wrong_kind()),
        }
    }
}
