//! Azure Table Storage over HTTP: [`TableOps`] on one table of an account, or of the emulator Azurite.
//!
//! What the service would reject is rejected here, before anything is sent. A read is retried for a while, because it changes
//! nothing. A write is sent once, because only the store can tell whether a lost one was executed.

mod address;
mod answer;
mod batch;
mod connection_string;
mod entity;
mod multipart;
mod protocol;
mod shared_key;

pub use address::{TableNameError, is_table_name};
pub use connection_string::{ConnectionString, ConnectionStringError};

use super::rest::{RestAnswer, RestClient, RestError, RestOptions};
use crate::backoff::Backoff;
use crate::ports::clock::Clock;
use crate::ports::ids::IdSource;
use crate::ports::tables::{
    ETag, KeyRange, PAGE_BYTES_MAX, RowPage, TableAnswer, TableError, TableOps, TableRow, TableWrite, rules,
};
use address::{NextPage, RowParts, TableAddress};
use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::http::{Method, Request, Transport, Url};
use protocol::{ACCEPT, API_VERSION, ODATA_VERSION};
use shared_key::SharedKey;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The audience of tokens for storage, in every cloud.
const TOKEN_SCOPE: &str = "https://storage.azure.com/.default";

/// A read with all its repetitions. A query runs for 5 s at the service at most.
const READ_DEADLINE: Duration = Duration::from_secs(12);

/// One send of a read: time for a full page, and for another try within the deadline.
const READ_SEND_TIMEOUT: Duration = Duration::from_secs(6);

/// Sends of one read.
const READ_SENDS_MAX: u32 = 3;

/// The pauses between the sends of a read, with jitter.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), READ_DEADLINE);

/// A wait that the service asks for and that is short enough to be waited here.
const SHORT_THROTTLE: Duration = Duration::from_secs(1);

/// The one send of a write. With the read that proves what became of it, it stays below the time of a request.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// The server timeout of a write.
const WRITE_SERVER_SECONDS: u64 = 8;

/// A page that is too large is requested again with a fraction of its rows; this is the divisor.
const FEWER_ROWS: usize = 4;

/// The address of the tables, and the credential for them.
pub enum TablesAccount {
    /// `https://ACCOUNT.table.core.windows.net` and an Entra token.
    Entra { endpoint: String, credential: Arc<dyn TokenCredential> },
    /// The key in a connection string.
    Key(ConnectionString),
}

/// What a client works with.
pub struct TablesOptions {
    /// Real time. It dates signatures and decides when a token must be renewed.
    pub clock: Arc<dyn Clock>,
    /// Jitter between reads, and the boundaries of batches.
    pub ids: Arc<dyn IdSource>,
    /// A transport instead of the pooled client.
    pub transport: Option<Transport>,
}

/// Why a client cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum TablesClientError {
    /// The text is not repeated: it may hold a signature.
    #[error("the endpoint is not the URL of a table service, as https://ACCOUNT.table.core.windows.net")]
    Endpoint,
    #[error(transparent)]
    Table(#[from] TableNameError),
    #[error("the table client cannot be built")]
    Rest(#[from] RestError),
}

/// One table of an account.
#[derive(Clone)]
pub struct AzureTables {
    rest: RestClient,
    address: TableAddress,
    ids: Arc<dyn IdSource>,
}

impl fmt::Debug for AzureTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureTables").field("address", &self.address).finish_non_exhaustive()
    }
}

impl AzureTables {
    /// A client of that table. Nothing is sent yet. A rustls provider must be installed in the process before.
    pub fn new(
        account: TablesAccount,
        table: &str,
        options: TablesOptions,
    ) -> Result<Self, TablesClientError> {
        let TablesOptions { clock, ids, transport } = options;
        let (rest, endpoint) = match account {
            TablesAccount::Entra { endpoint, credential } => {
                let endpoint = url(&endpoint)?;
                let token_scope = TOKEN_SCOPE.to_owned();
                (
                    RestClient::new(&endpoint, RestOptions { credential, token_scope, clock, transport })?,
                    endpoint,
                )
            }
            TablesAccount::Key(connection) => {
                let endpoint = url(connection.endpoint())?;
                let signature = Arc::new(SharedKey::new(&connection, clock));
                (RestClient::authorized(&endpoint, signature, transport)?, endpoint)
            }
        };
        Ok(Self { rest, address: TableAddress::new(&endpoint, table)?, ids })
    }

