//! What reconciles would do for everybody of a tenant, with the active bindings or with a file that is not active yet. It reads
//! by ranges and writes nothing; what decides are the functions that reconciles decide with.
//!
//! What the breakers and full bindings make wait of it is judged afterwards, by [`under_limits`]: without that, a plan has
//! everything that the bindings cause.
//!
//! Pauses, throttles and failures of earlier attempts are left out: a plan says what is to be done, not when. Rows are read one
//! range after the other, so a change that is made meanwhile may be in the plan or not.

mod limits;
mod person;
mod selectors;
mod tenant_plan;
mod to_judge;
mod view;

use crate::id::{InstanceId, UserId};
use crate::ports::role_assignments::RoleAssignments;
use crate::rbac::AssignmentName;
use crate::rbac::ledger::LedgerEntry;
use crate::rbac::plan::PlanLimits;
use crate::service::bindings::active::ActiveSnapshot;
use crate::service::breakers::CountedLedger;
use crate::service::effective_groups::GroupGraph;
use crate::service::reconcile::gather::ASK_TIMEOUT;
use crate::store::ledger::StoredEntry;
use crate::store::pins::SelectorKey;
use crate::store::tenant_walk::PersonRecord;
use crate::store::users::HeaderState;
use crate::store::waiting_requests::WaitingRequests;
use crate::store::{StateStore, StoreError};
use futures_util::future::join_all;
pub use limits::under_limits;
pub use person::DecidedPerson;
use person::PersonPreview;
pub use selectors::SelectedGroup;
use selectors::SelectorView;
use std::collections::BTreeMap;
use std::sync::Arc;
pub use tenant_plan::{
    BindingTotals, BindingsChange, FullBinding, LimitedStep, PersonPlan, PersonState, PlannedStep,
    PlannedWait, TenantPlan,
};
pub use to_judge::{StepId, ToJudge};
use uuid::Uuid;
pub use view::PreviewOf;
use view::{SharedFacts, View};

/// Questions to Azure that are under way together.
const ASKS_AT_ONCE: usize = 8;
/// People who wait for the principal of another record and are planned once more. The others are shown as waiting.
const WAITING_MAX: usize = 1000;

