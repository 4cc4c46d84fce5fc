//! The JSON envelope in which the host calls functions without an HTTP trigger, and how it reads the answer.

use super::Shared;
use super::body::Chunked;
use super::front::{Deadline, hold, new_traceparent};
use super::record::{Call, OpenCall};
use super::transport::{HOST_VERSION, INVOCATION_ID};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, USER_AGENT};
use hyper::{Request, Response};
use serde_json::{Map, Value, json};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// When the timer fired and will fire. Absent where the host does not keep it.
#[derive(Debug, Clone, Copy)]
pub struct ScheduleStatus {
    pub last: OffsetDateTime,
    pub next: OffsetDateTime,
    pub last_updated: OffsetDateTime,
}

/// One call of a function in an envelope.
#[derive(Debug, Clone)]
pub struct Invocation {
    pub id: String,
    /// None where the handler did not answer.
    pub status: Option<u16>,
    pub duration: Duration,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Facts: F-152.
    Succeeded {
        outputs: Map<String, Value>,
        logs: Vec<String>,
        return_value: Value,
        /// Outputs whose text happens to be base64, which the host would decode to bytes.
        mangled: Vec<String>,
    },
    /// Facts: F-152.
    Failed(String),
    /// The real host would wait until the function timeout and then kill the handler. Never right.
    /// Facts: F-153.
    Hung,
}

/// What the host sends when a timer fires: objects as they are, everything else as JSON inside a string.
/// Facts: F-075, F-151.
pub fn timer_envelope(
    function: &str,
    binding: &str,
    past_due: bool,
    status: Option<ScheduleStatus>,
) -> Value {
    let timer = json!({
        "Schedule": { "AdjustForDST": true },
        "ScheduleStatus": status.map(|status| json!({
            "Last": written(status.last),
            "Next": written(status.next),
            "LastUpdated": written(status.last_updated),
        })),
        "IsPastDue": past_due,
    });
    let sys = json!({
        "MethodName": function,
        "UtcNow": written(OffsetDateTime::now_utc()),
        "RandGuid": uuid::Uuid::new_v4().to_string(),
    });
    envelope([(binding, timer)], [("sys", sys)])
}

/// An envelope of these values. What Metadata says of a trigger itself is left out by the host.
/// Facts: F-151.
pub fn envelope<'a>(
    data: impl IntoIterator<Item = (&'a str, Value)>,
    metadata: impl IntoIterator<Item = (&'a str, Value)>,
) -> Value {
    let data: Map<String, Value> =
        data.into_iter().map(|(name, value)| (name.to_owned(), encoded(value))).collect();
    let metadata = metadata.into_iter().filter(|(name, _)| !name.to_ascii_lowercase().ends_with("trigger"));
    let metadata: Map<String, Value> =
        metadata.map(|(name, value)| (name.to_owned(), encoded(value))).collect();
    json!({ "Data": data, "Metadata": metadata })
}

fn encoded(value: Value) -> Value {
    match value {
        Value::Object(_) | Value::Array(_) | Value::Null => value,
        scalar => Value::String(scalar.to_string()),
    }
}

fn written(moment: OffsetDateTime) -> String {
    moment.format(&Rfc3339).unwrap_or_default()
}

/// Posts an envelope to the handler, in chunks, and reads the answer as the host does.
/// Facts: F-070, F-151.
pub async fn send(shared: &Shared, function: &str, envelope: &Value) -> Invocation {
    let id = uuid::Uuid::new_v4().to_string();
    let started = std::time::Instant::now();
    let traceparent = new_traceparent();
    let body = envelope.to_string();
    let call = Call {
        function: function.to_owned(),
        invocation_id: id.clone(),
        traceparent: traceparent.clone(),
        method: "POST".to_owned(),
        path: format!("/{function}"),
        status: 0,
        duration: Duration::ZERO,
        request_bytes: body.len() as u64,
        response_bytes: 0,
        success: false,
    };
    let mut call = OpenCall::new(shared.records.clone(), call);
    let request = Request::post(format!("http://127.0.0.1:{}/{function}", shared.process.port))
        .header(CONTENT_TYPE, "application/json; charset=utf-8")
        .header(USER_AGENT, format!("Azure-Functions-Host/{}", shared.route.host_version))
        .header(INVOCATION_ID, &id)
        .header(HOST_VERSION, &shared.route.host_version)
        .header("traceparent", traceparent)
        .body(Chunked(Full::from(body)).boxed_unsync());
    let (status, outcome) = match request {
        Ok(request) => exchange(shared, request, &mut call).await,
        Err(error) => (None, Outcome::Failed(error.to_string())),
    };
    call.finish(matches!(outcome, Outcome::Succeeded { .. }));
    Invocation { id, status, duration: started.elapsed(), outcome }
}

async fn exchange(
    shared: &Shared,
    request: Request<super::body::Body>,
    call: &mut OpenCall,
) -> (Option<u16>, Outcome) {
    if hold(shared).await.is_err() {
        return (None, Outcome::Failed("the host is dead".to_owned()));
    }
    let mut deadline = Deadline::start(shared.host.function_timeout, shared.process.clone());
    let answer = async {
        let (parts, body) = shared.route.client.request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?.to_bytes();
        Some(Response::from_parts(parts, body))
    };
    let answer = tokio::select! {
        answer = answer => answer.ok_or("the handler broke off"),
        () = deadline.passed() => Err("the function timed out"),
    };
    deadline.handler_gone().await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) => return (None, Outcome::Failed(why.to_owned())),
    };
    let status = answer.status().as_u16();
    call.change(|call| {
        call.status = status;
        call.response_bytes = answer.body().len() as u64;
    });
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    (Some(status), judge(status, kind, answer.body()))
}

