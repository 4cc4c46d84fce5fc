//! Groups in groups: the people of the inner group have what the outer one gives, and lose it with the last way up.

mod random;

use crate::support::fault_injection::{Side, When};
use crate::support::harness::{Node, OWN, Person, VAULT_EAST, VAULT_WEST, World, binding, member_ids};
use crate::support::requests::{group_id, user_id};
use crate::support::rows::{delete, later, quiet};
use azure_backup_scim::rbac::BackupRole::{Operator, Reader};
use azure_backup_scim::scim::{Projection, ResourceType};
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::store::batches::BatchState;
use azure_backup_scim::store::members::NESTING_DEPTH_MAX;
use serde_json::Value;
use std::time::Duration;

/// Everything is left to ticks.
const NOTHING_INLINE: InlineLimits = InlineLimits { wait: Duration::ZERO, people_max: 0 };
/// Members that one transaction adds: more are a job.
const ADDED_AT_ONCE: usize = 24;

fn world() -> World {
    quiet(World::new().bind("operators", Operator, VAULT_EAST)).without_limits_on_revocations()
}

fn people(node: &Node, number: usize) -> Vec<Person> {
    (0..number).map(|n| node.provision(&format!("p{n}"))).collect()
}

fn join(node: &Node, group: &str, people: &[Person]) {
    for part in people.chunks(ADDED_AT_ONCE) {
        node.join(group, &part.iter().collect::<Vec<_>>());
    }
}

#[track_caller]
fn assert_holders(world: &World, people: &[Person], holders: usize) {
    let number = people.iter().filter(|person| world.holds(person, Operator, VAULT_EAST)).count();
    assert_eq!(number, holders);
}

#[test]
fn the_people_of_an_inner_group_get_the_role_and_the_audit_names_the_way() {
    let world = world();
    let node = world.start();
    let (operators, night, ana) = (node.group("operators"), node.group("night"), node.provision("ana"));
    let crew = node.group("crew");
    node.join(&crew, &[&ana]);
    node.nest(&night, &crew);
    world.assert_holds_nothing(&ana);

    node.nest(&operators, &night);

    world.assert_holds(&ana, Operator, VAULT_EAST);
    let opened = node.audit_of("effect-opened").remove(0);
    let way = format!(
        "member of group {crew}, which is in group {night}, which is in group {operators} of binding b1"
    );
    assert_eq!(opened["reasons"], serde_json::json!([way]));
    assert_eq!(node.grants(&ana), [("held".to_owned(), "member".to_owned())]);
    let asked = Projection::parse(ResourceType::User, Some("grants"), None).unwrap();
    let shown =
        node.run(node.service.provisioning.get_user(user_id(&ana.id), &asked)).unwrap().shown().unwrap().body;
    assert_eq!(shown[OWN]["grants"][0]["path"], "member of crew, which is in night, which is in operators");

    // Who comes in later holds it too, and who leaves loses it.
    let ben = node.provision("ben");
    node.join(&crew, &[&ben]);
    world.assert_holds(&ben, Operator, VAULT_EAST);
    node.leave(&crew, &[&ana]);
    world.assert_holds_nothing(&ana);
    world.assert_holds(&ben, Operator, VAULT_EAST);
}

#[test]
fn taking_the_inner_group_out_revokes_from_all_but_those_with_another_way() {
    let world = world();
    let node = world.start();
    let (operators, night, day) = (node.group("operators"), node.group("night"), node.group("day"));
    let people = people(&node, 60);
    join(&node, &night, &people);
    node.nest(&operators, &night);
    node.settle();
    assert_holders(&world, &people, 60);
    node.join(&operators, &[&people[0]]);
    node.join(&day, &[&people[1]]);
    node.nest(&operators, &day);

    node.unnest(&operators, &night);
    node.settle();

    assert_holders(&world, &people[..2], 2);
    assert_holders(&world, &people[2..], 0);
    assert_eq!(node.run(node.service.store.rows("dg:", 10)).unwrap().len(), 0);
}

#[test]
fn groups_that_are_in_one_another_give_the_same_and_end() {
    let world = world();
    let node = world.start();
    let groups = ["operators", "night", "day"].map(|name| node.group(name));
    let people = people(&node, 3);
    for (at, group) in groups.iter().enumerate() {
        node.join(group, &[&people[at]]);
        node.nest(group, &groups[(at + 1) % 3]);
    }
    node.settle();
    assert_holders(&world, &people, 3);
    assert_eq!(node.run(node.service.store.rows("dg:", 10)).unwrap().len(), 0);

    node.unnest(&groups[0], &groups[1]);
    node.settle();

    assert_holders(&world, &people[1..], 0);
    world.assert_holds(&people[0], Operator, VAULT_EAST);
}

