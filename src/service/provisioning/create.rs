//! Creates. Nothing is read first: the inserts of name and Entra object id decide, and the counter is remembered.

use crate::audit::AuditEvent;
use crate::id::{PrincipalId, UserId};
use crate::scim::compare::{CaseMode, key};
use crate::scim::{EditedResource, Projection, Resource, UserInput};
use crate::service::provisioning::write_plan::{self, WriteKind, WriteOperation, WritePlan};
use crate::service::provisioning::{Provisioning, WriteAttempt, WrittenResource, name_taken};
use crate::service::reconcile_queue::inline::FollowUp;
use crate::service::{RenderedResource, ScimCaller, ServiceError};
use crate::store::ETag;
use crate::store::StoreError;
use crate::store::batch::{BatchPart, WriteBatch};
use crate::store::counters::Held;
use crate::store::jobs::{self, JobKind};
use crate::store::reconcile_queue;
use crate::store::resources::{self, ResourceId, StoredResource, User};
use crate::store::users;

impl Provisioning {
    /// Creates a user, or replaces one who left under the same name and external id.
    pub async fn create_user(
        &self,
        caller: &ScimCaller,
        input: &UserInput,
        projection: &Projection,
    ) -> Result<RenderedResource, ServiceError> {
        let id = UserId::of(self.store.ids.random());
        let stored = self.create_user_as(caller, id, input).await?;
        self.answer_new_user(stored, projection).await
    }

    /// The same, under an id that was chosen for it before.
    pub(in crate::service) async fn create_user_as(
        &self,
        caller: &ScimCaller,
        id: UserId,
        input: &UserInput,
    ) -> Result<User, ServiceError> {
        let edited = input.create(&self.deciding())?;
        let WrittenResource { stored, follow_up } = self.store_user(caller, id, &edited).await?;
        self.log_dropped(caller, stored.id, &edited.dropped);
        self.start_follow_up(caller, follow_up).await;
        Ok(stored)
    }

    async fn store_user(
        &self,
        caller: &ScimCaller,
        id: UserId,
        edited: &EditedResource,
    ) -> Result<WrittenResource<UserId>, ServiceError> {
        let resource = &edited.resource;
        let mut principal = self.principal(resource);
        let mut left_name = None;
        let mut retry = self.conflict_retry(caller);
        loop {
            let mut counter = self.counters.hold(id).await;
            counter.load::<UserId>(&self.store).await?;
            let operation = self.operation(caller);
            let new = new_user(&operation, id, resource, principal);
            let mut plan = plan_create(&operation, &new, left_name.as_ref());
            plan.changes.extend(write_plan::dropped(&new, &edited.dropped));
            plan.batch.append(counter.write(1));
            match self.commit(&operation, &plan).await? {
                WriteAttempt::Done(committed) => {
                    counter.committed(1, &plan.batch, &committed);
                    let stored = new.committed(&plan.batch, &committed);
                    return Ok(WrittenResource { stored, follow_up: plan.follow_up });
                }
                WriteAttempt::Conflict { part: BatchPart::Name, .. } => {
                    drop(counter);
                    match self.name_holder::<UserId>(resource.text(UserId::NAME).unwrap_or_default()).await? {
                        NameHolder::Free => left_name = None,
                        NameHolder::LeftBehind(etag) => left_name = Some(etag),
                        NameHolder::Living { resource: leaver, name_etag } => {
                            let leaver = LeaverInTheWay { leaver, name_etag };
                            let replaced = self.replace_leaver(caller, &leaver, id, edited, principal);
                            if let Some(written) = replaced.await? {
                                return Ok(written);
                            }
                        }
                    }
                }
                WriteAttempt::Conflict { part: BatchPart::Pin, .. } => {
                    principal = None;
                    continue;
                }
                WriteAttempt::Conflict { .. } => counter.forget(),
            }
            retry.pause().await?;
        }
    }

