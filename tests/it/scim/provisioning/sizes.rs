//! What an operation costs beside many other users. `DIRECTORY_USERS` is how many (3,000 if it is not set).

use super::*;
use crate::support::fault_injection::Counts;

const FEW: usize = 1000;

fn many() -> usize {
    std::env::var("DIRECTORY_USERS").ok().and_then(|text| text.parse().ok()).unwrap_or(3000)
}

/// The costs of each operation in a directory of so many users, by name.
async fn costs(users: usize) -> Vec<(&'static str, Counts)> {
    let p = process();
    let mut ids = people(&p, users).await;
    ids.sort();
    let group = p.group("some").await;
    // Everything that a process reads once is read.
    let start = (users / 10 * 9 + 1).to_string();
    let page = [("startIndex", start.as_str()), ("count", "100"), ("excludedAttributes", "groups")];
    let filter = [("filter", "userName eq \"user7@contoso.example\"")];
    assert_eq!(p.users(&page).await.resources.len(), (users / 10).min(100));
    p.add_quietly(&group, &ids[..1]).await;

    let mut costs = Vec::new();
    let mut note = |name, counts: Counts| {
        // Calls that meet by chance are one deep or two.
        costs.push((name, Counts { depth: 0, rows_read: 0, ..counts }));
        p.faults.reset();
    };
    p.faults.reset();
    p.get_user(&ids[users / 2]).await.unwrap();
    note("get by id", p.faults.counts());
    assert_eq!(p.users(&filter).await.total, 1);
    note("filter by userName", p.faults.counts());
    let found = p.users(&page).await;
    note("page at nine tenths", p.faults.counts());
    assert_eq!(found.resources[0]["id"], ids[users / 10 * 9].as_str());
    p.add_quietly(&group, &ids[users / 2..=users / 2]).await;
    note("add member", p.faults.counts());
    costs
}

#[tokio::test]
async fn an_operation_costs_the_same_beside_any_number_of_users() {
    let (few, many) = (costs(FEW).await, costs(many()).await);
    assert_eq!(few, many);
    assert!(few.iter().all(|(_, counts)| counts.requests > 0), "{few:?}");
}
