//! The ARM client against a server that answers from a script: one test per class of answer.

use async_trait::async_trait;
use azure_backup_scim::adapters::RestError;
use azure_backup_scim::adapters::arm::{ArmOptions, ArmRoleAssignments, PUBLIC_TOKEN_SCOPE};
use azure_backup_scim::adapters::credential::Credential;
use azure_backup_scim::id::{InstanceId, PrincipalId};
use azure_backup_scim::ports::clock::Clock;
use azure_backup_scim::ports::role_assignments::{
    AssignmentError, CreateOutcome, RejectionReason as Why, RoleAssignments,
};
use azure_backup_scim::rbac::{AssignmentName, BackupRole, PrincipalType, RoleAssignment, Scope};
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SCOPE: &str = "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/Backup/providers/Microsoft.RecoveryServices/vaults/East";
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the server does with one request.
#[derive(Clone)]
pub(super) enum Act {
    Answer {
        status: u16,
        headers: String,
        body: String,
    },
    /// Reads the request and closes the connection.
    Hang,
    /// Reads the request and never answers.
    Silence,
}

pub(super) fn answer(status: u16, body: Value) -> Act {
    Act::Answer { status, headers: String::new(), body: body.to_string() }
}

pub(super) fn error(status: u16, code: &str) -> Act {
    answer(status, json!({"error": {"code": code, "message": "m"}}))
}

impl Act {
    fn with(self, header: &str) -> Act {
        match self {
            Act::Answer { status, headers, body } => {
                Act::Answer { status, headers: format!("{headers}{header}\r\n"), body }
            }
            other => other,
        }
    }
}

pub(super) struct Server {
    pub(super) url: String,
    seen: Arc<Mutex<Vec<String>>>,
    script: Arc<Mutex<VecDeque<Act>>>,
}

impl Server {
    pub(super) async fn start(script: Vec<Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new(VecDeque::from(script)));
        let (log, acts) = (seen.clone(), script.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, log.clone(), acts.clone()));
            }
        });
        Self { url, seen, script }
    }

    pub(super) fn client(&self) -> ArmRoleAssignments {
        self.client_with(Credential::Static("arm-token".to_owned().into()).build().unwrap())
    }

    fn client_with(&self, credential: Arc<dyn TokenCredential>) -> ArmRoleAssignments {
        let _ = rustls::crypto::ring::default_provider().install_default();
        ArmRoleAssignments::new(self.url.parse().unwrap(), credential, options()).unwrap()
    }

    /// What it does next.
    pub(super) fn play(&self, acts: Vec<Act>) {
        self.script.lock().unwrap().extend(acts);
    }

    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn options() -> ArmOptions {
    ArmOptions { token_scope: PUBLIC_TOKEN_SCOPE.to_owned(), clock: Arc::new(Fixed), transport: None }
}

/// One connection serves one request.
async fn serve(mut socket: TcpStream, seen: Arc<Mutex<Vec<String>>>, script: Arc<Mutex<VecDeque<Act>>>) {
    let Some(request) = read_request(&mut socket).await else { return };
    seen.lock().unwrap().push(request);
    let act = script.lock().unwrap().pop_front().unwrap_or_else(|| error(400, "ScriptIsOver"));
    match act {
        Act::Hang => {}
        Act::Silence => std::future::pending().await,
        Act::Answer { status, headers, body } => {
            let length = body.len();
            let text = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
            );
            socket.write_all(text.as_bytes()).await.unwrap();
        }
    }
}

