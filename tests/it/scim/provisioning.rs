//! Provisioning on the memory engine: round trips, races, lost answers, jobs, and what the audit says.

mod all_types;
mod bulk;
mod cursors;
mod design_costs;
mod list_costs;
mod lists;
mod nested;
mod over_http;
mod preconditions;
mod sizes;

use crate::support::fault_injection::{Fault, Faults, Side, When};
use crate::support::harness::{WholePage, whole_page};
use crate::support::requests::{group_id, group_input, group_patch, user_id, user_input, user_patch};
use azure_backup_scim::adapters::clock::SystemClock;
use azure_backup_scim::adapters::ids::RandomIds;
use azure_backup_scim::app;
use azure_backup_scim::bindings::PrincipalSource;
use azure_backup_scim::engine::TableEngine;
use azure_backup_scim::id::{GroupId, MemberId, OpId, UserId};
use azure_backup_scim::ports::clock::Clock;
use azure_backup_scim::ports::tables::{EtagMatch, TableOps, TableRow, TableWrite};
use azure_backup_scim::scim::{ListQuery, Projection, ResourceType};
use azure_backup_scim::service::bindings::active::ActiveBindings;
use azure_backup_scim::service::health::HealthStatus;
use azure_backup_scim::service::jobs::run_chunk;
use azure_backup_scim::service::provisioning::BindingRules;
use azure_backup_scim::service::provisioning::{ListLimits, Provisioning, ProvisioningDeps};
use azure_backup_scim::service::reconcile::{EffectLimits, Reconciler};
use azure_backup_scim::service::reconcile_queue::inline::{InlineLimits, InlineReconciler};
use azure_backup_scim::service::request_log::RequestLog;
use azure_backup_scim::service::{RenderedResource, ResourceAnswer, ScimCaller, ServiceError};
use azure_backup_scim::store::codec::RowFields;
use azure_backup_scim::store::pins::{SelectorKey, lead_from_group};
use azure_backup_scim::store::request_log::RequestTable;
use azure_backup_scim::store::{StateStore, StoreError, members};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const GUID: &str = "7c1f0f3e-0f4a-4f53-9d8e-0a4f7e0b1c2d";
const OTHER_GUID: &str = "0b5c2c59-6c0e-4a07-8b53-3b1c7f2f9a10";

/// One process: its own view of the table, its own memory.
struct Process {
    faults: Arc<Faults>,
    store: StateStore,
    service: Arc<Provisioning>,
}

fn rules() -> BindingRules {
    let sources = vec![PrincipalSource::EntraObjectId, PrincipalSource::ExternalId];
    BindingRules { sources, ..BindingRules::default() }
}

impl Process {
    fn on(engine: &TableEngine, clock: &Arc<dyn Clock>) -> Self {
        Self::on_tables(Arc::new(engine.clone()), clock)
    }

    fn on_tables(tables: Arc<dyn TableOps>, clock: &Arc<dyn Clock>) -> Self {
        let faults = Faults::new(tables);
        let tables: Arc<dyn TableOps> = faults.clone();
        let ids = Arc::new(RandomIds::new(clock.clone()));
        let store = StateStore::new(tables, "default".to_owned(), clock.clone(), ids);
        let service = Arc::new(Provisioning::new(deps(&store)));
        Self { faults, store, service }
    }

    /// The same with other limits of lists.
    fn with_list_limits(self, limits: ListLimits) -> Self {
        let service = Provisioning::new(deps(&self.store));
        Self { service: Arc::new(service.with_list_limits(limits)), ..self }
    }

    async fn user(&self, name: &str) -> String {
        self.create_user(json!({"userName": name})).await.unwrap().id
    }

    async fn group(&self, name: &str) -> String {
        self.create_group(json!({"displayName": name})).await.unwrap().id
    }

    async fn create_user(&self, body: Value) -> Result<RenderedResource, ServiceError> {
        self.service.create_user(&caller(), &user_input(&body), &Projection::all(ResourceType::User)).await
    }

    async fn create_group(&self, body: Value) -> Result<RenderedResource, ServiceError> {
        self.service.create_group(&caller(), &group_input(&body), &Projection::all(ResourceType::Group)).await
    }

    async fn get_user(&self, id: &str) -> Result<RenderedResource, ServiceError> {
        self.service.get_user(user_id(id), &Projection::all(ResourceType::User)).await.map(shown)
    }

    async fn get_group(&self, id: &str) -> Result<RenderedResource, ServiceError> {
        self.service.get_group(group_id(id), &Projection::all(ResourceType::Group)).await.map(shown)
    }

    async fn set_user(&self, id: &str, path: &str, value: Value) -> Result<RenderedResource, ServiceError> {
        let body = json!({"Operations": [{"op": "replace", "path": path, "value": value}]});
        self.service
            .patch_user(&caller(), user_id(id), &user_patch(&body)?, &without(ResourceType::User, "groups"))
            .await
    }

    async fn patch(&self, group: &str, operations: Value) -> Result<Option<RenderedResource>, ServiceError> {
        let body = json!({"Operations": operations});
        self.service
            .patch_group(
                &caller(),
                group_id(group),
                &group_patch(&body)?,
                &Projection::all(ResourceType::Group),
            )
            .await
            .map(ResourceAnswer::shown)
    }

