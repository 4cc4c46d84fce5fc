//! Azure Resource Manager: role assignments, listings, refusals, and what the service's own identity may do.

mod listing;
mod own_rights;
mod refusals;
mod role_assignments;