    /// Creates the table. It succeeds if the table exists.
    pub async fn create_table(&self) -> Result<(), TableError> {
        let mut request = self.request(self.address.tables(), Method::Post);
        json(&mut request, self.address.creation());
        self.ask(&request, answer::table_made).await
    }

    fn request(&self, url: Url, method: Method) -> Request {
        let mut request = Request::new(url, method);
        request.insert_header("x-ms-version", API_VERSION);
        request.insert_header("dataserviceversion", ODATA_VERSION);
        request.insert_header("accept", ACCEPT);
        request
    }

    /// A write with a server timeout below ours, so that it seldom lands after its caller has given up.
    fn write_request(&self, mut url: Url, method: Method) -> Request {
        url.set_query(Some(&format!("timeout={WRITE_SERVER_SECONDS}")));
        self.request(url, method)
    }

    /// Sends what changes nothing when it is sent again, until an answer can be relied on or the time is up.
    async fn ask<T>(
        &self,
        request: &Request,
        read: impl Fn(&RestAnswer) -> Result<T, TableError>,
    ) -> Result<T, TableError> {
        let asking = async {
            for failures in 1..READ_SENDS_MAX {
                let outcome = self.send(request, READ_SEND_TIMEOUT).await.and_then(|answer| read(&answer));
                let wait = match &outcome {
                    Err(TableError::Unknown { .. }) => {
                        BACKOFF.pause(failures).mul_f64(0.5 + self.ids.jitter())
                    }
                    Err(TableError::Throttled { retry_after }) if *retry_after <= SHORT_THROTTLE => {
                        retry_after.mul_f64(1.0 + self.ids.jitter() / 4.0)
                    }
                    _ => return outcome,
                };
                sleep(wait).await;
            }
            self.send(request, READ_DEADLINE).await.and_then(|answer| read(&answer))
        };
        timeout(READ_DEADLINE, asking).await.unwrap_or_else(|_| Err(answer::late()))
    }

    /// Token, connection, sending and answer together end after `limit`.
    async fn send(&self, request: &Request, limit: Duration) -> Result<RestAnswer, TableError> {
        match timeout(limit, self.rest.send_within(request.clone(), PAGE_BYTES_MAX)).await {
            Ok(answer) => answer.map_err(|error| match error.too_large {
                true => TableError::TooLarge { rule: error.detail },
                false => TableError::Unknown { detail: error.detail },
            }),
            Err(_) => Err(answer::late()),
        }
    }

    /// The page that `next` leads to, or the first. The service knows no limit of bytes, so a page that is too large is
    /// dropped and requested again with fewer rows. One row is never too large.
    async fn page_from(
        &self,
        partition: &str,
        range: &KeyRange,
        next: Option<&NextPage>,
        parts: RowParts,
    ) -> Result<TableAnswer<RowPage>, TableError> {
        let mut range = range.clone();
        loop {
            let request = self.request(self.address.page(partition, &range, next, parts), Method::Get);
            match self.ask(&request, |answer| answer::page(answer, range.rows_max, next)).await {
                Err(TableError::TooLarge { .. }) if range.rows_max > 1 => {
                    range.rows_max = (range.rows_max / FEWER_ROWS).max(1);
                }
                page => return page,
            }
        }
    }

    async fn write_one(
        &self,
        partition: &str,
        write: &TableWrite,
    ) -> Result<TableAnswer<Vec<Option<ETag>>>, TableError> {
        let part = batch::BatchPart::of(&self.address, partition, write);
        let mut request = self.write_request(url_of(&part.url)?, part.method);
        for (name, value) in part.headers() {
            request.insert_header(name, value);
        }
        if let TableWrite::Insert { key, .. } = write {
            // The address of an insert does not have the key. The log of the storage account keeps this header beside the caller, so
            // it says who wrote which row.
            request.insert_header("x-ms-client-request-id", key.clone());
        }
        request.set_body(part.body);
        let answer = self.send(&request, WRITE_DEADLINE).await?;
        let etag = answer::written(&answer, write)?;
        Ok(TableAnswer { value: vec![etag], date: answer::date(&answer)? })
    }

