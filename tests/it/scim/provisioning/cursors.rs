//! Walks through lists by cursor (RFC 9865): who is shown, whatever changes meanwhile, and what each page costs.

use super::*;
use crate::support::clock::ManualClock;
use crate::support::fault_injection::Counts;
use azure_backup_scim::scim::PageCursors;
use azure_backup_scim::store::ReadLimits;
use std::collections::BTreeMap;

/// A list that is walked.
#[derive(Clone)]
struct Walk {
    kind: ResourceType,
    query: Vec<(String, String)>,
    label: String,
}

impl Walk {
    fn of(kind: ResourceType, query: &[(&str, &str)]) -> Self {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { kind, query, label: "entra".to_owned() }
    }

    /// Users without their groups.
    fn users(query: &[(&str, &str)]) -> Self {
        Self::of(ResourceType::User, &[&[("excludedAttributes", "groups")], query].concat())
    }

    fn with(&self, name: &str, value: &str) -> Self {
        let mut changed = self.clone();
        changed.query.retain(|(known, _)| known != name);
        changed.query.push((name.to_owned(), value.to_owned()));
        changed
    }

    async fn page(&self, p: &Process, cursor: &str) -> Result<WholePage, ServiceError> {
        let mut pairs = self.query.clone();
        pairs.push(("cursor".to_owned(), cursor.to_owned()));
        let query = ListQuery::from_pairs(self.kind, &pairs).unwrap();
        let caller = ScimCaller::new(self.label.clone());
        whole_page(p.service.list(&caller, &query).await).await
    }

    async fn first(&self, p: &Process) -> WholePage {
        self.page(p, "").await.unwrap()
    }

    /// All pages; `between` runs after each one but the last.
    async fn all(&self, p: &Process, mut between: impl AsyncFnMut(usize)) -> Vec<WholePage> {
        let mut pages = vec![self.first(p).await];
        while let Some(next) = pages.last().unwrap().cursors.next.clone() {
            between(pages.len()).await;
            pages.push(self.page(p, &next).await.unwrap());
            assert!(pages.len() < 1_000, "the walk does not end");
        }
        pages
    }
}

fn ids_of(page: &WholePage) -> Vec<String> {
    page.resources.iter().map(|resource| resource["id"].as_str().unwrap().to_owned()).collect()
}

fn all_ids(pages: &[WholePage]) -> Vec<String> {
    pages.iter().flat_map(ids_of).collect()
}

/// How often each of them was shown.
fn times(pages: &[WholePage]) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    all_ids(pages).into_iter().for_each(|id| *times.entry(id).or_default() += 1);
    times
}

#[track_caller]
fn refused_as(outcome: Result<WholePage, ServiceError>, scim_type: &str) {
    let (status, given, _) = refused(outcome);
    assert_eq!((status, given), (400, Some(scim_type)));
}

fn scans_of(rows_max: usize) -> ListLimits {
    let filter_scan = ReadLimits { rows_max, ..ListLimits::default().filter_scan };
    ListLimits { filter_scan, ..ListLimits::default() }
}

async fn cost<T>(p: &Process, work: impl Future<Output = T>) -> (Counts, T) {
    p.faults.reset();
    let given = work.await;
    (p.faults.counts(), given)
}

