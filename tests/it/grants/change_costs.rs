//! What a change of one membership costs on the table, with the reconcile that the answer waits for.

use crate::support::fault_injection::{Counts, When};
use crate::support::harness::{Node, Person, VAULT_EAST, VAULT_WEST, World, caller, members};
use crate::support::requests::{group_id, group_patch};
use crate::support::rows::quiet;
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::scim::{Projection, ResourceType};
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use serde_json::json;

/// A person whose Entra object was claimed before, in a process that has read the bindings.
fn warm(world: &World) -> (Node, Person) {
    let node = world.start();
    let ana = node.provision("ana");
    let other = node.group("other");
    node.join(&other, &[&ana]);
    node.leave(&other, &[&ana]);
    node.settle();
    (node, ana)
}

fn counted(world: &World, change: impl FnOnce()) -> Counts {
    world.faults.reset();
    change();
    world.faults.counts()
}

/// Requests and depth of joining and of leaving.
fn costs(world: &World, node: &Node, group: &str, person: &Person) -> [(usize, usize); 2] {
    let joined = counted(world, || node.join(group, &[person]));
    let left = counted(world, || node.leave(group, &[person]));
    [joined, left].map(|counts| (counts.requests, counts.depth))
}

/// A group that is bound and pinned, with somebody in it.
fn pinned(node: &Node, name: &str) -> String {
    let group = node.group(name);
    let ben = node.provision(&format!("first of {name}"));
    node.join(&group, &[&ben]);
    group
}

/// Who comes in is looked up as a group beside the look-up as a user: to nest a group costs no round trip more.
/// Whether a user exists is not asked: the commit requires it.
const PLAIN: [(usize, usize); 2] = [(10, 5), (9, 4)];
/// The tallies of the breakers are written as this process knows them, without a read.
const BOUND: [(usize, usize); 2] = [(14, 9), (13, 8)];

#[test]
fn a_change_of_one_membership_costs_as_designed() {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let (node, ana) = warm(&world);
    let plain = node.group("plain");
    assert_eq!(costs(&world, &node, &plain, &ana), PLAIN);
    let bound = pinned(&node, "operators");
    let joined = counted(&world, || node.join(&bound, &[&ana]));
    assert_eq!((joined.requests, joined.depth), BOUND[0], "{joined:?}");
    world.assert_holds(&ana, Operator, VAULT_EAST);
    let left = counted(&world, || node.leave(&bound, &[&ana]));
    assert_eq!((left.requests, left.depth), BOUND[1], "{left:?}");
    world.assert_holds_nothing(&ana);
}

/// The answer with the members is read beside the reconcile: one request more. By chance it is alone under way at first.
#[test]
fn the_members_in_the_answer_cost_one_request_and_no_round_trip() {
    let world = World::new().bind("operators", Operator, VAULT_EAST);
    let (node, ana) = warm(&world);
    let plain = node.group("plain");
    let all = Projection::all(ResourceType::Group);
    let body = json!({"Operations": [members("add", &[&ana])]});
    let provisioning = &node.service.provisioning;
    let joined = counted(&world, || {
        let patch = group_patch(&body).unwrap();
        let answer = node.run(provisioning.patch_group(&caller(), group_id(&plain), &patch, &all));
        assert_eq!(answer.unwrap().shown().unwrap().body["members"].as_array().unwrap().len(), 1);
    });
    assert!(joined.requests == PLAIN[0].0 + 1 && joined.depth <= PLAIN[0].1 + 1, "{joined:?}");
}

/// Neither the members of the group, nor other groups and people, nor other bindings and their pins.
#[test]
fn a_change_of_one_membership_costs_the_same_however_much_there_is() {
    let mut world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    for n in 0..40 {
        world = world.bind(&format!("bound-{n}"), Reader, VAULT_WEST);
    }
    let (node, ana) = warm(&world);
    let (plain, bound) = (node.group("plain"), pinned(&node, "operators"));
    for n in 0..40 {
        pinned(&node, &format!("bound-{n}"));
    }
    let people: Vec<Person> = (0..48).map(|n| node.provision(&format!("person {n}"))).collect();
    for some in people.chunks(24) {
        node.join(&plain, &some.iter().collect::<Vec<_>>());
    }
    assert_eq!(costs(&world, &node, &plain, &ana), PLAIN);
    let joined = counted(&world, || node.join(&bound, &[&ana]));
    assert_eq!((joined.requests, joined.depth), BOUND[0], "{joined:?}");
    assert!(joined.rows_read < 40, "{joined:?}");
}

/// The group that the commit knows says that it is nested: what is above is read, and the role of the outer group is granted.
#[test]
fn a_change_in_a_nested_group_reads_what_is_above_it() {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let (node, ana) = warm(&world);
    let (crew, bound) = (node.group("crew"), pinned(&node, "operators"));
    node.nest(&bound, &crew);
    node.settle();
    let joined = counted(&world, || node.join(&crew, &[&ana]));
    world.assert_holds(&ana, Operator, VAULT_EAST);
    // What the group is in; header, and selectors of the outer one.
    assert_eq!((joined.requests, joined.depth), (BOUND[0].0 + 3, BOUND[0].1 + 1), "{joined:?}");
    let left = counted(&world, || node.leave(&crew, &[&ana]));
    world.assert_holds_nothing(&ana);
    assert_eq!((left.requests, left.depth), BOUND[1], "{left:?}");
}

/// What a request that is there says is known only by reading it: it is not replaced, and not taken for the new one.
#[test]
fn a_request_that_is_there_already_is_read() {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let (node, ana) = warm(&world);
    let (plain, bound) = (node.group("plain"), pinned(&node, "operators"));
    node.join(&bound, &[&ana]);
    // Another process commits a removal and leaves it to a tick.
    let idle = world.start_with(InlineLimits { people_max: 0, ..InlineLimits::default() });
    idle.leave(&bound, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    world.faults.inject(
        When::get().key(&format!("d:{}", ana.id)).always(),
        crate::support::fault_injection::Fault::RequestLost,
    );
    node.join(&plain, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    world.faults.clear();
    node.join(&bound, &[&ana]);
    node.leave(&bound, &[&ana]);
    world.assert_holds_nothing(&ana);
    node.settle();
    assert!(node.run(node.service.store.rows("d:", 10)).unwrap().is_empty());
    assert!(node.run(node.service.store.rows("dl:", 10)).unwrap().is_empty());
}

/// A process knows the tallies that it wrote. What another one wrote meanwhile is read: everyone is counted, once.
#[test]
fn tallies_that_another_process_changed_are_read() {
    let world = quiet(World::new().bind("operators", Operator, VAULT_EAST));
    let (one, ana) = warm(&world);
    let two = world.start();
    let bound = pinned(&one, "operators");
    let people: Vec<Person> = (0..6).map(|n| one.provision(&format!("person {n}"))).collect();
    for (n, person) in people.iter().enumerate() {
        [&one, &two][n % 2].join(&bound, &[person]);
    }
    one.join(&bound, &[&ana]);
    assert_eq!(counted_people(&one), 8);
    // The one remembers her as somebody who has the role.
    two.leave(&bound, &[&ana]);
    assert_eq!(counted_people(&one), 7);
    one.join(&bound, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    assert_eq!(counted_people(&one), 8);
}

/// How many people the tallies say have the role.
fn counted_people(node: &Node) -> usize {
    let tallies = node.run(node.service.store.tallies()).unwrap();
    tallies.values().map(|(tally, _)| tally.people()).sum()
}
