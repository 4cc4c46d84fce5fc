//! What Azure holds of this installation and no living row of the ledger names: `lost-ours`. After a loss of the ledger, or of the
//! whole table, that is everything; it becomes a plan whose hash an order confirms.
//!
//! Ours is what has the name that this installation makes of scope, role and principal. Everything else is foreign: it is counted
//! and never touched. What follows for each is what reconciles would do if the ledger had it: it stays where it is wanted, and goes
//! where it is not. Nothing is taken away here; a plan only reads.

use crate::error_chain::ErrorChain;
use crate::events::log_event;
use crate::id::{InstanceId, PrincipalId, UserId};
use crate::ports::role_assignments::{AssignmentError, RejectionReason, RoleAssignments};
use crate::rbac::ledger::{AssignmentState, LedgerEntry, StepKind};
use crate::rbac::{AssignmentName, BackupRole, Scope};
use crate::service::access::preview::{self, PreviewOf};
use crate::service::bindings::active::{ActiveSnapshot, BindingsSnapshot};
use crate::service::reconcile::desired;
use crate::store::ledger::PrincipalHolder;
use crate::store::recovered_rows::{RECOVERED_MAX, RecoveredRow, RecoveredRows};
use crate::store::settings::content_hash;
use crate::store::state_hold::StateHold;
use crate::store::tenant_walk::PersonRecord;
use crate::store::users::HeaderState;
use crate::store::{StateStore, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::{Uuid, uuid};

/// How long Azure is given to list one scope.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// The UUIDv5 namespace of the records for people who have none. Never changes.
const STRANGERS: Uuid = uuid!("0b9de1c6-51a4-5d0f-9a53-5b0a6a7c3f55");

/// Why no plan can be made.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("azure did not list the role assignments at {scope}")]
    Azure {
        scope: Scope,
        #[source]
        source: AssignmentError,
    },
    #[error("the active bindings cannot be read, or there are none yet: what is bound is not known")]
    Bindings,
    #[error("there is no state to recover into: it is {}", hold.as_str())]
    Held { hold: StateHold },
    #[error("this installation has no id yet, so nothing in Azure can be its own")]
    NoInstance,
}

/// Into whose record an assignment comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecoveredInto {
    /// The record that holds the Entra object, or the only one that names it.
    Record(UserId),
    /// No record names the Entra object: a record of its own, for someone who is gone.
    Stranger(UserId),
}

impl RecoveredInto {
    /// The record.
    pub const fn user(self) -> UserId {
        match self {
            RecoveredInto::Record(user) | RecoveredInto::Stranger(user) => user,
        }
    }
}

/// An assignment of ours that no living row names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LostAssignment {
    pub principal: PrincipalId,
    pub role: BackupRole,
    pub scope: Scope,
    pub assignment: AssignmentName,
    pub into: RecoveredInto,
    /// A binding gives it, so it stays; else it is revoked.
    pub is_wanted: bool,
}

impl LostAssignment {
    /// What the next reconcile does with it.
    pub const fn follows(&self) -> &'static str {
        if self.is_wanted { "kept" } else { "revoked" }
    }

    fn line(&self) -> String {
        let Self { principal, role, scope, into, .. } = self;
        let role = role.name();
        format!("lost-ours {principal} {role} {} {} {}", scope.folded(), into.user(), self.follows())
    }
}

/// What a recovery would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoverPlan {
    /// Sorted; at most as many as one order recovers, with the pins.
    pub lost: Vec<LostAssignment>,
    /// Principals whose record lost its own side of the pin.
    pub pins: Vec<(PrincipalId, UserId)>,
    /// There is more than one order recovers.
    pub is_cut: bool,
    /// Assignments of ours that the ledger knows.
    pub known: usize,
    /// Assignments of backup roles that others made, at the same scopes.
    pub foreign: usize,
    /// Assignments of ours whose record cannot be read: they are left alone.
    pub unreadable: usize,
    pub scopes: usize,
    /// Scopes that Azure refused to list, or did not list: what it holds there is not recovered.
    pub unlisted: Vec<Scope>,
}

