//! Users: reading one, and changing its attributes.

use crate::audit::AuditEvent;
use crate::id::{PrincipalId, UserId};
use crate::scim::{self, EditedResource, PatchRequest, Projection, Resource, UserInput};
use crate::service::provisioning::projection_needs::ProjectionNeeds;
use crate::service::provisioning::write_plan::{self, DecidedWrite, WriteKind, WriteOperation, WritePlan};
use crate::service::provisioning::{
    Provisioning, RequestTarget, ResourceAnswer, SkippedAttributes, WriteAttempt, WrittenResource, name_taken,
};
use crate::service::reconcile::desired::stops_matching;
use crate::service::{RenderedResource, ScimCaller, ServiceError};
use crate::store::batch::BatchPart;
use crate::store::resources::{self, User};
use crate::store::{FoundRow, reconcile_queue, users};
use std::collections::BTreeSet;

impl Provisioning {
    /// One user. Where the client has the version of it, the version alone, unless the answer shows what no version covers.
    pub async fn get_user(
        &self,
        target: impl Into<RequestTarget<UserId>>,
        projection: &Projection,
    ) -> Result<ResourceAnswer, ServiceError> {
        let target = target.into();
        let user = self.store.resource(target.id).await?.ok_or_else(|| target.missing())?;
        let is_covered = ProjectionNeeds::of::<UserId>(|attribute| projection.wants(attribute)).is_nothing();
        if is_covered && let Some(version) = target.not_modified(&user.version())? {
            return Ok(ResourceAnswer::VersionOnly(version));
        }
        let shown = self.answer_user(user, projection).await?.ok_or_else(|| target.missing())?;
        target.answer_read(shown)
    }

    /// Replaces the attributes (RFC 7644 section 3.5.1).
    pub async fn replace_user(
        &self,
        caller: &ScimCaller,
        target: impl Into<RequestTarget<UserId>>,
        input: &UserInput,
        projection: &Projection,
    ) -> Result<RenderedResource, ServiceError> {
        let deciding = self.deciding();
        let user =
            self.change_user(caller, &target.into(), |current| input.replace(current, &deciding)).await?;
        self.answer_changed_user(user, projection).await
    }

    /// Applies a PATCH (RFC 7644 section 3.5.2).
    pub async fn patch_user(
        &self,
        caller: &ScimCaller,
        target: impl Into<RequestTarget<UserId>>,
        patch: &PatchRequest,
        projection: &Projection,
    ) -> Result<RenderedResource, ServiceError> {
        let deciding = self.deciding();
        let user =
            self.change_user(caller, &target.into(), |current| patch.apply(current, &deciding)).await?;
        self.answer_changed_user(user, projection).await
    }

    /// Deletes a user. The memberships go with a job.
    pub async fn delete_user(
        &self,
        caller: &ScimCaller,
        target: impl Into<RequestTarget<UserId>>,
    ) -> Result<(), ServiceError> {
        self.delete(caller, &target.into()).await
    }

    async fn change_user(
        &self,
        caller: &ScimCaller,
        target: &RequestTarget<UserId>,
        edit: impl Fn(&Resource) -> Result<EditedResource, scim::Error>,
    ) -> Result<User, ServiceError> {
        let WrittenResource { stored, follow_up } = self.write_user(caller, target, edit).await?;
        self.start_follow_up(caller, follow_up).await;
        Ok(stored)
    }

    async fn write_user(
        &self,
        caller: &ScimCaller,
        target: &RequestTarget<UserId>,
        edit: impl Fn(&Resource) -> Result<EditedResource, scim::Error>,
    ) -> Result<WrittenResource<UserId>, ServiceError> {
        let id = target.id;
        let _turn = self.queue.lock(id.uuid()).await;
        let mut retry = self.conflict_retry(caller);
        let mut may_pin = true;
        let mut skipped = SkippedAttributes::Nothing;
        loop {
            let before = target.check_write(self.store.resource(id).await?)?;
            let mut edited = edit(&before.resource)?;
            skipped.keep_current::<UserId>(&mut edited, &before.resource);
            let operation = self.operation(caller);
            let access = AccessChange {
                before: self.principal(&before.resource),
                after: self.principal(&edited.resource),
                may_pin,
                narrows: self.narrows(&before, &edited.resource),
            };
            let decided = plan_change(&operation, &before, &edited, &access);
            let Some(DecidedWrite { after, plan }) = decided else {
                self.note_left_out(caller, id, (false, &edited.dropped), &BTreeSet::new());
                return Ok(WrittenResource::unchanged(before));
            };
            let attempt = self.commit(&operation, &plan).await;
            if let Some(more) = skipped.after(&attempt).filter(|_| edited.deactivates) {
                skipped = more;
                continue;
            }
            match attempt? {
                WriteAttempt::Done(committed) => {
                    self.log_dropped(caller, id, &edited.dropped);
                    let stored = after.committed(&plan.batch, &committed);
                    return Ok(WrittenResource { stored, follow_up: plan.follow_up });
                }
                WriteAttempt::Conflict { part: BatchPart::Name, found: FoundRow::There } => {
                    return Err(name_taken::<UserId>());
                }
                WriteAttempt::Conflict { part: BatchPart::Pin, .. } => may_pin = false,
                WriteAttempt::Conflict { .. } => retry.pause().await?,
            }
        }
    }
}

impl Provisioning {
    /// Whether the person stops matching a binding, as far as this process knows the bindings.
    fn narrows(&self, before: &User, resource: &Resource) -> bool {
        let known = self.active_bindings.last_read();
        known.is_none_or(|known| stops_matching(&known.bindings, before.id, &before.resource, resource))
    }
}

