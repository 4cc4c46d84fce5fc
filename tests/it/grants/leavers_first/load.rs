//! Tables that take time on the clock of the test, and rows of unknown people, by the thousand.

use super::{TICKS_ONLY, at, crowd, engine, join_all, leave_all, rows, subscriptions, vault};
use crate::support::clock::ManualClock;
use crate::support::harness::World;
use async_trait::async_trait;
use azure_backup_scim::ports::tables::{
    ETag, EtagMatch, KeyRange, PropertyValue, RowPage, RowProperties, TableAnswer, TableError, TableOps,
    TableRow, TableWrite,
};
use azure_backup_scim::simulator::{CallMethod, FaultAction};
use azure_backup_scim::store::codec::RowFields;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

/// How long calls take.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    call: Duration,
    /// A page of the whole ledger, and how many rows it has at most.
    ledger_page: Duration,
    ledger_rows: Option<usize>,
}

/// Tables whose calls move the clock.
pub struct Slow {
    inner: Arc<dyn TableOps>,
    clock: ManualClock,
    pace: Mutex<Pace>,
}

impl Slow {
    pub fn around(inner: Arc<dyn TableOps>, clock: ManualClock) -> Self {
        Self { inner, clock, pace: Mutex::default() }
    }

    pub fn each_call_takes(&self, call: Duration) {
        self.pace.lock().unwrap().call = call;
    }

    pub fn pages_of_the_ledger(&self, rows: usize) {
        self.pace.lock().unwrap().ledger_rows = Some(rows);
    }

    pub fn each_page_of_the_ledger_takes(&self, page: Duration) {
        self.pace.lock().unwrap().ledger_page = page;
    }

    pub fn clear(&self) {
        *self.pace.lock().unwrap() = Pace::default();
    }

    fn pace(&self) -> Pace {
        *self.pace.lock().unwrap()
    }
}

#[async_trait]
impl TableOps for Slow {
    async fn get(&self, partition: &str, key: &str) -> Result<TableAnswer<Option<TableRow>>, TableError> {
        self.clock.advance(self.pace().call);
        self.inner.get(partition, key).await
    }

    async fn page(&self, partition: &str, range: &KeyRange) -> Result<TableAnswer<RowPage>, TableError> {
        let pace = self.pace();
        let mut range = range.clone();
        self.clock.advance(pace.call);
        if range.to == "l;" {
            self.clock.advance(pace.ledger_page);
            range.rows_max = range.rows_max.min(pace.ledger_rows.unwrap_or(usize::MAX));
        }
        self.inner.page(partition, &range).await
    }

    async fn transact(
        &self,
        partition: &str,
        writes: &[TableWrite],
    ) -> Result<TableAnswer<Vec<Option<ETag>>>, TableError> {
        self.clock.advance(self.pace().call);
        self.inner.transact(partition, writes).await
    }
}

/// Writes as many rows as there are.
fn write(world: &World, writes: &[TableWrite]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for part in writes.chunks(100) {
        runtime.block_on(world.faults.transact("default", part)).unwrap();
    }
}

pub fn remove(world: &World, rows: &[TableRow]) {
    let gone = |row: &TableRow| TableWrite::Delete { key: row.key.clone(), condition: EtagMatch::Any };
    write(world, &rows.iter().map(gone).collect::<Vec<_>>());
}

/// One of the rows is of a later release, the others say nothing that can be understood.
pub fn spoil(world: &World, rows: &[TableRow]) {
    let spoilt = |(n, row): (usize, &TableRow)| {
        let properties =
            if n == 0 { RowFields::some().int("v", 99) } else { RowFields::row().int("wished", 1) };
        TableWrite::InsertOrReplace { key: row.key.clone(), properties: properties.done() }
    };
    write(world, &rows.iter().enumerate().map(spoilt).collect::<Vec<_>>());
}

/// The request of a change that only gives.
fn request() -> RowProperties {
    let op = Uuid::new_v4().to_string();
    RowFields::row().text("cause", "request").text("actor", "entra").text("op", op).done()
}

