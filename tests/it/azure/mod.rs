//! The Azure clients, the simulator, and the delegation that Bicep makes.

pub(crate) mod arm_client;
pub(crate) mod delegation;
pub(crate) mod simulator;
