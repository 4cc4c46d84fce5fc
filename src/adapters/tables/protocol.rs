//! The versions and formats that every request to the table service names.

/// The version of the service's interface that every request names; older ones accept no Entra token.
pub const API_VERSION: &str = "2020-12-06";
/// The version of OData that JSON needs.
pub const ODATA_VERSION: &str = "3.0;NetFx";
/// A type beside each property whose type JSON cannot express, and no links.
pub const ACCEPT: &str = "application/json;odata=minimalmetadata";
