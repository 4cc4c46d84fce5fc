//! The round trips of design.md section 9 as HTTP requests, before Azurite: none is hidden in the client.

use super::{Process, caller, without};
use crate::storage::azurite;
use crate::support::chaos::Chaos;
use crate::support::requests::{group_id, user_id};
use azure_backup_scim::adapters::clock::SystemClock;
use azure_backup_scim::ports::clock::Clock;
use azure_backup_scim::scim::ResourceType;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

struct Counted {
    process: Process,
    chaos: Chaos,
}

impl Counted {
    async fn start() -> Self {
        let chaos = Chaos::before(&azurite::origin());
        let account = azurite::connection_string_of(azurite::DEVELOPMENT_ACCOUNT, &chaos.url());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let tables = Arc::new(azurite::fresh(&account).await);
        Self { process: Process::on_tables(tables, &clock), chaos }
    }

    /// Round trips that wait for one another, and what the work gave. As many requests are sent as calls were made.
    async fn depth<T>(&self, work: impl Future<Output = T>) -> (usize, T) {
        self.chaos.forget();
        let (depth, given) = self.process.depth(work).await;
        assert_eq!(
            self.chaos.calls().len(),
            self.process.faults.counts().requests,
            "{:?}",
            self.chaos.calls()
        );
        (depth, given)
    }
}

#[tokio::test]
async fn round_trips_are_requests_and_there_is_no_other() {
    let counted = Counted::start().await;
    let p = &counted.process;

    // A create reads the counter of its id's first byte, unless this process remembers it.
    let mut buckets = BTreeSet::new();
    let mut warm = 0;
    while warm < 2 {
        let name = format!("u{}", buckets.len() + warm);
        let (depth, id) = counted.depth(p.user(&name)).await;
        let cold = buckets.insert(id[..2].to_owned());
        assert_eq!(depth, if cold { 2 } else { 1 }, "create");
        warm += usize::from(!cold);
    }

    let (ana, ben) = (p.user("ana").await, p.user("ben").await);
    let bare = without(ResourceType::User, "groups");
    assert_eq!(counted.depth(p.service.get_user(user_id(&ana), &bare)).await.0, 1, "get");
    for (filter, trips) in [("userName eq \"nobody\"", 1), ("userName eq \"ANA\"", 2)] {
        let query = [("filter", filter), ("excludedAttributes", "groups")];
        let (depth, found) = counted.depth(p.users(&query)).await;
        assert_eq!((depth, found.total), (trips, trips - 1), "{filter}");
    }
    assert_eq!(counted.depth(p.set_user(&ana, "title", json!("Boss"))).await.0, 2, "patch");

    let group = p.group("ops").await;
    let bare = without(ResourceType::Group, "members");
    assert_eq!(counted.depth(p.service.get_group(group_id(&group), &bare)).await.0, 1, "get a group");
    let (ana, ben) = ([ana], [ben]);
    assert_eq!(counted.depth(p.add_quietly(&group, &ana)).await.0, 2, "add a member");
    assert_eq!(counted.depth(p.add_quietly(&group, &ana)).await.0, 1, "add one who is in");
    assert_eq!(counted.depth(p.add(&group, &ben)).await.0, 3, "add a member and answer with all");
    assert_eq!(counted.depth(p.service.delete_group(&caller(), group_id(&group))).await.0, 2, "delete");
}
