//! Who should hold what. Pure: nothing here reads or changes anything.

pub mod arm_scope;
pub mod assignment;
pub mod binding;
pub mod breaker;
pub mod condition;
pub mod ledger;
pub mod plan;
pub mod privileged;
pub mod reason;
pub mod role;
pub mod scope;
pub mod verbs;

pub use assignment::{AssignmentName, PrincipalType, RoleAssignment};
pub use binding::{BindingKind, BindingName, DRILL_BINDING};
pub use reason::{GrantState, ReasonCode};
pub use role::BackupRole;
pub use scope::Scope;
