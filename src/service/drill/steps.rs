//! One step of a drill. Each is one commit: a change through provisioning with the new phase in its transaction, or the new
//! phase alone. So a step happens once, whoever is killed or late.

use super::end::DrillEnd;
use super::leaver::{BY_THE_SERVICE, leaves_body};
use super::stage::{Drills, StepEnd};
use super::times;
use crate::bindings::{ConfiguredBinding, Selector};
use crate::id::{GroupId, UserId};
use crate::ports::role_assignments::{AssignmentError, RejectionReason};
use crate::rbac::ledger::{AssignmentState, LedgerEntry};
use crate::rbac::{AssignmentName, BindingName, DRILL_BINDING, Scope};
use crate::scim::{GroupInput, PatchRequest, Projection, ResourceType, UserInput};
use crate::service::bindings::active::ActiveSnapshot;
use crate::service::{ScimCaller, ServiceError};
use crate::store::drills::{DrillPhase, RunningDrill, StepTimes, StoredDrill};
use crate::store::ledger::{PrincipalHolder, UserLedger};
use crate::store::resources::ResourceId;
use crate::store::{StoreError, TableAnswer};
use std::time::Duration;
use time::OffsetDateTime;

/// How long Azure is given to say what it holds.
const ASK_TIMEOUT: Duration = Duration::from_secs(15);
/// A tick comes every minute: after so long without one, that is the reason.
const NO_TICK_AFTER: Duration = Duration::from_secs(600);

/// A client has what the drill needs.
pub(super) const NAME_TAKEN: &str = "name-taken";
/// Another record has the Entra object id of the leaver.
const PRINCIPAL_TAKEN: &str = "principal-taken";
/// The active bindings have no binding as packaging adds it.
const NO_BINDING: &str = "no-binding";
/// A client changed the leaver or the group.
const CHANGED_BY_OTHERS: &str = "changed-by-others";
/// No tick came.
const NO_TICK: &str = "no-tick";
/// Azure does not say it.
const NO_ANSWER: &str = "no-answer";
/// Azure holds something else than the ledger says.
const AZURE_DIFFERS: &str = "azure-differs";
/// The ordinary reconcile has not come to it.
const IN_FLIGHT: &str = "in-flight";
/// The row of the drill is of a later release, or damaged.
const ROW_UNREADABLE: &str = "row-unreadable";
/// A write was refused.
const REFUSED: &str = "refused";

/// A step that may not go on as it should.
pub(super) enum Step {
    Ended(StepEnd),
    /// The drill is red.
    Failed(&'static str),
}

const MOVED: Step = Step::Ended(StepEnd::Moved);

/// The assignment of the drill's binding.
struct DrillAssignment {
    name: AssignmentName,
    scope: Scope,
}

/// What the ledger and Azure say of the assignment.
struct Standing {
    entry: Option<LedgerEntry>,
    /// Asked by name, where the ledger knows.
    azure: Option<Result<bool, AssignmentError>>,
    date: OffsetDateTime,
}

impl Drills {
    pub(super) async fn step(
        &self,
        stored: &StoredDrill,
        now: OffsetDateTime,
    ) -> Result<StepEnd, StoreError> {
        let Some(running) = &stored.state.running else { return Ok(StepEnd::Waits) };
        let failed = running.drill.failure.is_some();
        if !failed && !stored.is_whole {
            // The row is whole again after that, and what the drill made is removed.
            return self.fail(stored, ROW_UNREADABLE, now).await;
        }
        if !failed && running.drill.began + self.deadline < now {
            let reason = self.why_late(running, now).await?;
            return self.fail(stored, &reason, now).await;
        }
        let step = match running.phase {
            DrillPhase::Begun => self.make_user(stored, running).await?,
            DrillPhase::UserMade => self.make_group(stored, running).await?,
            DrillPhase::GroupMade => self.see_grant(stored, running).await?,
            DrillPhase::Granted => self.deactivate(stored, running).await?,
            DrillPhase::Deactivated => self.see_revocation(stored, running).await?,
            DrillPhase::Gone | DrillPhase::Removing => self.remove(stored, running).await?,
        };
        match step {
            Step::Failed(reason) if !failed => self.fail(stored, reason, now).await,
            Step::Failed(_) => self.look(stored, now).await,
            Step::Ended(StepEnd::Waits) => self.look(stored, now).await,
            Step::Ended(StepEnd::Moved) => Ok(StepEnd::Moved),
        }
    }

