//! What lists may cost, and what they show of rows that cannot be read.

use super::*;
use crate::support::requests::user_id;
use azure_backup_scim::rbac::ledger::{AssignmentState, LedgerEntry};
use azure_backup_scim::rbac::{AssignmentName, BackupRole, Scope};
use azure_backup_scim::store::{ReadLimits, ledger};
use futures_util::FutureExt;

const GRANT_STATE: &str = "urn:ietf:params:scim:schemas:extension:azurebackup:2.0:User:grantState";
const SCOPE: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/backup/providers/Microsoft.RecoveryServices/vaults/east";

fn scan_of(rows_max: usize) -> ListLimits {
    let filter_scan = ReadLimits { rows_max, ..ListLimits::default().filter_scan };
    ListLimits { filter_scan, ..ListLimits::default() }
}

async fn users_of(p: &Process, query: &[(&str, &str)]) -> Result<WholePage, ServiceError> {
    whole_page(p.service.list(&caller(), &query_of(ResourceType::User, query)).await).await
}

async fn groups_of(p: &Process, query: &[(&str, &str)]) -> Result<WholePage, ServiceError> {
    whole_page(p.service.list(&caller(), &query_of(ResourceType::Group, query)).await).await
}

/// A row in the ledger of each of these people.
async fn held(p: &Process, people: &[String]) {
    for id in people {
        let user = UserId::parse(id).unwrap();
        let entry = LedgerEntry {
            assignment: AssignmentName::parse(GUID).unwrap(),
            principal: azure_backup_scim::id::PrincipalId::parse(OTHER_GUID).unwrap(),
            role: BackupRole::Reader,
            scope: Scope::parse(SCOPE).unwrap(),
            state: AssignmentState::Present,
            unsettled_until: None,
            op: OpId::new(uuid::Uuid::nil()),
            bindings: Vec::new(),
            correlation: None,
            retry: None,
            unwanted_since: None,
            hold: None,
            since: p.store.clock.now(),
            written: p.store.clock.now(),
        };
        p.store.transact_unjournaled(&[ledger::write(user, &entry, None)]).await.unwrap();
    }
}

#[test]
fn a_scan_is_limited_to_twenty_thousand_rows_as_shipped() {
    assert_eq!(ListLimits::default().filter_scan.rows_max, 20_000);
    assert_eq!(ListLimits::default().page_members_max, 10_000);
}

/// Headers, memberships and ledger rows are rows: a filter that has to read them for everybody is refused at the limit.
#[tokio::test]
async fn a_scan_reads_at_most_its_limit_whatever_the_rows_are() {
    const LIMIT: usize = 100;
    let p = process().with_list_limits(scan_of(LIMIT));
    let ids = people(&p, 60).await;
    let group = p.group("ops").await;
    for some in ids.chunks(20) {
        p.add_quietly(&group, some).await;
    }
    held(&p, &ids).await;
    let sorted = [("sortBy", "groups.display"), ("count", "1")];
    let filters =
        ["groups.display eq \"x\"", &format!("{GRANT_STATE} eq \"failed\""), "groups pr or title pr"];
    let queries = filters.iter().map(|filter| vec![("filter", *filter), ("count", "1")]);
    for query in queries.chain([sorted.to_vec()]) {
        p.faults.reset();
        let (status, kind, _) = refused(users_of(&p, &query).await);
        assert_eq!((status, kind), (400, Some("tooMany")), "{query:?}");
        let counts = p.faults.counts();
        assert!(counts.rows_read <= LIMIT, "{query:?}: {counts:?}");
    }
    p.faults.reset();
    let found = users_of(&p, &[("filter", "title pr"), ("count", "1")]).await.unwrap();
    assert_eq!((found.total, p.faults.counts().rows_read), (0, 60));

    // The members of groups, and the rows of an index.
    p.faults.reset();
    let crowd = p.group("crowd").await;
    fill(&p, &crowd, 150).await;
    p.faults.reset();
    assert_eq!(refused(groups_of(&p, &[("filter", "members.type eq \"User\"")]).await).1, Some("tooMany"));
    assert!(p.faults.counts().rows_read <= LIMIT, "{:?}", p.faults.counts());
    p.faults.reset();
    let query = format!("groups.value eq \"{crowd}\"");
    assert_eq!(refused(users_of(&p, &[("filter", &query)]).await).1, Some("tooMany"));
    assert!(p.faults.counts().rows_read <= LIMIT, "{:?}", p.faults.counts());
}

#[tokio::test]
async fn a_scan_answers_where_the_limit_is_just_enough() {
    let p = process().with_list_limits(scan_of(60));
    people(&p, 60).await;
    assert_eq!(users_of(&p, &[("filter", "userName sw \"user\"")]).await.unwrap().total, 60);
    p.user("one more").await;
    assert_eq!(refused(users_of(&p, &[("filter", "userName sw \"user\"")]).await).1, Some("tooMany"));
}

