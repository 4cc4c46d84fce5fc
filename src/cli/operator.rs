//! What the commands of an operator share: where the state is, and whom a text means.

#[cfg(feature = "local")]
use crate::app::ControlClientError;
use crate::app::{self, ConnectError, OperatorAccess, ScimClientError};
use crate::cli::exit::{ArgumentFileError, EXIT_DEPENDENCY, EXIT_FINDINGS, EXIT_USAGE, complain, in_file};
use crate::cli::suggest::people_like;
use crate::config::{self, ConfigError, HeadsContainer, OperatorConfig};
use crate::error_chain::escape_control;
use crate::id::{InstanceId, PrincipalId};
use crate::ports::azure_access::{AccessReader, DirectoryReader};
use crate::ports::head_archive::ArchiveError;
use crate::ports::role_assignments::RoleAssignments;
use crate::ports::secrets::{SecretError, SecretSource};
use crate::service::access::parity::assigned::AssignedError;
use crate::service::access::people::{self, FoundPerson};
use crate::service::bindings::active::ActiveBindings;
use crate::service::health::HealthStatus;
use crate::service::state::recover::RecoverError;
use crate::service::state::restore::RestoreError;
use crate::store::state_hold::StateHold;
use crate::store::{StateStore, StoreError};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

/// Where the state is.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct OperatorArguments {
    /// The account of the tables: https://ACCOUNT.table.core.windows.net, used with the login of Azure CLI or azd, or a
    /// connection string such as UseDevelopmentStorage=true, or @FILE with either in it. Without it, TABLES_ENDPOINT or
    /// TABLES_CONNECTION_STRING.
    #[arg(long, value_name = "ENDPOINT")]
    tables: Option<String>,
    /// The control address of a running `local`, as `local` prints it.
    #[cfg(feature = "local")]
    #[arg(long, value_name = "URL", conflicts_with = "tables")]
    control_url: Option<String>,
}

/// The vault of the bearer tokens.
pub(super) struct TokenVault {
    pub secrets: Arc<dyn SecretSource>,
    /// The name of their secret.
    pub secret: String,
}

