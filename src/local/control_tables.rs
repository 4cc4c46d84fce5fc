//! The rows of a running `local`, over its control API: every row can be read, and orders can be placed. Nothing else is written.

use crate::app::table_json::{PageAsked, PageJson, RowAsked, RowJson};
use crate::app::{self, OperatorAccess};
use crate::error_chain::ErrorChain;
use crate::local::{ControlClient, ControlClientError};
use crate::ports::tables::{
    ETag, KeyRange, RowPage, TableAnswer, TableError, TableOps, TableRow, TableWrite,
};
use async_trait::async_trait;
use serde_json::Value;
use std::sync::Arc;
use time::OffsetDateTime;

/// The table of a running `local`.
pub struct ControlTables(ControlClient);

impl ControlTables {
    /// What an operator's command uses of the `local` at that control address.
    pub fn access(url: &str) -> Result<OperatorAccess, ControlClientError> {
        Ok(app::local_access(Arc::new(Self(ControlClient::new(url)?))))
    }
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
        let answer: PageJson = self.0.post("rows/get", &asked).await.map_err(|error| table_error(&error))?;
        let TableAnswer { value, date } = answer.into_page();
        Ok(TableAnswer { value: value.rows.into_iter().next(), date })
    }

    async fn page(&self, partition: &str, range: &KeyRange) -> Result<TableAnswer<RowPage>, TableError> {
        let asked = PageAsked::new(partition, range);
        let answer: PageJson = self.0.post("rows/page", &asked).await.map_err(|error| table_error(&error))?;
        Ok(answer.into_page())
    }

    async fn transact(
        &self,
        partition: &str,
        writes: &[TableWrite],
    ) -> Result<TableAnswer<Vec<Option<ETag>>>, TableError> {
        let (app::LOCAL_ORDERS, [TableWrite::Insert { key, properties }]) = (partition, writes) else {
            return Err(TableError::Invalid { rule: "only orders are written from outside".to_owned() });
        };
        let row = RowJson::to_insert(key, properties);
        let _: Value = self.0.post("orders", &row).await.map_err(|error| table_error(&error))?;
        // The command that places an order needs neither.
        Ok(TableAnswer { value: vec![None], date: OffsetDateTime::UNIX_EPOCH })
    }
}
