//! The options of `local`.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The options of one run.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    pub listen: SocketAddr,
    /// The port that a Functions host has chosen, if one has.
    pub handler_port: Option<u16>,
    /// Where callers find that host; without it, where this listens.
    pub public_origin: Option<String>,
    pub state: PathBuf,
    pub bindings: Option<PathBuf>,
    pub json: bool,
    pub demo: bool,
    /// A changed file becomes active without a question.
    pub yes: bool,
    /// The simulated Azure is served over TLS.
    pub tls: bool,
    /// `/ServiceProviderConfig` says how lists are paged.
    pub announce_cursors: bool,
    /// A connection string: the rows are kept there.
    pub tables: Option<String>,
}