#[tokio::test]
async fn a_walk_in_id_order_shows_everyone_who_stays_once_and_each_page_costs_the_same() {
    const USERS: usize = 3_000;
    let p = process();
    let ids = people(&p, USERS).await;
    let walk = Walk::users(&[("count", "200")]);
    // The key of the cursors is read once.
    walk.first(&p).await;
    let (gone, stay) = ids.split_at(600);
    let mut costs = Vec::new();
    let mut pages: Vec<WholePage> = Vec::new();
    let mut cursor = String::new();
    loop {
        let (counts, page) = cost(&p, walk.page(&p, &cursor)).await;
        costs.push((counts.requests, counts.depth));
        let next = page.as_ref().unwrap().cursors.next.clone();
        pages.push(page.unwrap());
        let Some(next) = next else { break };
        cursor = next;
        // Some go who were shown, and some who were not; some come on either side; some change.
        for id in gone.iter().skip(40 * (pages.len() - 1)).take(40) {
            p.service.delete_user(&caller(), user_id(id)).await.unwrap();
        }
        people_named(&p, &format!("new {}", pages.len()), 20).await;
        for id in stay.iter().skip(50 * pages.len()).take(10) {
            p.set_user(id, "title", json!("changed")).await.unwrap();
        }
    }
    let shown = times(&pages);
    assert!(stay.iter().all(|id| shown.get(id) == Some(&1)), "who stays is shown once");
    assert!(shown.values().all(|times| *times == 1), "nobody is shown twice");
    assert!(pages.len() >= 15, "{}", pages.len());
    assert!(pages[..pages.len() - 1].iter().all(|page| page.resources.len() == 200));
    assert_eq!(costs.iter().collect::<BTreeSet<_>>(), BTreeSet::from([&(2, 1)]), "the counters and the page");
    let mut sorted = all_ids(&pages);
    sorted.sort();
    assert_eq!(all_ids(&pages), sorted);
}

async fn people_named(p: &Process, name: &str, number: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 0..number {
        ids.push(p.user(&format!("{name} {n}")).await);
    }
    ids
}

/// Descending, with many equals: everyone who keeps the value is shown once, whoever else changes.
#[tokio::test]
async fn a_sorted_walk_shows_everyone_who_keeps_the_value_once() {
    let p = process();
    let ids = people(&p, 400).await;
    for (n, id) in ids.iter().enumerate() {
        p.set_user(id, "title", json!(format!("title {}", n % 7))).await.unwrap();
    }
    let (moving, stay) = ids.split_at(100);
    for (order, filter) in [("descending", None), ("ascending", Some("title pr"))] {
        let mut query = vec![("sortBy", "title"), ("sortOrder", order), ("count", "30")];
        query.extend(filter.map(|filter| ("filter", filter)));
        let pages = Walk::users(&query)
            .all(&p, async |n| {
                for id in moving.iter().skip(7 * n).take(7) {
                    p.set_user(id, "title", json!(format!("title {}", (n * 5) % 8))).await.unwrap();
                }
                p.user(&format!("{order} {n}")).await;
            })
            .await;
        let shown = times(&pages);
        assert!(stay.iter().all(|id| shown.get(id) == Some(&1)), "{order}");
        let titles: Vec<String> = pages
            .iter()
            .flat_map(|page| &page.resources)
            .filter(|user| stay.contains(&user["id"].as_str().unwrap().to_owned()))
            .map(|user| user["title"].as_str().unwrap().to_owned())
            .collect();
        let mut sorted = titles.clone();
        sorted.sort();
        if order == "descending" {
            sorted.reverse();
        }
        assert_eq!(titles, sorted, "{order}");
    }
}

#[tokio::test]
async fn a_filtered_walk_reads_on_from_where_it_was() {
    let p = process();
    let ids = people(&p, 300).await;
    for id in ids.iter().take(150) {
        p.set_user(id, "title", json!("Operator")).await.unwrap();
    }
    let walk = Walk::users(&[("filter", "title eq \"operator\""), ("count", "40")]);
    let pages = walk
        .all(&p, async |n| {
            // One more matches, one no longer, one leaves.
            p.set_user(&ids[150 + n], "title", json!("operator")).await.unwrap();
            p.set_user(&ids[n], "title", json!("Chief")).await.unwrap();
            p.service.delete_user(&caller(), user_id(&ids[20 + n])).await.unwrap();
        })
        .await;
    let shown = times(&pages);
    assert!(ids[30..150].iter().all(|id| shown.get(id) == Some(&1)), "who matched throughout is shown once");
    assert!(shown.values().all(|times| *times == 1));
    assert!(pages.iter().all(|page| page.total == 150), "the total is that of the first page");
    assert!(!ids[200..].iter().any(|id| shown.contains_key(id)));
    let (counts, _) = cost(&p, walk.first(&p)).await;
    assert_eq!(counts.depth, 1);
}

