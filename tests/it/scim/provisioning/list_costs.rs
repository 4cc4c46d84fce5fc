//! What lists of users with their groups cost: requests, round trips that wait for one another, and memory.

use super::*;
use crate::support::fault_injection::Counts;
use std::collections::BTreeMap;

/// Memberships as two rows each, in as many transactions as it takes.
async fn memberships(p: &Process, of: impl IntoIterator<Item = (String, String)>) {
    let row = |key| TableWrite::InsertOrReplace { key, properties: RowFields::row().done() };
    let rows = of
        .into_iter()
        .flat_map(|(user, group)| [row(format!("ug:{user}:{group}")), row(format!("m:{group}:{user}"))]);
    for some in rows.collect::<Vec<_>>().chunks(100) {
        p.store.transact_unjournaled(some).await.unwrap();
    }
}

async fn groups(p: &Process, number: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..number {
        ids.push(p.group(&format!("group {n}")).await);
    }
    ids
}

async fn sorted_people(p: &Process, number: usize) -> Vec<String> {
    let mut ids = people(p, number).await;
    ids.sort();
    ids
}

/// Everyone is in each of the groups.
async fn all_in(p: &Process, users: &[String], groups: &[String]) {
    let all = users.iter().flat_map(|user| groups.iter().map(|group| (user.clone(), group.clone())));
    memberships(p, all.collect::<Vec<_>>()).await;
}

/// What a list cost, and the groups of everyone on the page with their names.
async fn listed(p: &Process, query: &[(&str, &str)]) -> (Counts, BTreeMap<String, BTreeMap<String, String>>) {
    p.faults.reset();
    let page = p.users(query).await;
    let counts = p.faults.counts();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let groups_of = |user: &Value| {
        let groups = user["groups"].as_array().unwrap().iter();
        groups.map(|group| (text(&group["value"]), text(&group["display"]))).collect()
    };
    (counts, page.resources.iter().map(|user| (text(&user["id"]), groups_of(user))).collect())
}

/// The page shows the same groups as each user alone.
async fn as_each_alone(p: &Process, page: &BTreeMap<String, BTreeMap<String, String>>) {
    for (id, groups) in page {
        let alone = p.get_user(id).await.unwrap().body;
        assert_eq!(values(&alone["groups"]), groups.keys().cloned().collect(), "{id}");
    }
}

#[tokio::test]
async fn a_page_in_the_order_of_the_ids_costs_four_requests_and_one_for_each_group() {
    let p = process();
    let ids = sorted_people(&p, 150).await;
    let groups = groups(&p, 6).await;
    all_in(&p, &ids, &groups[..4]).await;
    // Only users who are not on the first page are in these.
    all_in(&p, &ids[120..], &groups[4..]).await;
    let (counts, first) = listed(&p, &[("count", "100")]).await;
    assert_eq!((first.len(), counts.requests, counts.depth), (100, 4 + 4, 3), "{counts:?}");
    as_each_alone(&p, &first).await;
    let (counts, second) = listed(&p, &[("count", "50"), ("startIndex", "101")]).await;
    assert_eq!((second.len(), counts.requests, counts.depth), (50, 4 + 6, 4), "{counts:?}");
    as_each_alone(&p, &second).await;
    assert!(first.keys().chain(second.keys()).eq(ids.iter()));
    let (counts, _) = listed(&p, &[("count", "100"), ("filter", "active eq true")]).await;
    assert_eq!((counts.requests, counts.depth), (1 + 100 + 100 + 4, 3), "{counts:?}");
}

#[tokio::test]
async fn a_page_costs_one_request_more_for_each_thousand_memberships() {
    let p = process();
    let ids = sorted_people(&p, 100).await;
    let groups = groups(&p, 25).await;
    all_in(&p, &ids, &groups).await;
    let (counts, page) = listed(&p, &[("count", "100")]).await;
    assert_eq!((page.len(), counts.requests, counts.depth), (100, 4 + 2 + 25, 3 + 2), "{counts:?}");
    assert!(page.values().all(|found| found.len() == 25));
}

