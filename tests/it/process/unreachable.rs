//! A dependency that cannot be reached: each kind of failure is one log line and one member of the health. (A name that
//! is not found needs a resolver that is injected: it is in the tests of the adapter.)

use crate::storage::azurite;
use crate::support::cloud::{Addresses, Cloud, Serve, TOKEN, until};
use crate::support::idp::Idp;
use azure_backup_scim::ports::connectivity::{Dependency, UnreachableKind};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use uuid::Uuid;

/// The name of an authority, and what it signs with.
type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A listener on a port of its own that treats every connection so.
fn listen(serve: impl Fn(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || listener.incoming().flatten().for_each(serve));
    port
}

/// A TLS server that shows a certificate for that name, good until then.
fn tls(authority: &Authority, name: &str, year: i32) -> u16 {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // The names of a server may be many, and a rejection lists them.
    let names = (0..60).map(|number| format!("service-{number}.{name}"));
    let mut params =
        CertificateParams::new([name.to_owned()].into_iter().chain(names).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, format!("server of {name}"));
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    listen(move |mut socket| {
        let mut tls = rustls::ServerConnection::new(config.clone()).unwrap();
        // The client ends the handshake with an alert.
        let _ = rustls::Stream::new(&mut tls, &mut socket).read(&mut [0; 1024]);
    })
}

/// A port on which nothing listens.
fn closed() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Connections that were taken and are never answered: dropping them would break them.
fn silent() -> u16 {
    let taken = std::sync::Mutex::new(Vec::new());
    listen(move |socket| taken.lock().unwrap().push(socket))
}

fn answering(answer: &'static str) -> u16 {
    listen(move |mut socket| {
        let _ = socket.read(&mut [0; 4096]);
        let _ = socket.write_all(answer.as_bytes());
        let _ = socket.shutdown(Shutdown::Write);
        // Closing a socket that holds unread bytes resets it, and the client may lose the answer.
        thread::spawn(move || std::io::copy(&mut socket, &mut std::io::sink()));
    })
}

fn sign_in_page() -> u16 {
    answering(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\nSign",
    )
}

/// Azure's by its head, and its body breaks off.
fn half_an_answer() -> u16 {
    answering("HTTP/1.1 200 OK\r\nx-ms-request-id: 1\r\nconnection: close\r\ncontent-length: 400\r\n\r\n{")
}

/// The health, whatever its status.
fn health(serve: &Serve) -> Value {
    let url = format!("{}/healthz", serve.origin());
    let ask = async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        client.get(url).send().await.unwrap().json().await.unwrap()
    };
    run(ask)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// What ARM is called for.
async fn grant_role(serve: &Serve) {
    let idp = Idp::new(&serve.base_url, TOKEN);
    while idp.get("/Users").await.status != 200 {
        tokio::task::yield_now().await;
    }
    let group = idp.create_group("vault-operators").await;
    // One call that fails among others is no news.
    for number in 1..=3 {
        let user = idp.create_user(&format!("person-{number}"), Uuid::from_u128(number)).await;
        assert_eq!(idp.member("add", &group, &user).await.status, 200);
    }
}

fn unreachable_line(serve: &Serve) -> Option<Value> {
    serve.line("a dependency cannot be reached")
}

/// Settings that lead to trouble, and what is told of it.
type Case<'a> = (Vec<(&'a str, String)>, Dependency, UnreachableKind, &'a str);