#[tokio::test]
async fn an_indexed_filter_is_walked_too() {
    let p = process();
    let ids = people(&p, 60).await;
    let group = p.group("ops").await;
    for some in ids.chunks(20) {
        p.add_quietly(&group, some).await;
    }
    let filter = format!("groups.value eq \"{group}\"");
    let pages = Walk::users(&[("filter", &filter), ("count", "25")]).all(&p, async |_| ()).await;
    assert_eq!(pages.iter().map(|page| page.resources.len()).collect::<Vec<_>>(), [25, 25, 10]);
    assert_eq!(all_ids(&pages).into_iter().collect::<BTreeSet<_>>(), ids.into_iter().collect());
}

/// The pages before, one after the other, are those that were read; and from there on it goes forward again.
#[tokio::test]
async fn previous_cursors_lead_back() {
    let p = process();
    let ids = people(&p, 330).await;
    for (n, id) in ids.iter().enumerate() {
        p.set_user(id, "title", json!(format!("{}", n % 5))).await.unwrap();
    }
    for query in [
        &[][..],
        &[("filter", "title pr")],
        &[("sortBy", "title")],
        &[("sortBy", "userName"), ("sortOrder", "descending"), ("filter", "not (title eq \"3\")")],
        &[("filter", &format!("id eq \"{}\" or id eq \"{}\" or id eq \"{}\"", ids[0], ids[1], ids[2]))],
    ] {
        for count in ["1", "50"] {
            if count == "1" && query.is_empty() {
                continue;
            }
            let walk = Walk::users(query).with("count", count);
            let forward = walk.all(&p, async |_| ()).await;
            assert_eq!(forward[0].cursors.previous, None, "{query:?}");
            let mut page = walk.page(&p, "").await.unwrap();
            for expected in forward.iter().skip(1).take(8) {
                page = walk.page(&p, &page.cursors.next.unwrap()).await.unwrap();
                assert_eq!(ids_of(&page), ids_of(expected));
            }
            for expected in forward.iter().take(forward.len().min(9)).rev().skip(1) {
                let last = ids_of(&page);
                page = walk.page(&p, &page.cursors.previous.unwrap()).await.unwrap();
                assert_eq!(ids_of(&page), ids_of(expected), "{query:?} {count}");
                let again = walk.page(&p, page.cursors.next.as_ref().unwrap()).await.unwrap();
                assert_eq!(ids_of(&again), last, "{query:?} {count}");
            }
            assert_eq!(page.cursors.previous, None, "{query:?} {count}");
        }
    }
}

/// What is before is found where the counters say, and not by reading from the beginning.
#[tokio::test]
async fn a_previous_page_costs_two_round_trips() {
    let p = process();
    people(&p, 2_000).await;
    let walk = Walk::users(&[("count", "50")]);
    let mut page = walk.first(&p).await;
    for _ in 0..30 {
        page = walk.page(&p, &page.cursors.next.unwrap()).await.unwrap();
    }
    let (counts, before) = cost(&p, walk.page(&p, &page.cursors.previous.unwrap())).await;
    assert_eq!((before.unwrap().resources.len(), counts.requests, counts.depth), (50, 2, 2), "{counts:?}");
    assert!(counts.rows_read < 256 + 50 + 60, "{counts:?}");
}

/// A counter that says more than there is sends the search further back.
#[tokio::test]
async fn a_previous_page_is_whole_where_counters_are_wrong() {
    let p = process();
    people(&p, 300).await;
    let walk = Walk::users(&[("count", "50")]);
    let pages = walk.all(&p, async |_| ()).await;
    for bucket in 0..=255_u8 {
        let key = format!("cu:{bucket:02x}");
        let properties = RowFields::row().int("n", 40).done();
        p.store.transact_unjournaled(&[TableWrite::InsertOrReplace { key, properties }]).await.unwrap();
    }
    let before = walk.page(&p, pages[5].cursors.previous.as_ref().unwrap()).await.unwrap();
    assert_eq!(ids_of(&before), ids_of(&pages[4]));
}

