//! The envelope in which the Functions host delivers a timer: `POST /Reconcile` on the handler's own port.
//!
//! No route of the app leads there, but a host that forwards decodes a path once more after it has matched a route, so that
//! `..%5C..%5CReconcile` arrives as well. A request that was passed on differs from an envelope: it carries the caller's own `Host`,
//! or the host's `X-Forwarded-*`. Whatever is no envelope is answered as any other call of an unknown path is.
//!
//! The answer is never empty: on an empty one the host waits for the function's timeout and then kills the process.

use super::body::ScimBody;
use super::error::{EndpointResult, HttpError};
use super::respond;
use crate::error_chain::ErrorChain;
use crate::events::log_event;
use crate::service::reconcile_queue::tick::ReconcileTick;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The path of the timer function's envelope: a slash and its name.
pub(super) const RECONCILE: &str = "/Reconcile";
/// Bytes of an envelope; a timer's has some hundred.
const ENVELOPE_BYTES_MAX: usize = 64 * 1024;
/// Headers of a request that came through the host, its front end or any other proxy. An envelope has none of them.
const PASSED_ON: [&str; 6] =
    ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-original-url", "forwarded", "via"];

/// Where this process listens, which only the host itself calls by its address.
pub(super) struct ListenAddress(pub SocketAddr);

/// What a timer starts, once at a time in this process. (Others may run at the same time; that is safe, only needless.)
pub struct TimerTrigger {
    tick: Option<Arc<ReconcileTick>>,
    under_way: Mutex<()>,
}

impl TimerTrigger {
    /// The timer of a Functions host.
    pub fn of_host(tick: Arc<ReconcileTick>) -> Self {
        Self { tick: Some(tick), under_way: Mutex::default() }
    }

    /// There is no host, and so no envelope.
    pub fn none() -> Self {
        Self { tick: None, under_way: Mutex::default() }
    }

    /// Whether the host itself may be calling: it calls the address that this process listens on, and no other.
    pub(super) fn may_call(&self, headers: &HeaderMap, address: &ListenAddress) -> bool {
        let ours = address.0.to_string();
        let mut hosts = headers.get_all(header::HOST);
        let direct =
            hosts.next().is_some_and(|host| host.as_bytes() == ours.as_bytes()) && hosts.next().is_none();
        self.tick.is_some() && direct && !PASSED_ON.iter().any(|name| headers.contains_key(*name))
    }
}

/// `POST /Reconcile`: one tick. A tick that ended early is a failed invocation, which the portal shows; what it left
/// over, the next one does.
pub(super) async fn reconcile(
    request: HttpRequest,
    timer: Data<TimerTrigger>,
    address: Data<ListenAddress>,
    envelope: Result<ScimBody<ENVELOPE_BYTES_MAX>, HttpError>,
) -> EndpointResult {
    let called = timer.may_call(request.headers(), &address);
    let Some(tick) = timer
        .tick
        .as_ref()
        .filter(|_| called && envelope.is_ok_and(|mut envelope| is_timer(&envelope.take_json())))
    else {
        return Err(HttpError::no_endpoint());
    };
    let Ok(_alone) = timer.under_way.try_lock() else {
        return Ok(outcome(StatusCode::OK, "a tick is under way"));
    };
    match tick.run().await {
        Ok(()) => Ok(outcome(StatusCode::OK, "the tick is done")),
        Err(error) => {
            log_event!(TickEndedEarly, error = %ErrorChain(&error), "a tick ended early");
            Ok(outcome(StatusCode::SERVICE_UNAVAILABLE, "the tick ended early; the next one goes on"))
        }
    }
}

/// The form of an invocation's result; what `Logs` holds appears beside the invocation in the portal.
fn outcome(status: StatusCode, log: &str) -> HttpResponse {
    respond::json_with(status, &json!({ "Outputs": {}, "Logs": [log], "ReturnValue": null }))
}

/// `Data` with a timer's state, and the host's own `sys` metadata.
fn is_timer(envelope: &Value) -> bool {
    let timers = envelope.get("Data").and_then(Value::as_object).into_iter().flat_map(|data| data.values());
    let due = timers.filter_map(|timer| timer.get("IsPastDue")).any(Value::is_boolean);
    due && envelope.get("Metadata").is_some_and(|metadata| metadata.get("sys").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(envelope: Value, expected: bool) {
        assert_eq!(is_timer(&envelope), expected, "{envelope}");
    }

    #[test]
    fn only_a_timers_envelope_is_one() {
        let sys =
            json!({ "MethodName": "Reconcile", "UtcNow": "\"2026-11-25T12:00:00Z\"", "RandGuid": "\"…\"" });
        let status = json!({ "Last": "2026-11-25T11:59:00", "Next": "2026-11-25T12:00:00" });
        for status in [status, Value::Null] {
            let timer =
                json!({ "Schedule": { "AdjustForDST": true }, "ScheduleStatus": status, "IsPastDue": false });
            check(json!({ "Data": { "timer": timer }, "Metadata": { "sys": sys }, "More": 1 }), true);
        }
        check(json!({}), false);
        check(json!({ "Data": {}, "Metadata": { "sys": sys } }), false);
        check(json!({ "Data": { "timer": { "IsPastDue": "false" } }, "Metadata": { "sys": sys } }), false);
        check(json!({ "Data": { "timer": { "IsPastDue": false } } }), false);
        check(json!({ "Data": { "timer": { "IsPastDue": false } }, "Metadata": {} }), false);
        check(json!({ "Data": [{ "IsPastDue": false }], "Metadata": { "sys": sys } }), false);
    }
}
