//! A bundled file whose plan takes a role from anyone, or gives a role to more people than a breaker lets pass, waits for an operator.
//! The active one stays active until then.

use crate::audit::{AuditEvent, AuditRecord, ChangeCause, ChangeOrigin};
use crate::bindings::{Bindings, BindingsError};
use crate::events::log_event;
use crate::id::{PrincipalId, SERVICE, UserId};
use crate::ports::role_assignments::RoleAssignments;
use crate::rbac::breaker::{GrantLimits, RevocationLimits};
use crate::rbac::ledger::StepKind;
use crate::rbac::{BackupRole, BindingName, ReasonCode};
use crate::service::access::preview::{self, PlannedStep, PreviewOf, StepId, TenantPlan};
use crate::service::bindings::active::{
    ActivateError, Activation, ActiveBindings, ActiveSnapshot, BindingsSnapshot, StampedFile, hash_of,
};
use crate::store::pending_bindings::{self, PendingBindings, PendingRow};
use crate::store::settings::{self, ActiveVersionRow};
use crate::store::{FoundRow, StateStore, StoreError, TableAnswer};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use time::OffsetDateTime;

/// Attempts while other processes store their files.
const TRIES_MAX: u32 = 10;

/// The outcome for a bundled file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleOutcome {
    Compared(Activation),
    /// It is stored and waits for an operator.
    Waits,
}

/// Why a file must wait.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitCause {
    /// Revocations that would not happen without the file, those included that have to wait.
    pub revocations: usize,
    /// Bindings that would give their role to more new people than they may: how many, and how many they may.
    pub too_many: BTreeMap<BindingName, TooMany>,
}

impl fmt::Display for WaitCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted =
            |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
        let mut causes = Vec::new();
        if self.revocations > 0 {
            causes.push(format!("it causes {}", counted(self.revocations, "revocation")));
        }
        for (name, TooMany { people, people_max }) in &self.too_many {
            causes.push(format!("{name} gives its role to {people} new people, more than {people_max}"));
        }
        f.write_str(&causes.join("; "))
    }
}

/// New people of a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    pub people: usize,
    pub people_max: usize,
}

/// The plans of a file and of the bindings that are active.
#[derive(Debug, Clone)]
pub struct FilePlan {
    pub plan: TenantPlan,
    /// `None`: the file may be activated at once.
    pub wait: Option<WaitCause>,
    /// Steps that happen without the file too.
    anyway: BTreeSet<StepId>,
}

impl FilePlan {
    /// The plan with what the limits make wait. What a file gives or takes that an operator agrees to passes the breakers; what
    /// happens without it does not. `maxPrincipals` counts in both.
    pub async fn under_limits(
        self,
        store: &StateStore,
        limits: RevocationLimits,
    ) -> Result<Self, StoreError> {
        let agreed_without = self.wait.is_some().then_some(&self.anyway);
        let plan = preview::under_limits(store, self.plan, limits, agreed_without).await?;
        Ok(Self { plan, ..self })
    }
}

/// A file that is to be planned.
#[derive(Debug, Clone)]
pub struct FileToPlan {
    pub bindings: Bindings,
    /// Of its bytes: packaging does not change them.
    pub hash: String,
}

impl FileToPlan {
    /// Checks the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, BindingsError> {
        Ok(Self { bindings: Bindings::parse(bytes)?, hash: hash_of(bytes) })
    }
}

/// The file that waits.
#[derive(Debug, Clone)]
pub struct WaitingFile {
    pub row: PendingRow,
    pub pending: PendingBindings,
    /// `None`: it cannot be read.
    pub file: Option<FileToPlan>,
}

/// The file that waits, if one does.
pub async fn waiting_file(
    store: &StateStore,
    pointer: &ActiveVersionRow,
) -> Result<Option<WaitingFile>, StoreError> {
    let Some(row) = store.pending_row().await? else { return Ok(None) };
    let Some(pending) = row.waiting(pointer.stamp()).cloned() else { return Ok(None) };
    let bytes = store.snapshot(&pending.stamp).await?.filter(|bytes| hash_of(bytes) == pending.hash);
    let file = bytes.and_then(|bytes| FileToPlan::parse(&bytes).ok());
    Ok(Some(WaitingFile { row, pending, file }))
}

