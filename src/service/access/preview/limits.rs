//! A plan under the limits: what the breakers would hold of it, and who would wait because a binding is full. The rules and the
//! counts are those of the breakers; nothing is counted by this.
//!
//! How many wait holds as long as nothing else happens. Who waits depends on the order in which the service gets to them;
//! a plan takes people in the order of their ids, revocations first and by the age of the change that caused them.

use super::tenant_plan::{FullBinding, LimitedStep, PersonPlan, PlannedWait, TenantPlan};
use super::to_judge::{PersonToJudge, StepId, ToJudge};
use crate::id::UserId;
use crate::rbac::breaker::RevocationLimits;
use crate::rbac::{AssignmentName, BindingName, ReasonCode};
use crate::service::breakers::{Foresight, StepQuestion};
use crate::store::{StateStore, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// What is judged: the questions of one person.
type Asked<'a> = (UserId, &'a PersonToJudge, Vec<&'a StepQuestion>);

/// The plan with what the limits make wait. `agreed_without`: the plan is of a file that an operator agrees to, so the breakers
/// judge only these steps, which happen without the file too.
pub async fn under_limits(
    store: &StateStore,
    mut plan: TenantPlan,
    limits: RevocationLimits,
    agreed_without: Option<&BTreeSet<StepId>>,
) -> Result<TenantPlan, StoreError> {
    let to_judge = std::mem::take(&mut plan.to_judge);
    let asked = asked(&to_judge, agreed_without);
    let questions = || asked.iter().flat_map(|(_, _, steps)| steps.iter().copied());
    let names: BTreeSet<BindingName> = questions().flat_map(StepQuestion::bindings).cloned().collect();
    if names.is_empty() {
        return Ok(plan);
    }
    let held = match Foresight::read(store, names, &to_judge.ledger, limits).await? {
        Some(mut foresight) => {
            let held = judge(&asked, &mut foresight);
            plan.full = full_bindings(&asked, &held, &foresight);
            held
        }
        None => {
            let ids = asked.iter().flat_map(|(user, _, steps)| steps.iter().map(|q| (*user, q.assignment)));
            ids.map(|id| (id, ReasonCode::RowUnreadable)).collect()
        }
    };
    for person in &mut plan.people {
        hold_back(person, &held);
    }
    Ok(plan)
}

/// The questions of each person, as they are judged.
fn asked<'a>(to_judge: &'a ToJudge, agreed_without: Option<&BTreeSet<StepId>>) -> Vec<Asked<'a>> {
    let of = |(user, person): (&UserId, &'a PersonToJudge)| {
        let is_anyway = |step: &&StepQuestion| {
            agreed_without.is_none_or(|anyway| anyway.contains(&(*user, step.assignment)))
        };
        let as_now = person.as_now.iter().filter(is_anyway);
        let agreed = person.as_agreed.iter().filter(|step| !is_anyway(step));
        (*user, person, as_now.chain(agreed).collect())
    };
    to_judge.people.iter().map(|(user, person)| of((user, person))).collect()
}

/// Judges what is taken away, the oldest change first, and then what is given, where people made room.
fn judge(asked: &[Asked<'_>], foresight: &mut Foresight) -> BTreeMap<StepId, ReasonCode> {
    let mut held = BTreeMap::new();
    let mut ask = |foresight: &mut Foresight, user: UserId, step: &StepQuestion| {
        let reason = foresight.judge(user, step);
        held.extend(reason.map(|reason| ((user, step.assignment), reason)));
        reason.is_some()
    };
    let mut by_age: Vec<&Asked<'_>> = asked.iter().collect();
    by_age.sort_by_key(|(user, person, _)| (person.op, *user));
    let mut kept: BTreeSet<(UserId, &BindingName)> = BTreeSet::new();
    for (user, _, steps) in by_age {
        for step in steps.iter().filter(|step| step.takes_away()) {
            if ask(foresight, *user, step) {
                kept.extend(step.bindings().map(|name| (*user, name)));
            }
        }
    }
    for (user, person, _) in asked {
        for name in person.leaves.iter().filter(|name| !kept.contains(&(*user, *name))) {
            foresight.leave(*user, name);
        }
        person.takes_over.iter().for_each(|name| foresight.take_over(*user, name));
    }
    for (user, _, steps) in asked {
        for step in steps.iter().filter(|step| !step.takes_away()) {
            ask(foresight, *user, step);
        }
    }
    held
}

/// The bindings that turn people away.
fn full_bindings(
    asked: &[Asked<'_>],
    held: &BTreeMap<StepId, ReasonCode>,
    foresight: &Foresight,
) -> BTreeMap<BindingName, FullBinding> {
    let mut full: BTreeMap<BindingName, FullBinding> = BTreeMap::new();
    for (user, _, steps) in asked {
        let waits =
            |step: &&&StepQuestion| held.get(&(*user, step.assignment)) == Some(&ReasonCode::MaxPrincipals);
        for name in steps.iter().filter(waits).flat_map(|step| step.bindings()) {
            let people = foresight.people(name);
            full.entry(name.clone()).or_insert(FullBinding { people, waiting: 0 }).waiting += 1;
        }
    }
    full
}

/// Takes the steps out of a person's plan that have to wait.
fn hold_back(person: &mut PersonPlan, held: &BTreeMap<StepId, ReasonCode>) {
    let user = person.person;
    let reason_of = |assignment: AssignmentName| held.get(&(user, assignment)).copied();
    let steps = std::mem::take(&mut person.steps);
    for step in steps {
        let Some(reason) = reason_of(step.assignment) else {
            person.steps.push(step);
            continue;
        };
        let (kind, role, scope, bindings) = (step.kind, step.role, step.scope.clone(), step.bindings.clone());
        person.waits.push(PlannedWait { kind, role, scope, bindings, reason });
        person.limited.push(LimitedStep { step, reason });
    }
    person.sort();
}
