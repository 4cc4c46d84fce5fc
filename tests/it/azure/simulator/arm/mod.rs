//! Azure Resource Manager: role assignments, listings, refusals, deny assignments, locks, custom roles, and what the
//! service's own identity may do.

mod by_hand;
mod custom_roles;
mod deny_assignments;
mod listing;
mod locks;
mod own_rights;
mod refusals;
mod role_assignments;
