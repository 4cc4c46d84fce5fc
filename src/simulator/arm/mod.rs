//! Azure Resource Manager: role assignments, role definitions, deny assignments, locks, conditions and limits.

mod arm_errors;
pub mod authorization;
mod built_in_roles;
pub mod condition;
pub mod custom_role;
pub mod deny_assignment;
mod deny_assignments;
pub mod directory_principal;
mod filter;
pub mod management_lock;
pub mod operations;
pub mod own_right;
pub mod request;
pub mod role_assignment;
pub mod role_assignments;
pub mod role_definitions;
pub mod scope;
pub mod token_buckets;
