//! `token`: the bearer tokens of the identity providers. Writes to the vault with the operator's own rights, and to nothing else.

use crate::app;
use crate::audit::rfc3339;
use crate::cli::json_line::json_line;
use crate::cli::operator::{OperatorError, run_command};
use crate::config;
use crate::error_chain::escape_control;
use crate::ports::clock::Clock;
use crate::ports::ids::IdSource;
use crate::ports::secrets::{NewVersion, SecretError, SecretKeeper, SecretVersion};
use crate::service::tokens::{TokenVersion, VersionStanding, is_token_label, token_versions};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

/// Characters of the id of a version that name it, at least.
const VERSION_CHARS_MIN: usize = 6;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TokenCommand {
    /// Make a bearer token, store it in the vault as the newest version of the secret, and show it once.
    New(NewArguments),
    /// List the versions of the secret: whose they are, until when, and whether they count. Shows no token.
    List(ListArguments),
    /// Disable a version: its token is refused from the next load on, within five minutes. The version stays in the vault.
    Revoke(RevokeArguments),
}

/// Where the tokens are.
#[derive(Debug, clap::Args)]
struct VaultArguments {
    /// The vault, by its name or its address. Without it, KEY_VAULT_URL.
    #[arg(long, value_name = "NAME")]
    vault: Option<String>,
    /// The secret whose versions the tokens are. [default: BEARER_TOKEN_SECRET, else scim-bearer-token]
    #[arg(long, value_name = "NAME")]
    secret: Option<String>,
    /// JSON: one object, and with `list` one line for each version.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct NewArguments {
    /// Whose it is: one label for each identity provider. Audit records show it.
    #[arg(long, value_name = "LABEL", default_value = "entra")]
    label: String,
    /// Days after which it expires.
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=1825))]
    days: u16,
    /// Also where a token that is valid then counts no longer: of each label the two newest do.
    #[arg(long)]
    replace: bool,
    /// Write the token to the standard output although it is no terminal.
    #[arg(long)]
    show: bool,
    #[command(flatten)]
    vault: VaultArguments,
}

#[derive(Debug, clap::Args)]
struct ListArguments {
    #[command(flatten)]
    vault: VaultArguments,
}

#[derive(Debug, clap::Args)]
struct RevokeArguments {
    /// The id of the version, or how it begins: `token list` shows it.
    #[arg(value_name = "VERSION")]
    version: String,
    /// Also the last valid token of its label: the identity provider then gets 401, and can revoke no one.
    #[arg(long)]
    last: bool,
    #[command(flatten)]
    vault: VaultArguments,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    run_command(async {
        match &arguments.command {
            TokenCommand::New(arguments) => new(arguments).await,
            TokenCommand::List(arguments) => list(arguments).await,
            TokenCommand::Revoke(arguments) => revoke(arguments).await,
        }
    })
}

/// The secret of the bearer tokens, and the clock of this machine.
struct OpenVault {
    keeper: Arc<dyn SecretKeeper>,
    secret: String,
    clock: Arc<dyn Clock>,
}

impl VaultArguments {
    fn open(&self) -> Result<OpenVault, OperatorError> {
        let mut variables = config::environment();
        config::name_vault(&mut variables, self.vault.as_deref(), self.secret.as_deref());
        let (credential, vault, secret) =
            config::token_vault_access(&variables).map_err(OperatorError::Setting)?;
        let keeper = app::operator_secret_keeper(credential, &vault).map_err(OperatorError::Connect)?;
        Ok(OpenVault { keeper, secret, clock: Arc::new(app::SystemClock::new()) })
    }
}

impl OpenVault {
    async fn versions(&self) -> Result<Vec<SecretVersion>, OperatorError> {
        match self.keeper.versions(&self.secret).await {
            Err(SecretError::Missing { .. }) => Ok(Vec::new()),
            read => read.map_err(OperatorError::Vault),
        }
    }
}

