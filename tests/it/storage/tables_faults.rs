//! Every answer of the table service lost once, over real HTTP: the service on Azurite, behind a proxy that loses the
//! request, loses the answer, says 500 after it was done, says 503, or something else altogether. The identity
//! provider's answer is right, and so is what is left when everything has settled.
//!
//! The engine's own crash and fault tests go through every history; here it is each kind of transaction, and the client.

use crate::resilience::crashes::invariants::{calm, problems};
use crate::storage::azurite;
use crate::support::chaos::{Call, Chaos, Trouble, When};
use crate::support::harness::{
    Node, OWN, PATCH_OP, Person, VAULT_EAST, VAULT_WEST, World, caller, members, patch_group, whole_page,
};
use crate::support::requests::{group_id, group_input, user_id, user_input, user_patch};
use azure_backup_scim::engine::with_clock::WithClock;
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::scim::{ListQuery, Projection, ResourceType};
use azure_backup_scim::service::ServiceError;
use azure_backup_scim::service::bindings::active::ActivateError;
use azure_backup_scim::simulator::ArmLimits;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

/// Groups that are bound: one for each case of a kind.
const CASES_MAX: usize = 150;

/// What an identity provider asks for: one kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    CreateUser,
    CreateGroup,
    PatchUser,
    PutUser,
    PutGroup,
    Join,
    Leave,
    /// As many at once as one transaction holds.
    JoinMany,
    Deactivate,
    Activate,
    RenameGroup,
    DeleteUser,
    DeleteGroup,
}

const MANY: usize = 24;

/// Reads that trouble is made for: the client asks again, whatever the read was.
const READS_STRIDE: usize = 5;
/// One in so many writes of an adoption: each of its stages has several.
const ADOPTION_STRIDE: usize = 3;
const READS_MAX: usize = 6;

impl Act {
    fn people(self) -> usize {
        match self {
            Act::CreateGroup | Act::CreateUser => 0,
            Act::JoinMany => MANY,
            _ => 2,
        }
    }

    /// Who is in the group before.
    fn members(self) -> usize {
        match self {
            Act::Leave | Act::Deactivate | Act::Activate | Act::RenameGroup | Act::PutGroup => 1,
            Act::DeleteUser | Act::DeleteGroup => 2,
            _ => 0,
        }
    }

    /// Writes that trouble is made for. What follows the commit of many is what follows one, many times.
    fn writes_max(self) -> usize {
        if self == Act::JoinMany { 1 } else { usize::MAX }
    }

    /// The answer to a request that is asked again after it was carried out.
    fn was_done(self, status: u16) -> bool {
        match self {
            Act::CreateUser | Act::CreateGroup => status == 409,
            Act::DeleteUser | Act::DeleteGroup => status == 404,
            _ => false,
        }
    }
}

/// One play of an act, with people and a group of its own.
struct Case {
    number: usize,
    people: Vec<Person>,
    group: Option<String>,
}

/// What SCIM says of one case, by names.
#[derive(Debug, PartialEq, Eq, Default)]
struct Summary {
    /// Number in the case → active, title.
    users: BTreeMap<String, (bool, String)>,
    /// externalId without the number of the case → members.
    groups: BTreeMap<String, BTreeSet<String>>,
}

struct Stage {
    world: World,
    node: Node,
    chaos: Chaos,
}

/// A world whose tables are Azurite's, behind a proxy.
fn world() -> (World, Chaos) {
    let chaos = Chaos::before(&azurite::origin());
    let account = azurite::connection_string_of(azurite::DEVELOPMENT_ACCOUNT, &chaos.url());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tables = runtime.block_on(azurite::fresh(&account));
    let world =
        World::on(|clock| Arc::new(WithClock::new(Arc::new(tables), clock))).without_limits_on_revocations();
    world.azure().set_limits(ArmLimits { buckets: false, ..ArmLimits::default() }).unwrap();
    (world, chaos)
}

impl Stage {
    fn set() -> Self {
        let (mut world, chaos) = world();
        let groups: Vec<String> = (0..CASES_MAX).map(|number| format!("e{number}")).collect();
        let bindings: Vec<_> = groups.iter().map(|group| (group.as_str(), Operator, VAULT_EAST)).collect();
        world.rebind(&bindings);
        let node = world.start();
        node.settle();
        Self { world, node, chaos }
    }

