//! The settings of `serve`: environment in, a checked [`Config`] out, every mistake in one message.
//!
//! In Azure they are the app's settings, which the Functions host hands down as environment variables.

mod arguments;
mod audit;
pub mod drill;
mod installation;

pub use arguments::{name_vault, point_at};
pub use audit::{AuditConfig, HeadsContainer};

use crate::adapters::credential::Credential;
use crate::adapters::endpoint::Endpoint;
use crate::adapters::tables::is_table_name;
use crate::id::{InstanceId, PrincipalId};
use crate::service::drill::DrillSettings;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The name of the table, where none is set.
const TABLE: &str = "scim";
/// The table of operators' orders, where none is set.
const ORDERS_TABLE: &str = "orders";
/// The table of the request log, where none is set.
const REQUESTS_TABLE: &str = "requests";
/// The tenant, where none is set.
const TENANT: &str = "default";
/// The secret that holds the bearer token, where none is named.
const BEARER_TOKEN_SECRET: &str = "scim-bearer-token";
/// Resource Manager of the public cloud.
const ARM_ENDPOINT: &str = "https://management.azure.com";
/// Microsoft Graph of the public cloud.
const GRAPH_ENDPOINT: &str = "https://graph.microsoft.com";
/// The bindings, below the folder of `host.json`.
const BINDINGS_FILE: &str = "bindings.json";
/// Characters of a tenant.
const TENANT_CHARS_MAX: usize = 36;

/// The settings of `serve`.
#[derive(Debug)]
pub struct Config {
    /// The port that the Functions host calls; without it this process is not under a host.
    pub handler_port: Option<u16>,
    /// The origin that callers use, where it is known.
    pub public_origin: Option<String>,
    /// The partition of this installation.
    pub tenant: String,
    /// The id of this installation, which an empty table then has lost.
    pub instance: Option<InstanceId>,
    /// ServiceProviderConfig says how lists are paged.
    pub announce_cursors: bool,
    pub tables: TablesConfig,
    pub vault: Endpoint,
    /// The secret whose versions are the bearer tokens.
    pub bearer_token_secret: String,
    pub arm: Endpoint,
    pub credential: Credential,
    pub bindings_file: PathBuf,
    /// A revocation that waits for longer is overdue, and degrades the health check.
    pub revocation_overdue: Duration,
    pub audit: AuditConfig,
    pub drill: Option<DrillSettings>,
}

/// The settings of an operator's command: where the state is, and with which identity it is read.
#[derive(Debug)]
pub struct OperatorConfig {
    pub tenant: String,
    pub tables: TablesConfig,
    pub credential: Credential,
}

/// Where the state is.
#[derive(Debug)]
pub struct TablesConfig {
    pub account: TablesAccount,
    pub table: String,
    /// The table of operators' orders.
    pub orders_table: String,
    /// The table of requests that left no audit record.
    pub requests_table: String,
}

/// How the account of the table is reached.
#[derive(Debug)]
pub enum TablesAccount {
    /// With a token of our credential.
    Entra(Endpoint),
    /// With the account's key. Meant for Azurite: in Azure, keys are off.
    ConnectionString(SecretString),
}

/// One invalid setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigMistake {
    pub variable: &'static str,
    /// What is wrong, and an example of what is right. Never the value.
    pub what: String,
}

/// Every invalid setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub mistakes: Vec<ConfigMistake>,
}

impl std::error::Error for ConfigError {}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the settings are not in order")?;
        self.mistakes.iter().try_for_each(|mistake| write!(f, "\n  {}: {}", mistake.variable, mistake.what))
    }
}

/// The environment of this process. A variable that is not Unicode is ignored.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The name of the login on this machine, where the environment says it. It proves nothing.
pub fn login_name() -> Option<String> {
    let variables = environment();
    ["USER", "USERNAME"].iter().find_map(|name| variables.get(*name).cloned())
}

/// The port that the Functions host has chosen for its custom handler, if this process runs under one.
pub fn handler_port(variables: &BTreeMap<String, String>) -> Result<Option<u16>, ConfigError> {
    let mut reader = Reader { variables, mistakes: Vec::new() };
    let port = reader.handler_port();
    reader.done(port)
}

/// The origin that callers use, where it is known.
pub fn public_origin(variables: &BTreeMap<String, String>) -> Result<Option<String>, ConfigError> {
    let mut reader = Reader { variables, mistakes: Vec::new() };
    let origin = reader.public_origin();
    reader.done(origin)
}

/// Azure Resource Manager, for a command that asks it.
pub fn arm_endpoint(variables: &BTreeMap<String, String>) -> Result<Endpoint, ConfigError> {
    let mut reader = Reader { variables, mistakes: Vec::new() };
    let arm = reader.endpoint("ARM_ENDPOINT", Some(ARM_ENDPOINT), ARM_ENDPOINT);
    reader.done(arm)
}

