//! A world for feature tests: one table engine, one simulated Azure, one clock, and as many services on them as a test
//! starts. Killing a service kills neither its tables nor its Azure.

use crate::support::clock::ManualClock;
use crate::support::fault_injection::Faults;
use crate::support::requests::{group_id, group_input, group_patch, user_id, user_input, user_patch};
use async_trait::async_trait;
use azure_backup_scim::adapters::arm::{ArmOptions, ArmRoleAssignments, PUBLIC_TOKEN_SCOPE};
use azure_backup_scim::app::{self, BackupScim, RandomIds, ServiceDeps};
use azure_backup_scim::engine::TableEngine;
use azure_backup_scim::id::{InstanceId, OpId, PrincipalId, UserId};
use azure_backup_scim::orders::{Order, OrderVerb};
use azure_backup_scim::ports::clock::Clock;
use azure_backup_scim::ports::connectivity::Connectivity;
use azure_backup_scim::ports::role_assignments::{
    ArmAnswer, AssignmentError, CreateOutcome, ListedAssignment, RoleAssignments,
};
use azure_backup_scim::ports::tables::TableOps;
use azure_backup_scim::rbac::breaker::RevocationLimits;
use azure_backup_scim::rbac::{AssignmentName, BackupRole, RoleAssignment, Scope};
use azure_backup_scim::scim::{PageCursors, Projection, ResourceType};
use azure_backup_scim::service::audit::seal::AuditKeeping;
use azure_backup_scim::service::drill::DrillSettings;
use azure_backup_scim::service::reconcile::EffectLimits;
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::service::reconcile_queue::overdue::OVERDUE_AFTER;
use azure_backup_scim::service::reconcile_queue::tick::TickLimits;
use azure_backup_scim::service::{ResourceListing, ScimCaller, ServiceError};
use azure_backup_scim::simulator::{self, HandMade, Simulator, SimulatorHandle, StartClock};
use azure_backup_scim::store::orders::{OrderOutcome, OrderTable};
use azure_backup_scim::store::request_log::RequestTable;
use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub const VAULT_EAST: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup/providers/Microsoft.RecoveryServices/vaults/east";
pub const VAULT_WEST: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup/providers/Microsoft.RecoveryServices/vaults/west";
pub const OWN: &str = "urn:ietf:params:scim:schemas:extension:azurebackup:2.0:User";

/// The Entra object of the leaver of drills, and the externalId of their group.
pub const DRILL_LEAVER: Uuid = Uuid::from_u128(0xd111);
pub const DRILL_GROUP: &str = "azure-backup-scim-drill";

/// The partition of the orders of a world.
pub const ORDERS: &str = "orders";
/// The partition of the request log.
pub const REQUESTS: &str = "requests";

/// How long a tick goes on.
pub const TICK_DEADLINE: Duration = Duration::from_secs(45);

/// Members that one transaction removes: more are a job.
const REMOVED_AT_ONCE: usize = 19;
pub const START: &str = "2026-03-01T10:00:00Z";

/// The outside world: what outlives a service.
pub struct World {
    pub clock: ManualClock,
    pub faults: Arc<Faults>,
    tables: Arc<dyn TableOps>,
    azure: SimulatorHandle,
    arm_url: String,
    bindings: Vec<Value>,
    instance: Option<InstanceId>,
    effects: EffectLimits,
    audit: AuditKeeping,
    drill: Option<DrillSettings>,
    /// What gives the services their tokens; without one they have a fixed token.
    identity: Option<Arc<Identity>>,
    /// Where this world has an Azure of its own.
    _simulator: Option<Simulator>,
}

/// A person as the identity provider knows them.
#[derive(Debug, Clone)]
pub struct Person {
    pub id: String,
    pub principal: Uuid,
}

impl World {
    pub fn new() -> Self {
        Self::on(|clock| Arc::new(TableEngine::memory(clock)))
    }

    /// On any tables, whose answers must carry the time of that clock.
    pub fn on(tables: impl FnOnce(Arc<dyn Clock>) -> Arc<dyn TableOps>) -> Self {
        Self::on_moving(|clock| tables(Arc::new(clock)))
    }

