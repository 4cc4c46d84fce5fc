//! Names, group members and the assignments of applications from Entra ID, over Microsoft Graph.
//!
//! Graph shows a member that the caller may not read without its name. Some tenants' Graph v1.0 shows no service
//! principals among the members of a group (docs/azure-facts.md). What is throttled is asked again after Graph's own
//! `Retry-After`, within the time of the call; nothing else is retried.

mod wire;

use super::loopback::loopback_transport;
use super::rest::{RestAnswer, RestClient, RestError, RestOptions, link_at, parse_url};
use crate::id::PrincipalId;
use crate::ports::azure_access::{
    AppAssignment, DirectMember, DirectoryError, DirectoryMember, DirectoryReader,
};
use crate::ports::clock::Clock;
use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::http::{Method, Request, Transport, Url};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};
use wire::ListingPage;

/// Graph of the public cloud.
pub const PUBLIC_ENDPOINT: &str = "https://graph.microsoft.com";
/// The audience of Graph's tokens in the public cloud.
pub const PUBLIC_TOKEN_SCOPE: &str = "https://graph.microsoft.com/.default";
/// Members on one page: the most that Graph gives.
const PAGE_MEMBERS: usize = 999;
/// Pages of one listing: 200,000 members.
const LIST_PAGES_MAX: usize = 200;
/// Ids of one question by `getByIds`: the most that Graph takes.
const IDS_MAX: usize = 1000;
/// How long a throttled request waits where Graph does not say, and at least.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(5);
const RETRY_AFTER_MIN: Duration = Duration::from_millis(100);
/// What Graph answers where there is no such object.
const NOT_FOUND: &str = "Request_ResourceNotFound";

/// How Graph is reached.
pub struct GraphOptions {
    /// The audience of the token; [`PUBLIC_TOKEN_SCOPE`] outside of sovereign clouds.
    pub token_scope: String,
    pub clock: Arc<dyn Clock>,
    /// A transport instead of the pooled client.
    pub transport: Option<Transport>,
}

/// The directory behind one Graph endpoint.
#[derive(Debug, Clone)]
pub struct GraphDirectory {
    rest: RestClient,
    endpoint: Url,
}

impl GraphDirectory {
    /// A client of the Graph at `endpoint` (origin only). A rustls provider must be installed in the process before. A
    /// text that is not an absolute URL is rejected as insecure.
    pub fn at(
        endpoint: &str,
        credential: Arc<dyn TokenCredential>,
        options: GraphOptions,
    ) -> Result<Self, RestError> {
        let endpoint = parse_url(endpoint)?;
        let GraphOptions { token_scope, clock, transport } = options;
        let rest = RestClient::new(&endpoint, RestOptions { credential, token_scope, clock, transport })?;
        Ok(Self { rest, endpoint })
    }

    /// A client of the public Graph whose requests go to the simulated Azure at `origin`, which knows them by their
    /// host.
    pub fn simulated(
        origin: &str,
        credential: Arc<dyn TokenCredential>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RestError> {
        let transport = Some(loopback_transport(&parse_url(origin)?, None)?);
        let token_scope = PUBLIC_TOKEN_SCOPE.to_owned();
        Self::at(PUBLIC_ENDPOINT, credential, GraphOptions { token_scope, clock, transport })
    }

    /// `{endpoint}/v1.0/{segments}`, without a query.
    fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.endpoint.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("v1.0").extend(segments);
        }
        url
    }

    async fn send(&self, request: Request, deadline: Instant) -> Result<RestAnswer, DirectoryError> {
        loop {
            let answer = match timeout_at(deadline, self.rest.send(request.clone())).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => return Err(DirectoryError::Unknown { detail: error.detail }),
                Err(_) => return Err(nonsense("no answer in time".to_owned())),
            };
            let wait = answer.retry_after().unwrap_or(RETRY_AFTER_DEFAULT).max(RETRY_AFTER_MIN);
            match Instant::now().checked_add(wait) {
                Some(again) if answer.status == 429 && again < deadline => sleep_until(again).await,
                _ => return Ok(answer),
            }
        }
    }

    /// Everything from the answer to `first` on. All pages or an error, never a part. `None`: there is no such object.
    async fn all<T>(
        &self,
        first: Request,
        read: fn(&[u8]) -> Result<ListingPage<T>, String>,
        deadline: Instant,
    ) -> Result<Option<Vec<T>>, DirectoryError> {
        let mut found = Vec::new();
        let mut next = Some(first);
        for _ in 0..LIST_PAGES_MAX {
            let Some(request) = next else { return Ok(Some(found)) };
            let answer = self.send(request, deadline).await?;
            if answer.status != 200 {
                return failure(&answer);
            }
            let page = read(&answer.body).map_err(nonsense)?;
            found.extend(page.found);
            next = page.next_link.map(|link| self.follow(&link)).transpose()?;
        }
        // The last page that is read may be the last one.
        match next {
            None => Ok(Some(found)),
            Some(_) => Err(nonsense(format!("a listing has more than {LIST_PAGES_MAX} pages"))),
        }
    }

    fn follow(&self, link: &str) -> Result<Request, DirectoryError> {
        let elsewhere = || nonsense("a listing goes on at another origin".to_owned());
        let url = link_at(&self.endpoint, link).ok_or_else(elsewhere)?;
        Ok(Request::new(url, Method::Get))
    }
}

