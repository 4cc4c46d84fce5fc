//! Recognises the ARM requests that the simulator knows.
//!
//! What it does not know is never guessed at: it becomes [`Unknown::Unrecognised`], is kept, and fails the run.

use super::error::ArmError;
use super::filter::{AssignmentFilter, DefinitionFilter};
use super::scope::Scope;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The one version of the API that is known.
pub const API_VERSION: &str = "2022-04-01";

/// A call by what it does: a GET of a collection is `LIST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    List,
    Put,
    Delete,
}

/// A request as it came over the wire.
#[derive(Debug, Clone, Default)]
pub struct Received {
    pub verb: String,
    /// As sent, for links and for the record.
    pub uri: String,
    /// Percent-decoded.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub host: String,
    pub has_bearer_token: bool,
    pub body: Vec<u8>,
}

impl Received {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What a request asks for.
#[derive(Debug, Clone)]
pub enum Operation {
    PutAssignment { name: Uuid, body: Vec<u8> },
    GetAssignment { name: Uuid },
    DeleteAssignment { name: Uuid },
    ListAssignments { filter: AssignmentFilter, after: Option<u64>, link: NextLink },
    GetDefinition { id: Uuid },
    ListDefinitions { filter: DefinitionFilter },
}

/// How the link to the next page is made: this request's address with a skip token.
#[derive(Debug, Clone)]
pub struct NextLink {
    address: String,
}

impl NextLink {
    fn of(received: &Received) -> Self {
        let (path, query) = received.uri.split_once('?').unwrap_or((&received.uri, ""));
        let kept = query.split('&').filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default().to_ascii_lowercase();
            !pair.is_empty() && name != "$skiptoken" && name != "%24skiptoken"
        });
        let query: Vec<&str> = kept.collect();
        Self { address: format!("http://{}{path}?{}", received.host, query.join("&")) }
    }

    /// The link to what comes after the assignment of that sequence number.
    pub fn after(&self, sequence: u64) -> String {
        format!("{}&$skiptoken={sequence:016x}", self.address)
    }
}

/// A recognised request.
#[derive(Debug, Clone)]
pub struct Request {
    pub scope: Scope,
    pub method: Method,
    pub operation: Operation,
}

impl Request {
    /// The assignment that it names.
    pub fn name(&self) -> Option<Uuid> {
        match &self.operation {
            Operation::PutAssignment { name, .. }
            | Operation::GetAssignment { name }
            | Operation::DeleteAssignment { name } => Some(*name),
            _ => None,
        }
    }

    /// The principal that it speaks of itself: in its body or in its filter.
    pub fn principal(&self) -> Option<Uuid> {
        match &self.operation {
            Operation::PutAssignment { body, .. } => {
                let body: serde_json::Value = serde_json::from_slice(body).ok()?;
                Uuid::try_parse(body.pointer("/properties/principalId")?.as_str()?).ok()
            }
            Operation::ListAssignments { filter, .. } => filter.principal,
            _ => None,
        }
    }
}

/// Why a request is not one of ours to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// ARM answers such a request with this error.
    Refused(ArmError),
    /// Nobody wrote down what ARM does with it.
    Unrecognised(String),
}

impl Unknown {
    fn because(reason: impl Into<String>) -> Self {
        Self::Unrecognised(reason.into())
    }
}

/// Reads a request.
pub fn recognise(received: &Received) -> Result<Request, Unknown> {
    if received.verb != "GET" && !received.has_bearer_token {
        return Err(Unknown::Refused(ArmError::unauthenticated()));
    }
    check_query(received)?;
    let path = received.path.trim_end_matches('/');
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let (scope, kind, name) = split_path(&segments).ok_or_else(|| Unknown::because("unknown path"))?;
    let scope = Scope::from_segments(scope).ok_or_else(|| Unknown::because("unknown shape of scope"))?;
    let (method, operation) = match kind.to_ascii_lowercase().as_str() {
        "roleassignments" => assignment_operation(received, name)?,
        "roledefinitions" => definition_operation(received, name)?,
        _ => return Err(Unknown::because(format!("unknown resource type {kind}"))),
    };
    Ok(Request { scope, method, operation })
}

fn check_query(received: &Received) -> Result<(), Unknown> {
    let version = received.parameter("api-version");
    let version = version.ok_or_else(|| Unknown::Refused(ArmError::missing_api_version()))?;
    if version != API_VERSION {
        return Err(Unknown::because(format!("unknown api-version {version:?}")));
    }
    let known = |name: &str| matches!(name, "api-version" | "$filter" | "$skiptoken");
    match received.query.iter().find(|(name, _)| !known(name)) {
        Some((name, _)) => Err(Unknown::because(format!("unknown query parameter {name:?}"))),
        None => Ok(()),
    }
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

fn assignment_operation(received: &Received, name: Option<&str>) -> Result<(Method, Operation), Unknown> {
    let Some(name) = name else {
        return list_assignments(received).map(|operation| (Method::List, operation));
    };
    let guid =
        || Uuid::try_parse(name).map_err(|_| Unknown::Refused(ArmError::invalid_assignment_name(name)));
    match received.verb.as_str() {
        "PUT" => {
            let operation = Operation::PutAssignment { name: guid()?, body: received.body.clone() };
            Ok((Method::Put, operation))
        }
        "GET" => Ok((Method::Get, Operation::GetAssignment { name: guid()? })),
        "DELETE" => Ok((Method::Delete, Operation::DeleteAssignment { name: guid()? })),
        verb => Err(Unknown::because(format!("{verb} of a role assignment"))),
    }
}

fn list_assignments(received: &Received) -> Result<Operation, Unknown> {
    if received.verb != "GET" {
        return Err(Unknown::because(format!("{} of all role assignments", received.verb)));
    }
    let filter = AssignmentFilter::parse(received.parameter("$filter").unwrap_or_default());
    let filter = filter.map_err(Unknown::Unrecognised)?;
    let after = received.parameter("$skiptoken").map(|token| {
        u64::from_str_radix(token, 16).map_err(|_| Unknown::because("a skip token that was never given out"))
    });
    Ok(Operation::ListAssignments { filter, after: after.transpose()?, link: NextLink::of(received) })
}

fn definition_operation(received: &Received, name: Option<&str>) -> Result<(Method, Operation), Unknown> {
    if received.verb != "GET" {
        return Err(Unknown::because(format!("{} of a role definition", received.verb)));
    }
    if let Some(name) = name {
        let id =
            Uuid::try_parse(name).map_err(|_| Unknown::because("a role definition id that is no GUID"))?;
        return Ok((Method::Get, Operation::GetDefinition { id }));
    }
    let filter = DefinitionFilter::parse(received.parameter("$filter").unwrap_or_default());
    Ok((Method::List, Operation::ListDefinitions { filter: filter.map_err(Unknown::Unrecognised)? }))
}