impl RecoverPlan {
    /// Whether there is nothing to recover.
    pub const fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.pins.is_empty()
    }

    /// Sorted lines, one for each assignment, pin and scope that was not listed.
    pub fn lines(&self) -> Vec<String> {
        let pins = self.pins.iter().map(|(principal, user)| format!("pin {principal} {user}"));
        let unlisted = self.unlisted.iter().map(|scope| format!("unlisted {}", scope.folded()));
        let lost = self.lost.iter().map(LostAssignment::line);
        let mut lines: Vec<String> = lost.chain(pins).chain(unlisted).collect();
        lines.sort_unstable();
        lines
    }

    /// Lower-case hex SHA-256 over the lines.
    pub fn hash(&self) -> String {
        content_hash(self.lines().join("\n").as_bytes())
    }

    /// The same, as a job carries it out.
    pub fn rows(&self) -> RecoveredRows {
        let lost = self.lost.iter().map(|lost| RecoveredRow::Assignment {
            principal: lost.principal,
            user: lost.into.user(),
            role: lost.role,
            scope: lost.scope.clone(),
            assignment: lost.assignment,
            is_wanted: lost.is_wanted,
        });
        let pins = self
            .pins
            .iter()
            .map(|(principal, user)| RecoveredRow::Pin { principal: *principal, user: *user });
        RecoveredRows(pins.chain(lost).collect())
    }

    fn cut(mut self) -> Self {
        self.lost.sort_unstable();
        self.pins.sort_unstable();
        self.is_cut = self.lost.len() + self.pins.len() > RECOVERED_MAX;
        self.pins.truncate(RECOVERED_MAX);
        self.lost.truncate(RECOVERED_MAX - self.pins.len());
        self
    }
}

/// What the state alone says.
#[derive(Default)]
struct KnownState {
    /// Assignments with a living row, or with one that cannot be read.
    assignments: BTreeSet<AssignmentName>,
    /// Principals whose pin is in the ledger of that record.
    pins: BTreeSet<(PrincipalId, UserId)>,
    /// Records with a header: what they hold can be wanted.
    living: BTreeSet<UserId>,
    /// The record that names a principal; `None`: several do.
    named: BTreeMap<PrincipalId, Option<UserId>>,
}

