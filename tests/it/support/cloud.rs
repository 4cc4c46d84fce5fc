//! A cloud on loopback for `serve`: the simulated Azure in this process, Azurite beside it, and the program as a child,
//! alone or under the stand-in for the Functions host. Killing the program kills nothing of its cloud.

use crate::storage::azurite;
use crate::support::host::{HOST_URL, Host, HostOptions, Transport};
use azure_backup_scim::simulator::{IdentitySettings, NewSecret, Scope, Simulator, SimulatorOptions};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_azure-backup-scim");
/// The bearer token that the vault holds.
pub const TOKEN: &str = "cloud-test-token-0123456789-abcdefghijkl";
/// The secret that holds it.
pub const SECRET: &str = "scim-bearer-token";
/// The identity that the app has.
const CLIENT_ID: &str = "0f7c4b3e-1111-4222-8333-944455556666";
/// The bindings of the `local` command, which bind four groups.
pub const BINDINGS: &str = include_str!("../../../src/local/bindings.json");
/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that an installation needs around it.
pub struct Cloud {
    pub azure: Simulator,
    pub table: String,
    /// What a deployment puts into the app's folder.
    package: TempDir,
}

/// Where an installation finds its cloud; each address may be that of a proxy before it.
#[derive(Clone)]
pub struct Addresses {
    pub tables: String,
    pub vault: String,
    pub arm: String,
    pub identity: String,
}

impl Cloud {
    /// A cloud with the bindings of `local`, packaged and stamped.
    pub fn start() -> Self {
        // A provider that an earlier test installed serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let azure =
            Simulator::start(SimulatorOptions { scopes: scopes(BINDINGS), ..SimulatorOptions::default() })
                .unwrap();
        let settings = IdentitySettings {
            clients: vec![CLIENT_ID.to_owned()],
            strict: true,
            ..IdentitySettings::default()
        };
        azure.handle().set_identity_settings(settings).unwrap();
        azure.handle().set_secret(SECRET, secret(TOKEN, "entra")).unwrap();
        Self { azure, table: azurite::table(), package: package(BINDINGS) }
    }

    /// The real addresses.
    pub fn addresses(&self) -> Addresses {
        Addresses {
            tables: azurite::origin(),
            vault: self.azure.vault_url(),
            arm: self.azure.arm_url(),
            identity: self.azure.identity_endpoint(),
        }
    }

    /// What a deployment sets on the app.
    pub fn settings(&self, addresses: &Addresses) -> BTreeMap<String, String> {
        let account = azurite::connection_string_of(azurite::DEVELOPMENT_ACCOUNT, &addresses.tables);
        [
            ("TABLES_CONNECTION_STRING", account.as_str()),
            ("TABLES_TABLE", &self.table),
            ("ORDERS_TABLE", &format!("{}orders", self.table)),
            ("REQUESTS_TABLE", &format!("{}requests", self.table)),
            ("KEY_VAULT_URL", &addresses.vault),
            ("ARM_ENDPOINT", &addresses.arm),
            ("IDENTITY_ENDPOINT", &addresses.identity),
            ("IDENTITY_HEADER", &self.azure.identity_header()),
            ("AZURE_CLIENT_ID", CLIENT_ID),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into_iter()
        .collect()
    }

    /// The program alone, on the real addresses; it ticks by itself.
    pub fn serve(&self) -> Serve {
        self.serve_with(&self.settings(&self.addresses()))
    }

    /// The program alone, with other settings.
    pub fn serve_with(&self, settings: &BTreeMap<String, String>) -> Serve {
        Serve::start(self.package.path(), settings)
    }

    /// The program alone, in the folder of another package.
    pub fn serve_in(&self, package: &Path, settings: &BTreeMap<String, String>) -> Serve {
        Serve::start(package, settings)
    }

    /// The folder of the package.
    pub fn package_path(&self) -> &Path {
        self.package.path()
    }

    /// The packaged app under a Functions host.
    pub fn host(&self, transport: Transport) -> Host {
        self.host_with(transport, &self.settings(&self.addresses()))
    }

    /// The packaged app under a Functions host, with other settings.
    pub fn host_with(&self, transport: Transport, settings: &BTreeMap<String, String>) -> Host {
        self.host_running(Path::new(PROGRAM), transport, settings)
    }

    /// The same with another program.
    pub fn host_running(
        &self,
        program: &Path,
        transport: Transport,
        settings: &BTreeMap<String, String>,
    ) -> Host {
        let mut options =
            HostOptions::new(self.package.path()).program(program, &["serve"]).transport(transport);
        options = options.setting("PUBLIC_BASE_URL", HOST_URL);
        for (name, value) in settings {
            options = options.setting(name, value);
        }
        Host::start(options).unwrap()
    }
}

/// A version of the bearer token, labelled.
pub fn secret(token: &str, label: &str) -> NewSecret {
    let mut secret = NewSecret::new(token);
    secret.tags.insert("label".to_owned(), label.to_owned());
    secret
}

/// The scopes that bindings name.
pub fn scopes(bindings: &str) -> Vec<Scope> {
    let bindings: Value = serde_json::from_str(bindings).unwrap();
    let scopes = bindings["bindings"].as_array().unwrap().iter();
    scopes.map(|binding| Scope::parse(binding["scope"].as_str().unwrap()).unwrap()).collect()
}

/// The folder that a deployment would unpack, without the program; stamped by the program itself.
pub fn package(bindings: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::copy(root.join("host.json"), folder.path().join("host.json")).unwrap();
    for function in ["Health", "Reconcile", "ScimGroups", "ScimUsers", "ScimWellKnown"] {
        std::fs::create_dir(folder.path().join(function)).unwrap();
        let file = PathBuf::from(function).join("function.json");
        std::fs::copy(root.join(&file), folder.path().join(&file)).unwrap();
    }
    std::fs::write(folder.path().join("bindings.json"), bindings).unwrap();
    let stamped =
        Command::new(PROGRAM).args(["config", "stamp"]).current_dir(folder.path()).output().unwrap();
    assert!(stamped.status.success(), "{}", String::from_utf8_lossy(&stamped.stderr));
    folder
}

/// A running `serve` without a host. It is killed when this is dropped.
pub struct Serve {
    pub base_url: String,
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Serve {
    fn start(folder: &Path, settings: &BTreeMap<String, String>) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .current_dir(folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let readers = vec![
            collect(child.stdout.take().expect("piped"), lines.clone()),
            collect(child.stderr.take().expect("piped"), lines.clone()),
        ];
        let mut serve = Self { base_url: String::new(), child, lines, readers };
        let ready = until("the program is ready", || serve.line("ready"));
        serve.base_url = ready["base_url"].as_str().unwrap().to_owned();
        serve
    }

    /// The first line with that message.
    pub fn line(&self, message: &str) -> Option<Value> {
        self.lines().into_iter().find(|line| line["message"] == message)
    }

    /// Everything that it logged so far.
    pub fn lines(&self) -> Vec<Value> {
        self.lines.lock().unwrap().clone()
    }

    /// Ends it. Everything that it logged.
    pub fn end(mut self) -> Vec<Value> {
        self.kill();
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        self.lines()
    }

    /// Where it listens, without a path.
    pub fn origin(&self) -> &str {
        self.base_url.trim_end_matches("/scim/v2")
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        self.kill();
    }
}

fn collect(output: impl Read + Send + 'static, lines: Arc<Mutex<Vec<Value>>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
            lines.lock().unwrap().push(line);
        }
    })
}

/// Polls until there is a value.
#[track_caller]
pub fn until<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = poll() {
            return seen;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::park_timeout(Duration::from_millis(5));
    }
}
