//! Role assignments over Azure Resource Manager.
//!
//! Every URL is made of a parsed [`Scope`], encoded segment by segment. An error is recognised by ARM's code, never by
//! its status. Nothing is retried here: the next reconcile of the person does that, because only it knows the state by then.

mod access;
mod access_wire;
mod answer;
mod error_code;
mod wire;

use super::rest::{NoAnswer, RestAnswer, RestClient, RestError, RestOptions, link_at, parse_url};
use crate::ports::role_assignments::{
    ArmAnswer, AssignmentError, CreateOutcome, ListedAssignment, RoleAssignments,
};
use crate::rbac::{AssignmentName, RoleAssignment, Scope};
use answer::ArmFailure;
use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::http::{Method, Request, Transport, Url};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use wire::Page;

/// The api-version that every call names.
const API_VERSION: &str = "2022-04-01";

/// Pages of one listing: far more than the 4,000 assignments that a subscription can hold need.
const LIST_PAGES_MAX: usize = 200;

/// The collection of role assignments at a scope.
const ROLE_ASSIGNMENTS: &str = "roleAssignments";

/// The audience of ARM's tokens in the public cloud.
pub const PUBLIC_TOKEN_SCOPE: &str = "https://management.azure.com/.default";

/// How ARM is reached.
pub struct ArmOptions {
    /// The audience of the token; [`PUBLIC_TOKEN_SCOPE`] outside of sovereign clouds.
    pub token_scope: String,
    pub clock: Arc<dyn crate::ports::clock::Clock>,
    /// A transport instead of the pooled client.
    pub transport: Option<Transport>,
}

/// The role assignments of the tenant behind one ARM endpoint.
#[derive(Debug, Clone)]
pub struct ArmRoleAssignments {
    rest: RestClient,
    endpoint: Url,
}

impl ArmRoleAssignments {
    /// A client of the ARM at `endpoint` (origin only). A rustls provider must be installed in the process before.
    pub fn new(
        endpoint: Url,
        credential: Arc<dyn TokenCredential>,
        options: ArmOptions,
    ) -> Result<Self, RestError> {
        let ArmOptions { token_scope, clock, transport } = options;
        let rest = RestClient::new(&endpoint, RestOptions { credential, token_scope, clock, transport })?;
        Ok(Self { rest, endpoint })
    }

    /// The same, from text. A text that is not an absolute URL is rejected as insecure.
    pub fn at(
        endpoint: &str,
        credential: Arc<dyn TokenCredential>,
        options: ArmOptions,
    ) -> Result<Self, RestError> {
        let endpoint = parse_url(endpoint)?;
        Self::new(endpoint, credential, options)
    }

    /// `{endpoint}{scope}/providers/Microsoft.Authorization/{collection}[/{name}]`, with the api-version.
    fn url(&self, scope: &Scope, collection: &str, name: Option<&str>) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(scope.as_str().split('/').skip(1));
            path.extend(["providers", "Microsoft.Authorization", collection]);
            path.extend(name);
        }
        url.set_query(Some(&format!("api-version={API_VERSION}")));
        url
    }

    fn by_name(&self, scope: &Scope, name: &AssignmentName) -> Url {
        self.url(scope, ROLE_ASSIGNMENTS, Some(&name.to_string()))
    }

    /// A listing with a `$filter` that holds nothing in need of encoding but blanks.
    fn listing(&self, scope: &Scope, collection: &str, filter: &str) -> Url {
        let mut url = self.url(scope, collection, None);
        let filter = filter.replace(' ', "%20");
        url.set_query(Some(&format!("api-version={API_VERSION}&$filter={filter}")));
        url
    }

    /// The answer to one request, before `deadline`.
    async fn send(&self, request: Request, deadline: Instant) -> Result<RestAnswer, AssignmentError> {
        in_time(deadline, self.rest.send(request)).await
    }

    /// What `read` finds on every page from `first` on. All pages or an error, never a part.
    async fn pages<T: Send>(
        &self,
        first: Url,
        read: impl Fn(&[u8]) -> Result<Page<T>, String> + Send + Sync,
        deadline: Instant,
    ) -> Result<Vec<T>, AssignmentError> {
        let mut found = Vec::new();
        let mut next = Some(first);
        for _ in 0..LIST_PAGES_MAX {
            let Some(url) = next else { return Ok(found) };
            let answer = self.send(Request::new(url, Method::Get), deadline).await?;
            let page = match answer.status {
                200 => read(&answer.body).map_err(answer::nonsense)?,
                _ => return Err(answer::failure(&answer).into()),
            };
            found.extend(page.entries);
            next = page.next_link.map(|link| self.follow(&link)).transpose()?;
        }
        Err(AssignmentError::Unknown { detail: format!("a listing has more than {LIST_PAGES_MAX} pages") })
    }

    /// Every page from `first` on, narrowed to backup roles at exactly `scope`.
    async fn backup_roles(
        &self,
        first: Url,
        scope: &Scope,
        deadline: Instant,
    ) -> Result<Vec<ListedAssignment>, AssignmentError> {
        self.pages(first, |body| wire::page(body)?.backup_roles_at(scope), deadline).await
    }

    /// A next link is requested with our token, so it must have the origin of the endpoint.
    fn follow(&self, link: &str) -> Result<Url, AssignmentError> {
        let elsewhere = || answer::nonsense("a listing goes on at another origin".to_owned());
        link_at(&self.endpoint, link).ok_or_else(elsewhere)
    }

    /// The assignment that already gives the triple of `wanted`. If it cannot be found, the create is still a rejection.
    async fn holder(&self, wanted: &RoleAssignment, deadline: Instant) -> Option<AssignmentName> {
        let filter = format!("principalId eq '{}'", wanted.principal);
        let first = self.listing(&wanted.scope, ROLE_ASSIGNMENTS, &filter);
        let listed = self.backup_roles(first, &wanted.scope, deadline).await.ok()?;
        let same =
            |entry: &ListedAssignment| entry.role == wanted.role && entry.principal == wanted.principal;
        listed.into_iter().find(same).map(|entry| entry.name)
    }
}

