//! Everyone who is in a group: the header, the range, and the header again.

use super::{Begun, Pair, Process};
use crate::support::fault_injection::{Fault, Side, When};
use crate::support::harness::{Person, caller, members, patch_group};
use crate::support::requests::{group_id, group_input};
use azure_backup_scim::scim::{Projection, ResourceType};
use serde_json::{Value, json};

/// Three people in the order of their ids, and a group with the first two of them.
fn two_of_three(pair: &Pair) -> (String, [Person; 3]) {
    let mut people = ["ana", "ben", "cleo"].map(|name| pair.one.node.provision(name));
    people.sort_by(|one, other| one.id.cmp(&other.id));
    let group = pair.one.node.group("operators");
    pair.one.node.join(&group, &[&people[0], &people[1]]);
    (group, people)
}

/// Process one reads the members one by one; after the first of them, the group becomes another one.
fn with_a_change_after_the_first_member<T: Send + 'static>(
    pair: &Pair,
    (group, people): (&str, &[Person; 3]),
    begin: impl FnOnce(&Process) -> Begun<T>,
) -> T {
    let range = || When::page().key(&format!("m:{group}:"));
    pair.one.faults.inject(range().always(), Fault::ShortPage { rows_max: 1 });
    let second = pair.one.faults.hold(range().nth(2), Side::Before);
    let begun = begin(&pair.one);
    pair.one.reached(&second);
    let [first, other, last] = people;
    pair.two.node.leave(group, &[first, other]);
    pair.two.node.join(group, &[last]);
    second.release();
    let ended = pair.one.end(begun);
    pair.one.faults.clear();
    ended
}

fn ids(body: &Value) -> Vec<&str> {
    body["members"].as_array().unwrap().iter().map(|member| member["value"].as_str().unwrap()).collect()
}

#[test]
fn a_group_is_never_answered_with_members_that_were_in_at_different_times() {
    let pair = Pair::new();
    let (group, people) = two_of_three(&pair);
    let get = |process: &Process| {
        let (service, group) = (process.node.service.clone(), group.clone());
        let projection = Projection::all(ResourceType::Group);
        process.begin(async move {
            service.provisioning.get_group(group_id(&group), &projection).await.unwrap().shown().unwrap()
        })
    };
    let answer = with_a_change_after_the_first_member(&pair, (&group, &people), get);
    assert_eq!(ids(&answer.body), [people[2].id.as_str()]);
    let now = pair.two.end(get(&pair.two));
    assert_eq!((answer.version, answer.body), (now.version, now.body));
}

#[test]
fn a_replacement_that_seems_to_change_nothing_is_decided_on_members_of_one_time() {
    let pair = Pair::new();
    let (group, people) = two_of_three(&pair);
    let wanted = [&people[0], &people[2]];
    let replace = members("replace", &wanted);
    with_a_change_after_the_first_member(&pair, (&group, &people), |process| {
        let (service, group) = (process.node.service.clone(), group.clone());
        process.begin(async move { patch_group(&service, &group, replace).await.unwrap() })
    });
    assert_eq!(pair.two.node.members_of(&group), wanted.map(|person| person.id.clone()));
}

#[test]
fn a_put_that_seems_to_change_nothing_is_decided_on_members_of_one_time() {
    let pair = Pair::new();
    let (group, people) = two_of_three(&pair);
    let wanted = [&people[0], &people[2]];
    let values: Vec<Value> = wanted.iter().map(|person| json!({"value": person.id})).collect();
    let body = json!({"displayName": "operators", "externalId": "operators", "members": values});
    with_a_change_after_the_first_member(&pair, (&group, &people), |process| {
        let (service, group) = (process.node.service.clone(), group.clone());
        let projection = Projection::all(ResourceType::Group);
        process.begin(async move {
            service
                .provisioning
                .replace_group(&caller(), group_id(&group), &group_input(&body), &projection)
                .await
                .unwrap();
        })
    });
    assert_eq!(pair.two.node.members_of(&group), wanted.map(|person| person.id.clone()));
}
