//! Bulk requests (RFC 7644 section 3.7): what one asks for, in which order, and what answers it.

mod plan;
mod request;
mod response;

pub(crate) use plan::{BulkStep, order};
pub(crate) use request::{BulkAction, BulkCall, ReferenceState, ResourceBody};
pub use request::{BulkOperation, BulkRequest, OPERATIONS_MAX, PAYLOAD_BYTES_MAX};
pub(crate) use response::{OperationResponse, bulk_response};
