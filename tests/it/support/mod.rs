//! What tests are made with: actors, worlds, stand-ins, faults. No test asserts here, aside from those of the helpers.

pub mod chaos;
pub mod clock;
pub mod cloud;
pub mod dice;
pub mod fault_injection;
pub mod harness;
pub mod host;
pub mod host_client;
pub mod idp;
pub mod installed;
pub mod keys;
pub mod local_process;
pub mod requests;
pub mod rows;