/// What the host makes of an answer.
/// Facts: F-152, F-153.
pub fn judge(status: u16, content_type: Option<&str>, body: &Bytes) -> Outcome {
    if !(200..300).contains(&status) {
        return Outcome::Failed(format!("the handler answered {status}"));
    }
    if body.is_empty() {
        return Outcome::Hung;
    }
    let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !["application/json", "text/json"].iter().any(|json| media_type.eq_ignore_ascii_case(json)) {
        return Outcome::Failed(format!("the answer is {content_type:?}, not JSON"));
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(answer)) => succeeded(answer),
        Ok(Value::Null) => Outcome::Hung,
        Ok(_) => Outcome::Failed("the answer is not an object".to_owned()),
        Err(error) => Outcome::Failed(format!("the answer is not JSON: {error}")),
    }
}

fn succeeded(mut answer: Map<String, Value>) -> Outcome {
    let mut take = |name: &str| {
        let key = answer.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
        key.and_then(|key| answer.remove(&key)).unwrap_or_default()
    };
    let outputs = match take("Outputs") {
        Value::Object(outputs) => outputs,
        Value::Null => Map::new(),
        _ => return Outcome::Failed("Outputs is not an object".to_owned()),
    };
    let logs = match take("Logs") {
        Value::Array(logs) => logs,
        Value::Null => Vec::new(),
        _ => return Outcome::Failed("Logs is not a list".to_owned()),
    };
    let text = |line: Value| line.as_str().map_or_else(|| line.to_string(), str::to_owned);
    let is_mangled = |(_, value): &(&String, &Value)| value.as_str().is_some_and(is_base64);
    let mangled = outputs.iter().filter(is_mangled).map(|(name, _)| name.clone()).collect();
    let logs = logs.into_iter().map(text).collect();
    Outcome::Succeeded { outputs, logs, return_value: take("ReturnValue"), mangled }
}

fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !text.is_empty()
        && text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, kind: Option<&str>, body: &'static str) -> Outcome {
        judge(status, kind, &Bytes::from_static(body.as_bytes()))
    }

    const JSON: Option<&str> = Some("application/json; charset=utf-8");

    /// Facts: F-151.
    #[test]
    fn text_is_encoded_twice_and_objects_once() {
        let given =
            [("a", json!("abc")), ("n", json!(1)), ("o", json!({ "x": "abc" })), ("none", Value::Null)];
        let metadata = [("DequeueCount", json!(1)), ("queueTrigger", json!("abc"))];
        let expected = json!({
            "Data": { "a": "\"abc\"", "n": "1", "o": { "x": "abc" }, "none": null },
            "Metadata": { "DequeueCount": "1" },
        });
        assert_eq!(envelope(given, metadata), expected);
    }

    #[test]
    fn a_timer_comes_as_an_object_with_what_the_host_knows() {
        let sent = timer_envelope("Reconcile", "tick", true, None);
        let timer =
            json!({ "Schedule": { "AdjustForDST": true }, "ScheduleStatus": null, "IsPastDue": true });
        assert_eq!(sent["Data"], json!({ "tick": timer }));
        assert_eq!(sent["Metadata"]["sys"]["MethodName"], "Reconcile");
    }

    /// Facts: F-152.
    #[test]
    fn an_object_is_a_success() {
        let nothing = Outcome::Succeeded {
            outputs: Map::new(),
            logs: Vec::new(),
            return_value: Value::Null,
            mangled: Vec::new(),
        };
        assert_eq!(judged(200, JSON, "{}"), nothing);
        let said = judged(200, JSON, r#"{"outputs":{"a":"test","b":{}},"LOGS":["x"],"returnValue":7}"#);
        let Outcome::Succeeded { logs, return_value, mangled, .. } = said else { panic!("{said:?}") };
        assert_eq!((logs, return_value, mangled), (vec!["x".to_owned()], json!(7), vec!["a".to_owned()]));
    }

    /// Facts: F-153.
    #[test]
    fn an_empty_answer_and_null_hang() {
        assert_eq!(judged(204, None, ""), Outcome::Hung);
        assert_eq!(judged(200, JSON, ""), Outcome::Hung);
        assert_eq!(judged(200, JSON, "null"), Outcome::Hung);
    }

    /// Facts: F-152.
    #[test]
    fn everything_else_fails() {
        for (status, kind, body) in [
            (500, JSON, "{}"),
            (302, JSON, "{}"),
            (200, None, "{}"),
            (200, Some("text/plain"), "{}"),
            (200, JSON, "{"),
            (200, JSON, "[]"),
            (200, JSON, r#"{"Logs":"x"}"#),
            (200, JSON, r#"{"Outputs":[]}"#),
        ] {
            let outcome = judged(status, kind, body);
            assert!(matches!(outcome, Outcome::Failed(_)), "{status} {kind:?} {body}: {outcome:?}");
        }
    }
}