/// Makes the plan. `progress` is given the number of people read so far.
pub async fn plan(
    store: &StateStore,
    snapshot: ActiveSnapshot,
    assignments: &dyn RoleAssignments,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<RecoverPlan, RecoverError> {
    let settings = store.settings().await?;
    if let Some(hold) = settings.hold {
        return Err(RecoverError::Held { hold });
    }
    let instance = settings.instance.ok_or(RecoverError::NoInstance)?;
    let ActiveSnapshot::Known(bindings) = &snapshot else { return Err(RecoverError::Bindings) };
    let mut plan = RecoverPlan::default();
    let ours = list_ours(assignments, bindings, instance, &mut plan).await?;
    let known = known_state(store, &snapshot).await?;
    let holders = store.holders().await?;
    let held = holders.iter().filter_map(|(principal, holder)| Some((*principal, holder.record()?)));
    plan.pins = held.filter(|pin| !known.pins.contains(pin)).collect();
    for lost in ours {
        if known.assignments.contains(&lost.assignment) {
            plan.known += 1;
            continue;
        }
        let into = match holders.of(lost.principal) {
            PrincipalHolder::Record(user) => RecoveredInto::Record(user),
            PrincipalHolder::Unreadable => {
                plan.unreadable += 1;
                continue;
            }
            PrincipalHolder::Free => match known.named.get(&lost.principal) {
                Some(Some(user)) => RecoveredInto::Record(*user),
                Some(None) | None => RecoveredInto::Stranger(stranger(lost.principal)),
            },
        };
        plan.lost.push(LostAssignment { into, ..lost });
    }
    let mut plan = plan.cut();
    foresee(store, snapshot, &known.living, &mut plan, progress).await?;
    Ok(plan)
}

/// The record of someone whom no record names: the same for each plan, so that carrying it out twice changes nothing.
fn stranger(principal: PrincipalId) -> UserId {
    UserId::new(Uuid::new_v5(&STRANGERS, principal.uuid().as_bytes()))
}

/// The assignments of ours at the bound and the retired scopes. Those of others are counted.
async fn list_ours(
    assignments: &dyn RoleAssignments,
    bindings: &BindingsSnapshot,
    instance: InstanceId,
    plan: &mut RecoverPlan,
) -> Result<Vec<LostAssignment>, RecoverError> {
    let mut ours = Vec::new();
    for scope in bindings.bindings.scopes() {
        let listed = match assignments.list(&scope, LIST_TIMEOUT).await {
            Err(AssignmentError::Rejected { reason: RejectionReason::ScopeNotFound, .. }) => Vec::new(),
            Err(error @ AssignmentError::Rejected { .. }) => {
                log_event!(ScopeNotListed, scope = %scope, error = %ErrorChain(&error), "a scope cannot be listed for a recovery");
                plan.unlisted.push(scope);
                continue;
            }
            // It may pass.
            listed => listed.map_err(|source| RecoverError::Azure { scope, source })?,
        };
        plan.scopes += 1;
        for held in listed {
            let name = AssignmentName::derive(&held.scope, held.role, held.principal, instance);
            if name != held.name {
                plan.foreign += 1;
                continue;
            }
            ours.push(LostAssignment {
                principal: held.principal,
                role: held.role,
                scope: held.scope,
                assignment: name,
                into: RecoveredInto::Stranger(stranger(held.principal)),
                is_wanted: false,
            });
        }
    }
    Ok(ours)
}

async fn known_state(store: &StateStore, snapshot: &ActiveSnapshot) -> Result<KnownState, StoreError> {
    let mut known = KnownState::default();
    let mut people = store.people();
    while let Some(PersonRecord { user, header, ledger, .. }) = people.next().await? {
        let living = ledger.entries.iter().filter(|stored| !stored.entry.is_settled_and_gone());
        known.assignments.extend(living.map(|stored| stored.entry.assignment));
        known.assignments.extend(&ledger.unreadable);
        if !matches!(header, HeaderState::Gone) {
            known.living.insert(user);
        }
        known.pins.extend(ledger.pins.iter().map(|pin| (pin.principal, user)));
        let person = header.as_ref().readable();
        let named =
            person.and_then(|person| desired::principal_of(&person.resource, snapshot.principal_from()));
        if let Some(principal) = named {
            known.named.entry(principal).and_modify(|record| *record = None).or_insert(Some(user));
        }
    }
    Ok(known)
}

/// What reconciles would do if the ledger had what was lost.
async fn foresee(
    store: &StateStore,
    snapshot: ActiveSnapshot,
    living: &BTreeSet<UserId>,
    plan: &mut RecoverPlan,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<(), StoreError> {
    let ActiveSnapshot::Known(bindings) = snapshot.clone() else { return Ok(()) };
    let mut entries: BTreeMap<UserId, Vec<LedgerEntry>> = BTreeMap::new();
    for lost in plan.lost.iter().filter(|lost| matches!(lost.into, RecoveredInto::Record(_))) {
        entries.entry(lost.into.user()).or_default().push(held_entry(lost, &bindings));
    }
    let of = [PreviewOf { snapshot, under_pause: false }];
    let previews = preview::preview_with(store, &of, None, progress, &entries).await?;
    let revoked: BTreeSet<(UserId, AssignmentName)> = previews
        .iter()
        .flat_map(|preview| &preview.people)
        .flat_map(|person| {
            let steps = person.steps_of(StepKind::Revoke);
            steps.map(|step| (person.person, step.assignment)).collect::<Vec<_>>()
        })
        .collect();
    for lost in &mut plan.lost {
        // A stranger has no record, and a record that is gone wants nothing.
        let user = lost.into.user();
        lost.is_wanted = living.contains(&user) && !revoked.contains(&(user, lost.assignment));
    }
    Ok(())
}

fn held_entry(lost: &LostAssignment, bindings: &BindingsSnapshot) -> LedgerEntry {
    let op = crate::id::OpId::new(Uuid::nil());
    let now = time::OffsetDateTime::UNIX_EPOCH;
    let LostAssignment { assignment, principal, role, scope, .. } = lost.clone();
    LedgerEntry {
        state: AssignmentState::Present,
        // One of them gave what was lost, and which one is not known.
        bindings: bindings.bindings.giving(role, &scope),
        ..LedgerEntry::never_opened(assignment, principal, role, scope, op, now)
    }
}