async fn read_request(socket: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = socket.read(&mut chunk).await.ok().filter(|n| *n > 0)?;
        text.extend_from_slice(&chunk[..read]);
        let whole = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = whole.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some(whole);
        }
    }
}

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> OffsetDateTime {
        datetime!(2026-11-25 11:00 UTC)
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

fn scope() -> Scope {
    Scope::parse(SCOPE).unwrap()
}

fn principal(n: u32) -> PrincipalId {
    PrincipalId::parse(&format!("aaaaaaaa-0000-4000-8000-{n:012}")).unwrap()
}

fn wanted() -> RoleAssignment {
    let (role, principal) = (BackupRole::Operator, principal(1));
    let instance = InstanceId::parse("bbbbbbbb-0000-4000-8000-000000000000").unwrap();
    RoleAssignment {
        name: AssignmentName::derive(&scope(), role, principal, instance),
        scope: scope(),
        role,
        principal,
        principal_type: PrincipalType::User,
        description: "Managed by azure-backup-scim".to_owned(),
    }
}

fn other_name() -> AssignmentName {
    AssignmentName::parse("cccccccc-0000-4000-8000-000000000001").unwrap()
}

/// An assignment as ARM prints it.
fn item(name: AssignmentName, scope: &str, role: &str, principal: PrincipalId) -> Value {
    json!({
        "id": format!("{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"),
        "type": "Microsoft.Authorization/roleAssignments",
        "name": name.to_string(),
        "properties": {
            "roleDefinitionId": role, "principalId": principal.to_string(), "principalType": "User",
            "scope": scope, "createdOn": "2026-11-25T10:00:00.1234567Z", "condition": null,
        },
    })
}

fn qualified(role: BackupRole) -> String {
    format!("/subscriptions/11111111-1111-4111-8111-111111111111{}", bare(role))
}

fn bare(role: BackupRole) -> String {
    format!("/providers/Microsoft.Authorization/roleDefinitions/{}", role.definition_id())
}

fn made() -> Value {
    let wanted = wanted();
    item(wanted.name, SCOPE, &qualified(wanted.role), wanted.principal)
}

async fn create(script: Vec<Act>) -> (Result<CreateOutcome, AssignmentError>, Vec<String>) {
    let server = Server::start(script).await;
    let outcome = server.client().create(&wanted(), TIMEOUT).await;
    (outcome.map(|answered| answered.value), server.seen())
}

fn rejected(reason: Why, code: &str, status: u16) -> AssignmentError {
    AssignmentError::Rejected { reason, code: code.to_owned(), status, correlation: None }
}

#[track_caller]
fn assert_unknown<T: std::fmt::Debug>(outcome: &Result<T, AssignmentError>) {
    assert!(matches!(outcome, Err(AssignmentError::Unknown { .. })), "{outcome:?}");
}

/// Facts: F-090, F-091.
#[tokio::test]
async fn a_create_names_everything_and_hears_201() {
    let server = Server::start(vec![answer(201, made()).with("x-ms-correlation-request-id: 4b-2c")]).await;
    let outcome = server.client().create(&wanted(), TIMEOUT).await.unwrap();
    assert_eq!((outcome.value, outcome.correlation.as_deref()), (CreateOutcome::Created, Some("4b-2c")));

    let [request] = &server.seen()[..] else { panic!("one request") };
    let name = wanted().name;
    let line = format!(
        "PUT {SCOPE}/providers/Microsoft.Authorization/roleAssignments/{name}?api-version=2022-04-01 HTTP/1.1"
    );
    assert_eq!(request.lines().next(), Some(line.as_str()));
    let lower = request.to_ascii_lowercase();
    assert!(lower.contains("authorization: bearer arm-token"));
    assert!(lower.contains("x-ms-client-request-id: "));
    let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["properties"]["principalType"], "User");
    assert_eq!(body["properties"]["principalId"], principal(1).to_string());
    assert_eq!(body["properties"]["roleDefinitionId"], qualified(BackupRole::Operator));
}

/// Facts: F-087.
#[tokio::test]
async fn a_create_that_was_there_already_is_ours() {
    assert_eq!(create(vec![answer(200, made())]).await.0, Ok(CreateOutcome::AlreadyOurs));
}

/// Facts: F-019.
#[tokio::test]
async fn refusals_carry_their_code_and_never_count_as_success() {
    for (status, code, reason) in [
        (400, "PrincipalNotFound", Why::PrincipalNotFound),
        (400, "UnmatchedPrincipalType", Why::PrincipalType),
        (400, "RoleAssignmentLimitExceeded", Why::AssignmentLimit),
        (403, "AuthorizationFailed", Why::NotAuthorized),
        (404, "ResourceGroupNotFound", Why::ScopeNotFound),
        (409, "ScopeLocked", Why::ScopeLocked),
    ] {
        let (outcome, seen) = create(vec![error(status, code)]).await;
        assert_eq!(outcome, Err(rejected(reason, code, status)));
        assert_eq!(seen.len(), 1, "nothing is retried");
    }
}