    /// On tables that move the clock.
    pub fn on_moving(tables: impl FnOnce(ManualClock) -> Arc<dyn TableOps>) -> Self {
        let clock = ManualClock::at(START);
        let tables = tables(clock.clone());
        let scopes = [VAULT_EAST, VAULT_WEST].map(|scope| simulator::Scope::parse(scope).unwrap());
        let options = simulator::SimulatorOptions {
            scopes: scopes.to_vec(),
            clock: StartClock::Manual(clock.now()),
            ..simulator::SimulatorOptions::default()
        };
        let simulator = Simulator::start(options).unwrap();
        let mut world = Self::around(&simulator, clock, tables);
        world._simulator = Some(simulator);
        world
    }

    /// On the tables and the Azure of others.
    pub fn around(simulator: &Simulator, clock: ManualClock, tables: Arc<dyn TableOps>) -> Self {
        // A provider that an earlier test installed serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            clock,
            faults: Faults::new(tables.clone()),
            tables,
            azure: simulator.handle(),
            arm_url: simulator.arm_url(),
            bindings: Vec::new(),
            instance: None,
            effects: EffectLimits::default(),
            audit: AuditKeeping::default(),
            drill: None,
            identity: None,
            _simulator: None,
        }
    }

    /// The services that start from now on reach the same tables, without the faults and the crash of the earlier ones.
    pub fn revive(&mut self) {
        self.faults = Faults::new(self.tables.clone());
    }

    /// Binds the group with that externalId.
    pub fn bind(mut self, group: &str, role: BackupRole, scope: &str) -> Self {
        self.add_binding(group, role, scope);
        self
    }

    /// Every binding so far gives its role to so many people.
    pub fn with_max_principals(mut self, people: usize) -> Self {
        self.bindings.iter_mut().for_each(|binding| binding["maxPrincipals"] = json!(people));
        self
    }

    /// For load that is about something else: the services that start from now on take away as much as there is.
    pub fn without_limits_on_revocations(mut self) -> Self {
        let all = usize::MAX;
        self.effects.revocations = RevocationLimits { floor: all, percent: 100, emptied_from: all };
        self
    }

    /// The settings of the services that start from now on name that installation.
    pub const fn name_installation(&mut self, instance: InstanceId) {
        self.instance = Some(instance);
    }

    /// The services that start from now on keep the audit so.
    pub fn keeping_audit(mut self, audit: AuditKeeping) -> Self {
        self.audit = audit;
        self
    }

    /// The services that start from now on have drills, by order or by the timer too.
    pub fn with_drill(self, every: Option<Duration>) -> Self {
        let mut world = self.with_drill_binding(DRILL_GROUP, BackupRole::Reader);
        world.drill = world.drill.map(|settings| DrillSettings { every, ..settings });
        world
    }

    /// They have drills by order, and a binding with the name of that of drills for such a group.
    pub fn with_drill_binding(mut self, group: &str, role: BackupRole) -> Self {
        let identity =
            simulator::DirectoryPrincipal::new(DRILL_LEAVER, simulator::PrincipalType::ServicePrincipal);
        self.azure.add_principal(identity).unwrap();
        self.drill = Some(DrillSettings { principal: PrincipalId::new(DRILL_LEAVER), every: None });
        let group = json!({"externalId": group});
        self.bindings
            .push(json!({"name": "drill", "group": group, "role": role.name(), "scope": VAULT_WEST}));
        self
    }

    /// The services that start from now on have no drills; the binding stays.
    pub fn without_drill(mut self) -> Self {
        self.drill = None;
        self
    }

    /// The services that start from now on ask that endpoint for a token before each call to Azure.
    pub fn with_identity(mut self, identity: Arc<Identity>) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Another file: the services that start from now on adopt it.
    pub fn rebind(&mut self, bindings: &[(&str, BackupRole, &str)]) {
        self.bindings.clear();
        for (group, role, scope) in bindings {
            self.add_binding(group, *role, scope);
        }
    }

    fn add_binding(&mut self, group: &str, role: BackupRole, scope: &str) {
        self.bindings.push(binding(self.bindings.len() + 1, group, role, scope));
    }

    pub fn bindings(&self) -> &[Value] {
        &self.bindings
    }

    /// A service on this world.
    pub fn start(&self) -> Node {
        self.start_with(InlineLimits { wait: Duration::from_secs(20), ..InlineLimits::default() })
    }

    /// A service that does so much at once, and leaves the rest to its ticks.
    pub fn start_with(&self, inline: InlineLimits) -> Node {
        self.start_ticking(inline, TICK_DEADLINE)
    }

    /// The same with ticks of that length.
    pub fn start_ticking(&self, inline: InlineLimits, tick_deadline: Duration) -> Node {
        let node = self.start_without_bindings(inline, tick_deadline);
        if !self.bindings.is_empty() {
            node.adopt(&self.bindings);
        }
        node
    }

    /// A service that came without bindings of its own.
    pub fn start_without_bindings(&self, inline: InlineLimits, tick_deadline: Duration) -> Node {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let tables: Arc<dyn TableOps> = self.faults.clone();
        let arm = match self.identity.clone() {
            Some(identity) => identity.arm(&self.arm_url, clock.clone()),
            None => app::arm(&self.arm_url, SecretString::from("simulated"), clock.clone()).unwrap(),
        };
        let access = arm.clone();
        let arm = Arc::new(Watched { inner: arm, under_way: watch::Sender::new(0) });
        let orders = OrderTable::new(tables.clone(), ORDERS.to_owned());
        let requests = RequestTable::new(tables.clone(), REQUESTS.to_owned());
        let connectivity = Arc::new(Connectivity::default());
        let service = app::build(ServiceDeps {
            orders: orders.clone(),
            requests: requests.clone(),
            tables,
            assignments: arm.clone(),
            access,
            connectivity: connectivity.clone(),
            ids: Arc::new(RandomIds::new(clock.clone())),
            clock,
            tenant: "default".to_owned(),
            instance: self.instance,
            base_url: "https://scim.example/scim/v2".to_owned(),
            effect_limits: self.effects,
            inline,
            tick: TickLimits { deadline: tick_deadline, overdue_after: OVERDUE_AFTER },
            audit: self.audit.clone(),
            drill: self.drill,
        });
        let revocations = self.effects.revocations;
        Node { runtime: Some(runtime), service, orders, requests, connectivity, revocations, arm }
    }

    pub fn azure(&self) -> SimulatorHandle {
        self.azure.clone()
    }

    pub fn identity(&self) -> &Identity {
        self.identity.as_ref().unwrap()
    }

    /// Where Azure listens, for who does not come through a service.
    pub fn arm_url(&self) -> String {
        self.arm_url.clone()
    }

    /// Moves the clock of every process.
    pub fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.azure().advance(seconds).unwrap();
    }

    /// Does Azure give the person that role there, by whatever assignment?
    pub fn holds(&self, person: &Person, role: BackupRole, scope: &str) -> bool {
        let scope = simulator::Scope::parse(scope).unwrap();
        let matches = |held: &simulator::RoleAssignment| {
            held.principal_id == person.principal && held.role == role.definition_id() && held.scope == scope
        };
        self.azure().assignments().iter().any(matches)
    }

    #[track_caller]
    pub fn assert_holds(&self, person: &Person, role: BackupRole, scope: &str) {
        assert!(self.holds(person, role, scope), "should hold {role}: {:#?}", self.azure().assignments());
    }

    #[track_caller]
    pub fn assert_holds_nothing(&self, person: &Person) {
        let held: Vec<_> = self
            .azure()
            .assignments()
            .into_iter()
            .filter(|held| held.principal_id == person.principal)
            .collect();
        assert!(held.is_empty(), "should hold nothing: {held:#?}");
    }

    /// An assignment that was made by hand.
    pub fn hand_made(&self, person: &Person, role: BackupRole, scope: &str) -> Uuid {
        let made = HandMade::new(simulator::Scope::parse(scope).unwrap(), role.name(), person.principal);
        self.azure().make_assignment(&made).unwrap().name
    }

    /// Waits until Azure has received a call that it holds.
    pub fn until_held(&self, node: &Node) {
        let azure = self.azure();
        node.run(async {
            let reached = azure.until(|azure| !azure.held().is_empty());
            tokio::time::timeout(Duration::from_secs(20), reached).await.expect("a call should be held");
        });
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.azure.unrecognised().is_empty(), "{:?}", self.azure.unrecognised());
        }
    }
}

