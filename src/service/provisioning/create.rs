//! Creates. Nothing is read first: the inserts of name and Entra object id decide, and the counter is remembered.

use crate::audit::AuditEvent;
use crate::id::{PrincipalId, UserId};
use crate::scim::compare::{CaseMode, key};
use crate::scim::{self, EditedResource, Projection, Resource};
use crate::service::provisioning::write_plan::{self, WriteOperation, WritePlan};
use crate::service::provisioning::{Provisioning, WriteAttempt, Written, taken};
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
use serde_json::Value;

impl Provisioning {
    /// Creates a user, or replaces one who left under the same name and external id.
    pub async fn create_user(
        &self,
        caller: &ScimCaller,
        body: &Value,
        projection: &Projection,
    ) -> Result<RenderedResource, ServiceError> {
        let edited = scim::user::create(body, &self.deciding())?;
        let Written { stored, work } = self.store_user(caller, &edited).await?;
        self.log_dropped(caller, stored.id, &edited.dropped);
        self.follow_up(work).await;
        self.answer_new_user(stored, projection).await
    }

    async fn store_user(
        &self,
        caller: &ScimCaller,
        edited: &EditedResource,
    ) -> Result<Written<UserId>, ServiceError> {
        let resource = &edited.resource;
        let id = UserId::of(self.store.ids.random());
        let mut principal = self.principal(resource);
        let mut left_name = None;
        let mut tries = self.tries();
        loop {
            let mut counter = self.counters.hold(id).await;
            counter.load::<UserId>(&self.store).await?;
            let operation = self.operation(caller);
            let new = new_user(&operation, id, resource, principal);
            let plan = plan_create(&operation, &new, left_name.as_ref(), (counter.write(1), &edited.dropped));
            match self.commit(&operation, &plan).await? {
                WriteAttempt::Done(committed) => {
                    counter.committed(1, &plan.batch, &committed);
                    return Ok(Written { stored: new.committed(&plan.batch, &committed), work: plan.work });
                }
                WriteAttempt::Met(BatchPart::Name, _) => {
                    drop(counter);
                    match self.name_holder::<UserId>(resource.text(UserId::NAME).unwrap_or_default()).await? {
                        NameHolder::Free => left_name = None,
                        NameHolder::LeftBehind(etag) => left_name = Some(etag),
                        NameHolder::Living(leaver, name) => {
                            let replaced =
                                self.replace_leaver(caller, (&leaver, &name), id, edited, principal);
                            if let Some(written) = replaced.await? {
                                return Ok(written);
                            }
                        }
                    }
                }
                WriteAttempt::Met(BatchPart::Pin, _) => {
                    principal = None;
                    continue;
                }
                WriteAttempt::Met(_, _) => counter.forget(),
            }
            tries.again().await?;
        }
    }

    /// None: what was there has changed meanwhile, and creating may work now.
    async fn replace_leaver(
        &self,
        caller: &ScimCaller,
        (leaver, name): (&User, &ETag),
        id: UserId,
        edited: &EditedResource,
        mut principal: Option<PrincipalId>,
    ) -> Result<Option<Written<UserId>>, ServiceError> {
        let resource = &edited.resource;
        if !may_replace(leaver, resource) {
            return Err(taken::<UserId>());
        }
        let mut counters = self.counters.hold_two(leaver.id, id).await;
        for counter in &mut counters {
            counter.load::<UserId>(&self.store).await?;
        }
        loop {
            let operation = self.operation(caller);
            let new = new_user(&operation, id, resource, principal);
            let counted = moved(&counters, leaver.id, id);
            let mut plan = plan_replacement(&operation, leaver, &new, name, counted);
            plan.changes.extend(write_plan::dropped(&new, &edited.dropped));
            match self.commit(&operation, &plan).await? {
                WriteAttempt::Done(committed) => {
                    for counter in &mut counters {
                        counter.committed(step(counter, leaver.id, id), &plan.batch, &committed);
                    }
                    let stored = new.committed(&plan.batch, &committed);
                    return Ok(Some(Written { stored, work: plan.work }));
                }
                WriteAttempt::Met(BatchPart::Pin, _) => principal = None,
                WriteAttempt::Met(_, _) => {
                    counters.into_iter().for_each(Held::forget);
                    return Ok(None);
                }
            }
        }
    }
}

/// Who has a unique name.
pub(super) enum NameHolder<I> {
    Free,
    /// The row of the name is there, and its owner is gone or has another name: it may be taken over in this version.
    LeftBehind(ETag),
    /// A resource that has it, and the version of the name's row.
    Living(StoredResource<I>, ETag),
}