async fn new(arguments: &NewArguments) -> Result<ExitCode, OperatorError> {
    let NewArguments { label, days, replace, show, vault: place } = arguments;
    if !is_token_label(label) || label == "unlabelled" {
        let shown = escape_control(label);
        return Err(OperatorError::Usage(format!(
            "{shown:?} is no label: 1 to 64 letters, digits, `-`, `.` and `_`, and neither `service` nor `unlabelled`"
        )));
    }
    if !show && !io::stdout().is_terminal() {
        return Err(OperatorError::Usage(
            "the standard output is no terminal, so the token would be lost: --show writes it there"
                .to_owned(),
        ));
    }
    let vault = place.open()?;
    let before = vault.versions().await?;
    let left = left_behind(&before, label, vault.clock.now());
    let has_older = has_other(&before, label, &left, vault.clock.now());
    if !left.is_empty() && !replace {
        return Err(would_end(&left));
    }
    let ids = app::RandomIds::new(vault.clock.clone());
    let token = format!("{}{}", ids.random().simple(), ids.random().simple());
    let expires = vault.clock.now() + Duration::days(i64::from(*days));
    let value = SecretString::from(token.clone());
    let new = NewVersion { value, label: label.clone(), expires };
    let made = vault.keeper.add_version(&vault.secret, new).await.map_err(OperatorError::NewVersion)?;
    let mut out = io::stdout().lock();
    if place.json {
        let left: Vec<&str> = left.iter().map(|one| one.version.id.as_str()).collect();
        let told = json!({
            "version": made.id, "label": label, "expires": rfc3339(expires), "replaced": left, "token": token,
        });
        writeln!(out, "{}", json_line(&told))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut said = io::stderr().lock();
    writeln!(
        said,
        "version {} of {}: a bearer token labelled {label}, until {}",
        made.id,
        vault.secret,
        expires.date()
    )?;
    for one in left {
        let TokenVersion { version, label, .. } = one;
        writeln!(
            said,
            "version {} of {}, labelled {label}, counts no longer",
            version.id,
            version.created.date()
        )?;
    }
    writeln!(said, "enter it in the identity provider; it is not shown again")?;
    if has_older {
        writeln!(
            said,
            "the token before it stays valid: revoke it with `token revoke` once the new one is in use"
        )?;
    }
    writeln!(out, "{token}")?;
    Ok(ExitCode::SUCCESS)
}

fn would_end(left: &[TokenVersion]) -> OperatorError {
    let named = left.iter().map(|one| {
        let TokenVersion { version, label, .. } = one;
        format!("{} of {}, labelled {label}", version.id, version.created.date())
    });
    OperatorError::Usage(format!(
        "would count no longer: {}. Of each label the two newest do, and at most 16 labels. If such a token is in use, \
         its identity provider gets 401 until a new one is entered. With --replace it is made all the same",
        named.collect::<Vec<_>>().join("; ")
    ))
}

/// Whether a version of that label stays valid beside a new one.
fn has_other(before: &[SecretVersion], label: &str, left: &[TokenVersion], now: OffsetDateTime) -> bool {
    token_versions(before, now).iter().any(|one| {
        one.standing == VersionStanding::Valid
            && one.label == label
            && !left.iter().any(|left| left.version.id == one.version.id)
    })
}

/// The valid versions whose place a new one of that label takes.
fn left_behind(before: &[SecretVersion], label: &str, now: OffsetDateTime) -> Vec<TokenVersion> {
    let is_valid = |one: &TokenVersion| one.standing == VersionStanding::Valid;
    let newest = before.iter().map(|version| version.created).max();
    let made = SecretVersion {
        id: String::new(),
        enabled: true,
        // The vault has a clock of its own.
        created: newest.map_or(now, |newest| newest.max(now)) + Duration::SECOND,
        not_before: None,
        expires: None,
        label: Some(label.to_owned()),
    };
    let after: Vec<SecretVersion> = before.iter().cloned().chain([made]).collect();
    let after = token_versions(&after, now);
    let was_valid = token_versions(before, now).into_iter().filter(is_valid);
    was_valid
        .filter(|old| !after.iter().any(|one| one.version.id == old.version.id && is_valid(one)))
        .collect()
}

async fn list(arguments: &ListArguments) -> Result<ExitCode, OperatorError> {
    let vault = arguments.vault.open()?;
    let now = vault.clock.now();
    let versions = token_versions(&vault.versions().await?, now);
    let mut out = io::stdout().lock();
    if arguments.vault.json {
        for one in &versions {
            writeln!(out, "{}", json_line(&to_json(one)))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if versions.is_empty() {
        writeln!(out, "no version of {}: `token new` makes one", vault.secret)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(
        out,
        "{:<32}  {:<16}  {:<10}  {:<10}  {:>9}  standing",
        "version", "label", "created", "expires", "age"
    )?;
    for TokenVersion { version, label, standing } in &versions {
        let expires = version.expires.map_or_else(|| "never".to_owned(), |end| end.date().to_string());
        let age = format!("{} days", (now - version.created).whole_days().max(0));
        let created = version.created.date().to_string();
        let id = escape_control(&version.id);
        writeln!(
            out,
            "{id:<32}  {label:<16}  {created:<10}  {expires:<10}  {age:>9}  {}",
            standing.as_str()
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn to_json(one: &TokenVersion) -> Value {
    let TokenVersion { version, label, standing } = one;
    json!({
        "version": version.id, "label": label, "created": rfc3339(version.created),
        "notBefore": version.not_before.map(rfc3339), "expires": version.expires.map(rfc3339),
        "standing": standing.as_str(),
    })
}

async fn revoke(arguments: &RevokeArguments) -> Result<ExitCode, OperatorError> {
    let RevokeArguments { version: wanted, last, vault: place } = arguments;
    let vault = place.open()?;
    let now = vault.clock.now();
    let versions = token_versions(&vault.versions().await?, now);
    let one = named(&versions, wanted)?;
    let is_valid = |one: &&TokenVersion| one.standing == VersionStanding::Valid;
    let of_label = versions.iter().filter(|other| other.label == one.label).filter(is_valid).count();
    if is_valid(&one) && of_label == 1 && !last {
        return Err(OperatorError::Usage(format!(
            "it is the last valid token of the label {}: its identity provider would get 401, and could revoke no \
             one. Make another one first (`token new --label {}`), or give --last too",
            one.label, one.label
        )));
    }
    let was_enabled = one.version.enabled;
    if was_enabled {
        vault.keeper.disable(&vault.secret, &one.version.id).await.map_err(OperatorError::Vault)?;
    }
    let mut out = io::stdout().lock();
    let (id, label) = (&one.version.id, &one.label);
    match place.json {
        true => {
            let told = json!({ "version": id, "label": label, "wasEnabled": was_enabled });
            writeln!(out, "{}", json_line(&told))?;
        }
        false if was_enabled => {
            writeln!(
                out,
                "version {id}, labelled {label}, is disabled: its token is refused within five minutes"
            )?;
        }
        false => writeln!(out, "version {id}, labelled {label}, was disabled already")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The one version that a text names.
fn named<'a>(versions: &'a [TokenVersion], wanted: &str) -> Result<&'a TokenVersion, OperatorError> {
    let begins = |one: &&TokenVersion| one.version.id.starts_with(wanted);
    let found: Vec<&TokenVersion> = versions.iter().filter(begins).collect();
    let shown = escape_control(wanted);
    match found.as_slice() {
        [one] if wanted.len() >= VERSION_CHARS_MIN => Ok(one),
        [] => Err(OperatorError::Usage(format!("no version begins with {shown:?}; `token list` lists them"))),
        _ => Err(OperatorError::Usage(format!(
            "{shown:?} names no single version: give at least {VERSION_CHARS_MIN} characters of its id"
        ))),
    }
}
