//! A table on another clock: each answer carries the time of that clock instead of the service's own.
//!
//! Where Azure is simulated its clock can be moved, and times in rows are compared with times of Azure. A table service
//! that runs on real time would know nothing of that.

use crate::ports::clock::Clock;
use crate::ports::tables::{
    ETag, KeyRange, RowPage, TableAnswer, TableError, TableOps, TableRow, TableWrite,
};
use async_trait::async_trait;
use std::sync::Arc;

/// Any table, dated by a clock of ours.
pub struct WithClock {
    tables: Arc<dyn TableOps>,
    clock: Arc<dyn Clock>,
}

impl WithClock {
    /// All who share the rows must share the clock.
    pub fn new(tables: Arc<dyn TableOps>, clock: Arc<dyn Clock>) -> Self {
        Self { tables, clock }
    }

    fn date<T>(&self, answer: TableAnswer<T>) -> TableAnswer<T> {
        TableAnswer { date: self.clock.now(), ..answer }
    }
}

#[async_trait]
impl TableOps for WithClock {
    async fn get(&self, partition: &str, key: &str) -> Result<TableAnswer<Option<TableRow>>, TableError> {
        self.tables.get(partition, key).await.map(|answer| self.date(answer))
    }

    async fn page(&self, partition: &str, range: &KeyRange) -> Result<TableAnswer<RowPage>, TableError> {
        self.tables.page(partition, range).await.map(|answer| self.date(answer))
    }

    async fn key_page(&self, partition: &str, range: &KeyRange) -> Result<TableAnswer<RowPage>, TableError> {
        self.tables.key_page(partition, range).await.map(|answer| self.date(answer))
    }

    async fn transact(
        &self,
        partition: &str,
        writes: &[TableWrite],
    ) -> Result<TableAnswer<Vec<Option<ETag>>>, TableError> {
        self.tables.transact(partition, writes).await.map(|answer| self.date(answer))
    }
}
