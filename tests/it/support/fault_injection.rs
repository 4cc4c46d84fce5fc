//! Faults around any table, for tests: calls are counted, and chosen ones are lost, slowed, held or never answered.
//!
//! ```ignore
//! let faults = Faults::new(Arc::new(TableEngine::memory(clock)));
//! faults.inject(When::transact().key("j:").nth(2), Fault::AnswerLost);
//! let point = faults.hold(When::get(), Side::Before);
//! // … start the service on `faults` …
//! point.reached().await;
//! point.release();
//! assert_eq!(faults.counts().depth, 2);
//! ```
//!
//! Every order counts the calls it matches from the moment it is given. Several orders may fall on one call: it is
//! held first, then fails.

use async_trait::async_trait;
use azure_backup_scim::ports::tables::{
    ETag, KeyRange, PageContinuation, RowPage, TableAnswer, TableError, TableOps, TableRow, TableWrite,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Marks a continuation that was made here; what follows is the caller's own, if it had one.
const EMPTY_PAGE: &str = "empty-page!";

/// The calls of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Get,
    RowPage,
    Transact,
}

/// What was asked since the last reset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All calls.
    pub requests: usize,
    /// Round trips that waited for one another: calls that started while no other was under way.
    pub depth: usize,
    pub gets: usize,
    pub pages: usize,
    pub transactions: usize,
    /// Writes in all transactions, whatever came of them.
    pub writes: usize,
    /// Rows that were answered.
    pub rows_read: usize,
}

/// One crash point in so many is tried: every one where the variable `CRASH_STRIDE` is 1.
pub fn crash_stride(stride: usize) -> usize {
    std::env::var("CRASH_STRIDE").map_or(stride, |text| text.parse().unwrap())
}

impl Counts {
    /// Each transaction, and one in so many calls of any kind: every one where `CRASH_STRIDE` is 1.
    pub fn moments(self, stride: usize) -> Vec<(String, When)> {
        let stride = crash_stride(stride);
        let writes = (1..=self.transactions).map(|n| (format!("transaction {n}"), When::transact().nth(n)));
        let calls = (1..=self.requests).step_by(stride).map(|n| (format!("call {n}"), When::any().nth(n)));
        writes.chain(calls).collect()
    }

    /// Where a process dies: after each transaction, and before one in so many calls of any kind. What one call leaves is what
    /// the next one finds, unless Azure is called in between: both sides of every call are tried where `CRASH_STRIDE` is 1.
    pub fn crashes(self, stride: usize) -> Vec<(String, When, Side)> {
        let is_each = crash_stride(stride) == 1;
        let sides = |n: usize| match (is_each, n > self.transactions) {
            (true, _) => &[Side::Before, Side::After][..],
            (false, false) => &[Side::After],
            (false, true) => &[Side::Before],
        };
        let moments = self.moments(stride).into_iter().zip(1..);
        moments
            .flat_map(|((call, when), n)| {
                sides(n).iter().map(move |side| (format!("{side:?} {call}"), when.clone(), *side))
            })
            .collect()
    }

    /// The same of calls of any kind alone, spread evenly, about so many of them.
    pub fn spread_crashes(self, number: usize) -> Vec<(String, When, Side)> {
        Self { transactions: 0, ..self }.crashes(self.requests.div_ceil(number))
    }
}

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Not carried out; the caller cannot know.
    RequestLost,
    /// Carried out; the caller cannot know.
    AnswerLost,
    /// Not carried out, and the caller gets an error.
    Throttled { retry_after: Duration },
    /// A transaction is not carried out, and is said to have met that row as one that is missing.
    Missing { key: String },
    /// A page has at most so many rows, with a continuation if there are more.
    ShortPage { rows_max: usize },
    /// A page has no rows and a continuation.
    EmptyPage,
}

/// Before a call is carried out, or after that and before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Before,
    After,
}

/// Which calls an order is for. Unless [`nth`](When::nth) or [`always`](When::always) say otherwise, the next one.
#[derive(Debug, Clone)]
pub struct When {
    kind: Option<Kind>,
    key_prefix: String,
    /// Matching calls that pass unharmed first.
    skip: usize,
    /// Matching calls that are met after that.
    times: usize,
}

impl When {
    /// Any call.
    pub fn any() -> Self {
        Self { kind: None, key_prefix: String::new(), skip: 0, times: 1 }
    }

    pub fn get() -> Self {
        Self { kind: Some(Kind::Get), ..Self::any() }
    }

    pub fn page() -> Self {
        Self { kind: Some(Kind::RowPage), ..Self::any() }
    }

    pub fn transact() -> Self {
        Self { kind: Some(Kind::Transact), ..Self::any() }
    }

    /// Only calls for a row whose key begins so: the row of a get, the lower bound of a page, any row of a
    /// transaction.
    pub fn key(self, prefix: &str) -> Self {
        Self { key_prefix: prefix.to_owned(), ..self }
    }