    /// Notes that a tick was here.
    async fn look(&self, stored: &StoredDrill, now: OffsetDateTime) -> Result<StepEnd, StoreError> {
        self.store.transact_unjournaled(&[stored.look(now)]).await?;
        Ok(StepEnd::Waits)
    }

    /// The caller of one step. What it writes is only committed with the new phase.
    fn caller(stored: &StoredDrill, phase: DrillPhase) -> ScimCaller {
        ScimCaller::new(DRILL_BINDING.to_owned()).fenced(stored.step(phase))
    }

    /// What came of a write. A conflict means that another process did it, or that the row is to be read again.
    fn written<T>(written: Result<T, ServiceError>) -> Result<Step, StoreError> {
        match written {
            Ok(_) | Err(ServiceError::Busy { source: Some(StoreError::Conflict { .. }), .. }) => Ok(MOVED),
            Err(ServiceError::Busy { source: Some(error @ StoreError::Away { .. }), .. }) => Err(error),
            Err(error) if error.scim_error().is_some_and(|error| error.status == 409) => {
                Ok(Step::Failed(NAME_TAKEN))
            }
            Err(error) => {
                let is_refused = error.scim_error().is_some();
                Self::log_failed_step(&error);
                Ok(if is_refused { Step::Failed(REFUSED) } else { Step::Ended(StepEnd::Waits) })
            }
        }
    }

    /// The binding of the drill, and the externalId by which it names its group.
    async fn binding(&self) -> Result<Option<(ConfiguredBinding, String)>, StoreError> {
        let snapshot = self.active_bindings.read(&self.store.pointer().await?).await?;
        let ActiveSnapshot::Known(snapshot) = snapshot else { return Ok(None) };
        let mut all = snapshot.bindings.bindings.iter();
        let Some(binding) = all.find(|binding| binding.is_drill()) else { return Ok(None) };
        let Selector::ExternalId(value) = &binding.selector else { return Ok(None) };
        Ok(Some((binding.clone(), value.clone())))
    }

    async fn make_user(&self, stored: &StoredDrill, running: &RunningDrill) -> Result<Step, StoreError> {
        let drill = &running.drill;
        let Some((_, group)) = self.binding().await? else { return Ok(Step::Failed(NO_BINDING)) };
        // The group too: a drill that cannot be played to its end makes nothing.
        let taken = self.is_living::<UserId>(BY_THE_SERVICE.leaver).await?
            || self.is_living::<GroupId>(BY_THE_SERVICE.group).await?
            || self.has_living_group(&group).await?;
        if taken {
            return Ok(Step::Failed(NAME_TAKEN));
        }
        if self.store.holder(drill.principal).await? != PrincipalHolder::Free {
            return Ok(Step::Failed(PRINCIPAL_TAKEN));
        }
        let Ok(input) = UserInput::parse(&BY_THE_SERVICE.user_body(drill.principal)) else {
            return Ok(Step::Failed(REFUSED));
        };
        let caller = Self::caller(stored, DrillPhase::UserMade);
        Self::written(self.provisioning.create_user_as(&caller, drill.user, &input).await)
    }

    async fn is_living<I: ResourceId>(&self, name: &str) -> Result<bool, StoreError> {
        match self.store.owner::<I>(name).await? {
            Some(owner) => self.store.exists(owner.id).await,
            None => Ok(false),
        }
    }

