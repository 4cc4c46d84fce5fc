//! SCIM over HTTP and in the use cases: what clients send, and what they get.

pub(crate) mod bulk;
pub(crate) mod cursors;
pub(crate) mod dropped_assignments;
pub(crate) mod etags;
pub(crate) mod head;
pub(crate) mod http_connections;
pub(crate) mod http_edge;
pub(crate) mod limits;
pub(crate) mod look_alikes;
pub(crate) mod membership_limit;
pub(crate) mod mutated_requests;
pub(crate) mod patch_model;
pub(crate) mod provisioning;
pub(crate) mod request_log;
pub(crate) mod scenarios;
pub(crate) mod streamed_lists;
pub(crate) mod suites;
