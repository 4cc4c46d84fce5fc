//! `local` on a table service: Azurite, or a storage account.
//!
//! Times in rows are times of Azure, and in `local` Azure's clock is the simulated one, which can be moved. So the answers
//! of the table service are dated by that clock; the service's own clock only dates our signatures. Two `local` on one
//! table agree on the time unless the clock of one of them is moved alone.

use crate::app::{self, ConnectionString, ConnectionStringError, RandomIds, SystemClock};
use crate::app::{TablesAccount, TablesClientError};
use crate::engine::with_clock::WithClock;
use crate::ports::clock::Clock;
use crate::ports::tables::{TableError, TableOps};
use std::sync::Arc;

/// The table that is used, and made when it is missing. Not that of `serve`: what a simulated Azure answers would be written
/// into the books of a real one.
const TABLE: &str = "scimlocal";

/// Why the table service cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableServiceError {
    #[error("the connection string is not in order")]
    Connection(#[from] ConnectionStringError),
    #[error("the table service cannot be used with these settings")]
    Client(#[from] TablesClientError),
    #[error("the table {TABLE} at {endpoint} cannot be reached or made")]
    Table { endpoint: String, source: TableError },
}

/// The table behind a connection string. It answers on `clock`.
pub async fn open(connection: &str, clock: Arc<dyn Clock>) -> Result<Arc<dyn TableOps>, TableServiceError> {
    let connection = ConnectionString::parse(connection)?;
    let endpoint = connection.endpoint().to_owned();
    let system: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let ids = Arc::new(RandomIds::new(system.clone()));
    let tables = app::tables(TablesAccount::Key(connection), TABLE, system, ids)?;
    tables.create_table().await.map_err(|source| TableServiceError::Table { endpoint, source })?;
    Ok(Arc::new(WithClock::new(Arc::new(tables), clock)))
}