/// Plans a file that is not active: everything that it causes, whatever the limits make wait of it. `ask`: where Azure may be
/// asked.
pub async fn plan_of_file(
    store: &StateStore,
    active: ActiveSnapshot,
    FileToPlan { bindings: file, hash }: FileToPlan,
    ask: Option<&dyn RoleAssignments>,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<FilePlan, StoreError> {
    let is_absent = matches!(active, ActiveSnapshot::Absent);
    let limits: BTreeMap<BindingName, GrantLimits> =
        file.bindings.iter().map(|binding| (binding.name.clone(), binding.limits)).collect();
    let file = ActiveSnapshot::Known(Arc::new(BindingsSnapshot::new("", "", file)));
    // What a pause keeps back does not happen without the file, and it may never happen.
    let of =
        [PreviewOf { snapshot: active, under_pause: true }, PreviewOf { snapshot: file, under_pause: false }];
    let plans = preview::preview(store, &of, ask, progress).await?;
    let mut plans = plans.into_iter();
    let now = plans.next().unwrap_or_default();
    let plan = TenantPlan { file: Some(hash), ..plans.next().unwrap_or_default() };
    let is_first = is_absent && plan.granted_before.is_empty();
    let wait = if is_first { None } else { wait_cause(&now, &plan, &limits) };
    Ok(FilePlan { plan, wait, anyway: now.step_ids() })
}

/// Why the plan of a file must wait, if it must. What happens without the file too is no reason.
fn wait_cause(
    now: &TenantPlan,
    file: &TenantPlan,
    limits: &BTreeMap<BindingName, GrantLimits>,
) -> Option<WaitCause> {
    let before: BTreeSet<StepKey<'_>> = steps(now).map(|(key, _)| key).collect();
    let mut cause = WaitCause::default();
    let mut new_people: BTreeMap<&BindingName, BTreeSet<_>> = BTreeMap::new();
    for (key, step) in steps(file).filter(|(key, _)| !before.contains(key)) {
        match step.kind {
            StepKind::Revoke => cause.revocations += 1,
            StepKind::Grant => {
                for name in &step.bindings {
                    new_people.entry(name).or_default().insert(key.0);
                }
            }
        }
    }
    cause.revocations += revoked_later(file).difference(&revoked_later(now)).count();
    for (name, people) in new_people {
        let first = !file.granted_before.contains(name);
        let limits = limits.get(name).copied().unwrap_or_default();
        let people_max = if first { limits.max_principals } else { limits.new_grants_max } as usize;
        let people = people.len();
        if people > people_max {
            cause.too_many.insert(name.clone(), TooMany { people, people_max });
        }
    }
    (cause.revocations > 0 || !cause.too_many.is_empty()).then_some(cause)
}

/// Revocations that are due and are not sent yet, as where a call may still land. What an order keeps is none.
fn revoked_later(plan: &TenantPlan) -> BTreeSet<(UserId, BackupRole, &str)> {
    let waits = plan.people.iter().flat_map(|person| person.waits.iter().map(|wait| (person.person, wait)));
    let due =
        waits.filter(|(_, wait)| wait.kind == StepKind::Revoke && wait.reason != ReasonCode::KeptByOrder);
    due.map(|(user, wait)| (user, wait.role, wait.scope.folded())).collect()
}

/// A step without the bindings that it is for.
type StepKey<'a> = (UserId, StepKind, PrincipalId, BackupRole, &'a str);

fn steps(plan: &TenantPlan) -> impl Iterator<Item = (StepKey<'_>, &PlannedStep)> {
    plan.people.iter().flat_map(|person| {
        let user = person.person;
        let key = move |step: &PlannedStep| (user, step.kind, step.principal, step.role);
        person.steps.iter().map(move |step| {
            let (user, kind, principal, role) = key(step);
            ((user, kind, principal, role, step.scope.folded()), step)
        })
    })
}