#[async_trait]
impl DirectoryReader for GraphDirectory {
    async fn members_of(
        &self,
        group: PrincipalId,
        timeout: Duration,
    ) -> Result<Option<Vec<DirectoryMember>>, DirectoryError> {
        let mut url = self.url(&["groups", &group.to_string(), "transitiveMembers"]);
        url.set_query(Some(&format!("$select=id,displayName,userPrincipalName&$top={PAGE_MEMBERS}")));
        self.all(Request::new(url, Method::Get), wire::objects, Instant::now() + timeout).await
    }

    async fn direct_members_of(
        &self,
        group: PrincipalId,
        timeout: Duration,
    ) -> Result<Option<Vec<DirectMember>>, DirectoryError> {
        let mut url = self.url(&["groups", &group.to_string(), "members"]);
        let select = "id,displayName,userPrincipalName,accountEnabled";
        url.set_query(Some(&format!("$select={select}&$top={PAGE_MEMBERS}")));
        self.all(Request::new(url, Method::Get), wire::direct_members, Instant::now() + timeout).await
    }

    async fn assigned_to(
        &self,
        app: PrincipalId,
        timeout: Duration,
    ) -> Result<Option<Vec<AppAssignment>>, DirectoryError> {
        let url = self.url(&["servicePrincipals", &app.to_string(), "appRoleAssignedTo"]);
        self.all(Request::new(url, Method::Get), wire::assignments, Instant::now() + timeout).await
    }

    async fn names_of(
        &self,
        objects: &[PrincipalId],
        timeout: Duration,
    ) -> Result<BTreeMap<PrincipalId, String>, DirectoryError> {
        let deadline = Instant::now() + timeout;
        let mut names = BTreeMap::new();
        for ids in objects.chunks(IDS_MAX) {
            let mut request = Request::new(self.url(&["directoryObjects", "getByIds"]), Method::Post);
            request.insert_header("content-type", "application/json");
            request.set_body(wire::by_ids(ids).to_string());
            let found = self.all(request, wire::objects, deadline).await?;
            let found = found.ok_or_else(|| nonsense("the directory knows no getByIds".to_owned()))?;
            names.extend(found.into_iter().filter_map(|object| Some((object.principal, object.name?))));
        }
        Ok(names)
    }
}

/// What an answer means that is not a success. A status counts only with Graph's own error code.
fn failure<T>(answer: &RestAnswer) -> Result<Option<T>, DirectoryError> {
    match (answer.status, answer.error_code()) {
        (404, Some(code)) if code == NOT_FOUND => Ok(None),
        (401 | 403, Some(code)) => Err(DirectoryError::Refused { code }),
        (status, Some(code)) => Err(nonsense(format!("status {status}, {code}"))),
        (status, None) => Err(nonsense(format!("status {status} says nothing reliable"))),
    }
}

fn nonsense(detail: String) -> DirectoryError {
    DirectoryError::Unknown { detail }
}