#[test]
fn a_large_group_in_a_circle_is_walked_to_its_end() {
    let world = world();
    let node = world.start_with(NOTHING_INLINE);
    let (operators, night) = (node.group("operators"), node.group("night"));
    let people = people(&node, 150);
    join(&node, &operators, &people);
    node.nest(&operators, &night);
    node.nest(&night, &operators);
    // Page by page in turn, as several processes would.
    for _ in 0..200 {
        for group in [&night, &operators] {
            node.run(node.service.store.fan_out_page(group_id(group))).unwrap();
        }
    }
    assert_eq!(node.run(node.service.store.rows("dg:", 10)).unwrap().len(), 0);
}

/// A request that comes while the last page of a walk is on its way is not removed with it.
#[test]
fn a_walk_that_is_asked_for_again_at_its_end_begins_again() {
    let world = world();
    let node = world.start_with(NOTHING_INLINE);
    let (operators, other, night) = (node.group("operators"), node.group("other"), node.group("night"));
    let people = people(&node, 2);
    join(&node, &night, &people);
    node.nest(&operators, &night);
    (0..2).for_each(|_| node.settle());
    assert_holders(&world, &people, 2);

    node.nest(&other, &night);
    let inner = group_id(&night);
    assert_eq!(node.run(node.service.store.fan_out_page(inner)).unwrap().users.len(), 2);
    // Both are reconciled, and nothing changes for them.
    people.iter().for_each(|person| delete(&world, &node, &format!("d:{}", person.id)));
    let end = world.faults.hold(When::transact().key(&format!("dg:{night}")), Side::Before);
    let store = node.service.store.clone();
    let walk = node.spawn(async move { store.fan_out_page(inner).await });
    node.run(end.reached());
    node.unnest(&operators, &night);
    end.release();
    node.run(walk).unwrap().unwrap();
    (0..2).for_each(|_| node.settle());
    assert_holders(&world, &people, 0);
}

#[test]
fn beyond_ten_levels_nothing_is_given_and_health_says_so() {
    let world = world();
    let node = world.start();
    let chain: Vec<String> = (0..NESTING_DEPTH_MAX + 2)
        .map(|n| if n == 0 { node.group("operators") } else { node.group(&format!("g{n}")) })
        .collect();
    let (near, far) = (node.provision("near"), node.provision("far"));
    node.join(&chain[NESTING_DEPTH_MAX], &[&near]);
    node.join(&chain[NESTING_DEPTH_MAX + 1], &[&far]);
    // The last link is the one that gives.
    for pair in chain.windows(2).rev() {
        node.nest(&pair[0], &pair[1]);
    }
    node.settle();

    world.assert_holds(&near, Operator, VAULT_EAST);
    world.assert_holds_nothing(&far);
    assert_eq!(node.service.health.snapshot().group_limit_reached, 1);
    node.unnest(&chain[0], &chain[1]);
    node.settle();
    world.assert_holds_nothing(&near);
    assert_eq!(node.service.health.snapshot().group_limit_reached, 0, "the chain is short enough now");
}

#[test]
fn deleting_the_outer_or_a_middle_group_takes_what_came_through_it() {
    for deleted in ["operators", "night"] {
        let world = world();
        let node = world.start();
        let (operators, night, crew) = (node.group("operators"), node.group("night"), node.group("crew"));
        let (ana, ben) = (node.provision("ana"), node.provision("ben"));
        node.join(&crew, &[&ana]);
        node.join(&night, &[&ben]);
        node.nest(&night, &crew);
        node.nest(&operators, &night);
        let cleo = node.provision("cleo");
        node.join(&operators, &[&cleo]);
        node.settle();
        assert_holders(&world, &[ana.clone(), ben.clone(), cleo.clone()], 3);

        node.delete_group(if deleted == "night" { &night } else { &operators });
        node.settle();

        world.assert_holds_nothing(&ana);
        world.assert_holds_nothing(&ben);
        assert_eq!(world.holds(&cleo, Operator, VAULT_EAST), deleted == "night");
        let gone = if deleted == "night" { &night } else { &operators };
        let rows = node.run(node.service.store.rows_between(String::new(), "~".to_owned(), 10_000)).unwrap();
        let left: Vec<&String> = rows
            .iter()
            .map(|row| &row.key)
            .filter(|key| key.contains(gone.as_str()) && !key.starts_with('b'))
            .collect();
        assert_eq!(left, Vec::<&String>::new());
        assert_eq!(node.members_of(&crew), std::slice::from_ref(&ana.id));
    }
}