/// Microsoft Graph, for a command that asks it.
pub fn graph_endpoint(variables: &BTreeMap<String, String>) -> Result<Endpoint, ConfigError> {
    let mut reader = Reader { variables, mistakes: Vec::new() };
    let graph = reader.endpoint("GRAPH_ENDPOINT", Some(GRAPH_ENDPOINT), GRAPH_ENDPOINT);
    let is_static = reader.get("AZURE_CREDENTIAL") == Some("static");
    if is_static && graph.as_ref().is_some_and(|graph| !graph.is_simulated()) {
        let what = "must be http://127.0.0.1:PORT where AZURE_CREDENTIAL is static";
        reader.mistake::<()>("GRAPH_ENDPOINT", what);
    }
    reader.done(graph)
}

/// The vault of the bearer tokens and the name of their secret, for a command that can do without.
pub fn token_vault(variables: &BTreeMap<String, String>) -> Result<Option<(Endpoint, String)>, ConfigError> {
    let mut reader = Reader { variables, mistakes: Vec::new() };
    if reader.get("KEY_VAULT_URL").is_none() {
        return Ok(None);
    }
    let vault = reader.vault();
    let vault = vault.zip(reader.secret_name());
    reader.done(vault).map(Some)
}

/// The vault of the bearer tokens, the name of their secret, and how to log in there.
pub fn token_vault_access(
    variables: &BTreeMap<String, String>,
) -> Result<(Credential, Endpoint, String), ConfigError> {
    let mut reader = Reader { variables, mistakes: Vec::new() };
    let credential = reader.credential();
    let vault = reader.vault();
    let secret = reader.secret_name();
    reader.done(
        credential.zip(vault).zip(secret).map(|((credential, vault), secret)| (credential, vault, secret)),
    )
}

/// The service's Entra object, as azd names it.
pub fn service_principal(variables: &BTreeMap<String, String>) -> Result<Option<PrincipalId>, ConfigError> {
    alone(variables, |get| installation::service_principal(get))
}

/// The installation, for a command that compares it.
pub fn instance_id(variables: &BTreeMap<String, String>) -> Result<Option<InstanceId>, ConfigError> {
    alone(variables, |get| installation::instance_id(get))
}

/// The container of the audit's heads, for a command that reads them.
pub fn audit_heads(variables: &BTreeMap<String, String>) -> Result<Option<HeadsContainer>, ConfigError> {
    alone(variables, |get| audit::heads(get))
}

/// A setting that a command reads alone.
fn alone<'a, T>(
    variables: &'a BTreeMap<String, String>,
    read: impl FnOnce(&dyn Fn(&str) -> Option<&'a str>) -> Result<T, (&'static str, String)>,
) -> Result<T, ConfigError> {
    let mistake = |(variable, what)| ConfigError { mistakes: vec![ConfigMistake { variable, what }] };
    read(&|name| variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty()))
        .map_err(mistake)
}

impl Config {
    /// Reads settings by name, as environment variables have them. An empty one counts as left out.
    pub fn parse(variables: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut reader = Reader { variables, mistakes: Vec::new() };
        let config = reader.config();
        reader.done(config)
    }

    /// The base address of SCIM that callers use, for a server that listens on `address`.
    pub fn base_url(&self, address: SocketAddr) -> String {
        let origin = self.public_origin.clone().unwrap_or_else(|| format!("http://{address}"));
        format!("{origin}/scim/v2")
    }
}

impl OperatorConfig {
    /// Reads the settings that say where the state is and ignores the others.
    pub fn parse(variables: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut reader = Reader { variables, mistakes: Vec::new() };
        let tenant = reader.tenant();
        let tables = reader.tables();
        let credential = reader.credential();
        let config = tenant.zip(tables).zip(credential);
        reader.done(config.map(|((tenant, tables), credential)| Self { tenant, tables, credential }))
    }
}

/// Reads one setting after the other and keeps what is wrong with them.
struct Reader<'a> {
    variables: &'a BTreeMap<String, String>,
    mistakes: Vec<ConfigMistake>,
}

