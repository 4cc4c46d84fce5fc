//! The health at one moment, and how it is shown.

use crate::audit::chain::format_day;
use crate::ports::connectivity::{Dependency, Unreachable};
use crate::store::overdue::OverdueCount;
use crate::store::pending_bindings::PendingBindings;
use crate::store::state_hold::StateHold;
use crate::store::sweep_schedule::SweepCounts;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use time::{Date, OffsetDateTime};

/// A dependency that is not reached for so long is no passing trouble.
const UNREACHABLE_FOR: Duration = Duration::from_secs(600);
/// So many ticks in a row that ended early degrade the health.
const TICKS_FAILED: u32 = 3;

/// What this process knows of the active bindings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum BindingsHealth {
    /// They have not been read yet.
    #[default]
    Unknown,
    /// Nothing was ever stored.
    Nothing,
    InForce {
        stamp: String,
    },
    /// This program does not understand the active bindings: only people who are gone or inactive are revoked.
    Unreadable {
        /// `None`: the row that names them cannot be read either.
        stamp: Option<String>,
    },
}

/// An operator's pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PausedSince {
    /// `None`: its row cannot be read.
    pub since: Option<OffsetDateTime>,
}

impl PausedSince {
    fn to_json(&self) -> Value {
        json!({ "since": self.since.map(crate::audit::rfc3339) })
    }
}

/// How far the audit is sealed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditHealth {
    /// Heads go to a container.
    pub has_archive: bool,
    /// The last day that is sealed as a whole.
    pub sealed_through: Option<Date>,
    /// Heads that are not in the container yet.
    pub unpublished: u64,
    /// Heads whose records are no longer what was sealed.
    pub damaged: usize,
    /// The container has other heads than the table.
    pub is_forked: bool,
    /// A day is not sealed that should be.
    pub is_behind: bool,
    /// What the last tick met keeps the audit from being sealed, as a row that cannot be read.
    pub is_failing: bool,
}

impl AuditHealth {
    fn to_json(&self) -> Value {
        json!({
            "container": self.has_archive,
            "sealedThrough": self.sealed_through.map(format_day),
            "unpublished": self.unpublished,
            "damaged": self.damaged,
            "forked": self.is_forked,
            "behind": self.is_behind,
            "failing": self.is_failing,
        })
    }
}

/// How the drills went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DrillHealth {
    pub running: bool,
    /// When the last green one ended.
    pub green: Option<OffsetDateTime>,
    /// Why the last one was red, if it was.
    pub red: Option<String>,
    /// None was green for too long.
    pub is_late: bool,
}

impl DrillHealth {
    fn is_finding(&self) -> bool {
        self.red.is_some() || self.is_late
    }

    fn to_json(&self) -> Value {
        json!({
            "running": self.running, "green": self.green.map(crate::audit::rfc3339), "red": self.red,
            "late": self.is_late,
        })
    }
}

/// The health at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthSnapshot {
    /// When this process last finished a tick.
    pub tick_finished: Option<OffsetDateTime>,
    /// Ticks of this process that ended early since then.
    pub ticks_failed: u32,
    /// When this process last finished a sweep.
    pub sweep_finished: Option<OffsetDateTime>,
    /// Until when Azure asked to wait, by kind of call, over all subscriptions; only where that lies ahead.
    pub throttled: BTreeMap<&'static str, OffsetDateTime>,
    /// Requests and jobs that keep failing and are quarantined.
    pub quarantined: usize,
    /// Scopes that Azure refuses to list, by the last sweep of any process.
    pub scopes_refused: usize,
    /// What the last sweep of any process counted.
    pub swept: SweepCounts,
    /// Revocations that have not happened for too long, by the last tick of any process.
    pub overdue: OverdueCount,
    /// Since when an operator's pause lasts.
    pub paused: Option<PausedSince>,
    /// Entra objects that operators revoked.
    pub brakes: usize,
    /// Batches of the breakers that wait for an operator.
    pub batches_held: usize,
    /// When the first of them was opened.
    pub oldest_batch: Option<OffsetDateTime>,
    /// The table of orders could not be read by the last tick of this process.
    pub orders_unreadable: bool,
    /// A bundled file that waits for an operator.
    pub bindings_pending: Option<PendingBindings>,
    /// When any process last counted them.
    pub counted: Option<OffsetDateTime>,
    /// When the oldest change was made that the last tick of any process left for the next one.
    pub oldest_request: Option<OffsetDateTime>,
    /// No process has counted them for so long that none seems to tick.
    pub is_without_ticks: bool,
    /// The dependencies that this process does not reach, or those that tick.
    pub unreachable: BTreeMap<Dependency, Unreachable>,
    /// Rows that cannot be read: what they decide waits.
    pub rows_unreadable: usize,
    /// People who are in more groups than may be, or were to be: what lies beyond gives nothing.
    pub group_limit_reached: usize,
    /// Bindings that give nothing new: their groups are ambiguous, have lost the value, or cannot be read.
    pub bindings_troubled: usize,
    pub bindings: BindingsHealth,
    pub audit: AuditHealth,
    /// Why this process may do nothing with the state.
    pub state_hold: Option<StateHold>,
    /// The drills, where they are set.
    pub drill: Option<DrillHealth>,
}

