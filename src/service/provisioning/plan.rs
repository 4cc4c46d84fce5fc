//! What one transaction does, decided before anything is written.

use crate::audit::{Change, Event, MemberEvent, Origin, Outcome, Record};
use crate::id::{GroupId, OpId, PrincipalId, UserId};
use crate::scim::Resource;
use crate::service::effects::Work;
use crate::store::batch::Batch;
use crate::store::marks::Mark;
use crate::store::resources::{ResourceId, Stored};
use time::OffsetDateTime;

/// One attempt at a change: its op, its moment, and who asked.
#[derive(Debug, Clone)]
pub struct Operation {
    pub op: OpId,
    /// To the millisecond, which is what SCIM answers show.
    pub time: OffsetDateTime,
    pub origin: Origin,
}

impl Operation {
    pub fn new(origin: Origin, now: OffsetDateTime) -> Self {
        let time = now.replace_millisecond(now.millisecond()).unwrap_or(now);
        Self { op: origin.op, time, origin }
    }

    /// The mark of this change; `taking` where it takes something away.
    pub fn mark(&self, taking: bool) -> Mark {
        let origin = self.origin.clone();
        if taking { Mark::taking(origin) } else { Mark::new(origin) }
    }

    /// The audit record of a plan.
    pub fn record(&self, plan: &Plan) -> Record {
        Record {
            op: self.op,
            time: self.time,
            origin: self.origin.clone(),
            stamp: None,
            outcome: Some(plan.outcome.clone()),
            changes: plan.changes.clone(),
        }
    }
}

/// What one transaction writes, what its record says, and what follows from it.
#[derive(Debug, Clone)]
pub struct Plan {
    pub batch: Batch,
    pub changes: Vec<Change>,
    pub outcome: Outcome,
    pub work: Work,
}

impl Plan {
    /// A plan that does nothing yet.
    pub fn new(id: impl ResourceId, status: u16) -> Self {
        let outcome = Outcome { id: id.to_string(), status };
        Self { batch: Batch::default(), changes: Vec::new(), outcome, work: Work::default() }
    }
}

/// A plan, and the resource as it will be.
#[derive(Debug, Clone)]
pub struct Decided<I> {
    pub after: Stored<I>,
    pub plan: Plan,
}

/// The record of a resource that begins.
pub fn created<I: ResourceId>(new: &Stored<I>) -> Change {
    resource(Event::Created, new.id, (0, new.revision), all_attributes(&new.resource))
}

/// The record of attributes that changed.
pub fn changed<I: ResourceId>(before: &Stored<I>, after: &Stored<I>, attributes: Vec<String>) -> Change {
    resource(Event::Changed, after.id, (before.revision, after.revision), attributes)
}

/// The record of a resource that ends, one revision after its last.
pub fn deleted<I: ResourceId>(before: &Stored<I>) -> Change {
    let revisions = (before.revision, before.revision + 1);
    resource(Event::Deleted, before.id, revisions, all_attributes(&before.resource))
}

/// The record of what a request wanted and could not have; none where it got everything.
pub fn dropped<I: ResourceId>(after: &Stored<I>, attributes: &[String]) -> Option<Change> {
    let (resource_type, id, revision) = (I::KIND.name(), after.id.to_string(), after.revision);
    let attributes = attributes.to_vec();
    (!attributes.is_empty()).then_some(Change::Dropped { resource_type, id, revision, attributes })
}

fn resource<I: ResourceId>(event: Event, id: I, revisions: (i64, i64), attributes: Vec<String>) -> Change {
    let (before, after) = revisions;
    Change::Resource { event, resource_type: I::KIND.name(), id: id.to_string(), before, after, attributes }
}

/// The record of one membership.
pub fn member(event: MemberEvent, group: GroupId, member: impl ToString, revision: i64) -> Change {
    Change::Member { event, group, member: member.to_string(), revision }
}

/// The record of an Entra object id that a user takes.
pub fn pinned(user: UserId, principal: PrincipalId) -> Change {
    Change::Setting {
        what: format!("pin of user {user}"),
        before: String::new(),
        after: principal.to_string(),
    }
}

fn all_attributes(resource: &Resource) -> Vec<String> {
    Resource::from_stored(resource.kind(), serde_json::Map::new()).changed_attributes(resource)
}