    fn enter(&self, act: Act, number: usize) -> Case {
        assert!(number < CASES_MAX, "more cases than groups are bound");
        let people: Vec<Person> = (0..act.people())
            .map(|person| {
                let principal = Uuid::new_v4();
                Person { id: self.node.create_user(user(number, person, principal)), principal }
            })
            .collect();
        let group = (act != Act::CreateGroup && act != Act::CreateUser).then(|| {
            let group = self.node.run(create_group(&self.node, number)).unwrap();
            self.node.join(&group, &people.iter().take(act.members()).collect::<Vec<_>>());
            group
        });
        if act == Act::Activate {
            self.node.set_active(&people[0], false);
        }
        self.chaos.forget();
        Case { number, people, group }
    }

    /// One tick, whatever becomes of it: the calm at the end sees to the rest.
    fn tick(&self) {
        self.node.run(self.node.service.tick.run()).ok();
    }

    /// The status of a refusal.
    fn ask(&self, act: Act, case: &Case) -> Result<(), u16> {
        self.node.run(perform(&self.node, act, case)).map_err(|error| match error {
            ServiceError::Busy { .. } | ServiceError::ChangeUnderWay { .. } => 503,
            ServiceError::Scim(error) | ServiceError::StorageLimit { error, .. } => error.status,
            ServiceError::NoState { hold, .. } => {
                panic!("{case}: there is a state: {hold:?}", case = case.number)
            }
            ServiceError::Bug { source } | ServiceError::NewerRelease { source, .. } => {
                panic!("{case}: a bug of ours: {source}", case = case.number)
            }
        })
    }