fn insert(key: String) -> TableWrite {
    TableWrite::Insert { key, properties: request() }
}

/// Half of them have a request of now, and half of them one of later.
pub fn requests_of_strangers(world: &World, number: usize) {
    let key = |n: usize| match n % 2 {
        0 => format!("d:{}", Uuid::new_v4()),
        _ => format!("w:20991231T235959Z:{}", Uuid::new_v4()),
    };
    write(world, &(0..number).map(|n| insert(key(n))).collect::<Vec<_>>());
}

pub fn requests_that_are_due(world: &World, number: usize) {
    let key = |n: usize| format!("w:20260301T09{:02}00Z:{}", n % 60, Uuid::new_v4());
    write(world, &(0..number).map(|n| insert(key(n))).collect::<Vec<_>>());
}

/// Rows of strangers who hold nothing, like that one.
pub fn ledger_of_strangers(world: &World, like: &TableRow, number: usize) {
    let mut properties = like.properties.clone();
    properties.insert("state".to_owned(), PropertyValue::Text("gone".to_owned()));
    let row = || TableWrite::Insert {
        key: format!("l:{}:{}", Uuid::new_v4(), Uuid::new_v4()),
        properties: properties.clone(),
    };
    let mut left = number;
    while left > 0 {
        let part = left.min(10_000);
        write(world, &(0..part).map(|_| row()).collect::<Vec<_>>());
        left -= part;
    }
}

/// One hanging and one throttled subscription with a crowd of leavers each, and a leaver elsewhere. Each call to the tables
/// takes 5 ms.
pub fn large_installation(ledger: usize, requests: usize) {
    let mut slow = None;
    let (_simulator, world) = subscriptions(3, |clock| {
        let tables = Arc::new(Slow::around(engine(clock.clone()), clock));
        slow = Some(tables.clone());
        tables
    });
    let slow = slow.unwrap();
    let node = world.start_with(TICKS_ONLY);
    let groups: Vec<String> = (1..=3).map(|n| node.group(&format!("g{n}"))).collect();
    let hangs = crowd(&node, "h", 100);
    let throttled = crowd(&node, "t", 100);
    let eve = node.provision("eve");
    join_all(&node, &groups[1], &hangs);
    join_all(&node, &groups[2], &throttled);
    node.join(&groups[0], &[&eve]);
    node.settle();
    ledger_of_strangers(&world, &rows(&node, &format!("l:{}:", eve.id))[0], ledger);
    requests_of_strangers(&world, requests);
    world.pass(3 * 3600);
    world.azure().add_rule(at(&vault(2), FaultAction::Hold, CallMethod::Delete)).unwrap();
    let wait = FaultAction::Throttle { retry_after_seconds: Some(600) };
    world.azure().add_rule(at(&vault(3), wait, CallMethod::Delete)).unwrap();
    leave_all(&node, &groups[1], &hangs);
    leave_all(&node, &groups[2], &throttled);
    world.pass(1);
    node.leave(&groups[0], &[&eve]);
    slow.each_call_takes(Duration::from_millis(5));
    for number in 1..=5 {
        world.faults.reset();
        world.azure().clear_calls();
        let begun = std::time::Instant::now();
        node.run(node.service.tick.run()).unwrap();
        let held = world.holds(&eve, azure_backup_scim::rbac::BackupRole::Operator, &vault(1));
        let place = |key: &str| node.run(node.service.store.get(key)).unwrap().map(|row| row.properties);
        println!(
            "tick {number}: {:?}, eve holds {held}, {:?}, {} calls to azure\n  s:tick {:?}\n  s:sweep {:?}",
            begun.elapsed(),
            world.faults.counts(),
            world.azure().calls().len(),
            place("s:tick"),
            place("s:sweep").map(|mut row| row.remove("after")),
        );
        world.pass(15);
    }
    world.assert_holds_nothing(&eve);
}