#[tokio::test]
async fn filtered_and_sorted_pages_read_everyone_side_by_side_and_each_name_once() {
    let p = process();
    let ids = sorted_people(&p, 60).await;
    let groups = groups(&p, 3).await;
    all_in(&p, &ids, &groups).await;
    for query in
        [[("count", "40"), ("filter", "userName sw \"user\"")], [("count", "40"), ("sortBy", "userName")]]
    {
        let (counts, page) = listed(&p, &query).await;
        // The scan; of each person the memberships, and the header once more; the names.
        assert_eq!((page.len(), counts.requests, counts.depth), (40, 1 + 40 + 40 + 3, 3), "{counts:?}");
        assert_eq!(counts.pages, 1 + 40, "{counts:?}");
        as_each_alone(&p, &page).await;
    }
    // A filter that reads the groups of everyone is a scan of ranges.
    let query = [("filter", "groups.display eq \"group 1\""), ("excludedAttributes", "groups")];
    let (depth, found) = p.depth(p.users(&query)).await;
    assert_eq!((found.total, depth, p.faults.counts().requests), (60, 3, 1 + 1 + 1 + 3));
}

/// What is above is read once for the page: of each group the header, and its groups only where the header says that there are.
#[tokio::test]
async fn a_page_reads_the_groups_above_once_for_everyone() {
    let p = process();
    let ids = sorted_people(&p, 50).await;
    let groups = groups(&p, 6).await;
    all_in(&p, &ids, &groups[..2]).await;
    all_in(&p, &ids[..25], &groups[2..3]).await;
    // 0 is in 3 and 4, and 3 in 4 and 1; 5 is in nothing, and nobody is in it.
    for (inner, outer) in [(0, 3), (0, 4), (3, 4), (3, 1)] {
        p.add_quietly(&groups[outer], std::slice::from_ref(&groups[inner])).await;
    }
    let (counts, page) = listed(&p, &[("count", "50")]).await;
    assert_eq!((page.len(), counts.requests), (50, 4 + 5 + 2), "{counts:?}");
    assert!(counts.depth <= 3 + 3, "{counts:?}");
    assert_eq!((page[&ids[0]].len(), page[&ids[49]].len()), (5, 4));
    as_each_alone(&p, &page).await;
    for query in [[("filter", "active eq true")], [("sortBy", "userName")]] {
        let (counts, page) = listed(&p, &query).await;
        assert_eq!((page.len(), counts.requests), (50, 1 + 50 + 50 + 5 + 2), "{counts:?}");
        as_each_alone(&p, &page).await;
    }
}

/// More groups above than are read for a page at a time, for each person others, and more direct ones than are asked for at a
/// time, most of which are gone: nobody misses one.
#[tokio::test]
async fn a_page_of_very_many_groups_above_is_whole() {
    let p = process();
    let ids = sorted_people(&p, 4).await;
    let direct = groups(&p, 4).await;
    let mut above = Vec::new();
    for n in 0..2_400 {
        above.push(p.group(&format!("above {n}")).await);
    }
    for (n, ((id, direct), above)) in ids.iter().zip(&direct).zip(above.chunks(600)).enumerate() {
        let gone = (0..300).map(|m| uuid::Uuid::from_u128(1000 * (n as u128 + 1) + m).to_string());
        let all: Vec<String> = gone.chain([direct.clone()]).collect();
        all_in(&p, std::slice::from_ref(id), &all).await;
        p.add_quietly(&above[0], std::slice::from_ref(direct)).await;
        nest(&p, direct, &above[1..]).await;
    }
    let (_, page) = listed(&p, &[("count", "4")]).await;
    assert!(page.len() == 4 && page.values().all(|found| found.len() == 601));
    as_each_alone(&p, &page).await;
}

/// The inner group, of which the header says that it is nested, is in these too.
async fn nest(p: &Process, inner: &str, outer: &[String]) {
    let row = |key| {
        let properties = RowFields::row().text("member", "group").done();
        TableWrite::InsertOrReplace { key, properties }
    };
    let rows = outer
        .iter()
        .flat_map(|outer| [row(format!("ug:{inner}:{outer}")), row(format!("m:{outer}:{inner}"))]);
    for some in rows.collect::<Vec<_>>().chunks(100) {
        p.store.transact_unjournaled(some).await.unwrap();
    }
}

