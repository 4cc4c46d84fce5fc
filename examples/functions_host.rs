//! The stand-in for the Azure Functions host, from a command line:
//!
//! `PATH="$PWD/target/debug:$PATH" cargo run --example functions_host -- --app-root . --env AzureFunctionsJobHost__customHandler__description__arguments__0=local`
//!
//! It starts what `host.json` names, relays its lines, fires its timers as their schedules say, and stops with Ctrl-C or
//! SIGTERM. The program that `host.json` names is looked for below the app root and on PATH. The values of `local.settings.json` are the app settings, as they are for Core Tools; `--env` stands above them.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for developers, on code that is shared with the tests"
)]

#[allow(dead_code, unused_imports, reason = "the tests use more of it")]
#[path = "../tests/it/support/host/mod.rs"]
mod host;

use clap::{Parser, ValueEnum};
use host::{HOST_URL, Host, HostOptions, Level, Line, Schedule, ScheduleStatus, State, Transport};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// A stand-in for the Azure Functions host, on loopback.
///
/// The program that host.json names is looked for below the app root and on PATH. Without any Azure:
/// PATH="$PWD/target/debug:$PATH" cargo run --example functions_host -- --env AzureFunctionsJobHost__customHandler__description__arguments__0=local
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder with host.json and the functions.
    #[arg(long, default_value = ".", value_name = "DIR")]
    app_root: PathBuf,
    /// An app setting; may be given often. Overrides of host.json are written AzureFunctionsJobHost__a__b=value.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// What the host does with requests: newer hosts proxy them, older ones forward them.
    #[arg(long, value_enum, default_value = "proxy")]
    transport: Kind,
    /// Where to listen on 127.0.0.1; 0 picks a free port.
    #[arg(long, default_value_t = 7071)]
    port: u16,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Proxy,
    Forward,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let chain = std::iter::successors(Some(&*error), |error| error.source());
            eprintln!("{}", chain.map(ToString::to_string).collect::<Vec<_>>().join(": "));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut options = HostOptions::new(&arguments.app_root).transport(match arguments.transport {
        Kind::Proxy => Transport::Proxy,
        Kind::Forward => Transport::Forward,
    });
    options.port = arguments.port;
    // Else `meta.location` would name the app behind the host.
    options.settings.insert("PUBLIC_BASE_URL".to_owned(), HOST_URL.to_owned());
    options.settings.extend(local_settings(&arguments.app_root)?);
    options.settings.extend(arguments.env);
    options.relay = Some(Box::new(relay));
    let host = Arc::new(Host::start(options)?);
    for finding in &host.layout().findings {
        eprintln!("finding: {finding}");
    }
    println!("{}", host.url());
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(attend(host));
    Ok(())
}

/// The `Values` of local.settings.json, where there is one.
fn local_settings(app_root: &Path) -> Result<BTreeMap<String, String>, Box<dyn std::error::Error>> {
    #[derive(serde::Deserialize)]
    struct LocalSettings {
        #[serde(rename = "Values", default)]
        values: BTreeMap<String, String>,
    }
    match std::fs::read_to_string(app_root.join("local.settings.json")) {
        Ok(text) => Ok(serde_json::from_str::<LocalSettings>(&text)?.values),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error.into()),
    }
}

fn relay(line: &Line) {
    match line.level {
        Level::Information => println!("{}", line.text),
        Level::Warning | Level::Error => eprintln!("{}", line.text),
    }
}

/// Until Ctrl-C or SIGTERM, or until the host gives up.
async fn attend(host: Arc<Host>) {
    let settled = host.clone();
    let state = tokio::task::spawn_blocking(move || settled.settled()).await;
    match state {
        Ok(State::Ready { pid, took }) => println!("ready after {took:?}, pid {pid}"),
        Ok(State::Dead(why)) => return eprintln!("the host gives up: {why}"),
        other => eprintln!("not ready: {other:?}"),
    }
    for (function, schedule) in host.timers() {
        tokio::spawn(tick(host.clone(), function, schedule));
    }
    if let Err(error) = asked_to_stop().await {
        eprintln!("signals cannot be waited for: {error}");
    }
}

/// Ctrl-C, or SIGTERM where there is one.
async fn asked_to_stop() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            asked = tokio::signal::ctrl_c() => asked,
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

/// Fires one timer whenever its schedule says so, and says how that went.
async fn tick(host: Arc<Host>, function: String, schedule: Schedule) {
    let mut last = OffsetDateTime::now_utc();
    while let Some(due) = schedule.next(OffsetDateTime::now_utc()) {
        let wait = Duration::try_from(due - OffsetDateTime::now_utc()).unwrap_or_default();
        tokio::time::sleep(wait).await;
        let next = schedule.next(due).unwrap_or(due);
        let status = ScheduleStatus { last, next, last_updated: last };
        let (on, name) = (host.clone(), function.clone());
        let fired = tokio::task::spawn_blocking(move || on.fire_timer(&name, false, Some(status))).await;
        match fired {
            Ok(call) => println!("{function}: {:?} after {:?}", call.outcome, call.duration),
            Err(error) => eprintln!("{function}: {error}"),
        }
        last = due;
    }
}
