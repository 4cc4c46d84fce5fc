//! `audit`: reads audit records while the service runs, with the operator's own rights, and changes nothing.

use crate::app::{self, ConnectError, SystemClock};
#[cfg(feature = "local")]
use crate::app::{ControlClient, ControlClientError};
use crate::audit::{self, ChangeCause, SETTING_CHANGED};
use crate::cli::exit::{ArgumentFileError, EXIT_DEPENDENCY, EXIT_USAGE, complain, in_file};
use crate::config::{self, ConfigError, OperatorConfig};
use crate::id::{OpId, PrincipalId};
use crate::ports::clock::Clock;
use crate::service::audit::query::{self, AuditFilter};
use crate::store::{StateStore, StoreError};
use clap::builder::PossibleValuesParser;
use serde_json::Value;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

/// Records per read.
const PAGE_RECORDS: usize = 1000;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The account of the table: https://ACCOUNT.table.core.windows.net, read with the login of Azure CLI or azd (Storage Table
    /// Data Reader is enough), or a connection string such as UseDevelopmentStorage=true, or @FILE with either in it. Without it,
    /// TABLES_ENDPOINT or TABLES_CONNECTION_STRING.
    #[arg(long, value_name = "ENDPOINT")]
    tables: Option<String>,
    /// The control address of a running `local`, as `local` prints it.
    #[cfg(feature = "local")]
    #[arg(long, value_name = "URL", conflicts_with = "tables")]
    control_url: Option<String>,
    /// Start: 2026-11-25, 2026-11-25T12:00:00Z, or back from now as 90m, 24h, 7d. [default: 24h, or the time of --op]
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// End, in the same forms. [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only changes that concern this person: SCIM id or Entra object id.
    #[arg(long, value_name = "ID")]
    person: Option<String>,
    /// Only changes that concern this group: SCIM id.
    #[arg(long, value_name = "ID")]
    group: Option<String>,
    /// Only changes of this kind; may be given several times.
    #[arg(long = "kind", value_name = "KIND", value_parser = PossibleValuesParser::new(kind_names()))]
    kinds: Vec<String>,
    /// Only what this caller caused: the label of a token, or service.
    #[arg(long, value_name = "LABEL")]
    actor: Option<String>,
    /// Only what has this cause: request, order, sweep, snapshot.
    #[arg(long, value_name = "CAUSE")]
    cause: Option<String>,
    /// Only this operation and what followed from it.
    #[arg(long, value_name = "OP")]
    op: Option<String>,
    /// One line of JSON per record, instead of one line of text per change.
    #[arg(long)]
    json: bool,
}

