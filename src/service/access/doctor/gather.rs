//! Reading what `doctor` judges. What cannot be read is kept as that, and hides nothing else.

use super::azure::{ANSWER_TIMEOUT, AzureQuestions};
use super::facts::{
    BindingsFact, BoundScopes, ClockFacts, DoctorFacts, InstallationFacts, PeopleFacts, TokenFacts, WorkFacts,
};
use super::identity::{self, IdentityEvidence};
use super::people::sent_id;
use crate::error_chain::ErrorChain;
use crate::id::PrincipalId;
use crate::ports::azure_access::{
    AccessAssignment, AccessReader, DirectoryError, DirectoryReader, HolderKind,
};
use crate::ports::secrets::SecretSource;
use crate::ports::tables::TableAnswer;
use crate::rbac::{AssignmentName, Scope};
use crate::service::access::groups;
use crate::service::bindings::active::ActiveSnapshot;
use crate::service::reconcile::desired;
use crate::store::orders::OrderTable;
use crate::store::request_log::RequestTable;
use crate::store::tenant_walk::PersonRecord;
use crate::store::{StateStore, StoreError};
use std::collections::BTreeSet;
use uuid::Uuid;

/// People who are named.
const PEOPLE_NAMED_MAX: usize = 20;

/// What is asked, with the rights of the operator.
pub struct DoctorReaders<'a> {
    pub store: &'a StateStore,
    pub orders: &'a OrderTable,
    pub requests: &'a RequestTable,
    /// Whether they are those of a `local`.
    pub is_simulated: bool,
    pub access: &'a dyn AccessReader,
    pub directory: &'a dyn DirectoryReader,
    /// The vault, and the name of the secret, where they are known.
    pub secrets: Option<(&'a dyn SecretSource, &'a str)>,
}

/// What the state alone says of people and assignments.
#[derive(Default)]
struct LedgerView {
    people: PeopleFacts,
    ours: BTreeSet<AssignmentName>,
    scopes: BTreeSet<Scope>,
    /// Of all that it ever gave.
    subscriptions: BTreeSet<String>,
}

/// Reads everything. `named`: the service's Entra object, where it is known. Only the state has to be readable.
pub async fn gather(
    readers: &DoctorReaders<'_>,
    snapshot: &ActiveSnapshot,
    named: Option<PrincipalId>,
    progress: &dyn Fn(usize),
) -> Result<DoctorFacts, StoreError> {
    let store = readers.store;
    let tables = store.table_time().await?;
    let clocks = ClockFacts { here: store.clock.now(), tables };
    let work = work(store).await?;
    let orders = readers.orders.placed(1).await.map(drop).map_err(|error| ErrorChain(&error).to_string());
    let requests = readers.requests.counts(&(tables..tables)).await.map(drop);
    let requests = requests.map_err(|error| ErrorChain(&error).to_string());
    let mut ledger = ledger(store, snapshot).await?;
    let groups = groups::overview(store, snapshot).await?;
    ledger.people.rows_unreadable = store.unreadable().count();
    let bindings = bindings(snapshot);
    // Revocations may be left at a scope that is in the bindings no more, and a right in a subscription that nothing needs.
    let bound = bindings.known().map(BoundScopes::all).unwrap_or_default();
    let wanted: BTreeSet<Scope> = bound.union(&ledger.scopes).cloned().collect();
    ledger.subscriptions.extend(wanted.iter().map(|scope| scope.subscription().to_owned()));
    let azure = AzureQuestions::begin(readers.access, store.clock.as_ref());
    let scopes = azure.scopes(&wanted, progress).await;
    let subscriptions = azure.subscriptions(&ledger.subscriptions, &scopes).await;
    let makers = identity::makers(&scopes, &ledger.ours);
    let may_be_ours = |assignment: &AccessAssignment| {
        let principal = assignment.principal;
        assignment.holder == HolderKind::ServicePrincipal
            || Some(principal) == named
            || makers.contains(&principal)
    };
    let roles = azure.roles(&scopes, &subscriptions, may_be_ours).await;
    let mut evidence = IdentityEvidence::of(named, makers, &scopes, &roles);
    let missing = missing(readers, evidence.objects()).await;
    let directory = missing.map(|missing| evidence.missing = missing);
    Ok(DoctorFacts {
        bindings,
        identity: evidence.identify(),
        may_be_service: evidence.objects(),
        is_simulated: readers.is_simulated,
        scopes,
        subscriptions,
        roles,
        scopes_in_ledger: ledger.scopes,
        people: ledger.people,
        groups,
        installation: installation(store).await?,
        work,
        orders,
        requests,
        clocks,
        directory,
        tokens: tokens(readers).await,
    })
}

