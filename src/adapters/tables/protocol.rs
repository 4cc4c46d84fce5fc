//! What every request to the table service says of its form.

/// The version of the service's interface that every request names; older ones take no Entra token.
pub const API_VERSION: &str = "2020-12-06";
/// The version of OData that JSON needs.
pub const ODATA_VERSION: &str = "3.0;NetFx";
/// Types beside every property that JSON alone does not tell, and no links.
pub const ACCEPT: &str = "application/json;odata=minimalmetadata";