    async fn write_many(
        &self,
        partition: &str,
        writes: &[TableWrite],
    ) -> Result<TableAnswer<Vec<Option<ETag>>>, TableError> {
        let batch = batch::BatchRequest::new(&self.address, partition, writes, self.ids.random())?;
        let mut request = self.write_request(self.address.batch(), Method::Post);
        request.insert_header("content-type", batch.content_type());
        request.set_body(batch.into_body());
        let answer = self.send(&request, WRITE_DEADLINE).await?;
        Ok(TableAnswer { value: batch::outcome(&answer, writes)?, date: answer::date(&answer)? })
    }
}

#[async_trait]
impl TableOps for AzureTables {
    async fn get(&self, partition: &str, key: &str) -> Result<TableAnswer<Option<TableRow>>, TableError> {
        rules::check_key("PartitionKey", partition)?;
        rules::check_key("RowKey", key)?;
        let request = self.request(url_of(&self.address.row(partition, key))?, Method::Get);
        self.ask(&request, answer::row).await
    }

    async fn page(&self, partition: &str, range: &KeyRange) -> Result<TableAnswer<RowPage>, TableError> {
        self.page_of(partition, range, RowParts::All).await
    }

    async fn key_page(&self, partition: &str, range: &KeyRange) -> Result<TableAnswer<RowPage>, TableError> {
        self.page_of(partition, range, RowParts::Key).await
    }

    async fn transact(
        &self,
        partition: &str,
        writes: &[TableWrite],
    ) -> Result<TableAnswer<Vec<Option<ETag>>>, TableError> {
        rules::check_transaction(partition, writes)?;
        match writes {
            [write] => self.write_one(partition, write).await,
            _ => self.write_many(partition, writes).await,
        }
    }
}

impl AzureTables {
    async fn page_of(
        &self,
        partition: &str,
        range: &KeyRange,
        parts: RowParts,
    ) -> Result<TableAnswer<RowPage>, TableError> {
        rules::check_range(partition, range)?;
        let next = range.continuation.as_ref().map(NextPage::parse).transpose()?;
        let page = match (self.page_from(partition, range, next.as_ref(), parts).await, &next) {
            // The service no longer knows the continuation, but the last key is known here.
            (Err(TableError::Refused { code }), Some(next)) if answer::is_stale(&code) => {
                self.page_from(partition, range, Some(&next.without_continuation()), parts).await?
            }
            (page, _) => page?,
        };
        // The service orders keys by their UTF-16 code units.
        let asked_for = |key: &str| {
            let key = || key.encode_utf16();
            key().ge(range.from.encode_utf16()) && key().lt(range.to.encode_utf16())
        };
        if !page.value.rows.iter().all(|row| asked_for(&row.key)) {
            return Err(answer::nonsense("a page has rows that were not asked for"));
        }
        Ok(page)
    }
}

fn url(endpoint: &str) -> Result<Url, TablesClientError> {
    let unusable = || TablesClientError::Endpoint;
    let url = Url::parse(endpoint).map_err(|_| unusable())?;
    let plain = url.has_host() && url.query().is_none() && url.fragment().is_none();
    (plain && url.username().is_empty() && url.password().is_none()).then_some(url).ok_or_else(unusable)
}

/// Our own URLs are encoded, so this does not fail.
fn url_of(text: &str) -> Result<Url, TableError> {
    Url::parse(text).map_err(|_| TableError::Invalid { rule: format!("{text} is no URL") })
}

fn json(request: &mut Request, body: String) {
    request.insert_header("content-type", "application/json");
    request.insert_header("prefer", "return-no-content");
    request.set_body(body);
}