/// A running service. Its background work runs on its own runtime and dies with it.
pub struct Node {
    runtime: Option<Runtime>,
    pub service: BackupScim,
    /// Where operators place their orders.
    pub orders: OrderTable,
    /// Its request log.
    pub requests: RequestTable,
    /// How its calls to dependencies end.
    pub connectivity: Arc<Connectivity>,
    /// How much it may take away without an operator.
    pub revocations: RevocationLimits,
    arm: Arc<Watched>,
}

impl Node {
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(future)
    }

    /// `kill -9`: nothing of it goes on.
    pub fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    /// Waits until no call to Azure is under way but `held` ones. A crash stops the tables at once; a test that moves the
    /// clock afterwards must not leave a call behind that lands later than any network would let it.
    pub fn until_quiet(&self, held: usize) {
        let mut under_way = self.arm.under_way.subscribe();
        let quiet = under_way.wait_for(|number| *number <= held);
        self.run(async { tokio::time::timeout(Duration::from_secs(20), quiet).await.unwrap().unwrap() });
    }

    /// Begins something in the background of the service, which dies with it.
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.as_ref().unwrap().spawn(future)
    }

    pub fn adopt(&self, bindings: &[Value]) {
        self.run(self.service.active_bindings.activate(bindings_file(bindings).as_bytes())).unwrap();
    }

    /// An operator places an order.
    pub fn place(&self, verb: OrderVerb) -> OpId {
        let id = self.service.store.ids.op();
        let order = Order::new(id, "olga", "a test says so", verb).unwrap();
        self.run(self.orders.place(&order)).unwrap();
        id
    }

    /// The release of a batch whose people an operator has just read.
    pub fn release_of(&self, batch: OpId) -> OrderVerb {
        let people = self.run(self.service.store.batch_people(batch)).unwrap().hash;
        OrderVerb::ReleaseBatch { batch, people }
    }

    /// The same, to reject it.
    pub fn reject_of(&self, batch: OpId) -> OrderVerb {
        let people = self.run(self.service.store.batch_people(batch)).unwrap().hash;
        OrderVerb::RejectBatch { batch, people }
    }

    /// An operator places an order, and ticks carry it out: what became of it.
    pub fn order(&self, verb: OrderVerb) -> OrderOutcome {
        let id = self.place(verb);
        self.settle();
        self.outcome(id).expect("ticks carry an order out")
    }

    pub fn outcome(&self, order: OpId) -> Option<OrderOutcome> {
        self.run(self.service.store.order_outcome(order)).unwrap()
    }

    /// The same, of an order that is not refused.
    #[track_caller]
    pub fn carry_out(&self, verb: OrderVerb) {
        let outcome = self.order(verb);
        assert!(!outcome.is_refused, "{outcome:?}");
    }

    /// Ticks until all that is due has been reconciled.
    pub fn settle(&self) {
        for _ in 0..3 {
            self.run(self.service.tick.run()).unwrap();
        }
    }

    pub fn provision(&self, name: &str) -> Person {
        self.provision_as(name, Uuid::new_v4())
    }

    pub fn provision_as(&self, name: &str, principal: Uuid) -> Person {
        let id = self.create_user(json!({"userName": name, OWN: {"entraObjectId": principal.to_string()}}));
        Person { id, principal }
    }

    pub fn create_user(&self, body: Value) -> String {
        let projection = Projection::all(ResourceType::User);
        self.run(self.service.provisioning.create_user(&caller(), &user_input(&body), &projection))
            .unwrap()
            .id
    }

    /// A group whose externalId is its name.
    pub fn group(&self, name: &str) -> String {
        let body = json!({"displayName": name, "externalId": name});
        let projection = Projection::all(ResourceType::Group);
        self.run(self.service.provisioning.create_group(&caller(), &group_input(&body), &projection))
            .unwrap()
            .id
    }

    pub fn try_patch_group(&self, group: &str, operation: Value) -> Result<(), ServiceError> {
        self.run(patch_group(&self.service, group, operation))
    }

    pub fn join(&self, group: &str, people: &[&Person]) {
        self.try_patch_group(group, members("add", people)).unwrap();
    }

    /// In as many requests as it takes.
    pub fn leave(&self, group: &str, people: &[&Person]) {
        for part in people.chunks(REMOVED_AT_ONCE) {
            self.try_patch_group(group, members("remove", part)).unwrap();
        }
    }

    /// The inner group becomes a member of the outer one.
    pub fn nest(&self, outer: &str, inner: &str) {
        self.try_patch_group(outer, member_ids("add", &[inner])).unwrap();
    }

    pub fn unnest(&self, outer: &str, inner: &str) {
        self.try_patch_group(outer, member_ids("remove", &[inner])).unwrap();
    }

    /// The change is committed, and its answer is not waited for.
    pub fn begin(&self, group: &str, operation: Value) {
        let service = self.service.clone();
        let group = group.to_owned();
        self.runtime.as_ref().unwrap().spawn(async move { patch_group(&service, &group, operation).await });
    }

    pub fn patch_user(&self, id: &str, operation: Value) {
        let body = json!({"schemas": [PATCH_OP], "Operations": [operation]});
        let projection = Projection::all(ResourceType::User);
        self.run(self.service.provisioning.patch_user(
            &caller(),
            user_id(id),
            &user_patch(&body).unwrap(),
            &projection,
        ))
        .unwrap();
    }

    pub fn set_active(&self, person: &Person, active: bool) {
        self.patch_user(&person.id, json!({"op": "replace", "path": "active", "value": active}));
    }

    pub fn delete_user(&self, person: &Person) {
        self.run(self.service.provisioning.delete_user(&caller(), user_id(&person.id))).unwrap();
    }

    pub fn delete_group(&self, group: &str) {
        self.run(self.service.provisioning.delete_group(&caller(), group_id(group))).unwrap();
    }

    pub fn members_of(&self, group: &str) -> Vec<String> {
        let projection = Projection::all(ResourceType::Group);
        let body = self
            .run(self.service.provisioning.get_group(group_id(group), &projection))
            .unwrap()
            .shown()
            .unwrap()
            .body;
        let members = body["members"].as_array().cloned().unwrap_or_default();
        members.iter().map(|member| member["value"].as_str().unwrap().to_owned()).collect()
    }

    /// A person's grants.
    pub fn grants_of(&self, person: &Person) -> Vec<Value> {
        let access = azure_backup_scim::service::access::grants::access_of(
            &self.service.store,
            person.id.parse_user(),
        );
        self.run(access).unwrap().grants
    }

    /// The state and reason of each of a person's grants.
    pub fn grants(&self, person: &Person) -> Vec<(String, String)> {
        let text = |grant: &Value, name: &str| grant[name].as_str().unwrap().to_owned();
        let grants = self.grants_of(person);
        grants.iter().map(|grant| (text(grant, "state"), text(grant, "reason"))).collect()
    }

    /// Every change in the audit, oldest first, each with its record's fields beside it.
    pub fn audit(&self) -> Vec<Value> {
        let records = self.run(self.service.store.audit(None, 100_000)).unwrap();
        let mut changes = Vec::new();
        for record in records {
            for change in record["changes"].as_array().unwrap() {
                let mut change = change.clone();
                change["record"] = record.clone();
                changes.push(change);
            }
        }
        changes
    }

    pub fn audit_of(&self, kind: &str) -> Vec<Value> {
        self.audit().into_iter().filter(|change| change["kind"] == kind).collect()
    }
}