#[async_trait]
impl RoleAssignments for ArmRoleAssignments {
    async fn list(&self, scope: &Scope, timeout: Duration) -> Result<Vec<ListedAssignment>, AssignmentError> {
        let first = self.listing(scope, ROLE_ASSIGNMENTS, "atScope()");
        self.backup_roles(first, scope, deadline_in(timeout)).await
    }

    async fn get(
        &self,
        scope: &Scope,
        name: &AssignmentName,
        timeout: Duration,
    ) -> Result<Option<ListedAssignment>, AssignmentError> {
        let request = Request::new(self.by_name(scope, name), Method::Get);
        let answer = self.send(request, deadline_in(timeout)).await?;
        if answer.status == 200 {
            return wire::named(&answer.body, name).map(Some).map_err(answer::nonsense);
        }
        match answer::failure(&answer) {
            failure if failure.is_absence() => Ok(None),
            failure => Err(failure.into()),
        }
    }

    async fn create(
        &self,
        wanted: &RoleAssignment,
        timeout: Duration,
    ) -> Result<ArmAnswer<CreateOutcome>, AssignmentError> {
        let deadline = deadline_in(timeout);
        let mut request = Request::new(self.by_name(&wanted.scope, &wanted.name), Method::Put);
        request.insert_header("content-type", "application/json");
        request.set_body(wire::body(wanted).to_string());
        let answer = self.send(request, deadline).await?;
        let correlation = answer::correlation(&answer);
        let value = match (answer.status, answer::failure(&answer)) {
            (201, _) => wire::made(&answer.body, wanted).map(|()| CreateOutcome::Created),
            (200, _) => wire::made(&answer.body, wanted).map(|()| CreateOutcome::AlreadyOurs),
            (_, failure) if failure.is_conflict() => match self.holder(wanted, deadline).await {
                Some(name) if name == wanted.name => Ok(CreateOutcome::AlreadyOurs),
                Some(name) => Ok(CreateOutcome::HeldBy(name)),
                None => return Err(failure.into()),
            },
            (_, failure) => return Err(failure.into()),
        };
        Ok(ArmAnswer { value: value.map_err(answer::nonsense)?, correlation })
    }

    async fn delete(
        &self,
        scope: &Scope,
        name: &AssignmentName,
        timeout: Duration,
    ) -> Result<ArmAnswer<()>, AssignmentError> {
        let request = Request::new(self.by_name(scope, name), Method::Delete);
        let answer = self.send(request, deadline_in(timeout)).await?;
        let gone = || Ok(ArmAnswer { value: (), correlation: answer::correlation(&answer) });
        match (answer.status, answer::failure(&answer)) {
            // A proxy that answers 200 or 204 instead of ARM has deleted nothing. ARM gives every call an id.
            (200, _) => wire::deleted(&answer.body, name).map_err(answer::nonsense).and_then(|()| gone()),
            (204, _) if answer::correlation(&answer).is_some() => gone(),
            (_, failure) if failure.is_absence() => gone(),
            (_, failure) => Err(failure.into()),
        }
    }
}

/// When a call that may take so long must have ended.
fn deadline_in(timeout: Duration) -> Instant {
    Instant::now() + timeout
}

/// Token, connection, sending and answer together end at `deadline`.
async fn in_time<T>(
    deadline: Instant,
    call: impl Future<Output = Result<T, NoAnswer>>,
) -> Result<T, AssignmentError> {
    match timeout_at(deadline, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(AssignmentError::Unknown { detail: error.detail }),
        Err(_) => Err(AssignmentError::Unknown { detail: "no answer in time".to_owned() }),
    }
}

impl From<ArmFailure> for AssignmentError {
    fn from(failure: ArmFailure) -> Self {
        let ArmFailure { kind, status, correlation } = failure;
        match kind {
            answer::FailureKind::Throttled { retry_after } => {
                AssignmentError::Throttled { retry_after, correlation }
            }
            answer::FailureKind::Rejected { reason, code } => {
                AssignmentError::Rejected { reason, code, status, correlation }
            }
            answer::FailureKind::Unknown => {
                AssignmentError::Unknown { detail: format!("status {status} says nothing reliable") }
            }
        }
    }
}