/// Why a command of an operator failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum OperatorError {
    #[error("cannot find out where the tables are: {PLACES}")]
    File(#[source] ArgumentFileError),
    #[error("cannot find out where the tables are: {PLACES}")]
    Config(#[source] ConfigError),
    #[error("a setting of this command cannot be used")]
    Setting(#[source] ConfigError),
    #[error("cannot reach the tables")]
    Connect(#[source] ConnectError),
    #[cfg(feature = "local")]
    #[error("cannot reach the running local")]
    Control(#[source] ControlClientError),
    #[error("cannot read the state")]
    Store(#[from] StoreError),
    #[error("cannot place the order (it needs the data role on the table of orders)")]
    Place(#[source] StoreError),
    #[error("the active bindings cannot be read: a later release stored them, or their rows are damaged")]
    Bindings,
    #[error("the table holds no whole state, it is {}: docs/operate.md says how to go on", hold.as_str())]
    NoState { hold: StateHold },
    #[error("the drill from outside cannot be played")]
    Scim(#[source] ScimClientError),
    #[error("the vault did not do it")]
    Vault(#[source] SecretError),
    #[error(
        "no token can be shown; if the vault gave no answer, it may have a new version all the same: see `token list`"
    )]
    NewVersion(#[source] SecretError),
    #[error("cannot read the identity provider's list")]
    Assigned(#[source] AssignedError),
    #[error("the state was not restored")]
    Restore(#[source] RestoreError),
    #[error("what was lost is not known")]
    Recover(#[source] RecoverError),
    #[error("cannot read the heads of the audit")]
    Archive(#[source] ArchiveError),
    #[error("head {number} of the audit cannot be read")]
    Head { number: u64 },
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    NoPerson(String),
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    #[error("cannot write")]
    Output(#[from] io::Error),
}

/// Runs a command to its exit code.
pub(super) fn run_command<F>(command: F) -> ExitCode
where
    F: Future<Output = Result<ExitCode, OperatorError>>,
{
    app::install_tls();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(OperatorError::Runtime).and_then(|runtime| runtime.block_on(command)) {
        Ok(code) => code,
        // The reader closed the pipe, as `head` does.
        Err(OperatorError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &OperatorError) -> u8 {
    match error {
        #[cfg(feature = "local")]
        OperatorError::Control(ControlClientError::Address { .. }) => EXIT_USAGE,
        OperatorError::File(_)
        | OperatorError::Config(_)
        | OperatorError::Setting(_)
        | OperatorError::Connect(_)
        | OperatorError::Scim(ScimClientError::Address { .. })
        | OperatorError::Usage(_)
        | OperatorError::NoPerson(_) => EXIT_USAGE,
        OperatorError::Restore(RestoreError::Store(_)) => EXIT_DEPENDENCY,
        OperatorError::Restore(RestoreError::Differs { .. } | RestoreError::File(_)) => EXIT_FINDINGS,
        OperatorError::Restore(_) => EXIT_USAGE,
        _ => EXIT_DEPENDENCY,
    }
}

impl OperatorArguments {
    /// The state and the orders. Makes no call yet.
    pub(super) fn access(&self) -> Result<OperatorAccess, OperatorError> {
        #[cfg(feature = "local")]
        if let Some(url) = &self.control_url {
            return app::local_access(url).map_err(OperatorError::Control);
        }
        let config = OperatorConfig::parse(&self.variables()?).map_err(OperatorError::Config)?;
        app::operator_access(&config).map_err(OperatorError::Connect)
    }

    /// The same, where the state is whole: what half a state says would be taken for all of it.
    pub(super) async fn whole_state(&self) -> Result<OperatorAccess, OperatorError> {
        let access = self.access()?;
        match access.store.settings().await?.hold {
            None => Ok(access),
            Some(hold) => Err(OperatorError::NoState { hold }),
        }
    }

    /// Azure's role assignments. Makes no call yet.
    pub(super) fn assignments(&self) -> Result<Arc<dyn RoleAssignments>, OperatorError> {
        #[cfg(feature = "local")]
        if let Some(url) = &self.control_url {
            return app::local_assignments(url).map_err(OperatorError::Connect);
        }
        let (config, arm) = self.config_and(config::arm_endpoint)?;
        app::operator_assignments(&config, &arm).map_err(OperatorError::Connect)
    }

    /// Who has access in Azure, whoever gave it. Makes no call yet.
    pub(super) fn access_reader(&self) -> Result<Arc<dyn AccessReader>, OperatorError> {
        #[cfg(feature = "local")]
        if let Some(url) = &self.control_url {
            return app::local_access_reader(url).map_err(OperatorError::Connect);
        }
        let (config, arm) = self.config_and(config::arm_endpoint)?;
        app::operator_access_reader(&config, &arm).map_err(OperatorError::Connect)
    }

    /// Entra ID. Makes no call yet.
    pub(super) fn directory(&self) -> Result<Arc<dyn DirectoryReader>, OperatorError> {
        #[cfg(feature = "local")]
        if let Some(url) = &self.control_url {
            return app::local_directory(url).map_err(OperatorError::Connect);
        }
        let (config, graph) = self.config_and(config::graph_endpoint)?;
        app::operator_directory(&config, &graph).map_err(OperatorError::Connect)
    }

    /// The vault of the bearer tokens and the name of their secret, where the environment names the vault. Makes no call yet.
    pub(super) fn secrets(&self) -> Result<Option<TokenVault>, OperatorError> {
        #[cfg(feature = "local")]
        if self.control_url.is_some() {
            return Ok(None);
        }
        let (config, vault) = self.config_and(config::token_vault)?;
        let Some((vault, secret)) = vault else { return Ok(None) };
        let secrets = app::operator_secrets(&config, &vault).map_err(OperatorError::Connect)?;
        Ok(Some(TokenVault { secrets, secret }))
    }

    /// The container of the audit's heads, where the environment names it.
    pub(super) fn heads(&self) -> Result<Option<(OperatorConfig, HeadsContainer)>, OperatorError> {
        #[cfg(feature = "local")]
        if self.control_url.is_some() {
            return Ok(None);
        }
        let (config, heads) = self.config_and(config::audit_heads)?;
        Ok(heads.map(|heads| (config, heads)))
    }

    /// Whether a running `local` is asked.
    pub(super) const fn is_local(&self) -> bool {
        #[cfg(feature = "local")]
        return self.control_url.is_some();
        #[cfg(not(feature = "local"))]
        false
    }

    /// The service's Entra object, where the environment names it.
    pub(super) fn service_principal(&self) -> Result<Option<PrincipalId>, OperatorError> {
        config::service_principal(&self.variables()?).map_err(OperatorError::Setting)
    }

    /// The installation, where the environment names it.
    pub(super) fn instance(&self) -> Result<Option<InstanceId>, OperatorError> {
        config::instance_id(&self.variables()?).map_err(OperatorError::Setting)
    }

    /// The settings of the command, and one more.
    fn config_and<T>(
        &self,
        more: impl Fn(&BTreeMap<String, String>) -> Result<T, ConfigError>,
    ) -> Result<(OperatorConfig, T), OperatorError> {
        let variables = self.variables()?;
        let config = OperatorConfig::parse(&variables).map_err(OperatorError::Config)?;
        Ok((config, more(&variables).map_err(OperatorError::Setting)?))
    }

    /// What to type next: this program with these words, and with the place of the state that this command was given. A key
    /// is not printed.
    pub(super) fn command_line(&self, words: &str) -> String {
        let mut line = format!("{PROGRAM} {words}");
        #[cfg(feature = "local")]
        if let Some(url) = &self.control_url {
            line = format!("{line} --control-url {}", quoted(url));
        }
        if let Some(tables) = &self.tables {
            line = format!("{line} --tables {}", quoted(shown_tables(tables)));
        }
        line
    }

    fn variables(&self) -> Result<BTreeMap<String, String>, OperatorError> {
        let mut variables = config::environment();
        if let Some(tables) = &self.tables {
            config::point_at(&mut variables, &in_file(tables).map_err(OperatorError::File)?);
        }
        Ok(variables)
    }
}

/// How to say where the tables are.
#[cfg(feature = "local")]
const PLACES: &str = "name them with --tables, or a running local with --control-url";
#[cfg(not(feature = "local"))]
const PLACES: &str = "name them with --tables";

/// The program, as an operator types it.
const PROGRAM: &str = "azure-backup-scim";

/// Where the tables are. A connection string of a real account holds its key.
fn shown_tables(tables: &str) -> &str {
    let holds_no_key = !tables.contains(';') && !tables.to_ascii_lowercase().contains("accountkey");
    if holds_no_key || tables.starts_with('@') { tables } else { "CONNECTION_STRING" }
}

/// A word of a command line, quoted where a shell would read it as more than a word.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/:.@_=%+,-".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", escape_control(word).replace('\'', r"'\''"))
}

/// The active bindings, as a command reads them.
pub(super) fn active_bindings(store: &StateStore) -> ActiveBindings {
    let health = Arc::new(HealthStatus::new(store.clock.clone()));
    ActiveBindings::new(store.clone(), health)
}

/// The one person whom a text means. Several, or none, is a mistake that lists them.
pub(super) async fn one_person(store: &StateStore, text: &str) -> Result<FoundPerson, OperatorError> {
    let snapshot = active_bindings(store).read(&store.pointer().await?).await?;
    only(store, people::find_people(store, snapshot.principal_from(), text).await?, text).await
}

/// The same, deleted people too: for commands that only read.
pub(super) async fn one_person_ever(store: &StateStore, text: &str) -> Result<FoundPerson, OperatorError> {
    let snapshot = active_bindings(store).read(&store.pointer().await?).await?;
    only(store, people::find_people_ever(store, snapshot.principal_from(), text).await?, text).await
}

async fn only(
    store: &StateStore,
    mut people: Vec<FoundPerson>,
    text: &str,
) -> Result<FoundPerson, OperatorError> {
    let shown = escape_control(text);
    match (people.len(), people.pop()) {
        (1, Some(person)) => Ok(person),
        (_, None) => {
            let what = "no userName, mail address, object id or SCIM id";
            let alike = people_like(store, text).await?;
            Err(OperatorError::NoPerson(format!("{shown:?} is {what} of this installation{alike}")))
        }
        (_, Some(last)) => {
            let mut lines: Vec<String> = people.iter().chain([&last]).map(candidate).collect();
            let may_be_cut = lines.len() >= people::CANDIDATES_MAX;
            lines.extend(may_be_cut.then(|| "there may be more: not all are listed".to_owned()));
            let lines = lines.join("\n  ");
            Err(OperatorError::Usage(format!("{shown:?} can mean several; name one by its id:\n  {lines}")))
        }
    }
}

fn candidate(person: &FoundPerson) -> String {
    let user = person.user.map_or_else(|| "no user".to_owned(), |user| user.to_string());
    let name = escape_control(person.user_name.as_deref().unwrap_or("(deleted)"));
    let active = if person.active { "active" } else { "not active" };
    let principals: Vec<String> = person.principals.iter().map(ToString::to_string).collect();
    format!("{user}  {name}  {active}  object id {}", principals.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tables: Option<&str>, expected: &str) {
        let arguments = OperatorArguments {
            tables: tables.map(str::to_owned),
            #[cfg(feature = "local")]
            control_url: None,
        };
        assert_eq!(arguments.command_line("apply abc --because TEXT"), expected);
    }

    #[test]
    fn a_line_to_type_next_names_the_program_and_the_tables() {
        check(None, "azure-backup-scim apply abc --because TEXT");
        let endpoint = "https://contoso.table.core.windows.net";
        check(Some(endpoint), &format!("azure-backup-scim apply abc --because TEXT --tables {endpoint}"));
        check(
            Some("@my key's file"),
            r"azure-backup-scim apply abc --because TEXT --tables '@my key'\''s file'",
        );
        let emulator = "UseDevelopmentStorage=true";
        check(Some(emulator), &format!("azure-backup-scim apply abc --because TEXT --tables {emulator}"));
    }

    #[test]
    fn a_line_to_type_next_never_holds_a_key() {
        let expected = "azure-backup-scim apply abc --because TEXT --tables CONNECTION_STRING";
        check(Some("DefaultEndpointsProtocol=https;AccountName=a;AccountKey=c2VjcmV0"), expected);
        check(Some("AccountKey=c2VjcmV0"), expected);
    }

    #[cfg(feature = "local")]
    #[test]
    fn a_line_to_type_next_names_the_running_local() {
        let url = Some("http://127.0.0.1:7/control".to_owned());
        let line = OperatorArguments { tables: None, control_url: url }.command_line("orders");
        assert_eq!(line, "azure-backup-scim orders --control-url http://127.0.0.1:7/control");
    }
}
