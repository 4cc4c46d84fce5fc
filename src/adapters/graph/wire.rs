//! The JSON shapes of directory objects, Microsoft Graph v1.0.

use crate::id::PrincipalId;
use crate::ports::azure_access::{DirectoryMember, HolderKind};
use serde::Deserialize;
use serde_json::{Value, json};

/// What was read on one page of a listing, and where it goes on.
pub struct ObjectPage {
    pub objects: Vec<DirectoryMember>,
    pub next_link: Option<String>,
}

#[derive(Deserialize)]
struct Listing {
    value: Vec<ObjectBody>,
    #[serde(rename = "@odata.nextLink")]
    next_link: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectBody {
    #[serde(rename = "@odata.type")]
    odata_type: Option<String>,
    id: String,
    display_name: Option<String>,
    user_principal_name: Option<String>,
}

/// Reads a page. One object that cannot be understood makes it an error.
pub fn page(body: &[u8]) -> Result<ObjectPage, String> {
    let listing: Listing = serde_json::from_slice(body)
        .map_err(|error| format!("a listing of the directory cannot be understood: {error}"))?;
    let objects: Result<Vec<DirectoryMember>, String> = listing.value.into_iter().map(object).collect();
    Ok(ObjectPage { objects: objects?, next_link: listing.next_link.filter(|link| !link.is_empty()) })
}

fn object(body: ObjectBody) -> Result<DirectoryMember, String> {
    let kind = match body.odata_type.as_deref() {
        Some("#microsoft.graph.user") => HolderKind::User,
        Some("#microsoft.graph.group") => HolderKind::Group,
        Some("#microsoft.graph.servicePrincipal") => HolderKind::ServicePrincipal,
        _ => HolderKind::Other,
    };
    let principal = PrincipalId::parse(&body.id).map_err(|error| error.to_string())?;
    let names = [body.user_principal_name, body.display_name];
    let name = names.into_iter().flatten().find(|name| !name.is_empty());
    Ok(DirectoryMember { principal, kind, name })
}

/// The question for objects by their ids.
pub fn by_ids(ids: &[PrincipalId]) -> Value {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    json!({ "ids": ids, "types": ["user", "group", "servicePrincipal"] })
}