impl Provisioning {
    /// Who has a name that an insert has met. The row of a name goes with its owner, except where the owner's header could not
    /// be read when it was deleted.
    pub(super) async fn name_holder<I: ResourceId>(&self, name: &str) -> Result<NameHolder<I>, StoreError> {
        let Some(owner) = self.store.owner::<I>(name).await? else { return Ok(NameHolder::Free) };
        let living = self.store.resource(owner.id).await?;
        let has_it = |living: &StoredResource<I>| living.name().map(I::name_key) == Some(I::name_key(name));
        Ok(match living.filter(has_it) {
            Some(living) => NameHolder::Living(living, owner.etag),
            None => NameHolder::LeftBehind(owner.etag),
        })
    }
}

/// Whether somebody who left comes back under the same name and external id.
fn may_replace(leaver: &User, newcomer: &Resource) -> bool {
    !leaver.resource.active()
        && same(&leaver.resource, newcomer, UserId::NAME, CaseMode::Folded)
        && same(&leaver.resource, newcomer, "externalId", CaseMode::Exact)
}

/// Whether both have the attribute, and it compares equal.
fn same(one: &Resource, other: &Resource, attribute: &str, mode: CaseMode) -> bool {
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
fn plan_create(
    operation: &WriteOperation,
    new: &User,
    left_name: Option<&ETag>,
    (counted, dropped): (WriteBatch, &[String]),
) -> WritePlan {
    let mut plan = WritePlan::new(new.id, 201);
    plan.batch = resources::create(new, left_name);
    plan.changes.push(write_plan::created(new));
    plan.changes.extend(write_plan::dropped(new, dropped));
    own(&mut plan, operation, new);
    plan.batch.append(counted);
    plan
}

/// A new user in the place of one who left: delete and create in one, and nothing is inherited.
fn plan_replacement(
    operation: &WriteOperation,
    leaver: &User,
    new: &User,
    name: &ETag,
    counted: WriteBatch,
) -> WritePlan {
    let mark = operation.mark(true);
    let mut plan = WritePlan::new(new.id, 201);
    plan.batch = resources::create(new, Some(name));
    plan.batch.append(resources::remove(leaver, false));
    plan.changes = vec![write_plan::deleted(leaver), write_plan::created(new)];
    own(&mut plan, operation, new);
    plan.batch.append(counted);
    plan.batch.extend(BatchPart::Look, reconcile_queue::enqueue_now(leaver.id, &mark));
    plan.batch
        .push(BatchPart::Look, jobs::insert_job(JobKind::DeleteUser(leaver.id), &mark, leaver.revision + 1));
    plan.work = FollowUp { leavers: vec![leaver.id], jobs: vec![operation.op], ..FollowUp::default() };
    plan
}

/// The rows that a new user has beside header and indexes.
fn own(plan: &mut WritePlan, operation: &WriteOperation, new: &User) {
    plan.batch.push(BatchPart::Names, users::names(new));
    if let Some(principal) = new.pinned {
        plan.batch.append(users::pin(new.id, principal, operation.op));
        plan.changes.push(AuditEvent::PrincipalPinned { person: new.id, principal });
    }
}

/// What a replacement counts: nothing, where both ids are counted by one row.
fn moved(counters: &[Held], leaver: UserId, newcomer: UserId) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for counter in counters {
        match step(counter, leaver, newcomer) {
            0 => {}
            step => batch.append(counter.write(step)),
        }
    }
    batch
}

fn step(counter: &Held, leaver: UserId, newcomer: UserId) -> i64 {
    i64::from(counter.counts(newcomer)) - i64::from(counter.counts(leaver))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::ResourceType;
    use serde_json::json;
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
    fn only_who_left_and_is_the_same_in_both_is_replaced() {
        let gone = json!({"userName": "Ana", "externalId": "e1", "active": false});
        check(gone.clone(), json!({"userName": "ana", "externalId": "e1"}), true);
        check(gone.clone(), json!({"userName": "ana", "externalId": "E1"}), false);
        check(gone.clone(), json!({"userName": "ana"}), false);
        check(gone, json!({"userName": "anna", "externalId": "e1"}), false);
        let nobody = json!({"userName": "ana", "active": false});
        check(nobody.clone(), nobody, false);
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
        let operation = WriteOperation::new(origin, OffsetDateTime::UNIX_EPOCH);
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
        let plan = plan_create(&operation, &new, None, (counted, &[]));
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
