//! The breakers: what takes a role from many people at once, or gives it to many, waits for an operator.

mod crashes;
mod decisions;
mod foreseen;
mod grants;
mod revocations;
mod rows;

use crate::support::harness::{Node, PATCH_OP, Person, VAULT_EAST, World, binding, caller};
use crate::support::requests::{group_id, group_input, group_patch};
use crate::support::rows::quiet;
use azure_backup_scim::id::OpId;
use azure_backup_scim::rbac::BackupRole::Operator;
use azure_backup_scim::scim::{Projection, ResourceType};
use azure_backup_scim::service::ServiceError;
use azure_backup_scim::store::batches::{BatchState, StoredBatch};
use serde_json::{Value, json};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// Members that one transaction adds: more are a job.
const ADDED_AT_ONCE: usize = 24;

/// A group of so many people who all hold the role of its binding.
struct Stage {
    world: World,
    node: Node,
    group: String,
    people: Vec<Person>,
}

impl Stage {
    fn of(people: usize) -> Self {
        Self::under(people, binding(1, "operators", Operator, VAULT_EAST))
    }

    /// The binding is a month old.
    fn long_ago(people: usize, file: Value) -> Self {
        let stage = Self::under(people, file);
        stage.days(30);
        stage
    }

    fn under(people: usize, file: Value) -> Self {
        let world = quiet(World::new());
        let node = world.start();
        node.adopt(&[file]);
        let group = node.group("operators");
        let people: Vec<Person> = (0..people).map(|n| node.provision(&format!("p{n}"))).collect();
        join(&node, &group, &people);
        node.settle();
        let stage = Self { world, node, group, people };
        assert_eq!(stage.holders(), stage.people.len());
        stage
    }

    /// How many of the people hold the role.
    fn holders(&self) -> usize {
        holders(&self.world, &self.people)
    }

    /// Time passes, with a tick now and then.
    fn days(&self, days: u64) {
        for _ in 0..days {
            self.node.settle();
            self.world.pass(DAY);
        }
        self.node.settle();
    }

    fn leave(&self, from: usize, to: usize) {
        let people: Vec<&Person> = self.people[from..to].iter().collect();
        self.node.leave(&self.group, &people);
        self.node.settle();
    }

    /// PUT with these members.
    fn put(&self, members: &[&Person]) -> Result<(), ServiceError> {
        let members: Vec<Value> = members.iter().map(|person| json!({"value": person.id})).collect();
        let body = json!({"displayName": "operators", "externalId": "operators", "members": members});
        let projection = Projection::all(ResourceType::Group);
        let service = &self.node.service.provisioning;
        let (caller, id, input) = (caller(), group_id(&self.group), group_input(&body));
        self.node.run(service.replace_group(&caller, id, &input, &projection)).map(drop)
    }

    fn patch(&self, operation: Value) -> Result<(), ServiceError> {
        let body = json!({"schemas": [PATCH_OP], "Operations": [operation]});
        let projection = Projection::parse(ResourceType::Group, None, Some("members")).unwrap();
        let patch = group_patch(&body).unwrap();
        let service = &self.node.service.provisioning;
        self.node.run(service.patch_group(&caller(), group_id(&self.group), &patch, &projection)).map(drop)
    }

    fn batches(&self) -> Vec<StoredBatch> {
        self.node.run(self.node.service.store.batches()).unwrap().each().cloned().collect()
    }

    /// The only batch that waits for an operator.
    #[track_caller]
    fn batch(&self) -> OpId {
        let held: Vec<OpId> =
            self.batches().iter().filter(|b| b.state == BatchState::Held).map(|b| b.id).collect();
        assert_eq!(held.len(), 1, "{:?}", self.batches());
        held[0]
    }

    #[track_caller]
    fn assert_nothing_held(&self) {
        assert_eq!(self.batches(), [], "the breakers should hold nothing");
    }

    fn release(&self) {
        self.node.carry_out(self.node.release_of(self.batch()));
    }

    fn reject(&self) {
        self.node.carry_out(self.node.reject_of(self.batch()));
    }

    /// People of a batch, as `breaker show` lists them.
    fn people_of(&self, batch: OpId) -> Vec<String> {
        let people = self.node.run(self.node.service.store.batch_people(batch)).unwrap().people;
        people.into_iter().map(|person| person.user.to_string()).collect()
    }

    #[track_caller]
    fn assert_grant(&self, person: usize, state: &str, reason: &str) {
        assert_eq!(self.node.grants(&self.people[person]), [(state.to_owned(), reason.to_owned())]);
    }

    /// What the breakers forgot to end.
    #[track_caller]
    fn assert_no_hold_is_left(&self) {
        let ledger = self.node.run(self.node.service.store.rows("l:", 10_000)).unwrap();
        assert!(ledger.iter().all(|row| !row.properties.contains_key("hold")), "{ledger:#?}");
        for batch in self.batches() {
            assert_eq!(self.people_of(batch.id), Vec::<String>::new());
        }
    }
}

fn join(node: &Node, group: &str, people: &[Person]) {
    for part in people.chunks(ADDED_AT_ONCE) {
        node.join(group, &part.iter().collect::<Vec<_>>());
    }
}

fn holders(world: &World, people: &[Person]) -> usize {
    let assignments = world.azure().assignments();
    let holds = |person: &&Person| assignments.iter().any(|held| held.principal_id == person.principal);
    people.iter().filter(holds).count()
}

/// The binding, with other limits.
fn limited(max_principals: usize, new_grants_max: usize) -> Value {
    let mut file = binding(1, "operators", Operator, VAULT_EAST);
    file["maxPrincipals"] = json!(max_principals);
    file["newGrantsMax"] = json!(new_grants_max);
    file
}
