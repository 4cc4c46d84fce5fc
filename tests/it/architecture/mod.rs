//! The rules of the sources and of the documents.

pub(crate) mod docs;
pub(crate) mod tidy;
