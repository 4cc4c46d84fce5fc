//! Azurite, the emulator of Azure Storage: its table and blob services, in memory, one for each test process.
//!
//! It is installed from npm below the target folder when it is not there yet, in the version that fits the Node at
//! hand. It ends with the test process, however that ends, because its standard input does.

use crate::support::installed::installed;
use azure_backup_scim::adapters::blob_archive::{BlobArchive, BlobArchiveOptions};
use azure_backup_scim::adapters::clock::SystemClock;
use azure_backup_scim::adapters::credential::Credential;
use azure_backup_scim::adapters::ids::RandomIds;
use azure_backup_scim::adapters::tables::{
    AzureTables, ConnectionString, TablesAccount, TablesClientError, TablesOptions,
};
use azure_backup_scim::ports::ids::IdSource;
use azure_core::base64;
use azure_core::http::Transport;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// How long a start may take on a busy machine.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/storage/azurite.js");
const NEEDS_NODE: &str = "these tests run on Azurite and need Node.js 18 or later with npm on the PATH";
/// A key that guards nothing.
pub const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// The account of development storage, and one like any other: they sign differently.
pub const DEVELOPMENT_ACCOUNT: &str = "devstoreaccount1";
pub const ORDINARY_ACCOUNT: &str = "scimtests";

/// The services of the emulator, as it names them.
const TABLE_SERVICE: &str = "table";
const BLOB_SERVICE: &str = "blob";

/// Accounts for tests that need one alone.
const OWN_ACCOUNTS: usize = 64;

/// The running emulator. The child's standard input stays open until this process is gone.
struct Azurite {
    port: u16,
    _child: Child,
}

/// The development account of this process' emulator, which is started by the first call.
pub fn connection_string() -> String {
    connection_string_of(DEVELOPMENT_ACCOUNT, &origin())
}

/// An account that no other test of this process gets, for programs that name their table themselves.
pub fn own_connection_string() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(number < OWN_ACCOUNTS, "more accounts than the emulator has");
    connection_string_of(&own_account(number), &origin())
}

fn own_account(number: usize) -> String {
    format!("own{number}")
}

/// An account behind any origin that leads to the emulator, as `http://127.0.0.1:1234`.
pub fn connection_string_of(account: &str, origin: &str) -> String {
    format!(
        "DefaultEndpointsProtocol=http;AccountName={account};AccountKey={KEY};TableEndpoint={origin}/{account};"
    )
}

/// Where the emulator listens.
pub fn origin() -> String {
    static AZURITE: OnceLock<Result<Azurite, String>> = OnceLock::new();
    match AZURITE.get_or_init(start) {
        Ok(azurite) => format!("http://127.0.0.1:{}", azurite.port),
        Err(why) => panic!("{why}"),
    }
}

/// The emulator once more, over TLS and with Entra tokens. What it does not do is to check their signature.
struct Secured {
    azurite: Azurite,
    /// What signs for itself.
    certificate: String,
}

fn secured() -> &'static Secured {
    static SECURED: OnceLock<Result<Secured, String>> = OnceLock::new();
    match SECURED.get_or_init(|| start_secured(TABLE_SERVICE)) {
        Ok(secured) => secured,
        Err(why) => panic!("{why}"),
    }
}

fn start_secured(service: &str) -> Result<Secured, String> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let certificate = folder.path().join("cert.pem");
    let key = folder.path().join("key.pem");
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let [certificate, key] = [certificate, key].map(|path| path.to_str().unwrap().to_owned());
    let azurite = start_with(service, &["--cert", &certificate, "--key", &key, "--oauth", "basic"])?;
    Ok(Secured { azurite, certificate: made.cert.pem() })
}

