//! Users: reading one, and changing its attributes.

use super::plan::{self, Decided, Operation, Plan};
use super::{Attempt, Provisioning, Written, not_found, parse_id, taken};
use crate::id::{PrincipalId, UserId};
use crate::scim::{self, Patch, Projection, Resource, ResourceType};
use crate::service::{Caller, Listing, Rendered, ServiceError};
use crate::store::batch::Part;
use crate::store::resources::{self, User};
use crate::store::{Found, marks, users};
use serde_json::Value;

impl Provisioning {
    /// One user.
    pub async fn get_user(&self, id: &str, projection: &Projection) -> Result<Rendered, ServiceError> {
        let id = parse_id::<UserId>(id)?;
        let user = self.store.resource(id).await?.ok_or_else(not_found::<UserId>)?;
        self.answer_user(user, projection).await
    }

    /// Users that match a query.
    pub async fn list_users(&self, query: &scim::ListQuery) -> Result<Listing, ServiceError> {
        self.list::<UserId>(query).await
    }

    /// Replaces the attributes (RFC 7644 section 3.5.1).
    pub async fn replace_user(
        &self,
        caller: &Caller,
        id: &str,
        body: &Value,
        projection: &Projection,
    ) -> Result<Rendered, ServiceError> {
        let user = self.change_user(caller, id, |current| scim::user::replace(body, current)).await?;
        self.answer_user(user, projection).await
    }

    /// Applies a PATCH (RFC 7644 section 3.5.2).
    pub async fn patch_user(
        &self,
        caller: &Caller,
        id: &str,
        body: &Value,
        projection: &Projection,
    ) -> Result<Rendered, ServiceError> {
        let patch = Patch::parse(ResourceType::User, body)?;
        let user = self.change_user(caller, id, |current| patch.apply(current)).await?;
        self.answer_user(user, projection).await
    }

    /// Deletes a user. The memberships go with a job.
    pub async fn delete_user(&self, caller: &Caller, id: &str) -> Result<(), ServiceError> {
        self.delete::<UserId>(caller, id).await
    }

    async fn change_user(
        &self,
        caller: &Caller,
        id: &str,
        edit: impl Fn(&Resource) -> Result<Resource, scim::Error>,
    ) -> Result<User, ServiceError> {
        let Written { stored, work } = self.write_user(caller, parse_id(id)?, edit).await?;
        self.follow_up(work).await;
        Ok(stored)
    }

    async fn write_user(
        &self,
        caller: &Caller,
        id: UserId,
        edit: impl Fn(&Resource) -> Result<Resource, scim::Error>,
    ) -> Result<Written<UserId>, ServiceError> {
        let _turn = self.queue.enter(id.uuid()).await;
        let mut tries = self.tries();
        let mut may_pin = true;
        loop {
            let before = self.store.resource(id).await?.ok_or_else(not_found::<UserId>)?;
            let resource = edit(&before.resource)?;
            let operation = self.operation(caller);
            let principals = Principals {
                before: self.principal(&before.resource),
                after: self.principal(&resource),
                may_pin,
            };
            let Some(Decided { after, plan }) = plan_change(&operation, &before, resource, &principals)
            else {
                return Ok(Written::unchanged(before));
            };
            match self.commit(&operation, &plan).await? {
                Attempt::Done(committed) => {
                    return Ok(Written { stored: after.committed(&plan.batch, &committed), work: plan.work });
                }
                Attempt::Met(Part::Name, Found::There) => return Err(taken::<UserId>()),
                Attempt::Met(Part::Pin, _) => may_pin = false,
                Attempt::Met(_, _) => tries.again().await?,
            }
        }
    }
}

/// Which Entra object the person is, before and after a change.
struct Principals {
    before: Option<PrincipalId>,
    after: Option<PrincipalId>,
    /// False where it turned out that another record holds the object id.
    may_pin: bool,
}

impl Principals {
    /// The object id that the record takes with this change. One that was pinned before stays, whatever comes.
    fn pin(&self, pinned: Option<PrincipalId>) -> Option<PrincipalId> {
        self.after.filter(|_| self.may_pin && pinned.is_none())
    }

    /// Whether the person stops being somebody.
    fn leaves(&self) -> bool {
        self.before.is_some() && self.before != self.after
    }
}

/// A change of attributes. None: nothing changes.
fn plan_change(
    operation: &Operation,
    before: &User,
    resource: Resource,
    principals: &Principals,
) -> Option<Decided<UserId>> {
    let attributes = before.resource.changed_attributes(&resource);
    if attributes.is_empty() {
        return None;
    }
    let pin = principals.pin(before.pinned);
    let deactivated = before.resource.active() && !resource.active();
    let mut after = before.changed(resource, operation.time);
    after.pinned = before.pinned.or(pin);
    let mut plan = Plan::new(after.id, 200);
    plan.batch = resources::change(before, &after);
    plan.changes.push(plan::changed(before, &after, attributes));
    if let Some(principal) = pin {
        plan.batch.append(users::pin(after.id, principal, operation.op));
        plan.changes.push(plan::pinned(after.id, principal));
    }
    if users::names_differ(&before.resource, &after.resource) {
        plan.batch.push(Part::Names, users::names(&after));
    }
    let mark = operation.mark(deactivated || principals.leaves());
    plan.batch.push(Part::Look, marks::look_now(after.id, &mark));
    plan.work.people.push(after.id);
    Some(Decided { after, plan })
}
