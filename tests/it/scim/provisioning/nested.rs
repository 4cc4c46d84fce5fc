//! Groups as members: what is taken, what is shown, and what it costs.

use super::*;

const USERS: &str = "https://scim.example/scim/v2/Users";
const GROUPS: &str = "https://scim.example/scim/v2/Groups";

/// The members of a group as they are shown.
async fn shown(p: &Process, group: &str) -> Vec<Value> {
    p.get_group(group).await.unwrap().body["members"].as_array().cloned().unwrap_or_default()
}

/// The groups of a user: ids with their types.
async fn groups_of(p: &Process, user: &str) -> Vec<(String, String)> {
    let body = p.get_user(user).await.unwrap().body;
    let text = |group: &Value, name: &str| group[name].as_str().unwrap().to_owned();
    body["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| (text(group, "value"), text(group, "type")))
        .collect()
}

fn ids(page: &WholePage) -> BTreeSet<String> {
    page.resources.iter().map(|resource| resource["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_group_is_a_member_whatever_type_the_request_says_and_is_shown_as_one() {
    let p = process();
    let (ops, night, ana) = (p.group("ops").await, p.group("night").await, p.user("ana").await);
    let value = json!([{"value": night, "type": "User"}, {"value": ana, "type": "Group"}, {"value": GUID, "type": "Group"}]);
    p.patch(&ops, json!([{"op": "Add", "path": "members", "value": value}])).await.unwrap();
    let member =
        |id: &str, kind: &str, url: &str| json!({"value": id, "type": kind, "$ref": format!("{url}/{id}")});
    let mut expected = vec![member(&night, "Group", GROUPS), member(&ana, "User", USERS)];
    expected.sort_by_key(|member| member["value"].to_string());
    assert_eq!(shown(&p, &ops).await, expected);
    assert_eq!(
        p.groups(&[("filter", "displayName eq \"ops\"")]).await.resources[0]["members"],
        json!(expected)
    );
    let kinds = p.last_changes().await;
    assert_eq!(kinds.iter().filter(|change| change["kind"] == "member-added").count(), 2);
    assert_eq!(kinds.iter().filter(|change| change["kind"] == "member-dropped").count(), 1);
    assert_eq!(p.keys("dg:").await, [format!("dg:{night}")]);

    // With a POST and a PUT too.
    let new = p.create_group(json!({"displayName": "new", "members": [{"value": night}]})).await.unwrap();
    assert_eq!(new.body["members"], json!([member(&night, "Group", GROUPS)]));
    let put = json!({"displayName": "new", "members": [{"value": ops}, {"value": new.id}]});
    let all = Projection::all(ResourceType::Group);
    let put = p.service.replace_group(&caller(), group_id(&new.id), &group_input(&put), &all).await.unwrap();
    assert_eq!(put.body["members"], json!([member(&ops, "Group", GROUPS)]), "a group is no member of itself");
}

#[tokio::test]
async fn users_show_direct_and_indirect_groups() {
    let p = process();
    let (ops, night, crew) = (p.group("ops").await, p.group("night").await, p.group("crew").await);
    let ana = p.user("ana").await;
    p.add(&crew, std::slice::from_ref(&ana)).await.unwrap();
    p.add(&night, std::slice::from_ref(&crew)).await.unwrap();
    p.add(&ops, std::slice::from_ref(&night)).await.unwrap();
    p.add(&crew, std::slice::from_ref(&ops)).await.unwrap();
    let kinds: Vec<(String, String)> = [(&crew, "direct"), (&night, "indirect"), (&ops, "indirect")]
        .map(|(id, kind)| (id.clone(), kind.to_owned()))
        .into();
    assert_eq!(groups_of(&p, &ana).await, kinds);
    let listed = p.users(&[("filter", "userName eq \"ana\"")]).await;
    assert_eq!(listed.resources[0]["groups"].as_array().unwrap().len(), 3);
    // Who is in a group through others is found by it.
    for group in [&crew, &night, &ops] {
        let found = p.users(&[("filter", &format!("groups.value eq \"{group}\""))]).await;
        assert_eq!(ids(&found), BTreeSet::from([ana.clone()]));
    }
    let indirect = p.users(&[("filter", "groups[type eq \"indirect\"]")]).await;
    assert_eq!(ids(&indirect), BTreeSet::from([ana.clone()]));
    p.remove(&night, std::slice::from_ref(&crew)).await.unwrap();
    assert_eq!(groups_of(&p, &ana).await, [(crew.clone(), "direct".to_owned())]);
    // Nothing is had through a group that is gone, also while its rows are there.
    p.add(&night, std::slice::from_ref(&crew)).await.unwrap();
    p.service.delete_group(&caller(), group_id(&night)).await.unwrap();
    assert_eq!(groups_of(&p, &ana).await, [(crew.clone(), "direct".to_owned())]);
    p.roll_everything().await;
    assert_eq!(shown(&p, &ops).await, Vec::<Value>::new());
    assert_eq!((p.keys("m:").await.len(), p.keys("ug:").await.len(), p.keys("i:").await.len()), (2, 2, 0));
}

#[tokio::test]
async fn filters_and_removals_tell_users_and_groups_apart() {
    let p = process();
    let (ops, night, day) = (p.group("ops").await, p.group("night").await, p.group("day").await);
    let ana = p.user("ana").await;
    p.add(&ops, &[ana.clone(), night.clone(), day.clone()]).await.unwrap();
    p.add(&day, std::slice::from_ref(&ana)).await.unwrap();
    for (filter, expected) in [
        ("members[type eq \"Group\"]".to_owned(), vec![&ops]),
        ("members.type eq \"group\"".to_owned(), vec![&ops]),
        ("members[type eq \"User\"]".to_owned(), vec![&ops, &day]),
        (format!("members.value eq \"{night}\""), vec![&ops]),
        (format!("members eq \"{}\"", ana.to_uppercase()), vec![&ops, &day]),
        (format!("members[value eq \"{night}\" and type eq \"User\"]"), vec![]),
    ] {
        let found = p.groups(&[("filter", &filter)]).await;
        assert_eq!(ids(&found), expected.into_iter().cloned().collect(), "{filter}");
    }

    // Entra's list of values, Okta's path, a filter on the type, and an absent one.
    p.remove(&ops, std::slice::from_ref(&night)).await.unwrap();
    assert_eq!(p.members(&ops).await, BTreeSet::from([ana.clone(), day.clone()]));
    p.add(&ops, std::slice::from_ref(&night)).await.unwrap();
    p.patch(&ops, json!([{"op": "remove", "path": format!("members[value eq \"{night}\"]")}])).await.unwrap();
    assert_eq!(p.members(&ops).await, BTreeSet::from([ana.clone(), day.clone()]));
    p.patch(&ops, json!([{"op": "remove", "path": "members[type eq \"Group\"]"}])).await.unwrap();
    assert_eq!(p.members(&ops).await, BTreeSet::from([ana.clone()]));
    let version = p.get_group(&ops).await.unwrap().version;
    p.patch(&ops, json!([{"op": "remove", "path": format!("members[value eq \"{day}\"]")}])).await.unwrap();
    assert_eq!(p.get_group(&ops).await.unwrap().version, version);
    assert_eq!((p.keys("m:").await.len(), p.keys("ug:").await.len()), (2, 2));
}

#[tokio::test]
async fn a_deleted_inner_group_is_left_out_and_leaves_the_groups_it_was_in() {
    let p = process();
    let (ops, night) = (p.group("ops").await, p.group("night").await);
    let people = people(&p, 45).await;
    for part in people.chunks(20) {
        p.add(&night, part).await.unwrap();
    }
    for n in 0..21 {
        let outer = p.group(&format!("outer{n}")).await;
        p.add(&outer, std::slice::from_ref(&night)).await.unwrap();
    }
    p.service.delete_group(&caller(), group_id(&night)).await.unwrap();
    p.add(&ops, std::slice::from_ref(&night)).await.unwrap();
    assert_eq!(shown(&p, &ops).await, Vec::<Value>::new(), "it is gone");
    p.roll_everything().await;
    assert_eq!((p.keys("m:").await.len(), p.keys("ug:").await.len(), p.keys("i:").await.len()), (0, 0, 0));
    assert_eq!(p.keys("d:").await.len(), 45);
}

#[tokio::test]
async fn nesting_and_what_is_nested_cost_what_they_need() {
    let p = process();
    let (ops, night, crew) = (p.group("ops").await, p.group("night").await, p.group("crew").await);
    let ids = people(&p, 2).await;
    p.add(&crew, &ids[..1]).await.unwrap();
    assert_eq!(p.depth(p.add_quietly(&night, std::slice::from_ref(&crew))).await.0, 2, "nest");
    assert!(p.depth(p.get_user(&ids[0])).await.0 <= 4, "one level");
    p.add(&ops, std::slice::from_ref(&night)).await.unwrap();
    assert!(p.depth(p.get_user(&ids[0])).await.0 <= 5, "two levels");
    assert_eq!(p.depth(p.get_user(&ids[1])).await.0, 3, "in no group");
    let plain = p.group("plain").await;
    p.add_quietly(&plain, &ids[..1]).await;
    p.faults.reset();
    p.add_quietly(&plain, &ids[1..]).await;
    let (gets, pages) = (p.faults.counts().gets, p.faults.counts().pages);
    p.faults.reset();
    let (depth, ()) = p.depth(p.add_quietly(&crew, &ids[1..])).await;
    let counts = p.faults.counts();
    assert_eq!((depth, counts.gets, counts.pages), (2, gets, pages), "one more member of a nested group");
}

#[tokio::test]
async fn a_group_that_is_deleted_while_it_is_nested_is_left_out() {
    let (one, two) = two_processes();
    let (ops, night) = (one.group("ops").await, one.group("night").await);
    let held = one
        .faults
        .hold(When::transact().key(&format!("m:{ops}")), crate::support::fault_injection::Side::Before);
    let adding = one.service.clone();
    let body = json!({"Operations": [{"op": "add", "path": "members", "value": [{"value": night}]}]});
    let patch = group_patch(&body).unwrap();
    let group = group_id(&ops);
    let running = tokio::spawn(async move {
        adding.patch_group(&caller(), group, &patch, &Projection::all(ResourceType::Group)).await
    });
    held.reached().await;
    two.service.delete_group(&caller(), group_id(&night)).await.unwrap();
    held.release();
    let answer = running.await.unwrap().unwrap().shown().unwrap();
    assert_eq!(answer.body["members"].as_array().map_or(0, Vec::len), 0);
    two.roll_everything().await;
    assert_eq!((two.keys("m:").await.len(), two.keys("ug:").await.len()), (0, 0));
}