/// A fresh table behind a token, as in Azure.
pub async fn fresh_with_token() -> AzureTables {
    // A provider that an earlier test installed serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let secured = secured();
    let certificate = reqwest::Certificate::from_pem(secured.certificate.as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([certificate]).no_proxy().build().unwrap();
    let endpoint = format!("https://127.0.0.1:{}/{DEVELOPMENT_ACCOUNT}", secured.azurite.port);
    let credential = Credential::Static(token().into()).build().unwrap();
    let transport = Some(Transport::new(Arc::new(client)));
    let options = TablesOptions { transport, ..options() };
    let tables = AzureTables::new(TablesAccount::Entra { endpoint, credential }, &table(), options).unwrap();
    tables.create_table().await.unwrap();
    tables
}

/// A fresh container of the blob service behind a token, as in Azure.
pub async fn fresh_container() -> BlobArchive {
    let _ = rustls::crypto::ring::default_provider().install_default();
    static BLOBS: OnceLock<Result<Secured, String>> = OnceLock::new();
    let secured = match BLOBS.get_or_init(|| start_secured(BLOB_SERVICE)) {
        Ok(secured) => secured,
        Err(why) => panic!("{why}"),
    };
    let certificate = reqwest::Certificate::from_pem(secured.certificate.as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([certificate]).no_proxy().build().unwrap();
    let port = secured.azurite.port;
    let container = format!("https://127.0.0.1:{port}/{DEVELOPMENT_ACCOUNT}/c{}", random());
    let made = client.put(format!("{container}?restype=container")).bearer_auth(token());
    let made = made.header("x-ms-version", "2020-12-06").header("content-length", "0").send().await.unwrap();
    assert_eq!(made.status(), 201);
    let credential = Credential::Static(token().into()).build().unwrap();
    let transport = Some(Transport::new(Arc::new(client)));
    let options = BlobArchiveOptions { credential, clock: Arc::new(SystemClock::new()), transport };
    BlobArchive::at(&container, options).unwrap()
}

/// What Entra would sign.
fn token() -> String {
    let part = |json: &str| base64::encode_url_safe(json).trim_end_matches('=').to_owned();
    let claims = r#"{"aud":"https://storage.azure.com","iss":"https://sts.windows.net/tests/","iat":1,"nbf":1,"exp":9999999999}"#;
    format!("{}.{}.{}", part(r#"{"alg":"RS256","typ":"JWT"}"#), part(claims), part("unsigned"))
}

/// A name that no table has yet.
pub fn table() -> String {
    format!("t{}", random())
}

fn random() -> String {
    RandomIds::new(Arc::new(SystemClock::new())).random().simple().to_string()
}

/// A client of that table, which need not be there.
pub fn client(connection_string: &str, table: &str) -> AzureTables {
    open(TablesAccount::Key(ConnectionString::parse(connection_string).unwrap()), table)
}

/// The same for any account.
pub fn open(account: TablesAccount, table: &str) -> AzureTables {
    try_open(account, table).unwrap()
}

pub fn try_open(account: TablesAccount, table: &str) -> Result<AzureTables, TablesClientError> {
    // A provider that an earlier test installed serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    AzureTables::new(account, table, options())
}

fn options() -> TablesOptions {
    let clock = Arc::new(SystemClock::new());
    TablesOptions { ids: Arc::new(RandomIds::new(clock.clone())), clock, transport: None }
}

/// A fresh table.
pub async fn fresh(connection_string: &str) -> AzureTables {
    let tables = client(connection_string, &table());
    tables.create_table().await.unwrap();
    tables
}

fn start() -> Result<Azurite, String> {
    start_with(TABLE_SERVICE, &[])
}

fn start_with(service: &str, arguments: &[&str]) -> Result<Azurite, String> {
    let home = home()?;
    let own = |option: &str, value: &str| [format!("--{service}{option}"), value.to_owned()];
    let mut child = Command::new("node")
        .arg(SCRIPT)
        .arg(home.join(format!("node_modules/azurite/dist/src/{service}/main.js")))
        .args(["--silent", "--disableTelemetry", "--inMemoryPersistence"])
        .args(own("Host", "127.0.0.1"))
        .args(own("Port", "0"))
        .args(own("KeepAliveTimeout", "3600"))
        .args(arguments)
        .current_dir(&home)
        .env("AZURITE_ACCOUNTS", accounts())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| format!("node does not start: {error}"))?;
    let port = port(child.stdout.take().expect("piped"));
    match port.recv_timeout(READY_TIMEOUT) {
        Ok(port) => Ok(Azurite { port, _child: child }),
        Err(_) => {
            child.kill().ok();
            Err(format!("Azurite ended or did not listen within {READY_TIMEOUT:?}"))
        }
    }
}

fn accounts() -> String {
    let own = (0..OWN_ACCOUNTS).map(own_account);
    let all = [DEVELOPMENT_ACCOUNT, ORDINARY_ACCOUNT].map(str::to_owned).into_iter().chain(own);
    all.map(|account| format!("{account}:{KEY}")).collect::<Vec<_>>().join(";")
}

/// What the script says of the port. The rest is read and dropped, so that the child never waits for us.
fn port(output: impl Read + Send + 'static) -> mpsc::Receiver<u16> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(port) = line.strip_prefix("port ") {
                sender.send(port.parse().expect("a port")).ok();
            }
        }
    });
    receiver
}

/// The folder with Azurite in it.
fn home() -> Result<PathBuf, String> {
    let version = version()?;
    installed(&format!("azurite-{version}"), |folder| install(version, folder))
}

fn install(version: &str, folder: &Path) -> Result<(), String> {
    let npm = Command::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"])
        .arg(folder)
        .arg(format!("azurite@{version}"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{NEEDS_NODE}: npm does not start: {error}"))?;
    if npm.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&npm.stderr);
    Err(format!("npm could not install Azurite {version}; it said:\n{said}"))
}

/// The last version that runs on the Node at hand: 3.36 and later need Node 22.
fn version() -> Result<&'static str, String> {
    let node = Command::new("node").arg("--version").output();
    let node = node.map_err(|error| format!("{NEEDS_NODE}: node does not start: {error}"))?;
    let text = String::from_utf8_lossy(&node.stdout);
    let major = text.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    match major {
        Some(22u32..) => Ok("3.37.0"),
        Some(18..=21) => Ok("3.35.0"),
        _ => Err(format!("{NEEDS_NODE}, not {text:?}")),
    }
}
