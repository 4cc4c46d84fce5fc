//! The service in this process, on a table in memory. Azure is away: what it would be asked is refused at once.

use async_trait::async_trait;
use azure_backup_scim::app::{self, BackupScim, ServiceDeps};
use azure_backup_scim::engine::TableEngine;
use azure_backup_scim::id::OpId;
use azure_backup_scim::ports::clock::Clock;
use azure_backup_scim::ports::ids::IdSource;
use azure_backup_scim::ports::tables::{
    ETag, KeyRange, RowPage, TableAnswer, TableError, TableOps, TableRow, TableWrite,
};
use azure_backup_scim::service::audit::seal::AuditKeeping;
use azure_backup_scim::service::reconcile::EffectLimits;
use azure_backup_scim::service::reconcile_queue::inline::InlineLimits;
use azure_backup_scim::service::reconcile_queue::tick::TickLimits;
use azure_backup_scim::service::{ScimCaller, ServiceError};
use azure_backup_scim::store::orders::OrderTable;
use azure_backup_scim::store::request_log::RequestTable;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::datetime;
use uuid::{Builder, Timestamp, Uuid};

/// Where the service says it is.
pub const BASE_URL: &str = "https://scim.example/scim/v2";

/// A clock that does not move.
pub struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> OffsetDateTime {
        datetime!(2026-03-01 10:00 UTC)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// Ids that are counted.
#[derive(Default)]
pub struct Counted(AtomicU64);

impl Counted {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl IdSource for Counted {
    fn random(&self) -> Uuid {
        // The counters of the store are spread by the first byte.
        let number = self.next();
        Builder::from_random_bytes((u128::from(number as u8) << 120 | u128::from(number)).to_be_bytes())
            .into_uuid()
    }

    fn op(&self) -> OpId {
        let number = self.next();
        let nanos = u32::try_from(number % 1_000_000_000).unwrap_or_default();
        let time =
            Timestamp::from_unix_time(1_772_000_000 + number / 1_000_000_000, nanos, u128::from(number), 42);
        OpId::new(Uuid::new_v7(time))
    }

    fn jitter(&self) -> f64 {
        0.0
    }
}

/// A table that can be emptied under a service.
pub struct Emptied(RwLock<Arc<TableEngine>>);

impl Default for Emptied {
    fn default() -> Self {
        Self(RwLock::new(Arc::new(TableEngine::memory(Arc::new(Fixed)))))
    }
}

impl Emptied {
    /// Nothing is in the table any more.
    pub fn empty(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(TableEngine::memory(Arc::new(Fixed)));
    }

    fn now(&self) -> Arc<TableEngine> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl TableOps for Emptied {
    async fn get(&self, partition: &str, key: &str) -> Result<TableAnswer<Option<TableRow>>, TableError> {
        self.now().get(partition, key).await
    }

    async fn page(&self, partition: &str, range: &KeyRange) -> Result<TableAnswer<RowPage>, TableError> {
        self.now().page(partition, range).await
    }

    async fn transact(
        &self,
        partition: &str,
        writes: &[TableWrite],
    ) -> Result<TableAnswer<Vec<Option<ETag>>>, TableError> {
        self.now().transact(partition, writes).await
    }
}

/// A service on that table.
pub fn on(tables: Arc<dyn TableOps>, ids: Arc<dyn IdSource>) -> BackupScim {
    app::install_tls();
    let arm = app::arm("http://127.0.0.1:9", "unused".to_owned().into(), Arc::new(Fixed)).expect("a client");
    app::build(ServiceDeps {
        orders: OrderTable::new(tables.clone(), "orders".to_owned()),
        requests: RequestTable::new(tables.clone(), "requests".to_owned()),
        tables,
        assignments: arm.clone(),
        access: arm,
        connectivity: Arc::default(),
        clock: Arc::new(Fixed),
        ids,
        tenant: "default".to_owned(),
        base_url: BASE_URL.to_owned(),
        effect_limits: EffectLimits::default(),
        inline: InlineLimits::default(),
        tick: TickLimits { deadline: Duration::from_secs(45), overdue_after: Duration::from_secs(900) },
        audit: AuditKeeping::default(),
        drill: None,
    })
}

/// One thread, one service; the table is emptied before each run.
pub struct InProcess {
    runtime: tokio::runtime::Runtime,
    tables: Arc<Emptied>,
    pub service: BackupScim,
}

impl InProcess {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let tables = Arc::new(Emptied::default());
        let service = runtime.block_on(async { on(tables.clone(), Arc::new(Counted::default())) });
        Self { runtime, tables, service }
    }

    /// Runs it on an empty table.
    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.tables.empty();
        self.runtime.block_on(work)
    }
}

/// Who asks.
pub fn caller() -> ScimCaller {
    ScimCaller::new("fuzz".to_owned())
}

/// An error is one of the client's.
pub fn assert_client_error(error: &ServiceError) {
    let scim = error.scim_error().unwrap_or_else(|| panic!("not an error of the client: {error:?}"));
    assert!((400..500).contains(&scim.status), "{scim:?}");
}
