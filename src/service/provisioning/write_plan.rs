//! What one transaction does, decided before anything is written.

use crate::audit::{AuditEvent, AuditRecord, ChangeOrigin, CommitOutcome, MemberEvent, ResourceEvent};
use crate::id::{GroupId, OpId, PrincipalId, UserId};
use crate::scim::Resource;
use crate::service::reconcile_queue::inline::FollowUp;
use crate::store::batch::WriteBatch;
use crate::store::reconcile_queue::ReconcileRequest;
use crate::store::resources::{ResourceId, StoredResource};
use time::OffsetDateTime;

/// One attempt at a change: its op, its moment, and who asked.
#[derive(Debug, Clone)]
pub struct WriteOperation {
    pub op: OpId,
    /// To the millisecond, which is what SCIM answers show.
    pub time: OffsetDateTime,
    pub origin: ChangeOrigin,
}

impl WriteOperation {
    pub fn new(origin: ChangeOrigin, now: OffsetDateTime) -> Self {
        let time = now.replace_millisecond(now.millisecond()).unwrap_or(now);
        Self { op: origin.op, time, origin }
    }

    /// The reconcile request of this change.
    pub fn reconcile_request(&self, takes_away: bool) -> ReconcileRequest {
        let origin = self.origin.clone();
        if takes_away { ReconcileRequest::taking(origin) } else { ReconcileRequest::new(origin) }
    }

    /// The audit record of a plan.
    pub fn record(&self, plan: &WritePlan) -> AuditRecord {
        AuditRecord {
            op: self.op,
            time: self.time,
            origin: self.origin.clone(),
            stamp: None,
            outcome: Some(plan.outcome.clone()),
            changes: plan.changes.clone(),
        }
    }
}

/// What a request does with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteKind {
    Create,
    Change,
    Delete,
}

impl WriteKind {
    /// The status of the answer, as the audit record keeps it.
    const fn status(self) -> u16 {
        match self {
            WriteKind::Create => 201,
            WriteKind::Change => 200,
            WriteKind::Delete => 204,
        }
    }
}

/// What one transaction writes, what its record says, and what follows from it.
#[derive(Debug, Clone)]
pub struct WritePlan {
    pub batch: WriteBatch,
    pub changes: Vec<AuditEvent>,
    pub outcome: CommitOutcome,
    pub follow_up: FollowUp,
}

impl WritePlan {
    /// A plan that does nothing yet.
    pub fn new(id: impl ResourceId, kind: WriteKind) -> Self {
        let outcome = CommitOutcome { id: id.to_string(), status: kind.status() };
        Self { batch: WriteBatch::default(), changes: Vec::new(), outcome, follow_up: FollowUp::default() }
    }
}

/// A plan, and the resource as it will be.
#[derive(Debug, Clone)]
pub struct DecidedWrite<I> {
    pub after: StoredResource<I>,
    pub plan: WritePlan,
}

/// The record of a resource that begins.
pub fn created<I: ResourceId>(new: &StoredResource<I>) -> AuditEvent {
    AuditEvent::Resource {
        event: ResourceEvent::Created,
        resource_type: I::KIND.name(),
        id: new.id.to_string(),
        before: 0,
        after: new.revision,
        attributes: all_attributes(&new.resource),
    }
}

/// The record of attributes that changed.
pub fn changed<I: ResourceId>(
    before: &StoredResource<I>,
    after: &StoredResource<I>,
    attributes: Vec<String>,
) -> AuditEvent {
    AuditEvent::Resource {
        event: ResourceEvent::Changed,
        resource_type: I::KIND.name(),
        id: after.id.to_string(),
        before: before.revision,
        after: after.revision,
        attributes,
    }
}

/// The record of a resource that ends, one revision after its last.
pub fn deleted<I: ResourceId>(before: &StoredResource<I>) -> AuditEvent {
    AuditEvent::Resource {
        event: ResourceEvent::Deleted,
        resource_type: I::KIND.name(),
        id: before.id.to_string(),
        before: before.revision,
        after: before.revision + 1,
        attributes: all_attributes(&before.resource),
    }
}

/// The record of what a request wanted and could not have; none where it got everything.
pub fn dropped<I: ResourceId>(after: &StoredResource<I>, attributes: &[String]) -> Option<AuditEvent> {
    (!attributes.is_empty()).then(|| AuditEvent::Dropped {
        resource_type: I::KIND.name(),
        id: after.id.to_string(),
        revision: after.revision,
        attributes: attributes.to_vec(),
    })
}

/// The record of one membership.
pub fn member(event: MemberEvent, group: GroupId, member: impl ToString, revision: i64) -> AuditEvent {
    AuditEvent::Member { event, group, member: member.to_string(), revision }
}

/// The record of an Entra object id that a user takes.
pub fn pinned(user: UserId, principal: PrincipalId) -> AuditEvent {
    AuditEvent::Setting {
        what: format!("pin of user {user}"),
        before: String::new(),
        after: principal.to_string(),
    }
}

fn all_attributes(resource: &Resource) -> Vec<String> {
    Resource::from_stored(resource.kind(), serde_json::Map::new()).changed_attributes(resource)
}
