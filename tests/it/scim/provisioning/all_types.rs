//! Searches at the base URL (RFC 7644 section 3.4.2.1): users and groups in one list.

use super::*;
use azure_backup_scim::store::ReadLimits;

fn query_of_all(pairs: &[(&str, &str)]) -> Result<ListQuery, azure_backup_scim::scim::Error> {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ListQuery::for_all_types(&pairs)
}

async fn listed(p: &Process, pairs: &[(&str, &str)]) -> Result<WholePage, ServiceError> {
    whole_page(p.service.list(&caller(), &query_of_all(pairs).unwrap()).await).await
}

/// The names of a page: a user's is its userName.
fn names(page: &WholePage) -> Vec<String> {
    let name = |resource: &Value| {
        let name = resource.get("userName").unwrap_or(&resource["displayName"]);
        name.as_str().unwrap().to_owned()
    };
    page.resources.iter().map(name).collect()
}

fn ids(page: &WholePage) -> Vec<String> {
    page.resources.iter().map(|resource| resource["id"].as_str().unwrap().to_owned()).collect()
}

/// Sorted ids of so many users and groups; every user is in the first group.
async fn people_and_groups(p: &Process, users: usize, groups: usize) -> (Vec<String>, Vec<String>) {
    let mut users = people(p, users).await;
    let mut made = Vec::new();
    for n in 0..groups {
        made.push(p.group(&format!("group {n}")).await);
    }
    for some in users.chunks(20) {
        p.add_quietly(&made[0], some).await;
    }
    users.sort();
    made.sort();
    (users, made)
}

fn paged<'a>(
    query: &[(&'a str, &'a str)],
    count: &'a str,
    page: (&'a str, &'a str),
) -> Vec<(&'a str, &'a str)> {
    [query, &[("count", count), page]].concat()
}

async fn by_index(p: &Process, query: &[(&str, &str)], count: usize) -> Vec<String> {
    let mut shown = Vec::new();
    loop {
        let start = (shown.len() + 1).to_string();
        let page = listed(p, &paged(query, &count.to_string(), ("startIndex", &start))).await.unwrap();
        shown.extend(ids(&page));
        assert!(page.resources.len() <= count);
        if page.resources.is_empty() || shown.len() >= page.total {
            return shown;
        }
    }
}

/// Everyone who is walked over, and the last page.
async fn by_cursor(p: &Process, query: &[(&str, &str)], count: usize) -> (Vec<String>, WholePage) {
    let (mut walked, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = listed(p, &paged(query, &count.to_string(), ("cursor", &cursor))).await.unwrap();
        assert_eq!(page.total, 32, "{query:?}");
        walked.extend(ids(&page));
        assert!(walked.len() <= page.total, "the walk does not end");
        match &page.cursors.next {
            Some(next) => cursor = next.clone(),
            None => return (walked, page),
        }
    }
}

#[tokio::test]
async fn users_come_first_and_then_groups_on_pages_of_one_list() {
    let p = process();
    let (users, groups) = people_and_groups(&p, 23, 9).await;
    let all: Vec<String> = users.into_iter().chain(groups).collect();
    for query in
        [&[][..], &[("filter", "id pr")], &[("filter", "userName pr or members pr or displayName pr")]]
    {
        for count in [1, 5, 23, 30, 100] {
            assert_eq!(by_index(&p, query, count).await, all, "{query:?} {count}");
            let (walked, last) = by_cursor(&p, query, count).await;
            assert_eq!(walked, all, "{query:?} {count}");
            let Some(previous) = last.cursors.previous else { continue };
            let before = listed(&p, &paged(query, &count.to_string(), ("cursor", &previous))).await.unwrap();
            let end = all.len() - last.resources.len();
            assert_eq!(ids(&before), all[end.saturating_sub(count)..end], "{query:?} {count}");
        }
        assert!(listed(&p, &[query, &[("startIndex", "33")]].concat()).await.unwrap().resources.is_empty());
        assert_eq!(listed(&p, &[query, &[("count", "0")]].concat()).await.unwrap().total, 32);
    }
}

#[tokio::test]
async fn an_attribute_that_only_one_type_has_is_unassigned_in_the_other() {
    let p = process();
    p.user("ana").await;
    p.create_user(json!({"userName": "ben", "displayName": "ops"})).await.unwrap();
    let id = p.group("ops").await;
    p.group("dev").await;
    for (filter, expected) in [
        ("userName eq \"ANA\"", &["ana"][..]),
        ("displayName eq \"ops\"", &["ben", "ops"]),
        ("not (userName pr)", &["dev", "ops"]),
        ("userName ne \"ana\"", &["ben", "dev", "ops"]),
        ("meta.resourceType eq \"Group\"", &["dev", "ops"]),
        ("userName eq \"ana\" or displayName eq \"dev\"", &["ana", "dev"]),
        (&format!("id eq \"{}\"", id.to_uppercase()), &["ops"]),
        ("userName pr and members pr", &[]),
    ] {
        let page = listed(&p, &[("filter", filter)]).await.unwrap();
        let mut found = names(&page);
        found.sort();
        assert_eq!(
            (found, page.total),
            (expected.iter().map(|name| (*name).to_owned()).collect(), expected.len()),
            "{filter}"
        );
    }
    let error = query_of_all(&[("filter", "shoeSize eq \"44\"")]).unwrap_err();
    assert_eq!((error.status, error.scim_type.unwrap().keyword()), (400, "invalidFilter"));
}