#[test]
fn whoever_comes_or_goes_while_the_walk_is_under_way_ends_as_scim_says() {
    let world = world();
    let node = world.start_with(NOTHING_INLINE);
    let (operators, night, crew) = (node.group("operators"), node.group("night"), node.group("crew"));
    let people = people(&node, 110);
    join(&node, &night, &people[..100]);
    join(&node, &crew, &people[100..105]);
    node.settle();
    node.nest(&night, &crew);
    node.nest(&operators, &night);
    let page = node.run(node.service.store.fan_out_page(group_id(&night))).unwrap();
    assert!(!page.is_done && !page.users.is_empty());

    node.leave(&night, &[&people[0], &people[99]]);
    join(&node, &crew, &people[105..]);
    node.unnest(&night, &crew);
    node.settle();
    assert_holders(&world, &people[1..99], 98);
    assert_holders(&world, &[people[0].clone(), people[99].clone()], 0);
    assert_holders(&world, &people[100..], 0);

    node.nest(&operators, &crew);
    let _ = node.run(node.service.store.fan_out_page(group_id(&crew))).unwrap();
    node.unnest(&operators, &night);
    node.nest(&crew, &night);
    node.settle();
    assert_holders(&world, &people, 108);
}

#[test]
fn the_bindings_of_every_group_on_the_way_count_and_a_changed_file_reaches_everyone() {
    let mut world = world().bind("night", Reader, VAULT_WEST);
    let node = world.start();
    let (operators, night, ana) = (node.group("operators"), node.group("night"), node.provision("ana"));
    node.nest(&operators, &night);
    node.join(&night, &[&ana]);
    world.assert_holds(&ana, Operator, VAULT_EAST);
    world.assert_holds(&ana, Reader, VAULT_WEST);

    world.rebind(&[("operators", Operator, VAULT_WEST)]);
    let other = world.start();
    later(&world, &other);

    world.assert_holds(&ana, Operator, VAULT_WEST);
    assert!(!world.holds(&ana, Operator, VAULT_EAST) && !world.holds(&ana, Reader, VAULT_WEST));
}

#[test]
fn a_removed_group_of_many_is_held_as_one_operation() {
    let world = quiet(World::new());
    let node = world.start();
    node.adopt(&[binding(1, "operators", Operator, VAULT_EAST)]);
    let (operators, night, crew) = (node.group("operators"), node.group("night"), node.group("crew"));
    let people = people(&node, 12);
    join(&node, &night, &people[..6]);
    join(&node, &crew, &people[6..]);
    node.nest(&night, &crew);
    node.nest(&operators, &night);
    let (ana, ben) = (node.provision("ana"), node.provision("ben"));
    node.join(&operators, &[&ana, &ben]);
    node.settle();
    assert_holders(&world, &people, 12);

    // The two beside it are few enough, and do not decide for the others.
    let out = [ana.id.as_str(), ben.id.as_str(), night.as_str()];
    node.try_patch_group(&operators, member_ids("remove", &out)).unwrap();
    node.settle();

    assert_holders(&world, &[ana, ben], 0);
    assert_holders(&world, &people, 12);
    let batches: Vec<_> = node.run(node.service.store.batches()).unwrap().each().cloned().collect();
    assert_eq!((batches.len(), batches[0].state), (1, BatchState::Held));
    node.carry_out(node.release_of(batches[0].id));
    assert_holders(&world, &people, 0);
}

#[test]
fn a_group_that_would_put_its_people_in_too_many_groups_is_left_out_and_recorded() {
    let world = world();
    let node = world.start();
    let (operators, night, crew) = (node.group("operators"), node.group("night"), node.group("crew"));
    let ana = node.provision("ana");
    node.nest(&night, &crew);
    let rows = (0..999_u128).map(|n| azure_backup_scim::ports::tables::TableWrite::Insert {
        key: format!("ug:{crew}:{}", uuid::Uuid::from_u128(u128::MAX - n)),
        properties: azure_backup_scim::store::codec::RowFields::row().text("member", "group").done(),
    });
    crate::support::rows::write(&world, &node, &rows.collect::<Vec<_>>());
    let ids = [crew.as_str(), ana.id.as_str(), operators.as_str()];
    node.try_patch_group(&operators, member_ids("add", &ids)).unwrap();
    assert_eq!(node.members_of(&operators), std::slice::from_ref(&ana.id));
    let mut dropped: Vec<Value> =
        node.audit_of("member-dropped").iter().map(|change| change["member"].clone()).collect();
    dropped.sort_by_key(ToString::to_string);
    let mut expected: Vec<Value> = vec![crew.into(), operators.into()];
    expected.sort_by_key(ToString::to_string);
    assert_eq!(dropped, expected);
}
