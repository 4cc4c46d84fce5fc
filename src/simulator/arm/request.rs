//! Recognises the requests to ARM that the simulator knows.

use super::filter::{AssignmentFilter, DefinitionFilter};
use super::scope::Scope;
use crate::simulator::errors::AzureError;
use crate::simulator::request::{CallMethod, NextLink, NotRecognised, ParsedRequest, ReceivedRequest};
use crate::simulator::services::AzureService;
use uuid::Uuid;

/// The one version of ARM's API that is known, except for locks.
pub const API_VERSION: &str = "2022-04-01";
/// The version of the API of management locks.
const LOCKS_API_VERSION: &str = "2016-09-01";

/// What a request asks for.
#[derive(Debug, Clone)]
pub enum ArmOperation {
    /// Facts: F-001, F-087.
    PutAssignment { name: Uuid, body: Vec<u8> },
    /// Facts: F-014.
    GetAssignment { name: Uuid },
    /// Facts: F-089.
    DeleteAssignment { name: Uuid },
    /// Facts: F-021, F-094.
    ListAssignments { filter: AssignmentFilter, after: Option<u64>, link: NextLink },
    /// Facts: F-036.
    GetDefinition { id: Uuid },
    /// Facts: F-037.
    ListDefinitions { filter: DefinitionFilter },
    /// Facts: F-032.
    ListDenyAssignments { filter: AssignmentFilter, after: Option<u64>, link: NextLink },
    /// Facts: F-006.
    ListLocks { at_scope: bool },
}

impl ArmOperation {
    /// The role assignment that it names.
    pub const fn assignment_name(&self) -> Option<Uuid> {
        match self {
            Self::PutAssignment { name, .. }
            | Self::GetAssignment { name }
            | Self::DeleteAssignment { name } => Some(*name),
            _ => None,
        }
    }

    /// The principal in the body of a PUT or in the filter of a listing.
    fn principal(&self) -> Option<Uuid> {
        match self {
            Self::PutAssignment { body, .. } => {
                let body: serde_json::Value = serde_json::from_slice(body).ok()?;
                Uuid::try_parse(body.pointer("/properties/principalId")?.as_str()?).ok()
            }
            Self::ListAssignments { filter, .. } | Self::ListDenyAssignments { filter, .. } => {
                filter.principal
            }
            _ => None,
        }
    }
}

/// Reads a request.
/// Facts: F-013, F-171.
pub fn recognise(received: &ReceivedRequest) -> Result<ParsedRequest<ArmOperation>, NotRecognised> {
    // Several slashes at the beginning count as one: the client in JavaScript puts one before a scope that has its own.
    let segments: Vec<&str> = received.path.trim_matches('/').split('/').collect();
    let (scope, kind, name) = split_path(&segments).ok_or_else(|| NotRecognised::because("unknown path"))?;
    let scope =
        Scope::from_segments(scope).ok_or_else(|| NotRecognised::because("unknown shape of scope"))?;
    let is_lock = kind.eq_ignore_ascii_case("locks");
    check_query(received, if is_lock { LOCKS_API_VERSION } else { API_VERSION })?;
    let (method, operation) = match kind.to_ascii_lowercase().as_str() {
        "roleassignments" => assignment_operation(received, name)?,
        "roledefinitions" => definition_operation(received, name)?,
        "denyassignments" => deny_operation(received, name)?,
        "locks" => lock_operation(received, name)?,
        _ => return Err(NotRecognised::because(format!("unknown resource type {kind}"))),
    };
    let principal = operation.principal();
    Ok(ParsedRequest { service: AzureService::Arm, scope, method, about: None, principal, operation })
}

fn check_query(received: &ReceivedRequest, known: &str) -> Result<(), NotRecognised> {
    let version = received.parameter("api-version");
    let version = version.ok_or_else(|| NotRecognised::Refused(AzureError::missing_api_version()))?;
    if version != known {
        return Err(NotRecognised::because(format!("unknown api-version {version:?}")));
    }
    received.check_parameters(&["api-version", "$filter", "$skiptoken"])
}