    async fn add(&self, group: &str, users: &[String]) -> Result<Option<RenderedResource>, ServiceError> {
        self.patch(group, json!([{"op": "add", "path": "members", "value": refs(users)}])).await
    }

    async fn add_quietly(&self, group: &str, users: &[String]) {
        let body = json!({"Operations": [{"op": "add", "path": "members", "value": refs(users)}]});
        let projection = without(ResourceType::Group, "members");
        self.service
            .patch_group(&caller(), group_id(group), &group_patch(&body).unwrap(), &projection)
            .await
            .unwrap();
    }

    async fn remove(&self, group: &str, users: &[String]) -> Result<Option<RenderedResource>, ServiceError> {
        self.patch(group, json!([{"op": "remove", "path": "members", "value": refs(users)}])).await
    }

    async fn members(&self, group: &str) -> BTreeSet<String> {
        values(&self.get_group(group).await.unwrap().body["members"])
    }

    async fn users(&self, query: &[(&str, &str)]) -> WholePage {
        whole_page(self.service.list(&caller(), &query_of(ResourceType::User, query)).await).await.unwrap()
    }

    async fn groups(&self, query: &[(&str, &str)]) -> WholePage {
        whole_page(self.service.list(&caller(), &query_of(ResourceType::Group, query)).await).await.unwrap()
    }

