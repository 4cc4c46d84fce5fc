//! `local --tls`: the simulated Azure over TLS as well, with a certificate from the state folder.

use crate::support::harness::VAULT_EAST;
use crate::support::local_process::{LocalProcess, Ready};
use reqwest::{Certificate, Client, Response};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// A client that trusts the CA file and nothing else.
fn client(ready: &Ready) -> Client {
    let ca = std::fs::read(ready.ca_file.as_ref().unwrap()).unwrap();
    let ca = Certificate::from_pem(&ca).unwrap();
    Client::builder().tls_certs_only([ca]).no_proxy().build().unwrap()
}

async fn get(client: &Client, url: &str) -> Response {
    client.get(url).bearer_auth("any").send().await.unwrap()
}

#[actix_web::test]
async fn every_service_is_reached_over_tls_by_clients_that_trust_the_ca_file() {
    azure_backup_scim::app::install_tls();
    let state = tempfile::tempdir().unwrap();
    let local = LocalProcess::start(state.path(), &["--tls"]);
    let ready = &local.ready;
    let client = client(ready);
    let assignments =
        format!("{VAULT_EAST}/providers/Microsoft.Authorization/roleAssignments?api-version=2022-04-01");
    let secret = "/secrets/token?api-version=7.4";

    for arm_url in [ready.arm_url.clone(), ready.arm_url.replace("127.0.0.1", "localhost")] {
        assert_eq!(get(&client, &format!("{arm_url}{assignments}")).await.status(), 200, "{arm_url}");
    }
    let set =
        client.put(format!("{}{secret}", ready.vault_url)).bearer_auth("any").json(&json!({"value": "one"}));
    let set: Value = set.send().await.unwrap().json().await.unwrap();
    assert!(set["id"].as_str().unwrap().starts_with(&format!("{}/secrets/token/", ready.vault_url)), "{set}");
    let user = format!("{}/v1.0/users/0f8fad5b-d9cb-469f-a165-70867728950e", ready.graph_url);
    assert_eq!(get(&client, &user).await.status(), 404);
    let token =
        format!("{}?api-version=2019-08-01&resource=https://vault.azure.net", ready.identity_endpoint);
    let token = client.get(token).header("x-identity-header", &ready.identity_header).send().await.unwrap();
    assert_eq!(token.status(), 200);

    let others = Client::builder().no_proxy().build().unwrap();
    assert!(others.get(format!("{}{assignments}", ready.arm_url)).send().await.unwrap_err().is_connect());
    assert_eq!(
        get(&others, &format!("{}/clock", ready.control_url)).await.status(),
        200,
        "control has no TLS"
    );
}

#[test]
fn a_start_on_the_same_state_has_the_same_certificate() {
    let state = tempfile::tempdir().unwrap();
    let first = LocalProcess::start(state.path(), &["--tls"]);
    let ca_file = first.ready.ca_file.clone().unwrap();
    let before = std::fs::read(&ca_file).unwrap();

    let second = first.restart();

    assert_eq!(second.ready.ca_file.as_ref(), Some(&ca_file));
    assert_eq!(std::fs::read(&ca_file).unwrap(), before);
}

#[test]
fn without_tls_there_is_no_certificate() {
    let state = tempfile::tempdir().unwrap();
    let local = LocalProcess::start(state.path(), &[]);
    assert_eq!(local.ready.ca_file, None);
    let files = std::fs::read_dir(state.path()).unwrap().map(|entry| entry.unwrap().path());
    assert!(files.into_iter().all(|file| file.extension().is_none_or(|extension| extension != "pem")));
}

/// What a person reads, with a state folder that is given by a relative path.
#[test]
fn the_page_names_the_ca_file_by_a_path_that_every_folder_understands() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_azure-backup-scim"))
        .args(["local", "--listen", "127.0.0.1:0", "--tls", "--state", "here"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let lines: Vec<String> = lines.take_while(|line| !line.contains("find_id")).collect();
    child.kill().unwrap();
    child.wait().unwrap();

    let named = |label: &str| {
        let line = lines.iter().find_map(|line| line.trim().strip_prefix(label));
        line.unwrap_or_else(|| panic!("no {label} in {lines:?}")).trim().to_owned()
    };
    let ca_file = named("its CA file");
    let ca_file = Path::new(ca_file.split_whitespace().next().unwrap());
    assert!(ca_file.is_absolute() && ca_file.ends_with("here/azure-ca.pem"), "{ca_file:?}");
    assert!(ca_file.is_file());
    assert!(named("its Key Vault").starts_with("https://127.0.0.1:"));
    assert!(named("ARM_URL=").starts_with("https://127.0.0.1:"));
    assert_eq!(named("export CURL_CA_BUNDLE="), format!("'{}'", ca_file.display()));
}