impl HealthSnapshot {
    /// Whether it needs a person's attention.
    pub fn is_finding(&self) -> bool {
        self.quarantined > 0
            || self.ticks_failed >= TICKS_FAILED
            || self.scopes_refused > 0
            || self.overdue.people > 0
            || self.state_hold.is_some()
            || self.paused.is_some()
            || self.batches_held > 0
            || self.orders_unreadable
            || self.bindings_pending.is_some()
            || self.is_without_ticks
            || self.unreachable.values().any(needs_person)
            || self.rows_unreadable > 0
            || self.group_limit_reached > 0
            || self.bindings_troubled > 0
            || self.audit.damaged > 0
            || self.audit.is_forked
            || self.audit.is_behind
            || self.audit.is_failing
            || self.drill.as_ref().is_some_and(DrillHealth::is_finding)
            || matches!(self.bindings, BindingsHealth::Unreadable { .. })
    }

    fn overdue_json(&self) -> Value {
        let oldest = self.overdue.oldest.map(crate::audit::rfc3339);
        json!({ "people": self.overdue.people, "oldest": oldest, "reasons": self.overdue.by_reason })
    }

    fn held_back_json(&self) -> Value {
        let oldest = self.overdue.held_back_oldest.map(crate::audit::rfc3339);
        json!({ "people": self.overdue.held_back, "oldest": oldest })
    }

    fn breakers_json(&self) -> Value {
        let oldest = self.oldest_batch.map(crate::audit::rfc3339);
        json!({ "batches": self.batches_held, "people": self.overdue.in_batches, "oldest": oldest })
    }

    fn unreachable_json(&self) -> Value {
        json!(
            self.unreachable
                .iter()
                .map(|(name, found)| (name.as_str(), found.kind.as_str()))
                .collect::<BTreeMap<_, _>>()
        )
    }

    /// As members of the health answer. No subscription, no person, no group.
    pub fn to_json(&self) -> Map<String, Value> {
        let time = |at: &Option<OffsetDateTime>| at.map(crate::audit::rfc3339);
        let throttled: BTreeMap<_, _> =
            self.throttled.iter().map(|(kind, until)| (kind, crate::audit::rfc3339(*until))).collect();
        let (state, stamp) = match &self.bindings {
            BindingsHealth::Unknown => ("unknown", None),
            BindingsHealth::Nothing => ("none", None),
            BindingsHealth::InForce { stamp } => ("in-force", Some(stamp)),
            BindingsHealth::Unreadable { stamp } => ("unreadable", stamp.as_ref()),
        };
        let members = [
            ("tickFinished", json!(time(&self.tick_finished))),
            ("ticksFailed", json!(self.ticks_failed)),
            ("sweepFinished", json!(time(&self.sweep_finished))),
            ("throttledUntil", json!(throttled)),
            ("setAside", json!(self.quarantined)),
            ("scopesRefused", json!(self.scopes_refused)),
            ("revocationsOverdue", self.overdue_json()),
            ("revocationsHeldBack", self.held_back_json()),
            ("paused", self.paused.as_ref().map_or(Value::Null, PausedSince::to_json)),
            ("brakes", json!(self.brakes)),
            ("breakers", self.breakers_json()),
            ("ordersUnreadable", json!(self.orders_unreadable)),
            ("lastTick", json!(time(&self.counted))),
            ("unreachable", self.unreachable_json()),
            ("oldestRequest", json!(time(&self.oldest_request))),
            ("grantsPending", json!(self.swept.by_reason)),
            ("peopleWithoutPrincipal", json!(self.swept.people_without_principal)),
            ("bindingsWithoutGroup", json!(self.swept.bindings_without_group.number())),
            ("foreignAssignments", json!(self.swept.foreign_assignments.number())),
            ("scopesUnsurveyed", json!(self.swept.scopes_unsurveyed)),
            ("lastSweep", json!(time(&self.swept.counted))),
            ("rowsUnreadable", json!(self.rows_unreadable)),
            ("groupLimitReached", json!(self.group_limit_reached)),
            ("bindingsTroubled", json!(self.bindings_troubled)),
            ("bindings", json!({ "state": state, "stamp": stamp })),
            ("audit", self.audit.to_json()),
            ("state", json!(self.state_hold.as_ref().map_or("found", StateHold::as_str))),
            ("drill", self.drill.as_ref().map_or(Value::Null, DrillHealth::to_json)),
            ("bindingsPending", self.bindings_pending.as_ref().map_or(Value::Null, pending_json)),
        ];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// What passes by itself needs one when it lasts.
fn needs_person(unreachable: &Unreachable) -> bool {
    !unreachable.kind.is_transient() || unreachable.lasts >= UNREACHABLE_FOR
}

fn pending_json(pending: &PendingBindings) -> Value {
    let PendingBindings { stamp, plan, revocations, grants, .. } = pending;
    json!({ "stamp": stamp, "plan": plan, "revocations": revocations, "grants": grants })
}
