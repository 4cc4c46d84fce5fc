//! What an audit record is. The journal row of a transaction *is* its audit record: it is written with the change
//! or not at all.
//!
//! People are named by SCIM id only; names and addresses stand in a row of their own that can be erased.

use crate::id::{GroupId, OpId, PrincipalId, UserId};
use crate::rbac::ledger::StepKind;
use crate::rbac::{AssignmentName, BackupRole, BindingName, ReasonCode, Scope};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What set a change or an effect off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeCause {
    /// A SCIM request.
    Request,
    /// An operator's order.
    Order,
    /// A sweep that found a difference.
    Sweep,
    /// A new snapshot of the bindings.
    Snapshot,
}

impl ChangeCause {
    /// Every cause.
    pub const ALL: [ChangeCause; 4] =
        [ChangeCause::Request, ChangeCause::Order, ChangeCause::Sweep, ChangeCause::Snapshot];

    /// The stable text.
    pub const fn as_str(self) -> &'static str {
        match self {
            ChangeCause::Request => "request",
            ChangeCause::Order => "order",
            ChangeCause::Sweep => "sweep",
            ChangeCause::Snapshot => "snapshot",
        }
    }

    /// Reads the stable text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.as_str() == text)
    }
}

/// Who set it off, and by which operation: carried by every mark to the effects that follow from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeOrigin {
    pub cause: ChangeCause,
    /// The label of the token, the operator, or `service`.
    pub actor: String,
    pub op: OpId,
}

/// What happened to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceEvent {
    Created,
    Changed,
    Deleted,
}

/// What happened to a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberEvent {
    Added,
    Removed,
    /// The request named an id that is nobody's.
    Dropped,
}

/// One thing that changed. The variants are the kinds of record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditEvent {
    Resource {
        event: ResourceEvent,
        resource_type: &'static str,
        id: String,
        before: i64,
        after: i64,
        attributes: Vec<String>,
    },
    Member {
        event: MemberEvent,
        group: GroupId,
        member: String,
        revision: i64,
    },
    /// Assignments of the request that could not be carried out and were left out; names of attributes only.
    Dropped {
        resource_type: &'static str,
        id: String,
        revision: i64,
        attributes: Vec<String>,
    },
    EffectOpened(EffectOpened),
    EffectAnswered {
        person: UserId,
        principal: PrincipalId,
        assignment: AssignmentName,
        operation: StepKind,
        open: OpId,
        executed: bool,
        code: Option<String>,
        correlation: Option<String>,
    },
    EffectObserved {
        person: UserId,
        principal: PrincipalId,
        assignment: AssignmentName,
        open: OpId,
        held: bool,
    },
    Difference {
        person: UserId,
        principal: PrincipalId,
        assignment: AssignmentName,
        ledger_held: bool,
        held_in_azure: bool,
    },
    /// A refusal or a wait that began (`reason` set) or ended (`reason` empty), of a grant or of a revocation.
    Wait {
        person: UserId,
        binding: BindingName,
        operation: StepKind,
        reason: Option<ReasonCode>,
    },
    /// A pin, a snapshot, a foreign assignment: what it was and what it is.
    Setting {
        what: String,
        before: String,
        after: String,
    },
}

/// One step that is about to be sent to Azure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectOpened {
    pub person: UserId,
    pub principal: PrincipalId,
    pub bindings: Vec<BindingName>,
    pub role: BackupRole,
    pub scope: Scope,
    pub assignment: AssignmentName,
    /// Why, one line each: the groups that give it, or what took it away.
    pub reasons: Vec<String>,
    pub held_before: bool,
    pub wanted: bool,
    /// The op whose open was still unsettled, and is ended by this one.
    pub follows: Option<OpId>,
}

impl AuditEvent {
    /// Every kind of record, in alphabetical order.
    pub const KINDS: [&str; 13] = [
        "attributes-dropped",
        "difference-found",
        "effect-answered",
        "effect-observed",
        "effect-opened",
        "member-added",
        "member-dropped",
        "member-removed",
        "resource-changed",
        "resource-created",
        "resource-deleted",
        "setting-changed",
        "wait-changed",
    ];