/// Facts: F-018.
#[tokio::test]
async fn what_says_nothing_reliable_is_unknown_and_sent_once() {
    let html = Act::Answer { status: 403, headers: String::new(), body: "<html>".to_owned() };
    let nonsense = Act::Answer { status: 201, headers: String::new(), body: "<html>".to_owned() };
    let other = item(other_name(), SCOPE, &qualified(BackupRole::Reader), principal(9));
    for act in [
        error(408, "RequestTimeout"),
        error(500, "InternalServerError"),
        error(503, "ServerBusy"),
        answer(409, json!({})),
        answer(202, made()),
        answer(201, other),
        html,
        nonsense,
        Act::Hang,
    ] {
        let (outcome, seen) = create(vec![act]).await;
        assert_unknown(&outcome);
        assert_eq!(seen.len(), 1, "{seen:?}");
    }
}

#[tokio::test]
async fn no_answer_in_time_is_unknown() {
    let server = Server::start(vec![Act::Silence]).await;
    let outcome = server.client().create(&wanted(), Duration::from_millis(150)).await;
    assert_unknown(&outcome);
}

#[tokio::test]
async fn nobody_there_is_unknown() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}").parse().unwrap();
    let credential = Credential::Static("t".to_owned().into()).build().unwrap();
    let client = ArmRoleAssignments::new(url, credential, options()).unwrap();
    assert_unknown(&client.list(&scope(), TIMEOUT).await);
}

/// Facts: F-096.
#[tokio::test]
async fn throttling_says_when_to_come_back() {
    let date = "date: Wed, 25 Nov 2026 11:00:00 GMT";
    for (headers, seconds) in [
        (vec!["retry-after: 17"], 17),
        (vec!["retry-after: 86400"], 3600),
        (vec!["retry-after: 99999999999999999999"], 5),
        (vec![date, "retry-after: Wed, 25 Nov 2026 11:00:42 GMT"], 42),
        (vec![], 5),
    ] {
        let act = headers.iter().fold(error(429, "TooManyRequests"), |act, header| act.with(header));
        let throttled =
            AssignmentError::Throttled { retry_after: Duration::from_secs(seconds), correlation: None };
        assert_eq!(create(vec![act]).await.0, Err(throttled));
    }
}

/// Facts: F-001.
#[tokio::test]
async fn the_holder_of_a_triple_is_found_at_the_exact_scope() {
    let group = "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/Backup";
    let role = BackupRole::Operator;
    let inherited = item(wanted().name, group, &qualified(role), principal(1));
    let other_role = item(wanted().name, SCOPE, &qualified(BackupRole::Reader), principal(1));
    let holder = item(other_name(), &SCOPE.to_ascii_uppercase(), &bare(role), principal(1));
    let list = answer(200, json!({"value": [inherited, other_role, holder]}));
    let (outcome, seen) = create(vec![error(409, "RoleAssignmentExists"), list]).await;
    assert_eq!(outcome, Ok(CreateOutcome::HeldBy(other_name())));
    let filter = format!("&$filter=principalId%20eq%20%27{}%27", principal(1));
    assert!(seen[1].starts_with("GET ") && seen[1].contains(&filter), "{}", seen[1]);
}

#[tokio::test]
async fn a_holder_that_cannot_be_found_leaves_the_refusal() {
    let exists = || error(409, "RoleAssignmentExists");
    for list in [answer(200, json!({"value": []})), error(403, "AuthorizationFailed"), Act::Hang] {
        assert_eq!(
            create(vec![exists(), list]).await.0,
            Err(rejected(Why::AssignmentExists, "RoleAssignmentExists", 409))
        );
    }
    let ours = answer(200, json!({"value": [made()]}));
    assert_eq!(create(vec![exists(), ours]).await.0, Ok(CreateOutcome::AlreadyOurs));
}

const CORRELATION: &str = "x-ms-correlation-request-id: 0b1e";