trait ParseUser {
    fn parse_user(&self) -> UserId;
}

impl ParseUser for String {
    fn parse_user(&self) -> UserId {
        UserId::parse(self).unwrap()
    }
}

/// A binding as written in a file.
pub fn binding(number: usize, group: &str, role: BackupRole, scope: &str) -> Value {
    let name = format!("b{number}");
    json!({"name": name, "group": {"externalId": group}, "role": role.name(), "scope": scope})
}

/// The bytes of a bindings file.
pub fn bindings_file(bindings: &[Value]) -> String {
    let from = ["entraObjectId", "externalId"];
    json!({"version": 1, "principal": {"from": from}, "bindings": bindings}).to_string()
}

/// Azure's role assignments, and how many calls to them are under way.
struct Watched {
    inner: Arc<dyn RoleAssignments>,
    under_way: watch::Sender<usize>,
}

impl Watched {
    fn begin(&self) -> UnderWay<'_> {
        self.under_way.send_modify(|number| *number += 1);
        UnderWay(self)
    }
}

struct UnderWay<'a>(&'a Watched);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|number| *number -= 1);
    }
}

#[async_trait]
impl RoleAssignments for Watched {
    async fn list(&self, scope: &Scope, timeout: Duration) -> Result<Vec<ListedAssignment>, AssignmentError> {
        let _under_way = self.begin();
        self.inner.list(scope, timeout).await
    }

