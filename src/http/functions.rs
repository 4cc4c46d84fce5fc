//! The envelope in which the Functions host delivers a timer: `POST /Reconcile` on the handler's own port.
//!
//! Nobody outside reaches that path, because no route of the app leads there; what is not shaped like an envelope is
//! answered as any call without a token is. The answer is never empty: on an empty one the host waits for the function's
//! timeout and then kills the process.

use super::body::Body;
use super::error::HttpError;
use super::respond;
use crate::service::tick::Tick;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Mutex;

/// The path of the timer function's envelope: a slash and its name.
pub const RECONCILE: &str = "/Reconcile";
/// Bytes of an envelope; a timer's has some hundred.
const ENVELOPE_BYTES_MAX: usize = 64 * 1024;

/// What a timer starts, once at a time in this process. (Others may run at the same time; that is safe, only needless.)
pub struct Timer {
    tick: Arc<Tick>,
    under_way: Mutex<()>,
}

impl Timer {
    pub fn new(tick: Arc<Tick>) -> Self {
        Self { tick, under_way: Mutex::new(()) }
    }
}

/// `POST /Reconcile`: one tick. A tick that ended early is a failed invocation, which the portal shows; what it left
/// over, the next one does.
pub async fn reconcile(
    timer: Data<Timer>,
    envelope: Result<Body<ENVELOPE_BYTES_MAX>, HttpError>,
) -> Result<HttpResponse, HttpError> {
    if !envelope.is_ok_and(|envelope| is_timer(&envelope)) {
        return Err(HttpError::Unauthorized);
    }
    let Ok(_alone) = timer.under_way.try_lock() else {
        return Ok(outcome(StatusCode::OK, "a tick is under way"));
    };
    match timer.tick.run().await {
        Ok(()) => Ok(outcome(StatusCode::OK, "the tick is done")),
        Err(error) => {
            tracing::warn!(error = error.chain(), "a tick ended early");
            Ok(outcome(StatusCode::SERVICE_UNAVAILABLE, "the tick ended early; the next one goes on"))
        }
    }
}

/// The form of an invocation's result; what `Logs` holds appears beside the invocation in the portal.
pub(super) fn outcome(status: StatusCode, log: &str) -> HttpResponse {
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
