//! Microsoft Graph, as far as reading one person.

pub mod graph_user;
pub mod users_api;