    /// None: what was there has changed meanwhile, and creating may work now.
    async fn replace_leaver(
        &self,
        caller: &ScimCaller,
        LeaverInTheWay { leaver, name_etag }: &LeaverInTheWay,
        id: UserId,
        edited: &EditedResource,
        mut principal: Option<PrincipalId>,
    ) -> Result<Option<WrittenResource<UserId>>, ServiceError> {
        let resource = &edited.resource;
        if leaver.id == id || !may_replace(leaver, resource) {
            return Err(name_taken::<UserId>());
        }
        let mut counters = self.counters.hold_two(leaver.id, id).await;
        for counter in &mut counters {
            counter.load::<UserId>(&self.store).await?;
        }
        loop {
            let operation = self.operation(caller);
            let new = new_user(&operation, id, resource, principal);
            let counted = count_replacement(&counters, leaver.id, id);
            let mut plan = plan_replacement(&operation, leaver, &new, name_etag, counted);
            plan.changes.extend(write_plan::dropped(&new, &edited.dropped));
            match self.commit(&operation, &plan).await? {
                WriteAttempt::Done(committed) => {
                    for counter in &mut counters {
                        counter.committed(counter_step(counter, leaver.id, id), &plan.batch, &committed);
                    }
                    let stored = new.committed(&plan.batch, &committed);
                    return Ok(Some(WrittenResource { stored, follow_up: plan.follow_up }));
                }
                WriteAttempt::Conflict { part: BatchPart::Pin, .. } => principal = None,
                WriteAttempt::Conflict { .. } => {
                    counters.into_iter().for_each(Held::forget);
                    return Ok(None);
                }
            }
        }
    }
}

/// A user who left, and whose name a new user asks for.
struct LeaverInTheWay {
    leaver: User,
    /// The version of the name's row.
    name_etag: ETag,
}

/// Who has a unique name.
pub(super) enum NameHolder<I> {
    Free,
    /// The row of the name is there, and its owner is gone or has another name: it may be taken over in this version.
    LeftBehind(ETag),
    /// A resource that has it, and the version of the name's row.
    Living {
        resource: StoredResource<I>,
        name_etag: ETag,
    },
}

impl Provisioning {
    /// Who has a name whose insert failed. The row of a name goes with its owner, except where the owner's header could not
    /// be read when it was deleted.
    pub(super) async fn name_holder<I: ResourceId>(&self, name: &str) -> Result<NameHolder<I>, StoreError> {
        let Some(owner) = self.store.owner::<I>(name).await? else { return Ok(NameHolder::Free) };
        let living = self.store.resource(owner.id).await?;
        let has_it = |living: &StoredResource<I>| living.name().map(I::name_key) == Some(I::name_key(name));
        Ok(match living.filter(has_it) {
            Some(resource) => NameHolder::Living { resource, name_etag: owner.etag },
            None => NameHolder::LeftBehind(owner.etag),
        })
    }
}

/// Whether the newcomer is the leaver, who comes back under the same name and external id.
fn may_replace(leaver: &User, newcomer: &Resource) -> bool {
    !leaver.resource.active()
        && compares_equal(&leaver.resource, newcomer, UserId::NAME, CaseMode::Folded)
        && compares_equal(&leaver.resource, newcomer, "externalId", CaseMode::Exact)
}

/// Whether both have the attribute, and it compares equal.
fn compares_equal(one: &Resource, other: &Resource, attribute: &str, mode: CaseMode) -> bool {
    let key = |resource: &Resource| {
        resource.text(attribute).map(|text| key(text, mode)).filter(|key| !key.is_empty())
    };
    key(one).is_some_and(|found| key(other) == Some(found))
}

fn new_user(
    operation: &WriteOperation,
    id: UserId,
    resource: &Resource,
    principal: Option<PrincipalId>,
) -> User {
    let mut user = StoredResource::new(id, resource.clone(), operation.time);
    user.pinned = principal;
    user
}

/// A new user, and with `pinned` the right to act on that Entra object.
fn plan_create(operation: &WriteOperation, new: &User, left_name: Option<&ETag>) -> WritePlan {
    let mut plan = WritePlan::new(new.id, WriteKind::Create);
    plan.batch = resources::create(new, left_name);
    plan.changes.push(write_plan::created(new));
    add_own_rows(&mut plan, operation, new);
    plan
}

