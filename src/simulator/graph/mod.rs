//! Microsoft Graph, as far as reading people, groups, service principals, and who is assigned to
//! an application.

mod app_assignments;
mod directory_object;
mod get_by_ids;
pub mod graph_group;
pub mod graph_user;
mod group_members;
pub mod object_type;
pub mod request;
mod users_api;