/// A process with these settings says that this dependency cannot be reached, and how, in its log and in its health.
#[track_caller]
fn check(
    cloud: &Cloud,
    change: &[(&str, String)],
    dependency: Dependency,
    kind: UnreachableKind,
    cause: &str,
) {
    assert!(kind.can_occur(dependency), "{dependency:?} {kind:?}");
    let mut settings = cloud.settings(&cloud.addresses());
    // Else another process would store in its table what it meets.
    settings.insert("TABLES_TABLE".to_owned(), azurite::table());
    settings.extend(change.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    let serve = cloud.serve_with(&settings);
    if dependency == Dependency::Arm {
        run(grant_role(&serve));
    }
    let line = until(&format!("{dependency:?} {kind:?}"), || unreachable_line(&serve));
    let told = [&line["dependency"], &line["kind"]];
    assert_eq!(told, [dependency.as_str(), kind.as_str()], "{line}");
    assert!(line["cause"].as_str().unwrap().contains(cause), "{line}");
    let origin = line["origin"].as_str().unwrap();
    assert!(change.iter().any(|(_, setting)| setting.contains(origin)), "{line}");
    let shown = health(&serve);
    assert_eq!(shown["unreachable"], json!({ dependency.as_str(): kind.as_str() }), "{shown}");
    assert_ne!(shown["status"], "ok", "{shown}");
    // The line is ours; that of the verifier would name a source file of the machine that built it.
    assert!(serve.lines().iter().all(|line| line.get("log.target").is_none()), "{:?}", serve.lines());
}

fn vault(address: String) -> (&'static str, String) {
    ("KEY_VAULT_URL", address)
}

fn tables(cloud: &Cloud, address: String) -> (&'static str, String) {
    let addresses = Addresses { tables: address, ..cloud.addresses() };
    ("TABLES_CONNECTION_STRING", cloud.settings(&addresses)["TABLES_CONNECTION_STRING"].clone())
}

fn http(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn https(port: u16) -> String {
    format!("https://localhost:{port}")
}

fn cases(cloud: &Cloud) -> Vec<Case<'static>> {
    use UnreachableKind::{Broken, NotAzure, Refused, TimedOut};
    vec![
        (vec![vault(http(closed()))], Dependency::KeyVault, Refused, "refused"),
        (vec![tables(cloud, http(silent()))], Dependency::Tables, TimedOut, "given up"),
        (vec![vault(http(sign_in_page()))], Dependency::KeyVault, NotAzure, "status 200"),
        (vec![vault(http(half_an_answer()))], Dependency::KeyVault, Broken, ""),
        (vec![tables(cloud, http(answering("")))], Dependency::Tables, Broken, ""),
        (vec![tables(cloud, http(closed()))], Dependency::Tables, Refused, "refused"),
        (
            vec![("IDENTITY_ENDPOINT", format!("{}/token", http(closed())))],
            Dependency::Identity,
            Refused,
            "refused",
        ),
        (vec![("ARM_ENDPOINT", http(sign_in_page()))], Dependency::Arm, NotAzure, "status 200"),
    ]
}

/// With certificates that are not accepted. `trusted` signs those that come from a known authority.
fn certificate_cases(cloud: &Cloud, trusted: &Authority, bundle: &Path) -> Vec<Case<'static>> {
    use UnreachableKind::{CertificateExpired, CertificateForAnotherName, CertificateNotTrusted};
    let elsewhere = || https(tls(trusted, "elsewhere.example", 2100));
    let mut cases = vec![
        (
            vec![vault(https(tls(&authority("unknown"), "localhost", 2100)))],
            Dependency::KeyVault,
            CertificateNotTrusted,
            r#"issued by "CN=unknown""#,
        ),
        (
            vec![vault(https(tls(trusted, "localhost", 2021)))],
            Dependency::KeyVault,
            CertificateExpired,
            "valid from 2020-01-01T00:00:00Z to 2021-01-01T00:00:00Z",
        ),
        (
            vec![vault(elsewhere())],
            Dependency::KeyVault,
            CertificateForAnotherName,
            "CN=server of elsewhere.example",
        ),
        (
            vec![tables(cloud, elsewhere())],
            Dependency::Tables,
            CertificateForAnotherName,
            "valid from 2020-01-01T00:00:00Z to 2100-01-01T00:00:00Z",
        ),
        (
            vec![("ARM_ENDPOINT", https(tls(trusted, "localhost", 2021)))],
            Dependency::Arm,
            CertificateExpired,
            "expired",
        ),
    ];
    for (change, ..) in &mut cases {
        change.push(("SSL_CERT_FILE", bundle.to_str().unwrap().to_owned()));
    }
    cases
}

/// Facts: F-168.
#[test]
fn each_kind_of_unreachable_dependency_is_told_apart() {
    let cloud = Cloud::start();
    let trusted = authority("trusted");
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("authority.pem");
    std::fs::write(&bundle, trusted.pem()).unwrap();
    let cases = [cases(&cloud), certificate_cases(&cloud, &trusted, &bundle)].concat();
    thread::scope(|scope| {
        for (change, dependency, kind, cause) in &cases {
            let cloud = &cloud;
            scope.spawn(move || check(cloud, change, *dependency, *kind, cause));
        }
    });
}
