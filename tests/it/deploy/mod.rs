//! The deployment files and the file of bindings.

pub(crate) mod alerts;
pub(crate) mod bindings;
pub(crate) mod compiler;
pub(crate) mod infra;
pub(crate) mod platform;
