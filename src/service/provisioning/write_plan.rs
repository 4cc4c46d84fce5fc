//! What one transaction does, decided before anything is written.

use crate::audit::{AuditEvent, AuditRecord, ChangeOrigin, CommitOutcome, SubjectId};
use crate::id::{OpId, RequestId};
use crate::ports::tables::TRANSACTION_OPS_MAX;
use crate::scim::{DroppedAttributes, Resource};
use crate::service::reconcile_queue::inline::FollowUp;
use crate::store::TableWrite;
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
    pub request: Option<RequestId>,
    /// Committed with it, or nothing is.
    pub fence: Option<TableWrite>,
    /// This process reconciles at once whom the change concerns, unless it gets more to do meanwhile.
    pub reconciles_at_once: bool,
}

impl WriteOperation {
    pub fn new(origin: ChangeOrigin, now: OffsetDateTime, reconciles_at_once: bool) -> Self {
        let time = now.replace_millisecond(now.millisecond()).unwrap_or(now);
        Self { op: origin.op, time, origin, request: None, fence: None, reconciles_at_once }
    }

    /// The same, in a request that has an id.
    pub fn in_request(self, request: Option<RequestId>) -> Self {
        Self { request, ..self }
    }

    /// The same, which is only committed with that write.
    pub fn fenced(self, fence: Option<TableWrite>) -> Self {
        Self { fence, ..self }
    }

    /// The reconcile request of this change.
    pub fn reconcile_request(&self, takes_away: bool) -> ReconcileRequest {
        let origin = self.origin.clone();
        if takes_away { ReconcileRequest::taking_away(origin) } else { ReconcileRequest::gain(origin) }
    }

    /// The audit record of a plan.
    pub fn record(&self, plan: &WritePlan) -> AuditRecord {
        AuditRecord {
            op: self.op,
            time: self.time,
            origin: self.origin.clone(),
            request: self.request,
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
    pub const fn status(self) -> u16 {
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
    /// Whether one transaction holds it, beside its journal row.
    pub fn fits(&self) -> bool {
        self.batch.len() < TRANSACTION_OPS_MAX
    }

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
    AuditEvent::ResourceCreated {
        resource_type: I::KIND,
        id: SubjectId::new(new.id),
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
    AuditEvent::ResourceChanged {
        resource_type: I::KIND,
        id: SubjectId::new(after.id),
        before: before.revision,
        after: after.revision,
        attributes,
    }
}

/// The record of a resource that ends, one revision after its last.
pub fn deleted<I: ResourceId>(before: &StoredResource<I>) -> AuditEvent {
    AuditEvent::ResourceDeleted {
        resource_type: I::KIND,
        id: SubjectId::new(before.id),
        before: before.revision,
        after: before.revision + 1,
        attributes: all_attributes(&before.resource),
    }
}

/// The record of what a request wanted and could not have; none where it got everything.
pub fn dropped<I: ResourceId>(after: &StoredResource<I>, dropped: &DroppedAttributes) -> Option<AuditEvent> {
    (!dropped.is_empty()).then(|| AuditEvent::AttributesDropped {
        resource_type: I::KIND,
        id: SubjectId::new(after.id),
        revision: after.revision,
        attributes: dropped.names(),
        reasons: dropped.reasons(),
    })
}

fn all_attributes(resource: &Resource) -> Vec<String> {
    Resource::from_stored(resource.kind(), serde_json::Map::new()).changed_attributes(resource)
}