#[tokio::test]
async fn a_scan_is_limited_in_bytes_too() {
    let filter_scan = ReadLimits { bytes_max: 5_000_000, ..ListLimits::default().filter_scan };
    let p = process().with_list_limits(ListLimits { filter_scan, ..ListLimits::default() });
    large_users(&p, 12, 900_000).await;
    p.faults.reset();
    let (status, kind, detail) = refused(users_of(&p, &[("filter", "nickName pr")]).await);
    assert_eq!((status, kind), (400, Some("tooMany")));
    assert!(detail.contains("bytes"), "{detail}");
    assert!(p.faults.counts().rows_read < 12, "{:?}", p.faults.counts());
}

async fn large_users(p: &Process, number: usize, bytes: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..number {
        // The names fall while the ids are random.
        let body = json!({"userName": format!("large{:03}", number - n), "title": "x".repeat(bytes)});
        ids.push(p.create_user(body).await.unwrap().id);
    }
    ids.sort();
    ids
}

#[tokio::test]
async fn large_users_are_listed_whole_and_read_in_parts() {
    let p = process();
    let ids = large_users(&p, 30, 400_000).await;
    let of = |page: &WholePage| {
        page.resources.iter().map(|user| user["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    p.faults.reset();
    assert_eq!(of(&users_of(&p, &[("count", "30")]).await.unwrap()), ids);
    assert!(p.faults.counts().pages > 3, "{:?}", p.faults.counts());
    assert_eq!(of(&users_of(&p, &[("startIndex", "11"), ("count", "15")]).await.unwrap()), ids[10..25]);
    assert_eq!(of(&users_of(&p, &[("filter", "title pr"), ("startIndex", "3")]).await.unwrap()), ids[2..]);
    let sorted =
        users_of(&p, &[("sortBy", "userName"), ("startIndex", "2"), ("attributes", "userName")]).await;
    let names: Vec<_> = sorted.unwrap().resources.iter().map(|user| user["userName"].clone()).collect();
    let expected: Vec<_> = (2..=30).map(|n| json!(format!("large{n:03}"))).collect();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn whether_one_is_in_a_large_group_is_known_without_reading_it() {
    let p = process();
    let ids = people(&p, 2).await;
    let group = p.group("ops").await;
    fill(&p, &group, 5_000).await;
    p.add_quietly(&group, &ids[..1]).await;
    for (user, hits) in [(&ids[0], 1), (&ids[1], 0)] {
        let filter = format!("id eq \"{group}\" and members eq \"{user}\"");
        p.faults.reset();
        let found = groups_of(&p, &[("filter", &filter), ("excludedAttributes", "members")]).await.unwrap();
        assert_eq!(found.total, hits);
        assert!(p.faults.counts().rows_read <= 5, "{:?}", p.faults.counts());
    }
    let filter = format!("displayName eq \"ops\" and members.value ne \"{}\"", ids[0]);
    let query = [("filter", filter.as_str()), ("excludedAttributes", "members")];
    assert_eq!(groups_of(&p, &query).await.unwrap().total, 1, "somebody else is in it too");
}

#[tokio::test]
async fn a_page_of_members_ends_early_but_not_empty() {
    let p = process().with_list_limits(ListLimits { page_members_max: 30, ..ListLimits::default() });
    for n in 0..4 {
        let group = p.group(&format!("g{n}")).await;
        fill(&p, &group, 20).await;
    }
    let large = p.group("large").await;
    fill(&p, &large, 50).await;
    let (mut start, mut seen) = (1, BTreeSet::new());
    while start <= 5 {
        let page = groups_of(&p, &[("startIndex", &start.to_string())]).await.unwrap();
        assert_eq!((page.total, page.resources.is_empty()), (5, false));
        start += page.resources.len();
        let members = |group: &Value| group["members"].as_array().unwrap().len();
        assert!(page.resources.len() == 1 || page.resources.iter().map(members).sum::<usize>() <= 30);
        seen.extend(page.resources.iter().map(|group| group["id"].to_string()));
    }
    assert_eq!(seen.len(), 5);
    let bare = [("excludedAttributes", "members")];
    assert_eq!(groups_of(&p, &bare).await.unwrap().resources.len(), 5);
}

async fn spoil(p: &Process, key: String) {
    let properties = RowFields::row().text("nonsense", "x").done();
    p.store.transact_unjournaled(&[TableWrite::InsertOrReplace { key, properties }]).await.unwrap();
}

#[tokio::test]
async fn a_user_who_cannot_be_read_hurts_no_list_but_is_not_said_to_be_none() {
    let p = process();
    let ids: Vec<String> = people(&p, 20).await.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    let name = p.get_user(&ids[4]).await.unwrap().body["userName"].as_str().unwrap().to_owned();
    spoil(&p, format!("u:{}", ids[4])).await;
    let of = |page: WholePage| {
        page.resources.iter().map(|user| user["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // A page is full, so that no importer stops at it.
    let first = users_of(&p, &[("count", "10")]).await.unwrap();
    assert_eq!(first.total, 20);
    let left: Vec<String> = ids.iter().filter(|id| **id != ids[4]).cloned().collect();
    assert_eq!(of(first), left[..10]);
    assert_eq!(of(users_of(&p, &[("startIndex", "11")]).await.unwrap()), ids[10..]);
    assert_eq!(of(users_of(&p, &[("filter", "active eq true")]).await.unwrap()), left);
    // Who asks for it is not told that there is none.
    let id_filter = format!("id eq \"{}\"", ids[4]);
    for filter in [format!("userName eq \"{name}\""), id_filter] {
        assert!(
            matches!(users_of(&p, &[("filter", &filter)]).await, Err(ServiceError::Bug { .. })),
            "{filter}"
        );
    }
    assert!(matches!(p.get_user(&ids[4]).await, Err(ServiceError::Bug { .. })));
    p.service.delete_user(&caller(), user_id(&ids[4])).await.unwrap();
    assert_eq!(of(users_of(&p, &[]).await.unwrap()), left);
}

#[tokio::test]
async fn a_membership_row_whose_key_names_nobody_and_a_group_that_cannot_be_read_hurt_no_list() {
    let p = process();
    let ids = people(&p, 2).await;
    let (ops, other) = (p.group("ops").await, p.group("other").await);
    p.add_quietly(&ops, &ids).await;
    p.add_quietly(&other, &ids[..1]).await;
    spoil(&p, format!("m:{ops}:nonsense")).await;
    spoil(&p, format!("ug:{}:nonsense", ids[0])).await;
    spoil(&p, format!("g:{other}")).await;
    assert_eq!(p.members(&ops).await.len(), 2);
    let groups = groups_of(&p, &[]).await.unwrap();
    assert_eq!((groups.total, groups.resources.len()), (2, 1));
    let users = users_of(&p, &[]).await.unwrap();
    assert_eq!(users.resources.len(), 2);
    let ana = p.get_user(&ids[0]).await.unwrap().body;
    assert_eq!(values(&ana["groups"]), BTreeSet::from([ops, other]), "membership is known, the name is not");
}

#[tokio::test(start_paused = true)]
async fn lists_take_turns_and_nothing_else_waits_for_them() {
    let p = process().with_list_limits(ListLimits { lists_max: 1, ..ListLimits::default() });
    let ids = people(&p, 20).await;
    let query = |pairs: &[(&str, &str)]| query_of(ResourceType::User, pairs);
    let unread = p.service.list(&caller(), &query(&[])).await.unwrap();
    for heavy in [&[("count", "5")][..], &[("filter", "title pr")]] {
        match p.service.list(&caller(), &query(heavy)).await {
            Err(ServiceError::Busy { retry_after, .. }) => assert_eq!(retry_after.as_secs(), 2),
            other => panic!("{:?}", other.map(|listing| listing.total)),
        }
    }
    let by_name = users_of(&p, &[("filter", "userName eq \"user3@contoso.example\"")]).await.unwrap();
    assert_eq!(by_name.total, 1);
    assert_eq!(users_of(&p, &[("count", "0")]).await.unwrap().total, 20);
    p.set_user(&ids[0], "active", json!(false)).await.unwrap();
    p.service.delete_user(&caller(), user_id(&ids[1])).await.unwrap();
    // Who goes away gives the turn back.
    drop(unread);
    assert_eq!(users_of(&p, &[]).await.unwrap().resources.len(), 19);
}

#[tokio::test]
async fn a_list_that_fails_in_the_middle_says_so() {
    let p = process();
    large_users(&p, 20, 400_000).await;
    // The first headers, the same once more with their groups, and those that come next.
    p.faults.inject(When::page().key("u:").nth(3), Fault::RequestLost);
    let mut listing = p.service.list(&caller(), &query_of(ResourceType::User, &[])).await.unwrap();
    let mut read = 0;
    let end = loop {
        match listing.resources.next().await {
            Ok(Some(_)) => read += 1,
            end => break end,
        }
    };
    assert!(matches!(end, Err(ServiceError::Busy { .. })), "{end:?}");
    assert!((1..20).contains(&read), "{read}");
    assert!(matches!(listing.resources.next().now_or_never(), Some(Ok(None))), "and nothing comes after");
}

#[tokio::test]
async fn a_user_who_is_deleted_while_looked_up_is_neither_shown_nor_counted() {
    let p = process();
    let id = p.user("ana@contoso.example").await;
    let point = p.faults.hold(When::get().key("u:").nth(2), Side::Before);
    let query = [("filter", "userName eq \"ana@contoso.example\"")];
    let (page, ()) = tokio::join!(p.users(&query), async {
        point.reached().await;
        p.service.delete_user(&caller(), user_id(&id)).await.unwrap();
        point.release();
    });
    assert_eq!((page.total, page.resources.len()), (0, 0));
}
