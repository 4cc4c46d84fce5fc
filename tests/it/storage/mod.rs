//! The tables: the contract of every implementation, Azurite, the file of `local`.

pub(crate) mod azurite;
pub(crate) mod earlier_release;
pub(crate) mod head_archives;
pub(crate) mod sealed_audit;
pub(crate) mod state_copy;
pub(crate) mod table_file;
pub(crate) mod tables;
pub(crate) mod tables_client;
pub(crate) mod tables_faults;