/// What deleted users left behind lies between the users of a page.
#[tokio::test]
async fn memberships_of_others_between_the_users_of_a_page_are_skipped() {
    let p = process();
    let ids = sorted_people(&p, 20).await;
    let groups = groups(&p, 2).await;
    all_in(&p, &ids, &groups).await;
    let left_behind: Vec<(String, String)> = (0..5_000)
        .map(|n| (format!("{}{:02x}", &ids[9][..34], n % 7), uuid::Uuid::from_u128(n).to_string()))
        .filter(|(user, _)| !ids.contains(user))
        .collect();
    memberships(&p, left_behind).await;
    spoil_memberships(&p, &ids[3]).await;
    let (counts, page) = listed(&p, &[("count", "20")]).await;
    assert_eq!(page.len(), 20);
    assert!(page.values().all(|found| found.len() == 2), "{page:?}");
    assert!(counts.requests <= 4 + 2 + 2 && counts.rows_read < 3_500, "{counts:?}");
}

/// A row whose key names nobody, and one that names no group.
async fn spoil_memberships(p: &Process, user: &str) {
    let row = |key| TableWrite::InsertOrReplace { key, properties: RowFields::row().done() };
    let rows = [row(format!("ug:{user}:nonsense")), row(format!("ug:{user}x:{user}"))];
    p.store.transact_unjournaled(&rows).await.unwrap();
}

#[tokio::test]
async fn neighbours_are_read_up_to_a_number_of_memberships_and_nobodys_are_torn() {
    let p = process();
    let ids = sorted_people(&p, 30).await;
    let groups: Vec<String> = (1..=150).map(|n| uuid::Uuid::from_u128(n).to_string()).collect();
    all_in(&p, &ids, &groups).await;
    let users: Vec<UserId> = ids.iter().map(|id| UserId::parse(id).unwrap()).collect();
    for (most, expected) in [(usize::MAX, 30), (1, 6), (1_000, 6), (1_001, 13), (100_000, 30)] {
        let found = p.store.groups_of_neighbours(&users, most).await.unwrap();
        assert_eq!(found.len(), expected, "{most}");
        assert!(found.iter().all(|of_one| of_one.len() == 150), "{most}");
    }
    // One user is read to the end, whatever the bound says.
    let alone = p.store.groups_of_neighbours(&users[..1], 1).await.unwrap();
    assert_eq!(alone.iter().map(Vec::len).collect::<Vec<_>>(), [150]);
    assert!(p.store.groups_of_neighbours(&[], 1).await.unwrap().is_empty());
}

/// More memberships than are held at a time, more names than are kept: the page is whole.
#[tokio::test]
async fn a_page_of_very_many_memberships_is_whole() {
    let p = process();
    let ids = sorted_people(&p, 12).await;
    let groups = groups(&p, 1_100).await;
    all_in(&p, &ids, &groups).await;
    let (counts, page) = listed(&p, &[("count", "12")]).await;
    assert!(page.len() == 12 && page.values().all(|found| found.len() == 1_100));
    assert_eq!(counts.requests, 4 + 13 + 1_100, "{counts:?}");
}

#[tokio::test]
async fn a_user_who_changes_or_goes_while_a_page_is_read_is_shown_as_he_is_then() {
    let p = process();
    let ids = sorted_people(&p, 10).await;
    let groups = groups(&p, 2).await;
    all_in(&p, &ids, &groups[..1]).await;
    let reading = p.faults.hold(When::page().key("ug:"), Side::After);
    let list = async { p.users(&[("count", "10")]).await };
    let change = async {
        reading.reached().await;
        p.add_quietly(&groups[1], &ids[4..5]).await;
        p.remove(&groups[0], &ids[5..6]).await.unwrap();
        p.service.delete_user(&caller(), user_id(&ids[6])).await.unwrap();
        p.user("a new neighbour").await;
        reading.release();
    };
    let (page, ()) = futures_util::join!(list, change);
    let shown = |id: &String| page.resources.iter().find(|user| user["id"] == **id);
    assert_eq!(values(&shown(&ids[4]).unwrap()["groups"]).len(), 2);
    assert!(values(&shown(&ids[5]).unwrap()["groups"]).is_empty());
    assert_eq!(shown(&ids[6]), None);
    for id in [&ids[4], &ids[5]] {
        let now = p.get_user(id).await.unwrap().body;
        assert_eq!(Some(&now), shown(id), "version and groups belong together");
    }
}
