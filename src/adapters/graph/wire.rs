//! The JSON shapes of directory objects and of assignments to applications, Microsoft Graph v1.0.

use crate::id::PrincipalId;
use crate::ports::azure_access::{AppAssignment, DirectMember, DirectoryMember, HolderKind};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What was read on one page of a listing, and where it goes on.
pub struct ListingPage<T> {
    pub found: Vec<T>,
    pub next_link: Option<String>,
}

#[derive(Deserialize)]
#[serde(bound = "B: DeserializeOwned")]
struct Listing<B> {
    value: Vec<B>,
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
    account_enabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AssignmentBody {
    principal_id: String,
    principal_type: Option<String>,
    principal_display_name: Option<String>,
}

/// A page of directory objects.
pub fn objects(body: &[u8]) -> Result<ListingPage<DirectoryMember>, String> {
    page(body, |body: ObjectBody| {
        let member = direct_member(body)?;
        let names = [member.user_principal_name, member.display_name];
        let name = names.into_iter().flatten().next();
        Ok(DirectoryMember { principal: member.principal, kind: member.kind, name })
    })
}

/// The same, with what is read of direct members.
pub fn direct_members(body: &[u8]) -> Result<ListingPage<DirectMember>, String> {
    page(body, direct_member)
}

/// A page of assignments to an application.
pub fn assignments(body: &[u8]) -> Result<ListingPage<AppAssignment>, String> {
    page(body, |body: AssignmentBody| {
        Ok(AppAssignment {
            principal: principal(&body.principal_id)?,
            kind: HolderKind::parse(&body.principal_type.unwrap_or_default()),
            display_name: said(body.principal_display_name),
        })
    })
}

/// Reads a page. One element that cannot be understood makes it an error.
fn page<B: DeserializeOwned, T>(
    body: &[u8],
    read: impl Fn(B) -> Result<T, String>,
) -> Result<ListingPage<T>, String> {
    let listing: Listing<B> = serde_json::from_slice(body)
        .map_err(|error| format!("a listing of the directory cannot be understood: {error}"))?;
    let found: Result<Vec<T>, String> = listing.value.into_iter().map(read).collect();
    Ok(ListingPage { found: found?, next_link: said(listing.next_link) })
}

fn direct_member(body: ObjectBody) -> Result<DirectMember, String> {
    let kind = match body.odata_type.as_deref() {
        Some("#microsoft.graph.user") => HolderKind::User,
        Some("#microsoft.graph.group") => HolderKind::Group,
        Some("#microsoft.graph.servicePrincipal") => HolderKind::ServicePrincipal,
        _ => HolderKind::Other,
    };
    Ok(DirectMember {
        principal: principal(&body.id)?,
        kind,
        display_name: said(body.display_name),
        user_principal_name: said(body.user_principal_name),
        account_enabled: body.account_enabled,
    })
}

fn principal(id: &str) -> Result<PrincipalId, String> {
    PrincipalId::parse(id).map_err(|error| error.to_string())
}

fn said(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// The question for objects by their ids.
pub fn by_ids(ids: &[PrincipalId]) -> Value {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    json!({ "ids": ids, "types": ["user", "group", "servicePrincipal"] })
}
