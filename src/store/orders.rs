//! Orders and what became of them. An order is a row of a table of its own, written by an operator and deleted when it was
//! carried out. Its outcome is the row `o:{order}` of the state, written in the transaction that carries it out.

use crate::id::OpId;
use crate::orders::{Order, OrderError, OrderVerb};
use crate::ports::tables::{
    EtagMatch, KeyRange, PAGE_ROWS_MAX, RowProperties, TableError, TableOps, TableRow, TableWrite,
};
use crate::store::codec::{RowFields, RowReader};
use crate::store::error::{read_error, write_error};
use crate::store::{StateStore, StoreError, keys};
use std::collections::VecDeque;
use std::sync::Arc;
use time::OffsetDateTime;

/// Above every key of an order.
const KEYS_END: &str = "~";

/// The table of orders.
#[derive(Clone)]
pub struct OrderTable {
    tables: Arc<dyn TableOps>,
    partition: String,
}

/// A row of the table of orders.
#[derive(Debug, Clone)]
pub struct PlacedOrder {
    key: String,
    /// `None`: the key is no id of an order.
    pub id: Option<OpId>,
    pub order: Result<Order, OrderError>,
}

impl PlacedOrder {
    /// Whether carrying it out takes long: it waits for an answer of Azure, or reads the whole tenant.
    pub const fn takes_long(&self) -> bool {
        match &self.order {
            Ok(order) => match order.verb {
                OrderVerb::Forget { .. }
                | OrderVerb::Apply { .. }
                | OrderVerb::Recover { .. }
                | OrderVerb::RetryScope { .. }
                | OrderVerb::ReleaseBatch { .. }
                | OrderVerb::RejectBatch { .. }
                | OrderVerb::Erase { .. } => true,
                OrderVerb::Pause
                | OrderVerb::Resume
                | OrderVerb::RecoverBegin
                | OrderVerb::Revoke { .. }
                | OrderVerb::Lift { .. }
                | OrderVerb::Repin { .. }
                | OrderVerb::AcceptIdentity { .. }
                | OrderVerb::RetryPerson { .. }
                | OrderVerb::Drill => false,
            },
            Err(_) => false,
        }
    }
}

impl PlacedOrder {
    /// Whether it begins anew after a loss: the only order that needs no state.
    pub fn begins_anew(&self) -> bool {
        self.order.as_ref().is_ok_and(|order| order.verb == OrderVerb::RecoverBegin)
    }
}

impl OrderTable {
    /// Orders are the rows of one partition.
    pub fn new(tables: Arc<dyn TableOps>, partition: String) -> Self {
        Self { tables, partition }
    }

    /// Places an order: it is carried out once. Placing the same order twice is success.
    pub async fn place(&self, order: &Order) -> Result<(), StoreError> {
        let key = order.id.to_string();
        let properties = RowFields::row()
            .text("verb", order.verb.as_str())
            .text("target", order.verb.target())
            .text("who", order.who.as_str())
            .text("because", order.because.as_str())
            .done();
        match self.insert(key, properties).await {
            Ok(()) | Err(TableError::Exists { .. }) => Ok(()),
            Err(error) => Err(write_error(error, 0)),
        }
    }

    /// Inserts a row as it is.
    pub async fn insert(&self, key: String, properties: RowProperties) -> Result<(), TableError> {
        let insert = TableWrite::Insert { key, properties };
        self.tables.transact(&self.partition, &[insert]).await.map(drop)
    }

    /// The oldest orders that were placed and are not carried out, at most so many.
    pub async fn placed(&self, rows_max: usize) -> Result<Vec<PlacedOrder>, StoreError> {
        let mut placed = Vec::new();
        let mut range = Some(KeyRange {
            from: String::new(),
            to: KEYS_END.to_owned(),
            rows_max: rows_max.min(PAGE_ROWS_MAX),
            continuation: None,
        });
        while placed.len() < rows_max
            && let Some(next) = range.take()
        {
            let page = self.tables.page(&self.partition, &next).await.map_err(read_error)?.value;
            placed.extend(page.rows.iter().map(read_order));
            range =
                page.continuation.map(|continuation| KeyRange { continuation: Some(continuation), ..next });
        }
        placed.truncate(rows_max);
        Ok(placed)
    }