    /// The kind of record, stable text.
    pub fn kind(&self) -> &'static str {
        match self {
            AuditEvent::Resource { event: ResourceEvent::Created, .. } => "resource-created",
            AuditEvent::Resource { event: ResourceEvent::Changed, .. } => "resource-changed",
            AuditEvent::Resource { event: ResourceEvent::Deleted, .. } => "resource-deleted",
            AuditEvent::Member { event: MemberEvent::Added, .. } => "member-added",
            AuditEvent::Member { event: MemberEvent::Removed, .. } => "member-removed",
            AuditEvent::Member { event: MemberEvent::Dropped, .. } => "member-dropped",
            AuditEvent::Dropped { .. } => "attributes-dropped",
            AuditEvent::EffectOpened(_) => "effect-opened",
            AuditEvent::EffectAnswered { .. } => "effect-answered",
            AuditEvent::EffectObserved { .. } => "effect-observed",
            AuditEvent::Difference { .. } => "difference-found",
            AuditEvent::Wait { .. } => "wait-changed",
            AuditEvent::Setting { .. } => "setting-changed",
        }
    }

    /// The record as JSON, `kind` first among equals.
    pub fn to_json(&self) -> Value {
        let mut fields = self.fields();
        fields.insert("kind".to_owned(), json!(self.kind()));
        Value::Object(fields)
    }

    fn fields(&self) -> Map<String, Value> {
        let value = match self {
            AuditEvent::Resource { resource_type, id, before, after, attributes, .. } => {
                json!({"type": resource_type, "id": id, "revisionBefore": before, "revisionAfter": after, "attributes": attributes})
            }
            AuditEvent::Member { group, member, revision, .. } => {
                json!({"group": group.to_string(), "member": member, "revision": revision})
            }
            AuditEvent::Dropped { resource_type, id, revision, attributes } => {
                json!({"type": resource_type, "id": id, "revision": revision, "attributes": attributes})
            }
            AuditEvent::EffectOpened(opened) => opened.to_json(),
            AuditEvent::EffectAnswered {
                person,
                principal,
                assignment,
                operation,
                open,
                executed,
                code,
                correlation,
            } => json!({
                "person": person.to_string(), "principal": principal.to_string(),
                "operation": operation.as_str(), "assignment": assignment.to_string(), "open": open.to_string(),
                "executed": executed, "code": code, "correlationId": correlation,
            }),
            AuditEvent::EffectObserved { person, principal, assignment, open, held } => json!({
                "person": person.to_string(), "principal": principal.to_string(), "assignment": assignment.to_string(), "open": open.to_string(), "held": held,
            }),
            AuditEvent::Difference { person, principal, assignment, ledger_held, held_in_azure } => json!({
                "person": person.to_string(), "principal": principal.to_string(), "assignment": assignment.to_string(),
                "ledgerHeld": ledger_held, "azureHeld": held_in_azure,
            }),
            AuditEvent::Wait { person, binding, operation, reason } => json!({
                "person": person.to_string(), "binding": binding.as_str(), "operation": operation.as_str(), "reason": reason.map_or("ended", ReasonCode::as_str),
            }),
            AuditEvent::Setting { what, before, after } => {
                json!({"what": what, "before": before, "after": after})
            }
        };
        match value {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }
}

impl EffectOpened {
    fn to_json(&self) -> Value {
        let bindings: Vec<&str> = self.bindings.iter().map(BindingName::as_str).collect();
        json!({
            "person": self.person.to_string(), "principal": self.principal.to_string(), "bindings": bindings,
            "role": self.role.name(), "scope": self.scope.as_str(), "assignment": self.assignment.to_string(),
            "reasons": self.reasons, "heldBefore": self.held_before, "wanted": self.wanted,
            "follows": self.follows.map(|op| op.to_string()),
        })
    }
}

/// The outcome of a SCIM write, kept so that a repeated send can be answered. Never a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOutcome {
    pub id: String,
    pub status: u16,
}

/// One audit record: the changes of one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// This record's own op.
    pub op: OpId,
    pub time: OffsetDateTime,
    /// What set it off; `origin.op` is the op of the change that an effect follows from.
    pub origin: ChangeOrigin,
    /// The stamp of the bindings that were in force, for effects.
    pub stamp: Option<String>,
    pub outcome: Option<CommitOutcome>,
    pub changes: Vec<AuditEvent>,
}

/// A time as it stands in rows and records: RFC 3339, UTC.
pub fn rfc3339(time: OffsetDateTime) -> String {
    time.to_offset(time::UtcOffset::UTC).format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_are_those_that_a_change_can_have() {
        let source = include_str!("audit.rs");
        let (_, body) = source.split_once("pub fn kind(").unwrap();
        let (body, _) = body.split_once("/// The record as JSON").unwrap();
        let mut kinds: Vec<&str> =
            body.lines().filter_map(|line| line.split_once("=> \"")?.1.split('"').next()).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, AuditEvent::KINDS);
    }
}