/// What a change of attributes means for the person's access: which Entra object it is, before and after, and which
/// bindings match.
struct AccessChange {
    before: Option<PrincipalId>,
    after: Option<PrincipalId>,
    /// False where it turned out that another record holds the object id.
    may_pin: bool,
    /// A binding stops matching.
    narrows: bool,
}

impl AccessChange {
    /// The object id that the record takes with this change. One that was pinned before stays, whatever comes.
    fn pin(&self, pinned: Option<PrincipalId>) -> Option<PrincipalId> {
        self.after.filter(|_| self.may_pin && pinned.is_none())
    }

    /// Whether access can end with it.
    fn takes_away(&self) -> bool {
        self.narrows || (self.before.is_some() && self.before != self.after)
    }
}

/// A change of attributes. None: nothing changes.
fn plan_change(
    operation: &WriteOperation,
    before: &User,
    edited: &EditedResource,
    access: &AccessChange,
) -> Option<DecidedWrite<UserId>> {
    let resource = &edited.resource;
    let attributes = before.resource.changed_attributes(resource);
    if attributes.is_empty() {
        return None;
    }
    let pin = access.pin(before.pinned);
    let deactivated = before.resource.active() && !resource.active();
    let mut after = before.changed(resource.clone(), operation.time);
    after.pinned = before.pinned.or(pin);
    let mut plan = WritePlan::new(after.id, WriteKind::Change);
    plan.batch = resources::change(before, &after);
    plan.changes.push(write_plan::changed(before, &after, attributes));
    plan.changes.extend(write_plan::dropped(&after, &edited.dropped));
    if let Some(principal) = pin {
        plan.batch.append(users::pin(after.id, principal, operation.op));
        plan.changes.push(AuditEvent::PrincipalPinned { person: after.id, principal });
    }
    if users::names_differ(&before.resource, &after.resource) {
        plan.batch.push(BatchPart::Names, users::names(&after));
    }
    let request = operation.reconcile_request(deactivated || access.takes_away());
    plan.batch.extend(BatchPart::Request, reconcile_queue::enqueue_now(after.id, &request));
    let people =
        if request.priority.takes_away() { &mut plan.follow_up.leavers } else { &mut plan.follow_up.people };
    people.push(after.id);
    Some(DecidedWrite { after, plan })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{ChangeCause, ChangeOrigin};
    use crate::id::OpId;
    use crate::ports::tables::TableWrite;
    use crate::scim::ResourceType;
    use crate::store::resources::StoredResource;
    use serde_json::{Value, json};
    use time::OffsetDateTime;
    use uuid::Uuid;

    fn resource(attributes: Value) -> Resource {
        Resource::from_stored(ResourceType::User, attributes.as_object().unwrap().clone())
    }

    fn decided(before: Value, after: Value, access: &AccessChange) -> Option<DecidedWrite<UserId>> {
        let origin = ChangeOrigin {
            cause: ChangeCause::Request,
            actor: "test".to_owned(),
            op: OpId::new(Uuid::nil()),
        };
        let operation = WriteOperation::new(origin, OffsetDateTime::UNIX_EPOCH, true);
        let before =
            StoredResource::new(UserId::new(Uuid::nil()), resource(before), OffsetDateTime::UNIX_EPOCH);
        plan_change(&operation, &before, &EditedResource::from(resource(after)), access)
    }

    const fn principal(n: u128) -> Option<PrincipalId> {
        Some(PrincipalId::new(Uuid::from_u128(n)))
    }

    /// Whether the reconcile request of a change says that something was taken away.
    fn takes(decided: &DecidedWrite<UserId>) -> bool {
        let writes = decided.plan.batch.writes();
        writes.iter().any(|write| match write {
            TableWrite::InsertOrMerge { key, properties } => {
                key.starts_with("d:") && properties.contains_key("taken_away")
            }
            _ => false,
        })
    }

    #[track_caller]
    fn check(after: Value, principals: (Option<PrincipalId>, Option<PrincipalId>), expected: bool) {
        let before = json!({"userName": "ana", "active": true});
        let access =
            AccessChange { before: principals.0, after: principals.1, may_pin: true, narrows: false };
        let decided = decided(before, after, &access).unwrap();
        assert_eq!(takes(&decided), expected);
        assert_eq!(decided.after.revision, 2);
    }

    #[test]
    fn deactivating_and_becoming_another_principal_take_away() {
        check(json!({"userName": "ana", "active": true, "title": "x"}), (principal(1), principal(1)), false);
        check(json!({"userName": "ana", "active": false}), (principal(1), principal(1)), true);
        check(
            json!({"userName": "ana", "active": true, "externalId": "x"}),
            (principal(1), principal(2)),
            true,
        );
        check(json!({"userName": "ana", "active": true, "externalId": "x"}), (principal(1), None), true);
        check(json!({"userName": "ana", "active": true, "externalId": "x"}), (None, principal(1)), false);
    }

    #[test]
    fn the_first_object_id_is_pinned_and_stays() {
        let access = |may_pin| AccessChange { before: None, after: principal(1), may_pin, narrows: false };
        assert_eq!(access(true).pin(None), principal(1));
        assert_eq!(access(false).pin(None), None);
        assert_eq!(access(true).pin(principal(2)), None);
    }

    #[test]
    fn the_same_attributes_are_no_change() {
        let same = json!({"userName": "ana"});
        let access = AccessChange { before: None, after: principal(1), may_pin: true, narrows: false };
        assert!(decided(same.clone(), same, &access).is_none());
    }
}
