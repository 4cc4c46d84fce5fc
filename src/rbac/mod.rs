//! Who should hold what. Pure: nothing here reads or changes anything.

pub mod assignment;
pub mod binding;
pub mod ledger;
pub mod plan;
pub mod reason;
pub mod role;
pub mod scope;

pub use assignment::{AssignmentName, PrincipalType, RoleAssignment};
pub use binding::{BindingName, Kind};
pub use reason::{ReasonCode, State};
pub use role::BackupRole;
pub use scope::Scope;
