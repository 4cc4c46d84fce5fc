//! The identity provider's list as Entra ID has it: who is assigned to the app, and the direct members of the groups among
//! them. All of it, or an error.

use super::lists::{ListedGroup, ListedKind, ListedMember, ProviderList};
use crate::id::PrincipalId;
use crate::ports::azure_access::{AppAssignment, DirectMember, DirectoryError, DirectoryReader, HolderKind};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long Entra ID is given for one answer, all of its pages included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Calls that are under way at a time.
const CALLS_MAX: usize = 8;

/// Why the list could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssignedError {
    #[error("Entra ID shows no enterprise application with the object id {0}")]
    NoApp(PrincipalId),
    #[error(
        "cannot read who is assigned to the app (it needs Microsoft Graph: Application.Read.All, by a role such as Directory Readers)"
    )]
    Assignments(#[source] DirectoryError),
    #[error("cannot read the members of the group {group} (it needs Microsoft Graph: GroupMember.Read.All)")]
    Members {
        group: String,
        #[source]
        source: DirectoryError,
    },
    #[error("cannot read the people who are assigned themselves (it needs Microsoft Graph: User.Read.All)")]
    People(#[source] DirectoryError),
}

/// What Entra ID has, and the groups that were assigned and are gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssignedList {
    pub list: ProviderList,
    pub gone: Vec<String>,
}

/// Reads who is assigned to the app of that service principal.
pub async fn read_assigned(
    directory: &dyn DirectoryReader,
    app: PrincipalId,
) -> Result<AssignedList, AssignedError> {
    let assignments = directory.assigned_to(app, ANSWER_TIMEOUT).await.map_err(AssignedError::Assignments)?;
    let assignments = assignments.ok_or(AssignedError::NoApp(app))?;
    // Who has several roles of the app comes as often.
    let by_id: BTreeMap<PrincipalId, AppAssignment> =
        assignments.into_iter().map(|assignment| (assignment.principal, assignment)).collect();
    let (groups, others): (Vec<AppAssignment>, Vec<AppAssignment>) =
        by_id.into_values().partition(|assignment| assignment.kind == HolderKind::Group);
    let read: Vec<(String, Option<ListedGroup>)> = stream::iter(groups)
        .map(|group| read_group(directory, group))
        .buffered(CALLS_MAX)
        .try_collect()
        .await?;
    let mut found = AssignedList::default();
    for (name, group) in read {
        match group {
            Some(group) => found.list.groups.push(group),
            None => found.gone.push(name),
        }
    }
    found.list.assigned = Some(people(directory, others).await?);
    Ok(found)
}

async fn read_group(
    directory: &dyn DirectoryReader,
    group: AppAssignment,
) -> Result<(String, Option<ListedGroup>), AssignedError> {
    let name = group.display_name.unwrap_or_else(|| group.principal.to_string());
    let members = directory.direct_members_of(group.principal, ANSWER_TIMEOUT).await;
    let members = members.map_err(|source| AssignedError::Members { group: name.clone(), source })?;
    let group = members.map(|members| ListedGroup {
        id: Some(group.principal.to_string()),
        name: name.clone(),
        ours: None,
        members: members.into_iter().map(listed).collect(),
    });
    Ok((name, group))
}

fn listed(member: DirectMember) -> ListedMember {
    ListedMember {
        kind: kind(member.kind),
        id: Some(member.principal.to_string()),
        user_name: member.user_principal_name,
        display_name: member.display_name,
        active: member.account_enabled.filter(|_| member.kind == HolderKind::User),
        line: None,
    }
}

/// Those who are assigned themselves. An assignment has no userName: it is asked for by the ids.
async fn people(
    directory: &dyn DirectoryReader,
    assigned: Vec<AppAssignment>,
) -> Result<Vec<ListedMember>, AssignedError> {
    let ids: Vec<PrincipalId> = assigned
        .iter()
        .filter(|assignment| assignment.kind == HolderKind::User)
        .map(|assignment| assignment.principal)
        .collect();
    let names = directory.names_of(&ids, ANSWER_TIMEOUT).await.map_err(AssignedError::People)?;
    let member = |assignment: AppAssignment| ListedMember {
        kind: kind(assignment.kind),
        id: Some(assignment.principal.to_string()),
        user_name: names.get(&assignment.principal).cloned(),
        display_name: assignment.display_name,
        active: None,
        line: None,
    };
    Ok(assigned.into_iter().map(member).collect())
}

const fn kind(of: HolderKind) -> ListedKind {
    match of {
        HolderKind::User => ListedKind::Person,
        HolderKind::Group => ListedKind::Group,
        HolderKind::ServicePrincipal | HolderKind::Other => ListedKind::Other,
    }
}