impl Reader<'_> {
    fn done<T>(self, read: Option<T>) -> Result<T, ConfigError> {
        match read {
            Some(value) if self.mistakes.is_empty() => Ok(value),
            _ => Err(ConfigError { mistakes: self.mistakes }),
        }
    }

    fn config(&mut self) -> Option<Config> {
        let handler_port = self.handler_port();
        let public_origin = self.public_origin();
        let tenant = self.tenant();
        let announce_cursors = self.announce_cursors();
        let tables = self.tables();
        let vault = self.endpoint("KEY_VAULT_URL", None, "https://NAME.vault.azure.net");
        let bearer_token_secret = self.secret_name();
        let arm = self.endpoint("ARM_ENDPOINT", Some(ARM_ENDPOINT), ARM_ENDPOINT);
        let credential = self.credential();
        let revocation_overdue = self.revocation_overdue();
        let audit = self.audit();
        let instance = installation::instance_id(|name| self.get(name));
        let instance = self.take(instance);
        let drill = self.drill();
        let config = Config {
            handler_port: handler_port?,
            public_origin: public_origin?,
            tenant: tenant?,
            announce_cursors: announce_cursors?,
            tables: tables?,
            vault: vault?,
            bearer_token_secret: bearer_token_secret?,
            arm: arm?,
            credential: credential?,
            bindings_file: self.bindings_file(),
            revocation_overdue: revocation_overdue?,
            audit: audit?,
            instance: instance?,
            drill: drill?,
        };
        self.check_static_token(&config);
        Some(config)
    }

    fn get(&self, variable: &str) -> Option<&str> {
        self.variables.get(variable).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    fn mistake<T>(&mut self, variable: &'static str, what: impl Into<String>) -> Option<T> {
        self.mistakes.push(ConfigMistake { variable, what: what.into() });
        None
    }

    fn handler_port(&mut self) -> Option<Option<u16>> {
        match self.get("FUNCTIONS_CUSTOMHANDLER_PORT").map(str::parse) {
            None => Some(None),
            Some(Ok(port @ 1..)) => Some(Some(port)),
            Some(_) => self.mistake("FUNCTIONS_CUSTOMHANDLER_PORT", "must be a port, as 41123"),
        }
    }

    fn take<T>(&mut self, read: Result<T, (&'static str, String)>) -> Option<T> {
        read.or_else(|(variable, what)| self.mistake(variable, what).ok_or(())).ok()
    }

    fn audit(&mut self) -> Option<AuditConfig> {
        let heads = audit::heads(|name| self.get(name));
        let months = audit::retention_months(|name| self.get(name));
        let (heads, retention_months) = (self.take(heads), self.take(months));
        Some(AuditConfig { heads: heads?, retention_months: retention_months? })
    }

    fn public_origin(&mut self) -> Option<Option<String>> {
        if let Some(origin) = self.get("PUBLIC_BASE_URL") {
            return match Endpoint::parse(origin) {
                Ok(origin) => Some(Some(origin.to_string())),
                Err(error) => {
                    self.mistake("PUBLIC_BASE_URL", format!("{error}; as https://scim.contoso.example"))
                }
            };
        }
        let Some(host) = self.get("WEBSITE_HOSTNAME") else { return Some(None) };
        // Core Tools set it to localhost:PORT.
        let scheme = if host.starts_with("localhost") { "http" } else { "https" };
        match Endpoint::parse(&format!("{scheme}://{host}")) {
            Ok(origin) => Some(Some(origin.to_string())),
            Err(error) => self.mistake("WEBSITE_HOSTNAME", error.to_string()),
        }
    }

    fn tenant(&mut self) -> Option<String> {
        let tenant = self.get("SCIM_TENANT").unwrap_or(TENANT).to_owned();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if tenant.len() > TENANT_CHARS_MAX || !tenant.bytes().all(plain) {
            return self.mistake("SCIM_TENANT", "must be 1 to 36 of a-z, 0-9 and -, as default");
        }
        Some(tenant)
    }

    fn announce_cursors(&mut self) -> Option<bool> {
        match self.get("SCIM_ANNOUNCE_CURSORS").map(str::to_ascii_lowercase).as_deref() {
            None | Some("false") => Some(false),
            Some("true") => Some(true),
            Some(_) => self.mistake("SCIM_ANNOUNCE_CURSORS", "must be true or false"),
        }
    }

    fn tables(&mut self) -> Option<TablesConfig> {
        let account = match (self.get("TABLES_ENDPOINT"), self.get("TABLES_CONNECTION_STRING")) {
            (Some(_), Some(_)) => self.mistake(
                "TABLES_CONNECTION_STRING",
                "must be left out where TABLES_ENDPOINT is set: one of them says how the account is reached",
            ),
            (None, None) => self.mistake(
                "TABLES_ENDPOINT",
                "is missing; as https://ACCOUNT.table.core.windows.net \
                 (or TABLES_CONNECTION_STRING, as UseDevelopmentStorage=true)",
            ),
            (None, Some(text)) => Some(TablesAccount::ConnectionString(text.to_owned().into())),
            (Some(_), None) => self
                .endpoint("TABLES_ENDPOINT", None, "https://ACCOUNT.table.core.windows.net")
                .map(TablesAccount::Entra),
        };
        let table = self.table_name("TABLES_TABLE", TABLE);
        let orders_table = self.table_name("ORDERS_TABLE", ORDERS_TABLE);
        let requests_table = self.table_name("REQUESTS_TABLE", REQUESTS_TABLE);
        let is_same = |one: &Option<String>, other: &Option<String>| {
            one.as_ref().zip(other.as_ref()).is_some_and(|(one, other)| one.eq_ignore_ascii_case(other))
        };
        if is_same(&table, &orders_table) {
            return self.mistake("ORDERS_TABLE", "must name another table than TABLES_TABLE, as orders");
        }
        if is_same(&table, &requests_table) || is_same(&orders_table, &requests_table) {
            let what = "must name another table than TABLES_TABLE and ORDERS_TABLE, as requests";
            return self.mistake("REQUESTS_TABLE", what);
        }
        Some(TablesConfig {
            account: account?,
            table: table?,
            orders_table: orders_table?,
            requests_table: requests_table?,
        })
    }

    fn table_name(&mut self, variable: &'static str, default: &str) -> Option<String> {
        let name = self.get(variable).unwrap_or(default).to_owned();
        if !is_table_name(&name) {
            let what = format!("must be 3 to 63 letters and digits, a letter first, as {default}");
            return self.mistake(variable, what);
        }
        Some(name)
    }

    fn endpoint(&mut self, variable: &'static str, default: Option<&str>, example: &str) -> Option<Endpoint> {
        match self.get(variable).or(default).map(Endpoint::parse) {
            Some(Ok(endpoint)) => Some(endpoint),
            Some(Err(error)) => self.mistake(variable, format!("{error}; as {example}")),
            None => self.mistake(variable, format!("is missing; as {example}")),
        }
    }

    fn secret_name(&mut self) -> Option<String> {
        let name = self.get("BEARER_TOKEN_SECRET").unwrap_or(BEARER_TOKEN_SECRET).to_owned();
        if name.len() > 127 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return self.mistake(
                "BEARER_TOKEN_SECRET",
                "must be the name of a secret: 1 to 127 letters, digits and -, as scim-bearer-token",
            );
        }
        Some(name)
    }

    /// A fixed token is for the simulated vault alone.
    fn vault(&mut self) -> Option<Endpoint> {
        let vault = self.endpoint("KEY_VAULT_URL", None, "https://NAME.vault.azure.net")?;
        if self.get("AZURE_CREDENTIAL") == Some("static") && !vault.is_simulated() {
            let what = "must be http://127.0.0.1:PORT where AZURE_CREDENTIAL is static";
            return self.mistake("KEY_VAULT_URL", what);
        }
        Some(vault)
    }

    /// Named by a word. The default depends on the environment: an app in Azure has an identity endpoint.
    fn credential(&mut self) -> Option<Credential> {
        const VARIABLE: &str = "AZURE_CREDENTIAL";
        let client_id = self.get("AZURE_CLIENT_ID").map(str::to_owned);
        let in_azure = self.get("IDENTITY_ENDPOINT").is_some();
        match self.get(VARIABLE) {
            None if in_azure => Some(Credential::ManagedIdentity { client_id }),
            None => Some(Credential::Developer),
            Some("managed-identity") => Some(Credential::ManagedIdentity { client_id }),
            Some("developer") => Some(Credential::Developer),
            Some("static") => match self.get("AZURE_STATIC_TOKEN") {
                Some(token) => Some(Credential::Static(token.to_owned().into())),
                None => self.mistake("AZURE_STATIC_TOKEN", "is missing; the simulated Azure takes any text"),
            },
            Some(_) => self.mistake(VARIABLE, "must be managed-identity, developer or static"),
        }
    }

    /// A fixed token is for the simulated Azure, and is sent to no other service.
    fn check_static_token(&mut self, config: &Config) {
        let Credential::Static(_) = config.credential else { return };
        let tables = match &config.tables.account {
            TablesAccount::Entra(endpoint) => Some(endpoint),
            TablesAccount::ConnectionString(_) => None,
        };
        let mut shown_to = [Some(&config.vault), Some(&config.arm), tables].into_iter().flatten();
        if !shown_to.all(Endpoint::is_simulated) {
            self.mistake::<()>(
                "AZURE_STATIC_TOKEN",
                "is for the simulated Azure: ARM_ENDPOINT, KEY_VAULT_URL and TABLES_ENDPOINT must then be \
                 http://127.0.0.1:PORT",
            );
        }
    }

    fn bindings_file(&self) -> PathBuf {
        let root = PathBuf::from(self.get("FUNCTIONS_APP_ROOT_PATH").unwrap_or("."));
        root.join(self.get("BINDINGS_FILE").unwrap_or(BINDINGS_FILE))
    }
}

/// Where a server listens: on the port that the Functions host has chosen, else on the address that was asked for.
pub fn listen(handler_port: Option<u16>, asked: SocketAddr) -> SocketAddr {
    handler_port.map_or(asked, |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

#[cfg(test)]
mod tests;
