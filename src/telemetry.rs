//! Logs: one JSON object per line, in the shape that the Functions host passes on unharmed.
//!
//! Information goes to stdout, warnings and errors to stderr (the host reads the level from the stream), or everything
//! to stderr where stdout carries something else. The fields of the spans around an event are written beside its own.
//! Other crates log from the level warning on, because their lower levels print URLs and headers.

use crate::events::log_event;
use crate::ports::clock::Clock;
use serde_json::{Map, Value};
use std::fmt;
use std::io::Write;
use std::sync::Arc;
use time::format_description::well_known::Rfc3339;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, registry};

/// Where lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogOutput {
    /// Information to stdout, warnings and errors to stderr.
    Split,
    /// Everything to stderr; stdout belongs to a command's own output.
    Stderr,
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("the log filter {text:?} cannot be read; examples: info, debug, azure_backup_scim=debug,warn")]
    Filter {
        text: String,
        #[source]
        source: ParseError,
    },
    #[error("a log is installed in this process already")]
    Installed(#[from] TryInitError),
}

/// Starts logging in this process, panics included. `filter` is a level, or the syntax of `RUST_LOG`.
pub fn install(filter: &str, output: LogOutput, clock: Arc<dyn Clock>) -> Result<(), TelemetryError> {
    let writer = match output {
        LogOutput::Stderr => BoxMakeWriter::new(std::io::stderr),
        LogOutput::Split => {
            let loud = std::io::stderr.with_max_level(Level::WARN);
            BoxMakeWriter::new(loud.or_else(std::io::stdout))
        }
    };
    registry().with(parse_filter(filter)?).with(JsonLines { writer, clock }).try_init()?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A bare level is meant for our own code. The web framework logs input that is not HTTP as an error, so any caller could fill
/// the log; and the verifier of certificates logs every attempt, which is logged here once.
fn parse_filter(text: &str) -> Result<EnvFilter, TelemetryError> {
    let bare = !text.contains(['=', ',']);
    let directives = if bare {
        format!("warn,actix_http=off,rustls_platform_verifier=off,azure_backup_scim={text}")
    } else {
        text.to_owned()
    };
    EnvFilter::try_new(directives).map_err(|source| TelemetryError::Filter { text: text.to_owned(), source })
}

/// The place of a panic, never its message: that may hold whatever was being worked on.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    log_event!(Panicked, place, "panic");
}

/// Prints every event as one JSON object.
struct JsonLines<W> {
    writer: W,
    clock: Arc<dyn Clock>,
}

/// The fields of a span, kept with it.
struct Fields(Map<String, Value>);

impl<W> JsonLines<W> {
    fn line(&self, metadata: &Metadata<'_>, fields: Map<String, Value>) -> String {
        let timestamp = self.clock.now().format(&Rfc3339).unwrap_or_default();
        let mut line = fields;
        line.insert("timestamp".to_owned(), timestamp.into());
        line.insert("level".to_owned(), metadata.level().as_str().into());
        line.insert("target".to_owned(), metadata.target().into());
        format!("{}\n", Value::Object(line))
    }
}

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields(Map::new());
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields(Map::new());
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.0.extend(of_span.0.clone());
            }
        }
        event.record(&mut fields);
        let line = self.line(event.metadata(), fields.0);
        // A log line that cannot be written cannot be reported either.
        let _ = self.writer.make_writer_for(event.metadata()).write_all(line.as_bytes());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Mutex;
    use std::time::Duration;
    use time::OffsetDateTime;
    use time::macros::datetime;

    struct Fixed;

    impl Clock for Fixed {
        fn now(&self) -> OffsetDateTime {
            datetime!(2026-11-25 11:00:00.250 UTC)
        }
        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The lines that `work` logs at `filter`.
    fn lines(filter: &str, work: impl FnOnce()) -> Vec<Value> {
        let captured = Captured::default();
        let sink = captured.clone();
        let writer = BoxMakeWriter::new(move || sink.clone());
        let layer = JsonLines { writer, clock: Arc::new(Fixed) };
        let subscriber = registry().with(parse_filter(filter).unwrap()).with(layer);
        tracing::subscriber::with_default(subscriber, work);
        let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_is_flat_and_carries_the_spans() {
        let found = lines("info", || {
            let outer = tracing::info_span!("request", traceId = tracing::field::Empty, step = "outer");
            outer.record("traceId", "0af7");
            let _outer = outer.enter();
            let _inner = tracing::info_span!("reconcile", user.id = %"u-1", step = "inner").entered();
            tracing::event!(Level::WARN, attempts = 3_u64, done = false, "line one\r\nline \"two\"");
        });
        let expected = json!({
            "timestamp": "2026-11-25T11:00:00.25Z", "level": "WARN", "target": "azure_backup_scim::telemetry::tests",
            "message": "line one\r\nline \"two\"", "traceId": "0af7", "user.id": "u-1", "step": "inner",
            "attempts": 3, "done": false,
        });
        assert_eq!(found, [expected]);
    }

    #[test]
    fn a_bare_level_is_for_our_own_code() {
        let found = lines("debug", || {
            tracing::debug!("ours");
            tracing::debug!(target: "reqwest::connect", "https://user:secret@host/?token");
            tracing::event!(target: "reqwest::connect", Level::WARN, "theirs");
        });
        let messages: Vec<_> = found.iter().map(|line| line["message"].clone()).collect();
        assert_eq!(messages, ["ours", "theirs"]);
        assert_eq!(lines("warn,x=trace", || tracing::info!("ours")).len(), 0);
    }

    #[test]
    fn a_filter_that_means_nothing_is_an_error() {
        assert!(matches!(parse_filter("loud"), Err(TelemetryError::Filter { .. })));
        assert!(matches!(parse_filter("a=b=c"), Err(TelemetryError::Filter { .. })));
    }
}