    async fn get(
        &self,
        scope: &Scope,
        name: &AssignmentName,
        timeout: Duration,
    ) -> Result<Option<ListedAssignment>, AssignmentError> {
        let _under_way = self.begin();
        self.inner.get(scope, name, timeout).await
    }

    async fn create(
        &self,
        wanted: &RoleAssignment,
        timeout: Duration,
    ) -> Result<ArmAnswer<CreateOutcome>, AssignmentError> {
        let _under_way = self.begin();
        self.inner.create(wanted, timeout).await
    }

    async fn delete(
        &self,
        scope: &Scope,
        name: &AssignmentName,
        timeout: Duration,
    ) -> Result<ArmAnswer<()>, AssignmentError> {
        let _under_way = self.begin();
        self.inner.delete(scope, name, timeout).await
    }
}

/// A page that was read to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct WholePage {
    pub total: usize,
    pub resources: Vec<Value>,
    pub cursors: PageCursors,
}

/// An identity endpoint whose tokens serve for one call each, so that a call fails at once when it is away.
#[derive(Debug, Default)]
pub struct Identity {
    away: AtomicBool,
}

impl Identity {
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    fn arm(self: Arc<Self>, url: &str, clock: Arc<dyn Clock>) -> Arc<ArmRoleAssignments> {
        let options = ArmOptions { token_scope: PUBLIC_TOKEN_SCOPE.to_owned(), clock, transport: None };
        Arc::new(ArmRoleAssignments::at(url, self, options).unwrap())
    }
}