    /// Removes an order whose outcome is stored. One that is gone already is fine.
    pub async fn remove(&self, placed: &PlacedOrder) -> Result<(), StoreError> {
        let write = TableWrite::Delete { key: placed.key.clone(), condition: EtagMatch::Any };
        match self.tables.transact(&self.partition, &[write]).await {
            Ok(_) | Err(TableError::Missing { .. }) => Ok(()),
            Err(error) => Err(write_error(error, 0)),
        }
    }
}

fn read_order(row: &TableRow) -> PlacedOrder {
    let id = OpId::parse(&row.key).ok().filter(|id| id.time().is_some() && id.to_string() == row.key);
    let order = read_placed(row, id).unwrap_or_else(|error| {
        Err(OrderError::Unreadable { detail: error.to_string().chars().take(200).collect() })
    });
    PlacedOrder { key: row.key.clone(), id, order }
}

fn read_placed(row: &TableRow, id: Option<OpId>) -> Result<Result<Order, OrderError>, StoreError> {
    let reader = RowReader::new(row)?;
    let id = id.ok_or_else(|| StoreError::corrupt_key(row))?;
    let verb = OrderVerb::parse(reader.text("verb")?, reader.text_opt("target")?.unwrap_or_default());
    let who = reader.text_opt("who")?.unwrap_or_default();
    let because = reader.text_opt("because")?.unwrap_or_default();
    Ok(verb.and_then(|verb| Order::new(id, who, because, verb)))
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderOutcome {
    pub order: OpId,
    /// The operation that carried it out: what it set off names it.
    pub op: OpId,
    pub verb: String,
    pub target: String,
    pub who: String,
    pub because: String,
    pub at: OffsetDateTime,
    pub is_refused: bool,
    /// What was done, or why it was refused.
    pub detail: String,
}

impl OrderOutcome {
    /// The row, in the transaction that carries the order out.
    pub fn insert(&self) -> TableWrite {
        let properties = RowFields::row()
            .text("op", self.op.to_string())
            .text("verb", self.verb.as_str())
            .text("target", self.target.as_str())
            .text("who", self.who.as_str())
            .text("because", self.because.as_str())
            .time("at", self.at)
            .flag("refused", self.is_refused)
            .text("detail", self.detail.as_str())
            .done();
        TableWrite::Insert { key: keys::order(self.order), properties }
    }

    fn read(row: &TableRow) -> Result<Self, StoreError> {
        let reader = RowReader::new(row)?;
        let text = |name| Ok::<_, StoreError>(reader.text_opt(name)?.unwrap_or_default().to_owned());
        Ok(Self {
            order: OpId::parse(keys::last_part(&row.key)).map_err(|_| StoreError::corrupt_key(row))?,
            op: reader.parsed("op", OpId::parse)?,
            verb: text("verb")?,
            target: text("target")?,
            who: text("who")?,
            because: text("because")?,
            at: reader.time("at")?,
            is_refused: reader.flag("refused")?,
            detail: text("detail")?,
        })
    }
}

impl StateStore {
    /// Whether an order was carried out or refused.
    pub async fn is_order_done(&self, order: OpId) -> Result<bool, StoreError> {
        Ok(self.get(&keys::order(order)).await?.is_some())
    }

    /// What became of an order, if it is known yet.
    pub async fn order_outcome(&self, order: OpId) -> Result<Option<OrderOutcome>, StoreError> {
        let Some(row) = self.get(&keys::order(order)).await? else { return Ok(None) };
        OrderOutcome::read(&row).map(Some)
    }

    /// The outcomes of the newest orders, at most `last`, oldest first. One that cannot be read is logged and left out.
    pub async fn order_outcomes(&self, last: usize) -> Result<Vec<OrderOutcome>, StoreError> {
        let (from, to) = keys::range_of("o:");
        let mut newest = VecDeque::new();
        let mut pages = self.pages(from, to);
        while let Some(rows) = pages.next().await? {
            newest.extend(rows.iter().filter_map(|row| self.readable(row, OrderOutcome::read(row))));
            newest.drain(..newest.len().saturating_sub(last));
        }
        Ok(newest.into())
    }
}
