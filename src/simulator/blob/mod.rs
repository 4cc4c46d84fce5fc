//! Blob Storage, as far as block blobs that are written whole, in containers that may have an immutability policy.

pub mod blobs_api;
pub mod container;
