//! Microsoft Graph, as far as reading people, groups and service principals.

mod directory_object;
mod get_by_ids;
pub mod graph_group;
pub mod graph_user;
mod group_members;
pub mod object_type;
pub mod request;
mod users_api;
