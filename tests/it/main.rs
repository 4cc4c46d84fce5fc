//! One test binary. Tests read like sentences; helpers fail loudly.
//!
//! | room | what goes there |
//! |---|---|
//! | `support` | actors, worlds, stand-ins and faults that tests are made with |
//! | `scim` | what clients send and what they get; the scenarios |
//! | `grants` | who holds what and when: membership, leavers, ticks, damage, the rules that only one test guards |
//! | `storage` | the contract of every table implementation, Azurite, the file of `local` |
//! | `azure` | the Azure clients, the simulator, the delegation that Bicep makes |
//! | `process` | the program as it is started: commands, settings, the Functions host |
//! | `resilience` | crashes, kills, lost answers, several processes |
//! | `deploy` | deployment files and the file of bindings |
//! | `architecture` | the rules of the sources and of the documents |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    reason = "a test that cannot go on should say so at once, helpers included"
)]

mod architecture;
mod azure;
mod deploy;
mod grants;
mod process;
mod resilience;
mod scim;
mod storage;
mod support;
