//! The SCIM 2.0 protocol (RFC 7643, RFC 7644), without HTTP, storage, time or randomness.
//!
//! Everything reads one attribute table (`schema`). Bodies and PATCH requests go through a tolerant normaliser that
//! understands the dialects of identity providers (`assignment`, `patch`), and then through a strict engine (`edit`), one
//! assignment at a time. What this module deliberately leaves out: who is a member of what, uniqueness, and what a
//! membership is worth in Azure.

mod assignment;
pub mod attr_path;
mod body;
pub mod compare;
mod deciding;
pub mod discovery;
mod edit;
pub mod error;
pub mod filter;
pub mod group;
pub mod page;
pub mod patch;
pub mod projection;
pub mod resource;
pub mod schema;
pub mod urn;
pub mod user;
mod value;
pub mod version;

pub use deciding::DecidingAttributes;
pub use edit::EditedResource;
pub use error::{Error, ScimType};
pub use filter::{Filter, IndexLookup};
pub use group::GroupInput;
pub use page::{ListQuery, ListText, SortKey, SortOrder, list_response};
pub use patch::{MemberChange, PatchRequest};
pub use projection::Projection;
pub use resource::{AccessView, GroupRef, MemberRef, Meta, Resource};
pub use schema::ResourceType;
