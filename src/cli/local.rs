//! `local`: the first command of a newcomer.

use crate::app;
use crate::cli::exit::{EXIT_DEPENDENCY, EXIT_FINDINGS, EXIT_USAGE, complain, in_file};
use crate::config;
use crate::local::{self, ChangedBindingsError, DemoError, LocalError, LocalOptions, TableServiceError};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

/// The port of a first run.
const PORT: u16 = 7071;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where to listen; port 0 picks a free one. Loopback only.
    /// [default: 127.0.0.1:7071, or the port that a Functions host asks for]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// The folder that keeps the store, the simulated Azure's state and the token.
    #[arg(long, default_value = ".azure-backup-scim", value_name = "DIR")]
    state: PathBuf,
    /// The bindings; without it, a built-in example.
    #[arg(long, value_name = "FILE")]
    bindings: Option<PathBuf>,
    /// Keep the rows in a table service instead: a connection string such as UseDevelopmentStorage=true (Azurite), or
    /// @FILE with one in it, where its key is a secret. The table is `scimlocal`. Azure stays simulated, its clock too.
    #[arg(long, value_name = "CONNECTION_STRING")]
    tables: Option<String>,
    /// Serve the simulated Azure over TLS as well, for clients that refuse plain HTTP. The certificate is made at the
    /// first start and kept in the state folder. Clients have to trust the CA file that is printed.
    #[arg(long)]
    tls: bool,
    /// Print one line of JSON when ready: base_url, token, arm_url, control_url, vault_url, graph_url,
    /// identity_endpoint, identity_header, pid; with --tls, ca_file too.
    #[arg(long, conflicts_with = "demo")]
    json: bool,
    /// Make a changed bindings file active without asking, whatever it takes away or gives.
    #[arg(long)]
    yes: bool,
    /// Say in /ServiceProviderConfig how lists are paged (RFC 9865). Cursors are answered in either case.
    #[arg(long)]
    announce_cursors: bool,
    /// Play a short day of an identity provider, then stop: exit code 1 if Azure does not hold what it should.
    #[arg(long)]
    demo: bool,
}

/// Runs until it is stopped.
pub fn run(arguments: Arguments) -> ExitCode {
    let Arguments { listen, state, bindings, json, demo, tables, tls, yes, announce_cursors } = arguments;
    let variables = config::environment();
    let (handler_port, public_origin) = match under_a_host(&variables) {
        Ok(host) => host,
        Err(error) => {
            complain(&error);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let tables = match tables.as_deref().map(in_file).transpose() {
        Ok(tables) => tables,
        Err(error) => {
            complain(&error);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let listen = listen.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, handler_port.unwrap_or(PORT)).into());
    let options = LocalOptions {
        listen,
        handler_port,
        public_origin,
        state,
        bindings,
        json,
        demo,
        yes,
        tls,
        announce_cursors,
        tables,
    };
    app::install_tls();
    match local::block_on(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(code(&error))
        }
    }
}

/// The port that a Functions host has chosen, and where it is called itself; nothing where there is no host.
fn under_a_host(
    variables: &BTreeMap<String, String>,
) -> Result<(Option<u16>, Option<String>), config::ConfigError> {
    let handler_port = config::handler_port(variables)?;
    let public_origin = if handler_port.is_some() { config::public_origin(variables)? } else { None };
    Ok((handler_port, public_origin))
}

fn code(error: &LocalError) -> u8 {
    match error {
        LocalError::Drift { .. } => EXIT_FINDINGS,
        LocalError::Demo(DemoError::NothingBound) => EXIT_USAGE,
        LocalError::Tables(TableServiceError::Table { .. }) => EXIT_DEPENDENCY,
        LocalError::NotLoopback { .. }
        | LocalError::State(_)
        | LocalError::Certificate(_)
        | LocalError::Tables(_)
        | LocalError::Listen { .. }
        | LocalError::TableGone { .. }
        | LocalError::BindingsFile { .. }
        | LocalError::Changed(ChangedBindingsError::NotAgreed { .. })
        | LocalError::Bindings(_) => EXIT_USAGE,
        _ => EXIT_DEPENDENCY,
    }
}