/// Scope, resource type, and name if there is one.
fn split_path<'a>(segments: &'a [&'a str]) -> Option<(&'a [&'a str], &'a str, Option<&'a str>)> {
    let ours = |providers: &str, namespace: &str| {
        providers.eq_ignore_ascii_case("providers")
            && namespace.eq_ignore_ascii_case("Microsoft.Authorization")
    };
    match segments {
        [scope @ .., providers, namespace, kind] if ours(providers, namespace) => Some((scope, kind, None)),
        [scope @ .., providers, namespace, kind, name] if ours(providers, namespace) => {
            Some((scope, kind, Some(name)))
        }
        _ => None,
    }
}

fn assignment_operation(
    received: &ReceivedRequest,
    name: Option<&str>,
) -> Result<(CallMethod, ArmOperation), NotRecognised> {
    let Some(name) = name else {
        return list_assignments(received).map(|operation| (CallMethod::List, operation));
    };
    let guid = || {
        Uuid::try_parse(name).map_err(|_| NotRecognised::Refused(AzureError::invalid_assignment_name(name)))
    };
    match received.verb.as_str() {
        "PUT" => {
            let operation = ArmOperation::PutAssignment { name: guid()?, body: received.body.clone() };
            Ok((CallMethod::Put, operation))
        }
        "GET" => Ok((CallMethod::Get, ArmOperation::GetAssignment { name: guid()? })),
        "DELETE" => Ok((CallMethod::Delete, ArmOperation::DeleteAssignment { name: guid()? })),
        verb => Err(NotRecognised::because(format!("{verb} of a role assignment"))),
    }
}

fn list_assignments(received: &ReceivedRequest) -> Result<ArmOperation, NotRecognised> {
    if received.verb != "GET" {
        return Err(NotRecognised::because(format!("{} of all role assignments", received.verb)));
    }
    let (filter, after) = page_of(received)?;
    Ok(ArmOperation::ListAssignments { filter, after, link: NextLink::of(received) })
}

fn deny_operation(
    received: &ReceivedRequest,
    name: Option<&str>,
) -> Result<(CallMethod, ArmOperation), NotRecognised> {
    if received.verb != "GET" || name.is_some() {
        return Err(NotRecognised::because(format!("{} of a deny assignment", received.verb)));
    }
    let (filter, after) = page_of(received)?;
    let link = NextLink::of(received);
    Ok((CallMethod::List, ArmOperation::ListDenyAssignments { filter, after, link }))
}

/// The filter of a listing, and after which entry its page begins.
fn page_of(received: &ReceivedRequest) -> Result<(AssignmentFilter, Option<u64>), NotRecognised> {
    let filter = AssignmentFilter::parse(received.parameter("$filter").unwrap_or_default());
    let filter = filter.map_err(|error| NotRecognised::because(error.to_string()))?;
    let after = received.parameter("$skiptoken").map(|token| {
        u64::from_str_radix(token, 16)
            .map_err(|_| NotRecognised::because("a skip token that was never given out"))
    });
    Ok((filter, after.transpose()?))
}

fn lock_operation(
    received: &ReceivedRequest,
    name: Option<&str>,
) -> Result<(CallMethod, ArmOperation), NotRecognised> {
    if received.verb != "GET" || name.is_some() {
        return Err(NotRecognised::because(format!("{} of a management lock", received.verb)));
    }
    let at_scope = match received.parameter("$filter").unwrap_or_default() {
        "" => false,
        filter if filter.eq_ignore_ascii_case("atScope()") => true,
        filter => {
            return Err(NotRecognised::because(format!("unknown filter {filter:?} of management locks")));
        }
    };
    Ok((CallMethod::List, ArmOperation::ListLocks { at_scope }))
}

fn definition_operation(
    received: &ReceivedRequest,
    name: Option<&str>,
) -> Result<(CallMethod, ArmOperation), NotRecognised> {
    if received.verb != "GET" {
        return Err(NotRecognised::because(format!("{} of a role definition", received.verb)));
    }
    if let Some(name) = name {
        let id = Uuid::try_parse(name)
            .map_err(|_| NotRecognised::because("a role definition id that is no GUID"))?;
        return Ok((CallMethod::Get, ArmOperation::GetDefinition { id }));
    }
    let filter = DefinitionFilter::parse(received.parameter("$filter").unwrap_or_default());
    Ok((
        CallMethod::List,
        ArmOperation::ListDefinitions {
            filter: filter.map_err(|error| NotRecognised::because(error.to_string()))?,
        },
    ))
}
