//! Recognises the requests that the simulator knows; those to ARM here, those to the other services where these stand.
//!
//! What it does not know is never guessed at: it becomes [`Unknown::Unrecognised`], is kept, and fails the run.

use super::error::AzureError;
use super::filter::{AssignmentFilter, DefinitionFilter};
use super::scope::Scope;
use super::service::Service;
use super::{graph, identity, vault};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The one version of ARM's API that is known.
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
    pub service: Service,
    pub verb: String,
    /// As sent, for links and for the record.
    pub uri: String,
    /// Percent-decoded.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub host: String,
    /// Whom the caller meant, where a transport of its own brought the request here.
    pub original_host: Option<String>,
    pub bearer_token: Option<String>,
    /// What stood in `x-identity-header`.
    pub identity_header: String,
    pub body: Vec<u8>,
}

impl Received {
    /// The address that the caller has of this service: what it means when it follows a link.
    pub fn origin(&self) -> String {
        match &self.original_host {
            Some(host) => format!("https://{host}"),
            None => format!("http://{}", self.host),
        }
    }

    /// Every query parameter is one of these.
    pub fn check_parameters(&self, known: &[&str]) -> Result<(), Unknown> {
        match self.query.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(Unknown::because(format!("unknown query parameter {name:?}"))),
            None => Ok(()),
        }
    }

    pub fn parameter(&self, name: &str) -> Option<&str> {
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
    Vault(vault::Operation),
    Identity(identity::Operation),
    Graph(graph::Operation),
}

/// How the link to the next page is made: this request's address with a skip token.
#[derive(Debug, Clone)]
pub struct NextLink {
    address: String,
}

impl NextLink {
    /// The link of a request.
    pub fn of(received: &Received) -> Self {
        let (path, query) = received.uri.split_once('?').unwrap_or((&received.uri, ""));
        let kept = query.split('&').filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default().to_ascii_lowercase();
            !pair.is_empty() && name != "$skiptoken" && name != "%24skiptoken"
        });
        let query: Vec<&str> = kept.collect();
        Self { address: format!("{}{path}?{}", received.origin(), query.join("&")) }
    }

    /// The link to what comes after that mark.
    pub fn after(&self, mark: &str) -> String {
        format!("{}&$skiptoken={mark}", self.address)
    }
}

/// A recognised request.
#[derive(Debug, Clone)]
pub struct Request {
    pub service: Service,
    /// In ARM; elsewhere the root, which says nothing.
    pub scope: Scope,
    pub method: Method,
    /// Outside of ARM: the secret, the audience or the person that it is about.
    pub about: Option<String>,
    /// The principal that it speaks of itself: in its address, its body or its filter.
    pub principal: Option<Uuid>,
    pub operation: Operation,
}

impl Request {
    /// A request to another service than ARM.
    pub fn outside_arm(service: Service, method: Method, about: String, operation: Operation) -> Self {
        let about = Some(about);
        Self { service, scope: Scope::root(), method, about, principal: None, operation }
    }

    /// The assignment that it names.
    pub fn name(&self) -> Option<Uuid> {
        match &self.operation {
            Operation::PutAssignment { name, .. }
            | Operation::GetAssignment { name }
            | Operation::DeleteAssignment { name } => Some(*name),
            _ => None,
        }
    }
}

impl Operation {
    /// The principal in the body of a PUT or in the filter of a listing.
    fn principal(&self) -> Option<Uuid> {
        match self {
            Self::PutAssignment { body, .. } => {
                let body: serde_json::Value = serde_json::from_slice(body).ok()?;
                Uuid::try_parse(body.pointer("/properties/principalId")?.as_str()?).ok()
            }
            Self::ListAssignments { filter, .. } => filter.principal,
            _ => None,
        }
    }
}

/// Why a request is not one of ours to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unknown {
    /// ARM answers such a request with this error.
    Refused(AzureError),
    /// Nobody wrote down what ARM does with it.
    Unrecognised(String),
}

impl Unknown {
    /// One that was never taught, and why.
    pub fn because(reason: impl Into<String>) -> Self {
        Self::Unrecognised(reason.into())
    }
}

/// Reads a request.
pub fn recognise(received: &Received) -> Result<Request, Unknown> {
    match received.service {
        Service::Arm => recognise_arm(received),
        Service::Vault => vault::recognise(received),
        Service::Identity => identity::recognise(received),
        Service::Graph => graph::recognise(received),
    }
}

fn recognise_arm(received: &Received) -> Result<Request, Unknown> {
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
    let principal = operation.principal();
    Ok(Request { service: Service::Arm, scope, method, about: None, principal, operation })
}

fn check_query(received: &Received) -> Result<(), Unknown> {
    let version = received.parameter("api-version");
    let version = version.ok_or_else(|| Unknown::Refused(AzureError::missing_api_version()))?;
    if version != API_VERSION {
        return Err(Unknown::because(format!("unknown api-version {version:?}")));
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

fn assignment_operation(received: &Received, name: Option<&str>) -> Result<(Method, Operation), Unknown> {
    let Some(name) = name else {
        return list_assignments(received).map(|operation| (Method::List, operation));
    };
    let guid =
        || Uuid::try_parse(name).map_err(|_| Unknown::Refused(AzureError::invalid_assignment_name(name)));
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
