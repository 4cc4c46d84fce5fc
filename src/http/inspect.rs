//! What `local` adds to the control API of its simulated Azure: the audit, the ledger, ticks at will, and what an operator's
//! commands need: rows to read and orders to place. Never part of the service itself.

use crate::ports::tables::json::{PageAsked, PageJson, RowAsked, RowJson};
use crate::ports::tables::{TableError, TableOps};
use crate::service::reconcile_queue::tick::ReconcileTick;
use crate::service::request_log::RequestLog;
use crate::store::orders::OrderTable;
use crate::store::{StateStore, StoreError};
use actix_web::web::{self, Data, Json, Query, ServiceConfig};
use actix_web::{HttpResponse, Responder};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::{Arc, OnceLock};

/// Records of one answer, unless fewer are asked for.
const RECORDS_MAX: usize = 1000;

/// What is looked into.
pub struct InspectedResponse {
    /// The table that everything is in.
    pub tables: Arc<dyn TableOps>,
    pub orders: OrderTable,
    pub store: StateStore,
    pub tick: Arc<ReconcileTick>,
    pub request_log: Arc<RequestLog>,
}

/// The same, once the service is there.
pub type ResponseSlot = Arc<OnceLock<InspectedResponse>>;

/// `GET audit?after=OP&count=N`, `GET ledger`, `POST tick`, `POST sweep`, `POST rows/get`, `POST rows/page`, `POST orders`.
pub fn configure(config: &mut ServiceConfig, slot: ResponseSlot) {
    config
        .app_data(Data::new(slot))
        .route("/audit", web::get().to(audit))
        .route("/ledger", web::get().to(ledger))
        .route("/tick", web::post().to(tick))
        .route("/sweep", web::post().to(sweep))
        .route("/rows/get", web::post().to(row))
        .route("/rows/page", web::post().to(rows))
        .route("/orders", web::post().to(place_order));
}

async fn row(slot: Data<ResponseSlot>, asked: Json<RowAsked>) -> impl Responder {
    let Some(service) = slot.get() else { return starting() };
    table_answer(service.tables.get(&asked.partition, &asked.key).await.map(PageJson::of_row))
}

async fn rows(slot: Data<ResponseSlot>, asked: Json<PageAsked>) -> impl Responder {
    let Some(service) = slot.get() else { return starting() };
    // A reader here expects what was noted just now as well. Where that cannot be written, it waits for the next time.
    let _ = service.request_log.write_noted().await;
    let asked = asked.into_inner();
    let partition = asked.partition.clone();
    table_answer(service.tables.page(&partition, &asked.range()).await.map(PageJson::of_page))
}

async fn place_order(slot: Data<ResponseSlot>, order: Json<RowJson>) -> impl Responder {
    let Some(service) = slot.get() else { return starting() };
    let order = order.into_inner();
    let key = order.key.clone();
    let placed = service.orders.insert(key, order.into_properties()).await;
    table_answer(placed.map(|()| json!({"placed": true})))
}

fn table_answer(result: Result<impl Serialize, TableError>) -> HttpResponse {
    match result {
        Ok(body) => HttpResponse::Ok().json(body),
        Err(error @ TableError::Exists { .. }) => {
            HttpResponse::Conflict().json(json!({"error": error.to_string()}))
        }
        Err(error) => HttpResponse::ServiceUnavailable().json(json!({"error": error.to_string()})),
    }
}

#[derive(Deserialize)]
struct AuditPage {
    after: Option<String>,
    count: Option<usize>,
}

async fn audit(slot: Data<ResponseSlot>, page: Query<AuditPage>) -> impl Responder {
    let Some(service) = slot.get() else { return starting() };
    let count = page.count.unwrap_or(RECORDS_MAX).min(RECORDS_MAX);
    answer(service.store.audit(page.after.as_deref(), count).await.map(|records| json!({"records": records})))
}

async fn ledger(slot: Data<ResponseSlot>) -> impl Responder {
    let Some(service) = slot.get() else { return starting() };
    answer(service.store.ledger_of_all().await.map(|rows| json!({"assignments": rows})))
}

async fn tick(slot: Data<ResponseSlot>) -> impl Responder {
    let Some(service) = slot.get() else { return starting() };
    answer(service.tick.run().await.map(|()| json!({"done": true})))
}

async fn sweep(slot: Data<ResponseSlot>) -> impl Responder {
    let Some(service) = slot.get() else { return starting() };
    answer(service.tick.sweep().await.map(|()| json!({"done": true})))
}

fn starting() -> HttpResponse {
    HttpResponse::ServiceUnavailable().json(json!({"error": "the service is starting"}))
}

fn answer(result: Result<serde_json::Value, StoreError>) -> HttpResponse {
    match result {
        Ok(body) => HttpResponse::Ok().json(body),
        Err(error) => HttpResponse::ServiceUnavailable().json(json!({"error": error.to_string()})),
    }
}