/// Compares a bundled file with the active one, and with one that waits; stores it where it is the newest.
pub async fn activate_or_hold(
    active_bindings: &ActiveBindings,
    bytes: &[u8],
    stamp: &str,
) -> Result<BundleOutcome, ActivateError> {
    let file = StampedFile::parse(bytes, stamp)?;
    let mut tries = 1;
    loop {
        match attempt(active_bindings, &file).await {
            Err(ActivateError::Store(StoreError::Conflict { .. })) if tries < TRIES_MAX => tries += 1,
            outcome => return outcome,
        }
    }
}

async fn attempt(
    active_bindings: &ActiveBindings,
    file: &StampedFile<'_>,
) -> Result<BundleOutcome, ActivateError> {
    let store = active_bindings.store();
    let TableAnswer { value: pointer, date: now } = store.pointer_now().await?;
    // From here on this process knows where a person's object id is taken from, however long the plan takes.
    let active = active_bindings.read(&pointer).await?;
    if let Some(activation) = active_bindings.leaves(file, &pointer, now).await? {
        return Ok(BundleOutcome::Compared(activation));
    }
    let row = store.pending_row().await?;
    if let Some(outcome) = row.as_ref().and_then(|row| beside_waiting(file, row, &pointer)) {
        return Ok(outcome);
    }
    let to_plan = FileToPlan { bindings: file.bindings.clone(), hash: file.hash.clone() };
    let FilePlan { plan, wait, .. } = plan_of_file(store, active, to_plan, None, &|_| {}).await?;
    if wait.is_none() {
        active_bindings.activate_over(file, &pointer, row.as_ref()).await?;
        active_bindings.health().bindings_pending(None);
        return Ok(BundleOutcome::Compared(Activation::Stored));
    }
    // The plan took its time: another process may have activated a newer file meanwhile.
    if !store.pointer().await?.is_same(&pointer) {
        return Err(StoreError::Conflict { index: 0, found: FoundRow::Changed }.into());
    }
    let pending = hold(store, file, &plan, row.as_ref(), now).await?;
    active_bindings.health().bindings_pending(Some(&pending));
    Ok(BundleOutcome::Waits)
}

/// The outcome where another file waits that is as new, or newer.
fn beside_waiting(
    file: &StampedFile<'_>,
    row: &PendingRow,
    pointer: &ActiveVersionRow,
) -> Option<BundleOutcome> {
    let waiting = row.waiting(pointer.stamp())?;
    match (file.stamp.cmp(waiting.stamp.as_str()), waiting.hash == file.hash) {
        (Ordering::Greater, _) => None,
        (Ordering::Equal, true) => Some(BundleOutcome::Waits),
        (Ordering::Equal, false) => Some(BundleOutcome::Compared(Activation::SameStampOtherBytes)),
        (Ordering::Less, _) => Some(BundleOutcome::Compared(Activation::Older)),
    }
}

/// One transaction: the bytes, and the row that says that they wait.
async fn hold(
    store: &StateStore,
    file: &StampedFile<'_>,
    plan: &TenantPlan,
    before: Option<&PendingRow>,
    now: OffsetDateTime,
) -> Result<PendingBindings, StoreError> {
    let (revocations, grants) = plan.revocations_and_grants();
    let pending = PendingBindings {
        stamp: file.stamp.to_owned(),
        hash: file.hash.clone(),
        plan: plan.hash(),
        revocations,
        grants,
        since: now,
    };
    let op = store.ids.op();
    let stamp_before = before.and_then(|row| row.pending.as_ref()).map(|pending| pending.stamp.clone());
    let change = AuditEvent::BindingsPending { before: stamp_before, after: Some(pending.stamp.clone()) };
    let record = AuditRecord {
        op,
        time: store.clock.now(),
        origin: ChangeOrigin { cause: ChangeCause::Snapshot, actor: SERVICE.to_owned(), op },
        request: None,
        stamp: None,
        outcome: None,
        changes: vec![change],
    };
    let mut writes = vec![pending_bindings::write(&pending, before)];
    if !is_stored(store, file).await? {
        writes.push(settings::store_snapshot(file.stamp, &file.hash, file.bytes));
    }
    store.commit(&record, writes).await?;
    log_waiting(&pending);
    Ok(pending)
}