#[tokio::test]
async fn a_search_is_refused_on_its_first_page_or_never() {
    for query in [&[("filter", "title pr")][..], &[("sortBy", "userName")]] {
        let p = process().with_list_limits(scans_of(60));
        let ids = people(&p, 60).await;
        for id in &ids {
            p.set_user(id, "title", json!("x")).await.unwrap();
        }
        let walk = Walk::users(query).with("count", "20");
        let pages = walk
            .all(&p, async |n| {
                people_named(&p, &format!("later {n}"), 30).await;
            })
            .await;
        let shown = times(&pages);
        assert!(ids.iter().all(|id| shown.get(id) == Some(&1)), "{query:?}");
        refused_as(walk.page(&p, "").await, "tooMany");
        let last = pages.last().unwrap().cursors.previous.as_ref().unwrap();
        assert!(walk.page(&p, last).await.is_ok(), "nor is the way back");
    }
}

#[tokio::test]
async fn a_cursor_is_for_its_query_and_client_only() {
    let p = process();
    people(&p, 10).await;
    p.group("ops").await;
    let walk = Walk::users(&[("filter", "userName sw \"user\""), ("sortBy", "userName"), ("count", "3")]);
    let cursor = walk.first(&p).await.cursors.next.unwrap();
    for other in [
        walk.with("filter", "userName sw \"use\""),
        walk.with("sortBy", "title"),
        walk.with("sortBy", ""),
        walk.with("sortOrder", "descending"),
        Walk { label: "okta".to_owned(), ..walk.clone() },
        Walk::of(ResourceType::Group, &[]),
    ] {
        refused_as(other.page(&p, &cursor).await, "invalidCursor");
    }
    for wrong in ["x", "nonsense!", cursor.get(1..).unwrap(), &"A".repeat(4_000)] {
        refused_as(walk.page(&p, wrong).await, "invalidCursor");
    }
    // The size of the page and what it shows may change.
    for (name, value) in [("count", "5"), ("attributes", "userName")] {
        assert!(!walk.with(name, value).page(&p, &cursor).await.unwrap().resources.is_empty());
    }
    refused_as(Walk::users(&[]).page(&p, &cursor).await, "invalidCursor");
}

#[tokio::test]
async fn a_cursor_is_good_for_an_hour() {
    let clock = ManualClock::at("2026-11-30T12:00:00Z");
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let p = Process::on(&TableEngine::memory(shared.clone()), &shared);
    people(&p, 5).await;
    let walk = Walk::users(&[("count", "2")]);
    let cursor = walk.first(&p).await.cursors.next.unwrap();
    clock.advance(Duration::from_secs(3_599));
    let second = walk.page(&p, &cursor).await.unwrap();
    clock.advance(Duration::from_secs(1));
    refused_as(walk.page(&p, &cursor).await, "expiredCursor");
    assert_eq!(walk.page(&p, &second.cursors.next.unwrap()).await.unwrap().resources.len(), 1);
}

/// Both need the key first at the same moment: one makes it, both take it.
#[tokio::test]
async fn every_process_takes_the_cursors_of_the_others() {
    let (one, two) = two_processes();
    people(&one, 6).await;
    let walk = Walk::users(&[("count", "2")]);
    let held = one.faults.hold(When::transact().key("s:cursor-key"), Side::Before);
    let slower = async { walk.first(&one).await };
    let faster = async {
        held.reached().await;
        let first = walk.first(&two).await;
        held.release();
        first
    };
    let (first_of_one, first_of_two) = futures_util::join!(slower, faster);
    assert!(one.store.get("s:cursor-key").await.unwrap().is_some());
    for (p, first) in [(&two, &first_of_one), (&one, &first_of_two), (&one, &first_of_one)] {
        let next = walk.page(p, first.cursors.next.as_ref().unwrap()).await.unwrap();
        assert_eq!(next.resources.len(), 2);
    }
    // A process that starts later reads it.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let later = Process::on_tables(one.faults.clone(), &clock);
    assert!(walk.page(&later, first_of_one.cursors.next.as_ref().unwrap()).await.is_ok());
}