/// A new user in the place of one who left: delete and create in one, and nothing is inherited.
fn plan_replacement(
    operation: &WriteOperation,
    leaver: &User,
    new: &User,
    name_etag: &ETag,
    counted: WriteBatch,
) -> WritePlan {
    let request = operation.reconcile_request(true);
    let mut plan = WritePlan::new(new.id, WriteKind::Create);
    plan.batch = resources::create(new, Some(name_etag));
    plan.batch.append(resources::remove(leaver, false));
    plan.changes = vec![write_plan::deleted(leaver), write_plan::created(new)];
    add_own_rows(&mut plan, operation, new);
    plan.batch.append(counted);
    plan.batch.extend(BatchPart::Request, reconcile_queue::enqueue_now(leaver.id, &request));
    plan.batch.push(
        BatchPart::Request,
        jobs::insert_job(JobKind::DeleteUser(leaver.id), &request, leaver.revision + 1),
    );
    plan.follow_up = FollowUp { leavers: vec![leaver.id], jobs: vec![operation.op], ..FollowUp::default() };
    plan
}

/// Adds the rows that a new user has beside header and indexes.
fn add_own_rows(plan: &mut WritePlan, operation: &WriteOperation, new: &User) {
    plan.batch.push(BatchPart::Names, users::names(new));
    if let Some(principal) = new.pinned {
        plan.batch.append(users::pin(new.id, principal, operation.op));
        plan.changes.push(AuditEvent::PrincipalPinned { person: new.id, principal });
    }
}

/// What a replacement counts: nothing, where both ids are counted by one row.
fn count_replacement(counters: &[Held], leaver: UserId, newcomer: UserId) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for counter in counters {
        match counter_step(counter, leaver, newcomer) {
            0 => {}
            step => batch.append(counter.write(step)),
        }
    }
    batch
}

fn counter_step(counter: &Held, leaver: UserId, newcomer: UserId) -> i64 {
    i64::from(counter.counts(newcomer)) - i64::from(counter.counts(leaver))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::ResourceType;
    use serde_json::{Value, json};
    use time::OffsetDateTime;
    use uuid::Uuid;

    fn resource(attributes: Value) -> Resource {
        Resource::from_stored(ResourceType::User, attributes.as_object().unwrap().clone())
    }

    #[track_caller]
    fn check(leaver: Value, newcomer: Value, expected: bool) {
        let leaver =
            StoredResource::new(UserId::new(Uuid::nil()), resource(leaver), OffsetDateTime::UNIX_EPOCH);
        assert_eq!(may_replace(&leaver, &resource(newcomer)), expected);
    }

    #[test]
    fn only_a_leaver_with_the_same_name_and_external_id_is_replaced() {
        let gone = json!({"userName": "Ana", "externalId": "e1", "active": false});
        check(gone.clone(), json!({"userName": "ana", "externalId": "e1"}), true);
        check(gone.clone(), json!({"userName": "ana", "externalId": "E1"}), false);
        check(gone.clone(), json!({"userName": "ana"}), false);
        check(gone, json!({"userName": "anna", "externalId": "e1"}), false);
        let unnamed = json!({"userName": "ana", "active": false});
        check(unnamed.clone(), unnamed, false);
        let here = json!({"userName": "ana", "externalId": "e1", "active": true});
        check(here.clone(), here, false);
    }

    #[test]
    fn the_name_comes_before_the_pin_and_the_counter() {
        let origin = crate::audit::ChangeOrigin {
            cause: crate::audit::ChangeCause::Request,
            actor: "test".to_owned(),
            op: crate::id::OpId::new(Uuid::nil()),
        };
        let operation = WriteOperation::new(origin, OffsetDateTime::UNIX_EPOCH, true);
        let id = UserId::new(Uuid::nil());
        let principal = PrincipalId::new(Uuid::max());
        let user = resource(json!({"userName": "ana", "emails": [{"value": "a@b"}, {"value": "A@B"}]}));
        let mut counted = WriteBatch::default();
        let count = crate::ports::tables::TableWrite::Insert {
            key: "cu:00".to_owned(),
            properties: Default::default(),
        };
        counted.push(BatchPart::Counter, count);
        let new = new_user(&operation, id, &user, Some(principal));
        let mut plan = plan_create(&operation, &new, None);
        plan.batch.append(counted);
        let parts: Vec<BatchPart> = (0..8).map_while(|index| plan.batch.part(index)).collect();
        let expected = [
            BatchPart::Name,
            BatchPart::Header,
            BatchPart::Index,
            BatchPart::Names,
            BatchPart::Pin,
            BatchPart::Pin,
            BatchPart::Counter,
        ];
        assert_eq!(parts, expected);
    }
}