#[async_trait]
impl TokenCredential for Identity {
    async fn get_token(
        &self,
        _scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        if self.away.load(Ordering::SeqCst) {
            let text = "the identity endpoint cannot be reached";
            return Err(azure_core::Error::with_message(ErrorKind::Credential, text));
        }
        Ok(AccessToken::new(Secret::new("simulated"), time::OffsetDateTime::UNIX_EPOCH))
    }
}

/// Reads a page to its end.
pub async fn whole_page(listing: Result<ResourceListing, ServiceError>) -> Result<WholePage, ServiceError> {
    let ResourceListing { total, resources: mut rest } = listing?;
    let mut resources = Vec::new();
    while let Some(text) = rest.next().await? {
        resources.push(serde_json::from_str(&text).unwrap());
    }
    Ok(WholePage { total, resources, cursors: rest.cursors().clone() })
}

pub const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

pub fn caller() -> ScimCaller {
    ScimCaller::new("entra".to_owned())
}

pub fn members(op: &str, people: &[&Person]) -> Value {
    member_ids(op, &people.iter().map(|person| person.id.as_str()).collect::<Vec<_>>())
}

/// The same with the ids of users and groups.
pub fn member_ids(op: &str, ids: &[&str]) -> Value {
    let values: Vec<Value> = ids.iter().map(|id| json!({"value": id})).collect();
    json!({"op": op, "path": "members", "value": values})
}

pub async fn patch_group(service: &BackupScim, group: &str, operation: Value) -> Result<(), ServiceError> {
    let body = json!({"schemas": [PATCH_OP], "Operations": [operation]});
    let projection = Projection::parse(ResourceType::Group, None, Some("members")).unwrap();
    service
        .provisioning
        .patch_group(&caller(), group_id(group), &group_patch(&body)?, &projection)
        .await
        .map(|_| ())
}