/// Facts: F-089.
#[tokio::test]
async fn deleting_what_is_gone_is_success() {
    for act in [
        answer(200, made()),
        Act::Answer { status: 204, headers: String::new(), body: String::new() }.with(CORRELATION),
        error(404, "RoleAssignmentNotFound"),
    ] {
        let server = Server::start(vec![act]).await;
        server.client().delete(&scope(), &wanted().name, TIMEOUT).await.unwrap();
    }
    for (act, expected) in [
        (error(404, "ResourceGroupNotFound"), rejected(Why::ScopeNotFound, "ResourceGroupNotFound", 404)),
        (error(409, "ScopeLocked"), rejected(Why::ScopeLocked, "ScopeLocked", 409)),
    ] {
        let server = Server::start(vec![act]).await;
        assert_eq!(server.client().delete(&scope(), &wanted().name, TIMEOUT).await, Err(expected));
    }
    assert_delete_is_unknown(answer(404, json!({}))).await;
    // A proxy has no id of ARM.
    assert_delete_is_unknown(Act::Answer { status: 204, headers: String::new(), body: String::new() }).await;
}

async fn assert_delete_is_unknown(act: Act) {
    let server = Server::start(vec![act]).await;
    assert_unknown(&server.client().delete(&scope(), &wanted().name, TIMEOUT).await);
}

#[tokio::test]
async fn a_200_that_does_not_show_the_assignment_says_nothing() {
    let mut other = made();
    other["name"] = "99999999-9999-4999-8999-999999999999".into();
    let page = Act::Answer { status: 200, headers: String::new(), body: "<html>Log in</html>".to_owned() };
    for act in [page, answer(200, json!({})), answer(200, other)] {
        assert_delete_is_unknown(act.clone()).await;
        let server = Server::start(vec![act]).await;
        assert_unknown(&server.client().get(&scope(), &wanted().name, TIMEOUT).await);
    }
}

/// Facts: F-014.
#[tokio::test]
async fn a_get_tells_absence_from_a_scope_that_is_gone() {
    let get = async |act| {
        let server = Server::start(vec![act]).await;
        server.client().get(&scope(), &wanted().name, TIMEOUT).await
    };
    let found = get(answer(200, made())).await.unwrap().unwrap();
    assert_eq!(
        (found.name, found.role, found.principal),
        (wanted().name, BackupRole::Operator, principal(1))
    );
    assert!(found.created_on.is_some());
    assert_eq!(get(error(404, "RoleAssignmentNotFound")).await, Ok(None));
    assert_eq!(
        get(error(404, "ResourceNotFound")).await,
        Err(rejected(Why::ScopeNotFound, "ResourceNotFound", 404))
    );
    assert_unknown(&get(answer(404, json!({}))).await);
    assert_unknown(&get(answer(200, json!({"hello": 1}))).await);
}

/// Facts: F-029.
#[tokio::test]
async fn a_list_follows_its_pages_and_keeps_backup_roles_at_the_scope() {
    let server = Server::start(vec![]).await;
    let next = format!("{}/next?page=2", server.url);
    let owner = "/providers/Microsoft.Authorization/roleDefinitions/8e3af657-a8ff-443c-a75c-2fe8c4bcb635";
    let first = [
        item(other_name(), &format!("{SCOPE}2"), &bare(BackupRole::Reader), principal(1)),
        item(other_name(), SCOPE, owner, principal(2)),
        item(other_name(), &SCOPE.to_ascii_lowercase(), &bare(BackupRole::Reader), principal(3)),
    ];
    let second =
        [item(wanted().name, &format!("{SCOPE}/"), &qualified(BackupRole::Contributor), principal(4))];
    server.script.lock().unwrap().extend([
        answer(200, json!({"value": first, "nextLink": next})),
        answer(200, json!({"value": second, "nextLink": null})),
    ]);
    let listed = server.client().list(&scope(), TIMEOUT).await.unwrap();
    let who: Vec<_> = listed.iter().map(|entry| (entry.principal, entry.role)).collect();
    assert_eq!(who, [(principal(3), BackupRole::Reader), (principal(4), BackupRole::Contributor)]);
    assert!(listed.iter().all(|entry| entry.scope == scope()));
    assert!(server.seen()[0].contains("?api-version=2022-04-01&$filter=atScope() "));
    assert!(server.seen()[1].starts_with("GET /next?page=2 "));
}

