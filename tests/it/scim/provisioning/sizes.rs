//! What an operation costs beside many other users. `DIRECTORY_USERS` is how many (3,000 if it is not set, and fewer on
//! Azurite).

use std::cell::Cell;

use super::*;
use crate::storage::azurite;
use crate::support::fault_injection::Counts;

const FEW: usize = 1000;
/// On Azurite, which takes longer. The larger number is more than a page has rows.
const FEW_ON_AZURITE: usize = 200;
const MANY_ON_AZURITE: usize = 1100;
const TRANSACTION_ROWS: usize = 100;

fn many_or(users: usize) -> usize {
    std::env::var("DIRECTORY_USERS").ok().and_then(|text| text.parse().ok()).unwrap_or(users)
}

/// So many users, in the order of their ids.
async fn directory(users: usize) -> (Process, Vec<String>) {
    let p = process();
    let mut ids = people(&p, users).await;
    ids.sort();
    (p, ids)
}

/// The same users, on Azurite. Their journal is left out.
async fn on_azurite((p, ids): (Process, Vec<String>)) -> (Process, Vec<String>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let tables = Arc::new(azurite::fresh(&azurite::connection_string()).await);
    let copy = Process::on_tables(tables, &clock);
    let mut pages = p.store.pages(String::new(), "~".to_owned());
    while let Some(rows) = pages.next().await.unwrap() {
        let kept = rows.into_iter().filter(|row| !row.key.starts_with("j:"));
        let write = |row: TableRow| TableWrite::InsertOrReplace { key: row.key, properties: row.properties };
        for part in kept.map(write).collect::<Vec<_>>().chunks(TRANSACTION_ROWS) {
            copy.store.transact_unjournaled(part).await.unwrap();
        }
    }
    (copy, ids)
}

/// The costs of each operation in a directory, by name.
async fn costs((p, ids): (Process, Vec<String>)) -> Vec<(&'static str, Counts)> {
    let users = ids.len();
    let group = p.group("some").await;
    // Everything that a process reads once is read.
    let start = (users / 10 * 9 + 1).to_string();
    let page = [("startIndex", start.as_str()), ("count", "100"), ("excludedAttributes", "groups")];
    let filter = [("filter", "userName eq \"user7@contoso.example\"")];
    assert_eq!(p.users(&page).await.resources.len(), (users / 10).min(100));
    p.add_quietly(&group, &ids[..1]).await;

    let get = fewest(&p, async || drop(p.get_user(&ids[users / 2]).await.unwrap())).await;
    let filtered = fewest(&p, async || assert_eq!(p.users(&filter).await.total, 1)).await;
    let paged = fewest(&p, async || {
        assert_eq!(p.users(&page).await.resources[0]["id"], ids[users / 10 * 9].as_str());
    });
    let paged = paged.await;
    let others = Cell::new(users / 2);
    let added = fewest(&p, async || {
        let other = others.replace(others.get() + 1);
        p.add_quietly(&group, &ids[other..=other]).await;
    });
    let added = added.await;
    let costs = vec![
        ("get by id", get),
        ("filter by userName", filtered),
        ("page at nine tenths", paged),
        ("add member", added),
    ];
    // Calls that meet by chance are one deep or two.
    costs.into_iter().map(|(name, counts)| (name, Counts { depth: 0, rows_read: 0, ..counts })).collect()
}

/// What an operation costs where nothing in the background comes in between.
async fn fewest(p: &Process, operation: impl AsyncFn()) -> Counts {
    let mut fewest: Option<Counts> = None;
    for _ in 0..5 {
        p.faults.reset();
        operation().await;
        let counts = p.faults.counts();
        fewest = Some(fewest.filter(|fewest| fewest.requests <= counts.requests).unwrap_or(counts));
    }
    fewest.unwrap()
}

#[tokio::test]
async fn an_operation_costs_the_same_beside_any_number_of_users() {
    let (few, many) = (costs(directory(FEW).await).await, costs(directory(many_or(3000)).await).await);
    assert_eq!(few, many);
    assert!(few.iter().all(|(_, counts)| counts.requests > 0), "{few:?}");
}

#[tokio::test]
async fn on_azurite_an_operation_costs_the_same_beside_any_number_of_users() {
    let few = costs(on_azurite(directory(FEW_ON_AZURITE).await).await).await;
    let many = costs(on_azurite(directory(many_or(MANY_ON_AZURITE)).await).await).await;
    assert_eq!(few, many);
}