/// Whether exactly this file is stored under its stamp, by an attempt whose other rows cannot be read any more.
async fn is_stored(store: &StateStore, file: &StampedFile<'_>) -> Result<bool, StoreError> {
    let stored = store.snapshot(file.stamp).await?;
    Ok(stored.is_some_and(|bytes| hash_of(&bytes) == file.hash))
}

fn log_waiting(pending: &PendingBindings) {
    log_event!(
        BindingsPending,
        bindings.stamp = pending.stamp,
        plan = pending.plan,
        revocations = pending.revocations,
        grants = pending.grants,
        "the bundled bindings wait for an operator: check them with plan --pending, then apply the hash of the plan"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rbac::{AssignmentName, Scope};
    use crate::service::access::preview::{PersonPlan, PersonState, PlannedWait};
    use uuid::Uuid;

    fn binding() -> BindingName {
        BindingName::parse("operators").unwrap()
    }

    fn scope() -> Scope {
        Scope::parse("/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup").unwrap()
    }

    fn person(number: u128, steps: Vec<PlannedStep>, waits: Vec<PlannedWait>) -> PersonPlan {
        PersonPlan {
            person: UserId::new(Uuid::from_u128(number)),
            state: PersonState::Active,
            name: None,
            steps,
            kept: Vec::new(),
            waits,
            limited: Vec::new(),
            waits_for: None,
        }
    }

    fn step(number: u128, kind: StepKind) -> PlannedStep {
        PlannedStep {
            kind,
            assignment: AssignmentName::new(Uuid::from_u128(number)),
            principal: PrincipalId::new(Uuid::from_u128(number)),
            role: BackupRole::Operator,
            scope: scope(),
            bindings: vec![binding()],
            reasons: Vec::new(),
            failing: None,
        }
    }

    fn wait(kind: StepKind, reason: ReasonCode) -> PlannedWait {
        PlannedWait { kind, role: BackupRole::Operator, scope: scope(), bindings: vec![binding()], reason }
    }

    fn cause(now: &TenantPlan, file: &TenantPlan) -> Option<WaitCause> {
        wait_cause(now, file, &BTreeMap::new())
    }

    fn plan(people: Vec<PersonPlan>) -> TenantPlan {
        TenantPlan { people, ..TenantPlan::default() }
    }

    fn grants(people: u128) -> TenantPlan {
        plan(
            (0..people)
                .map(|number| person(number, vec![step(number, StepKind::Grant)], Vec::new()))
                .collect(),
        )
    }

    #[test]
    fn a_revocation_waits_unless_it_happens_without_the_file() {
        let revokes = || plan(vec![person(1, vec![step(1, StepKind::Revoke)], Vec::new())]);
        assert_eq!(cause(&plan(Vec::new()), &revokes()).unwrap().revocations, 1);
        assert_eq!(cause(&revokes(), &revokes()), None);
    }

    #[test]
    fn a_revocation_that_is_due_and_not_sent_yet_counts() {
        let later = |reason| plan(vec![person(1, Vec::new(), vec![wait(StepKind::Revoke, reason)])]);
        let nothing = plan(Vec::new());
        let in_flight = later(ReasonCode::InFlight);
        assert_eq!(cause(&nothing, &in_flight).unwrap().revocations, 1);
        assert_eq!(cause(&in_flight, &in_flight), None);
        assert_eq!(cause(&nothing, &later(ReasonCode::KeptByOrder)), None);
        let grant = plan(vec![person(1, Vec::new(), vec![wait(StepKind::Grant, ReasonCode::InFlight)])]);
        assert_eq!(cause(&nothing, &grant), None);
    }

    #[test]
    fn a_binding_that_is_new_may_give_its_role_to_more_people() {
        let nothing = plan(Vec::new());
        assert_eq!(cause(&nothing, &grants(500)), None);
        let too_many = cause(&nothing, &grants(501)).unwrap().too_many;
        assert_eq!(too_many[&binding()], TooMany { people: 501, people_max: 500 });
        let known = |people| TenantPlan { granted_before: [binding()].into(), ..grants(people) };
        assert_eq!(cause(&nothing, &known(50)), None);
        let waits = cause(&nothing, &known(51)).unwrap();
        assert_eq!(waits.to_string(), "operators gives its role to 51 new people, more than 50");
    }
}