/// Facts: F-095.
#[tokio::test]
async fn a_list_is_whole_or_an_error() {
    for act in [
        answer(200, json!({"value": [], "nextLink": "https://evil.example/next"})),
        answer(200, json!({"value": [{"name": "x"}]})),
        answer(500, json!({})),
    ] {
        let server = Server::start(vec![act]).await;
        assert_unknown(&server.client().list(&scope(), TIMEOUT).await);
        assert_eq!(server.seen().len(), 1);
    }
    let server = Server::start(vec![]).await;
    let again = answer(200, json!({"value": [], "nextLink": format!("{}/again", server.url)}));
    server.script.lock().unwrap().extend(std::iter::repeat_n(again, 300));
    assert_unknown(&server.client().list(&scope(), TIMEOUT).await);
    assert_eq!(server.seen().len(), 200);
}

/// Hands out `token-1`, `token-2`…
#[derive(Debug, Default)]
struct Counting(AtomicUsize);

#[async_trait]
impl TokenCredential for Counting {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        assert_eq!(scopes, [PUBLIC_TOKEN_SCOPE]);
        let n = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(AccessToken::new(format!("token-{n}"), datetime!(2026-11-25 12:00 UTC)))
    }
}

#[tokio::test]
async fn a_401_drops_the_token_and_repeats_reads_only() {
    let expired = || error(401, "ExpiredAuthenticationToken");
    let server =
        Server::start(vec![answer(200, json!({"value": []})), expired(), answer(200, json!({"value": []}))])
            .await;
    let client = server.client_with(Arc::new(Counting::default()));
    client.list(&scope(), TIMEOUT).await.unwrap();
    client.list(&scope(), TIMEOUT).await.unwrap();
    let tokens: Vec<bool> =
        ["token-1", "token-1", "token-2"].iter().zip(server.seen()).map(|(t, r)| r.contains(t)).collect();
    assert_eq!(tokens, [true; 3]);

    server.script.lock().unwrap().extend([expired(), answer(201, made())]);
    let first = client.create(&wanted(), TIMEOUT).await;
    assert_eq!(first.unwrap_err(), rejected(Why::Other, "ExpiredAuthenticationToken", 401));
    client.create(&wanted(), TIMEOUT).await.unwrap();
    assert!(server.seen()[4].contains("token-3"));
}

/// Hands out one token that is about to run out, and never answers again.
#[derive(Debug, Default)]
struct Once(AtomicUsize);

#[async_trait]
impl TokenCredential for Once {
    async fn get_token(
        &self,
        _: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        if self.0.fetch_add(1, Ordering::SeqCst) > 0 {
            std::future::pending::<()>().await;
        }
        Ok(AccessToken::new("token-1", datetime!(2026-11-25 11:01 UTC)))
    }
}

#[tokio::test]
async fn a_renewal_that_hangs_does_not_keep_a_good_token_from_being_shown() {
    let empty = || answer(200, json!({"value": []}));
    let server = Server::start(vec![empty(), empty(), empty(), empty()]).await;
    let credential = Arc::new(Once::default());
    let client = server.client_with(credential.clone());
    client.list(&scope(), TIMEOUT).await.unwrap();
    // Whoever gives up during the renewal takes nothing from those who come after.
    assert_unknown(&client.list(&scope(), Duration::from_millis(50)).await);
    client.list(&scope(), TIMEOUT).await.unwrap();
    client.list(&scope(), TIMEOUT).await.unwrap();
    assert!(server.seen().iter().all(|request| request.contains("token-1")));
    assert_eq!(credential.0.load(Ordering::SeqCst), 2, "it is not tried again at once");
}

#[test]
fn a_token_travels_in_the_clear_on_loopback_only() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let build = |url: &str| {
        let credential = Credential::Static("t".to_owned().into()).build().unwrap();
        ArmRoleAssignments::new(url.parse().unwrap(), credential, options())
    };
    for url in ["https://management.azure.com", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"]
    {
        assert!(build(url).is_ok(), "{url}");
    }
    for url in
        ["http://management.azure.com", "http://127.0.0.1.evil.example", "http://10.0.0.1", "ftp://127.0.0.1"]
    {
        assert!(matches!(build(url), Err(RestError::Insecure { .. })), "{url}");
    }
}
