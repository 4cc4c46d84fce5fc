//! The rows of a running `local`, over its control API: every row can be read, and orders can be placed. Nothing else is written.

use crate::adapters::control_client::{ControlClient, ControlClientError};
use crate::error_chain::ErrorChain;
use crate::ports::tables::json::{PageAsked, PageJson, RowAsked, RowJson};
use crate::ports::tables::{
    ETag, KeyRange, RowPage, TableAnswer, TableError, TableOps, TableRow, TableWrite,
};
use async_trait::async_trait;
use serde_json::Value;
use time::OffsetDateTime;

/// The table of a running `local`.
pub struct ControlTables {
    client: ControlClient,
    /// The partition of the orders.
    orders: &'static str,
}

impl ControlTables {
    /// Rows of any partition are read. Orders are placed in that one.
    pub fn new(client: ControlClient, orders: &'static str) -> Self {
        Self { client, orders }
    }
}

fn not_an_order() -> TableError {
    TableError::Invalid { rule: "only orders are written from outside".to_owned() }
}

fn table_error(error: &ControlClientError) -> TableError {
    match error {
        ControlClientError::Answer { status: 409 } => TableError::Exists { index: 0 },
        error => TableError::Unknown { detail: ErrorChain(error).to_string() },
    }
}

#[async_trait]
impl TableOps for ControlTables {
    async fn get(&self, partition: &str, key: &str) -> Result<TableAnswer<Option<TableRow>>, TableError> {
        let asked = RowAsked { partition: partition.to_owned(), key: key.to_owned() };
        let answer: PageJson =
            self.client.post("rows/get", &asked).await.map_err(|error| table_error(&error))?;
        let TableAnswer { value, date } = answer.into_page();
        Ok(TableAnswer { value: value.rows.into_iter().next(), date })
    }

    async fn page(&self, partition: &str, range: &KeyRange) -> Result<TableAnswer<RowPage>, TableError> {
        let asked = PageAsked::new(partition, range);
        let answer: PageJson =
            self.client.post("rows/page", &asked).await.map_err(|error| table_error(&error))?;
        Ok(answer.into_page())
    }

    async fn transact(
        &self,
        partition: &str,
        writes: &[TableWrite],
    ) -> Result<TableAnswer<Vec<Option<ETag>>>, TableError> {
        let [TableWrite::Insert { key, properties }] = writes else { return Err(not_an_order()) };
        if partition != self.orders {
            return Err(not_an_order());
        }
        let row = RowJson::to_insert(key, properties);
        let _: Value = self.client.post("orders", &row).await.map_err(|error| table_error(&error))?;
        // The command that places an order needs neither.
        Ok(TableAnswer { value: vec![None], date: OffsetDateTime::UNIX_EPOCH })
    }
}