/// One order over both, whichever type a resource has; what is equal, or has no value, is users first.
#[tokio::test]
async fn an_order_is_over_users_and_groups_together() {
    let p = process();
    for (user, display) in [("u1", "bravo"), ("u2", "delta"), ("u3", "echo"), ("u4", "alpha")] {
        p.create_user(json!({"userName": user, "displayName": display})).await.unwrap();
    }
    p.user("u5").await;
    for group in ["alpha", "charlie", "echo"] {
        p.group(group).await;
    }
    let expected = ["u4", "alpha", "u1", "charlie", "u2", "u3", "echo", "u5"];
    for count in ["1", "3", "100"] {
        let (mut cursor, mut walked) = (String::new(), Vec::new());
        loop {
            let query = [("sortBy", "displayName"), ("count", count), ("cursor", cursor.as_str())];
            let page = listed(&p, &query).await.unwrap();
            walked.extend(names(&page));
            assert!(walked.len() <= expected.len(), "the walk does not end");
            let Some(next) = page.cursors.next else { break };
            cursor = next;
        }
        assert_eq!(walked, expected, "{count}");
    }
    let page = listed(&p, &[("sortBy", "displayName"), ("startIndex", "3"), ("count", "4")]).await.unwrap();
    assert_eq!(
        (names(&page), page.total),
        (expected[2..6].iter().map(|name| (*name).to_owned()).collect(), 8)
    );
    let page = listed(&p, &[("sortBy", "userName"), ("sortOrder", "descending")]).await.unwrap();
    let last = names(&page).split_off(3);
    assert_eq!(last, ["u5", "u4", "u3", "u2", "u1"], "missing comes first when descending");
}

#[tokio::test]
async fn each_type_is_shown_as_at_its_own_endpoint() {
    let p = process();
    let (users, groups) = people_and_groups(&p, 2, 2).await;
    let page = listed(&p, &[]).await.unwrap();
    let mut expected = p.users(&[]).await.resources;
    expected.extend(p.groups(&[]).await.resources);
    assert_eq!(page.resources, expected);
    let page = listed(&p, &[("attributes", "userName,members.value")]).await.unwrap();
    assert!(page.resources[0].get("userName").is_some() && page.resources[0].get("groups").is_none());
    let members: BTreeSet<String> =
        page.resources[2..].iter().flat_map(|group| values(&group["members"])).collect();
    assert_eq!(members, users.into_iter().collect());
    let bare = listed(&p, &[("excludedAttributes", "members,groups")]).await.unwrap();
    assert!(bare.resources.iter().all(|one| one.get("members").is_none() && one.get("groups").is_none()));
    assert_eq!(ids(&bare)[2..], groups);
}

#[tokio::test]
async fn the_limits_of_a_list_hold_for_both_types_together() {
    let filter_scan = ReadLimits { rows_max: 50, ..ListLimits::default().filter_scan };
    let limits = ListLimits { filter_scan, page_members_max: 30, ..ListLimits::default() };
    let p = process().with_list_limits(limits);
    people(&p, 40).await;
    for n in 0..10 {
        p.group(&format!("g{n}")).await;
    }
    let query = [("filter", "externalId pr or meta.created pr")];
    assert_eq!(listed(&p, &query).await.unwrap().total, 50);
    p.group("one more").await;
    assert_eq!(refused(listed(&p, &query).await).1, Some("tooMany"));
    assert_eq!(refused(listed(&p, &[("sortBy", "displayName")]).await).1, Some("tooMany"));
    // What only users have reads no group.
    assert_eq!(listed(&p, &[("filter", "title pr")]).await.unwrap().total, 0);
    let (large, second) = (p.group("large").await, p.group("second").await);
    fill(&p, &large, 40).await;
    fill(&p, &second, 40).await;
    let page = listed(&p, &[("count", "100")]).await.unwrap();
    assert!(page.resources.len() < 53, "a page ends early where it carries too many members");
    let query = [("count", "100"), ("excludedAttributes", "members")];
    assert_eq!(listed(&p, &query).await.unwrap().resources.len(), 53);
}

#[tokio::test]
async fn a_page_of_both_costs_what_the_two_lists_cost() {
    let p = process();
    people_and_groups(&p, 20, 5).await;
    let bare = ("excludedAttributes", "members,groups");
    p.faults.reset();
    listed(&p, &[bare, ("count", "10")]).await.unwrap();
    assert_eq!((p.faults.counts().requests, p.faults.counts().depth), (3, 1), "both counters and the users");
    p.faults.reset();
    listed(&p, &[bare, ("count", "100")]).await.unwrap();
    assert_eq!((p.faults.counts().requests, p.faults.counts().depth), (4, 2), "and the groups");
    p.faults.reset();
    let found = listed(&p, &[bare, ("filter", "userName eq \"user3@contoso.example\"")]).await.unwrap();
    assert_eq!(
        (found.total, p.faults.counts().requests, p.faults.counts().depth),
        (1, 2, 2),
        "no group is read"
    );
}