/// Previews several snapshots in one walk over the tenant. `ask`: where Azure may be asked by name about what the ledger does not
/// know; without it that is `in-flight`. `progress` is given the number of people so far.
pub async fn preview(
    store: &StateStore,
    of: &[PreviewOf],
    ask: Option<&dyn RoleAssignments>,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<Vec<TenantPlan>, StoreError> {
    preview_with(store, of, ask, progress, &BTreeMap::new()).await
}

/// The same, as if these entries were in the ledgers of these records.
pub async fn preview_with(
    store: &StateStore,
    of: &[PreviewOf],
    ask: Option<&dyn RoleAssignments>,
    progress: &(dyn Fn(usize) + Sync),
    more: &BTreeMap<UserId, Vec<LedgerEntry>>,
) -> Result<Vec<TenantPlan>, StoreError> {
    let (facts, selectors) = read_shared(store, of).await?;
    let mut views: Vec<View<'_>> =
        of.iter().zip(selectors).map(|(of, selectors)| View::new(of, selectors, &facts)).collect();
    let mut people = store.people();
    let mut people_read = 0;
    let mut counted = CountedLedger::default();
    while let Some(mut record) = people.next().await? {
        more.get(&record.user).into_iter().flatten().for_each(|entry| person::add_entry(&mut record, entry));
        let answers = answers(&record, ask).await;
        to_judge::count(&mut counted, record.user, record.ledger.entries.iter().map(|stored| &stored.entry));
        views.iter_mut().for_each(|view| add(view, &record, &answers, &facts));
        people_read += 1;
        progress(people_read);
    }
    let counted = Arc::new(counted);
    let plans = views.into_iter().map(|view| finish(view, &facts));
    Ok(plans.map(|plan| plan.judged_over(counted.clone())).collect())
}

async fn read_shared(
    store: &StateStore,
    of: &[PreviewOf],
) -> Result<(SharedFacts, Vec<SelectorView>), StoreError> {
    let settings = store.settings().await?;
    let instance = match settings.instance {
        Some(instance) => Some(instance),
        None => store.known_instance().await?,
    };
    let holders = store.holders().await?;
    let snapshots: Vec<&ActiveSnapshot> = of.iter().map(|of| &of.snapshot).collect();
    let requests = store.waiting_requests().await?;
    let (selectors, nesting) = selectors::read(store, &snapshots, &requests).await?;
    let facts = SharedFacts {
        holders,
        nesting,
        requests,
        braked: settings.levers.brakes.keys().copied().collect(),
        paused: settings.levers.pause.is_some(),
        batches: settings.batches,
        // Nothing was ever granted where there is none.
        instance: instance.unwrap_or(InstanceId::new(Uuid::nil())),
        limits: PlanLimits { steps_max: usize::MAX, close_rows_max: usize::MAX, ..PlanLimits::default() },
    };
    Ok((facts, selectors))
}

/// What decides about one person with these bindings, and the group that each of their selectors means.
pub async fn decide_person(
    store: &StateStore,
    of: &PreviewOf,
    record: &PersonRecord,
) -> Result<(DecidedPerson, BTreeMap<SelectorKey, SelectedGroup>), StoreError> {
    let (facts, selectors) = read_shared(store, std::slice::from_ref(of)).await?;
    let selectors = selectors.into_iter().next().unwrap_or_default();
    let selected = selected_by(&of.snapshot, &selectors);
    let mut view = View::new(of, selectors, &facts);
    Ok((PersonPreview::new(record, &mut view, &facts).decide(), selected))
}

/// The group that each selector of these bindings means now, and which groups are in which.
pub async fn selected_groups(
    store: &StateStore,
    snapshot: &ActiveSnapshot,
) -> Result<(BTreeMap<SelectorKey, SelectedGroup>, GroupGraph<()>), StoreError> {
    let (selectors, nesting) = selectors::read(store, &[snapshot], &WaitingRequests::default()).await?;
    Ok((selected_by(snapshot, &selectors.into_iter().next().unwrap_or_default()), nesting))
}

fn selected_by(snapshot: &ActiveSnapshot, selectors: &SelectorView) -> BTreeMap<SelectorKey, SelectedGroup> {
    let ActiveSnapshot::Known(snapshot) = snapshot else { return BTreeMap::new() };
    let all = snapshot.by_selector_key();
    all.map(|(key, binding)| (key.clone(), selectors.selected(key, &binding.selector))).collect()
}

/// The userNames of deleted people who are in a plan, of so many of them: they outlive the user until they are erased.
pub async fn name_deleted(
    store: &StateStore,
    plan: &mut TenantPlan,
    people_max: usize,
) -> Result<(), StoreError> {
    let deleted = plan.people.iter_mut().filter(|person| person.state == PersonState::Deleted);
    for person in deleted.take(people_max) {
        person.name = store.kept_user_name(person.person).await?;
    }
    Ok(())
}

/// Adds what would be done for one person.
fn add(
    view: &mut View<'_>,
    record: &PersonRecord,
    answers: &BTreeMap<AssignmentName, bool>,
    facts: &SharedFacts,
) {
    view.plan.people_read += 1;
    view.plan.deleted_read += usize::from(matches!(record.header, HeaderState::Gone));
    for name in record.ledger.entries.iter().flat_map(|stored| &stored.entry.bindings) {
        if !view.plan.granted_before.contains(name) {
            view.plan.granted_before.insert(name.clone());
        }
    }
    let plan = PersonPreview::new(record, view, facts).plan(answers);
    if plan.waits_for.is_some() && view.waiting.len() < WAITING_MAX {
        view.waiting.push(record.clone());
    }
    if !plan.is_empty() {
        view.plan.people.push(plan);
    }
}

/// Once everybody was read: who waits for the principal of another record gets it, or does not.
fn finish(mut view: View<'_>, facts: &SharedFacts) -> TenantPlan {
    view.name_conflicts(facts);
    for record in view.heirs(facts) {
        let plan = PersonPreview::new(&record, &mut view, facts).plan(&BTreeMap::new());
        view.replace(plan);
    }
    view.plan
}

/// What Azure holds of the entries that the ledger does not know about, by name. What is not answered is left out.
async fn answers(record: &PersonRecord, ask: Option<&dyn RoleAssignments>) -> BTreeMap<AssignmentName, bool> {
    let Some(assignments) = ask else { return BTreeMap::new() };
    let mut unsettled: Vec<&LedgerEntry> = Vec::new();
    for StoredEntry { entry, .. } in &record.ledger.entries {
        unsettled.extend(entry.unsettled_until.map(|_| entry));
    }
    let mut answers = BTreeMap::new();
    for together in unsettled.chunks(ASKS_AT_ONCE) {
        let asked = together.iter().map(|entry| answer(entry, assignments));
        answers.extend(join_all(asked).await.into_iter().flatten());
    }
    answers
}

async fn answer(entry: &LedgerEntry, assignments: &dyn RoleAssignments) -> Option<(AssignmentName, bool)> {
    let found = assignments.get(&entry.scope, &entry.assignment, ASK_TIMEOUT).await.ok()?;
    let same = found.is_some_and(|found| {
        found.scope == entry.scope && found.principal == entry.principal && found.role == entry.role
    });
    Some((entry.assignment, same))
}