    async fn has_living_group(&self, external_id: &str) -> Result<bool, StoreError> {
        for group in self.store.groups_that_match("externalId", external_id).await? {
            if self.store.exists(group).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn make_group(&self, stored: &StoredDrill, running: &RunningDrill) -> Result<Step, StoreError> {
        let drill = &running.drill;
        let Some((_, value)) = self.binding().await? else { return Ok(Step::Failed(NO_BINDING)) };
        if !self.store.exists(drill.user).await? {
            return Ok(Step::Failed(CHANGED_BY_OTHERS));
        }
        // Another record was first.
        if self.store.holder(drill.principal).await? != PrincipalHolder::Record(drill.user) {
            return Ok(Step::Failed(PRINCIPAL_TAKEN));
        }
        if self.has_living_group(&value).await? {
            return Ok(Step::Failed(NAME_TAKEN));
        }
        let Ok(input) = GroupInput::parse(&BY_THE_SERVICE.group_body(&value, &drill.user.to_string())) else {
            return Ok(Step::Failed(REFUSED));
        };
        let caller = Self::caller(stored, DrillPhase::GroupMade);
        Self::written(self.provisioning.create_group_as(&caller, drill.group, &input).await)
    }

    async fn deactivate(&self, stored: &StoredDrill, running: &RunningDrill) -> Result<Step, StoreError> {
        let user = running.drill.user;
        // A client deleted or deactivated the leaver.
        if !self.store.resource(user).await?.is_some_and(|user| user.resource.active()) {
            return Ok(Step::Failed(CHANGED_BY_OTHERS));
        }
        let Ok(patch) = PatchRequest::parse(ResourceType::User, &leaves_body()) else {
            return Ok(Step::Failed(REFUSED));
        };
        let caller = Self::caller(stored, DrillPhase::Deactivated);
        let projection = Projection::all(ResourceType::User);
        Self::written(self.provisioning.patch_user(&caller, user, &patch, &projection).await)
    }

    async fn see_grant(&self, stored: &StoredDrill, running: &RunningDrill) -> Result<Step, StoreError> {
        let Some(assignment) = self.assignment(running).await? else { return Ok(Step::Failed(NO_BINDING)) };
        let standing = self.standing(running, &assignment, AssignmentState::Present).await?;
        let (Some(entry), Some(Ok(true))) = (&standing.entry, &standing.azure) else {
            return Ok(Step::Ended(StepEnd::Waits));
        };
        let grant = self.times(entry, standing.date).await?;
        self.advance(stored, DrillPhase::Granted, |running| running.drill.grant = grant).await
    }

    async fn see_revocation(&self, stored: &StoredDrill, running: &RunningDrill) -> Result<Step, StoreError> {
        let Some(assignment) = self.assignment(running).await? else { return Ok(Step::Failed(NO_BINDING)) };
        let standing = self.standing(running, &assignment, AssignmentState::Gone).await?;
        let (Some(entry), Some(Ok(false))) = (&standing.entry, &standing.azure) else {
            let leaver = self.store.resource(running.drill.user).await?;
            // A client let the leaver in again.
            let is_back = leaver.is_some_and(|leaver| leaver.resource.active());
            return Ok(if is_back { Step::Failed(CHANGED_BY_OTHERS) } else { Step::Ended(StepEnd::Waits) });
        };
        let revocation = self.times(entry, standing.date).await?;
        self.advance(stored, DrillPhase::Gone, |running| running.drill.revocation = revocation).await
    }

    /// Nothing but the phase changes, and what was seen.
    async fn advance(
        &self,
        stored: &StoredDrill,
        phase: DrillPhase,
        change: impl FnOnce(&mut RunningDrill),
    ) -> Result<Step, StoreError> {
        let mut state = stored.state.clone();
        if let Some(running) = &mut state.running {
            running.phase = phase;
            change(running);
        }
        self.store.transact_unjournaled(&[state.write(Some(stored))]).await?;
        Ok(MOVED)
    }

    /// The assignment that the drill is about. While the leaver has a row in the ledger, by that; else by the binding.
    async fn assignment(&self, running: &RunningDrill) -> Result<Option<DrillAssignment>, StoreError> {
        let drill = &running.drill;
        let ledger = self.store.ledger(drill.user).await?;
        // A client may have put the leaver into other groups.
        let is_of_drill = |entry: &&LedgerEntry| entry.bindings.iter().any(BindingName::is_of_drills);
        if let Some(entry) = ledger.entries.iter().map(|stored| &stored.entry).find(is_of_drill) {
            let (name, scope) = (entry.assignment, entry.scope.clone());
            return Ok(Some(DrillAssignment { name, scope }));
        }
        let Some((binding, _)) = self.binding().await? else { return Ok(None) };
        let instance = self.store.instance().await?;
        let name = AssignmentName::derive(&binding.scope, binding.role, drill.principal, instance);
        Ok(Some(DrillAssignment { name, scope: binding.scope }))
    }

    /// Azure is only asked once the ledger knows what it should say.
    async fn standing(
        &self,
        running: &RunningDrill,
        assignment: &DrillAssignment,
        wanted: AssignmentState,
    ) -> Result<Standing, StoreError> {
        let TableAnswer { value, date } =
            self.store.ledger_entry(running.drill.user, assignment.name).await?;
        let entry = value.map(|stored| stored.entry);
        let is_settled =
            entry.as_ref().is_some_and(|entry| entry.unsettled_until.is_none() && entry.state == wanted);
        let azure = match is_settled {
            true => Some(self.asked(&assignment.scope, assignment.name).await),
            false => None,
        };
        let date = if is_settled { self.store.table_time().await? } else { date };
        Ok(Standing { entry, azure, date })
    }

    /// Whether Azure holds it, asked by name. At a scope that is gone it holds nothing.
    pub(super) async fn asked(
        &self,
        scope: &Scope,
        assignment: AssignmentName,
    ) -> Result<bool, AssignmentError> {
        let found = self.assignments.get(scope, &assignment, ASK_TIMEOUT).await;
        match found {
            Err(AssignmentError::Rejected { reason: RejectionReason::ScopeNotFound, .. }) => Ok(false),
            found => found.map(|found| found.is_some()),
        }
    }

    async fn remove(&self, stored: &StoredDrill, running: &RunningDrill) -> Result<Step, StoreError> {
        let drill = &running.drill;
        let caller = Self::caller(stored, DrillPhase::Removing);
        if self.store.exists(drill.group).await? {
            return Self::written(self.provisioning.delete_group(&caller, drill.group).await);
        }
        if self.store.exists(drill.user).await? {
            return Self::written(self.provisioning.delete_user(&caller, drill.user).await);
        }
        match self.end(stored, drill).await? {
            DrillEnd::Ended => Ok(MOVED),
            DrillEnd::NotYet => Ok(Step::Ended(StepEnd::Waits)),
        }
    }

    /// Why a drill came no further in its time.
    async fn why_late(&self, running: &RunningDrill, now: OffsetDateTime) -> Result<String, StoreError> {
        if running.looked + NO_TICK_AFTER < now {
            return Ok(NO_TICK.to_owned());
        }
        let ledger = self.store.ledger(running.drill.user).await?;
        if let Some(reason) = reason_in(&ledger) {
            return Ok(reason);
        }
        let Some(assignment) = self.assignment(running).await? else { return Ok(NO_BINDING.to_owned()) };
        let wanted = match running.phase {
            DrillPhase::Begun | DrillPhase::UserMade | DrillPhase::GroupMade | DrillPhase::Granted => {
                AssignmentState::Present
            }
            DrillPhase::Deactivated | DrillPhase::Gone | DrillPhase::Removing => AssignmentState::Gone,
        };
        let standing = self.standing(running, &assignment, wanted).await?;
        let reason = match standing.azure {
            None => IN_FLIGHT,
            Some(Ok(_)) => AZURE_DIFFERS,
            Some(Err(_)) => NO_ANSWER,
        };
        Ok(reason.to_owned())
    }

    async fn times(&self, entry: &LedgerEntry, seen: OffsetDateTime) -> Result<StepTimes, StoreError> {
        let record = self.store.audit_record(entry.op).await?;
        Ok(times::of_step(record.as_ref(), entry, seen))
    }
}

/// The reason that the ordinary reconcile left.
fn reason_in(ledger: &UserLedger) -> Option<String> {
    let of_wait = ledger.waits.first().map(|wait| wait.reason);
    let of_step =
        ledger.entries.iter().find_map(|stored| stored.entry.retry.as_ref()).map(|retry| retry.reason);
    of_wait.or(of_step).map(|reason| reason.as_str().to_owned())
}
