//! The Azure clients, the simulator, Microsoft's clients for other languages against it, and the delegation that Bicep
//! makes.

pub(crate) mod access_reader;
pub(crate) mod arm_client;
pub(crate) mod clients;
pub(crate) mod delegation;
pub(crate) mod directory_reader;
pub(crate) mod simulator;