    fn summaries(&self) -> BTreeMap<usize, Summary> {
        let query = |kind| ListQuery::from_pairs(kind, &[("count".to_owned(), "1000".to_owned())]).unwrap();
        let provisioning = &self.node.service.provisioning;
        let users = self
            .node
            .run(async { whole_page(provisioning.list(&caller(), &query(ResourceType::User)).await).await })
            .unwrap();
        let groups = self
            .node
            .run(async { whole_page(provisioning.list(&caller(), &query(ResourceType::Group)).await).await })
            .unwrap();
        let names: BTreeMap<String, (usize, String)> =
            users.resources.iter().map(|user| (text(user, "id"), case_of(user, "externalId"))).collect();
        let mut summaries: BTreeMap<usize, Summary> = BTreeMap::new();
        for user in &users.resources {
            let (number, person) = case_of(user, "externalId");
            let said = (user["active"] == true, text(user, "title"));
            summaries.entry(number).or_default().users.insert(person, said);
        }
        for group in &groups.resources {
            let (number, name) = case_of(group, "displayName");
            let members = group["members"].as_array().cloned().unwrap_or_default();
            let members = members.iter().map(|member| names[member["value"].as_str().unwrap()].1.clone());
            summaries.entry(number).or_default().groups.insert(name, members.collect());
        }
        summaries
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// `x17.2` is person 2 of case 17.
fn case_of(resource: &Value, name: &str) -> (usize, String) {
    let text = text(resource, name);
    let (number, rest) = text[1..].split_once('.').unwrap();
    (number.parse().unwrap(), rest.to_owned())
}

fn user(number: usize, person: usize, principal: Uuid) -> Value {
    json!({"userName": format!("p{number}.{person}"), "externalId": format!("x{number}.{person}"), OWN: {"entraObjectId": principal.to_string()}})
}

async fn create_group(node: &Node, number: usize) -> Result<String, ServiceError> {
    let body = json!({"displayName": format!("g{number}.a"), "externalId": format!("e{number}")});
    let projection = Projection::all(ResourceType::Group);
    Ok(node.service.provisioning.create_group(&caller(), &group_input(&body), &projection).await?.id)
}

async fn perform(node: &Node, act: Act, case: &Case) -> Result<(), ServiceError> {
    let provisioning = &node.service.provisioning;
    let users = Projection::all(ResourceType::User);
    let groups = Projection::all(ResourceType::Group);
    let number = case.number;
    let group = case.group.as_deref().unwrap_or_default();
    let people: Vec<&Person> = case.people.iter().collect();
    let patch_user = async |operation: Value| {
        let body = json!({"schemas": [PATCH_OP], "Operations": [operation]});
        provisioning
            .patch_user(&caller(), user_id(&people[0].id), &user_patch(&body).unwrap(), &users)
            .await
            .map(drop)
    };
    match act {
        Act::CreateUser => {
            let body = user(number, 0, Uuid::from_u128(number as u128));
            provisioning.create_user(&caller(), &user_input(&body), &users).await.map(drop)
        }
        Act::CreateGroup => create_group(node, number).await.map(drop),
        Act::PatchUser => patch_user(json!({"op": "replace", "path": "title", "value": "Boss"})).await,
        Act::PutUser => {
            let mut body = user(number, 0, people[0].principal);
            body["title"] = json!("Boss");
            provisioning
                .replace_user(&caller(), user_id(&people[0].id), &user_input(&body), &users)
                .await
                .map(drop)
        }
        Act::PutGroup => {
            let body = json!({"displayName": format!("g{number}.b"), "externalId": format!("e{number}"), "members": [{"value": people[1].id}]});
            provisioning
                .replace_group(&caller(), group_id(group), &group_input(&body), &groups)
                .await
                .map(drop)
        }
        Act::Join => patch_group(&node.service, group, members("add", &people[..1])).await,
        Act::JoinMany => patch_group(&node.service, group, members("add", &people)).await,
        Act::Leave => patch_group(&node.service, group, members("remove", &people[..1])).await,
        Act::Deactivate => patch_user(json!({"op": "replace", "path": "active", "value": false})).await,
        Act::Activate => patch_user(json!({"op": "replace", "path": "active", "value": true})).await,
        Act::RenameGroup => {
            let operation =
                json!({"op": "replace", "path": "externalId", "value": format!("unbound{number}")});
            patch_group(&node.service, group, operation).await
        }
        Act::DeleteUser => provisioning.delete_user(&caller(), user_id(&people[0].id)).await,
        Act::DeleteGroup => provisioning.delete_group(&caller(), group_id(group)).await,
    }
}

/// What happens to the `n`th write. The caller learns only of the last.
fn troubles(n: usize) -> Vec<Trouble> {
    let mut troubles =
        vec![Trouble::LoseRequest, Trouble::LoseAnswer, Trouble::FailAfter { code: "OperationTimedOut" }];
    if n == 1 {
        troubles.extend([Trouble::nonsense(), Trouble::Busy { retry_after: 5 }]);
    }
    troubles
}

fn is_read(call: &Call) -> bool {
    call.method == "GET"
}

fn survives(act: Act) {
    let stage = Stage::set();
    let clean = stage.enter(act, 0);
    assert_eq!(stage.ask(act, &clean), Ok(()));
    stage.tick();
    let reads = stage.chaos.count(is_read);
    let writes = stage.chaos.count(|call| !is_read(call));
    assert!(writes > 0, "{act:?} writes nothing");

    let mut orders = Vec::new();
    for n in 1..=writes.min(act.writes_max()) {
        orders.extend(troubles(n).into_iter().map(|trouble| (When::writes().nth(n), trouble)));
    }
    let of_reads = [Trouble::LoseAnswer, Trouble::nonsense(), Trouble::FailAfter { code: "InternalError" }];
    for n in (1..=reads).step_by(READS_STRIDE).take(READS_MAX) {
        orders.push((When::reads().nth(n), of_reads[n % of_reads.len()].clone()));
    }
    let cases = orders.len();
    for (at, (when, trouble)) in orders.into_iter().enumerate() {
        let case = stage.enter(act, at + 1);
        let name = format!("{act:?}, case {}: {trouble:?} at {when:?}", at + 1);
        stage.chaos.order(when, trouble.clone());
        let mut answer = stage.ask(act, &case);
        if matches!(trouble, Trouble::Busy { .. }) && answer == Err(503) {
            answer = stage.ask(act, &case);
            answer = if answer.is_err_and(|status| act.was_done(status)) { Ok(()) } else { answer };
        }
        assert_eq!(answer, Ok(()), "{name}");
        stage.tick();
        stage.chaos.calm();
    }

    calm(&stage.world, &stage.node);
    let found = problems(&stage.world, &stage.node);
    assert!(found.is_empty(), "{act:?}: {found:#?}");
    let summaries = stage.summaries();
    for number in 1..=cases {
        assert_eq!(summaries.get(&number), summaries.get(&0), "{act:?}, case {number}");
    }
}

macro_rules! acts {
    ($($name:ident: $act:ident,)*) => {
        $(
            #[test]
            fn $name() {
                survives(Act::$act);
            }
        )*
    };
}

acts! {
creating_a_user_survives_every_lost_answer: CreateUser, creating_a_group_survives_every_lost_answer: CreateGroup, patching_a_user_survives_every_lost_answer: PatchUser, putting_a_user_survives_every_lost_answer: PutUser, putting_a_group_survives_every_lost_answer: PutGroup, joining_survives_every_lost_answer: Join, leaving_survives_every_lost_answer: Leave, many_joining_survive_lost_answers: JoinMany, deactivating_survives_every_lost_answer: Deactivate, activating_survives_every_lost_answer: Activate, renaming_a_group_survives_every_lost_answer: RenameGroup, deleting_a_user_survives_every_lost_answer: DeleteUser, deleting_a_group_survives_every_lost_answer: DeleteGroup, }

fn enter(node: &Node, person: usize) -> Person {
    let principal = Uuid::new_v4();
    Person { id: node.create_user(user(0, person, principal)), principal }
}

#[test]
fn adopting_a_snapshot_survives_every_lost_answer() {
    let adopt = |order: Option<(When, Trouble)>| {
        let (world, chaos) = world();
        let mut world = world.bind("a", Operator, VAULT_EAST);
        let node = world.start();
        let ana = enter(&node, 0);
        let group = node.group("a");
        node.join(&group, &[&ana]);
        node.settle();
        chaos.forget();
        let may_be_busy = order.as_ref().is_some_and(|(_, trouble)| matches!(trouble, Trouble::Busy { .. }));
        let name = format!("{order:?}");
        if let Some((when, trouble)) = order {
            chaos.order(when, trouble);
        }
        world.rebind(&[("a", Reader, VAULT_WEST)]);
        let file = crate::support::harness::bindings_file(world.bindings());
        let adopt = || node.run(node.service.active_bindings.activate(file.as_bytes()));
        match adopt() {
            Err(ActivateError::Store(_)) if may_be_busy => assert!(adopt().unwrap(), "{name}"),
            adopted => assert!(adopted.unwrap_or_else(|error| panic!("{name}: {error:?}")), "{name}"),
        }
        node.settle();
        let writes = chaos.count(|call| !is_read(call));
        chaos.calm();
        calm(&world, &node);
        world.assert_holds(&ana, Reader, VAULT_WEST);
        assert!(!world.holds(&ana, Operator, VAULT_EAST), "{name}");
        let found = problems(&world, &node);
        assert!(found.is_empty(), "{name}: {found:#?}");
        writes
    };
    let writes = adopt(None);
    for n in (1..=writes).step_by(ADOPTION_STRIDE) {
        for trouble in troubles(n) {
            adopt(Some((When::writes().nth(n), trouble)));
        }
    }
}

/// Facts: F-114.
#[test]
fn pages_that_are_short_forgotten_or_begun_again_change_no_answer() {
    let (world, chaos) = world();
    let node = world.start();
    let people: Vec<Person> = (0..30).map(|number| enter(&node, number)).collect();
    let group = node.group("a");
    for part in people.chunks(15) {
        node.join(&group, &part.iter().collect::<Vec<_>>());
    }
    let expected: BTreeSet<String> = people.iter().map(|person| person.id.clone()).collect();
    let read = || node.members_of(&group).into_iter().collect::<BTreeSet<String>>();
    assert_eq!(read(), expected);
    let short = || chaos.order(When::reads().path("$top=").always(), Trouble::ShortPage { rows_max: 4 });
    short();
    assert_eq!(read(), expected);
    for trouble in [Trouble::stale_continuation(), Trouble::Restart] {
        for n in 1..=7 {
            chaos.calm();
            short();
            chaos.order(When::reads().path("NextRowKey=").nth(n), trouble.clone());
            assert_eq!(node.members_of(&group).len(), expected.len(), "{trouble:?} at page {n}");
        }
    }
    node.delete_group(&group);
    node.settle();
    chaos.calm();
    calm(&world, &node);
    let found = problems(&world, &node);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn while_storage_is_away_every_request_is_503_and_then_goes_on() {
    let stage = Stage::set();
    let case = stage.enter(Act::Join, 0);
    stage.chaos.set_away(true);
    assert_eq!(stage.ask(Act::Join, &case), Err(503));
    stage.chaos.set_away(false);
    assert_eq!(stage.ask(Act::Join, &case), Ok(()));
    calm(&stage.world, &stage.node);
    assert_eq!(problems(&stage.world, &stage.node), Vec::<String>::new());
    stage.world.assert_holds(&case.people[0], Operator, VAULT_EAST);
}

/// Facts: F-115.
#[test]
fn slow_storage_is_waited_for() {
    let stage = Stage::set();
    let case = stage.enter(Act::Join, 0);
    let slow = std::time::Duration::from_millis(300);
    // The body of a batch names the rows in its URLs.
    stage.chaos.order(When::writes().path("$batch").body("RowKey='g%3A"), Trouble::Delay(slow));
    assert_eq!(stage.ask(Act::Join, &case), Ok(()));
    stage.world.assert_holds(&case.people[0], Operator, VAULT_EAST);
}
