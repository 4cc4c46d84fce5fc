//! What a running `local` is made of.

use crate::app::BackupScim;
use crate::bindings::Bindings;
use crate::engine::TableEngine;
use crate::simulator::Simulator;
use std::path::PathBuf;

/// Everything that runs.
pub(super) struct RunningLocal {
    pub service: BackupScim,
    pub simulator: Simulator,
    /// The embedded store, where the rows are not in a table service.
    pub engine: Option<TableEngine>,
    /// What clients of the simulated Azure have to trust, where it is served over TLS.
    pub ca_file: Option<PathBuf>,
    pub base_url: String,
    pub token: String,
    pub bindings: Bindings,
}
