//! Reading what `doctor` judges. What cannot be read is kept as that, and hides nothing else.

use super::facts::{
    BindingsFact, BoundScopes, ClockFacts, DoctorFacts, PeopleFacts, ScopeFacts, ServiceIdentity,
    SubscriptionFacts, TokenFacts, WorkFacts,
};
use super::people::sent_id;
use super::right::ServiceRight;
use crate::id::PrincipalId;
use crate::ports::azure_access::{AccessAssignment, AccessReader, DirectoryReader, HolderKind};
use crate::ports::secrets::SecretSource;
use crate::rbac::arm_scope::ArmScope;
use crate::rbac::verbs::RoleDefinition;
use crate::rbac::{AssignmentName, Scope};
use crate::service::access::groups;
use crate::service::bindings::active::ActiveSnapshot;
use crate::service::reconcile::desired;
use crate::store::tenant_walk::PersonRecord;
use crate::store::{StateStore, StoreError};
use futures_util::{StreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// How long Azure and Entra ID are given for one answer, all of its pages included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Calls that are under way at a time.
const CALLS_MAX: usize = 8;

/// Who is asked, with the rights of whoever asks.
pub struct DoctorReaders<'a> {
    pub store: &'a StateStore,
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
    let mut ledger = ledger(store, snapshot).await?;
    let groups = groups::overview(store, snapshot).await?;
    ledger.people.rows_unreadable = store.unreadable().count();
    let bindings = bindings(snapshot);
    // Revocations may be left at a scope that is in the bindings no more.
    let wanted = bindings.bound().all().union(&ledger.scopes).cloned().collect();
    let scopes = scopes(readers, &wanted, progress).await;
    let subscriptions = subscriptions(readers, &wanted).await;
    let roles = roles(readers, &scopes, &subscriptions, named).await;
    let identity = match named {
        Some(id) => ServiceIdentity::Named(id),
        None => identity(&scopes, &roles, &ledger.ours),
    };
    let asked = identity.id().unwrap_or(PrincipalId::new(Uuid::nil()));
    Ok(DoctorFacts {
        bindings,
        scopes,
        subscriptions,
        roles,
        scopes_in_ledger: ledger.scopes,
        people: ledger.people,
        groups,
        work,
        clocks,
        directory: readers.directory.names_of(&[asked], ANSWER_TIMEOUT).await.map(drop),
        tokens: tokens(readers).await,
        identity,
    })
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

async fn work(store: &StateStore) -> Result<WorkFacts, StoreError> {
    let overdue = store.overdue().await?;
    let settings = store.settings().await?;
    let sweep = store.due_sweep().await?;
    let pending = settings.waiting().map(|pending| pending.stamp.clone());
    let counted = overdue.value.as_ref().map(|stored| stored.counted);
    Ok(WorkFacts {
        now: overdue.date,
        counted,
        overdue: overdue.value.map(|stored| stored.count).unwrap_or_default(),
        paused: settings.levers.pause.is_some(),
        batches: settings.batches.waiting().count(),
        pending,
        scopes_refused: sweep.scopes_refused,
        swept: sweep.counts,
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
    let entries = person.ledger.entries.iter().map(|stored| &stored.entry);
    for entry in entries.filter(|entry| !entry.is_settled_and_gone()) {
        view.ours.insert(entry.assignment);
        view.scopes.insert(entry.scope.clone());
    }
    let Some(header) = person.header.as_ref().readable() else { return };
    if !header.resource.active() {
        return;
    }
    view.people.active += 1;
    if desired::principal_of(&header.resource, snapshot.principal_from()).is_none() {
        let sent = sent_id(header.resource.text("externalId"));
        *view.people.without_id.entry(sent).or_default() += 1;
    }
}

async fn scopes(
    readers: &DoctorReaders<'_>,
    wanted: &BTreeSet<Scope>,
    progress: &dyn Fn(usize),
) -> Vec<ScopeFacts> {
    let mut asked = stream::iter(wanted)
        .map(|scope| async move {
            let (assignments, locks) = futures_util::join!(
                readers.access.at_or_above(scope, ANSWER_TIMEOUT),
                readers.access.locks(scope, ANSWER_TIMEOUT),
            );
            ScopeFacts { scope: scope.clone(), assignments, locks }
        })
        .buffered(CALLS_MAX);
    let mut read = Vec::new();
    while let Some(scope) = asked.next().await {
        read.push(scope);
        progress(read.len());
    }
    read
}

async fn subscriptions(readers: &DoctorReaders<'_>, wanted: &BTreeSet<Scope>) -> Vec<SubscriptionFacts> {
    let ids: BTreeSet<&str> = wanted.iter().map(Scope::subscription).collect();
    let places =
        ids.into_iter().filter_map(|id| Some((id, Scope::parse(&format!("/subscriptions/{id}")).ok()?)));
    stream::iter(places)
        .map(|(id, scope)| async move {
            let assignments = readers.access.around(&scope, ANSWER_TIMEOUT).await;
            SubscriptionFacts { id: id.to_owned(), assignments }
        })
        .buffered(CALLS_MAX)
        .collect()
        .await
}

/// The roles that may be the service's: those of service principals, and of the object that was named.
async fn roles(
    readers: &DoctorReaders<'_>,
    scopes: &[ScopeFacts],
    subscriptions: &[SubscriptionFacts],
    named: Option<PrincipalId>,
) -> BTreeMap<Uuid, RoleDefinition> {
    let Some(first) = scopes.iter().find(|scope| scope.assignments.is_ok()) else { return BTreeMap::new() };
    let may_be_ours = |assignment: &&AccessAssignment| {
        Some(assignment.principal) == named || assignment.holder == HolderKind::ServicePrincipal
    };
    let at_scopes = scopes.iter().filter_map(|scope| scope.assignments.as_ref().ok());
    let elsewhere = subscriptions.iter().filter_map(|subscription| subscription.assignments.as_ref().ok());
    let held = at_scopes.chain(elsewhere).flatten().filter(may_be_ours);
    let wanted: BTreeSet<Uuid> = held.map(|assignment| assignment.role).collect();
    let read = stream::iter(wanted)
        .map(|role| readers.access.role_definition(&first.scope, role, ANSWER_TIMEOUT))
        .buffered(CALLS_MAX);
    let found: Vec<_> = read.collect().await;
    let found = found.into_iter().filter_map(|definition| definition.ok().flatten());
    found.map(|definition| (definition.id, definition)).collect()
}

/// Who made the assignments of our ledger, else who alone may give roles at the scopes.
fn identity(
    scopes: &[ScopeFacts],
    roles: &BTreeMap<Uuid, RoleDefinition>,
    ours: &BTreeSet<AssignmentName>,
) -> ServiceIdentity {
    let listed = || scopes.iter().filter_map(|facts| Some((&facts.scope, facts.assignments.as_ref().ok()?)));
    let made = listed().flat_map(|(_, listed)| listed).filter(|listed| ours.contains(&listed.name));
    let makers: BTreeSet<PrincipalId> = made.filter_map(|listed| listed.created_by).collect();
    let holders: BTreeSet<PrincipalId> = listed()
        .flat_map(|(scope, listed)| listed.iter().map(move |listed| (ArmScope::from(scope), listed)))
        .filter(|(scope, listed)| listed.scope == *scope && listed.holder == HolderKind::ServicePrincipal)
        .filter(|(_, listed)| ServiceRight::of(listed, roles).is_some())
        .map(|(_, listed)| listed.principal)
        .collect();
    let only = |ids: &BTreeSet<PrincipalId>| ids.first().copied().filter(|_| ids.len() == 1);
    match (only(&makers), only(&holders)) {
        (Some(maker), _) => ServiceIdentity::MadeOurs(maker),
        (None, Some(holder)) => ServiceIdentity::OnlyHolder(holder),
        (None, None) => ServiceIdentity::Unknown { candidates: holders.union(&makers).copied().collect() },
    }
}

async fn tokens(readers: &DoctorReaders<'_>) -> TokenFacts {
    let Some((secrets, name)) = readers.secrets else { return TokenFacts::NoVault };
    match secrets.versions(name).await {
        Ok(versions) => TokenFacts::Read(versions),
        Err(error) => TokenFacts::Failed(error),
    }
}