    /// As the ticks do: what storage did not answer is done again.
    async fn roll_everything(&self) {
        let active_bindings = ActiveBindings::new(self.store.clone(), standing(&self.store));
        for row in self.store.rows("i:", 100).await.unwrap() {
            let job = OpId::parse(row.key.trim_start_matches("i:")).unwrap();
            loop {
                match run_chunk(&self.store, &active_bindings, job).await {
                    Ok(chunk) if chunk.done => break,
                    Ok(_) | Err(StoreError::Away { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    async fn keys(&self, prefix: &str) -> Vec<String> {
        self.store.rows(prefix, 100_000).await.unwrap().into_iter().map(|row| row.key).collect()
    }

    /// Round trips of what `work` does, and what it gave.
    async fn depth<T>(&self, work: impl Future<Output = T>) -> (usize, T) {
        self.faults.reset();
        let given = work.await;
        (self.faults.counts().depth, given)
    }

    async fn records(&self) -> Vec<Value> {
        self.store.audit(None, 100_000).await.unwrap()
    }

    /// The changes of the last record.
    async fn last_changes(&self) -> Vec<Value> {
        self.records().await.last().unwrap()["changes"].as_array().unwrap().clone()
    }

    /// Everything that is stored, as text.
    async fn everything(&self) -> String {
        let rows = self.store.rows_between(String::new(), "~".to_owned(), usize::MAX).await.unwrap();
        format!("{rows:?}")
    }
}

fn shown(answer: ResourceAnswer) -> RenderedResource {
    answer.shown().expect("no condition was set")
}

fn standing(store: &StateStore) -> Arc<HealthStatus> {
    Arc::new(HealthStatus::new(store.clock.clone()))
}

/// Everything that follows is left to a tick that never comes: what is seen is what the request itself did.
fn deps(store: &StateStore) -> ProvisioningDeps {
    // A provider that an earlier test installed serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arm = app::arm("http://127.0.0.1:9", "unused".to_owned().into(), store.clock.clone()).unwrap();
    let health = Arc::new(HealthStatus::new(store.clock.clone()));
    let active_bindings = Arc::new(ActiveBindings::new(store.clone(), health.clone()));
    let limits = EffectLimits::default();
    let reconciler = Reconciler::new(store.clone(), arm, active_bindings.clone(), health.clone(), limits);
    let limits = InlineLimits { people_max: 0, ..InlineLimits::default() };
    let inline =
        InlineReconciler::new(store.clone(), reconciler, active_bindings.clone(), health.clone(), limits);
    let base_url = "https://scim.example/scim/v2".to_owned();
    ProvisioningDeps {
        store: store.clone(),
        base_url,
        rules: Arc::new(rules),
        active_bindings,
        health,
        inline,
        request_log: Arc::new(request_log(store)),
    }
}

/// A log that no test reads.
fn request_log(store: &StateStore) -> RequestLog {
    let engine = Arc::new(TableEngine::memory(store.clock.clone()));
    RequestLog::new(RequestTable::new(engine, "requests".to_owned()), store.clock.clone(), store.ids.random())
}

fn process() -> Process {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    Process::on(&TableEngine::memory(clock.clone()), &clock)
}

fn two_processes() -> (Process, Process) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let engine = TableEngine::memory(clock.clone());
    (Process::on(&engine, &clock), Process::on(&engine, &clock))
}

fn caller() -> ScimCaller {
    ScimCaller::new("entra".to_owned())
}

fn without(kind: ResourceType, attribute: &str) -> Projection {
    Projection::parse(kind, None, Some(attribute)).unwrap()
}

fn query_of(kind: ResourceType, pairs: &[(&str, &str)]) -> ListQuery {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ListQuery::from_pairs(kind, &pairs).unwrap()
}

fn refs(users: &[String]) -> Value {
    users.iter().map(|user| json!({"value": user})).collect()
}

fn values(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().map(|each| each["value"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn refused<T>(result: Result<T, ServiceError>) -> (u16, Option<&'static str>, String) {
    match result.err().expect("refused") {
        ServiceError::Scim(error) | ServiceError::StorageLimit { error, .. } => {
            (error.status, error.scim_type.map(|kind| kind.keyword()), error.detail)
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn status<T>(result: Result<T, ServiceError>) -> u16 {
    refused(result).0
}

async fn people(process: &Process, number: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..number {
        ids.push(process.user(&format!("user{n}@contoso.example")).await);
    }
    ids
}

#[tokio::test]
async fn round_trips_of_users_are_as_designed() {
    let p = process();
    let (cold, first) = p.depth(p.create_user(json!({"userName": "ana"}))).await;
    let id = first.unwrap().id;
    assert_eq!(cold, 2, "create, counter not known");

    // A user in each bucket of counters, so that all of them are remembered.
    let mut others = 0;
    while others < 1500 || p.keys("cu:").await.len() < 256 {
        p.user(&format!("u{others}")).await;
        others += 1;
    }
    assert_eq!(p.depth(p.user("warm")).await.0, 1, "create");
    let bare = without(ResourceType::User, "groups");
    assert_eq!(p.depth(p.service.get_user(user_id(&id), &bare)).await.0, 1, "get without groups");
    assert_eq!(p.depth(p.set_user(&id, "title", json!("Boss"))).await.0, 2, "patch");
    assert_eq!(p.depth(p.set_user(&id, "title", json!("Boss"))).await.0, 1, "patch that changes nothing");
    for n in 0..70 {
        let group = p.group(&format!("g{n}")).await;
        p.add_quietly(&group, std::slice::from_ref(&id)).await;
    }
    assert_eq!(p.depth(p.get_user(&id)).await.0, 3, "get with 70 groups");
    for (filter, trips) in [
        ("userName eq \"nobody\"", 1),
        ("externalId eq \"nobody\"", 1),
        ("emails.value eq \"nobody\"", 1),
        ("userName eq \"ANA\"", 2),
    ] {
        let query = [("filter", filter), ("excludedAttributes", "groups")];
        assert_eq!(p.depth(p.users(&query)).await.0, trips, "{filter}");
    }
    assert_eq!(p.depth(p.users(&[("filter", "userName eq \"ana\"")])).await.0, 4, "hit with groups");
    let page = [("excludedAttributes", "groups"), ("count", "50")];
    assert_eq!(p.depth(p.users(&page)).await.0, 1, "first page");
    let page = [("excludedAttributes", "groups"), ("count", "50"), ("startIndex", "1400")];
    let (trips, listing) = p.depth(p.users(&page)).await;
    assert_eq!((trips, listing.total, listing.resources.len()), (2, others + 2, 50), "any start index");
    assert_eq!(p.depth(p.service.delete_user(&caller(), user_id(&id))).await.0, 2, "delete");
}

#[tokio::test]
async fn round_trips_of_groups_are_as_designed() {
    let p = process();
    let ids = people(&p, 30).await;
    let mut others = 0;
    while p.keys("cg:").await.len() < 256 {
        p.group(&format!("warm{others}")).await;
        others += 1;
    }
    let (trips, group) = p.depth(p.group("ops")).await;
    assert_eq!(trips, 1, "create");
    let bare = without(ResourceType::Group, "members");
    assert_eq!(p.depth(p.service.get_group(group_id(&group), &bare)).await.0, 1, "get without members");
    assert_eq!(p.depth(p.add_quietly(&group, &ids[..1])).await.0, 2, "add one member");
    assert_eq!(p.depth(p.add_quietly(&group, &ids[..1])).await.0, 1, "add one who is in");
    assert_eq!(p.depth(p.add(&group, &ids[1..25])).await.0, 3, "add 24 members and answer with them");
    assert_eq!(p.depth(p.add(&group, &ids[..1])).await.0, 2, "the same, where nothing changes");
    assert_eq!(p.depth(p.get_group(&group)).await.0, 3, "get with members");
    let put = json!({"displayName": "ops", "members": refs(&ids[5..])});
    let all = Projection::all(ResourceType::Group);
    let (trips, answer) =
        p.depth(p.service.replace_group(&caller(), group_id(&group), &group_input(&put), &all)).await;
    assert_eq!(trips, 3, "replace");
    assert_eq!(values(&answer.unwrap().body["members"]), ids[5..].iter().cloned().collect());
    assert_eq!(p.members(&group).await, ids[5..].iter().cloned().collect());
    assert_eq!(p.depth(p.service.delete_group(&caller(), group_id(&group))).await.0, 2, "delete");
}

/// Members without records, which cost a test less than people do.
async fn fill(process: &Process, group: &str, number: usize) {
    let group = GroupId::parse(group).unwrap();
    let ids: Vec<usize> = (0..number).collect();
    for part in ids.chunks(50) {
        let rows = part.iter().flat_map(|_| {
            let user = UserId::new(uuid::Uuid::new_v4());

            // The third write touches the member's header.
            members::add(group, MemberId::User(user), process.store.ids.op()).writes().into_iter().take(2)
        });
        process.store.transact_unjournaled(&rows.collect::<Vec<_>>()).await.unwrap();
    }
}

#[tokio::test]
async fn one_member_costs_the_same_in_a_group_of_ten_and_of_ten_thousand() {
    let p = process();
    let ids = people(&p, 2).await;
    let mut costs = Vec::new();
    for number in [10, 10_000] {
        let group = p.group(&format!("group of {number}")).await;
        fill(&p, &group, number).await;
        let (depth, ()) = p.depth(p.add_quietly(&group, &ids[..1])).await;
        let added = p.faults.counts();
        let (again, ()) = p.depth(p.add_quietly(&group, &ids[..1])).await;
        let (echoed, answer) = p.depth(p.add(&group, &ids[1..])).await;
        assert!(p.faults.counts().rows_read <= 101 + 10, "{:?}", p.faults.counts());
        assert_eq!(answer.unwrap().is_some(), number == 10, "a large group is not answered");
        let body = json!({"Operations": [{"op": "remove", "path": "members", "value": refs(&ids[..1])}]});
        let bare = without(ResourceType::Group, "members");
        let (removal, removed) = p
            .depth(p.service.patch_group(&caller(), group_id(&group), &group_patch(&body).unwrap(), &bare))
            .await;
        removed.unwrap();
        assert_eq!((depth, again, removal), (2, 1, 2), "add, add again, remove");
        assert!(echoed <= 3, "{echoed}");
        costs.push((added, p.faults.counts()));
    }
    assert_eq!(costs[0], costs[1]);
}

/// Facts: F-110.
#[tokio::test]
async fn of_a_hundred_creates_of_one_name_one_wins() {
    let p = process();
    let creates = (0..100).map(|n| {
        let name = if n % 2 == 0 { "Ana@Contoso.example" } else { "aNA@contoso.EXAMPLE" };
        p.create_user(json!({"userName": name}))
    });
    let (won, lost): (Vec<_>, Vec<_>) = join_all(creates).await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 99));
    for each in lost {
        let (status, kind, detail) = refused(each);
        assert_eq!((status, kind), (409, Some("uniqueness")));
        assert!(detail.contains("userName exists"), "{detail}");
    }
    assert_eq!(p.users(&[]).await.total, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_that_add_members_at_once_lose_none_and_tell_nobody() {
    let (one, two) = two_processes();
    let ids = people(&one, 60).await;
    let group = one.group("ops").await;
    let adds = ids.iter().enumerate().map(|(n, id)| {
        let (service, group) = (if n % 2 == 0 { &one } else { &two }.service.clone(), group.clone());
        let body = json!({"Operations": [{"op": "add", "path": "members", "value": [{"value": id}]}]});
        tokio::spawn(async move {
            service
                .patch_group(
                    &caller(),
                    group_id(&group),
                    &group_patch(&body).unwrap(),
                    &Projection::all(ResourceType::Group),
                )
                .await
        })
    });
    for added in join_all(adds).await {
        added.unwrap().unwrap();
    }
    assert_eq!(one.members(&group).await, ids.into_iter().collect());
    assert_eq!(one.keys("d:").await.len(), 60);
}

/// Facts: F-115.
#[tokio::test]
async fn a_lost_answer_is_found_out_and_nothing_happens_twice() {
    let p = process();
    p.faults.inject(When::transact(), Fault::AnswerLost);
    let ana = p.create_user(json!({"userName": "ana", "externalId": GUID})).await.unwrap().id;
    p.faults.inject(When::transact(), Fault::RequestLost);
    let group = p.group("ops").await;
    p.faults.inject(When::transact(), Fault::AnswerLost);
    let answer = p.add(&group, std::slice::from_ref(&ana)).await.unwrap().unwrap();
    assert_eq!(values(&answer.body["members"]), BTreeSet::from([ana.clone()]));
    p.faults.inject(When::transact(), Fault::AnswerLost);
    p.set_user(&ana, "title", json!("Boss")).await.unwrap();
    p.faults.inject(When::transact(), Fault::AnswerLost);
    p.service.delete_user(&caller(), user_id(&ana)).await.unwrap();
    assert_eq!(p.records().await.len(), 5);
    assert_eq!(p.users(&[]).await.total, 0);
    assert_eq!(status(p.get_user(&ana).await), 404);
}

/// Facts: F-060.
#[tokio::test]
async fn a_transaction_that_lands_late_changes_nothing_more() {
    let p = process();
    let late = p.faults.delay(When::transact());
    let ana = p.user("ana").await;
    late.reached().await;
    late.release();
    late.reached().await;
    let group = p.group("ops").await;
    let late = p.faults.delay(When::transact().key("m:"));
    p.add(&group, std::slice::from_ref(&ana)).await.unwrap();
    p.remove(&group, std::slice::from_ref(&ana)).await.unwrap();
    late.reached().await;
    late.release();
    late.reached().await;
    assert_eq!(p.members(&group).await.len(), 0);
    assert_eq!((p.users(&[]).await.total, p.records().await.len()), (1, 4));
}

#[tokio::test]
async fn storage_that_is_busy_is_said_to_be() {
    let p = process();
    let wait = Duration::from_secs(7);
    p.faults.inject(When::transact(), Fault::Throttled { retry_after: wait });
    match p.create_user(json!({"userName": "ana"})).await {
        Err(ServiceError::Busy { retry_after, .. }) => assert_eq!(retry_after, wait),
        other => panic!("{other:?}"),
    }
    p.user("ana").await;
}

#[tokio::test]
async fn a_job_survives_lost_answers_and_crashes() {
    let p = process();
    let ids = people(&p, 50).await;
    let group = p.group("ops").await;
    for some in ids.chunks(24) {
        p.add_quietly(&group, some).await;
    }
    p.service.delete_group(&caller(), group_id(&group)).await.unwrap();
    p.faults.inject(When::transact(), Fault::AnswerLost);
    p.faults.inject(When::transact().nth(2), Fault::RequestLost);
    p.roll_everything().await;
    assert_eq!((p.keys("m:").await.len(), p.keys("ug:").await.len(), p.keys("i:").await.len()), (0, 0, 0));
    let records = p.records().await;
    let removed = records.iter().flat_map(|record| record["changes"].as_array().unwrap());
    assert_eq!(removed.filter(|change| change["kind"] == "member-removed").count(), 50);
}

#[tokio::test]
async fn the_end_of_a_pinned_group_makes_its_heir_be_looked_at() {
    let p = process();
    let create = |name: &str| p.create_group(json!({"displayName": name, "externalId": "x"}));
    let (gone, heir) = (create("ops").await.unwrap().id, create("ops2").await.unwrap().id);
    let selector =
        RowFields::row().text("group", gone.clone()).text("attribute", "externalId").text("value", "x");
    let key = crate::support::keys::selector("externalId", "x");
    let lead = lead_from_group(GroupId::parse(&gone).unwrap(), &SelectorKey::of("externalId", "x"));
    p.store
        .transact_unjournaled(&[TableWrite::Insert { key, properties: selector.done() }, lead])
        .await
        .unwrap();
    p.service.delete_group(&caller(), group_id(&gone)).await.unwrap();
    p.roll_everything().await;
    assert_eq!(p.keys("dg:").await, [format!("dg:{heir}")]);
}

#[tokio::test]
async fn a_member_who_is_deleted_meanwhile_is_dropped_or_removed() {
    let p = process();
    let ids = people(&p, 3).await;
    let group = p.group("ops").await;
    p.add(&group, &ids[..2]).await.unwrap();

    // The job of this delete has not begun: the membership row is still there.
    p.service.delete_user(&caller(), user_id(&ids[0])).await.unwrap();
    p.add(&group, &ids[..1]).await.unwrap();
    let put = json!({"displayName": "ops", "members": refs(&ids[2..])});
    let all = Projection::all(ResourceType::Group);
    p.service.replace_group(&caller(), group_id(&group), &group_input(&put), &all).await.unwrap();
    p.roll_everything().await;
    assert_eq!(p.members(&group).await, ids[2..].iter().cloned().collect());
    assert_eq!((p.keys("u:").await.len(), p.keys("m:").await.len(), p.keys("ug:").await.len()), (2, 1, 1));
}

#[tokio::test]
async fn members_are_removed_by_filter() {
    let p = process();
    let ids = people(&p, 3).await;
    let group = p.group("ops").await;
    p.add(&group, &ids).await.unwrap();
    let path = format!("members[value eq \"{}\" or value eq \"{}\"]", ids[0], ids[1]);
    p.patch(&group, json!([{"op": "remove", "path": path}])).await.unwrap();
    assert_eq!(p.members(&group).await, BTreeSet::from([ids[2].clone()]));
    p.patch(&group, json!([{"op": "remove", "path": "members[type eq \"User\"]"}])).await.unwrap();
    assert_eq!(p.members(&group).await, BTreeSet::new());
}

#[tokio::test]
async fn a_change_between_read_and_commit_is_read_again() {
    let (one, two) = two_processes();
    let id = one.user("ana").await;
    let point = one.faults.hold(When::transact(), Side::Before);
    let service = one.service.clone();
    let user = id.clone();
    let slow = tokio::spawn(async move {
        let body = json!({"Operations": [{"op": "replace", "path": "title", "value": "Boss"}]});
        service
            .patch_user(
                &caller(),
                user_id(&user),
                &user_patch(&body).unwrap(),
                &Projection::all(ResourceType::User),
            )
            .await
    });
    point.reached().await;
    two.set_user(&id, "nickName", json!("Annie")).await.unwrap();
    point.release();
    let body = slow.await.unwrap().unwrap().body;
    assert_eq!((&body["title"], &body["nickName"]), (&json!("Boss"), &json!("Annie")));
}

#[tokio::test]
async fn a_rename_to_the_same_name_by_two_is_no_clash() {
    let (one, two) = two_processes();
    let id = one.user("ana").await;
    let point = one.faults.hold(When::transact(), Side::Before);
    let (service, user) = (one.service.clone(), id.clone());
    let slow = tokio::spawn(async move {
        let body = json!({"Operations": [{"op": "replace", "path": "userName", "value": "anna"}]});
        service
            .patch_user(
                &caller(),
                user_id(&user),
                &user_patch(&body).unwrap(),
                &Projection::all(ResourceType::User),
            )
            .await
    });
    point.reached().await;
    two.set_user(&id, "userName", json!("anna")).await.unwrap();
    point.release();
    assert_eq!(slow.await.unwrap().unwrap().body["userName"], "anna");
    assert_eq!(one.keys("un:").await.len(), 1);
}

#[tokio::test]
async fn a_change_that_was_committed_is_answered_though_the_user_is_deleted_meanwhile() {
    let (one, two) = two_processes();
    let id = one.user("ana").await;
    let point = one.faults.hold(When::transact(), Side::After);
    let (service, user) = (one.service.clone(), id.clone());
    let slow = tokio::spawn(async move {
        let body = json!({"Operations": [{"op": "replace", "path": "title", "value": "Boss"}]});
        service
            .patch_user(
                &caller(),
                user_id(&user),
                &user_patch(&body).unwrap(),
                &Projection::all(ResourceType::User),
            )
            .await
    });
    point.reached().await;
    two.service.delete_user(&caller(), user_id(&id)).await.unwrap();
    point.release();
    let body = slow.await.unwrap().unwrap().body;
    assert_eq!((&body["title"], &body["groups"]), (&json!("Boss"), &json!([])));
}

#[tokio::test]
async fn a_deleted_user_leaves_sixty_groups_when_the_job_is_done() {
    let p = process();
    let ids = people(&p, 2).await;
    let mut groups = Vec::new();
    for n in 0..60 {
        let group = p.group(&format!("g{n}")).await;
        p.add_quietly(&group, &ids).await;
        groups.push(group);
    }
    let before = p.get_group(&groups[0]).await.unwrap();
    p.service.delete_user(&caller(), user_id(&ids[0])).await.unwrap();
    assert_eq!(status(p.get_user(&ids[0]).await), 404);
    p.roll_everything().await;
    assert_eq!(p.keys(&format!("ug:{}:", ids[0])).await.len(), 0);
    assert_eq!((p.keys("m:").await.len(), p.keys("ug:").await.len(), p.keys("i:").await.len()), (60, 60, 0));
    let after = p.get_group(&groups[0]).await.unwrap();
    assert_ne!(before.version, after.version);
    assert_eq!(before.body["meta"]["lastModified"], after.body["meta"]["lastModified"]);
    let removed =
        p.records().await.into_iter().flat_map(|record| record["changes"].as_array().unwrap().clone());
    let removed: Vec<Value> = removed.filter(|change| change["kind"] == "member-removed").collect();
    assert_eq!(removed.len(), 60);
    assert!(removed.iter().all(|change| change["member"] == json!(ids[0]) && change["revision"] == 2));
}

#[tokio::test]
async fn a_deleted_group_of_two_hundred_leaves_no_row_and_marks_everyone() {
    let (one, two) = two_processes();
    let ids = people(&one, 200).await;
    let group = one.group("ops").await;
    for some in ids.chunks(24) {
        one.add_quietly(&group, some).await;
    }
    for key in one.keys("d:").await {
        one.store
            .transact_unjournaled(&[TableWrite::Delete { key, condition: EtagMatch::Any }])
            .await
            .unwrap();
    }
    let before = one.get_user(&ids[0]).await.unwrap().version;
    one.service.delete_user(&caller(), user_id(&ids[7])).await.unwrap();
    one.service.delete_group(&caller(), group_id(&group)).await.unwrap();
    tokio::join!(one.roll_everything(), two.roll_everything());
    for prefix in ["m:", "ug:", "i:", "gn:", "g:"] {
        assert_eq!(one.keys(prefix).await, Vec::<String>::new(), "{prefix}");
    }
    assert_eq!(one.keys("d:").await.len(), 200);
    assert_ne!(one.get_user(&ids[0]).await.unwrap().version, before);
}

#[tokio::test]
async fn what_changes_nothing_writes_nothing() {
    let p = process();
    let ids = people(&p, 3).await;
    let group = p.group("ops").await;
    let put = json!({"displayName": "ops", "members": refs(&ids[..2])});
    let all = Projection::all(ResourceType::Group);
    p.service.replace_group(&caller(), group_id(&group), &group_input(&put), &all).await.unwrap();
    p.set_user(&ids[0], "title", json!("Boss")).await.unwrap();
    let (before, version) = (p.everything().await, p.get_group(&group).await.unwrap().version);
    p.add(&group, &ids[..1]).await.unwrap();
    p.remove(&group, &ids[2..]).await.unwrap();
    p.remove(&group, &["nonsense".to_owned()]).await.unwrap();
    p.service.replace_group(&caller(), group_id(&group), &group_input(&put), &all).await.unwrap();
    p.set_user(&ids[0], "title", json!("Boss")).await.unwrap();
    p.patch(&group, json!([])).await.unwrap();
    assert_eq!(p.everything().await, before);
    assert_eq!(p.get_group(&group).await.unwrap().version, version);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_changes_nothing() {
    let p = process();
    let ids = people(&p, 3).await;
    let group = p.group("ops").await;
    p.add(&group, &ids).await.unwrap();
    let before = p.everything().await;
    let all = Projection::all(ResourceType::Group);
    let nobody: Vec<String> = (0..10_001).map(|n| format!("nobody{n}")).collect();
    assert_eq!(status(p.add(&group, &nobody).await), 413);
    let put = json!({"displayName": "ops", "members": refs(&nobody)});
    assert_eq!(
        status(p.service.replace_group(&caller(), group_id(&group), &group_input(&put), &all).await),
        413
    );
    assert_eq!(status(p.set_user(&ids[0], "title", json!("x".repeat(1024 * 1024))).await), 413);
    assert_eq!(p.everything().await, before);
}

#[tokio::test]
async fn ids_that_name_nobody_are_dropped_and_recorded() {
    let p = process();
    let ids = people(&p, 2).await;
    let group = p.group("ops").await;
    let answer =
        p.add(&group, &[ids[0].clone(), GUID.to_owned(), "nonsense".to_owned()]).await.unwrap().unwrap();
    assert_eq!(values(&answer.body["members"]), BTreeSet::from([ids[0].clone()]));
    let kinds: Vec<Value> = p.last_changes().await.iter().map(|change| change["kind"].clone()).collect();
    assert_eq!(kinds, ["member-added", "member-dropped", "member-dropped"]);

    let (version, records) = (p.get_group(&group).await.unwrap().version, p.records().await.len());
    p.add(&group, &[GUID.to_owned()]).await.unwrap();
    assert_eq!(p.get_group(&group).await.unwrap().version, version);
    assert_eq!(p.records().await.len(), records + 1);
    assert_eq!(
        p.last_changes().await,
        [json!({"kind": "member-dropped", "group": group, "member": GUID, "revision": 2})]
    );

    let only_nobody = json!([{"op": "replace", "path": "members", "value": [{"value": GUID}]}]);
    assert_eq!(refused(p.patch(&group, only_nobody).await).1, Some("invalidValue"));
    let put = json!({"displayName": "ops", "members": [{"value": "nonsense"}]});
    let all = Projection::all(ResourceType::Group);
    assert_eq!(
        status(p.service.replace_group(&caller(), group_id(&group), &group_input(&put), &all).await),
        400
    );
    assert_eq!(p.members(&group).await.len(), 1);
    let put = json!({"displayName": "ops", "members": []});
    p.service.replace_group(&caller(), group_id(&group), &group_input(&put), &all).await.unwrap();
    assert_eq!(p.members(&group).await.len(), 0);
}

#[tokio::test]
async fn the_record_names_what_changed() {
    let p = process();
    let id = p.create_user(json!({"userName": "ana", "externalId": GUID})).await.unwrap().id;
    assert_eq!(
        p.last_changes().await,
        [
            json!({"kind": "resource-created", "type": "User", "id": id, "revisionBefore": 0, "revisionAfter": 1, "attributes": ["active", "externalId", "userName"]}),
            json!({"kind": "setting-changed", "what": format!("pin of user {id}"), "before": "", "after": GUID}),
        ]
    );
    p.set_user(&id, "active", json!(false)).await.unwrap();
    let record = p.records().await.pop().unwrap();
    assert_eq!((&record["cause"], &record["actor"]), (&json!("request"), &json!("entra")));
    assert_eq!(record["op"], record["origin"]);
    let changed = json!({"kind": "resource-changed", "type": "User", "id": id, "revisionBefore": 1, "revisionAfter": 2, "attributes": ["active"]});
    assert_eq!(record["changes"], json!([changed]));
    let group = p.group("ops").await;
    p.add(&group, std::slice::from_ref(&id)).await.unwrap();
    assert_eq!(
        p.last_changes().await,
        [json!({"kind": "member-added", "group": group, "member": id, "revision": 2})]
    );
}

#[tokio::test]
async fn a_principal_is_pinned_once_and_a_second_record_waits() {
    let p = process();
    let first = p.create_user(json!({"userName": "ana", "externalId": GUID})).await.unwrap().id;
    let second = p.create_user(json!({"userName": "ana2", "externalId": GUID})).await.unwrap().id;
    assert_eq!(p.keys("p:").await, [format!("p:{GUID}")]);
    assert_eq!(p.keys("l:").await, [format!("l:{first}:pin:{GUID}")]);

    // The id is taken in the transaction that learns it, and stays the first one.
    p.set_user(&second, "externalId", json!(OTHER_GUID)).await.unwrap();
    assert_eq!(p.keys("p:").await.len(), 2);
    p.set_user(&second, "externalId", json!("3b9d9c0e-7c7b-4f0e-8a53-1f7d8f4b2a11")).await.unwrap();
    assert_eq!(p.keys("p:").await.len(), 2);
    p.service.delete_user(&caller(), user_id(&first)).await.unwrap();
    assert_eq!((p.keys("p:").await.len(), p.keys("l:").await.len()), (2, 2));
}

/// Facts: F-085.
#[tokio::test]
async fn a_leaver_who_comes_back_is_a_new_record() {
    let p = process();
    let body = json!({"userName": "Ana", "externalId": "e1", "emails": [{"value": "a@b.example"}]});
    let old = p.create_user(body.clone()).await.unwrap().id;
    let group = p.group("ops").await;
    p.add(&group, std::slice::from_ref(&old)).await.unwrap();
    assert_eq!(status(p.create_user(body.clone()).await), 409, "still active");
    p.set_user(&old, "active", json!(false)).await.unwrap();
    assert_eq!(status(p.create_user(json!({"userName": "ana"})).await), 409, "no external id");
    assert_eq!(
        status(p.create_user(json!({"userName": "ana", "externalId": "E1"})).await),
        409,
        "another one"
    );

    let new = p.create_user(json!({"userName": "ana", "externalId": "e1"})).await.unwrap().id;
    assert_ne!(new, old);
    assert_eq!(status(p.get_user(&old).await), 404);
    let kinds: Vec<Value> = p.last_changes().await.iter().map(|change| change["kind"].clone()).collect();
    assert_eq!(kinds, ["resource-deleted", "resource-created"]);
    p.roll_everything().await;
    assert_eq!(p.members(&group).await.len(), 0);
    assert_eq!(p.users(&[("filter", "userName eq \"ANA\"")]).await.resources[0]["id"], json!(new));
    assert_eq!(p.users(&[("filter", "emails eq \"a@b.example\"")]).await.total, 0);
    assert_eq!(p.users(&[]).await.total, 1);
    assert_eq!((p.keys("un:").await.len(), p.keys("ux:").await.len()), (1, 1));
    assert_eq!(p.keys("d:").await, [format!("d:{old}")]);
}

#[tokio::test]
async fn lists_find_count_and_page() {
    let p = process();
    let mut ids = BTreeSet::new();
    for n in 0..25 {
        let body =
            json!({"userName": format!("u{n:02}"), "externalId": format!("x{}", n % 5), "title": "Clerk"});
        ids.insert(p.create_user(body).await.unwrap().id);
    }
    let group = p.group("ops").await;
    let some: Vec<String> = ids.iter().take(3).cloned().collect();
    p.add(&group, &some).await.unwrap();

    assert_eq!(p.users(&[("filter", "externalId eq \"x3\"")]).await.total, 5);
    assert_eq!(p.users(&[("filter", "title eq \"clerk\" and userName sw \"U0\"")]).await.total, 10);
    assert_eq!(p.users(&[("filter", &format!("groups.value eq \"{group}\""))]).await.total, 3);
    assert_eq!(p.groups(&[("filter", &format!("members.value eq \"{}\"", some[0]))]).await.total, 1);
    assert_eq!(p.groups(&[("filter", "displayName eq \"OPS\"")]).await.total, 1);
    assert_eq!(
        p.users(&[("filter", &format!("id eq \"{}\"", some[0]))]).await.resources[0]["groups"][0]["display"],
        "ops"
    );
    assert_eq!(p.users(&[("count", "0")]).await.total, 25);

    let mut seen = Vec::new();
    for start in [1, 8, 15, 22, 29] {
        let page = p.users(&[("startIndex", &start.to_string()), ("count", "7")]).await;
        assert_eq!(page.total, 25);
        seen.extend(page.resources.iter().map(|user| user["id"].as_str().unwrap().to_owned()));
    }
    assert_eq!(seen, ids.into_iter().collect::<Vec<_>>());
    let sorted = p.users(&[("sortBy", "userName"), ("startIndex", "24")]).await;
    assert_eq!((sorted.total, &sorted.resources[0]["userName"]), (25, &json!("u23")));
}

#[test]
fn every_use_case_can_run_on_any_thread() {
    fn any_thread(_: impl Future + Send) {}
    let (p, caller) = (process().service, caller());
    let (user, group) = (user_id(GUID), group_id(GUID));
    let patch = user_patch(&json!({"Operations": []})).unwrap();
    let (all, bare) = (Projection::all(ResourceType::User), Projection::all(ResourceType::Group));
    any_thread(p.create_user(&caller, &user_input(&json!({})), &all));
    any_thread(p.replace_user(&caller, user, &user_input(&json!({})), &all));
    any_thread(p.patch_user(&caller, user, &patch, &all));
    any_thread(p.delete_user(&caller, user));
    any_thread(p.list(&caller, &query_of(ResourceType::User, &[])));
    any_thread(p.create_group(&caller, &group_input(&json!({})), &bare));
    any_thread(p.replace_group(&caller, group, &group_input(&json!({})), &bare));
    any_thread(p.patch_group(&caller, group, &patch, &bare));
    any_thread(p.delete_group(&caller, group));
    any_thread(p.get_user(user, &all));
    any_thread(p.get_group(group, &bare));
}

#[tokio::test]
async fn a_large_group_answers_a_patch_with_nothing_unless_asked() {
    let p = process();
    let ids = people(&p, 101).await;
    let group = p.group("ops").await;
    for some in ids[..100].chunks(24) {
        assert!(p.add(&group, some).await.unwrap().is_some());
    }
    assert!(p.add(&group, &ids[100..]).await.unwrap().is_none());
    let body = json!({"Operations": [{"op": "replace", "path": "externalId", "value": "x"}]});
    let asked = Projection::parse(ResourceType::Group, Some("members"), None).unwrap();
    let answer = p
        .service
        .patch_group(&caller(), group_id(&group), &group_patch(&body).unwrap(), &asked)
        .await
        .unwrap()
        .shown()
        .unwrap();
    assert_eq!(values(&answer.body["members"]).len(), 101);
    assert_eq!(p.keys("dg:").await, [format!("dg:{group}")]);
    let bare = without(ResourceType::Group, "members");
    assert!(
        p.service
            .patch_group(&caller(), group_id(&group), &group_patch(&body).unwrap(), &bare)
            .await
            .unwrap()
            .shown()
            .is_some()
    );
}

#[tokio::test]
async fn names_are_unique_among_groups_and_can_be_changed_and_freed() {
    let p = process();
    let (one, two) = (p.group("Ops").await, p.group("Other").await);
    assert_eq!(status(p.create_group(json!({"displayName": "OPS"})).await), 409);
    let rename = |name: &str| json!([{"op": "replace", "path": "displayName", "value": name}]);
    assert_eq!(status(p.patch(&two, rename("ops")).await), 409);
    p.patch(&one, rename("OPS")).await.unwrap();
    p.patch(&one, rename("Third")).await.unwrap();
    p.patch(&two, rename("ops")).await.unwrap();
    p.service.delete_group(&caller(), group_id(&two)).await.unwrap();
    p.group("ops").await;
    assert_eq!(status(p.get_group(OTHER_GUID).await), 404);
    assert_eq!(status(p.service.delete_group(&caller(), group_id(&two)).await), 404);
}