    /// The `n`th matching call from now on, the next being the first.
    pub fn nth(self, n: usize) -> Self {
        Self { skip: n.saturating_sub(1), ..self }
    }

    /// Not one matching call but `times` in a row.
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// Not one matching call but all.
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// Counts a call, and tells whether it is one that is meant.
    fn meets(&mut self, kind: Kind, keys: &[&str]) -> bool {
        let matches = self.kind.is_none_or(|wanted| wanted == kind)
            && keys.iter().any(|key| key.starts_with(&self.key_prefix));
        if !matches || self.times == 0 {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}

/// A place that a call comes to. Clones are the same place.
#[derive(Debug, Clone)]
pub struct Point {
    reached: Arc<Semaphore>,
    released: Arc<Semaphore>,
}

impl Point {
    fn new() -> Self {
        Self { reached: Arc::new(Semaphore::new(0)), released: Arc::new(Semaphore::new(0)) }
    }

    /// Waits until a call is there. One that came earlier counts; each is waited for once.
    pub async fn reached(&self) {
        acquire(&self.reached).await;
    }

    /// Lets one call go on that is held here, or will be.
    pub fn release(&self) {
        self.released.add_permits(1);
    }

    fn arrive(&self) {
        self.reached.add_permits(1);
    }

    async fn wait(&self) {
        acquire(&self.released).await;
    }
}

/// The semaphores are never closed, so there is always a permit in the end.
async fn acquire(semaphore: &Semaphore) {
    if let Ok(permit) = semaphore.acquire().await {
        permit.forget();
    }
}

#[derive(Debug, Clone)]
enum Order {
    Fail(Fault),
    Hold(Side, Point),
    Crash(Side, Point),
    Delay(Point),
}

#[derive(Default)]
struct State {
    counts: Counts,
    under_way: usize,
    orders: Vec<(When, Order)>,
    crashed: bool,
}

/// A table around a table. Two services on one table that fail apart each have their own.
pub struct Faults {
    inner: Arc<dyn TableOps>,
    state: Mutex<State>,
}

impl Faults {
    pub fn new(inner: Arc<dyn TableOps>) -> Arc<Self> {
        Arc::new(Self { inner, state: Mutex::default() })
    }

    /// What was asked since the last reset.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Counts from zero again. Orders stay.
    pub fn reset(&self) {
        self.state().counts = Counts::default();
    }

    /// Forgets all orders. Calls that are held or crashed already stay so.
    pub fn clear(&self) {
        self.state().orders.clear();
    }

    /// Lets the calls fail that are meant.
    pub fn inject(&self, when: When, fault: Fault) {
        self.order(when, Order::Fail(fault));
    }

    /// Holds each call that is meant, until the point is released.
    pub fn hold(&self, when: When, side: Side) -> Point {
        let point = Point::new();
        self.order(when, Order::Hold(side, point.clone()));
        point
    }

    /// From the call that is meant on, no call is answered, and none that starts is carried out: the test waits for
    /// the point and drops the service. `side` is whether that one call is still carried out.
    pub fn crash(&self, when: When, side: Side) -> Point {
        let point = Point::new();
        self.order(when, Order::Crash(side, point.clone()));
        point
    }

    /// A transaction that is meant outlives its caller, who gets no answer to rely on: it is carried out when the
    /// point is released. The point is reached when it is sent, and once more when it was carried out.
    pub fn delay(&self, when: When) -> Point {
        let point = Point::new();
        self.order(when, Order::Delay(point.clone()));
        point
    }

    fn order(&self, when: When, order: Order) {
        self.state().orders.push((when, order));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and finds what is to happen to it.
    fn begin(&self, kind: Kind, keys: &[&str]) -> Call<'_> {
        let mut state = self.state();
        state.counts.requests += 1;
        match kind {
            Kind::Get => state.counts.gets += 1,
            Kind::RowPage => state.counts.pages += 1,
            Kind::Transact => {
                state.counts.transactions += 1;
                state.counts.writes += keys.len();
            }
        }
        if state.under_way == 0 {
            state.counts.depth += 1;
        }
        state.under_way += 1;
        let met =
            state.orders.iter_mut().filter_map(|(when, order)| when.meets(kind, keys).then(|| order.clone()));
        let orders = met.collect();
        state.orders.retain(|(when, _)| when.times > 0);
        Call { faults: self, orders }
    }
}

/// One call under way, until it is answered or dropped.
struct Call<'a> {
    faults: &'a Faults,
    orders: Vec<Order>,
}

impl Call<'_> {
    /// Gives calls that were made together the time to start together, then holds, crashes and loses the request.
    async fn before(&self) -> Result<(), TableError> {
        tokio::task::yield_now().await;
        self.stop_at(Side::Before).await;
        for fault in self.faults() {
            match fault {
                Fault::RequestLost => return Err(lost("request")),
                Fault::Throttled { retry_after } => {
                    return Err(TableError::Throttled { retry_after: *retry_after });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Holds, crashes and loses the answer, a refusal too.
    async fn after<T>(
        &self,
        answered: Result<TableAnswer<T>, TableError>,
        rows: impl Fn(&T) -> usize,
    ) -> Result<TableAnswer<T>, TableError> {
        self.stop_at(Side::After).await;
        if self.faults().any(|fault| *fault == Fault::AnswerLost) {
            return Err(lost("answer"));
        }
        if let Ok(answer) = &answered {
            self.faults.state().counts.rows_read += rows(&answer.value);
        }
        answered
    }

    async fn stop_at(&self, side: Side) {
        for order in &self.orders {
            match order {
                Order::Hold(at, point) if *at == side => {
                    point.arrive();
                    point.wait().await;
                }
                Order::Crash(at, point) if *at == side => {
                    self.faults.state().crashed = true;
                    point.arrive();
                }
                _ => {}
            }
        }
        if self.faults.state().crashed {
            std::future::pending::<()>().await;
        }
    }

    fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.orders.iter().filter_map(|order| match order {
            Order::Fail(fault) => Some(fault),
            _ => None,
        })
    }

    fn delayed(&self) -> Option<Point> {
        self.orders.iter().find_map(|order| match order {
            Order::Delay(point) => Some(point.clone()),
            _ => None,
        })
    }

    /// The place of the row that is said to be missing.
    fn missing(&self, keys: &[&str]) -> Option<usize> {
        self.faults().find_map(|fault| match fault {
            Fault::Missing { key: missing } => keys.iter().position(|key| key == missing),
            _ => None,
        })
    }

    /// The rows that a page may have.
    fn rows_max(&self, wanted: usize) -> usize {
        self.faults().fold(wanted, |rows_max, fault| match fault {
            Fault::ShortPage { rows_max: short } => rows_max.min(*short),
            _ => rows_max,
        })
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.faults.state().under_way -= 1;
    }
}

/// A transaction on its way after its caller gave up.
struct Late {
    inner: Arc<dyn TableOps>,
    point: Point,
    partition: String,
}

impl Late {
    async fn transact(self, writes: Vec<TableWrite>) {
        self.point.arrive();
        self.point.wait().await;
        // The receiver is gone.
        let _ = self.inner.transact(&self.partition, &writes).await;
        self.point.arrive();
    }
}

fn lost(what: &str) -> TableError {
    TableError::Unknown { detail: format!("the {what} was lost, as the test ordered") }
}

/// The caller's continuation without our mark: an empty page before it moved nothing on.
fn unmarked(continuation: Option<&PageContinuation>) -> Option<PageContinuation> {
    let PageContinuation(text) = continuation?;
    match text.strip_prefix(EMPTY_PAGE) {
        Some("") => None,
        Some(own) => Some(PageContinuation(own.to_owned())),
        None => Some(PageContinuation(text.clone())),
    }
}

fn empty_page(own: Option<PageContinuation>) -> RowPage {
    let own = own.map(|PageContinuation(text)| text).unwrap_or_default();
    RowPage { rows: Vec::new(), continuation: Some(PageContinuation(format!("{EMPTY_PAGE}{own}"))) }
}

#[async_trait]
impl TableOps for Faults {
    async fn get(&self, partition: &str, key: &str) -> Result<TableAnswer<Option<TableRow>>, TableError> {
        let call = self.begin(Kind::Get, &[key]);
        call.before().await?;
        let answered = self.inner.get(partition, key).await;
        call.after(answered, |row| usize::from(row.is_some())).await
    }

    async fn page(&self, partition: &str, range: &KeyRange) -> Result<TableAnswer<RowPage>, TableError> {
        let call = self.begin(Kind::RowPage, &[&range.from]);
        call.before().await?;
        let own = unmarked(range.continuation.as_ref());
        let sent =
            KeyRange { rows_max: call.rows_max(range.rows_max), continuation: own.clone(), ..range.clone() };
        let mut answered = self.inner.page(partition, &sent).await;
        if let (Ok(answer), true) = (&mut answered, call.faults().any(|fault| *fault == Fault::EmptyPage)) {
            answer.value = empty_page(own);
        }
        call.after(answered, |page| page.rows.len()).await
    }

    async fn transact(
        &self,
        partition: &str,
        writes: &[TableWrite],
    ) -> Result<TableAnswer<Vec<Option<ETag>>>, TableError> {
        let keys: Vec<_> = writes.iter().map(TableWrite::key).collect();
        let call = self.begin(Kind::Transact, &keys);
        call.before().await?;
        if let Some(point) = call.delayed() {
            let late = Late { inner: Arc::clone(&self.inner), point, partition: partition.to_owned() };
            tokio::spawn(late.transact(writes.to_vec()));
            return Err(lost("caller"));
        }
        if let Some(index) = call.missing(&keys) {
            return Err(TableError::Missing { index });
        }
        let answered = self.inner.transact(partition, writes).await;
        call.after(answered, |_| 0).await
    }
}