/// Why the records cannot be listed.
#[derive(Debug, thiserror::Error)]
enum AuditError {
    #[error("--{argument} {text:?} is not a time; examples: 2026-11-25, 2026-11-25T12:00:00Z, 24h")]
    Time { argument: &'static str, text: String },
    #[error("--cause {text:?} is not one of request, order, sweep, snapshot")]
    Cause { text: String },
    #[error(
        "--{argument} {text:?} is not an id: a SCIM id or an Entra object id looks like 6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
    )]
    Id { argument: &'static str, text: String },
    #[error("--op {text:?} is not an operation; it looks like 01a21313-b0f1-77de-af8d-41bc4e8ffee2")]
    Op { text: String },
    #[error("cannot find out where the table is")]
    File(#[source] ArgumentFileError),
    #[error("cannot find out where the table is")]
    Config(#[source] ConfigError),
    #[error("cannot reach the table")]
    Connect(#[source] ConnectError),
    #[error("cannot read the records")]
    Store(#[source] StoreError),
    #[cfg(feature = "local")]
    #[error("cannot read the records")]
    Control(#[source] ControlClientError),
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    #[error("cannot write")]
    Output(#[source] io::Error),
}

pub fn run(arguments: &Arguments) -> ExitCode {
    app::install_tls();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(AuditError::Runtime).and_then(|runtime| runtime.block_on(list(arguments))) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader closed the pipe, as `head` does.
        Err(AuditError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(match error {
                #[cfg(feature = "local")]
                AuditError::Control(ControlClientError::Address { .. }) => EXIT_USAGE,
                AuditError::Time { .. }
                | AuditError::Cause { .. }
                | AuditError::Op { .. }
                | AuditError::Id { .. }
                | AuditError::File(_)
                | AuditError::Config(_)
                | AuditError::Connect(_) => EXIT_USAGE,
                _ => EXIT_DEPENDENCY,
            })
        }
    }
}

/// What `--kind` takes: every kind, and the name under which settings are stored.
fn kind_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = audit::kinds().map(|kind| kind.name).collect();
    names.push(SETTING_CHANGED);
    names.sort_unstable();
    names
}

async fn list(arguments: &Arguments) -> Result<(), AuditError> {
    let mut selection = selection(arguments, SystemClock::new().now())?;
    let source = Source::open(arguments)?;
    let mut out = io::stdout().lock();
    let mut after = selection.begin();
    let mut found = false;
    loop {
        let page = source.page(after.as_deref()).await?;
        let full = page.len() >= PAGE_RECORDS;
        after = page.last().and_then(|record| record.get("op")?.as_str()).map(str::to_owned);
        for record in page {
            if selection.is_past(&record) {
                return report_if_none(found, arguments);
            }
            if let Some(record) = selection.select(record) {
                found = true;
                print(&mut out, &record, arguments.json).map_err(AuditError::Output)?;
            }
        }
        if !full {
            return report_if_none(found, arguments);
        }
    }
}

/// An empty output would be taken for a failure.
#[expect(clippy::print_stderr, reason = "not part of the result")]
fn report_if_none(found: bool, arguments: &Arguments) -> Result<(), AuditError> {
    if !found && !arguments.json {
        eprintln!("no records");
    }
    Ok(())
}

fn print(out: &mut impl Write, record: &Value, json: bool) -> io::Result<()> {
    if json {
        return writeln!(out, "{record}");
    }
    query::lines(record).iter().try_for_each(|line| writeln!(out, "{line}"))
}

fn selection(arguments: &Arguments, now: OffsetDateTime) -> Result<AuditFilter, AuditError> {
    let time = |argument, text: &str| {
        parse_time(text, now).ok_or_else(|| AuditError::Time { argument, text: text.to_owned() })
    };
    let cause =
        |text: &String| ChangeCause::parse(text).ok_or_else(|| AuditError::Cause { text: text.clone() });
    let since = match (&arguments.since, &arguments.op) {
        (None, Some(op)) => query::op_time(op).ok_or_else(|| AuditError::Op { text: op.clone() })?,
        (since, _) => time("since", since.as_deref().unwrap_or("24h"))?,
    };
    let id = |argument, text: &Option<String>| match text {
        Some(text) if PrincipalId::parse(text).is_err() => {
            Err(AuditError::Id { argument, text: text.clone() })
        }
        text => Ok(text.clone()),
    };
    if let Some(op) = arguments.op.as_ref().filter(|op| OpId::parse(op).is_err()) {
        return Err(AuditError::Op { text: op.clone() });
    }
    Ok(AuditFilter {
        since: Some(since),
        until: arguments.until.as_deref().map(|text| time("until", text)).transpose()?,
        person: id("person", &arguments.person)?,
        group: id("group", &arguments.group)?,
        kinds: arguments.kinds.clone(),
        actor: arguments.actor.clone(),
        cause: arguments.cause.as_ref().map(cause).transpose()?,
        op: arguments.op.clone(),
        ..AuditFilter::default()
    })
}

/// A moment, a day (its start in UTC), or a time back from now.
fn parse_time(text: &str, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let day = Date::parse(text, format_description!("[year]-[month]-[day]"));
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok();
    moment.or_else(|| day.ok().map(|day| day.midnight().assume_utc())).or_else(|| {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let seconds = match unit {
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        now.checked_sub(
            Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(seconds)?).try_into().ok()?,
        )
    })
}

/// Where records are read from.
enum Source {
    Tables(StateStore),
    #[cfg(feature = "local")]
    Local(ControlClient),
}

impl Source {
    fn open(arguments: &Arguments) -> Result<Self, AuditError> {
        #[cfg(feature = "local")]
        if let Some(url) = &arguments.control_url {
            return ControlClient::new(url).map(Self::Local).map_err(AuditError::Control);
        }
        let mut variables = config::environment();
        if let Some(tables) = &arguments.tables {
            config::point_at(&mut variables, &in_file(tables).map_err(AuditError::File)?);
        }
        let config = OperatorConfig::parse(&variables).map_err(AuditError::Config)?;
        app::operator_access(&config).map(|access| Self::Tables(access.store)).map_err(AuditError::Connect)
    }

    async fn page(&self, after: Option<&str>) -> Result<Vec<Value>, AuditError> {
        match self {
            Self::Tables(store) => store.audit(after, PAGE_RECORDS).await.map_err(AuditError::Store),
            #[cfg(feature = "local")]
            Self::Local(control) => control.audit(after, PAGE_RECORDS).await.map_err(AuditError::Control),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_time_is_a_moment_a_day_or_a_time_before_now() {
        let now = datetime!(2026-11-25 12:00 UTC);
        let check = |text, expected| assert_eq!(parse_time(text, now), expected, "{text}");
        check("2026-11-24", Some(datetime!(2026-11-24 0:00 UTC)));
        check("2026-11-24T10:00:00+02:00", Some(datetime!(2026-11-24 8:00 UTC)));
        check("90m", Some(datetime!(2026-11-25 10:30 UTC)));
        check("24h", Some(datetime!(2026-11-24 12:00 UTC)));
        check("7d", Some(datetime!(2026-11-18 12:00 UTC)));
        for text in ["", "h", "-1h", "24", "24s", "yesterday", "2026-11-31", "99999999999999999999d", "é"] {
            check(text, None);
        }
        check("9999999999999d", None);
    }
}
