//! Reading who has access from Azure and Entra ID, with the rights of whoever asks. What cannot be read is said, and hides nothing
//! else.

use super::rows::{AzureView, TargetAccess};
use crate::id::PrincipalId;
use crate::ports::azure_access::{AccessReader, DirectoryReader, HolderKind};
use crate::ports::role_assignments::{AssignmentError, RejectionReason};
use crate::rbac::Scope;
use crate::rbac::arm_scope::ArmScope;
use futures_util::{StreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// How long Azure and Entra ID are given for one answer, all of its pages included.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Calls that are under way at a time.
const CALLS_MAX: usize = 8;
/// Scopes that one report asks Azure for.
pub const TARGETS_MAX: usize = 1000;

/// Who is asked.
pub struct AzureReaders<'a> {
    pub access: &'a dyn AccessReader,
    pub directory: &'a dyn DirectoryReader,
}

/// What Azure showed, and what it did not.
#[derive(Debug, Default)]
pub struct LiveView {
    pub view: AzureView,
    /// The scopes of which Azure listed nothing: what is recorded has to stand for it.
    pub unlisted: Vec<Scope>,
    pub unseen: UnseenParts,
}

/// Where something is shown that a deny assignment may take away.
const MAY_BE_LESS: &str = "more is shown than may be allowed";

/// What could not be seen: of what, why, and which of them.
#[derive(Debug, Default)]
pub struct UnseenParts(BTreeMap<(&'static str, String), Vec<String>>);

impl UnseenParts {
    fn add(&mut self, what: &'static str, which: impl ToString, why: &str) {
        self.0.entry((what, why.to_owned())).or_default().push(which.to_string());
    }

    /// A sentence for each kind and cause.
    pub fn sentences(&self) -> Vec<String> {
        let sentence = |((what, why), which): (&(&str, String), &Vec<String>)| {
            let first = which.first()?;
            let more = which.len() - 1;
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            Some(format!("{what} {first}{more}: {why}"))
        };
        self.0.iter().filter_map(sentence).collect()
    }
}

/// The scopes below `scope` where something is assigned, as far as they are ones that this service can bind.
pub async fn scopes_below(
    azure: &AzureReaders<'_>,
    scope: &Scope,
) -> Result<BTreeSet<Scope>, AssignmentError> {
    let here = ArmScope::from(scope);
    let around = azure.access.around(scope, ANSWER_TIMEOUT).await?;
    let below = around.iter().filter(|assignment| here.covers(&assignment.scope));
    Ok(below.filter_map(|assignment| Scope::parse(assignment.scope.as_str()).ok()).collect())
}

/// Reads what Azure says of the targets.
pub async fn read(azure: &AzureReaders<'_>, targets: &BTreeSet<Scope>, progress: &dyn Fn(usize)) -> LiveView {
    let mut live = LiveView::default();
    let mut asked = stream::iter(targets.iter().take(TARGETS_MAX))
        .map(|target| async move {
            let (listed, denied) = futures_util::join!(
                azure.access.at_or_above(target, ANSWER_TIMEOUT),
                azure.access.denied(target, ANSWER_TIMEOUT),
            );
            (target.clone(), listed, denied)
        })
        .buffered(CALLS_MAX);
    let mut done = 0;
    while let Some((target, listed, denied)) = asked.next().await {
        done += 1;
        progress(done);
        let assignments = match listed {
            Ok(assignments) => assignments,
            Err(error) if is_gone(&error) => {
                live.unseen.add("the scope", &target, "it does not exist in Azure (any more)");
                continue;
            }
            Err(error) => {
                let why = format!("{error}; what this service recorded is shown instead");
                live.unseen.add("the role assignments at", &target, &why);
                live.unlisted.push(target);
                continue;
            }
        };
        let denied = denied.unwrap_or_else(|error| {
            live.unseen.add("the deny assignments at", &target, &format!("{error}; {MAY_BE_LESS}"));
            Vec::new()
        });
        if denied.iter().any(|deny| deny.conditional) {
            live.unseen.add("what deny assignments with a condition take away at", &target, MAY_BE_LESS);
        }
        live.view.targets.push(TargetAccess { target, assignments, denied });
    }
    drop(asked);
    if targets.len() > TARGETS_MAX {
        live.unlisted.extend(targets.iter().skip(TARGETS_MAX).cloned());
        let why = "Azure is not asked for more; what this service recorded is shown instead";
        live.unseen.add("the scopes beyond the first", TARGETS_MAX, why);
    }
    read_roles(azure, &mut live).await;
    read_groups(azure, &mut live).await;
    live
}

fn is_gone(error: &AssignmentError) -> bool {
    matches!(error, AssignmentError::Rejected { reason: RejectionReason::ScopeNotFound, .. })
}

async fn read_roles(azure: &AzureReaders<'_>, live: &mut LiveView) {
    let mut wanted: BTreeMap<Uuid, &Scope> = BTreeMap::new();
    for TargetAccess { target, assignments, .. } in &live.view.targets {
        for assignment in assignments {
            wanted.entry(assignment.role).or_insert(target);
        }
    }
    let read: Vec<_> = stream::iter(wanted)
        .map(|(role, scope)| async move {
            (role, azure.access.role_definition(scope, role, ANSWER_TIMEOUT).await)
        })
        .buffered(CALLS_MAX)
        .collect()
        .await;
    for (role, definition) in read {
        match definition {
            Ok(Some(definition)) => {
                live.view.roles.insert(role, definition);
            }
            Ok(None) => live.unseen.add("the role", role, "it has no definition (any more)"),
            Err(error) => live.unseen.add("what these roles give:", role, &error.to_string()),
        }
    }
}

async fn read_groups(azure: &AzureReaders<'_>, live: &mut LiveView) {
    let mut wanted: BTreeSet<PrincipalId> = BTreeSet::new();
    for TargetAccess { assignments, denied, .. } in &live.view.targets {
        let groups = assignments.iter().filter(|assignment| assignment.holder == HolderKind::Group);
        wanted.extend(groups.map(|assignment| assignment.principal));
        wanted.extend(denied.iter().flat_map(|deny| deny.principals.iter().chain(&deny.excluded)).copied());
    }
    let named: BTreeSet<PrincipalId> = live
        .view
        .targets
        .iter()
        .flat_map(|target| &target.assignments)
        .filter(|assignment| assignment.holder == HolderKind::Group)
        .map(|assignment| assignment.principal)
        .collect();
    let read: Vec<_> = stream::iter(wanted)
        .map(|group| async move { (group, azure.directory.members_of(group, ANSWER_TIMEOUT).await) })
        .buffered(CALLS_MAX)
        .collect()
        .await;
    for (group, members) in read {
        match members {
            Ok(Some(members)) => {
                live.view.groups.insert(group, members);
            }
            // Whom a deny assignment names can be a user.
            Ok(None) => {
                if named.contains(&group) {
                    live.unseen.add("the members of the Entra group", group, "it does not exist (any more)");
                }
            }
            Err(error) => {
                let why = format!("{error}; the group is listed in place of its members");
                live.unseen.add("the members of the Entra group", group, &why);
                live.view.unresolved.insert(group);
            }
        }
    }
}
