//! The SCIM 2.0 protocol (RFC 7643, RFC 7644), without HTTP, storage, time or randomness.
//!
//! Everything reads one attribute table (`schema`). Bodies and PATCH requests go through a tolerant normaliser that
//! understands the dialects of identity providers (`assignment`, `patch`), and then through a strict engine (`edit`), one
//! assignment at a time. What this module deliberately leaves out: who is a member of what, uniqueness, and what a
//! membership is worth in Azure.

mod asked;
mod assignment;
mod attr_path;
pub(crate) mod bulk;
mod bulk_reference;
pub(crate) mod compare;
mod date_time;
mod deciding;
pub(crate) mod discovery;
mod dropped;
mod edit;
mod error;
mod filter;
pub(crate) mod group;
mod json_object;
pub mod page;
mod patch;
mod patch_path;
mod patch_verb;
mod precondition;
mod projection;
mod quoted_text;
mod resource;
mod resource_input;
pub mod schema;
mod sort_order;
mod stored_document;
pub mod urn;
pub(crate) mod user;
mod user_text;
mod value;
pub(crate) mod version;

pub use asked::AskedAttributes;
pub use bulk::{BulkOperation, BulkRequest};
pub use compare::has_hidden;
pub use deciding::DecidingAttributes;
pub(crate) use dropped::DropReason;
pub use dropped::DroppedAttributes;
pub(crate) use edit::EditedResource;
pub use error::{Error, ScimType};
pub use filter::{Filter, IndexLookup};
pub use group::GroupInput;
pub use page::{ListQuery, PageCursors, Paging};
pub(crate) use page::{ListText, QueryIdentity, TypeQuery, list_response};
pub(crate) use patch::MemberChange;
pub use patch::PatchRequest;
pub use precondition::Preconditions;
pub(crate) use precondition::ReadCondition;
pub use projection::Projection;
pub use resource::Resource;
pub(crate) use resource::{AccessView, GroupRef, MemberRef, Meta};
pub use schema::ResourceType;
pub(crate) use sort_order::{SortKey, SortOrder};
pub use stored_document::StoredDocument;
pub use user::UserInput;
pub(crate) use user_text::UserText;