/// Which of these objects Entra ID does not show.
async fn missing(
    readers: &DoctorReaders<'_>,
    mut objects: BTreeSet<PrincipalId>,
) -> Result<BTreeSet<PrincipalId>, DirectoryError> {
    // Whether it answers is asked in any case.
    let asked = if objects.is_empty() { [PrincipalId::new(Uuid::nil())].into() } else { objects.clone() };
    let asked: Vec<PrincipalId> = asked.into_iter().collect();
    let shown = readers.directory.names_of(&asked, ANSWER_TIMEOUT).await?;
    objects.retain(|object| !shown.contains_key(object));
    Ok(objects)
}

fn bindings(snapshot: &ActiveSnapshot) -> BindingsFact {
    let snapshot = match snapshot {
        ActiveSnapshot::Known(snapshot) => snapshot,
        ActiveSnapshot::Absent => return BindingsFact::Absent,
        ActiveSnapshot::Unreadable => return BindingsFact::Unreadable,
    };
    let mut bound = BoundScopes::default();
    for binding in &snapshot.bindings.bindings {
        bound.roles.entry(binding.scope.clone()).or_default().insert(binding.role);
    }
    let is_only_retired = |scope: &&Scope| !bound.roles.contains_key(scope);
    bound.retired = snapshot.bindings.retired.iter().filter(is_only_retired).cloned().collect();
    BindingsFact::Known(bound)
}

async fn installation(store: &StateStore) -> Result<InstallationFacts, StoreError> {
    let settings = store.settings().await?;
    let row = settings.instance_row.as_ref();
    Ok(InstallationFacts {
        id: row.map(|row| row.id),
        setting: row.and_then(|row| row.setting),
        hold: settings.hold,
    })
}

async fn work(store: &StateStore) -> Result<WorkFacts, StoreError> {
    let TableAnswer { value: overdue, date: now } = store.read_overdue().await?;
    let (overdue, overdue_unreadable) = match overdue {
        Some(Ok(stored)) => (Some(stored), false),
        Some(Err(_)) => (None, true),
        None => (None, false),
    };
    let settings = store.settings().await?;
    let sweep = store.due_sweep().await?;
    let pending = settings.waiting().map(|pending| pending.stamp.clone());
    Ok(WorkFacts {
        now,
        counted: overdue.as_ref().map(|stored| stored.counted),
        oldest_request: overdue.as_ref().and_then(|stored| stored.oldest_request),
        unreachable: overdue.as_ref().map(|stored| stored.unreachable.clone()).unwrap_or_default(),
        overdue: overdue.map(|stored| stored.count).unwrap_or_default(),
        overdue_unreadable,
        paused: settings.levers.pause.is_some(),
        brakes: settings.levers.brakes.len(),
        batches: settings.batches.waiting().count(),
        pending,
        scopes_refused: sweep.scopes_refused,
        swept: sweep.counts,
        sweep_unreadable: sweep.unreadable,
        chain: store.audit_chain().await?.value.map(|chain| chain.state),
    })
}

async fn ledger(store: &StateStore, snapshot: &ActiveSnapshot) -> Result<LedgerView, StoreError> {
    let mut view = LedgerView::default();
    let mut people = store.people();
    while let Some(person) = people.next().await? {
        take_person(&mut view, &person, snapshot);
    }
    Ok(view)
}

fn take_person(view: &mut LedgerView, person: &PersonRecord, snapshot: &ActiveSnapshot) {
    for entry in person.ledger.entries.iter().map(|stored| &stored.entry) {
        if !view.subscriptions.contains(entry.scope.subscription()) {
            view.subscriptions.insert(entry.scope.subscription().to_owned());
        }
        if !entry.is_settled_and_gone() {
            view.ours.insert(entry.assignment);
            view.scopes.insert(entry.scope.clone());
        }
    }
    let Some(header) = person.header.as_ref().readable() else { return };
    if !header.resource.active() {
        return;
    }
    view.people.active += 1;
    if desired::principal_of(&header.resource, snapshot.principal_from()).is_none() {
        let sent = sent_id(header.resource.text("externalId"));
        *view.people.without_id.entry(sent).or_default() += 1;
        if view.people.names_without_id.len() < PEOPLE_NAMED_MAX {
            let name = header.resource.text("userName").unwrap_or_default();
            view.people.names_without_id.push(name.to_owned());
        }
    }
}

async fn tokens(readers: &DoctorReaders<'_>) -> TokenFacts {
    let Some((secrets, name)) = readers.secrets else { return TokenFacts::NoVault };
    match secrets.versions(name).await {
        Ok(versions) => TokenFacts::Read(versions),
        Err(error) => TokenFacts::Failed(error),
    }
}