#[tokio::test]
async fn the_answer_to_the_insert_of_the_key_may_be_lost() {
    let p = process();
    people(&p, 3).await;
    p.faults.inject(When::transact().key("s:cursor-key"), Fault::AnswerLost);
    let walk = Walk::users(&[("count", "2")]);
    let first = walk.first(&p).await;
    assert_eq!(walk.page(&p, &first.cursors.next.unwrap()).await.unwrap().resources.len(), 1);
}

#[tokio::test]
async fn a_page_that_ends_at_a_limit_goes_on_after_it() {
    let p = process().with_list_limits(ListLimits { page_members_max: 30, ..ListLimits::default() });
    for n in 0..7 {
        let group = p.group(&format!("g{n}")).await;
        fill(&p, &group, 20).await;
    }
    for query in [&[][..], &[("filter", "members pr")], &[("sortBy", "displayName")]] {
        let walk = Walk::of(ResourceType::Group, query);
        let pages = walk.all(&p, async |_| ()).await;
        assert_eq!((pages.len(), times(&pages).len()), (7, 7), "{query:?}");
        assert_eq!(all_ids(&pages).len(), 7, "{query:?}");
    }
    // Backwards a page does without its first groups, and the one before has them.
    let p = p.with_list_limits(ListLimits { page_members_max: 50, ..ListLimits::default() });
    for query in [&[][..], &[("filter", "members pr")], &[("sortBy", "displayName")]] {
        let walk = Walk::of(ResourceType::Group, query);
        let pages = walk.all(&p, async |_| ()).await;
        let mut page = walk.page(&p, pages[2].cursors.next.as_ref().unwrap()).await.unwrap();
        let mut back = ids_of(&page);
        let mut sizes = Vec::new();
        while let Some(previous) = &page.cursors.previous {
            page = walk.page(&p, previous).await.unwrap();
            back.splice(0..0, ids_of(&page));
            sizes.push(page.resources.len());
        }
        assert_eq!(back, all_ids(&pages), "{query:?}");
        assert_eq!(sizes, [2, 2, 2], "{query:?}");
    }
    let bare = Walk::of(ResourceType::Group, &[("excludedAttributes", "members")]);
    let only = bare.first(&p).await;
    assert_eq!((only.resources.len(), only.cursors), (7, PageCursors::default()));
}

/// A full page says that it is the last one where it is, also after rows that were left out.
#[tokio::test]
async fn rows_that_cannot_be_read_are_made_up_for() {
    let p = process();
    let ids: Vec<String> = people(&p, 12).await.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    for spoiled in [&ids[1], &ids[3], &ids[11]] {
        let key = format!("u:{spoiled}");
        let properties = RowFields::row().text("nonsense", "x").done();
        p.store.transact_unjournaled(&[TableWrite::InsertOrReplace { key, properties }]).await.unwrap();
    }
    let pages = Walk::users(&[("count", "3")]).all(&p, async |_| ()).await;
    assert_eq!(all_ids(&pages).len(), 9);
    assert!(pages[..3].iter().all(|page| page.resources.len() == 3), "no page is short");
}

#[tokio::test]
async fn pages_of_short_answers_are_whole() {
    let p = process();
    let ids = people(&p, 50).await;
    p.faults.inject(When::page().key("u:").always(), Fault::ShortPage { rows_max: 3 });
    let pages = Walk::users(&[("count", "10")]).all(&p, async |_| ()).await;
    assert_eq!(all_ids(&pages).into_iter().collect::<BTreeSet<_>>(), ids.into_iter().collect());
    assert!(pages.iter().take(5).all(|page| page.resources.len() == 10));
}

#[tokio::test]
async fn a_page_with_groups_costs_two_round_trips_more() {
    let p = process();
    let ids = people(&p, 40).await;
    let group = p.group("ops").await;
    for some in ids.chunks(20) {
        p.add_quietly(&group, some).await;
    }
    let walk = Walk::of(ResourceType::User, &[("count", "10")]);
    let first = walk.first(&p).await;
    let (counts, second) = cost(&p, walk.page(&p, &first.cursors.next.unwrap())).await;
    assert_eq!((second.unwrap().resources.len(), counts.depth), (10, 1 + 2), "{counts:?}");
}
